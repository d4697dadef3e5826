/* lib/model/norm.c - rows to a common scale. */
#include "model/norm.h"

void ral_norm_forward(const struct ral_stack *s, int norm, struct ral_mat x,
                      struct ral_norm_tape *t, struct ral_space *a)
{
    *t = (struct ral_norm_tape){.x = x,
                                .r = ral_mat_f32(a, 1, x.rows),
                                .y = ral_mat_f32(a, x.rows, x.cols)};
    switch (s->arch->norm) {
    case RAL_NORM_RMS:
        RAL_DO(s->dev, rms_norm, t->y, x, t->r, s->m->vec[norm], s->eps);
        break;
    }
}

void ral_norm_backward(const struct ral_stack *s, int norm,
                       const struct ral_norm_tape *t, struct ral_mat dy,
                       struct ral_mat dx, struct ral_mat grad)
{
    const struct ral_mat dw = ral_tensor_view(&s->m->table, norm, grad);

    switch (s->arch->norm) {
    case RAL_NORM_RMS:
        RAL_DO(s->dev, rms_norm_backward, dx, dy, t->x, t->r, s->m->vec[norm],
               dw);
        break;
    }
}

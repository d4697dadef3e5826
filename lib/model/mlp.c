/* lib/model/mlp.c - each row by itself through a wider layer. */
#include "model/mlp.h"

#include "model/linear.h"

void ral_mlp_forward(const struct ral_stack *s, const struct ral_block *b,
                     struct ral_mat h, struct ral_mat x,
                     struct ral_mlp_tape *t, struct ral_space *a)
{
    *t = (struct ral_mlp_tape){.h = h,
                               .g = ral_mat_f32(a, h.rows, s->inner),
                               .u = ral_mat_f32(a, h.rows, s->inner),
                               .a = ral_mat_f32(a, h.rows, s->inner)};
    switch (s->arch->mlp) {
    case RAL_MLP_GATED_SILU:
        ral_linear_forward(s->m, b->gate, h, false, t->g);
        ral_linear_forward(s->m, b->up, h, false, t->u);
        RAL_DO(s->dev, silu_mul, t->a, t->g, t->u);
        break;
    }
    ral_linear_forward(s->m, b->down, t->a, true, x);
}

void ral_mlp_backward(const struct ral_stack *s, const struct ral_block *b,
                      const struct ral_mlp_tape *t, struct ral_mat dx,
                      struct ral_mat dh, struct ral_mat grad,
                      struct ral_space *a)
{
    const struct ral_mat da = ral_mat_f32(a, dx.rows, s->inner);

    ral_linear_backward(s->m, b->down, t->a, dx, false, da, grad);
    switch (s->arch->mlp) {
    case RAL_MLP_GATED_SILU: {
        const struct ral_mat dg = ral_mat_f32(a, dx.rows, s->inner);
        const struct ral_mat du = ral_mat_f32(a, dx.rows, s->inner);

        RAL_DO(s->dev, silu_mul_backward, dg, du, da, t->g, t->u);
        ral_linear_backward(s->m, b->gate, t->h, dg, false, dh, grad);
        ral_linear_backward(s->m, b->up, t->h, du, true, dh, grad);
        break;
    }
    }
}

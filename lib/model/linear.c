/* lib/model/linear.c - y = x W^T + b. */
#include "model/linear.h"

void ral_linear_forward(const struct ral_model *m, struct ral_linear l,
                        struct ral_mat x, bool residual, struct ral_mat y)
{
    const struct ral_mat none = {0};

    RAL_DO(m->dev, matmul, y, x, m->w[l.w], l.b < 0 ? none : m->vec[l.b],
           residual);
}

void ral_linear_backward(const struct ral_model *m, struct ral_linear l,
                         struct ral_mat x, struct ral_mat dy, bool add,
                         struct ral_mat dx, struct ral_mat grad)
{
    const struct ral_mat none = {0};

    RAL_DO(m->dev, matmul_dw, ral_tensor_view(&m->table, l.w, grad),
           l.b < 0 ? none : ral_tensor_view(&m->table, l.b, grad), dy, x);
    if (ral_mat_some(dx))
        RAL_DO(m->dev, matmul_dx, dx, dy, m->w[l.w], add);
}

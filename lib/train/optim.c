/* lib/train/optim.c - gradient norm, clipping and AdamW. */
#include "train/optim.h"

#include <math.h>

#include "nn/exact.h"

int ral_grad_norm(const struct ral_state *s, double *norm,
                  struct ral_space *a, struct ral_err *err)
{
    const struct ral_space_mark mark = ral_space_mark(a);
    const struct ral_mat sum = ral_mat_new(a, RAL_F64, 1, 1);
    int rc;

    RAL_DO(s->model->dev, sumsq, sum, s->grad);
    rc = ral_get(s->model->dev, norm, sum, err);
    *norm = sqrt(*norm);
    ral_space_rewind(a, mark);
    return rc;
}

int ral_grad_check(const struct ral_state *s, struct ral_space *a,
                   struct ral_err *err)
{
    const struct ral_space_mark mark = ral_space_mark(a);
    const struct ral_table *t = &s->model->table;
    const struct ral_mat bad = ral_mat_new(a, RAL_I64, 1, 1);
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < t->n; i++) {
        int64_t at;

        RAL_DO(s->model->dev, finite, bad,
               ral_tensor_view(t, (int)i, s->grad));
        rc = ral_get(s->model->dev, &at, bad, err);
        if (rc == 0 && at >= 0)
            rc = ral_err_set(err, -RAL_EINVAL,
                             "gradient of %s holds NaN or Inf; lower the "
                             "learning rate or look at the rewards",
                             t->tensor[i].name);
    }
    ral_space_rewind(a, mark);
    return rc;
}

void ral_adamw_step(struct ral_state *s, const struct ral_adamw *o,
                    double scale)
{
    const struct ral_table *t = &s->model->table;
    const double c1 = 1 - ral_pow_d(o->beta1, s->updates);
    const double c2 = 1 - ral_pow_d(o->beta2, s->updates);

    for (size_t i = 0; i < t->n; i++) {
        const struct ral_tensor *x = &t->tensor[i];
        const size_t n = x->N * x->K;
        const bool decays = x->role == RAL_ROLE_MATRIX ||
                            x->role == RAL_ROLE_EMBED;

        RAL_DO(s->model->dev, adamw,
               .w = ral_mat_cols(s->model->params, x->offset, n),
               .m = ral_mat_cols(s->m, x->offset, n),
               .v = ral_mat_cols(s->v, x->offset, n),
               .grad = ral_mat_cols(s->grad, x->offset, n),
               .b1 = (float)o->beta1, .b2 = (float)o->beta2,
               .a1 = (float)(1 - o->beta1), .a2 = (float)(1 - o->beta2),
               .step = (float)(o->lr / c1), .root = (float)(1 / sqrt(c2)),
               .eps = (float)o->eps,
               .decay = decays ? (float)(1 - o->lr * o->weight_decay) : 1,
               .scale = (float)scale);
    }
    ral_model_repack(s->model);
}

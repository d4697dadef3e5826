/* lib/model/head.c - hidden rows to log-probabilities, in chunks of rows. */
#include "model/head.h"

#include <math.h>

enum { LOGITS = 4 << 20 }; // numbers of a chunk of rows, 16 MB

static int out_of_logits(struct ral_err *err)
{
    return ral_err_set(err, -RAL_ENOMEM, "out of memory for logits");
}

void ral_head_logits(const struct ral_model *m, struct ral_mat hidden,
                     float temperature, struct ral_mat logits,
                     struct ral_mat lse)
{
    const struct ral_mat none = {0};

    RAL_DO(m->dev, matmul, logits, hidden, m->w[m->table.head], none, false);
    RAL_DO(m->dev, lse, logits, lse, 1.0f / temperature);
}

static size_t chunk_rows(size_t V, size_t U)
{
    const size_t n = LOGITS / V ? LOGITS / V : 1;

    return n < U ? n : U ? U : 1;
}

/* A chunk of hidden rows u .. u+n-1 and what is made of them. */
struct chunk {
    size_t u, n;
    struct ral_mat hidden, logits, lse;
    struct ral_targets targets;
};

static struct chunk chunk_at(const struct ral_pack *p, size_t u, size_t step,
                             struct ral_mat hidden, struct ral_mat logits,
                             struct ral_mat lse)
{
    const size_t n = p->U - u < step ? p->U - u : step;

    return (struct chunk){u, n, ral_mat_rows(hidden, u, n),
                          ral_mat_rows(logits, 0, n), ral_mat_cols(lse, u, n),
                          {ral_mat_cols(p->targets.first, u, n + 1),
                           p->targets.id}};
}

/* From one number a prediction to one a response token. */
static void by_token(const struct ral_pack *p, const float *from, float *to)
{
    for (size_t k = 0; k < p->R; k++)
        to[p->item[k]] = from[k];
}

/* From one number a hidden row to one a response token. */
static void spread_rows(const struct ral_pack *p, const float *from, float *to)
{
    for (size_t u = 0; u < p->U; u++)
        for (int32_t k = p->first[u]; k < p->first[u + 1]; k++)
            to[p->item[k]] = from[u];
}

static bool all_finite(const double *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(x[i]))
            return false;
    return true;
}

static int logp_fetch(const struct ral_model *m, const struct ral_pack *p,
                      struct ral_mat out, struct ral_mat lse,
                      struct ral_mat ent, float *logp, float *entropy,
                      struct ral_space *a, struct ral_err *err)
{
    float *x = RAL_NEW(&a->host, float, p->R + p->U);
    double *l = RAL_NEW(&a->host, double, p->U);
    int rc;

    if (!x || !l)
        return out_of_logits(err);
    if ((rc = ral_get(m->dev, l, lse, err)) < 0 ||
        (rc = ral_get(m->dev, x, out, err)) < 0)
        return rc;
    by_token(p, x, logp);
    if (entropy) {
        if ((rc = ral_get(m->dev, x, ent, err)) < 0)
            return rc;
        spread_rows(p, x, entropy);
    }
    return all_finite(l, p->U)
               ? 0
               : ral_err_set(err, -RAL_EINVAL,
                             "logits are not finite: the weights diverged");
}

int ral_head_logp(const struct ral_model *m, const struct ral_pack *p,
                  struct ral_mat hidden, float temperature, float *logp,
                  float *entropy, struct ral_space *a, struct ral_err *err)
{
    const size_t V = m->config.vocab, step = chunk_rows(V, p->U);
    const struct ral_space_mark mark = ral_space_mark(a);
    const struct ral_mat logits = ral_mat_f32(a, step, V);
    const struct ral_mat lse = ral_mat_new(a, RAL_F64, 1, p->U);
    const struct ral_mat out = ral_mat_f32(a, 1, p->R);
    const struct ral_mat ent = ral_mat_f32(a, 1, p->U);
    int rc;

    for (size_t u = 0; u < p->U; u += step) {
        const struct chunk c = chunk_at(p, u, step, hidden, logits, lse);

        ral_head_logits(m, c.hidden, temperature, c.logits, c.lse);
        RAL_DO(m->dev, pick, out, c.logits, c.lse, c.targets);
        if (entropy)
            RAL_DO(m->dev, entropy, ral_mat_cols(ent, u, c.n), c.logits,
                   c.lse);
    }
    rc = logp_fetch(m, p, out, lse, ent, logp, entropy, a, err);
    ral_space_rewind(a, mark);
    return rc;
}

/* The teacher's numbers of all hidden rows. */
struct lesson {
    const struct ral_head_teacher *t;
    struct ral_mat ours, theirs; // [step][V] logits
    struct ral_mat lse;          // F64 [1][U] theirs
    struct ral_mat weight, nats; // F64, F32 [1][U]
};

/* Every target of a row has the same divergence; their weights add up. */
static int lesson_init(struct lesson *l, const struct ral_head_teacher *t,
                       const struct ral_pack *p, size_t step, size_t V,
                       float temperature, struct ral_space *a,
                       struct ral_err *err)
{
    double *w = RAL_ZNEW(&a->host, double, p->U);

    if (!w)
        return out_of_logits(err);
    for (size_t u = 0; u < p->U; u++) {
        for (int32_t k = p->first[u]; k < p->first[u + 1]; k++)
            w[u] += t->weight[p->item[k]];
        w[u] *= (double)(1.0f / temperature);
    }
    *l = (struct lesson){.t = t,
                         .ours = ral_mat_f32(a, step, V),
                         .theirs = ral_mat_f32(a, step, V),
                         .lse = ral_mat_new(a, RAL_F64, 1, p->U),
                         .weight = ral_mat_put(a, RAL_F64, 1, p->U, w),
                         .nats = ral_mat_f32(a, 1, p->U)};
    return 0;
}

/* c.logits are gradients by now; ours are the logits. */
static void lesson_add(const struct lesson *l, struct chunk c,
                       float temperature)
{
    struct ral_dev *dev = l->t->m->dev;
    const struct ral_mat theirs = ral_mat_rows(l->theirs, 0, c.n);
    const struct ral_mat lse = ral_mat_cols(l->lse, c.u, c.n);

    ral_head_logits(l->t->m, ral_mat_rows(l->t->hidden, c.u, c.n), temperature,
                    theirs, lse);
    RAL_DO(dev, kl, .dx = c.logits, .x = ral_mat_rows(l->ours, 0, c.n),
           .y = theirs, .lse = c.lse, .lse_y = lse,
           .weight = ral_mat_cols(l->weight, c.u, c.n),
           .nats = ral_mat_cols(l->nats, c.u, c.n));
}

static int lesson_fetch(const struct lesson *l, const struct ral_pack *p,
                        struct ral_space *a, struct ral_err *err)
{
    float *nats = RAL_NEW(&a->host, float, p->U);
    int rc;

    if (!nats)
        return out_of_logits(err);
    if ((rc = ral_get(l->t->m->dev, nats, l->nats, err)) == 0)
        spread_rows(p, nats, l->t->nats);
    return rc;
}

static int dlogp_put(const struct ral_pack *p, const float *dlogp,
                     struct ral_mat *out, struct ral_space *a,
                     struct ral_err *err)
{
    float *x = RAL_NEW(&a->host, float, p->R);

    if (!x)
        return out_of_logits(err);
    for (size_t k = 0; k < p->R; k++)
        x[k] = dlogp[p->item[k]];
    *out = ral_mat_put(a, RAL_F32, 1, p->R, x);
    return 0;
}

int ral_head_backward(const struct ral_model *m, const struct ral_pack *p,
                      struct ral_mat hidden, float temperature,
                      const float *dlogp,
                      const struct ral_head_teacher *teacher,
                      struct ral_mat dhidden, struct ral_mat grad,
                      struct ral_space *a, struct ral_err *err)
{
    const size_t V = m->config.vocab, step = chunk_rows(V, p->U);
    const struct ral_space_mark mark = ral_space_mark(a);
    const struct ral_mat logits = ral_mat_f32(a, step, V), none = {0};
    const struct ral_mat lse = ral_mat_new(a, RAL_F64, 1, p->U);
    const struct ral_mat dw = ral_tensor_view(&m->table, m->table.head, grad);
    struct lesson lesson = {0};
    struct ral_mat d;
    int rc = dlogp_put(p, dlogp, &d, a, err);

    if (rc == 0 && teacher)
        rc = lesson_init(&lesson, teacher, p, step, V, temperature, a, err);
    for (size_t u = 0; rc == 0 && u < p->U; u += step) {
        const struct chunk c = chunk_at(p, u, step, hidden, logits, lse);

        ral_head_logits(m, c.hidden, temperature, c.logits, c.lse);
        if (teacher)
            RAL_DO(m->dev, copy, ral_mat_rows(lesson.ours, 0, c.n), c.logits);
        RAL_DO(m->dev, softmax_backward, c.logits, c.lse, d, c.targets,
               1.0f / temperature);
        if (teacher)
            lesson_add(&lesson, c, temperature);
        RAL_DO(m->dev, matmul_dx, ral_mat_rows(dhidden, u, c.n), c.logits,
               m->w[m->table.head], false);
        RAL_DO(m->dev, matmul_dw, dw, none, c.logits, c.hidden);
    }
    if (rc == 0 && teacher)
        rc = lesson_fetch(&lesson, p, a, err);
    ral_space_rewind(a, mark);
    return rc;
}

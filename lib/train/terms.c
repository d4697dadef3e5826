/* lib/train/terms.c - the terms that an objective is a list of. */
#include "train/terms.h"

#include "rl/attn_div.h"
#include "rl/attn_policy.h"
#include "rl/kl.h"

/* Walks the samples of a micro-batch: r is the first of a sample's tokens. */
struct walk {
    size_t group, k, r;
};

static const struct ral_train_sample *sample_next(const struct ral_micro *mb,
                                                  struct walk *w)
{
    const struct ral_train_sample *s;

    while (w->group < mb->n && w->k == mb->g[w->group]->G)
        *w = (struct walk){w->group + 1, 0, w->r};
    if (w->group == mb->n)
        return NULL;
    s = &mb->g[w->group]->sample[w->k++];
    w->r += s->T;
    return s;
}

static bool always(const struct ral_term *t, const struct ral_train_group *g)
{
    (void)t, (void)g;
    return true;
}

static bool by_coef(const struct ral_term *t, const struct ral_train_group *g)
{
    (void)g;
    return t->coef != 0;
}

static bool by_advantage(const struct ral_term *t,
                         const struct ral_train_group *g)
{
    bool any = false;

    for (size_t k = 0; t->coef != 0 && k < g->G; k++)
        any |= g->sample[k].advantage != 0;
    return any;
}

/* -------------------------------------------------------- supervised */

static int cross_entropy(const struct ral_term *t, struct ral_micro *mb,
                         double *loss, struct ral_metrics_set *m,
                         struct ral_err *err)
{
    const double w = t->coef / (double)mb->total->tokens;

    (void)m, (void)err;
    for (size_t r = 0; r < mb->pack.R; r++) {
        mb->dlogp[r] -= (float)w;
        *loss -= w * (double)mb->logp[r];
    }
    return 0;
}

const struct ral_term_type ral_term_cross_entropy = {
    "cross_entropy", 0, always, cross_entropy, NULL};

/* --------------------------------------------------- policy gradient */

static int policy_gradient(const struct ral_term *t, struct ral_micro *mb,
                           double *loss, struct ral_metrics_set *m,
                           struct ral_err *err)
{
    const struct ral_train_sample *s;
    struct ral_pg_sums sums = {0};
    struct walk w = {0};
    double R;

    (void)err;
    for (size_t r = 0; (s = sample_next(mb, &w)); r = w.r) {
        const struct ral_pg_seq seq = {s->T, mb->logp + r, s->logp_old,
                                       s->advantage};
        const double weight =
            t->coef * ral_reduce_weight(t->pg.type->reduce, s->T, mb->total);

        *loss += ral_pg_loss(&t->pg, &seq, weight, mb->dlogp + r, &sums);
    }
    R = (double)sums.tokens;
    ral_metric_add(m, "ratio", RAL_METRIC_MEAN, sums.ratio, R);
    ral_metric_add(m, "clip_fraction", RAL_METRIC_MEAN, sums.clipped, R);
    ral_metric_add(m, "dlogp", RAL_METRIC_MEAN, sums.dlogp, R);
    ral_metric_add(m, "dlogp_max", RAL_METRIC_MAX, sums.dlogp_max, 0);
    return 0;
}

const struct ral_term_type ral_term_policy_gradient = {
    "policy_gradient", RAL_NEEDS_OLD, by_advantage, policy_gradient, NULL};

/* --------------------------------------------------------- reference */

static int reference_kl(const struct ral_term *t, struct ral_micro *mb,
                        double *loss, struct ral_metrics_set *m,
                        struct ral_err *err)
{
    const struct ral_train_sample *s;
    struct walk w = {0};
    double nats = 0;

    (void)err;
    for (size_t r = 0; (s = sample_next(mb, &w)); r = w.r)
        *loss += ral_k3_loss(
            s->T, mb->logp + r, s->logp_ref,
            t->coef * ral_reduce_weight(t->pg.type->reduce, s->T, mb->total),
            mb->dlogp + r, &nats);
    ral_metric_add(m, "kl", RAL_METRIC_MEAN, nats, (double)mb->pack.R);
    return 0;
}

const struct ral_term_type ral_term_reference_kl = {
    "reference_kl", RAL_NEEDS_REFERENCE, by_coef, reference_kl, NULL};

/* --------------------------------------------------------- attention */

/* Sums of the rows of one term, and scratch for one row. */
struct rows {
    struct ral_micro *mb;
    double loss, jsd;
    size_t n, skipped;
    float *p, *q, *dp; // [longest]
};

static int rows_init(struct rows *x, struct ral_micro *mb, struct ral_err *err)
{
    size_t longest = 1;

    for (size_t r = 0; r < mb->pack.R; r++)
        longest = mb->pack.keys[r] > longest ? mb->pack.keys[r] : longest;
    *x = (struct rows){.mb = mb,
                       .p = RAL_NEW(mb->a, float, longest),
                       .q = RAL_NEW(mb->a, float, longest),
                       .dp = RAL_NEW(mb->a, float, longest)};
    return x->p && x->q && x->dp
               ? 0
               : ral_err_set(err, -RAL_ENOMEM,
                             "out of memory for attention rows");
}

/* J of one row of alpha[S+1] against q[S], and its gradient times factor. */
static int row_loss(struct rows *x, size_t S, size_t at, const float *q,
                    double factor, const char *id, struct ral_err *err)
{
    const double Z = ral_attn_normalize(S, x->mb->alpha + at, x->p);
    double jsd;

    if (Z == 0 || ral_attn_row_kind(S, q) == 0) {
        x->skipped++;
        return 0;
    }
    for (size_t j = 0; j < S; j++)
        x->dp[j] = 0;
    jsd = ral_attn_jsd_row(S, x->p, q, factor, x->dp);
    if (jsd < 0)
        return ral_err_set(err, -RAL_EINVAL,
                           "record %s: a row of attn is no distribution", id);
    x->n++;
    x->jsd += jsd;
    x->loss += factor * jsd;
    if (factor != 0)
        ral_attn_normalize_backward(S, Z, x->p, x->dp, x->mb->dalpha + at);
    return 0;
}

static void rows_report(const struct rows *x, double *loss,
                        struct ral_metrics_set *m)
{
    *loss += x->loss;
    ral_metric_add(m, "jsd", RAL_METRIC_MEAN, x->jsd, (double)x->n);
    ral_metric_add(m, "attn_loss", RAL_METRIC_SUM, x->loss, 0);
    ral_metric_add(m, "attn_skipped", RAL_METRIC_SUM, (double)x->skipped, 0);
}

/* Numbers of a sample's recorded rows in one plane: P + t for each token. */
static size_t recorded(size_t P, size_t T)
{
    return T * P + T * (T - 1) / 2;
}

/* The rows of one sample, from token r on, in all planes, whose mean counts. */
static int sample_rows(struct rows *x, const struct ral_train_group *g,
                       const struct ral_train_sample *s, size_t r,
                       double factor, bool teacher, struct ral_err *err)
{
    const struct ral_pack *pack = &x->mb->pack;
    const size_t plane = pack->look[pack->R];
    int rc = 0;

    for (size_t p = 0; p < x->mb->planes; p++) {
        const float *old =
            teacher ? NULL : s->attn_old + p * recorded(g->P, s->T);

        for (size_t t = 0; rc == 0 && t < s->T; t++) {
            const size_t S = g->P + t, at = p * plane + pack->look[r + t];

            if (teacher)
                ral_attn_normalize(S, x->mb->teacher_alpha + at, x->q);
            rc = row_loss(x, S, at, teacher ? x->q : old, factor, g->id, err);
            if (!teacher)
                old += S;
        }
    }
    return rc;
}

static int attention_loss(const struct ral_term *t, struct ral_micro *mb,
                          bool teacher, double *loss,
                          struct ral_metrics_set *m, struct ral_err *err)
{
    const struct ral_mark mark = ral_arena_mark(mb->a);
    const struct ral_train_sample *s;
    struct walk w = {0};
    struct rows x;
    int rc = rows_init(&x, mb, err);

    for (size_t r = 0; rc == 0 && (s = sample_next(mb, &w)); r = w.r) {
        const double factor = t->coef / (double)mb->planes *
                              ral_reduce_weight(t->reduce, s->T, mb->total);

        rc = sample_rows(&x, mb->g[w.group], s, r,
                         teacher ? factor : factor * s->advantage, teacher,
                         err);
    }
    if (rc == 0)
        rows_report(&x, loss, m);
    ral_arena_rewind(mb->a, mark);
    return rc;
}

static int attention(const struct ral_term *t, struct ral_micro *mb,
                     double *loss, struct ral_metrics_set *m,
                     struct ral_err *err)
{
    return attention_loss(t, mb, false, loss, m, err);
}

const struct ral_term_type ral_term_attention = {
    "attention", RAL_NEEDS_ATTENTION, by_advantage, attention, NULL};

static int teacher_attention(const struct ral_term *t, struct ral_micro *mb,
                             double *loss, struct ral_metrics_set *m,
                             struct ral_err *err)
{
    return attention_loss(t, mb, true, loss, m, err);
}

const struct ral_term_type ral_term_teacher_attention = {
    "teacher_attention", RAL_NEEDS_ATTENTION | RAL_NEEDS_TEACHER, by_coef,
    teacher_attention, NULL};

/* ----------------------------------------------------------- teacher */

static double teacher_weight(const struct ral_term *t,
                             const struct ral_micro *mb)
{
    return t->coef / (double)mb->total->tokens;
}

/* The head's backward adds the gradient where the logits are. */
static int teacher_kl(const struct ral_term *t, struct ral_micro *mb,
                      double *loss, struct ral_metrics_set *m,
                      struct ral_err *err)
{
    const size_t R = mb->pack.R;

    (void)loss, (void)m;
    mb->kl_weight = RAL_NEW(mb->a, double, R);
    mb->kl_nats = RAL_NEW(mb->a, float, R);
    if (!mb->kl_weight || !mb->kl_nats)
        return ral_err_set(err, -RAL_ENOMEM, "out of memory");
    for (size_t r = 0; r < R; r++)
        mb->kl_weight[r] = teacher_weight(t, mb);
    return 0;
}

static void teacher_kl_after(const struct ral_term *t, struct ral_micro *mb,
                             double *loss, struct ral_metrics_set *m)
{
    double nats = 0;

    for (size_t r = 0; r < mb->pack.R; r++)
        nats += (double)mb->kl_nats[r];
    *loss += teacher_weight(t, mb) * nats;
    ral_metric_add(m, "kd", RAL_METRIC_MEAN, nats, (double)mb->pack.R);
}

const struct ral_term_type ral_term_teacher_kl = {
    "teacher_kl", RAL_NEEDS_TEACHER, always, teacher_kl, teacher_kl_after};

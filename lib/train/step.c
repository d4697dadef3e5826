/* lib/train/step.c - one optimiser step over packed groups. */
#include "train/step.h"

#include <math.h>
#include <string.h>

#include "base/file.h"
#include "model/forward.h"
#include "model/generate.h"
#include "model/head.h"
#include "rl/attn_div.h"
#include "rl/attn_policy.h"

enum { MICRO_TOKENS = 4096 };

/* What a step needs everywhere. */
struct step {
    struct ral_state *s;
    const struct ral_objective *o;
    struct ral_step_stats *stats;
    struct ral_total total;
    float *dWq; // of the attention term alone
    struct ral_arena *a;
    struct ral_err *err;
};

/* One micro-batch: groups packed, and what is known of each response token. */
struct micro {
    const struct ral_train_group *const *g;
    size_t n;
    struct ral_pack pack;
    float *logp, *entropy, *dlogp; // [R]
    float **alpha, **dalpha;       // [R] rows of P+t+1, or NULL
};

static int out_of_memory(const struct step *t)
{
    return ral_err_set(t->err, -RAL_ENOMEM, "out of memory for a micro-batch");
}

static bool wants_attention(const struct ral_objective *o)
{
    return o->task != RAL_TASK_SFT && o->attn_coef != 0;
}

static int pack_groups(struct step *t, const struct micro *mb, bool teacher,
                       struct ral_pack *pack)
{
    struct ral_pack_group *pg = RAL_ZNEW(t->a, struct ral_pack_group, mb->n);
    int rc = pg ? 0 : out_of_memory(t);

    for (size_t i = 0; rc == 0 && i < mb->n; i++) {
        const struct ral_train_group *g = mb->g[i];
        struct ral_response *r = RAL_NEW(t->a, struct ral_response, g->G);
        struct ral_picture *pic = NULL;

        if (!r)
            return out_of_memory(t);
        for (size_t k = 0; k < g->G; k++)
            r[k] = (struct ral_response){g->sample[k].ids, g->sample[k].T};
        pg[i] = (struct ral_pack_group){
            .prompt = g->prompt, .P = g->P, .response = r, .G = g->G};
        rc = t->o->pictures(t->o->ctx, g, teacher, &pic, &pg[i].npicture, t->a,
                            t->err);
        pg[i].picture = pic;
    }
    if (rc == 0)
        rc = ral_pack_build(pack, teacher ? t->o->teacher : t->s->model, pg,
                            mb->n, t->a, t->err);
    return rc;
}

/* Rows of P+t+1 numbers for every response token, zero or not. */
static float **token_rows(struct step *t, const struct ral_pack *p, bool zero)
{
    float **rows = RAL_NEW(t->a, float *, p->R);
    size_t n = 0;
    float *flat;

    for (size_t r = 0; r < p->R; r++)
        n += p->keys[r];
    flat = zero ? RAL_ZNEW(t->a, float, n) : RAL_NEW(t->a, float, n);
    if (!rows || !flat)
        return NULL;
    for (size_t r = 0; r < p->R; r++) {
        rows[r] = flat;
        flat += p->keys[r];
    }
    return rows;
}

/* From one pointer a response token to one a packed row. */
static float **by_row(struct step *t, const struct ral_pack *p, float **rows)
{
    float **out = RAL_ZNEW(t->a, float *, p->N);

    for (size_t r = 0; out && r < p->R; r++)
        out[p->row[r]] = rows[r];
    return out;
}

/* The frozen reference's log-probabilities, once a response. */
static int score_reference(struct step *t, const struct micro *mb)
{
    const struct ral_mark mark = ral_arena_mark(t->a);
    const float *from;
    float *logp;
    bool needed = false;
    int rc;

    for (size_t i = 0; i < mb->n; i++)
        for (size_t k = 0; k < mb->g[i]->G; k++)
            needed |= mb->g[i]->sample[k].logp_ref &&
                      !mb->g[i]->sample[k].have_ref;
    if (!needed)
        return 0;
    if (!(logp = RAL_NEW(t->a, float, mb->pack.R)))
        return out_of_memory(t);
    rc = ral_score(t->o->ref, &mb->pack, t->o->temperature, logp, NULL, t->a,
                   t->err);
    if (rc < 0)
        ral_err_at(t->err, "the reference");
    from = logp;
    for (size_t i = 0; rc == 0 && i < mb->n; i++) {
        for (size_t k = 0; k < mb->g[i]->G; k++) {
            struct ral_train_sample *s = &mb->g[i]->sample[k];

            if (s->logp_ref)
                memcpy(s->logp_ref, from, s->T * sizeof *from);
            s->have_ref = true;
            from += s->T;
        }
    }
    ral_arena_rewind(t->a, mark);
    return rc;
}

static void sft_loss(struct step *t, struct micro *mb)
{
    const double w = 1 / (double)t->total.tokens;

    for (size_t r = 0; r < mb->pack.R; r++) {
        mb->dlogp[r] = (float)-w;
        t->stats->loss -= w * (double)mb->logp[r];
    }
}

static void pg_loss(struct step *t, struct micro *mb)
{
    size_t at = 0;

    for (size_t i = 0; i < mb->n; i++) {
        for (size_t k = 0; k < mb->g[i]->G; k++) {
            const struct ral_train_sample *s = &mb->g[i]->sample[k];
            const struct ral_pg_seq seq = {s->T, mb->logp + at, s->logp_old,
                                           s->logp_ref, s->advantage};
            const double w = ral_reduce_weight(t->o->pg.type->reduce, s->T,
                                               &t->total);

            t->stats->loss += ral_pg_loss(&t->o->pg, &seq, w, mb->dlogp + at,
                                          &t->stats->pg);
            at += s->T;
        }
    }
}

/* One row: J of the policy against q, and its gradient at alpha. */
static int attention_row(struct step *t, size_t S, const float *alpha,
                         const float *q, double factor, float *p, float *dp,
                         float *dalpha, const char *id)
{
    const double Z = ral_attn_normalize(S, alpha, p);
    double jsd;

    if (Z == 0 || ral_attn_row_kind(S, q) == 0) {
        t->stats->attn_skipped++;
        return 0;
    }
    memset(dp, 0, S * sizeof *dp);
    jsd = ral_attn_jsd_row(S, p, q, factor, dp);
    if (jsd < 0)
        return ral_err_set(t->err, -RAL_EINVAL,
                           "record %s: a row of attn is no distribution", id);
    t->stats->jsd += jsd;
    t->stats->attn_rows++;
    t->stats->attn_loss += factor * jsd;
    if (factor != 0)
        ral_attn_normalize_backward(S, Z, p, dp, dalpha);
    return 0;
}

/* q: the recorded rows (rl), or the teacher's own (distill), P+t each. */
static int attention_loss(struct step *t, struct micro *mb, float **teacher)
{
    const struct ral_mark mark = ral_arena_mark(t->a);
    size_t r = 0, longest = 1;
    float *p, *dp, *q;
    int rc = 0;

    for (size_t i = 0; i < mb->pack.R; i++)
        if (mb->pack.keys[i] > longest)
            longest = mb->pack.keys[i];
    p = RAL_NEW(t->a, float, longest);
    dp = RAL_NEW(t->a, float, longest);
    q = RAL_NEW(t->a, float, longest);
    if (!p || !dp || !q)
        return out_of_memory(t);
    for (size_t i = 0; i < mb->n; i++) {
        const struct ral_train_group *g = mb->g[i];

        for (size_t k = 0; k < g->G; k++) {
            const struct ral_train_sample *s = &g->sample[k];
            const double w =
                t->o->attn_coef *
                ral_reduce_weight(t->o->attn_reduce, s->T, &t->total);
            const float *old = s->attn_old;

            for (size_t j = 0; rc == 0 && j < s->T; j++, r++) {
                const size_t S = g->P + j;

                if (teacher)
                    ral_attn_normalize(S, teacher[r], q);
                rc = attention_row(t, S, mb->alpha[r], teacher ? q : old,
                                   teacher ? w : w * s->advantage, p, dp,
                                   mb->dalpha[r], g->id);
                if (!teacher)
                    old += S;
            }
        }
    }
    ral_arena_rewind(t->a, mark);
    return rc;
}

/* The teacher on the same tokens: its hidden rows, and attention rows. */
static int run_teacher(struct step *t, const struct micro *mb,
                       struct ral_activations *act, float ***alpha)
{
    struct ral_pack pack;
    float **policy = NULL;
    int rc = pack_groups(t, mb, true, &pack);

    if (rc < 0)
        return rc;
    if (pack.N != mb->pack.N || pack.units != mb->pack.units)
        return ral_err_set(t->err, -RAL_EINVAL,
                           "teacher and student differ in visual tokens");
    if (wants_attention(t->o)) {
        *alpha = token_rows(t, &pack, false);
        policy = *alpha ? by_row(t, &pack, *alpha) : NULL;
        if (!policy)
            return out_of_memory(t);
    }
    return ral_forward(t->o->teacher, &pack, NULL, false, policy, act, t->a,
                       t->err);
}

static void count_micro(struct step *t, const struct micro *mb)
{
    t->stats->tokens += mb->pack.N;
    t->stats->response_tokens += mb->pack.R;
    t->stats->groups += mb->n;
    for (size_t i = 0; i < mb->n; i++)
        t->stats->samples += mb->g[i]->G;
    for (size_t r = 0; r < mb->pack.R; r++) {
        t->stats->nats -= (double)mb->logp[r];
        t->stats->entropy += (double)mb->entropy[r];
    }
}

static int distill_backward(struct step *t, struct micro *mb,
                            const struct ral_activations *act,
                            const struct ral_activations *theirs,
                            float *dhidden)
{
    const double w = t->o->kd_coef / (double)t->total.tokens;
    float *weight = RAL_NEW(t->a, float, mb->pack.R);
    float *nats = RAL_NEW(t->a, float, mb->pack.R);
    const struct ral_head_teacher head = {
        .m = t->o->teacher,
        .hidden = theirs->hidden,
        .weight = weight,
        .nats = nats,
    };
    int rc;

    if (!weight || !nats)
        return out_of_memory(t);
    for (size_t r = 0; r < mb->pack.R; r++)
        weight[r] = (float)w;
    rc = ral_head_backward(t->s->model, &mb->pack, act->hidden,
                           t->o->temperature, mb->dlogp, &head, dhidden,
                           t->s->grad, t->a, t->err);
    for (size_t r = 0; rc == 0 && r < mb->pack.R; r++) {
        t->stats->kd += (double)nats[r];
        t->stats->loss += w * (double)nats[r];
    }
    return rc;
}

static int micro_loss(struct step *t, struct micro *mb, float **teacher)
{
    if (t->o->task == RAL_TASK_SFT)
        sft_loss(t, mb);
    else if (t->o->task == RAL_TASK_RL)
        pg_loss(t, mb);
    return mb->alpha ? attention_loss(t, mb, teacher) : 0;
}

static int micro_alloc(struct step *t, struct micro *mb)
{
    const size_t R = mb->pack.R;

    mb->logp = RAL_NEW(t->a, float, R);
    mb->entropy = RAL_NEW(t->a, float, R);
    mb->dlogp = RAL_ZNEW(t->a, float, R);
    if (!mb->logp || !mb->entropy || !mb->dlogp)
        return out_of_memory(t);
    if (!wants_attention(t->o))
        return 0;
    mb->alpha = token_rows(t, &mb->pack, false);
    mb->dalpha = token_rows(t, &mb->pack, true);
    return mb->alpha && mb->dalpha ? 0 : out_of_memory(t);
}

/* What fails for all rows at once is among these records. */
static int at_records(struct step *t, const struct micro *mb)
{
    if (mb->n == 1)
        return ral_err_at(t->err, "record %s", mb->g[0]->id);
    return ral_err_at(t->err, "records %s to %s", mb->g[0]->id,
                      mb->g[mb->n - 1]->id);
}

static int micro_run(struct step *t, struct micro *mb)
{
    const struct ral_model *m = t->s->model;
    struct ral_activations act, theirs = {0};
    float **policy = NULL, **dpolicy = NULL, **teacher = NULL, *dhidden;
    int rc;

    if ((rc = pack_groups(t, mb, false, &mb->pack)) < 0 ||
        (rc = micro_alloc(t, mb)) < 0 || (rc = score_reference(t, mb)) < 0)
        return rc;
    dhidden = RAL_NEW(t->a, float, mb->pack.U * m->config.width);
    if (mb->alpha) {
        policy = by_row(t, &mb->pack, mb->alpha);
        dpolicy = by_row(t, &mb->pack, mb->dalpha);
    }
    if (!dhidden || (mb->alpha && (!policy || !dpolicy)))
        return out_of_memory(t);
    if (t->o->task == RAL_TASK_DISTILL &&
        (rc = run_teacher(t, mb, &theirs, &teacher)) < 0)
        return rc;
    if ((rc = ral_forward(m, &mb->pack, NULL, true, policy, &act, t->a,
                          t->err)) < 0 ||
        (rc = ral_head_logp(m, &mb->pack, act.hidden, t->o->temperature,
                            mb->logp, mb->entropy, t->a, t->err)) < 0)
        return at_records(t, mb);
    if ((rc = micro_loss(t, mb, teacher)) < 0)
        return rc;
    count_micro(t, mb);
    rc = t->o->task == RAL_TASK_DISTILL
             ? distill_backward(t, mb, &act, &theirs, dhidden)
             : ral_head_backward(m, &mb->pack, act.hidden, t->o->temperature,
                                 mb->dlogp, NULL, dhidden, t->s->grad, t->a,
                                 t->err);
    if (rc == 0)
        rc = ral_backward(m, &mb->pack, &act, dhidden,
                          (const float *const *)dpolicy, t->s->grad, t->a,
                          t->err);
    if (rc == 0 && dpolicy)
        rc = ral_policy_query_gradient(m, &mb->pack, &act,
                                       (const float *const *)dpolicy, t->dWq,
                                       t->a, t->err);
    return rc;
}

static size_t group_tokens(const struct ral_train_group *g)
{
    size_t n = g->P + g->visual; // a visual token is costly in the tower, too

    for (size_t k = 0; k < g->G; k++)
        n += g->sample[k].T;
    return n;
}

/* Whether anything pulls: an advantage, a KL term, a teacher. */
static bool has_gradient(const struct ral_objective *o,
                         const struct ral_train_group *const *g, size_t n)
{
    if (o->task != RAL_TASK_RL || o->pg.beta != 0)
        return true;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < g[i]->G; k++)
            if (g[i]->sample[k].advantage != 0)
                return true;
    return false;
}

/* |attention| against |all - attention| on the last layer's W_q. */
static void attention_share(struct step *t, size_t n, size_t offset)
{
    const float *all = t->s->grad + offset;
    double own = 0, rest = 0;

    for (size_t i = 0; i < n; i++) {
        const double d = (double)all[i] - (double)t->dWq[i];

        own += (double)t->dWq[i] * (double)t->dWq[i];
        rest += d * d;
    }
    t->stats->attn_share = rest > 0 ? sqrt(own / rest) : 0;
}

static int check_finite(const struct ral_state *s, struct ral_err *err)
{
    for (size_t i = 0; i < s->model->table.n; i++) {
        const struct ral_tensor *x = &s->model->table.tensor[i];

        for (size_t k = 0; k < x->N * x->K; k++)
            if (!isfinite(s->grad[x->offset + k]))
                return ral_err_set(err, -RAL_EINVAL,
                                   "gradient of %s holds NaN or Inf; lower "
                                   "the learning rate or look at the rewards",
                                   x->name);
    }
    return 0;
}

int ral_train_gradient(struct ral_state *s, const struct ral_objective *o,
                       const struct ral_train_group *const *g, size_t n,
                       struct ral_step_stats *stats, struct ral_arena *a,
                       struct ral_err *err)
{
    const struct ral_table *table = &s->model->table;
    const struct ral_tensor *wq =
        &table->tensor[table->layer[s->model->config.layers - 1].qkv[0].w];
    const size_t cap = o->micro_tokens ? o->micro_tokens : MICRO_TOKENS;
    const struct ral_mark start = ral_arena_mark(a);
    struct step t = {.s = s, .o = o, .stats = stats, .a = a, .err = err};
    struct ral_mark mark;
    int rc = 0;

    memset(stats, 0, sizeof *stats);
    memset(s->grad, 0, table->floats * sizeof *s->grad);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < g[i]->G; k++)
            ral_total_add(&t.total, g[i]->sample[k].T);
    if (!(t.dWq = RAL_ZNEW(a, float, wq->N * wq->K)))
        return out_of_memory(&t);
    mark = ral_arena_mark(a);
    for (size_t i = 0; rc == 0 && i < n;) {
        struct micro mb = {.g = g + i};
        size_t tokens = 0;

        do
            tokens += group_tokens(g[i++]);
        while (i < n && tokens + group_tokens(g[i]) <= cap);
        mb.n = (size_t)(g + i - mb.g);
        rc = ral_stopped() ? ral_stop_err(err) : micro_run(&t, &mb);
        ral_arena_rewind(a, mark);
    }
    stats->loss += stats->attn_loss;
    if (rc == 0) {
        stats->grad_norm = ral_grad_norm(s->model->nn, table->floats, s->grad);
        attention_share(&t, wq->N * wq->K, wq->offset);
        if (!isfinite(stats->grad_norm))
            rc = check_finite(s, err);
        if (rc == 0 && !isfinite(stats->loss))
            rc = ral_err_set(err, -RAL_EINVAL,
                             "the loss is not finite; lower the learning "
                             "rate");
    }
    ral_arena_rewind(a, start);
    return rc;
}

int ral_train_step(struct ral_state *s, const struct ral_objective *o,
                   const struct ral_train_group *const *g, size_t n,
                   struct ral_step_stats *stats, struct ral_arena *a,
                   struct ral_err *err)
{
    const struct ral_table *table = &s->model->table;
    double scale = 1;
    int rc = ral_train_gradient(s, o, g, n, stats, a, err);

    if (rc < 0)
        return rc;
    if (!has_gradient(o, g, n)) { // computed all the same, for the metrics
        stats->skipped = true;
        s->skipped++;
        return 0;
    }
    if (o->max_grad_norm > 0 && stats->grad_norm > o->max_grad_norm)
        scale = o->max_grad_norm / (stats->grad_norm + 1e-6);
    s->updates++;
    for (size_t i = 0; i < table->n; i++) {
        const struct ral_tensor *x = &table->tensor[i];
        struct ral_adamw opt = o->adamw;

        // Gains and biases do not shrink towards 0, as is the custom.
        if (x->role == RAL_ROLE_NORM || x->role == RAL_ROLE_BIAS)
            opt.weight_decay = 0;
        ral_adamw_update(s->model->nn, &opt, s->updates, x->N * x->K,
                         (float)scale, s->grad + x->offset, s->m + x->offset,
                         s->v + x->offset, s->model->params + x->offset);
    }
    ral_model_repack(s->model);
    return 0;
}

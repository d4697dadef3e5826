/* lib/train/step.c - one optimiser step over packed groups. */
#include "train/step.h"

#include <math.h>
#include <string.h>

#include "base/file.h"
#include "model/generate.h"
#include "model/head.h"

enum { MICRO_TOKENS = 4096 };

/* What a step needs everywhere. */
struct step {
    struct ral_state *s;
    const struct ral_objective *o;
    unsigned needs;           // of all terms
    struct ral_step_stats *stats;
    struct ral_total total;
    struct ral_mat dWq;       // of the rows looked at alone; or none
    struct ral_space *a;
    struct ral_err *err;
};

struct ral_term *ral_objective_add(struct ral_objective *o,
                                   const struct ral_term_type *type,
                                   double coef)
{
    struct ral_term *t = &o->term[o->terms++];

    assert(o->terms <= RAL_TERMS);
    *t = (struct ral_term){.type = type, .coef = coef};
    return t;
}

static int out_of_memory(const struct step *t)
{
    return ral_err_set(t->err, -RAL_ENOMEM, "out of memory for a micro-batch");
}

static bool looks(const struct step *t)
{
    return t->needs & RAL_NEEDS_ATTENTION;
}

/* ------------------------------------------------------- a micro-batch */

static int pack_groups(struct step *t, const struct ral_micro *mb,
                       bool teacher, struct ral_pack *pack)
{
    struct ral_arena *a = &t->a->host;
    struct ral_pack_group *pg = RAL_ZNEW(a, struct ral_pack_group, mb->n);
    int rc = pg ? 0 : out_of_memory(t);

    for (size_t i = 0; rc == 0 && i < mb->n; i++) {
        const struct ral_train_group *g = mb->g[i];
        struct ral_response *r = RAL_NEW(a, struct ral_response, g->G);

        if (!r)
            return out_of_memory(t);
        for (size_t k = 0; k < g->G; k++)
            r[k] = (struct ral_response){g->sample[k].ids, g->sample[k].T};
        pg[i] = (struct ral_pack_group){
            .prompt = g->prompt, .P = g->P, .response = r, .G = g->G};
        rc = t->o->visuals(t->o->ctx, g, teacher, &pg[i].visual,
                           &pg[i].nvisual, a, t->err);
    }
    if (rc == 0)
        rc = ral_pack_build(pack, teacher ? t->o->teacher : t->s->model, pg,
                            mb->n, t->a, t->err);
    return rc;
}

static int micro_alloc(struct step *t, struct ral_micro *mb)
{
    const size_t R = mb->pack.R;

    mb->a = &t->a->host;
    mb->logp = RAL_NEW(mb->a, float, R);
    mb->entropy = RAL_NEW(mb->a, float, R);
    mb->dlogp = RAL_ZNEW(mb->a, float, R);
    if (looks(t)) {
        mb->planes = ral_look_planes(&t->s->model->config, &t->o->look);
        mb->alpha = RAL_NEW(mb->a, float, mb->planes * mb->pack.look[R]);
        mb->dalpha = RAL_ZNEW(mb->a, float, mb->planes * mb->pack.look[R]);
    }
    return !mb->logp || !mb->entropy || !mb->dlogp ||
                   (looks(t) && (!mb->alpha || !mb->dalpha))
               ? out_of_memory(t)
               : 0;
}

/* The frozen reference's log-probabilities, once a response. */
static int score_reference(struct step *t, const struct ral_micro *mb)
{
    const struct ral_space_mark mark = ral_space_mark(t->a);
    bool needed = false;
    float *logp, *from;
    int rc;

    for (size_t i = 0; i < mb->n; i++)
        for (size_t k = 0; k < mb->g[i]->G; k++)
            needed |= !mb->g[i]->sample[k].have_ref;
    if (!needed || !(t->needs & RAL_NEEDS_REFERENCE))
        return 0;
    if (!(from = logp = RAL_NEW(&t->a->host, float, mb->pack.R)))
        return out_of_memory(t);
    rc = ral_score(t->o->ref, &mb->pack, t->o->temperature, NULL, logp, NULL,
                   t->a, t->err);
    if (rc < 0)
        ral_err_at(t->err, "the reference");
    for (size_t i = 0; rc == 0 && i < mb->n; i++) {
        for (size_t k = 0; k < mb->g[i]->G; k++) {
            struct ral_train_sample *s = &mb->g[i]->sample[k];

            for (size_t j = 0; j < s->T; j++)
                s->logp_ref[j] = *from++;
            s->have_ref = true;
        }
    }
    ral_space_rewind(t->a, mark);
    return rc;
}

/* The teacher on the same tokens: its hidden rows, and attention rows. */
static int run_teacher(struct step *t, struct ral_micro *mb,
                       struct ral_mat *hidden)
{
    const size_t numbers = mb->planes * mb->pack.look[mb->pack.R];
    struct ral_forward f;
    struct ral_pack pack;
    float *alpha;
    int rc;

    if (!(t->needs & RAL_NEEDS_TEACHER))
        return 0;
    if ((rc = pack_groups(t, mb, true, &pack)) < 0)
        return rc;
    if (pack.N != mb->pack.N || pack.units != mb->pack.units)
        return ral_err_set(t->err, -RAL_EINVAL,
                           "teacher and student differ in visual tokens");
    if ((rc = ral_forward(t->o->teacher, &pack, NULL,
                          looks(t) ? &t->o->teacher_look : NULL, NULL, &f,
                          t->a, t->err)) < 0)
        return rc;
    *hidden = f.hidden;
    if (!looks(t))
        return 0;
    assert(f.look.rows == mb->planes);
    if (!(alpha = RAL_NEW(mb->a, float, numbers)))
        return out_of_memory(t);
    mb->teacher_alpha = alpha;
    return ral_get(t->o->teacher->dev, alpha, f.look, t->err);
}

static void count_micro(struct step *t, const struct ral_micro *mb)
{
    struct ral_step_stats *st = t->stats;
    double nats = 0, entropy = 0;

    st->tokens += mb->pack.N;
    st->response_tokens += mb->pack.R;
    st->groups += mb->n;
    for (size_t i = 0; i < mb->n; i++)
        st->samples += mb->g[i]->G;
    for (size_t r = 0; r < mb->pack.R; r++) {
        nats -= (double)mb->logp[r];
        entropy += (double)mb->entropy[r];
    }
    ral_metric_add(&st->metrics, "nll", RAL_METRIC_MEAN, nats,
                   (double)mb->pack.R);
    ral_metric_add(&st->metrics, "entropy", RAL_METRIC_MEAN, entropy,
                   (double)mb->pack.R);
}

static int micro_losses(struct step *t, struct ral_micro *mb)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < t->o->terms; i++)
        rc = t->o->term[i].type->loss(&t->o->term[i], mb, &t->stats->loss,
                                      &t->stats->metrics, t->err);
    return rc;
}

static int micro_forward(struct step *t, struct ral_micro *mb,
                         struct ral_tape *tape, struct ral_mat *hidden)
{
    const struct ral_model *m = t->s->model;
    struct ral_forward f;
    int rc;

    if ((rc = ral_forward(m, &mb->pack, NULL, looks(t) ? &t->o->look : NULL,
                          tape, &f, t->a, t->err)) < 0 ||
        (rc = ral_head_logp(m, &mb->pack, f.hidden, t->o->temperature,
                            mb->logp, mb->entropy, t->a, t->err)) < 0)
        return rc;
    *hidden = f.hidden;
    return mb->alpha ? ral_get(m->dev, mb->alpha, f.look, t->err) : 0;
}

/* From the gradients of the terms to the weights'. */
static int micro_backward(struct step *t, struct ral_micro *mb,
                          const struct ral_tape *tape, struct ral_mat hidden,
                          struct ral_mat teacher_hidden)
{
    const struct ral_model *m = t->s->model;
    const struct ral_objective *o = t->o;
    const struct ral_head_teacher teacher = {o->teacher, teacher_hidden,
                                             mb->kl_weight, mb->kl_nats};
    const struct ral_mat dhidden =
        ral_mat_f32(t->a, mb->pack.U, m->config.width);
    struct ral_mat dlook = {0};
    int rc = ral_head_backward(m, &mb->pack, hidden, o->temperature, mb->dlogp,
                               mb->kl_weight ? &teacher : NULL, dhidden,
                               t->s->grad, t->a, t->err);

    if (rc < 0)
        return rc;
    for (size_t i = 0; i < o->terms; i++)
        if (o->term[i].type->after)
            o->term[i].type->after(&o->term[i], mb, &t->stats->loss,
                                   &t->stats->metrics);
    if (mb->dalpha)
        dlook = ral_mat_put(t->a, RAL_F32, mb->planes,
                            mb->pack.look[mb->pack.R], mb->dalpha);
    ral_backward(m, &mb->pack, tape, &o->look, dhidden, dlook, t->s->grad,
                 t->a);
    if (mb->dalpha)
        ral_look_query_gradient(m, &mb->pack, tape, &o->look, dlook, t->dWq,
                                t->a);
    return ral_sync(m->dev, t->err);
}

/* What fails for all rows at once is among these records. */
static int at_records(struct step *t, const struct ral_micro *mb)
{
    if (mb->n == 1)
        return ral_err_at(t->err, "record %s", mb->g[0]->id);
    return ral_err_at(t->err, "records %s to %s", mb->g[0]->id,
                      mb->g[mb->n - 1]->id);
}

static int micro_run(struct step *t, struct ral_micro *mb)
{
    struct ral_mat hidden, teacher_hidden = {0};
    struct ral_tape tape;
    int rc;

    if ((rc = pack_groups(t, mb, false, &mb->pack)) < 0 ||
        (rc = micro_alloc(t, mb)) < 0 || (rc = score_reference(t, mb)) < 0 ||
        (rc = run_teacher(t, mb, &teacher_hidden)) < 0)
        return rc;
    if ((rc = micro_forward(t, mb, &tape, &hidden)) < 0)
        return at_records(t, mb);
    if ((rc = micro_losses(t, mb)) < 0)
        return rc;
    count_micro(t, mb);
    return micro_backward(t, mb, &tape, hidden, teacher_hidden);
}

/* ------------------------------------------------------------ the step */

static size_t group_tokens(const struct ral_train_group *g)
{
    size_t n = g->P + g->visual; // a visual token is costly in the tower, too

    for (size_t k = 0; k < g->G; k++)
        n += g->sample[k].T;
    return n;
}

static bool pulls(const struct ral_objective *o,
                  const struct ral_train_group *g)
{
    bool any = false;

    for (size_t i = 0; i < o->terms; i++)
        any |= o->term[i].type->pulls(&o->term[i], g);
    return any;
}

/* The denominators count all groups; those that pull stay in the list. */
static int choose(struct step *t, const struct ral_train_group *const *g,
                  size_t n, const struct ral_train_group ***out, size_t *left)
{
    *left = 0;
    if (!(*out = RAL_NEW(&t->a->host, const struct ral_train_group *, n)))
        return out_of_memory(t);
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < g[i]->G; k++)
            ral_total_add(&t->total, g[i]->sample[k].T);
        if (pulls(t->o, g[i]))
            (*out)[(*left)++] = g[i];
    }
    t->stats->flat_groups = n - *left;
    t->stats->skipped = *left == 0;
    return 0;
}

/* The query weight of the highest layer that is looked at. */
static int query_weight(const struct step *t)
{
    const struct ral_look_conf *l = &t->o->look;

    return t->s->model->table.layer[l->layer[l->layers - 1]].qkv[0].w;
}

/* |attention| against |all - attention| on that weight. */
static int attention_share(struct step *t)
{
    struct ral_dev *dev = t->s->model->dev;
    const struct ral_mat all = ral_tensor_view(&t->s->model->table,
                                               query_weight(t), t->s->grad);
    const size_t n = all.rows * all.cols;
    const struct ral_mat rest = ral_mat_f32(t->a, 1, n);
    const struct ral_mat sums = ral_mat_new(t->a, RAL_F64, 1, 2);
    double s[2];
    int rc;

    RAL_DO(dev, copy, ral_mat_shaped(rest, all.rows, all.cols), all);
    RAL_DO(dev, add, rest, ral_mat_shaped(t->dWq, 1, n), -1);
    RAL_DO(dev, sumsq, ral_mat_cols(sums, 0, 1), ral_mat_shaped(t->dWq, 1, n));
    RAL_DO(dev, sumsq, ral_mat_cols(sums, 1, 1), rest);
    if ((rc = ral_get(dev, s, sums, t->err)) == 0)
        ral_metric_add(&t->stats->metrics, "attn_share", RAL_METRIC_SUM,
                       s[1] > 0 ? sqrt(s[0] / s[1]) : 0, 0);
    return rc;
}

static int finish(struct step *t)
{
    struct ral_step_stats *st = t->stats;
    int rc = ral_grad_norm(t->s, &st->grad_norm, t->a, t->err);

    if (rc == 0 && ral_mat_some(t->dWq))
        rc = attention_share(t);
    if (rc == 0 && !isfinite(st->grad_norm))
        rc = ral_grad_check(t->s, t->a, t->err);
    if (rc == 0 && !isfinite(st->loss))
        rc = ral_err_set(t->err, -RAL_EINVAL,
                         "the loss is not finite; lower the learning rate");
    return rc;
}

int ral_train_gradient(struct ral_state *s, const struct ral_objective *o,
                       const struct ral_train_group *const *g, size_t n,
                       struct ral_step_stats *stats, struct ral_space *a,
                       struct ral_err *err)
{
    const size_t cap = o->micro_tokens ? o->micro_tokens : MICRO_TOKENS;
    const struct ral_space_mark start = ral_space_mark(a);
    struct step t = {.s = s, .o = o, .stats = stats, .a = a, .err = err};
    const struct ral_train_group **list;
    struct ral_space_mark mark;
    int rc;

    memset(stats, 0, sizeof *stats);
    for (size_t i = 0; i < o->terms; i++)
        t.needs |= o->term[i].type->needs;
    if ((rc = choose(&t, g, n, &list, &n)) < 0)
        return rc;
    RAL_DO(s->model->dev, fill, s->grad, 0);
    if (looks(&t) && n) {
        const struct ral_tensor *wq = &s->model->table.tensor[query_weight(&t)];

        t.dWq = ral_mat_zero(a, wq->N, wq->K);
    }
    mark = ral_space_mark(a);
    for (size_t i = 0; rc == 0 && i < n;) {
        struct ral_micro mb = {.g = list + i, .total = &t.total};
        size_t tokens = 0;

        do
            tokens += group_tokens(list[i++]);
        while (i < n && tokens + group_tokens(list[i]) <= cap);
        mb.n = (size_t)(list + i - mb.g);
        rc = ral_stopped() ? ral_stop_err(err) : micro_run(&t, &mb);
        ral_space_rewind(a, mark);
    }
    if (rc == 0)
        rc = finish(&t);
    ral_space_rewind(a, start);
    return rc;
}

int ral_train_step(struct ral_state *s, const struct ral_objective *o,
                   const struct ral_train_group *const *g, size_t n,
                   struct ral_step_stats *stats, struct ral_space *a,
                   struct ral_err *err)
{
    double scale = 1;
    int rc = ral_train_gradient(s, o, g, n, stats, a, err);

    if (rc < 0)
        return rc;
    if (stats->skipped) {
        s->skipped++;
        return 0;
    }
    if (o->max_grad_norm > 0 && stats->grad_norm > o->max_grad_norm)
        scale = o->max_grad_norm / (stats->grad_norm + 1e-6);
    s->updates++;
    ral_adamw_step(s, &o->adamw, scale);
    return ral_sync(s->model->dev, err);
}

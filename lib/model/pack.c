/* lib/model/pack.c - prompts and responses as one packed batch of tokens. */
#include "model/pack.h"

#include <string.h>

int ral_positions(const struct ral_config *c, const int32_t *prompt, size_t P,
                  const struct ral_visual *visual, size_t nvisual, int32_t *t,
                  int32_t *h, int32_t *w, int32_t *next, struct ral_err *err)
{
    const size_t m = c->vision.merge;
    size_t i = 0, k = 0;
    int32_t cursor = 0;

    while (i < P) {
        size_t H, W;

        if (prompt[i] == c->video_id)
            return ral_err_set(err, -RAL_EINVAL,
                               "prompt token %zu is a video's; this version "
                               "reads pictures alone",
                               i);
        if (prompt[i] != c->image_id) {
            t[i] = h[i] = w[i] = cursor++;
            i++;
            continue;
        }
        if (k == nvisual)
            return ral_err_set(err, -RAL_EINVAL,
                               "prompt has placeholders for more than its "
                               "%zu pictures",
                               nvisual);
        H = visual[k].h / m;
        W = visual[k].w / m;
        for (size_t j = 0; j < H * W; j++, i++) {
            if (i == P || prompt[i] != c->image_id)
                return ral_err_set(err, -RAL_EINVAL,
                                   "picture %zu has %zu visual tokens, its "
                                   "prompt %zu placeholders",
                                   k + 1, H * W, j);
            t[i] = cursor;
            h[i] = cursor + (int32_t)(j / W);
            w[i] = cursor + (int32_t)(j % W);
        }
        cursor += (int32_t)(H > W ? H : W);
        k++;
    }
    if (k != nvisual)
        return ral_err_set(err, -RAL_EINVAL,
                           "prompt has placeholders for %zu of its %zu "
                           "pictures",
                           k, nvisual);
    *next = cursor;
    return 0;
}

void ral_position_angles(const struct ral_config *c, struct ral_angles *x,
                         size_t row, const struct ral_rotary *table,
                         const int32_t position[3])
{
    size_t j = 0;

    for (size_t axis = 0; axis < 3; axis++) {
        ral_angles_set(x, row, j, table, (size_t)position[axis], j,
                       c->mrope[axis]);
        j += c->mrope[axis];
    }
}

/* The host's tables, filled group by group; then they go to the machine. */
struct builder {
    struct ral_pack *p;
    const struct ral_model *m;
    struct ral_rotary table;   // of all positions that there may be
    struct ral_angles angles;  // [N]
    int32_t *word, *at_visual; // [N], [units]
    int32_t *pick;             // [M] the last rows' tokens
    int32_t *hidden;           // [U]
    int32_t *target;           // [R] of response tokens
    int32_t *predictor;        // [R] hidden row that predicts it
    int64_t *look_all, *look_last;
    struct ral_run *put;       // [spans]
    struct ral_span *span, *last;
    size_t spans, slots;
    struct ral_err *err;
};

/* Sizes of everything, and of the longest sequence. */
static int count(struct builder *b, const struct ral_pack_group *g, size_t n,
                 size_t *longest)
{
    const size_t context = b->m->config.positions;
    struct ral_pack *p = b->p;

    for (size_t i = 0; i < n; i++) {
        size_t most = g[i].P;

        if (g[i].P == 0)
            return ral_err_set(b->err, -RAL_EINVAL, "prompt holds no token");
        for (size_t k = 0; k < g[i].nvisual; k++) {
            const struct ral_visual *v = &g[i].visual[k];

            p->units += ral_visual_tokens(v->t, v->h, v->w,
                                          b->m->config.vision.merge);
        }
        for (size_t s = 0; s < g[i].G; s++) {
            const size_t T = g[i].response[s].T;

            if (T == 0)
                return ral_err_set(b->err, -RAL_EINVAL,
                                   "response %zu holds no token", s);
            p->R += T;
            p->U += T - 1;
            most = g[i].P + T > most ? g[i].P + T : most;
        }
        if (most > context)
            return ral_err_set(b->err, -RAL_EINVAL,
                               "prompt and response are %zu tokens, over the "
                               "context of %zu",
                               most, context);
        *longest = most > *longest ? most : *longest;
        p->N += g[i].P;
        p->nvisual += g[i].nvisual;
        b->spans += 1 + g[i].G;
    }
    p->N += p->R;
    p->U += n;
    p->M = n + p->R;
    return 0;
}

static int alloc(struct builder *b, size_t n, size_t longest,
                 struct ral_arena *a)
{
    const size_t half = b->m->config.head / 2;
    struct ral_pack *p = b->p;

    p->visual = RAL_NEW(a, const struct ral_visual *, p->nvisual);
    p->next = RAL_NEW(a, int32_t, n);
    p->prompt = RAL_NEW(a, struct ral_run, n);
    p->keys = RAL_NEW(a, size_t, p->R);
    p->look = RAL_NEW(a, size_t, p->R + 1);
    p->item = RAL_NEW(a, size_t, p->R);
    p->first = RAL_ZNEW(a, int32_t, p->U + 2);
    b->word = RAL_NEW(a, int32_t, p->N);
    b->at_visual = RAL_NEW(a, int32_t, p->units);
    b->pick = RAL_NEW(a, int32_t, p->M);
    b->hidden = RAL_NEW(a, int32_t, p->U);
    b->target = RAL_NEW(a, int32_t, 2 * p->R); // and in order of prediction
    b->predictor = RAL_NEW(a, int32_t, p->R);
    b->look_all = RAL_NEW(a, int64_t, p->N);
    b->look_last = RAL_NEW(a, int64_t, p->M);
    b->put = RAL_NEW(a, struct ral_run, b->spans);
    b->span = RAL_NEW(a, struct ral_span, b->spans);
    b->last = RAL_NEW(a, struct ral_span, b->spans);
    if (!p->visual || !p->next || !p->prompt || !p->keys || !p->look ||
        !p->item || !p->first || !b->word || !b->at_visual || !b->pick ||
        !b->hidden || !b->target || !b->predictor || !b->look_all ||
        !b->look_last || !b->put || !b->span || !b->last ||
        ral_rotary_init(&b->table, longest, half, b->m->freq, a) < 0 ||
        ral_angles_init(&b->angles, p->N, half, a) < 0)
        return ral_err_set(b->err, -RAL_ENOMEM, "out of memory for %zu tokens",
                           p->N);
    p->N = p->M = p->U = p->R = p->nvisual = p->units = 0; // counted up again
    b->spans = 0;
    return 0;
}

/* The next n tokens: their keys, and the spans of their queries, of which the
 * last layer has those from first on. */
static struct ral_run add_span(struct builder *b, size_t n, struct ral_run a,
                               size_t first)
{
    struct ral_pack *p = b->p;
    const struct ral_run run = {b->slots, p->N, n};

    b->put[b->spans] = run;
    b->span[b->spans] = (struct ral_span){
        .q0 = p->N, .nq = n, .a = a, .b = run, .causal = true};
    b->last[b->spans++] = (struct ral_span){
        .q0 = p->M, .nq = n - first, .a = a, .b = run, .causal = true};
    for (size_t i = first; i < n; i++)
        b->pick[p->M++] = (int32_t)(p->N + i);
    b->slots += ral_run_slots(n);
    p->N += n;
    return run;
}

static int check_ids(const struct builder *b, const int32_t *ids, size_t n)
{
    const size_t vocab = b->m->config.vocab;

    for (size_t i = 0; i < n; i++)
        if (ids[i] < 0 || (size_t)ids[i] >= vocab)
            return ral_err_set(b->err, -RAL_EINVAL,
                               "token id %d is outside the vocabulary of %zu",
                               ids[i], vocab);
    return 0;
}

static int add_prompt(struct builder *b, const struct ral_pack_group *g,
                      size_t group, struct ral_arena *a)
{
    static const struct ral_run none;
    const struct ral_config *c = &b->m->config;
    const struct ral_mark mark = ral_arena_mark(a);
    struct ral_pack *p = b->p;
    int32_t *pos = RAL_NEW(a, int32_t, 3 * g->P);
    int rc;

    if (!pos)
        return ral_err_set(b->err, -RAL_ENOMEM, "out of memory");
    if ((rc = check_ids(b, g->prompt, g->P)) < 0 ||
        (rc = ral_positions(c, g->prompt, g->P, g->visual, g->nvisual, pos,
                            pos + g->P, pos + 2 * g->P, &p->next[group],
                            b->err)) < 0)
        return rc;
    for (size_t i = 0; i < g->P; i++) {
        const int32_t at[3] = {pos[i], pos[g->P + i], pos[2 * g->P + i]};
        const bool visual = g->prompt[i] == c->image_id;

        b->word[p->N + i] = visual ? -1 : g->prompt[i];
        b->look_all[p->N + i] = -1;
        if (visual)
            b->at_visual[p->units++] = (int32_t)(p->N + i);
        ral_position_angles(c, &b->angles, p->N + i, &b->table, at);
    }
    for (size_t k = 0; k < g->nvisual; k++)
        p->visual[p->nvisual++] = &g->visual[k];
    ral_arena_rewind(a, mark);
    b->look_last[p->M] = -1;
    b->hidden[p->U++] = (int32_t)p->M;
    p->prompt[group] = add_span(b, g->P, none, g->P - 1);
    return 0;
}

/* The first token is predicted by the prompt's hidden row, others by the row
 * before them. */
static int add_response(struct builder *b, const struct ral_pack_group *g,
                        size_t group, size_t s, size_t prompt_hidden)
{
    const struct ral_response *r = &g->response[s];
    struct ral_pack *p = b->p;
    int rc;

    if ((rc = check_ids(b, r->ids, r->T)) < 0)
        return rc;
    for (size_t t = 0; t < r->T; t++, p->R++) {
        const int32_t pos = p->next[group] + (int32_t)t;
        const int32_t at[3] = {pos, pos, pos};

        b->word[p->N + t] = r->ids[t];
        ral_position_angles(&b->m->config, &b->angles, p->N + t, &b->table,
                            at);
        b->target[p->R] = r->ids[t];
        b->predictor[p->R] = (int32_t)(t ? p->U - 1 : prompt_hidden);
        p->keys[p->R] = g->P + t + 1;
        p->look[p->R + 1] = p->look[p->R] + p->keys[p->R];
        b->look_all[p->N + t] = b->look_last[p->M + t] =
            (int64_t)p->look[p->R];
        if (t + 1 < r->T)
            b->hidden[p->U++] = (int32_t)(p->M + t);
    }
    add_span(b, r->T, p->prompt[group], 0);
    return 0;
}

/* A counting sort of the response tokens by the hidden row that predicts
 * them; their targets in that order follow the first R. */
static void order_predictions(struct builder *b)
{
    struct ral_pack *p = b->p;

    for (size_t r = 0; r < p->R; r++)
        p->first[b->predictor[r] + 2]++;
    for (size_t u = 0; u < p->U; u++)
        p->first[u + 2] += p->first[u + 1];
    for (size_t r = 0; r < p->R; r++) {
        const int32_t k = p->first[b->predictor[r] + 1]++;

        p->item[k] = r;
        b->target[p->R + (size_t)k] = b->target[r];
    }
}

static void to_machine(struct builder *b, struct ral_space *a)
{
    struct ral_pack *p = b->p;
    const size_t half = b->angles.half;
    const struct ral_mat cos =
        ral_mat_put(a, RAL_F32, p->N, half, b->angles.cos);
    const struct ral_mat sin =
        ral_mat_put(a, RAL_F32, p->N, half, b->angles.sin);
    struct ral_query_rows *last = &p->last.query;

    p->word = ral_mat_put(a, RAL_I32, 1, p->N, b->word);
    p->at_visual = ral_mat_put(a, RAL_I32, 1, p->units, b->at_visual);
    p->hidden = ral_mat_put(a, RAL_I32, 1, p->U, b->hidden);
    p->targets.first = ral_mat_put(a, RAL_I32, 1, p->U + 1, p->first);
    p->targets.id = ral_mat_put(a, RAL_I32, 1, p->R, b->target + p->R);
    p->look_all = ral_mat_put(a, RAL_I64, 1, p->N, b->look_all);
    p->look_last = ral_mat_put(a, RAL_I64, 1, p->M, b->look_last);
    p->all.key = p->last.key = (struct ral_key_rows){
        p->N, cos, sin, ral_runs_put(a, b->put, b->spans), b->slots};
    p->all.query = (struct ral_query_rows){
        .n = p->N, .cos = cos, .sin = sin,
        .spans = ral_spans_put(a, b->span, b->spans)};
    *last = (struct ral_query_rows){
        .n = p->M,
        .pick = ral_mat_put(a, RAL_I32, 1, p->M, b->pick),
        .cos = ral_mat_f32(a, p->M, half),
        .sin = ral_mat_f32(a, p->M, half),
        .spans = ral_spans_put(a, b->last, b->spans)};
    RAL_DO(a->dev, gather, last->cos, cos, last->pick);
    RAL_DO(a->dev, gather, last->sin, sin, last->pick);
}

int ral_pack_build(struct ral_pack *p, const struct ral_model *m,
                   const struct ral_pack_group *g, size_t n,
                   struct ral_space *a, struct ral_err *err)
{
    struct builder b = {.p = p, .m = m, .err = err};
    size_t longest = 0;
    int rc;

    memset(p, 0, sizeof(*p));
    if ((rc = count(&b, g, n, &longest)) < 0 ||
        (rc = alloc(&b, n, longest, &a->host)) < 0)
        return rc;
    p->look[0] = 0;
    for (size_t i = 0; rc == 0 && i < n; i++) {
        const size_t hidden = p->U;

        rc = add_prompt(&b, &g[i], i, &a->host);
        for (size_t s = 0; rc == 0 && s < g[i].G; s++)
            rc = add_response(&b, &g[i], i, s, hidden);
    }
    if (rc < 0)
        return rc;
    order_predictions(&b);
    to_machine(&b, a);
    return 0;
}

/* lib/model/pack.c - prompts and responses as one packed batch of tokens. */
#include "model/pack.h"

#include <string.h>

int ral_positions(const struct ral_config *c, const int32_t *prompt, size_t P,
                  const struct ral_visual *picture, size_t npicture,
                  int32_t *t, int32_t *h, int32_t *w, int32_t *next,
                  struct ral_err *err)
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
        if (k == npicture)
            return ral_err_set(err, -RAL_EINVAL,
                               "prompt has placeholders for more than its "
                               "%zu pictures",
                               npicture);
        H = picture[k].h / m;
        W = picture[k].w / m;
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
    if (k != npicture)
        return ral_err_set(err, -RAL_EINVAL,
                           "prompt has placeholders for %zu of its %zu "
                           "pictures",
                           k, npicture);
    *next = cursor;
    return 0;
}

void ral_position_rotary(const struct ral_model *m,
                         const struct ral_rotary *table, int32_t t, int32_t h,
                         int32_t w, float *cos, float *sin)
{
    const int32_t pos[3] = {t, h, w};
    size_t j = 0;

    for (size_t axis = 0; axis < 3; axis++) {
        const size_t n = m->config.mrope[axis];
        const size_t at = (size_t)pos[axis] * table->n + j;

        memcpy(cos + j, table->cos + at, n * sizeof(float));
        memcpy(sin + j, table->sin + at, n * sizeof(float));
        j += n;
    }
}

static int alloc(struct ral_pack *p, const struct ral_model *m, size_t n,
                 size_t spans, struct ral_arena *a)
{
    const size_t half = m->config.head / 2;

    p->ids = RAL_NEW(a, int32_t, p->N);
    p->cos = RAL_NEW(a, float, p->N * half);
    p->sin = RAL_NEW(a, float, p->N * half);
    p->layout.span = RAL_NEW(a, struct ral_span, spans);
    p->layout.put = RAL_NEW(a, struct ral_run, spans);
    p->last.span = RAL_NEW(a, struct ral_span, spans);
    p->last.keep = RAL_NEW(a, size_t, n + p->R);
    p->picture = RAL_NEW(a, struct ral_visual, p->npicture);
    p->next = RAL_NEW(a, int32_t, n);
    p->visual = RAL_NEW(a, size_t, p->units);
    p->hidden = RAL_NEW(a, size_t, p->U);
    p->target = RAL_NEW(a, int32_t, p->R);
    p->predictor = RAL_NEW(a, size_t, p->R);
    p->row = RAL_NEW(a, size_t, p->R);
    p->keys = RAL_NEW(a, size_t, p->R);
    p->first = RAL_ZNEW(a, size_t, p->U + 1);
    p->item = RAL_NEW(a, size_t, p->R);
    return !p->ids || !p->cos || !p->sin || !p->layout.span ||
                   !p->layout.put || !p->last.span || !p->last.keep ||
                   !p->picture || !p->next || !p->visual || !p->hidden ||
                   !p->target || !p->predictor || !p->row || !p->keys ||
                   !p->first || !p->item
               ? -RAL_ENOMEM
               : 0;
}

/* longest: tokens of the longest sequence. */
static int count(struct ral_pack *p, const struct ral_model *m,
                 const struct ral_pack_group *g, size_t n, size_t *longest,
                 struct ral_arena *a, struct ral_err *err)
{
    size_t spans = 0;

    memset(p, 0, sizeof(*p));
    *longest = 0;
    for (size_t i = 0; i < n; i++) {
        p->N += g[i].P;
        p->npicture += g[i].npicture;
        spans += 1 + g[i].G;
        p->U++;
        *longest = g[i].P > *longest ? g[i].P : *longest;
        for (size_t k = 0; k < g[i].npicture; k++)
            p->units += ral_visual_tokens(g[i].picture[k].t, g[i].picture[k].h,
                                          g[i].picture[k].w,
                                          m->config.vision.merge);
        for (size_t s = 0; s < g[i].G; s++) {
            const size_t T = g[i].response[s].T;

            if (T == 0)
                return ral_err_set(err, -RAL_EINVAL,
                                   "response %zu holds no token", s);
            p->N += T;
            p->R += T;
            p->U += T - 1;
            if (g[i].P + T > *longest)
                *longest = g[i].P + T;
        }
        if (g[i].P == 0)
            return ral_err_set(err, -RAL_EINVAL, "prompt holds no token");
        if (*longest > m->config.positions)
            return ral_err_set(err, -RAL_EINVAL,
                               "prompt and response are %zu tokens, over the "
                               "context of %zu",
                               *longest, m->config.positions);
    }
    if (alloc(p, m, n, spans, a) < 0)
        return ral_err_set(err, -RAL_ENOMEM, "out of memory for %zu tokens",
                           p->N);
    p->N = p->U = p->R = p->npicture = p->units = 0; // counted up again
    return 0;
}

/* Appends a run of rows: its keys, and the span of its queries. The last
 * layer keeps the rows from first on. */
static struct ral_run add_span(struct ral_pack *p, size_t n, struct ral_run a,
                               size_t first)
{
    const struct ral_run run = {p->layout.slots, p->N, n};
    struct ral_layout *last = &p->last;

    p->layout.put[p->layout.nput++] = run;
    p->layout.span[p->layout.nspan++] = (struct ral_span){
        .q0 = p->N, .nq = n, .a = a, .b = run, .causal = true};
    last->span[last->nspan++] = (struct ral_span){
        .q0 = last->nkeep, .nq = n - first, .a = a, .b = run, .causal = true};
    for (size_t i = first; i < n; i++)
        last->keep[last->nkeep++] = p->N + i;
    p->layout.slots += ral_run_slots(n);
    if (a.n + n > p->layout.keys)
        p->layout.keys = a.n + n;
    p->N += n;
    return run;
}

static int check_ids(const struct ral_model *m, const int32_t *ids, size_t n,
                     struct ral_err *err)
{
    for (size_t i = 0; i < n; i++)
        if (ids[i] < 0 || (size_t)ids[i] >= m->config.vocab)
            return ral_err_set(err, -RAL_EINVAL,
                               "token id %d is outside the vocabulary of %zu",
                               ids[i], m->config.vocab);
    return 0;
}

static int add_prompt(struct ral_pack *p, const struct ral_model *m,
                      const struct ral_pack_group *g,
                      const struct ral_rotary *table, int32_t *next,
                      struct ral_arena *a, struct ral_err *err)
{
    const size_t half = m->config.head / 2, row = p->N;
    const struct ral_mark mark = ral_arena_mark(a);
    int32_t *pos = RAL_NEW(a, int32_t, 3 * g->P);
    int rc;

    if (!pos)
        return ral_err_set(err, -RAL_ENOMEM, "out of memory");
    if ((rc = check_ids(m, g->prompt, g->P, err)) < 0 ||
        (rc = ral_positions(&m->config, g->prompt, g->P, g->picture,
                            g->npicture, pos, pos + g->P, pos + 2 * g->P, next,
                            err)) < 0)
        return rc;
    for (size_t i = 0; i < g->P; i++) {
        p->ids[row + i] = g->prompt[i];
        if (g->prompt[i] == m->config.image_id)
            p->visual[p->units++] = row + i;
        ral_position_rotary(m, table, pos[i], pos[g->P + i],
                            pos[2 * g->P + i], p->cos + (row + i) * half,
                            p->sin + (row + i) * half);
    }
    for (size_t k = 0; k < g->npicture; k++)
        p->picture[p->npicture++] = g->picture[k];
    ral_arena_rewind(a, mark);
    return 0;
}

static int add_response(struct ral_pack *p, const struct ral_model *m,
                        const struct ral_pack_group *g, size_t s,
                        const struct ral_rotary *table, struct ral_run prompt,
                        size_t last, int32_t next, struct ral_err *err)
{
    const struct ral_response *r = &g->response[s];
    const size_t half = m->config.head / 2, row = p->N, kept = p->last.nkeep;
    int rc;

    if ((rc = check_ids(m, r->ids, r->T, err)) < 0)
        return rc;
    for (size_t t = 0; t < r->T; t++) {
        const int32_t pos = next + (int32_t)t;

        p->ids[row + t] = r->ids[t];
        ral_position_rotary(m, table, pos, pos, pos, p->cos + (row + t) * half,
                            p->sin + (row + t) * half);
        p->target[p->R] = r->ids[t];
        p->row[p->R] = kept + t;
        p->keys[p->R] = g->P + t + 1;
        p->predictor[p->R] = t ? p->U - 1 : last;
        p->R++;
        if (t + 1 < r->T)
            p->hidden[p->U++] = kept + t;
    }
    add_span(p, r->T, prompt, 0);
    return 0;
}

/* A counting sort of the response tokens by the row that predicts them. */
static void index_targets(struct ral_pack *p)
{
    for (size_t r = 0; r < p->R; r++)
        p->first[p->predictor[r] + 1]++;
    for (size_t u = 0; u < p->U; u++)
        p->first[u + 1] += p->first[u];
    for (size_t r = p->R; r-- > 0;)
        p->item[--p->first[p->predictor[r] + 1]] = r;
    // first[u+1] now stands where u begins: move back by one.
    memmove(p->first, p->first + 1, p->U * sizeof(*p->first));
    p->first[p->U] = p->R;
}

/* What the last layer shares with the others. */
static void finish_last(struct ral_pack *p)
{
    p->last.put = p->layout.put;
    p->last.nput = p->layout.nput;
    p->last.slots = p->layout.slots;
    p->last.keys = p->layout.keys;
}

int ral_pack_build(struct ral_pack *p, const struct ral_model *m,
                   const struct ral_pack_group *g, size_t n,
                   struct ral_arena *a, struct ral_err *err)
{
    static const struct ral_run none;
    struct ral_rotary table;
    size_t longest;
    int rc = count(p, m, g, n, &longest, a, err);

    if (rc == 0 && ral_rotary_init(&table, longest, m->config.head / 2,
                                   m->freq, a) < 0)
        rc = ral_err_set(err, -RAL_ENOMEM, "out of memory for %zu positions",
                         longest);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        struct ral_run prompt;
        size_t last;

        if ((rc = add_prompt(p, m, &g[i], &table, &p->next[i], a, err)) < 0)
            break;
        prompt = add_span(p, g[i].P, none, g[i].P - 1);
        last = p->U;
        p->hidden[p->U++] = p->last.nkeep - 1;
        for (size_t s = 0; rc == 0 && s < g[i].G; s++)
            rc = add_response(p, m, &g[i], s, &table, prompt, last,
                              p->next[i], err);
    }
    if (rc == 0) {
        finish_last(p);
        index_targets(p);
    }
    return rc;
}

/* lib/model/vision.c - the tower: patches to features of visual tokens.
 *
 * Rows are gathered into window order after the first product, which shortens
 * them; they are independent until attention, so the order of the rest follows.
 */
#include "model/vision.h"

#include <string.h>

#include "nn/exact.h"

size_t ral_picture_tokens(const struct ral_config *c,
                          const struct ral_picture *p)
{
    return p->h * p->w / (c->vision.merge * c->vision.merge);
}

static size_t patch_numbers(const struct ral_vision_config *v)
{
    return v->channels * v->temporal * v->patch * v->patch;
}

int ral_rotary_init(struct ral_rotary *r, size_t positions, size_t n,
                    const float *freq, struct ral_arena *a)
{
    *r = (struct ral_rotary){.n = n,
                             .cos = RAL_NEW(a, float, positions * n),
                             .sin = RAL_NEW(a, float, positions * n)};
    if (!r->cos || !r->sin)
        return -RAL_ENOMEM;
    for (size_t i = 0; i < positions * n; i++) {
        double s, c;

        ral_sincos_d((double)((float)(i / n) * freq[i % n]), &s, &c);
        r->cos[i] = (float)c;
        r->sin[i] = (float)s;
    }
    return 0;
}

static void add_segment(struct ral_layout *l, size_t row, size_t n)
{
    const struct ral_run run = {l->slots, row, n};

    l->put[l->nput++] = run;
    l->span[l->nspan++] = (struct ral_span){
        .q0 = row, .nq = n, .b = run, .causal = false};
    l->slots += ral_run_slots(n);
    if (n > l->keys)
        l->keys = n;
}

/* The k-th unit of a picture in window order, and its patches' positions. */
struct walk {
    const struct ral_model *m;
    struct ral_vision_saved *v;
    struct ral_rotary table; // of rows and columns
    float *cos, *sin;
    const struct ral_picture *pic;
    size_t first;  // units before this picture
    size_t k;      // units placed so far
};

static void place_unit(struct walk *w, size_t uy, size_t ux)
{
    const struct ral_vision_config *c = &w->m->config.vision;
    const size_t m = c->merge, quarter = c->width / c->heads / 4;

    w->v->order[w->k] = w->first + uy * (w->pic->w / m) + ux;
    for (size_t i = 0; i < m * m; i++) {
        const size_t at[2] = {uy * m + i / m, ux * m + i % m};

        for (size_t axis = 0; axis < 2; axis++) {
            const size_t to =
                ((w->k * m * m + i) * 2 + axis) * quarter;

            memcpy(w->cos + to, w->table.cos + at[axis] * quarter,
                   quarter * sizeof(float));
            memcpy(w->sin + to, w->table.sin + at[axis] * quarter,
                   quarter * sizeof(float));
        }
    }
    w->k++;
}

static void place_picture(struct walk *w)
{
    const struct ral_vision_config *c = &w->m->config.vision;
    const size_t m = c->merge, edge = c->window / m / c->patch;
    const size_t H = w->pic->h / m, W = w->pic->w / m, start = w->k;

    for (size_t wy = 0; wy < H; wy += edge) {
        for (size_t wx = 0; wx < W; wx += edge) {
            const size_t from = w->k;

            for (size_t y = wy; y < H && y < wy + edge; y++)
                for (size_t x = wx; x < W && x < wx + edge; x++)
                    place_unit(w, y, x);
            add_segment(&w->v->windows, from * m * m, (w->k - from) * m * m);
        }
    }
    add_segment(&w->v->frames, start * m * m, (w->k - start) * m * m);
    w->first += H * W;
}

static int layout_alloc(struct ral_layout *l, size_t n, struct ral_arena *a)
{
    *l = (struct ral_layout){.span = RAL_NEW(a, struct ral_span, n),
                             .put = RAL_NEW(a, struct ral_run, n)};
    return l->span && l->put ? 0 : -RAL_ENOMEM;
}

static int prepare(const struct ral_model *m, const struct ral_picture *p,
                   size_t n, struct ral_vision_saved *v, struct ral_arena *a)
{
    const struct ral_vision_config *c = &m->config.vision;
    const size_t mm = c->merge * c->merge, D = c->width / c->heads;
    const size_t edge = c->window / c->merge / c->patch;
    struct walk w = {.m = m, .v = v};
    size_t windows = 0, longest = 0;

    memset(v, 0, sizeof(*v));
    v->picture = p;
    v->pictures = n;
    for (size_t i = 0; i < n; i++) {
        longest = p[i].h > longest ? p[i].h : longest;
        longest = p[i].w > longest ? p[i].w : longest;
        v->units += ral_picture_tokens(&m->config, &p[i]);
        windows += ((p[i].h / c->merge + edge - 1) / edge) *
                   ((p[i].w / c->merge + edge - 1) / edge);
    }
    v->order = RAL_NEW(a, size_t, v->units);
    w.cos = RAL_NEW(a, float, v->units * mm * (D / 2));
    w.sin = RAL_NEW(a, float, v->units * mm * (D / 2));
    if (!v->order || !w.cos || !w.sin ||
        ral_rotary_init(&w.table, longest, D / 4, m->vision_freq, a) < 0 ||
        layout_alloc(&v->windows, windows, a) < 0 ||
        layout_alloc(&v->frames, n, a) < 0)
        return -RAL_ENOMEM;
    v->stack = (struct ral_stack){
        .m = m,
        .shape = {c->heads, c->heads, D, 0},
        .width = c->width,
        .inner = c->inner,
        .eps = 1e-6f, // hard-coded in the reference
        .N = v->units * mm,
        .cos = w.cos,
        .sin = w.sin,
    };
    v->stack.shape.scale = 1.0f / __builtin_sqrtf((float)D);
    for (size_t i = 0; i < n; i++) {
        w.pic = &p[i];
        place_picture(&w);
    }
    return 0;
}

/* Units of rows between raster order, x, and window order, y. */
static void to_windows(const struct ral_vision_saved *v, size_t C,
                       const float *x, float *y)
{
    const size_t unit = v->stack.N / v->units * C;

    for (size_t k = 0; k < v->units; k++)
        memcpy(y + k * unit, x + v->order[k] * unit, unit * sizeof(float));
}

static void from_windows(const struct ral_vision_saved *v, size_t C,
                         const float *y, float *x)
{
    const size_t unit = v->stack.N / v->units * C;

    for (size_t k = 0; k < v->units; k++)
        memcpy(x + v->order[k] * unit, y + k * unit, unit * sizeof(float));
}

static int embed_forward(const struct ral_model *m, struct ral_vision_saved *v,
                         struct ral_arena *a)
{
    const size_t C = v->stack.width, P = patch_numbers(&m->config.vision);
    float *raster, *at;

    v->x = RAL_NEW(a, float, v->stack.N * C);
    at = raster = RAL_NEW(a, float, v->stack.N * C);
    if (!v->x || !raster)
        return -RAL_ENOMEM;
    for (const struct ral_picture *p = v->picture;
         p < v->picture + v->pictures; at += p->h * p->w * C, p++)
        ral_linear_forward(m, (struct ral_linear){m->table.patch, -1},
                           p->h * p->w, p->patches, P, false, at, C);
    to_windows(v, C, raster, v->x);
    return 0;
}

static int embed_backward(const struct ral_model *m,
                          const struct ral_vision_saved *v, const float *dx,
                          float *grad, struct ral_arena *a)
{
    const size_t C = v->stack.width, P = patch_numbers(&m->config.vision);
    float *raster = RAL_NEW(a, float, v->stack.N * C), *at = raster;

    if (!raster)
        return -RAL_ENOMEM;
    from_windows(v, C, dx, raster);
    for (const struct ral_picture *p = v->picture;
         p < v->picture + v->pictures; at += p->h * p->w * C, p++)
        ral_linear_backward(m, (struct ral_linear){m->table.patch, -1},
                            p->h * p->w, p->patches, P, at, C, false, NULL, 0,
                            grad);
    return 0;
}

static int make_kv(const struct ral_vision_saved *v, struct ral_kv *kv,
                   struct ral_arena *a)
{
    const size_t slots = v->windows.slots > v->frames.slots
                             ? v->windows.slots
                             : v->frames.slots;

    return ral_kv_init(kv, a, v->stack.shape.KV, v->stack.shape.D, slots);
}

static int merge_forward(const struct ral_model *m, struct ral_vision_saved *v,
                         float *features, struct ral_arena *a)
{
    const struct ral_table *t = &m->table;
    const size_t U = v->units, M = m->w[t->merger[0].w].K,
                 out = m->config.width;
    float *sorted = RAL_NEW(a, float, U * out);

    v->r = RAL_NEW(a, float, v->stack.N);
    v->normed = RAL_NEW(a, float, U * M);
    v->inner = RAL_NEW(a, float, U * M);
    v->act = RAL_NEW(a, float, U * M);
    if (!sorted || !v->r || !v->normed || !v->inner || !v->act)
        return -RAL_ENOMEM;
    ral_norm_forward(m, t->merger_norm, v->stack.eps, v->stack.N, v->x,
                     v->normed, v->r);
    ral_linear_forward(m, t->merger[0], U, v->normed, M, false, v->inner, M);
    for (size_t i = 0; i < U; i++)
        m->nn->k.gelu(M, v->inner + i * M, v->act + i * M);
    ral_linear_forward(m, t->merger[1], U, v->act, M, false, sorted, out);
    for (size_t k = 0; k < U; k++)
        memcpy(features + v->order[k] * out, sorted + k * out,
               out * sizeof(float));
    return 0;
}

int ral_vision_forward(const struct ral_model *m, const struct ral_picture *p,
                       size_t n, bool keep, struct ral_vision_saved *v,
                       float *features, struct ral_arena *a)
{
    const struct ral_vision_config *c = &m->config.vision;
    const struct ral_mark mark = ral_arena_mark(a);
    struct ral_kv kv;
    int rc;

    if ((rc = prepare(m, p, n, v, a)) < 0 || (rc = make_kv(v, &kv, a)) < 0 ||
        (rc = embed_forward(m, v, a)) < 0)
        return rc;
    if (!(v->block = RAL_ZNEW(a, struct ral_saved, c->depth)))
        return -RAL_ENOMEM;
    for (size_t i = 0; i < c->depth; i++)
        if ((rc = ral_block_forward(&v->stack, &m->table.tower[i],
                                    c->full[i] ? &v->frames : &v->windows,
                                    &kv, v->x, keep ? &v->block[i] : NULL,
                                    NULL, a)) < 0)
            return rc;
    rc = merge_forward(m, v, features, a);
    if (!keep)
        ral_arena_rewind(a, mark);
    return rc;
}

/* Gradient of the merger, down to the tower's last output dx. */
static int merge_backward(const struct ral_model *m,
                          const struct ral_vision_saved *v,
                          const float *dfeatures, float *dx, float *grad,
                          struct ral_arena *a)
{
    const struct ral_table *t = &m->table;
    const size_t U = v->units, M = m->w[t->merger[0].w].K,
                 out = m->config.width;
    float *dy = RAL_NEW(a, float, U * out), *da = RAL_NEW(a, float, U * M);
    float *dn = RAL_NEW(a, float, U * M);

    if (!dy || !da || !dn)
        return -RAL_ENOMEM;
    for (size_t k = 0; k < U; k++)
        memcpy(dy + k * out, dfeatures + v->order[k] * out,
               out * sizeof(float));
    ral_linear_backward(m, t->merger[1], U, v->act, M, dy, out, false, da, M,
                        grad);
    for (size_t i = 0; i < U; i++)
        m->nn->k.gelu_backward(M, v->inner + i * M, da + i * M, da + i * M);
    ral_linear_backward(m, t->merger[0], U, v->normed, M, da, M, false, dn, M,
                        grad);
    return ral_norm_backward(m, t->merger_norm, v->stack.N, v->x, v->r, dn, dx,
                             grad, a);
}

int ral_vision_backward(const struct ral_model *m,
                        const struct ral_vision_saved *v,
                        const float *dfeatures, float *grad,
                        struct ral_arena *a)
{
    const struct ral_vision_config *c = &m->config.vision;
    const struct ral_mark mark = ral_arena_mark(a);
    float *dx = RAL_ZNEW(a, float, v->stack.N * c->width);
    struct ral_kv kv;
    int rc;

    if (!dx || make_kv(v, &kv, a) < 0)
        return -RAL_ENOMEM;
    rc = merge_backward(m, v, dfeatures, dx, grad, a);
    for (size_t i = c->depth; rc == 0 && i-- > 0;)
        rc = ral_block_backward(&v->stack, &m->table.tower[i],
                                c->full[i] ? &v->frames : &v->windows, &kv,
                                &v->block[i], NULL, dx, grad, a);
    if (rc == 0)
        rc = embed_backward(m, v, dx, grad, a);
    ral_arena_rewind(a, mark);
    return rc;
}

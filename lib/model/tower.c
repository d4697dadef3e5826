/* lib/model/tower.c - the vision tower: patches to features of visual tokens.
 *
 * Rows are gathered into window order after the first product, which shortens
 * them; they are independent until attention, so the order of the rest follows.
 */
#include "model/tower.h"

#include <string.h>

#include "model/linear.h"
#include "model/rotary.h"

/* Patches that are repeated in time and multiplied at once: the chunk of rows
 * of a weight's gradient (nn/ops.h), so that no bit depends on it. */
enum { CHUNK = 512 };

/* ------------------------------------------------------------ the layouts */

/* Host tables of a layout that grows a segment at a time: rows that see each
 * other, all of them. */
struct segments {
    struct ral_span *span;
    struct ral_run *put;
    size_t n, slots;
};

static void add_segment(struct segments *l, size_t row, size_t n)
{
    const struct ral_run run = {l->slots, row, n};

    l->put[l->n] = run;
    l->span[l->n++] = (struct ral_span){
        .q0 = row, .nq = n, .b = run, .causal = false};
    l->slots += ral_run_slots(n);
}

/* Where the units of all visuals are put, one after another. */
struct walk {
    const struct ral_vision_config *c;
    struct ral_rotary table;  // of rows and columns
    struct ral_angles angles; // [patches][D/2]: a quarter for each axis, twice
    struct segments windows, frames;
    int32_t *order;           // [units] raster place of the k-th unit
    size_t first;             // units before this frame
    size_t k;                 // units placed so far
};

/* The unit at row uy and column ux of a frame that is W units wide. */
static void place_unit(struct walk *w, size_t W, size_t uy, size_t ux)
{
    const size_t m = w->c->merge, quarter = w->table.n;

    w->order[w->k] = (int32_t)(w->first + uy * W + ux);
    for (size_t i = 0; i < m * m; i++) {
        const size_t row = w->k * m * m + i;

        ral_angles_set(&w->angles, row, 0, &w->table, uy * m + i / m, 0,
                       quarter);
        ral_angles_set(&w->angles, row, quarter, &w->table, ux * m + i % m, 0,
                       quarter);
    }
    w->k++;
}

/* One frame of H x W units: its windows, row by row, and the whole. */
static void place_frame(struct walk *w, size_t H, size_t W)
{
    const size_t m = w->c->merge, edge = w->c->window / m / w->c->patch;
    const size_t start = w->k;

    for (size_t wy = 0; wy < H; wy += edge) {
        for (size_t wx = 0; wx < W; wx += edge) {
            const size_t from = w->k;

            for (size_t y = wy; y < H && y < wy + edge; y++)
                for (size_t x = wx; x < W && x < wx + edge; x++)
                    place_unit(w, W, y, x);
            add_segment(&w->windows, from * m * m, (w->k - from) * m * m);
        }
    }
    add_segment(&w->frames, start * m * m, (w->k - start) * m * m);
    w->first += H * W;
}

static int segments_alloc(struct segments *l, size_t n, struct ral_arena *a)
{
    *l = (struct segments){.span = RAL_NEW(a, struct ral_span, n),
                           .put = RAL_NEW(a, struct ral_run, n)};
    return l->span && l->put ? 0 : -RAL_ENOMEM;
}

/* Counts first, so that the tables are allocated whole. */
static int walk_alloc(struct walk *w, const struct ral_model *m,
                      const struct ral_visual *const *visual,
                      struct ral_tower_tape *t, struct ral_arena *a)
{
    const struct ral_vision_config *c = w->c;
    const size_t edge = c->window / c->merge / c->patch;
    const size_t quarter = c->width / c->heads / 4;
    size_t windows = 0, frames = 0, longest = 0;

    for (size_t i = 0; i < t->n; i++) {
        const struct ral_visual *v = visual[i];

        longest = v->h > longest ? v->h : longest;
        longest = v->w > longest ? v->w : longest;
        frames += v->t;
        windows += v->t * ((v->h / c->merge + edge - 1) / edge) *
                   ((v->w / c->merge + edge - 1) / edge);
        t->patches += ral_visual_rows(v);
    }
    t->units = t->patches / (c->merge * c->merge);
    w->order = RAL_NEW(a, int32_t, t->units);
    if (!w->order ||
        ral_rotary_init(&w->table, longest, quarter, m->vision_freq, a) < 0 ||
        ral_angles_init(&w->angles, t->patches, 2 * quarter, a) < 0 ||
        segments_alloc(&w->windows, windows, a) < 0 ||
        segments_alloc(&w->frames, frames, a) < 0)
        return -RAL_ENOMEM;
    return 0;
}

/* All rows give keys, and ask. */
static struct ral_layout layout_put(const struct segments *l,
                                    struct ral_mat cos, struct ral_mat sin,
                                    struct ral_space *a)
{
    return (struct ral_layout){
        .key = {cos.rows, cos, sin, ral_runs_put(a, l->put, l->n), l->slots},
        .query = {.n = cos.rows, .cos = cos, .sin = sin,
                  .spans = ral_spans_put(a, l->span, l->n)},
    };
}

static int prepare(const struct ral_model *m,
                   const struct ral_visual *const *visual,
                   struct ral_tower_tape *t, struct ral_space *a)
{
    struct walk w = {.c = &m->config.vision};
    struct ral_mat cos, sin;
    int rc = walk_alloc(&w, m, visual, t, &a->host);

    if (rc < 0)
        return rc;
    for (size_t i = 0; i < t->n; i++)
        for (size_t f = 0; f < visual[i]->t; f++)
            place_frame(&w, visual[i]->h / w.c->merge,
                        visual[i]->w / w.c->merge);
    cos = ral_mat_put(a, RAL_F32, t->patches, w.angles.half, w.angles.cos);
    sin = ral_mat_put(a, RAL_F32, t->patches, w.angles.half, w.angles.sin);
    t->order = ral_mat_put(a, RAL_I32, 1, t->units, w.order);
    t->windows = layout_put(&w.windows, cos, sin, a);
    t->frames = layout_put(&w.frames, cos, sin, a);
    return 0;
}

/* --------------------------------------------------------- the first product */

static size_t patch_numbers(const struct ral_vision_config *c)
{
    return c->channels * c->temporal * c->patch * c->patch;
}

static int visuals_put(const struct ral_model *m,
                       const struct ral_visual *const *visual,
                       struct ral_tower_tape *t, struct ral_space *a)
{
    const struct ral_vision_config *c = &m->config.vision;

    t->visual = RAL_NEW(&a->host, struct ral_mat, t->n);
    t->times = RAL_NEW(&a->host, size_t, t->n);
    if (!t->visual || !t->times)
        return -RAL_ENOMEM;
    for (size_t i = 0; i < t->n; i++) {
        t->times[i] = c->temporal / visual[i]->frames;
        t->visual[i] = ral_mat_over(a, RAL_F32, ral_visual_rows(visual[i]),
                                    patch_numbers(c) / t->times[i],
                                    visual[i]->patches);
    }
    return 0;
}

/* Rows from .. from+n-1 of a visual as the product takes them. */
static struct ral_mat patches_of(const struct ral_model *m,
                                 const struct ral_tower_tape *t, size_t i,
                                 size_t from, size_t n, struct ral_space *a)
{
    const struct ral_mat x = ral_mat_rows(t->visual[i], from, n);
    struct ral_mat y;

    if (t->times[i] == 1)
        return x;
    y = ral_mat_f32(a, n, x.cols * t->times[i]);
    RAL_DO(m->dev, spread, y, x, m->config.vision.channels, t->times[i]);
    return y;
}

/* Calls the product or its backward for chunks of patches and their rows of
 * y [patches][width], all visuals one after another. */
static void each_chunk(const struct ral_model *m,
                       const struct ral_tower_tape *t, struct ral_mat y,
                       struct ral_mat grad, struct ral_space *a)
{
    const struct ral_linear patch = {m->table.patch, -1};
    const struct ral_mat none = {0};
    size_t row = 0;

    for (size_t i = 0; i < t->n; i++) {
        const size_t all = t->visual[i].rows;

        for (size_t k = 0; k < all; k += CHUNK) {
            const struct ral_space_mark mark = ral_space_mark(a);
            const size_t n = all - k < CHUNK ? all - k : CHUNK;
            const struct ral_mat x = patches_of(m, t, i, k, n, a);
            const struct ral_mat yk = ral_mat_rows(y, row + k, n);

            if (ral_mat_some(grad))
                ral_linear_backward(m, patch, x, yk, false, none, grad);
            else
                ral_linear_forward(m, patch, x, false, yk);
            ral_space_rewind(a, mark);
        }
        row += all;
    }
}

/* Rows of units as rows of the patches that they are made of. */
static struct ral_mat by_unit(const struct ral_tower_tape *t, struct ral_mat x)
{
    return ral_mat_shaped(x, t->units, t->patches / t->units * x.cols);
}

/* x[patches][width], in window order */
static void patches_forward(const struct ral_model *m,
                          const struct ral_tower_tape *t, struct ral_mat x,
                          struct ral_space *a)
{
    const struct ral_space_mark mark = ral_space_mark(a);
    const struct ral_mat raster = ral_mat_f32(a, x.rows, x.cols);
    const struct ral_mat none = {0};

    each_chunk(m, t, raster, none, a);
    RAL_DO(m->dev, gather, by_unit(t, x), by_unit(t, raster), t->order);
    ral_space_rewind(a, mark);
}

static void patches_backward(const struct ral_model *m,
                           const struct ral_tower_tape *t, struct ral_mat dx,
                           struct ral_mat grad, struct ral_space *a)
{
    const struct ral_mat raster = ral_mat_f32(a, dx.rows, dx.cols);

    RAL_DO(m->dev, scatter, by_unit(t, raster), by_unit(t, dx), t->order,
           false);
    each_chunk(m, t, raster, grad, a);
}

/* -------------------------------------------------------------- the merger */

static void merge_forward(const struct ral_model *m, struct ral_tower_tape *t,
                          struct ral_mat x, struct ral_mat features,
                          struct ral_space *a)
{
    const struct ral_stack s = ral_tower_stack(m);
    const struct ral_table *table = &m->table;
    const size_t merged = m->w[table->merger[0].w].w.cols;
    const struct ral_mat sorted = ral_mat_f32(a, t->units, features.cols);

    ral_norm_forward(&s, table->merger_norm, x, &t->norm, a);
    t->inner = ral_mat_f32(a, t->units, merged);
    t->act = ral_mat_f32(a, t->units, merged);
    ral_linear_forward(m, table->merger[0], by_unit(t, t->norm.y), false,
                       t->inner);
    RAL_DO(m->dev, gelu, t->act, t->inner);
    ral_linear_forward(m, table->merger[1], t->act, false, sorted);
    RAL_DO(m->dev, scatter, features, sorted, t->order, false);
}

/* dx of the tower's last output is added to. */
static void merge_backward(const struct ral_model *m,
                           const struct ral_tower_tape *t,
                           struct ral_mat dfeatures, struct ral_mat dx,
                           struct ral_mat grad, struct ral_space *a)
{
    const struct ral_stack s = ral_tower_stack(m);
    const struct ral_table *table = &m->table;
    const struct ral_mat dy = ral_mat_f32(a, t->units, dfeatures.cols);
    const struct ral_mat da = ral_mat_f32(a, t->units, t->act.cols);
    const struct ral_mat dn = ral_mat_f32(a, dx.rows, dx.cols);

    RAL_DO(m->dev, gather, dy, dfeatures, t->order);
    ral_linear_backward(m, table->merger[1], t->act, dy, false, da, grad);
    RAL_DO(m->dev, gelu_backward, da, da, t->inner);
    ral_linear_backward(m, table->merger[0], by_unit(t, t->norm.y), da, false,
                        by_unit(t, dn), grad);
    ral_norm_backward(&s, table->merger_norm, &t->norm, dn, dx, grad);
}

/* --------------------------------------------------------------- the tower */

static struct ral_kv kv_scratch(const struct ral_stack *s,
                                const struct ral_tower_tape *t,
                                struct ral_space *a)
{
    const size_t x = t->windows.key.slots, y = t->frames.key.slots;

    return ral_kv_new(a, s->shape.KV, s->shape.D, x > y ? x : y);
}

static const struct ral_layout *layout_of(const struct ral_model *m,
                                          const struct ral_tower_tape *t,
                                          size_t block)
{
    return m->config.vision.full[block] ? &t->frames : &t->windows;
}

int ral_tower_forward(const struct ral_model *m,
                      const struct ral_visual *const *visual, size_t n,
                      bool keep, struct ral_tower_tape *t,
                      struct ral_mat features, struct ral_space *a)
{
    const struct ral_stack s = ral_tower_stack(m);
    const size_t depth = m->config.vision.depth;
    const struct ral_space_mark mark = ral_space_mark(a);
    struct ral_mat x;
    struct ral_kv kv;
    int rc;

    *t = (struct ral_tower_tape){.n = n};
    if ((rc = prepare(m, visual, t, a)) < 0 ||
        (rc = visuals_put(m, visual, t, a)) < 0)
        return rc;
    if (!(t->block = RAL_ZNEW(&a->host, struct ral_block_tape, depth)))
        return -RAL_ENOMEM;
    kv = kv_scratch(&s, t, a);
    x = ral_mat_f32(a, t->patches, s.width);
    patches_forward(m, t, x, a);
    for (size_t i = 0; i < depth; i++) // all rows ask: x changes in place
        ral_block_forward(&s, &m->table.tower[i], layout_of(m, t, i), &kv, x,
                          NULL, keep ? &t->block[i] : NULL, a);
    merge_forward(m, t, x, features, a);
    if (!keep)
        ral_space_rewind(a, mark);
    return 0;
}

void ral_tower_backward(const struct ral_model *m,
                        const struct ral_tower_tape *t,
                        struct ral_mat dfeatures, struct ral_mat grad,
                        struct ral_space *a)
{
    const struct ral_stack s = ral_tower_stack(m);
    const struct ral_space_mark mark = ral_space_mark(a);
    const struct ral_mat dx = ral_mat_zero(a, t->patches, s.width);
    const struct ral_kv kv = kv_scratch(&s, t, a);

    merge_backward(m, t, dfeatures, dx, grad, a);
    for (size_t i = m->config.vision.depth; i-- > 0;)
        ral_block_backward(&s, &m->table.tower[i], layout_of(m, t, i), &kv,
                           &t->block[i], NULL, dx, grad, a);
    patches_backward(m, t, dx, grad, a);
    ral_space_rewind(a, mark);
}

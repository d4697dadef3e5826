/* lib/cpu/attention.c - one attention, driven by a table of spans.
 *
 * Work is cut into tiles: consecutive queries (of one span, or of neighbours
 * that share run a), each with the heads of one key/value head, so that a
 * tile's rows read the same keys. A row's scores lie in thread scratch at the
 * key's index in the row's own sequence: run a from 0, then run b. Which tile
 * a row falls into changes speed, never bits.
 *
 * Backward's products use the same kernels on transposed panels: as quick as
 * OpenBLAS on long spans, several times quicker on short ones, and the same
 * bits on every processor.
 */
#include "cpu/attention.h"

#include <assert.h>
#include <omp.h>
#include <sched.h>
#include <stdint.h>
#include <string.h>

enum {
    FORWARD_M = 16,         // rows of a tile
    BLOCK_M = 64,           // in backward
    KEYS = 256,             // rows of values that stay in the nearest cache
    SERIAL_MADDS = 1 << 20, // less work than this takes one thread
};

/* Consecutive queries of one span inside a tile. */
struct seg {
    const struct ral_span *span;
    size_t i0, nq; // queries i0 .. i0+nq-1 of the span
    size_t at;     // the first one's place among the tile's queries
    size_t nb;     // keys of run b that the last of them sees
};

struct tile {
    struct seg seg[BLOCK_M];
    size_t nseg, nq;
    size_t n;   // most keys that a row sees
    size_t lds; // floats between rows of scores
};

struct cursor {
    size_t span, query;
};

/* The rows of one tile that one call works on: heads h0 .. h0+hn-1. */
struct rows {
    const struct tile *t;
    size_t kvh, h0, hn;
};

static size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t max_size(size_t a, size_t b)
{
    return a > b ? a : b;
}

static size_t round_up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

/* ------------------------------------------------------------- the store */

int ral_kv_init(struct ral_cpu_kv *kv, struct ral_arena *a, size_t KV, size_t D,
                size_t slots)
{
    size_t nk, nv;

    if (slots > SIZE_MAX - RAL_PANEL || D > SIZE_MAX - 16)
        return -RAL_ENOMEM;
    *kv = (struct ral_cpu_kv){.KV = KV,
                          .D = D,
                          .Dp = round_up(D, 16),
                          .slots = round_up(slots, RAL_PANEL)};
    if (__builtin_mul_overflow(KV, kv->slots, &nk) ||
        __builtin_mul_overflow(nk, kv->Dp, &nv) ||
        !(kv->k = RAL_NEW(a, float, nk *D)) ||
        !(kv->v = D == kv->Dp ? RAL_NEW(a, float, nv) : RAL_ZNEW(a, float, nv)))
        return -RAL_ENOMEM;
    return 0;
}

/* Rows i .. end-1 of a put, for every head. */
static void put_rows(struct ral_cpu_kv *kv, size_t slot, size_t i, size_t end,
                     const float *k, const float *v, size_t ld)
{
    const size_t D = kv->D;

    for (size_t h = 0; h < kv->KV; h++) {
        for (size_t r = i; r < end; r++) {
            const size_t at = h * kv->slots + slot + r;
            const float *x = k + r * ld + h * D;
            float *y = kv->k + at / RAL_PANEL * RAL_PANEL * D + at % RAL_PANEL;

            for (size_t d = 0; d < D; d++)
                y[d * RAL_PANEL] = x[d];
            memcpy(kv->v + at * kv->Dp, v + r * ld + h * D, D * sizeof(*v));
        }
    }
}

void ral_kv_put(const struct ral_nn *nn, struct ral_cpu_kv *kv, size_t slot,
                size_t n, const float *k, const float *v, size_t ld)
{
    // Blocks end where panels do: no two threads share a cache line.
    const size_t skew = slot % RAL_PANEL;
    const size_t blocks = (skew + n + RAL_PANEL - 1) / RAL_PANEL;

    assert(slot <= kv->slots && n <= kv->slots - slot);
    if (nn->threads < 2 || n * kv->KV * kv->D < 1 << 17) {
        put_rows(kv, slot, 0, n, k, v, ld);
        return;
    }
#pragma omp parallel for num_threads(nn->threads)
    for (size_t b = 0; b < blocks; b++) {
        const size_t lo = b ? b * RAL_PANEL - skew : 0;

        put_rows(kv, slot, lo, min_size(n, (b + 1) * RAL_PANEL - skew), k, v,
                 ld);
    }
}

/* ----------------------------------------------------------------- tiles */

/* Keys of run b that query i of a span sees. */
static size_t keys_of_b(const struct ral_span *sp, size_t i)
{
    return sp->causal ? sp->b.n - sp->nq + 1 + i : sp->b.n;
}

static bool same_prefix(const struct ral_run *x, const struct ral_run *y)
{
    return x->n && x->n == y->n && x->slot == y->slot && x->row == y->row;
}

/* Takes up to max queries from c on that may share a tile; false at the end. */
static bool tile_next(struct tile *t, struct cursor *c,
                      const struct ral_span *spans, size_t end, size_t max)
{
    t->nseg = t->nq = t->n = 0;
    while (t->nq < max && c->span < end) {
        const struct ral_span *sp = spans + c->span;
        const size_t take = min_size(sp->nq - c->query, max - t->nq);

        if (take) {
            if (t->nseg && !same_prefix(&t->seg[0].span->a, &sp->a))
                break;
            assert(!sp->causal || sp->b.n >= sp->nq);
            t->seg[t->nseg] = (struct seg){sp, c->query, take, t->nq,
                                           keys_of_b(sp, c->query + take - 1)};
            t->n = max_size(t->n, sp->a.n + t->seg[t->nseg++].nb);
            t->nq += take;
        }
        c->query += take;
        if (c->query == sp->nq)
            *c = (struct cursor){c->span + 1, 0};
    }
    // Panels overhang by up to 31; an odd number of lines spreads rows over
    // the sets of the cache.
    t->lds = ((t->n + 47) / 16 | 1) * 16;
    return t->nq > 0;
}

/* Queries of a tile of at most m rows: whole groups of heads where they fit. */
static size_t tile_queries(const struct ral_attn_shape *s, size_t m)
{
    return max_size(1, m / (s->H / s->KV));
}

static size_t madds(const struct ral_attn *a)
{
    size_t sum = 0;

    for (const struct ral_span *sp = a->spans; sp < a->spans + a->nspans; sp++)
        sum += sp->nq * (sp->a.n + sp->b.n);
    return sum * a->s.H * a->s.D * 2;
}

size_t ral_attention_scratch(const struct ral_attn_shape *s, size_t S)
{
    const size_t D = round_up(s->D, 16);

    return 4 * (BLOCK_M * D + 16) + BLOCK_M * (RAL_PANEL + 2 * (S + 64));
}

static float *scratch_of(const struct ral_nn *nn)
{
    return nn->scratch + (size_t)omp_get_thread_num() * nn->scratch_stride;
}

/* ----------------------------------------------------------- the forward */

static void run_scores(const struct ral_nn *nn, const struct ral_cpu_kv *kv,
                       size_t kvh, const struct ral_run *run, size_t n,
                       size_t rows, const float *q, float *e, size_t lds)
{
    const size_t D = kv->D;
    const float *k = kv->k + (kvh * kv->slots + run->slot) * D;

    assert(!n || (run->slot % RAL_PANEL == 0 && run->slot + n <= kv->slots));
    nn->k.block(rows, round_up(n, 16), D, q, D, k, D * RAL_PANEL, e, lds,
                false);
}

/* qs = scaled queries [rows][D]; e[rows][lds] = their scores, nothing masked.
 * A run's last panel overhangs: run b, after run a, overwrites that. */
static void scores(const struct ral_nn *nn, const struct ral_attn *a,
                   struct rows x, float *qs, float *e)
{
    const struct tile *t = x.t;
    const struct ral_run *shared = &t->seg[0].span->a;
    const size_t D = a->s.D, width = x.hn * D;
    const float *q = a->q + (x.kvh * (a->s.H / a->s.KV) + x.h0) * D;

    for (const struct seg *g = t->seg; g < t->seg + t->nseg; g++)
        for (size_t i = 0; i < g->nq; i++)
            nn->k.scale(width, q + (g->span->q0 + g->i0 + i) * a->ldq,
                        a->s.scale, qs + (g->at + i) * width);
    run_scores(nn, a->kv, x.kvh, shared, shared->n, t->nq * x.hn, qs, e,
               t->lds);
    for (const struct seg *g = t->seg; g < t->seg + t->nseg; g++)
        run_scores(nn, a->kv, x.kvh, &g->span->b, g->nb, g->nq * x.hn,
                   qs + g->at * width, e + g->at * x.hn * t->lds + shared->n,
                   t->lds);
}

/* e = exp(e - max) where a row sees, 0 up to the end of its segment's keys and
 * on to a whole panel, which is quicker to sum; inv[row] = 1 / sum. */
static void exponentials(const struct ral_nn *nn, struct rows x, float *e,
                         float *inv)
{
    const size_t lds = x.t->lds;

    for (const struct seg *g = x.t->seg; g < x.t->seg + x.t->nseg; g++) {
        const size_t end = round_up(g->span->a.n + g->nb, RAL_PANEL);

        for (size_t i = 0; i < g->nq; i++) {
            const size_t n = g->span->a.n + keys_of_b(g->span, g->i0 + i);

            for (size_t h = 0; h < x.hn; h++) {
                const size_t r = (g->at + i) * x.hn + h;
                float *row = e + r * lds;

                if (n)
                    nn->k.exp_shift(n, row, nn->k.max(row, n), row);
                memset(row + n, 0, (end - n) * sizeof(*row));
                inv[r] = n ? 1.0f / nn->k.sum(row, end) : 0;
            }
        }
    }
}

static void run_values(const struct ral_nn *nn, const struct ral_cpu_kv *kv,
                       size_t kvh, const struct ral_run *run, size_t n,
                       size_t rows, const float *e, size_t lds, float *o,
                       bool load)
{
    const size_t Dp = kv->Dp;
    const float *v = kv->v + (kvh * kv->slots + run->slot) * Dp;

    for (size_t j = 0; j < n; j += KEYS, load = true)
        for (size_t c = 0; c < Dp; c += RAL_PANEL)
            for (size_t r = 0; r < rows; r += RAL_TILE_M)
                nn->k.tile(min_size(RAL_TILE_M, rows - r),
                           min_size(RAL_PANEL, Dp - c), min_size(KEYS, n - j),
                           e + r * lds + j, lds, v + j * Dp + c, Dp,
                           o + r * Dp + c, Dp, load);
}

/* o[rows][Dp] = one chain over run a, then b. */
static void values(const struct ral_nn *nn, const struct ral_cpu_kv *kv,
                   struct rows x, const float *e, float *o)
{
    const struct tile *t = x.t;
    const struct ral_run *a = &t->seg[0].span->a;

    if (a->n)
        run_values(nn, kv, x.kvh, a, a->n, t->nq * x.hn, e, t->lds, o, false);
    for (const struct seg *g = t->seg; g < t->seg + t->nseg; g++) {
        const size_t r = g->at * x.hn;

        if (g->nb)
            run_values(nn, kv, x.kvh, &g->span->b, g->nb, g->nq * x.hn,
                       e + r * t->lds + a->n, t->lds, o + r * kv->Dp, a->n);
        else if (!a->n)
            memset(o + r * kv->Dp, 0, g->nq * x.hn * kv->Dp * sizeof(*o));
    }
}

struct forward {
    const struct ral_nn *nn;
    const struct ral_attn *a;
    float *o;
    size_t ldo;
    const struct ral_attn_rows *rows;
    size_t max; // queries of a tile
};

/* Where head h writes row q of those handed out, or NULL. */
static float *row_of(const struct ral_attn_rows *rows, size_t q, size_t h)
{
    if (!rows || rows->at[q] < 0)
        return NULL;
    return rows->out + (rows->each ? h * rows->plane : 0) + rows->at[q];
}

/* One row of one head, e[n]: written, or added to the heads before it (they
 * arrive in ascending order) and divided after the last; e is destroyed. */
static void hand_out(const struct forward *f, size_t head, size_t n, float *e,
                     float inv, float *y)
{
    const struct ral_kernels *k = &f->nn->k;
    const size_t H = f->a->s.H;

    if (f->rows->each || head == 0) {
        k->scale(n, e, inv, y);
    } else {
        k->scale(n, e, inv, e);
        k->add(n, e, y);
    }
    if (!f->rows->each && head + 1 == H)
        k->scale(n, y, 1.0f / (float)H, y);
}

static void forward_rows(const struct forward *f, struct rows x)
{
    const struct ral_attn_shape *s = &f->a->s;
    const struct ral_attn_rows *rows = f->rows;
    const size_t D = s->D, Dp = f->a->kv->Dp;
    const size_t head = x.kvh * (s->H / s->KV) + x.h0;
    float *qs = scratch_of(f->nn), *o = qs + FORWARD_M * Dp;
    float *e = o + FORWARD_M * Dp, inv[FORWARD_M];

    assert(ral_attention_scratch(s, x.t->n) <= f->nn->scratch_stride);
    scores(f->nn, f->a, x, qs, e);
    exponentials(f->nn, x, e, inv);
    values(f->nn, f->a->kv, x, e, o);
    for (const struct seg *g = x.t->seg; g < x.t->seg + x.t->nseg; g++)
        for (size_t i = 0; i < g->nq; i++) {
            const size_t q = g->span->q0 + g->i0 + i, r = (g->at + i) * x.hn;
            const size_t n = g->span->a.n + keys_of_b(g->span, g->i0 + i);
            float *to = f->o + q * f->ldo + head * D;

            for (size_t h = 0; h < x.hn; h++)
                f->nn->k.scale(D, o + (r + h) * Dp, inv[r + h], to + h * D);
            for (size_t h = 0; rows && h < x.hn && row_of(rows, q, 0); h++)
                hand_out(f, head + h, n, e + (r + h) * x.t->lds, inv[r + h],
                         row_of(rows, q, head + h));
        }
}

static void forward_tile(const struct forward *f, const struct tile *t,
                         size_t kvh)
{
    const size_t group = f->a->s.H / f->a->s.KV;

    for (size_t h = 0; h < group; h += FORWARD_M)
        forward_rows(f,
                     (struct rows){t, kvh, h, min_size(FORWARD_M, group - h)});
}

/* Whether the mean of heads is wanted of a row, which ties them together. */
static bool tile_has_mean(const struct forward *f, const struct tile *t)
{
    if (!f->rows || f->rows->each)
        return false;
    for (const struct seg *g = t->seg; g < t->seg + t->nseg; g++)
        for (size_t i = 0; i < g->nq; i++)
            if (row_of(f->rows, g->span->q0 + g->i0 + i, 0))
                return true;
    return false;
}

/* Tasks are (kv head, tile), handed out by a counter. A tile whose heads make a
 * mean is one task, as their sum has a fixed order. */
static void forward_work(const struct forward *f, size_t tiles, size_t *next)
{
    const size_t KV = f->a->s.KV;
    struct cursor c = {0, 0};
    struct tile t;
    size_t task, done = 0; // tiles that the cursor has passed

    for (;;) {
#pragma omp atomic capture
        task = (*next)++;
        if (task >= KV * tiles)
            return;
        if (task % tiles < done) {
            c = (struct cursor){0, 0};
            done = 0;
        }
        for (; done <= task % tiles; done++)
            tile_next(&t, &c, f->a->spans, f->a->nspans, f->max);
        if (!tile_has_mean(f, &t))
            forward_tile(f, &t, task / tiles);
        else if (task < tiles)
            for (size_t kvh = 0; kvh < KV; kvh++)
                forward_tile(f, &t, kvh);
    }
}

static size_t tile_count(const struct forward *f)
{
    struct cursor c = {0, 0};
    struct tile t;
    size_t n = 0;

    while (tile_next(&t, &c, f->a->spans, f->a->nspans, f->max))
        n++;
    return n;
}

static int threads_for(const struct ral_nn *nn, const struct ral_attn *a,
                       size_t tasks)
{
    assert(a->s.H % a->s.KV == 0 && a->kv->KV == a->s.KV && a->kv->D == a->s.D);
    return tasks < 2 || ral_nn_serial(nn, madds(a), SERIAL_MADDS) ? 1
                                                                  : nn->threads;
}

void ral_attention(const struct ral_nn *nn, const struct ral_attn *a, float *o,
                   size_t ldo, const struct ral_attn_rows *rows)
{
    const size_t KV = a->s.KV;
    struct forward f = {nn, a, o, ldo, rows, tile_queries(&a->s, FORWARD_M)};
    size_t tiles = tile_count(&f), next = 0;
    int threads;

    if (nn->threads > 1 && KV * tiles < 4 * (size_t)nn->threads) {
        f.max = tile_queries(&a->s, RAL_TILE_M); // more tasks, less reuse
        tiles = tile_count(&f);
    }
    threads = threads_for(nn, a, KV * tiles);
    if (threads == 1) {
        forward_work(&f, tiles, &next);
        return;
    }
#pragma omp parallel num_threads(threads)
    forward_work(&f, tiles, &next);
}

/* ---------------------------------------------------------- the backward */

/* y[cols][ldy] = x[rows][ldx] transposed, four at a time. */
static void transpose(size_t rows, size_t cols, const float *x, size_t ldx,
                      float *y, size_t ldy)
{
    size_t r = 0;

    for (; r + 4 <= rows; r += 4, x += 4 * ldx)
        for (size_t c = 0; c < cols; c++) {
            y[c * ldy + r] = x[c];
            y[c * ldy + r + 1] = x[ldx + c];
            y[c * ldy + r + 2] = x[2 * ldx + c];
            y[c * ldy + r + 3] = x[3 * ldx + c];
        }
    for (; r < rows; r++, x += ldx)
        for (size_t c = 0; c < cols; c++)
            y[c * ldy + r] = x[c];
}

/* c[M][N] += a[M][K] b[K][N]; b is read up to 15 floats past its end. */
static void product(const struct ral_nn *nn, size_t M, size_t N, size_t K,
                    const float *a, size_t lda, const float *b, size_t ldb,
                    float *c, size_t ldc)
{
    for (size_t n = 0; n < N; n += RAL_PANEL)
        for (size_t m = 0; m < M; m += RAL_TILE_M)
            nn->k.tile(min_size(RAL_TILE_M, M - m), min_size(RAL_PANEL, N - n),
                       K, a + m * lda, lda, b + n, ldb, c + m * ldc + n, ldc,
                       true);
}

/* Where the gradients of keys and values add up: rows from row0 on of one
 * head, ld apart. */
struct sums {
    float *dk, *dv;
    size_t ld, row0;
};

/* How many tasks a head has: spans that share keys make a range, and
 * RAL_ATTN_CHUNK of its queries a chunk. */
struct plan {
    size_t ranges, chunks;
    size_t sees; // most keys of a query
    size_t keys; // most rows of keys, first to last, of a range of many chunks
    bool whole;  // one range, as spans reach back behind others
};

struct backward {
    const struct ral_nn *nn;
    const struct ral_attn *a;
    const struct ral_attn_grads *g;
    struct plan plan;
    uint32_t *turn; // [KV][ranges], chunks that have been added up
};

/* The arrays of one tile, in thread scratch. */
struct block {
    float *q, *dO, *dq; // [BLOCK_M][D], and 16 floats to read past the end
    float *panel;       // 32 keys: [D][32], [32][D] or [32][BLOCK_M]
    float *p, *dp;      // [rows][lds]
};

static struct block block_of(float *x, size_t D, size_t rows, size_t lds)
{
    const size_t n = BLOCK_M * round_up(D, 16) + 16;
    const size_t panel = n + BLOCK_M * RAL_PANEL;

    float *p = x + 3 * n + panel;

    return (struct block){x, x + n, x + 2 * n, x + 3 * n, p, p + rows * lds};
}

/* dp = dO v^T for rows r .. of a run whose first key is column j. The last
 * panel overhangs as in scores(). */
static void run_dp(const struct backward *w, struct block x, size_t kvh,
                   const struct ral_run *run, size_t n, size_t r, size_t rows,
                   size_t j, size_t lds)
{
    const size_t D = w->a->s.D, ld = w->g->ldkv;
    const float *v = w->g->v + run->row * ld + kvh * D;

    for (size_t i = 0; i < n; i += RAL_PANEL, v += RAL_PANEL * ld) {
        const size_t m = min_size(RAL_PANEL, n - i);

        transpose(m, D, v, ld, x.panel, RAL_PANEL);
        w->nn->k.block(rows, round_up(m, 16), D, x.dO + r * D, D, x.panel,
                       D * RAL_PANEL, x.dp + r * lds + j + i, lds, false);
    }
}

/* dq += ds k, dk += ds^T q, dv += p^T dO, by panels of 32 keys. */
static void run_grads(const struct backward *w, const struct sums *to,
                      struct block x, size_t kvh, const struct ral_run *run,
                      size_t n, size_t r, size_t rows, size_t j, size_t lds)
{
    const size_t D = w->a->s.D, first = n ? (run->row - to->row0) * to->ld : 0;
    const float *k = w->g->k + run->row * w->g->ldkv + kvh * D;
    float *dk = to->dk + first, *dv = to->dv + first;

    for (size_t i = 0; i < n; i += RAL_PANEL) {
        const size_t m = min_size(RAL_PANEL, n - i), at = r * lds + j + i;
        const float *ki = k + i * w->g->ldkv;
        size_t ldk = w->g->ldkv;

        if (D % 16) { // a tile reads past the end of a head
            for (size_t c = 0; c < m; c++)
                memcpy(x.panel + c * D, ki + c * ldk, D * sizeof(*ki));
            ki = x.panel;
            ldk = D;
        }
        product(w->nn, rows, D, m, x.dp + at, lds, ki, ldk, x.dq + r * D, D);
        transpose(rows, m, x.dp + at, lds, x.panel, BLOCK_M);
        product(w->nn, m, D, rows, x.panel, BLOCK_M, x.q + r * D, D,
                dk + i * to->ld, to->ld);
        transpose(rows, m, x.p + at, lds, x.panel, BLOCK_M);
        product(w->nn, m, D, rows, x.panel, BLOCK_M, x.dO + r * D, D,
                dv + i * to->ld, to->ld);
    }
}

/* p = e inv; dp, with the gradient of rows handed out added, becomes
 * ds = p (dp - sum p dp). */
static void softmax_backward(const struct backward *w, struct rows x,
                             const float *inv, float *p, float *dp)
{
    const struct ral_kernels *k = &w->nn->k;
    const struct ral_attn_rows *rows = w->g->drows;
    const struct ral_attn_shape *s = &w->a->s;
    const size_t head = x.kvh * (s->H / s->KV) + x.h0;
    const float share = rows && rows->each ? 1.0f : 1.0f / (float)s->H;

    for (const struct seg *g = x.t->seg; g < x.t->seg + x.t->nseg; g++) {
        const size_t n = g->span->a.n + g->nb, end = round_up(n, RAL_PANEL);

        for (size_t i = 0; i < g->nq; i++) {
            const size_t sees = g->span->a.n + keys_of_b(g->span, g->i0 + i);

            for (size_t h = 0; h < x.hn; h++) {
                const size_t r = (g->at + i) * x.hn + h;
                const float *y =
                    row_of(rows, g->span->q0 + g->i0 + i, head + h);
                float *a = p + r * x.t->lds, *d = dp + r * x.t->lds, sum;

                k->scale(n, a, inv[r], a);
                for (size_t j = 0; y && j < sees; j++)
                    d[j] += y[j] * share;
                for (size_t j = 0; j < n; j++)
                    d[j] *= a[j];
                memset(d + n, 0, (end - n) * sizeof(*d));
                sum = k->sum(d, end);
                for (size_t j = 0; j < n; j++)
                    d[j] -= a[j] * sum;
            }
        }
    }
}

/* Moves head rows between [N][ld] and the tile's own [rows][D]. */
static void gather(struct rows x, size_t width, const float *from, size_t ld,
                   float *to)
{
    for (const struct seg *g = x.t->seg; g < x.t->seg + x.t->nseg; g++)
        for (size_t i = 0; i < g->nq; i++)
            memcpy(to + (g->at + i) * width,
                   from + (g->span->q0 + g->i0 + i) * ld, width * sizeof(*to));
}

static void scatter_scaled(const struct ral_nn *nn, struct rows x, size_t width,
                           const float *from, float scale, float *to, size_t ld)
{
    for (const struct seg *g = x.t->seg; g < x.t->seg + x.t->nseg; g++)
        for (size_t i = 0; i < g->nq; i++)
            nn->k.scale(width, from + (g->at + i) * width, scale,
                        to + (g->span->q0 + g->i0 + i) * ld);
}

static void backward_rows(const struct backward *w, const struct sums *to,
                          struct rows x, float *scratch)
{
    const struct ral_attn_shape *s = &w->a->s;
    const struct tile *t = x.t;
    const struct ral_run *a = &t->seg[0].span->a;
    const size_t D = s->D, width = x.hn * D, lds = t->lds;
    const size_t col = (x.kvh * (s->H / s->KV) + x.h0) * D;
    const size_t rows = t->nq * x.hn;
    const struct block b = block_of(scratch, D, rows, lds);
    float inv[BLOCK_M];

    scores(w->nn, w->a, x, b.q, b.p);
    exponentials(w->nn, x, b.p, inv);
    gather(x, width, w->g->dO + col, w->g->lddo, b.dO);
    run_dp(w, b, x.kvh, a, a->n, 0, rows, 0, lds);
    for (const struct seg *g = t->seg; g < t->seg + t->nseg; g++)
        run_dp(w, b, x.kvh, &g->span->b, g->nb, g->at * x.hn, g->nq * x.hn,
               a->n, lds);
    softmax_backward(w, x, inv, b.p, b.dp);
    memset(b.dq, 0, rows * D * sizeof(*b.dq));
    run_grads(w, to, b, x.kvh, a, a->n, 0, rows, 0, lds);
    for (const struct seg *g = t->seg; g < t->seg + t->nseg; g++)
        run_grads(w, to, b, x.kvh, &g->span->b, g->nb, g->at * x.hn,
                  g->nq * x.hn, a->n, lds);
    scatter_scaled(w->nn, x, width, b.dq, s->scale, w->g->dq + col, w->g->lddq);
}

/* Spans whose keys are rows lo .. hi-1, and no other span's; q queries, each of
 * which sees at most `sees` keys. */
struct range {
    size_t first, end, lo, hi, q, sees;
};

/* Widens lo .. hi-1 by the rows of run. */
static void cover(size_t *lo, size_t *hi, const struct ral_run *run, size_t n)
{
    if (n) {
        *lo = min_size(*lo, run->row);
        *hi = max_size(*hi, run->row + n);
    }
}

/* The next spans that share keys, or might. */
static bool range_next(struct range *g, const struct ral_attn *a, bool whole)
{
    if (g->end >= a->nspans)
        return false;
    *g = (struct range){g->end, g->end, SIZE_MAX, 0, 0, 0};
    for (; g->end < a->nspans; g->end++) {
        const struct ral_span *sp = a->spans + g->end;
        size_t lo = SIZE_MAX, hi = 0;

        cover(&lo, &hi, &sp->a, sp->a.n);
        cover(&lo, &hi, &sp->b, sp->b.n);
        if (!whole && g->end > g->first && lo >= g->hi)
            break;
        g->lo = min_size(g->lo, lo);
        g->hi = max_size(g->hi, hi);
        g->q += sp->nq;
        g->sees = max_size(g->sees, sp->a.n + sp->b.n);
    }
    return true;
}

static size_t chunks_of(const struct range *g)
{
    return max_size(1, (g->q + RAL_ATTN_CHUNK - 1) / RAL_ATTN_CHUNK);
}

/* One range for all when a span reaches back behind the range that it falls
 * into, as its keys may then belong to several. */
static struct plan plan_of(const struct ral_attn *a, bool whole)
{
    struct plan p = {.whole = whole};
    struct range g = {0};
    size_t before;

    for (before = 0; range_next(&g, a, whole); before = g.hi) {
        if (g.lo < before)
            return plan_of(a, true);
        p.ranges++;
        p.sees = max_size(p.sees, g.sees);
        p.chunks += chunks_of(&g);
        if (chunks_of(&g) > 1)
            p.keys = max_size(p.keys, g.hi - g.lo);
    }
    return p;
}

/* Where in a thread's scratch lie a chunk's dk and dv [keys][D], after a tile's
 * arrays, and in the first thread's the turns. */
static size_t own_at(const struct ral_attn_shape *s, const struct plan *p)
{
    return ral_attention_scratch(s, p->sees);
}

static size_t turns_at(const struct ral_attn_shape *s, const struct plan *p)
{
    return own_at(s, p) + 2 * s->D * p->keys;
}

size_t ral_attention_backward_scratch(const struct ral_attn *a)
{
    const struct plan p = plan_of(a, false);

    return turns_at(&a->s, &p) + a->s.KV * p.ranges;
}

/* Where chunk `index` of range number `range` begins, and its keys. */
struct chunk {
    struct range g;
    size_t range, index, lo, hi;
    struct cursor from;
};

static void chunk_keys(struct chunk *k, const struct ral_attn *a)
{
    struct cursor c = k->from;
    size_t left = RAL_ATTN_CHUNK;

    k->lo = SIZE_MAX;
    k->hi = 0;
    for (; c.span < k->g.end && left; c = (struct cursor){c.span + 1, 0}) {
        const struct ral_span *sp = a->spans + c.span;
        const size_t n = min_size(left, sp->nq - c.query);

        cover(&k->lo, &k->hi, &sp->a, n ? sp->a.n : 0);
        cover(&k->lo, &k->hi, &sp->b, n ? keys_of_b(sp, c.query + n - 1) : 0);
        left -= n;
    }
}

/* The chunk that follows; the first when k is zero. */
static void chunk_next(struct chunk *k, const struct backward *w)
{
    size_t skip = RAL_ATTN_CHUNK;

    if (!k->g.end || k->index + 1 == chunks_of(&k->g)) {
        k->range += k->g.end > 0;
        k->index = 0;
        range_next(&k->g, w->a, w->plan.whole);
        k->from = (struct cursor){k->g.first, 0};
    } else {
        for (k->index++; skip;) {
            const size_t n = w->a->spans[k->from.span].nq - k->from.query;

            if (n > skip) {
                k->from.query += skip;
                break;
            }
            skip -= n;
            k->from = (struct cursor){k->from.span + 1, 0};
        }
    }
    chunk_keys(k, w->a);
}

static void chunk_tiles(const struct backward *w, const struct chunk *k,
                        size_t kvh, const struct sums *to, float *scratch)
{
    const size_t group = w->a->s.H / w->a->s.KV;
    const size_t most = tile_queries(&w->a->s, BLOCK_M);
    size_t left = RAL_ATTN_CHUNK;
    struct cursor c = k->from;
    struct tile t;

    while (tile_next(&t, &c, w->a->spans, k->g.end, min_size(most, left))) {
        for (size_t h = 0; h < group; h += BLOCK_M)
            backward_rows(
                w, to, (struct rows){&t, kvh, h, min_size(BLOCK_M, group - h)},
                scratch);
        left -= t.nq;
    }
}

/* Waits until `index` chunks have been added up. They are handed out in
 * order, so that the first of those under way never waits. */
static void wait_for(const uint32_t *turn, size_t index)
{
    uint32_t now;

    for (;;) {
#pragma omp atomic read acquire
        now = *turn;
        if (now == index)
            return;
        sched_yield();
    }
}

/* The first chunk of a range adds to dk and dv; others make sums of their own
 * and add these when those before have. */
static void backward_chunk(const struct backward *w, const struct chunk *k,
                           size_t kvh)
{
    const struct ral_attn_shape *s = &w->a->s;
    const size_t D = s->D, ld = w->g->lddkv;
    const size_t rows = k->hi ? k->hi - k->lo : 0; // none where nothing is seen
    float *dk = w->g->dk + kvh * D, *dv = w->g->dv + kvh * D;
    float *scratch = scratch_of(w->nn), *own = scratch + own_at(s, &w->plan);
    uint32_t *turn = w->turn + kvh * w->plan.ranges + k->range;

    if (k->index == 0) {
        chunk_tiles(w, k, kvh, &(struct sums){dk, dv, ld, 0}, scratch);
    } else {
        const struct sums to = {own, own + rows * D, D, k->lo};

        memset(own, 0, 2 * rows * D * sizeof(*own));
        chunk_tiles(w, k, kvh, &to, scratch);
        wait_for(turn, k->index);
        for (size_t r = 0; r < rows; r++) {
            w->nn->k.add(D, to.dk + r * D, dk + (k->lo + r) * ld);
            w->nn->k.add(D, to.dv + r * D, dv + (k->lo + r) * ld);
        }
    }
#pragma omp atomic write release
    *turn = (uint32_t)k->index + 1;
}

/* Tasks are (chunk, kv head), handed out by a counter: of causal chunks the
 * later are the longer, so heads of one chunk are neighbours. */
static void backward_work(const struct backward *w, size_t *next)
{
    const size_t KV = w->a->s.KV;
    struct chunk k = {0};
    size_t task, done = 0; // chunks that k has passed, its own included

    for (;;) {
#pragma omp atomic capture
        task = (*next)++;
        if (task >= KV * w->plan.chunks)
            return;
        for (; done <= task / KV; done++)
            chunk_next(&k, w);
        backward_chunk(w, &k, task % KV);
    }
}

void ral_attention_backward(const struct ral_nn *nn, const struct ral_attn *a,
                            const struct ral_attn_grads *g)
{
    struct backward w = {nn, a, g, plan_of(a, false), NULL};
    const size_t turns = a->s.KV * w.plan.ranges;
    const size_t at = turns_at(&a->s, &w.plan);
    const int threads = threads_for(nn, a, a->s.KV * w.plan.chunks);
    size_t next = 0;

    assert(at + turns <= nn->scratch_stride);
    w.turn = (uint32_t *)(nn->scratch + at);
    memset(w.turn, 0, turns * sizeof(*w.turn));
    if (threads == 1) {
        backward_work(&w, &next);
        return;
    }
#pragma omp parallel num_threads(threads)
    backward_work(&w, &next);
}

/* lib/cpu/matmul.c - products: ours forward, OpenBLAS's backward.
 *
 * Blocks over rows, panels and k, threads, and the choice between ready and
 * freshly made panels change only the order in which elements are visited;
 * each element stays one chain over ascending k, stored and reloaded between
 * blocks of k.
 */
#include "cpu/matmul.h"

#include <assert.h>
#include <cblas.h>
#include <omp.h>
#include <string.h>

enum {
    KC = 512,       // k of one block: 16 columns of it fill the first cache
    MC = 192,       // rows of one block: its x stays in the second
    NC = 512,       // columns of one block
    MANY = 96,      // rows from which x is worth a copy
    FREE = 1 << 18, // multiply-adds that are not worth a second thread
};

/* One thread's scratch. */
struct work {
    float panel[KC * RAL_PANEL];
    float c[MC * NC];
    float x[MC * (KC + 16)];
};
_Static_assert(sizeof(struct work) <= RAL_NN_SCRATCH * sizeof(float),
               "scratch");

struct job {
    const struct ral_kernels *k;
    const struct ral_cpu_weight *w;
    size_t M, N;
    const float *x, *bias;
    size_t ldx;
    bool residual;
    float *y;
    size_t ldy;
};

static size_t min(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t panels_of(size_t N)
{
    return (N + RAL_PANEL - 1) / RAL_PANEL;
}

static size_t round_up(size_t a, size_t to)
{
    return (a + to - 1) / to * to;
}

static void *scratch(const struct ral_nn *nn)
{
    const int t = omp_get_thread_num();

    assert(t < nn->threads);
    return nn->scratch + (size_t)t * nn->scratch_stride;
}

static int threads_for(const struct ral_nn *nn, size_t work)
{
    return work > FREE && !omp_in_parallel() ? nn->threads : 1;
}

size_t ral_weight_panel_floats(const struct ral_cpu_weight *w)
{
    return panels_of(w->N) * w->K * RAL_PANEL;
}

/* Weight rows n .. n+31, columns k .. k+K-1, as a panel. */
static void make_panel(const struct ral_kernels *kernels,
                       const struct ral_cpu_weight *w, size_t n, size_t k, size_t K,
                       float *out)
{
    const unsigned char *data = w->data;

    kernels->panel(min(w->N - n, RAL_PANEL), K, w->dtype,
                   data + (n * w->K + k) * ral_dtype_size(w->dtype), w->K, out);
}

static void pack_panel(const struct ral_nn *nn, const struct ral_cpu_weight *w,
                       size_t p)
{
    make_panel(&nn->k, w, p * RAL_PANEL, 0, w->K,
               w->panels + p * RAL_PANEL * w->K);
}

void ral_weight_pack(const struct ral_nn *nn, struct ral_cpu_weight *w)
{
    const size_t panels = panels_of(w->N);
    const int threads = threads_for(nn, w->N * w->K);

    if (threads == 1) {
        for (size_t p = 0; p < panels; p++)
            pack_panel(nn, w, p);
        return;
    }
#pragma omp parallel for schedule(static) num_threads(threads)
    for (size_t p = 0; p < panels; p++)
        pack_panel(nn, w, p);
}

/* c[M][N] (+)= x[M][K] times columns n .. n+N-1, k .. k+K-1. */
static void multiply(const struct job *j, size_t n, size_t N, size_t k,
                     size_t K, size_t M, const float *x, size_t ldx, float *c,
                     size_t ldc, float *panel)
{
    const struct ral_cpu_weight *w = j->w;

    if (w->panels) {
        j->k->block(M, N, K, x, ldx, w->panels + n * w->K + k * RAL_PANEL,
                    RAL_PANEL * w->K, c, ldc, k > 0);
        return;
    }
    for (size_t p = 0; p < N; p += RAL_PANEL) {
        make_panel(j->k, w, n + p, k, K, panel);
        j->k->block(M, min(N - p, RAL_PANEL), K, x, ldx, panel, 0, c + p, ldc,
                    k > 0);
    }
}

/* Rows side by side: they would share few cache sets where ldx is a large
 * power of two.
 */
static const float *gather(size_t M, size_t K, const float *x, size_t *ldx,
                           float *to)
{
    const size_t ld = KC + 16;

    for (size_t m = 0; m < M; m++)
        memcpy(to + m * ld, x + m * *ldx, K * sizeof(float));
    *ldx = ld;
    return to;
}

/* One add each, the chain first: y = (c + bias) + y. */
static void finish(const struct job *j, size_t m, size_t n, size_t M, size_t N,
                   float *c, size_t ldc)
{
    for (size_t i = 0; i < M; i++, c += ldc) {
        if (j->bias)
            j->k->add(N, j->bias + n, c);
        if (j->residual)
            j->k->add(N, c, j->y + (m + i) * j->ldy + n);
    }
}

/* Rows m0 .. m1-1, columns n0 .. n1-1 of y, by one thread. */
static void region(const struct job *j, size_t m0, size_t m1, size_t n0,
                   size_t n1, struct work *s)
{
    const size_t K = j->w->K;

    for (size_t m = m0; m < m1; m += MC) {
        const size_t M = min(m1 - m, MC);
        /* A few rows fit the cache whole; panels made here are short. */
        const size_t step = M <= RAL_TILE_M && j->w->panels ? K : (size_t)KC;

        for (size_t n = n0; n < n1; n += NC) {
            const size_t N = min(n1 - n, NC);
            float *c = j->residual ? s->c : j->y + m * j->ldy + n;
            const size_t ldc = j->residual ? (size_t)NC : j->ldy;
            size_t k = 0;

            do { // once at least: an empty chain is +0
                const size_t part = min(K - k, step);
                const float *x = j->x + m * j->ldx + k;
                size_t ldx = j->ldx;

                if (M >= MANY)
                    x = gather(M, part, x, &ldx, s->x);
                multiply(j, n, N, k, part, M, x, ldx, c, ldc, s->panel);
                k += part;
            } while (k < K);
            finish(j, m, n, M, N, c, ldc);
        }
    }
}

/* Threads take strips of rows where every thread gets tiles enough and no
 * panels have to be made twice, else strips of panels.
 */
static void run(const struct ral_nn *nn, const struct job *j)
{
    const int threads = threads_for(nn, j->M * j->N * j->w->K);
    const size_t parts = 2 * (size_t)threads, M = j->M, N = j->N;
    const bool rows = M >= 12 * parts && (j->w->panels || panels_of(N) < parts);
    const size_t all = rows ? M : N;
    const size_t strip =
        round_up((all + parts - 1) / parts, rows ? 12 : RAL_PANEL);

    if (!M || !N)
        return;
    if (threads == 1) {
        region(j, 0, M, 0, N, scratch(nn));
        return;
    }
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (size_t at = 0; at < all; at += strip) {
        const size_t end = min(at + strip, all);

        if (rows)
            region(j, at, end, 0, N, scratch(nn));
        else
            region(j, 0, M, at, end, scratch(nn));
    }
}

void ral_matmul(const struct ral_nn *nn, const struct ral_cpu_weight *w, size_t M,
                const float *x, size_t ldx, const float *bias, bool residual,
                float *y, size_t ldy)
{
    const struct job j = {&nn->k, w, M, w->N, x, bias, ldx, residual, y, ldy};

    run(nn, &j);
}

/* Tiles of the backward products depend on the shape alone, so threads cannot
 * change bits. Those of a small dx are halved, to feed more threads.
 */
enum { TM = 256, TN = 512, CHUNK = 512, COLS = 64, SMALL = 1 << 20 };
_Static_assert(TM *TN <= RAL_NN_SCRATCH, "scratch");

/* One backward product: dx[M][K] = dy[M][N] W, or dW[N][K] = dy^T x. */
struct back {
    size_t M, N, K;
    const float *dy, *in; // in: W or x
    size_t lddy, ldin;
    bool add;
    float *out;
    size_t ldout;
};

static size_t tiles_of(size_t n, size_t of)
{
    return (n + of - 1) / of;
}

static size_t dx_shrink(size_t M, size_t K)
{
    return M * K < SMALL ? 2 : 1;
}

static void dx_tile(const struct back *b, size_t t)
{
    const size_t shrink = dx_shrink(b->M, b->K);
    const size_t tm = TM / shrink, tn = TN / shrink;
    const size_t across = tiles_of(b->K, tn);
    const size_t m = t / across * tm, k = t % across * tn;

    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans,
                (int)min(b->M - m, tm), (int)min(b->K - k, tn), (int)b->N, 1,
                b->dy + m * b->lddy, (int)b->lddy, b->in + k, (int)b->ldin,
                b->add, b->out + m * b->ldout + k, (int)b->ldout);
}

void ral_matmul_dx(const struct ral_nn *nn, const struct ral_cpu_weight *w,
                   size_t M, const float *dy, size_t lddy, bool add, float *dx,
                   size_t lddx)
{
    const struct back b = {M,    w->N, w->K, dy, w->data,
                           lddy, w->K, add,  dx, lddx};
    const size_t shrink = dx_shrink(M, w->K);
    const size_t tiles =
        tiles_of(M, TM / shrink) * tiles_of(w->K, TN / shrink);
    const int threads = threads_for(nn, M * w->N * w->K);

    assert(w->dtype == RAL_F32);
    if (threads == 1) {
        for (size_t t = 0; t < tiles; t++)
            dx_tile(&b, t);
        return;
    }
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (size_t t = 0; t < tiles; t++)
        dx_tile(&b, t);
}

/* All rows of some columns, ascending. */
static void bias_columns(const struct ral_nn *nn, const struct back *b,
                         size_t n, float *db)
{
    for (size_t m = 0; m < b->M; m++)
        nn->k.add(min(b->N - n, COLS), b->dy + m * b->lddy + n, db + n);
}

static void bias_grad(const struct ral_nn *nn, const struct back *b, float *db,
                      int threads)
{
    if (threads == 1) {
        for (size_t n = 0; n < b->N; n += COLS)
            bias_columns(nn, b, n, db);
        return;
    }
#pragma omp parallel for schedule(static) num_threads(threads)
    for (size_t n = 0; n < b->N; n += COLS)
        bias_columns(nn, b, n, db);
}

/* Where task t of dW works: a chunk of rows, for one tile of the result. */
struct place {
    size_t m, n, k, rows, cols;
};

static struct place dw_place(const struct back *b, size_t t)
{
    const size_t chunks = tiles_of(b->M, CHUNK), across = tiles_of(b->K, TN);
    const size_t tile = t / chunks;
    const size_t n = tile / across * TM, k = tile % across * TN;

    return (struct place){t % chunks * CHUNK, n, k, min(b->N - n, TM),
                          min(b->K - k, TN)};
}

static void dw_product(const struct back *b, size_t t, float *c)
{
    const struct place p = dw_place(b, t);

    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)p.rows,
                (int)p.cols, (int)min(b->M - p.m, CHUNK), 1,
                b->dy + p.m * b->lddy + p.n, (int)b->lddy,
                b->in + p.m * b->ldin + p.k, (int)b->ldin, 0, c, (int)p.cols);
}

static void dw_add(const struct ral_nn *nn, const struct back *b, size_t t,
                   const float *c)
{
    const struct place p = dw_place(b, t);

    for (size_t i = 0; i < p.rows; i++)
        nn->k.add(p.cols, c + i * p.cols, b->out + (p.n + i) * b->ldout + p.k);
}

/* A chunk's sum of one tile starts from zero in scratch; the sums enter dW in
 * the chunks' order, whoever made them.
 */
void ral_matmul_dw(const struct ral_nn *nn, size_t M, size_t N, size_t K,
                   const float *dy, size_t lddy, const float *x, size_t ldx,
                   float *dW, float *db)
{
    const struct back b = {M, N, K, dy, x, lddy, ldx, true, dW, K};
    const size_t tasks = tiles_of(M, CHUNK) * tiles_of(K, TN) *
                         tiles_of(N, TM);
    const int threads = threads_for(nn, M * N * K);

    if (db)
        bias_grad(nn, &b, db, threads);
    if (threads == 1) { // perhaps in a caller's parallel region
        float *c = scratch(nn);

        for (size_t t = 0; t < tasks; t++) {
            dw_product(&b, t, c);
            dw_add(nn, &b, t, c);
        }
        return;
    }
#pragma omp parallel for ordered schedule(static, 1) num_threads(threads)
    for (size_t t = 0; t < tasks; t++) {
        float *c = scratch(nn);

        dw_product(&b, t, c);
#pragma omp ordered
        dw_add(nn, &b, t, c);
    }
}

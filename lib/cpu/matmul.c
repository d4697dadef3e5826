/* lib/cpu/matmul.c - products, forward and backward.
 *
 * Blocks over rows, columns and k, threads, and the choice between ready and
 * freshly made panels change only the order in which elements are visited;
 * each element stays one chain over ascending k, stored and reloaded between
 * blocks of k, or for a weight's gradient one chain a block of k.
 */
#include "cpu/matmul.h"

#include <assert.h>
#include <omp.h>
#include <string.h>

#include "cpu/blas.h"


enum {
    KC = RAL_CHUNK, // k of one block: 16 columns of it fill the first cache
    MC = 192,       // rows of one block: its a stays in the second
    NARROW = 512,
    NC = 2048,      // columns of one block: its panels stay in the third
    MANY = 96,      // rows from which a is worth a copy
    COLS = 64,      // columns of a task of a bias gradient
};

/* One thread's scratch. */
struct work {
    float b[KC * NC];
    float a[MC * (KC + 16)];
    float c[MC * NARROW];
};
_Static_assert(sizeof(struct work) <= RAL_NN_SCRATCH * sizeof(float),
               "scratch");

/* out[M][N] = a[M][K] b[K][N] */
struct job {
    const struct ral_kernels *k;
    size_t M, N, K;
    const float *a; // [M][K], or where it stands transposed [K][M]
    size_t lda;
    bool transposed;
    const float *panels; // all of b, or NULL: made from numbers
    const void *b;       // [N][K], or by rows [K][N]
    enum ral_dtype dtype;
    size_t ldb;
    bool by_rows;
    const float *bias;
    bool add, chunks; // to what is there; each block of k by itself
    float *out;
    size_t ldout;
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
    return work > RAL_NN_FREE && !omp_in_parallel() ? nn->threads : 1;
}

size_t ral_weight_panel_floats(const struct ral_cpu_weight *w)
{
    return panels_of(w->N) * w->K * RAL_PANEL;
}

/* Columns n .. n+N-1 of b, k .. k+K-1, as panels one after another. Rows come
 * a few at a time and whole: where ldb is a large power of two, more of them
 * would not stay in the first cache until the last panel takes its part.
 */
static void make_panels(const struct job *j, size_t n, size_t N, size_t k,
                        size_t K, float *to)
{
    const size_t few = j->by_rows ? 8 : K, size = ral_dtype_size(j->dtype);
    const unsigned char *b = j->b;

    for (size_t i = 0; i < K; i += few)
        for (size_t p = 0; p < N; p += RAL_PANEL) {
            const size_t cols = min(N - p, RAL_PANEL), rows = min(K - i, few);
            float *panel = to + p * K + i * RAL_PANEL;

            if (j->by_rows)
                j->k->row_panel(cols, rows, j->dtype,
                                b + ((k + i) * j->ldb + n + p) * size, j->ldb,
                                panel);
            else
                j->k->panel(cols, rows, j->dtype,
                            b + ((n + p) * j->ldb + k) * size, j->ldb, panel);
        }
}

static void pack_panel(const struct ral_nn *nn, const struct ral_cpu_weight *w,
                       size_t p)
{
    const unsigned char *data = w->data;

    nn->k.panel(min(w->N - p * RAL_PANEL, RAL_PANEL), w->K, w->dtype,
                data + p * RAL_PANEL * w->K * ral_dtype_size(w->dtype), w->K,
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

/* Rows side by side: they would share few cache sets where lda is a large
 * power of two.
 */
static const float *gather(const struct job *j, size_t m, size_t M, size_t k,
                           size_t K, size_t *lda, float *to)
{
    *lda = (K / 16 | 1) * 16 + (K % 16 ? 16 : 0);
    if (j->transposed)
        j->k->transpose(M, K, j->a + k * j->lda + m, j->lda, to, *lda);
    else
        for (size_t i = 0; i < M; i++)
            for (size_t q = 0; q < K; q += 256) // below glibc's `rep movsb`
                memcpy(to + i * *lda + q, j->a + (m + i) * j->lda + k + q,
                       min(K - q, 256) * sizeof(float));
    return to;
}

/* One add each, the chain first: out = (c + bias) + out. */
static void finish(const struct job *j, size_t m, size_t n, size_t M, size_t N,
                   float *c, size_t ldc, bool apart)
{
    for (size_t i = 0; i < M; i++, c += ldc) {
        if (j->bias)
            j->k->add(N, j->bias + n, c);
        if (apart)
            j->k->add(N, c, j->out + (m + i) * j->ldout + n);
    }
}

/* Rows m0 .. m1-1, columns n0 .. n1-1 of out, by one thread. */
static void region(const struct job *j, size_t m0, size_t m1, size_t n0,
                   size_t n1, struct work *s)
{
    /* A few rows fit the cache whole; panels made here are short. */
    const size_t step = m1 - m0 <= RAL_TILE_M && j->panels ? j->K : (size_t)KC;
    /* A sum that is not complete may not enter out. */
    const bool apart = j->add && (j->bias || (j->K > step && !j->chunks));
    const size_t rows = apart ? (size_t)MC : m1 - m0;
    const size_t wide = apart ? (size_t)NARROW : (size_t)NC;

    for (size_t top = m0; top < m1; top += rows) {
        const size_t bottom = min(top + rows, m1);

        for (size_t n = n0; n < n1; n += wide) {
            const size_t N = min(n1 - n, wide);
            size_t k = 0;

            do { // once at least: an empty chain is +0
                const size_t K = min(j->K - k, step);
                const enum ral_into into =
                    j->chunks || (j->add && !apart) ? RAL_ADD
                    : k                             ? RAL_RESUME
                                                    : RAL_SET;
                const float *b = s->b;

                if (j->panels)
                    b = j->panels + n * j->K + k * RAL_PANEL;
                else
                    make_panels(j, n, N, k, K, s->b);
                for (size_t m = top; m < bottom; m += MC) {
                    const size_t M = min(bottom - m, MC);
                    float *c = apart ? s->c : j->out + m * j->ldout + n;
                    const size_t ldc = apart ? (size_t)NARROW : j->ldout;
                    const float *a = j->a + m * j->lda + k;
                    size_t lda = j->lda;

                    if (M >= MANY || j->transposed || (M > 8 && lda % 512 == 0))
                        a = gather(j, m, M, k, K, &lda, s->a);
                    j->k->block(M, N, K, a, lda, b,
                                RAL_PANEL * (j->panels ? j->K : K), c, ldc,
                                into);
                    if (k + K == j->K)
                        finish(j, m, n, M, N, c, ldc, apart);
                }
                k += K;
            } while (k < j->K);
        }
    }
}

/* Threads take strips of rows where every thread gets tiles enough and no
 * panels have to be made twice, else strips of panels.
 */
static void run(const struct ral_nn *nn, const struct job *j)
{
    const int threads = threads_for(nn, j->M * j->N * j->K);
    const size_t parts = 2 * (size_t)threads, M = j->M, N = j->N;
    const bool rows = j->panels ? M >= 12 * parts : M > N;
    const size_t all = rows ? M : N;
    const size_t strip =
        round_up((all + parts - 1) / parts, rows ? 12 : RAL_PANEL);

    if (!M || !N || (j->chunks && !j->K))
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
    const struct job j = {
        .k = &nn->k,
        .M = M,
        .N = w->N,
        .K = w->K,
        .a = x,
        .lda = ldx,
        .panels = w->panels,
        .b = w->data,
        .dtype = w->dtype,
        .ldb = w->K,
        .bias = bias,
        .add = residual,
        .out = y,
        .ldout = ldy,
    };

    run(nn, &j);
}

/* dx[M][K] = dy[M][N] W[N][K] */
void ral_matmul_dx(const struct ral_nn *nn, const struct ral_cpu_weight *w,
                   size_t M, const float *dy, size_t lddy, bool add, float *dx,
                   size_t lddx)
{
    const struct job j = {
        .k = &nn->k,
        .M = M,
        .N = w->K,
        .K = w->N,
        .a = dy,
        .lda = lddy,
        .b = w->data,
        .dtype = w->dtype,
        .ldb = w->K,
        .by_rows = true,
        .add = add,
        .out = dx,
        .ldout = lddx,
    };

    if (nn->blas)
        ral_blas_dx(nn, w, M, dy, lddy, add, dx, lddx);
    else
        run(nn, &j);
}

/* All rows of some columns: chunks from +0, added in order. */
static void bias_columns(const struct ral_nn *nn, size_t M, size_t cols,
                         const float *dy, size_t lddy, float *db)
{
    for (size_t m = 0; m < M; m += RAL_CHUNK) {
        float sum[COLS] = {0};

        for (size_t i = m; i < min(M, m + RAL_CHUNK); i++)
            nn->k.add(cols, dy + i * lddy, sum);
        nn->k.add(cols, sum, db);
    }
}

static void bias_grad(const struct ral_nn *nn, size_t M, size_t N,
                      const float *dy, size_t lddy, float *db)
{
    const int threads = threads_for(nn, M * N);

    if (threads == 1) {
        for (size_t n = 0; n < N; n += COLS)
            bias_columns(nn, M, min(N - n, COLS), dy + n, lddy, db + n);
        return;
    }
#pragma omp parallel for schedule(static) num_threads(threads)
    for (size_t n = 0; n < N; n += COLS)
        bias_columns(nn, M, min(N - n, COLS), dy + n, lddy, db + n);
}

/* dW[N][K] += dy^T[N][M] x[M][K] */
void ral_matmul_dw(const struct ral_nn *nn, size_t M, size_t N, size_t K,
                   const float *dy, size_t lddy, const float *x, size_t ldx,
                   float *dW, float *db)
{
    const struct job j = {
        .k = &nn->k,
        .M = N,
        .N = K,
        .K = M,
        .a = dy,
        .lda = lddy,
        .transposed = true,
        .b = x,
        .dtype = RAL_F32,
        .ldb = ldx,
        .by_rows = true,
        .add = true,
        .chunks = true,
        .out = dW,
        .ldout = K,
    };

    if (db)
        bias_grad(nn, M, N, dy, lddy, db);
    if (nn->blas)
        ral_blas_dw(nn, M, N, K, dy, lddy, x, ldx, dW);
    else
        run(nn, &j);
}

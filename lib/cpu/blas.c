/* lib/cpu/blas.c - backward products by single-threaded OpenBLAS calls over
 * fixed tiles.
 */
#include "cpu/blas.h"

#include <assert.h>
#include <cblas.h>
#include <omp.h>

/* Other BLAS libraries lack these. */
#pragma weak openblas_set_num_threads
#pragma weak openblas_get_corename

const char *ral_blas_start(void)
{
    if (openblas_set_num_threads)
        openblas_set_num_threads(1);
    return openblas_get_corename ? openblas_get_corename() : "unknown";
}

static size_t min(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t tiles_of(size_t n, size_t of)
{
    return (n + of - 1) / of;
}

static float *scratch(const struct ral_nn *nn)
{
    return nn->scratch + (size_t)omp_get_thread_num() * nn->scratch_stride;
}

static int threads_for(const struct ral_nn *nn, size_t work)
{
    return work > RAL_NN_FREE && !omp_in_parallel() ? nn->threads : 1;
}

/* Tiles of the backward products depend on the shape alone, so threads cannot
 * change bits. Those of a small dx are halved, to feed more threads.
 */
enum { TM = 256, TN = 512, SMALL = 1 << 20 };
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

void ral_blas_dx(const struct ral_nn *nn, const struct ral_cpu_weight *w,
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

/* Where task t of dW works: a chunk of rows, for one tile of the result. */
struct place {
    size_t m, n, k, rows, cols;
};

static struct place dw_place(const struct back *b, size_t t)
{
    const size_t chunks = tiles_of(b->M, RAL_CHUNK), across = tiles_of(b->K, TN);
    const size_t tile = t / chunks;
    const size_t n = tile / across * TM, k = tile % across * TN;

    return (struct place){t % chunks * RAL_CHUNK, n, k, min(b->N - n, TM),
                          min(b->K - k, TN)};
}

static void dw_product(const struct back *b, size_t t, float *c)
{
    const struct place p = dw_place(b, t);

    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)p.rows,
                (int)p.cols, (int)min(b->M - p.m, RAL_CHUNK), 1,
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
void ral_blas_dw(const struct ral_nn *nn, size_t M, size_t N, size_t K,
                   const float *dy, size_t lddy, const float *x, size_t ldx,
                   float *dW)
{
    const struct back b = {M, N, K, dy, x, lddy, ldx, true, dW, K};
    const size_t tasks = tiles_of(M, RAL_CHUNK) * tiles_of(K, TN) *
                         tiles_of(N, TM);
    const int threads = threads_for(nn, M * N * K);

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

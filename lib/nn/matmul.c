/* lib/nn/matmul.c - products: ours forward, OpenBLAS's backward.
 *
 * Blocks over rows, panels and k, threads, and the choice between ready and
 * freshly made panels change only the order in which elements are visited;
 * each element stays one chain over ascending k, stored and reloaded between
 * blocks of k.
 */
#include "nn/matmul.h"

#include <assert.h>
#include <cblas.h>
#include <omp.h>
#include <string.h>

enum {
    KC = 512,       // k of one block
    MC = 192,       // rows of one block
    NC = 256,       // columns of one block
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
    const struct ral_weight *w;
    size_t M, N; // N of the part
    size_t n0;   // first weight row
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

static float *scratch(const struct ral_nn *nn)
{
    const int t = omp_get_thread_num();

    assert(t < nn->threads);
    return nn->scratch + (size_t)t * nn->scratch_stride;
}

size_t ral_weight_panel_floats(const struct ral_weight *w)
{
    return panels_of(w->N) * w->K * RAL_PANEL;
}

/* n stored numbers from element i on, to stride apart. */
static void load(const struct ral_weight *w, size_t i, size_t n, float *out,
                 size_t stride)
{
    const unsigned char *p =
        (const unsigned char *)w->data + i * ral_dtype_size(w->dtype);
    uint16_t h;

    switch (w->dtype) {
    case RAL_F32:
        for (size_t k = 0; k < n; k++)
            memcpy(out + k * stride, p + 4 * k, 4);
        break;
    case RAL_BF16:
        for (size_t k = 0; k < n; k++) {
            memcpy(&h, p + 2 * k, 2);
            out[k * stride] = ral_from_bf16(h);
        }
        break;
    default:
        assert(w->dtype == RAL_F16);
        for (size_t k = 0; k < n; k++) {
            memcpy(&h, p + 2 * k, 2);
            out[k * stride] = ral_from_f16(h);
        }
    }
}

/* Weight rows n .. n+31 (zero beyond N), k .. k+K-1, as one panel. */
static void make_panel(const struct ral_weight *w, size_t n, size_t k, size_t K,
                       float *out)
{
    for (size_t r = 0; r < RAL_PANEL; r++) {
        if (n + r < w->N)
            load(w, (n + r) * w->K + k, K, out + r, RAL_PANEL);
        else
            for (size_t i = 0; i < K; i++)
                out[i * RAL_PANEL + r] = 0;
    }
}

void ral_weight_pack(const struct ral_nn *nn, struct ral_weight *w)
{
    const size_t panels = panels_of(w->N);

#pragma omp parallel for schedule(static)                                      \
    num_threads(nn->threads) if (w->N * w->K > FREE)
    for (size_t p = 0; p < panels; p++)
        make_panel(w, p * RAL_PANEL, 0, w->K, w->panels + p * RAL_PANEL * w->K);
}

/* c[M][N] (+)= x[M][K] of columns n .., k .. k+K-1. */
static void multiply(const struct job *j, size_t n, size_t N, size_t k,
                     size_t K, size_t M, const float *x, size_t ldx, float *c,
                     size_t ldc, float *panel)
{
    const struct ral_weight *w = j->w;
    const size_t row = j->n0 + n;

    if (w->panels) {
        j->k->block(M, N, K, x, ldx, w->panels + row * w->K + k * RAL_PANEL,
                    RAL_PANEL * w->K, c, ldc, k > 0);
        return;
    }
    for (size_t p = 0; p < N; p += RAL_PANEL) {
        make_panel(w, row + p, k, K, panel);
        j->k->block(M, min(N - p, RAL_PANEL), K, x, ldx, panel, 0, c + p, ldc,
                    k > 0);
    }
}

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
    for (size_t m = m0; m < m1; m += MC) {
        for (size_t n = n0; n < n1; n += NC) {
            const size_t M = min(m1 - m, MC), N = min(n1 - n, NC);
            float *c = j->residual ? s->c : j->y + m * j->ldy + n;
            const size_t ldc = j->residual ? (size_t)NC : j->ldy;
            size_t k = 0;

            do {
                const size_t K = min(j->w->K - k, KC);

                multiply(j, n, N, k, K, M, j->x + m * j->ldx + k, j->ldx, c,
                         ldc, s->panel);
                k += K;
            } while (k < j->w->K);
            finish(j, m, n, M, N, c, ldc);
        }
    }
}

static void run(const struct ral_nn *nn, const struct job *j)
{
    region(j, 0, j->M, 0, j->N, (struct work *)(void *)scratch(nn));
}

void ral_matmul(const struct ral_nn *nn, const struct ral_weight *w, size_t M,
                const float *x, size_t ldx, const float *bias, bool residual,
                float *y, size_t ldy)
{
    const struct job j = {&nn->k, w,   M,        w->N, 0,  x,
                          bias,   ldx, residual, y,    ldy};

    run(nn, &j);
}

void ral_matmul_part(const struct ral_nn *nn, const struct ral_weight *w,
                     size_t n0, size_t n, size_t M, const float *x, size_t ldx,
                     float *y, size_t ldy)
{
    const struct job j = {&nn->k, w, M, n, n0, x, NULL, ldx, false, y, ldy};

    assert(n0 % RAL_PANEL == 0 && n0 + n <= w->N);
    run(nn, &j);
}

/* Tiles of the backward products: fixed, so threads cannot change bits. */
enum { TM = 128, TN = 256, CHUNK = 512 };
_Static_assert(TM *TN <= RAL_NN_SCRATCH, "scratch");

void ral_matmul_dx(const struct ral_nn *nn, const struct ral_weight *w,
                   size_t M, const float *dy, size_t lddy, bool add, float *dx,
                   size_t lddx)
{
    const float *W = w->data;
    const size_t across = (w->K + TN - 1) / TN;
    const size_t tiles = (M + TM - 1) / TM * across;

    assert(w->dtype == RAL_F32);
#pragma omp parallel for schedule(dynamic)                                     \
    num_threads(nn->threads) if (M * w->N * w->K > FREE)
    for (size_t t = 0; t < tiles; t++) {
        const size_t m = t / across * TM, k = t % across * TN;

        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans,
                    (int)min(M - m, TM), (int)min(w->K - k, TN), (int)w->N, 1,
                    dy + m * lddy, (int)lddy, W + k, (int)w->K, add,
                    dx + m * lddx + k, (int)lddx);
    }
}

static void bias_grad(size_t M, size_t N, const float *dy, size_t lddy,
                      const struct ral_kernels *k, float *db)
{
    for (size_t m = 0; m < M; m++)
        k->add(N, dy + m * lddy, db);
}

/* A chunk's sum of one tile starts from zero in scratch; sums enter dW in the
 * chunks' order.
 */
void ral_matmul_dw(const struct ral_nn *nn, size_t M, size_t N, size_t K,
                   const float *dy, size_t lddy, const float *x, size_t ldx,
                   float *dW, float *db)
{
    const size_t chunks = (M + CHUNK - 1) / CHUNK;
    const size_t across = (K + TN - 1) / TN, down = (N + TM - 1) / TM;

    if (db)
        bias_grad(M, N, dy, lddy, &nn->k, db);
#pragma omp parallel for ordered schedule(static, 1)                           \
    num_threads(nn->threads) if (M * N * K > FREE)
    for (size_t t = 0; t < down * across * chunks; t++) {
        const size_t m = t % chunks * CHUNK, tile = t / chunks;
        const size_t n = tile / across * TM, k = tile % across * TN;
        const size_t rows = min(N - n, TM), cols = min(K - k, TN);
        float *c = scratch(nn);

        cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)rows,
                    (int)cols, (int)min(M - m, CHUNK), 1, dy + m * lddy + n,
                    (int)lddy, x + m * ldx + k, (int)ldx, 0, c, (int)cols);
#pragma omp ordered
        for (size_t i = 0; i < rows; i++)
            nn->k.add(cols, c + i * cols, dW + (n + i) * K + k);
    }
}

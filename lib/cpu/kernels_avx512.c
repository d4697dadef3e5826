/* lib/cpu/kernels_avx512.c - the kernels for AVX-512 (F, DQ, VL).
 *
 * Up to 12 rows times 32 columns stay in 24 of the 32 registers. A test
 * compiles this file over an emulation of the instructions (RAL_SIMDE).
 */
#if defined(__AVX512F__) || defined(RAL_SIMDE)
#define RAL_OWN_TILE
#include "cpu/kernels_body.h"

#ifndef RAL_SIMDE
#include <immintrin.h>
#endif

enum { W = 16, ROWS = 12 }; // floats of a vector, rows of the largest tile

/* c[R][V vectors] (+)= a[R][K] b; vector v of b starts at b[v], rows of b are
 * ldb apart, and it belongs to the columns c + 16 v.
 */
static inline __attribute__((always_inline)) void
micro(int R, int V, size_t K, const float *a, size_t lda, const float *const *b,
      size_t ldb, float *c, size_t ldc, bool load)
{
    __m512 acc[ROWS][8];

#pragma GCC unroll 12
    for (int r = 0; r < R; r++)
#pragma GCC unroll 8
        for (int v = 0; v < V; v++)
            acc[r][v] = load ? _mm512_loadu_ps(c + (size_t)r * ldc + v * W)
                             : _mm512_setzero_ps();
    for (size_t k = 0; k < K; k++) {
        __m512 bv[8];

#pragma GCC unroll 8
        for (int v = 0; v < V; v++)
            bv[v] = _mm512_loadu_ps(b[v] + k * ldb);
#pragma GCC unroll 12
        for (int r = 0; r < R; r++) {
            const __m512 av = _mm512_set1_ps(a[(size_t)r * lda + k]);

#pragma GCC unroll 8
            for (int v = 0; v < V; v++)
                acc[r][v] = _mm512_fmadd_ps(av, bv[v], acc[r][v]);
        }
    }
#pragma GCC unroll 12
    for (int r = 0; r < R; r++)
#pragma GCC unroll 8
        for (int v = 0; v < V; v++)
            _mm512_storeu_ps(c + (size_t)r * ldc + v * W, acc[r][v]);
}

typedef void micro_fn(size_t K, const float *a, size_t lda, const float *b,
                      size_t ldb, float *c, size_t ldc, bool load);

#define MICRO(R, V)                                                            \
    static void micro_##R##x##V(size_t K, const float *a, size_t lda,          \
                                const float *b, size_t ldb, float *c,          \
                                size_t ldc, bool load)                         \
    {                                                                          \
        const float *const bs[] = {b, b + W};                                  \
                                                                               \
        micro(R, V, K, a, lda, bs, ldb, c, ldc, load);                         \
    }
#define MICROS(R) MICRO(R, 1) MICRO(R, 2)
MICROS(1)
MICROS(2)
MICROS(3)
MICROS(4)
MICROS(5)
MICROS(6)
MICROS(7)
MICROS(8)
MICROS(9)
MICROS(10)
MICROS(11)
MICROS(12)

/* [rows][vectors] */
static micro_fn *const micros[ROWS + 1][3] = {
    {NULL, NULL, NULL},
    {NULL, micro_1x1, micro_1x2},
    {NULL, micro_2x1, micro_2x2},
    {NULL, micro_3x1, micro_3x2},
    {NULL, micro_4x1, micro_4x2},
    {NULL, micro_5x1, micro_5x2},
    {NULL, micro_6x1, micro_6x2},
    {NULL, micro_7x1, micro_7x2},
    {NULL, micro_8x1, micro_8x2},
    {NULL, micro_9x1, micro_9x2},
    {NULL, micro_10x1, micro_10x2},
    {NULL, micro_11x1, micro_11x2},
    {NULL, micro_12x1, micro_12x2},
};

/* One or two rows, four or two panels: eight chains. */
static void micro_panels(size_t rows, size_t K, const float *a, size_t lda,
                         const float *b, size_t stride, float *c, size_t ldc,
                         bool load)
{
    const float *bs[8];

    for (size_t v = 0; v < (rows == 1 ? 8 : 4); v++)
        bs[v] = b + v / 2 * stride + v % 2 * W;
    if (rows == 1)
        micro(1, 8, K, a, lda, bs, RAL_PANEL, c, ldc, load);
    else
        micro(2, 4, K, a, lda, bs, RAL_PANEL, c, ldc, load);
}

/* Up to ROWS rows of up to 32 columns, of which cols exist in c. */
static void part(size_t rows, size_t cols, size_t K, const float *a, size_t lda,
                 const float *b, size_t ldb, float *c, size_t ldc, bool load)
{
    micro_fn *fn = micros[rows][cols > W ? 2 : 1];
    float tmp[ROWS * RAL_PANEL] = {0};

    if (cols == RAL_PANEL || cols == W) {
        fn(K, a, lda, b, ldb, c, ldc, load);
        return;
    }
    for (size_t r = 0; load && r < rows; r++)
        memcpy(tmp + r * RAL_PANEL, c + r * ldc, cols * sizeof(float));
    fn(K, a, lda, b, ldb, tmp, RAL_PANEL, load);
    for (size_t r = 0; r < rows; r++)
        memcpy(c + r * ldc, tmp + r * RAL_PANEL, cols * sizeof(float));
}

static void tile(size_t rows, size_t cols, size_t K, const float *a, size_t lda,
                 const float *b, size_t ldb, float *c, size_t ldc, bool load)
{
    part(rows, cols, K, a, lda, b, ldb, c, ldc, load);
}

/* Rows of the next tile: 12, but the last 13 to 23 in halves. */
static inline size_t take(size_t rows)
{
    return rows >= 2 * ROWS ? ROWS : rows > ROWS ? (rows + 1) / 2 : rows;
}

static inline void fetch(const float *p, size_t floats)
{
#ifdef RAL_SIMDE
    (void)p;
    (void)floats;
#else
    for (size_t i = 0; i < floats; i += 16)
        _mm_prefetch((const char *)(p + i), _MM_HINT_T1);
#endif
}

static void block(size_t M, size_t N, size_t K, const float *a, size_t lda,
                  const float *b, size_t stride, float *c, size_t ldc,
                  bool load)
{
    /* of the next panel, a tile, in whole lines */
    const size_t slice = (K * RAL_PANEL * take(M) / (M + !M) + 15) / 16 * 16;
    const size_t wide = M == 1 ? 4 : M == 2 ? 2 : 1; // panels at once

    for (size_t n = 0; n < N;) {
        const size_t cols = N - n < RAL_PANEL ? N - n : RAL_PANEL;
        const float *next = b + stride;

        if (wide > 1 && N - n >= wide * RAL_PANEL) {
            micro_panels(M, K, a, lda, b, stride, c + n, ldc, load);
            n += wide * RAL_PANEL;
            b += wide * stride;
            continue;
        }
        for (size_t m = 0, R; m < M; m += R) {
            R = take(M - m);
            if (n + RAL_PANEL < N) {
                fetch(next, slice);
                next += slice;
            }
            part(R, cols, K, a + m * lda, lda, b, RAL_PANEL, c + m * ldc + n,
                 ldc, load);
        }
        n += RAL_PANEL;
        b += stride;
    }
}

void ral_kernels_fill_avx512(struct ral_kernels *k)
{
    kernels_fill(k, "avx512");
}
#endif

/* lib/cpu/kernels_avx512.c - the kernels for AVX-512 (F, DQ, VL).
 *
 * Up to 12 rows times 32 columns stay in 24 of the 32 registers. make EMULATE=1
 * compiles this file over an emulation of the instructions.
 */
#if defined(__AVX512F__) || defined(RAL_EMULATE)
#define RAL_OWN_TILE
#include "cpu/kernels_body.h"

#ifdef RAL_EMULATE
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>
#else
#include <immintrin.h>
#endif

enum { W = 16, ROWS = 12 }; // floats of a vector, rows of the largest tile

/* acc[R][V vectors] += a[R] times one row of b, that starts at b[v] + at. */
static inline __attribute__((always_inline)) void
multiply(int R, int V, __m512 acc[ROWS][8], const float *a, size_t lda,
         const float *const *b, size_t at)
{
    __m512 bv[8];

#pragma GCC unroll 8
    for (int v = 0; v < V; v++)
        bv[v] = _mm512_loadu_ps(b[v] + at);
#pragma GCC unroll 12
    for (int r = 0; r < R; r++) {
        const __m512 av = _mm512_set1_ps(a[(size_t)r * lda]);

#pragma GCC unroll 8
        for (int v = 0; v < V; v++)
            acc[r][v] = _mm512_fmadd_ps(av, bv[v], acc[r][v]);
    }
}

/* c[R][V vectors] (+)= a[R][K] b; vector v of b starts at b[v], and belongs to
 * the columns c + 16 v.
 */
static inline __attribute__((always_inline)) void
micro(int R, int V, const struct piece *p, const float *const *b)
{
    const float *a = p->a, *ahead = p->ahead;
    const size_t lda = p->lda, ldb = p->ldb;
    __m512 acc[ROWS][8];
    size_t k = 0, at = 0;

#pragma GCC unroll 12
    for (int r = 0; r < R; r++)
#pragma GCC unroll 8
        for (int v = 0; v < V; v++)
            acc[r][v] = p->into == RAL_RESUME
                            ? _mm512_loadu_ps(p->c + (size_t)r * p->ldc + v * W)
                            : _mm512_setzero_ps();
    for (; k + STEP <= p->K; k += STEP, a += STEP) {
        for (size_t i = k < p->until ? p->lines : 0; i; i--, ahead += 16)
            __builtin_prefetch(ahead, 0, 2);
#pragma GCC unroll 8
        for (int i = 0; i < STEP; i++, at += ldb)
            multiply(R, V, acc, a + i, lda, b, at);
    }
    for (; k < p->K; k++, a++, at += ldb)
        multiply(R, V, acc, a, lda, b, at);
#pragma GCC unroll 12
    for (int r = 0; r < R; r++)
#pragma GCC unroll 8
        for (int v = 0; v < V; v++) {
            float *to = p->c + (size_t)r * p->ldc + v * W;

            if (p->into == RAL_ADD)
                acc[r][v] = _mm512_add_ps(_mm512_loadu_ps(to), acc[r][v]);
            _mm512_storeu_ps(to, acc[r][v]);
        }
}

typedef void micro_fn(const struct piece *p);

#define MICRO(R, V)                                                            \
    static void micro_##R##x##V(const struct piece *p)                         \
    {                                                                          \
        const float *const bs[] = {p->b, p->b + W};                            \
                                                                               \
        micro(R, V, p, bs);                                                    \
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
static void micro_panels(size_t rows, const struct piece *p, size_t stride)
{
    const float *bs[8];

    for (size_t v = 0; v < (rows == 1 ? 8 : 4); v++)
        bs[v] = p->b + v / 2 * stride + v % 2 * W;
    if (rows == 1)
        micro(1, 8, p, bs);
    else
        micro(2, 4, p, bs);
}

/* Up to ROWS rows of up to 32 columns, of which cols exist in c. */
static void part(size_t rows, size_t cols, const struct piece *p)
{
    micro_fn *fn = micros[rows][cols > W ? 2 : 1];

    if (cols == RAL_PANEL || cols == W) {
        fn(p);
        return;
    }

    float tmp[ROWS * RAL_PANEL] = {0}; // here: cleared only where it is used
    struct piece whole = *p;

    whole.c = tmp;
    whole.ldc = RAL_PANEL;
    for (size_t r = 0; p->into != RAL_SET && r < rows; r++)
        memcpy(tmp + r * RAL_PANEL, p->c + r * p->ldc, cols * sizeof(float));
    fn(&whole);
    for (size_t r = 0; r < rows; r++)
        memcpy(p->c + r * p->ldc, tmp + r * RAL_PANEL, cols * sizeof(float));
}

static void tile(size_t rows, size_t cols, size_t K, const float *a, size_t lda,
                 const float *b, size_t ldb, float *c, size_t ldc,
                 enum ral_into into)
{
    part(rows, cols, &(struct piece){K, a, lda, b, ldb, c, ldc, into, b, 0, 0});
}

/* Rows of the next tile: most, but the last up to 2 most - 1 in halves. */
static inline size_t take(size_t rows, size_t most)
{
    return rows >= 2 * most ? most : rows > most ? (rows + 1) / 2 : rows;
}

/* All rows of one panel. The tile of c that comes next is fetched to the
 * second cache: in the first its rows may share one set of lines. A short
 * chain that is added to what is there waits for c more than it multiplies,
 * unless tiles are small enough to overlap.
 */
static void column(size_t M, size_t cols, struct piece p)
{
    const size_t most = p.K <= 128 && p.into == RAL_ADD ? 4 : ROWS;

    for (size_t m = 0, R; m < M; m += R) {
        R = take(M - m, most);
        for (size_t r = R; m + R < M && r < R + take(M - m - R, most); r++) {
            __builtin_prefetch(p.c + r * p.ldc, 0, 2);
            __builtin_prefetch(p.c + r * p.ldc + W, 0, 2);
        }
        part(R, cols, &p);
        advance(&p, R);
    }
}

static void block(size_t M, size_t N, size_t K, const float *a, size_t lda,
                  const float *b, size_t stride, float *c, size_t ldc,
                  enum ral_into into)
{
    const size_t wide = M == 1 ? 4 : M == 2 ? 2 : 1; // panels at once

    for (size_t n = 0; M && n < N; n += RAL_PANEL, b += stride) {
        struct piece p = {K, a, lda, b, RAL_PANEL, c + n, ldc, into, b, 0, 0};
        const size_t cols = N - n < RAL_PANEL ? N - n : RAL_PANEL;

        if (wide > 1 && N - n >= wide * RAL_PANEL) {
            micro_panels(M, &p, stride);
            n += (wide - 1) * RAL_PANEL;
            b += (wide - 1) * stride;
            continue;
        }
        if (n + RAL_PANEL < N)
            fetch(&p, b + stride, RAL_PANEL, (M + ROWS - 1) / ROWS);
        column(M, cols, p);
    }
}

void ral_kernels_fill_avx512(struct ral_kernels *k)
{
    kernels_fill(k, "avx512");
}
#endif

/* lib/cpu/kernels_avx2.c - the kernels for AVX2 with FMA.
 *
 * Products keep R rows times V vectors of columns in registers (12 of 16
 * where the shape allows it: two multiply-adds a cycle need 8 chains at
 * least). Which tile an element falls into never shows: it is one chain.
 */
#ifdef __AVX2__
#define RAL_OWN_TILE
#include "cpu/kernels_body.h"

#include <immintrin.h>

enum { W = 8, MANY = 96, HALF = 512 }; // floats of a vector; rows, k: column

/* acc[R][V vectors] += a[R] times one row of b, that starts at b[v] + at. */
static inline __attribute__((always_inline)) void
multiply(int R, int V, __m256 acc[6][8], const float *a, size_t lda,
         const float *const *b, size_t at)
{
    __m256 bv[8];

#pragma GCC unroll 8
    for (int v = 0; v < V; v++)
        bv[v] = _mm256_loadu_ps(b[v] + at);
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
        const __m256 av = _mm256_broadcast_ss(a + (size_t)r * lda);

#pragma GCC unroll 8
        for (int v = 0; v < V; v++)
            acc[r][v] = _mm256_fmadd_ps(av, bv[v], acc[r][v]);
    }
}

/* c[R][V vectors] (+)= a[R][K] b; vector v of b starts at b[v] and belongs to
 * the columns c + 8 v. Rows that come next are fetched meanwhile, a line each
 * every 16 k, because a row is too short for the hardware to notice.
 */
static inline __attribute__((always_inline)) void
micro(int R, int V, const struct piece *p, const float *const *b)
{
    const float *a = p->a, *ahead = p->ahead;
    const size_t lda = p->lda, ldb = p->ldb;
    __m256 acc[6][8];
    size_t k = 0, at = 0;

#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
#pragma GCC unroll 8
        for (int v = 0; v < V; v++)
            acc[r][v] = p->into == RAL_RESUME
                            ? _mm256_loadu_ps(p->c + (size_t)r * p->ldc + v * W)
                            : _mm256_setzero_ps();
    for (; k + STEP <= p->K; k += STEP, a += STEP) {
        for (size_t i = k < p->until ? p->lines : 0; i; i--, ahead += 16)
            __builtin_prefetch(ahead, 0, 2);
#pragma GCC unroll 2
        for (int i = 0; i < STEP; i++, at += ldb)
            multiply(R, V, acc, a + i, lda, b, at);
    }
    for (; k < p->K; k++, a++, at += ldb)
        multiply(R, V, acc, a, lda, b, at);
#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
#pragma GCC unroll 8
        for (int v = 0; v < V; v++) {
            float *to = p->c + (size_t)r * p->ldc + v * W;

            if (p->into == RAL_ADD)
                acc[r][v] = _mm256_add_ps(_mm256_loadu_ps(to), acc[r][v]);
            _mm256_storeu_ps(to, acc[r][v]);
        }
}

typedef void micro_fn(const struct piece *p);

#define MICRO(R, V)                                                            \
    static void micro_##R##x##V(const struct piece *p)                         \
    {                                                                          \
        const float *const bs[] = {p->b, p->b + W, p->b + 2 * W,               \
                                   p->b + 3 * W};                              \
                                                                               \
        micro(R, V, p, bs);                                                    \
    }
MICRO(1, 4)
MICRO(2, 4)
MICRO(3, 4)
MICRO(1, 2)
MICRO(2, 2)
MICRO(3, 2)
MICRO(4, 2)
MICRO(5, 2)
MICRO(6, 2)

/* One row, two panels: eight chains, which one panel would not give. */
static void micro_pair(const struct piece *p, const float *b2)
{
    const float *const bs[] = {p->b, p->b + W, p->b + 2 * W, p->b + 3 * W,
                               b2,   b2 + W,   b2 + 2 * W,   b2 + 3 * W};

    micro(1, 8, p, bs);
}

/* 16 columns of 1 .. 6 rows, 32 of 1 .. 3. */
static micro_fn *const narrow[] = {NULL,      micro_1x2, micro_2x2, micro_3x2,
                                   micro_4x2, micro_5x2, micro_6x2};
static micro_fn *const wide[] = {NULL, micro_1x4, micro_2x4, micro_3x4};

/* Rows of the next tile: 6, but the last 7 to 11 in halves. */
static inline size_t take(size_t rows)
{
    return rows >= 12 ? 6 : rows > 6 ? (rows + 1) / 2 : rows;
}

/* The micro kernel of w = 16 or 32 columns, of which cols exist. */
static void part(micro_fn *fn, size_t rows, size_t cols, size_t w,
                 const struct piece *p)
{
    if (cols >= w) {
        fn(p);
        return;
    }

    float tmp[6 * RAL_PANEL] = {0}; // here: cleared only where it is used
    struct piece whole = *p;

    whole.c = tmp;
    whole.ldc = w;
    for (size_t r = 0; p->into != RAL_SET && r < rows; r++)
        memcpy(tmp + r * w, p->c + r * p->ldc, cols * sizeof(float));
    fn(&whole);
    for (size_t r = 0; r < rows; r++)
        memcpy(p->c + r * p->ldc, tmp + r * w, cols * sizeof(float));
}

static void tile(size_t rows, size_t cols, size_t K, const float *a, size_t lda,
                 const float *b, size_t ldb, float *c, size_t ldc,
                 enum ral_into into)
{
    struct piece p = {K, a, lda, b, ldb, c, ldc, into, b, 0, 0};

    if (rows <= 3 && cols > 16) {
        part(wide[rows], rows, cols, 32, &p);
        return;
    }
    for (size_t n = 0; n < cols; n += 16)
        for (size_t m = 0, R; m < rows; m += R) {
            R = take(rows - m);
            p.a = a + m * lda;
            p.b = b + n;
            p.c = c + m * ldc + n;
            part(narrow[R], R, cols - n, 16, &p);
        }
}

/* All rows of 16 columns. Half a long panel, every second line of memory,
 * would use half of the first cache: many rows take a copy without gaps.
 */
static void column(size_t M, size_t cols, struct piece p)
{
    _Alignas(64) float copy[HALF * 16];

    if (M >= MANY && p.K > 128 && p.K <= HALF) {
        for (size_t k = 0; k < p.K; k++)
            for (size_t i = 0; i < 16; i += W)
                _mm256_store_ps(copy + k * 16 + i,
                                _mm256_loadu_ps(p.b + k * RAL_PANEL + i));
        p.b = copy;
        p.ldb = 16;
    }
    for (size_t m = 0, R; m < M; m += R) {
        R = take(M - m);
        for (size_t r = R; m + R < M && r < R + take(M - m - R); r++)
            __builtin_prefetch(p.c + r * p.ldc, 1);
        part(narrow[R], R, cols, 16, &p);
        advance(&p, R);
    }
}

static void block(size_t M, size_t N, size_t K, const float *a, size_t lda,
                  const float *b, size_t stride, float *c, size_t ldc,
                  enum ral_into into)
{

    for (size_t n = 0; M && n < N; n += RAL_PANEL, b += stride) {
        struct piece p = {K, a, lda, b, RAL_PANEL, c + n, ldc, into, b, 0, 0};
        const size_t cols = N - n;

        if (M == 1 && cols >= 2 * RAL_PANEL) {
            micro_pair(&p, b + stride);
            n += RAL_PANEL;
            b += stride;
            continue;
        }
        if (M <= 3 && cols > 16) {
            part(wide[M], M, cols, 32, &p);
            continue;
        }
        if (cols > RAL_PANEL && stride) // half of the next panel each
            fetch(&p, b + stride, 16, (M + 5) / 6);
        column(M, cols, p);
        if (cols > 16) {
            p.ahead += K * 16;
            p.b += 16;
            p.c += 16;
            column(M, cols - 16, p);
        }
    }
}

void ral_kernels_fill_avx2(struct ral_kernels *k)
{
    kernels_fill(k, "avx2");
}
#endif

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

/* Floats of a vector. Half a panel, every second line of memory, would use
 * half of the first cache; many rows take a copy without gaps, up to HALF k.
 */
enum { W = 8, MANY = 96, HALF = 512 };

/* c[R][V vectors] (+)= a[R][K] b; vector v of b starts at b[v] (rows ldb
 * apart) and belongs to columns at c[v].
 */
static inline __attribute__((always_inline)) void
micro(int R, int V, size_t K, const float *a, size_t lda, const float *const *b,
      size_t ldb, float *const *c, size_t ldc, bool load)
{
    __m256 acc[6][8];

#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
#pragma GCC unroll 8
        for (int v = 0; v < V; v++)
            acc[r][v] = load ? _mm256_loadu_ps(c[v] + (size_t)r * ldc)
                             : _mm256_setzero_ps();
    for (size_t k = 0; k < K; k++) {
        __m256 bv[8];

#pragma GCC unroll 8
        for (int v = 0; v < V; v++)
            bv[v] = _mm256_loadu_ps(b[v] + k * ldb);
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) {
            const __m256 av = _mm256_broadcast_ss(a + (size_t)r * lda + k);

#pragma GCC unroll 8
            for (int v = 0; v < V; v++)
                acc[r][v] = _mm256_fmadd_ps(av, bv[v], acc[r][v]);
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
#pragma GCC unroll 8
        for (int v = 0; v < V; v++)
            _mm256_storeu_ps(c[v] + (size_t)r * ldc, acc[r][v]);
}

/* Adjacent vectors: R rows, V vectors from b and c on. */
#define MICRO(R, V)                                                            \
    static void micro_##R##x##V(size_t K, const float *a, size_t lda,          \
                                const float *b, size_t ldb, float *c,          \
                                size_t ldc, bool load)                         \
    {                                                                          \
        const float *const bs[] = {b, b + W, b + 2 * W, b + 3 * W};            \
        float *const cs[] = {c, c + W, c + 2 * W, c + 3 * W};                  \
                                                                               \
        micro(R, V, K, a, lda, bs, ldb, cs, ldc, load);                        \
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
static void micro_pair(size_t K, const float *a, const float *b,
                       const float *b2, float *c, bool load)
{
    const float *const bs[] = {b,  b + W,  b + 2 * W,  b + 3 * W,
                               b2, b2 + W, b2 + 2 * W, b2 + 3 * W};
    float *const cs[] = {c,         c + W,     c + 2 * W, c + 3 * W,
                         c + 4 * W, c + 5 * W, c + 6 * W, c + 7 * W};

    micro(1, 8, K, a, 0, bs, RAL_PANEL, cs, 0, load);
}

/* Six rows; those that come next are fetched meanwhile, a line each every 16
 * k, because a row is too short for the hardware to notice.
 */
static void micro_ahead(size_t K, const float *a, size_t lda, const float *b,
                        size_t ldb, float *c, size_t ldc, bool load)
{
    __m256 acc[6][2];

#pragma GCC unroll 6
    for (int r = 0; r < 6; r++)
#pragma GCC unroll 2
        for (int v = 0; v < 2; v++)
            acc[r][v] = load ? _mm256_loadu_ps(c + (size_t)r * ldc + v * W)
                             : _mm256_setzero_ps();
    for (size_t k = 0; k < K;) {
        const size_t end = K - k < 16 ? K : k + 16;

        for (size_t r = 0; r < 6; r++)
            _mm_prefetch((const char *)(a + (6 + r) * lda + k), _MM_HINT_T0);
        for (; k < end; k++) {
            const __m256 b0 = _mm256_loadu_ps(b + k * ldb);
            const __m256 b1 = _mm256_loadu_ps(b + k * ldb + W);

#pragma GCC unroll 6
            for (size_t r = 0; r < 6; r++) {
                const __m256 av = _mm256_broadcast_ss(a + r * lda + k);

                acc[r][0] = _mm256_fmadd_ps(av, b0, acc[r][0]);
                acc[r][1] = _mm256_fmadd_ps(av, b1, acc[r][1]);
            }
        }
    }
#pragma GCC unroll 6
    for (int r = 0; r < 6; r++)
#pragma GCC unroll 2
        for (int v = 0; v < 2; v++)
            _mm256_storeu_ps(c + (size_t)r * ldc + v * W, acc[r][v]);
}

typedef void micro_fn(size_t K, const float *a, size_t lda, const float *b,
                      size_t ldb, float *c, size_t ldc, bool load);

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
static void part(micro_fn *fn, size_t rows, size_t cols, size_t w, size_t K,
                 const float *a, size_t lda, const float *b, size_t ldb,
                 float *c, size_t ldc, bool load)
{
    if (cols >= w) {
        fn(K, a, lda, b, ldb, c, ldc, load);
        return;
    }

    float tmp[6 * RAL_PANEL] = {0}; // here: cleared only where it is used

    for (size_t r = 0; load && r < rows; r++)
        memcpy(tmp + r * w, c + r * ldc, cols * sizeof(float));
    fn(K, a, lda, b, ldb, tmp, w, load);
    for (size_t r = 0; r < rows; r++)
        memcpy(c + r * ldc, tmp + r * w, cols * sizeof(float));
}

static void tile(size_t rows, size_t cols, size_t K, const float *a, size_t lda,
                 const float *b, size_t ldb, float *c, size_t ldc, bool load)
{
    if (rows <= 3 && cols > 16) {
        part(wide[rows], rows, cols, 32, K, a, lda, b, ldb, c, ldc, load);
        return;
    }
    for (size_t n = 0; n < cols; n += 16)
        for (size_t m = 0, R; m < rows; m += R) {
            R = take(rows - m);
            part(narrow[R], R, cols - n, 16, K, a + m * lda, lda, b + n, ldb,
                 c + m * ldc + n, ldc, load);
        }
}

/* Lines of the C tile that comes next, and a slice of the next panel. */
static inline void fetch_c(const float *c, size_t ldc, size_t rows)
{
    for (size_t r = 0; r < rows; r++)
        _mm_prefetch((const char *)(c + r * ldc), _MM_HINT_T0);
}

static inline void fetch(const float *p, size_t floats)
{
    for (size_t i = 0; i < floats; i += 16)
        _mm_prefetch((const char *)(p + i), _MM_HINT_T1);
}

/* All rows of 16 columns; ahead, when not NULL, is what comes next. */
static void column(size_t M, size_t cols, size_t K, const float *a, size_t lda,
                   const float *b, float *c, size_t ldc, bool load,
                   const float *ahead, size_t slice)
{
    _Alignas(64) float copy[HALF * 16];
    const bool many = M >= MANY && K <= HALF;
    size_t ldb = RAL_PANEL;

    if (many) {
        for (size_t k = 0; k < K; k++)
            memcpy(copy + k * 16, b + k * RAL_PANEL, 16 * sizeof(float));
        b = copy;
        ldb = 16;
    }
    for (size_t m = 0, R; m < M; m += R) {
        R = take(M - m);
        if (m + R < M)
            fetch_c(c + (m + R) * ldc, ldc, take(M - m - R));
        if (ahead) {
            fetch(ahead, slice);
            ahead += slice;
        }
        if (many && cols >= 16 && M - m >= 12)
            micro_ahead(K, a + m * lda, lda, b, ldb, c + m * ldc, ldc, load);
        else
            part(narrow[R], R, cols, 16, K, a + m * lda, lda, b, ldb,
                 c + m * ldc, ldc, load);
    }
}

static void block(size_t M, size_t N, size_t K, const float *a, size_t lda,
                  const float *b, size_t stride, float *c, size_t ldc,
                  bool load)
{
    const size_t tiles = (M + 5) / 6;
    /* of half a panel, in whole lines */
    const size_t slice = (K * 16 / tiles + 15) / 16 * 16;

    for (size_t n = 0; n < N; n += RAL_PANEL, b += stride) {
        const size_t cols = N - n;
        const float *next = n + RAL_PANEL < N && stride ? b + stride : NULL;

        if (M == 1 && cols >= 2 * RAL_PANEL) {
            micro_pair(K, a, b, b + stride, c + n, load);
            n += RAL_PANEL;
            b += stride;
            continue;
        }
        if (M <= 3 && cols > 16) {
            part(wide[M], M, cols, 32, K, a, lda, b, RAL_PANEL, c + n, ldc,
                 load);
            continue;
        }
        column(M, cols, K, a, lda, b, c + n, ldc, load, next, slice);
        if (cols > 16)
            column(M, cols - 16, K, a, lda, b + 16, c + n + 16, ldc, load,
                   next ? next + K * 16 : NULL, slice);
    }
}

void ral_kernels_fill_avx2(struct ral_kernels *k)
{
    kernels_fill(k, "avx2");
}
#endif

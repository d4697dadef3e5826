/* lib/cpu/kernels_body.h - the kernels in plain C, compiled once per
 * instruction set: one text, so that all give the same bits.
 *
 * kernels.c, kernels_avx2.c and kernels_avx512.c include it. Loops run over
 * elements or 32 lanes and hold only IEEE operations and fmaf, so vectors of
 * any width and the scalar remainder agree. A file that defines RAL_OWN_TILE
 * brings the products' innermost loops itself.
 */
#ifndef RAL_KERNELS_BODY_H
#define RAL_KERNELS_BODY_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "cpu/kernels.h"
#include "nn/exact.h"
#ifdef __AVX__
#include <immintrin.h>
#endif

enum { LANES = 32 };

static float max(const float *x, size_t n)
{
    float lane[LANES];
    size_t i = 0;

    for (int l = 0; l < LANES; l++)
        lane[l] = x[0];
    for (; i + LANES <= n; i += LANES)
        for (int l = 0; l < LANES; l++)
            lane[l] = x[i + l] > lane[l] ? x[i + l] : lane[l];
    for (int l = 0; i + l < n; l++)
        lane[l] = x[i + l] > lane[l] ? x[i + l] : lane[l];
    for (int h = LANES / 2; h; h /= 2)
        for (int l = 0; l < h; l++)
            lane[l] = lane[l + h] > lane[l] ? lane[l + h] : lane[l];
    return lane[0];
}

static float sum(const float *x, size_t n)
{
    float lane[LANES] = {0};
    size_t i = 0;

    for (; i + LANES <= n; i += LANES)
        for (int l = 0; l < LANES; l++)
            lane[l] += x[i + l];
    for (int l = 0; i + l < n; l++)
        lane[l] += x[i + l];
    return fold(lane);
}

static float sumsq(const float *x, size_t n)
{
    float lane[LANES] = {0};
    size_t i = 0;

    for (; i + LANES <= n; i += LANES)
        for (int l = 0; l < LANES; l++)
            lane[l] = fmaf(x[i + l], x[i + l], lane[l]);
    for (int l = 0; i + l < n; l++)
        lane[l] = fmaf(x[i + l], x[i + l], lane[l]);
    return fold(lane);
}

/* sum of (w dy) x */
static float sum3(const float *w, const float *dy, const float *x, size_t n)
{
    float lane[LANES] = {0};
    size_t i = 0;

    for (; i + LANES <= n; i += LANES)
        for (int l = 0; l < LANES; l++)
            lane[l] = fmaf(w[i + l] * dy[i + l], x[i + l], lane[l]);
    for (int l = 0; i + l < n; l++)
        lane[l] = fmaf(w[i + l] * dy[i + l], x[i + l], lane[l]);
    return fold(lane);
}

/* Doubles in 32 lanes, folded as floats are. */
static double fold_d(double lane[LANES])
{
    for (int h = LANES / 2; h; h /= 2)
        for (int l = 0; l < h; l++)
            lane[l] += lane[l + h];
    return lane[0];
}

static double dot_exp(size_t n, const float *x, float shift)
{
    double lane[LANES] = {0};

    for (size_t i = 0; i < n; i += LANES) {
        const int m = n - i < LANES ? (int)(n - i) : LANES;
        float p[LANES];

#pragma omp simd
        for (int l = 0; l < m; l++)
            p[l] = exp_one(x[i + l] - shift);
#pragma omp simd
        for (int l = 0; l < m; l++)
            lane[l] += p[l] > 0 ? (double)p[l] * (double)x[i + l] : 0;
    }
    return fold_d(lane);
}

/* p and the log ratio of up to 32 columns; both 0 where p is. */
static inline void ratios(int m, const float *x, double lse, const float *y,
                          double shift, float *p, double *d)
{
#pragma omp simd
    for (int l = 0; l < m; l++)
        p[l] = exp_one((float)((double)x[l] - lse));
#pragma omp simd
    for (int l = 0; l < m; l++)
        d[l] = p[l] > 0 ? (double)x[l] - (double)y[l] - shift : 0;
}

static double reverse_kl(size_t n, const float *x, double lse_x, const float *y,
                         double lse_y, double weight, float *dx)
{
    const double shift = lse_x - lse_y;
    double lane[LANES] = {0}, d[LANES], kl;
    float p[LANES];

    for (size_t i = 0; i < n; i += LANES) {
        const int m = n - i < LANES ? (int)(n - i) : LANES;

        ratios(m, x + i, lse_x, y + i, shift, p, d);
#pragma omp simd
        for (int l = 0; l < m; l++)
            lane[l] += (double)p[l] * d[l];
    }
    kl = fold_d(lane);
    for (size_t i = 0; dx && i < n; i += LANES) {
        const int m = n - i < LANES ? (int)(n - i) : LANES;

        ratios(m, x + i, lse_x, y + i, shift, p, d);
#pragma omp simd
        for (int l = 0; l < m; l++)
            dx[i + l] +=
                p[l] > 0 ? (float)(weight * (double)p[l] * (d[l] - kl)) : 0;
    }
    return kl;
}

static void exp_shift(size_t n, const float *x, float shift, float *y)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        y[i] = exp_one(x[i] - shift);
}

static void scale(size_t n, const float *x, float s, float *y)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] * s;
}

static void add(size_t n, const float *x, float *y)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        y[i] += x[i];
}

static void silu_mul(size_t n, const float *g, const float *u, float *y)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        y[i] = u[i] * (g[i] / (1.0f + exp_one(-g[i])));
}

static void silu_mul_backward(size_t n, const float *g, const float *u,
                              const float *dy, float *dg, float *du)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        const float sg = 1.0f / (1.0f + exp_one(-g[i]));
        const float d = dy[i], silu = g[i] * sg;

        dg[i] = d * u[i] * (sg * (1.0f + g[i] * (1.0f - sg)));
        du[i] = d * silu;
    }
}

static void gelu(size_t n, const float *x, float *y)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] * (1.0f + erf_one(x[i] * 0.707106781f)) * 0.5f;
}

static void gelu_backward(size_t n, const float *x, const float *dy, float *dx)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
        const float cdf = 0.5f * (1.0f + erf_one(x[i] * 0.707106781f));
        const float pdf = 0.398942280f * exp_one(-0.5f * x[i] * x[i]);

        dx[i] = dy[i] * fmaf(x[i], pdf, cdf);
    }
}

static float rms_norm(size_t C, const float *x, const float *w, float eps,
                      float *y)
{
    const float r = 1.0f / sqrtf(sumsq(x, C) / (float)C + eps);

#pragma omp simd
    for (size_t i = 0; i < C; i++)
        y[i] = (x[i] * r) * w[i];
    return r;
}

static void rms_norm_backward(size_t C, const float *x, const float *w, float r,
                              const float *dy, float *dx, float *dw)
{
    const float m = sum3(w, dy, x, C) * (r * r) / (float)C;

#pragma omp simd
    for (size_t i = 0; i < C; i++)
        dx[i] += r * fmaf(w[i], dy[i], -(x[i] * m));
    if (!dw)
        return;
#pragma omp simd
    for (size_t i = 0; i < C; i++)
        dw[i] = fmaf(dy[i], x[i] * r, dw[i]);
}

static void rotate(size_t half, const float *cos, const float *sin, float *x)
{
    float *hi = x + half;

#pragma omp simd
    for (size_t j = 0; j < half; j++) {
        const float a = x[j], b = hi[j];

        x[j] = fmaf(a, cos[j], -(b * sin[j]));
        hi[j] = fmaf(b, cos[j], a * sin[j]);
    }
}

static void rotate_back(size_t half, const float *cos, const float *sin,
                        float *x)
{
    float *hi = x + half;

#pragma omp simd
    for (size_t j = 0; j < half; j++) {
        const float a = x[j], b = hi[j];

        x[j] = fmaf(a, cos[j], b * sin[j]);
        hi[j] = fmaf(b, cos[j], -(a * sin[j]));
    }
}

/* n stored numbers as floats; every value is exact. */
static inline void widen(enum ral_dtype t, const unsigned char *p, size_t n,
                         float *out)
{
    if (t == RAL_F32) {
        memcpy(out, p, n * sizeof(float));
    } else if (t == RAL_BF16) {
        for (size_t i = 0; i < n; i++) {
            uint16_t h;

            memcpy(&h, p + 2 * i, 2);
            out[i] = from_bits((uint32_t)h << 16);
        }
    } else {
        for (size_t i = 0; i < n; i++) {
            uint32_t u;
            uint16_t h;

            memcpy(&h, p + 2 * i, 2);
            u = to_bits(from_bits((h & 0x7fffu) << 13) * 0x1p112f);
            u |= (h & 0x7c00u) == 0x7c00u ? 0x7f800000u : 0; // inf, nan
            out[i] = from_bits(u | (h & 0x8000u) << 16);
        }
    }
}

typedef float v4 __attribute__((vector_size(16)));
typedef float v8 __attribute__((vector_size(32)));
typedef float loose8 __attribute__((vector_size(32), aligned(1), may_alias));
#define SHUFFLE __builtin_shufflevector

/* Two fours side by side; gcc 12 takes a detour over memory by itself. */
static inline void join(const float *lo, const float *hi, v8 *out)
{
#ifdef __AVX__
    *out = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(lo)),
                                _mm_loadu_ps(hi), 1);
#else
    v4 a, b;

    memcpy(&a, lo, sizeof(v4));
    memcpy(&b, hi, sizeof(v4));
    *out = SHUFFLE(a, b, 0, 1, 2, 3, 4, 5, 6, 7);
#endif
}

/* y[j][i] = x[i][j], 8 by 8, four j at a time: rows i and i + 4 side by side,
 * then pairs of rows, then fours.
 */
static inline void transpose8(const float *x, size_t ldx, float *y, size_t ldy)
{
#pragma GCC unroll 2
    for (size_t j = 0; j < 8; j += 4) {
        v8 a[4], b[4];

#pragma GCC unroll 4
        for (size_t i = 0; i < 4; i++)
            join(x + i * ldx + j, x + (i + 4) * ldx + j, &a[i]);
#pragma GCC unroll 4
        for (size_t i = 0; i < 4; i += 2) {
            b[i] = SHUFFLE(a[i], a[i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
            b[i + 1] = SHUFFLE(a[i], a[i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
        }
#pragma GCC unroll 4
        for (size_t i = 0; i < 4; i += 2) {
            a[i] = SHUFFLE(b[i / 2], b[i / 2 + 2], 0, 1, 8, 9, 4, 5, 12, 13);
            a[i + 1] =
                SHUFFLE(b[i / 2], b[i / 2 + 2], 2, 3, 10, 11, 6, 7, 14, 15);
        }
#pragma GCC unroll 4
        for (size_t i = 0; i < 4; i++)
            memcpy(y + (j + i) * ldy, &a[i], sizeof(v8));
    }
}

static void panel(size_t rows, size_t K, enum ral_dtype t, const void *src,
                  size_t ld, float *out)
{
    enum { KB = 64 };
    const size_t size = ral_dtype_size(t);
    float tmp[RAL_PANEL][KB];

    for (size_t k = 0; k < K; k += KB) {
        const size_t n = K - k < KB ? K - k : KB;
        float *o = out + k * RAL_PANEL;
        size_t i = 0;

        for (size_t r = 0; r < RAL_PANEL; r++) {
            const unsigned char *p =
                (const unsigned char *)src + (r * ld + k) * size;

            if (r >= rows) {
                memset(tmp[r], 0, sizeof(tmp[r]));
                continue;
            }
            widen(t, p, n, tmp[r]);
            if (K - k >= 2 * KB) // rows change too soon for the hardware
                for (size_t j = 0; j < KB * size; j += 64)
                    __builtin_prefetch(p + KB * size + j, 0, 2);
        }
        for (; i + 8 <= n; i += 8)
            for (size_t r = 0; r < RAL_PANEL; r += 8)
                transpose8(&tmp[r][i], KB, o + i * RAL_PANEL + r, RAL_PANEL);
        for (; i < n; i++)
            for (size_t r = 0; r < RAL_PANEL; r++)
                o[i * RAL_PANEL + r] = tmp[r][i];
    }
}

static void row_panel(size_t cols, size_t K, enum ral_dtype t, const void *src,
                      size_t ld, float *out)
{
    const size_t size = ral_dtype_size(t);
    const unsigned char *p = src;

    if (cols == RAL_PANEL && t == RAL_F32) {
        for (size_t k = 0; k < K; k++, p += ld * size, out += RAL_PANEL)
#pragma GCC unroll 4
            for (size_t i = 0; i < RAL_PANEL; i += 8)
                *(loose8 *)(out + i) = *(const loose8 *)(p + 4 * i);
        return;
    }
    for (size_t k = 0; k < K; k++, p += ld * size, out += RAL_PANEL) {
        widen(t, p, cols, out);
        memset(out + cols, 0, (RAL_PANEL - cols) * sizeof(float));
    }
}

static void transpose(size_t M, size_t K, const float *a, size_t lda,
                      float *out, size_t ldout)
{
    const size_t m8 = M / 8 * 8, k8 = K / 8 * 8;

    for (size_t k = 0; k < k8; k += 8)
        for (size_t m = 0; m < m8; m += 8)
            transpose8(a + k * lda + m, lda, out + m * ldout + k, ldout);
    for (size_t k = 0; k < K; k++)
        for (size_t m = k < k8 ? m8 : 0; m < M; m++)
            out[m * ldout + k] = a[k * lda + m];
}

static void tile(size_t rows, size_t cols, size_t K, const float *a, size_t lda,
                 const float *b, size_t ldb, float *c, size_t ldc,
                 enum ral_into into);
static void block(size_t M, size_t N, size_t K, const float *a, size_t lda,
                  const float *b, size_t stride, float *c, size_t ldc,
                  enum ral_into into);

#ifdef RAL_OWN_TILE
/* One tile. Meanwhile something is fetched to the second cache: lines of 16
 * floats every STEP k, as long as k < until.
 */
struct piece {
    size_t K;
    const float *a;
    size_t lda;
    const float *b;
    size_t ldb;
    float *c;
    size_t ldc;
    enum ral_into into;
    const float *ahead;
    size_t lines, until;
};
enum { STEP = 8 };

/* So that these tiles together fetch K rows of so many floats. */
static inline void fetch(struct piece *p, const float *ahead, size_t floats,
                         size_t tiles)
{
    const size_t steps = p->K / STEP;
    const size_t lines = (p->K * floats / 16 + tiles - 1) / tiles; // a tile

    p->ahead = ahead;
    p->lines = steps ? (lines + steps - 1) / steps : 0;
    p->until = p->lines ? (lines + p->lines - 1) / p->lines * STEP : 0;
}

/* Rows done: those that come next, and what they shall fetch. */
static inline void advance(struct piece *p, size_t rows)
{
    p->a += rows * p->lda;
    p->c += rows * p->ldc;
    p->ahead += p->until / STEP * p->lines * 16;
}
#else
static void tile(size_t rows, size_t cols, size_t K, const float *a, size_t lda,
                 const float *b, size_t ldb, float *c, size_t ldc,
                 enum ral_into into)
{
    for (size_t r = 0; r < rows; r++, c += ldc) {
        float acc[RAL_PANEL] = {0};

        if (into == RAL_RESUME)
            memcpy(acc, c, cols * sizeof(float));
        for (size_t k = 0; k < K; k++)
            for (size_t j = 0; j < cols; j++)
                acc[j] = fmaf(a[r * lda + k], b[k * ldb + j], acc[j]);
        if (into == RAL_ADD)
            add(cols, acc, c);
        else
            memcpy(c, acc, cols * sizeof(float));
    }
}

static void block(size_t M, size_t N, size_t K, const float *a, size_t lda,
                  const float *b, size_t stride, float *c, size_t ldc,
                  enum ral_into into)
{
    for (size_t n = 0; n < N; n += RAL_PANEL, b += stride) {
        const size_t cols = N - n < RAL_PANEL ? N - n : RAL_PANEL;

        for (size_t m = 0; m < M; m += RAL_TILE_M) {
            const size_t rows = M - m < RAL_TILE_M ? M - m : RAL_TILE_M;

            tile(rows, cols, K, a + m * lda, lda, b, RAL_PANEL, c + m * ldc + n,
                 ldc, into);
        }
    }
}
#endif

static inline void kernels_fill(struct ral_kernels *k, const char *name)
{
    *k = (struct ral_kernels){
        .name = name,
        .tile = tile,
        .block = block,
        .panel = panel,
        .row_panel = row_panel,
        .transpose = transpose,
        .max = max,
        .sum = sum,
        .sumsq = sumsq,
        .exp_shift = exp_shift,
        .dot_exp = dot_exp,
        .reverse_kl = reverse_kl,
        .scale = scale,
        .add = add,
        .silu_mul = silu_mul,
        .silu_mul_backward = silu_mul_backward,
        .gelu = gelu,
        .gelu_backward = gelu_backward,
        .rms_norm = rms_norm,
        .rms_norm_backward = rms_norm_backward,
        .rotate = rotate,
        .rotate_back = rotate_back,
    };
}

/* Defined where the instruction set exists. */
void ral_kernels_fill_avx2(struct ral_kernels *k);
void ral_kernels_fill_avx512(struct ral_kernels *k);

#endif

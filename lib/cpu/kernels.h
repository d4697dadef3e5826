/* lib/cpu/kernels.h - the innermost loops, one table per instruction set.
 *
 * The _c version of each is its definition; the others give the same bits.
 * Arithmetic follows the exact forward: every product sum is one chain of
 * fused multiply-adds over ascending k from +0; every other sum goes through
 * 32 lanes (element i to lane i mod 32, ascending), folded by halves; exp,
 * log, erf, sin and cos are our own, with explicit fma (nn/exact.h).
 */
#ifndef RAL_KERNELS_H
#define RAL_KERNELS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/dtype.h"
#include "nn/span.h" // RAL_PANEL: columns of a packed panel

enum { RAL_TILE_M = 8 }; // most rows of one tile call

/* What a chain starts from, and what becomes of it. */
enum ral_into {
    RAL_SET,    // from +0, stored
    RAL_RESUME, // from what is there: a chain that was stored between blocks
    RAL_ADD,    // from +0, then one add to what is there
};

struct ral_kernels {
    const char *name; // "c", "avx2", "avx512"

    /**
     * c[rows][cols] = a[rows][K] b[K][cols], each element one chain over
     * ascending k, or what `into` says. rows 1..RAL_TILE_M, cols
     * 1..RAL_PANEL. b must be readable up to cols rounded up to 16 in each of
     * its K rows; only cols columns of c are written.
     */
    void (*tile)(size_t rows, size_t cols, size_t K, const float *a, size_t lda,
                 const float *b, size_t ldb, float *c, size_t ldc,
                 enum ral_into into);
    /* The same for any M and N; b is panels of 32 columns [K][32], stride
     * floats apart, each readable in full. */
    void (*block)(size_t M, size_t N, size_t K, const float *a, size_t lda,
                  const float *b, size_t stride, float *c, size_t ldc,
                  enum ral_into into);

    /* Panels out[K][32] of stored numbers, zero beyond the given columns; src
     * needs no alignment; F32, F16 or BF16, widened exactly.
     * panel: column r is stored row r, rows ld apart (at most 32).
     * row_panel: row k is stored row k, of which cols (at most 32) exist. */
    void (*panel)(size_t rows, size_t K, enum ral_dtype t, const void *src,
                  size_t ld, float *out);
    void (*row_panel)(size_t cols, size_t K, enum ral_dtype t, const void *src,
                      size_t ld, float *out);
    /* out[m][k] = a[k][m] */
    void (*transpose)(size_t M, size_t K, const float *a, size_t lda,
                      float *out, size_t ldout);

    float (*max)(const float *x, size_t n);   // n >= 1
    float (*sum)(const float *x, size_t n);   // 32 lanes
    float (*sumsq)(const float *x, size_t n); // 32 lanes, by fma

    /* y = exp(x - shift), elementwise; y may be x. */
    void (*exp_shift)(size_t n, const float *x, float shift, float *y);
    /**
     * sum of p x, p = exp(x - shift) as above: the log-sum-exp of a row less
     * this, shift its float, is the row's entropy. Each product is exact in
     * double (0 where p is 0); 32 lanes of doubles.
     */
    double (*dot_exp)(size_t n, const float *x, float shift);
    /**
     * Reverse Kullback-Leibler divergence, nats, of one row of logits x against
     * another's y, whose log-sum-exps are lse_x and lse_y:
     *
     *     KL = sum p (ln p - ln q),  p = exp(x - lse_x),  q = exp(y - lse_y)
     *     dx += weight * p (ln p - ln q - KL), unless dx is NULL
     *
     * p is a float, exp of the float nearest x - lse_x, so 0 below e^-87;
     * ln p - ln q = (x - y) - (lse_x - lse_y), its product with p and the 32
     * lanes are doubles; where p is 0, a column adds +0, whatever y. Each
     * number's gradient is rounded to float once and then added. Exactly 0 for
     * equal rows; infinite where y excludes what x may say. dx is neither x
     * nor y. (On-policy distillation: Agarwal et al., arXiv 2306.13649.)
     */
    double (*reverse_kl)(size_t n, const float *x, double lse_x, const float *y,
                         double lse_y, double weight, float *dx);
    /* y = x * s; y may be x. */
    void (*scale)(size_t n, const float *x, float s, float *y);
    /* y += x */
    void (*add)(size_t n, const float *x, float *y);

    /* y = u * (g / (1 + exp(-g))) and its gradient (dg, du written). */
    void (*silu_mul)(size_t n, const float *g, const float *u, float *y);
    void (*silu_mul_backward)(size_t n, const float *g, const float *u,
                              const float *dy, float *dg, float *du);
    /* exact GELU x * (1 + erf(x/sqrt 2)) * 0.5; dx written. */
    void (*gelu)(size_t n, const float *x, float *y);
    void (*gelu_backward)(size_t n, const float *x, const float *dy, float *dx);

    /* One row: y = (x * r) * w, r = 1/sqrt(sumsq/C + eps). Returns r. */
    float (*rms_norm)(size_t C, const float *x, const float *w, float eps,
                      float *y);
    /* dx += ..., dw += ... (dw may be NULL). */
    void (*rms_norm_backward)(size_t C, const float *x, const float *w, float r,
                              const float *dy, float *dx, float *dw);

    /* One head in place: pairs (j, j+half); rotate forward, or by -angle. */
    void (*rotate)(size_t half, const float *cos, const float *sin, float *x);
    void (*rotate_back)(size_t half, const float *cos, const float *sin,
                        float *x);
};

/* cpu: RAL_CPU_* flags that may be used (base/cpu.h). */
void ral_kernels_init(struct ral_kernels *k, unsigned cpu);

#endif

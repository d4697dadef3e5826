/* lib/nn/exact.h - functions of one number, the same bits on every machine.
 *
 * No libm function but those that IEEE 754 rounds (sqrt, fma) or that are exact
 * (fabs, copysign) reaches a log-probability or a weight: exp, log and the rest
 * are these, by explicit fma alone. One text for C11 and for CUDA C++, where it
 * needs -fmad=false -prec-div=true -prec-sqrt=true -ftz=false.
 */
#ifndef RAL_EXACT_H
#define RAL_EXACT_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#ifdef __CUDACC__
#define RAL_EXACT static __host__ __device__ inline
#else
#define RAL_EXACT static inline
#endif

/* ---------------------------------------------------------------- floats */

RAL_EXACT float from_bits(uint32_t u)
{
    float f;

    memcpy(&f, &u, 4);
    return f;
}

RAL_EXACT uint32_t to_bits(float f)
{
    uint32_t u;

    memcpy(&u, &f, 4);
    return u;
}

/* e^x for -87 <= x <= 88: x = n ln 2 + r, |r| <= ln 2 / 2. NaN stays NaN. */
RAL_EXACT float exp_core(float x)
{
    const float z = fmaf(x, 1.44269504f, 12582912.0f); // n in the low bits
    const float n = z - 12582912.0f;
    const float scale = from_bits((to_bits(z) << 23) + 0x3f800000u);
    float r, y;

    r = fmaf(n, -0.693145752f, x);
    r = fmaf(n, -1.42860677e-6f, r);
    y = fmaf(1.37805939e-3f, r, 8.37312452e-3f);
    y = fmaf(y, r, 4.16695364e-2f);
    y = fmaf(y, r, 1.66664720e-1f);
    y = fmaf(y, r, 0.499999851f);
    y = fmaf(y, r, 1.0f);
    y = fmaf(y, r, 1.0f);
    return y * scale; // exact
}

/* 0 below -87, e^88 above 88; within 0.87 units in the last place. */
RAL_EXACT float exp_one(float x)
{
    const float y = exp_core(88.0f < x ? 88.0f : x);

    return x < -87.0f ? 0.0f : y;
}

/**
 * Below 0.93 x + x p(x^2), above 1 - exp(-(t + t q(t))); p and q are minimax
 * fits of erf(x)/x - 1 and -log(erfc(t))/t - 1, weighted by the error that
 * they leave in erf. From 4 on erf rounds to 1.
 */
RAL_EXACT float erf_one(float x)
{
    const float s = x * x, a = fabsf(x), t = 4.0f < a ? 4.0f : a;
    float p, q, far;

    p = fmaf(7.99664922e-5f, s, -8.04976968e-4f);
    p = fmaf(p, s, 5.19240508e-3f);
    p = fmaf(p, s, -2.68557314e-2f);
    p = fmaf(p, s, 1.12836257e-1f);
    p = fmaf(p, s, -3.76126289e-1f);
    p = fmaf(p, s, 1.28379166e-1f);
    p = fmaf(p, x, x);

    q = fmaf(1.15218609e-5f, t, -3.25649657e-4f);
    q = fmaf(q, t, 3.65375844e-3f);
    q = fmaf(q, t, -2.37853508e-2f);
    q = fmaf(q, t, 1.06263168e-1f);
    q = fmaf(q, t, 6.35135889e-1f);
    q = fmaf(q, t, 1.28652170e-1f);
    far = copysignf(1.0f - exp_core(-fmaf(q, t, t)), x);
    return a < 0.93f ? p : far;
}

/* 32 lanes fold by halves; what a short row lacks is +0. */
RAL_EXACT float fold(float lane[32])
{
    for (int h = 16; h; h /= 2)
        for (int l = 0; l < h; l++)
            lane[l] += lane[l + h];
    return lane[0];
}

/* --------------------------------------------------------------- doubles */

RAL_EXACT double double_from(uint64_t u)
{
    double d;

    memcpy(&d, &u, 8);
    return d;
}

/* 2^n for -1022 <= n <= 1023 */
RAL_EXACT double pow2(int n)
{
    return double_from((uint64_t)(n + 1023) << 52);
}

RAL_EXACT double horner(const double *c, int n, double x)
{
    double y = c[0];

    for (int i = 1; i < n; i++)
        y = fma(y, x, c[i]);
    return y;
}

/* x = n ln 2 + r, |r| <= ln 2 / 2: e^r - 1, the Taylor series to r^13. */
RAL_EXACT double expm1_core(double x, double *n)
{
    const double c[] = {
        1.0 / 6227020800.0, 1.0 / 479001600.0, 1.0 / 39916800.0,
        1.0 / 3628800.0,    1.0 / 362880.0,    1.0 / 40320.0,
        1.0 / 5040.0,       1.0 / 720.0,       1.0 / 120.0,
        1.0 / 24.0,         1.0 / 6.0,         0.5,
    };
    double r;

    *n = fma(x, 0x1.71547652b82fep+0, 0x1.8p52) - 0x1.8p52;
    r = fma(*n, -0x1.62e42fefa39efp-1, x);
    r = fma(*n, -0x1.abc9e3b39803fp-56, r);
    return fma(r * r, horner(c, 12, r), r);
}

/* e^x within 2 units in the last place. */
RAL_EXACT double ral_exp_d(double x)
{
    double n, y;
    int half;

    if (x != x)
        return x;
    if (x > 709.8)
        return (double)INFINITY;
    if (x < -745.2)
        return 0;
    y = 1.0 + expm1_core(x, &n);
    half = (int)n / 2; // two factors, for results near the ends of the range
    return y * pow2(half) * pow2((int)n - half);
}

/* e^x - 1 within 2 units in the last place, 0 at 0. */
RAL_EXACT double ral_expm1_d(double x)
{
    double n, p;

    if (!(fabs(x) < 40)) // NaN too; beyond, the other term is rounded away
        return x < 0 ? -1.0 : ral_exp_d(x) - 1.0;
    p = expm1_core(x, &n);
    return fma(p, pow2((int)n), pow2((int)n) - 1.0);
}

/**
 * e ln 2 + log(1 + f) + low, for 1 + f between sqrt(1/2) and sqrt 2:
 * s = f/(2 + f), log(1 + f) = 2 atanh s = f - (f^2/2 - s (f^2/2 + R)),
 * R = 2 s^2/3 + 2 s^4/5 + ...
 */
RAL_EXACT double log_core(double e, double f, double low)
{
    const double c[] = {
        2.0 / 23, 2.0 / 21, 2.0 / 19, 2.0 / 17, 2.0 / 15, 2.0 / 13,
        2.0 / 11, 2.0 / 9,  2.0 / 7,  2.0 / 5,  2.0 / 3,
    };
    const double s = f / (2 + f), h = 0.5 * f * f;
    const double R = s * s * horner(c, 11, s * s);

    return fma(e, 0x1.62e42fee00000p-1,
               f - (h - fma(s, h + R, fma(e, 0x1.a39ef35793c76p-33, low))));
}

/* x = 2^e (1 + f), 1 + f between sqrt(1/2) and sqrt 2; x normal, positive. */
RAL_EXACT double log_split(double x, double *f)
{
    uint64_t u;

    memcpy(&u, &x, 8);
    u -= 0x3fe6a09e667f3bcd; // the bits of sqrt(1/2)
    *f = double_from((u & 0xfffffffffffff) + 0x3fe6a09e667f3bcd) - 1;
    return (double)((int64_t)u >> 52);
}

/* log x within 2 units in the last place. */
RAL_EXACT double ral_log_d(double x)
{
    double f, e = 0;

    if (!(x > 0))
        return x == 0 ? -(double)INFINITY : (double)NAN;
    if (x == (double)INFINITY)
        return x;
    if (x < 0x1p-1022) {
        x *= 0x1p54;
        e = -54;
    }
    e += log_split(x, &f);
    return log_core(e, f, 0);
}

/* log(1 + x) within 1 unit in the last place. */
RAL_EXACT double ral_log1p_d(double x)
{
    const double u = 1 + x;
    double f, e;

    if (!(u > 0) || u == (double)INFINITY)
        return ral_log_d(u);
    if (x > -0.29 && x < 0.41)
        return log_core(0, x, 0);
    e = log_split(u, &f); // what 1 + x rounded away comes back as a quotient
    return log_core(e, f, (x < 1 ? x - (u - 1) : 1 - (u - x)) / u);
}

/* x + xl, a sum that was not rounded, times y + yl; within 2^-103 of it. */
RAL_EXACT double mul_two(double x, double xl, double y, double yl, double *low)
{
    const double h = x * y, l = fma(x, y, -h) + fma(x, yl, xl * y);
    const double sum = h + l;

    *low = l - (sum - h);
    return sum;
}

/* b^t within 0.51 units in the last place, for 0 <= b <= 1 and t < 2^40. */
RAL_EXACT double ral_pow_d(double b, uint64_t t)
{
    double y = 1, yl = 0, bl = 0;

    for (; t; t >>= 1) {
        if (t & 1)
            y = mul_two(y, yl, b, bl, &yl);
        b = mul_two(b, bl, b, bl, &bl);
    }
    return y;
}

/* x + lo = the angle, |x| <= pi/4: Taylor to x^17 and x^16. */
RAL_EXACT double sin_core(double x, double lo)
{
    const double c[] = {
        1.0 / 355687428096000.0,
        -1.0 / 1307674368000.0,
        1.0 / 6227020800.0,
        -1.0 / 39916800.0,
        1.0 / 362880.0,
        -1.0 / 5040.0,
        1.0 / 120.0,
    };
    const double z = x * x, v = z * x, p = horner(c, 7, z);

    return x - (fma(z, fma(-v, p, 0.5 * lo), -lo) + v * (1.0 / 6.0));
}

RAL_EXACT double cos_core(double x, double lo)
{
    const double c[] = {
        1.0 / 20922789888000.0,
        -1.0 / 87178291200.0,
        1.0 / 479001600.0,
        -1.0 / 3628800.0,
        1.0 / 40320.0,
        -1.0 / 720.0,
        1.0 / 24.0,
    };
    const double z = x * x, h = 0.5 * z, w = 1.0 - h;

    return w + ((1.0 - w) - h + fma(z * z, horner(c, 7, z), -(x * lo)));
}

/* Reduction by pi/2 in three parts (33, 33 and 53 bits): x - n p1 is exact,
 * n p2 is exact, and the rounding of their difference is carried in lo.
 * Within 2 units in the last place for |x| < 2^20.
 */
RAL_EXACT void ral_sincos_d(double x, double *sin, double *cos)
{
    const double p1 = 0x1.921fb544p+0, p2 = 0x1.0b4611a6p-34,
                 p3 = 0x1.3198a2e037073p-69;
    const double n = fma(x, 0x1.45f306dc9c883p-1, 0x1.8p52) - 0x1.8p52;
    const double a = fma(-n, p1, x), b = n * p2, d = a - b, v = a - d;
    const double err = (a - (d + v)) + (v - b); // of d
    const double lo0 = fma(-n, p3, err), r = d + lo0, lo = (d - r) + lo0;
    const double s = sin_core(r, lo), c = cos_core(r, lo);
    const double so[] = {s, c, -s, -c};
    const int q = (int)((int64_t)n & 3);

    *sin = so[q];
    *cos = so[(q + 1) & 3];
}

RAL_EXACT double ral_cos_d(double x)
{
    double s, c;

    ral_sincos_d(x, &s, &c);
    return c;
}

#endif

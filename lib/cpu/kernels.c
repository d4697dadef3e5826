/* lib/cpu/kernels.c - the kernels' definition, the choice among instruction
 * sets, and the double functions.
 */
#include "cpu/kernels.h"

#include "base/cpu.h"
#include "cpu/kernels_body.h"

void ral_kernels_init(struct ral_kernels *k, unsigned cpu)
{
#ifdef __x86_64__
    if (cpu & RAL_CPU_AVX512) {
        ral_kernels_fill_avx512(k);
        return;
    }
    if (cpu & RAL_CPU_AVX2) {
        ral_kernels_fill_avx2(k);
        return;
    }
#endif
    (void)cpu;
    kernels_fill(k, "c");
}

static double double_from(uint64_t u)
{
    double d;

    memcpy(&d, &u, 8);
    return d;
}

/* 2^n for -1022 <= n <= 1023 */
static double pow2(int n)
{
    return double_from((uint64_t)(n + 1023) << 52);
}

static double horner(const double *c, int n, double x)
{
    double y = c[0];

    for (int i = 1; i < n; i++)
        y = fma(y, x, c[i]);
    return y;
}

/* n = round(x / ln 2), then the Taylor series to r^13 on |r| <= ln 2 / 2. */
double ral_exp_d(double x)
{
    static const double c[] = {
        1.0 / 6227020800.0, 1.0 / 479001600.0, 1.0 / 39916800.0,
        1.0 / 3628800.0,    1.0 / 362880.0,    1.0 / 40320.0,
        1.0 / 5040.0,       1.0 / 720.0,       1.0 / 120.0,
        1.0 / 24.0,         1.0 / 6.0,         0.5,
    };
    double n, r, y;
    int half;

    if (x != x)
        return x;
    if (x > 709.8)
        return (double)INFINITY;
    if (x < -745.2)
        return 0;
    n = fma(x, 0x1.71547652b82fep+0, 0x1.8p52) - 0x1.8p52;
    r = fma(n, -0x1.62e42fefa39efp-1, x);
    r = fma(n, -0x1.abc9e3b39803fp-56, r);
    y = 1.0 + fma(r * r, horner(c, 12, r), r);
    half = (int)n / 2; // two factors, for results near the ends of the range
    return y * pow2(half) * pow2((int)n - half);
}

/**
 * x = 2^e m, sqrt(1/2) <= m < sqrt 2, f = m - 1, s = f/(2 + f):
 * log m = 2 atanh s = f - (f^2/2 - s (f^2/2 + R)), R = 2 s^2/3 + 2 s^4/5 + ...
 */
double ral_log_d(double x)
{
    static const double c[] = {
        2.0 / 23, 2.0 / 21, 2.0 / 19, 2.0 / 17, 2.0 / 15, 2.0 / 13,
        2.0 / 11, 2.0 / 9,  2.0 / 7,  2.0 / 5,  2.0 / 3,
    };
    double f, s, h, R, e = 0;
    uint64_t u;

    if (!(x > 0))
        return x == 0 ? -(double)INFINITY : (double)NAN;
    if (x == (double)INFINITY)
        return x;
    if (x < 0x1p-1022) {
        x *= 0x1p54;
        e = -54;
    }
    memcpy(&u, &x, 8);
    u -= 0x3fe6a09e667f3bcd; // the bits of sqrt(1/2)
    e += (double)((int64_t)u >> 52);
    f = double_from((u & 0xfffffffffffff) + 0x3fe6a09e667f3bcd) - 1;
    s = f / (2 + f);
    h = 0.5 * f * f;
    R = s * s * horner(c, 11, s * s);
    return fma(e, 0x1.62e42fee00000p-1,
               f - (h - fma(s, h + R, e * 0x1.a39ef35793c76p-33)));
}

/* x + lo = the angle, |x| <= pi/4: Taylor to x^17 and x^16. */
static double sin_core(double x, double lo)
{
    static const double c[] = {
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

static double cos_core(double x, double lo)
{
    static const double c[] = {
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
 */
void ral_sincos_d(double x, double *sin, double *cos)
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

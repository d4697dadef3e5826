/* lib/rl/attn_div.c - divergence of attention rows and its gradient. */
#include "rl/attn_div.h"

#include <math.h>

#include "nn/exact.h"

int ral_attn_row_kind(size_t S, const float *p)
{
    double sum = 0;
    int bad = 0;

    for (size_t s = 0; s < S; s++) {
        bad |= !(p[s] >= 0); // NaN too; infinity shows in the sum
        sum += p[s];
    }
    if (bad)
        return -1;
    if (sum == 0)
        return 0;
    return fabs(sum - 1) <= 1e-3 ? 1 : -1;
}

/*
 * f(d) = (1+d) ln(1+d) + (1-d) ln(1-d): with p = m(1+d), q = m(1-d) the share
 * of one position is m f(d) / 2. Near 0 the two terms cancel, hence the series
 * sum of d^2k / (k (2k-1)); its next term is under 1e-17 of the first.
 */
static double share(double d)
{
    const double x = d * d;

    if (x < 1e-4)
        return x * (1 + x * (1. / 6 + x * (1. / 15 + x * (1. / 28))));
    return (1 + d) * ral_log1p_d(d) + (1 - d) * ral_log1p_d(-d);
}

double ral_attn_jsd_row(size_t S, const float *p, const float *q, double weight,
                        float *dp)
{
    const int kp = ral_attn_row_kind(S, p), kq = ral_attn_row_kind(S, q);
    double sum = 0;

    if (kp < 0 || kq < 0)
        return -1;
    if (kp == 0 || kq == 0)
        return 0;
    for (size_t s = 0; s < S; s++) {
        const double a = p[s], b = q[s], d = (a - b) / (a + b);

        if (a == b)
            continue; // both 0 too
        if (a == 0 || b == 0)
            sum += 0.5 * (a + b) * M_LN2;
        else
            sum += 0.25 * (a + b) * share(d);
        if (dp && a > 0)
            dp[s] += (float)(weight * 0.5 * ral_log1p_d(d));
    }
    return sum;
}

int ral_attn_jsd(size_t T, size_t S, const float *p, const float *q, float *div,
                 float *dp, struct ral_err *err)
{
    for (size_t t = 0; t < T; t++) {
        const double j = ral_attn_jsd_row(S, p + t * S, q + t * S, 1,
                                          dp ? dp + t * S : NULL);

        if (j < 0)
            return ral_err_set(err, -RAL_EINVAL,
                               "attention row %zu is no distribution: values "
                               "must be >= 0 and sum to 1",
                               t);
        div[t] = (float)j;
    }
    return 0;
}

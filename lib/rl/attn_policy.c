/* lib/rl/attn_policy.c - drop self, renormalise; and back. */
#include "rl/attn_policy.h"

double ral_attn_normalize(size_t S, const float *alpha, float *p)
{
    double Z = 0;

    for (size_t i = 0; i < S; i++)
        Z += alpha[i];
    if (Z < RAL_POLICY_MIN_Z) {
        for (size_t i = 0; i < S; i++)
            p[i] = 0;
        return 0;
    }
    for (size_t i = 0; i < S; i++)
        p[i] = (float)(alpha[i] / Z);
    return Z;
}

void ral_attn_normalize_backward(size_t S, double Z, const float *p,
                                 const float *dp, float *dalpha)
{
    double mean = 0;

    if (Z == 0)
        return;
    for (size_t i = 0; i < S; i++)
        mean += (double)p[i] * dp[i];
    for (size_t i = 0; i < S; i++)
        dalpha[i] += (float)((dp[i] - mean) / Z);
}

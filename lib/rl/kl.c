/* lib/rl/kl.c - staying near a frozen reference, token by token. */
#include "rl/kl.h"

#include <math.h>

#include "nn/exact.h"

double ral_k3(double x)
{
    if (fabs(x) < 1e-4)
        return x * x * (0.5 + x * (1. / 6 + x * (1. / 24 + x / 120)));
    return ral_expm1_d(x) - x;
}

double ral_k3_loss(size_t T, const float *logp, const float *ref,
                   double weight, float *dlogp, double *nats)
{
    double sum = 0;

    for (size_t t = 0; t < T; t++) {
        const double x = (double)ref[t] - logp[t];

        sum += ral_k3(x);
        if (dlogp)
            dlogp[t] -= (float)(weight * ral_expm1_d(x));
    }
    if (nats)
        *nats += sum;
    return weight * sum;
}

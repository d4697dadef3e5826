/* lib/rl/reverse_kl.c - reverse KL over the vocabulary. */
#include "rl/reverse_kl.h"

#include <math.h>

double ral_reverse_kl(size_t V, const float *logp, const float *logq,
                      double weight, float *dlogits)
{
    double kl = 0;

    for (size_t v = 0; v < V; v++) {
        const double p = exp(logp[v]);

        if (p > 0)
            kl += p * ((double)logp[v] - logq[v]);
    }
    if (!dlogits)
        return kl;
    for (size_t v = 0; v < V; v++) {
        const double p = exp(logp[v]);

        if (p > 0)
            dlogits[v] +=
                (float)(weight * p * ((double)logp[v] - logq[v] - kl));
    }
    return kl;
}

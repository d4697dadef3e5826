/* lib/rl/advantage.c - group-relative advantages. */
#include "rl/advantage.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

static const char *const names[] = {"group", "batch", "none"};

int ral_scale_parse(enum ral_scale *out, const char *name, struct ral_err *err)
{
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        if (!strcmp(name, names[i])) {
            *out = (enum ral_scale)i;
            return 0;
        }
    }
    return ral_err_set(err, -RAL_EUSAGE,
                       "scale_rewards '%s': use group, batch or none", name);
}

static double mean(size_t n, const double *x)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += x[i];
    return n ? sum / (double)n : 0;
}

double ral_sample_std(size_t n, const double *x)
{
    const double m = mean(n, x);
    double sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += (x[i] - m) * (x[i] - m);
    return n > 1 ? sqrt(sum / (double)(n - 1)) : 0;
}

/* The mean of equal numbers may differ from them in the last bit, and the
 * deviation with it: asked for directly, so that the answer is exactly 0. */
static bool all_equal(size_t n, const double *x)
{
    for (size_t i = 1; i < n; i++)
        if (x[i] != x[0])
            return false;
    return true;
}

static void centre(size_t G, const double *reward, double divisor, double *adv)
{
    const bool flat = all_equal(G, reward);
    const double m = mean(G, reward);

    for (size_t i = 0; i < G; i++)
        adv[i] = flat ? 0 : (reward[i] - m) / divisor;
}

void ral_advantage(enum ral_scale scale, size_t groups, const size_t *G,
                   const double *reward, double *adv)
{
    double std = 0;
    size_t n = 0;

    if (scale == RAL_SCALE_BATCH) {
        for (size_t g = 0; g < groups; g++)
            n += G[g];
        std = ral_sample_std(n, reward);
    }
    for (size_t g = 0; g < groups; g++) {
        if (scale == RAL_SCALE_GROUP)
            std = ral_sample_std(G[g], reward);
        centre(G[g], reward,
               scale == RAL_SCALE_NONE ? 1 : std + RAL_ADVANTAGE_EPS, adv);
        reward += G[g];
        adv += G[g];
    }
}

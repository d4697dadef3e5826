/* lib/rl/advantage.c - advantages: a baseline and a scale. */
#include "rl/advantage.h"

#include <math.h>

void ral_spread_add(struct ral_spread *s, double x)
{
    const double d = x - s->mean;

    s->mean += d / (double)++s->n;
    s->square += d * (x - s->mean);
}

double ral_spread_std(const struct ral_spread *s)
{
    return s->n > 1 ? sqrt(s->square / (double)(s->n - 1)) : 0;
}

bool ral_advantage_waits(const struct ral_advantage *how)
{
    return how->baseline == RAL_BASELINE_BATCH || how->scale == RAL_SCALE_BATCH;
}

bool ral_rewards_flat(size_t G, const double *reward)
{
    for (size_t i = 1; i < G; i++)
        if (reward[i] != reward[0])
            return false;
    return true;
}

static double sum(size_t n, const double *x)
{
    double s = 0;

    for (size_t i = 0; i < n; i++)
        s += x[i];
    return s;
}

/* Of rewards that differ, so G > 1; in two passes, for the mean is known. */
static double group_std(size_t G, const double *reward, double mean)
{
    double squares = 0;

    for (size_t i = 0; i < G; i++)
        squares += (reward[i] - mean) * (reward[i] - mean);
    return sqrt(squares / (double)(G - 1));
}

void ral_advantage(const struct ral_advantage *how,
                   const struct ral_spread *batch, size_t G,
                   const double *reward, double *adv)
{
    const bool flat = ral_rewards_flat(G, reward);
    const double total = sum(G, reward), mean = total / (double)G;
    double divisor = 1;

    // equal numbers may differ from their mean in the last bit
    if (how->scale == RAL_SCALE_GROUP && !flat)
        divisor = group_std(G, reward, mean) + RAL_ADVANTAGE_EPS;
    else if (how->scale == RAL_SCALE_BATCH && batch->square > 0)
        divisor = ral_spread_std(batch) + RAL_ADVANTAGE_EPS;
    for (size_t i = 0; i < G; i++) {
        const double r = reward[i];
        double a = 0;

        switch (how->baseline) {
        case RAL_BASELINE_GROUP:
            a = flat ? 0 : r - mean;
            break;
        case RAL_BASELINE_LEAVE_ONE_OUT:
            a = flat ? 0 : r - (total - r) / (double)(G - 1);
            break;
        case RAL_BASELINE_BATCH:
            a = r - batch->mean;
            break;
        case RAL_BASELINE_NONE:
            a = r;
            break;
        }
        adv[i] = a / divisor;
    }
}

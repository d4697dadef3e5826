/* lib/rl/pg.c - the table of policy-gradient objectives. */
#include "rl/pg.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

double ral_k3(double x)
{
    if (fabs(x) < 1e-4)
        return x * x * (0.5 + x * (1. / 6 + x * (1. / 24 + x / 120)));
    return expm1(x) - x;
}

static double grpo(const struct ral_pg *pg, const struct ral_pg_seq *s,
                   double weight, float *dlogp, struct ral_pg_sums *sums)
{
    const double A = s->advantage;
    const bool kl = s->logp_ref && pg->beta != 0;
    struct ral_pg_sums now = {.tokens = s->T};
    double loss = 0;

    for (size_t t = 0; t < s->T; t++) {
        const double lp = s->logp[t], delta = lp - s->logp_old[t];
        const double ratio = exp(delta);
        const double ref = s->logp_ref ? s->logp_ref[t] - lp : 0;
        const bool clip = (A > 0 && ratio > 1 + pg->eps_high) ||
                          (A < 0 && ratio < 1 - pg->eps_low);
        // min() keeps the clipped side only where it is the smaller one
        const double limit = A > 0 ? 1 + pg->eps_high : 1 - pg->eps_low;
        const double surrogate = (clip ? limit : ratio) * A, k3 = ral_k3(ref);
        double g = clip ? 0 : -ratio * A;

        loss -= surrogate;
        if (kl) {
            loss += pg->beta * k3;
            g -= pg->beta * expm1(ref);
        }
        if (dlogp)
            dlogp[t] += (float)(weight * g);
        now.surrogate += surrogate;
        now.kl += k3;
        now.ratio += ratio;
        now.clipped += clip;
        now.dlogp += fabs(delta);
        now.dlogp_max = fmax(now.dlogp_max, fabs(delta));
    }
    if (sums) {
        sums->tokens += now.tokens;
        sums->surrogate += now.surrogate;
        sums->kl += now.kl;
        sums->ratio += now.ratio;
        sums->clipped += now.clipped;
        sums->dlogp += now.dlogp;
        sums->dlogp_max = fmax(sums->dlogp_max, now.dlogp_max);
    }
    return weight * loss;
}

static const struct ral_pg_type types[] = {
#define TYPE(name, reduce) {#name, reduce, name},
    RAL_PG_TYPES(TYPE)
};

int ral_pg_find(const struct ral_pg_type **out, const char *name,
                struct ral_err *err)
{
    for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++) {
        if (!strcmp(name, types[i].name)) {
            *out = &types[i];
            return 0;
        }
    }
    return ral_err_set(err, -RAL_EUSAGE,
                       "loss_type '%s' is none of %s", name, RAL_PG_WORDS);
}

double ral_pg_loss(const struct ral_pg *pg, const struct ral_pg_seq *s,
                   double weight, float *dlogp, struct ral_pg_sums *sums)
{
    return pg->type->seq(pg, s, weight, dlogp, sums);
}

/* lib/rl/pg.c - the table of policy-gradient objectives. */
#include "rl/pg.h"

#include <math.h>
#include <string.h>

#include "nn/exact.h"

/* min() keeps the clipped side only where it is the smaller one. */
static double grpo(const struct ral_pg *pg, double ratio, double A,
                   double *gradient, bool *clipped)
{
    const double limit = A > 0 ? 1 + pg->eps_high : 1 - pg->eps_low;

    *clipped = (A > 0 && ratio > limit) || (A < 0 && ratio < limit);
    *gradient = *clipped ? 0 : ratio * A;
    return (*clipped ? limit : ratio) * A;
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
    struct ral_pg_sums unused = {0}, *sum = sums ? sums : &unused;
    double loss = 0;

    for (size_t t = 0; t < s->T; t++) {
        const double delta = (double)s->logp[t] - s->logp_old[t];
        const double ratio = ral_exp_d(delta);
        double gradient;
        bool clipped;

        loss -= pg->type->token(pg, ratio, s->advantage, &gradient, &clipped);
        if (dlogp)
            dlogp[t] -= (float)(weight * gradient);
        sum->ratio += ratio;
        sum->clipped += clipped;
        sum->dlogp += fabs(delta);
        sum->dlogp_max = fmax(sum->dlogp_max, fabs(delta));
    }
    sum->tokens += s->T;
    return weight * loss;
}

/* lib/rl/pg.h - policy-gradient objectives over response tokens. */
#ifndef RAL_PG_H
#define RAL_PG_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "rl/reduce.h"

/* One response: what a row of the table of objectives works on. */
struct ral_pg_seq {
    size_t T;
    const float *logp;     // [T], now
    const float *logp_old; // [T], at sampling
    double advantage;      // a constant
};

struct ral_pg;

/* An objective: its name in recipes, its reduction, and what one token adds:
 * its surrogate, to be maximised, and d surrogate / d logp. */
struct ral_pg_type {
    const char *name;
    enum ral_reduce reduce;
    double (*token)(const struct ral_pg *pg, double ratio, double advantage,
                    double *gradient, bool *clipped);
};

struct ral_pg {
    const struct ral_pg_type *type;
    double eps_low, eps_high; // the ratio's clip range is 1-low .. 1+high
};

/* Plain sums over tokens, for metrics; zero initialise, add over calls. */
struct ral_pg_sums {
    size_t tokens;
    double ratio;
    double clipped; // tokens whose gradient the clip stopped
    double dlogp;   // |logp - logp_old|
    double dlogp_max;
};

/* The table of objectives, X(name, reduction) a row; pg.c has a function of
 * each name. */
#define RAL_PG_TYPES(X) X(grpo, RAL_REDUCE_SEQUENCE)
/* "grpo|..", as settings want their words. */
#define RAL_PG_WORDS (&RAL_PG_TYPES(RAL_PG_WORD)[1])
#define RAL_PG_WORD(name, reduce) "|" #name

/* One of RAL_PG_WORDS; any other name is -RAL_EUSAGE. */
int ral_pg_find(const struct ral_pg_type **out, const char *name,
                struct ral_err *err);

/**
 * Loss of one response, and its gradient.
 *
 *     loss = weight * sum_t -surrogate(r_t, A),   r = exp(logp - logp_old)
 *
 * grpo: GRPO (Shao et al., arXiv 2402.03300) with one clip range per side:
 * surrogate = min(r A, clip(r) A).
 *
 * Ratios are computed in double; equal log-probabilities give exactly 1.
 * Nothing is clamped: an infinite ratio gives a loss that is not finite, for
 * the caller to refuse.
 *
 * @param weight  ral_reduce_weight(pg->type->reduce, T, step)
 * @param dlogp   [T], gains d loss / d logp; or NULL
 * @param sums    gains this response's sums; or NULL
 */
double ral_pg_loss(const struct ral_pg *pg, const struct ral_pg_seq *s,
                   double weight, float *dlogp, struct ral_pg_sums *sums);

#endif

/* lib/rl/pg.h - policy-gradient objectives over response tokens. */
#ifndef RAL_PG_H
#define RAL_PG_H

#include <stddef.h>

#include "base/err.h"
#include "rl/reduce.h"

struct ral_pg_sums;
struct ral_pg;

/* One response: what a row of the table of objectives works on. */
struct ral_pg_seq {
    size_t T;
    const float *logp;     // [T], now
    const float *logp_old; // [T], at sampling
    const float *logp_ref; // [T], of the frozen reference; NULL: no KL term
    double advantage;      // a constant
};

/* An objective: its name in recipes, its reduction, its token terms. */
struct ral_pg_type {
    const char *name;
    enum ral_reduce reduce;
    double (*seq)(const struct ral_pg *pg, const struct ral_pg_seq *s,
                  double weight, float *dlogp, struct ral_pg_sums *sums);
};

struct ral_pg {
    const struct ral_pg_type *type;
    double eps_low, eps_high; // the ratio's clip range is 1-low .. 1+high
    double beta;              // factor of the KL term; 0: none
};

/* Plain sums over tokens, for metrics; zero initialise, add over calls. */
struct ral_pg_sums {
    size_t tokens;
    double surrogate; // min(ratio A, clip(ratio) A)
    double kl;        // k3, nats (0 without reference)
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
 * grpo: GRPO (Shao et al., arXiv 2402.03300) with one clip range per side:
 *
 *     loss = weight * sum_t [ -min(r A, clip(r) A) + beta k3 ]
 *     r  = exp(logp - logp_old)
 *     k3 = exp(ref - logp) - (ref - logp) - 1
 *
 * (k3: J. Schulman, "Approximating KL divergence", 2020.) Ratios are computed
 * in double; equal log-probabilities give exactly 1. Nothing is clamped: an
 * infinite ratio gives a loss that is not finite, for the caller to refuse.
 *
 * @param weight  ral_reduce_weight(pg->type->reduce, T, step)
 * @param dlogp   [T], gains d loss / d logp; or NULL
 * @param sums    gains this response's sums; or NULL
 */
double ral_pg_loss(const struct ral_pg *pg, const struct ral_pg_seq *s,
                   double weight, float *dlogp, struct ral_pg_sums *sums);

/* exp(x) - x - 1 without cancellation, never negative. */
double ral_k3(double x);

#endif

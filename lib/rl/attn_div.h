/* lib/rl/attn_div.h - how far attention has moved from a reference policy. */
#ifndef RAL_ATTN_DIV_H
#define RAL_ATTN_DIV_H

#include <stddef.h>

#include "base/err.h"

/**
 * Jensen-Shannon divergence between two attention rows.
 *
 *     JSD(p,q) = KL(p|m)/2 + KL(q|m)/2,   m = (p+q)/2
 *
 * J. Lin, "Divergence measures based on the Shannon entropy", IEEE Trans.
 * Inf. Theory 37(1), 1991. Nothing is clamped and 0 ln 0 is 0. Each position's
 * share is computed from (p-q)/(p+q), so that it never falls below 0 and keeps
 * its digits when p and q are close; it is exactly 0 when they are equal.
 *
 * @param p,q     [S], distributions: >= 0, sum 1 within 1e-3
 * @param weight  factor of the gradient (not of the result)
 * @param dp      [S], gains weight * d JSD / d p[s] = weight * ln(p/m) / 2,
 *                nothing where p is 0; or NULL
 * A row that is all zero was skipped at recording: if either is, the result
 * is 0 and dp is left alone.
 *
 * @return nats, 0 to ln 2; -1 if p or q is no distribution (dp left alone)
 */
double ral_attn_jsd_row(size_t S, const float *p, const float *q, double weight,
                        float *dp);

/**
 * The same for T rows of equal length, with weight 1.
 *
 * @param p,q  [T][S]
 * @param div  [T], nats
 * @param dp   [T][S], gains d div[t] / d p[t][s]; or NULL
 *
 * @return 0, or -RAL_EINVAL for a row that is no distribution; rows
 *         before it are already written.
 *
 * The caller owns all arrays; outputs overlap nothing. Allocates nothing.
 */
int ral_attn_jsd(size_t T, size_t S, const float *p, const float *q, float *div,
                 float *dp, struct ral_err *err);

/**
 * What a recorded row is: 1 a distribution, 0 all zero (skipped), -1 neither:
 * a value that is negative or no number, or a sum off 1 by more than 1e-3.
 */
int ral_attn_row_kind(size_t S, const float *p);

#endif

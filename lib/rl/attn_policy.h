/* lib/rl/attn_policy.h - attention over earlier positions as a distribution. */
#ifndef RAL_ATTN_POLICY_H
#define RAL_ATTN_POLICY_H

#include <stddef.h>

#define RAL_POLICY_MIN_Z 1e-12 // rows with less attention off self are skipped

/**
 * The attention policy of one response token: its attention, of one head or
 * the mean of all, without the self position, renormalised.
 *
 *     p_i = alpha_i / Z,   Z = sum of alpha_j over the S earlier positions
 *
 * @param alpha  [S+1], the token's own position last
 * @param p      [S]; all zero where the row is skipped
 *
 * @return Z, or 0 for a skipped row: Z under 1e-12 (S = 0 included)
 */
double ral_attn_normalize(size_t S, const float *alpha, float *p);

/**
 * d alpha_i = (g_i - sum_j p_j g_j) / Z,  0 for self
 *
 * @param Z       as returned; a row with Z = 0 gets no gradient
 * @param p       [S], as written by ral_attn_normalize
 * @param dp      [S], g: gradient with respect to p
 * @param dalpha  [S+1], gains the gradient; the self entry is left alone
 */
void ral_attn_normalize_backward(size_t S, double Z, const float *p,
                                 const float *dp, float *dalpha);

#endif

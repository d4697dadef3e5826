/* lib/eval/stats.h - a mean and how far it can be trusted. */
#ifndef RAL_STATS_H
#define RAL_STATS_H

#include <stddef.h>

#include "base/err.h"

/* The value of one question. The texts are borrowed. */
struct ral_result {
    const char *id;      // matched by ral_paired; ignored elsewhere
    const char *cluster; // rows that share it are not independent; NULL: alone
    double value;        // accuracy: 0 or 1
};

/* A mean with its 95 % confidence interval. */
struct ral_interval {
    double mean; // NaN when n is 0
    double lo, hi;
    double se; // standard error; NaN where it cannot be estimated
    size_t n, clusters;
};

/**
 * Score interval of a proportion of n independent trials: never leaves 0 .. 1
 * and has no width 0 at 0 or n successes.
 *
 * E. B. Wilson, "Probable inference, the law of succession, and statistical
 * inference", J. Am. Stat. Assoc. 22, 1927. se is sqrt(p (1-p) / n).
 * n = 0: lo 0, hi 1.
 */
void ral_wilson(size_t right, size_t n, struct ral_interval *out);

/**
 * Mean with cluster-robust standard error (the sandwich of a regression on a
 * constant):
 *
 *     se^2 = C/(C-1) * sum_c (sum_{i in c} (x_i - mean))^2 / n^2
 *     interval = mean -+ t(0.975, C-1) * se
 *
 * over C clusters. K.-Y. Liang and S. L. Zeger, Biometrika 73, 1986; factor and
 * degrees of freedom as in A. C. Cameron and D. L. Miller, "A practitioner's
 * guide to cluster-robust inference", J. Human Resources 50(2), 2015. Where
 * every row is alone this is the usual s^2/n and Student's interval.
 *
 * @param min,max  what a mean can be at all: the interval is cut there, and is
 *                 this whole range when C < 2
 * @return 0, -RAL_ENOMEM, or -RAL_EINVAL for a value that is not finite
 */
int ral_mean(const struct ral_result *x, size_t n, double min, double max,
             struct ral_interval *out, struct ral_err *err);

/**
 * Accuracy: ral_wilson when no two rows share a cluster, else ral_mean within
 * 0 .. 1. If clustered rows are all right or all wrong, the residuals say
 * nothing; the interval is then Wilson's with each cluster as one trial.
 */
int ral_accuracy(const struct ral_result *x, size_t n, struct ral_interval *out,
                 struct ral_err *err);

/**
 * Mean of b - a over the questions that both lists hold, matched by id, with
 * ral_mean's interval of the differences within -1 .. 1: the pairing removes
 * what is common to both, the difficulty of the questions. Clusters are b's.
 * Equal lists give 0 with an interval of width 0.
 *
 * @param unpaired  rows of either list without a partner; or NULL
 * @return 0, -RAL_ENOMEM, or -RAL_EINVAL for an id that a list holds twice
 */
int ral_paired(const struct ral_result *a, size_t na,
               const struct ral_result *b, size_t nb, struct ral_interval *out,
               size_t *unpaired, struct ral_err *err);

/* The 97.5 % quantile of Student's t; of the normal for df = 0. */
double ral_t975(size_t df);

#endif

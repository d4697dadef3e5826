/* lib/eval/stats.c - confidence intervals of means, proportions, differences.
 */
#include "eval/stats.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static const double Z975 = 1.959963984540054; // normal quantile

/*
 * P(|t| <= t) for whole degrees of freedom is a finite sum: M. Abramowitz,
 * I. A. Stegun, "Handbook of Mathematical Functions", 26.7.3 and 26.7.4.
 */
static double t_within(double t, size_t df)
{
    const double theta = atan(t / sqrt((double)df));
    const double c = cos(theta), s = sin(theta);
    double term = df % 2 ? c : 1, sum = 0;

    for (size_t k = df % 2 ? 3 : 2; k <= df; k += 2) {
        sum += term;
        term *= c * c * (double)(k - 1) / (double)k;
    }
    return df % 2 ? (theta + s * sum) * M_2_PI : s * sum;
}

/* Cornish and Fisher's expansion (26.7.5); error under 1e-9 from df = 100. */
static double t_far(double n)
{
    const double z = Z975, z2 = z * z;
    const double g1 = z * (z2 + 1) / 4;
    const double g2 = z * ((5 * z2 + 16) * z2 + 3) / 96;
    const double g3 = z * (((3 * z2 + 19) * z2 + 17) * z2 - 15) / 384;

    return z + (g1 + (g2 + g3 / n) / n) / n;
}

double ral_t975(size_t df)
{
    double lo = 1.9, hi = 12.8;

    if (df == 0)
        return Z975;
    if (df > 200)
        return t_far((double)df);
    for (int i = 0; i < 60; i++) {
        const double mid = (lo + hi) / 2;

        if (t_within(mid, df) < 0.95)
            lo = mid;
        else
            hi = mid;
    }
    return (lo + hi) / 2;
}

static void wilson(double p, double n, struct ral_interval *out)
{
    const double z2 = Z975 * Z975;
    const double centre = (p + z2 / (2 * n)) / (1 + z2 / n);
    const double half =
        Z975 / (1 + z2 / n) * sqrt(p * (1 - p) / n + z2 / (4 * n * n));

    out->lo = p > 0 ? centre - half : 0;
    out->hi = p < 1 ? centre + half : 1;
}

void ral_wilson(size_t right, size_t n, struct ral_interval *out)
{
    *out = (struct ral_interval){NAN, 0, 1, NAN, n, n};
    if (n == 0)
        return;
    out->mean = (double)right / (double)n;
    out->se = sqrt(out->mean * (1 - out->mean) / (double)n);
    wilson(out->mean, (double)n, out);
}

/* Rows without a cluster come first, in any order; the others by name. */
static int by_cluster(const void *pa, const void *pb)
{
    const struct ral_result *a = *(const struct ral_result *const *)pa;
    const struct ral_result *b = *(const struct ral_result *const *)pb;

    if (!a->cluster || !b->cluster)
        return !!a->cluster - !!b->cluster;
    return strcmp(a->cluster, b->cluster);
}

static int by_id(const void *pa, const void *pb)
{
    const struct ral_result *a = *(const struct ral_result *const *)pa;
    const struct ral_result *b = *(const struct ral_result *const *)pb;

    return strcmp(a->id, b->id);
}

static const struct ral_result **
sorted(const struct ral_result *x, size_t n,
       int (*order)(const void *, const void *), struct ral_err *err)
{
    const struct ral_result **p = malloc((n ? n : 1) * sizeof(*p));

    if (!p) {
        ral_err_nomem(err, "statistics");
        return NULL;
    }
    for (size_t i = 0; i < n; i++)
        p[i] = &x[i];
    qsort(p, n, sizeof(*p), order);
    return p;
}

/* The end of the cluster that starts at p[i]. */
static size_t cluster_end(const struct ral_result *const *p, size_t i, size_t n)
{
    size_t j = i + 1;

    while (j < n && p[i]->cluster && p[j]->cluster &&
           !strcmp(p[i]->cluster, p[j]->cluster))
        j++;
    return j;
}

int ral_mean(const struct ral_result *x, size_t n, double min, double max,
             struct ral_interval *out, struct ral_err *err)
{
    const struct ral_result **p;
    double sum = 0, square = 0, half;

    *out = (struct ral_interval){NAN, min, max, NAN, n, 0};
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(x[i].value))
            return ral_err_set(err, -RAL_EINVAL,
                               "%s: its value is not a finite number",
                               x[i].id ? x[i].id : "a row");
        sum += x[i].value;
    }
    if (n == 0)
        return 0;
    if (!(p = sorted(x, n, by_cluster, err)))
        return -RAL_ENOMEM;
    out->mean = sum / (double)n;
    for (size_t i = 0, end; i < n; i = end) {
        double residual = 0;

        end = cluster_end(p, i, n);
        for (size_t j = i; j < end; j++)
            residual += p[j]->value - out->mean;
        square += residual * residual;
        out->clusters++;
    }
    free(p);
    if (out->clusters < 2)
        return 0;
    square *= (double)out->clusters / (double)(out->clusters - 1);
    out->se = sqrt(square) / (double)n;
    half = ral_t975(out->clusters - 1) * out->se;
    out->lo = fmax(min, out->mean - half);
    out->hi = fmin(max, out->mean + half);
    return 0;
}

int ral_accuracy(const struct ral_result *x, size_t n, struct ral_interval *out,
                 struct ral_err *err)
{
    size_t right = 0;
    int rc;

    for (size_t i = 0; i < n; i++) {
        if (x[i].value != 0 && x[i].value != 1)
            return ral_err_set(err, -RAL_EINVAL,
                               "%s: accuracy takes values 0 and 1",
                               x[i].id ? x[i].id : "a row");
        right += x[i].value == 1;
    }
    if ((rc = ral_mean(x, n, 0, 1, out, err)) < 0)
        return rc;
    if (out->clusters == n)
        ral_wilson(right, n, out);
    else if (out->clusters > 1 && (right == 0 || right == n))
        wilson(out->mean, (double)out->clusters, out);
    return 0;
}

static int duplicate(const struct ral_result *const *p, size_t n,
                     struct ral_err *err)
{
    for (size_t i = 1; i < n; i++)
        if (!strcmp(p[i - 1]->id, p[i]->id))
            return ral_err_set(err, -RAL_EINVAL,
                               "id '%s' stands twice in one list of results",
                               p[i]->id);
    return 0;
}

/* Differences of the rows that both sorted lists hold; their number. */
static size_t match(const struct ral_result *const *a, size_t na,
                    const struct ral_result *const *b, size_t nb,
                    struct ral_result *diff)
{
    size_t n = 0;

    for (size_t i = 0, j = 0; i < na && j < nb;) {
        const int order = strcmp(a[i]->id, b[j]->id);

        if (order == 0) {
            diff[n] = *b[j];
            diff[n++].value -= a[i]->value;
        }
        i += order <= 0;
        j += order >= 0;
    }
    return n;
}

int ral_paired(const struct ral_result *a, size_t na,
               const struct ral_result *b, size_t nb, struct ral_interval *out,
               size_t *unpaired, struct ral_err *err)
{
    const struct ral_result **pa = sorted(a, na, by_id, err);
    const struct ral_result **pb = pa ? sorted(b, nb, by_id, err) : NULL;
    struct ral_result *diff = NULL;
    size_t n;
    int rc = -RAL_ENOMEM;

    if (!pa || !pb)
        goto out;
    if (!(diff = malloc((nb ? nb : 1) * sizeof(*diff)))) {
        rc = ral_err_nomem(err, "statistics");
        goto out;
    }
    if ((rc = duplicate(pa, na, err)) < 0 || (rc = duplicate(pb, nb, err)) < 0)
        goto out;
    n = match(pa, na, pb, nb, diff);
    if (unpaired)
        *unpaired = na + nb - 2 * n;
    rc = ral_mean(diff, n, -1, 1, out, err);
out:
    free(diff);
    free(pb);
    free(pa);
    return rc;
}

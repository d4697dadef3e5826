/* lib/train/metrics.h - what a step measured, by name. */
#ifndef RAL_METRICS_H
#define RAL_METRICS_H

#include <stddef.h>

enum ral_metric_kind { RAL_METRIC_MEAN, RAL_METRIC_SUM, RAL_METRIC_MAX };

/* value: a sum, or the most. What was never added to is not there. */
struct ral_metric {
    const char *name;
    enum ral_metric_kind kind;
    double value, count;
};

enum { RAL_METRICS = 32 };

struct ral_metrics_set {
    struct ral_metric metric[RAL_METRICS];
    size_t n;
};

/* count: of a mean, what value is the sum of; else ignored. */
void ral_metric_add(struct ral_metrics_set *m, const char *name,
                    enum ral_metric_kind kind, double value, double count);

/* The mean, sum or most; NaN when it was not measured. */
double ral_metric_value(const struct ral_metric *m);
double ral_metric_get(const struct ral_metrics_set *m, const char *name);

#endif

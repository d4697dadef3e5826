/* lib/train/metrics.c - what a step measured, by name. */
#include "train/metrics.h"

#include <assert.h>
#include <math.h>
#include <string.h>

void ral_metric_add(struct ral_metrics_set *m, const char *name,
                    enum ral_metric_kind kind, double value, double count)
{
    size_t i = 0;

    while (i < m->n && strcmp(m->metric[i].name, name))
        i++;
    if (i == m->n) {
        assert(m->n < RAL_METRICS);
        m->metric[m->n++] = (struct ral_metric){.name = name, .kind = kind};
    }
    if (kind == RAL_METRIC_MAX)
        m->metric[i].value = fmax(m->metric[i].value, value);
    else
        m->metric[i].value += value;
    m->metric[i].count += count;
}

double ral_metric_value(const struct ral_metric *m)
{
    if (m->kind != RAL_METRIC_MEAN)
        return m->value;
    return m->count > 0 ? m->value / m->count : (double)NAN;
}

double ral_metric_get(const struct ral_metrics_set *m, const char *name)
{
    for (size_t i = 0; i < m->n; i++)
        if (!strcmp(name, m->metric[i].name))
            return ral_metric_value(&m->metric[i]);
    return (double)NAN;
}

/* lib/job/view_curve.c - the learning curve of a run, from its metrics. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/file.h"
#include "data/jsonl.h"
#include "draw/plot.h"
#include "job/view.h"

enum { FILES_MAX = 4, LINE_MAX = 1 << 20 };

struct points {
    double *x, *y;
    size_t n, cap;
};

struct run {
    char name[2][100];      // of the series
    struct points sft, accuracy, reward; // x of RL counts from its start
    double sft_updates, updates;         // done when a line is met
};

/* Points that a killed run made before, from x on, are forgotten. */
static int put(struct points *p, double x, double y, struct ral_err *err)
{
    while (p->n && p->x[p->n - 1] >= x)
        p->n--;
    if (p->n == p->cap) {
        const size_t cap = p->cap ? 2 * p->cap : 64;
        double *px = realloc(p->x, cap * sizeof(double));
        double *py = NULL;

        if (px) {
            p->x = px;
            py = realloc(p->y, cap * sizeof(double));
        }
        if (!py)
            return ral_err_nomem(err, "curve");
        p->y = py;
        p->cap = cap;
    }
    p->x[p->n] = x;
    p->y[p->n++] = y;
    return 0;
}

/* An evaluation by ral-train, of a checkpoint "sft/20" or "7". */
static int put_accuracy(struct run *r, const json_t *j, double step,
                        struct ral_err *err)
{
    const char *of = json_string_value(json_object_get(j, "checkpoint"));
    const json_t *accuracy = json_object_get(j, "accuracy");

    if (!of || !json_is_number(accuracy))
        return 0;
    if (!strncmp(of, "sft/", 4))
        return put(&r->sft, step, json_number_value(accuracy), err);
    return put(&r->accuracy, step > 0 ? r->updates : 0,
               json_number_value(accuracy), err);
}

static int take_metrics(struct run *r, const json_t *j, struct ral_err *err)
{
    const char *program = json_string_value(json_object_get(j, "program"));
    const double step = json_number_value(json_object_get(j, "step"));
    const double update = json_number_value(json_object_get(j, "update"));
    const json_t *reward = json_object_get(j, "reward");

    if (!program)
        return 0;
    if (!strcmp(program, "ral-train"))
        return put_accuracy(r, j, step, err);
    if (!strcmp(program, "ral-update --sft"))
        r->sft_updates = update;
    if (strcmp(program, "ral-update"))
        return 0;
    r->updates = update;
    // The lines of one step share the reward of the policy before it.
    if (!json_is_number(reward) ||
        (r->reward.n && update > r->reward.x[r->reward.n - 1] &&
         json_number_value(reward) == r->reward.y[r->reward.n - 1]))
        return 0;
    return put(&r->reward, update - 1, json_number_value(reward), err);
}

static int read_run(struct run *r, const char *path, struct ral_err *err)
{
    char *dir = ral_path_dir(path), *full = dir ? realpath(dir, NULL) : NULL;
    const char *slash = full ? strrchr(full, '/') : NULL;
    const char *name = slash && slash[1] ? slash + 1 : "run", *line;
    struct ral_lines *l;
    size_t len;
    int rc, more = 0;

    snprintf(r->name[0], sizeof r->name[0], "%.60s: validation accuracy", name);
    snprintf(r->name[1], sizeof r->name[1], "%.60s: mean reward", name);
    free(full);
    free(dir);
    if ((rc = ral_lines_open(&l, path, LINE_MAX, err)) < 0)
        return rc;
    while (rc == 0 && (more = ral_lines_next(l, &line, &len, err)) > 0) {
        char where[300];
        json_t *j;

        snprintf(where, sizeof where, "%s:%zu", path, ral_lines_number(l));
        if ((rc = ral_json_parse(&j, line, len, where, err)) == 0)
            rc = take_metrics(r, j, err);
        json_decref(j);
    }
    ral_lines_close(l);
    return rc < 0 ? rc : more;
}

/* SFT's accuracies, then those of RL: one line. */
static int join(struct run *r, double offset, struct ral_err *err)
{
    int rc = 0;

    for (size_t i = 0; i < r->reward.n; i++)
        r->reward.x[i] += offset;
    for (size_t i = 0; rc == 0 && i < r->accuracy.n; i++)
        rc = put(&r->sft, offset + r->accuracy.x[i], r->accuracy.y[i], err);
    return rc;
}

static int draw_curves(struct run *runs, size_t n, struct ral_buf *png,
                       struct ral_err *err)
{
    struct ral_plot_series series[2 * FILES_MAX];
    struct ral_plot plot = {
        .title = "SFT, then on-policy steps",
        .x_label = "optimiser updates",
        .y_max = 1,
        .series = series,
        .width = 760,
        .height = 440,
    };
    double longest = 0;
    int rc = 0;

    for (size_t i = 0; i < n; i++)
        if (runs[i].sft_updates > longest)
            longest = runs[i].sft_updates;
    for (size_t i = 0; rc == 0 && i < n; i++) {
        struct run *r = &runs[i];
        const struct points *p[] = {&r->sft, &r->reward};

        rc = join(r, r->sft_updates > 0 ? r->sft_updates : longest, err);
        for (int k = 0; k < 2; k++)
            if (p[k]->n)
                series[plot.n_series++] = (struct ral_plot_series){
                    .name = r->name[k],
                    .x = p[k]->x,
                    .y = p[k]->y,
                    .n = p[k]->n,
                };
    }
    if (rc == 0 && !plot.n_series)
        return ral_err_set(err, -RAL_EINVAL,
                           "no accuracy and no reward in these metrics");
    return rc < 0 ? rc : ral_plot_png(&plot, png, err);
}

int ral_view_curve(char *const *files, size_t n, struct ral_buf *png,
                   struct ral_err *err)
{
    struct run runs[FILES_MAX] = {0};
    int rc = 0;

    if (!n || n > FILES_MAX)
        return ral_err_set(err, -RAL_EUSAGE,
                           "a curve takes 1 to %d files of metrics", FILES_MAX);
    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = read_run(&runs[i], files[i], err);
    if (rc == 0)
        rc = draw_curves(runs, n, png, err);
    for (size_t i = 0; i < n; i++) {
        struct points *p[] = {&runs[i].sft, &runs[i].accuracy, &runs[i].reward};

        for (int k = 0; k < 3; k++) {
            free(p[k]->x);
            free(p[k]->y);
        }
    }
    return rc;
}

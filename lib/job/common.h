/* lib/job/common.h - what every program has: options, log, metrics. */
#ifndef RAL_COMMON_H
#define RAL_COMMON_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/failures.h"
#include "base/log.h"
#include "base/opt.h"
#include "base/version.h"
#include "job/recipe.h"

struct ral_common {
    int64_t threads; // 0: as many as there are processors
    uint64_t seed;
    const char *log; // metrics; NULL: none
    bool quiet, verbose;
    struct ral_opt_conf conf;
    struct ral_list sets;
};

/* For a program that reads settings: struct ral_common c = ...(&recipe). */
#define RAL_COMMON_INIT(recipe)                                                \
    {                                                                          \
        .conf = {.load = ral_recipe_load, .ctx = recipe }                      \
    }

/* Rows of an option table. version: void (*)(void), for -V. */
#define RAL_COMMON_OPTS(c, version)                                            \
    RAL_OPT_HEAD("common options"), RAL_OPT_CONF(&(c)->conf),                  \
        RAL_OPT_SETS(&(c)->sets),                                              \
        RAL_OPT_INT('j', "threads", &(c)->threads, "N",                        \
                    "processors to use [all]; never changes a result"),        \
        RAL_OPT_U64(0, "seed", &(c)->seed, "N", "of all random numbers [0]"),  \
        RAL_OPT_STR(0, "log", &(c)->log, "FILE",                               \
                    "append metrics, as JSON lines"),                          \
        RAL_OPT_FLAG('q', "quiet", &(c)->quiet, "errors and warnings only"),   \
        RAL_OPT_FLAG('v', "verbose", &(c)->verbose, "tell more"),              \
        RAL_OPT_SHOW('V', "version", version, "show version and exit")

/**
 * After the options are parsed: checks them, blocks SIGINT and SIGTERM
 * (base/file.h) and sets up log. Before any thread starts.
 */
int ral_common_start(const struct ral_common *c, const char *prog,
                     struct ral_log *log, struct ral_err *err);

/* Prints "prog version" to stdout. */
void ral_version_show(const char *prog);

/**
 * The same with the kernels and the BLAS in use; a file of its own, so that
 * programs without arithmetic do not load a BLAS. cpu: getenv("RAL_CPU").
 */
void ral_version_show_kernels(const char *prog, const char *cpu);

/* Metrics: one JSON object a line, appended. Zero initialise. */
struct ral_metrics {
    bool open;
    int fd;
    char *path;
};

/* path NULL: nothing is kept, and every _put succeeds. */
int ral_metrics_open(struct ral_metrics *m, const char *path,
                     struct ral_err *err);
/* Takes obj over, whatever happens; one write a line. NULL: out of memory. */
int ral_metrics_put(struct ral_metrics *m, json_t *obj, struct ral_err *err);
void ral_metrics_close(struct ral_metrics *m);

/* A number, or null for NaN and infinities, which JSON has not. */
json_t *ral_json_number(double x);

#endif

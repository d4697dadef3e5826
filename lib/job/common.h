/* lib/job/common.h - what every program has: options, log, metrics. */
#ifndef RAL_COMMON_H
#define RAL_COMMON_H

#include <jansson.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"
#include "base/opt.h"
#include "base/version.h"
#include "job/recipe.h"

struct ral_common {
    int64_t threads; // 0: as many as there are processors
    uint64_t seed;
    const char *log; // metrics; NULL: none
    bool quiet, verbose, version;
    struct ral_opt_conf conf;
    struct ral_list sets;
    const char **args; // all arguments, as they were given
    size_t n_args;
};

/* For a program that reads settings: struct ral_common c = ...(&recipe). */
#define RAL_COMMON_INIT(recipe)                                                \
    {                                                                          \
        .conf = {                                                              \
            .load = ral_recipe_load,                                           \
            .release = ral_recipe_release,                                     \
            .ctx = recipe                                                      \
        }                                                                      \
    }

/* Rows of an option table: of programs without settings, and of all others. */
#define RAL_SPOKEN_OPTS(c)                                                     \
    RAL_OPT_FLAG('q', "quiet", &(c)->quiet, "errors and warnings only"),       \
        RAL_OPT_FLAG('v', "verbose", &(c)->verbose, "tell more"),              \
        RAL_OPT_SHOW('V', "version", &(c)->version, "show version and exit")
#define RAL_COMMON_OPTS(c)                                                     \
    RAL_OPT_HEAD("common options"), RAL_OPT_CONF(&(c)->conf),                  \
        RAL_OPT_SETS(&(c)->sets),                                              \
        RAL_OPT_INT('j', "threads", &(c)->threads, "N",                        \
                    "processors to use [all]; never changes a result"),        \
        RAL_OPT_U64(0, "seed", &(c)->seed, "N", "of all random numbers [0]"),  \
        RAL_OPT_STR(0, "log", &(c)->log, "FILE",                               \
                    "append metrics, as JSON lines"),                          \
        RAL_SPOKEN_OPTS(c)

/* What is left for a program's work once its options are stored. */
struct ral_call {
    const struct ral_common *common;
    const struct ral_log *log;
    char *const *argv; // operands
    size_t argc;
};

struct ral_program {
    const char *name, *usage, *summary; // of the help text
    const struct ral_opt *opts;
    struct ral_common *common;
    void *job;
    int (*run)(void *job, const struct ral_call *call, struct ral_err *err);
    /**
     * More lines for -V, of what computes: cpu is RAL_CPU. NULL for programs
     * without arithmetic, which so load no BLAS; in the others threads that
     * wait for work sleep (base/cpu.h).
     */
    int (*about)(const char *cpu, struct ral_buf *out);
};

/**
 * All that main does: parses the options, shows the version, blocks SIGINT
 * and SIGTERM (base/file.h), runs, frees. Returns the exit status.
 */
int ral_main(const struct ral_program *p, int argc, char **argv);

/* A fraction that was not asked for; no option can give this value. */
#define RAL_UNASKED (-HUGE_VAL)
/* Whether x was not asked for, or is 0 to 1. */
bool ral_fraction_ok(double x);

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

/**
 * Whether failed of n records are too many. most RAL_UNASKED: a tenth, and
 * more is the data's fault; else it was asked for.
 * @return 0, -RAL_EINVAL or -RAL_ECHECK
 */
int ral_failures(double most, size_t failed, size_t n);

/* A number, or null for NaN and infinities, which JSON has not. */
json_t *ral_json_number(double x);

#endif

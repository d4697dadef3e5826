/* lib/job/common.h - what every program has: options, log, metrics. */
#ifndef RAL_COMMON_H
#define RAL_COMMON_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/failures.h"
#include "base/log.h"
#include "base/opt.h"
#include "base/version.h"
#include "conf/recipe.h"

/* Zeroed, or for a program that reads recipes RAL_COMMON_INIT(its name). */
struct ral_common {
    int64_t threads; // 0: as many as there are processors
    uint64_t seed;
    const char *log; // metrics; NULL: none
    bool quiet, verbose, version;
    const char *device; // --device, or RAL_DEVICE; NULL: cpu
    const char *cpu;    // RAL_CPU; NULL: all kernels
    struct ral_opt_conf conf;
    struct ral_list sets;
    struct ral_arena texts; // of the recipe
    const char **args;      // all arguments, as they were given
    size_t n_args;
};

#define RAL_COMMON_INIT(c)                                                     \
    {                                                                          \
        .conf = {.load = ral_recipe_load, .ctx = &(c).texts }                  \
    }

/* Rows of programs that read no recipe, and of all others. */
#define RAL_SPOKEN_OPTS(c)                                                     \
    RAL_OPT_FLAG('q', "quiet", &(c)->quiet, "errors and warnings only"),       \
        RAL_OPT_FLAG('v', "verbose", &(c)->verbose, "tell more"),              \
        RAL_OPT_SHOW('V', "version", &(c)->version, "show version and exit")
#define RAL_COMMON_OPTS(c)                                                     \
    RAL_OPT_HEAD("common options"), RAL_OPT_CONF(&(c)->conf),                  \
        RAL_OPT_SETS(&(c)->sets),                                              \
        RAL_OPT_INT('j', "threads", &(c)->threads, "N", 0, 1024, 0,            \
                    "processors to use; never changes a result",               \
                    .shown = "all"),                                           \
        RAL_OPT_U64(0, "seed", &(c)->seed, "N", "of all random numbers"),      \
        RAL_OPT_STR(0, "log", &(c)->log, "FILE",                               \
                    "append metrics, as JSON lines"),                          \
        RAL_SPOKEN_OPTS(c)

/* Rows of several programs. */
#define RAL_DEVICE_OPT(c)                                                      \
    RAL_OPT_STR(0, "device", &(c)->device, "NAME",                             \
                "machine: cpu, or guard (slow, for tests)",                    \
                .shown = "RAL_DEVICE, or cpu")
#define RAL_FORCE_OPT(d)                                                       \
    RAL_OPT_FLAG(0, "force", d, "replace an existing -o")
#define RAL_STALE_OPT(d)                                                       \
    RAL_OPT_FLAG(0, "allow-stale", d, "train on another policy's rollouts")
#define RAL_LIMIT_OPT(d, what)                                                 \
    RAL_OPT_INT(0, "limit", d, "N", 0, RAL_MANY, 0, "stop after N " what,      \
                .shown = "all")
#define RAL_RECORD_OPT(d)                                                      \
    RAL_OPT_U64(0, "max-record", d, "BYTES", "refuse larger records",          \
                .shown = "1 GiB")
#define RAL_BATCH_OPT(d)                                                       \
    RAL_OPT_INT(0, "batch", d, "N", 0, 4096, 0,                                \
                "decode N prompts together; never changes a bit",              \
                .shown = "by size")
#define RAL_FAILED_OPT(d, v, what)                                             \
    RAL_OPT_NUM(0, "max-failed", d, "X", 0, 1, v,                              \
                "exit 3 if more of the " what " fail", .shown = "0.1")

#define RAL_INIT_WORDS "fan_in|normal" // names of enum ral_init
enum ral_init {
    RAL_INIT_FAN_IN, // deviation in^-1/2
    RAL_INIT_NORMAL, // deviation model.std
};

/* Rows of section model; for programs that do not make weights NULL, NULL. */
#define RAL_MODEL_SETTINGS(how, deviation)                                     \
    RAL_SET_STR("model.init", NULL, "folder of a model to begin with"),        \
        RAL_SET_ENUM("model.initializer", how, RAL_INIT_WORDS,                 \
                     RAL_INIT_FAN_IN,                                          \
                     "fan_in: deviation in^-1/2; normal: --std",               \
                     RAL_AS(0, "init", "HOW")),                                \
        RAL_SET_NUM("model.std", deviation, 0, 10, 0.02,                       \
                    "deviation of normal", RAL_AS(0, "std", "X"))

/* Which attention is the policy's: layers from 0, or from the end below 0. */
struct ral_attn_settings {
    struct ral_ints layers;
    int heads; // enum ral_attn_heads
};

#define RAL_ATTN_HEADS_WORDS "mean|each" // names of enum ral_attn_heads
enum ral_attn_heads {
    RAL_ATTN_HEADS_MEAN, // one row a layer
    RAL_ATTN_HEADS_EACH,
};

/* section is a literal, as in all shared rows; lopt and hopt are options'
 * names, or NULL. */
#define RAL_ATTN_SETTINGS(section, a, lopt, hopt)                              \
    RAL_SET_INTS(section ".attn_layers", &(a)->layers, -1000, 999, "-1",       \
                 "layers whose attention is the policy; -1: the last",         \
                 RAL_AS(0, lopt, "L,..")),                                     \
        RAL_SET_ENUM(section ".attn_heads", &(a)->heads,                       \
                     RAL_ATTN_HEADS_WORDS, RAL_ATTN_HEADS_MEAN,                \
                     "their mean, or each head's attention alone",             \
                     RAL_AS(0, hopt, "HOW"))

/* What is left for a program's work once its options are stored. */
struct ral_call {
    const struct ral_common *common;
    const struct ral_log *log;
    char *const *argv; // operands
    size_t argc;
};

struct ral_program {
    const char *name, *usage, *summary; // of the help text
    const struct ral_setting *opts;
    struct ral_common *common;
    void *job;
    int (*run)(void *job, const struct ral_call *call, struct ral_err *err);
    /**
     * More lines for -V, of what computes. NULL for programs
     * without arithmetic, which so load no BLAS; in the others threads that
     * wait for work sleep (base/cpu.h).
     */
    int (*about)(const struct ral_common *c, struct ral_buf *out);
};

/**
 * All that main does: parses the options, shows the version, blocks SIGINT
 * and SIGTERM (base/file.h), runs, frees. Returns the exit status.
 */
int ral_main(const struct ral_program *p, int argc, char **argv);

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

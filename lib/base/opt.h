/* lib/base/opt.h - settings, one row each: option, recipe key, help. */
#ifndef RAL_OPT_H
#define RAL_OPT_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum ral_set_type {
    RAL_SET_T_END,
    RAL_SET_T_STR,  // const char **, any text; one of words if there are
    RAL_SET_T_ENUM, // int *, the place of the word in words, from 0
    RAL_SET_T_INT,  // int64_t *, lo to hi
    RAL_SET_T_U64,  // uint64_t *; an option alone
    RAL_SET_T_NUM,  // double *, finite, lo to hi
    RAL_SET_T_BOOL, // bool *; an option takes no value and sets it to true
    RAL_SET_T_INTS, // struct ral_ints *, one number at least, each lo to hi
    RAL_SET_T_LIST, // struct ral_strings *; of a recipe alone, as the next
    RAL_SET_T_MAP,  // struct ral_weights *, each lo to hi
    RAL_SET_T_ARGS, // struct ral_list *: an option that may be repeated
    RAL_SET_T_SETS, // struct ral_list *: -s, handed to the hook of -c
    RAL_SET_T_CONF, // struct ral_opt_conf *: -c
    RAL_SET_T_SHOW, // bool *, set to true; parsing ends there
    RAL_SET_T_HEAD, // a heading in the help text
};

/**
 * All that there is to say about one setting. It has a key in recipes, or is
 * an option, or both; the reader of recipes, the option parser, --help, the
 * check of ranges and the manuals' tables (tests/man.sh) all take it from
 * here. The default is num (of numbers, words of an enum and bools) or text.
 */
struct ral_setting {
    const char *key; // "update.beta"; NULL: an option alone
    char letter;     // of the option; 0: none
    const char *name, *arg; // --name ARG; name NULL: of a recipe alone
    enum ral_set_type type;
    void *dst; // NULL: another program's; its values are checked all the same
    const char *words; // "token|sequence"; NULL: any text
    double lo, hi;     // inclusive
    bool zero;         // 0, too
    double num;        // need not be in range: what no user can ask for
    const char *text;  // of INTS as "0,-1"
    const char *shown; // the default for people where num or text do not tell;
                       // "": there is none
    const char *help;
};

/* What an INTS setting holds. */
struct ral_ints {
    int64_t item[64];
    size_t n;
};

struct ral_list { // points into argv
    const char *item[64];
    size_t n;
};

/**
 * -c FILE and -s KEY=VALUE: wherever they stand, load is called once, before
 * any other option is stored, so that options win over the file. It is called
 * when either is given; path is NULL when only -s was.
 */
struct ral_opt_conf {
    int (*load)(void *ctx, const struct ral_setting *rows, const char *path,
                const struct ral_list *sets, struct ral_err *err);
    void *ctx;
    const char *path;
};

/*
 * Rows. k: the key; d: where the value goes; from, upto: its range; v: the
 * default; then the help text, and any further fields by name:
 *
 *     RAL_SET_NUM("rollout.temperature", &j->temperature, 1e-6, 100, 1,
 *                 "0 is greedy", .zero = true,
 *                 RAL_AS(0, "temperature", "T")),
 */
#define RAL_MANY INFINITY // a range without upper end
#define RAL_AS(c, n, a) .letter = c, .name = n, .arg = a
#define RAL_SET_STR(k, d, ...)                                                 \
    {.key = k, .type = RAL_SET_T_STR, .dst = (const char **){d},               \
     .help = __VA_ARGS__}
#define RAL_SET_WORD(k, d, w, v, ...)                                          \
    {.key = k, .type = RAL_SET_T_STR, .dst = (const char **){d}, .words = w,   \
     .text = v, .help = __VA_ARGS__}
#define RAL_SET_ENUM(k, d, w, v, ...)                                          \
    {.key = k, .type = RAL_SET_T_ENUM, .dst = (int *){d}, .words = w,          \
     .num = v, .help = __VA_ARGS__}
#define RAL_SET_INT(k, d, from, upto, v, ...)                                  \
    {.key = k, .type = RAL_SET_T_INT, .dst = (int64_t *){d}, .lo = from,       \
     .hi = upto, .num = v, .help = __VA_ARGS__}
#define RAL_SET_NUM(k, d, from, upto, v, ...)                                  \
    {.key = k, .type = RAL_SET_T_NUM, .dst = (double *){d}, .lo = from,        \
     .hi = upto, .num = v, .help = __VA_ARGS__}
#define RAL_SET_BOOL(k, d, v, ...)                                             \
    {.key = k, .type = RAL_SET_T_BOOL, .dst = (bool *){d}, .num = v,           \
     .help = __VA_ARGS__}
#define RAL_SET_INTS(k, d, from, upto, v, ...)                                 \
    {.key = k, .type = RAL_SET_T_INTS, .dst = (struct ral_ints *){d},          \
     .lo = from, .hi = upto, .text = v, .help = __VA_ARGS__}

/* Options alone: c, n and a are letter, name and argument. */
#define RAL_OPT_STR(c, n, d, a, ...)                                           \
    RAL_SET_STR(NULL, d, __VA_ARGS__, RAL_AS(c, n, a))
#define RAL_OPT_ENUM(c, n, d, a, w, v, ...)                                    \
    RAL_SET_ENUM(NULL, d, w, v, __VA_ARGS__, RAL_AS(c, n, a))
#define RAL_OPT_INT(c, n, d, a, from, upto, v, ...)                            \
    RAL_SET_INT(NULL, d, from, upto, v, __VA_ARGS__, RAL_AS(c, n, a))
#define RAL_OPT_NUM(c, n, d, a, from, upto, v, ...)                            \
    RAL_SET_NUM(NULL, d, from, upto, v, __VA_ARGS__, RAL_AS(c, n, a))
#define RAL_OPT_U64(c, n, d, a, ...)                                           \
    {.type = RAL_SET_T_U64, .dst = (uint64_t *){d}, .hi = RAL_MANY,            \
     .help = __VA_ARGS__, RAL_AS(c, n, a)}
#define RAL_OPT_FLAG(c, n, d, ...)                                             \
    RAL_SET_BOOL(NULL, d, 0, __VA_ARGS__, RAL_AS(c, n, NULL))
#define RAL_OPT_LIST(c, n, d, a, ...)                                          \
    {.type = RAL_SET_T_ARGS, .dst = (struct ral_list *){d},                    \
     .help = __VA_ARGS__, RAL_AS(c, n, a)}
#define RAL_OPT_CONF(d)                                                        \
    {.type = RAL_SET_T_CONF, .dst = (struct ral_opt_conf *){d},                \
     .help = "read settings from a YAML recipe", RAL_AS('c', "config", "FILE")}
#define RAL_OPT_SETS(d)                                                        \
    {.type = RAL_SET_T_SETS, .dst = (struct ral_list *){d},                    \
     .help = "override one setting, e.g. -s update.beta=0.04",                 \
     RAL_AS('s', "set", "KEY=VALUE")}
#define RAL_OPT_SHOW(c, n, d, ...)                                             \
    {.type = RAL_SET_T_SHOW, .dst = (bool *){d},                               \
     .help = __VA_ARGS__, RAL_AS(c, n, NULL)}
#define RAL_OPT_HEAD(title) {.type = RAL_SET_T_HEAD, .help = title}
#define RAL_OPT_END {.type = RAL_SET_T_END}

/**
 * First every default is stored, then what -c and -s say, then the options.
 * These may follow operands; "--" ends them. Long names may be given as
 * --name VALUE or --name=VALUE, and not abbreviated; letters may be joined.
 * -h and --help are built in and print usage, summary and the options.
 *
 * @param usage    after the program's name, "[options] [FILE...]"
 * @param summary  one sentence, the first of the help text
 * On return argc/argv hold the operands alone (argv[0] is the first).
 * @return 0; 1 when the program is done (help was printed, or a SHOW option
 *         is set); -RAL_EUSAGE.
 */
int ral_opt_parse(const struct ral_setting *rows, int *argc, char ***argv,
                  const char *usage, const char *summary, struct ral_err *err);

/**
 * The exit status for a result: 0 for rc >= 0; otherwise prints "prog: msg"
 * to stderr and gives 1, 2 (usage) or 3 (check). After a stop signal it
 * ends the process by that signal, as the shell expects. A failed write of
 * buffered stdout is an error too.
 */
int ral_opt_exit(const char *prog, int rc, const struct ral_err *err);

/* Stores the default of each row; lists and maps are left as they are. */
void ral_setting_defaults(const struct ral_setting *rows);

/* Texts about a row: a fault, the values it takes, its default. */
enum { RAL_SETTING_TEXT = 200 };

/* Whether a number is in range; else why has "7 is not between 0 and 1". */
bool ral_setting_allows(const struct ral_setting *s, double v,
                        char why[RAL_SETTING_TEXT]);
/* "whole number, 1 to 4096", "token|sequence", "text" .. */
void ral_setting_values(const struct ral_setting *s,
                        char text[RAL_SETTING_TEXT]);
/* "0.2", "token", "the rows' folder"; empty where there is none. */
void ral_setting_shown(const struct ral_setting *s,
                       char text[RAL_SETTING_TEXT]);

/* The place of a word in "a|b|c", from 0, or -1. */
int ral_word(const char *words, const char *word);

/* Strict numbers: the whole text must be one. -RAL_EINVAL without message. */
int ral_parse_i64(const char *s, int64_t *out);
int ral_parse_u64(const char *s, uint64_t *out);
int ral_parse_f64(const char *s, double *out); // finite

/* The name of names[n] nearest to word, or NULL when none is near. */
const char *ral_nearest(const char *word, const char *const *names, size_t n);

#endif

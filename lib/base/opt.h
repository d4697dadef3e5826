/* lib/base/opt.h - command line options: parser and --help text in one. */
#ifndef RAL_OPT_H
#define RAL_OPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum ral_opt_type {
    RAL_OPT_T_END,
    RAL_OPT_T_STR,  // const char **
    RAL_OPT_T_INT,  // int64_t *
    RAL_OPT_T_U64,  // uint64_t *
    RAL_OPT_T_NUM,  // double *, finite
    RAL_OPT_T_FLAG, // bool *, set to true
    RAL_OPT_T_LIST, // struct ral_list *, may be repeated
    RAL_OPT_T_SETS, // struct ral_list *, as LIST; handed to the config hook
    RAL_OPT_T_CONF, // struct ral_opt_conf *
    RAL_OPT_T_SHOW, // bool *, set to true; parsing ends there
    RAL_OPT_T_HEAD, // a heading in the help text
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
    int (*load)(void *ctx, const char *path, const struct ral_list *sets,
                struct ral_err *err);
    void (*release)(void *ctx); // for the program's end
    void *ctx;
    const char *path;
};

struct ral_opt {
    char letter; // 0: none
    const char *name;
    enum ral_opt_type type;
    void *dst;
    const char *arg, *help;
};

#define RAL_OPT_STR(c, name, dst, arg, help)                                   \
    {c, name, RAL_OPT_T_STR, (const char **){dst}, arg, help}
#define RAL_OPT_INT(c, name, dst, arg, help)                                   \
    {c, name, RAL_OPT_T_INT, (int64_t *){dst}, arg, help}
#define RAL_OPT_U64(c, name, dst, arg, help)                                   \
    {c, name, RAL_OPT_T_U64, (uint64_t *){dst}, arg, help}
#define RAL_OPT_NUM(c, name, dst, arg, help)                                   \
    {c, name, RAL_OPT_T_NUM, (double *){dst}, arg, help}
#define RAL_OPT_FLAG(c, name, dst, help)                                       \
    {c, name, RAL_OPT_T_FLAG, (bool *){dst}, NULL, help}
#define RAL_OPT_LIST(c, name, dst, arg, help)                                  \
    {c, name, RAL_OPT_T_LIST, (struct ral_list *){dst}, arg, help}
#define RAL_OPT_CONF(dst)                                                      \
    {'c',         "config",                                                    \
     RAL_OPT_T_CONF, (struct ral_opt_conf *){dst},                             \
     "FILE",      "read settings from a YAML recipe"}
#define RAL_OPT_SETS(dst)                                                      \
    {'s',        "set",                                                        \
     RAL_OPT_T_SETS, (struct ral_list *){dst},                                 \
     "KEY=VALUE", "override one setting, e.g. -s update.beta=0.04"}
#define RAL_OPT_SHOW(c, name, dst, help)                                       \
    {c, name, RAL_OPT_T_SHOW, (bool *){dst}, NULL, help}
#define RAL_OPT_HEAD(text) {0, NULL, RAL_OPT_T_HEAD, NULL, NULL, text}
#define RAL_OPT_END {0, NULL, RAL_OPT_T_END, NULL, NULL, NULL}

/**
 * Options may follow operands; "--" ends them. Long names may be given as
 * --name VALUE or --name=VALUE, and not abbreviated; letters may be joined.
 * -h and --help are built in and print usage, summary and the table.
 *
 * @param usage    after the program's name, "[options] [FILE...]"
 * @param summary  one sentence, the first of the help text
 * On return argc/argv hold the operands alone (argv[0] is the first).
 * @return 0; 1 when the program is done (help was printed, or a SHOW option
 *         is set); -RAL_EUSAGE.
 */
int ral_opt_parse(const struct ral_opt *opts, int *argc, char ***argv,
                  const char *usage, const char *summary, struct ral_err *err);

/**
 * The exit status for a result: 0 for rc >= 0; otherwise prints "prog: msg"
 * to stderr and gives 1, 2 (usage) or 3 (check). After a stop signal it
 * ends the process by that signal, as the shell expects. A failed write of
 * buffered stdout is an error too.
 */
int ral_opt_exit(const char *prog, int rc, const struct ral_err *err);

/* Strict numbers: the whole text must be one. -RAL_EINVAL without message. */
int ral_parse_i64(const char *s, int64_t *out);
int ral_parse_u64(const char *s, uint64_t *out);
int ral_parse_f64(const char *s, double *out); // finite

/* The name of names[n] nearest to word, or NULL when none is near. */
const char *ral_nearest(const char *word, const char *const *names, size_t n);

#endif

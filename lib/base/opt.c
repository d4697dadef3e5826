/* lib/base/opt.c - command line options: parser and --help text in one. */
#include "base/opt.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

int ral_parse_i64(const char *s, int64_t *out)
{
    char *end;
    long long v;

    errno = 0;
    v = strtoll(s, &end, 10);
    if (end == s || *end || errno || *s == ' ')
        return -RAL_EINVAL;
    *out = v;
    return 0;
}

int ral_parse_u64(const char *s, uint64_t *out)
{
    char *end;
    unsigned long long v;

    errno = 0;
    v = strtoull(s, &end, 10);
    if (end == s || *end || errno || *s < '0' || *s > '9')
        return -RAL_EINVAL;
    *out = v;
    return 0;
}

int ral_parse_f64(const char *s, double *out)
{
    char *end;
    double v;

    v = strtod(s, &end);
    if (end == s || *end || !isfinite(v) || *s == ' ')
        return -RAL_EINVAL;
    *out = v;
    return 0;
}

/* Levenshtein distance of short words, one row at a time. */
static size_t distance(const char *a, const char *b)
{
    size_t row[65];
    const size_t n = strlen(b);

    if (n > 64)
        return 99;
    for (size_t j = 0; j <= n; j++)
        row[j] = j;
    for (size_t i = 0; a[i]; i++) {
        size_t diag = row[0];

        row[0] = i + 1;
        for (size_t j = 0; j < n; j++) {
            size_t best = diag + (a[i] != b[j]);

            diag = row[j + 1];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (diag + 1 < best)
                best = diag + 1;
            row[j + 1] = best;
        }
    }
    return row[n];
}

const char *ral_nearest(const char *word, const char *const *names, size_t n)
{
    const size_t len = strlen(word);
    size_t best = len / 3 + 2; // worse than this is no help
    const char *found = NULL;

    if (len > 64)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        const size_t d = distance(word, names[i]);

        if (d < best) {
            best = d;
            found = names[i];
        }
    }
    return found;
}

static bool takes_value(const struct ral_opt *o)
{
    return o->arg != NULL;
}

static void print_help(const struct ral_opt *opts, const char *prog,
                       const char *usage, const char *summary)
{
    printf("usage: %s %s\n\n%s\n\n", prog, usage, summary);
    for (const struct ral_opt *o = opts;; o++) {
        char left[80] = "  -h, --help";
        const char *help = "show this text and exit";

        if (o->type == RAL_OPT_T_HEAD) {
            printf("\n%s:\n", o->help);
            continue;
        }
        if (o->type != RAL_OPT_T_END) {
            help = o->help;
            snprintf(left, sizeof left, o->letter ? "  -%c, --%s%s%s"
                                                  : "  %.0d    --%s%s%s",
                     o->letter, o->name, o->arg ? " " : "",
                     o->arg ? o->arg : "");
        }
        printf("%-29s %s\n", left, help);
        if (o->type == RAL_OPT_T_END)
            return;
    }
}

static const struct ral_opt *find_long(const struct ral_opt *opts,
                                       const char *name, size_t n)
{
    for (; opts->type != RAL_OPT_T_END; opts++)
        if (opts->name && strlen(opts->name) == n &&
            !strncmp(opts->name, name, n))
            return opts;
    return NULL;
}

static const struct ral_opt *find_letter(const struct ral_opt *opts, char c)
{
    for (; opts->type != RAL_OPT_T_END; opts++)
        if (opts->letter && opts->letter == c)
            return opts;
    return NULL;
}

static int unknown(const struct ral_opt *opts, const char *name, size_t n,
                   struct ral_err *err)
{
    const char *names[128], *near;
    char word[80];
    size_t k = 0;

    snprintf(word, sizeof word, "%.*s", (int)(n < 79 ? n : 79), name);
    for (; opts->type != RAL_OPT_T_END && k < 128; opts++)
        if (opts->name)
            names[k++] = opts->name;
    near = ral_nearest(word, names, k);
    return ral_err_set(err, -RAL_EUSAGE, "unknown option --%s%s%s (see --help)",
                       word, near ? "; did you mean --" : "",
                       near ? near : "");
}

static int store(const struct ral_opt *o, const char *value,
                 struct ral_err *err)
{
    struct ral_list *list = o->dst;
    int rc = 0;

    switch (o->type) {
    case RAL_OPT_T_STR:
        if (!*value)
            return ral_err_set(err, -RAL_EUSAGE, "--%s: %s must not be empty",
                               o->name, o->arg);
        *(const char **)o->dst = value;
        break;
    case RAL_OPT_T_INT:
        rc = ral_parse_i64(value, o->dst);
        break;
    case RAL_OPT_T_U64:
        rc = ral_parse_u64(value, o->dst);
        break;
    case RAL_OPT_T_NUM:
        rc = ral_parse_f64(value, o->dst);
        break;
    case RAL_OPT_T_FLAG:
        *(bool *)o->dst = true;
        break;
    case RAL_OPT_T_LIST:
        if (list->n == sizeof list->item / sizeof *list->item)
            return ral_err_set(err, -RAL_EUSAGE, "--%s: given too often",
                               o->name);
        list->item[list->n++] = value;
        break;
    default:
        break;
    }
    if (rc < 0)
        return ral_err_set(err, -RAL_EUSAGE, "--%s: '%s' is not %s", o->name,
                           value,
                           o->type == RAL_OPT_T_NUM ? "a number"
                           : o->type == RAL_OPT_T_U64
                               ? "a non-negative whole number"
                               : "a whole number");
    return 0;
}

struct pass {
    const struct ral_opt *opts;
    bool first;            // only -c, -s, -h and syntax; the second stores
    struct ral_opt_conf *conf;
    struct ral_list *sets;
    const struct ral_opt *show; // --help is found as opts' end
};

static int apply(struct pass *p, const struct ral_opt *o, const char *value,
                 struct ral_err *err)
{
    if (!p->first)
        return store(o, value, err);
    if (o->type == RAL_OPT_T_CONF) {
        p->conf = o->dst;
        if (p->conf->path)
            return ral_err_set(err, -RAL_EUSAGE, "--config: given twice");
        p->conf->path = value;
    } else if (o->type == RAL_OPT_T_SETS) {
        const struct ral_opt list = {.name = o->name, .type = RAL_OPT_T_LIST,
                                     .dst = o->dst};

        p->sets = o->dst;
        return store(&list, value, err);
    } else if (o->type == RAL_OPT_T_SHOW && !p->show) {
        p->show = o;
    }
    return 0;
}

static const struct ral_opt help_opt = {'h', "help", RAL_OPT_T_END, NULL, NULL,
                                        NULL};

/* One walk over the arguments; operands move to the front on the second. */
static int walk(struct pass *p, int argc, char **argv, int *left,
                struct ral_err *err)
{
    int keep = 0, rc;

    for (int i = 0; i < argc; i++) {
        char *a = argv[i];

        if (!strcmp(a, "--")) {
            for (i++; i < argc; i++, keep++)
                if (!p->first)
                    argv[keep] = argv[i];
            break;
        }
        if (a[0] != '-' || !a[1]) {
            if (!p->first)
                argv[keep] = a;
            keep++;
        } else if (a[1] == '-') {
            const char *eq = strchr(a, '='), *value = eq ? eq + 1 : NULL;
            const size_t n = eq ? (size_t)(eq - a) - 2 : strlen(a) - 2;
            const struct ral_opt *o = find_long(p->opts, a + 2, n);

            if (!o && n == 4 && !strncmp(a + 2, "help", 4)) {
                if (!p->show)
                    p->show = &help_opt;
                continue;
            }
            if (!o)
                return unknown(p->opts, a + 2, n, err);
            if (!takes_value(o) && value)
                return ral_err_set(err, -RAL_EUSAGE, "--%s takes no value",
                                   o->name);
            if (takes_value(o) && !value) {
                if (++i == argc)
                    return ral_err_set(err, -RAL_EUSAGE, "--%s needs %s",
                                       o->name, o->arg);
                value = argv[i];
            }
            if ((rc = apply(p, o, value, err)) < 0)
                return rc;
        } else {
            for (char *c = a + 1; *c; c++) {
                const struct ral_opt *o = find_letter(p->opts, *c);
                const char *value = NULL;

                if (!o && *c == 'h') {
                    if (!p->show)
                        p->show = &help_opt;
                    continue;
                }
                if (!o)
                    return ral_err_set(err, -RAL_EUSAGE,
                                       "unknown option -%c (see --help)", *c);
                if (takes_value(o)) {
                    value = c[1] ? c + 1 : ++i < argc ? argv[i] : NULL;
                    if (!value)
                        return ral_err_set(err, -RAL_EUSAGE, "-%c needs %s",
                                           *c, o->arg);
                }
                if ((rc = apply(p, o, value, err)) < 0)
                    return rc;
                if (value)
                    break;
            }
        }
    }
    *left = keep;
    return 0;
}

int ral_opt_parse(const struct ral_opt *opts, int *argc, char ***argv,
                  const char *usage, const char *summary, struct ral_err *err)
{
    static const struct ral_list none;
    struct pass p = {.opts = opts, .first = true};
    const char *prog = *argc > 0 ? (*argv)[0] : "ral";
    const char *slash = strrchr(prog, '/');
    char **args = *argv + (*argc > 0);
    const int n = *argc - (*argc > 0);
    int left, rc;

    if ((rc = walk(&p, n, args, &left, err)) < 0)
        return rc;
    if (p.show == &help_opt) {
        print_help(opts, slash ? slash + 1 : prog, usage, summary);
        return 1;
    }
    if (p.show) {
        *(bool *)p.show->dst = true;
        return 1;
    }
    for (const struct ral_opt *o = opts; !p.conf && o->type != RAL_OPT_T_END;
         o++)
        if (o->type == RAL_OPT_T_CONF)
            p.conf = o->dst;
    if (p.conf && (p.conf->path || p.sets)) {
        rc = p.conf->load(p.conf->ctx, p.conf->path, p.sets ? p.sets : &none,
                          err);
        if (rc < 0)
            return rc;
    }
    p.first = false;
    if ((rc = walk(&p, n, args, &left, err)) < 0)
        return rc;
    *argc = left;
    *argv = args;
    return 0;
}

int ral_opt_exit(const char *prog, int rc, const struct ral_err *err)
{
    if (fflush(stdout) != 0 && rc >= 0) {
        fprintf(stderr, "%s: stdout: cannot write: %s\n", prog,
                strerror(errno));
        return 1;
    }
    if (rc >= 0)
        return 0;
    if (err->msg[0])
        fprintf(stderr, "%s: %s\n", prog, err->msg);
    if (rc == -RAL_EINTR) {
        sigset_t set;

        signal(SIGHUP, SIG_DFL);
        signal(SIGINT, SIG_DFL);
        signal(SIGTERM, SIG_DFL);
        sigemptyset(&set);
        sigaddset(&set, SIGHUP);
        sigaddset(&set, SIGINT);
        sigaddset(&set, SIGTERM);
        sigprocmask(SIG_UNBLOCK, &set, NULL); // the pending signal ends us
    }
    return rc == -RAL_EUSAGE ? 2 : rc == -RAL_ECHECK ? 3 : 1;
}

/* lib/base/opt.c - settings: defaults, ranges, and the option parser. */
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

int ral_word(const char *words, const char *word)
{
    const size_t len = strlen(word);

    for (int i = 0;; i++) {
        const size_t n = strcspn(words, "|");

        if (n == len && !strncmp(words, word, n))
            return i;
        if (!words[n])
            return -1;
        words += n + 1;
    }
}

/* ---- what a row says ---- */

enum { NUMBER = 32 }; // bytes of one in print

/* Whole numbers in full, as long as a double holds them. */
static const char *number(const struct ral_setting *s, double v,
                          char text[NUMBER])
{
    const bool real = s->type == RAL_SET_T_NUM || s->type == RAL_SET_T_MAP;

    snprintf(text, NUMBER, real || fabs(v) > 1e15 ? "%.9g" : "%.0f", v);
    return text;
}

static bool endless(const struct ral_setting *s)
{
    return s->hi > 1e15;
}

bool ral_setting_allows(const struct ral_setting *s, double v,
                        char why[RAL_SETTING_TEXT])
{
    char x[NUMBER], lo[NUMBER], hi[NUMBER];

    if ((v >= s->lo && v <= s->hi) || (s->zero && v == 0))
        return true;
    number(s, v, x);
    number(s, s->lo, lo);
    if (endless(s))
        snprintf(why, RAL_SETTING_TEXT, "%s is too small; at least %s", x, lo);
    else
        snprintf(why, RAL_SETTING_TEXT, "%s is %s between %s and %s", x,
                 s->zero ? "neither 0 nor" : "not", lo, number(s, s->hi, hi));
    return false;
}

void ral_setting_values(const struct ral_setting *s,
                        char text[RAL_SETTING_TEXT])
{
    static const char *const kind[] = {
        [RAL_SET_T_INT] = "whole number",
        [RAL_SET_T_U64] = "whole number",
        [RAL_SET_T_NUM] = "number",
        [RAL_SET_T_BOOL] = "true|false",
        [RAL_SET_T_INTS] = "whole numbers",
        [RAL_SET_T_LIST] = "list of texts",
        [RAL_SET_T_MAP] = "names with numbers",
    };
    char lo[NUMBER], hi[NUMBER];

    if (s->type == RAL_SET_T_STR || s->type == RAL_SET_T_ENUM)
        snprintf(text, RAL_SETTING_TEXT, "%s", s->words ? s->words : "text");
    else if (s->lo == s->hi)
        snprintf(text, RAL_SETTING_TEXT, "%s", kind[s->type]);
    else if (endless(s))
        snprintf(text, RAL_SETTING_TEXT, "%s, %s or more", kind[s->type],
                 number(s, s->lo, lo));
    else
        snprintf(text, RAL_SETTING_TEXT, "%s, %s%s to %s", kind[s->type],
                 s->zero ? "0 or " : "", number(s, s->lo, lo),
                 number(s, s->hi, hi));
}

/* The k-th of "a|b|c". */
static const char *word_at(const char *words, int k, size_t *n)
{
    for (; k > 0; k--)
        words += strcspn(words, "|") + 1;
    *n = strcspn(words, "|");
    return words;
}

void ral_setting_shown(const struct ral_setting *s, char text[RAL_SETTING_TEXT])
{
    const char *said = s->shown ? s->shown : s->text ? s->text : "";
    char num[NUMBER];
    size_t n = RAL_SETTING_TEXT - 1;

    if (!s->shown && s->type == RAL_SET_T_ENUM)
        said = word_at(s->words, (int)s->num, &n);
    else if (!s->shown && s->type == RAL_SET_T_BOOL)
        said = !s->key ? "" : s->num ? "true" : "false";
    else if (!s->shown && s->type >= RAL_SET_T_INT && s->type <= RAL_SET_T_NUM)
        said = number(s, s->num, num);
    snprintf(text, RAL_SETTING_TEXT, "%.*s", (int)n, said);
}

/* "0,-1"; -RAL_EINVAL without message. */
static int parse_ints(const char *s, struct ral_ints *out)
{
    *out = (struct ral_ints){0};
    for (bool more = true; more; out->n++) {
        const size_t n = strcspn(s, ",");
        char one[NUMBER];

        if (n >= sizeof one || out->n == sizeof out->item / sizeof *out->item)
            return -RAL_EINVAL;
        snprintf(one, sizeof one, "%.*s", (int)n, s);
        if (ral_parse_i64(one, &out->item[out->n]) < 0)
            return -RAL_EINVAL;
        more = s[n];
        s += n + more;
    }
    return 0;
}

void ral_setting_defaults(const struct ral_setting *rows)
{
    for (const struct ral_setting *s = rows; s->type != RAL_SET_T_END; s++) {
        if (!s->dst)
            continue;
        switch (s->type) {
        case RAL_SET_T_STR:
            *(const char **)s->dst = s->text;
            break;
        case RAL_SET_T_ENUM:
            *(int *)s->dst = (int)s->num;
            break;
        case RAL_SET_T_INT:
            *(int64_t *)s->dst = (int64_t)s->num;
            break;
        case RAL_SET_T_U64:
            *(uint64_t *)s->dst = (uint64_t)s->num;
            break;
        case RAL_SET_T_NUM:
            *(double *)s->dst = s->num;
            break;
        case RAL_SET_T_BOOL:
            *(bool *)s->dst = s->num != 0;
            break;
        case RAL_SET_T_INTS:
            parse_ints(s->text, s->dst);
            break;
        default:
            break;
        }
    }
}

/* ---- options ---- */

static const struct ral_setting help_opt = {
    .type = RAL_SET_T_SHOW,
    .help = "show this text and exit",
    RAL_AS('h', "help", NULL),
};

static bool is_option(const struct ral_setting *s)
{
    return s->name && s->dst;
}

static void print_option(const struct ral_setting *s)
{
    char left[80], shown[RAL_SETTING_TEXT];

    snprintf(left, sizeof left,
             s->letter ? "  -%c, --%s%s%s" : "  %.0d    --%s%s%s", s->letter,
             s->name, s->arg ? " " : "", s->arg ? s->arg : "");
    ral_setting_shown(s, shown);
    printf("%-29s %s%s%s%s\n", left, s->help, *shown ? " [" : "", shown,
           *shown ? "]" : "");
}

static void print_help(const struct ral_setting *rows, const char *prog,
                       const char *usage, const char *summary)
{
    printf("usage: %s %s\n\n%s\n\n", prog, usage, summary);
    for (const struct ral_setting *s = rows; s->type != RAL_SET_T_END; s++) {
        if (s->type == RAL_SET_T_HEAD)
            printf("\n%s:\n", s->help);
        else if (is_option(s))
            print_option(s);
    }
    print_option(&help_opt);
}

static const struct ral_setting *find_long(const struct ral_setting *rows,
                                           const char *name, size_t n)
{
    for (; rows->type != RAL_SET_T_END; rows++)
        if (is_option(rows) && strlen(rows->name) == n &&
            !strncmp(rows->name, name, n))
            return rows;
    return n == 4 && !strncmp(name, help_opt.name, n) ? &help_opt : NULL;
}

static const struct ral_setting *find_letter(const struct ral_setting *rows,
                                             char c)
{
    for (; rows->type != RAL_SET_T_END; rows++)
        if (is_option(rows) && rows->letter == c)
            return rows;
    return c == help_opt.letter ? &help_opt : NULL;
}

static int unknown(const struct ral_setting *rows, const char *name, size_t n,
                   struct ral_err *err)
{
    const char *names[128], *near;
    char word[80];
    size_t k = 0;

    snprintf(word, sizeof word, "%.*s", (int)(n < 79 ? n : 79), name);
    for (; rows->type != RAL_SET_T_END && k < 128; rows++)
        if (is_option(rows))
            names[k++] = rows->name;
    near = ral_nearest(word, names, k);
    return ral_err_set(err, -RAL_EUSAGE, "unknown option --%s%s%s (see --help)",
                       word, near ? "; did you mean --" : "", near ? near : "");
}

/* "--init must be fan_in or normal, not 'zero'". */
static int not_a_word(const struct ral_setting *s, const char *value,
                      struct ral_err *err)
{
    char list[RAL_SETTING_TEXT] = "";
    size_t at = 0, n;

    for (const char *w = s->words; at < sizeof list; w += n + 1) {
        n = strcspn(w, "|");
        at += (size_t)snprintf(list + at, sizeof list - at, "%s%.*s",
                               w == s->words ? ""
                               : w[n]        ? ", "
                                             : " or ",
                               (int)n, w);
        if (!w[n])
            break;
    }
    return ral_err_set(err, -RAL_EUSAGE, "--%s must be %s, not '%s'", s->name,
                       list, value);
}

static int store_text(const struct ral_setting *s, const char *value,
                      struct ral_err *err)
{
    const int k = s->words ? ral_word(s->words, value) : 0;

    if (!*value)
        return ral_err_set(err, -RAL_EUSAGE, "--%s: %s must not be empty",
                           s->name, s->arg);
    if (k < 0)
        return not_a_word(s, value, err);
    if (s->type == RAL_SET_T_ENUM)
        *(int *)s->dst = k;
    else
        *(const char **)s->dst = value;
    return 0;
}

static int not_a(const struct ral_setting *s, const char *value,
                 const char *what, struct ral_err *err)
{
    return ral_err_set(err, -RAL_EUSAGE, "--%s: '%s' is not %s", s->name, value,
                       what);
}

static int in_range(const struct ral_setting *s, double v, struct ral_err *err)
{
    char why[RAL_SETTING_TEXT];

    if (ral_setting_allows(s, v, why))
        return 0;
    return ral_err_set(err, -RAL_EUSAGE, "--%s: %s", s->name, why);
}

static int store_ints(const struct ral_setting *s, const char *value,
                      struct ral_err *err)
{
    struct ral_ints v;
    int rc = 0;

    if (parse_ints(value, &v) < 0)
        return not_a(s, value, "whole numbers with commas between", err);
    for (size_t i = 0; i < v.n && rc == 0; i++)
        rc = in_range(s, (double)v.item[i], err);
    if (rc == 0)
        *(struct ral_ints *)s->dst = v;
    return rc;
}

/* Of an option that may be repeated. */
static int store_arg(const struct ral_setting *s, const char *value,
                     struct ral_err *err)
{
    struct ral_list *list = s->dst;

    if (list->n == sizeof list->item / sizeof *list->item)
        return ral_err_set(err, -RAL_EUSAGE, "--%s: given too often", s->name);
    list->item[list->n++] = value;
    return 0;
}

static int store(const struct ral_setting *s, const char *value,
                 struct ral_err *err)
{
    int64_t i;
    double x;
    int rc;

    switch (s->type) {
    case RAL_SET_T_STR:
    case RAL_SET_T_ENUM:
        return store_text(s, value, err);
    case RAL_SET_T_INT:
        if (ral_parse_i64(value, &i) < 0)
            return not_a(s, value, "a whole number", err);
        if ((rc = in_range(s, (double)i, err)) == 0)
            *(int64_t *)s->dst = i;
        return rc;
    case RAL_SET_T_U64:
        if (ral_parse_u64(value, s->dst) < 0)
            return not_a(s, value, "a non-negative whole number", err);
        return 0;
    case RAL_SET_T_NUM:
        if (ral_parse_f64(value, &x) < 0)
            return not_a(s, value, "a number", err);
        if ((rc = in_range(s, x, err)) == 0)
            *(double *)s->dst = x;
        return rc;
    case RAL_SET_T_BOOL:
        *(bool *)s->dst = true;
        return 0;
    case RAL_SET_T_INTS:
        return store_ints(s, value, err);
    case RAL_SET_T_ARGS:
        return store_arg(s, value, err);
    default:
        return 0;
    }
}

struct pass {
    const struct ral_setting *rows;
    bool first; // only -c, -s, -h and syntax; the second stores
    struct ral_opt_conf *conf;
    struct ral_list *sets;
    const struct ral_setting *show; // the first of --help and its like
};

static int apply(struct pass *p, const struct ral_setting *o, const char *value,
                 struct ral_err *err)
{
    if (!p->first)
        return store(o, value, err);
    if (o->type == RAL_SET_T_CONF) {
        p->conf = o->dst;
        if (p->conf->path)
            return ral_err_set(err, -RAL_EUSAGE, "--config: given twice");
        p->conf->path = value;
    } else if (o->type == RAL_SET_T_SETS) {
        p->sets = o->dst;
        return store_arg(o, value, err);
    } else if (o->type == RAL_SET_T_SHOW && !p->show) {
        p->show = o;
    }
    return 0;
}

/* "--name", "--name VALUE" or "--name=VALUE" at argv[*i]. */
static int long_option(struct pass *p, int argc, char **argv, int *i,
                       struct ral_err *err)
{
    const char *name = argv[*i] + 2, *eq = strchr(name, '=');
    const char *value = eq ? eq + 1 : NULL;
    const size_t n = eq ? (size_t)(eq - name) : strlen(name);
    const struct ral_setting *o = find_long(p->rows, name, n);

    if (!o)
        return unknown(p->rows, name, n, err);
    if (!o->arg && value)
        return ral_err_set(err, -RAL_EUSAGE, "--%s takes no value", o->name);
    if (o->arg && !value && !(value = ++*i < argc ? argv[*i] : NULL))
        return ral_err_set(err, -RAL_EUSAGE, "--%s needs %s", o->name, o->arg);
    return apply(p, o, value, err);
}

/* "-abc", "-n VALUE" or "-nVALUE" at argv[*i]. */
static int letters(struct pass *p, int argc, char **argv, int *i,
                   struct ral_err *err)
{
    int rc = 0;

    for (const char *c = argv[*i] + 1, *value = NULL; *c && !value && rc == 0;
         c++) {
        const struct ral_setting *o = find_letter(p->rows, *c);

        if (!o)
            return ral_err_set(err, -RAL_EUSAGE,
                               "unknown option -%c (see --help)", *c);
        if (o->arg && !(value = c[1] ? c + 1 : ++*i < argc ? argv[*i] : NULL))
            return ral_err_set(err, -RAL_EUSAGE, "-%c needs %s", *c, o->arg);
        rc = apply(p, o, value, err);
    }
    return rc;
}

/* One walk over the arguments; operands move to the front on the second. */
static int walk(struct pass *p, int argc, char **argv, int *left,
                struct ral_err *err)
{
    bool operands = false; // nothing but these from here on
    int keep = 0, rc = 0;

    for (int i = 0; i < argc && rc == 0; i++) {
        char *a = argv[i];

        if (operands || a[0] != '-' || !a[1]) {
            if (!p->first)
                argv[keep] = a;
            keep++;
        } else if (!strcmp(a, "--")) {
            operands = true;
        } else {
            rc = a[1] == '-' ? long_option(p, argc, argv, &i, err)
                             : letters(p, argc, argv, &i, err);
        }
    }
    *left = keep;
    return rc;
}

int ral_opt_parse(const struct ral_setting *rows, int *argc, char ***argv,
                  const char *usage, const char *summary, struct ral_err *err)
{
    static const struct ral_list none;
    struct pass p = {.rows = rows, .first = true};
    const char *prog = *argc > 0 ? (*argv)[0] : "ral";
    const char *slash = strrchr(prog, '/');
    char **args = *argv + (*argc > 0);
    const int n = *argc - (*argc > 0);
    int left, rc;

    ral_setting_defaults(rows);
    if ((rc = walk(&p, n, args, &left, err)) < 0)
        return rc;
    if (p.show == &help_opt) {
        print_help(rows, slash ? slash + 1 : prog, usage, summary);
        return 1;
    }
    if (p.show) {
        *(bool *)p.show->dst = true;
        return 1;
    }
    for (const struct ral_setting *s = rows;
         !p.conf && s->type != RAL_SET_T_END; s++)
        if (s->type == RAL_SET_T_CONF)
            p.conf = s->dst;
    if (p.conf && (p.conf->path || p.sets)) {
        rc = p.conf->load(p.conf->ctx, rows, p.conf->path,
                          p.sets ? p.sets : &none, err);
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

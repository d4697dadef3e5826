/* lib/conf/recipe.c - settings from a YAML recipe and KEY=VALUE overrides. */
#include "conf/recipe.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "conf/yaml.h"

static const char *const sections[] = {"model",   "data",   "sft",
                                       "rollout", "reward", "update",
                                       "distill", "eval",   "train"};

enum { SECTIONS = sizeof sections / sizeof *sections, KEYS_MAX = 256 };

/* What is read, and where it stands: in a file, or in an override. */
struct load {
    const struct ral_setting *rows;
    struct ral_arena *texts;
    const char *path;     // NULL: an override
    const char *override; // "update.beta=0.1"
    struct ral_err *err;
};

__attribute__((format(printf, 4, 5))) static int refuse_at(const struct load *l,
                                                           size_t line,
                                                           size_t column,
                                                           const char *fmt, ...)
{
    char what[600];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    if (l->path)
        return ral_err_set(l->err, -RAL_EUSAGE, "%s:%zu:%zu: %s", l->path, line,
                           column, what);
    return ral_err_set(l->err, -RAL_EUSAGE, "-s %s: %s", l->override, what);
}

/* A value that a setting does not take. */
static int refuse(const struct load *l, const struct ral_setting *s,
                  const struct ral_yaml_node *v, const char *what)
{
    return refuse_at(l, v->line, v->column, "%s: %s", s->key, what);
}

/* ---- names ---- */

static bool in_section(const struct ral_setting *s, const char *name, size_t n)
{
    return s->key && !strncmp(s->key, name, n) && s->key[n] == '.';
}

static bool is_section(const char *name, size_t n)
{
    for (size_t i = 0; i < SECTIONS; i++)
        if (!strncmp(sections[i], name, n) && !sections[i][n])
            return true;
    return false;
}

static bool reads_section(const struct load *l, const char *name, size_t n)
{
    for (const struct ral_setting *s = l->rows; s->type != RAL_SET_T_END; s++)
        if (in_section(s, name, n))
            return true;
    return false;
}

static const struct ral_setting *find(const struct load *l, const char *key)
{
    for (const struct ral_setting *s = l->rows; s->type != RAL_SET_T_END; s++)
        if (s->key && !strcmp(s->key, key))
            return s;
    return NULL;
}

/* kind: "section" or "key". */
static int unknown(const struct load *l, size_t line, size_t column,
                   const char *kind, const char *name, const char *const *names,
                   size_t n)
{
    const char *near = ral_nearest(name, names, n);

    return refuse_at(l, line, column, "unknown %s '%s'%s%s%s", kind, name,
                     near ? "; did you mean '" : "", near ? near : "",
                     near ? "'?" : "");
}

static int unknown_key(const struct load *l, size_t line, size_t column,
                       const char *key)
{
    const char *names[KEYS_MAX];
    size_t n = 0;

    for (const struct ral_setting *s = l->rows;
         s->type != RAL_SET_T_END && n < KEYS_MAX; s++)
        if (in_section(s, key, strcspn(key, ".")))
            names[n++] = s->key;
    return unknown(l, line, column, "key", key, names, n);
}

/* ---- values ---- */

/* "'much' is not a number", or of what is no scalar "this is not a number". */
static int not_a(const struct load *l, const struct ral_setting *s,
                 const struct ral_yaml_node *v, const char *what)
{
    const char *quote = v->text ? "'" : "";

    return refuse_at(l, v->line, v->column, "%s: %s%s%s is not a %s", s->key,
                     quote, v->text ? v->text : "this", quote, what);
}

static int in_range(const struct load *l, const struct ral_setting *s,
                    const struct ral_yaml_node *v, double x)
{
    char why[RAL_SETTING_TEXT];

    return ral_setting_allows(s, x, why) ? 0 : refuse(l, s, v, why);
}

static int read_number(const struct load *l, const struct ral_setting *s,
                       const struct ral_yaml_node *v, double *out)
{
    if (ral_yaml_f64(v, out) < 0)
        return not_a(l, s, v, "number");
    return in_range(l, s, v, *out);
}

static int read_whole(const struct load *l, const struct ral_setting *s,
                      const struct ral_yaml_node *v, int64_t *out)
{
    if (ral_yaml_i64(v, out) < 0)
        return not_a(l, s, v, "whole number");
    return in_range(l, s, v, (double)*out);
}

/* The items of a list; a scalar is a list of one. */
static int items(const struct load *l, const struct ral_setting *s,
                 const struct ral_yaml_node *v,
                 const struct ral_yaml_node **first, size_t *n)
{
    if (v->type == RAL_YAML_MAPPING)
        return refuse(l, s, v, "is not a list");
    *n = v->type == RAL_YAML_SCALAR ? 1 : v->n;
    *first = v->type == RAL_YAML_SCALAR ? v : v->first;
    return 0;
}

static int store_list(const struct load *l, const struct ral_setting *s,
                      const struct ral_yaml_node *v)
{
    struct ral_strings *out = s->dst;
    const char **item;
    size_t n = 0;
    int rc = items(l, s, v, &v, &n);

    if (rc < 0)
        return rc;
    if (!(item = RAL_NEW(l->texts, const char *, n + 1)))
        return ral_err_nomem(l->err, "recipe");
    for (size_t i = 0; i < n; v = v->next, i++) {
        if (v->type != RAL_YAML_SCALAR)
            return refuse(l, s, v, "an item of a list must be a text");
        item[i] = ral_arena_text(l->texts, v->text, strlen(v->text));
        if (!item[i])
            return ral_err_nomem(l->err, "recipe");
    }
    if (out)
        *out = (struct ral_strings){item, n};
    return 0;
}

static int store_ints(const struct load *l, const struct ral_setting *s,
                      const struct ral_yaml_node *v)
{
    const struct ral_yaml_node *list = v;
    struct ral_ints out;
    int rc = items(l, s, v, &v, &out.n);

    if (rc == 0 && (out.n == 0 || out.n > sizeof out.item / sizeof *out.item))
        return refuse_at(l, list->line, list->column,
                         "%s: a list of 1 to %zu numbers, not of %zu", s->key,
                         sizeof out.item / sizeof *out.item, out.n);
    for (size_t i = 0; rc == 0 && i < out.n; v = v->next, i++)
        rc = read_whole(l, s, v, &out.item[i]);
    if (rc == 0 && s->dst)
        *(struct ral_ints *)s->dst = out;
    return rc;
}

/* Sets name in the map, or adds it: w may hold a constant default. */
static int store_weight(const struct load *l, const struct ral_setting *s,
                        const char *name, const struct ral_yaml_node *v,
                        struct ral_weights *w)
{
    struct ral_weights new = {RAL_NEW(l->texts, const char *, w->n + 1),
                              RAL_NEW(l->texts, double, w->n + 1), w->n};
    size_t i = 0;
    double x;
    int rc = read_number(l, s, v, &x);

    if (rc < 0)
        return rc;
    if (!new.name || !new.value)
        return ral_err_nomem(l->err, "recipe");
    for (size_t k = 0; k < w->n; k++) {
        new.name[k] = w->name[k];
        new.value[k] = w->value[k];
    }
    while (i < w->n && strcmp(w->name[i], name))
        i++;
    if (i == w->n) {
        new.n++;
        new.name[i] = ral_arena_text(l->texts, name, strlen(name));
        if (!new.name[i])
            return ral_err_nomem(l->err, "recipe");
    }
    new.value[i] = x;
    *w = new;
    return 0;
}

static int store_map(const struct load *l, const struct ral_setting *s,
                     const struct ral_yaml_node *v)
{
    struct ral_weights w = {0};
    int rc = 0;

    if (v->type != RAL_YAML_MAPPING)
        return refuse(l, s, v, "is not a map of names to numbers");
    for (v = v->first; v && rc == 0; v = v->next)
        rc = store_weight(l, s, v->key, v, &w);
    if (rc == 0 && s->dst)
        *(struct ral_weights *)s->dst = w;
    return rc;
}

static int store_word(const struct load *l, const struct ral_setting *s,
                      const struct ral_yaml_node *v)
{
    const int k = s->words && v->text ? ral_word(s->words, v->text) : 0;
    const char *text;

    if (!v->text)
        return refuse(l, s, v, "is not a text");
    if (k < 0)
        return refuse_at(l, v->line, v->column, "%s: '%s' is none of %s",
                         s->key, v->text, s->words);
    if (!s->dst)
        return 0;
    if (s->type == RAL_SET_T_ENUM) {
        *(int *)s->dst = k;
        return 0;
    }
    if (!(text = ral_arena_text(l->texts, v->text, strlen(v->text))))
        return ral_err_nomem(l->err, "recipe");
    *(const char **)s->dst = text;
    return 0;
}

static int store(const struct load *l, const struct ral_setting *s,
                 const struct ral_yaml_node *v)
{
    int64_t i;
    double x;
    bool b;
    int rc;

    if (ral_yaml_is_null(v) && l->path)
        return 0;
    switch (s->type) {
    case RAL_SET_T_INT:
        if ((rc = read_whole(l, s, v, &i)) == 0 && s->dst)
            *(int64_t *)s->dst = i;
        return rc;
    case RAL_SET_T_NUM:
        if ((rc = read_number(l, s, v, &x)) == 0 && s->dst)
            *(double *)s->dst = x;
        return rc;
    case RAL_SET_T_BOOL:
        if (ral_yaml_bool(v, &b) < 0)
            return refuse(l, s, v, "must be true or false");
        if (s->dst)
            *(bool *)s->dst = b;
        return 0;
    case RAL_SET_T_INTS:
        return store_ints(l, s, v);
    case RAL_SET_T_LIST:
        return store_list(l, s, v);
    case RAL_SET_T_MAP:
        return store_map(l, s, v);
    default: // a text or a word
        return store_word(l, s, v);
    }
}

/* ---- the file ---- */

/* A section holds keys, or nothing. */
static int check_section(const struct load *l, const char *name,
                         const struct ral_yaml_node *v)
{
    if (v->type == RAL_YAML_MAPPING || ral_yaml_is_null(v))
        return 0;
    return refuse_at(l, v->line, v->column, "section '%s' has no keys", name);
}

/* Keys of a section, or of one inside it, "reward.overlong". */
static int read_section(const struct load *l, const char *name,
                        const struct ral_yaml_node *section)
{
    int rc = check_section(l, name, section);

    for (const struct ral_yaml_node *v = section->first; v && rc == 0;
         v = v->next) {
        const struct ral_setting *s;
        char key[256];

        snprintf(key, sizeof key, "%s.%s", name, v->key);
        if ((s = find(l, key)))
            rc = store(l, s, v);
        else if (reads_section(l, key, strlen(key)))
            rc = read_section(l, key, v);
        else
            rc = unknown_key(l, v->key_line, v->key_column, key);
    }
    return rc;
}

/* The skeleton, the same for every program: known sections with keys. */
static int check_sections(const struct load *l,
                          const struct ral_yaml_node *root)
{
    if (root->type != RAL_YAML_MAPPING)
        return refuse_at(l, root->line, root->column,
                         "not a recipe: no sections");
    for (const struct ral_yaml_node *v = root->first; v; v = v->next) {
        if (!is_section(v->key, strlen(v->key)))
            return unknown(l, v->key_line, v->key_column, "section", v->key,
                           sections, SECTIONS);
        if (check_section(l, v->key, v) < 0)
            return -RAL_EUSAGE;
    }
    return 0;
}

static int read_file(const struct load *l)
{
    struct ral_yaml *y;
    int rc = ral_yaml_read(&y, l->path, l->err);

    if (rc < 0)
        return rc;
    rc = check_sections(l, y->root);
    for (const struct ral_yaml_node *v = y->root->first; v && rc == 0;
         v = v->next)
        if (reads_section(l, v->key, strlen(v->key)))
            rc = read_section(l, v->key, v);
    ral_yaml_free(y);
    return rc;
}

/* ---- overrides ---- */

/* Splits KEY=VALUE; the key in a buffer, the value as a pointer. */
static int split(const struct load *l, char key[256], const char **value)
{
    const char *eq = strchr(l->override, '=');
    const size_t n = eq ? (size_t)(eq - l->override) : 0;
    char *dot;

    if (!n || n > 255)
        return refuse_at(l, 0, 0, "must be KEY=VALUE");
    memcpy(key, l->override, n);
    key[n] = 0;
    if (!(dot = strchr(key, '.')) || !dot[1])
        return refuse_at(l, 0, 0,
                         "the key must have a section, as 'update.beta' has");
    *value = eq + 1;
    if (is_section(key, (size_t)(dot - key)))
        return 0;
    *dot = 0;
    return unknown(l, 0, 0, "section", key, sections, SECTIONS);
}

/* A value of an override as a tree; a text is not looked into. */
static int parse_value(const char *override, const char *value, bool text,
                       struct ral_yaml **y, struct ral_err *err)
{
    struct ral_err why = {0};
    int rc;

    if (!*value || (text && *value != '\'' && *value != '"')) {
        if ((rc = ral_yaml_parse(y, "''", 2, "", err)) < 0)
            return rc;
        (*y)->root->text = value;
        (*y)->root->plain = true;
        return 0;
    }
    if ((rc = ral_yaml_parse(y, value, strlen(value), "value", &why)) < 0)
        return ral_err_set(err, rc == -RAL_EINVAL ? -RAL_EUSAGE : rc,
                           "-s %s: %s", override, why.msg);
    return 0;
}

/* "reward.weights.exact" is an entry of the map "reward.weights". */
static const struct ral_setting *find_map(const struct load *l, const char *key,
                                          const char **entry)
{
    for (const struct ral_setting *s = l->rows; s->type != RAL_SET_T_END; s++) {
        const size_t n = s->type == RAL_SET_T_MAP ? strlen(s->key) : 0;

        if (n && !strncmp(key, s->key, n) && key[n] == '.' && key[n + 1]) {
            *entry = key + n + 1;
            return s;
        }
    }
    return NULL;
}

static int apply_override(const struct load *l)
{
    const struct ral_setting *s;
    const char *value, *entry = NULL;
    struct ral_weights none = {0};
    struct ral_yaml *y;
    char key[256];
    bool text;
    int rc = split(l, key, &value);

    if (rc < 0 || !reads_section(l, key, strcspn(key, ".")))
        return rc;
    if (!(s = find(l, key)) && !(s = find_map(l, key, &entry)) &&
        !reads_section(l, key, strlen(key)))
        return unknown_key(l, 0, 0, key);
    text = s && (s->type == RAL_SET_T_STR || s->type == RAL_SET_T_ENUM ||
                 (s->type == RAL_SET_T_LIST && *value != '['));
    if ((rc = parse_value(l->override, value, text, &y, l->err)) < 0)
        return rc;
    if (!s)
        rc = read_section(l, key, y->root);
    else if (entry)
        rc = store_weight(l, s, entry, y->root, s->dst ? s->dst : &none);
    else
        rc = store(l, s, y->root);
    ral_yaml_free(y);
    return rc;
}

int ral_recipe_load(void *texts, const struct ral_setting *rows,
                    const char *path, const struct ral_list *overrides,
                    struct ral_err *err)
{
    struct load l = {.rows = rows, .texts = texts, .path = path, .err = err};
    int rc = path ? read_file(&l) : 0;

    l.path = NULL;
    for (size_t i = 0; overrides && i < overrides->n && rc == 0; i++) {
        l.override = overrides->item[i];
        rc = apply_override(&l);
    }
    return rc;
}

/* ---- for scripts ---- */

static int put_value(const struct ral_yaml_node *v, const char *key,
                     struct ral_buf *out, struct ral_err *err)
{
    const bool list = v->type == RAL_YAML_SEQUENCE;
    int rc = 0;

    if (v->type == RAL_YAML_MAPPING)
        return ral_err_set(err, -RAL_EINVAL,
                           "'%s' holds further keys and has no one value", key);
    for (v = list ? v->first : v; v && rc == 0; v = list ? v->next : NULL) {
        if (!v->text)
            return ral_err_set(err, -RAL_EINVAL,
                               "'%s' is not a list of single values", key);
        rc = ral_buf_printf(out, "%s\n", v->text);
    }
    return rc < 0 ? ral_err_nomem(err, "recipe") : 0;
}

/* The last override of this key wins; 1 when there was one. */
static int get_override(const struct ral_list *overrides, const char *key,
                        struct ral_buf *out, struct ral_err *err)
{
    const char *value, *last = NULL;
    struct ral_yaml *y;
    char name[256];
    int rc;

    for (size_t i = 0; overrides && i < overrides->n; i++) {
        const struct load l = {.override = overrides->item[i], .err = err};

        if ((rc = split(&l, name, &value)) < 0)
            return rc;
        if (!strcmp(name, key))
            last = value;
    }
    if (!last)
        return 0;
    if ((rc = parse_value(key, last, *last != '[', &y, err)) < 0)
        return rc;
    rc = put_value(y->root, key, out, err);
    ral_yaml_free(y);
    return rc < 0 ? rc : 1;
}

int ral_recipe_get(const char *path, const struct ral_list *overrides,
                   const char *key, struct ral_buf *out, struct ral_err *err)
{
    const struct load l = {.path = path, .err = err};
    const struct ral_yaml_node *v;
    struct ral_yaml *y;
    int rc = ral_yaml_read(&y, path, err);

    if (rc < 0)
        return rc;
    if ((rc = check_sections(&l, y->root)) == 0 &&
        (rc = get_override(overrides, key, out, err)) == 0) {
        v = ral_yaml_get(y->root, key);
        if (v && !ral_yaml_is_null(v))
            rc = put_value(v, key, out, err) < 0 ? ral_err_at(err, "%s", path)
                                                 : 1;
    }
    ral_yaml_free(y);
    return rc;
}

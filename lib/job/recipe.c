/* lib/job/recipe.c - settings from a YAML recipe and KEY=VALUE overrides. */
#include "job/recipe.h"

#include <assert.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "data/yaml.h"

static const char *const sections[] = {"model",   "data",   "sft",
                                       "rollout", "reward", "update",
                                       "distill", "eval",   "train"};

enum { SECTIONS = sizeof sections / sizeof *sections, KEYS_MAX = 256 };

/* Where a value stands: a place in a file, or an override. */
struct source {
    const char *path;     // NULL: an override
    const char *override; // "update.beta=0.1"
};

__attribute__((format(printf, 5, 6))) static int
refuse(struct ral_err *err, const struct source *src, size_t line,
       size_t column, const char *fmt, ...)
{
    char what[600];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    if (src->path)
        return ral_err_set(err, -RAL_EUSAGE, "%s:%zu:%zu: %s", src->path, line,
                           column, what);
    return ral_err_set(err, -RAL_EUSAGE, "-s %s: %s", src->override, what);
}

static int no_memory(struct ral_err *err)
{
    return ral_err_set(err, -RAL_ENOMEM, "recipe: out of memory");
}

/* ---- names ---- */

static bool in_section(const char *key, const char *section, size_t n)
{
    return !strncmp(key, section, n) && key[n] == '.';
}

static bool is_section(const char *name, size_t n)
{
    for (size_t i = 0; i < SECTIONS; i++)
        if (!strncmp(sections[i], name, n) && !sections[i][n])
            return true;
    return false;
}

static bool reads_section(const struct ral_recipe *r, const char *name,
                          size_t n)
{
    for (size_t i = 0; i < r->n; i++)
        if (in_section(r->setting[i].key, name, n))
            return true;
    return false;
}

static const struct ral_setting *find(const struct ral_recipe *r,
                                      const char *key)
{
    for (size_t i = 0; i < r->n; i++)
        if (!strcmp(r->setting[i].key, key))
            return &r->setting[i];
    return NULL;
}

static int unknown_section(struct ral_err *err, const struct source *src,
                           size_t line, size_t column, const char *name)
{
    const char *near = ral_nearest(name, sections, SECTIONS);

    return refuse(err, src, line, column, "unknown section '%s'%s%s%s", name,
                  near ? "; did you mean '" : "", near ? near : "",
                  near ? "'?" : "");
}

static int unknown_key(const struct ral_recipe *r, struct ral_err *err,
                       const struct source *src, size_t line, size_t column,
                       const char *key)
{
    const size_t n = strcspn(key, ".");
    const char *names[KEYS_MAX], *near;
    size_t k = 0;

    for (size_t i = 0; i < r->n && k < KEYS_MAX; i++)
        if (in_section(r->setting[i].key, key, n))
            names[k++] = r->setting[i].key;
    near = ral_nearest(key, names, k);
    return refuse(err, src, line, column, "unknown key '%s'%s%s%s", key,
                  near ? "; did you mean '" : "", near ? near : "",
                  near ? "'?" : "");
}

/* ---- values ---- */

/* The place of a word in "a|b|c", or -1. */
static int choice(const char *choices, const char *word)
{
    const size_t len = strlen(word);

    for (int i = 0;; i++) {
        const size_t n = strcspn(choices, "|");

        if (n == len && !strncmp(choices, word, n))
            return i;
        if (!choices[n])
            return -1;
        choices += n + 1;
    }
}

static int check_range(const struct ral_setting *s, double v,
                       const struct ral_yaml_node *at, const struct source *src,
                       struct ral_err *err)
{
    if (v >= s->lo && v <= s->hi)
        return 0;
    if (isinf(s->hi) || s->hi > 1e15)
        return refuse(err, src, at->line, at->column,
                      "%s: %.9g is too small; at least %.9g", s->key, v, s->lo);
    return refuse(err, src, at->line, at->column,
                  "%s: %.9g is not between %.9g and %.9g", s->key, v, s->lo,
                  s->hi);
}

static int store_number(const struct ral_setting *s,
                        const struct ral_yaml_node *v, double *out,
                        const struct source *src, struct ral_err *err)
{
    if (ral_yaml_f64(v, out) < 0)
        return refuse(err, src, v->line, v->column,
                      "%s: %s%s%s is not a number", s->key, v->text ? "'" : "",
                      v->text ? v->text : "this", v->text ? "'" : "");
    return check_range(s, *out, v, src, err);
}

static int store_list(struct ral_recipe *r, const struct ral_setting *s,
                      const struct ral_yaml_node *v, struct ral_strings *out,
                      const struct source *src, struct ral_err *err)
{
    const bool one = v->type == RAL_YAML_SCALAR;
    const size_t n = one ? 1 : v->n;
    const char **item = RAL_NEW(&r->arena, const char *, n + 1);
    size_t i = 0;

    if (!item)
        return no_memory(err);
    if (v->type == RAL_YAML_MAPPING)
        return refuse(err, src, v->line, v->column, "%s: is not a list",
                      s->key);
    for (v = one ? v : v->first; i < n; v = v->next, i++) {
        if (v->type != RAL_YAML_SCALAR)
            return refuse(err, src, v->line, v->column,
                          "%s: an item of a list must be a text", s->key);
        item[i] = ral_arena_text(&r->arena, v->text, strlen(v->text));
        if (!item[i])
            return no_memory(err);
    }
    *out = (struct ral_strings){item, n};
    return 0;
}

/* Sets name in the map, or adds it: dst may hold a constant default. */
static int store_weight(struct ral_recipe *r, const struct ral_setting *s,
                        const char *name, const struct ral_yaml_node *v,
                        struct ral_weights *w, const struct source *src,
                        struct ral_err *err)
{
    struct ral_weights new = {RAL_NEW(&r->arena, const char *, w->n + 1),
                              RAL_NEW(&r->arena, double, w->n + 1), w->n};
    size_t i = 0;
    double x;
    int rc = store_number(s, v, &x, src, err);

    if (rc < 0)
        return rc;
    if (!new.name || !new.value)
        return no_memory(err);
    for (size_t k = 0; k < w->n; k++) {
        new.name[k] = w->name[k];
        new.value[k] = w->value[k];
    }
    while (i < w->n && strcmp(w->name[i], name))
        i++;
    if (i == w->n) {
        new.n++;
        new.name[i] = ral_arena_text(&r->arena, name, strlen(name));
        if (!new.name[i])
            return no_memory(err);
    }
    new.value[i] = x;
    *w = new;
    return 0;
}

static int store_map(struct ral_recipe *r, const struct ral_setting *s,
                     const struct ral_yaml_node *v, struct ral_weights *out,
                     const struct source *src, struct ral_err *err)
{
    struct ral_weights w = {0};
    int rc = 0;

    if (v->type != RAL_YAML_MAPPING)
        return refuse(err, src, v->line, v->column,
                      "%s: is not a map of names to numbers", s->key);
    for (v = v->first; v && rc == 0; v = v->next)
        rc = store_weight(r, s, v->key, v, &w, src, err);
    if (rc == 0)
        *out = w;
    return rc;
}

static int store_word(struct ral_recipe *r, const struct ral_setting *s,
                      const struct ral_yaml_node *v, void *dst,
                      const struct source *src, struct ral_err *err)
{
    const int k = s->choices && v->text ? choice(s->choices, v->text) : 0;
    const char *text;

    if (!v->text)
        return refuse(err, src, v->line, v->column, "%s: is not a text",
                      s->key);
    if (k < 0)
        return refuse(err, src, v->line, v->column, "%s: '%s' is none of %s",
                      s->key, v->text, s->choices);
    if (s->type == RAL_SET_T_ENUM) {
        *(int *)dst = k;
        return 0;
    }
    if (!(text = ral_arena_text(&r->arena, v->text, strlen(v->text))))
        return no_memory(err);
    *(const char **)dst = text;
    return 0;
}

static int store(struct ral_recipe *r, const struct ral_setting *s,
                 const struct ral_yaml_node *v, const struct source *src,
                 struct ral_err *err)
{
    union {
        const char *text;
        int place;
        int64_t i;
        double x;
        bool b;
        struct ral_strings list;
        struct ral_weights map;
    } unused = {0};
    void *dst = s->dst ? s->dst : &unused;
    int64_t i;
    int rc;

    if (ral_yaml_is_null(v) && src->path)
        return 0;
    switch (s->type) {
    case RAL_SET_T_STR:
    case RAL_SET_T_ENUM:
        return store_word(r, s, v, dst, src, err);
    case RAL_SET_T_INT:
        if (ral_yaml_i64(v, &i) < 0)
            return refuse(err, src, v->line, v->column,
                          "%s: %s%s%s is not a whole number", s->key,
                          v->text ? "'" : "", v->text ? v->text : "this",
                          v->text ? "'" : "");
        rc = check_range(s, (double)i, v, src, err);
        if (rc == 0)
            *(int64_t *)dst = i;
        return rc;
    case RAL_SET_T_NUM:
        return store_number(s, v, dst, src, err);
    case RAL_SET_T_BOOL:
        if (ral_yaml_bool(v, dst) < 0)
            return refuse(err, src, v->line, v->column,
                          "%s: must be true or false", s->key);
        return 0;
    case RAL_SET_T_LIST:
        return store_list(r, s, v, dst, src, err);
    case RAL_SET_T_MAP:
        return store_map(r, s, v, dst, src, err);
    }
    assert(0);
    return 0;
}

/* ---- the file ---- */

static int read_section(struct ral_recipe *r,
                        const struct ral_yaml_node *section,
                        const struct source *src, struct ral_err *err)
{
    int rc = 0;

    for (const struct ral_yaml_node *v = section->first; v && rc == 0;
         v = v->next) {
        const struct ral_setting *s;
        char key[256];

        snprintf(key, sizeof key, "%s.%s", section->key, v->key);
        s = find(r, key);
        rc = s ? store(r, s, v, src, err)
               : unknown_key(r, err, src, v->key_line, v->key_column, key);
    }
    return rc;
}

/* The skeleton, the same for every program: known sections with keys. */
static int check_sections(const struct ral_yaml_node *root,
                          const struct source *src, struct ral_err *err)
{
    if (root->type != RAL_YAML_MAPPING)
        return refuse(err, src, root->line, root->column,
                      "not a recipe: no sections");
    for (const struct ral_yaml_node *v = root->first; v; v = v->next) {
        if (!is_section(v->key, strlen(v->key)))
            return unknown_section(err, src, v->key_line, v->key_column,
                                   v->key);
        if (v->type != RAL_YAML_MAPPING && !ral_yaml_is_null(v))
            return refuse(err, src, v->line, v->column,
                          "section '%s' has no keys", v->key);
    }
    return 0;
}

static int read_file(struct ral_recipe *r, const char *path,
                     struct ral_err *err)
{
    const struct source src = {.path = path};
    struct ral_yaml *y;
    int rc = ral_yaml_read(&y, path, err);

    if (rc < 0)
        return rc;
    rc = check_sections(y->root, &src, err);
    for (const struct ral_yaml_node *v = y->root->first; v && rc == 0;
         v = v->next)
        if (reads_section(r, v->key, strlen(v->key)))
            rc = read_section(r, v, &src, err);
    ral_yaml_free(y);
    return rc;
}

/* ---- overrides ---- */

/* Splits KEY=VALUE; the key in a buffer, the value as a pointer. */
static int split(const char *override, char key[256], const char **value,
                 struct ral_err *err)
{
    const struct source src = {.override = override};
    const char *eq = strchr(override, '=');
    const size_t n = eq ? (size_t)(eq - override) : 0;
    char *dot;

    if (!n || n > 255)
        return refuse(err, &src, 0, 0, "must be KEY=VALUE");
    memcpy(key, override, n);
    key[n] = 0;
    if (!(dot = strchr(key, '.')) || !dot[1])
        return refuse(err, &src, 0, 0,
                      "the key must have a section, as 'update.beta' has");
    *value = eq + 1;
    if (is_section(key, (size_t)(dot - key)))
        return 0;
    *dot = 0;
    return unknown_section(err, &src, 0, 0, key);
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
static const struct ral_setting *find_map(const struct ral_recipe *r,
                                          const char *key, const char **entry)
{
    for (size_t i = 0; i < r->n; i++) {
        const struct ral_setting *s = &r->setting[i];
        const size_t n = strlen(s->key);

        if (s->type == RAL_SET_T_MAP && in_section(key, s->key, n) &&
            key[n + 1]) {
            *entry = key + n + 1;
            return s;
        }
    }
    return NULL;
}

static int apply_override(struct ral_recipe *r, const char *override,
                          struct ral_err *err)
{
    const struct source src = {.override = override};
    const struct ral_setting *s;
    const char *value, *entry = NULL;
    struct ral_weights none = {0};
    struct ral_yaml *y;
    char key[256];
    bool text;
    int rc = split(override, key, &value, err);

    if (rc < 0 || !reads_section(r, key, strcspn(key, ".")))
        return rc;
    if (!(s = find(r, key)) && !(s = find_map(r, key, &entry)))
        return unknown_key(r, err, &src, 0, 0, key);
    text = s->type == RAL_SET_T_STR || s->type == RAL_SET_T_ENUM ||
           (s->type == RAL_SET_T_LIST && *value != '[');
    if ((rc = parse_value(override, value, text, &y, err)) < 0)
        return rc;
    rc = entry ? store_weight(r, s, entry, y->root, s->dst ? s->dst : &none,
                              &src, err)
               : store(r, s, y->root, &src, err);
    ral_yaml_free(y);
    return rc;
}

int ral_recipe_load(void *recipe, const char *path,
                    const struct ral_list *overrides, struct ral_err *err)
{
    struct ral_recipe *r = recipe;
    int rc = path ? read_file(r, path, err) : 0;

    for (size_t i = 0; overrides && i < overrides->n && rc == 0; i++)
        rc = apply_override(r, overrides->item[i], err);
    return rc;
}

void ral_recipe_release(struct ral_recipe *r)
{
    ral_arena_release(&r->arena);
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
    return rc < 0 ? no_memory(err) : 0;
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
        if ((rc = split(overrides->item[i], name, &value, err)) < 0)
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
    const struct source src = {.path = path};
    const struct ral_yaml_node *v;
    struct ral_yaml *y;
    int rc = ral_yaml_read(&y, path, err);

    if (rc < 0)
        return rc;
    if ((rc = check_sections(y->root, &src, err)) == 0 &&
        (rc = get_override(overrides, key, out, err)) == 0) {
        v = ral_yaml_get(y->root, key);
        if (v && !ral_yaml_is_null(v))
            rc = put_value(v, key, out, err) < 0 ? ral_err_at(err, "%s", path)
                                                 : 1;
    }
    ral_yaml_free(y);
    return rc;
}

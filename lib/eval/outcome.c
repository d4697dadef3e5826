/* lib/eval/outcome.c - what became of each question, and what it sums up to. */
#include "eval/outcome.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/jsonl.h"
#include "eval/stats.h"

enum { LINE_MAX_BYTES = 64 << 20, DIGITS = 9 };

static const char *keep(struct ral_outcomes *o, const char *s)
{
    return s ? ral_arena_text(&o->arena, s, strlen(s)) : NULL;
}

int ral_outcomes_add(struct ral_outcomes *o, const struct ral_outcome *x,
                     struct ral_err *err)
{
    struct ral_outcome *to;

    if (o->n == o->cap) {
        const size_t cap = o->cap ? 2 * o->cap : 256;

        if (!(to = realloc(o->item, cap * sizeof *to)))
            return ral_err_nomem(err, "results");
        o->item = to;
        o->cap = cap;
    }
    to = &o->item[o->n];
    *to = *x;
    to->id = keep(o, x->id);
    to->cluster = keep(o, x->cluster);
    to->category = keep(o, x->category);
    if (!to->id || !to->cluster != !x->cluster || !to->category != !x->category)
        return ral_err_nomem(err, "results");
    o->n++;
    return 0;
}

void ral_outcomes_release(struct ral_outcomes *o)
{
    ral_arena_release(&o->arena);
    free(o->item);
    memset(o, 0, sizeof *o);
}

/* ---- numbers ---- */

static json_t *number(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

static json_t *pair(const struct ral_interval *i, double scale)
{
    return json_pack("[o,o]", number(scale * i->lo), number(scale * i->hi));
}

/* Takes v; 0, or -1 where v or the room for it is missing. */
static int put(json_t *obj, const char *key, json_t *v)
{
    return json_object_set_new(obj, key, v);
}

static struct ral_result result(const struct ral_outcome *x, double value)
{
    return (struct ral_result){x->id, x->cluster, value};
}

static int by_category(const void *pa, const void *pb)
{
    const struct ral_outcome *a = *(const struct ral_outcome *const *)pa;
    const struct ral_outcome *b = *(const struct ral_outcome *const *)pb;
    const int order = strcmp(a->category ? a->category : "",
                             b->category ? b->category : "");

    return order ? order : (a > b) - (a < b);
}

static int put_category(json_t *to, const char *name,
                        const struct ral_result *r, size_t n,
                        struct ral_err *err)
{
    struct ral_interval i;
    json_t *v;
    int rc;

    if ((rc = ral_accuracy(r, n, &i, err)) < 0)
        return rc;
    v = json_pack("{s:I,s:o,s:o}", "n", (json_int_t)n, "accuracy",
                  number(i.mean), "ci95", pair(&i, 1));
    return v && put(to, name, v) == 0 ? 0 : ral_err_nomem(err, "results");
}

/* Runs of equal category in sorted order; answers without one: "(none)". */
static int put_categories(const struct ral_outcomes *o, json_t *to,
                          struct ral_result *r, struct ral_err *err)
{
    const struct ral_outcome **p = malloc((o->n + 1) * sizeof *p);
    int rc = p ? 0 : ral_err_nomem(err, "results");
    size_t n = p ? o->n : 0;

    for (size_t i = 0; i < n; i++)
        p[i] = &o->item[i];
    if (n)
        qsort(p, n, sizeof *p, by_category);
    if (n && !p[n - 1]->category)
        n = 0; // no answer has one
    for (size_t i = 0, end; rc == 0 && i < n; i = end) {
        const char *name = p[i]->category;

        for (end = i; end < n; end++) {
            const char *other = p[end]->category;

            if (strcmp(other ? other : "", name ? name : ""))
                break;
            r[end - i] = result(p[end], p[end]->correct);
        }
        rc = put_category(to, name && *name ? name : "(none)", r, end - i, err);
    }
    free(p);
    return rc;
}

static int put_evidence(const struct ral_outcomes *o, json_t *into,
                        struct ral_result *r, struct ral_err *err)
{
    size_t count[RAL_EVIDENCE_SEEN + 1] = {0}, n = 0;
    struct ral_interval mass, uniform;
    int rc, bad;

    for (size_t i = 0; i < o->n; i++) {
        count[o->item[i].evidence]++;
        if (o->item[i].evidence == RAL_EVIDENCE_SEEN)
            r[n++] = result(&o->item[i], o->item[i].mass);
    }
    if ((rc = ral_mean(r, n, 0, 1, &mass, err)) < 0)
        return rc;
    n = 0;
    for (size_t i = 0; i < o->n; i++)
        if (o->item[i].evidence == RAL_EVIDENCE_SEEN)
            r[n++] = result(&o->item[i], o->item[i].uniform);
    if ((rc = ral_mean(r, n, 0, 1, &uniform, err)) < 0)
        return rc;
    bad = put(into, "evidence_mass", number(mass.mean));
    bad |= put(into, "evidence_ci95", n ? pair(&mass, 1) : json_null());
    bad |= put(into, "evidence_uniform", number(uniform.mean));
    bad |= put(into, "evidence_n", json_integer((json_int_t)n));
    bad |= put(into, "evidence_skipped",
               json_integer((json_int_t)count[RAL_EVIDENCE_SKIPPED]));
    bad |= put(into, "evidence_unboxed",
               json_integer((json_int_t)count[RAL_EVIDENCE_UNBOXED]));
    return bad ? ral_err_nomem(err, "results") : 0;
}

static int put_accuracy(const struct ral_outcomes *o, json_t *into,
                        struct ral_result *r, struct ral_err *err)
{
    size_t correct = 0, unparsed = 0;
    struct ral_interval all;
    int rc, bad;

    for (size_t i = 0; i < o->n; i++) {
        r[i] = result(&o->item[i], o->item[i].correct);
        correct += o->item[i].correct;
        unparsed += !o->item[i].parsed;
    }
    if ((rc = ral_accuracy(r, o->n, &all, err)) < 0)
        return rc;
    bad = put(into, "n", json_integer((json_int_t)o->n));
    bad |= put(into, "correct", json_integer((json_int_t)correct));
    bad |= put(into, "accuracy", number(all.mean));
    bad |= put(into, "ci95", pair(&all, 1));
    bad |= put(into, "clusters", json_integer((json_int_t)all.clusters));
    bad |= put(into, "unparsed", json_integer((json_int_t)unparsed));
    return bad ? ral_err_nomem(err, "results") : 0;
}

int ral_outcomes_summary(const struct ral_outcomes *o, json_t *into,
                         struct ral_err *err)
{
    struct ral_result *r = malloc((o->n + 1) * sizeof *r);
    json_t *categories = json_object();
    int rc = r && categories ? 0 : ral_err_nomem(err, "results");

    if (rc == 0)
        rc = put_accuracy(o, into, r, err);
    if (rc == 0)
        rc = put_categories(o, categories, r, err);
    if (rc == 0 && json_object_set(into, "categories", categories) < 0)
        rc = ral_err_nomem(err, "results");
    if (rc == 0)
        rc = put_evidence(o, into, r, err);
    json_decref(categories);
    free(r);
    return rc;
}

int ral_outcomes_gain(const struct ral_outcomes *before,
                      const struct ral_outcomes *now, json_t **out,
                      struct ral_err *err)
{
    struct ral_result *a = malloc((before->n + 1) * sizeof *a);
    struct ral_result *b = malloc((now->n + 1) * sizeof *b);
    struct ral_interval i = {.n = 0};
    size_t unpaired = 0;
    int rc = a && b ? 0 : ral_err_nomem(err, "results");

    *out = NULL;
    for (size_t k = 0; rc == 0 && k < before->n; k++)
        a[k] = result(&before->item[k], before->item[k].correct);
    for (size_t k = 0; rc == 0 && k < now->n; k++)
        b[k] = result(&now->item[k], now->item[k].correct);
    if (rc == 0)
        rc = ral_paired(a, before->n, b, now->n, &i, &unpaired, err);
    if (rc == 0 && i.n == 0)
        rc = ral_err_set(err, -RAL_EINVAL,
                         "no id of these rows is among the baseline's");
    if (rc == 0 &&
        !(*out = json_pack("{s:o,s:o,s:I,s:I}", "points", number(100 * i.mean),
                           "ci95", pair(&i, 100), "n", (json_int_t)i.n,
                           "unpaired", (json_int_t)unpaired)))
        rc = ral_err_nomem(err, "results");
    free(a);
    free(b);
    return rc;
}

/* ---- lines ---- */

int ral_outcome_line(struct ral_buf *out, const struct ral_outcome *x,
                     const char *answer, size_t nanswer, const char *text,
                     size_t ntext, struct ral_err *err)
{
    const bool seen = x->evidence == RAL_EVIDENCE_SEEN;
    json_t *v = json_pack(
        "{s:s,s:i,s:o,s:s%,s:o,s:o}", "id", x->id, "correct", (int)x->correct,
        "answer", answer ? json_stringn(answer, nanswer) : json_null(), "text",
        text, ntext, "cluster", x->cluster ? json_string(x->cluster) : json_null(),
        "evidence", seen ? number(x->mass) : json_null());
    char *line = v ? json_dumps(v, JSON_COMPACT | JSON_REAL_PRECISION(DIGITS))
                   : NULL;
    int rc = line && ral_buf_put(out, line, strlen(line)) == 0 &&
                     ral_buf_put(out, "\n", 1) == 0
                 ? 0
                 : ral_err_nomem(err, "results");

    free(line);
    json_decref(v);
    return rc;
}

static int add_line(struct ral_outcomes *o, const json_t *v, const char *path,
                    size_t line, struct ral_err *err)
{
    const json_t *correct = json_object_get(v, "correct");
    const struct ral_outcome x = {
        .id = json_string_value(json_object_get(v, "id")),
        .cluster = json_string_value(json_object_get(v, "cluster")),
        .correct = json_number_value(correct) == 1,
    };

    if (json_object_get(v, "error"))
        return 0;
    if (!x.id || !json_is_number(correct))
        return ral_err_set(err, -RAL_EINVAL,
                           "%s:%zu: is no line of ral-eval --rows: it needs id "
                           "and correct",
                           path, line);
    return ral_outcomes_add(o, &x, err);
}

int ral_outcomes_read(struct ral_outcomes *o, const char *path,
                      struct ral_err *err)
{
    struct ral_lines *lines;
    const char *line;
    size_t len;
    int rc = ral_lines_open(&lines, path, LINE_MAX_BYTES, err), more = 0;

    while (rc == 0 && (more = ral_lines_next(lines, &line, &len, err)) > 0) {
        struct ral_buf where = {0};
        json_t *v = NULL;

        if (ral_buf_printf(&where, "%s:%zu", path,
                           ral_lines_number(lines)) < 0)
            rc = ral_err_nomem(err, "results");
        else if ((rc = ral_json_parse(&v, line, len, (char *)where.data,
                                      err)) == 0)
            rc = add_line(o, v, path, ral_lines_number(lines), err);
        json_decref(v);
        ral_buf_release(&where);
    }
    ral_lines_close(lines);
    return rc == 0 && more < 0 ? more : rc;
}

/* ---- for a person ---- */

static double percent(const json_t *v)
{
    return 100 * json_number_value(v);
}

static int table_row(struct ral_buf *out, const char *name, const json_t *v)
{
    const json_t *n = json_object_get(v, "n");
    const json_t *ci = json_object_get(v, "ci95");

    if (!json_integer_value(n))
        return ral_buf_printf(out, "%-20s %6d\n", name, 0);
    return ral_buf_printf(out, "%-20s %6lld  %5.1f %%  [%.1f, %.1f]\n", name,
                          (long long)json_integer_value(n),
                          percent(json_object_get(v, "accuracy")),
                          percent(json_array_get(ci, 0)),
                          percent(json_array_get(ci, 1)));
}

int ral_outcomes_table(struct ral_buf *out, const json_t *summary)
{
    json_t *categories = json_object_get(summary, "categories"), *v;
    const json_t *mass = json_object_get(summary, "evidence_mass");
    const json_int_t unparsed =
        json_integer_value(json_object_get(summary, "unparsed"));
    const char *name;
    int bad = ral_buf_printf(out, "%-20s %6s  %7s  95 %% interval\n",
                             "category", "n", "correct");

    json_object_foreach(categories, name, v)
        bad |= table_row(out, name, v);
    bad |= table_row(out, "all", summary);
    if (unparsed)
        bad |= ral_buf_printf(out, "%lld without an answer, counted as wrong\n",
                              (long long)unparsed);
    if (json_is_number(mass))
        bad |= ral_buf_printf(
            out, "evidence mass %.3f, uniform %.3f, over %lld answers\n",
            json_number_value(mass),
            json_number_value(json_object_get(summary, "evidence_uniform")),
            (long long)json_integer_value(
                json_object_get(summary, "evidence_n")));
    return bad ? -RAL_ENOMEM : 0;
}

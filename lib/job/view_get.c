/* lib/job/view_get.c - one value of a recipe, results or metrics. */
#include "job/view.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "conf/recipe.h"
#include "data/jsonl.h"
#include "data/where.h"
#include "job/whole.h"

enum { LINE_MAX = 1 << 24 };

/* A text bare, anything else as JSON: results hold 9 digits, so 15 are all. */
static int put_one(const json_t *v, struct ral_buf *out)
{
    char *json;
    int rc;

    if (json_is_string(v))
        return ral_buf_printf(out, "%s\n", json_string_value(v));
    json = json_dumps(v, JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
    rc = json ? ral_buf_printf(out, "%s\n", json) : -RAL_ENOMEM;
    free(json);
    return rc;
}

/* One value, or the items of a list, a line each. */
static int put_value(const json_t *v, const char *key, struct ral_buf *out,
                     struct ral_err *err)
{
    const size_t n = json_is_array(v) ? json_array_size(v) : 1;

    for (size_t i = 0; i < n; i++) {
        const json_t *item = json_is_array(v) ? json_array_get(v, i) : v;

        if (json_is_object(item) || json_is_array(item))
            return ral_err_set(err, -RAL_EINVAL,
                               "'%s' holds further values and is no one value",
                               key);
        if (put_one(item, out) < 0)
            return ral_err_nomem(err, "--get");
    }
    return 0;
}

/* Adds the object's value, or takes it in place of those before. 1: added. */
static int take(const struct ral_view_job *job, const json_t *object,
                struct ral_buf *out, struct ral_err *err)
{
    const json_t *v = ral_json_at(object, job->get);
    int rc;

    if (!v || json_is_null(v) ||
        !ral_where_holds(object, job->where.item, job->where.n))
        return 0;
    if (job->last)
        out->len = 0;
    rc = put_value(v, job->get, out, err);
    return rc < 0 ? rc : 1;
}

static int from_lines(const struct ral_view_job *job, const char *path,
                      struct ral_buf *out, struct ral_err *err)
{
    int64_t found = 0;
    struct ral_lines *l;
    const char *line;
    size_t len;
    int rc = ral_lines_open(&l, path, LINE_MAX, err);

    if (rc < 0)
        return rc;
    while ((rc = ral_lines_next(l, &line, &len, err)) > 0) {
        char place[300];
        json_t *j;

        snprintf(place, sizeof place, "%s:%zu", path, ral_lines_number(l));
        if ((rc = ral_json_parse(&j, line, len, place, err)) < 0)
            break;
        if ((rc = take(job, j, out, err)) < 0)
            ral_err_at(err, "%s", place);
        json_decref(j);
        if (rc < 0 || ((found += rc) && found == job->limit))
            break;
    }
    ral_lines_close(l);
    return rc < 0 ? rc : found > 0;
}

static int from_file(const struct ral_view_job *job, const char *path,
                     struct ral_buf *out, struct ral_err *err)
{
    json_t *j;
    int rc = ral_json_file(&j, path, err);

    if (rc < 0)
        return rc;
    if ((rc = take(job, j, out, err)) < 0)
        ral_err_at(err, "%s", path);
    json_decref(j);
    return rc;
}

static int from_recipe(const struct ral_view_job *job, const char *path,
                       struct ral_buf *out, struct ral_err *err)
{
    int rc = ral_recipe_check(path, &job->sets, err);

    if (rc == 0)
        rc = ral_recipe_get(path, &job->sets, job->get, out, err);
    if (rc == 0)
        rc = ral_recipe_default(job->get, out, err);
    return rc;
}

static bool ends_in(const char *path, const char *end)
{
    const size_t n = strlen(path), m = strlen(end);

    return n > m && !strcmp(path + n - m, end);
}

int ral_view_get(const struct ral_view_job *job, const char *path,
                 struct ral_buf *out, struct ral_err *err)
{
    const bool lines = ends_in(path, ".jsonl");
    const bool json = lines || ends_in(path, ".json");
    int rc = ral_where_check(job->where.item, job->where.n, err);

    if (rc < 0)
        return rc;
    if (json && job->sets.n)
        return ral_err_set(err, -RAL_EUSAGE, "-s is for recipes");
    if (!json && (job->where.n || job->last))
        return ral_err_set(err, -RAL_EUSAGE,
                           "--where and --last are for .json and .jsonl files");
    rc = lines  ? from_lines(job, path, out, err)
         : json ? from_file(job, path, out, err)
                : from_recipe(job, path, out, err);
    if (rc == 0 && job->or_else)
        rc = ral_buf_printf(out, "%s\n", job->or_else) < 0
                 ? ral_err_nomem(err, "--get")
                 : 1;
    if (rc == 0)
        return ral_err_set(err, -RAL_EINVAL, "%s: %s '%s'", path,
                           job->where.n ? "nothing of that kind sets"
                                        : "does not set",
                           job->get);
    return rc < 0 ? rc : 0;
}

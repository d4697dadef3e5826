/* lib/job/view.c - look into record streams. */
#include "job/view.h"

#include <string.h>

#include "base/file.h"
#include "job/whole.h"
#include "stream/json.h"
#include "stream/reader.h"

/* One line of JSON for an item. */
static int put_item(const struct ral_view_job *job, struct ral_out *o,
                    struct ral_buf *line, const struct ral_item *it,
                    struct ral_err *err)
{
    line->len = 0;
    ral_item_print(line, it, job->full ? RAL_JSON_FULL : 0);
    if (ral_buf_put(line, "\n", 1) < 0)
        return ral_err_nomem(err, "record");
    return ral_write_all(o->fd, line->data, line->len,
                         o->path ? o->path : "stdout", err);
}

static bool wanted(const struct ral_view_job *job, const struct ral_item *rec)
{
    return !job->record || ral_item_is(ral_item_get(rec, "id"), job->record);
}

static int no_record(const struct ral_view_job *job, const char *name,
                     struct ral_err *err)
{
    if (job->record)
        return ral_err_set(err, -RAL_EINVAL, "%s: no record with the id %s",
                           name, job->record);
    return ral_err_set(err, -RAL_EINVAL, "%s: no records", name);
}

/* All records, or those asked for, as lines. */
static int print(const struct ral_view_job *job, struct ral_reader *r,
                 struct ral_out *o, struct ral_err *err)
{
    struct ral_arena a = {0};
    struct ral_buf line = {0};
    struct ral_item *rec;
    int64_t shown = 0;
    int rc;

    while ((rc = ral_reader_next(r, &a, &rec, err)) == 1) {
        if (wanted(job, rec)) {
            if ((rc = put_item(job, o, &line, rec, err)) < 0)
                break;
            if (++shown == job->limit)
                break;
        }
        ral_arena_reset(&a);
    }
    if (rc == 0 && job->record && !shown)
        rc = no_record(job, ral_reader_name(r), err);
    ral_buf_release(&line);
    ral_arena_release(&a);
    return rc;
}

/* Reads to the end mark; --check looks into every record as well. */
static int scan(const struct ral_view_job *job, struct ral_reader *r,
                struct ral_err *err)
{
    struct ral_arena a = {0};
    struct ral_group g;
    struct ral_item *rec;
    int rc;

    while ((rc = ral_reader_next(r, &a, &rec, err)) == 1) {
        if (job->check &&
            (rc = ral_group_decode(&g, ral_reader_info(r), rec, &a, err)) < 0) {
            ral_err_at(err, "%s", ral_reader_name(r));
            break;
        }
        ral_arena_reset(&a);
    }
    ral_arena_release(&a);
    return rc;
}

static int print_count(const struct ral_view_job *job, struct ral_reader *r,
                       struct ral_out *o, struct ral_err *err)
{
    struct ral_buf line = {0};
    int rc = scan(job, r, err);

    if (rc == 0 && ral_buf_printf(&line, "%llu\n",
                                  (unsigned long long)ral_reader_count(r)) < 0)
        rc = ral_err_nomem(err, "count");
    if (rc == 0)
        rc = ral_write_all(o->fd, line.data, line.len,
                           o->path ? o->path : "stdout", err);
    ral_buf_release(&line);
    return rc;
}

static int header(const struct ral_view_job *job, struct ral_reader *r,
                  struct ral_out *o, struct ral_err *err)
{
    struct ral_buf line = {0};
    const int rc = put_item(job, o, &line, ral_reader_header(r), err);

    ral_buf_release(&line);
    return rc;
}

static int heatmap(const struct ral_view_job *job, struct ral_reader *r,
                   struct ral_out *o, struct ral_err *err)
{
    struct ral_arena a = {0};
    struct ral_buf png = {0};
    struct ral_group g;
    struct ral_item *rec;
    int rc;

    while ((rc = ral_reader_next(r, &a, &rec, err)) == 1 && !wanted(job, rec))
        ral_arena_reset(&a);
    if (rc == 0)
        rc = no_record(job, ral_reader_name(r), err);
    if (rc == 1)
        rc = ral_group_decode(&g, ral_reader_info(r), rec, &a, err);
    if (rc == 0)
        rc = ral_view_heat(job, ral_reader_info(r), &g, &png, err);
    if (rc == 0)
        rc = ral_write_all(o->fd, png.data, png.len, job->heatmap, err);
    ral_buf_release(&png);
    ral_arena_release(&a);
    return rc;
}

static int curve(const struct ral_view_job *job, char *const *files, size_t n,
                 struct ral_out *o, struct ral_err *err)
{
    struct ral_buf png = {0};
    int rc = ral_view_curve(files, n, &png, err);

    if (rc == 0)
        rc = ral_write_all(o->fd, png.data, png.len, job->curve, err);
    ral_buf_release(&png);
    return rc;
}

static int get(const struct ral_view_job *job, char *const *files, size_t n,
               struct ral_out *o, struct ral_err *err)
{
    struct ral_buf text = {0};
    int rc;

    if (n != 1)
        return ral_err_set(err, -RAL_EUSAGE, "--get KEY takes one file");
    rc = ral_view_get(job, files[0], &text, err);
    if (rc == 0)
        rc = ral_write_all(o->fd, text.data, text.len,
                           o->path ? o->path : "stdout", err);
    ral_buf_release(&text);
    return rc;
}

static int settings(struct ral_out *o, struct ral_err *err)
{
    struct ral_buf text = {0};
    int rc = ral_recipe_settings(&text, err);

    if (rc == 0)
        rc = ral_write_all(o->fd, text.data, text.len,
                           o->path ? o->path : "stdout", err);
    ral_buf_release(&text);
    return rc;
}

static int view(const struct ral_view_job *job, char *const *files, size_t n,
                struct ral_out *o, struct ral_err *err)
{
    struct ral_reader *r;
    int rc;

    if (job->get)
        return get(job, files, n, o, err);
    if (job->settings)
        return settings(o, err);
    if (job->curve)
        return curve(job, files, n, o, err);
    if ((rc = ral_reader_open_files(&r, files, n, job->max_record, err)) < 0)
        return rc;
    if (job->part)
        ral_reader_allow_part(r);
    if (job->header)
        rc = header(job, r, o, err);
    else if (job->heatmap)
        rc = heatmap(job, r, o, err);
    else if (job->count)
        rc = print_count(job, r, o, err);
    else if (job->check)
        rc = scan(job, r, err);
    else
        rc = print(job, r, o, err);
    ral_reader_close(r);
    return rc < 0 ? rc : 0;
}

int ral_view_run(const struct ral_view_job *job, char *const *files, size_t n,
                 struct ral_err *err)
{
    const int modes = job->header + job->count + job->check + job->settings +
                      (job->get != 0) + (job->heatmap != 0) +
                      (job->curve != 0);
    const char *png = job->heatmap ? job->heatmap : job->curve;
    struct ral_out o;
    int rc;

    if (modes > 1)
        return ral_err_set(err, -RAL_EUSAGE,
                           "--header, --count, --check, --get, --settings, "
                           "--heatmap and --curve: only one");
    if (!job->get && (job->where.n || job->last || job->or_else))
        return ral_err_set(err, -RAL_EUSAGE,
                           "--where, --last and --default need --get");
    if (!job->heatmap && (job->sample || job->token >= 0 || job->layer != -1 ||
                          job->head >= 0 || job->media_root))
        return ral_err_set(err, -RAL_EUSAGE,
                           "--sample, --token, --layer, --head and "
                           "--media-root need --heatmap");
    if (png && job->out)
        return ral_err_set(err, -RAL_EUSAGE,
                           "--heatmap and --curve name the output themselves; "
                           "without -o");
    if ((rc = ral_out_open(&o, png ? png : job->out, err)) < 0)
        return rc;
    if ((rc = view(job, files, n, &o, err)) < 0) {
        ral_out_abort(&o);
        return rc;
    }
    return ral_out_finish(&o, err);
}

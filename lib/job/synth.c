/* lib/job/synth.c - ral-synth: pictures and rows into a folder. */
#include "job/synth.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "synth/questions.h"

/* Everything that is being written. */
struct sink {
    const struct ral_synth_job *job;
    const char *name;
    char *prefix, *rows_path, *images_path; // .../images
    char *folder;                           // .../images/NAME
    struct ral_outdir pictures;
    struct ral_out rows;
    size_t n_pictures;
    bool pictures_open, rows_open;
    bool made[2]; // folders that were not there: the output, its images
    struct ral_buf line, png;
};

static int make_folder(const char *path, bool *made, struct ral_err *err)
{
    *made = mkdir(path, 0777) == 0;
    if (!*made && errno != EEXIST)
        return ral_err_errno(err, "%s: cannot create the folder", path);
    return 0;
}

/* The name goes into paths and JSON, the prefix into JSON. */
static int check_names(const struct sink *k, struct ral_err *err)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyz"
                                "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    json_t *text;

    if (!*k->name || *k->name == '.' || *k->name == '-' ||
        k->name[strspn(k->name, plain)] || strlen(k->name) > 100)
        return ral_err_set(err, -RAL_EUSAGE,
                           "--name \"%s\": only letters, digits and ._- make "
                           "a name",
                           k->name);
    if (!(text = json_string(k->prefix)))
        return ral_err_set(err, -RAL_EUSAGE, "--prefix is not UTF-8 text");
    json_decref(text);
    return 0;
}

static int read_spec(const struct ral_synth_job *job, struct ral_synth_spec *s,
                     struct ral_err *err)
{
    *s = (struct ral_synth_spec){
        .rows = (size_t)job->rows,
        .cells = (size_t)job->cells,
        .objects = (size_t)job->objects,
        .clutter = (size_t)job->clutter,
        .colours = (size_t)job->colours,
        .shapes = (size_t)job->shapes,
        .questions = (size_t)job->questions,
        .naming = job->naming,
        .seed = job->seed,
    };
    return ral_split_find(&s->split, job->split, err);
}

/* Without --force nothing is replaced, rows and pictures alike. */
static int refuse_existing(const struct sink *k, struct ral_err *err)
{
    const char *path[2] = {k->rows_path, k->folder};

    for (int i = 0; i < 2 && !k->job->force; i++)
        if (access(path[i], F_OK) == 0)
            return ral_err_set(err, -RAL_EIO,
                               "%s: exists; name another -o or --name, or "
                               "give --force",
                               path[i]);
    return 0;
}

static int sink_open(struct sink *k, const struct ral_synth_job *job,
                     struct ral_err *err)
{
    int rc;

    *k = (struct sink){.job = job, .name = job->name ? job->name : job->split};
    if (asprintf(&k->prefix, "%s%s", job->prefix ? job->prefix : k->name,
                 job->prefix ? "" : "-") < 0)
        k->prefix = NULL;
    if (asprintf(&k->rows_path, "%s/%s.jsonl", job->out, k->name) < 0)
        k->rows_path = NULL;
    k->images_path = ral_path_join(job->out, "images");
    k->folder = k->images_path ? ral_path_join(k->images_path, k->name) : NULL;
    if (!k->prefix || !k->rows_path || !k->folder)
        return ral_err_nomem(err, "synth");
    if ((rc = check_names(k, err)) < 0 || (rc = refuse_existing(k, err)) < 0 ||
        (rc = make_folder(job->out, &k->made[0], err)) < 0 ||
        (rc = make_folder(k->images_path, &k->made[1], err)) < 0)
        return rc;
    if ((rc = ral_outdir_open(&k->pictures, k->folder, job->force, NULL,
                              err)) < 0)
        return rc;
    k->pictures_open = true;
    if ((rc = ral_out_open(&k->rows, k->rows_path, err)) < 0)
        return rc;
    k->rows_open = true;
    return 0;
}

static int sink_picture(struct sink *k, size_t number, struct ral_canvas *c,
                        struct ral_err *err)
{
    char *path;
    int fd, rc;

    k->png.len = 0;
    if ((rc = ral_canvas_png(c, &k->png, err)) < 0)
        return rc;
    if (asprintf(&path, "%s/%06zu.png", k->pictures.tmp, number) < 0)
        return ral_err_nomem(err, "synth");
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0) {
        rc = ral_err_errno(err, "%s: cannot create", path);
    } else {
        rc = ral_write_all(fd, k->png.data, k->png.len, path, err);
        if (close(fd) < 0 && rc == 0)
            rc = ral_err_errno(err, "%s: cannot write", path);
    }
    free(path);
    k->n_pictures++;
    return rc;
}

static json_t *row_json(const struct sink *k,
                        const struct ral_question_row *row)
{
    const struct ral_synth_question *q = row->question;
    json_t *text = json_pack("{ssss}", "type", "text", "text", q->text);
    json_t *image =
        json_pack("{ssso}", "type", "image", "image",
                  json_sprintf("images/%s/%06zu.png", k->name, row->picture));
    json_t *first = k->job->picture_first ? image : text;

    return json_pack("{so s[{ssso}] ssss s[[iiii]] so}", "id",
                     json_sprintf("%s%06zu", k->prefix, row->number),
                     "messages", "role", "user", "content",
                     json_pack("[oo]", first, first == text ? image : text),
                     "answer", q->answer, "category", q->category, "boxes",
                     (int)q->box[0], (int)q->box[1], (int)q->box[2],
                     (int)q->box[3], "cluster",
                     json_sprintf("%spicture-%06zu", k->prefix, row->picture));
}

static int sink_row(struct sink *k, const struct ral_question_row *row,
                    struct ral_err *err)
{
    json_t *obj = row_json(k, row);
    char *text = obj ? json_dumps(obj, JSON_COMPACT) : NULL;
    int rc = 0;

    if (!text || ral_buf_printf(&k->line, "%s\n", text) < 0)
        rc = ral_err_nomem(err, "synth");
    free(text);
    json_decref(obj);
    if (rc == 0 && k->line.len > 1 << 16) {
        rc = ral_write_all(k->rows.fd, k->line.data, k->line.len, k->rows_path,
                           err);
        k->line.len = 0;
    }
    return rc;
}

/*
 * Old rows go before their pictures do and new ones come after theirs, so
 * that at no instant rows name pictures of another run.
 */
static int sink_finish(struct sink *k, struct ral_err *err)
{
    int rc =
        ral_write_all(k->rows.fd, k->line.data, k->line.len, k->rows_path, err);
    int fd;

    if (rc < 0)
        return rc;
    if (unlink(k->rows_path) < 0 && errno != ENOENT)
        return ral_err_errno(err, "%s: cannot replace", k->rows_path);
    // One flush for all; the syncs of hundreds of small files that follow
    // then find nothing left to do.
    if (k->n_pictures > 100 &&
        (fd = open(k->pictures.tmp, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) >= 0) {
        syncfs(fd);
        close(fd);
    }
    k->pictures_open = false;
    if ((rc = ral_outdir_finish(&k->pictures, err)) < 0)
        return rc;
    k->rows_open = false;
    return ral_out_finish(&k->rows, err);
}

static void sink_release(struct sink *k)
{
    if (k->pictures_open)
        ral_outdir_abort(&k->pictures);
    if (k->rows_open)
        ral_out_abort(&k->rows);
    if (k->made[1])
        rmdir(k->images_path); // goes only when nothing came into it
    if (k->made[0])
        rmdir(k->job->out);
    ral_buf_release(&k->line);
    ral_buf_release(&k->png);
    free(k->prefix);
    free(k->rows_path);
    free(k->images_path);
    free(k->folder);
}

static int write_rows(struct sink *k, struct ral_questions *q, size_t total,
                      const struct ral_log *log, struct ral_err *err)
{
    struct ral_progress bar;
    struct ral_question_row row;
    int rc;

    ral_progress_begin(&bar, log, k->name, "rows", total);
    while ((rc = ral_questions_next(q, &row, err)) > 0) {
        if (ral_stopped())
            rc = ral_stop_err(err);
        else if (!row.canvas ||
                 (rc = sink_picture(k, row.picture, row.canvas, err)) >= 0)
            rc = sink_row(k, &row, err);
        if (rc < 0)
            break;
        ral_progress_add(&bar, 1);
    }
    ral_progress_end(&bar);
    return rc;
}

int ral_synth_run(const struct ral_synth_job *job, const struct ral_log *log,
                  struct ral_err *err)
{
    struct ral_synth_spec spec;
    const struct ral_family *family;
    struct ral_questions *q = NULL;
    struct sink k = {0};
    int rc;

    if (!job->out)
        return ral_err_set(err, -RAL_EUSAGE,
                           "no output; name a folder with -o DIR");
    if ((rc = ral_family_find(&family, job->family ? job->family : "search",
                              err)) < 0 ||
        (rc = read_spec(job, &spec, err)) < 0 ||
        (rc = ral_questions_open(&q, family, &spec, err)) < 0)
        return rc;
    if ((rc = sink_open(&k, job, err)) == 0 &&
        (rc = write_rows(&k, q, spec.rows, log, err)) == 0 &&
        (rc = sink_finish(&k, err)) == 0)
        ral_info(log, "%s/%s.jsonl: %zu rows", job->out, k.name, spec.rows);
    sink_release(&k);
    ral_questions_close(q);
    return rc;
}

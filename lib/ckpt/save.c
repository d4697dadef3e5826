/* lib/ckpt/save.c - a model in training, from a checkpoint and into one. */
#include "ckpt/save.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "data/jsonl.h"
#include "data/safetensors.h"

static int read_counts(struct ral_state *s, const json_t *j, const char *path,
                       bool *ours, struct ral_err *err)
{
    const char *kind = json_string_value(json_object_get(j, "kind"));
    const json_t *step = json_object_get(j, "step");
    const json_t *updates = json_object_get(j, "updates");
    const json_t *skipped = json_object_get(j, "skipped");
    const char *then = json_string_value(json_object_get(j, "backward"));
    const char *now = ral_dev_backward(s->model->dev);

    if (!kind || !json_is_integer(step) || !json_is_integer(updates) ||
        !json_is_integer(skipped) || json_integer_value(step) < 0 ||
        json_integer_value(updates) < 0 || json_integer_value(skipped) < 0)
        return ral_err_set(err, -RAL_EINVAL,
                           "%s: kind, step, updates and skipped must stand "
                           "here",
                           path);
    *ours = !strcmp(kind, s->kind);
    if (*ours && then && strcmp(then, now)) // older ones do not say
        return ral_err_set(err, -RAL_EINVAL,
                           "%s: trained with backward: %s, asked for is %s; "
                           "other products would give other weights: use "
                           "-s %s.backward=%s",
                           path, then, now, s->kind, then);
    if (*ours) {
        s->step = (uint64_t)json_integer_value(step);
        s->updates = (uint64_t)json_integer_value(updates);
        s->skipped = (uint64_t)json_integer_value(skipped);
    }
    return 0;
}

static int read_moments(struct ral_state *s, const char *path,
                        struct ral_err *err)
{
    const size_t n = s->model->table.floats;
    struct ral_safetensors *st;
    const char *const name[] = {"exp_avg", "exp_avg_sq"};
    const struct ral_mat into[] = {s->m, s->v};
    int rc = ral_safetensors_open_file(&st, path, err);

    for (int i = 0; rc == 0 && i < 2; i++) {
        const struct ral_st_tensor *t = ral_safetensors_find(st, name[i]);

        if (!t || t->dtype != RAL_F32 || t->nbytes != n * sizeof(float))
            rc = ral_err_set(err, -RAL_EINVAL,
                             "%s: %s must be %zu fp32 numbers", path, name[i],
                             n);
        else
            s->model->dev->ops->put(s->model->dev, into[i], t->data);
    }
    ral_safetensors_close(st);
    return rc;
}

static int read_state(struct ral_state *s, const char *dir,
                      struct ral_err *err)
{
    char *path = ral_path_join(dir, "ral/state.json");
    char *moments = ral_path_join(dir, "ral/optimizer.safetensors");
    bool ours = false;
    json_t *j = NULL;
    int rc = 0;

    if (!path || !moments)
        rc = ral_err_set(err, -RAL_ENOMEM, "%s: out of memory", dir);
    else if (access(path, F_OK) == 0) {
        if ((rc = ral_json_file(&j, path, err)) == 0)
            rc = read_counts(s, j, path, &ours, err);
        if (rc == 0 && ours)
            rc = read_moments(s, moments, err);
    }
    json_decref(j);
    free(path);
    free(moments);
    return rc;
}

int ral_state_open(struct ral_state *s, const char *dir, const char *kind,
                   struct ral_dev *dev, struct ral_err *err)
{
    size_t n;
    int rc;

    memset(s, 0, sizeof(*s));
    s->kind = kind;
    if ((rc = ral_model_open(&s->model, dir, dev, true, err)) < 0)
        return rc;
    n = s->model->table.floats;
    ral_space_init(&s->space, dev);
    s->grad = ral_mat_f32(&s->space, 1, n);
    s->m = ral_mat_zero(&s->space, 1, n);
    s->v = ral_mat_zero(&s->space, 1, n);
    if ((rc = ral_sync(dev, err)) < 0)
        ral_err_at(err, "%s: to train %zu weights", dir, n);
    else if ((rc = read_state(s, dir, err)) == 0)
        rc = ral_sync(dev, err);
    if (rc < 0)
        ral_state_close(s);
    return rc;
}

void ral_state_close(struct ral_state *s)
{
    ral_model_close(s->model);
    ral_space_release(&s->space);
    memset(s, 0, sizeof(*s));
}

int ral_checkpoint_weights(const struct ral_table *t, const float *params,
                           const char *into, struct ral_err *err)
{
    struct ral_st_tensor *out = calloc(t->n, sizeof(*out));
    char *path = ral_path_join(into, "model.safetensors");
    int rc;

    if (!out || !path) {
        rc = ral_err_set(err, -RAL_ENOMEM, "%s: out of memory", into);
    } else {
        for (size_t i = 0; i < t->n; i++) {
            const struct ral_tensor *x = &t->tensor[i];

            out[i] = (struct ral_st_tensor){
                .name = x->name,
                .dtype = RAL_F32,
                .rank = x->rank,
                .data = params + x->offset,
                .nbytes = x->N * x->K * sizeof(float),
            };
            memcpy(out[i].shape, x->shape, x->rank * sizeof(size_t));
        }
        rc = ral_safetensors_write(path, out, t->n, err);
    }
    free(out);
    free(path);
    return rc;
}

static int copy_file(int from, int into, const char *name)
{
    const int in = openat(from, name, O_RDONLY | O_CLOEXEC);
    const int out = openat(into, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
                           0666);
    char buf[65536];
    ssize_t n = -1;

    while (in >= 0 && out >= 0 && (n = read(in, buf, sizeof buf)) > 0)
        if (write(out, buf, (size_t)n) != n) {
            n = -1;
            break;
        }
    if (in >= 0)
        close(in);
    if (out >= 0 && close(out) < 0)
        n = -1;
    return n < 0 ? -1 : 0;
}

static bool is_weights(const char *name)
{
    const size_t n = strlen(name);

    return (n > 12 && !strcmp(name + n - 12, ".safetensors")) ||
           !strcmp(name, "model.safetensors.index.json");
}

int ral_checkpoint_copy_files(const char *from, const char *into,
                              struct ral_err *err)
{
    const int a = open(from, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const int b = open(into, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = a >= 0 ? fdopendir(dup(a)) : NULL;
    struct dirent *e;
    struct stat st;
    int rc = 0;

    if (!d || b < 0)
        rc = ral_err_errno(err, "%s: cannot open", d ? into : from);
    while (rc == 0 && (e = readdir(d))) {
        if (e->d_name[0] == '.' || is_weights(e->d_name) ||
            fstatat(a, e->d_name, &st, 0) < 0 || !S_ISREG(st.st_mode))
            continue;
        // AT_SYMLINK_FOLLOW: a link into a cache must not dangle here.
        if (linkat(a, e->d_name, b, e->d_name, AT_SYMLINK_FOLLOW) < 0 &&
            copy_file(a, b, e->d_name) < 0)
            rc = ral_err_errno(err, "%s/%s: cannot link or copy", from,
                               e->d_name);
    }
    if (d)
        closedir(d);
    if (a >= 0)
        close(a);
    if (b >= 0)
        close(b);
    return rc;
}

static int write_state(const struct ral_state *s, const float *m,
                       const float *v, const char *dir, struct ral_err *err)
{
    const size_t n = s->model->table.floats;
    const struct ral_st_tensor moments[] = {
        {"exp_avg", RAL_F32, 1, {n}, m, n * sizeof(float)},
        {"exp_avg_sq", RAL_F32, 1, {n}, v, n * sizeof(float)},
    };
    char *opt = ral_path_join(dir, "optimizer.safetensors");
    char *path = ral_path_join(dir, "state.json");
    json_t *j = json_pack("{s:s,s:I,s:I,s:I,s:s}", "kind", s->kind, "step",
                          (json_int_t)s->step, "updates",
                          (json_int_t)s->updates, "skipped",
                          (json_int_t)s->skipped, "backward",
                          ral_dev_backward(s->model->dev));
    int rc = 0;

    if (!opt || !path || !j)
        rc = ral_err_set(err, -RAL_ENOMEM, "%s: out of memory", dir);
    else if (mkdir(dir, 0777) < 0)
        rc = ral_err_errno(err, "%s: cannot create", dir);
    else if ((rc = ral_safetensors_write(opt, moments, 2, err)) == 0 &&
             json_dump_file(j, path, JSON_INDENT(2)) < 0)
        rc = ral_err_errno(err, "%s: cannot write", path);
    json_decref(j);
    free(path);
    free(opt);
    return rc;
}

int ral_state_save(struct ral_state *s, const char *from, const char *into,
                   struct ral_err *err)
{
    const struct ral_space_mark mark = ral_space_mark(&s->space);
    char *dir = ral_path_join(into, "ral");
    const void *w, *m, *v;
    int rc;

    if (!dir)
        return ral_err_set(err, -RAL_ENOMEM, "%s: out of memory", into);
    if ((rc = ral_mat_host(&s->space, s->model->params, &w, err)) == 0 &&
        (rc = ral_mat_host(&s->space, s->m, &m, err)) == 0 &&
        (rc = ral_mat_host(&s->space, s->v, &v, err)) == 0 &&
        (rc = ral_checkpoint_copy_files(from, into, err)) == 0 &&
        (rc = ral_checkpoint_weights(&s->model->table, w, into, err)) == 0)
        rc = write_state(s, m, v, dir, err);
    ral_space_rewind(&s->space, mark);
    free(dir);
    return rc;
}

int ral_checkpoint_resolve(char **out, const char *dir, struct ral_err *err)
{
    char *config = ral_path_join(dir, "config.json");
    char *latest = ral_path_join(dir, "latest");
    int rc = 0;

    *out = NULL;
    if (!config || !latest) {
        rc = ral_err_nomem(err, "%s", dir);
    } else if (access(config, F_OK) == 0) {
        if (!(*out = strdup(dir)))
            rc = ral_err_nomem(err, "%s", dir);
    } else if (access(latest, F_OK) == 0) {
        // The link may move meanwhile: hold on to what it names now.
        if (!(*out = realpath(latest, NULL)))
            rc = ral_err_errno(err, "%s: cannot follow", latest);
    } else {
        rc = ral_err_set(err, -RAL_EIO,
                         "%s: neither a checkpoint (no config.json) nor a run "
                         "folder (no latest)",
                         dir);
    }
    free(config);
    free(latest);
    return rc;
}

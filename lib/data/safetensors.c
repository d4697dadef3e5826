/* lib/data/safetensors.c - named tensors in mapped files. */
#include "data/safetensors.h"

#include <assert.h>
#include <endian.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "data/jsonl.h"

enum { HEADER_MAX = 100000000, SHARDS_MAX = 10000 };

static const char *const dtype_names[RAL_DTYPES] = {
    "F32", "F16", "BF16", "F64", "I64", "I32", "I16", "I8", "U8", "BOOL"};

const char *ral_st_dtype_name(enum ral_dtype t)
{
    return dtype_names[t];
}

static int by_name(const void *a, const void *b)
{
    const struct ral_st_tensor *x = a, *y = b;

    return strcmp(x->name, y->name);
}

const struct ral_st_tensor *
ral_safetensors_find(const struct ral_safetensors *st, const char *name)
{
    const struct ral_st_tensor key = {.name = name};

    return st->n ? bsearch(&key, st->tensor, st->n, sizeof key, by_name) : NULL;
}

/* ---- one tensor's entry in a header ---- */

static int parse_dtype(const char *name, enum ral_dtype *out)
{
    for (int t = 0; name && t < RAL_DTYPES; t++)
        if (!strcmp(name, dtype_names[t])) {
            *out = (enum ral_dtype)t;
            return 0;
        }
    return -RAL_EINVAL;
}

static bool parse_size(const json_t *v, size_t *out)
{
    if (!json_is_integer(v) || json_integer_value(v) < 0)
        return false;
    *out = (size_t)json_integer_value(v);
    return true;
}

static int parse_shape(struct ral_st_tensor *t, const json_t *shape,
                       const char *path, struct ral_err *err)
{
    size_t n = 1;

    if (!json_is_array(shape))
        return ral_err_set(err, -RAL_EINVAL, "%s: tensor '%s': no shape", path,
                           t->name);
    t->rank = json_array_size(shape);
    if (t->rank > RAL_ST_RANK_MAX)
        return ral_err_set(err, -RAL_EINVAL,
                           "%s: tensor '%s': over %d dimensions", path, t->name,
                           RAL_ST_RANK_MAX);
    for (size_t i = 0; i < t->rank; i++)
        if (!parse_size(json_array_get(shape, i), &t->shape[i]))
            return ral_err_set(err, -RAL_EINVAL,
                               "%s: tensor '%s': shape[%zu] is not a "
                               "non-negative whole number",
                               path, t->name, i);
        else if (__builtin_mul_overflow(n, t->shape[i], &n))
            return ral_err_set(err, -RAL_EINVAL,
                               "%s: tensor '%s': the shape overflows", path,
                               t->name);
    if (__builtin_mul_overflow(n, ral_dtype_size(t->dtype), &t->nbytes))
        return ral_err_set(err, -RAL_EINVAL,
                           "%s: tensor '%s': the shape overflows", path,
                           t->name);
    return 0;
}

/* data becomes the place in the file that the entry claims. */
static int parse_tensor(struct ral_st_tensor *t, const json_t *v,
                        const char *path, const uint8_t *data, size_t len,
                        struct ral_err *err)
{
    const json_t *dtype = json_object_get(v, "dtype");
    const json_t *off = json_object_get(v, "data_offsets");
    size_t b, e;
    int rc;

    if (!json_is_string(dtype))
        return ral_err_set(err, -RAL_EINVAL, "%s: tensor '%s': no dtype", path,
                           t->name);
    if (parse_dtype(json_string_value(dtype), &t->dtype) < 0)
        return ral_err_set(err, -RAL_EINVAL,
                           "%s: tensor '%s': dtype '%s' is not supported", path,
                           t->name, json_string_value(dtype));
    if ((rc = parse_shape(t, json_object_get(v, "shape"), path, err)) < 0)
        return rc;
    if (json_array_size(off) != 2 || !parse_size(json_array_get(off, 0), &b) ||
        !parse_size(json_array_get(off, 1), &e) || b > e)
        return ral_err_set(err, -RAL_EINVAL,
                           "%s: tensor '%s': data_offsets are not two rising "
                           "whole numbers",
                           path, t->name);
    if (e > len)
        return ral_err_set(err, -RAL_EINVAL,
                           "%s: tensor '%s': ends at byte %zu of %zu; the file "
                           "is cut short or its header lies",
                           path, t->name, e, len);
    if (e - b != t->nbytes)
        return ral_err_set(
            err, -RAL_EINVAL,
            "%s: tensor '%s': %zu bytes where its shape needs %zu", path,
            t->name, e - b, t->nbytes);
    t->data = data + b;
    return 0;
}

/* ---- one file ---- */

static int by_place(const void *a, const void *b)
{
    const struct ral_st_tensor *x = *(struct ral_st_tensor *const *)a;
    const struct ral_st_tensor *y = *(struct ral_st_tensor *const *)b;

    if (x->data != y->data)
        return (const uint8_t *)x->data < (const uint8_t *)y->data ? -1 : 1;
    return (x->nbytes > y->nbytes) - (x->nbytes < y->nbytes);
}

/* Without gap or overlap, so that no byte of the file has two meanings. */
static int check_tiling(const struct ral_st_tensor *t, size_t n,
                        const uint8_t *data, size_t len, const char *path,
                        struct ral_err *err)
{
    const struct ral_st_tensor **order = malloc((n + 1) * sizeof(*order));
    const uint8_t *at = data;
    int rc = 0;

    if (!order)
        return ral_err_nomem(err, "%s", path);
    for (size_t i = 0; i < n; i++)
        order[i] = t + i;
    qsort(order, n, sizeof(*order), by_place);
    for (size_t i = 0; i < n && rc == 0; i++) {
        const uint8_t *p = order[i]->data;

        if (p != at)
            rc = ral_err_set(err, -RAL_EINVAL,
                             "%s: tensor '%s': %s before its data", path,
                             order[i]->name, p > at ? "a gap" : "an overlap");
        at = p + order[i]->nbytes;
    }
    if (rc == 0 && at != data + len)
        rc = ral_err_set(err, -RAL_EINVAL,
                         "%s: %zu bytes behind the last tensor", path,
                         (size_t)(data + len - at));
    free(order);
    return rc;
}

static int check_metadata(const json_t *meta, const char *path,
                          struct ral_err *err)
{
    const char *key;
    json_t *v;

    if (!json_is_object(meta))
        return ral_err_set(err, -RAL_EINVAL,
                           "%s: __metadata__ is not an object", path);
    json_object_foreach(
        (json_t *)(uintptr_t)meta, key,
        v) if (!json_is_string(v)) return ral_err_set(err, -RAL_EINVAL,
                                                      "%s: __metadata__.%s is "
                                                      "not a string",
                                                      path, key);
    return 0;
}

/* Size, then JSON: the header's checks in the order of the format's text. */
static int read_header(json_t **out, const struct ral_st_file *f,
                       const uint8_t **data, size_t *len, struct ral_err *err)
{
    const struct ral_map *m = &f->map;
    char where[512];
    uint64_t n;

    *out = NULL;
    if (m->len < 8)
        return ral_err_set(err, -RAL_EINVAL,
                           "%s: %zu bytes are too few for a safetensors file",
                           f->path, m->len);
    memcpy(&n, m->data, 8);
    n = le64toh(n);
    if (n > HEADER_MAX || n > m->len - 8)
        return ral_err_set(err, -RAL_EINVAL,
                           "%s: claims a header of %llu bytes in a file of "
                           "%zu; not a safetensors file, or cut short",
                           f->path, (unsigned long long)n, m->len);
    if (!n || m->data[8] != '{')
        return ral_err_set(err, -RAL_EINVAL,
                           "%s: the header does not begin with '{'", f->path);
    *data = m->data + 8 + n;
    *len = m->len - 8 - (size_t)n;
    snprintf(where, sizeof where, "%s: header", f->path);
    return ral_json_parse(out, (const char *)m->data + 8, (size_t)n, where,
                          err);
}

/* The tensors of one mapped file, in arena memory; sorted by name. */
static int read_file(struct ral_arena *a, const struct ral_st_file *f,
                     struct ral_st_tensor **out, size_t *out_n,
                     struct ral_err *err)
{
    struct ral_st_tensor *t;
    const uint8_t *data;
    const char *name;
    size_t n = 0, len;
    json_t *h, *v;
    int rc;

    if ((rc = read_header(&h, f, &data, &len, err)) < 0)
        return rc;
    if (!(t = RAL_ZNEW(a, struct ral_st_tensor, json_object_size(h) + 1)))
        goto nomem;
    json_object_foreach(h, name, v)
    {
        if (!strcmp(name, "__metadata__")) {
            if ((rc = check_metadata(v, f->path, err)) < 0)
                goto done;
            continue;
        }
        if (!(t[n].name = ral_arena_text(a, name, strlen(name))))
            goto nomem;
        if ((rc = parse_tensor(&t[n], v, f->path, data, len, err)) < 0)
            goto done;
        n++;
    }
    if ((rc = check_tiling(t, n, data, len, f->path, err)) < 0)
        goto done;
    qsort(t, n, sizeof(*t), by_name);
    *out = t;
    *out_n = n;
    goto done;

nomem:
    rc = ral_err_nomem(err, "%s", f->path);
done:
    json_decref(h);
    return rc;
}

static int add_file(struct ral_safetensors *st, const char *path,
                    struct ral_err *err)
{
    struct ral_st_file *f = &st->file[st->nfiles];
    int rc;

    if (!(f->path = ral_arena_text(&st->arena, path, strlen(path))))
        return ral_err_nomem(err, "%s", path);
    if ((rc = ral_map_open(&f->map, path, err)) == 0)
        st->nfiles++;
    return rc;
}

static struct ral_safetensors *new_set(size_t files)
{
    struct ral_safetensors *st = calloc(1, sizeof(*st));

    if (st && !(st->file = RAL_ZNEW(&st->arena, struct ral_st_file, files))) {
        ral_safetensors_close(st);
        st = NULL;
    }
    return st;
}

void ral_safetensors_close(struct ral_safetensors *st)
{
    if (!st)
        return;
    for (size_t i = 0; i < st->nfiles; i++)
        ral_map_close(&st->file[i].map);
    ral_arena_release(&st->arena);
    free(st);
}

int ral_safetensors_open_file(struct ral_safetensors **out, const char *path,
                              struct ral_err *err)
{
    struct ral_safetensors *st = new_set(1);
    int rc;

    *out = NULL;
    if (!st)
        return ral_err_nomem(err, "%s", path);
    if ((rc = add_file(st, path, err)) < 0 ||
        (rc = read_file(&st->arena, &st->file[0], &st->tensor, &st->n, err)) <
            0) {
        ral_safetensors_close(st);
        return rc;
    }
    *out = st;
    return 0;
}

/* ---- shards ---- */

struct mapped { // one line of the index
    const char *name, *file;
};

static int by_file(const void *a, const void *b)
{
    const struct mapped *x = a, *y = b;
    const int c = strcmp(x->file, y->file);

    return c ? c : strcmp(x->name, y->name);
}

/* A name must not lead out of the folder. */
static bool plain_name(const char *s)
{
    return *s && !strchr(s, '/') && strcmp(s, ".") && strcmp(s, "..");
}

/* The index as lines sorted by file, which point into map's strings. */
static int read_index(struct ral_safetensors *st, json_t *map, size_t *files,
                      struct mapped **out, struct ral_err *err)
{
    const size_t n = json_object_size(map);
    struct mapped *m = RAL_NEW(&st->arena, struct mapped, n + 1);
    const char *name;
    size_t i = 0;
    json_t *v;

    if (!m)
        return ral_err_nomem(err, "%s", st->index);
    if (!n)
        return ral_err_set(err, -RAL_EINVAL, "%s: no weight_map with tensors",
                           st->index);
    json_object_foreach(map, name, v)
    {
        if (!json_is_string(v) || !plain_name(json_string_value(v)))
            return ral_err_set(err, -RAL_EINVAL,
                               "%s: tensor '%s': its file is not a plain name",
                               st->index, name);
        m[i++] = (struct mapped){name, json_string_value(v)};
    }
    qsort(m, n, sizeof(*m), by_file);
    *files = 1;
    for (i = 1; i < n; i++)
        *files += strcmp(m[i].file, m[i - 1].file) != 0;
    if (*files > SHARDS_MAX)
        return ral_err_set(err, -RAL_EINVAL, "%s: names over %d files",
                           st->index, SHARDS_MAX);
    *out = m;
    return 0;
}

/* Takes from shard f the tensors that the index's n lines give to it. */
static int take_mapped(struct ral_safetensors *st, const struct ral_st_file *f,
                       const struct mapped *m, size_t n, struct ral_err *err)
{
    struct ral_safetensors shard = {0};
    int rc = read_file(&st->arena, f, &shard.tensor, &shard.n, err);

    if (rc < 0)
        return rc;
    for (size_t i = 0; i < n; i++) {
        const struct ral_st_tensor *t = ral_safetensors_find(&shard, m[i].name);

        if (!t)
            return ral_err_set(err, -RAL_EINVAL,
                               "%s: tensor '%s' is missing; %s puts it there",
                               f->path, m[i].name, st->index);
        st->tensor[st->n++] = *t;
    }
    return 0;
}

static int open_shards(struct ral_safetensors *st, const char *dir,
                       const struct mapped *m, size_t n, struct ral_err *err)
{
    size_t from = 0, to;
    int rc = 0;

    if (!(st->tensor = RAL_NEW(&st->arena, struct ral_st_tensor, n)))
        return ral_err_nomem(err, "%s", st->index);
    for (; from < n && rc == 0; from = to) {
        char *path = ral_path_join(dir, m[from].file);

        for (to = from; to < n && !strcmp(m[to].file, m[from].file); to++)
            ;
        if (!path)
            return ral_err_nomem(err, "%s", dir);
        if ((rc = add_file(st, path, err)) == 0)
            rc = take_mapped(st, &st->file[st->nfiles - 1], m + from, to - from,
                             err);
        free(path);
    }
    if (rc == 0)
        qsort(st->tensor, st->n, sizeof(*st->tensor), by_name);
    return rc;
}

static int open_index(struct ral_safetensors **out, const char *dir,
                      const char *path, struct ral_err *err)
{
    struct ral_safetensors *st = new_set(0);
    json_t *index, *map;
    struct mapped *m = NULL;
    size_t files = 0;
    int rc = ral_json_file(&index, path, err);

    map = json_object_get(index, "weight_map");
    if (rc < 0) {
        // said
    } else if (!st ||
               !(st->index = ral_arena_text(&st->arena, path, strlen(path)))) {
        rc = ral_err_nomem(err, "%s", path);
    } else if ((rc = read_index(st, map, &files, &m, err)) == 0) {
        if (!(st->file = RAL_ZNEW(&st->arena, struct ral_st_file, files)))
            rc = ral_err_nomem(err, "%s", path);
        else
            rc = open_shards(st, dir, m, json_object_size(map), err);
    }
    json_decref(index);
    if (rc < 0)
        ral_safetensors_close(st);
    else
        *out = st;
    return rc;
}

int ral_safetensors_open(struct ral_safetensors **out, const char *dir,
                         struct ral_err *err)
{
    char *one = ral_path_join(dir, "model.safetensors");
    char *index = ral_path_join(dir, "model.safetensors.index.json");
    int rc;

    *out = NULL;
    if (!one || !index)
        rc = ral_err_nomem(err, "%s", dir);
    else if (access(one, F_OK) == 0)
        rc = ral_safetensors_open_file(out, one, err);
    else if (access(index, F_OK) == 0)
        rc = open_index(out, dir, index, err);
    else if (access(dir, F_OK) < 0)
        rc = ral_err_errno(err, "%s: no checkpoint", dir);
    else
        rc = ral_err_set(err, -RAL_EINVAL,
                         "%s: no weights: neither model.safetensors nor "
                         "model.safetensors.index.json is there",
                         dir);
    free(one);
    free(index);
    return rc;
}

/* ---- writing ---- */

static int by_size(const void *a, const void *b)
{
    const struct ral_st_tensor *x = *(struct ral_st_tensor *const *)a;
    const struct ral_st_tensor *y = *(struct ral_st_tensor *const *)b;
    const size_t p = ral_dtype_size(x->dtype), q = ral_dtype_size(y->dtype);

    return p != q ? (p < q ? 1 : -1) : strcmp(x->name, y->name);
}

/* Size and JSON of the header for tensors in file order; malloc'ed in b. */
static int make_header(const struct ral_st_tensor *const *t, size_t n,
                       struct ral_buf *b)
{
    json_t *h = json_pack("{s:{s:s}}", "__metadata__", "format", "pt");
    size_t at = 0, len;
    uint64_t size;
    char *text;
    bool failed = !h;

    for (size_t i = 0; i < n && !failed; i++) {
        json_t *shape = json_array();

        for (size_t k = 0; k < t[i]->rank; k++)
            failed |= json_array_append_new(
                          shape, json_integer((json_int_t)t[i]->shape[k])) < 0;
        failed |= json_object_set_new(
                      h, t[i]->name,
                      json_pack("{s:s,s:o,s:[I,I]}", "dtype",
                                dtype_names[t[i]->dtype], "shape", shape,
                                "data_offsets", (json_int_t)at,
                                (json_int_t)(at + t[i]->nbytes))) < 0;
        at += t[i]->nbytes;
    }
    text = !failed ? json_dumps(h, JSON_COMPACT) : NULL;
    json_decref(h);
    if (!text)
        return -RAL_ENOMEM;
    len = strlen(text);
    size = htole64((len + 7) / 8 * 8);
    ral_buf_put(b, &size, 8);
    ral_buf_put(b, text, len);
    ral_buf_put(b, "       ", (8 - len % 8) % 8);
    free(text);
    return b->failed;
}

/* Small tensors are gathered, large ones written from where they lie. */
static int write_data(int fd, const struct ral_st_tensor *const *t, size_t n,
                      struct ral_buf *b, const char *path, struct ral_err *err)
{
    const size_t piece = (size_t)1 << 20;
    int rc = 0;

    for (size_t i = 0; i < n && rc == 0; i++) {
        if (b->len && b->len + t[i]->nbytes > piece) {
            rc = ral_write_all(fd, b->data, b->len, path, err);
            b->len = 0;
        }
        if (rc < 0)
            break;
        if (t[i]->nbytes > piece)
            rc = ral_write_all(fd, t[i]->data, t[i]->nbytes, path, err);
        else if (ral_buf_put(b, t[i]->data, t[i]->nbytes) < 0)
            rc = ral_err_nomem(err, "%s", path);
    }
    if (rc == 0)
        rc = ral_write_all(fd, b->data, b->len, path, err);
    return rc;
}

static bool sane(const struct ral_st_tensor *t)
{
    size_t n = ral_dtype_size(t->dtype);

    for (size_t k = 0; k < t->rank; k++)
        n *= t->shape[k];
    return t->rank <= RAL_ST_RANK_MAX && n == t->nbytes;
}

int ral_safetensors_write(const char *path, const struct ral_st_tensor *t,
                          size_t n, struct ral_err *err)
{
    const struct ral_st_tensor **order = malloc((n + 1) * sizeof(*order));
    struct ral_buf b = {0};
    int fd = -1, rc = 0;

    if (!order)
        return ral_err_nomem(err, "%s", path);
    for (size_t i = 0; i < n; i++) {
        assert(sane(&t[i]));
        order[i] = t + i;
    }
    qsort(order, n, sizeof(*order), by_size);
    if (make_header(order, n, &b) < 0)
        rc = ral_err_nomem(err, "%s", path);
    else if ((fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666)) <
             0)
        rc = ral_err_errno(err, "%s: cannot create", path);
    else
        rc = write_data(fd, order, n, &b, path, err);
    if (fd >= 0 && close(fd) < 0 && rc == 0)
        rc = ral_err_errno(err, "%s: cannot close", path);
    ral_buf_release(&b);
    free(order);
    return rc;
}

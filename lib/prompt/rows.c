/* lib/prompt/rows.c - rows of a JSONL file: filtered, drawn, sharded. */
#include "prompt/rows.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/file.h"
#include "base/rng.h"
#include "data/jsonl.h"
#include "data/where.h"

enum { LINE_MAX_BYTES = 64 << 20 };

struct place {
    uint64_t offset;
    size_t line;
};

struct seen {
    uint64_t hash; // of the id
    size_t line;
};

struct ral_rows {
    struct ral_rows_conf conf;
    struct ral_lines *lines;
    char *name;          // for messages
    struct place *place; // [n] rows that pass
    size_t n, cap;
    struct seen *seen;   // [all] only while opening
    size_t all, seen_cap;
    size_t *order;       // [n] of the epoch that is drawn from
    uint64_t epoch;
    size_t next, count;  // within what is given out
    size_t first;        // of a shard
    json_t *json;
    char id[24];
};

/* A copy that can be read back and forth, gone when it is closed. */
static int spool(struct ral_rows *r, int from, struct ral_err *err)
{
    const int fd = ral_spool_open(err);
    char buf[65536];
    ptrdiff_t got;
    int rc = fd < 0 ? fd : 0;

    while (rc == 0 &&
           (got = ral_read_some(from, buf, sizeof buf, r->name, err)) != 0)
        rc = got < 0 ? (int)got
                     : ral_write_all(fd, buf, (size_t)got,
                                     "the temporary file", err);
    if (rc == 0 && lseek(fd, 0, SEEK_SET) < 0)
        rc = ral_err_errno(err, "the temporary file");
    if (rc == 0)
        return ral_lines_open_fd(&r->lines, fd, r->name, LINE_MAX_BYTES, err);
    if (fd >= 0)
        close(fd);
    return rc;
}

/* Drawing and sharding go back and forth, which pipes do not. */
static int open_lines(struct ral_rows *r, struct ral_err *err)
{
    const char *path = r->conf.path;
    struct stat st;
    int fd, rc;

    if (!path || !strcmp(path, "-"))
        return spool(r, STDIN_FILENO, err);
    if (stat(path, &st) < 0 || !S_ISFIFO(st.st_mode))
        return ral_lines_open(&r->lines, path, LINE_MAX_BYTES, err);
    if ((fd = ral_open_read(path, err)) < 0)
        return fd;
    rc = spool(r, fd, err);
    close(fd);
    return rc;
}

static int grow(void **p, size_t n, size_t *cap, size_t size,
                struct ral_err *err)
{
    const size_t more = *cap ? 2 * *cap : 256;
    void *q;

    if (n < *cap)
        return 0;
    if (!(q = realloc(*p, more * size)))
        return ral_err_nomem(err, "%zu rows", n);
    *p = q;
    *cap = more;
    return 0;
}

static const char *row_id(struct ral_rows *r, const json_t *row,
                          const char *line, size_t len)
{
    const char *id = json_string_value(json_object_get(row, "id"));

    if (id)
        return id;
    snprintf(r->id, sizeof r->id, "%016llx",
             (unsigned long long)XXH3_64bits(line, len));
    return r->id;
}

static int check_row(const struct ral_rows *r, const json_t *row, size_t line,
                     struct ral_err *err)
{
    const json_t *id = json_object_get(row, "id");

    if (!json_is_object(row))
        return ral_err_set(err, -RAL_EINVAL, "%s:%zu: a row must be an object",
                           r->name, line);
    if (id && (!json_is_string(id) || !json_string_length(id)))
        return ral_err_set(err, -RAL_EINVAL,
                           "%s:%zu: id must be a text of at least one letter",
                           r->name, line);
    if (!json_is_array(json_object_get(row, "messages")))
        return ral_err_set(err, -RAL_EINVAL,
                           "%s:%zu: messages must be a list of turns", r->name,
                           line);
    return 0;
}

static int parse(struct ral_rows *r, const char *line, size_t len,
                 size_t number, struct ral_err *err)
{
    char where[512];
    int rc;

    json_decref(r->json);
    snprintf(where, sizeof where, "%s:%zu", r->name, number);
    if ((rc = ral_json_parse(&r->json, line, len, where, err)) < 0)
        return rc;
    return check_row(r, r->json, number, err);
}

static int by_hash(const void *a, const void *b)
{
    const struct seen *x = a, *y = b;

    if (x->hash != y->hash)
        return x->hash < y->hash ? -1 : 1;
    return x->line < y->line ? -1 : x->line > y->line;
}

static int check_ids(struct ral_rows *r, struct ral_err *err)
{
    qsort(r->seen, r->all, sizeof *r->seen, by_hash);
    for (size_t i = 1; i < r->all; i++)
        if (r->seen[i].hash == r->seen[i - 1].hash)
            return ral_err_set(err, -RAL_EINVAL,
                               "%s:%zu: its id stands on line %zu already",
                               r->name, r->seen[i].line, r->seen[i - 1].line);
    free(r->seen);
    r->seen = NULL;
    return 0;
}

static int note(struct ral_rows *r, const char *line, size_t len,
                struct ral_err *err)
{
    const size_t number = ral_lines_number(r->lines);
    const char *id;
    int rc;

    if ((rc = parse(r, line, len, number, err)) < 0 ||
        (rc = grow((void **)&r->seen, r->all, &r->seen_cap, sizeof *r->seen,
                   err)) < 0 ||
        (rc = grow((void **)&r->place, r->n, &r->cap, sizeof *r->place,
                   err)) < 0)
        return rc;
    id = row_id(r, r->json, line, len);
    r->seen[r->all++] = (struct seen){XXH3_64bits(id, strlen(id)), number};
    if (ral_where_holds(r->json, r->conf.where, r->conf.nwhere))
        r->place[r->n++] =
            (struct place){ral_lines_offset(r->lines), number};
    return 0;
}

static int read_index(struct ral_rows *r, struct ral_err *err)
{
    const char *line;
    size_t len;
    int rc;

    while ((rc = ral_lines_next(r->lines, &line, &len, err)) > 0)
        if ((rc = note(r, line, len, err)) < 0)
            return rc;
    if (rc < 0)
        return rc;
    if (r->all == 0)
        return ral_err_set(err, -RAL_EINVAL, "%s: holds no rows", r->name);
    if (r->n == 0)
        return ral_err_set(err, -RAL_EINVAL,
                           "%s: none of its %zu rows passes where", r->name,
                           r->all);
    return check_ids(r, err);
}

/* What _next gives: a batch, or all; of that a shard; of that a limit. */
static void bound(struct ral_rows *r)
{
    const struct ral_rows_conf *c = &r->conf;
    const size_t total = c->draw ? (size_t)c->draw : r->n;
    size_t last = total;

    r->first = 0;
    if (c->shards) {
        r->first = (size_t)((unsigned __int128)total * (c->shard - 1) /
                            c->shards);
        last = (size_t)((unsigned __int128)total * c->shard / c->shards);
    }
    r->count = last - r->first;
    if (c->limit && r->count > c->limit)
        r->count = (size_t)c->limit;
    r->next = 0;
}

int ral_rows_open(struct ral_rows **out, const struct ral_rows_conf *conf,
                  struct ral_err *err)
{
    const bool pipe = !conf->path || !strcmp(conf->path, "-");
    struct ral_rows *r = calloc(1, sizeof *r);
    int rc;

    *out = NULL;
    if (!r || !(r->name = strdup(pipe ? "stdin" : conf->path))) {
        free(r);
        return ral_err_nomem(err, "rows");
    }
    r->conf = *conf;
    r->epoch = UINT64_MAX;
    if ((rc = ral_where_check(conf->where, conf->nwhere, err)) < 0 ||
        (rc = open_lines(r, err)) < 0 ||
        (rc = read_index(r, err)) < 0) {
        ral_rows_close(r);
        return rc;
    }
    if (conf->draw && !(r->order = malloc(r->n * sizeof *r->order))) {
        ral_rows_close(r);
        return ral_err_nomem(err, "rows");
    }
    bound(r);
    *out = r;
    return 0;
}

/* The row at a position of the endless drawing: a permutation an epoch. */
static size_t drawn(struct ral_rows *r, uint64_t position)
{
    const uint64_t epoch = position / r->n;

    if (epoch != r->epoch) {
        struct ral_rng rng;

        ral_rng_init(&rng, r->conf.seed, epoch, 0);
        ral_rng_permute(&rng, r->order, r->n);
        r->epoch = epoch;
    }
    return r->order[position % r->n];
}

int ral_rows_next(struct ral_rows *r, struct ral_row *row,
                  struct ral_err *err)
{
    const struct ral_rows_conf *c = &r->conf;
    const char *line;
    size_t at = r->first + r->next, len;
    int rc;

    if (r->next == r->count)
        return 0;
    if (c->draw)
        at = drawn(r, (c->step - 1) * c->draw + at);
    if ((rc = ral_lines_seek(r->lines, r->place[at].offset, r->place[at].line,
                             err)) < 0 ||
        (rc = ral_lines_next(r->lines, &line, &len, err)) < 0)
        return rc;
    if (rc == 0)
        return ral_err_set(err, -RAL_EINVAL, "%s: changed while it was read",
                           r->name);
    if ((rc = parse(r, line, len, r->place[at].line, err)) < 0)
        return rc;
    r->next++;
    *row = (struct ral_row){r->json, row_id(r, r->json, line, len),
                            r->place[at].line};
    return 1;
}

void ral_rows_step(struct ral_rows *r, uint64_t step)
{
    r->conf.step = step;
    bound(r);
}

size_t ral_rows_count(const struct ral_rows *r)
{
    return r->count;
}

size_t ral_rows_all(const struct ral_rows *r)
{
    return r->n;
}

const char *ral_rows_name(const struct ral_rows *r)
{
    return r->name;
}

void ral_rows_close(struct ral_rows *r)
{
    if (!r)
        return;
    ral_lines_close(r->lines);
    json_decref(r->json);
    free(r->seen);
    free(r->place);
    free(r->order);
    free(r->name);
    free(r);
}

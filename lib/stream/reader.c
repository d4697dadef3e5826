/* lib/stream/reader.c - read record streams, one or several in a row. */
#include "stream/reader.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>
#include <zstd.h>

#include "base/file.h"

enum { FRAME_HEAD = 18 }; // bytes of the longest zstd frame header

struct ral_reader {
    char *const *path; // of open_files
    size_t n_path, next_path;
    int fd;
    bool own; // fd was opened here
    char *name;
    size_t max_record;
    bool part; // one shard alone will do
    ZSTD_DCtx *zd;
    uint8_t *in;
    size_t cap, from, to; // in[from .. to) is still to be used
    bool eof;
    struct ral_arena head, later; // of the first header; of one more
    struct ral_item *header;
    struct ral_stream_info info;
    bool *seen; // [info.shards + 1]
    uint64_t segments, records;
    uint64_t count, sum; // of the records of this segment
    bool inside;         // of a segment: its header was read, not its end
    int failed;
};

bool ral_stream_magic(const uint8_t *p, size_t n)
{
    return n >= 4 && !memcmp(p, "\x28\xb5\x2f\xfd", 4);
}

/* Tries to have n bytes in the buffer; fewer are left only at the end. */
static int fill(struct ral_reader *r, size_t n, struct ral_err *err)
{
    if (r->to - r->from >= n || r->eof)
        return 0;
    memmove(r->in, r->in + r->from, r->to - r->from);
    r->to -= r->from;
    r->from = 0;
    while (r->to < n && !r->eof) {
        const ptrdiff_t got =
            ral_read_some(r->fd, r->in + r->to, r->cap - r->to, r->name, err);

        if (got < 0)
            return (int)got;
        r->eof = got == 0;
        r->to += (size_t)got;
    }
    return 0;
}

static int cut(const struct ral_reader *r, struct ral_err *err)
{
    return ral_err_set(err, -RAL_EINVAL,
                       "%s: truncated: ends without its end mark after "
                       "%llu records; write it again",
                       r->name, (unsigned long long)r->count);
}

/* Says what the input is, if it is none of ours. */
static int foreign(const struct ral_reader *r, struct ral_err *err)
{
    size_t i = r->from;

    while (i < r->to && strchr(" \t\r\n", r->in[i]))
        i++;
    if (r->segments)
        return ral_err_set(err, -RAL_EINVAL,
                           "%s: not a zstd frame after record %llu: damaged, "
                           "or something else was appended",
                           r->name, (unsigned long long)r->count);
    if (i == r->to || r->in[i] == '{')
        return ral_err_set(err, -RAL_EINVAL,
                           "%s: these are rows (JSON lines), not a stream; "
                           "make one with ral-rollout",
                           r->name);
    return ral_err_set(err, -RAL_EINVAL, "%s: not a record stream", r->name);
}

/* The content size of the frame at hand: RFC 8878, 3.1.1.1. */
static int frame_size(const struct ral_reader *r, size_t *size,
                      struct ral_err *err)
{
    const uint8_t *p = r->in + r->from;
    const size_t n = r->to - r->from;
    unsigned long long len;

    if (n < 4 && !memcmp(p, "\x28\xb5\x2f\xfd", n))
        return cut(r, err);
    if (!ral_stream_magic(p, n))
        return foreign(r, err);
    len = ZSTD_getFrameContentSize(p, n);
    if (len == ZSTD_CONTENTSIZE_ERROR)
        return n < FRAME_HEAD ? cut(r, err) : foreign(r, err);
    if (len == ZSTD_CONTENTSIZE_UNKNOWN || !(p[4] & 4))
        return ral_err_set(err, -RAL_EINVAL,
                           "%s: a zstd frame without content size and "
                           "checksum; a record stream has one item a frame",
                           r->name);
    if (len > r->max_record)
        return ral_err_set(err, -RAL_EINVAL,
                           "%s: an item of %llu bytes after record %llu; at "
                           "most %zu are taken (--max-record)",
                           r->name, len, (unsigned long long)r->count,
                           r->max_record);
    *size = (size_t)len;
    return 0;
}

/* Decompresses the frame at hand into out[size]. */
static int frame_read(struct ral_reader *r, uint8_t *p, size_t size,
                      struct ral_err *err)
{
    ZSTD_outBuffer out = {p, size, 0};
    size_t left = 1;
    int rc;

    ZSTD_DCtx_reset(r->zd, ZSTD_reset_session_only);
    while (left) {
        ZSTD_inBuffer in = {r->in, r->to, r->from};
        const size_t before = out.pos;

        left = ZSTD_decompressStream(r->zd, &out, &in);
        if (ZSTD_isError(left))
            return ral_err_set(
                err, -RAL_EINVAL, "%s: damaged after record %llu: %s", r->name,
                (unsigned long long)r->count, ZSTD_getErrorName(left));
        if (left && in.pos == r->from && out.pos == before && r->eof)
            return cut(r, err);
        r->from = in.pos;
        if (left && r->from == r->to && (rc = fill(r, 1, err)) < 0)
            return rc;
    }
    if (out.pos != size)
        return ral_err_set(err, -RAL_EINVAL, "%s: a frame of the wrong size",
                           r->name);
    return 0;
}

/* The next item of any kind: 1; 0 when the input ends here. */
static int item_next(struct ral_reader *r, struct ral_arena *a,
                     struct ral_item **out, struct ral_err *err)
{
    uint8_t *p;
    size_t size = 0;
    int rc;

    if ((rc = fill(r, FRAME_HEAD, err)) < 0)
        return rc;
    if (r->from == r->to)
        return 0;
    if ((rc = frame_size(r, &size, err)) < 0)
        return rc;
    if (!(p = ral_arena_alloc(a, size, 1)))
        return ral_err_nomem(err, "%s: an item of %zu bytes", r->name, size);
    if ((rc = frame_read(r, p, size, err)) < 0)
        return rc;
    if ((rc = ral_item_decode(out, p, size, a, err)) < 0)
        return ral_err_at(err, "%s: after record %llu", r->name,
                          (unsigned long long)r->count);
    return 1;
}

/* The kind of a map is told by its first key. */
static bool is_kind(const struct ral_item *it, const char *first)
{
    return it->type == RAL_ITEM_MAP && it->n && ral_item_is(it->child, first);
}

static int shard_seen(struct ral_reader *r, uint64_t k, struct ral_err *err)
{
    if (r->seen[k])
        return ral_err_set(err, -RAL_EINVAL,
                           "%s: shard %llu of %llu comes twice; join each "
                           "once",
                           r->name, (unsigned long long)k,
                           (unsigned long long)r->info.shards);
    r->seen[k] = true;
    return 0;
}

static bool same(const struct ral_item *a, const struct ral_item *b)
{
    return a && b
               ? a->raw_len == b->raw_len && !memcmp(a->raw, b->raw, a->raw_len)
               : a == b;
}

/* Streams that were joined must be parts of one. */
static int agree(struct ral_reader *r, const struct ral_item *header,
                 struct ral_err *err)
{
    static const char *const key[] = {"policy", "sampling", "media_root",
                                      "attn", "vision"};
    struct ral_stream_info info;
    int rc = ral_header_decode(&info, header, &r->later, err);

    if (rc < 0)
        return ral_err_at(err, "%s", r->name);
    for (size_t i = 0; i < sizeof key / sizeof *key; i++)
        if (!same(ral_item_get(r->header, key[i]),
                  ral_item_get(header, key[i])))
            return ral_err_set(err, -RAL_EINVAL,
                               "%s: streams that differ in their %s were "
                               "joined; join parts of one only",
                               r->name, key[i]);
    if (info.shards != r->info.shards)
        return ral_err_set(err, -RAL_EINVAL,
                           "%s: a shard of %llu was joined to one of %llu",
                           r->name, (unsigned long long)info.shards,
                           (unsigned long long)r->info.shards);
    return shard_seen(r, info.shard, err);
}

/* A header begins a segment; 0 when there is no more input. */
static int segment_begin(struct ral_reader *r, struct ral_err *err)
{
    struct ral_arena *a = r->header ? &r->later : &r->head;
    struct ral_item *header;
    int rc;

    ral_arena_reset(&r->later);
    if ((rc = item_next(r, a, &header, err)) <= 0)
        return rc;
    if (!is_kind(header, "ral"))
        return ral_err_set(err, -RAL_EINVAL,
                           "%s: a segment that begins without a header",
                           r->name);
    if (r->header) {
        rc = agree(r, header, err);
    } else {
        if ((rc = ral_header_decode(&r->info, header, a, err)) < 0)
            return ral_err_at(err, "%s", r->name);
        r->header = header;
        if (!(r->seen = calloc((size_t)r->info.shards + 1, sizeof(bool))))
            return ral_err_nomem(err, "%s", r->name);
        rc = shard_seen(r, r->info.shard, err);
    }
    r->inside = true;
    r->segments++;
    r->count = r->sum = 0;
    return rc < 0 ? rc : 1;
}

static int segment_end(struct ral_reader *r, const struct ral_item *end,
                       struct ral_err *err)
{
    uint64_t count, sum;
    int rc =
        ral_item_uint(ral_item_get(end, "end"), "end", UINT64_MAX, &count, err);

    if (rc == 0)
        rc = ral_item_uint(ral_item_get(end, "sum"), "sum", UINT64_MAX, &sum,
                           err);
    if (rc < 0)
        return ral_err_at(err, "%s: end mark", r->name);
    if (count != r->count || sum != r->sum)
        return ral_err_set(
            err, -RAL_EINVAL,
            "%s: the end mark counts %llu records, sum %llx, "
            "but there are %llu, sum %llx: damaged",
            r->name, (unsigned long long)count, (unsigned long long)sum,
            (unsigned long long)r->count, (unsigned long long)r->sum);
    r->inside = false;
    return 0;
}

static void close_input(struct ral_reader *r)
{
    if (r->own)
        close(r->fd);
    r->own = false;
    r->fd = -1;
}

/* The next file of open_files: 1; 0 after the last. */
static int input_next(struct ral_reader *r, struct ral_err *err)
{
    const char *path;

    if (r->next_path == r->n_path)
        return 0;
    path = r->path[r->next_path++];
    close_input(r);
    free(r->name);
    r->name = strdup(strcmp(path, "-") ? path : "stdin");
    if (!r->name)
        return ral_err_nomem(err, "%s", path);
    if (!strcmp(path, "-")) {
        r->fd = STDIN_FILENO;
    } else {
        if ((r->fd = ral_open_read(path, err)) < 0)
            return r->fd;
        r->own = true;
    }
    r->from = r->to = 0;
    r->eof = false;
    return 1;
}

static int check_shards(const struct ral_reader *r, struct ral_err *err)
{
    if (r->part && r->segments == 1)
        return 0;
    for (uint64_t k = 1; k <= r->info.shards; k++)
        if (!r->seen[k])
            return ral_err_set(err, -RAL_EINVAL,
                               "%s: shard %llu of %llu is missing; join all",
                               r->name, (unsigned long long)k,
                               (unsigned long long)r->info.shards);
    return 0;
}

/* Between segments: 1 with the next begun; 0 at the end of everything. */
static int between(struct ral_reader *r, struct ral_err *err)
{
    int rc;

    for (;;) {
        if ((rc = segment_begin(r, err)) != 0)
            return rc;
        if ((rc = input_next(r, err)) < 0)
            return rc;
        if (rc == 0)
            return check_shards(r, err);
        // a file of its own must hold something
        if ((rc = fill(r, 1, err)) < 0)
            return rc;
        if (r->from == r->to)
            return ral_err_set(err, -RAL_EINVAL,
                               "%s: empty: no header and no end mark", r->name);
    }
}

static int record_next(struct ral_reader *r, struct ral_arena *a,
                       struct ral_item **rec, struct ral_err *err)
{
    struct ral_item *it;
    int rc;

    for (;;) {
        if (!r->inside && (rc = between(r, err)) <= 0)
            return rc;
        if ((rc = item_next(r, a, &it, err)) < 0)
            return rc;
        if (rc == 0)
            return cut(r, err);
        if (is_kind(it, "id"))
            break;
        if (!is_kind(it, "end"))
            return ral_err_set(err, -RAL_EINVAL,
                               "%s: neither record nor end mark after record "
                               "%llu: a stream that was cut and joined?",
                               r->name, (unsigned long long)r->count);
        if ((rc = segment_end(r, it, err)) < 0)
            return rc;
    }
    r->count++;
    r->records++;
    r->sum += XXH3_64bits(it->raw, it->raw_len);
    *rec = it;
    return 1;
}

int ral_reader_next(struct ral_reader *r, struct ral_arena *a,
                    struct ral_item **rec, struct ral_err *err)
{
    int rc;

    *rec = NULL;
    if (r->failed)
        return ral_err_set(err, r->failed, "%s: reading failed before",
                           r->name);
    rc = record_next(r, a, rec, err);
    if (rc < 0)
        r->failed = rc;
    return rc;
}

static int start(struct ral_reader *r, struct ral_err *err)
{
    int rc = segment_begin(r, err);

    if (rc == 0)
        rc = ral_err_set(err, -RAL_EINVAL,
                         "%s: empty: no header and no end mark; did the "
                         "program before it fail?",
                         r->name);
    return rc < 0 ? rc : 0;
}

static struct ral_reader *reader_new(size_t max_record)
{
    struct ral_reader *r = calloc(1, sizeof *r);

    if (!r)
        return NULL;
    r->fd = -1;
    r->max_record = max_record ? max_record : RAL_RECORD_MAX;
    r->cap = ZSTD_DStreamInSize();
    r->zd = ZSTD_createDCtx();
    r->in = malloc(r->cap);
    if (r->zd && r->in)
        return r;
    ral_reader_close(r);
    return NULL;
}

int ral_reader_open(struct ral_reader **out, int fd, const char *name,
                    size_t max_record, struct ral_err *err)
{
    struct ral_reader *r = reader_new(max_record);
    int rc;

    *out = NULL;
    if (!r || !(r->name = strdup(name))) {
        rc = ral_err_nomem(err, "%s", name);
        goto fail;
    }
    r->fd = fd;
    if ((rc = start(r, err)) < 0)
        goto fail;
    *out = r;
    return 0;

fail:
    ral_reader_close(r);
    return rc;
}

int ral_reader_open_files(struct ral_reader **out, char *const *path, size_t n,
                          size_t max_record, struct ral_err *err)
{
    static char *const only_stdin[] = {"-"};
    struct ral_reader *r = reader_new(max_record);
    int rc;

    *out = NULL;
    if (!r)
        return ral_err_nomem(err, "stream");
    r->path = n ? path : only_stdin;
    r->n_path = n ? n : 1;
    if ((rc = input_next(r, err)) < 0 || (rc = start(r, err)) < 0) {
        ral_reader_close(r);
        return rc;
    }
    *out = r;
    return 0;
}

void ral_reader_allow_part(struct ral_reader *r)
{
    r->part = true;
}

bool ral_reader_is_part(const struct ral_reader *r)
{
    return r->info.shards > 1 && r->segments == 1;
}

const struct ral_item *ral_reader_header(const struct ral_reader *r)
{
    return r->header;
}

const struct ral_stream_info *ral_reader_info(const struct ral_reader *r)
{
    return &r->info;
}

uint64_t ral_reader_count(const struct ral_reader *r)
{
    return r->records;
}

const char *ral_reader_name(const struct ral_reader *r)
{
    return r->name;
}

void ral_reader_close(struct ral_reader *r)
{
    if (!r)
        return;
    close_input(r);
    ral_arena_release(&r->head);
    ral_arena_release(&r->later);
    ZSTD_freeDCtx(r->zd);
    free(r->seen);
    free(r->in);
    free(r->name);
    free(r);
}

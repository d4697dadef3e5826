/* lib/stream/writer.c - write a record stream. */
#include "stream/writer.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>
#include <zstd.h>

#include "base/buf.h"
#include "base/file.h"
#include "stream/cbor.h"

struct ral_writer {
    int fd;
    char *name;
    ZSTD_CCtx *zc;
    uint8_t *out;
    size_t cap;
    bool begun, failed;
    uint64_t count, sum; // of the records
};

int ral_writer_open(struct ral_writer **out, int fd, const char *name,
                    int level, struct ral_err *err)
{
    struct ral_writer *w = calloc(1, sizeof *w);

    *out = NULL;
    if (!w || !(w->name = strdup(name)) || !(w->zc = ZSTD_createCCtx())) {
        ral_writer_abort(w);
        return ral_err_nomem(err, "%s", name);
    }
    w->fd = fd;
    ZSTD_CCtx_setParameter(w->zc, ZSTD_c_compressionLevel, level);
    ZSTD_CCtx_setParameter(w->zc, ZSTD_c_contentSizeFlag, 1);
    ZSTD_CCtx_setParameter(w->zc, ZSTD_c_checksumFlag, 1);
    *out = w;
    return 0;
}

/* After a failure nothing more is written: half a frame lies in the file. */
static int put_frame(struct ral_writer *w, const uint8_t *cbor, size_t n,
                     struct ral_err *err)
{
    const size_t bound = ZSTD_compressBound(n);
    size_t len;
    int rc;

    if (w->failed)
        return ral_err_set(err, -RAL_EIO, "%s: an earlier write failed",
                           w->name);
    w->failed = true;
    if (bound > w->cap) {
        free(w->out);
        w->cap = 0;
        if (!(w->out = malloc(bound)))
            return ral_err_nomem(err, "%s", w->name);
        w->cap = bound;
    }
    len = ZSTD_compress2(w->zc, w->out, w->cap, cbor, n);
    if (ZSTD_isError(len))
        return ral_err_set(err, -RAL_EINVAL, "%s: %s", w->name,
                           ZSTD_getErrorName(len));
    if ((rc = ral_write_all(w->fd, w->out, len, w->name, err)) < 0)
        return rc;
    w->failed = false;
    return 0;
}

int ral_writer_header(struct ral_writer *w, const uint8_t *cbor, size_t n,
                      struct ral_err *err)
{
    assert(!w->begun);
    w->begun = true;
    return put_frame(w, cbor, n, err);
}

/* What tells a record from other maps: its first key is "id". */
static bool is_record(const uint8_t *p, size_t n)
{
    static const size_t wide[] = {2, 3, 5, 9}; // heads that count in bytes
    size_t at = 1;

    if (!n || p[0] >> 5 != 5)
        return false;
    if ((p[0] & 31) >= 24 && (p[0] & 31) < 28)
        at = wide[(p[0] & 31) - 24];
    return n > at + 3 && !memcmp(p + at, "\x62id", 3);
}

int ral_writer_put(struct ral_writer *w, const uint8_t *cbor, size_t n,
                   struct ral_err *err)
{
    int rc;

    assert(w->begun && is_record(cbor, n));
    if ((rc = put_frame(w, cbor, n, err)) < 0)
        return rc;
    w->count++;
    w->sum += XXH3_64bits(cbor, n);
    return 0;
}

int ral_writer_finish(struct ral_writer *w, struct ral_err *err)
{
    struct ral_buf b = {0};
    int rc;

    assert(w->begun);
    ral_cbor_map(&b, 2);
    ral_cbor_pair_uint(&b, "end", w->count);
    if (ral_cbor_pair_uint(&b, "sum", w->sum) < 0)
        rc = ral_err_nomem(err, "%s", w->name);
    else
        rc = put_frame(w, b.data, b.len, err);
    ral_buf_release(&b);
    ral_writer_abort(w);
    return rc;
}

void ral_writer_abort(struct ral_writer *w)
{
    if (!w)
        return;
    ZSTD_freeCCtx(w->zc);
    free(w->out);
    free(w->name);
    free(w);
}

/* tests/fuzz/fuzz_stream.c - hostile items, and hostile streams of them. */
#include "fuzz.h"

#include <zstd.h>

#include "stream/edit.h"
#include "stream/group.h"
#include "stream/json.h"
#include "stream/reader.h"

/* Whatever decodes must print, and copy to the same bytes. */
static void use(const struct ral_item *it, struct ral_arena *a)
{
    struct ral_stream_info info;
    struct ral_group g;
    struct ral_buf b = {0};
    struct ral_item *again;

    json_decref(ral_item_json(it, RAL_JSON_FULL));
    if (ral_item_print(&b, it, RAL_JSON_FULL) < 0)
        abort();
    ral_header_decode(&info, it, a, NULL);
    ral_group_decode(&g, NULL, it, a, NULL);
    ral_buf_cut(&b, 0);
    if (it->type == RAL_ITEM_MAP &&
        (ral_map_replace(&b, it, (struct ral_edits){0}, NULL) < 0 ||
         ral_item_decode(&again, b.data, b.len, a, NULL) < 0))
        abort();
    ral_buf_release(&b);
}

/* One item, decoded as it is. */
static void one_item(const uint8_t *p, size_t n)
{
    struct ral_arena a = {0};
    struct ral_item *it;

    if (ral_item_decode(&it, p, n, &a, NULL) == 0)
        use(it, &a);
    ral_arena_release(&a);
}

static void read_fd(int fd)
{
    struct ral_arena a = {0};
    struct ral_reader *r;
    struct ral_item *rec;

    lseek(fd, 0, SEEK_SET);
    if (ral_reader_open(&r, fd, "fuzz", 1 << 20, NULL) == 0)
        while (ral_reader_next(r, &a, &rec, NULL) == 1) {
            use(rec, &a);
            ral_arena_reset(&a);
        }
    ral_reader_close(r);
    ral_arena_release(&a);
}

/* A stream as it is. */
static void raw_stream(int fd, const uint8_t *p, size_t n)
{
    if (write(fd, p, n) == (ssize_t)n)
        read_fd(fd);
}

/* A stream of items, each after its length in two bytes, in good frames. */
static void framed_stream(int fd, const uint8_t *p, size_t n)
{
    ZSTD_CCtx *c = ZSTD_createCCtx();
    static uint8_t frame[1 << 17];

    ZSTD_CCtx_setParameter(c, ZSTD_c_checksumFlag, 1);
    while (n >= 2) {
        const size_t says = p[0] | p[1] << 8;
        const size_t len = says < n - 2 ? says : n - 2;
        const size_t out = ZSTD_compress2(c, frame, sizeof frame, p + 2, len);

        if (ZSTD_isError(out) || write(fd, frame, out) != (ssize_t)out)
            abort();
        p += 2 + len;
        n -= 2 + len;
    }
    ZSTD_freeCCtx(c);
    read_fd(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    int fd;

    if (!n)
        return 0;
    if (p[0] % 4 < 2) {
        one_item(p + 1, n - 1);
        return 0;
    }
    if ((fd = memfd_create("fuzz", 0)) < 0)
        abort();
    if (p[0] % 4 == 2)
        raw_stream(fd, p + 1, n - 1);
    else
        framed_stream(fd, p + 1, n - 1);
    close(fd);
    return 0;
}

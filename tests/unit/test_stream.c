/* tests/unit/test_stream.c - streams written, read, cut, flipped and joined. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zstd.h>

#include "stream/cbor.h"
#include "stream/header.h"
#include "stream/reader.h"
#include "stream/writer.h"
#include "run.h"

static struct ral_arena a;
static struct ral_err err;

struct bytes {
    uint8_t data[1 << 16];
    size_t n;
};

static const char *const args[] = {"-n", "2"};
static const struct ral_provenance who = {
    .program = "ral-rollout", .version = "0.1", .args = args, .n_args = 2,
    .seeded = true, .seed = UINT64_MAX};
static const int32_t layers[] = {1, 3};

static struct ral_stream_info settings(uint64_t shard, uint64_t shards)
{
    return (struct ral_stream_info){
        .policy = "00112233445566778899aabbccddeeff",
        .temperature = 0.9, .top_p = 1, .top_k = 0, .seed = UINT64_MAX,
        .step = 3, .num_generations = 2, .max_completion_length = 32,
        .media_root = "/data", .attn_layers = layers, .n_layers = 2,
        .n_heads = 4, .image_token_id = 5, .video_token_id = -1,
        .patch_size = 14, .spatial_merge_size = 2, .shard = shard,
        .shards = shards};
}

static void record(struct ral_buf *b, int k)
{
    char id[16];
    int rc = 0;

    snprintf(id, sizeof id, "r%d", k);
    b->len = 0;
    rc |= ral_cbor_map(b, 2);
    rc |= ral_cbor_key(b, "id");
    rc |= ral_cbor_key(b, id);
    rc |= ral_cbor_key(b, "x");
    rc |= ral_cbor_int(b, k);
    ck_assert_int_eq(rc, 0);
}

/* A stream of records first .. first + n - 1, appended to out. */
static void write_stream(struct bytes *out, const struct ral_stream_info *info,
                         int first, int n, bool finish)
{
    const int fd = memfd_create("stream", 0);
    struct ral_writer *w;
    struct ral_buf b = {0};
    ssize_t got;

    ck_assert_int_eq(ral_header_encode(&b, info, &who, &err), 0);
    ck_assert_int_eq(ral_writer_open(&w, fd, "out", 0, &err), 0);
    ck_assert_int_eq(ral_writer_header(w, b.data, b.len, &err), 0);
    for (int k = first; k < first + n; k++) {
        record(&b, k);
        ck_assert_int_eq(ral_writer_put(w, b.data, b.len, &err), 0);
    }
    if (finish)
        ck_assert_int_eq(ral_writer_finish(w, &err), 0);
    else
        ral_writer_abort(w);
    lseek(fd, 0, SEEK_SET);
    got = read(fd, out->data + out->n, sizeof out->data - out->n);
    ck_assert_int_gt(got, 0);
    out->n += (size_t)got;
    close(fd);
    ral_buf_release(&b);
}

static void frame(struct bytes *out, const void *p, size_t n, bool checksum)
{
    ZSTD_CCtx *c = ZSTD_createCCtx();
    size_t len;

    ZSTD_CCtx_setParameter(c, ZSTD_c_checksumFlag, checksum);
    len = ZSTD_compress2(c, out->data + out->n, sizeof out->data - out->n, p,
                         n);
    ck_assert(!ZSTD_isError(len));
    out->n += len;
    ZSTD_freeCCtx(c);
}

/* Reads all: the number of records, or the error; content is digested. */
static int read_all(const uint8_t *p, size_t n, size_t max, bool part,
                    uint64_t *digest)
{
    const int fd = memfd_create("stream", 0);
    struct ral_reader *r = NULL;
    struct ral_item *rec;
    int rc, count = 0;

    ck_assert_int_eq(write(fd, p, n), (ssize_t)n);
    lseek(fd, 0, SEEK_SET);
    err.msg[0] = 0;
    *digest = 0;
    rc = ral_reader_open(&r, fd, "in.ral", max, &err);
    if (rc == 0) {
        const struct ral_item *h = ral_reader_header(r);

        for (size_t i = 0; i < h->raw_len; i++)
            *digest = *digest * 31 + h->raw[i];
        if (part)
            ral_reader_allow_part(r);
        while ((rc = ral_reader_next(r, &a, &rec, &err)) == 1) {
            for (size_t i = 0; i < rec->raw_len; i++)
                *digest = *digest * 31 + rec->raw[i];
            ral_arena_reset(&a);
            count++;
        }
        if (rc == 0) // the end stays the end, an error an error
            ck_assert_int_eq(ral_reader_next(r, &a, &rec, &err), 0);
        ck_assert_uint_eq(ral_reader_count(r), (uint64_t)count);
    }
    ral_reader_close(r);
    close(fd);
    ck_assert(rc == 0 || err.msg[0]);
    return rc < 0 ? rc : count;
}

static void fails(const struct bytes *s, const char *why)
{
    uint64_t d;

    ck_assert_int_eq(read_all(s->data, s->n, 0, false, &d), -RAL_EINVAL);
    ck_assert_msg(strstr(err.msg, why), "not '%s': %s", why, err.msg);
    ck_assert_msg(!strncmp(err.msg, "in.ral: ", 8), "%s", err.msg);
}

START_TEST(what_was_written_is_read)
{
    const struct ral_stream_info in = settings(1, 1);
    const struct ral_stream_info *info;
    static struct bytes s;
    const int fd = memfd_create("stream", 0);
    struct ral_reader *r;
    struct ral_item *rec;
    int64_t x;

    s.n = 0;
    write_stream(&s, &in, 5, 3, true);
    ck_assert(ral_stream_magic(s.data, s.n));
    ck_assert(!ral_stream_magic(s.data, 3));
    ck_assert_int_eq(write(fd, s.data, s.n), (ssize_t)s.n);
    lseek(fd, 0, SEEK_SET);
    ck_assert_int_eq(ral_reader_open(&r, fd, "in.ral", 0, &err), 0);
    info = ral_reader_info(r);
    ck_assert_str_eq(info->policy, in.policy);
    ck_assert_str_eq(info->media_root, "/data");
    ck_assert(info->temperature == 0.9 && info->top_p == 1);
    ck_assert(info->seed == UINT64_MAX && info->step == 3 && !info->greedy);
    ck_assert(info->num_generations == 2 && info->max_completion_length == 32);
    ck_assert(info->n_layers == 2 && info->attn_layers[1] == 3);
    ck_assert(info->n_heads == 4 && !info->attn_f16);
    ck_assert(info->image_token_id == 5 && info->video_token_id == -1);
    ck_assert(info->patch_size == 14 && info->spatial_merge_size == 2);
    for (int k = 5; k < 8; k++) {
        ck_assert_int_eq(ral_reader_next(r, &a, &rec, &err), 1);
        ck_assert_int_eq(ral_item_int(ral_item_get(rec, "x"), "x", 0, 9, &x,
                                      &err), 0);
        ck_assert_int_eq(x, k);
    }
    ck_assert_int_eq(ral_reader_next(r, &a, &rec, &err), 0);
    ral_reader_close(r);
    close(fd);
    ral_arena_release(&a);
}
END_TEST

START_TEST(every_cut_is_an_error)
{
    const struct ral_stream_info in = settings(1, 1);
    static struct bytes s;
    uint64_t d;

    s.n = 0;
    write_stream(&s, &in, 0, 3, true);
    ck_assert_int_eq(read_all(s.data, s.n, 0, false, &d), 3);
    for (size_t n = 0; n < s.n; n++) {
        ck_assert_msg(read_all(s.data, n, 0, false, &d) == -RAL_EINVAL,
                      "cut at %zu of %zu passed", n, s.n);
        ck_assert_msg(strstr(err.msg, "end mark"), "cut at %zu: %s", n,
                      err.msg);
    }
    s.n = 0;
    write_stream(&s, &in, 0, 2, false);
    fails(&s, "end mark");
    ral_arena_release(&a);
}
END_TEST

START_TEST(every_flip_is_found_or_harmless)
{
    const struct ral_stream_info in = settings(1, 1);
    static struct bytes s;
    uint64_t want, got;
    size_t passed = 0;

    s.n = 0;
    write_stream(&s, &in, 0, 2, true);
    ck_assert_int_eq(read_all(s.data, s.n, 0, false, &want), 2);
    for (size_t bit = 0; bit < 8 * s.n; bit++) {
        int rc;

        s.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        rc = read_all(s.data, s.n, 0, false, &got);
        s.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        ck_assert_msg(rc < 0 || (rc == 2 && got == want),
                      "bit %zu changed the content", bit);
        passed += rc == 2;
    }
    ck_assert_uint_lt(passed, 8 * s.n / 100); // few bits mean nothing
    ral_arena_release(&a);
}
END_TEST

START_TEST(segments_join)
{
    static struct bytes s;
    struct ral_stream_info in = settings(1, 1);
    uint64_t d;

    s.n = 0; // all three shards, in any order, one of them empty
    for (int k = 3; k >= 1; k--) {
        const struct ral_stream_info part = settings((uint64_t)k, 3);

        write_stream(&s, &part, 10 * k, k == 2 ? 0 : 2, true);
    }
    ck_assert_msg(read_all(s.data, s.n, 0, false, &d) == 4, "%s", err.msg);

    s.n = 0;
    write_stream(&s, &in, 0, 1, true);
    write_stream(&s, &in, 1, 1, true);
    fails(&s, "shard 1 of 1 comes twice");
    for (int field = 0; field < 6; field++) {
        struct ral_stream_info one = settings(1, 2), two = settings(2, 2);
        static const char *const why[] = {"policy", "sampling", "sampling",
                                          "attn", "media_root",
                                          "a shard of 3 was joined to one of"};

        s.n = 0;
        write_stream(&s, &one, 0, 1, true);
        if (field == 0)
            two.policy = "ff";
        else if (field == 1)
            two.temperature = 0.8;
        else if (field == 2)
            two.step = 4;
        else if (field == 3)
            two.n_layers = 1;
        else if (field == 4)
            two.media_root = NULL;
        else
            two.shards = 3;
        write_stream(&s, &two, 1, 1, true);
        fails(&s, why[field]);
    }
    ral_arena_release(&a);
}
END_TEST

START_TEST(shards_are_counted)
{
    static struct bytes s;
    const struct ral_stream_info one = settings(1, 3), two = settings(2, 3);
    uint64_t d;

    s.n = 0;
    write_stream(&s, &two, 0, 2, true);
    fails(&s, "shard 1 of 3 is missing");
    ck_assert_int_eq(read_all(s.data, s.n, 0, true, &d), 2);
    write_stream(&s, &one, 2, 2, true);
    fails(&s, "shard 3 of 3 is missing");
    ck_assert_int_lt(read_all(s.data, s.n, 0, true, &d), 0);
    ck_assert_ptr_nonnull(strstr(err.msg, "shard 3 of 3 is missing"));
    write_stream(&s, &two, 0, 2, true);
    fails(&s, "shard 2 of 3 comes twice");
    ral_arena_release(&a);
}
END_TEST

START_TEST(other_inputs_are_named)
{
    static struct bytes s;
    const struct ral_stream_info in = settings(1, 1);
    static const char *const rows[] = {"{\"id\": 1}\n", "\n  {\"id\": 1}\n",
                                       "\n\n"};

    s.n = 0;
    fails(&s, "empty");
    for (size_t i = 0; i < 3; i++) {
        s.n = strlen(rows[i]);
        memcpy(s.data, rows[i], s.n);
        fails(&s, "rows (JSON lines), not a stream");
    }
    memcpy(s.data, "\x89PNG\r\n\x1a\n", 8);
    s.n = 8;
    fails(&s, "not a record stream");
    s.n = 0;
    write_stream(&s, &in, 0, 1, true);
    s.data[s.n++] = 'x';
    fails(&s, "appended");
    ral_arena_release(&a);
}
END_TEST

START_TEST(wrong_frames_are_refused)
{
    static struct bytes s, whole;
    const struct ral_stream_info in = settings(1, 1);
    struct ral_buf b = {0};
    uint64_t d;

    // a header that is none, a map of no kind, an item that is no map
    s.n = 0;
    record(&b, 1);
    frame(&s, b.data, b.len, true);
    fails(&s, "without a header");
    s.n = 0;
    write_stream(&s, &in, 0, 1, false);
    const size_t at = s.n;
    frame(&s, "\xa1\x61x\x01", 4, true);
    fails(&s, "neither record nor end mark");
    s.n = at;
    frame(&s, "\x01", 1, true);
    fails(&s, "neither record nor end mark");
    s.n = at;
    frame(&s, "\xa1\x62id\x61x\x01", 7, true); // an item and one byte more
    fails(&s, "bytes after");
    s.n = at;
    frame(&s, "", 0, true);
    fails(&s, "ends early");
    s.n = at;
    frame(&s, "\xa1\x62id\x61x", 6, false);
    fails(&s, "checksum");
    // two streams cut and joined
    s.n = at;
    write_stream(&s, &in, 1, 1, true);
    fails(&s, "neither record nor end mark");
    // an end map that lies
    s.n = at;
    frame(&s, "\xa2\x63" "end\x02\x63sum\x00", 11, true);
    fails(&s, "counts 2 records");
    s.n = at;
    frame(&s, "\xa2\x63" "end\x01\x63sum\x18\x64", 12, true);
    fails(&s, "counts 1 records, sum 64");
    s.n = at;
    frame(&s, "\xa1\x63" "end\x01", 6, true);
    fails(&s, "sum is missing");
    // a record over the limit is refused by its frame's header alone
    whole.n = 0;
    write_stream(&whole, &in, 0, 1, false);
    memcpy(whole.data + whole.n, "\x28\xb5\x2f\xfd\xe4\xff\xff\xff\xff\xff\xff"
                                 "\xff\x7f", 13);
    whole.n += 13;
    fails(&whole, "--max-record");
    ck_assert_int_lt(read_all(s.data, at, 100, false, &d), 0);
    ck_assert_ptr_nonnull(strstr(err.msg, "at most 100"));
    ral_buf_release(&b);
    ral_arena_release(&a);
}
END_TEST

START_TEST(filters_append_to_provenance)
{
    const struct ral_stream_info in = settings(2, 3);
    const struct ral_provenance filter = {.program = "ral-reward",
                                          .version = "0.1"};
    const struct ral_edit add[] = {
        {.key = "teacher", .type = RAL_EDIT_TEXT, .text = "abc"}};
    struct ral_buf one = {0}, two = {0}, three = {0};
    const struct ral_item *list, *x, *y;
    struct ral_item *h1, *h2, *h3;
    struct ral_stream_info info;

    ck_assert_int_eq(ral_header_encode(&one, &in, &who, &err), 0);
    ck_assert_int_eq(ral_item_decode(&h1, one.data, one.len, &a, &err), 0);
    ck_assert_int_eq(ral_header_derive(h1, &two, &filter,
                                       (struct ral_edits){add, 1}, false,
                                       &err), 0);
    ck_assert_int_eq(ral_item_decode(&h2, two.data, two.len, &a, &err), 0);
    ck_assert_int_eq(ral_header_derive(h2, &three, &filter,
                                       (struct ral_edits){0}, true, &err), 0);
    ck_assert_int_eq(ral_item_decode(&h3, three.data, three.len, &a, &err), 0);

    list = ral_item_get(h3, "provenance");
    ck_assert_uint_eq(list->n, 3);
    ck_assert(ral_item_is(ral_item_get(&list->child[0], "program"),
                          "ral-rollout"));
    ck_assert(ral_item_get(&list->child[0], "previous")->type ==
              RAL_ITEM_NULL);
    x = ral_item_get(&list->child[1], "previous");
    y = ral_item_get(&list->child[2], "previous");
    ck_assert(x->type == RAL_ITEM_TEXT && x->n == 16 && y->n == 16);
    ck_assert(memcmp(x->text, y->text, 16)); // each names its own
    // the first entry and all other keys are the same bytes
    x = &ral_item_get(h1, "provenance")->child[0];
    ck_assert_mem_eq(list->child[0].raw, x->raw, x->raw_len);
    for (size_t i = 0; i < h1->n; i++) {
        const struct ral_item *k = &h1->child[2 * i];

        ck_assert_mem_eq(h3->child[2 * i].raw, k->raw, k->raw_len);
        if (!ral_item_is(k, "provenance") && !ral_item_is(k, "shard"))
            ck_assert_mem_eq(h3->child[2 * i + 1].raw, k[1].raw, k[1].raw_len);
    }
    ck_assert(ral_item_is(ral_item_get(h3, "teacher"), "abc"));
    ck_assert_int_eq(ral_header_decode(&info, h1, &a, &err), 0);
    ck_assert(info.shard == 2 && info.shards == 3);
    ck_assert_int_eq(ral_header_decode(&info, h3, &a, &err), 0);
    ck_assert(info.shard == 1 && info.shards == 1);
    ral_buf_release(&one);
    ral_buf_release(&two);
    ral_buf_release(&three);
    ral_arena_release(&a);
}
END_TEST

START_TEST(headers_that_make_no_sense_are_refused)
{
    static const struct {
        const char *key, *cbor, *why;
        size_t n;
    } t[] = {
        {"ral", "\x02", "format version 2", 1},
        {"policy", "\x01", "policy is an integer", 1},
        {"sampling", "\x80", "sampling is no map", 1},
        {"sampling", "\xa0", "sampling.temperature is missing", 1},
        {"attn", "\xa1\x66layers\x81\x20", "a layer in attn.layers", 10},
        {"attn", "\xa2\x66layers\x80\x65heads\x00", "attn.heads is 0", 16},
        {"shard", "\x82\x00\x01", "shard 0", 3},
        {"shard", "\x82\x02\x01", "shard is not in 0 to 1", 3},
        {"shard", "\x82\x01\x1a\x7f\xff\xff\xff", "number of shards", 7},
        {"media_root", "\x62/\x00", "NUL", 3},
    };
    const struct ral_stream_info in = settings(1, 1);
    struct ral_buf b = {0}, c = {0};
    struct ral_item *h, *g;
    struct ral_stream_info info;

    ck_assert_int_eq(ral_header_encode(&b, &in, &who, &err), 0);
    ck_assert_int_eq(ral_item_decode(&h, b.data, b.len, &a, &err), 0);
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        const struct ral_edit e = {.key = t[i].key,
                                   .raw = (const uint8_t *)t[i].cbor,
                                   .raw_len = t[i].n};

        c.len = 0;
        ck_assert_int_eq(ral_map_replace(&c, h, (struct ral_edits){&e, 1},
                                         &err), 0);
        ck_assert_int_eq(ral_item_decode(&g, c.data, c.len, &a, &err), 0);
        ck_assert_int_eq(ral_header_decode(&info, g, &a, &err), -RAL_EINVAL);
        ck_assert_msg(strstr(err.msg, t[i].why), "%s", err.msg);
    }
    ral_buf_release(&b);
    ral_buf_release(&c);
    ral_arena_release(&a);
}
END_TEST

START_TEST(files_are_read_in_a_row)
{
    static struct bytes s;
    char dir[] = "/tmp/ralXXXXXX", path[3][64];
    char *list[3];
    struct ral_reader *r;
    struct ral_item *rec;
    int rc, n = 0;

    ck_assert_ptr_nonnull(mkdtemp(dir));
    for (int k = 0; k < 3; k++) {
        const struct ral_stream_info in = settings((uint64_t)k + 1, 2);
        FILE *f;

        snprintf(path[k], sizeof path[k], "%s/%d", dir, k);
        list[k] = path[k];
        s.n = 0;
        if (k < 2)
            write_stream(&s, &in, k, 2, true);
        ck_assert_ptr_nonnull((f = fopen(path[k], "w")));
        fwrite(s.data, 1, s.n, f);
        fclose(f);
    }
    ck_assert_int_eq(ral_reader_open_files(&r, list, 2, 0, &err), 0);
    while ((rc = ral_reader_next(r, &a, &rec, &err)) == 1)
        n++;
    ck_assert_msg(rc == 0, "%s", err.msg);
    ck_assert_int_eq(n, 4);
    ral_reader_close(r);

    ck_assert_int_eq(ral_reader_open_files(&r, list, 3, 0, &err), 0);
    while ((rc = ral_reader_next(r, &a, &rec, &err)) == 1)
        ;
    ck_assert_int_lt(rc, 0);
    ck_assert_ptr_nonnull(strstr(err.msg, "/2: empty"));
    ck_assert_int_eq(ral_reader_next(r, &a, &rec, &err), rc);
    ral_reader_close(r);
    for (int k = 0; k < 3; k++)
        unlink(path[k]);
    ck_assert_int_lt(ral_reader_open_files(&r, list, 1, 0, &err), 0);
    ck_assert_ptr_null(r);
    rmdir(dir);
    ral_arena_release(&a);
}
END_TEST

START_TEST(big_records_pass_and_memory_stays)
{
    enum { N = 3 << 20, RECORDS = 4 };
    const struct ral_stream_info in = settings(1, 1);
    const int fd = memfd_create("stream", 0);
    float *v = malloc(N * sizeof *v);
    struct ral_buf b = {0};
    struct ral_writer *w;
    struct ral_reader *r;
    struct ral_item *rec;
    const float *got;
    size_t n, peak = 0;
    uint32_t x = 1;

    for (size_t i = 0; i < N; i++)
        v[i] = (float)(x = x * 1664525u + 1013904223u);
    ck_assert_int_eq(ral_header_encode(&b, &in, &who, &err), 0);
    ck_assert_int_eq(ral_writer_open(&w, fd, "out", 1, &err), 0);
    ck_assert_int_eq(ral_writer_header(w, b.data, b.len, &err), 0);
    record(&b, 1);
    b.len--; // its x becomes the array
    ck_assert_int_eq(ral_cbor_f32s(&b, v, N), 0);
    for (int i = 0; i < RECORDS; i++)
        ck_assert_int_eq(ral_writer_put(w, b.data, b.len, &err), 0);
    ck_assert_int_eq(ral_writer_finish(w, &err), 0);
    lseek(fd, 0, SEEK_SET);
    ck_assert_int_eq(ral_reader_open(&r, fd, "in", 0, &err), 0);
    for (int i = 0; i < RECORDS; i++) {
        ck_assert_int_eq(ral_reader_next(r, &a, &rec, &err), 1);
        ck_assert_int_eq(ral_item_f32s(ral_item_get(rec, "x"), "x", &a, &got,
                                       &n, &err), 0);
        ck_assert(n == N && !memcmp(got, v, N * sizeof *v));
        if (i == 0)
            peak = a.held;
        ck_assert_uint_eq(a.held, peak);
        ral_arena_reset(&a);
    }
    ck_assert_int_eq(ral_reader_next(r, &a, &rec, &err), 0);
    ral_reader_close(r);
    close(fd);
    free(v);
    ral_buf_release(&b);
    ral_arena_release(&a);
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("streams");

    tcase_add_test(t, what_was_written_is_read);
    tcase_add_test(t, every_cut_is_an_error);
    tcase_add_test(t, every_flip_is_found_or_harmless);
    tcase_add_test(t, segments_join);
    tcase_add_test(t, shards_are_counted);
    tcase_add_test(t, other_inputs_are_named);
    tcase_add_test(t, wrong_frames_are_refused);
    tcase_add_test(t, filters_append_to_provenance);
    tcase_add_test(t, headers_that_make_no_sense_are_refused);
    tcase_add_test(t, files_are_read_in_a_row);
    tcase_add_test(t, big_records_pass_and_memory_stays);
    return run_tests(t);
}

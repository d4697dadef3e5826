/* tests/unit/test_group.c - records: encoded, checked, edited. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "stream/cbor.h"
#include "stream/edit.h"
#include "stream/group.h"
#include "run.h"

enum { P = 5, G = 3 };

static struct ral_arena a;
static struct ral_buf b, c;
static struct ral_err err;
static const int32_t layers[] = {0, 2};
static const struct ral_stream_info info = {.attn_layers = layers,
                                            .n_layers = 2, .n_heads = 3};

static void release(void)
{
    ral_arena_release(&a);
    ral_buf_release(&b);
    ral_buf_release(&c);
}

static size_t attn_count(size_t T)
{
    size_t n;

    ck_assert_int_eq(ral_attn_count(P, T, &n), 0);
    return 2 * 3 * n;
}

/* Encodes a record into b; T of sample i is i + 1. */
static void encode(const char *error)
{
    static const int32_t prompt[P] = {1, 2, 99, 3, 4};
    struct ral_sample s[G];
    const struct ral_media_ref media[] = {
        {.path = "a.png", .digest = "00ff", .grid = {1, 2, 4}, .width = 56,
         .height = 28, .bytes = (const uint8_t *)"\x89PNG", .n_bytes = 4},
        {.path = "/b.mp4", .digest = "11", .video = true, .grid = {3, 2, 2},
         .width = 640, .height = 480, .seconds = 0.5},
    };
    json_t *row = json_loads("{\"id\": \"q7\", \"messages\": [{\"role\": "
                             "\"user\", \"content\": \"?\"}], \"answer\": "
                             "\"B\", \"choices\": [\"x\", \"y\"], \"k\": 3}",
                             0, NULL);

    for (size_t i = 0; i < G; i++) {
        const size_t T = i + 1;
        int32_t *ids = RAL_NEW(&a, int32_t, T);
        int32_t *ends = RAL_NEW(&a, int32_t, T);
        float *logp = RAL_NEW(&a, float, T);
        float *attn = RAL_NEW(&a, float, attn_count(T));

        for (size_t t = 0; t < T; t++) {
            ids[t] = (int32_t)(10 * i + t);
            ends[t] = (int32_t)(t + 2); // ab, NUL, \xff
            logp[t] = -(float)t / 3;
        }
        for (size_t k = 0; k < attn_count(T); k++)
            attn[k] = (float)k / 7;
        s[i] = (struct ral_sample){
            .ids = ids, .T = T, .text = "ab\0\xff", .text_len = 4,
            .finish = i == 1 ? RAL_FINISH_LENGTH : RAL_FINISH_STOP,
            .ends = ends, .logp = logp, .attn = attn, .attn_n = attn_count(T)};
    }
    b.len = 0;
    ck_assert_msg(ral_group_encode(&b, &(struct ral_group_parts){
        .id = "q7", .row = row, .media = media, .n_media = 2,
        .prompt_ids = prompt, .P = error ? 0 : P, .samples = s,
        .G = error ? 0 : G, .error = error}, &err) == 0, "%s", err.msg);
    json_decref(row);
}

static struct ral_item *tree(const struct ral_buf *from)
{
    struct ral_item *it = NULL;

    ck_assert_msg(ral_item_decode(&it, from->data, from->len, &a, &err) == 0,
                  "%s", err.msg);
    return it;
}

START_TEST(a_group_comes_back)
{
    struct ral_group g;

    encode(NULL);
    ck_assert_msg(ral_group_decode(&g, &info, tree(&b), &a, &err) == 0, "%s",
                  err.msg);
    ck_assert_str_eq(g.id, "q7");
    ck_assert_str_eq(g.answer, "B");
    ck_assert_str_eq(g.status, "ok");
    ck_assert(g.ok && !g.error && g.messages->n == 1);
    ck_assert(g.P == P && g.prompt_ids[2] == 99 && g.G == G);
    ck_assert(g.n_media == 2 && g.media->n == 2);
    ck_assert_str_eq(g.media_ref[0].path, "a.png");
    ck_assert(!g.media_ref[0].video && g.media_ref[0].n_bytes == 4);
    ck_assert_mem_eq(g.media_ref[0].bytes, "\x89PNG", 4);
    ck_assert(g.media_ref[1].video && g.media_ref[1].grid[0] == 3);
    ck_assert(g.media_ref[1].seconds == 0.5 && !g.media_ref[1].bytes);
    ck_assert(g.media_ref[1].width == 640 && g.media_ref[1].height == 480);
    for (size_t i = 0; i < G; i++) {
        const struct ral_sample *s = &g.samples[i];

        ck_assert(s->T == i + 1 && s->ids[i] == (int32_t)(11 * i));
        ck_assert(s->logp[i] == -(float)i / 3);
        ck_assert(s->attn_n == attn_count(s->T));
        ck_assert(s->attn[s->attn_n - 1] == (float)(s->attn_n - 1) / 7);
        ck_assert(s->finish == (i == 1 ? RAL_FINISH_LENGTH : RAL_FINISH_STOP));
        ck_assert_uint_eq(s->text_len, 6);
        ck_assert_mem_eq(s->text, "ab\0\xef\xbf\xbd", 6);
        ck_assert(s->ends[0] == 2 && s->ends[i] == (i == 2 ? 6 : (int)i + 2));
        ck_assert_uint_eq(ral_sample_token(s, 0), 0);
        ck_assert_uint_eq(ral_sample_token(s, 2), 1); // T for the first
        ck_assert_uint_eq(ral_sample_token(s, 5), i == 2 ? 2 : s->T);
        ck_assert(!s->scored && !s->has_advantage);
        ck_assert_str_eq(s->status, "ok");
    }
    ck_assert(ral_item_is(g.item->child, "id")); // first, always
    ck_assert_ptr_nonnull(ral_item_get(g.item, "choices"));
    ck_assert_int_eq(ral_group_decode(&g, NULL, g.item, &a, &err), 0);
    release();
}
END_TEST

START_TEST(a_failed_group_passes)
{
    struct ral_group g;

    encode("a.png: not an image");
    ck_assert_msg(ral_group_decode(&g, &info, tree(&b), &a, &err) == 0, "%s",
                  err.msg);
    ck_assert(!g.ok && g.G == 0 && g.P == 0);
    ck_assert_str_eq(g.status, "failed");
    ck_assert_str_eq(g.error, "a.png: not an image");
    release();
}
END_TEST

/* Replaces one key of the record (sample < 0) or of a sample by raw CBOR. */
static void damage(int sample, const char *key, const char *raw, size_t n)
{
    const struct ral_edit e = {.key = key,
                               .type = raw ? RAL_EDIT_RAW : RAL_EDIT_DROP,
                               .raw = (const uint8_t *)raw, .raw_len = n};
    struct ral_edits top = {0}, s[G] = {0};

    if (sample < 0)
        top = (struct ral_edits){&e, 1};
    else
        s[sample] = (struct ral_edits){&e, 1};
    c.len = 0;
    ck_assert_int_eq(ral_record_replace(&c, tree(&b), top, s, G, &err), 0);
}

START_TEST(lengths_and_values_are_checked)
{
    static const struct {
        int sample;
        const char *key, *raw, *why;
        size_t n;
    } t[] = {
        {-1, "id", NULL, "id is missing", 0},
        {-1, "id", "\x05", "id is an integer", 1},
        {-1, "prompt_ids", NULL, "record q7: prompt_ids is missing", 0},
        {-1, "prompt_ids", "\xd8\x4e\x40", "prompt_ids is empty", 3},
        {-1, "prompt_ids", "\xd8\x4e\x44\xff\xff\xff\xff",
         "prompt_ids[0] is -1", 7},
        {-1, "prompt_ids", "\xd8\x4e\x44\x01\0\0\0",
         "samples[0]: attn holds 30", 7},
        {-1, "samples", NULL, "samples is no list", 0},
        {-1, "samples", "\x80", "samples is empty", 1},
        {-1, "samples", "\x81\x01", "samples[0]: not a map", 2},
        {-1, "media", "\x81\xa0", "media[0]: path is missing", 2},
        {-1, "status", "\x01", "status is an integer", 1},
        {2, "ids", "\xd8\x4e\x44\x01\0\0\0", "samples[2]: ends holds 3", 7},
        {2, "logp", "\xd8\x55\x44\0\0\0\0", "logp holds 1 values for 3", 7},
        {0, "logp", "\xd8\x55\x44\0\0\xc0\x7f", "q7: samples[0]: logp[0] is "
                                                "nan", 7},
        {0, "logp", "\xd8\x55\x44\0\0\x80\xff", "logp[0] is -inf", 7},
        {1, "attn", "\xd8\x55\x44\0\0\0\0", "samples[1]: attn holds 1", 7},
        {1, "attn", "\xd8\x55\x40", "samples[1]: attn holds 0", 3},
        {2, "ends", "\xd8\x4e\x44\x01\0\0\0", "ends holds 1 values for 3", 7},
        {0, "ends", "\xd8\x4e\x44\x07\0\0\0", "samples[0]: ends[0] is 7", 7},
        {1, "ends", "\xd8\x4e\x48\x02\0\0\0\x01\0\0\0", "ends[1] is 1", 11},
        {1, "finish", "\x63" "eos", "finish is neither", 4},
        {1, "text", NULL, "text is missing", 0},
        {1, "reward", "\xf9\x7e\x00", "samples[1]: reward is nan", 3},
        {1, "reward", "\x61x", "reward is a text", 2},
        {2, "advantage", "\xf9\xfc\x00", "q7: samples[2]: advantage is -inf",
         3},
    };
    struct ral_group g;

    encode(NULL);
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        damage(t[i].sample, t[i].key, t[i].raw, t[i].n);
        ck_assert_msg(ral_group_decode(&g, &info, tree(&c), &a, &err) ==
                          -RAL_EINVAL,
                      "%s passed", t[i].why);
        ck_assert_msg(strstr(err.msg, t[i].why), "not '%s': %s", t[i].why,
                      err.msg);
    }
    damage(0, "logp", NULL, 0); // may be absent
    ck_assert_int_eq(ral_group_decode(&g, &info, tree(&c), &a, &err), 0);
    ck_assert_ptr_null(g.samples[0].logp);
    damage(0, "reward", "\xf6", 1); // null is no score
    ck_assert_int_eq(ral_group_decode(&g, &info, tree(&c), &a, &err), 0);
    ck_assert(!g.samples[0].scored);
    release();
}
END_TEST

START_TEST(scoring_twice_changes_nothing)
{
    struct ral_edit e[G][4];
    struct ral_edits s[G];
    struct ral_buf again = {0};
    const struct ral_item *before, *after;
    struct ral_group g;

    encode(NULL);
    for (size_t i = 0; i < G; i++) {
        e[i][0] = (struct ral_edit){
            .key = "rewards", .raw = (const uint8_t *)"\xa1\x63"
                                                      "acc\xfb\x3f\xf0\0\0\0"
                                                      "\0\0\0", .raw_len = 14};
        e[i][1] = (struct ral_edit){.key = "reward", .type = RAL_EDIT_F64,
                                    .num = 0.9};
        e[i][2] = (struct ral_edit){.key = "advantage", .type = RAL_EDIT_F64,
                                    .num = (double)i - 1};
        e[i][3] = (struct ral_edit){.key = "status", .type = RAL_EDIT_TEXT,
                                    .text = "ok"};
        s[i] = (struct ral_edits){e[i], 4};
    }
    ck_assert_int_eq(ral_record_replace(&c, tree(&b), (struct ral_edits){0}, s,
                                        G, &err), 0);
    ck_assert_int_eq(ral_record_replace(&again, tree(&c),
                                        (struct ral_edits){0}, s, G, &err), 0);
    ck_assert_uint_eq(c.len, again.len);
    ck_assert_mem_eq(c.data, again.data, c.len);
    ck_assert_int_eq(ral_group_decode(&g, &info, tree(&c), &a, &err), 0);
    ck_assert(g.samples[2].scored && g.samples[2].reward == 0.9);
    ck_assert(g.samples[2].has_advantage && g.samples[2].advantage == 1);

    // what was not named is the same bytes in the same order
    before = tree(&b);
    after = tree(&c);
    ck_assert_uint_eq(before->n, after->n);
    for (size_t i = 0; i < 2 * before->n; i++)
        if (i % 2 == 0 || !ral_item_is(&before->child[i - 1], "samples"))
            ck_assert_mem_eq(before->child[i].raw, after->child[i].raw,
                             before->child[i].raw_len);
    // other values land in the same places
    e[1][1].num = -5;
    again.len = 0;
    ck_assert_int_eq(ral_record_replace(&again, tree(&c),
                                        (struct ral_edits){0}, s, G, &err), 0);
    ck_assert_uint_eq(c.len, again.len);
    ck_assert_int_ne(memcmp(c.data, again.data, c.len), 0);
    // dropping what was added gives the old record
    for (size_t i = 0; i < G; i++)
        for (int k = 0; k < 4; k++)
            e[i][k].type = RAL_EDIT_DROP;
    again.len = 0;
    ck_assert_int_eq(ral_record_replace(&again, tree(&c),
                                        (struct ral_edits){0}, s, G, &err), 0);
    ck_assert_uint_eq(b.len, again.len);
    ck_assert_mem_eq(b.data, again.data, b.len);
    ck_assert_int_lt(ral_record_replace(&again, tree(&c),
                                        (struct ral_edits){0}, s, G - 1, &err),
                     0);
    ral_buf_release(&again);
    release();
}
END_TEST

START_TEST(reserved_fields_are_refused)
{
    json_t *row = json_loads("{\"samples\": []}", 0, NULL);

    ck_assert_int_eq(ral_group_encode(&b, &(struct ral_group_parts){
        .id = "x", .row = row, .error = "e"}, &err), -RAL_EINVAL);
    ck_assert_str_eq(err.msg, "record x: the row has a field samples, which "
                              "streams use themselves; rename it");
    ck_assert_uint_eq(b.len, 0);
    json_decref(row);
    release();
}
END_TEST

START_TEST(half_attention_widens)
{
    static const int32_t ids[] = {7};
    const float attn[] = {0.25f, 0.5f, 0.1f};
    const struct ral_sample s = {.ids = ids, .T = 1, .text = "", .attn = attn,
                                 .attn_n = 3};
    const struct ral_stream_info mean = {.n_layers = 3};
    struct ral_group g;

    ck_assert_int_eq(ral_group_encode(&b, &(struct ral_group_parts){
        .id = "x", .prompt_ids = ids, .P = 1, .samples = &s, .G = 1,
        .attn_f16 = true}, &err), 0);
    ck_assert_int_eq(ral_group_decode(&g, &mean, tree(&b), &a, &err), 0);
    ck_assert(g.samples[0].attn[1] == 0.5f && !g.samples[0].logp);
    ck_assert(fabsf(g.samples[0].attn[2] - 0.1f) < 1e-4f &&
              g.samples[0].attn[2] != 0.1f);
    release();
}
END_TEST

START_TEST(a_row_of_any_layer_and_head)
{
    static const struct {
        struct ral_attn_of of;
        int rc;
        size_t plane; // of the first head, or the one; a plane is 5 + 6 + 7
        const char *why;
    } t[] = {
        {{-1, -1}, 0, 3, NULL}, {{2, -1}, 0, 3, NULL}, {{2, 0}, 0, 3, NULL},
        {{-1, 2}, 0, 5, NULL},  {{0, -1}, 0, 0, NULL}, {{-2, 1}, 0, 1, NULL},
        {{0, 2}, 0, 2, NULL},
        {{1, -1}, -RAL_EUSAGE, 0, "there is no layer 1; the stream's attn "
                                  "holds layers 0, 2 of each of 3 heads"},
        {{-3, -1}, -RAL_EUSAGE, 0, "there is no layer -3; "},
        {{3, 0}, -RAL_EUSAGE, 0, "there is no layer 3; "},
        {{INT64_MIN, 0}, -RAL_EUSAGE, 0, "there is no layer -9223372036854775"},
        {{0, 3}, -RAL_EUSAGE, 0, "there is no head 3; the stream's attn holds"},
        {{0, INT64_MAX}, -RAL_EUSAGE, 0, "there is no head 9223372036854775807"},
    };
    static const size_t before[] = {0, 5, 11};
    struct ral_group g;
    double p[P + 2];

    encode(NULL);
    ck_assert_int_eq(ral_group_decode(&g, &info, tree(&b), &a, &err), 0);
    for (size_t i = 0; i < sizeof t / sizeof *t; i++)
        for (size_t k = 0; k < 3; k++) {
            // attn[x] is x/7, and the mean of three planes their middle
            const size_t mean = t[i].of.head < 0 ? 18 : 0;

            ck_assert_int_eq(ral_attn_row(&info, P, &g.samples[2], k, t[i].of,
                                          p, &err), t[i].rc);
            if (t[i].rc < 0)
                ck_assert_msg(strstr(err.msg, t[i].why) == err.msg, "%s",
                              err.msg);
            for (size_t s = 0; t[i].rc == 0 && s < P + k; s++)
                ck_assert_double_eq_tol(
                    p[s],
                    (double)(t[i].plane * 18 + mean + before[k] + s) / 7,
                    1e-5);
        }
    ck_assert_int_eq(ral_attn_row(&info, P, &g.samples[2], 3, RAL_ATTN_LAST, p,
                                  &err), -RAL_EINVAL);
    ck_assert_str_eq(err.msg, "it has no token 3");
    release();
}
END_TEST

START_TEST(rows_of_means_have_no_heads)
{
    static const float attn[] = {0.25f, 0.75f, 1, 0};
    const struct ral_sample s = {.T = 1, .attn = attn, .attn_n = 4};
    struct ral_stream_info mean = {.attn_layers = layers, .n_layers = 2};
    double p[2];

    ck_assert_int_eq(ral_attn_row(&mean, 2, &s, 0, RAL_ATTN_LAST, p, &err), 0);
    ck_assert(p[0] == 1 && p[1] == 0);
    ck_assert_int_eq(ral_attn_row(&mean, 2, &s, 0, (struct ral_attn_of){0, -1},
                                  p, &err), 0);
    ck_assert(p[0] == 0.25 && p[1] == 0.75);
    ck_assert_int_eq(ral_attn_row(&mean, 2, &s, 0, (struct ral_attn_of){0, 0},
                                  p, &err), -RAL_EUSAGE);
    ck_assert_str_eq(err.msg, "there is no head 0; the stream's attn holds "
                              "layers 0, 2, the mean of their heads");
    mean.n_layers = 1;
    ck_assert_int_eq(ral_attn_row(&mean, 2, &s, 0, (struct ral_attn_of){2, -1},
                                  p, &err), -RAL_EUSAGE);
    ck_assert_str_eq(err.msg, "there is no layer 2; the stream's attn holds "
                              "layer 0, the mean of its heads");
    mean.n_layers = 0;
    ck_assert_int_eq(ral_attn_row(&mean, 2, &s, 0, RAL_ATTN_LAST, p, &err),
                     -RAL_EINVAL);
    ck_assert_str_eq(err.msg, "its attention was not recorded");
}
END_TEST

/* A record whose bytes were changed anywhere decodes safely or is refused. */
START_TEST(damage_never_crashes)
{
    struct ral_group g;
    struct ral_item *it;
    uint8_t *copy;

    encode(NULL);
    copy = malloc(b.len);
    for (size_t i = 0; i < b.len; i++)
        for (int k = 0; k < 4; k++) {
            static const uint8_t x[] = {0x01, 0x20, 0x80, 0xff};
            struct ral_arena m = {0};

            memcpy(copy, b.data, b.len);
            copy[i] ^= x[k];
            if (ral_item_decode(&it, copy, b.len, &m, &err) == 0 &&
                ral_group_decode(&g, &info, it, &m, &err) == 0)
                ck_assert_uint_eq(g.G, G);
            ral_arena_release(&m);
        }
    free(copy);
    release();
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("records");

    tcase_add_test(t, a_group_comes_back);
    tcase_add_test(t, a_failed_group_passes);
    tcase_add_test(t, lengths_and_values_are_checked);
    tcase_add_test(t, scoring_twice_changes_nothing);
    tcase_add_test(t, reserved_fields_are_refused);
    tcase_add_test(t, half_attention_widens);
    tcase_add_test(t, a_row_of_any_layer_and_head);
    tcase_add_test(t, rows_of_means_have_no_heads);
    tcase_add_test(t, damage_never_crashes);
    return run_tests(t);
}

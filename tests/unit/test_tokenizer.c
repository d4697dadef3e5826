/* tests/unit/test_tokenizer.c - ids and texts against golden files. */
#include <check.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/rng.h"
#include "text/bpe.h"
#include "text/tokenizer.h"
#include "text/utf8.h"
#include "run.h"

#define TINY GOLDEN_TOP "/share/models/tiny/tokenizer.json"
#define GOLDEN GOLDEN_TOP "/tests/golden/"

static struct ral_err err;

static struct ral_tokenizer *open_ok(const char *path)
{
    struct ral_tokenizer *t;
    const int rc = ral_tokenizer_open(&t, path, &err);

    ck_assert_msg(rc == 0, "%s", err.msg);
    return t;
}

/* Calls row() for every line of a JSONL file. */
static size_t each_line(const char *path, struct ral_tokenizer *t,
                        void (*row)(struct ral_tokenizer *, const json_t *,
                                    size_t))
{
    struct ral_buf file = {0};
    char *at, *end;
    size_t line = 0;

    ck_assert_int_eq(ral_file_read(path, 1 << 24, &file, &err), 0);
    for (at = (char *)file.data; *at; at = end + 1) {
        json_error_t je;
        json_t *j;

        end = strchr(at, '\n');
        ck_assert_ptr_nonnull(end);
        j = json_loadb(at, (size_t)(end - at), JSON_ALLOW_NUL, &je);
        ck_assert_msg(j, "%s:%zu: %s", path, line + 1, je.text);
        row(t, j, ++line);
        json_decref(j);
    }
    ral_buf_release(&file);
    return line;
}

static void check_decode(const struct ral_tokenizer *t,
                         const struct ral_ids *ids, bool skip,
                         const json_t *want, size_t line)
{
    struct ral_buf out = {0};

    ck_assert_int_eq(ral_tokenizer_decode(t, ids->id, ids->n, skip, &out), 0);
    ck_assert_msg(out.len == json_string_length(want) &&
                      !memcmp(out.data ? (char *)out.data : "",
                              json_string_value(want), out.len),
                  "line %zu decodes to '%.*s'", line, (int)out.len, out.data);
    ral_buf_release(&out);
}

static void ids_of(const json_t *list, struct ral_ids *ids)
{
    const json_t *v;
    size_t i;

    json_array_foreach(list, i, v)
        ral_ids_put(ids, (int32_t)json_integer_value(v));
}

static bool has_added(const char *s)
{
    return strstr(s, "<|") || strstr(s, "answer>") || strstr(s, "think>");
}

static void golden_row(struct ral_tokenizer *t, const json_t *row, size_t line)
{
    const json_t *text = json_object_get(row, "text");
    const json_t *decoded = json_object_get(row, "decoded");
    struct ral_ids want = {0}, got = {0};
    struct ral_buf nfc = {0};

    ids_of(json_object_get(row, "ids"), &want);
    check_decode(t, &want, false, decoded ? decoded : text, line);
    if (json_object_get(row, "skipped"))
        check_decode(t, &want, true, json_object_get(row, "skipped"), line);
    if (text) {
        const char *s = json_string_value(text);
        const size_t n = json_string_length(text);

        ck_assert_int_eq(ral_tokenizer_encode(t, s, n, &got, &err), 0);
        ck_assert_msg(
            got.n == want.n &&
                (!got.n || !memcmp(got.id, want.id, got.n * sizeof *got.id)),
            "line %zu ('%s') has other ids", line, s);
        // Text comes back in normal form, where no added token cuts it.
        ck_assert_int_eq(ral_utf8_nfc(&nfc, s, n), 0);
        if (!has_added(s))
            ck_assert_msg(
                nfc.len == json_string_length(decoded ? decoded : text) &&
                    !memcmp(nfc.data ? (char *)nfc.data : "",
                            json_string_value(decoded ? decoded : text),
                            nfc.len),
                "line %zu ('%s') has another normal form", line, s);
    }
    ral_ids_release(&want);
    ral_ids_release(&got);
    ral_buf_release(&nfc);
}

START_TEST(golden_texts)
{
    struct ral_tokenizer *t = open_ok(TINY);

    ck_assert_uint_gt(each_line(GOLDEN "tokenizer.jsonl", t, golden_row), 800);
    ral_tokenizer_close(t);
}
END_TEST

/* As in make_tokenizer.py: first, end, step. */
static const int32_t ranges[][3] = {
    {0, 0x3400, 1},         {0x3400, 0xA000, 61},     {0xA000, 0xAC00, 1},
    {0xAC00, 0xD7A4, 7},    {0xD7A4, 0xD800, 1},      {0xE000, 0xF900, 61},
    {0xF900, 0x17000, 1},   {0x17000, 0x18B00, 13},   {0x18B00, 0x20000, 1},
    {0x20000, 0x32400, 13}, {0x32400, 0x110000, 1009}};

static uint64_t fnv(uint64_t h, uint32_t x)
{
    for (int k = 0; k < 4; k++)
        h = (h ^ (x >> 8 * k & 255)) * 0x100000001B3u;
    return h;
}

static uint64_t digest(const struct ral_tokenizer *t, const char *context,
                       const int32_t range[3])
{
    uint64_t h = 0xCBF29CE484222325u;
    struct ral_buf text = {0};
    struct ral_ids ids = {0};
    int rc = 0; // every ck_assert writes to a file: one at the end

    for (int32_t c = range[0]; c < range[1]; c += range[2]) {
        text.len = ids.n = 0;
        for (const char *s = context; *s; s++)
            if (s[0] == '{')
                rc |= ral_utf8_put(&text, c);
            else if (s[0] != '}')
                rc |= ral_buf_put(&text, s, 1);
        rc |= ral_tokenizer_encode(t, (char *)text.data, text.len, &ids, &err);
        for (size_t i = 0; i < ids.n; i++)
            h = fnv(h, (uint32_t)ids.id[i]);
        h = fnv(h, UINT32_MAX);
    }
    ck_assert_int_eq(rc, 0);
    ral_buf_release(&text);
    ral_ids_release(&ids);
    return h;
}

static void probe_row(struct ral_tokenizer *t, const json_t *row, size_t line)
{
    const char *context = json_string_value(json_object_get(row, "context"));
    const json_t *want = json_object_get(row, "digests");

    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        char got[17];

        snprintf(got, sizeof got, "%016llx",
                 (unsigned long long)digest(t, context, ranges[i]));
        ck_assert_msg(!strcmp(got, json_string_value(json_array_get(want, i))),
                      "context %zu '%s': ids differ from U+%04X on", line,
                      context, (unsigned)ranges[i][0]);
    }
}

START_TEST(every_character_splits_as_the_reference)
{
    struct ral_tokenizer *t = open_ok(GOLDEN "tokenizer_probe.json");

    ck_assert_uint_gt(each_line(GOLDEN "tokenizer_probe.jsonl", t, probe_row),
                      12);
    ral_tokenizer_close(t);
}
END_TEST

START_TEST(names_and_sizes)
{
    struct ral_tokenizer *t = open_ok(TINY);
    const int32_t strange[] = {-1, 1024, INT32_MAX, INT32_MIN};
    struct ral_buf out = {0};

    ck_assert_uint_eq(ral_tokenizer_size(t), 1024);
    ck_assert_int_eq(ral_tokenizer_id(t, "<|im_end|>"), 1008);
    ck_assert_int_eq(ral_tokenizer_id(t, "<answer>"), 1020);
    ck_assert_int_eq(ral_tokenizer_id(t, " red"), 446);
    ck_assert_int_eq(ral_tokenizer_id(t, "<answer>red"), -1);
    ck_assert_int_eq(ral_tokenizer_id(t, ""), -1);
    ck_assert_int_eq(ral_tokenizer_decode(t, strange, 4, false, &out), 0);
    ck_assert_uint_eq(out.len, 0);
    ral_buf_release(&out);
    ral_tokenizer_close(t);
}
END_TEST

START_TEST(answers_are_one_token)
{
    static const char *const words[] = {
        "red",     "orange", "yellow",   "green", "blue",     "purple",
        "pink",    "brown",  "black",    "grey",  "white",    "cyan",
        "circle",  "square", "triangle", "star",  "cross",    "diamond",
        "hexagon", "heart",  "moon",     "ring",  "pentagon", "arrow",
        "plus",    "Greek",  "A",        "D",     "yes",      "no",
        "true",    "false",  "7"};
    struct ral_tokenizer *t = open_ok(TINY);

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        struct ral_ids ids = {0};
        char s[64];

        snprintf(s, sizeof s, "<answer>%s</answer><|im_end|>", words[i]);
        ck_assert_int_eq(ral_tokenizer_encode(t, s, strlen(s), &ids, &err), 0);
        ck_assert_msg(ids.n == 4, "%s: %zu tokens", words[i], ids.n);
        ral_ids_release(&ids);
    }
    ral_tokenizer_close(t);
}
END_TEST

START_TEST(invalid_utf8_is_an_error_with_offset)
{
    static const char *const bad[] = {"abc\x80",         "abc\xC0\x80",
                                      "abc\xED\xA0\x80", "abc\xF4\x90\x80\x80",
                                      "abc\xE2\x82",     "abc\xFF"};
    struct ral_tokenizer *t = open_ok(TINY);
    struct ral_ids ids = {0};

    ck_assert_int_eq(ral_ids_put(&ids, 7), 0);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        ck_assert_int_eq(
            ral_tokenizer_encode(t, bad[i], strlen(bad[i]), &ids, &err),
            -RAL_EINVAL);
        ck_assert_ptr_nonnull(strstr(err.msg, "at byte 3"));
        ck_assert_uint_eq(ids.n, 1);
    }
    ral_ids_release(&ids);
    ral_tokenizer_close(t);
}
END_TEST

/* Long runs, and marks in an order that costs a simple sort n^2. */
START_TEST(long_text_is_no_trouble)
{
    const size_t n = 2000000;
    struct ral_tokenizer *t = open_ok(TINY);
    struct ral_ids ids = {0};
    struct ral_buf back = {0};
    char *s = malloc(n);

    ck_assert_ptr_nonnull(s);
    memset(s, ' ', n);
    ck_assert_int_eq(ral_tokenizer_encode(t, s, n, &ids, &err), 0);
    ck_assert_int_eq(ral_tokenizer_decode(t, ids.id, ids.n, true, &back), 0);
    ck_assert_uint_eq(back.len, n);
    ck_assert_mem_eq(back.data, s, n);
    for (size_t i = 0; i < n / 4; i++)
        memcpy(s + 4 * i, i % 2 ? "\xCC\x81\xCC\x96" : "\xCC\x96\xCC\x81", 4);
    ids.n = 0;
    ck_assert_int_eq(ral_tokenizer_encode(t, s, n, &ids, &err), 0);
    back.len = 0;
    ck_assert_int_eq(ral_tokenizer_decode(t, ids.id, ids.n, true, &back), 0);
    ck_assert_uint_eq(back.len, n);
    ck_assert_mem_eq(back.data, "\xCC\x96\xCC\x96", 4);
    ck_assert_mem_eq(back.data + n - 4, "\xCC\x81\xCC\x81", 4);
    memset(s, '<', n);
    ids.n = 0;
    ck_assert_int_eq(ral_tokenizer_encode(t, s, n, &ids, &err), 0);
    free(s);
    ral_ids_release(&ids);
    ral_buf_release(&back);
    ral_tokenizer_close(t);
}
END_TEST

START_TEST(repair_marks_maximal_parts)
{
    static const char *const cases[][2] = {
        {"a\xE2\x82"
         "b",
         "a\xEF\xBF\xBD"
         "b"},
        {"\xF0\x9F\x98", "\xEF\xBF\xBD"},
        {"\xE0\x80\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"},
        {"\xED\xA0\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"},
        {"\xC3\xC3\xA9", "\xEF\xBF\xBD\xC3\xA9"}};

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct ral_buf out = {0};

        ck_assert_int_eq(
            ral_utf8_repair(&out, cases[i][0], strlen(cases[i][0])), 0);
        ck_assert_uint_eq(out.len, strlen(cases[i][1]));
        ck_assert_mem_eq(out.data, cases[i][1], out.len);
        ral_buf_release(&out);
    }
}
END_TEST

/*
 * Files that must be refused: the tiny one with one text replaced (its first
 * occurrence), and what the message must say.
 */
static const char *const hostile[][3] = {
    {"\"NFC\"", "\"NFKC\"", "normalizer.type"},
    {"\"Sequence\"", "\"Whitespace\"", "pre_tokenizer.type"},
    {"(?i:'s|", "(?i:'z|", "regular expression"},
    {"\"Isolated\"", "\"Removed\"", "behavior"},
    {"\"invert\": false", "\"invert\": true", "invert"},
    {"\"add_prefix_space\": false", "\"add_prefix_space\": true",
     "add_prefix_space"},
    {"\"use_regex\": false", "\"use_regex\": true", "use_regex"},
    {"\"type\": \"BPE\"", "\"type\": \"Unigram\"", "model.type"},
    {"\"dropout\": null", "\"dropout\": 0.1", "model.dropout"},
    {"\"byte_fallback\": false", "\"byte_fallback\": true", "byte_fallback"},
    {"\"ignore_merges\": false", "\"ignore_merges\": true", "ignore_merges"},
    {"\"end_of_word_suffix\": null", "\"end_of_word_suffix\": \"</w>\"",
     "end_of_word_suffix"},
    {"\"lstrip\": false", "\"lstrip\": true", "lstrip"},
    {"\"normalized\": false", "\"normalized\": true", "normalized"},
    {"\"truncation\": null", "\"truncation\": {}", "truncation"},
    {"\"version\"", "\"vision\"", "vision"},
    {"\"fuse_unk\"", "\"fuse\"", "model.fuse"},
    {"\"!\": 0", "\"!\": \"0\"", "no integer"},
    {"\"!\": 0", "\"!\": 0.5", "no integer"},
    {"\"!\": 0", "\"!\": 1", "another have id 1"},
    {"\"!\": 0", "\"!\": 16777216", "16777216"},
    {"\"!\": 0", "\"!\": -1", "-1"},
    {"\"!\": 0", "\"\": 0", "alphabet"},
    {"\"!\": 0", "\"! \": 0", "alphabet"},
    {"\"!\": 0", "\"!!!!\": 0", "no token for byte 33"},
    {"\"!\": 0", "\"\\\"\": 0", "duplicate"},
    {"\"merges\": [", "\"merges\": [[\"x\"],", "merges[0]"},
    {"\"merges\": [", "\"merges\": [7,", "merges[0]"},
    {"\"merges\": [", "\"merges\": [\"r\",", "merges[0]"},
    {"\"merges\": [", "\"merges\": [\"r e x\",", "merges[0]"},
    {"\"merges\": [", "\"merges\": [\"r \",", "merges[0]"},
    {"\"merges\": [", "\"merges\": [[\"Q\",\"Q\"],", "vocabulary lacks"},
    {"\"merges\": [", "\"merges\": [[\"\",\"Q\"],", "vocabulary lacks"},
    {"\"merges\": [", "\"merges\": [\"r e\",", "twice"},
    {"\"id\": 1006", "\"id\": 1007", "other readers give it 1006"},
    {"\"id\": 1006", "\"id\": 5", "another have id 5"},
    {"\"id\": 1006", "\"id\": 99999999", "99999999"},
    {"\"id\": 1007", "\"id\": 1006", "another have id 1006"},
    {"<|im_start|>", "", "without text"},
    {"<|im_start|>", "<|endoftext|>", "twice"},
    {"\"content\": \"<|im", "\"contents\": \"<|im", "added_tokens[1]"},
};

/* Writes s[n] to a scratch file and expects a refusal that says so. */
static void refused(const char *s, size_t n, const char *says)
{
    char path[] = "/tmp/ral-test-XXXXXX";
    const int fd = mkstemp(path);
    struct ral_tokenizer *t;

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(ral_write_all(fd, s, n, path, &err), 0);
    close(fd);
    err.msg[0] = '\0';
    ck_assert_int_eq(ral_tokenizer_open(&t, path, &err), -RAL_EINVAL);
    unlink(path);
    ck_assert_ptr_null(t);
    ck_assert_msg(strstr(err.msg, path) && strstr(err.msg, says),
                  "'%s' should say '%s'", err.msg, says);
}

START_TEST(anything_else_is_refused_by_name)
{
    struct ral_buf file = {0}, out = {0};

    ck_assert_int_eq(ral_file_read(TINY, 1 << 24, &file, &err), 0);
    for (size_t i = 0; i < sizeof hostile / sizeof hostile[0]; i++) {
        const char *s = (char *)file.data, *at = strstr(s, hostile[i][0]);
        const size_t skip = strlen(hostile[i][0]);

        ck_assert_msg(at, "no %s", hostile[i][0]);
        out.len = 0;
        ral_buf_put(&out, s, (size_t)(at - s));
        ral_buf_put(&out, hostile[i][1], strlen(hostile[i][1]));
        ral_buf_put(&out, at + skip, strlen(at + skip));
        refused((char *)out.data, out.len, hostile[i][2]);
    }
    for (size_t n = 0; n < file.len - 2; n += 1 + file.len / 40)
        refused((char *)file.data, n, "line");
    refused("[]", 2, "not a JSON object");
    refused("{}", 2, "normalizer is missing");
    ral_buf_release(&file);
    ral_buf_release(&out);
}
END_TEST

/*
 * Tokens are words over two letters of at most MAX_LEN: a word of n letters
 * with the bits b has id (1 << n) - 2 + b.
 */
#define MAX_LEN 6

static int word_len(int32_t id)
{
    int n = 1;

    while ((2 << n) - 2 <= id)
        n++;
    return n;
}

static int32_t join(int32_t a, int32_t b)
{
    const int la = word_len(a), lb = word_len(b);

    if (la + lb > MAX_LEN)
        return -1;
    return (1 << (la + lb)) - 2 +
           ((a - (1 << la) + 2) << lb | (b - (1 << lb) + 2));
}

/* The definition: lowest rank first, leftmost of equals, until none is left. */
static size_t plain_bpe(const struct ral_merges *m, int32_t *id, size_t n)
{
    for (;;) {
        const struct ral_merge *best = NULL, *f;
        size_t at = 0;

        for (size_t i = 0; i + 1 < n; i++)
            if ((f = ral_merges_find(m, id[i], id[i + 1])) &&
                (!best || f->rank < best->rank)) {
                best = f;
                at = i;
            }
        if (!best)
            return n;
        id[at] = best->id;
        memmove(id + at + 1, id + at + 2, (n - at - 2) * sizeof *id);
        n--;
    }
}

/* Random merges, some of them impossible to reach, and random words. */
START_TEST(heap_does_what_the_definition_says)
{
    const int32_t words = (2 << MAX_LEN) - 2;
    int32_t byte_id[256] = {0}, want[64];
    size_t bad = 0, *rank = malloc((size_t)words * words * sizeof *rank);
    struct ral_bpe bpe = {0};
    struct ral_ids got = {0};
    struct ral_rng r;

    ck_assert_ptr_nonnull(rank);
    byte_id['b'] = 1;
    for (uint32_t trial = 0; trial < 40; trial++) {
        struct ral_merges m = {0};
        size_t k = 0;

        ral_rng_init(&r, 1, 2, trial);
        ral_rng_permute(&r, rank, (size_t)words * words);
        ck_assert_int_eq(ral_merges_init(&m, (size_t)words * words), 0);
        for (int32_t a = 0; a < words; a++)
            for (int32_t b = 0; b < words; b++, k++)
                if (join(a, b) >= 0 && ral_rng_below(&r, 4))
                    ral_merges_put(&m, a, b, (uint32_t)rank[k], join(a, b));
        for (int word = 0; word < 200; word++) {
            const size_t n = 1 + ral_rng_below(&r, 64);
            uint8_t s[64];
            size_t left;

            for (size_t i = 0; i < n; i++) {
                s[i] = "ab"[ral_rng_below(&r, word % 8 + 1) == 0];
                want[i] = byte_id[s[i]];
            }
            got.n = 0;
            left = plain_bpe(&m, want, n);
            bad += ral_bpe_encode(&bpe, &m, byte_id, s, n, &got) < 0 ||
                   got.n != left ||
                   memcmp(got.id, want, left * sizeof *want) != 0;
        }
        ral_merges_release(&m);
    }
    ck_assert_uint_eq(bad, 0);
    free(rank);
    ral_bpe_release(&bpe);
    ral_ids_release(&got);
}
END_TEST

int main(void)
{
    TCase *c = tcase_create("tokenizer");

    tcase_set_timeout(c, 120);
    tcase_add_test(c, golden_texts);
    tcase_add_test(c, every_character_splits_as_the_reference);
    tcase_add_test(c, heap_does_what_the_definition_says);
    tcase_add_test(c, names_and_sizes);
    tcase_add_test(c, answers_are_one_token);
    tcase_add_test(c, invalid_utf8_is_an_error_with_offset);
    tcase_add_test(c, long_text_is_no_trouble);
    tcase_add_test(c, repair_marks_maximal_parts);
    tcase_add_test(c, anything_else_is_refused_by_name);
    return run_tests(c);
}

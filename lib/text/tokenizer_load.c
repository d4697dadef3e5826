/* lib/text/tokenizer_load.c - tokenizer.json, checked field by field. */
#include "text/tokenizer_tables.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/buf.h"
#include "base/file.h"
#include "text/utf8.h"

#define MAX_FILE ((size_t)256 << 20)
#define MAX_ID (1 << 24) // ten times the largest vocabulary in use

struct loader {
    struct ral_tokenizer *t;
    const char *path;
    struct ral_err *err;
    int16_t byte_of[324]; // byte-level alphabet: code point to byte, or -1
    size_t n_vocab;
    struct ral_buf tmp;
};

__attribute__((format(printf, 2, 3))) static int refuse(const struct loader *l,
                                                        const char *fmt, ...)
{
    char what[600];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    return ral_err_set(l->err, -RAL_EINVAL, "%s: %s", l->path, what);
}

/*
 * The byte-level alphabet: printable bytes stand for themselves, the other 68
 * for U+0100 and up in order.
 */
static void alphabet(int16_t byte_of[324])
{
    int next = 256;

    for (int i = 0; i < 324; i++)
        byte_of[i] = -1;
    for (int b = 0; b < 256; b++) {
        const bool printable =
            (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;

        byte_of[printable ? b : next++] = (int16_t)b;
    }
}

/* Appends the bytes that a byte-level spelling means; false: it is none. */
static int unspell(const struct loader *l, struct ral_buf *out, const char *s,
                   bool *ok)
{
    size_t n = strlen(s);

    *ok = false;
    while (n) {
        bool valid;
        int32_t cp;
        const size_t step = ral_utf8_next(s, n, &valid, &cp);
        uint8_t byte;

        if (!valid || cp >= 324 || l->byte_of[cp] < 0)
            return 0;
        byte = (uint8_t)l->byte_of[cp];
        if (ral_buf_put(out, &byte, 1) < 0)
            return ral_err_nomem(l->err, "%s", l->path);
        s += step;
        n -= step;
    }
    *ok = true;
    return 0;
}

static size_t slot_of(const struct ral_tokenizer *t, const void *s, size_t n)
{
    return (size_t)XXH3_64bits(s, n) & t->mask;
}

int32_t ral_tokenizer_find(const struct ral_tokenizer *t, const char *text,
                           size_t len)
{
    size_t i = slot_of(t, text, len);

    for (; t->by_text[i] >= 0; i = (i + 1) & t->mask) {
        const struct ral_token *k = &t->token[t->by_text[i]];

        if (k->len == len && memcmp(k->text, text, len) == 0)
            return t->by_text[i];
    }
    return -1;
}

/* An object, or NULL after a message. */
static const json_t *object_in(const struct loader *l, const json_t *o,
                               const char *where, const char *key)
{
    const json_t *v = json_object_get(o, key);

    if (json_is_object(v))
        return v;
    refuse(l, "%s%s is %s, not an object", where, key,
           v ? "something else" : "missing");
    return NULL;
}

/* A setting that must be exactly this value; "" and null are the same. */
static int must(const struct loader *l, const json_t *o, const char *where,
                const char *key, const char *want)
{
    const json_t *v = json_object_get(o, key);
    char *is;
    int rc = 0;

    if (!v || json_is_null(v))
        is = strdup("");
    else if (json_is_string(v))
        is = strdup(json_string_value(v));
    else
        is = json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT);
    if (!is)
        return ral_err_nomem(l->err, "%s", l->path);
    if (strcmp(is, want) != 0)
        rc = refuse(l, "%s%s is %s%.60s%s, only %s%.60s%s is supported", where,
                    key, *is ? "\"" : "", *is ? is : "absent", *is ? "\"" : "",
                    *want ? "\"" : "", *want ? want : "absent",
                    *want ? "\"" : "");
    free(is);
    return rc;
}

/* A switch that must be off, where absent means off. */
static int must_be_off(const struct loader *l, const json_t *o,
                       const char *where, const char *key)
{
    const json_t *v = json_object_get(o, key);

    if (!v || json_is_null(v) || json_is_false(v))
        return 0;
    return refuse(l, "%s%s is set, which is not supported", where, key);
}

/* No keys but these (a list that ends with NULL): others might matter. */
static int only(const struct loader *l, const json_t *o, const char *where,
                const char *const *known)
{
    const char *key;
    json_t *v;

    json_object_foreach((json_t *)o, key, v)
    {
        const char *const *k = known;

        while (*k && strcmp(*k, key) != 0)
            k++;
        if (!*k)
            return refuse(l, "%s%.60s is a setting that is not supported",
                          where, key);
    }
    return 0;
}

static int check_byte_level(const struct loader *l, const json_t *o,
                            const char *where, bool splits)
{
    static const char *const known[] = {"type", "add_prefix_space",
                                        "trim_offsets", "use_regex", NULL};
    int rc;

    if ((rc = only(l, o, where, known)) < 0 ||
        (rc = must(l, o, where, "type", "ByteLevel")) < 0 || !splits)
        return rc;
    // The defaults of both are true.
    if ((rc = must(l, o, where, "add_prefix_space", "false")) < 0)
        return rc;
    return must(l, o, where, "use_regex", "false");
}

static int check_pre_tokenizer(const struct loader *l, const json_t *o)
{
    static const char *const split_keys[] = {"type", "pattern", "behavior",
                                             "invert", NULL};
    static const char *const own[] = {"type", "pretokenizers", NULL};
    const json_t *list = json_object_get(o, "pretokenizers"), *split, *p;
    int rc;

    if ((rc = must(l, o, "pre_tokenizer.", "type", "Sequence")) < 0 ||
        (rc = only(l, o, "pre_tokenizer.", own)) < 0)
        return rc;
    if (json_array_size(list) != 2)
        return refuse(l,
                      "pre_tokenizer has %zu parts, only Split and "
                      "ByteLevel are supported",
                      json_array_size(list));
    split = json_array_get(list, 0);
    if ((rc = must(l, split, "pre_tokenizer[0].", "type", "Split")) < 0 ||
        (rc = only(l, split, "pre_tokenizer[0].", split_keys)) < 0 ||
        (rc = must(l, split, "pre_tokenizer[0].", "behavior", "Isolated")) <
            0 ||
        (rc = must_be_off(l, split, "pre_tokenizer[0].", "invert")) < 0)
        return rc;
    p = json_object_get(json_object_get(split, "pattern"), "Regex");
    if (!json_is_string(p) ||
        strcmp(json_string_value(p), ral_split_pattern) != 0)
        return refuse(l, "pre_tokenizer[0].pattern is not the regular "
                         "expression of Qwen2, the only one supported");
    return check_byte_level(l, json_array_get(list, 1), "pre_tokenizer[1].",
                            true);
}

static int check_settings(const struct loader *l, const json_t *root)
{
    static const char *const top[] = {"version",        "truncation",
                                      "padding",        "added_tokens",
                                      "normalizer",     "pre_tokenizer",
                                      "post_processor", "decoder",
                                      "model",          NULL};
    static const char *const model[] = {"type",
                                        "dropout",
                                        "unk_token",
                                        "continuing_subword_prefix",
                                        "end_of_word_suffix",
                                        "fuse_unk",
                                        "byte_fallback",
                                        "ignore_merges",
                                        "vocab",
                                        "merges",
                                        NULL};
    static const char *const off[] = {"dropout", "byte_fallback",
                                      "ignore_merges", "unk_token", NULL};
    static const char *const type_only[] = {"type", NULL};
    const json_t *norm, *pre, *post, *dec, *m;
    int rc;

    if ((rc = only(l, root, "", top)) < 0 ||
        (rc = must_be_off(l, root, "", "truncation")) < 0 ||
        (rc = must_be_off(l, root, "", "padding")) < 0)
        return rc;
    if (!(norm = object_in(l, root, "", "normalizer")) ||
        !(pre = object_in(l, root, "", "pre_tokenizer")) ||
        !(dec = object_in(l, root, "", "decoder")) ||
        !(m = object_in(l, root, "", "model")))
        return -RAL_EINVAL;
    if ((rc = must(l, norm, "normalizer.", "type", "NFC")) < 0 ||
        (rc = only(l, norm, "normalizer.", type_only)) < 0 ||
        (rc = check_pre_tokenizer(l, pre)) < 0 ||
        (rc = check_byte_level(l, dec, "decoder.", false)) < 0)
        return rc;
    post = json_object_get(root, "post_processor"); // offsets only
    if (post && !json_is_null(post) &&
        (rc = check_byte_level(l, post, "post_processor.", false)) < 0)
        return rc;
    if ((rc = must(l, m, "model.", "type", "BPE")) < 0 ||
        (rc = only(l, m, "model.", model)) < 0 ||
        (rc = must(l, m, "model.", "continuing_subword_prefix", "")) < 0 ||
        (rc = must(l, m, "model.", "end_of_word_suffix", "")) < 0)
        return rc;
    for (const char *const *k = off; *k; k++)
        if ((rc = must_be_off(l, m, "model.", *k)) < 0)
            return rc;
    return 0;
}

/* A token id of the file, or negative after a message. */
static int32_t read_id(const struct loader *l, const json_t *v,
                       const char *token)
{
    const json_int_t id = json_integer_value(v);

    if (!json_is_integer(v))
        return refuse(l, "token '%.60s' has an id that is no integer", token);
    if (id < 0 || id >= MAX_ID)
        return refuse(l, "token '%.60s' has id %lld, outside of 0 to %d", token,
                      (long long)id, MAX_ID - 1);
    return (int32_t)id;
}

/* Room for every id, and for the hash of the vocabulary. */
static int make_tables(struct loader *l, const json_t *vocab,
                       const json_t *added)
{
    struct ral_tokenizer *t = l->t;
    size_t cap = 1024, i;
    int32_t top = -1, id;
    const char *key;
    json_t *v;

    json_object_foreach((json_t *)vocab, key, v)
    {
        if ((id = read_id(l, v, key)) < 0)
            return id;
        top = id > top ? id : top;
    }
    json_array_foreach(added, i, v)
    {
        if (!json_is_object(v) ||
            !json_is_string(json_object_get(v, "content")))
            return refuse(l, "added_tokens[%zu] is no object with content", i);
        key = json_string_value(json_object_get(v, "content"));
        if ((id = read_id(l, json_object_get(v, "id"), key)) < 0)
            return id;
        top = id > top ? id : top;
    }
    l->n_vocab = json_object_size(vocab);
    while (cap < 2 * l->n_vocab)
        cap *= 2;
    t->size = (size_t)(top + 1);
    t->token = RAL_ZNEW(&t->arena, struct ral_token, t->size);
    t->added = RAL_NEW(&t->arena, int32_t, json_array_size(added) + 1);
    t->by_text = malloc(cap * sizeof *t->by_text);
    if (!t->token || !t->added || !t->by_text)
        return ral_err_nomem(l->err, "%s", l->path);
    for (i = 0; i < cap; i++)
        t->by_text[i] = -1;
    t->mask = cap - 1;
    return 0;
}

static int load_vocab(struct loader *l, const json_t *vocab)
{
    struct ral_tokenizer *t = l->t;
    const char *key;
    json_t *v;

    json_object_foreach((json_t *)vocab, key, v)
    {
        const int32_t id = read_id(l, v, key);
        struct ral_token *k = &t->token[id];
        bool ok;
        size_t i;
        int rc;

        l->tmp.len = 0;
        if ((rc = unspell(l, &l->tmp, key, &ok)) < 0)
            return rc;
        if (!ok || !l->tmp.len)
            return refuse(l,
                          "token '%.60s' is not spelled in the byte-level "
                          "alphabet",
                          key);
        if (k->text)
            return refuse(l, "token '%.60s' and another have id %d", key, id);
        k->text = ral_arena_text(&t->arena, (char *)l->tmp.data, l->tmp.len);
        if (!k->text)
            return ral_err_nomem(l->err, "%s", l->path);
        k->len = (uint32_t)l->tmp.len;
        // Spellings and bytes correspond one to one: no bytes come twice.
        for (i = slot_of(t, k->text, k->len); t->by_text[i] >= 0;)
            i = (i + 1) & t->mask;
        t->by_text[i] = id;
    }
    for (int b = 0; b < 256; b++) {
        const char c = (char)b;

        if ((t->byte_id[b] = ral_tokenizer_find(t, &c, 1)) < 0)
            return refuse(l, "the vocabulary has no token for byte %d", b);
    }
    return 0;
}

/* The two halves of a merge as spelled: "a b" or ["a", "b"]. */
static int merge_halves(struct loader *l, const json_t *v, size_t at,
                        size_t *left)
{
    char *text = NULL, *second;
    bool ok[2];
    int rc;

    if (json_is_string(v)) {
        text = strdup(json_string_value(v));
        if (!text)
            return ral_err_nomem(l->err, "%s", l->path);
        if ((second = strchr(text, ' ')))
            *second++ = '\0';
    } else if (json_array_size(v) == 2 &&
               json_is_string(json_array_get(v, 0)) &&
               json_is_string(json_array_get(v, 1))) {
        text = strdup(json_string_value(json_array_get(v, 0)));
        if (!text)
            return ral_err_nomem(l->err, "%s", l->path);
        second = (char *)json_string_value(json_array_get(v, 1));
    } else {
        return refuse(l, "merges[%zu] is no pair of tokens", at);
    }
    l->tmp.len = 0;
    ok[1] = false;
    if ((rc = unspell(l, &l->tmp, text, &ok[0])) == 0 && second) {
        *left = l->tmp.len;
        rc = unspell(l, &l->tmp, second, &ok[1]);
    }
    if (rc == 0 && (!ok[0] || !ok[1]))
        rc = refuse(l, "merges[%zu] ('%.60s') is no pair of tokens", at, text);
    free(text);
    return rc;
}

static int refuse_merge(const struct loader *l, size_t at, size_t left,
                        const char *why)
{
    const char *s = (const char *)l->tmp.data;
    const size_t right = l->tmp.len - left;

    return refuse(l, "merges[%zu] ('%.*s' + '%.*s') %s", at,
                  (int)(left < 60 ? left : 60), s,
                  (int)(right < 60 ? right : 60), s + left, why);
}

static int load_merges(struct loader *l, const json_t *merges)
{
    struct ral_tokenizer *t = l->t;
    const json_t *v;
    size_t i, left = 0;
    int rc;

    if (!json_is_array(merges))
        return refuse(l, "model.merges is no list");
    if (ral_merges_init(&t->merges, json_array_size(merges)) < 0)
        return ral_err_nomem(l->err, "%s", l->path);
    json_array_foreach(merges, i, v)
    {
        const char *s;
        int32_t a, b, ab;

        if ((rc = merge_halves(l, v, i, &left)) < 0)
            return rc;
        s = (const char *)l->tmp.data;
        a = left ? ral_tokenizer_find(t, s, left) : -1;
        b = ral_tokenizer_find(t, s + left, l->tmp.len - left);
        ab = ral_tokenizer_find(t, s, l->tmp.len);
        if (a < 0 || b < 0 || ab < 0)
            return refuse_merge(l, i, left,
                                "needs a token that the vocabulary lacks");
        if (ral_merges_put(&t->merges, a, b, (uint32_t)i, ab))
            return refuse_merge(l, i, left, "comes twice");
    }
    return 0;
}

static int order_added(const void *pa, const void *pb, void *arg)
{
    const struct ral_tokenizer *t = arg;
    const struct ral_token *a = &t->token[*(const int32_t *)pa];
    const struct ral_token *b = &t->token[*(const int32_t *)pb];
    const int c = memcmp(a->text, b->text, a->len < b->len ? a->len : b->len);

    return c ? c : (a->len > b->len) - (a->len < b->len);
}

/* The id that the tokenizers library gives to an added token. */
static int check_added_id(struct loader *l, const char *content, int32_t id,
                          int32_t next)
{
    int32_t known;
    bool ok;
    int rc;

    l->tmp.len = 0;
    if ((rc = unspell(l, &l->tmp, content, &ok)) < 0)
        return rc;
    known = ok ? ral_tokenizer_find(l->t, (char *)l->tmp.data, l->tmp.len) : -1;
    if (l->t->token[id].added || (known < 0 && l->t->token[id].text))
        return refuse(l, "added token '%.60s' and another have id %d", content,
                      id);
    if (known < 0)
        known = next;
    if (known != id)
        return refuse(l,
                      "added token '%.60s' has id %d where other readers "
                      "give it %d; write the file again with consistent "
                      "ids",
                      content, id, known);
    return 0;
}

static int load_added_one(struct loader *l, const json_t *v, int32_t *next)
{
    static const char *const known[] = {"id",      "content", "single_word",
                                        "lstrip",  "rstrip",  "normalized",
                                        "special", NULL};
    static const char *const off[] = {"single_word", "lstrip", "rstrip",
                                      "normalized", NULL};
    struct ral_tokenizer *t = l->t;
    const char *content = json_string_value(json_object_get(v, "content"));
    const int32_t id = read_id(l, json_object_get(v, "id"), content);
    struct ral_token *k = &t->token[id];
    char where[100];
    int rc;

    snprintf(where, sizeof where, "added token '%.60s': ", content);
    if ((rc = only(l, v, where, known)) < 0)
        return rc;
    for (const char *const *o = off; *o; o++)
        if ((rc = must_be_off(l, v, where, *o)) < 0)
            return rc;
    if (!*content)
        return refuse(l, "an added token without text has id %d", id);
    if ((rc = check_added_id(l, content, id, *next)) < 0)
        return rc;
    if (id >= *next)
        *next = id + 1;
    k->len = (uint32_t)strlen(content);
    if (!(k->text = ral_arena_text(&t->arena, content, k->len)))
        return ral_err_nomem(l->err, "%s", l->path);
    k->added = true;
    k->special = json_is_true(json_object_get(v, "special"));
    t->added[t->n_added++] = id;
    t->begins_added[(unsigned char)*content] = true;
    return 0;
}

static int load_added(struct loader *l, const json_t *added)
{
    struct ral_tokenizer *t = l->t;
    int32_t next = (int32_t)l->n_vocab;
    const json_t *v;
    size_t i;
    int rc;

    json_array_foreach(added, i,
                       v) if ((rc = load_added_one(l, v, &next)) < 0) return rc;
    qsort_r(t->added, t->n_added, sizeof *t->added, order_added, t);
    for (i = 1; i < t->n_added; i++)
        if (order_added(&t->added[i - 1], &t->added[i], t) == 0)
            return refuse(l, "added token '%.60s' comes twice",
                          t->token[t->added[i]].text);
    return 0;
}

static int load_root(struct loader *l, const json_t *root)
{
    const json_t *model = json_object_get(root, "model");
    const json_t *added = json_object_get(root, "added_tokens");
    const json_t *vocab;
    int rc;

    if (!json_is_object(root))
        return refuse(l, "not a JSON object");
    if ((rc = check_settings(l, root)) < 0)
        return rc;
    if (!(vocab = object_in(l, model, "model.", "vocab")))
        return -RAL_EINVAL;
    if (added && !json_is_array(added))
        return refuse(l, "added_tokens is no list");
    if ((rc = make_tables(l, vocab, added)) < 0 ||
        (rc = load_vocab(l, vocab)) < 0 ||
        (rc = load_merges(l, json_object_get(model, "merges"))) < 0 ||
        (rc = load_added(l, added)) < 0)
        return rc;
    return ral_splitter_open(&l->t->splitter, l->err);
}

int ral_tokenizer_load(struct ral_tokenizer *t, const char *path,
                       struct ral_err *err)
{
    struct loader l = {.t = t, .path = path, .err = err};
    struct ral_buf file = {0};
    json_error_t je;
    json_t *root;
    int rc = ral_file_read(path, MAX_FILE, &file, err);

    if (rc < 0)
        return rc;
    root = json_loadb((char *)file.data, file.len, JSON_REJECT_DUPLICATES, &je);
    ral_buf_release(&file);
    if (!root)
        return ral_err_set(err, -RAL_EINVAL, "%s: line %d, column %d: %s", path,
                           je.line, je.column, je.text);
    alphabet(l.byte_of);
    rc = load_root(&l, root);
    json_decref(root);
    ral_buf_release(&l.tmp);
    return rc;
}

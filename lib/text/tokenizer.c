/* lib/text/tokenizer.c - encoding and decoding over loaded tables. */
#include "text/tokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "text/bpe.h"
#include "text/split.h"
#include "text/tokenizer_tables.h"
#include "text/utf8.h"

int ral_tokenizer_open(struct ral_tokenizer **out, const char *path,
                       struct ral_err *err)
{
    struct ral_tokenizer *t = calloc(1, sizeof *t);
    int rc;

    *out = NULL;
    if (!t)
        return ral_err_nomem(err, "tokenizer");
    if ((rc = ral_tokenizer_load(t, path, err)) < 0) {
        ral_tokenizer_close(t);
        return rc;
    }
    *out = t;
    return 0;
}

void ral_tokenizer_close(struct ral_tokenizer *t)
{
    if (!t)
        return;
    ral_splitter_close(t->splitter);
    ral_merges_release(&t->merges);
    free(t->by_text);
    ral_arena_release(&t->arena);
    free(t);
}

/* What one call of encode works with. */
struct work {
    struct ral_split split;
    struct ral_bpe bpe;
    struct ral_buf nfc;
};

/* Plain text, between added tokens. */
static int encode_plain(const struct ral_tokenizer *t, struct work *w,
                        const char *s, size_t n, struct ral_ids *out,
                        struct ral_err *err)
{
    const char *piece;
    size_t len;
    int rc;

    w->nfc.len = 0;
    if (ral_utf8_nfc(&w->nfc, s, n) < 0)
        return ral_err_nomem(err, "tokenizer");
    ral_split_begin(&w->split, (const char *)w->nfc.data, w->nfc.len);
    while ((rc = ral_split_next(&w->split, &piece, &len, err)) > 0)
        if (ral_bpe_encode(&w->bpe, &t->merges, t->byte_id, piece, len, out) <
            0)
            return ral_err_nomem(err, "tokenizer");
    return rc;
}

static unsigned char_at(const struct ral_tokenizer *t, size_t i, size_t at)
{
    return (unsigned char)t->token[t->added[i]].text[at];
}

/*
 * The longest added token at the front of s[n]: its id, or -1. The sorted
 * list is walked like a trie: [lo, hi) starts with the bytes read so far.
 */
static int32_t longest_added(const struct ral_tokenizer *t, const char *s,
                             size_t n)
{
    size_t lo = 0, hi = t->n_added;
    int32_t best = -1;

    for (size_t at = 0; at < n && lo < hi; at++) {
        const unsigned c = (unsigned char)s[at];
        size_t a = lo, b = hi;

        while (a < b) { // first with byte >= c
            const size_t mid = (a + b) / 2;

            if (char_at(t, mid, at) < c)
                a = mid + 1;
            else
                b = mid;
        }
        lo = a;
        b = hi;
        while (a < b) { // first with byte > c
            const size_t mid = (a + b) / 2;

            if (char_at(t, mid, at) <= c)
                a = mid + 1;
            else
                b = mid;
        }
        hi = a;
        // A text that ends here sorts before those it begins.
        if (lo < hi && t->token[t->added[lo]].len == at + 1)
            best = t->added[lo++];
    }
    return best;
}

static int encode_all(const struct ral_tokenizer *t, struct work *w,
                      const char *s, size_t n, struct ral_ids *out,
                      struct ral_err *err)
{
    size_t from = 0, i = 0;
    int rc;

    while (i < n) {
        const int32_t id = t->begins_added[(unsigned char)s[i]]
                               ? longest_added(t, s + i, n - i)
                               : -1;

        if (id < 0) {
            i++;
            continue;
        }
        if ((rc = encode_plain(t, w, s + from, i - from, out, err)) < 0)
            return rc;
        if (ral_ids_put(out, id) < 0)
            return ral_err_nomem(err, "tokenizer");
        from = i += t->token[id].len;
    }
    return encode_plain(t, w, s + from, n - from, out, err);
}

int ral_tokenizer_encode(const struct ral_tokenizer *t, const char *text,
                         size_t len, struct ral_ids *out, struct ral_err *err)
{
    const size_t had = out->n;
    struct work w = {0};
    size_t bad;
    int rc;

    if (len > INT32_MAX)
        return ral_err_set(err, -RAL_EINVAL,
                           "tokenizer: a text of %zu bytes; the most is 2 GiB",
                           len);
    if ((bad = ral_utf8_check(text, len)) < len)
        return ral_err_set(err, -RAL_EINVAL,
                           "tokenizer: invalid UTF-8 at byte %zu of the text",
                           bad);
    if ((rc = ral_split_init(&w.split, t->splitter, err)) == 0)
        rc = encode_all(t, &w, text, len, out, err);
    if (rc < 0)
        out->n = had;
    ral_split_release(&w.split);
    ral_bpe_release(&w.bpe);
    ral_buf_release(&w.nfc);
    return rc;
}

static const struct ral_token *token_at(const struct ral_tokenizer *t,
                                        int32_t id)
{
    return id >= 0 && (size_t)id < t->size ? &t->token[id] : NULL;
}

int ral_tokenizer_decode(const struct ral_tokenizer *t, const int32_t *ids,
                         size_t n, bool skip_special, struct ral_buf *out)
{
    struct ral_buf raw = {0};
    int rc = 0;

    for (size_t i = 0; i < n && rc == 0; i++) {
        const struct ral_token *tok = token_at(t, ids[i]);

        if (tok && tok->text && !(skip_special && tok->special))
            rc = ral_buf_put(&raw, tok->text, tok->len);
    }
    if (rc == 0)
        rc = ral_utf8_repair(out, (const char *)raw.data, raw.len);
    ral_buf_release(&raw);
    return rc;
}

int32_t ral_tokenizer_id(const struct ral_tokenizer *t, const char *text)
{
    const size_t n = strlen(text);
    const int32_t id = n ? longest_added(t, text, n) : -1;

    if (id >= 0 && t->token[id].len == n)
        return id;
    return ral_tokenizer_find(t, text, n);
}

size_t ral_tokenizer_size(const struct ral_tokenizer *t)
{
    return t->size;
}

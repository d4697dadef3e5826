/* lib/text/split.c - the splitting expression, through PCRE2. */
#include "text/split.h"

#include <stdint.h>
#include <stdlib.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

const char ral_split_pattern[] =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}"
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

/*
 * The tokenizers that share this pattern know the letters and digits of
 * Unicode 16 and call White_Space what PCRE2's \s does not. So the classes
 * are spelled out: white space, then letters and digits that PCRE2 10.42
 * (Unicode 14) lacks; a newer PCRE2 has them anyway.
 */
#define W "\\t-\\r\\x{85}\\p{Z}"
#define L "\\p{L}" NEWER_L
#define N "\\p{N}" NEWER_N
#define NEWER_L                                                                \
    "\\x{1C89}-\\x{1C8A}\\x{A7CB}-\\x{A7CD}\\x{A7DA}-\\x{A7DC}"                \
    "\\x{105C0}-\\x{105F3}\\x{10D4A}-\\x{10D65}\\x{10D6F}-\\x{10D85}"          \
    "\\x{10EC2}-\\x{10EC4}\\x{1123F}-\\x{11240}\\x{11380}-\\x{11389}"          \
    "\\x{1138B}\\x{1138E}\\x{11390}-\\x{113B5}\\x{113B7}\\x{113D1}"            \
    "\\x{113D3}\\x{11BC0}-\\x{11BE0}\\x{11F02}\\x{11F04}-\\x{11F10}"           \
    "\\x{11F12}-\\x{11F33}\\x{1342F}\\x{13441}-\\x{13446}"                     \
    "\\x{13460}-\\x{143FA}\\x{16100}-\\x{1611D}\\x{16D40}-\\x{16D6C}"          \
    "\\x{18CFF}\\x{1B132}\\x{1B155}\\x{1DF25}-\\x{1DF2A}"                      \
    "\\x{1E030}-\\x{1E06D}\\x{1E4D0}-\\x{1E4EB}\\x{1E5D0}-\\x{1E5ED}"          \
    "\\x{1E5F0}\\x{2B739}\\x{2EBF0}-\\x{2EE5D}\\x{31350}-\\x{323AF}"
#define NEWER_N                                                                \
    "\\x{10D40}-\\x{10D49}\\x{116D0}-\\x{116E3}\\x{11BF0}-\\x{11BF9}"          \
    "\\x{11F50}-\\x{11F59}\\x{16130}-\\x{16139}\\x{16D70}-\\x{16D79}"          \
    "\\x{1CCF0}-\\x{1CCF9}\\x{1D2C0}-\\x{1D2D3}\\x{1E4F0}-\\x{1E4F9}"          \
    "\\x{1E5F1}-\\x{1E5FA}"

static const char spelled_out[] =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n" L N "]?[" L "]+|[" N "]"
    "| ?[^" W L N "]+[\\r\\n]*|[" W "]*[\\r\\n]+|[" W "]+(?![^" W "])|[" W "]+";

struct ral_splitter {
    pcre2_code *code;
    pcre2_match_context *ctx;
};

int ral_splitter_open(struct ral_splitter **out, struct ral_err *err)
{
    struct ral_splitter *s = calloc(1, sizeof *s);
    PCRE2_SIZE at = 0;
    int code = 0;

    *out = NULL;
    if (!s || !(s->ctx = pcre2_match_context_create(NULL)))
        goto memory;
    // Every character begins a match, so a match always begins right here.
    s->code = pcre2_compile((PCRE2_SPTR)spelled_out, sizeof spelled_out - 1,
                            PCRE2_UTF | PCRE2_ANCHORED, &code, &at, NULL);
    if (!s->code) {
        ral_splitter_close(s);
        return ral_err_set(err, -RAL_EIO,
                           "PCRE2 refuses the splitting expression at %zu: "
                           "error %d; it needs Unicode support",
                           (size_t)at, code);
    }
    // Without JIT (some systems forbid it) the interpreter does the same.
    pcre2_jit_compile(s->code, PCRE2_JIT_COMPLETE);
    // Ten million spaces are one piece; steps are linear in its length.
    pcre2_set_match_limit(s->ctx, UINT32_MAX);
    pcre2_set_depth_limit(s->ctx, UINT32_MAX);
    *out = s;
    return 0;

memory:
    ral_splitter_close(s);
    return ral_err_nomem(err, "tokenizer");
}

void ral_splitter_close(struct ral_splitter *s)
{
    if (!s)
        return;
    pcre2_code_free(s->code);
    pcre2_match_context_free(s->ctx);
    free(s);
}

int ral_split_init(struct ral_split *w, const struct ral_splitter *by,
                   struct ral_err *err)
{
    *w =
        (struct ral_split){.by = by, .match = pcre2_match_data_create(1, NULL)};
    if (!w->match)
        return ral_err_nomem(err, "tokenizer");
    return 0;
}

void ral_split_begin(struct ral_split *w, const char *text, size_t len)
{
    w->text = text;
    w->len = len;
    w->pos = 0;
}

int ral_split_next(struct ral_split *w, const char **piece, size_t *n,
                   struct ral_err *err)
{
    size_t end;
    int rc;

    if (w->pos == w->len)
        return 0;
    rc = pcre2_match(w->by->code, (PCRE2_SPTR)w->text, w->len, w->pos,
                     PCRE2_NO_UTF_CHECK, w->match, w->by->ctx);
    end = rc > 0 ? pcre2_get_ovector_pointer(w->match)[1] : w->pos;
    if (end <= w->pos)
        return ral_err_set(err, -RAL_EIO,
                           "tokenizer: PCRE2 fails to split at byte %zu of "
                           "%zu: error %d",
                           w->pos, w->len, rc);
    *piece = w->text + w->pos;
    *n = end - w->pos;
    w->pos = end;
    return 1;
}

void ral_split_release(struct ral_split *w)
{
    pcre2_match_data_free(w->match);
    w->match = NULL;
}

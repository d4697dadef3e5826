/* lib/text/nfc.c - normal form C with the tables of Unicode 9. */
#include "text/utf8.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "base/err.h"

/*
 * Characters that stand alone: nothing reorders across them or composes with
 * them. They are the combining marks and the parts of compositions that came
 * after Unicode 9 (to Unicode 16), and U+11A7, an ordinary character right
 * before the Hangul finals that utf8proc 2.8 loses after a syllable.
 * To keep text around them apart is all it takes, as every one of them is a
 * starter in the old tables.
 */
static const int32_t alone[][2] = {
    {0x07FD, 0x07FD},   {0x0897, 0x089F},   {0x08CA, 0x08D3},
    {0x09FE, 0x09FE},   {0x0C3C, 0x0C3C},   {0x0D3B, 0x0D3C},
    {0x0EBA, 0x0EBA},   {0x11A7, 0x11A7},   {0x1715, 0x1715},
    {0x1ABF, 0x1ACE},   {0x1DF6, 0x1DFA},   {0xA82C, 0xA82C},
    {0x105C9, 0x105C9}, {0x105D2, 0x105D2}, {0x105DA, 0x105DA},
    {0x105E4, 0x105E4}, {0x10D24, 0x10D27}, {0x10D69, 0x10D6D},
    {0x10EAB, 0x10EAC}, {0x10EFD, 0x10EFF}, {0x10F46, 0x10F50},
    {0x10F82, 0x10F85}, {0x11070, 0x11070}, {0x1133B, 0x1133B},
    {0x11382, 0x113C9}, {0x113CE, 0x113D0}, {0x113E1, 0x113E2},
    {0x1145E, 0x1145E}, {0x11839, 0x1183A}, {0x11930, 0x11930},
    {0x11938, 0x11938}, {0x1193D, 0x1193E}, {0x11943, 0x11943},
    {0x119E0, 0x119E0}, {0x11A34, 0x11A34}, {0x11A47, 0x11A47},
    {0x11A99, 0x11A99}, {0x11D42, 0x11D42}, {0x11D44, 0x11D45},
    {0x11D97, 0x11D97}, {0x11F41, 0x11F42}, {0x1611E, 0x16129},
    {0x1612F, 0x1612F}, {0x16D63, 0x16D6A}, {0x16FF0, 0x16FF1},
    {0x1E08F, 0x1E08F}, {0x1E130, 0x1E136}, {0x1E2AE, 0x1E2AE},
    {0x1E2EC, 0x1E2EF}, {0x1E4EC, 0x1E4EF}, {0x1E5EE, 0x1E5EF},
};

static bool stands_alone(int32_t cp)
{
    size_t lo = 0, hi = sizeof alone / sizeof alone[0];

    if (cp < alone[0][0])
        return false;
    while (lo < hi) {
        const size_t mid = (lo + hi) / 2;

        if (cp > alone[mid][1])
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < sizeof alone / sizeof alone[0] && cp >= alone[lo][0];
}

/* Below U+0300 nothing joins what stands before it, and no text changes. */
static bool is_plain(int32_t cp)
{
    return cp < 0x300 || (cp >= 0x3400 && cp <= 0x4DBF) ||
           (cp >= 0x4E00 && cp <= 0x9FFF);
}

/* Code points of a stretch that nothing outside of it can change. */
struct work {
    int32_t *cp, *tmp;
    size_t n, cap;
};

static int work_reserve(struct work *w, size_t n)
{
    size_t cap = w->cap ? w->cap : 64;
    int32_t *p;

    if (w->cap - w->n >= n)
        return 0;
    while (cap - w->n < n)
        cap *= 2;
    if (!(p = realloc(w->cp, cap * sizeof *p)))
        return -RAL_ENOMEM;
    w->cp = p;
    if (!(p = realloc(w->tmp, cap * sizeof *p)))
        return -RAL_ENOMEM;
    w->tmp = p;
    w->cap = cap;
    return 0;
}

static unsigned combining_class(int32_t cp)
{
    return cp < 0x300 ? 0 : utf8proc_get_property(cp)->combining_class & 0xFF;
}

/*
 * Canonical order of the n marks at cp: a stable sort by class. Short runs by
 * insertion, long ones (only hostile text has them) by counting.
 */
static void sort_marks(int32_t *cp, int32_t *tmp, size_t n)
{
    size_t at[257] = {0};

    if (n <= 16) {
        for (size_t i = 1; i < n; i++) {
            const int32_t c = cp[i];
            const unsigned k = combining_class(c);
            size_t j = i;

            for (; j && combining_class(cp[j - 1]) > k; j--)
                cp[j] = cp[j - 1];
            cp[j] = c;
        }
        return;
    }
    for (size_t i = 0; i < n; i++)
        at[combining_class(cp[i]) + 1]++;
    for (size_t k = 0; k < 256; k++)
        at[k + 1] += at[k];
    for (size_t i = 0; i < n; i++)
        tmp[at[combining_class(cp[i])]++] = cp[i];
    memcpy(cp, tmp, n * sizeof *cp);
}

/* Orders, composes and appends what has been decomposed so far. */
static int flush(struct work *w, struct ral_buf *out)
{
    ptrdiff_t n;

    for (size_t i = 0, k; i < w->n; i = k + 1) {
        for (k = i; k < w->n && combining_class(w->cp[k]); k++)
            ;
        if (k - i > 1)
            sort_marks(w->cp + i, w->tmp, k - i);
    }
    n = utf8proc_normalize_utf32(w->cp, (utf8proc_ssize_t)w->n,
                                 UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    w->n = 0;
    if (n < 0)
        return -RAL_ENOMEM;
    for (ptrdiff_t i = 0; i < n; i++)
        if (ral_utf8_put(out, w->cp[i]) < 0)
            return -RAL_ENOMEM;
    return 0;
}

static int take_code_point(struct work *w, struct ral_buf *out, int32_t cp)
{
    const size_t most = 32; // of one decomposition: 4 in Unicode so far
    int boundclass = 0;
    ptrdiff_t n;

    if (stands_alone(cp)) {
        if (flush(w, out) < 0)
            return -RAL_ENOMEM;
        return ral_utf8_put(out, cp);
    }
    if (is_plain(cp) && w->n >= 1024 && flush(w, out) < 0)
        return -RAL_ENOMEM;
    if (work_reserve(w, most) < 0)
        return -RAL_ENOMEM;
    if (cp < 0xC0) {
        w->cp[w->n++] = cp;
        return 0;
    }
    n = utf8proc_decompose_char(cp, w->cp + w->n, (utf8proc_ssize_t)most,
                                UTF8PROC_STABLE | UTF8PROC_DECOMPOSE,
                                &boundclass);
    if (n < 0 || (size_t)n > most)
        return -RAL_ENOMEM;
    w->n += (size_t)n;
    return 0;
}

/* Length of the longest start of s[n] that normal form C surely keeps. */
static size_t unchanged(const char *s, size_t n)
{
    size_t i = 0, last = 0;
    bool valid;
    int32_t cp;

    while (i < n) {
        if ((unsigned char)s[i] < 0xCC) { // lead bytes below U+0300
            last = i;
            i += (unsigned char)s[i] < 0x80 ? 1 : 2;
            continue;
        }
        const size_t step = ral_utf8_next(s + i, n - i, &valid, &cp);

        if (!is_plain(cp))
            return last;
        last = i;
        i += step;
    }
    return n;
}

int ral_utf8_nfc(struct ral_buf *out, const char *s, size_t n)
{
    const size_t keep = unchanged(s, n);
    struct work w = {0};
    bool valid;
    int32_t cp;
    int rc = ral_buf_put(out, s, keep);

    s += keep;
    n -= keep;
    while (n && rc == 0) {
        const size_t step = ral_utf8_next(s, n, &valid, &cp);

        rc = take_code_point(&w, out, cp);
        s += step;
        n -= step;
    }
    if (rc == 0)
        rc = flush(&w, out);
    free(w.cp);
    free(w.tmp);
    return rc;
}

/* lib/text/utf8.c - UTF-8: validation and repair. */
#include "text/utf8.h"

#include "base/err.h"

/* Table 3-7 of the Unicode Standard: what may follow the lead byte. */
static size_t lead(unsigned char c, unsigned *lo, unsigned *hi)
{
    *lo = 0x80;
    *hi = 0xBF;
    if (c < 0x80)
        return 1;
    if (c < 0xC2 || c > 0xF4)
        return 0;
    if (c < 0xE0)
        return 2;
    if (c == 0xE0)
        *lo = 0xA0;
    else if (c == 0xED) // no surrogates
        *hi = 0x9F;
    else if (c == 0xF0)
        *lo = 0x90;
    else if (c == 0xF4)
        *hi = 0x8F;
    return c < 0xF0 ? 3 : 4;
}

size_t ral_utf8_next(const char *s, size_t n, bool *valid, int32_t *cp)
{
    const unsigned char *u = (const unsigned char *)s;
    unsigned lo, hi;
    size_t len = lead(u[0], &lo, &hi), i;
    int32_t c = len > 1 ? u[0] & (0x7F >> len) : u[0];

    for (i = 1; i < len; i++) {
        if (i >= n || u[i] < lo || u[i] > hi)
            break;
        c = c << 6 | (u[i] & 0x3F);
        lo = 0x80;
        hi = 0xBF;
    }
    *valid = len && i == len;
    if (cp)
        *cp = *valid ? c : 0xFFFD;
    return i;
}

size_t ral_utf8_check(const char *s, size_t n)
{
    size_t i = 0, step;
    bool valid;

    while (i < n) {
        if ((unsigned char)s[i] < 0x80) {
            i++;
            continue;
        }
        step = ral_utf8_next(s + i, n - i, &valid, NULL);
        if (!valid)
            return i;
        i += step;
    }
    return n;
}

int ral_utf8_put(struct ral_buf *out, int32_t cp)
{
    uint8_t u[4];
    size_t n;

    if (cp < 0x80) {
        u[0] = cp;
        n = 1;
    } else if (cp < 0x800) {
        u[0] = 0xC0 | cp >> 6;
        u[1] = 0x80 | (cp & 0x3F);
        n = 2;
    } else if (cp < 0x10000) {
        u[0] = 0xE0 | cp >> 12;
        u[1] = 0x80 | (cp >> 6 & 0x3F);
        u[2] = 0x80 | (cp & 0x3F);
        n = 3;
    } else {
        u[0] = 0xF0 | cp >> 18;
        u[1] = 0x80 | (cp >> 12 & 0x3F);
        u[2] = 0x80 | (cp >> 6 & 0x3F);
        u[3] = 0x80 | (cp & 0x3F);
        n = 4;
    }
    return ral_buf_put(out, u, n);
}

int ral_utf8_repair(struct ral_buf *out, const char *s, size_t n)
{
    while (n) {
        const size_t good = ral_utf8_check(s, n);
        bool valid;
        size_t bad;

        if (ral_buf_put(out, s, good) < 0)
            return -RAL_ENOMEM;
        s += good;
        n -= good;
        if (!n)
            break;
        bad = ral_utf8_next(s, n, &valid, NULL);
        if (ral_utf8_put(out, 0xFFFD) < 0)
            return -RAL_ENOMEM;
        s += bad;
        n -= bad;
    }
    return 0;
}

bool ral_utf8_space(int32_t cp)
{
    return (cp >= 0x09 && cp <= 0x0D) || (cp >= 0x1C && cp <= 0x20) ||
           cp == 0x85 || cp == 0xA0 || cp == 0x1680 ||
           (cp >= 0x2000 && cp <= 0x200A) || cp == 0x2028 || cp == 0x2029 ||
           cp == 0x202F || cp == 0x205F || cp == 0x3000;
}

void ral_utf8_strip(const char **s, size_t *n)
{
    bool valid;
    int32_t cp;

    while (*n) {
        const size_t step = ral_utf8_next(*s, *n, &valid, &cp);

        if (!valid || !ral_utf8_space(cp))
            break;
        *s += step;
        *n -= step;
    }
    while (*n) {
        size_t k = 1;

        while (k < 3 && k < *n && ((*s)[*n - k] & 0xC0) == 0x80)
            k++;
        if (ral_utf8_next(*s + *n - k, k, &valid, &cp) != k || !valid ||
            !ral_utf8_space(cp))
            break;
        *n -= k;
    }
}

/* lib/text/answer.c - finding answers, in linear time on any text. */
#include "text/answer.h"

#include <stdint.h>
#include <string.h>

#include "text/utf8.h"

static const char open_answer[] = "<answer>", close_answer[] = "</answer>";
static const char open_think[] = "<think>", close_think[] = "</think>";

static const char *find(const char *s, size_t n, const char *what)
{
    return s && n ? memmem(s, n, what, strlen(what)) : NULL;
}

bool ral_answer_extract(const char *text, size_t len, const char **start,
                        size_t *n)
{
    const char *end = text + len, *a = find(text, len, open_answer), *z;

    if (!a)
        return false;
    a += sizeof open_answer - 1;
    z = find(a, (size_t)(end - a), close_answer);
    if (!z)
        return false;
    *start = a;
    *n = (size_t)(z - a);
    ral_utf8_strip(start, n);
    return true;
}

static bool has_tag(const char *s, size_t n)
{
    return find(s, n, open_answer) || find(s, n, close_answer) ||
           find(s, n, open_think) || find(s, n, close_think);
}

/*
 * Takes open...close from the front: the text between must have no tag. false
 * if the front is something else.
 */
static bool take_tagged(const char **s, size_t *n, const char *open,
                        const char *close)
{
    const size_t head = strlen(open), tail = strlen(close);
    const char *z;

    if (*n < head || memcmp(*s, open, head) != 0)
        return false;
    *s += head;
    *n -= head;
    z = find(*s, *n, close);
    if (!z || has_tag(*s, (size_t)(z - *s)))
        return false;
    *n -= (size_t)(z - *s) + tail;
    *s = z + tail;
    return true;
}

bool ral_answer_format(const char *text, size_t len, bool thinking)
{
    if (thinking) {
        bool valid = true;
        int32_t cp;

        if (!take_tagged(&text, &len, open_think, close_think))
            return false;
        while (len) {
            const size_t step = ral_utf8_next(text, len, &valid, &cp);

            if (!valid || !ral_utf8_space(cp))
                break;
            text += step;
            len -= step;
        }
    }
    return take_tagged(&text, &len, open_answer, close_answer) && len == 0;
}

/* Whether nothing follows, or white space does. */
static bool ends(const char *s, size_t n)
{
    bool valid;
    int32_t cp;

    if (!n)
        return true;
    ral_utf8_next(s, n, &valid, &cp);
    return valid && ral_utf8_space(cp);
}

int ral_answer_letter(const char *text, size_t len, size_t nchoices)
{
    bool marked = false, small;
    char close = 0;
    int k;

    ral_utf8_strip(&text, &len);
    if (len && (*text == '(' || *text == '[')) {
        close = *text == '(' ? ')' : ']';
        text++;
        len--;
    }
    if (!len)
        return -1;
    small = *text >= 'a' && *text <= 'z';
    if (!small && !(*text >= 'A' && *text <= 'Z'))
        return -1;
    k = *text - (small ? 'a' : 'A');
    text++;
    len--;
    if (close) {
        if (!len || *text != close)
            return -1;
        text++;
        len--;
        marked = true;
    }
    if (len && (*text == '.' || *text == ':' || (*text == ')' && !close))) {
        text++;
        len--;
        marked = true;
    }
    // "A person" is prose, and so may be "a. " with more after it.
    if (!ends(text, len) || (len && (!marked || small)))
        return -1;
    return (size_t)k < nchoices ? k : -1;
}

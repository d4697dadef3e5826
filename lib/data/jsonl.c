/* lib/data/jsonl.c - JSON texts, and files with one of them a line. */
#include "data/jsonl.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"

enum { READ_SIZE = 64 << 10, JSON_DEPTH = 64 };

struct ral_lines {
    int fd;
    char *name;
    size_t max_line;
    struct ral_buf buf;
    size_t pos;      // of the next line in buf
    size_t scanned;  // bytes from pos on that hold no line end
    uint64_t base;   // offset in the file of buf's first byte
    uint64_t offset; // of the line last returned
    size_t number;   // of the line last returned
    bool end;        // nothing is left to read
};

int ral_lines_open_fd(struct ral_lines **out, int fd, const char *name,
                      size_t max_line, struct ral_err *err)
{
    struct ral_lines *l = calloc(1, sizeof(*l));

    *out = NULL;
    if (l)
        l->fd = fd;
    else if (fd > STDIN_FILENO)
        close(fd);
    if (!l || !(l->name = strdup(name)) ||
        ral_buf_reserve(&l->buf, READ_SIZE + 1) < 0) {
        ral_lines_close(l);
        return ral_err_nomem(err, "lines");
    }
    l->max_line = max_line;
    *out = l;
    return 0;
}

int ral_lines_open(struct ral_lines **out, const char *path, size_t max_line,
                   struct ral_err *err)
{
    const bool std = !path || !strcmp(path, "-");
    const int fd = std ? STDIN_FILENO : ral_open_read(path, err);

    *out = NULL;
    if (fd < 0)
        return fd;
    return ral_lines_open_fd(out, fd, std ? "stdin" : path, max_line, err);
}

void ral_lines_close(struct ral_lines *l)
{
    if (!l)
        return;
    if (l->fd > STDIN_FILENO)
        close(l->fd);
    ral_buf_release(&l->buf);
    free(l->name);
    free(l);
}

/* Reads once more behind what is there; the part already used goes first. */
static int fill(struct ral_lines *l, struct ral_err *err)
{
    ptrdiff_t got;

    if (l->pos) {
        memmove(l->buf.data, l->buf.data + l->pos, l->buf.len - l->pos);
        l->buf.len -= l->pos;
        l->base += l->pos;
        l->pos = 0;
    }
    if (ral_buf_reserve(&l->buf, READ_SIZE + 1) < 0)
        return ral_err_nomem(err, "%s", l->name);
    got =
        ral_read_some(l->fd, l->buf.data + l->buf.len, READ_SIZE, l->name, err);
    if (got < 0)
        return (int)got;
    l->buf.len += (size_t)got;
    l->end = got == 0;
    return 0;
}

static bool blank(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (s[i] != ' ' && s[i] != '\t' && s[i] != '\r')
            return false;
    return true;
}

/* What only the first bytes of a file can show. */
static int check_start(struct ral_lines *l, struct ral_err *err)
{
    const uint8_t *p = l->buf.data;

    while (l->buf.len < 4 && !l->end) {
        const int rc = fill(l, err);

        if (rc < 0)
            return rc;
        p = l->buf.data;
    }
    if (l->buf.len >= 4 && !memcmp(p, "\x28\xb5\x2f\xfd", 4))
        return ral_err_set(err, -RAL_EINVAL,
                           "%s: is a record stream, not lines of JSON",
                           l->name);
    if (l->buf.len >= 3 && !memcmp(p, "\xef\xbb\xbf", 3))
        l->pos = 3;
    return 0;
}

/* One line, blank or not. */
static int next_raw(struct ral_lines *l, const char **line, size_t *len,
                    struct ral_err *err)
{
    char *start, *stop;
    size_t left;

    if (l->base == 0 && l->pos == 0) {
        const int rc = check_start(l, err);

        if (rc < 0)
            return rc;
    }
    for (;;) {
        start = (char *)l->buf.data + l->pos;
        left = l->buf.len - l->pos;
        stop = left > l->scanned
                   ? memchr(start + l->scanned, '\n', left - l->scanned)
                   : NULL;
        if ((stop ? (size_t)(stop - start) : left) > l->max_line)
            return ral_err_set(err, -RAL_EINVAL,
                               "%s:%zu: the line is over %zu bytes", l->name,
                               l->number + 1, l->max_line);
        if (stop || l->end)
            break;
        l->scanned = left;
        const int rc = fill(l, err);

        if (rc < 0)
            return rc;
    }
    if (!left)
        return 0;
    l->offset = l->base + l->pos;
    l->number++;
    l->scanned = 0;
    *len = stop ? (size_t)(stop - start) : left;
    l->pos += *len + (stop != NULL);
    start[*len] = 0; // the line end, or the spare byte that fill reserves
    *line = start;
    return 1;
}

int ral_lines_next(struct ral_lines *l, const char **line, size_t *len,
                   struct ral_err *err)
{
    int rc;

    do {
        if ((rc = next_raw(l, line, len, err)) <= 0)
            return rc;
    } while (blank(*line, *len));
    if ((*line)[*len - 1] == '\r')
        ((char *)(uintptr_t)*line)[--*len] = 0;
    return 1;
}

size_t ral_lines_number(const struct ral_lines *l)
{
    return l->number;
}

uint64_t ral_lines_offset(const struct ral_lines *l)
{
    return l->offset;
}

int ral_lines_seek(struct ral_lines *l, uint64_t offset, size_t number,
                   struct ral_err *err)
{
    if (offset > INT64_MAX ||
        lseek(l->fd, (off_t)offset, SEEK_SET) != (off_t)offset)
        return ral_err_errno(err, "%s: cannot seek", l->name);
    l->base = offset;
    l->buf.len = l->pos = 0;
    l->end = false;
    l->scanned = 0;
    l->number = number - 1;
    return 0;
}

/* Levels of brackets outside strings: jansson alone would go to 2048. */
static size_t depth(const char *s, size_t len)
{
    size_t now = 0, most = 0;
    bool in_string = false;

    for (size_t i = 0; i < len; i++) {
        if (in_string) {
            if (s[i] == '\\')
                i++;
            else if (s[i] == '"')
                in_string = false;
        } else if (s[i] == '"') {
            in_string = true;
        } else if (s[i] == '{' || s[i] == '[') {
            if (++now > most)
                most = now;
        } else if ((s[i] == '}' || s[i] == ']') && now) {
            now--;
        }
    }
    return most;
}

int ral_json_parse(json_t **out, const char *text, size_t len,
                   const char *where, struct ral_err *err)
{
    json_error_t e;

    *out = NULL;
    if (depth(text, len) > JSON_DEPTH)
        return ral_err_set(err, -RAL_EINVAL, "%s: JSON nested over %d levels",
                           where, JSON_DEPTH);
    *out = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &e);
    if (*out)
        return 0;
    if (json_error_code(&e) == json_error_out_of_memory)
        return ral_err_nomem(err, "%s", where);
    if (memchr(text, '\n', len))
        return ral_err_set(err, -RAL_EINVAL,
                           "%s: line %d, column %d: not JSON: %s", where,
                           e.line, e.column, e.text);
    return ral_err_set(err, -RAL_EINVAL, "%s: column %d: not JSON: %s", where,
                       e.column, e.text);
}

int ral_json_file(json_t **out, const char *path, struct ral_err *err)
{
    struct ral_buf b = {0};
    int rc = ral_file_read(path, (size_t)1 << 30, &b, err);

    *out = NULL;
    if (rc == 0)
        rc = ral_json_parse(out, (const char *)b.data, b.len, path, err);
    ral_buf_release(&b);
    return rc;
}

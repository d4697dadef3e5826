/* lib/text/split.h - text into the pieces that are encoded one by one. */
#ifndef RAL_SPLIT_H
#define RAL_SPLIT_H

#include <stddef.h>

#include "base/err.h"

/* The regular expression of the family, as tokenizer.json prints it. */
extern const char ral_split_pattern[];

struct ral_splitter; // read-only once open; shared by threads

int ral_splitter_open(struct ral_splitter **out, struct ral_err *err);
void ral_splitter_close(struct ral_splitter *s);

/* A walk over one text; each thread has its own. */
struct ral_split {
    const struct ral_splitter *by;
    void *match;
    const char *text;
    size_t len, pos;
};

int ral_split_init(struct ral_split *w, const struct ral_splitter *by,
                   struct ral_err *err);
/* Starts at the front of text[len], which must be valid UTF-8. */
void ral_split_begin(struct ral_split *w, const char *text, size_t len);
/* 1 and the next piece, 0 at the end, or negative. */
int ral_split_next(struct ral_split *w, const char **piece, size_t *n,
                   struct ral_err *err);
void ral_split_release(struct ral_split *w);

#endif

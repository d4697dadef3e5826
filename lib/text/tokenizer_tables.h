/* lib/text/tokenizer_tables.h - what a tokenizer holds, and who fills it. */
#ifndef RAL_TOKENIZER_TABLES_H
#define RAL_TOKENIZER_TABLES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "text/bpe.h"
#include "text/split.h"

struct ral_token {
    const char *text; // its bytes; NULL for an id that no token has
    uint32_t len;
    bool added, special;
};

struct ral_tokenizer {
    struct ral_arena arena;
    struct ral_token *token; // [size], by id
    size_t size;
    int32_t *by_text; // open hash of the vocabulary by bytes, -1 free
    size_t mask;
    int32_t *added; // [n_added], sorted by bytes
    size_t n_added;
    bool begins_added[256];
    int32_t byte_id[256];
    struct ral_merges merges;
    struct ral_splitter *splitter;
};

/* Fills a zeroed tokenizer; on failure the caller still closes it. */
int ral_tokenizer_load(struct ral_tokenizer *t, const char *path,
                       struct ral_err *err);
/* The id in the vocabulary, added tokens left aside, or -1. */
int32_t ral_tokenizer_find(const struct ral_tokenizer *t, const char *text,
                           size_t len);

#endif

/* lib/model/pack.h - prompts and responses as one packed batch of tokens.
 *
 * Every group is a prompt, once, followed by its responses, each of which
 * sees the prompt and itself. Nothing is padded.
 */
#ifndef RAL_PACK_H
#define RAL_PACK_H

#include "base/arena.h"
#include "model/block.h"
#include "model/vision.h"

struct ral_response {
    const int32_t *ids; // [T], the end token included
    size_t T;
};

struct ral_pack_group {
    const int32_t *prompt; // [P]
    size_t P;
    const struct ral_visual *picture;
    size_t npicture;
    const struct ral_response *response; // [G]; G 0: the prompt alone
    size_t G;
};

/* Where a group's rows begin, for callers that walk results. */
struct ral_pack {
    size_t N;                 // tokens
    int32_t *ids;             // [N]
    float *cos, *sin;         // [N][head/2]
    struct ral_layout layout;
    /* The last layer's: of a prompt only its last row is wanted. */
    struct ral_layout last;
    struct ral_visual *picture;
    size_t npicture;
    int32_t *next;            // [groups] first position after each prompt
    size_t *visual;           // [units] token row of each visual token
    size_t units;
    /* Rows that predict: each prompt's last, and all but the last of each
     * response; their places among those that the last layer keeps. [U] */
    size_t *hidden;
    size_t U;
    /* Response tokens in order of group, response, position. [R] */
    size_t R;
    int32_t *target;          // the token
    size_t *predictor;        // the place in hidden of the row that predicts it
    size_t *row;              // its own place among those kept: its policy's
    size_t *keys;             // keys that row sees, itself included: P + t + 1
    /* Tokens predicted from hidden row u: item[first[u] .. first[u+1]). */
    size_t *first, *item;     // [U+1], [R]
};

/**
 * Fails when placeholders and pictures do not match, or a sequence is longer
 * than the context. Everything lives in the arena; patches are borrowed.
 */
int ral_pack_build(struct ral_pack *p, const struct ral_model *m,
                   const struct ral_pack_group *g, size_t n,
                   struct ral_arena *a, struct ral_err *err);

/**
 * Positions of a prompt (t, h, w each [P]) and the first position after it.
 * Text advances all three; a picture's tokens take its rows and columns.
 */
int ral_positions(const struct ral_config *c, const int32_t *prompt, size_t P,
                  const struct ral_visual *picture, size_t npicture,
                  int32_t *t, int32_t *h, int32_t *w, int32_t *next,
                  struct ral_err *err);

/* The angles of one token: cos, sin [head/2] out of a table of them. */
void ral_position_rotary(const struct ral_model *m,
                         const struct ral_rotary *table, int32_t t, int32_t h,
                         int32_t w, float *cos, float *sin);

#endif

/* lib/model/pack.h - prompts and responses as one packed batch of tokens.
 *
 * Every group is a prompt, once, followed by its responses, each of which
 * sees the prompt and itself. Nothing is padded. Four spaces of indices:
 *
 *   tokens       N, as packed; all layers but the last have these rows
 *   last rows    M of them, those that the last layer computes: of a prompt
 *                its last token, of a response all
 *   hidden rows  U of those, which predict: all but each response's last
 *   responses    R tokens, in order of group, response and position
 *
 * Predictions are R too, in order of the hidden row that makes them: item[]
 * says which response token each is.
 */
#ifndef RAL_PACK_H
#define RAL_PACK_H

#include "media/visual.h"
#include "model/model.h"
#include "model/rotary.h"

struct ral_response {
    const int32_t *ids; // [T], the end token included
    size_t T;
};

struct ral_pack_group {
    const int32_t *prompt; // [P]
    size_t P;
    const struct ral_visual *visual; // [nvisual]
    size_t nvisual;
    const struct ral_response *response; // [G]; G 0: the prompt alone
    size_t G;
};

struct ral_pack {
    size_t N, M, U, R;
    size_t units;               // visual tokens among the N
    const struct ral_visual **visual; // [nvisual], borrowed
    size_t nvisual;

    /* Of groups, for those who go on from prompts. */
    int32_t *next;              // [groups] first position after each prompt
    struct ral_run *prompt;     // [groups] each prompt's keys

    /* Of response tokens. A token's attention row has keys[r] numbers, itself
     * included, from look[r] on in a plane of look[R]. */
    size_t *keys, *look;        // [R], [R+1]
    size_t *item;               // [R] response token of each prediction
    int32_t *first;             // [U+1] first prediction of each hidden row;
                                // one place more while they are sorted

    /* The machine's tables. */
    struct ral_mat word;        // I32 [1][N] token ids, -1 where one is visual
    struct ral_mat at_visual;   // I32 [1][units] token of each visual one
    struct ral_layout all, last;
    struct ral_mat hidden;      // I32 [1][U] places among the last rows
    struct ral_targets targets; // of predictions
    struct ral_mat look_all;    // I64 [1][N], as struct ral_look wants it
    struct ral_mat look_last;   // I64 [1][M]
};

/**
 * Fails when placeholders and visuals do not match, or a sequence is longer
 * than the context. Everything lives in the space; patches are borrowed.
 */
int ral_pack_build(struct ral_pack *p, const struct ral_model *m,
                   const struct ral_pack_group *g, size_t n,
                   struct ral_space *a, struct ral_err *err);

/**
 * Positions of a prompt (t, h, w each [P]) and the first position after it.
 * Text advances all three; a picture's tokens take its rows and columns.
 */
int ral_positions(const struct ral_config *c, const int32_t *prompt, size_t P,
                  const struct ral_visual *visual, size_t nvisual, int32_t *t,
                  int32_t *h, int32_t *w, int32_t *next, struct ral_err *err);

/* The angles of one token into a row: of its three positions by sections. */
void ral_position_angles(const struct ral_config *c, struct ral_angles *x,
                         size_t row, const struct ral_rotary *table,
                         const int32_t position[3]);

#endif

/* lib/eval/grounding.h - how much of the attention lies on the evidence. */
#ifndef RAL_GROUNDING_H
#define RAL_GROUNDING_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/err.h"
#include "stream/fields.h"
#include "stream/group.h"

/* Patches along a side of a visual token; at least 1. */
size_t ral_cells_merge(const struct ral_stream_info *info);

/**
 * A visual token is a cell of its medium: one of t steps, and in it cell (y, x)
 * of gh x gw, [x W/gw, (x+1) W/gw) wide and so on. Finds where in the prompt
 * they are: media in order, steps in order, cells row by row.
 *
 * @param token  set to [*n] places
 * @return 0; -RAL_EINVAL where prompt and grids differ in their number
 */
int ral_cells_find(const struct ral_stream_info *info, const int32_t *ids,
                   size_t P, const struct ral_media_ref *media, size_t n_media,
                   size_t **token, size_t *n, struct ral_arena *a,
                   struct ral_err *err);

/**
 * A row's boxes (ral_fields_boxes) for the media that it has. Refused: a box
 * of a medium that there is not, and one that lies outside its picture.
 */
int ral_boxes_read(const struct ral_fields *f,
                   const struct ral_media_ref *media, size_t n_media,
                   struct ral_box **box, size_t *n, struct ral_arena *a,
                   struct ral_err *err);

/**
 * The part of each cell, 0 to 1, that lies in any of the boxes of its medium;
 * where boxes overlap, the area counts once. Boxes hold for all steps.
 *
 * @param cover  [n] of ral_cells_find, in its order
 * @return 0 or -RAL_ENOMEM
 */
int ral_boxes_cover(const struct ral_box *box, size_t n,
                    const struct ral_media_ref *media, size_t n_media,
                    size_t merge, double *cover, struct ral_arena *a);

/**
 * Evidence mass: sum of p * cover over the visual tokens, over the sum of p.
 *
 * @param p      [n] attention on the visual tokens, >= 0
 * @param mass   under p; uniform: under equal p, which is the mean of cover
 * @return false where p has nothing on them: mass is not defined
 */
bool ral_evidence_mass(const double *p, const double *cover, size_t n,
                       double *mass, double *uniform);

/**
 * The response token whose query predicts the first token of the answer text,
 * as ral_answer_extract finds it: the token before the one that holds the
 * answer's first byte. False where there is no answer, where it is empty,
 * where it begins with the response (the row before is the prompt's), and
 * where it is unknown where the tokens end in the text.
 */
bool ral_answer_row(const struct ral_sample *s, size_t *t);

#endif

/* lib/eval/grounding.h - how much of the attention lies on the evidence. */
#ifndef RAL_GROUNDING_H
#define RAL_GROUNDING_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/err.h"
#include "stream/fields.h"
#include "stream/group.h"

/* A picture as displayed, and the grid of visual tokens laid over it. */
struct ral_shown {
    double width, height; // pixels
    size_t gh, gw;        // cell (y, x) is [x W/gw, (x+1) W/gw) and so on
};

/**
 * A row's boxes: a list of [x0,y0,x1,y1], which belong to the first picture,
 * or {"media":k,"box":[x0,y0,x1,y1]}. No list, null or an empty list: *n is 0.
 * Refused: a box without extent, one that lies outside its picture, and one
 * of a picture that there is not.
 */
int ral_boxes_read(const json_t *list, const struct ral_shown *shown,
                   size_t nshown, struct ral_box **box, size_t *n,
                   struct ral_arena *a, struct ral_err *err);

/**
 * The part of each cell, 0 to 1, that lies in any of the boxes of its picture;
 * where boxes overlap, the area counts once.
 *
 * @param cover  [sum of gh * gw], pictures in order, cells row by row
 * @return 0 or -RAL_ENOMEM
 */
int ral_boxes_cover(const struct ral_box *box, size_t n,
                    const struct ral_shown *shown, size_t nshown,
                    double *cover, struct ral_arena *a);

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

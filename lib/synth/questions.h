/* lib/synth/questions.h - the rows of a made-up question set, one by one. */
#ifndef RAL_QUESTIONS_H
#define RAL_QUESTIONS_H

#include "synth/family.h"

struct ral_questions;

/**
 * Rows of a family by a specification: the same every time. A picture's
 * content decides its split, 80 % train, 10 % validation, 10 % test. Naming
 * rows are spread evenly, so that any beginning has the mix of the whole.
 *
 * @return 0, -RAL_EUSAGE for settings that cannot be, or -RAL_ENOMEM
 */
int ral_questions_open(struct ral_questions **out,
                       const struct ral_family *family,
                       const struct ral_synth_spec *spec, struct ral_err *err);
void ral_questions_close(struct ral_questions *q); // accepts NULL

struct ral_question_row {
    size_t number;  // of the row, from 1
    size_t picture; // its number, from 1
    const struct ral_synth_question *question;
    struct ral_canvas *canvas; // of a picture not seen before, else NULL
};

/**
 * The next row; what it points to is valid until the next call.
 * @return 1, 0 after the last, or negative
 */
int ral_questions_next(struct ral_questions *q, struct ral_question_row *row,
                       struct ral_err *err);

#endif

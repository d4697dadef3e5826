/* lib/job/synth.h - ral-synth: make a visual question set. */
#ifndef RAL_SYNTH_H
#define RAL_SYNTH_H

#include <stdbool.h>

#include "base/err.h"
#include "base/log.h"
#include "synth/family.h"

/* Of question and picture in a turn. */
#define RAL_SYNTH_ORDER_WORDS "question-first|picture-first"

struct ral_synth_job {
    const char *family, *out, *split, *name, *prefix;
    int picture_first; // of RAL_SYNTH_ORDER_WORDS
    int64_t rows, cells, objects, clutter, colours, shapes, questions;
    double naming;
    uint64_t seed;
    bool force;
};

/**
 * Writes OUT/NAME.jsonl and the pictures OUT/images/NAME/000001.png ...
 * The pictures appear together, and the rows after them: rows that are
 * there are complete.
 */
int ral_synth_run(const struct ral_synth_job *job, const struct ral_log *log,
                  struct ral_err *err);

#endif

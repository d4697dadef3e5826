/* lib/job/synth.h - ral-synth: make a visual question set. */
#ifndef RAL_SYNTH_H
#define RAL_SYNTH_H

#include <stdbool.h>

#include "base/err.h"
#include "base/log.h"
#include "synth/family.h"

struct ral_synth_job {
    const char *family, *out, *split, *name, *prefix, *order;
    int64_t rows, cells, objects, clutter, colours, shapes, questions;
    double naming;
    uint64_t seed;
    bool force;
};

#define RAL_SYNTH_JOB_INIT                                                     \
    {                                                                          \
        .split = "train", .order = "question-first", .rows = 1000, .cells = 4, \
        .objects = 3, .colours = 6, .shapes = 8, .questions = 2                \
    }

/**
 * Writes OUT/NAME.jsonl and the pictures OUT/images/NAME/000001.png ...
 * The pictures appear together, and the rows after them: rows that are
 * there are complete.
 */
int ral_synth_run(const struct ral_synth_job *job, const struct ral_log *log,
                  struct ral_err *err);

#endif

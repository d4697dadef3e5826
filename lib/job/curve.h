/* lib/job/curve.h - the learning curve of a run, from its metrics. */
#ifndef RAL_JOB_CURVE_H
#define RAL_JOB_CURVE_H

#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"

/**
 * Appends a PNG: validation accuracy and mean reward of each of files[n]
 * (metrics.jsonl of ral-train) over optimiser updates, those of SFT first. A
 * series has the name of its file's folder. Of a step that a killed run made
 * twice the later lines count. A run without SFT of its own is taken to go on
 * from the longest SFT of the others.
 */
int ral_curve_png(char *const *files, size_t n, struct ral_buf *png,
                  struct ral_err *err);

#endif

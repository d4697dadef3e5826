/* lib/job/view.h - look into record streams. */
#ifndef RAL_VIEW_H
#define RAL_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/opt.h"
#include "stream/group.h"

struct ral_view_job {
    const char *out;           // NULL or "-": stdout
    bool header, count, check; // at most one, or one of the next
    const char *heatmap;       // PNG to write
    const char *curve;         // PNG to write, of metrics files
    bool settings;             // all that recipes may set
    const char *get;           // a key of the one file, for scripts
    struct ral_list sets;      // overrides of a recipe
    struct ral_list where;     // of the objects that get looks into
    bool last;                 // get: of the last of them alone
    const char *or_else;       // get: printed where the key is not set
    bool full;                 // attn and embedded bytes too
    bool part;                 // one shard alone
    const char *record;        // id; NULL: all, of a heat map the first
    int64_t limit;             // stop after so many records; 0: all
    uint64_t max_record;       // bytes; 0: default
    // of a heat map
    const char *media_root; // in place of the header's
    int64_t sample, token;  // token -1: the one that predicts the answer
    int64_t layer, head;    // as of struct ral_attn_of
};

/* Reads the files in a row, or stdin if n is 0. */
int ral_view_run(const struct ral_view_job *job, char *const *files, size_t n,
                 struct ral_err *err);

/**
 * Appends the value of job->get in a recipe, a .json or a .jsonl file, or what
 * stands in for it: lines with their ends.
 */
int ral_view_get(const struct ral_view_job *job, const char *path,
                 struct ral_buf *out, struct ral_err *err);

/* Appends the PNG of one group. */
int ral_view_heat(const struct ral_view_job *job,
                  const struct ral_stream_info *info, const struct ral_group *g,
                  struct ral_buf *png, struct ral_err *err);

/**
 * Appends a PNG: validation accuracy and mean reward of each of files[n]
 * (metrics.jsonl of ral-train) over optimiser updates, those of SFT first. A
 * series has the name of its file's folder. Of a step that a killed run made
 * twice the later lines count. A run without SFT of its own is taken to go on
 * from the longest SFT of the others.
 */
int ral_view_curve(char *const *files, size_t n, struct ral_buf *png,
                   struct ral_err *err);

#endif

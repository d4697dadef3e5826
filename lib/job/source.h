/* lib/job/source.h - where a program finds its rows and their media. */
#ifndef RAL_JOB_SOURCE_H
#define RAL_JOB_SOURCE_H

#include "conf/recipe.h"
#include "prompt/rows.h"

struct ral_source {
    struct ral_rows_conf rows; // path, where and nwhere are set, all else is 0
    char *root;                // folder of media paths
    const char **where;        // what rows.where points to
};

/**
 * The operand, under data.where; without one the recipe's file of the split,
 * under data.where and that split's own conditions; without that stdin.
 *
 * @param split  "train", "sft" (data.sft, or the training rows), "validation"
 *               or "test" as asked for with --split, which excludes an operand
 *               and needs its file; NULL: usual
 * @param d      outlives the source, as does operand
 */
int ral_source_find(struct ral_source *s, const struct ral_data_settings *d,
                    const char *split, const char *usual, const char *operand,
                    struct ral_err *err);
void ral_source_release(struct ral_source *s); // accepts a zeroed one

#define RAL_SPLIT_OPT(dst, usual)                                              \
    RAL_OPT_STR(0, "split", dst, "NAME",                                       \
                "without ROWS: the recipe's data.NAME, train, sft, "           \
                "validation or test [" usual "]")

/* "k/n" with 1 <= k <= n; NULL or "" is 1/1 and gives *n = 0. */
int ral_shard_parse(const char *text, uint64_t *k, uint64_t *n,
                    struct ral_err *err);

#endif

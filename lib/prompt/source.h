/* lib/prompt/source.h - where a program finds its rows and their media. */
#ifndef RAL_SOURCE_H
#define RAL_SOURCE_H

#include "conf/recipe.h"
#include "prompt/prompt.h"
#include "prompt/rows.h"
#include "text/template.h"

struct ral_source {
    struct ral_rows_conf rows; // path, where and nwhere are set, all else is 0
    char *root;                // folder of media paths
    const char **where;        // what rows.where points to
};

/**
 * The operand, under data.where; without one the recipe's file of the split,
 * under data.where and that split's own conditions; without that stdin.
 *
 * @param split  of RAL_SPLIT_WORDS (sft: data.sft, or the training rows)
 *               as asked for with --split, which excludes an operand
 *               and needs its file; NULL: usual
 * @param d      outlives the source, as does operand
 */
int ral_source_find(struct ral_source *s, const struct ral_data_settings *d,
                    const char *split, const char *usual, const char *operand,
                    struct ral_err *err);
void ral_source_release(struct ral_source *s); // accepts a zeroed one

#define RAL_SPLIT_WORDS "train|sft|validation|test"
#define RAL_SPLIT_OPT(d, usual)                                                \
    RAL_SET_WORD(NULL, d, RAL_SPLIT_WORDS, NULL,                               \
                 "without ROWS: the recipe's data.NAME, train, sft, "          \
                 "validation or test",                                         \
                 .shown = usual, RAL_AS(0, "split", "NAME"))

/* Rows of section data, for struct ral_data_settings *d. */
#define RAL_DATA_SETTINGS(d)                                                   \
    RAL_SET_STR("data.train", &(d)->train, "file of rows to train on"),        \
        RAL_SET_STR("data.sft", &(d)->sft, "file of rows of SFT",              \
                    .shown = "data.train"),                                    \
        RAL_SET_STR("data.validation", &(d)->validation,                       \
                    "file of rows to stop and choose by"),                     \
        RAL_SET_STR("data.test", &(d)->test, "file of rows to report on"),     \
        RAL_SET_STR("data.media_root", &(d)->media_root,                       \
                    "media paths are relative to this",                        \
                    .shown = "the rows' folder, or the stream's",              \
                    RAL_AS(0, "media-root", "DIR")),                           \
        RAL_SET_STR("data.system_prompt", &(d)->system_prompt,                 \
                    "system turn of every prompt; none: without",              \
                    .shown = "the model family's"),                            \
        RAL_SET_STR("data.prompt_suffix", &(d)->prompt_suffix,                 \
                    "ends the text of the last user turn"),                    \
        RAL_SET_STR("data.response_template", &(d)->response_template,         \
                    "the reply of a row that has none",                        \
                    .text = RAL_RESPONSE_TEMPLATE),                            \
        RAL_SET_ENUM("data.media_order", &(d)->media_order,                    \
                     RAL_MEDIA_ORDER_WORDS, RAL_MEDIA_AS_IS,                   \
                     "pictures against text in a turn"),                       \
        RAL_SET_LIST("data.where", &(d)->where, "conditions of rows"),         \
        RAL_SET_LIST("data.train_where", &(d)->train_where,                    \
                     "further ones of data.train and data.sft"),               \
        RAL_SET_LIST("data.validation_where", &(d)->validation_where,          \
                     "further ones of data.validation"),                       \
        RAL_SET_LIST("data.test_where", &(d)->test_where,                      \
                     "further ones of data.test")

/* The prompt settings of data.*. */
struct ral_prompt_conf ral_data_prompts(const struct ral_data_settings *d);

/* "k/n" with 1 <= k <= n; NULL or "" is 1/1 and gives *n = 0. */
int ral_shard_parse(const char *text, uint64_t *k, uint64_t *n,
                    struct ral_err *err);

#endif

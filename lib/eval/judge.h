/* lib/eval/judge.h - what a question's responses are worth. */
#ifndef RAL_JUDGE_H
#define RAL_JUDGE_H

#include "eval/outcome.h"
#include "reward/rules.h"
#include "stream/fields.h"
#include "stream/group.h"

/* A question with its responses, from rows or from a stream; borrowed. */
struct ral_question {
    const char *id;
    const struct ral_stream_info *info; // what attn and the visual tokens are
    struct ral_fields fields;
    const struct ral_media_ref *media; // [n_media]
    size_t n_media;
    const int32_t *ids; // [P], the prompt
    size_t P;
    const struct ral_sample *samples; // [G]
    size_t G;
};

/* A question made ready, in the arena. */
struct ral_judge {
    const struct ral_rule_set *metric; // one rule, open
    const struct ral_question *q;
    size_t *token; // [n] places in the prompt of its visual tokens
    double *cover; // [n] the part of each that is evidence
    double *p;     // [n] room for a response's attention on them
    size_t n;      // 0: no boxes, or they are of videos
    struct ral_arena *a;
};

/**
 * @return 0; 1 for a question that the rule cannot score at all, err says why;
 *         -RAL_EINVAL for boxes or visual tokens that do not fit its media
 */
int ral_judge_open(struct ral_judge *j, const struct ral_rule_set *metric,
                   const struct ral_question *q, struct ral_arena *a,
                   struct ral_err *err);

/**
 * The outcome of response k, its texts from the arena. Responses of one
 * question depend on each other: where there are several, their ids are
 * ID/1, ID/2, ..., and without another cluster the question is theirs.
 */
int ral_judge_sample(const struct ral_judge *j, size_t k,
                     struct ral_outcome *x, struct ral_err *err);

#endif

/* lib/eval/outcome.h - what became of each question, and what it sums up to. */
#ifndef RAL_OUTCOME_H
#define RAL_OUTCOME_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

enum ral_evidence {
    RAL_EVIDENCE_UNBOXED, // the row has no boxes
    RAL_EVIDENCE_SKIPPED, // no row of attention before an answer
    RAL_EVIDENCE_SEEN,    // mass and uniform are set
};

/* One answer. */
struct ral_outcome {
    const char *id;
    const char *cluster, *category; // NULL: none
    bool correct, parsed;
    enum ral_evidence evidence;
    double mass, uniform; // eval/grounding.h
};

struct ral_outcomes { // zero initialise
    struct ral_outcome *item;
    size_t n, cap;
    struct ral_arena arena; // their texts
};

/* Copies x and its texts. 0 or -RAL_ENOMEM. */
int ral_outcomes_add(struct ral_outcomes *o, const struct ral_outcome *x,
                     struct ral_err *err);
void ral_outcomes_release(struct ral_outcomes *o);

/**
 * Adds to the object: n, correct, accuracy, ci95, clusters, unparsed,
 * categories {name: {n, accuracy, ci95}} in order of name (none where no
 * answer has one), evidence_mass, evidence_ci95, evidence_uniform, evidence_n,
 * evidence_skipped, evidence_unboxed. What cannot be known is null.
 */
int ral_outcomes_summary(const struct ral_outcomes *o, json_t *into,
                         struct ral_err *err);

/**
 * Accuracy of now less that of before over the answers that both have, matched
 * by id: {points, ci95, n, unpaired} in percentage points, a new object.
 * -RAL_EINVAL where they have none in common.
 */
int ral_outcomes_gain(const struct ral_outcomes *before,
                      const struct ral_outcomes *now, json_t **out,
                      struct ral_err *err);

/**
 * One line of JSON: id, correct, answer, text, cluster, evidence (the mass).
 * answer NULL: there is none.
 */
int ral_outcome_line(struct ral_buf *out, const struct ral_outcome *x,
                     const char *answer, size_t nanswer, const char *text,
                     size_t ntext, struct ral_err *err);
/* Such lines again, those of failed rows left out; for ral_outcomes_gain. */
int ral_outcomes_read(struct ral_outcomes *o, const char *path,
                      struct ral_err *err);

/* The summary as lines of text for a person. */
int ral_outcomes_table(struct ral_buf *out, const json_t *summary);

#endif

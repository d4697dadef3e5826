/* lib/job/respond.h - rows to responses, in batches. */
#ifndef RAL_JOB_RESPOND_H
#define RAL_JOB_RESPOND_H

#include "job/policy.h"
#include "model/generate.h"
#include "prompt/source.h"
#include "stream/group.h"

/* One row and what became of it; valid during the call of put. */
struct ral_responded {
    const char *id;
    const json_t *row;
    const struct ral_prompt *prompt;  // empty where it failed
    const struct ral_sample *samples; // [G], with text, ends, logp and attn
    size_t G;                         // 0 where it failed
    const char *error;                // NULL: it did not
};

typedef int ral_respond_fn(void *ctx, const struct ral_responded *it,
                           struct ral_err *err);

struct ral_respond_conf {
    const struct ral_policy *policy;
    const struct ral_source *source; // with what else its rows shall be
    struct ral_sampling sampling;
    size_t samples, max_tokens; // of a prompt; of a response
    size_t batch;               // prompts decoded together; 0: by their size
    bool given;                 // score the responses that the rows hold
    double max_failed;          // RAL_UNASKED: 0.1, and more is the data's fault
    const char *what;           // for progress: "sampled"
    const struct ral_log *log;
    ral_respond_fn *put; // called in the order of the rows
    void *ctx;
};

struct ral_respond_stats {
    size_t rows, failed, tokens; // tokens of all responses
    char first[400];             // the first failure
};

/**
 * Every row to put, in order. A row that cannot be used goes there too, with
 * its error; more of them than max_failed of all rows end the run.
 */
int ral_respond(const struct ral_respond_conf *conf, struct ral_rows *rows,
                struct ral_respond_stats *stats, struct ral_err *err);

#endif

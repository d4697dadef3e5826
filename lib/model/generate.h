/* lib/model/generate.h - responses from cached decoding. */
#ifndef RAL_GENERATE_H
#define RAL_GENERATE_H

#include "model/pack.h"
#include "model/sample.h"

struct ral_generation {
    struct ral_sampling sampling;
    size_t samples;        // G, of each prompt
    size_t max_tokens;     // of a response, the end token included
    const int32_t *stop;   // [nstop] tokens that end a response
    size_t nstop;
};

/* A finished response; lives in the arena given to ral_generate. */
struct ral_generated {
    int32_t *ids;  // [T]
    size_t T;
    bool stopped;  // by a stop token, not by max_tokens
    float *logp;   // [T] log-softmax of logits / tau, before top-p and top-k
    float **alpha; // [T] rows of the head-mean attention, P + t + 1 each
};

/**
 * Samples G responses for each of n prompts, all decoded together: one
 * prefill, its keys shared by the prompt's samples, then one token a sample
 * and step. Bits depend on a prompt and its id alone, never on the others.
 *
 * @param g     prompts and pictures (their responses are not looked at)
 * @param id    [n] ids, for the random numbers
 * @param out   [n * samples]
 * @param keep  results are allocated here; a: scratch, rewound
 * No heap allocation per token after the arenas have grown.
 */
int ral_generate(const struct ral_model *m, const struct ral_generation *gen,
                 const struct ral_pack_group *g, const char *const *id,
                 size_t n, struct ral_generated *out, struct ral_arena *keep,
                 struct ral_arena *a, struct ral_err *err);

/**
 * The same values for responses that are given: logp and alpha of every
 * response token of the pack, in its order, by one uncached forward.
 */
int ral_score(const struct ral_model *m, const struct ral_pack *p, float tau,
              float *logp, float **alpha, struct ral_arena *a,
              struct ral_err *err);

#endif

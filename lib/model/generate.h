/* lib/model/generate.h - responses from cached decoding. */
#ifndef RAL_GENERATE_H
#define RAL_GENERATE_H

#include "model/forward.h"
#include "model/sample.h"

struct ral_generation {
    struct ral_sampling sampling;
    size_t samples;        // G, of each prompt
    size_t max_tokens;     // of a response, the end token included
    const int32_t *stop;   // [nstop] tokens that end a response
    size_t nstop;
    struct ral_look_conf look; // attention rows to record
};

/* A finished response; lives in the arena given to ral_generate. */
struct ral_generated {
    int32_t *ids;  // [T]
    size_t T;
    bool stopped;  // by a stop token, not by max_tokens
    float *logp;   // [T] log-softmax of logits / tau, before top-p and top-k
    /* [T] each token's attention: planes (forward.h) of P + t + 1 numbers;
     * samples whose tokens agree so far may share it. */
    const float **look;
};

/**
 * Samples G responses for each of n prompts, all decoded together: one
 * prefill, its keys shared by the prompt's samples, then one token a sample
 * and step. Bits depend on a prompt and its id alone, never on the others.
 *
 * @param g     prompts and visuals (their responses are not looked at)
 * @param id    [n] ids, for the random numbers
 * @param out   [n * samples]
 * @param keep  results are allocated here; a: scratch, rewound
 * No heap allocation per token after the arenas have grown.
 */
int ral_generate(const struct ral_model *m, const struct ral_generation *gen,
                 const struct ral_pack_group *g, const char *const *id,
                 size_t n, struct ral_generated *out, struct ral_arena *keep,
                 struct ral_space *a, struct ral_err *err);

/**
 * The same values for responses that are given, by one uncached forward:
 * logp[R], and look [planes][pack's look[R]] (not used where none is asked).
 */
int ral_score(const struct ral_model *m, const struct ral_pack *p, float tau,
              const struct ral_look_conf *look, float *logp, float *planes,
              struct ral_space *a, struct ral_err *err);

#endif

/* lib/model/forward.h - the whole model over a packed batch, and back. */
#ifndef RAL_FORWARD_H
#define RAL_FORWARD_H

#include "model/pack.h"

/* What a kept forward leaves for its backward; lives in the arena. */
struct ral_activations {
    struct ral_stack stack;
    struct ral_saved *layer;
    struct ral_vision_saved vision;
    float *x;      // [last.nkeep][width], residual stream after the last layer
    float *r;      // [U]
    float *hidden; // [U][width], final norm of the rows that predict
};

/**
 * Pictures through the tower, tokens through the decoder, the final norm of
 * the pack's hidden rows. kv: NULL to use scratch, else one store a layer
 * that keeps the keys (decoding). policy: [last.nkeep] row pointers for the
 * last layer (nn/attention.h) or NULL. keep: for a backward.
 */
int ral_forward(const struct ral_model *m, const struct ral_pack *p,
                struct ral_kv *kv, bool keep, float *const *policy,
                struct ral_activations *act, struct ral_arena *a,
                struct ral_err *err);

/**
 * dhidden[U][width] and dpolicy (row pointers as policy, or NULL: gradients of the
 * last layer's head-mean attention) to the gradient arena, accumulated.
 */
int ral_backward(const struct ral_model *m, const struct ral_pack *p,
                 const struct ral_activations *act, const float *dhidden,
                 const float *const *dpolicy, float *grad, struct ral_arena *a,
                 struct ral_err *err);

/* Of the last layer's query weight, what dpolicy alone gives it (block.h). */
int ral_policy_query_gradient(const struct ral_model *m,
                              const struct ral_pack *p,
                              const struct ral_activations *act,
                              const float *const *dpolicy, float *dWq,
                              struct ral_arena *a, struct ral_err *err);

/* The decoder alone, over rows x[N][width] of a stack; see block.h. */
int ral_decoder_forward(const struct ral_stack *s, const struct ral_layout *l,
                        const struct ral_layout *last, struct ral_kv *kv,
                        float *x, struct ral_saved *saved,
                        float *const *policy, struct ral_arena *a);

struct ral_stack ral_decoder_stack(const struct ral_model *m, size_t N,
                                   const float *cos, const float *sin);

#endif

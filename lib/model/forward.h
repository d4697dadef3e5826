/* lib/model/forward.h - the whole model over a packed batch, and back. */
#ifndef RAL_FORWARD_H
#define RAL_FORWARD_H

#include "model/block.h"
#include "model/pack.h"
#include "model/tower.h"

/* Whose attention rows are asked for; zero: nobody's. */
struct ral_look_conf {
    int32_t layer[64]; // [layers], ascending, from 0; each once
    size_t layers;
    bool each;         // of each head, else of their mean
};

/* Planes of rows: layers times heads, or layers. */
size_t ral_look_planes(const struct ral_config *c,
                       const struct ral_look_conf *look);

/**
 * From a list of up to 64 layers, -1 the last. -RAL_EUSAGE for one that the
 * model lacks, or that stands there twice.
 */
int ral_look_init(struct ral_look_conf *look, const struct ral_config *c,
                  const int64_t *layer, size_t n, bool each,
                  struct ral_err *err);

/* What a kept forward leaves for its backward; lives in the space. */
struct ral_tape {
    struct ral_tower_tape tower;
    struct ral_block_tape *layer; // [layers]
    struct ral_norm_tape norm;    // [U] of the rows that predict
};

struct ral_forward {
    struct ral_mat hidden; // [U][width] final norm of the rows that predict
    struct ral_mat look;   // [planes][pack's look[R]]; none if not asked for
};

/**
 * Visuals through the tower, tokens through the decoder, the final norm of
 * the pack's hidden rows. kv: NULL to use scratch, else one store a layer that
 * keeps the keys (decoding). tape: for a backward, or NULL. Only the host's
 * tables can fail here; ral_sync tells of the machine.
 */
int ral_forward(const struct ral_model *m, const struct ral_pack *p,
                const struct ral_kv *kv, const struct ral_look_conf *look,
                struct ral_tape *tape, struct ral_forward *out,
                struct ral_space *a, struct ral_err *err);

/**
 * dhidden[U][width] and dlook (as ral_forward.look, gradients; or none) to the
 * weights' gradients, added to grad [1][floats].
 */
void ral_backward(const struct ral_model *m, const struct ral_pack *p,
                  const struct ral_tape *tape,
                  const struct ral_look_conf *look, struct ral_mat dhidden,
                  struct ral_mat dlook, struct ral_mat grad,
                  struct ral_space *a);

/* Of the highest such layer's query weight, what dlook alone gives it
 * (block.h): dw[H*D][width] is added to. */
void ral_look_query_gradient(const struct ral_model *m,
                             const struct ral_pack *p,
                             const struct ral_tape *tape,
                             const struct ral_look_conf *look,
                             struct ral_mat dlook, struct ral_mat dw,
                             struct ral_space *a);

/**
 * The decoder alone: x[N][width] through all layers, of which the last has the
 * layout last. at: where the rows' attention goes in a plane, for all layers
 * and for the last. Returns x[M][width] of the last layout's rows.
 */
struct ral_decoding {
    struct ral_layout all, last;
    const struct ral_kv *kv;        // [layers], or one for all when scratch
    bool scratch;
    const struct ral_look_conf *look;
    struct ral_mat look_all, look_last; // I64
    struct ral_mat planes;          // look's rows are written here
    struct ral_block_tape *tape;    // [layers], or NULL
};
struct ral_mat ral_decoder_forward(const struct ral_stack *s,
                                   const struct ral_decoding *d,
                                   struct ral_mat x, struct ral_space *a);

#endif

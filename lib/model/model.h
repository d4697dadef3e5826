/* lib/model/model.h - a checkpoint's weights on a machine, and what a stack of
 * blocks computes with.
 */
#ifndef RAL_MODEL_H
#define RAL_MODEL_H

#include <stdint.h>

#include "model/config.h"
#include "model/table.h"
#include "nn/ops.h"

struct ral_safetensors;

/**
 * Read only once opened (ckpt/open.h), but for a trainable one's params.
 * Weights are views of the mapped files where the machine can compute on them;
 * a trainable model holds them all as fp32 in one array in table order.
 */
struct ral_model {
    struct ral_config config;
    bool tied;
    struct ral_table table;
    struct ral_weight *w;        // [table.n], matrices
    struct ral_mat *vec;         // [table.n], norms and biases, F32 [1][K]
    struct ral_mat params;       // [1][table.floats]; none unless trainable
    float *freq;                 // [head/2] rotary frequencies of the decoder
    float *vision_freq;          // [vision head/4]
    struct ral_dev *dev;         // borrowed
    struct ral_space space;      // of all the above
    struct ral_safetensors *files;
};

/* What the machine makes of the weights again, after params changed. */
void ral_model_repack(struct ral_model *m);

/**
 * theta^(-2j/dim) for j = 0 .. n-1 as the reference computes them: exponent
 * in fp32, power in double, rounded, then its reciprocal in fp32.
 */
void ral_rotary_freq(double theta, size_t dim, size_t n, float *freq);

/* What a block computes with; the same for all blocks of a stack. */
struct ral_stack {
    const struct ral_model *m;
    struct ral_dev *dev;
    const struct ral_block_arch *arch;
    struct ral_attn_shape shape;
    size_t width, inner;
    float eps;
};

struct ral_stack ral_decoder_stack(const struct ral_model *m);
struct ral_stack ral_tower_stack(const struct ral_model *m);

/* Rows that give keys and values, and where those are kept. */
struct ral_key_rows {
    size_t n;
    struct ral_mat cos, sin; // [n][D/2]
    struct ral_mat put;      // runs of them, to slots (nn/span.h)
    size_t slots;            // that the key store must have
};

/* Rows that ask: some of the key rows, or all. */
struct ral_query_rows {
    size_t n;
    struct ral_mat pick;     // I32 [1][n]: their places among the key rows;
                             // none: they are the key rows
    struct ral_mat cos, sin; // [n][D/2]
    struct ral_spans spans;  // q0 counts these rows
};

/* Who attends to whom in a block. What comes out of it are the rows that ask. */
struct ral_layout {
    struct ral_key_rows key;
    struct ral_query_rows query;
};

#endif

/* lib/model/model.h - a checkpoint's weights, ready for products. */
#ifndef RAL_MODEL_H
#define RAL_MODEL_H

#include "base/arena.h"
#include "base/err.h"
#include "model/config.h"
#include "model/table.h"
#include "nn/matmul.h"

/**
 * Read only once opened, but for a trainable one's params. Weights are views
 * into the mapped files; a trainable model holds them all as fp32 in one
 * arena in table order, and its products read panels made from it.
 */
struct ral_model {
    struct ral_config config;
    bool tied;
    struct ral_table table;
    struct ral_weight *w;  // [table.n], matrices
    const float **vec;     // [table.n], norms and biases as fp32
    float *params;         // [table.floats]; NULL unless trainable
    float *freq;           // [head/2] rotary frequencies of the decoder
    float *vision_freq;    // [vision head/4]
    struct ral_nn *nn; // borrowed
    struct ral_safetensors *files;
    struct ral_arena arena;
};

/**
 * Opens a checkpoint folder: config.json and model*.safetensors, under the
 * older or the newer tensor names. Missing, surplus or misshapen tensors and
 * numbers that are not finite are refused by name. trainable needs fp32.
 */
int ral_model_open(struct ral_model **out, const char *dir,
                   struct ral_nn *nn, bool trainable,
                   struct ral_err *err);
void ral_model_close(struct ral_model *m);

/* Panels from params again, after params changed. */
void ral_model_repack(struct ral_model *m);

/* y[width] = the embedding row of a token, as fp32. */
void ral_model_embed(const struct ral_model *m, int32_t id, float *y);

/**
 * theta^(-2j/dim) for j = 0 .. n-1 as the reference computes them: exponent
 * in fp32, power in double, rounded, then its reciprocal in fp32.
 */
void ral_rotary_freq(double theta, size_t dim, size_t n, float *freq);

#endif

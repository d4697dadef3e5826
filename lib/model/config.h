/* lib/model/config.h - the sizes of a Qwen2.5-VL model, from config.json. */
#ifndef RAL_CONFIG_H
#define RAL_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum { RAL_DEPTH_MAX = 256 }; // blocks of a tower or a decoder

enum ral_norm_kind { RAL_NORM_RMS };
enum ral_mlp_kind { RAL_MLP_GATED_SILU };

/* What the blocks of a tower or a decoder are made of: the sub-layers and the
 * table of tensors ask these flags. */
struct ral_block_arch {
    enum ral_norm_kind norm;
    enum ral_mlp_kind mlp;
    bool fused_qkv; // one product for queries, keys and values
    bool qkv_bias, proj_bias, mlp_bias;
};

/* A model family, by the model_type of its config.json. */
struct ral_family {
    const char *name;
    struct ral_block_arch decoder, tower;
};

struct ral_vision_config {
    size_t depth, width, heads, inner, out;
    size_t patch, merge, temporal, window, channels;
    bool full[RAL_DEPTH_MAX]; // block attends to the whole frame
};

struct ral_config {
    const struct ral_family *family;
    size_t layers, width, heads, kv_heads, head, inner, vocab;
    size_t positions; // max_position_embeddings: the context
    float eps;
    double theta;
    size_t mrope[3]; // frequencies that turn with t, h, w; sum head/2
    int tied;        // 1 yes, 0 no, -1: the file does not say
    int32_t image_id, video_id, vision_start_id, vision_end_id;
    struct ral_vision_config vision;
};

/**
 * Reads and checks config.json, in the published flat layout or with
 * text_config. What this version does not compute (other architectures,
 * scaled rotary embeddings, sliding windows) is refused by name.
 */
int ral_config_read(struct ral_config *c, const char *path,
                    struct ral_err *err);

#endif

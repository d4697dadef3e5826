/* lib/model/config.h - the sizes of a Qwen2.5-VL model, from config.json. */
#ifndef RAL_CONFIG_H
#define RAL_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum { RAL_DEPTH_MAX = 256 }; // blocks of a tower or a decoder

struct ral_vision_config {
    size_t depth, width, heads, inner, out;
    size_t patch, merge, temporal, window, channels;
    bool full[RAL_DEPTH_MAX]; // block attends to the whole frame
};

struct ral_config {
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

/* lib/model/model.c - a checkpoint's weights on a machine. */
#include "model/model.h"

#include "nn/exact.h"

void ral_rotary_freq(double theta, size_t dim, size_t n, float *freq)
{
    for (size_t j = 0; j < n; j++) {
        const float exponent = (float)(2 * j) / (float)dim;
        const float power =
            (float)ral_exp_d((double)exponent * ral_log_d(theta));

        freq[j] = 1.0f / power;
    }
}

void ral_model_repack(struct ral_model *m)
{
    for (size_t i = 0; i < m->table.n; i++)
        if (ral_mat_some(m->w[i].packed))
            RAL_DO(m->dev, pack, m->w[i]);
}

struct ral_stack ral_decoder_stack(const struct ral_model *m)
{
    const struct ral_config *c = &m->config;

    return (struct ral_stack){
        .m = m,
        .dev = m->dev,
        .arch = &c->family->decoder,
        .shape = {c->heads, c->kv_heads, c->head,
                  1.0f / __builtin_sqrtf((float)c->head)},
        .width = c->width,
        .inner = c->inner,
        .eps = c->eps,
    };
}

struct ral_stack ral_tower_stack(const struct ral_model *m)
{
    const struct ral_vision_config *c = &m->config.vision;
    const size_t D = c->width / c->heads;

    return (struct ral_stack){
        .m = m,
        .dev = m->dev,
        .arch = &m->config.family->tower,
        .shape = {c->heads, c->heads, D, 1.0f / __builtin_sqrtf((float)D)},
        .width = c->width,
        .inner = c->inner,
        .eps = 1e-6f, // hard-coded in the reference
    };
}

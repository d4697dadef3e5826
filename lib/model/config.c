/* lib/model/config.c - the sizes of a Qwen2.5-VL model, from config.json. */
#include "model/config.h"

#include <math.h>
#include <string.h>

#include "data/jsonl.h"

static const struct ral_family families[] = {
    {.name = "qwen2_5_vl",
     .decoder = {.qkv_bias = true},
     .tower = {.fused_qkv = true,
               .qkv_bias = true,
               .proj_bias = true,
               .mlp_bias = true}},
};

struct scope {              // where fields are looked up, and how they are named
    const json_t *first, *then; // text_config, then the top level
    const char *path;
    struct ral_err *err;
};

static const json_t *field(const struct scope *s, const char *key)
{
    const json_t *v = s->first ? json_object_get(s->first, key) : NULL;

    if (!v && s->then)
        v = json_object_get(s->then, key);
    return json_is_null(v) ? NULL : v;
}

static int need(const struct scope *s, const char *key, size_t lo, size_t hi,
                size_t *out)
{
    const json_t *v = field(s, key);

    if (!json_is_integer(v))
        return ral_err_set(s->err, -RAL_EINVAL, "%s: %s must be a whole number",
                           s->path, key);
    if (json_integer_value(v) < (json_int_t)lo ||
        json_integer_value(v) > (json_int_t)hi)
        return ral_err_set(s->err, -RAL_EINVAL,
                           "%s: %s is %lld, must be %zu to %zu", s->path, key,
                           (long long)json_integer_value(v), lo, hi);
    *out = (size_t)json_integer_value(v);
    return 0;
}

static int need_real(const struct scope *s, const char *key, double *out)
{
    const json_t *v = field(s, key);

    if (!json_is_number(v) || !isfinite(json_number_value(v)) ||
        json_number_value(v) <= 0)
        return ral_err_set(s->err, -RAL_EINVAL,
                           "%s: %s must be a positive number", s->path, key);
    *out = json_number_value(v);
    return 0;
}

static int need_id(const struct scope *s, const char *key, size_t vocab,
                   int32_t *out)
{
    size_t v;
    int rc = need(s, key, 0, vocab - 1, &v);

    *out = rc ? -1 : (int32_t)v;
    return rc;
}

static int need_text(const struct scope *s, const char *key, const char *want)
{
    const char *v = json_string_value(field(s, key));

    if (!v || strcmp(v, want))
        return ral_err_set(s->err, -RAL_EINVAL,
                           "%s: %s is %s; this version computes %s alone",
                           s->path, key, v ? v : "missing", want);
    return 0;
}

/* rope_scaling (older) or rope_parameters (newer, with theta inside). */
static int read_rope(struct ral_config *c, const struct scope *s)
{
    const json_t *params = field(s, "rope_parameters");
    const json_t *rope = params ? params : field(s, "rope_scaling");
    const struct scope in = {params, s->first, s->path, s->err};
    const struct scope top = {NULL, s->then, s->path, s->err};
    const json_t *kind, *section;
    const char *name;
    size_t sum = 0;
    int rc;

    if (!json_is_object(rope))
        return ral_err_set(s->err, -RAL_EINVAL,
                           "%s: rope_scaling with mrope_section is missing",
                           s->path);
    kind = json_object_get(rope, "rope_type");
    if (!kind)
        kind = json_object_get(rope, "type");
    name = json_string_value(kind);
    if (!name || (strcmp(name, "mrope") && strcmp(name, "default")))
        return ral_err_set(s->err, -RAL_EINVAL,
                           "%s: rope type %s; this version computes plain "
                           "rotary embeddings (mrope, default) alone",
                           s->path, name ? name : "missing");
    section = json_object_get(rope, "mrope_section");
    if (json_array_size(section) != 3)
        return ral_err_set(s->err, -RAL_EINVAL,
                           "%s: mrope_section must have three numbers",
                           s->path);
    for (size_t i = 0; i < 3; i++) {
        const json_t *v = json_array_get(section, i);

        if (!json_is_integer(v) || json_integer_value(v) < 0 ||
            json_integer_value(v) > 4096)
            return ral_err_set(s->err, -RAL_EINVAL,
                               "%s: mrope_section must have three numbers",
                               s->path);
        sum += c->mrope[i] = (size_t)json_integer_value(v);
    }
    if (2 * sum != c->head)
        return ral_err_set(s->err, -RAL_EINVAL,
                           "%s: mrope_section sums to %zu, must be half the "
                           "head size %zu",
                           s->path, sum, c->head);
    if (field(&in, "rope_theta"))
        rc = need_real(&in, "rope_theta", &c->theta);
    else
        rc = need_real(&top, "rope_theta", &c->theta);
    return rc;
}

static int read_tied(struct ral_config *c, const json_t *top,
                     const json_t *text)
{
    const json_t *a = json_object_get(top, "tie_word_embeddings");
    const json_t *b = json_object_get(text, "tie_word_embeddings");

    c->tied = json_is_true(a) || json_is_true(b) ? 1 : a || b ? 0 : -1;
    return 0;
}

static int read_text(struct ral_config *c, const struct scope *s)
{
    double eps;
    int rc;

    if ((rc = need(s, "vocab_size", 1, 1 << 24, &c->vocab)) < 0 ||
        (rc = need(s, "hidden_size", 1, 1 << 17, &c->width)) < 0 ||
        (rc = need(s, "intermediate_size", 1, 1 << 19, &c->inner)) < 0 ||
        (rc = need(s, "num_hidden_layers", 1, RAL_DEPTH_MAX, &c->layers)) < 0 ||
        (rc = need(s, "num_attention_heads", 1, 1024, &c->heads)) < 0 ||
        (rc = need(s, "num_key_value_heads", 1, 1024, &c->kv_heads)) < 0 ||
        (rc = need(s, "max_position_embeddings", 1, 1 << 24, &c->positions)) <
            0 ||
        (rc = need_real(s, "rms_norm_eps", &eps)) < 0 ||
        (rc = need_text(s, "hidden_act", "silu")) < 0)
        return rc;
    c->eps = (float)eps;
    if (c->width % c->heads || c->heads % c->kv_heads ||
        c->width / c->heads % 2)
        return ral_err_set(s->err, -RAL_EINVAL,
                           "%s: hidden_size %zu, %zu heads and %zu key heads "
                           "do not divide",
                           s->path, c->width, c->heads, c->kv_heads);
    c->head = c->width / c->heads;
    if (json_is_true(field(s, "use_sliding_window")))
        return ral_err_set(s->err, -RAL_EINVAL,
                           "%s: use_sliding_window true is not computed",
                           s->path);
    return read_rope(c, s);
}

static int read_vision(struct ral_vision_config *v, const struct scope *s)
{
    const json_t *full = field(s, "fullatt_block_indexes");
    size_t i;
    const json_t *item;
    int rc;

    if ((rc = need(s, "depth", 1, RAL_DEPTH_MAX, &v->depth)) < 0 ||
        (rc = need(s, "hidden_size", 1, 1 << 16, &v->width)) < 0 ||
        (rc = need(s, "num_heads", 1, 1024, &v->heads)) < 0 ||
        (rc = need(s, "intermediate_size", 1, 1 << 18, &v->inner)) < 0 ||
        (rc = need(s, "out_hidden_size", 1, 1 << 17, &v->out)) < 0 ||
        (rc = need(s, "patch_size", 1, 256, &v->patch)) < 0 ||
        (rc = need(s, "spatial_merge_size", 1, 16, &v->merge)) < 0 ||
        (rc = need(s, "temporal_patch_size", 1, 16, &v->temporal)) < 0 ||
        (rc = need(s, "window_size", 1, 1 << 16, &v->window)) < 0 ||
        (rc = need_text(s, "hidden_act", "silu")) < 0)
        return rc;
    v->channels = 3;
    if (field(s, "in_channels") || field(s, "in_chans"))
        if ((rc = need(s, field(s, "in_channels") ? "in_channels" : "in_chans",
                       3, 3, &v->channels)) < 0)
            return rc;
    if (v->width % v->heads || v->width / v->heads % 4)
        return ral_err_set(s->err, -RAL_EINVAL,
                           "%s: vision hidden_size %zu over %zu heads must "
                           "give a multiple of 4",
                           s->path, v->width, v->heads);
    if (v->window / v->merge / v->patch == 0)
        return ral_err_set(s->err, -RAL_EINVAL,
                           "%s: window_size %zu holds no merged patch",
                           s->path, v->window);
    if (!json_is_array(full))
        return ral_err_set(s->err, -RAL_EINVAL,
                           "%s: fullatt_block_indexes must be a list",
                           s->path);
    json_array_foreach(full, i, item) {
        if (!json_is_integer(item) || json_integer_value(item) < 0 ||
            json_integer_value(item) >= RAL_DEPTH_MAX)
            return ral_err_set(s->err, -RAL_EINVAL,
                               "%s: fullatt_block_indexes holds a bad index",
                               s->path);
        v->full[json_integer_value(item)] = true;
    }
    return 0;
}

static const struct ral_family *family_find(const char *name)
{
    for (size_t i = 0; name && i < sizeof families / sizeof *families; i++)
        if (!strcmp(name, families[i].name))
            return &families[i];
    return NULL;
}

static int read_all(struct ral_config *c, const json_t *top, const char *path,
                    struct ral_err *err)
{
    const json_t *text = json_object_get(top, "text_config");
    const struct scope s = {text, top, path, err};
    const struct scope ids = {NULL, top, path, err};
    const struct scope vision = {json_object_get(top, "vision_config"), NULL,
                                 path, err};
    const char *type = json_string_value(json_object_get(top, "model_type"));
    int rc;

    if (!(c->family = family_find(type)))
        return ral_err_set(err, -RAL_EINVAL,
                           "%s: model_type %s; this version computes "
                           "qwen2_5_vl alone",
                           path, type ? type : "missing");
    if (!json_is_object(vision.first))
        return ral_err_set(err, -RAL_EINVAL, "%s: vision_config is missing",
                           path);
    if ((rc = read_text(c, &s)) < 0 ||
        (rc = read_vision(&c->vision, &vision)) < 0 ||
        (rc = read_tied(c, top, text)) < 0 ||
        (rc = need_id(&ids, "image_token_id", c->vocab, &c->image_id)) < 0 ||
        (rc = need_id(&ids, "video_token_id", c->vocab, &c->video_id)) < 0 ||
        (rc = need_id(&ids, "vision_start_token_id", c->vocab,
                      &c->vision_start_id)) < 0 ||
        (rc = need_id(&ids, "vision_end_token_id", c->vocab,
                      &c->vision_end_id)) < 0)
        return rc;
    if (c->vision.out != c->width)
        return ral_err_set(err, -RAL_EINVAL,
                           "%s: out_hidden_size %zu differs from hidden_size "
                           "%zu",
                           path, c->vision.out, c->width);
    return 0;
}

int ral_config_read(struct ral_config *c, const char *path,
                    struct ral_err *err)
{
    json_t *top;
    int rc = ral_json_file(&top, path, err);

    memset(c, 0, sizeof(*c));
    if (rc == 0)
        rc = read_all(c, top, path, err);
    json_decref(top);
    return rc;
}

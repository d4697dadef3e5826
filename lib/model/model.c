/* lib/model/model.c - a checkpoint's weights, ready for products. */
#include "model/model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "data/safetensors.h"
#include "nn/exact.h"

/* Above this many weights panels are made on the fly, from the mapping. */
enum { PACK_FLOATS = 256 << 20 };

void ral_rotary_freq(double theta, size_t dim, size_t n, float *freq)
{
    for (size_t j = 0; j < n; j++) {
        const float exponent = (float)(2 * j) / (float)dim;
        const float power =
            (float)ral_exp_d((double)exponent * ral_log_d(theta));

        freq[j] = 1.0f / power;
    }
}

/* The name that transformers 4.52 and later may have given it. */
static void newer_name(const char *name, char *out, size_t n)
{
    if (!strncmp(name, "visual.", 7))
        snprintf(out, n, "model.%s", name);
    else if (!strncmp(name, "model.", 6))
        snprintf(out, n, "model.language_model.%s", name + 6);
    else
        snprintf(out, n, "%s", name);
}

static const struct ral_st_tensor *find(const struct ral_model *m,
                                        const char *name)
{
    const struct ral_st_tensor *t = ral_safetensors_find(m->files, name);
    char newer[256];

    if (t)
        return t;
    newer_name(name, newer, sizeof newer);
    return ral_safetensors_find(m->files, newer);
}

static int check_shape(const struct ral_tensor *want,
                       const struct ral_st_tensor *have, struct ral_err *err)
{
    bool same = want->rank == have->rank;

    for (size_t i = 0; same && i < want->rank; i++)
        same = want->shape[i] == have->shape[i];
    if (!same)
        return ral_err_set(err, -RAL_EINVAL,
                           "tensor %s: shape differs from config.json's "
                           "(%zu numbers, %zu wanted)",
                           have->name,
                           have->nbytes / ral_dtype_size(have->dtype),
                           want->N * want->K);
    if (have->dtype != RAL_F32 && have->dtype != RAL_F16 &&
        have->dtype != RAL_BF16)
        return ral_err_set(err, -RAL_EINVAL,
                           "tensor %s: must be F32, F16 or BF16", have->name);
    return 0;
}

/* n numbers of any weight type as fp32; false when one is not finite. */
static bool widen(enum ral_dtype dtype, const void *data, size_t n, float *out)
{
    const uint8_t *p = data;
    bool finite = true;
    uint16_t h;

    if (dtype == RAL_F32) {
        memcpy(out, data, n * 4);
    } else {
        for (size_t i = 0; i < n; i++) {
            memcpy(&h, p + 2 * i, 2);
            out[i] = dtype == RAL_F16 ? ral_from_f16(h) : ral_from_bf16(h);
        }
    }
    for (size_t i = 0; i < n; i++)
        finite &= isfinite(out[i]) != 0;
    return finite;
}

static bool all_finite(const struct ral_weight *w)
{
    float row[1024];
    const size_t n = w->N * w->K, size = ral_dtype_size(w->dtype);

    for (size_t i = 0; i < n; i += 1024)
        if (!widen(w->dtype, (const uint8_t *)w->data + i * size,
                   n - i < 1024 ? n - i : 1024, row))
            return false;
    return true;
}

static int map_tensor(struct ral_model *m, size_t i, bool pack,
                      struct ral_err *err)
{
    const struct ral_tensor *t = &m->table.tensor[i];
    const struct ral_st_tensor *s = find(m, t->name);
    struct ral_weight *w = &m->w[i];
    float *copy = NULL;
    int rc;

    if (!s)
        return ral_err_set(err, -RAL_EINVAL, "tensor %s: missing", t->name);
    if ((rc = check_shape(t, s, err)) < 0)
        return rc;
    *w = (struct ral_weight){t->name, s->dtype, t->N, t->K, s->data, NULL};
    if (m->params && s->dtype != RAL_F32)
        return ral_err_set(err, -RAL_EINVAL,
                           "tensor %s: this version trains fp32 weights "
                           "alone",
                           t->name);
    if (m->params)
        copy = m->params + t->offset;
    else if (t->rank == 1 && !(copy = RAL_NEW(&m->arena, float, t->K)))
        goto memory;
    if (copy ? !widen(s->dtype, s->data, t->N * t->K, copy)
             : pack && !all_finite(w))
        return ral_err_set(err, -RAL_EINVAL,
                           "tensor %s: holds NaN or Inf", t->name);
    if (m->params) {
        w->data = copy;
        w->dtype = RAL_F32;
    }
    if (t->rank == 1) {
        m->vec[i] = copy;
    } else if (pack) {
        w->panels = RAL_NEW(&m->arena, float, ral_weight_panel_floats(w));
        if (!w->panels)
            goto memory;
        ral_weight_pack(m->nn, w);
    }
    return 0;

memory:
    return ral_err_set(err, -RAL_ENOMEM, "tensor %s: out of memory", t->name);
}

/* A tensor that the model has no place for means another model. */
static int refuse_surplus(const struct ral_model *m, struct ral_err *err)
{
    const struct ral_st_tensor *head = ral_safetensors_find(m->files,
                                                            "lm_head.weight");
    char newer[256];

    if (m->tied && head) {
        const struct ral_st_tensor *e =
            find(m, m->table.tensor[m->table.embed].name);

        if (e->nbytes != head->nbytes || memcmp(e->data, head->data, e->nbytes))
            return ral_err_set(err, -RAL_EINVAL,
                               "tensor lm_head.weight: differs from the "
                               "embedding that config.json ties it to");
    }
    if (m->files->n == m->table.n + (m->tied && head))
        return 0;
    for (size_t i = 0; i < m->files->n; i++) {
        const char *name = m->files->tensor[i].name;
        size_t k = 0;

        for (; k < m->table.n; k++) {
            newer_name(m->table.tensor[k].name, newer, sizeof newer);
            if (!strcmp(name, m->table.tensor[k].name) || !strcmp(name, newer))
                break;
        }
        if (k == m->table.n && (!m->tied || strcmp(name, "lm_head.weight")))
            return ral_err_set(err, -RAL_EINVAL,
                               "tensor %s: config.json has no place for it",
                               name);
    }
    return ral_err_set(err, -RAL_EINVAL,
                       "tensors stand under older and newer names at once");
}

static int map_all(struct ral_model *m, bool trainable, struct ral_err *err)
{
    const bool has_head = ral_safetensors_find(m->files, "lm_head.weight");
    struct ral_table *t = &m->table;
    int rc;

    m->tied = m->config.tied < 0 ? !has_head : m->config.tied == 1;
    if (ral_table_init(t, &m->config, m->tied, &m->arena) < 0 ||
        !(m->w = RAL_ZNEW(&m->arena, struct ral_weight, t->n)) ||
        !(m->vec = RAL_ZNEW(&m->arena, const float *, t->n)) ||
        (trainable && !(m->params = RAL_NEW(&m->arena, float, t->floats))))
        return ral_err_set(err, -RAL_ENOMEM, "out of memory for %zu weights",
                           t->floats);
    for (size_t i = 0; i < t->n; i++)
        if ((rc = map_tensor(m, i, trainable || t->floats <= PACK_FLOATS,
                             err)) < 0)
            return rc;
    return refuse_surplus(m, err);
}

static int open_into(struct ral_model *m, const char *dir, bool trainable,
                     struct ral_err *err)
{
    const struct ral_config *c = &m->config;
    char *path = ral_path_join(dir, "config.json");
    size_t vision;
    int rc;

    if (!path)
        return ral_err_set(err, -RAL_ENOMEM, "%s: out of memory", dir);
    rc = ral_config_read(&m->config, path, err);
    free(path);
    if (rc < 0 || (rc = ral_safetensors_open(&m->files, dir, err)) < 0)
        return rc;
    if ((rc = map_all(m, trainable, err)) < 0)
        return ral_err_at(err, "%s", dir);
    vision = c->vision.width / c->vision.heads;
    m->freq = RAL_NEW(&m->arena, float, c->head / 2);
    m->vision_freq = RAL_NEW(&m->arena, float, vision / 4);
    if (!m->freq || !m->vision_freq)
        return ral_err_set(err, -RAL_ENOMEM, "%s: out of memory", dir);
    ral_rotary_freq(c->theta, c->head, c->head / 2, m->freq);
    ral_rotary_freq(10000, vision / 2, vision / 4, m->vision_freq);
    return 0;
}

int ral_model_open(struct ral_model **out, const char *dir,
                   struct ral_nn *nn, bool trainable,
                   struct ral_err *err)
{
    struct ral_model *m = calloc(1, sizeof(*m));
    int rc;

    *out = NULL;
    if (!m)
        return ral_err_set(err, -RAL_ENOMEM, "%s: out of memory", dir);
    m->nn = nn;
    if ((rc = open_into(m, dir, trainable, err)) < 0) {
        ral_model_close(m);
        return rc;
    }
    *out = m;
    return 0;
}

void ral_model_close(struct ral_model *m)
{
    if (!m)
        return;
    ral_safetensors_close(m->files);
    ral_arena_release(&m->arena);
    free(m);
}

void ral_model_repack(struct ral_model *m)
{
    for (size_t i = 0; i < m->table.n; i++)
        if (m->w[i].panels)
            ral_weight_pack(m->nn, &m->w[i]);
}

void ral_model_embed(const struct ral_model *m, int32_t id, float *y)
{
    const struct ral_weight *w = &m->w[m->table.embed];

    widen(w->dtype,
          (const uint8_t *)w->data +
              (size_t)id * w->K * ral_dtype_size(w->dtype),
          w->K, y);
}

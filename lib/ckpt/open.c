/* lib/ckpt/open.c - a checkpoint's weights to a machine. */
#include "ckpt/open.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "data/safetensors.h"

/* Above this many weights none is packed: panels are made of the mapping, on
 * the fly. */
enum { PACK_FLOATS = 256 << 20 };

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

/* What a model is opened for. */
struct opening {
    struct ral_model *m;
    bool trainable;
    bool pack;             // let the machine make its own of the weights
    struct ral_mat finite; // I64 [1][tensors]
    struct ral_err *err;
};

/* The embedding is multiplied by only where it is the head, too. */
static bool is_product(const struct ral_model *m, size_t i)
{
    return m->table.tensor[i].rank > 1 &&
           ((int)i != m->table.embed || m->table.head == m->table.embed);
}

static void pack(struct opening *o, size_t i)
{
    struct ral_model *m = o->m;
    const size_t n = m->dev->ops->packed(m->dev, m->table.tensor[i].N,
                                         m->table.tensor[i].K);

    if (!o->pack || !n || !is_product(m, i))
        return;
    m->w[i].packed = ral_mat_f32(&m->space, 1, n);
    RAL_DO(m->dev, pack, m->w[i]);
}

/* Of trainable models the params hold all tensors, of others vectors alone
 * are widened to copies. */
static int map_tensor(struct opening *o, size_t i)
{
    struct ral_model *m = o->m;
    const struct ral_tensor *t = &m->table.tensor[i];
    const struct ral_st_tensor *s = find(m, t->name);
    const struct ral_space_mark mark = ral_space_mark(&m->space);
    struct ral_mat w;
    int rc;

    if (!s)
        return ral_err_set(o->err, -RAL_EINVAL, "tensor %s: missing", t->name);
    if ((rc = check_shape(t, s, o->err)) < 0)
        return rc;
    if (o->trainable && s->dtype != RAL_F32)
        return ral_err_set(o->err, -RAL_EINVAL,
                           "tensor %s: this version trains fp32 weights "
                           "alone",
                           t->name);
    w = ral_mat_over(&m->space, s->dtype, t->N, t->K, s->data);
    if (o->pack || t->rank == 1)
        RAL_DO(m->dev, finite, ral_mat_cols(o->finite, i, 1), w);
    if (o->trainable) {
        const struct ral_mat own = ral_tensor_view(&m->table, (int)i,
                                                   m->params);

        RAL_DO(m->dev, copy, own, w);
        ral_space_rewind(&m->space, mark);
        w = own;
    } else if (t->rank == 1) {
        const struct ral_mat own = ral_mat_f32(&m->space, 1, t->K);

        RAL_DO(m->dev, copy, own, w);
        w = own;
    }
    if (t->rank == 1)
        m->vec[i] = w;
    else
        m->w[i].w = w;
    pack(o, i);
    return 0;
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

/* The machine's answers: which number of each tensor is not finite, if any. */
static int check_finite(const struct opening *o)
{
    struct ral_model *m = o->m;
    int64_t *at = RAL_NEW(&m->space.host, int64_t, m->table.n);
    int rc = at ? ral_get(m->dev, at, o->finite, o->err)
                : ral_err_set(o->err, -RAL_ENOMEM, "out of memory");

    for (size_t i = 0; rc == 0 && i < m->table.n; i++)
        if (at[i] >= 0)
            return ral_err_set(o->err, -RAL_EINVAL,
                               "tensor %s: holds NaN or Inf",
                               m->table.tensor[i].name);
    return rc;
}

static int map_all(struct opening *o)
{
    struct ral_model *m = o->m;
    const bool has_head = ral_safetensors_find(m->files, "lm_head.weight");
    struct ral_table *t = &m->table;
    int64_t *finite;
    int rc;

    m->tied = m->config.tied < 0 ? !has_head : m->config.tied == 1;
    if (ral_table_init(t, &m->config, m->tied, &m->space.host) < 0 ||
        !(m->w = RAL_ZNEW(&m->space.host, struct ral_weight, t->n)) ||
        !(m->vec = RAL_ZNEW(&m->space.host, struct ral_mat, t->n)))
        return ral_err_set(o->err, -RAL_ENOMEM, "out of memory for %zu weights",
                           t->floats);
    if (o->trainable)
        m->params = ral_mat_f32(&m->space, 1, t->floats);
    o->pack = o->trainable || t->floats <= PACK_FLOATS;
    if (!(finite = RAL_NEW(&m->space.host, int64_t, t->n)))
        return ral_err_set(o->err, -RAL_ENOMEM, "out of memory");
    for (size_t i = 0; i < t->n; i++)
        finite[i] = -1; // until one is found that is not
    o->finite = ral_mat_put(&m->space, RAL_I64, 1, t->n, finite);
    for (size_t i = 0; i < t->n; i++)
        if ((rc = map_tensor(o, i)) < 0)
            return rc;
    if ((rc = check_finite(o)) < 0)
        return rc;
    return refuse_surplus(m, o->err);
}

static int open_into(struct opening *o, const char *dir)
{
    struct ral_model *m = o->m;
    const struct ral_config *c = &m->config;
    char *path = ral_path_join(dir, "config.json");
    size_t vision;
    int rc;

    if (!path)
        return ral_err_set(o->err, -RAL_ENOMEM, "%s: out of memory", dir);
    rc = ral_config_read(&m->config, path, o->err);
    free(path);
    if (rc < 0 || (rc = ral_safetensors_open(&m->files, dir, o->err)) < 0)
        return rc;
    if ((rc = map_all(o)) < 0)
        return ral_err_at(o->err, "%s", dir);
    vision = c->vision.width / c->vision.heads;
    m->freq = RAL_NEW(&m->space.host, float, c->head / 2);
    m->vision_freq = RAL_NEW(&m->space.host, float, vision / 4);
    if (!m->freq || !m->vision_freq)
        return ral_err_set(o->err, -RAL_ENOMEM, "%s: out of memory", dir);
    ral_rotary_freq(c->theta, c->head, c->head / 2, m->freq);
    ral_rotary_freq(10000, vision / 2, vision / 4, m->vision_freq);
    return 0;
}

int ral_model_open(struct ral_model **out, const char *dir,
                   struct ral_dev *dev, bool trainable, struct ral_err *err)
{
    struct ral_model *m = calloc(1, sizeof(*m));
    struct opening o = {.m = m, .trainable = trainable, .err = err};
    int rc;

    *out = NULL;
    if (!m)
        return ral_err_set(err, -RAL_ENOMEM, "%s: out of memory", dir);
    m->dev = dev;
    ral_space_init(&m->space, dev);
    if ((rc = open_into(&o, dir)) < 0) {
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
    ral_sync(m->dev, NULL); // what is queued may name the files
    ral_safetensors_close(m->files);
    ral_space_release(&m->space);
    free(m);
}

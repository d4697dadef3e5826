/* lib/model/forward.c - the whole model over a packed batch, and back. */
#include "model/forward.h"

#include <string.h>

/* ------------------------------------------------------- rows looked at */

size_t ral_look_planes(const struct ral_config *c,
                       const struct ral_look_conf *look)
{
    return look->layers * (look->each ? c->heads : 1);
}

int ral_look_init(struct ral_look_conf *look, const struct ral_config *c,
                  const int64_t *layer, size_t n, bool each,
                  struct ral_err *err)
{
    const int64_t L = (int64_t)c->layers;
    int32_t *out = look->layer;

    assert(n <= sizeof look->layer / sizeof *look->layer);
    look->layers = n;
    look->each = each;
    for (size_t i = 0; i < n; i++) {
        const int64_t l = layer[i] < 0 ? L + layer[i] : layer[i];
        size_t k = i;

        if (l < 0 || l >= L)
            return ral_err_set(err, -RAL_EUSAGE,
                               "attn_layers: there is no layer %lld; the model "
                               "has 0 to %lld, or -%lld to -1",
                               (long long)layer[i], (long long)L - 1,
                               (long long)L);
        for (; k > 0 && out[k - 1] > l; k--)
            out[k] = out[k - 1];
        out[k] = (int32_t)l;
        if (k > 0 && out[k - 1] == l)
            return ral_err_set(err, -RAL_EUSAGE,
                               "attn_layers: layer %lld stands there twice",
                               (long long)l);
    }
    return 0;
}

/* The planes of one layer; at none where it is not asked for. */
static struct ral_look look_of(const struct ral_stack *s,
                               const struct ral_look_conf *look, size_t layer,
                               struct ral_mat planes, struct ral_mat at)
{
    const size_t n = look && look->each ? s->shape.H : 1;

    for (size_t i = 0; look && i < look->layers; i++)
        if ((size_t)look->layer[i] == layer && ral_mat_some(planes))
            return (struct ral_look){at, ral_mat_rows(planes, i * n, n),
                                     look->each};
    return (struct ral_look){0};
}

/* ------------------------------------------------------------- forward */

struct ral_mat ral_decoder_forward(const struct ral_stack *s,
                                   const struct ral_decoding *d,
                                   struct ral_mat x, struct ral_space *a)
{
    const size_t L = s->m->config.layers;

    for (size_t i = 0; i < L; i++) {
        const bool last = i + 1 == L;
        const struct ral_look look =
            look_of(s, d->look, i, d->planes, last ? d->look_last
                                                   : d->look_all);

        x = ral_block_forward(s, &s->m->table.layer[i],
                              last ? &d->last : &d->all,
                              d->scratch ? d->kv : &d->kv[i], x, &look,
                              d->tape ? &d->tape[i] : NULL, a);
    }
    return x;
}

/* Words from their table, features in the places of visual tokens. */
static int embed(const struct ral_model *m, const struct ral_pack *p,
                 struct ral_tape *tape, struct ral_mat x, struct ral_space *a)
{
    struct ral_tower_tape tmp;
    struct ral_mat features;
    int rc;

    RAL_DO(m->dev, gather, x, m->w[m->table.embed].w, p->word);
    if (!p->nvisual)
        return 0;
    features = ral_mat_f32(a, p->units, m->config.width);
    rc = ral_tower_forward(m, p->visual, p->nvisual, tape != NULL,
                           tape ? &tape->tower : &tmp, features, a);
    RAL_DO(m->dev, scatter, x, features, p->at_visual, false);
    return rc;
}

int ral_forward(const struct ral_model *m, const struct ral_pack *p,
                const struct ral_kv *kv, const struct ral_look_conf *look,
                struct ral_tape *tape, struct ral_forward *out,
                struct ral_space *a, struct ral_err *err)
{
    const struct ral_stack s = ral_decoder_stack(m);
    const size_t D = m->config.width, L = m->config.layers;
    const size_t planes = look ? ral_look_planes(&m->config, look) : 0;
    struct ral_decoding d = {.all = p->all, .last = p->last, .kv = kv,
                             .look = look, .look_all = p->look_all,
                             .look_last = p->look_last};
    struct ral_norm_tape norm;
    struct ral_mat x, rows;
    struct ral_kv scratch;

    *out = (struct ral_forward){0};
    if (planes)
        d.planes = out->look = ral_mat_f32(a, planes, p->look[p->R]);
    if (tape)
        d.tape = tape->layer = RAL_ZNEW(&a->host, struct ral_block_tape, L);
    if (!kv) { // every layer uses the same
        scratch = ral_kv_new(a, s.shape.KV, s.shape.D, p->all.key.slots);
        d.kv = &scratch;
        d.scratch = true;
    }
    x = ral_mat_f32(a, p->N, D);
    rows = ral_mat_f32(a, p->U, D);
    if ((tape && !tape->layer) || embed(m, p, tape, x, a) < 0)
        return ral_err_set(err, -RAL_ENOMEM,
                           "out of memory for %zu tokens and %zu visual "
                           "tokens",
                           p->N, p->units);
    x = ral_decoder_forward(&s, &d, x, a); // [M][width] from here on
    RAL_DO(m->dev, gather, rows, x, p->hidden);
    ral_norm_forward(&s, m->table.norm, rows, tape ? &tape->norm : &norm, a);
    out->hidden = tape ? tape->norm.y : norm.y;
    return 0;
}

/* ------------------------------------------------------------- backward */

/* The inputs: rows of the embedding, in one order; features to the tower. */
static void words_backward(const struct ral_model *m, const struct ral_pack *p,
                           const struct ral_tape *tape, struct ral_mat dx,
                           struct ral_mat grad, struct ral_space *a)
{
    RAL_DO(m->dev, scatter, ral_tensor_view(&m->table, m->table.embed, grad),
           dx, p->word, true);
    if (p->nvisual) {
        const struct ral_mat df = ral_mat_f32(a, p->units, dx.cols);

        RAL_DO(m->dev, gather, df, dx, p->at_visual);
        ral_tower_backward(m, &tape->tower, df, grad, a);
    }
}

void ral_backward(const struct ral_model *m, const struct ral_pack *p,
                  const struct ral_tape *tape,
                  const struct ral_look_conf *look, struct ral_mat dhidden,
                  struct ral_mat dlook, struct ral_mat grad,
                  struct ral_space *a)
{
    const struct ral_stack s = ral_decoder_stack(m);
    const struct ral_space_mark mark = ral_space_mark(a);
    const struct ral_kv kv =
        ral_kv_new(a, s.shape.KV, s.shape.D, p->all.key.slots);
    const struct ral_mat drows = ral_mat_zero(a, p->U, s.width);
    struct ral_mat dx = ral_mat_zero(a, p->M, s.width);

    ral_norm_backward(&s, m->table.norm, &tape->norm, dhidden, drows, grad);
    RAL_DO(m->dev, scatter, dx, drows, p->hidden, false);
    for (size_t i = m->config.layers; i-- > 0;) {
        const bool last = i + 1 == m->config.layers;
        const struct ral_look l = look_of(&s, look, i, dlook,
                                          last ? p->look_last : p->look_all);

        dx = ral_block_backward(&s, &m->table.layer[i],
                                last ? &p->last : &p->all, &kv,
                                &tape->layer[i], &l, dx, grad, a);
    }
    words_backward(m, p, tape, dx, grad, a);
    ral_space_rewind(a, mark);
}

void ral_look_query_gradient(const struct ral_model *m,
                             const struct ral_pack *p,
                             const struct ral_tape *tape,
                             const struct ral_look_conf *look,
                             struct ral_mat dlook, struct ral_mat dw,
                             struct ral_space *a)
{
    const struct ral_stack s = ral_decoder_stack(m);
    const struct ral_space_mark mark = ral_space_mark(a);
    const size_t layer = (size_t)look->layer[look->layers - 1];
    const bool last = layer + 1 == m->config.layers;
    const struct ral_kv kv =
        ral_kv_new(a, s.shape.KV, s.shape.D, p->all.key.slots);
    const struct ral_look l = look_of(&s, look, layer, dlook,
                                      last ? p->look_last : p->look_all);

    ral_block_query_gradient(&s, last ? &p->last : &p->all, &kv,
                             &tape->layer[layer], &l, dw, a);
    ral_space_rewind(a, mark);
}

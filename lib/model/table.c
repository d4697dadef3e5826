/* lib/model/table.c - the one table of tensors of a model. */
#include "model/table.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct builder {
    struct ral_table *t;
    struct ral_arena *a;
    size_t cap;
    bool failed;
    const char *prefix; // of the names being added
};

static int add(struct builder *b, enum ral_role role, const char *name,
               size_t rank, const size_t *shape)
{
    struct ral_tensor *x = &b->t->tensor[b->t->n];
    char full[256];
    const int len = snprintf(full, sizeof full, "%s%s", b->prefix, name);

    if (b->t->n == b->cap || !(x->name = ral_arena_text(b->a, full, (size_t)len))) {
        b->failed = true;
        return 0;
    }
    x->role = role;
    x->rank = rank;
    x->K = 1;
    for (size_t i = 0; i < rank; i++) {
        x->shape[i] = shape[i];
        if (i)
            x->K *= shape[i];
    }
    x->N = rank > 1 ? shape[0] : 1;
    if (rank == 1)
        x->K = shape[0];
    x->offset = b->t->floats;
    b->t->floats += x->N * x->K;
    return (int)b->t->n++;
}

static int vector(struct builder *b, enum ral_role role, const char *name,
                  size_t n)
{
    return add(b, role, name, 1, &n);
}

static int matrix(struct builder *b, enum ral_role role, const char *name,
                  size_t out, size_t in)
{
    return add(b, role, name, 2, (size_t[]){out, in});
}

static struct ral_linear linear(struct builder *b, const char *name,
                                size_t out, size_t in, bool bias)
{
    struct ral_linear l = {-1, -1};
    char full[64];

    snprintf(full, sizeof full, "%s.weight", name);
    l.w = matrix(b, RAL_ROLE_MATRIX, full, out, in);
    if (bias) {
        snprintf(full, sizeof full, "%s.bias", name);
        l.b = vector(b, RAL_ROLE_BIAS, full, out);
    }
    return l;
}

static void add_layer(struct builder *b, const struct ral_config *c,
                      struct ral_block *k)
{
    const size_t D = c->width, kv = c->kv_heads * c->head;

    k->norm1 = vector(b, RAL_ROLE_NORM, "input_layernorm.weight", D);
    k->nqkv = 3;
    k->qkv[0] = linear(b, "self_attn.q_proj", D, D, true);
    k->qkv[1] = linear(b, "self_attn.k_proj", kv, D, true);
    k->qkv[2] = linear(b, "self_attn.v_proj", kv, D, true);
    k->proj = linear(b, "self_attn.o_proj", D, D, false);
    k->norm2 = vector(b, RAL_ROLE_NORM, "post_attention_layernorm.weight", D);
    k->gate = linear(b, "mlp.gate_proj", c->inner, D, false);
    k->up = linear(b, "mlp.up_proj", c->inner, D, false);
    k->down = linear(b, "mlp.down_proj", D, c->inner, false);
}

static void add_vision_block(struct builder *b,
                             const struct ral_vision_config *v,
                             struct ral_block *k)
{
    const size_t C = v->width;

    k->norm1 = vector(b, RAL_ROLE_NORM, "norm1.weight", C);
    k->nqkv = 1;
    k->qkv[0] = linear(b, "attn.qkv", 3 * C, C, true);
    k->proj = linear(b, "attn.proj", C, C, true);
    k->norm2 = vector(b, RAL_ROLE_NORM, "norm2.weight", C);
    k->gate = linear(b, "mlp.gate_proj", v->inner, C, true);
    k->up = linear(b, "mlp.up_proj", v->inner, C, true);
    k->down = linear(b, "mlp.down_proj", C, v->inner, true);
}

int ral_table_init(struct ral_table *t, const struct ral_config *c, bool tied,
                   struct ral_arena *a)
{
    const struct ral_vision_config *v = &c->vision;
    const size_t cap = 4 + 12 * c->layers + 12 * v->depth + 6;
    const size_t merged = v->width * v->merge * v->merge;
    struct builder b = {.t = t, .a = a, .cap = cap};
    char prefix[64];

    memset(t, 0, sizeof(*t));
    t->tensor = RAL_ZNEW(a, struct ral_tensor, cap);
    t->layer = RAL_ZNEW(a, struct ral_block, c->layers);
    t->tower = RAL_ZNEW(a, struct ral_block, v->depth);
    if (!t->tensor || !t->layer || !t->tower)
        return -RAL_ENOMEM;
    b.prefix = "";
    t->embed = matrix(&b, RAL_ROLE_EMBED, "model.embed_tokens.weight",
                      c->vocab, c->width);
    for (size_t i = 0; i < c->layers; i++) {
        snprintf(prefix, sizeof prefix, "model.layers.%zu.", i);
        b.prefix = prefix;
        add_layer(&b, c, &t->layer[i]);
    }
    b.prefix = "";
    t->norm = vector(&b, RAL_ROLE_NORM, "model.norm.weight", c->width);
    t->head = tied ? t->embed
                   : matrix(&b, RAL_ROLE_MATRIX, "lm_head.weight", c->vocab,
                            c->width);
    t->patch = add(&b, RAL_ROLE_MATRIX, "visual.patch_embed.proj.weight", 5,
                   (size_t[]){v->width, v->channels, v->temporal, v->patch,
                              v->patch});
    for (size_t i = 0; i < v->depth; i++) {
        snprintf(prefix, sizeof prefix, "visual.blocks.%zu.", i);
        b.prefix = prefix;
        add_vision_block(&b, v, &t->tower[i]);
    }
    b.prefix = "visual.merger.";
    t->merger_norm = vector(&b, RAL_ROLE_NORM, "ln_q.weight", v->width);
    t->merger[0] = linear(&b, "mlp.0", merged, merged, true);
    t->merger[1] = linear(&b, "mlp.2", v->out, merged, true);
    return b.failed ? -RAL_ENOMEM : 0;
}

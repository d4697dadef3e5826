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

/* The names of a block's parts, as published. */
struct part_names {
    const char *norm1, *norm2, *qkv[3], *proj, *gate, *up, *down;
};

static const struct part_names decoder_names = {
    "input_layernorm.weight",
    "post_attention_layernorm.weight",
    {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"},
    "self_attn.o_proj",
    "mlp.gate_proj",
    "mlp.up_proj",
    "mlp.down_proj",
};
static const struct part_names tower_names = {
    "norm1.weight", "norm2.weight", {"attn.qkv"},    "attn.proj",
    "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj",
};

/* C channels, of which queries have O and keys and values E each. */
static void add_block(struct builder *b, const struct ral_block_arch *arch,
                      const struct part_names *name, size_t C, size_t O,
                      size_t E, size_t inner, struct ral_block *k)
{
    k->norm1 = vector(b, RAL_ROLE_NORM, name->norm1, C);
    if (arch->fused_qkv) {
        k->qkv[0] = linear(b, name->qkv[0], O + 2 * E, C, arch->qkv_bias);
    } else {
        k->qkv[0] = linear(b, name->qkv[0], O, C, arch->qkv_bias);
        k->qkv[1] = linear(b, name->qkv[1], E, C, arch->qkv_bias);
        k->qkv[2] = linear(b, name->qkv[2], E, C, arch->qkv_bias);
    }
    k->proj = linear(b, name->proj, C, O, arch->proj_bias);
    k->norm2 = vector(b, RAL_ROLE_NORM, name->norm2, C);
    k->gate = linear(b, name->gate, inner, C, arch->mlp_bias);
    k->up = linear(b, name->up, inner, C, arch->mlp_bias);
    k->down = linear(b, name->down, C, inner, arch->mlp_bias);
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
        add_block(&b, &c->family->decoder, &decoder_names, c->width,
                  c->heads * c->head, c->kv_heads * c->head, c->inner,
                  &t->layer[i]);
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
        add_block(&b, &c->family->tower, &tower_names, v->width, v->width,
                  v->width, v->inner, &t->tower[i]);
    }
    b.prefix = "visual.merger.";
    t->merger_norm = vector(&b, RAL_ROLE_NORM, "ln_q.weight", v->width);
    t->merger[0] = linear(&b, "mlp.0", merged, merged, true);
    t->merger[1] = linear(&b, "mlp.2", v->out, merged, true);
    return b.failed ? -RAL_ENOMEM : 0;
}

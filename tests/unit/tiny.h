/* tests/unit/tiny.h - small checkpoints, prompts and groups made on the spot.
 *
 * Weights and inputs are uniform numbers of Philox: no libm, so they and the
 * hashes made from them are the same on every machine.
 */
#ifndef RAL_TEST_TINY_H
#define RAL_TEST_TINY_H

#include "golden.h"

#include <unistd.h>

#include "base/file.h"
#include "base/rng.h"
#include "ckpt/policy.h"
#include "model/generate.h"
#include "run.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define TINY_SANITIZED 1 // ten times slower, and malloc is theirs
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define TINY_SANITIZED 1
#endif
#endif
#ifndef TINY_SANITIZED
#define TINY_SANITIZED 0
#endif

#define TINY_OK(call) ck_assert_msg((call) == 0, "%s", err.msg)

/* Uniform numbers of deviation std and the mean given. */
static inline void tiny_fill(struct ral_rng *r, size_t n, double mean,
                             double std, float *x)
{
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(mean + std * 3.4641016151377544 *
                                  (ral_rng_uniform(r) - 0.5));
}

/* The machine that RAL_DEVICE names, with kernels up to cpu; all when NULL. */
static inline struct ral_dev *tiny_dev(const char *cpu, int threads)
{
    const struct ral_machine_conf conf = {
        .device = getenv("RAL_DEVICE"), .cpu = cpu, .threads = threads};
    struct ral_err err = {0};
    struct ral_dev *dev;

    TINY_OK(ral_machine_open(&dev, &conf, &err));
    return dev;
}

/* A machine's numbers on the host: malloc'ed. */
static inline float *tiny_get(struct ral_dev *dev, struct ral_mat x)
{
    float *y = malloc((x.rows * x.cols + 1) * sizeof(*y));
    struct ral_err err = {0};

    ck_assert(y && x.type == RAL_F32);
    TINY_OK(ral_get(dev, y, x, &err));
    return y;
}

/* Whether both hold the same bits. */
static inline bool tiny_same(struct ral_dev *dx, struct ral_mat x,
                             struct ral_dev *dy, struct ral_mat y)
{
    float *a = tiny_get(dx, x), *b = tiny_get(dy, y);
    const bool same = x.rows == y.rows && x.cols == y.cols &&
                      !memcmp(a, b, x.rows * x.cols * sizeof(*a));

    free(a);
    free(b);
    return same;
}

/* Sizes of a model that reads the fixtures' pictures and tokens. */
struct tiny_sizes {
    size_t vocab, width, inner, layers, heads, kv_heads, mrope[3];
    bool tied;
    size_t vision_width, vision_inner, vision_heads, depth;
};

static inline void tiny_config(const struct tiny_sizes *z, const char *path)
{
    FILE *f = fopen(path, "w");

    ck_assert_ptr_nonnull(f);
    fprintf(f,
            "{\"model_type\": \"qwen2_5_vl\", \"tie_word_embeddings\": %s,"
            "\"vocab_size\": %zu, \"hidden_size\": %zu,"
            "\"intermediate_size\": %zu, \"num_hidden_layers\": %zu,"
            "\"num_attention_heads\": %zu, \"num_key_value_heads\": %zu,"
            "\"hidden_act\": \"silu\", \"rms_norm_eps\": 1e-6,"
            "\"max_position_embeddings\": 8192, \"rope_theta\": 10000.0,"
            "\"image_token_id\": 300, \"video_token_id\": 301,"
            "\"vision_start_token_id\": 302, \"vision_end_token_id\": 303,"
            "\"rope_scaling\": {\"type\": \"mrope\","
            "\"mrope_section\": [%zu, %zu, %zu]},",
            z->tied ? "true" : "false", z->vocab, z->width, z->inner,
            z->layers, z->heads, z->kv_heads, z->mrope[0], z->mrope[1],
            z->mrope[2]);
    fprintf(f,
            "\"vision_config\": {\"depth\": %zu, \"hidden_act\": \"silu\","
            "\"hidden_size\": %zu, \"intermediate_size\": %zu,"
            "\"num_heads\": %zu, \"in_chans\": 3, \"out_hidden_size\": %zu,"
            "\"patch_size\": 4, \"spatial_merge_size\": 2,"
            "\"temporal_patch_size\": 2, \"window_size\": 32,"
            "\"fullatt_block_indexes\": [1]}}\n",
            z->depth, z->vision_width, z->vision_inner, z->vision_heads,
            z->width);
    ck_assert_int_eq(fclose(f), 0);
}

/* A new folder below TMPDIR; remove it with tiny_remove. */
static inline char *tiny_folder(void)
{
    const char *top = getenv("TMPDIR");
    char *path;

    ck_assert_int_gt(asprintf(&path, "%s/ral-test-XXXXXX",
                              top && *top ? top : "/tmp"), 0);
    ck_assert_ptr_nonnull(mkdtemp(path));
    return path;
}

static inline void tiny_remove(char *path)
{
    struct ral_err err = {0};

    TINY_OK(ral_remove_tree(path, &err));
    free(path);
}

/* A checkpoint of random weights in a new folder. Norms lie around 1; scale
 * multiplies the matrices' in^-1/2. */
static inline char *tiny_checkpoint(const struct tiny_sizes *z, double scale,
                                    uint64_t seed)
{
    struct ral_err err = {0};
    struct ral_arena a = {0};
    struct ral_config c;
    struct ral_table t;
    struct ral_rng r;
    char *dir = tiny_folder(), *config = ral_path_join(dir, "config.json");
    float *params;

    tiny_config(z, config);
    TINY_OK(ral_config_read(&c, config, &err));
    ck_assert_int_eq(ral_table_init(&t, &c, z->tied, &a), 0);
    params = RAL_NEW(&a, float, t.floats);
    for (size_t i = 0; i < t.n; i++) {
        const struct ral_tensor *x = &t.tensor[i];
        const bool lookup = (int)i == t.embed && !z->tied;
        const double in = lookup ? 1 : (double)x->K;

        ral_rng_init(&r, seed, 1, (uint32_t)i);
        tiny_fill(&r, x->N * x->K, x->role == RAL_ROLE_NORM,
                  x->role == RAL_ROLE_NORM   ? 0.2
                  : x->role == RAL_ROLE_BIAS ? 0.1
                                             : scale / sqrt(in),
                  params + x->offset);
    }
    TINY_OK(ral_checkpoint_weights(&t, params, dir, &err));
    ral_arena_release(&a);
    free(config);
    return dir;
}

/* ----------------------------------------------------------------- prompts */

struct tiny_prompt {
    char id[24];
    int32_t *ids;
    size_t P, cells; // cells: visual tokens among the P
    struct ral_visual visual;
    size_t nvisual;
};

/* P tokens: text, of which a picture of h x w patches (0: none) takes the
 * middle. All in the arena. */
static inline void tiny_prompt(struct tiny_prompt *p, size_t P, size_t h,
                               size_t w, uint64_t seed, struct ral_arena *a)
{
    struct ral_rng r;
    const size_t n = h * w / 4, at = n ? 3 : P;
    float *patches;

    ck_assert_uint_gt(P, n ? n + 5 : 0);
    memset(p, 0, sizeof(*p));
    snprintf(p->id, sizeof p->id, "row-%llu", (unsigned long long)seed);
    p->P = P;
    p->cells = n;
    ral_rng_init(&r, seed, 2, 0);
    p->ids = RAL_NEW(a, int32_t, P);
    for (size_t i = 0; i < P; i++)
        p->ids[i] = (int32_t)ral_rng_below(&r, 300);
    if (!n)
        return;
    p->ids[at - 1] = 302;
    for (size_t i = at; i < at + n; i++)
        p->ids[i] = 300;
    p->ids[at + n] = 303;
    patches = RAL_NEW(a, float, h * w * 96);
    tiny_fill(&r, h * w * 96, 0, 1, patches);
    p->visual = (struct ral_visual){
        .t = 1, .h = h, .w = w, .frames = 2, .patches = patches};
    p->nvisual = 1;
}

static inline struct ral_pack_group tiny_group(const struct tiny_prompt *p,
                                               const struct ral_response *r,
                                               size_t G)
{
    return (struct ral_pack_group){.prompt = p->ids,
                                   .P = p->P,
                                   .visual = &p->visual,
                                   .nvisual = p->nvisual,
                                   .response = r,
                                   .G = G};
}

/* Waiting threads sleep: spinning ones slow each other down on busy cores.
 * libgomp reads this before main, hence the second start. */
static inline void tiny_passive(char **argv)
{
    if (getenv("OMP_WAIT_POLICY"))
        return;
    setenv("OMP_WAIT_POLICY", "passive", 1);
    execv("/proc/self/exe", argv); // without it the tests are only slower
}

#endif

/* tests/unit/test_trained.c - the same weights, bit for bit, on any processor.
 *
 * Some steps of SFT, of RL with the divergence from a reference and the
 * attention term, and of distillation; then a hash of weights and moments. It
 * is stored: instruction set, threads, compiler and its flags must not show.
 */
#include "tiny_train.h"

#include <xxhash.h>

struct bench {
    struct ral_dev *dev;
    struct ral_state s;
    struct ral_model *other; // reference, or teacher
    struct tiny_batch b;
    struct ral_objective o;
    struct ral_space a;
};

static char *dir[2]; // of the policy, and of the teacher

static void make_checkpoints(void)
{
    dir[0] = tiny_checkpoint(&tiny_untied, 1, 5);
    dir[1] = tiny_checkpoint(&tiny_large, 1, 6);
}

static void remove_checkpoints(void)
{
    tiny_remove(dir[0]);
    tiny_remove(dir[1]);
}

static void open_bench(struct bench *t, const char *cpu, int threads,
                       const char *other)
{
    struct ral_err err = {0};

    memset(t, 0, sizeof(*t));
    t->dev = tiny_dev(cpu, threads);
    TINY_OK(ral_state_open(&t->s, dir[0], "test", t->dev, &err));
    if (other)
        TINY_OK(ral_model_open(&t->other, other, t->dev, false, &err));
    ral_space_init(&t->a, t->dev);
}

static void close_bench(struct bench *t)
{
    tiny_batch_release(&t->b);
    ral_model_close(t->other);
    ral_state_close(&t->s);
    ral_space_release(&t->a);
    ral_dev_close(t->dev);
}

static void steps(struct bench *t, int n)
{
    struct ral_step_stats stats;
    struct ral_err err = {0};

    for (int i = 0; i < n; i++)
        TINY_OK(ral_train_step(&t->s, &t->o, t->b.list, t->b.n, &stats, &t->a,
                               &err));
}

/* More rows than a chunk of a weight's gradient or of attention's backward. */
static void train_sft(struct bench *t)
{
    tiny_batch_init(&t->b, 4, 1, 2);
    tiny_batch_prompt(&t->b, 0, 900, 20, 28, 7);
    t->o = tiny_sft(t->s.model);
    t->o.micro_tokens = 1200;
    t->o.adamw = (struct ral_adamw){3e-3, 0.9, 0.99, 1e-8, 0.1};
    steps(t, 3);
}

/* Sampled once, then several updates: ratios, clips, J and k3 all move. */
static void train_rl(struct bench *t)
{
    static const int32_t stop[] = {3, 33, 133, 233, 303};
    struct ral_generation gen = {
        .sampling = {0.9, 0.97, 0, 17, 1}, .samples = 4, .max_tokens = 36,
        .stop = stop, .nstop = 5};

    tiny_batch_init(&t->b, 3, 4, 4);
    t->o = tiny_rl(t->s.model);
    t->o.look = (struct ral_look_conf){{0, 1}, 2, true};
    t->o.temperature = 0.9f;
    t->o.term[TINY_ATTENTION].coef = 20;
    t->o.adamw.lr = 1e-2;
    tiny_add_kl(&t->o, 0.1, t->other);
    gen.look = t->o.look;
    tiny_batch_sample(&t->b, t->s.model, &gen);
    tiny_batch_references(&t->b);
    steps(t, 4);
}

static void train_distill(struct bench *t)
{
    tiny_batch_init(&t->b, 3, 2, 2);
    t->o = tiny_distillation(t->s.model, t->other);
    t->o.adamw.lr = 3e-3;
    steps(t, 3);
}

static const struct {
    const char *name;
    void (*train)(struct bench *t);
    int other; // which checkpoint it needs besides; -1: none
    uint64_t hash; // printed by each run
} kind[] = {
    {"SFT", train_sft, -1, 0x2966f771202ec2af},
    {"RL", train_rl, 0, 0xb2ce91761acc6f5a},
    {"distillation", train_distill, 1, 0x4e1ab4dda3eca944},
};

static uint64_t hash_state(const struct bench *t)
{
    const struct ral_mat part[] = {t->s.model->params, t->s.m, t->s.v};
    XXH3_state_t *h = XXH3_createState();
    uint64_t sum;

    XXH3_64bits_reset(h);
    for (size_t i = 0; i < 3; i++) {
        float *x = tiny_get(t->dev, part[i]);

        XXH3_64bits_update(h, x, part[i].cols * sizeof *x);
        free(x);
    }
    sum = XXH3_64bits_digest(h);
    XXH3_freeState(h);
    return sum;
}

START_TEST(every_way_gives_the_same_weights)
{
    static const struct {
        const char *cpu;
        int threads;
    } way[] = {{"avx512", 1}, {"avx512", 2}, {"avx2", 1}, {"avx2", 2},
               {"c", 2}};

    for (size_t i = 0; i < sizeof way / sizeof *way; i++) {
        struct bench t;
        uint64_t hash;

        open_bench(&t, way[i].cpu, way[i].threads,
                   kind[_i].other < 0 ? NULL : dir[kind[_i].other]);
        if (!strcmp(t.dev->kernels, way[i].cpu)) {
            kind[_i].train(&t);
            hash = hash_state(&t);
            printf("# %s, %s, %d threads: %016llx\n", kind[_i].name,
                   way[i].cpu, way[i].threads, (unsigned long long)hash);
            ck_assert_msg(hash == kind[_i].hash, "%s, %s: hash is %016llx",
                          kind[_i].name, way[i].cpu,
                          (unsigned long long)hash);
        }
        close_bench(&t);
    }
}
END_TEST

int main(int argc, char **argv)
{
    TCase *t = tcase_create("trained");

    (void)argc;
    tiny_passive(argv);
    tcase_set_timeout(t, 240);
    tcase_add_unchecked_fixture(t, make_checkpoints, remove_checkpoints);
    tcase_add_loop_test(t, every_way_gives_the_same_weights, 0, 3);
    return run_tests(t);
}

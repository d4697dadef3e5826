/* tests/bench/bench_attention.c - times of attention, one JSON line a case.
 *
 * bench_attention [THREADS]; RAL_CPU caps the kernels.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/arena.h"
#include "base/cpu.h"
#include "cpu/attention.h"
#include "nn/normal.h"

enum { MAX_SPANS = 1024, MAX_KEYS = 4096 };

static struct ral_arena arena;

struct bench {
    const char *name;
    struct ral_attn_shape s;
    struct ral_span span[MAX_SPANS];
    size_t nspans, N, slots;
    double madds; // seen pairs x D x H, of each of the products
};

static double now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
}

static float *normals(size_t n)
{
    float *x = RAL_NEW(&arena, float, n);
    struct ral_rng rng;

    if (!x)
        abort();
    ral_rng_init(&rng, 1, n, 0);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)ral_rng_normal(&rng);
    return x;
}

static struct bench *bench_new(const char *name, size_t H, size_t KV, size_t D)
{
    struct bench *b = RAL_ZNEW(&arena, struct bench, 1);

    if (!b)
        abort();
    b->name = name;
    b->s = (struct ral_attn_shape){H, KV, D, 0.1f};
    return b;
}

static struct ral_run add_keys(struct bench *b, size_t n)
{
    const struct ral_run r = {b->slots, b->N, n};

    b->slots += (n + 31) / 32 * 32;
    b->N += n;
    return r;
}

static void add_span(struct bench *b, size_t nq, struct ral_run a,
                     struct ral_run own, bool causal)
{
    const double half = causal ? ((double)nq - 1) / 2 : 0;

    b->span[b->nspans++] = (struct ral_span){own.row, nq, a, own, causal};
    b->madds +=
        (double)nq * ((double)(a.n + own.n) - half) * (double)(b->s.H * b->s.D);
}

static void add_group(struct bench *b, size_t P, size_t G, size_t T)
{
    const struct ral_run none = {0, 0, 0}, a = add_keys(b, P);

    add_span(b, P, none, a, true);
    for (size_t g = 0; g < G; g++)
        add_span(b, T, a, add_keys(b, T), true);
}

static void report(const struct bench *b, const struct ral_nn *nn,
                   const char *pass, double us, double products)
{
    printf("{\"bench\":\"%s\",\"pass\":\"%s\",\"kernels\":\"%s\","
           "\"threads\":%d,\"us\":%.2f,\"gflops\":%.1f}\n",
           b->name, pass, nn->k.name, nn->threads, us,
           2 * products * b->madds / us * 1e-3);
    fflush(stdout);
}

/* The best batch of half a second: neighbours may be noisy. */
static void bench_run(struct bench *b, struct ral_nn *nn, bool backward)
{
    const size_t H = b->s.H, KV = b->s.KV, D = b->s.D, N = b->N;
    float *q = normals(N * H * D), *k = normals(N * KV * D);
    float *v = normals(N * KV * D), *o = normals(N * H * D);
    float *dq = normals(N * H * D), *dk = normals(N * KV * D);
    float *dv = normals(N * KV * D);
    const int calls = 1 + (int)(4e6 / b->madds);
    double best[2] = {1e30, 1e30};
    struct ral_cpu_kv kv;
    const struct ral_attn a = {b->s, &kv, b->span, b->nspans, q, H * D};
    const struct ral_attn_grads g = {k,  v,     KV * D, o,  H * D, NULL,
                                     dq, H * D, dk,     dv, KV * D};

    if (ral_kv_init(&kv, &arena, KV, D, b->slots) < 0 ||
        ral_nn_reserve(nn, ral_attention_backward_scratch(&a), NULL) < 0)
        abort();
    for (size_t i = 0; i < b->nspans; i++)
        ral_kv_put(nn, &kv, b->span[i].b.slot, b->span[i].b.n,
                   k + b->span[i].b.row * KV * D, v + b->span[i].b.row * KV * D,
                   KV * D);
    for (const double end = now_us() + 5e5; now_us() < end;)
        for (int pass = 0; pass < 1 + backward; pass++) {
            const double start = now_us();
            double us;

            for (int j = 0; j < calls; j++)
                if (!pass)
                    ral_attention(nn, &a, o, H * D, NULL);
                else
                    ral_attention_backward(nn, &a, &g);
            us = (now_us() - start) / calls;
            best[pass] = us < best[pass] ? us : best[pass];
        }
    report(b, nn, "forward", best[0], 2);
    if (backward)
        report(b, nn, "backward", best[1], 5);
    ral_arena_reset(&arena);
}

int main(int argc, char **argv)
{
    const struct ral_attn_shape largest = {16, 1, 128, 1};
    const struct ral_run none = {0, 0, 0};
    struct ral_err err = {0};
    struct ral_run a, own;
    struct ral_nn nn;
    struct bench *b;
    unsigned cpu;

    if (ral_cpu_flags(&cpu, getenv("RAL_CPU"), &err) < 0 ||
        ral_nn_init(&nn, cpu, argc > 1 ? atoi(argv[1]) : 1, &err) < 0 ||
        ral_nn_reserve(&nn, ral_attention_scratch(&largest, MAX_KEYS), &err) <
            0) {
        fprintf(stderr, "%s\n", err.msg);
        return 1;
    }
    b = bench_new("prefill 1024, one head of 64", 1, 1, 64);
    add_group(b, 1024, 0, 0);
    bench_run(b, &nn, true);
    b = bench_new("prefill 1024, 4/2 heads of 32", 4, 2, 32);
    add_group(b, 1024, 0, 0);
    bench_run(b, &nn, true);
    b = bench_new("8 samples x 1 token over 1024 keys, one head of 64", 1, 1,
                  64);
    a = add_keys(b, 1024);
    b->span[0] = (struct ral_span){0, 0, none, a, false};
    b->nspans = 1;
    for (int g = 0; g < 8; g++)
        add_span(b, 1, a, add_keys(b, 1), true);
    bench_run(b, &nn, true);
    b = bench_new("window of 64, one head of 80", 1, 1, 80);
    own = add_keys(b, 64);
    add_span(b, 64, none, own, false);
    bench_run(b, &nn, true);
    b = bench_new("16 pictures of 16 patches, 4 heads of 16", 4, 4, 16);
    for (int i = 0; i < 16; i++)
        add_span(b, 16, none, add_keys(b, 16), false);
    bench_run(b, &nn, true);
    b = bench_new("prompt 41 with 8 samples x 4, 4/2 heads of 32", 4, 2, 32);
    add_group(b, 41, 8, 4);
    bench_run(b, &nn, true);
    b = bench_new("decode 8 over 41 keys, 4/2 heads of 32", 4, 2, 32);
    a = add_keys(b, 41);
    b->span[0] = (struct ral_span){0, 0, none, a, false};
    b->nspans = 1;
    for (int g = 0; g < 8; g++)
        add_span(b, 1, a, add_keys(b, 3), true);
    bench_run(b, &nn, false);
    b = bench_new("full 4000 x 4000, one head of 16", 1, 1, 16);
    add_span(b, 4000, none, add_keys(b, 4000), false);
    bench_run(b, &nn, true);
    b = bench_new("full 4000 x 4000, one head of 64", 1, 1, 64);
    add_span(b, 4000, none, add_keys(b, 4000), false);
    bench_run(b, &nn, true);
    ral_nn_release(&nn);
    ral_arena_release(&arena);
    return 0;
}

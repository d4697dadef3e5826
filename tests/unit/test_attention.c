/* tests/unit/test_attention.c - attention against literal scalar versions. */
#include <check.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/cpu.h"
#include "base/rng.h"
#include "nn/attention.h"
#include "run.h"

enum { MAX_SPANS = 40, MAX_KEYS = 512 };

static struct ral_arena arena;
static struct ral_rng rng;

static void setup(void)
{
    ral_rng_init(&rng, 1, 2, 3);
}

static void teardown(void)
{
    ral_arena_release(&arena);
}

static float *zeros(size_t n)
{
    float *x = RAL_ZNEW(&arena, float, n);

    ck_assert_ptr_nonnull(x);
    return x;
}

static float *normals(size_t n, double std)
{
    float *x = zeros(n);

    for (size_t i = 0; i < n; i++)
        x[i] = (float)(ral_rng_normal(&rng) * std);
    return x;
}

static void nn_open(struct ral_nn *nn, unsigned cpu, int threads)
{
    const struct ral_attn_shape largest = {8, 1, 128, 1};
    struct ral_err err = {0};

    ck_assert_msg(ral_nn_init(nn, cpu, threads, &err) == 0, "%s", err.msg);
    ck_assert_int_eq(
        ral_nn_reserve(nn, ral_attention_scratch(&largest, MAX_KEYS), &err),
        0);
}

/* Calls fn for each set of flags that this processor has, 1 and 2 threads. */
static void for_each_nn(void (*fn)(const struct ral_nn *nn, void *ctx),
                        void *ctx)
{
    const unsigned sets[] = {0, RAL_CPU_AVX2, RAL_CPU_AVX2 | RAL_CPU_AVX512};
    unsigned have;

    ck_assert_int_eq(ral_cpu_flags(&have, NULL, NULL), 0);
    for (size_t i = 0; i < 3; i++)
        for (int threads = 1; threads <= 2; threads++) {
            struct ral_nn nn;

            if (sets[i] & ~have)
                continue;
            nn_open(&nn, sets[i], threads);
            fn(&nn, ctx);
            ral_nn_release(&nn);
        }
}

/* ------------------------------------------------------------- a problem */

struct problem {
    struct ral_attn_shape s;
    struct ral_span span[MAX_SPANS];
    size_t nspans;
    size_t N, slots;            // rows of q, k, v
    size_t ldq, ldkv, ldo;      // wider than needed
    float *q, *k, *v;           // packed rows
    float *o, *alpha[MAX_KEYS]; // the reference's answers; alpha may be NULL
};

static void problem_init(struct problem *p, size_t H, size_t KV, size_t D)
{
    memset(p, 0, sizeof(*p));
    p->s = (struct ral_attn_shape){H, KV, D, 1 / sqrtf((float)D)};
    p->ldq = H * D + 3;
    p->ldkv = KV * D + 5;
    p->ldo = H * D + 1;
}

/* A run of n keys that are also the rows of the queries to come. */
static struct ral_run new_run(struct problem *p, size_t n)
{
    const struct ral_run r = {p->slots, p->N, n};

    p->slots += (n + 31) / 32 * 32;
    p->N += n;
    return r;
}

static void add_span(struct problem *p, size_t q0, size_t nq, struct ral_run a,
                     struct ral_run b, bool causal)
{
    ck_assert_uint_lt(p->nspans, MAX_SPANS);
    p->span[p->nspans++] = (struct ral_span){q0, nq, a, b, causal};
}

static void add_self(struct problem *p, size_t n, bool causal)
{
    const struct ral_run none = {0, 0, 0}, b = new_run(p, n);

    add_span(p, b.row, n, none, b, causal);
}

/* A prompt of P tokens and G samples of T. */
static void add_group(struct problem *p, size_t P, size_t G, size_t T)
{
    const struct ral_run none = {0, 0, 0}, a = new_run(p, P);

    add_span(p, a.row, P, none, a, true);
    for (size_t g = 0; g < G; g++) {
        const struct ral_run b = new_run(p, T);

        add_span(p, b.row, T, a, b, true);
    }
}

static void problem_fill(struct problem *p)
{
    p->q = normals(p->N * p->ldq, 2);
    p->k = normals(p->N * p->ldkv, 1.5);
    p->v = normals(p->N * p->ldkv, 1);
    p->o = zeros(p->N * p->ldo);
}

static size_t sees(const struct ral_span *sp, size_t i)
{
    return sp->a.n + (sp->causal ? sp->b.n - sp->nq + 1 + i : sp->b.n);
}

static size_t key_row(const struct ral_span *sp, size_t j)
{
    return j < sp->a.n ? sp->a.row + j : sp->b.row + (j - sp->a.n);
}

static void store(const struct ral_nn *nn, const struct problem *p,
                  struct ral_kv *kv)
{
    ck_assert_int_eq(
        ral_kv_init(kv, &arena, p->s.KV, p->s.D, p->slots + 1), 0);
    for (size_t i = 0; i < p->nspans; i++) {
        const struct ral_run b = p->span[i].b;

        ral_kv_put(nn, kv, b.slot, b.n, p->k + b.row * p->ldkv,
                   p->v + b.row * p->ldkv, p->ldkv);
    }
}

/* ------------------------------------- the exact forward, word for word */

static float ref_exp(float x)
{
    const float c[] = {1.37805939e-3f, 8.37312452e-3f, 4.16695364e-2f,
                       1.66664720e-1f, 0.499999851f, 1, 1};
    float z, n, r, y = c[0];
    uint32_t bits;

    if (x < -87)
        return 0;
    z = fmaf(x, 1.44269504f, 12582912.0f);
    n = z - 12582912.0f;
    r = fmaf(n, -0.693145752f, x);
    r = fmaf(n, -1.42860677e-6f, r);
    for (int i = 1; i < 7; i++)
        y = fmaf(y, r, c[i]);
    memcpy(&bits, &y, 4);
    bits += (uint32_t)(int32_t)n << 23;
    memcpy(&y, &bits, 4);
    return y;
}

static float ref_sum(const float *x, size_t n)
{
    float lane[32] = {0};

    for (size_t i = 0; i < n; i++)
        lane[i % 32] += x[i];
    for (int h = 16; h; h /= 2)
        for (int l = 0; l < h; l++)
            lane[l] += lane[l + h];
    return lane[0];
}

static void ref_row(const struct problem *p, const struct ral_span *sp,
                    size_t i, size_t h)
{
    const size_t D = p->s.D, n = sees(sp, i), kvh = h / (p->s.H / p->s.KV);
    const float *q = p->q + (sp->q0 + i) * p->ldq + h * D;
    float *o = p->o + (sp->q0 + i) * p->ldo + h * D;
    float *alpha = p->alpha[sp->q0 + i], m = -INFINITY, inv;
    float e[MAX_KEYS] = {0};

    for (size_t j = 0; j < n; j++) {
        const float *k = p->k + key_row(sp, j) * p->ldkv + kvh * D;

        e[j] = 0;
        for (size_t d = 0; d < D; d++)
            e[j] = fmaf(q[d] * p->s.scale, k[d], e[j]);
        m = e[j] > m ? e[j] : m;
    }
    for (size_t j = 0; j < n; j++)
        e[j] = ref_exp(e[j] - m);
    inv = 1 / ref_sum(e, n);
    for (size_t d = 0; d < D; d++) {
        float sum = 0;

        for (size_t j = 0; j < n; j++)
            sum = fmaf(e[j], p->v[key_row(sp, j) * p->ldkv + kvh * D + d],
                       sum);
        o[d] = sum * inv;
    }
    for (size_t j = 0; alpha && j < n; j++)
        alpha[j] += e[j] * inv;
    for (size_t j = 0; alpha && h + 1 == p->s.H && j < n; j++)
        alpha[j] *= 1 / (float)p->s.H;
}

/* Fills p->o, and p->alpha for every third row. */
static void reference(struct problem *p)
{
    ck_assert_uint_le(p->N, MAX_KEYS);
    for (const struct ral_span *sp = p->span; sp < p->span + p->nspans; sp++)
        for (size_t i = 0; i < sp->nq; i++) {
            if ((sp->q0 + i) % 3 == 1)
                p->alpha[sp->q0 + i] = zeros(sees(sp, i));
            for (size_t h = 0; h < p->s.H; h++)
                ref_row(p, sp, i, h);
        }
}

static void assert_row(const struct problem *p, const float *o, size_t row)
{
    ck_assert_msg(!memcmp(o, p->o + row * p->ldo,
                          p->s.H * p->s.D * sizeof(*o)),
                  "output row %zu (H %zu KV %zu D %zu)", row, p->s.H, p->s.KV,
                  p->s.D);
}

static void assert_alpha(const struct problem *p, const struct ral_span *sp,
                         size_t i, const float *alpha)
{
    const size_t n = sees(sp, i);

    ck_assert_msg(!memcmp(alpha, p->alpha[sp->q0 + i], n * sizeof(*alpha)),
                  "policy row %zu of %zu keys (H %zu KV %zu D %zu)",
                  sp->q0 + i, n, p->s.H, p->s.KV, p->s.D);
    ck_assert_float_eq(alpha[n], -7);
    ck_assert_float_eq_tol(ref_sum(alpha, n), 1, 2e-6f);
}

static void check_forward(const struct ral_nn *nn, void *ctx)
{
    const struct problem *p = ctx;
    const struct ral_mark mark = ral_arena_mark(&arena);
    float *o = zeros(p->N * p->ldo), *alpha[MAX_KEYS] = {NULL};
    struct ral_kv kv;

    store(nn, p, &kv);
    ral_attention(nn, &p->s, &kv, p->span, p->nspans, p->q, p->ldq, o, p->ldo,
                  NULL);
    for (size_t r = 0; r < p->N; r++)
        assert_row(p, o + r * p->ldo, r);

    for (size_t r = 0; r < p->N; r++)
        if (p->alpha[r]) {
            alpha[r] = zeros(MAX_KEYS + 1);
            for (size_t j = 0; j <= MAX_KEYS; j++)
                alpha[r][j] = -7;
        }
    memset(o, 0, p->N * p->ldo * sizeof(*o));
    ral_attention(nn, &p->s, &kv, p->span, p->nspans, p->q, p->ldq, o, p->ldo,
                  alpha);
    for (size_t r = 0; r < p->N; r++)
        assert_row(p, o + r * p->ldo, r);
    for (size_t i = 0; i < p->nspans; i++)
        for (size_t j = 0; j < p->span[i].nq; j++)
            if (alpha[p->span[i].q0 + j])
                assert_alpha(p, p->span + i, j, alpha[p->span[i].q0 + j]);
    ral_arena_rewind(&arena, mark);
}

static void check_table(struct problem *p)
{
    problem_fill(p);
    reference(p);
    for_each_nn(check_forward, p);
}

START_TEST(forward_is_the_reference)
{
    static const size_t dims[] = {8, 16, 24, 64, 80};
    struct problem p;

    for (size_t i = 0; i < 5; i++) {
        const size_t KV = i % 2 + 1, group = (size_t)1 << i % 3;

        problem_init(&p, KV * group, KV, dims[i]);
        add_self(&p, 45 + i, true);
        add_self(&p, 33, false);
        for (size_t n = 1; n < 12; n += 3) // windows
            add_self(&p, n, false);
        check_table(&p);

        problem_init(&p, KV * group, KV, dims[i]);
        add_group(&p, 29 + 9 * i, 8, 4);
        add_group(&p, 32, 3, 1);
        check_table(&p);
    }
}
END_TEST

/* Groups of heads that do not divide a tile, or exceed it. */
START_TEST(any_number_of_heads)
{
    static const size_t heads[][2] = {{3, 1}, {14, 2}, {7, 7}, {37, 1}};
    struct problem p;

    for (size_t i = 0; i < 4; i++) {
        problem_init(&p, heads[i][0], heads[i][1], 16);
        add_group(&p, 37, 3, 5);
        check_table(&p);
    }
}
END_TEST

/* Large enough for several threads. */
START_TEST(many_keys)
{
    struct problem p;

    problem_init(&p, 4, 2, 16);
    add_group(&p, 300, 5, 9);
    add_self(&p, 100, false);
    check_table(&p);
}
END_TEST

/* Queries that see keys of an earlier call, and one key seen by all. */
START_TEST(cached_keys_and_repeated_runs)
{
    const struct ral_run none = {0, 0, 0};
    struct problem p;
    struct ral_run b;

    problem_init(&p, 4, 2, 24);
    b = new_run(&p, 77);
    add_span(&p, 0, 50, none, b, false);
    b.n = 70;
    add_span(&p, 50, 20, none, b, true); // the last 20 of 70 keys
    b.n = 77;
    add_span(&p, 70, 7, b, none, false); // run a alone
    check_table(&p);
}
END_TEST

/* -------------------------- shared, unshared and decoded are the same bits */

struct modes {
    struct problem p; // one group, shared
    size_t P, G, T;
};

static void check_unshared(const struct ral_nn *nn, void *ctx)
{
    const struct modes *m = ctx;
    const struct problem *p = &m->p;
    const struct ral_mark mark = ral_arena_mark(&arena);
    const size_t n = m->P + m->T;
    const struct ral_span sp = {0, n, {0, 0, 0}, {0, 0, n}, true};

    for (size_t g = 0; g < m->G; g++) {
        const size_t own = m->P + g * m->T;
        float *q = zeros(n * p->ldq), *o = zeros(n * p->ldo);
        float *alpha[MAX_KEYS];
        struct ral_kv kv;

        ck_assert_int_eq(ral_kv_init(&kv, &arena, p->s.KV, p->s.D, n), 0);
        ral_kv_put(nn, &kv, 0, m->P, p->k, p->v, p->ldkv);
        ral_kv_put(nn, &kv, m->P, m->T, p->k + own * p->ldkv,
                   p->v + own * p->ldkv, p->ldkv);
        memcpy(q, p->q, m->P * p->ldq * sizeof(*q));
        memcpy(q + m->P * p->ldq, p->q + own * p->ldq,
               m->T * p->ldq * sizeof(*q));
        for (size_t i = 0; i < n; i++) {
            alpha[i] = zeros(n + 1);
            alpha[i][i + 1] = -7;
        }
        ral_attention(nn, &p->s, &kv, &sp, 1, q, p->ldq, o, p->ldo, alpha);
        for (size_t i = 0; i < n; i++) {
            const size_t row = i < m->P ? i : own + (i - m->P);

            assert_row(p, o + i * p->ldo, row);
            if (p->alpha[row] && i >= m->P)
                assert_alpha(p, &p->span[1 + g], i - m->P, alpha[i]);
        }
        ral_arena_rewind(&arena, mark);
    }
}

/* The prompt token by token, then all samples together, token by token. */
static void check_decoded(const struct ral_nn *nn, void *ctx)
{
    const struct modes *m = ctx;
    const struct problem *p = &m->p;
    const struct ral_mark mark = ral_arena_mark(&arena);
    float *q = zeros(m->G * p->ldq), *o = zeros(m->G * p->ldo);
    float *alpha[MAX_KEYS];
    struct ral_span sp[MAX_SPANS];
    struct ral_kv kv;

    ck_assert_int_eq(ral_kv_init(&kv, &arena, p->s.KV, p->s.D, p->slots), 0);
    for (size_t i = 0; i < m->P; i++) {
        sp[0] = (struct ral_span){0, 1, {0, 0, 0}, {0, 0, i + 1}, true};
        ral_kv_put(nn, &kv, i, 1, p->k + i * p->ldkv, p->v + i * p->ldkv,
                   p->ldkv);
        ral_attention(nn, &p->s, &kv, sp, 1, p->q + i * p->ldq, p->ldq, o,
                      p->ldo, NULL);
        assert_row(p, o, i);
    }
    for (size_t g = 0; g < m->G; g++)
        alpha[g] = zeros(m->P + m->T + 1);
    for (size_t t = 0; t < m->T; t++) {
        for (size_t g = 0; g < m->G; g++) {
            const size_t row = m->P + g * m->T + t;

            sp[g] = (struct ral_span){g, 1, {0, 0, m->P},
                                      {p->span[1 + g].b.slot, 0, t + 1}, true};
            ral_kv_put(nn, &kv, sp[g].b.slot + t, 1, p->k + row * p->ldkv,
                       p->v + row * p->ldkv, p->ldkv);
            memcpy(q + g * p->ldq, p->q + row * p->ldq, p->ldq * sizeof(*q));
            alpha[g][m->P + t + 1] = -7;
        }
        ral_attention(nn, &p->s, &kv, sp, m->G, q, p->ldq, o, p->ldo, alpha);
        for (size_t g = 0; g < m->G; g++) {
            const size_t row = m->P + g * m->T + t;

            assert_row(p, o + g * p->ldo, row);
            if (p->alpha[row])
                assert_alpha(p, &p->span[1 + g], t, alpha[g]);
        }
    }
    ral_arena_rewind(&arena, mark);
}

START_TEST(shared_unshared_and_decoded_are_equal)
{
    static const size_t shapes[][6] = {
        // H KV D P G T
        {4, 2, 16, 41, 8, 4},
        {2, 2, 64, 64, 3, 35},
        {4, 1, 24, 33, 9, 2},
    };

    for (size_t i = 0; i < 3; i++) {
        const size_t *x = shapes[i];
        struct modes m = {.P = x[3], .G = x[4], .T = x[5]};

        problem_init(&m.p, x[0], x[1], x[2]);
        add_group(&m.p, m.P, m.G, m.T);
        problem_fill(&m.p);
        reference(&m.p);
        for_each_nn(check_forward, &m.p);
        for_each_nn(check_unshared, &m);
        for_each_nn(check_decoded, &m);
    }
}
END_TEST

/* ---------------------------------------------------------- the backward */

/* Everything in double: a copy of the inputs, loss and gradients. */
struct twice {
    const struct problem *p;
    double *q, *k, *v, *dq, *dk, *dv;
    const float *dO, *const *dpol;
};

static double *doubles(const float *x, size_t n)
{
    double *y = RAL_ZNEW(&arena, double, n);

    for (size_t i = 0; x && i < n; i++)
        y[i] = x[i];
    return y;
}

static void twice_init(struct twice *w, const struct problem *p,
                       const float *dO, const float *const *dpol)
{
    const size_t nq = p->N * p->ldq, nk = p->N * p->ldkv;

    *w = (struct twice){p, doubles(p->q, nq), doubles(p->k, nk),
                        doubles(p->v, nk), doubles(NULL, nq),
                        doubles(NULL, nk), doubles(NULL, nk), dO, dpol};
}

/* a[n] = softmax, g[n] = d loss / d a of one row of one head; its loss. */
static double twice_row(const struct twice *w, const struct ral_span *sp,
                        size_t i, size_t h, double *a, double *g)
{
    const struct problem *p = w->p;
    const size_t D = p->s.D, n = sees(sp, i), kvh = h / (p->s.H / p->s.KV);
    const size_t row = sp->q0 + i;
    const double *q = w->q + row * p->ldq + h * D;
    const float *dO = w->dO + row * p->ldo + h * D;
    const float *dpol = w->dpol ? w->dpol[row] : NULL;
    double m = -INFINITY, l = 0, loss = 0;

    for (size_t j = 0; j < n; j++) {
        const size_t at = key_row(sp, j) * p->ldkv + kvh * D;

        a[j] = 0;
        g[j] = dpol ? dpol[j] / (double)p->s.H : 0;
        for (size_t d = 0; d < D; d++) {
            a[j] += q[d] * p->s.scale * w->k[at + d];
            g[j] += dO[d] * w->v[at + d];
        }
        m = a[j] > m ? a[j] : m;
    }
    for (size_t j = 0; j < n; j++)
        l += a[j] = exp(a[j] - m);
    for (size_t j = 0; j < n; j++)
        loss += (a[j] /= l) * g[j];
    return loss;
}

static void twice_grad(struct twice *w, const struct ral_span *sp, size_t i,
                       size_t h, const double *a, const double *g, double sum)
{
    const struct problem *p = w->p;
    const size_t D = p->s.D, n = sees(sp, i), kvh = h / (p->s.H / p->s.KV);
    const size_t qa = (sp->q0 + i) * p->ldq + h * D;
    const float *dO = w->dO + (sp->q0 + i) * p->ldo + h * D;

    for (size_t j = 0; j < n; j++) {
        const size_t at = key_row(sp, j) * p->ldkv + kvh * D;
        const double ds = a[j] * (g[j] - sum) * p->s.scale;

        for (size_t d = 0; d < D; d++) {
            w->dq[qa + d] += ds * w->k[at + d];
            w->dk[at + d] += ds * w->q[qa + d];
            w->dv[at + d] += a[j] * dO[d];
        }
    }
}

/* The loss sum dO.o + sum dpolicy.alpha; gradients too when asked. */
static double twice_loss(struct twice *w, bool grad)
{
    double a[MAX_KEYS], g[MAX_KEYS], loss = 0;
    const struct problem *p = w->p;

    for (const struct ral_span *sp = p->span; sp < p->span + p->nspans; sp++)
        for (size_t i = 0; i < sp->nq; i++)
            for (size_t h = 0; h < p->s.H; h++) {
                const double x = twice_row(w, sp, i, h, a, g);

                loss += x;
                if (grad)
                    twice_grad(w, sp, i, h, a, g, x);
            }
    return loss;
}

static void check_difference(struct twice *w, double *x, const double *dx,
                             size_t i)
{
    const double h = 1e-5, keep = x[i];
    double up, lo;

    x[i] = keep + h;
    up = twice_loss(w, false);
    x[i] = keep - h;
    lo = twice_loss(w, false);
    x[i] = keep;
    ck_assert_double_eq_tol((up - lo) / (2 * h), dx[i],
                            1e-6 * (1 + fabs(dx[i])));
}

/* Within 1e-5 of the largest element: rounding, and nothing else. */
static void assert_near(const char *what, const float *x, const double *ref,
                        size_t rows, size_t width, size_t ld, double off)
{
    double top = 0, worst = 0;

    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < width; c++) {
            const size_t i = r * ld + c;

            top = fmax(top, fabs(ref[i]));
            worst = fmax(worst, fabs(x[i] - off - ref[i]));
        }
    ck_assert_msg(worst <= 1e-5 * top, "%s: %g against %g", what, worst, top);
}

struct grads {
    struct twice w;
    float *dq, *dk, *dv; // the first run's, to compare bits with
};

static const float *const *random_dpolicy(const struct problem *p)
{
    const float **dpol = RAL_ZNEW(&arena, const float *, p->N);

    for (const struct ral_span *sp = p->span; sp < p->span + p->nspans; sp++)
        for (size_t i = 0; i < sp->nq; i++)
            if ((sp->q0 + i) % 3 != 1)
                dpol[sp->q0 + i] = normals(sees(sp, i), 3);
    return dpol;
}

static void check_backward(const struct ral_nn *nn, void *ctx)
{
    struct grads *g = ctx;
    const struct problem *p = g->w.p;
    const size_t nq = p->N * p->ldq, nk = p->N * p->ldkv;
    float *dq = zeros(nq), *dk = zeros(nk), *dv = zeros(nk);
    // Reading past the last head would leave these: sanitizers see it.
    const size_t exact = (p->N - 1) * p->ldkv + p->s.KV * p->s.D;
    float *k = malloc(exact * sizeof(*k)), *v = malloc(exact * sizeof(*v));
    struct ral_kv kv;

    ck_assert(k && v);
    memcpy(k, p->k, exact * sizeof(*k));
    memcpy(v, p->v, exact * sizeof(*v));
    for (size_t i = 0; i < nk; i++)
        dk[i] = dv[i] = 0.25f; // they are added to
    store(nn, p, &kv);
    ral_attention_backward(nn, &p->s, &kv, p->span, p->nspans, p->q, p->ldq,
                           k, v, p->ldkv, g->w.dO, p->ldo, g->w.dpol, dq,
                           p->ldq, dk, dv, p->ldkv);
    free(k);
    free(v);
    assert_near("dq", dq, g->w.dq, p->N, p->s.H * p->s.D, p->ldq, 0);
    assert_near("dk", dk, g->w.dk, p->N, p->s.KV * p->s.D, p->ldkv, 0.25);
    assert_near("dv", dv, g->w.dv, p->N, p->s.KV * p->s.D, p->ldkv, 0.25);
    if (!g->dq) {
        g->dq = dq;
        g->dk = dk;
        g->dv = dv;
    }
    // One set of bits for every kernel and number of threads.
    ck_assert(!memcmp(dq, g->dq, nq * sizeof(*dq)));
    ck_assert(!memcmp(dk, g->dk, nk * sizeof(*dk)));
    ck_assert(!memcmp(dv, g->dv, nk * sizeof(*dv)));
}

static void check_gradients(struct problem *p, bool policy, size_t differences)
{
    const float *dO;
    struct grads g = {0};

    problem_fill(p);
    dO = normals(p->N * p->ldo, 1);
    twice_init(&g.w, p, dO, policy ? random_dpolicy(p) : NULL);
    twice_loss(&g.w, true);
    for (size_t i = 0; i < differences; i++) {
        const size_t q = ral_rng_below(&rng, p->N * p->ldq);
        const size_t k = ral_rng_below(&rng, p->N * p->ldkv);

        check_difference(&g.w, g.w.q, g.w.dq, q);
        check_difference(&g.w, g.w.k, g.w.dk, k);
        check_difference(&g.w, g.w.v, g.w.dv, k);
    }
    for_each_nn(check_backward, &g);
}

START_TEST(backward_matches_differences)
{
    static const size_t dims[] = {8, 24, 80};
    struct problem p;

    for (size_t i = 0; i < 3; i++) {
        problem_init(&p, (size_t)2 << i, 2, dims[i]);
        add_group(&p, 21, 3, 4);
        add_self(&p, 9, false);
        add_self(&p, 6, true);
        check_gradients(&p, i != 1, 10);
    }
}
END_TEST

/* Several prompts, full spans and more rows than a block holds. */
START_TEST(backward_of_large_tables)
{
    struct problem p;

    problem_init(&p, 4, 2, 32);
    add_group(&p, 90, 8, 4);
    add_self(&p, 130, false);
    add_group(&p, 45, 8, 4);
    check_gradients(&p, true, 0);

    problem_init(&p, 4, 4, 80);
    add_self(&p, 64, false);
    add_self(&p, 64, false);
    add_self(&p, 20, false);
    check_gradients(&p, false, 0);

    problem_init(&p, 9, 1, 16);
    add_group(&p, 70, 2, 3);
    check_gradients(&p, true, 0);

    problem_init(&p, 71, 1, 8); // more heads than rows of a tile
    add_group(&p, 11, 2, 2);
    check_gradients(&p, true, 0);
}
END_TEST

/* Spans that share keys without being neighbours must not race. */
START_TEST(backward_in_any_order)
{
    struct problem p;
    struct ral_span keep;

    problem_init(&p, 4, 2, 16);
    add_group(&p, 45, 8, 4);
    add_group(&p, 60, 8, 4);
    add_self(&p, 80, false);
    keep = p.span[0];
    p.span[0] = p.span[12];
    p.span[12] = keep;
    // Two spans over the same keys.
    p.span[18].nq = 30;
    add_span(&p, p.span[18].q0 + 30, 50, p.span[18].a, p.span[18].b, true);
    check_gradients(&p, true, 0);
}
END_TEST

START_TEST(store_refuses_what_memory_cannot_hold)
{
    struct ral_kv kv;

    ck_assert_int_lt(ral_kv_init(&kv, &arena, 2, 64, SIZE_MAX / 8), 0);
    ck_assert_int_lt(ral_kv_init(&kv, &arena, SIZE_MAX / 2, 64, 64), 0);
    ck_assert_int_lt(ral_kv_init(&kv, &arena, 1, SIZE_MAX, 64), 0);
    ck_assert_int_lt(ral_kv_init(&kv, &arena, 1, 1, SIZE_MAX), 0);
}
END_TEST

START_TEST(nothing_to_do)
{
    const struct ral_span empty[] = {{0, 0, {0, 0, 0}, {0, 0, 0}, true},
                                     {0, 1, {0, 0, 0}, {0, 0, 0}, false}};
    const struct ral_attn_shape s = {2, 1, 8, 1};
    float q[16] = {1}, o[16], dq[16];
    struct ral_kv kv;
    struct ral_nn nn;

    memset(o, 1, sizeof(o));
    memset(dq, 1, sizeof(dq));
    nn_open(&nn, 0, 1);
    ck_assert_int_eq(ral_kv_init(&kv, &arena, 1, 8, 1), 0);
    ral_attention(&nn, &s, &kv, empty, 0, q, 16, o, 16, NULL);
    ral_attention_backward(&nn, &s, &kv, empty, 1, q, 16, q, q, 8, o, 16, NULL,
                           dq, 16, o, o, 8);
    ck_assert_float_ne(o[0], 0);
    // A query without keys.
    ral_attention(&nn, &s, &kv, empty, 2, q, 16, o, 16, NULL);
    ral_attention_backward(&nn, &s, &kv, empty, 2, q, 16, q, q, 8, o, 16, NULL,
                           dq, 16, o, o, 8);
    for (int i = 0; i < 16; i++)
        ck_assert(o[i] == 0 && dq[i] == 0);
    ral_nn_release(&nn);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("all");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, forward_is_the_reference);
    tcase_add_test(tc, any_number_of_heads);
    tcase_add_test(tc, many_keys);
    tcase_add_test(tc, cached_keys_and_repeated_runs);
    tcase_add_test(tc, shared_unshared_and_decoded_are_equal);
    tcase_add_test(tc, backward_matches_differences);
    tcase_add_test(tc, backward_of_large_tables);
    tcase_add_test(tc, backward_in_any_order);
    tcase_add_test(tc, store_refuses_what_memory_cannot_hold);
    tcase_add_test(tc, nothing_to_do);
    return run_tests(tc);
}

/* tests/unit/test_attention.c - attention against literal scalar versions. */
#include <check.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/cpu.h"
#include "cpu/attention.h"
#include "run.h"
#include "nn/normal.h"

enum { MAX_SPANS = 40, MAX_KEYS = 1536 };

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
        ral_nn_reserve(nn, ral_attention_scratch(&largest, MAX_KEYS), &err), 0);
}

/* Calls fn for each set of flags that this processor has, 1 and 2 threads. */
static void for_each_nn(void (*fn)(struct ral_nn *nn, void *ctx), void *ctx)
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
    size_t range[MAX_SPANS]; // the first span of those that share keys with it
    size_t nspans, start;    // where the range begins that grows
    size_t N, slots;         // rows of q, k, v
    size_t ldq, ldkv, ldo;   // wider than needed
    float *q, *k, *v;        // packed rows
    float *o;                // the reference's answers
    float *each[MAX_KEYS];   // [H][keys seen] of every third row, else NULL
    float *mean[MAX_KEYS];   // [keys seen] of the same rows
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
    p->range[p->nspans] = p->start;
    p->span[p->nspans++] = (struct ral_span){q0, nq, a, b, causal};
}

static void add_self(struct problem *p, size_t n, bool causal)
{
    const struct ral_run none = {0, 0, 0}, b = new_run(p, n);

    p->start = p->nspans;
    add_span(p, b.row, n, none, b, causal);
}

/* A prompt of P tokens and G samples of T. */
static void add_group(struct problem *p, size_t P, size_t G, size_t T)
{
    const struct ral_run none = {0, 0, 0}, a = new_run(p, P);

    p->start = p->nspans;
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
                  struct ral_cpu_kv *kv)
{
    ck_assert_int_eq(ral_kv_init(kv, &arena, p->s.KV, p->s.D, p->slots + 1), 0);
    for (size_t i = 0; i < p->nspans; i++) {
        const struct ral_run b = p->span[i].b;

        ral_kv_put(nn, kv, b.slot, b.n, p->k + b.row * p->ldkv,
                   p->v + b.row * p->ldkv, p->ldkv);
    }
}

/* ------------------------------------- the exact forward, word for word */

static float ref_exp(float x)
{
    const float c[] = {1.37805939e-3f,
                       8.37312452e-3f,
                       4.16695364e-2f,
                       1.66664720e-1f,
                       0.499999851f,
                       1,
                       1};
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

/* e[n] of one row of one head, and 1 / their sum. */
static float ref_exps(const struct problem *p, const struct ral_span *sp,
                      size_t i, size_t h, float *e)
{
    const size_t D = p->s.D, n = sees(sp, i), kvh = h / (p->s.H / p->s.KV);
    const float *q = p->q + (sp->q0 + i) * p->ldq + h * D;
    float m = -INFINITY;

    for (size_t j = 0; j < n; j++) {
        const float *k = p->k + key_row(sp, j) * p->ldkv + kvh * D;

        e[j] = 0;
        for (size_t d = 0; d < D; d++)
            e[j] = fmaf(q[d] * p->s.scale, k[d], e[j]);
        m = e[j] > m ? e[j] : m;
    }
    for (size_t j = 0; j < n; j++)
        e[j] = ref_exp(e[j] - m);
    return 1 / ref_sum(e, n);
}

static void ref_row(const struct problem *p, const struct ral_span *sp,
                    size_t i, size_t h)
{
    const size_t D = p->s.D, n = sees(sp, i), kvh = h / (p->s.H / p->s.KV);
    float *o = p->o + (sp->q0 + i) * p->ldo + h * D;
    float *each = p->each[sp->q0 + i], e[MAX_KEYS];
    const float inv = ref_exps(p, sp, i, h, e);

    for (size_t d = 0; d < D; d++) {
        float sum = 0;

        for (size_t j = 0; j < n; j++)
            sum = fmaf(e[j], p->v[key_row(sp, j) * p->ldkv + kvh * D + d], sum);
        o[d] = sum * inv;
    }
    for (size_t j = 0; each && j < n; j++)
        each[h * n + j] = e[j] * inv;
}

/* The mean of H rows of n numbers, heads ascending. */
static float *ref_mean(size_t H, size_t n, const float *each)
{
    float *mean = zeros(n);

    for (size_t j = 0; j < n; j++) {
        for (size_t h = 0; h < H; h++)
            mean[j] += each[h * n + j];
        mean[j] *= 1 / (float)H;
    }
    return mean;
}

/* Fills p->o, and the attention of every third row. */
static void reference(struct problem *p)
{
    ck_assert_uint_le(p->N, MAX_KEYS);
    for (const struct ral_span *sp = p->span; sp < p->span + p->nspans; sp++)
        for (size_t i = 0; i < sp->nq; i++) {
            const size_t row = sp->q0 + i, n = sees(sp, i);

            if (row % 3 == 1)
                p->each[row] = zeros(p->s.H * n);
            for (size_t h = 0; h < p->s.H; h++)
                ref_row(p, sp, i, h);
            if (p->each[row])
                p->mean[row] = ref_mean(p->s.H, n, p->each[row]);
        }
}

static void assert_row(const struct problem *p, const float *o, size_t row)
{
    ck_assert_msg(!memcmp(o, p->o + row * p->ldo, p->s.H * p->s.D * sizeof(*o)),
                  "output row %zu (H %zu KV %zu D %zu)", row, p->s.H, p->s.KV,
                  p->s.D);
}

struct room {
    struct ral_attn_rows rows;
    size_t N, keys, n; // rows, numbers of one with its guard, and of all
};

/* Room for rows 0 .. N-1 of up to S numbers and a guard, the last row first,
 * nothing wanted yet; between the planes of each head lies a gap. */
static struct room room_for(size_t N, size_t S, size_t H, bool each)
{
    const size_t plane = N * (S + 1) + 5, n = (each ? H : 1) * plane;
    int64_t *at = RAL_NEW(&arena, int64_t, N);
    float *out = RAL_NEW(&arena, float, n);

    ck_assert(at && out);
    for (size_t i = 0; i < n; i++)
        out[i] = -7;
    for (size_t q = 0; q < N; q++)
        at[q] = -1;
    return (struct room){{at, plane, each, out}, N, S + 1, n};
}

static void want(const struct room *x, size_t q)
{
    ((int64_t *)x->rows.at)[q] = (int64_t)((x->N - 1 - q) * x->keys);
}

/* Row q of those handed out is the reference's row of query i; all after it
 * is as it was. */
static void assert_handed(const struct problem *p, const struct ral_span *sp,
                          size_t i, const struct room *x, size_t q)
{
    const struct ral_attn_rows *rows = &x->rows;
    const size_t n = sees(sp, i), row = sp->q0 + i;
    size_t touched = 0;

    for (size_t h = 0; h < (rows->each ? p->s.H : 1); h++) {
        const float *y = rows->out + h * rows->plane + rows->at[q];
        const float *ref = rows->each ? p->each[row] + h * n : p->mean[row];

        ck_assert_msg(!memcmp(y, ref, n * sizeof(*y)),
                      "attention row %zu of %zu keys, head %zu (H %zu KV %zu "
                      "D %zu)",
                      row, n, h, p->s.H, p->s.KV, p->s.D);
        for (size_t j = n; j < x->keys; j++)
            touched += y[j] != -7;
        ck_assert_float_eq_tol(ref_sum(y, n), 1, 2e-6f);
    }
    ck_assert_uint_eq(touched, 0);
}

/* Numbers of the room that were written. */
static size_t written(const struct room *x)
{
    size_t n = 0;

    for (size_t i = 0; i < x->n; i++)
        n += x->rows.out[i] != -7;
    return n;
}

static void attend(const struct ral_nn *nn, const struct problem *p,
                   const struct ral_cpu_kv *kv, float *o,
                   const struct ral_attn_rows *rows)
{
    ral_attention(
        nn, &(struct ral_attn){p->s, kv, p->span, p->nspans, p->q, p->ldq}, o,
        p->ldo, rows);
    for (size_t r = 0; r < p->N; r++)
        assert_row(p, o + r * p->ldo, r);
}

static void check_forward(struct ral_nn *nn, void *ctx)
{
    const struct problem *p = ctx;
    const struct ral_mark mark = ral_arena_mark(&arena);
    float *o = zeros(p->N * p->ldo);
    struct ral_cpu_kv kv;

    store(nn, p, &kv);
    attend(nn, p, &kv, o, NULL);
    for (int each = 0; each < 2; each++) {
        const struct room x = room_for(p->N, p->slots, p->s.H, each);
        size_t numbers = 0;

        for (size_t r = 0; r < p->N; r++)
            if (p->each[r])
                want(&x, r);
        memset(o, 0, p->N * p->ldo * sizeof(*o));
        attend(nn, p, &kv, o, &x.rows);
        for (size_t i = 0; i < p->nspans; i++)
            for (size_t j = 0; j < p->span[i].nq; j++)
                if (p->each[p->span[i].q0 + j]) {
                    assert_handed(p, p->span + i, j, &x, p->span[i].q0 + j);
                    numbers += sees(p->span + i, j);
                }
        ck_assert_uint_eq(written(&x), numbers * (each ? p->s.H : 1));
    }
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

static void check_unshared(struct ral_nn *nn, void *ctx)
{
    const struct modes *m = ctx;
    const struct problem *p = &m->p;
    const struct ral_mark mark = ral_arena_mark(&arena);
    const size_t n = m->P + m->T;
    const struct ral_span sp = {0, n, {0, 0, 0}, {0, 0, n}, true};

    for (size_t g = 0; g < m->G; g++) {
        const size_t own = m->P + g * m->T;
        const struct room x = room_for(n, n, p->s.H, g % 2);
        float *q = zeros(n * p->ldq), *o = zeros(n * p->ldo);
        struct ral_cpu_kv kv;

        ck_assert_int_eq(ral_kv_init(&kv, &arena, p->s.KV, p->s.D, n), 0);
        ral_kv_put(nn, &kv, 0, m->P, p->k, p->v, p->ldkv);
        ral_kv_put(nn, &kv, m->P, m->T, p->k + own * p->ldkv,
                   p->v + own * p->ldkv, p->ldkv);
        memcpy(q, p->q, m->P * p->ldq * sizeof(*q));
        memcpy(q + m->P * p->ldq, p->q + own * p->ldq,
               m->T * p->ldq * sizeof(*q));
        for (size_t i = 0; i < n; i++)
            want(&x, i);
        ral_attention(nn, &(struct ral_attn){p->s, &kv, &sp, 1, q, p->ldq}, o,
                      p->ldo, &x.rows);
        for (size_t i = 0; i < n; i++) {
            const size_t row = i < m->P ? i : own + (i - m->P);

            assert_row(p, o + i * p->ldo, row);
            if (p->each[row] && i >= m->P)
                assert_handed(p, &p->span[1 + g], i - m->P, &x, i);
        }
        ral_arena_rewind(&arena, mark);
    }
}

/* The prompt token by token, then all samples together, token by token. */
static void check_decoded(struct ral_nn *nn, void *ctx)
{
    const struct modes *m = ctx;
    const struct problem *p = &m->p;
    const struct ral_mark mark = ral_arena_mark(&arena);
    float *q = zeros(m->G * p->ldq), *o = zeros(m->G * p->ldo);
    struct ral_span sp[MAX_SPANS];
    struct ral_cpu_kv kv;

    ck_assert_int_eq(ral_kv_init(&kv, &arena, p->s.KV, p->s.D, p->slots), 0);
    for (size_t i = 0; i < m->P; i++) {
        sp[0] = (struct ral_span){0, 1, {0, 0, 0}, {0, 0, i + 1}, true};
        ral_kv_put(nn, &kv, i, 1, p->k + i * p->ldkv, p->v + i * p->ldkv,
                   p->ldkv);
        ral_attention(
            nn, &(struct ral_attn){p->s, &kv, sp, 1, p->q + i * p->ldq, p->ldq},
            o, p->ldo, NULL);
        assert_row(p, o, i);
    }
    for (size_t t = 0; t < m->T; t++) {
        const struct room x = room_for(m->G, p->slots, p->s.H, t % 2);

        for (size_t g = 0; g < m->G; g++) {
            const size_t row = m->P + g * m->T + t;

            sp[g] = (struct ral_span){
                g, 1, {0, 0, m->P}, {p->span[1 + g].b.slot, 0, t + 1}, true};
            ral_kv_put(nn, &kv, sp[g].b.slot + t, 1, p->k + row * p->ldkv,
                       p->v + row * p->ldkv, p->ldkv);
            memcpy(q + g * p->ldq, p->q + row * p->ldq, p->ldq * sizeof(*q));
            if (p->each[row])
                want(&x, g);
        }
        ral_attention(nn, &(struct ral_attn){p->s, &kv, sp, m->G, q, p->ldq}, o,
                      p->ldo, &x.rows);
        for (size_t g = 0; g < m->G; g++) {
            const size_t row = m->P + g * m->T + t;

            assert_row(p, o + g * p->ldo, row);
            if (p->each[row])
                assert_handed(p, &p->span[1 + g], t, &x, g);
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
    const float *dO;
    const struct ral_attn_rows *drows; // or NULL
};

static double *doubles(const float *x, size_t n)
{
    double *y = RAL_ZNEW(&arena, double, n);

    for (size_t i = 0; x && i < n; i++)
        y[i] = x[i];
    return y;
}

static void twice_init(struct twice *w, const struct problem *p,
                       const float *dO, const struct ral_attn_rows *drows)
{
    const size_t nq = p->N * p->ldq, nk = p->N * p->ldkv;

    *w = (struct twice){p,
                        doubles(p->q, nq),
                        doubles(p->k, nk),
                        doubles(p->v, nk),
                        doubles(NULL, nq),
                        doubles(NULL, nk),
                        doubles(NULL, nk),
                        dO,
                        drows};
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
    const struct ral_attn_rows *rows =
        w->drows && w->drows->at[row] >= 0 ? w->drows : NULL;
    const float *y = rows ? rows->out + rows->at[row] : NULL;
    double m = -INFINITY, l = 0, loss = 0;

    for (size_t j = 0; j < n; j++) {
        const size_t at = key_row(sp, j) * p->ldkv + kvh * D;

        a[j] = 0;
        g[j] = !y           ? 0
               : rows->each ? y[h * rows->plane + j]
                            : y[j] / (double)p->s.H;
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

/* The loss sum dO.o + sum drows.rows; gradients too when asked. */
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
    float *dq, *dk, *dv; // the definition's
};

/* ------------------------------------ the exact backward, word for word */

/* a[n] and ds[n] of one row of one head. */
static void ref_ds(const struct twice *w, const struct ral_span *sp, size_t i,
                   size_t h, float *a, float *ds)
{
    const struct problem *p = w->p;
    const size_t D = p->s.D, n = sees(sp, i), kvh = h / (p->s.H / p->s.KV);
    const size_t row = sp->q0 + i;
    const struct ral_attn_rows *rows =
        w->drows && w->drows->at[row] >= 0 ? w->drows : NULL;
    const float *dO = w->dO + row * p->ldo + h * D;
    const float inv = ref_exps(p, sp, i, h, a);
    float sum;

    for (size_t j = 0; j < n; j++) {
        const float *v = p->v + key_row(sp, j) * p->ldkv + kvh * D;

        a[j] *= inv;
        ds[j] = 0;
        for (size_t d = 0; d < D; d++)
            ds[j] = fmaf(dO[d], v[d], ds[j]);
        if (rows && rows->each)
            ds[j] += rows->out[h * rows->plane + (size_t)rows->at[row] + j];
        else if (rows)
            ds[j] += rows->out[(size_t)rows->at[row] + j] * (1 / (float)p->s.H);
        ds[j] *= a[j];
    }
    sum = ref_sum(ds, n);
    for (size_t j = 0; j < n; j++)
        ds[j] -= a[j] * sum;
}

/* dq of one query is written; dk, dv go on in their chains. */
static void ref_query(const struct twice *w, const struct ral_span *sp,
                      size_t i, float *dq, float *dk, float *dv)
{
    const struct problem *p = w->p;
    const size_t D = p->s.D, n = sees(sp, i), row = sp->q0 + i;
    float a[MAX_KEYS], ds[MAX_KEYS];

    for (size_t h = 0; h < p->s.H; h++) {
        const size_t kvh = h / (p->s.H / p->s.KV);
        const float *q = p->q + row * p->ldq + h * D;
        const float *dO = w->dO + row * p->ldo + h * D;
        float *to = dq + row * p->ldq + h * D;

        ref_ds(w, sp, i, h, a, ds);
        for (size_t d = 0; d < D; d++) {
            float sum = 0;

            for (size_t j = 0; j < n; j++) {
                const size_t at = key_row(sp, j) * p->ldkv + kvh * D + d;

                sum = fmaf(ds[j], p->k[at], sum);
                dk[at] = fmaf(ds[j], q[d] * p->s.scale, dk[at]);
                dv[at] = fmaf(a[j], dO[d], dv[at]);
            }
            to[d] = sum * p->s.scale;
        }
    }
}

/* Chunks of 512 queries of each range: the first goes on from dk and dv. */
static void ref_backward(struct grads *g)
{
    const struct problem *p = g->w.p;
    const size_t nk = p->N * p->ldkv;
    float *dk = g->dk, *dv = g->dv;
    size_t passed = 0;

    for (size_t s = 0; s <= p->nspans; s++) {
        const size_t nq = s < p->nspans ? p->span[s].nq : 0;
        const bool new = s == p->nspans || p->range[s] == s;

        for (size_t i = 0; i < nq + new; i++) {
            const bool end = new &&i == 0;

            if (dk != g->dk && (end || passed % 512 == 0))
                for (size_t j = 0; j < nk; j++) {
                    g->dk[j] += dk[j];
                    g->dv[j] += dv[j];
                }
            if (end) {
                passed = 0;
                dk = g->dk;
                dv = g->dv;
                continue;
            }
            if (passed && passed % 512 == 0) {
                dk = zeros(nk);
                dv = zeros(nk);
            }
            ref_query(&g->w, p->span + s, i - new, g->dq, dk, dv);
            passed++;
        }
    }
}

/* What is asked of a backward besides dO. */
enum rows_kind { NO_ROWS, MEAN, EACH, ONE_HEAD };

/* Gradients of two rows in three; of ONE_HEAD, 0 but for the last. */
static struct ral_attn_rows random_drows(const struct problem *p,
                                         enum rows_kind kind)
{
    const bool each = kind != MEAN;
    const struct room x = room_for(p->N, p->slots, p->s.H, each);

    for (const struct ral_span *sp = p->span; sp < p->span + p->nspans; sp++)
        for (size_t i = 0; i < sp->nq; i++) {
            const size_t q = sp->q0 + i;

            if (q % 3 == 1)
                continue;
            want(&x, q);
            for (size_t h = 0; h < (each ? p->s.H : 1); h++)
                for (size_t j = 0; j < sees(sp, i); j++)
                    x.rows.out[h * x.rows.plane + (size_t)x.rows.at[q] + j] =
                        kind == ONE_HEAD && h + 1 < p->s.H
                            ? 0
                            : (float)ral_rng_normal(&rng) * 3;
        }
    return x.rows;
}

static void assert_equal(const char *what, const float *x, const float *ref,
                         size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (x[i] != ref[i])
            ck_abort_msg("%s: number %zu is %.9g, not %.9g", what, i,
                         (double)x[i], (double)ref[i]);
}

/* A pattern behind the first `need` floats of each thread's scratch; false
 * when it is not there any more. */
static bool fence(const struct ral_nn *nn, size_t need, bool set)
{
    bool whole = true;

    for (int t = 0; t < nn->threads; t++)
        for (size_t i = need; i < nn->scratch_stride; i++) {
            float *x = nn->scratch + (size_t)t * nn->scratch_stride + i;

            if (set)
                *x = -7;
            whole &= *x == -7;
        }
    return whole;
}

static void check_backward(struct ral_nn *nn, void *ctx)
{
    const struct grads *g = ctx;
    const struct problem *p = g->w.p;
    const struct ral_mark mark = ral_arena_mark(&arena);
    const size_t nq = p->N * p->ldq, nk = p->N * p->ldkv;
    float *dq = zeros(nq), *dk = zeros(nk), *dv = zeros(nk);
    // Reading past the last head would leave these: sanitizers see it.
    const size_t exact = (p->N - 1) * p->ldkv + p->s.KV * p->s.D;
    float *k = malloc(exact * sizeof(*k)), *v = malloc(exact * sizeof(*v));
    struct ral_cpu_kv kv;
    const struct ral_attn a = {p->s, &kv, p->span, p->nspans, p->q, p->ldq};
    const size_t need = ral_attention_backward_scratch(&a);

    ck_assert(k && v);
    memcpy(k, p->k, exact * sizeof(*k));
    memcpy(v, p->v, exact * sizeof(*v));
    for (size_t i = 0; i < nk; i++)
        dk[i] = dv[i] = 0.25f; // they are added to
    store(nn, p, &kv);
    ck_assert_int_eq(ral_nn_reserve(nn, need, NULL), 0);
    fence(nn, need, true);
    ral_attention_backward(nn, &a,
                           &(struct ral_attn_grads){k, v, p->ldkv, g->w.dO,
                                                    p->ldo, g->w.drows, dq,
                                                    p->ldq, dk, dv, p->ldkv});
    free(k);
    free(v);
    ck_assert(fence(nn, need, false));
    assert_near("dq", dq, g->w.dq, p->N, p->s.H * p->s.D, p->ldq, 0);
    assert_near("dk", dk, g->w.dk, p->N, p->s.KV * p->s.D, p->ldkv, 0.25);
    assert_near("dv", dv, g->w.dv, p->N, p->s.KV * p->s.D, p->ldkv, 0.25);
    assert_equal("dq", dq, g->dq, nq);
    assert_equal("dk", dk, g->dk, nk);
    assert_equal("dv", dv, g->dv, nk);
    ral_arena_rewind(&arena, mark);
}

static void check_gradients(struct problem *p, enum rows_kind kind,
                            size_t differences)
{
    const float *dO;
    struct grads g = {0};
    struct ral_attn_rows rows;

    problem_fill(p);
    dO = normals(p->N * p->ldo, 1);
    if (kind)
        rows = random_drows(p, kind);
    twice_init(&g.w, p, dO, kind ? &rows : NULL);
    twice_loss(&g.w, true);
    for (size_t i = 0; i < differences; i++) {
        const size_t q = ral_rng_below(&rng, p->N * p->ldq);
        const size_t k = ral_rng_below(&rng, p->N * p->ldkv);

        check_difference(&g.w, g.w.q, g.w.dq, q);
        check_difference(&g.w, g.w.k, g.w.dk, k);
        check_difference(&g.w, g.w.v, g.w.dv, k);
    }
    g.dq = zeros(p->N * p->ldq);
    g.dk = zeros(p->N * p->ldkv);
    g.dv = zeros(p->N * p->ldkv);
    for (size_t i = 0; i < p->N * p->ldkv; i++)
        g.dk[i] = g.dv[i] = 0.25f;
    ref_backward(&g);
    for_each_nn(check_backward, &g);
}

START_TEST(backward_matches_differences)
{
    static const size_t dims[] = {8, 24, 80, 8};
    struct problem p;

    for (size_t i = 0; i < 4; i++)
        for (enum rows_kind kind = NO_ROWS; kind <= ONE_HEAD; kind++) {
            problem_init(&p, i < 3 ? (size_t)2 << i : 1, i < 3 ? 2 : 1,
                         dims[i]);
            add_group(&p, 21, 3, 4);
            add_self(&p, 9, false);
            add_self(&p, 6, true);
            check_gradients(&p, kind, 5);
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
    check_gradients(&p, MEAN, 0);

    problem_init(&p, 4, 4, 80);
    add_self(&p, 64, false);
    add_self(&p, 64, false);
    add_self(&p, 20, false);
    check_gradients(&p, NO_ROWS, 0);

    problem_init(&p, 9, 1, 16);
    add_group(&p, 70, 2, 3);
    check_gradients(&p, EACH, 0);

    problem_init(&p, 71, 1, 8); // more heads than rows of a tile
    add_group(&p, 11, 2, 2);
    check_gradients(&p, EACH, 0);
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
    for (size_t i = 0; i < p.nspans; i++)
        p.range[i] = 0;
    check_gradients(&p, MEAN, 0);
}
END_TEST

/* Ranges of several chunks, which begin and end within spans. */
START_TEST(backward_in_chunks)
{
    struct ral_span keep;
    struct problem p;

    problem_init(&p, 4, 2, 8);
    add_self(&p, 7, false);
    add_group(&p, 500, 4, 140);
    check_gradients(&p, MEAN, 0);

    problem_init(&p, 3, 1, 24);
    add_self(&p, 513, true);
    add_self(&p, 512, false);
    check_gradients(&p, EACH, 0);

    // A response after another prompt's: one range for all.
    problem_init(&p, 2, 2, 16);
    add_group(&p, 200, 2, 40);
    add_group(&p, 250, 2, 30);
    keep = p.span[2];
    p.span[2] = p.span[5];
    p.span[5] = keep;
    p.range[3] = 0;
    check_gradients(&p, NO_ROWS, 0);
}
END_TEST

/* A mean's gradient is that of each head, divided: the same bits. */
START_TEST(mean_and_each_head_agree)
{
    struct ral_attn_rows rows[2];
    struct problem p;
    struct ral_cpu_kv kv;
    struct ral_nn nn;
    float *d[2][3];

    problem_init(&p, 6, 2, 16);
    add_group(&p, 40, 3, 5);
    problem_fill(&p);
    nn_open(&nn, 0, 1);
    store(&nn, &p, &kv);
    rows[0] = random_drows(&p, MEAN);
    rows[1] = room_for(p.N, p.slots, p.s.H, true).rows;
    rows[1].at = rows[0].at;
    for (size_t h = 0; h < p.s.H; h++)
        for (size_t i = 0; i < rows[0].plane; i++)
            rows[1].out[h * rows[1].plane + i] =
                rows[0].out[i] * (1 / (float)p.s.H);
    for (int i = 0; i < 2; i++) {
        d[i][0] = zeros(p.N * p.ldq);
        d[i][1] = zeros(p.N * p.ldkv);
        d[i][2] = zeros(p.N * p.ldkv);
        ral_attention_backward(
            &nn, &(struct ral_attn){p.s, &kv, p.span, p.nspans, p.q, p.ldq},
            &(struct ral_attn_grads){p.k, p.v, p.ldkv, zeros(p.N * p.ldo),
                                     p.ldo, &rows[i], d[i][0], p.ldq, d[i][1],
                                     d[i][2], p.ldkv});
    }
    ck_assert(!memcmp(d[0][0], d[1][0], p.N * p.ldq * sizeof(float)));
    ck_assert(!memcmp(d[0][1], d[1][1], p.N * p.ldkv * sizeof(float)));
    for (size_t i = 0; i < p.N * p.ldkv; i++) // no way through the values
        ck_assert(d[0][2][i] == 0 && d[1][2][i] == 0);
    ral_nn_release(&nn);
}
END_TEST

START_TEST(store_refuses_what_memory_cannot_hold)
{
    struct ral_cpu_kv kv;

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
    const int64_t at[] = {0};
    float q[16] = {1}, o[16], dq[16], y[2] = {-7, -7};
    const struct ral_attn_rows rows = {at, 1, true, y};
    struct ral_cpu_kv kv;
    struct ral_attn a = {{2, 1, 8, 1}, &kv, empty, 0, q, 16};
    const struct ral_attn_grads g = {q, q, 8, o, 16, &rows, dq, 16, o, o, 8};
    struct ral_nn nn;

    memset(o, 1, sizeof(o));
    memset(dq, 1, sizeof(dq));
    nn_open(&nn, 0, 1);
    ck_assert_int_eq(ral_kv_init(&kv, &arena, 1, 8, 1), 0);
    ral_attention(&nn, &a, o, 16, &rows);
    a.nspans = 1;
    ral_attention_backward(&nn, &a, &g);
    ck_assert_float_ne(o[0], 0);
    // A query without keys.
    a.nspans = 2;
    ral_attention(&nn, &a, o, 16, &rows);
    ral_attention_backward(&nn, &a, &g);
    for (int i = 0; i < 16; i++)
        ck_assert(o[i] == 0 && dq[i] == 0);
    ck_assert(y[0] == -7 && y[1] == -7);
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
    tcase_add_test(tc, backward_in_chunks);
    tcase_add_test(tc, mean_and_each_head_agree);
    tcase_add_test(tc, store_refuses_what_memory_cannot_hold);
    tcase_add_test(tc, nothing_to_do);
    return run_tests(tc);
}

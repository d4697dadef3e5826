/* tests/bench/bench_flops.c - the products of one update, and sgemm's rate.
 *
 * Usage: bench_flops CHECKPOINT STREAM      one JSON object
 *
 * Counted are 2 M N K of every product that an optimiser pass over the stream
 * needs, each shared prompt once:
 *
 *     linear layer    2 M N K forward, as much for dX and for dW; the patch
 *                     embedding needs no dX
 *     attention       4 H D keys forward (q k^T and p v), 8 backward (dV, dP,
 *                     dQ, dK), keys summed over the queries, as far as each
 *                     sees
 *     last layer      keys and values of all rows; the rest for rows that are
 *                     read: each prompt's last and the responses
 *     head            rows that predict a token
 *
 * Work that is done twice (the head's logits, the attention's scores) counts
 * once. OpenBLAS is measured at the same N and K, M = 1232, one thread, and
 * its rate is the sum of the work over the sum of the times that it would take.
 */
#include <cblas.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/arena.h"
#include "model/config.h"
#include "stream/group.h"
#include "stream/reader.h"

enum { ROWS = 1232, PRODUCTS = 64 };

/* Rows of a batch, and keys summed over its queries. */
struct batch {
    size_t prompts, samples, P, responses; // the last two in tokens
    size_t predict, patches, units;
    size_t keys, last_keys, window_keys, frame_keys;
};

struct products {
    struct {
        size_t N, K;
        double work;
    } of[PRODUCTS];
    size_t n;
    double attention;
};

static double cpu_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- what the stream holds ---- */

static void add_picture(struct batch *b, const struct ral_vision_config *v,
                        size_t h, size_t w)
{
    const size_t edge = v->window / v->patch / v->merge * v->merge;

    b->patches += h * w;
    b->units += h * w / (v->merge * v->merge);
    b->frame_keys += h * w * h * w;
    for (size_t y = 0; y < h; y += edge)
        for (size_t x = 0; x < w; x += edge) {
            const size_t n = (h - y < edge ? h - y : edge) *
                             (w - x < edge ? w - x : edge);

            b->window_keys += n * n;
        }
}

static void add_group(struct batch *b, const struct ral_config *c,
                      const struct ral_group *g)
{
    b->prompts++;
    b->P += g->P;
    b->predict++;
    b->keys += g->P * (g->P + 1) / 2;
    b->last_keys += g->P;
    for (size_t k = 0; k < g->n_media; k++)
        add_picture(b, &c->vision, g->media_ref[k].grid[1],
                    g->media_ref[k].grid[2]);
    for (size_t k = 0; k < g->G; k++) {
        const size_t T = g->samples[k].T;
        const size_t keys = T * g->P + T * (T + 1) / 2;

        b->samples++;
        b->responses += T;
        b->predict += T - 1;
        b->keys += keys;
        b->last_keys += keys;
    }
}

static int count(struct batch *b, const struct ral_config *c, char *path,
                 struct ral_err *err)
{
    struct ral_arena a = {0};
    struct ral_reader *r;
    struct ral_item *rec;
    struct ral_group g;
    int rc = ral_reader_open_files(&r, &path, 1, RAL_RECORD_MAX, err);

    memset(b, 0, sizeof *b);
    while (rc == 0 && (rc = ral_reader_next(r, &a, &rec, err)) > 0) {
        rc = ral_group_decode(&g, ral_reader_info(r), rec, &a, err);
        if (rc == 0)
            add_group(b, c, &g);
        ral_arena_reset(&a);
    }
    ral_reader_close(r);
    ral_arena_release(&a);
    return rc;
}

/* ---- what that takes ---- */

/* M rows through n layers of [N][K], passes over them: 3, or 2 without dX. */
static void linear(struct products *p, size_t n, size_t M, size_t N, size_t K,
                   int passes)
{
    size_t i = 0;

    while (i < p->n && (p->of[i].N != N || p->of[i].K != K))
        i++;
    if (i == PRODUCTS)
        abort();
    if (i == p->n) {
        p->of[i].N = N;
        p->of[i].K = K;
        p->of[i].work = 0;
        p->n++;
    }
    p->of[i].work += 2.0 * passes * (double)(n * M) * (double)(N * K);
}

static void block(struct products *p, size_t n, size_t M, size_t C, size_t O,
                  size_t inner)
{
    linear(p, n, M, O, C, 3);     // queries
    linear(p, n, M, C, O, 3);     // projection
    linear(p, 2 * n, M, inner, C, 3); // gate and up
    linear(p, n, M, C, inner, 3);     // down
}

static void tower(struct products *p, const struct ral_vision_config *v,
                  const struct batch *b)
{
    const size_t C = v->width, merged = C * v->merge * v->merge;

    linear(p, 1, b->patches, C, v->channels * v->temporal * v->patch * v->patch,
           2);
    linear(p, v->depth, b->patches, 3 * C, C, 3);
    linear(p, v->depth, b->patches, C, C, 3);
    linear(p, 2 * v->depth, b->patches, v->inner, C, 3);
    linear(p, v->depth, b->patches, C, v->inner, 3);
    linear(p, 1, b->units, merged, merged, 3);
    linear(p, 1, b->units, v->out, merged, 3);
    for (size_t i = 0; i < v->depth; i++)
        p->attention += 12.0 * (double)C *
                        (double)(v->full[i] ? b->frame_keys : b->window_keys);
}

static void decoder(struct products *p, const struct ral_config *c,
                    const struct batch *b)
{
    const size_t rows = b->P + b->responses, last = b->prompts + b->responses;
    const size_t O = c->heads * c->head;

    linear(p, 2 * c->layers, rows, c->kv_heads * c->head, c->width, 3);
    block(p, c->layers - 1, rows, c->width, O, c->inner);
    block(p, 1, last, c->width, O, c->inner);
    linear(p, 1, b->predict, c->vocab, c->width, 3);
    p->attention += 12.0 * (double)O *
                    (double)((c->layers - 1) * b->keys + b->last_keys);
}

/* ---- what OpenBLAS does ---- */

static float *numbers(size_t n)
{
    float *x = aligned_alloc(64, (n * sizeof *x + 63) / 64 * 64);

    if (!x)
        abort();
    for (size_t i = 0; i < n; i++)
        x[i] = (float)rand() / (float)RAND_MAX - 0.5f;
    return x;
}

static double sgemm_rate(size_t N, size_t K)
{
    float *x = numbers(ROWS * K), *w = numbers(N * K), *y = numbers(ROWS * N);
    double best = 1e9;

    for (int i = 0; i < 30; i++) {
        const double t = cpu_s();

        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, ROWS, (int)N,
                    (int)K, 1, x, (int)K, w, (int)K, 0, y, (int)N);
        best = fmin(best, cpu_s() - t);
    }
    free(x);
    free(w);
    free(y);
    return 2.0 * ROWS * (double)(N * K) / best;
}

int main(int argc, char **argv)
{
    struct ral_config c;
    struct ral_err err = {0};
    struct products p = {0};
    struct batch b;
    double work = 0, seconds = 0;
    char path[4096];

    if (argc != 3)
        return 2;
    snprintf(path, sizeof path, "%s/config.json", argv[1]);
    if (ral_config_read(&c, path, &err) < 0 ||
        count(&b, &c, argv[2], &err) < 0) {
        fprintf(stderr, "bench_flops: %s\n", err.msg);
        return 1;
    }
    openblas_set_num_threads(1);
    tower(&p, &c.vision, &b);
    decoder(&p, &c, &b);
    for (size_t i = 0; i < p.n; i++) {
        work += p.of[i].work;
        seconds += p.of[i].work / sgemm_rate(p.of[i].N, p.of[i].K);
    }
    printf("{\"prompts\":%zu,\"samples\":%zu,\"prompt_tokens\":%zu,"
           "\"visual_tokens\":%zu,\"response_tokens\":%zu,\"side_px\":%.0f,"
           "\"gflop\":%.4f,\"attention_gflop\":%.4f,\"sgemm_gflops\":%.2f,"
           "\"openblas_core\":\"%s\"}\n",
           b.prompts, b.samples, b.P / b.prompts, b.units / b.prompts,
           b.responses / b.samples,
           sqrt((double)(b.patches / b.prompts)) * (double)c.vision.patch,
           (work + p.attention) * 1e-9, p.attention * 1e-9,
           work / seconds * 1e-9, openblas_get_corename());
    return 0;
}

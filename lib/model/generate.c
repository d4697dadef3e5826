/* lib/model/generate.c - responses from cached decoding.
 *
 * A sampled token goes through the decoder once: its row's attention is the
 * token's policy, its hidden row predicts the next. So the last token, usually
 * the end token, is run too, one forward past the sampling.
 *
 * Samples of a prompt that agree so far have equal rows: one is computed, for
 * the first of them. Its keys are stored for each, as they may part later.
 */
#include "model/generate.h"

#include <math.h>
#include <string.h>

#include "base/file.h"
#include "model/forward.h"
#include "model/head.h"

struct sample {
    struct ral_generated *out;
    size_t prompt;       // index
    uint32_t number;     // within the prompt
    size_t slot;         // of its own keys
    size_t lead;         // the first sample with the same tokens, maybe itself
    size_t row;          // of this step, if it leads
    bool done;           // nothing more to run
};

struct decoder {
    const struct ral_model *m;
    const struct ral_generation *gen;
    const struct ral_pack *pack;
    struct ral_rotary table; // of all positions that there may be
    struct ral_kv *kv;      // [layers]
    struct sample *sample;  // [n * G], ordered by prompt
    size_t samples;
    uint64_t *hash;         // [n]
    const char *const *id;  // [n] of the prompts, for messages
    /* One step's rows: the leads still running. */
    size_t *live;           // [samples]
    float *x, *cos, *sin, *logits;
    double *lse;
    float **policy;
    struct ral_layout layout;
    float *p;               // [V], as order a draw's scratch
    int32_t *order;
    struct ral_arena *keep, *a;
    struct ral_err *err;
};

static bool stops(const struct ral_generation *gen, int32_t id)
{
    for (size_t i = 0; i < gen->nstop; i++)
        if (gen->stop[i] == id)
            return true;
    return false;
}

/* Draws the next token of a sample from a row of logits and notes it. */
static int draw(struct decoder *d, struct sample *s, const float *x,
                double lse)
{
    struct ral_generated *g = s->out;
    const struct ral_run prompt = d->pack->layout.put[s->prompt];
    const double u = ral_sampling_uniform(&d->gen->sampling,
                                          d->hash[s->prompt], s->number,
                                          (uint32_t)g->T);
    int32_t id;

    if (!isfinite(lse))
        return ral_err_set(d->err, -RAL_EINVAL,
                           "record %s: logits are not finite: the weights "
                           "overflow",
                           d->id[s->prompt]);
    id = ral_sample(&d->gen->sampling, &d->m->nn->k, d->m->config.vocab, x,
                    lse, u, d->p, d->order);
    g->ids[g->T] = id;
    g->logp[g->T] = (float)((double)x[id] - lse);
    g->alpha[g->T] = RAL_NEW(d->keep, float, prompt.n + g->T + 1);
    if (!g->alpha[g->T])
        return ral_err_set(d->err, -RAL_ENOMEM, "out of memory for attention");
    g->T++;
    g->stopped = stops(d->gen, id);
    return 0;
}

static int logits_of(struct decoder *d, size_t n, const float *hidden)
{
    ral_head_logits(d->m, n, hidden, ral_sampling_tau(&d->gen->sampling),
                    d->logits, d->lse);
    return 0;
}

static int32_t newest(const struct sample *s)
{
    return s->out->ids[s->out->T - 1];
}

/* After a draw: who agreed with its lead and drew another token follows the
 * first that did the same. Backwards, so that earlier leads are the old ones.
 */
static void part(struct decoder *d)
{
    for (size_t i = d->samples; i-- > 0;) {
        struct sample *s = &d->sample[i];
        size_t j = s->lead;

        while (!s->done && j < i &&
               (d->sample[j].lead != s->lead ||
                newest(&d->sample[j]) != newest(s)))
            j++;
        s->lead = s->done ? s->lead : j;
    }
}

/* The prompts' last rows give every sample its first token. */
static int first_tokens(struct decoder *d, const float *hidden, size_t n)
{
    const size_t V = d->m->config.vocab, G = d->gen->samples;
    int rc;

    logits_of(d, n, hidden);
    for (size_t i = 0; i < d->samples; i++)
        if ((rc = draw(d, &d->sample[i], d->logits + i / G * V,
                       d->lse[i / G])) < 0)
            return rc;
    part(d);
    return 0;
}

/* One row a lead: its newest token, seen by itself and after. */
static size_t gather(struct decoder *d)
{
    const size_t D = d->m->config.width, half = d->m->config.head / 2;
    size_t n = 0;

    d->layout.nspan = d->layout.nput = d->layout.keys = 0;
    for (size_t i = 0; i < d->samples; i++) {
        struct sample *s = &d->sample[i];
        const size_t t = s->out->T - 1;
        const int32_t pos = d->pack->next[s->prompt] + (int32_t)t;
        struct ral_run prompt = d->pack->layout.put[s->prompt];

        if (s->done)
            continue;
        if (s->lead == i)
            s->row = n;
        d->layout.put[d->layout.nput++] =
            (struct ral_run){s->slot + t, d->sample[s->lead].row, 1};
        if (s->lead != i)
            continue;
        ral_model_embed(d->m, s->out->ids[t], d->x + n * D);
        ral_position_rotary(d->m, &d->table, pos, pos, pos, d->cos + n * half,
                            d->sin + n * half);
        d->layout.span[d->layout.nspan++] = (struct ral_span){
            .q0 = n, .nq = 1, .a = prompt, .b = {s->slot, 0, t + 1},
            .causal = true};
        if (prompt.n + t + 1 > d->layout.keys)
            d->layout.keys = prompt.n + t + 1;
        d->policy[n] = s->out->alpha[t];
        d->live[n++] = i;
    }
    return n;
}

/* Followers have their lead's attention; who has all its tokens is done. */
static void finish_step(struct decoder *d)
{
    for (size_t i = 0; i < d->samples; i++) {
        struct sample *s = &d->sample[i];
        const struct ral_generated *g = s->out;
        const size_t keys = d->pack->layout.put[s->prompt].n + g->T;

        if (s->done)
            continue;
        if (s->lead != i)
            memcpy(g->alpha[g->T - 1],
                   d->sample[s->lead].out->alpha[g->T - 1],
                   keys * sizeof(float));
        s->done = g->stopped || g->T == d->gen->max_tokens;
    }
}

static int draw_all(struct decoder *d)
{
    const size_t V = d->m->config.vocab;

    for (size_t i = 0; i < d->samples; i++) {
        struct sample *s = &d->sample[i];
        const size_t row = d->sample[s->lead].row;
        const int rc =
            s->done ? 0 : draw(d, s, d->logits + row * V, d->lse[row]);

        if (rc < 0)
            return rc;
    }
    part(d);
    return 0;
}

static int step(struct decoder *d, size_t n)
{
    const size_t D = d->m->config.width;
    const struct ral_stack stack =
        ral_decoder_stack(d->m, n, d->cos, d->sin);
    size_t running = 0;
    int rc = ral_decoder_forward(&stack, &d->layout, &d->layout, d->kv,
                                 d->x, NULL, d->policy, d->a);

    if (rc < 0)
        return ral_err_set(d->err, rc, "out of memory while decoding");
    finish_step(d);
    for (size_t i = 0; i < n; i++) {
        struct sample *s = &d->sample[d->live[i]];

        if (s->done)
            continue;
        s->row = running;
        memmove(d->x + running++ * D, d->x + i * D, D * sizeof(float));
    }
    ral_norm_forward(d->m, d->m->table.norm, d->m->config.eps, running, d->x,
                     d->x, NULL);
    logits_of(d, running, d->x);
    return draw_all(d);
}

static int alloc(struct decoder *d, size_t n, size_t *slots)
{
    const struct ral_config *c = &d->m->config;
    const size_t rows = d->samples > n ? d->samples : n;
    const size_t T = d->gen->max_tokens;

    d->kv = RAL_NEW(d->a, struct ral_kv, c->layers);
    d->sample = RAL_ZNEW(d->a, struct sample, d->samples);
    d->hash = RAL_NEW(d->a, uint64_t, n);
    d->live = RAL_NEW(d->a, size_t, rows);
    d->x = RAL_NEW(d->a, float, rows * c->width);
    d->cos = RAL_NEW(d->a, float, rows * (c->head / 2));
    d->sin = RAL_NEW(d->a, float, rows * (c->head / 2));
    d->logits = RAL_NEW(d->a, float, rows * c->vocab);
    d->lse = RAL_NEW(d->a, double, rows);
    d->policy = RAL_NEW(d->a, float *, rows);
    d->layout.span = RAL_NEW(d->a, struct ral_span, rows);
    d->layout.put = RAL_NEW(d->a, struct ral_run, rows);
    d->p = RAL_NEW(d->a, float, c->vocab);
    d->order = RAL_NEW(d->a, int32_t, c->vocab);
    if (!d->kv || !d->sample || !d->hash || !d->live || !d->x ||
        !d->cos || !d->sin || !d->logits || !d->lse || !d->policy ||
        !d->layout.span || !d->layout.put || !d->p || !d->order)
        return -RAL_ENOMEM;
    for (size_t i = 0; i < d->samples; i++) {
        d->sample[i].slot = *slots;
        *slots += ral_run_slots(T);
    }
    for (size_t i = 0; i < c->layers; i++)
        if (ral_kv_init(&d->kv[i], d->a, c->kv_heads, c->head, *slots) < 0)
            return -RAL_ENOMEM;
    return 0;
}

static int make_table(struct decoder *d, size_t n)
{
    int32_t most = 0;

    for (size_t i = 0; i < n; i++)
        most = d->pack->next[i] > most ? d->pack->next[i] : most;
    return ral_rotary_init(&d->table, (size_t)most + d->gen->max_tokens,
                           d->m->config.head / 2, d->m->freq, d->a);
}

static int start_samples(struct decoder *d, struct ral_generated *out)
{
    const size_t T = d->gen->max_tokens;

    for (size_t i = 0; i < d->samples; i++) {
        struct ral_generated *g = &out[i];

        *g = (struct ral_generated){
            .ids = RAL_NEW(d->keep, int32_t, T),
            .logp = RAL_NEW(d->keep, float, T),
            .alpha = RAL_NEW(d->keep, float *, T),
        };
        if (!g->ids || !g->logp || !g->alpha)
            return -RAL_ENOMEM;
        d->sample[i].out = g;
        d->sample[i].prompt = i / d->gen->samples;
        d->sample[i].number = (uint32_t)(i % d->gen->samples);
        d->sample[i].lead = i - i % d->gen->samples;
    }
    return 0;
}

static int generate(struct decoder *d, const struct ral_pack_group *g,
                    const char *const *id, size_t n,
                    struct ral_generated *out)
{
    struct ral_pack_group *bare = RAL_NEW(d->a, struct ral_pack_group, n);
    struct ral_activations act;
    struct ral_pack pack;
    size_t slots, rows;
    int rc;

    if (!bare)
        return ral_err_set(d->err, -RAL_ENOMEM, "out of memory");
    for (size_t i = 0; i < n; i++) {
        bare[i] = g[i];
        bare[i].G = 0;
        if (g[i].P + d->gen->max_tokens > d->m->config.positions)
            return ral_err_set(d->err, -RAL_EINVAL,
                               "%s: prompt of %zu tokens and %zu new ones "
                               "exceed the context of %zu",
                               id[i], g[i].P, d->gen->max_tokens,
                               d->m->config.positions);
    }
    if ((rc = ral_pack_build(&pack, d->m, bare, n, d->a, d->err)) < 0)
        return rc;
    d->pack = &pack;
    slots = pack.layout.slots;
    if (alloc(d, n, &slots) < 0 || make_table(d, n) < 0 ||
        start_samples(d, out) < 0)
        return ral_err_set(d->err, -RAL_ENOMEM,
                           "out of memory for %zu cached tokens", slots);
    for (size_t i = 0; i < n; i++)
        d->hash[i] = ral_prompt_hash(id[i], d->gen->sampling.step);
    if ((rc = ral_forward(d->m, &pack, d->kv, false, NULL, &act, d->a,
                          d->err)) < 0 ||
        (rc = first_tokens(d, act.hidden, n)) < 0)
        return rc;
    while (rc == 0 && (rows = gather(d)) > 0)
        rc = ral_stopped() ? ral_stop_err(d->err) : step(d, rows);
    return rc;
}

int ral_generate(const struct ral_model *m, const struct ral_generation *gen,
                 const struct ral_pack_group *g, const char *const *id,
                 size_t n, struct ral_generated *out, struct ral_arena *keep,
                 struct ral_arena *a, struct ral_err *err)
{
    const struct ral_mark mark = ral_arena_mark(a);
    struct decoder d = {.m = m,
                        .gen = gen,
                        .samples = n * gen->samples,
                        .id = id,
                        .keep = keep,
                        .a = a,
                        .err = err};
    int rc = generate(&d, g, id, n, out);

    ral_arena_rewind(a, mark);
    return rc;
}

int ral_score(const struct ral_model *m, const struct ral_pack *p, float tau,
              float *logp, float **alpha, struct ral_arena *a,
              struct ral_err *err)
{
    const struct ral_mark mark = ral_arena_mark(a);
    float **policy = RAL_ZNEW(a, float *, p->N);
    struct ral_activations act;
    int rc;

    if (!policy)
        return ral_err_set(err, -RAL_ENOMEM, "out of memory");
    for (size_t r = 0; alpha && r < p->R; r++)
        policy[p->row[r]] = alpha[r];
    rc = ral_forward(m, p, NULL, false, alpha ? policy : NULL, &act, a, err);
    if (rc == 0)
        rc = ral_head_logp(m, p, act.hidden, tau, logp, NULL, a, err);
    ral_arena_rewind(a, mark);
    return rc;
}

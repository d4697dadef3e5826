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

#include "base/file.h"
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

/* One step's tables of the host, before they go to the machine. */
struct step {
    size_t n;            // rows: the leads still running
    size_t *live;        // [rows] which samples they are
    int32_t *word;       // [rows]
    struct ral_angles angles;
    struct ral_span *span;
    struct ral_run *put; // [samples]
    size_t puts;
    int64_t *look;       // [rows + 1] where each row's numbers begin
};

/* One number a sample that draws: from which row, and by which chance. */
struct draws {
    size_t n;
    size_t *sample;
    int32_t *row, *id;
    double *uniform;
    float *logp;
};

struct decoder {
    const struct ral_model *m;
    struct ral_stack stack;
    const struct ral_generation *gen;
    const struct ral_pack *pack;
    struct ral_rotary table; // of all positions that there may be
    struct ral_kv *kv;       // [layers]
    struct sample *sample;   // [n * G], ordered by prompt
    size_t samples, rows;    // rows: the most of a step
    uint64_t *hash;          // [n]
    const char *const *id;   // [n] of the prompts, for messages
    struct step step;
    struct draws draws;
    double *lse;             // [rows]
    struct ral_mat logits;   // [rows][V]
    struct ral_arena *keep;
    struct ral_space *a;
    struct ral_err *err;
};

static bool stops(const struct ral_generation *gen, int32_t id)
{
    for (size_t i = 0; i < gen->nstop; i++)
        if (gen->stop[i] == id)
            return true;
    return false;
}

static int32_t newest(const struct sample *s)
{
    return s->out->ids[s->out->T - 1];
}

/* Tokens that the newest of a sample sees, itself included. */
static size_t keys_of(const struct decoder *d, const struct sample *s)
{
    return d->pack->prompt[s->prompt].n + s->out->T;
}

/* --------------------------------------------------------------- drawing */

static void draw_add(struct decoder *d, size_t sample, size_t row)
{
    const struct sample *s = &d->sample[sample];
    struct draws *w = &d->draws;

    w->sample[w->n] = sample;
    w->row[w->n] = (int32_t)row;
    w->uniform[w->n++] =
        ral_sampling_uniform(&d->gen->sampling, d->hash[s->prompt], s->number,
                             (uint32_t)s->out->T);
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

static int note_draws(struct decoder *d)
{
    const struct draws *w = &d->draws;

    for (size_t i = 0; i < w->n; i++) {
        const struct sample *s = &d->sample[w->sample[i]];
        struct ral_generated *g = s->out;

        if (!isfinite(d->lse[w->row[i]]))
            return ral_err_set(d->err, -RAL_EINVAL,
                               "record %s: logits are not finite: the "
                               "weights overflow",
                               d->id[s->prompt]);
        g->ids[g->T] = w->id[i];
        g->logp[g->T++] = w->logp[i];
        g->stopped = stops(d->gen, w->id[i]);
    }
    part(d);
    return 0;
}

/* Hidden rows to each sample's next token. */
static int draw_all(struct decoder *d, struct ral_mat hidden)
{
    const struct ral_sampling *s = &d->gen->sampling;
    struct ral_dev *dev = d->m->dev;
    const struct draws *w = &d->draws;
    const struct ral_mat logits = ral_mat_rows(d->logits, 0, hidden.rows);
    const struct ral_mat lse = ral_mat_new(d->a, RAL_F64, 1, hidden.rows);
    const struct ral_mat id = ral_mat_new(d->a, RAL_I32, 1, w->n);
    const struct ral_mat logp = ral_mat_f32(d->a, 1, w->n);
    int rc;

    ral_head_logits(d->m, hidden, ral_sampling_tau(s), logits, lse);
    RAL_DO(dev, draw, .id = id, .logp = logp,
           .row = ral_mat_put(d->a, RAL_I32, 1, w->n, w->row),
           .uniform = ral_mat_put(d->a, RAL_F64, 1, w->n, w->uniform),
           .x = logits, .lse = lse, .greedy = s->temperature <= 0,
           .top_p = s->top_p, .top_k = s->top_k);
    if ((rc = ral_get(dev, d->lse, lse, d->err)) < 0 ||
        (rc = ral_get(dev, w->id, id, d->err)) < 0 ||
        (rc = ral_get(dev, w->logp, logp, d->err)) < 0)
        return rc;
    return note_draws(d);
}

/* The prompts' last rows give every sample its first token. */
static int first_tokens(struct decoder *d, struct ral_mat hidden)
{
    const struct ral_space_mark mark = ral_space_mark(d->a);
    int rc;

    d->draws.n = 0;
    for (size_t i = 0; i < d->samples; i++)
        draw_add(d, i, i / d->gen->samples);
    rc = draw_all(d, hidden);
    ral_space_rewind(d->a, mark);
    return rc;
}

/* -------------------------------------------------------------- one step */

static void step_row(struct decoder *d, size_t i)
{
    struct step *t = &d->step;
    struct sample *s = &d->sample[i];
    const size_t last = s->out->T - 1;
    const int32_t pos = d->pack->next[s->prompt] + (int32_t)last;
    const int32_t at[3] = {pos, pos, pos};

    t->word[t->n] = newest(s);
    ral_position_angles(&d->m->config, &t->angles, t->n, &d->table, at);
    t->span[t->n] = (struct ral_span){.q0 = t->n,
                                      .nq = 1,
                                      .a = d->pack->prompt[s->prompt],
                                      .b = {s->slot, 0, last + 1},
                                      .causal = true};
    t->look[t->n + 1] = t->look[t->n] + (int64_t)keys_of(d, s);
    t->live[t->n] = i;
    s->row = t->n++;
}

/* One row a lead: its newest token, seen by itself and after. */
static size_t step_gather(struct decoder *d)
{
    struct step *t = &d->step;

    t->n = t->puts = 0;
    t->look[0] = 0;
    for (size_t i = 0; i < d->samples; i++) {
        struct sample *s = &d->sample[i];

        if (s->done)
            continue;
        if (s->lead == i)
            step_row(d, i);
        t->put[t->puts++] = (struct ral_run){
            s->slot + s->out->T - 1, d->sample[s->lead].row, 1};
    }
    return t->n;
}

/* What was looked at, to the leads and those who follow them; who has all its
 * tokens is done. */
static int step_record(struct decoder *d, struct ral_mat planes)
{
    const struct step *t = &d->step;
    const size_t all = (size_t)t->look[t->n];
    float *got = RAL_NEW(&d->a->host, float, planes.rows * all + 1);
    int rc = got ? ral_get(d->m->dev, got, planes, d->err)
                 : ral_err_set(d->err, -RAL_ENOMEM,
                               "out of memory for attention");

    for (size_t i = 0; rc == 0 && i < d->samples; i++) {
        struct sample *s = &d->sample[i];
        const struct sample *lead = &d->sample[s->lead];
        struct ral_generated *g = s->out;
        const size_t keys = keys_of(d, s), from = (size_t)t->look[lead->row];
        float *rows;

        if (s->done)
            continue;
        s->done = g->stopped || g->T == d->gen->max_tokens;
        if (s->lead != i) { // leads come before
            g->look[g->T - 1] = lead->out->look[g->T - 1];
            continue;
        }
        if (!(rows = RAL_NEW(d->keep, float, planes.rows * keys)))
            return ral_err_set(d->err, -RAL_ENOMEM,
                               "out of memory for attention");
        g->look[g->T - 1] = rows;
        for (size_t p = 0; p < planes.rows; p++)
            for (size_t j = 0; j < keys; j++)
                *rows++ = got[p * all + from + j];
    }
    return rc;
}

static struct ral_mat step_forward(struct decoder *d, struct ral_mat *planes)
{
    struct ral_space *a = d->a;
    const struct step *t = &d->step;
    const size_t half = d->m->config.head / 2, D = d->m->config.width;
    const struct ral_mat cos = ral_mat_put(a, RAL_F32, t->n, half,
                                           t->angles.cos);
    const struct ral_mat sin = ral_mat_put(a, RAL_F32, t->n, half,
                                           t->angles.sin);
    const struct ral_mat look = ral_mat_put(a, RAL_I64, 1, t->n, t->look);
    const struct ral_mat word = ral_mat_put(a, RAL_I32, 1, t->n, t->word);
    const struct ral_layout l = {
        .key = {t->n, cos, sin, ral_runs_put(a, t->put, t->puts), 0},
        .query = {.n = t->n, .cos = cos, .sin = sin,
                  .spans = ral_spans_put(a, t->span, t->n)},
    };
    struct ral_decoding run = {.all = l, .last = l, .kv = d->kv,
                               .look = &d->gen->look, .look_all = look,
                               .look_last = look};
    struct ral_mat x = ral_mat_f32(a, t->n, D);

    *planes = run.planes =
        ral_mat_f32(a, ral_look_planes(&d->m->config, &d->gen->look),
                    (size_t)t->look[t->n]);
    RAL_DO(d->m->dev, gather, x, d->m->w[d->m->table.embed].w, word);
    return ral_decoder_forward(&d->stack, &run, x, a);
}

/* The rows of those who go on, normed: they predict. */
static struct ral_mat step_hidden(struct decoder *d, struct ral_mat x)
{
    const struct step *t = &d->step;
    int32_t *row = t->word; // the words are on the machine by now
    struct ral_norm_tape norm;
    struct ral_mat rows;
    size_t n = 0;

    for (size_t i = 0; i < t->n; i++)
        if (!d->sample[t->live[i]].done) {
            d->sample[t->live[i]].row = n;
            row[n++] = (int32_t)i;
        }
    rows = ral_mat_f32(d->a, n, x.cols);
    RAL_DO(d->m->dev, gather, rows, x, ral_mat_put(d->a, RAL_I32, 1, n, row));
    ral_norm_forward(&d->stack, d->m->table.norm, rows, &norm, d->a);
    return norm.y;
}

static int step_run(struct decoder *d)
{
    const struct ral_space_mark mark = ral_space_mark(d->a);
    struct ral_mat planes;
    const struct ral_mat x = step_forward(d, &planes);
    struct ral_mat hidden;
    int rc = step_record(d, planes);

    if (rc == 0) {
        hidden = step_hidden(d, x);
        d->draws.n = 0;
        for (size_t i = 0; i < d->samples; i++)
            if (!d->sample[i].done)
                draw_add(d, i, d->sample[d->sample[i].lead].row);
        if (d->draws.n)
            rc = draw_all(d, hidden);
    }
    ral_space_rewind(d->a, mark);
    return rc;
}

/* ------------------------------------------------------------- the whole */

static int alloc_tables(struct decoder *d, size_t n)
{
    const size_t S = d->samples, rows = d->rows, half = d->m->config.head / 2;
    struct ral_arena *h = &d->a->host;
    struct step *t = &d->step;
    struct draws *w = &d->draws;

    d->kv = RAL_NEW(h, struct ral_kv, d->m->config.layers);
    d->sample = RAL_ZNEW(h, struct sample, S);
    d->hash = RAL_NEW(h, uint64_t, n);
    d->lse = RAL_NEW(h, double, rows);
    *t = (struct step){.live = RAL_NEW(h, size_t, rows),
                       .word = RAL_NEW(h, int32_t, rows),
                       .span = RAL_NEW(h, struct ral_span, rows),
                       .put = RAL_NEW(h, struct ral_run, S),
                       .look = RAL_NEW(h, int64_t, rows + 1)};
    *w = (struct draws){.sample = RAL_NEW(h, size_t, S),
                        .row = RAL_NEW(h, int32_t, S),
                        .id = RAL_NEW(h, int32_t, S),
                        .uniform = RAL_NEW(h, double, S),
                        .logp = RAL_NEW(h, float, S)};
    return !d->kv || !d->sample || !d->hash || !d->lse || !t->live ||
                   !t->word || !t->span || !t->put || !t->look || !w->sample ||
                   !w->row || !w->id || !w->uniform || !w->logp ||
                   ral_angles_init(&t->angles, rows, half, h) < 0
               ? -RAL_ENOMEM
               : 0;
}

static int start_samples(struct decoder *d, struct ral_generated *out,
                         size_t *slots)
{
    const size_t T = d->gen->max_tokens;

    for (size_t i = 0; i < d->samples; i++) {
        struct ral_generated *g = &out[i];

        *g = (struct ral_generated){
            .ids = RAL_NEW(d->keep, int32_t, T),
            .logp = RAL_NEW(d->keep, float, T),
            .look = RAL_NEW(d->keep, const float *, T),
        };
        if (!g->ids || !g->logp || !g->look)
            return -RAL_ENOMEM;
        d->sample[i] = (struct sample){
            .out = g,
            .prompt = i / d->gen->samples,
            .number = (uint32_t)(i % d->gen->samples),
            .slot = *slots,
            .lead = i - i % d->gen->samples,
        };
        *slots += ral_run_slots(T);
    }
    return 0;
}

/* Stores and tables for the prompts' keys and those to come. */
static int start(struct decoder *d, size_t n, struct ral_generated *out)
{
    const struct ral_config *c = &d->m->config;
    size_t slots = d->pack->all.key.slots;
    int32_t most = 0;

    for (size_t i = 0; i < n; i++)
        most = d->pack->next[i] > most ? d->pack->next[i] : most;
    if (alloc_tables(d, n) < 0 || start_samples(d, out, &slots) < 0 ||
        ral_rotary_init(&d->table, (size_t)most + d->gen->max_tokens,
                        c->head / 2, d->m->freq, &d->a->host) < 0)
        return ral_err_set(d->err, -RAL_ENOMEM,
                           "out of memory for %zu cached tokens", slots);
    for (size_t i = 0; i < n; i++)
        d->hash[i] = ral_prompt_hash(d->id[i], d->gen->sampling.step);
    for (size_t i = 0; i < c->layers; i++)
        d->kv[i] = ral_kv_new(d->a, c->kv_heads, c->head, slots);
    d->logits = ral_mat_f32(d->a, d->rows, c->vocab);
    return 0;
}

/* The prompts without responses. */
static int pack_prompts(struct decoder *d, const struct ral_pack_group *g,
                        size_t n, struct ral_pack *pack)
{
    const size_t context = d->m->config.positions;
    struct ral_pack_group *bare =
        RAL_NEW(&d->a->host, struct ral_pack_group, n);

    if (!bare)
        return ral_err_set(d->err, -RAL_ENOMEM, "out of memory");
    for (size_t i = 0; i < n; i++) {
        bare[i] = g[i];
        bare[i].G = 0;
        if (g[i].P + d->gen->max_tokens > context)
            return ral_err_set(d->err, -RAL_EINVAL,
                               "%s: prompt of %zu tokens and %zu new ones "
                               "exceed the context of %zu",
                               d->id[i], g[i].P, d->gen->max_tokens, context);
    }
    return ral_pack_build(pack, d->m, bare, n, d->a, d->err);
}

static int generate(struct decoder *d, const struct ral_pack_group *g,
                    size_t n, struct ral_generated *out)
{
    struct ral_forward f;
    struct ral_pack pack;
    int rc;

    if ((rc = pack_prompts(d, g, n, &pack)) < 0)
        return rc;
    d->pack = &pack;
    if ((rc = start(d, n, out)) < 0 ||
        (rc = ral_forward(d->m, &pack, d->kv, NULL, NULL, &f, d->a, d->err)) <
            0 ||
        (rc = first_tokens(d, f.hidden)) < 0)
        return rc;
    while (rc == 0 && step_gather(d) > 0)
        rc = ral_stopped() ? ral_stop_err(d->err) : step_run(d);
    return rc;
}

int ral_generate(const struct ral_model *m, const struct ral_generation *gen,
                 const struct ral_pack_group *g, const char *const *id,
                 size_t n, struct ral_generated *out, struct ral_arena *keep,
                 struct ral_space *a, struct ral_err *err)
{
    const struct ral_space_mark mark = ral_space_mark(a);
    const size_t samples = n * gen->samples;
    struct decoder d = {.m = m,
                        .stack = ral_decoder_stack(m),
                        .gen = gen,
                        .samples = samples,
                        .rows = samples > n ? samples : n,
                        .id = id,
                        .keep = keep,
                        .a = a,
                        .err = err};
    int rc = generate(&d, g, n, out);

    ral_space_rewind(a, mark);
    return rc;
}

int ral_score(const struct ral_model *m, const struct ral_pack *p, float tau,
              const struct ral_look_conf *look, float *logp, float *planes,
              struct ral_space *a, struct ral_err *err)
{
    const struct ral_space_mark mark = ral_space_mark(a);
    struct ral_forward f;
    int rc = ral_forward(m, p, NULL, look, NULL, &f, a, err);

    if (rc == 0)
        rc = ral_head_logp(m, p, f.hidden, tau, logp, NULL, a, err);
    if (rc == 0 && ral_mat_some(f.look))
        rc = ral_get(m->dev, planes, f.look, err);
    ral_space_rewind(a, mark);
    return rc;
}

/* lib/roll/respond.c - rows to responses, in batches. */
#include "roll/respond.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/each.h"
#include "base/failures.h"
#include "base/file.h"
#include "rl/attn_policy.h"

/* Prompts are decoded together until they give this many rows or tokens. */
enum { BATCH_ROWS = 256, BATCH_TOKENS = 4096 };

struct item {
    char *id;
    json_t *row;
    size_t line;
    struct ral_prompt prompt;
    int rc; // of its prompt; negative: err says why it cannot be used
    struct ral_err err;
};

struct respond {
    const struct ral_respond_conf *conf;
    const struct ral_model *model;
    struct ral_rows *rows;
    struct ral_generation gen;
    struct item *item; // [cap] of the batch
    size_t n, cap, tokens;
    struct ral_respond_stats *stats;
    struct ral_arena batch;
    struct ral_space scratch;
    struct ral_arena *load; // [threads] of the batch's prompts
    struct ral_progress progress;
    struct ral_err *err;
};

static int out_of_memory(struct respond *r)
{
    return ral_err_set(r->err, -RAL_ENOMEM, "out of memory");
}

/* ---- responses ---- */

/* Rows of all keys to rows without self, renormalised: plane by plane, P + t
 * numbers for each token t. look[t]: planes of P + t + 1 numbers. */
static int set_attention(struct respond *r, struct ral_sample *s,
                         const float *const *look, size_t P)
{
    const size_t planes = ral_look_planes(&r->model->config, &r->conf->look);
    float *flat;
    size_t n;

    if (planes == 0)
        return 0;
    if (ral_attn_count(P, s->T, &n) < 0 ||
        __builtin_mul_overflow(planes, n, &s->attn_n) ||
        !(flat = RAL_NEW(&r->batch, float, s->attn_n)))
        return out_of_memory(r);
    s->attn = flat;
    for (size_t p = 0; p < planes; p++)
        for (size_t t = 0; t < s->T; flat += P + t, t++)
            ral_attn_normalize(P + t, look[t] + p * (P + t + 1), flat);
    return 0;
}

/* A character may be cut between tokens: its last byte makes it whole. */
static bool is_cut(const struct ral_buf *text)
{
    return text->len >= 3 &&
           !memcmp(text->data + text->len - 3, "\xef\xbf\xbd", 3);
}

/* Where in the text each of n tokens ends, and those without text. */
static int set_ends(struct respond *r, struct ral_sample *s, size_t n)
{
    int32_t *ends = RAL_NEW(&r->batch, int32_t, s->T + 1);
    struct ral_buf part = {0};
    size_t from = 0, at = 0; // tokens and bytes of what is whole
    int rc = 0;

    if (!ends)
        return out_of_memory(r);
    for (size_t t = 0; t < n && rc == 0; t++) {
        size_t end;
        bool cut;

        part.len = 0;
        rc = ral_tokenizer_decode(r->conf->processor->tokenizer, s->ids + from,
                                  t + 1 - from, true, &part);
        cut = is_cut(&part) && t - from < 3; // no character has five bytes
        end = at + part.len - (cut ? 3 : 0);
        end = end < s->text_len ? end : s->text_len;
        if (t && end < (size_t)ends[t - 1]) // bytes that are no text at all
            end = (size_t)ends[t - 1];
        ends[t] = (int32_t)end;
        if (!cut) {
            at = end;
            from = t + 1;
        }
    }
    for (size_t t = n; t < s->T; t++)
        ends[t] = (int32_t)s->text_len;
    s->ends = ends;
    ral_buf_release(&part);
    return rc < 0 ? out_of_memory(r) : 0;
}

static int set_text(struct respond *r, struct ral_sample *s)
{
    const size_t n = s->finish == RAL_FINISH_STOP ? s->T - 1 : s->T;
    struct ral_buf text = {0};
    int rc = ral_tokenizer_decode(r->conf->processor->tokenizer, s->ids, n,
                                  true, &text);

    if (rc == 0 &&
        !(s->text = ral_arena_text(&r->batch, (char *)text.data, text.len)))
        rc = -RAL_ENOMEM;
    s->text_len = text.len;
    ral_buf_release(&text);
    return rc < 0 ? out_of_memory(r) : set_ends(r, s, n);
}

static int finish_sample(struct respond *r, struct ral_sample *s,
                         const struct ral_generated *g, size_t P)
{
    int rc;

    *s = (struct ral_sample){
        .ids = g->ids,
        .T = g->T,
        .finish = g->stopped ? RAL_FINISH_STOP : RAL_FINISH_LENGTH,
        .logp = g->logp,
    };
    r->stats->tokens += g->T;
    if ((rc = set_text(r, s)) < 0)
        return rc;
    return set_attention(r, s, g->look, P);
}

/* From planes of all tokens to one array a token, as ral_generate gives them. */
static int split_look(struct respond *r, const struct ral_pack *pack,
                      size_t planes, const float *all, const float **look)
{
    const size_t plane = pack->look[pack->R];

    for (size_t k = 0; k < pack->R; k++) {
        const size_t n = pack->keys[k];
        float *to = RAL_NEW(&r->batch, float, planes * n);

        if (!to)
            return out_of_memory(r);
        look[k] = to;
        for (size_t p = 0; p < planes; p++)
            for (size_t j = 0; j < n; j++)
                *to++ = all[p * plane + pack->look[k] + j];
    }
    return 0;
}

static int score(struct respond *r, const struct ral_pack *pack, float *logp,
                 const float **look)
{
    const size_t planes = ral_look_planes(&r->model->config, &r->conf->look);
    float *all = RAL_NEW(&r->scratch.host, float,
                         planes * pack->look[pack->R]);
    int rc;

    if (!all)
        return out_of_memory(r);
    rc = ral_score(r->model, pack, ral_sampling_tau(&r->gen.sampling),
                   &r->conf->look, logp, all, &r->scratch, r->err);
    return rc < 0 ? rc : split_look(r, pack, planes, all, look);
}

/* Responses that the rows hold: one uncached forward over all of them. */
static int score_given(struct respond *r, struct ral_pack_group *g, size_t n,
                       struct item *const *ready, struct ral_generated *out)
{
    const struct ral_space_mark mark = ral_space_mark(&r->scratch);
    struct ral_response *resp = RAL_NEW(&r->batch, struct ral_response, n + 1);
    struct ral_pack pack;
    const float **look;
    float *logp;
    size_t at = 0;
    int rc;

    for (size_t i = 0; resp && i < n; i++) {
        resp[i] = (struct ral_response){ready[i]->prompt.response,
                                        ready[i]->prompt.T};
        g[i].response = &resp[i];
        g[i].G = 1;
    }
    if (!resp)
        return out_of_memory(r);
    if ((rc = ral_pack_build(&pack, r->model, g, n, &r->scratch, r->err)) < 0)
        return rc;
    look = RAL_NEW(&r->batch, const float *, pack.R + 1);
    logp = RAL_NEW(&r->batch, float, pack.R + 1);
    if (!look || !logp)
        return out_of_memory(r);
    rc = score(r, &pack, logp, look);
    if (rc < 0 && n == 1)
        ral_err_at(r->err, "record %s", ready[0]->id);
    else if (rc < 0)
        ral_err_at(r->err, "records %s to %s", ready[0]->id, ready[n - 1]->id);
    for (size_t i = 0; i < n; i++) {
        out[i] = (struct ral_generated){
            .ids = ready[i]->prompt.response,
            .T = ready[i]->prompt.T,
            .stopped = true,
            .logp = logp + at,
            .look = look + at,
        };
        at += out[i].T;
    }
    ral_space_rewind(&r->scratch, mark);
    return rc;
}

static int generate(struct respond *r, struct item *const *ready, size_t n,
                   struct ral_generated *out)
{
    struct ral_pack_group *g = RAL_ZNEW(&r->batch, struct ral_pack_group, n + 1);
    const char **id = RAL_NEW(&r->batch, const char *, n + 1);

    if (!g || !id)
        return out_of_memory(r);
    for (size_t i = 0; i < n; i++) {
        const struct ral_prompt *p = &ready[i]->prompt;

        id[i] = ready[i]->id;
        g[i] = (struct ral_pack_group){
            .prompt = p->ids,
            .P = p->P,
            .visual = p->visual,
            .nvisual = p->nvisual,
        };
    }
    if (n == 0)
        return 0;
    if (r->conf->given)
        return score_given(r, g, n, ready, out);
    return ral_generate(r->model, &r->gen, g, id, n, out, &r->batch,
                        &r->scratch, r->err);
}

static void release_batch(struct respond *r)
{
    for (size_t i = 0; i < r->n; i++) {
        ral_prompt_release(&r->item[i].prompt);
        json_decref(r->item[i].row);
        free(r->item[i].id);
    }
    r->n = r->tokens = 0;
    ral_arena_reset(&r->batch);
    for (int i = 0; i < r->model->dev->threads; i++)
        ral_arena_reset(&r->load[i]);
}

static int hand_over(struct respond *r, const struct item *it,
                     const struct ral_sample *samples, size_t G)
{
    const struct ral_responded out = {
        .id = it->id,
        .row = it->row,
        .prompt = &it->prompt,
        .samples = samples,
        .G = G,
        .error = it->rc < 0 ? it->err.msg : NULL,
    };

    r->stats->rows++;
    ral_progress_add(&r->progress, 1);
    return r->conf->put(r->conf->ctx, &out, r->err);
}

static int run_batch(struct respond *r)
{
    const size_t G = r->gen.samples;
    struct item **ready = RAL_NEW(&r->batch, struct item *, r->n + 1);
    struct ral_generated *out =
        RAL_NEW(&r->batch, struct ral_generated, r->n * G + 1);
    struct ral_sample *s = RAL_NEW(&r->batch, struct ral_sample, G);
    size_t n = 0;
    int rc;

    if (!ready || !out || !s)
        return out_of_memory(r);
    for (size_t i = 0; i < r->n; i++)
        if (r->item[i].rc == 0)
            ready[n++] = &r->item[i];
    rc = generate(r, ready, n, out);
    for (size_t i = 0; rc == 0 && i < r->n; i++) {
        const bool ok = r->item[i].rc == 0;

        for (size_t k = 0; rc == 0 && ok && k < G; k++)
            rc = finish_sample(r, &s[k], out++, r->item[i].prompt.P);
        if (rc == 0)
            rc = hand_over(r, &r->item[i], s, ok ? G : 0);
    }
    release_batch(r);
    return rc;
}

/* ---- input ---- */

static int check_length(const struct respond *r, struct item *it,
                        const char *where)
{
    const size_t most = r->model->config.positions;
    const size_t more = r->conf->given ? it->prompt.T : r->gen.max_tokens;

    if (it->prompt.P + more <= most)
        return 0;
    return ral_err_set(&it->err, -RAL_EINVAL,
                       "%s: prompt of %zu tokens and %zu of response exceed "
                       "the context of %zu",
                       where, it->prompt.P, more, most);
}

static int add_row(struct respond *r, const struct ral_row *row)
{
    struct item *it = &r->item[r->n];

    memset(it, 0, sizeof *it);
    it->line = row->line;
    it->id = strdup(row->id);
    it->row = json_incref(row->json);
    r->n++;
    return it->id ? 0 : out_of_memory(r);
}

static void build(const struct respond *r, struct item *it,
                  struct ral_arena *a)
{
    char where[300];

    snprintf(where, sizeof where, "%s:%zu", ral_rows_name(r->rows), it->line);
    it->rc = ral_prompt_build(&it->prompt, r->conf->processor, it->row,
                              r->conf->source->root, where,
                              r->conf->given ? RAL_RESPONSE_GIVEN
                                             : RAL_RESPONSE_NONE,
                              a, &it->err);
    if (it->rc == 0)
        it->rc = check_length(r, it, where);
}

/* A row that cannot be used stays, with its reason; it is counted. */
static int settle(struct respond *r, const struct item *it)
{
    if (it->rc == -RAL_ENOMEM || it->rc == -RAL_EINTR) {
        *r->err = it->err;
        return it->rc;
    }
    if (it->rc == 0)
        r->tokens += it->prompt.P;
    else if (r->stats->failed++ == 0)
        snprintf(r->stats->first, sizeof r->stats->first, "%.399s",
                 it->err.msg);
    return 0;
}

static bool batch_full(const struct respond *r)
{
    if (r->conf->batch)
        return r->n == r->conf->batch;
    return r->n == r->cap || r->tokens >= BATCH_TOKENS ||
           r->n * r->gen.samples >= BATCH_ROWS;
}

static int too_many(const struct respond *r, size_t of)
{
    const int code = ral_failures(r->conf->max_failed, r->stats->failed, of);

    if (code == 0)
        return 0;
    return ral_err_set(r->err, code, "%s%s", r->stats->first,
                       r->stats->failed > 1 ? " (and more rows failed)" : "");
}

struct building {
    const struct respond *r;
    struct item *it;
};

static void build_one(void *ctx, size_t i)
{
    const struct building *b = ctx;

    build(b->r, b->it + i, b->r->load + i);
}

/* The prompts of n rows from first on, of which each thread has one. */
static int build_rows(struct respond *r, size_t first, size_t n, size_t of)
{
    struct item *it = r->item + first;
    struct building b = {r, it};
    int rc = 0;

    ral_each(r->model->dev->threads, n, build_one, &b);
    for (size_t i = 0; i < n && rc == 0; i++)
        if ((rc = settle(r, it + i)) == 0)
            rc = too_many(r, of);
    return rc;
}

static int run_rows(struct respond *r)
{
    const size_t total = ral_rows_count(r->rows), all = ral_rows_all(r->rows);
    const size_t threads = (size_t)r->model->dev->threads;
    struct ral_row row;
    size_t first = 0; // of the rows whose prompts are not built
    int rc = 0, more;

    if (total > all)
        return ral_err_set(r->err, -RAL_EINVAL,
                           "%s: a draw of more than its %zu rows would hold "
                           "some twice",
                           ral_rows_name(r->rows), all);
    while ((more = ral_rows_next(r->rows, &row, r->err)) > 0) {
        if (ral_stopped())
            return ral_stop_err(r->err);
        if ((rc = add_row(r, &row)) < 0)
            return rc;
        if (r->n - first < threads && r->n < r->cap)
            continue;
        if ((rc = build_rows(r, first, r->n - first, total)) < 0 ||
            (batch_full(r) && (rc = run_batch(r)) < 0))
            return rc;
        first = r->n;
    }
    if (more < 0)
        return more;
    rc = r->n > first ? build_rows(r, first, r->n - first, total) : 0;
    return rc < 0 ? rc : run_batch(r);
}

int ral_respond(const struct ral_respond_conf *conf, struct ral_rows *rows,
                struct ral_respond_stats *stats, struct ral_err *err)
{
    struct respond r = {
        .conf = conf,
        .model = conf->model,
        .rows = rows,
        .gen = {.sampling = conf->sampling,
                .samples = conf->given ? 1 : conf->samples,
                .max_tokens = conf->max_tokens,
                .stop = conf->processor->stop,
                .nstop = conf->processor->nstop,
                .look = conf->look},
        .cap = conf->batch ? conf->batch : BATCH_ROWS,
        .stats = stats,
        .err = err,
    };
    const size_t threads = (size_t)conf->model->dev->threads;
    int rc;

    memset(stats, 0, sizeof *stats);
    ral_space_init(&r.scratch, conf->model->dev);
    r.item = calloc(r.cap, sizeof *r.item);
    r.load = calloc(threads, sizeof *r.load);
    if (!r.item || !r.load) {
        free(r.item);
        free(r.load);
        return out_of_memory(&r);
    }
    ral_progress_begin(&r.progress, conf->log, conf->what, "prompts",
                       ral_rows_count(rows));
    rc = run_rows(&r);
    ral_progress_end(&r.progress);
    release_batch(&r);
    if (rc == 0 && stats->failed)
        ral_warn(conf->log, "%zu of %zu rows failed; the first: %s",
                 stats->failed, stats->rows, stats->first);
    ral_arena_release(&r.batch);
    ral_space_release(&r.scratch);
    for (size_t i = 0; i < threads; i++)
        ral_arena_release(&r.load[i]);
    free(r.load);
    free(r.item);
    return rc;
}

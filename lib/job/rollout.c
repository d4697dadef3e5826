/* lib/job/rollout.c - rows in, a stream of sampled groups out. */
#include "job/rollout.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "job/policy.h"
#include "model/generate.h"
#include "prompt/rows.h"
#include "rl/attn_policy.h"
#include "stream/group.h"
#include "stream/writer.h"

/* Prompts are decoded together until they give this many rows or tokens. */
enum { BATCH_ROWS = 256, BATCH_TOKENS = 8192 };

struct item {
    char *id;
    json_t *row;
    struct ral_prompt prompt;
    char error[400]; // empty: ready
};

struct rollout {
    const struct ral_rollout_job *job;
    const struct ral_log *log;
    struct ral_policy policy;
    struct ral_rows *rows;
    struct ral_out out;
    struct ral_writer *writer;
    char *root;
    struct ral_generation gen;
    struct item *item; // of the batch
    size_t n, cap, tokens;
    size_t failed, done, produced; // records, records, tokens
    char first[400];               // the first failure
    struct ral_arena batch, scratch;
    struct ral_buf record;
    struct ral_progress progress;
    struct ral_err *err;
};

int ral_shard_parse(const char *text, uint64_t *k, uint64_t *n,
                    struct ral_err *err)
{
    char first[24];
    const char *slash = text ? strchr(text, '/') : NULL;

    *k = 1;
    *n = 0;
    if (!text || !*text)
        return 0;
    if (slash && slash - text < (int)sizeof first) {
        snprintf(first, sizeof first, "%.*s", (int)(slash - text), text);
        if (ral_parse_u64(first, k) == 0 && ral_parse_u64(slash + 1, n) == 0 &&
            *k >= 1 && *k <= *n && *n <= RAL_SHARDS_MAX)
            return 0;
    }
    return ral_err_set(err, -RAL_EUSAGE,
                       "--shard %s: must be k/n with 1 <= k <= n", text);
}

char *ral_media_root(const char *asked, const char *rows)
{
    const bool pipe = !rows || !strcmp(rows, "-");
    char *dir = asked ? strdup(asked) : pipe ? strdup(".") : ral_path_dir(rows);
    char *full = dir ? realpath(dir, NULL) : NULL;

    if (full) {
        free(dir);
        return full;
    }
    return dir;
}

static int out_of_memory(struct rollout *r)
{
    return ral_err_set(r->err, -RAL_ENOMEM, "out of memory");
}

static int check_job(const struct ral_rollout_job *j, size_t nrows,
                     struct ral_err *err)
{
    const char *bad = NULL;

    if (nrows > 1)
        bad = "one file of rows at a time: use --shard or run it twice";
    else if (j->samples < 1 || j->samples > 4096)
        bad = "-n must be 1 to 4096";
    else if (j->draw < 0 || j->limit < 0 || j->batch < 0 || j->batch > 4096)
        bad = "--draw, --limit and --batch must not be negative";
    else if (j->step < 1)
        bad = "--step counts from 1";
    else if (j->max_tokens < 1 || j->max_tokens > 1 << 20)
        bad = "--max-tokens must be 1 or more";
    else if (!(j->temperature >= 0 && j->temperature <= 100))
        bad = "--temperature must be 0 (greedy) to 100";
    else if (!(j->top_p > 0 && j->top_p <= 1) || j->top_k < 0)
        bad = "--top-p must be over 0 and at most 1, --top-k 0 or more";
    else if (j->max_failed > 1)
        bad = "--max-failed is a fraction, 0 to 1";
    return bad ? ral_err_set(err, -RAL_EUSAGE, "%s", bad) : 0;
}

/* ---- output ---- */

static int write_header(struct rollout *r, const struct ral_common *c,
                        uint64_t shard, uint64_t shards)
{
    const struct ral_config *k = &r->policy.model->config;
    const int32_t layer = (int32_t)k->layers - 1;
    const struct ral_stream_info info = {
        .policy = r->policy.digest,
        .temperature = r->job->temperature,
        .top_p = r->job->top_p,
        .top_k = (uint64_t)r->job->top_k,
        .seed = c->seed,
        .step = (uint64_t)r->job->step,
        .num_generations = r->gen.samples,
        .max_completion_length = r->gen.max_tokens,
        .greedy = r->job->temperature == 0,
        .media_root = r->root,
        .attn_layers = &layer,
        .n_layers = 1,
        .image_token_id = k->image_id,
        .video_token_id = k->video_id,
        .patch_size = k->vision.patch,
        .spatial_merge_size = k->vision.merge,
        .shard = shard,
        .shards = shards ? shards : 1,
    };
    const struct ral_provenance who = {"ral-rollout", RAL_VERSION,
                                       r->job->args, r->job->n_args, true,
                                       c->seed};
    int rc;

    r->record.len = 0;
    rc = ral_header_encode(&r->record, &info, &who, r->err);
    return rc < 0 ? rc
                  : ral_writer_header(r->writer, r->record.data, r->record.len,
                                      r->err);
}

/* A path below the root is kept relative to it. */
static const char *below_root(const struct rollout *r, const char *path)
{
    const size_t n = strlen(r->root);

    if (!strncmp(path, r->root, n) && path[n] == '/')
        return path + n + 1;
    return path;
}

static struct ral_media_ref *media_refs(struct rollout *r,
                                        const struct ral_prompt *p)
{
    struct ral_media_ref *out =
        RAL_ZNEW(&r->batch, struct ral_media_ref, p->nmedium + 1);

    for (size_t i = 0; out && i < p->nmedium; i++) {
        const struct ral_medium *m = &p->medium[i];

        out[i] = (struct ral_media_ref){
            .path = below_root(r, m->path),
            .digest = m->digest,
            .grid = {1, (uint32_t)m->h, (uint32_t)m->w},
            .width = (uint32_t)m->width,
            .height = (uint32_t)m->height,
        };
    }
    return out;
}

static int put_record(struct rollout *r, const struct item *it,
                      const struct ral_sample *samples, size_t G)
{
    const struct ral_group_parts parts = {
        .id = it->id,
        .row = it->row,
        .media = media_refs(r, &it->prompt),
        .n_media = it->error[0] ? 0 : it->prompt.nmedium,
        .prompt_ids = it->prompt.ids,
        .P = it->error[0] ? 0 : it->prompt.P,
        .samples = samples,
        .G = G,
        .error = it->error[0] ? it->error : NULL,
    };
    int rc;

    if (!parts.media)
        return out_of_memory(r);
    r->record.len = 0;
    if ((rc = ral_group_encode(&r->record, &parts, r->err)) < 0)
        return ral_err_at(r->err, "record %s", it->id);
    rc = ral_writer_put(r->writer, r->record.data, r->record.len, r->err);
    r->done++;
    ral_progress_add(&r->progress, 1);
    return rc;
}

/* ---- responses ---- */

/* alpha rows to policy rows, P + t numbers each, one after another. */
static int set_attention(struct rollout *r, struct ral_sample *s,
                         float *const *alpha, size_t P)
{
    float *flat;

    if (ral_attn_count(P, s->T, &s->attn_n) < 0 ||
        !(flat = RAL_NEW(&r->batch, float, s->attn_n)))
        return out_of_memory(r);
    s->attn = flat;
    for (size_t t = 0; t < s->T; t++) {
        ral_attn_normalize(P + t, alpha[t], flat);
        flat += P + t;
    }
    return 0;
}

/* A character may be cut between tokens: its last byte makes it whole. */
static bool is_cut(const struct ral_buf *text)
{
    return text->len >= 3 &&
           !memcmp(text->data + text->len - 3, "\xef\xbf\xbd", 3);
}

/* Where in the text each of n tokens ends, and those without text. */
static int set_ends(struct rollout *r, struct ral_sample *s, size_t n)
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
        rc = ral_tokenizer_decode(r->policy.processor.tokenizer, s->ids + from,
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

static int set_text(struct rollout *r, struct ral_sample *s)
{
    const size_t n = s->finish == RAL_FINISH_STOP ? s->T - 1 : s->T;
    struct ral_buf text = {0};
    int rc = ral_tokenizer_decode(r->policy.processor.tokenizer, s->ids, n,
                                  true, &text);

    if (rc == 0 &&
        !(s->text = ral_arena_text(&r->batch, (char *)text.data, text.len)))
        rc = -RAL_ENOMEM;
    s->text_len = text.len;
    ral_buf_release(&text);
    return rc < 0 ? out_of_memory(r) : set_ends(r, s, n);
}

static int finish_sample(struct rollout *r, struct ral_sample *s,
                         const struct ral_generated *g, size_t P)
{
    int rc;

    *s = (struct ral_sample){
        .ids = g->ids,
        .T = g->T,
        .finish = g->stopped ? RAL_FINISH_STOP : RAL_FINISH_LENGTH,
        .logp = g->logp,
    };
    r->produced += g->T;
    if ((rc = set_text(r, s)) < 0)
        return rc;
    return set_attention(r, s, g->alpha, P);
}

/* Responses that the rows hold: one uncached forward over all of them. */
static int score_given(struct rollout *r, struct ral_pack_group *g, size_t n,
                       struct item *const *ready, struct ral_generated *out)
{
    const struct ral_mark mark = ral_arena_mark(&r->scratch);
    struct ral_response *resp = RAL_NEW(&r->batch, struct ral_response, n + 1);
    struct ral_pack pack;
    float **alpha, *logp;
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
    if ((rc = ral_pack_build(&pack, r->policy.model, g, n, &r->scratch,
                             r->err)) < 0)
        return rc;
    alpha = RAL_NEW(&r->batch, float *, pack.R + 1);
    logp = RAL_NEW(&r->batch, float, pack.R + 1);
    if (!alpha || !logp)
        return out_of_memory(r);
    for (size_t k = 0; k < pack.R; k++)
        if (!(alpha[k] = RAL_NEW(&r->batch, float, pack.keys[k])))
            return out_of_memory(r);
    rc = ral_score(r->policy.model, &pack,
                   ral_sampling_tau(&r->gen.sampling), logp, alpha,
                   &r->scratch, r->err);
    for (size_t i = 0; i < n; i++) {
        out[i] = (struct ral_generated){
            .ids = ready[i]->prompt.response,
            .T = ready[i]->prompt.T,
            .stopped = true,
            .logp = logp + at,
            .alpha = alpha + at,
        };
        at += out[i].T;
    }
    ral_arena_rewind(&r->scratch, mark);
    return rc;
}

static int respond(struct rollout *r, struct item *const *ready, size_t n,
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
            .picture = ral_prompt_pictures(p, &r->batch),
            .npicture = p->nmedium,
        };
        if (!g[i].picture)
            return out_of_memory(r);
    }
    if (n == 0)
        return 0;
    if (r->job->given)
        return score_given(r, g, n, ready, out);
    return ral_generate(r->policy.model, &r->gen, g, id, n, out, &r->batch,
                        &r->scratch, r->err);
}

static void release_batch(struct rollout *r)
{
    for (size_t i = 0; i < r->n; i++) {
        ral_prompt_release(&r->item[i].prompt);
        json_decref(r->item[i].row);
        free(r->item[i].id);
    }
    r->n = r->tokens = 0;
    ral_arena_reset(&r->batch);
}

static int run_batch(struct rollout *r)
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
        if (!r->item[i].error[0])
            ready[n++] = &r->item[i];
    rc = respond(r, ready, n, out);
    for (size_t i = 0; rc == 0 && i < r->n; i++) {
        const bool ok = !r->item[i].error[0];

        for (size_t k = 0; rc == 0 && ok && k < G; k++)
            rc = finish_sample(r, &s[k], out++, r->item[i].prompt.P);
        if (rc == 0)
            rc = put_record(r, &r->item[i], s, ok ? G : 0);
    }
    release_batch(r);
    return rc;
}

/* ---- input ---- */

static int check_length(const struct rollout *r, const struct ral_prompt *p,
                        const char *where)
{
    const size_t most = r->policy.model->config.positions;
    const size_t more = r->job->given ? p->T : r->gen.max_tokens;

    if (p->P + more <= most)
        return 0;
    return ral_err_set(r->err, -RAL_EINVAL,
                       "%s: prompt of %zu tokens and %zu of response exceed "
                       "the context of %zu",
                       where, p->P, more, most);
}

/* A row that cannot be used stays, with its reason; it is counted. */
static int add_row(struct rollout *r, const struct ral_row *row)
{
    struct item *it = &r->item[r->n];
    char where[300];
    int rc;

    memset(it, 0, sizeof *it);
    snprintf(where, sizeof where, "%s:%zu", ral_rows_name(r->rows), row->line);
    it->id = strdup(row->id);
    it->row = json_incref(row->json);
    if (!it->id)
        return out_of_memory(r);
    r->n++;
    rc = ral_prompt_build(&it->prompt, &r->policy.processor, row->json,
                          r->root, where,
                          r->job->given ? RAL_RESPONSE_GIVEN
                                        : RAL_RESPONSE_NONE,
                          &r->batch, r->err);
    if (rc == 0)
        rc = check_length(r, &it->prompt, where);
    if (rc == -RAL_ENOMEM || rc == -RAL_EINTR)
        return rc;
    if (rc < 0) {
        snprintf(it->error, sizeof it->error, "%.399s", r->err->msg);
        if (r->failed++ == 0)
            memcpy(r->first, it->error, sizeof r->first);
        memset(r->err, 0, sizeof *r->err);
        return 0;
    }
    r->tokens += it->prompt.P;
    return 0;
}

static bool batch_full(const struct rollout *r)
{
    if (r->job->batch)
        return r->n == (size_t)r->job->batch;
    return r->n == r->cap || r->tokens >= BATCH_TOKENS ||
           r->n * r->gen.samples >= BATCH_ROWS;
}

static int too_many(const struct rollout *r, size_t of)
{
    const bool asked = r->job->max_failed >= 0;
    const double most = asked ? r->job->max_failed : 0.1;

    if ((double)r->failed <= most * (double)of)
        return 0;
    return ral_err_set(r->err, asked ? -RAL_ECHECK : -RAL_EINVAL,
                       "%s%s", r->first,
                       r->failed > 1 ? " (and more rows failed)" : "");
}

static int run_rows(struct rollout *r)
{
    const size_t total = ral_rows_count(r->rows);
    struct ral_row row;
    int rc = 0, more;

    while ((more = ral_rows_next(r->rows, &row, r->err)) > 0) {
        if ((rc = add_row(r, &row)) < 0 || (rc = too_many(r, total)) < 0 ||
            (batch_full(r) && (rc = run_batch(r)) < 0))
            return rc;
    }
    return more < 0 ? more : run_batch(r);
}

static int start(struct rollout *r, const struct ral_common *c, char *const *rows,
                 size_t nrows)
{
    const struct ral_rollout_job *j = r->job;
    const struct ral_prompt_conf prompts = ral_data_prompts(&j->data);
    const char *path = nrows ? rows[0] : j->data.train;
    struct ral_rows_conf conf = {
        .path = path,
        .where = j->data.where.item,
        .nwhere = j->data.where.n,
        .draw = (uint64_t)j->draw,
        .step = (uint64_t)j->step,
        .seed = c->seed,
        .limit = (uint64_t)j->limit,
    };
    int rc;

    if ((rc = check_job(j, nrows, r->err)) < 0 ||
        (rc = ral_shard_parse(j->shard, &conf.shard, &conf.shards, r->err)) <
            0 ||
        (rc = ral_policy_open(&r->policy, j->model, j->cpu, c->threads, NULL,
                              &prompts, r->err)) < 0 ||
        (rc = ral_rows_open(&r->rows, &conf, r->err)) < 0 ||
        (rc = ral_out_open(&r->out, j->out, r->err)) < 0 ||
        (rc = ral_writer_open(&r->writer, r->out.fd,
                              j->out ? j->out : "stdout", 1, r->err)) < 0)
        return rc;
    r->gen = (struct ral_generation){
        .sampling = {j->temperature, j->top_p, j->top_k, c->seed,
                     (uint64_t)j->step},
        .samples = j->given ? 1 : (size_t)j->samples,
        .max_tokens = (size_t)j->max_tokens,
        .stop = r->policy.processor.stop,
        .nstop = r->policy.processor.nstop,
    };
    r->cap = j->batch ? (size_t)j->batch : BATCH_ROWS;
    r->item = calloc(r->cap, sizeof *r->item);
    r->root = ral_media_root(j->data.media_root, path);
    if (!r->item || !r->root)
        return out_of_memory(r);
    ral_progress_begin(&r->progress, r->log, j->given ? "scored" : "sampled",
                       "prompts", ral_rows_count(r->rows));
    return write_header(r, c, conf.shard, conf.shards);
}

static int log_metrics(const struct rollout *r, const struct ral_common *c,
                       double seconds)
{
    struct ral_metrics m = {0};
    int rc = ral_metrics_open(&m, c->log, r->err);

    if (rc == 0)
        rc = ral_metrics_put(
            &m,
            json_pack("{s:s,s:I,s:I,s:I,s:I,s:I,s:o,s:o,s:I}", "program",
                      "ral-rollout", "step", (json_int_t)r->job->step,
                      "prompts", (json_int_t)r->done, "failed",
                      (json_int_t)r->failed, "samples",
                      (json_int_t)((r->done - r->failed) * r->gen.samples),
                      "tokens", (json_int_t)r->produced, "seconds",
                      ral_json_number(seconds), "tokens_per_s",
                      ral_json_number((double)r->produced / seconds),
                      "peak_bytes", (json_int_t)ral_peak_rss()),
            r->err);
    ral_metrics_close(&m);
    return rc;
}

int ral_rollout_run(const struct ral_rollout_job *job,
                    const struct ral_common *common, char *const *rows,
                    size_t nrows, const struct ral_log *log,
                    struct ral_err *err)
{
    struct rollout r = {.job = job, .log = log, .out = {.fd = -1}, .err = err};
    const double began = ral_now_s();
    int rc = start(&r, common, rows, nrows);

    if (rc == 0)
        rc = run_rows(&r);
    ral_progress_end(&r.progress);
    release_batch(&r);
    if (rc == 0) {
        rc = ral_writer_finish(r.writer, err);
        r.writer = NULL;
    }
    ral_writer_abort(r.writer);
    if (rc == 0)
        rc = ral_out_finish(&r.out, err);
    else
        ral_out_abort(&r.out);
    if (rc == 0)
        rc = log_metrics(&r, common, ral_now_s() - began);
    if (rc == 0 && r.failed)
        ral_warn(log, "%zu of %zu rows failed; the first: %s", r.failed,
                 r.done, r.first);
    ral_rows_close(r.rows);
    ral_policy_close(&r.policy);
    ral_arena_release(&r.batch);
    ral_arena_release(&r.scratch);
    ral_buf_release(&r.record);
    free(r.item);
    free(r.root);
    return rc;
}

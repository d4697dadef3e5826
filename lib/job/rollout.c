/* lib/job/rollout.c - rows in, a stream of sampled groups out. */
#include "job/rollout.h"

#include <string.h>

#include "base/file.h"
#include "job/training.h"
#include "roll/respond.h"
#include "stream/writer.h"

struct rollout {
    const struct ral_rollout_job *job;
    struct ral_source source;
    struct ral_dev *dev;
    struct ral_policy policy;
    struct ral_look_conf look;
    struct ral_rows *rows;
    struct ral_out out;
    struct ral_writer *writer;
    struct ral_arena a; // of a record
    struct ral_buf record;
};

static size_t samples_of(const struct ral_rollout_job *j)
{
    return j->given ? 1 : (size_t)j->samples;
}

static int write_header(struct rollout *r, const struct ral_common *c,
                        struct ral_err *err)
{
    const struct ral_config *k = &r->policy.model->config;
    const struct ral_stream_info info = {
        .policy = r->policy.digest,
        .temperature = r->job->temperature,
        .top_p = r->job->top_p,
        .top_k = (uint64_t)r->job->top_k,
        .seed = c->seed,
        .step = (uint64_t)r->job->step,
        .num_generations = samples_of(r->job),
        .max_completion_length = (uint64_t)r->job->max_tokens,
        .greedy = r->job->temperature == 0,
        .media_root = r->source.root,
        .attn_layers = r->look.layer,
        .n_layers = r->look.layers,
        .n_heads = r->look.each ? k->heads : 0,
        .image_token_id = k->image_id,
        .video_token_id = k->video_id,
        .patch_size = k->vision.patch,
        .spatial_merge_size = k->vision.merge,
        .shard = r->source.rows.shard,
        .shards = r->source.rows.shards ? r->source.rows.shards : 1,
    };
    const struct ral_provenance who = {"ral-rollout", RAL_VERSION,
                                       r->job->args, r->job->n_args, true,
                                       c->seed};
    int rc;

    r->record.len = 0;
    rc = ral_header_encode(&r->record, &info, &who, err);
    return rc < 0 ? rc
                  : ral_writer_header(r->writer, r->record.data, r->record.len,
                                      err);
}

/* A path below the root is kept relative to it. */
static const char *below_root(const struct rollout *r, const char *path)
{
    const size_t n = strlen(r->source.root);

    if (!strncmp(path, r->source.root, n) && path[n] == '/')
        return path + n + 1;
    return path;
}

static struct ral_media_ref *media_refs(struct rollout *r,
                                        const struct ral_prompt *p)
{
    struct ral_media_ref *out =
        RAL_NEW(&r->a, struct ral_media_ref, p->nvisual + 1);

    for (size_t i = 0; out && i < p->nvisual; i++) {
        out[i] = p->media[i];
        out[i].path = below_root(r, out[i].path);
    }
    return out;
}

static int put_record(void *ctx, const struct ral_responded *it,
                      struct ral_err *err)
{
    struct rollout *r = ctx;
    struct ral_group_parts parts = {
        .id = it->id,
        .row = it->row,
        .samples = it->samples,
        .G = it->G,
        .error = it->error,
    };
    int rc;

    ral_arena_reset(&r->a);
    if (!it->error) {
        parts.media = media_refs(r, it->prompt);
        parts.n_media = it->prompt->nvisual;
        parts.prompt_ids = it->prompt->ids;
        parts.P = it->prompt->P;
        if (!parts.media)
            return ral_err_nomem(err, "%s", it->id);
    }
    r->record.len = 0;
    if ((rc = ral_group_encode(&r->record, &parts, err)) < 0)
        return ral_err_at(err, "record %s", it->id);
    return ral_writer_put(r->writer, r->record.data, r->record.len, err);
}

static int start_rollout(struct rollout *r, const struct ral_common *c,
                         char *const *rows, size_t nrows, struct ral_err *err)
{
    const struct ral_rollout_job *j = r->job;
    const struct ral_prompt_conf prompts = ral_data_prompts(&j->data);
    const struct ral_machine_conf machine =
        ral_job_machine(c, RAL_BACKWARD_EXACT);
    struct ral_rows_conf *conf = &r->source.rows;
    int rc;

    if (nrows > 1)
        return ral_err_set(err, -RAL_EUSAGE,
                           "one file of rows at a time: use --shard or run it "
                           "twice");
    if ((rc = ral_source_find(&r->source, &j->data, j->split, "train",
                              nrows ? rows[0] : NULL, err)) < 0)
        return rc;
    conf->draw = (uint64_t)j->draw;
    conf->step = (uint64_t)j->step;
    conf->seed = c->seed;
    conf->limit = (uint64_t)j->limit;
    if ((rc = ral_shard_parse(j->shard, &conf->shard, &conf->shards, err)) <
            0 ||
        (rc = ral_machine_open(&r->dev, &machine, err)) < 0 ||
        (rc = ral_policy_open(&r->policy, j->model, r->dev, NULL, &prompts,
                              err)) < 0 ||
        (rc = ral_job_look(&j->attn, r->policy.model, &r->look, err)) < 0 ||
        (rc = ral_rows_open(&r->rows, conf, err)) < 0 ||
        (rc = ral_out_open(&r->out, j->out, err)) < 0 ||
        (rc = ral_writer_open(&r->writer, r->out.fd,
                              j->out ? j->out : "stdout", 1, err)) < 0)
        return rc;
    return write_header(r, c, err);
}

static int sample(struct rollout *r, const struct ral_common *c,
                  const struct ral_log *log, struct ral_respond_stats *stats,
                  struct ral_err *err)
{
    const struct ral_rollout_job *j = r->job;
    const struct ral_respond_conf conf = {
        .model = r->policy.model,
        .processor = &r->policy.processor,
        .look = r->look,
        .source = &r->source,
        .sampling = {j->temperature, j->top_p, j->top_k, c->seed,
                     (uint64_t)j->step},
        .samples = samples_of(j),
        .max_tokens = (size_t)j->max_tokens,
        .batch = (size_t)j->batch,
        .given = j->given,
        .max_failed = j->max_failed,
        .what = j->given ? "scored" : "sampled",
        .log = log,
        .put = put_record,
        .ctx = r,
    };

    return ral_respond(&conf, r->rows, stats, err);
}

/* Seconds count from the first row on; the policy was open before. */
static int log_metrics(const struct rollout *r, const struct ral_common *c,
                       const struct ral_respond_stats *s, double seconds,
                       double cpu_seconds, struct ral_err *err)
{
    struct ral_metrics m = {0};
    int rc = ral_metrics_open(&m, c->log, err);

    if (rc == 0)
        rc = ral_metrics_put(
            &m,
            json_pack("{s:s,s:I,s:I,s:I,s:I,s:I,s:o,s:o,s:o,s:I}", "program",
                      "ral-rollout", "step", (json_int_t)r->job->step,
                      "prompts", (json_int_t)s->rows, "failed",
                      (json_int_t)s->failed, "samples",
                      (json_int_t)((s->rows - s->failed) * samples_of(r->job)),
                      "tokens", (json_int_t)s->tokens, "seconds",
                      ral_json_number(seconds), "cpu_seconds",
                      ral_json_number(cpu_seconds), "tokens_per_s",
                      ral_json_number((double)s->tokens / seconds),
                      "peak_bytes", (json_int_t)ral_peak_rss()),
            err);
    ral_metrics_close(&m);
    return rc;
}

int ral_rollout_run(const struct ral_rollout_job *job,
                    const struct ral_common *common, char *const *rows,
                    size_t nrows, const struct ral_log *log,
                    struct ral_err *err)
{
    struct rollout r = {.job = job, .out = {.fd = -1}};
    struct ral_respond_stats stats;
    int rc = start_rollout(&r, common, rows, nrows, err);
    const double began_s = ral_now_s(), began_cpu_s = ral_cpu_s();

    if (rc == 0)
        rc = sample(&r, common, log, &stats, err);
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
        rc = log_metrics(&r, common, &stats, ral_now_s() - began_s,
                         ral_cpu_s() - began_cpu_s, err);
    ral_rows_close(r.rows);
    ral_policy_close(&r.policy);
    ral_dev_close(r.dev);
    ral_source_release(&r.source);
    ral_arena_release(&r.a);
    ral_buf_release(&r.record);
    return rc;
}

/* lib/job/eval.c - answers to rows, or those of a stream, measured. */
#include "job/eval.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "data/jsonl.h"
#include "eval/judge.h"
#include "job/training.h"
#include "roll/respond.h"
#include "stream/reader.h"
#include "text/answer.h"

struct eval {
    const struct ral_eval_job *job;
    const struct ral_common *common;
    const struct ral_log *log;
    struct ral_rule_set metric; // one rule
    bool stream;                // the input is one, and needs no policy
    struct ral_stream_info info; // what the attention and its grid are
    char digest[64];             // of the policy that answered; "": unknown
    char *model, *data;          // names for the results; NULL: none
    struct ral_outcomes now, before;
    json_t *baseline; // NULL: none
    size_t records, tokens;
    struct ral_failures failed;
    double seconds; // of decoding
    struct ral_out out, rows;
    struct ral_buf line;
    struct ral_arena a; // of a question
    struct ral_err *err;
};

/* ---- one question ---- */

static int write_line(struct eval *e, const struct ral_outcome *x,
                      const struct ral_sample *s)
{
    const char *answer = NULL;
    size_t n = 0;
    int rc;

    if (!e->job->rows)
        return 0;
    if (!ral_answer_extract(s->text, s->text_len, &answer, &n))
        answer = NULL;
    e->line.len = 0;
    if ((rc = ral_outcome_line(&e->line, x, answer, n, s->text, s->text_len,
                               e->err)) < 0)
        return rc;
    return ral_write_all(e->rows.fd, e->line.data, e->line.len, e->job->rows,
                         e->err);
}

/* A question without a result: counted, and a line of its own. */
static int give_up(struct eval *e, const char *id, const char *why)
{
    json_t *v;
    char *text;
    int rc;

    ral_failures_add(&e->failed, "%s", why);
    if (!e->job->rows)
        return 0;
    v = json_pack("{s:s,s:s}", "id", id, "error", why);
    text = v ? json_dumps(v, JSON_COMPACT) : NULL;
    e->line.len = 0;
    rc = text && ral_buf_printf(&e->line, "%s\n", text) == 0
             ? ral_write_all(e->rows.fd, e->line.data, e->line.len,
                             e->job->rows, e->err)
             : ral_err_nomem(e->err, "results");
    free(text);
    json_decref(v);
    return rc;
}

/* A row whose fields cannot be read is no wrong answer either. */
static int unread(struct eval *e, int rc, const char *id, struct ral_err *why)
{
    ral_err_at(why, "record %s", id);
    if (rc != -RAL_ENOMEM)
        return give_up(e, id, why->msg);
    *e->err = *why;
    return rc;
}

static int judge(struct eval *e, const struct ral_question *q)
{
    struct ral_judge j;
    int rc = ral_judge_open(&j, &e->metric, q, &e->a, e->err);

    if (rc > 0)
        return give_up(e, q->id, e->err->msg);
    for (size_t k = 0; rc == 0 && k < q->G; k++) {
        struct ral_outcome x;

        if ((rc = ral_judge_sample(&j, k, &x, e->err)) == 0 &&
            (rc = ral_outcomes_add(&e->now, &x, e->err)) == 0)
            rc = write_line(e, &x, &q->samples[k]);
        e->tokens += q->samples[k].T;
    }
    return rc;
}

/* ---- rows ---- */

static int judge_row(void *ctx, const struct ral_responded *it,
                     struct ral_err *err)
{
    struct eval *e = ctx;
    struct ral_question q = {
        .id = it->id,
        .info = &e->info,
        .media = it->prompt->media,
        .n_media = it->prompt->nvisual,
        .ids = it->prompt->ids,
        .P = it->prompt->P,
        .samples = it->samples,
        .G = it->G,
    };
    struct ral_err why = {0};
    int rc;

    (void)err; // e->err
    ral_arena_reset(&e->a);
    e->records++;
    if (it->error)
        return give_up(e, it->id, it->error);
    if ((rc = ral_fields_json(&q.fields, it->row, &e->a, &why)) < 0)
        return unread(e, rc, it->id, &why);
    return judge(e, &q);
}

static int respond(struct eval *e, const struct ral_source *source,
                   const struct ral_policy *policy, struct ral_rows *rows)
{
    const struct ral_respond_conf conf = {
        .model = policy->model,
        .processor = &policy->processor,
        .look = {.layer = {(int32_t)policy->model->config.layers - 1},
                 .layers = 1},
        .source = source,
        .sampling = {.top_p = 1, .seed = e->common->seed, .step = 1},
        .samples = 1,
        .max_tokens = (size_t)e->job->max_tokens,
        .batch = (size_t)e->job->batch,
        .max_failed = e->job->max_failed,
        .what = "answered",
        .log = e->log,
        .put = judge_row,
        .ctx = e,
    };
    const double began = ral_now_s();
    struct ral_respond_stats stats;
    int rc = ral_respond(&conf, rows, &stats, e->err);

    e->seconds = ral_now_s() - began;
    return rc;
}

/* The last layer's head mean, as ral_respond leaves it. */
static void describe(struct eval *e, const struct ral_model *m)
{
    static const int32_t last = 0; // its number is nobody's concern here

    e->info = (struct ral_stream_info){
        .attn_layers = &last,
        .n_layers = 1,
        .image_token_id = m->config.image_id,
        .video_token_id = m->config.video_id,
        .spatial_merge_size = m->config.vision.merge,
    };
}

static int run_rows(struct eval *e, const char *operand)
{
    const struct ral_eval_job *j = e->job;
    const struct ral_prompt_conf prompts = ral_data_prompts(&j->data);
    const struct ral_machine_conf machine =
        ral_job_machine(e->common, RAL_BACKWARD_EXACT);
    struct ral_dev *dev = NULL;
    struct ral_policy policy = {0};
    struct ral_source source = {0};
    struct ral_rows *rows = NULL;
    int rc = ral_source_find(&source, &j->data, j->split, "test", operand,
                             e->err);

    source.rows.limit = (uint64_t)j->limit;
    if (rc < 0 ||
        (rc = ral_machine_open(&dev, &machine, e->err)) < 0 ||
        (rc = ral_policy_open(&policy, j->model, dev, NULL, &prompts,
                              e->err)) < 0 ||
        (rc = ral_rows_open(&rows, &source.rows, e->err)) < 0)
        goto out;
    describe(e, policy.model);
    snprintf(e->digest, sizeof e->digest, "%s", policy.digest);
    e->model = strdup(policy.dir);
    e->data = strdup(ral_rows_name(rows));
    rc = e->model && e->data ? respond(e, &source, &policy, rows)
                             : ral_err_nomem(e->err, "results");
out:
    ral_rows_close(rows);
    ral_policy_close(&policy);
    ral_dev_close(dev);
    ral_source_release(&source);
    return rc;
}

/* ---- a stream ---- */

static int judge_record(struct eval *e, const struct ral_item *rec)
{
    struct ral_question q;
    struct ral_err why = {0};
    struct ral_group g;
    int rc = ral_group_decode(&g, &e->info, rec, &e->a, e->err);

    if (rc < 0)
        return rc;
    e->records++;
    if (!g.ok) {
        ral_err_set(&why, -RAL_EINVAL, "record %s: %s", g.id,
                    g.error ? g.error : "had failed before");
        return give_up(e, g.id, why.msg);
    }
    q = (struct ral_question){
        .id = g.id,
        .info = &e->info,
        .media = g.media_ref,
        .n_media = g.n_media,
        .ids = g.prompt_ids,
        .P = g.P,
        .samples = g.samples,
        .G = g.G,
    };
    if ((rc = ral_fields_read(&q.fields, g.item, &e->a, &why)) < 0)
        return unread(e, rc, g.id, &why);
    return judge(e, &q);
}

/* Reads to the end mark whatever the limit: only then it is to be trusted. */
static int run_stream(struct eval *e, char *const *inputs, size_t n)
{
    struct ral_progress progress;
    struct ral_reader *r = NULL;
    struct ral_item *rec;
    int rc = ral_reader_open_files(&r, inputs, n, e->job->max_record, e->err);
    int more = 0;

    if (rc < 0)
        return rc;
    if (e->job->model)
        ral_warn(e->log, "a record stream holds its answers: -m is not used");
    e->info = *ral_reader_info(r);
    snprintf(e->digest, sizeof e->digest, "%s",
             e->info.policy ? e->info.policy : "");
    e->data = strdup(ral_reader_name(r));
    if (!e->data)
        rc = ral_err_nomem(e->err, "results");
    ral_progress_begin(&progress, e->log, "judged", "records",
                       (size_t)e->job->limit);
    while (rc == 0 && (more = ral_reader_next(r, &e->a, &rec, e->err)) > 0) {
        if (!e->job->limit || e->records < (size_t)e->job->limit) {
            if ((rc = judge_record(e, rec)) < 0)
                rc = ral_err_at(e->err, "%s", ral_reader_name(r));
            ral_progress_add(&progress, 1);
        }
        ral_arena_reset(&e->a);
    }
    ral_progress_end(&progress);
    ral_reader_close(r);
    return rc < 0 ? rc : more;
}

/* ---- which of the two ---- */

/*
 * By the first bytes of the first input, which stay to be read. The file is
 * kept open until the job has it: a writer into a named pipe must not see its
 * reader go.
 */
static int detect(struct eval *e, const char *input, int *held)
{
    const bool pipe = !input || !strcmp(input, "-");
    uint8_t head[4];
    ptrdiff_t got;
    int fd = STDIN_FILENO;

    if (e->job->split || (!input && e->job->model && e->job->data.test))
        return 0; // rows that the recipe names
    if (!pipe && (fd = *held = open(input, O_RDONLY | O_CLOEXEC)) < 0)
        return ral_err_errno(e->err, "%s: cannot open", input);
    if ((got = ral_peek(fd, head, sizeof head, e->err)) < 0)
        return (int)got;
    e->stream = ral_stream_magic(head, (size_t)got) ||
                (got == 0 && !e->job->model);
    if (!e->stream && !e->job->model)
        return ral_err_set(e->err, -RAL_EUSAGE,
                           "%s: rows are answered by -m CHECKPOINT; only a "
                           "record stream does without",
                           pipe ? "stdin" : input);
    return 0;
}

static int run_input(struct eval *e, char *const *inputs, size_t n)
{
    int held = -1, rc = detect(e, n ? inputs[0] : NULL, &held);

    if (rc == 0 && !e->stream && n > 1)
        rc = ral_err_set(e->err, -RAL_EUSAGE, "one file of rows at a time");
    if (rc == 0)
        rc = e->stream ? run_stream(e, inputs, n)
                       : run_rows(e, n ? inputs[0] : NULL);
    if (held >= 0)
        close(held);
    return rc;
}

/* ---- results ---- */

static json_t *text_or_null(const char *s)
{
    return s && *s ? json_string(s) : json_null();
}

static int results(struct eval *e, double seconds, json_t **out)
{
    const struct ral_eval_job *j = e->job;
    const double n = (double)e->now.n;
    json_t *v = json_pack(
        "{s:s,s:s,s:o,s:o,s:o,s:s}", "program", "ral-eval", "version",
        RAL_VERSION, "model", text_or_null(e->model), "digest",
        text_or_null(e->digest), "data", text_or_null(e->data), "metric",
        j->metric);
    json_t *more = json_pack(
        "{s:I,s:o,s:o,s:o,s:I}", "failed", (json_int_t)e->failed.n,
        "mean_tokens", ral_json_number((double)e->tokens / n), "seconds",
        ral_json_number(seconds), "tokens_per_s",
        e->stream ? json_null()
                  : ral_json_number((double)e->tokens / e->seconds),
        "peak_bytes", (json_int_t)ral_peak_rss());
    int rc = v && more ? ral_outcomes_summary(&e->now, v, e->err)
                       : ral_err_nomem(e->err, "results");

    if (rc == 0 && json_object_update(v, more) < 0)
        rc = ral_err_nomem(e->err, "results");
    json_decref(more);
    *out = v;
    return rc;
}

/* Results hold 9 digits, so a drop is one when it is over 1e-8 too much. */
static bool regressed(const struct eval *e, double now, double before)
{
    const double most = e->job->max_drop > 0 ? e->job->max_drop : 0;

    return !(now >= before - most - 1e-8);
}

static int compare(struct eval *e, json_t *v, bool *worse)
{
    json_t *accuracy = json_object_get(v, "accuracy"), *gain = NULL;
    const double before =
        json_number_value(json_object_get(e->baseline, "accuracy"));
    int rc;

    *worse = false;
    if (e->baseline) {
        *worse = !json_is_number(accuracy) ||
                 regressed(e, json_number_value(accuracy), before);
        if (json_object_set_new(
                v, "baseline",
                json_pack("{s:s,s:f,s:f,s:b}", "file", e->job->baseline,
                          "accuracy", before, "max_drop",
                          fmax(0, e->job->max_drop), "regressed",
                          *worse)) < 0)
            return ral_err_nomem(e->err, "results");
    }
    if (!e->job->baseline_rows)
        return 0;
    if ((rc = ral_outcomes_gain(&e->before, &e->now, &gain, e->err)) < 0)
        return ral_err_at(e->err, "%s", e->job->baseline_rows);
    return json_object_set_new(v, "gain", gain) < 0
               ? ral_err_nomem(e->err, "results")
               : 0;
}

static int write_results(struct eval *e, const json_t *v)
{
    char *text = json_dumps(v, JSON_COMPACT | JSON_REAL_PRECISION(9));
    int rc;

    e->line.len = 0;
    if (!text || ral_buf_printf(&e->line, "%s\n", text) < 0)
        rc = ral_err_nomem(e->err, "results");
    else
        rc = ral_write_all(e->out.fd, e->line.data, e->line.len,
                           e->job->out ? e->job->out : "stdout", e->err);
    free(text);
    return rc;
}

static void tell(struct eval *e, const json_t *v)
{
    struct ral_buf table = {0};
    char *line = NULL, *rest = NULL;
    const json_t *gain = json_object_get(v, "gain");
    const json_t *ci = json_object_get(gain, "ci95");

    if (ral_outcomes_table(&table, v) == 0)
        line = strtok_r((char *)table.data, "\n", &rest);
    for (; line; line = strtok_r(NULL, "\n", &rest))
        ral_info(e->log, "%s", line);
    if (gain)
        ral_info(e->log,
                 "gain over %s %+.1f points [%+.1f, %+.1f], paired over %lld",
                 e->job->baseline_rows,
                 json_number_value(json_object_get(gain, "points")),
                 json_number_value(json_array_get(ci, 0)),
                 json_number_value(json_array_get(ci, 1)),
                 (long long)json_integer_value(json_object_get(gain, "n")));
    ral_buf_release(&table);
}

static int regression(struct eval *e, const json_t *v)
{
    const double now = json_number_value(json_object_get(v, "accuracy"));
    const double before =
        json_number_value(json_object_get(e->baseline, "accuracy"));

    return ral_err_set(e->err, -RAL_ECHECK,
                       "accuracy %.4f is below the baseline's %.4f (%s) by "
                       "more than --max-drop %g",
                       now, before, e->job->baseline,
                       fmax(0, e->job->max_drop));
}

static int log_results(struct eval *e, json_t *v)
{
    struct ral_metrics m;
    int rc = ral_metrics_open(&m, e->common->log, e->err);

    if (rc == 0)
        rc = ral_metrics_put(&m, json_incref(v), e->err);
    ral_metrics_close(&m);
    return rc;
}

/* What cannot be compared, or is worse, is told after the results are kept. */
static int finish(struct eval *e, double began)
{
    json_t *v = NULL;
    bool worse = false;
    int verdict = 0;
    int rc = ral_failures_check(&e->failed, e->records, e->job->max_failed,
                                e->err);

    if (rc == 0 && (rc = results(e, ral_now_s() - began, &v)) == 0) {
        verdict = compare(e, v, &worse);
        rc = verdict == -RAL_ENOMEM ? verdict : write_results(e, v);
    }
    if (rc == 0 && e->job->rows)
        rc = ral_out_finish(&e->rows, e->err);
    if (rc == 0)
        rc = ral_out_finish(&e->out, e->err);
    if (rc == 0)
        rc = log_results(e, v);
    if (rc == 0)
        tell(e, v);
    if (rc == 0 && verdict == 0 && worse)
        verdict = regression(e, v);
    json_decref(v);
    return rc < 0 ? rc : verdict;
}

/* ---- the job ---- */

static int check_job(const struct ral_eval_job *j, struct ral_err *err)
{
    const char *bad = NULL;

    if (j->max_drop >= 0 && !j->baseline)
        bad = "--max-drop needs --baseline";
    else if (j->rows && !strcmp(j->rows, "-"))
        bad = "--rows needs a file: standard output is for the results";
    return bad ? ral_err_set(err, -RAL_EUSAGE, "%s", bad) : 0;
}

/* Before the work, so that a wrong name costs nothing. */
static int read_baseline(struct eval *e)
{
    const struct ral_eval_job *j = e->job;
    const char *metric;
    int rc;

    if (j->baseline) {
        if ((rc = ral_json_file(&e->baseline, j->baseline, e->err)) < 0)
            return rc;
        if (!json_is_number(json_object_get(e->baseline, "accuracy")))
            return ral_err_set(e->err, -RAL_EINVAL,
                               "%s: holds no accuracy; is it a result of "
                               "ral-eval?",
                               j->baseline);
        metric = json_string_value(json_object_get(e->baseline, "metric"));
        if (metric && strcmp(metric, j->metric))
            return ral_err_set(e->err, -RAL_EINVAL,
                               "%s: measures %s, this run %s", j->baseline,
                               metric, j->metric);
    }
    return j->baseline_rows
               ? ral_outcomes_read(&e->before, j->baseline_rows, e->err)
               : 0;
}

static int start(struct eval *e)
{
    const struct ral_rule_settings none = {0}; // metrics have no parameters
    int rc = check_job(e->job, e->err);

    if (rc == 0)
        rc = ral_rule_set_add(&e->metric, e->job->metric, 1, e->err);
    if (rc == 0)
        rc = ral_rule_set_open(&e->metric, &none, NULL, e->err);
    if (rc == 0)
        rc = read_baseline(e);
    if (rc == 0 && e->job->rows)
        rc = ral_out_open(&e->rows, e->job->rows, e->err);
    if (rc == 0)
        rc = ral_out_open(&e->out, e->job->out, e->err);
    return rc;
}

int ral_eval_run(const struct ral_eval_job *job,
                 const struct ral_common *common, char *const *inputs,
                 size_t ninputs, const struct ral_log *log,
                 struct ral_err *err)
{
    struct eval e = {
        .job = job,
        .common = common,
        .log = log,
        .out = {.fd = -1},
        .rows = {.fd = -1},
        .err = err,
    };
    const double began = ral_now_s();
    int rc = start(&e);

    if (rc == 0)
        rc = run_input(&e, inputs, ninputs);
    if (rc == 0)
        rc = finish(&e, began);
    ral_out_abort(&e.rows);
    ral_out_abort(&e.out);
    ral_rule_set_close(&e.metric);
    ral_outcomes_release(&e.now);
    ral_outcomes_release(&e.before);
    json_decref(e.baseline);
    ral_arena_release(&e.a);
    ral_buf_release(&e.line);
    free(e.model);
    free(e.data);
    return rc;
}

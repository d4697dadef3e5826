/* lib/job/update.c - a scored stream, or rows with replies, to a checkpoint. */
#include "job/update.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "prompt/rows.h"
#include "prompt/source.h"

struct update {
    const struct ral_update_job *job;
    const struct ral_common *common;
    const struct ral_log *log;
    struct ral_dev *dev;
    struct ral_policy policy;
    struct ral_model *ref;
    struct ral_objective objective;
    struct ral_held held;
    struct ral_metrics metrics;
    struct ral_progress progress;
    struct ral_space a;
    struct ral_arena batch;
    double began_s, began_cpu_s; // of reading the stream
    struct ral_err *err;
};

static int out_of_memory(struct update *u)
{
    return ral_err_set(u->err, -RAL_ENOMEM, "out of memory");
}

/* ---- supervised fine-tuning ---- */

/* A row's visuals are in memory already: source is its prompt. */
static int row_visuals(void *ctx, const struct ral_train_group *g,
                       bool teacher, const struct ral_visual **out, size_t *n,
                       struct ral_arena *a, struct ral_err *err)
{
    const struct ral_prompt *p = g->source;

    (void)ctx, (void)teacher, (void)a, (void)err;
    *out = p->visual;
    *n = p->nvisual;
    return 0;
}

struct sft_batch {
    struct ral_prompt *prompt;
    struct ral_train_group *group;
    struct ral_train_sample *sample;
    const struct ral_train_group **list;
    size_t n;
};

static int sft_row(struct update *u, struct ral_rows *rows,
                   const struct ral_row *row, const char *root,
                   struct sft_batch *b)
{
    struct ral_prompt *p = &b->prompt[b->n];
    struct ral_train_group *g = &b->group[b->n];
    char where[300];
    int rc;

    snprintf(where, sizeof where, "%s:%zu", ral_rows_name(rows), row->line);
    if ((rc = ral_prompt_build(p, &u->policy.processor, row->json, root, where,
                               RAL_RESPONSE_TARGET, &u->batch, u->err)) < 0)
        return rc;
    if (p->P + p->T > u->policy.model->config.positions) {
        ral_prompt_release(p);
        return ral_err_set(u->err, -RAL_EINVAL,
                           "%s: %zu tokens exceed the context of %zu", where,
                           p->P + p->T, u->policy.model->config.positions);
    }
    b->sample[b->n] =
        (struct ral_train_sample){.ids = p->response, .T = p->T};
    *g = (struct ral_train_group){
        .id = ral_arena_text(&u->batch, row->id, strlen(row->id)),
        .prompt = p->ids,
        .P = p->P,
        .sample = &b->sample[b->n],
        .G = 1,
        .source = p,
    };
    for (size_t i = 0; i < p->nvisual; i++)
        g->visual += ral_visual_tokens(p->visual[i].t, p->visual[i].h,
                                       p->visual[i].w,
                                       u->policy.processor.spec.merge);
    b->list[b->n++] = g;
    return g->id ? 0 : out_of_memory(u);
}

static int sft_batch_read(struct update *u, struct ral_rows *rows,
                          const char *root, struct sft_batch *b)
{
    const size_t n = ral_rows_count(rows);
    struct ral_row row;
    int rc, more;

    *b = (struct sft_batch){
        .prompt = RAL_NEW(&u->batch, struct ral_prompt, n),
        .group = RAL_NEW(&u->batch, struct ral_train_group, n),
        .sample = RAL_NEW(&u->batch, struct ral_train_sample, n),
        .list = RAL_NEW(&u->batch, const struct ral_train_group *, n),
    };
    if (!b->prompt || !b->group || !b->sample || !b->list)
        return out_of_memory(u);
    while ((more = ral_rows_next(rows, &row, u->err)) > 0)
        if ((rc = sft_row(u, rows, &row, root, b)) < 0)
            return rc;
    return more;
}

static int sft_step(struct update *u, struct ral_rows *rows, const char *root)
{
    struct ral_state *s = &u->policy.state;
    struct ral_step_stats stats;
    struct sft_batch b;
    const double began = ral_now_s();
    int rc;

    ral_rows_step(rows, s->step + 1);
    rc = sft_batch_read(u, rows, root, &b);
    u->objective.adamw = ral_optim_now(&u->job->sft_optim, s);
    if (rc == 0)
        rc = ral_train_step(s, &u->objective, b.list, b.n, &stats, &u->a,
                            u->err);
    for (size_t i = 0; i < b.n; i++)
        ral_prompt_release(&b.prompt[i]);
    ral_arena_reset(&u->batch);
    if (rc < 0)
        return rc;
    s->step++;
    ral_progress_add(&u->progress, 1);
    ral_debug(u->log, "step %llu: loss %.4f, gradient norm %.3f",
              (unsigned long long)s->step, stats.loss, stats.grad_norm);
    return ral_metrics_put(&u->metrics,
                           ral_training_metrics("ral-update --sft", s, &stats,
                                                u->objective.adamw.lr,
                                                ral_now_s() - began, NULL),
                           u->err);
}

static int run_sft(struct update *u, char *const *inputs, size_t n)
{
    struct ral_source source;
    struct ral_rows *rows = NULL;
    int rc = ral_source_find(&source, &u->job->data, u->job->split, "sft",
                             n ? inputs[0] : NULL, u->err);

    source.rows.draw = (uint64_t)u->job->batch_size;
    source.rows.step = 1;
    source.rows.seed = u->common->seed;
    if (rc < 0 || (rc = ral_rows_open(&rows, &source.rows, u->err)) < 0) {
        ral_source_release(&source);
        return rc;
    }
    u->objective.visuals = row_visuals;
    ral_objective_add(&u->objective, &ral_term_cross_entropy, 1);
    ral_progress_begin(&u->progress, u->log, "trained", "steps",
                       (size_t)u->job->steps);
    for (int64_t i = 0; rc == 0 && i < u->job->steps; i++)
        rc = sft_step(u, rows, source.root);
    ral_progress_end(&u->progress);
    ral_rows_close(rows);
    ral_source_release(&source);
    return rc;
}

/* ---- policy gradient ---- */

static int stream_visuals(void *ctx, const struct ral_train_group *g,
                          bool teacher, const struct ral_visual **out,
                          size_t *n, struct ral_arena *a, struct ral_err *err)
{
    struct update *u = ctx;

    (void)teacher;
    return ral_held_visuals(&u->held, &u->policy.processor, g, out, n, a, err);
}

static int rl_metrics(struct update *u, const struct ral_step_stats *t,
                      double seconds)
{
    json_t *more = json_pack("{s:o,s:o,s:o}", "reward",
                             ral_json_number(u->held.reward), "batch_seconds",
                             ral_json_number(ral_now_s() - u->began_s),
                             "batch_cpu_seconds",
                             ral_json_number(ral_cpu_s() - u->began_cpu_s));

    return ral_metrics_put(&u->metrics,
                           ral_training_metrics("ral-update", &u->policy.state,
                                                t, u->objective.adamw.lr,
                                                seconds, more),
                           u->err);
}

static int rl_update(void *ctx, const struct ral_train_group *const *g,
                     size_t n, size_t number, size_t of)
{
    struct update *u = ctx;
    struct ral_state *s = &u->policy.state;
    struct ral_step_stats t;
    const double began = ral_now_s();
    char jsd[32], dlogp[32];
    int rc;

    u->objective.adamw = ral_optim_now(&u->job->optim, s);
    if ((rc = ral_train_step(s, &u->objective, g, n, &t, &u->a, u->err)) < 0)
        return rc;
    if (t.skipped)
        ral_info(u->log,
                 "update %zu of %zu skipped: all advantages are 0 and "
                 "update.beta is 0",
                 number, of);
    else
        ral_debug(u->log,
                  "update %zu of %zu: loss %.5f, J %s nats, |dlogp| %s, "
                  "gradient norm %.3f",
                  number, of, t.loss, ral_measured(&t, "jsd", jsd),
                  ral_measured(&t, "dlogp", dlogp), t.grad_norm);
    return rl_metrics(u, &t, ral_now_s() - began);
}

/* What the reference must share with the policy: all that config.json says. */
static int open_reference(struct update *u)
{
    char *dir;
    int rc;

    if (u->job->beta == 0)
        return 0;
    if (!u->job->ref)
        return ral_err_set(u->err, -RAL_EUSAGE,
                           "update.beta over 0 needs --ref CHECKPOINT");
    if ((rc = ral_checkpoint_resolve(&dir, u->job->ref, u->err)) < 0)
        return rc;
    rc = ral_model_open(&u->ref, dir, u->dev, false, u->err);
    if (rc == 0 && memcmp(&u->ref->config, &u->policy.model->config,
                          sizeof u->ref->config))
        rc = ral_err_set(u->err, -RAL_EINVAL,
                         "%s: the reference's config.json differs from the "
                         "policy's",
                         dir);
    free(dir);
    u->objective.ref = u->ref;
    return rc;
}

/* Policy gradient, and by their weights the divergence from a reference and
 * the attention term. */
static int rl_terms(struct update *u)
{
    const struct ral_update_job *j = u->job;
    struct ral_objective *o = &u->objective;
    struct ral_pg pg = {.eps_low = j->epsilon,
                        .eps_high = j->epsilon_high < 0 ? j->epsilon
                                                        : j->epsilon_high};
    struct ral_term *attention;
    int rc;

    if ((rc = ral_pg_find(&pg.type, j->loss_type, u->err)) < 0)
        return rc;
    ral_objective_add(o, &ral_term_policy_gradient, 1)->pg = pg;
    if (j->beta > 0)
        ral_objective_add(o, &ral_term_reference_kl, j->beta)->pg = pg;
    if (j->attn_coef <= 0)
        return 0;
    attention = ral_objective_add(o, &ral_term_attention, j->attn_coef);
    if ((rc = ral_reduce_parse(&attention->reduce, j->attn_reduce, u->err)) < 0)
        return rc;
    return ral_job_look(&j->attn, u->policy.model, &o->look, u->err);
}

static int run_rl(struct update *u, char *const *inputs, size_t ninputs)
{
    const struct ral_update_job *j = u->job;
    const struct ral_config *c = &u->policy.model->config;
    const struct ral_held_conf conf = {
        .max_record = j->max_record,
        .media_root = j->data.media_root,
        .digest = j->allow_stale ? NULL : u->policy.digest,
        .look = j->attn_coef > 0 ? &u->objective.look : NULL,
        .heads = c->heads,
        .advantages = true,
        .reference = j->beta > 0,
    };
    size_t parts;
    int rc;

    u->began_s = ral_now_s();
    u->began_cpu_s = ral_cpu_s();
    if ((rc = rl_terms(u)) < 0 || (rc = open_reference(u)) < 0 ||
        (rc = ral_held_read(&u->held, &conf, inputs, ninputs, u->err)) < 0)
        return rc;
    if (u->held.failed)
        ral_warn(u->log, "%zu records failed before and have no part",
                 u->held.failed);
    parts = (size_t)j->mini_batches;
    if (parts > u->held.n)
        parts = u->held.n;
    // Once a run is enough: at its first batch.
    if (j->attn_coef > 0 && parts * (size_t)j->iterations == 1 &&
        u->policy.state.step == 0)
        ral_warn(u->log,
                 "update.attn_coef is %g but there is a single update: at "
                 "equal weights the attention term and its gradient are 0; "
                 "raise num_mini_batches or num_iterations",
                 j->attn_coef);
    u->objective.visuals = stream_visuals;
    u->objective.temperature =
        u->held.info.greedy ? 1.0f : (float)u->held.info.temperature;
    u->policy.state.step++;
    return ral_held_updates(&u->held, parts, (size_t)j->iterations,
                            u->common->seed, u->log, rl_update, u, u->err);
}

static int check_options(struct update *u, size_t ninputs)
{
    const struct ral_update_job *j = u->job;

    if (j->sft && (ninputs > 1 || j->steps < 0))
        return ral_err_set(u->err, -RAL_EUSAGE,
                           "--sft takes one file of rows and --steps of 0 or "
                           "more");
    if (j->split && !j->sft)
        return ral_err_set(u->err, -RAL_EUSAGE,
                           "--split names rows, which --sft takes");
    return j->sft ? RAL_OPTIM_CHECK("sft", &j->sft_optim, u->err)
                  : RAL_OPTIM_CHECK("update", &j->optim, u->err);
}

static int start_update(struct update *u, size_t ninputs)
{
    const struct ral_update_job *j = u->job;
    const struct ral_prompt_conf prompts = ral_data_prompts(&j->data);
    const struct ral_machine_conf machine =
        ral_job_machine(u->common, j->sft ? j->sft_backward : j->backward);
    int rc;

    if ((rc = check_options(u, ninputs)) < 0 ||
        (rc = ral_training_out_check(j->out, j->force, u->err)) < 0 ||
        (rc = ral_machine_open(&u->dev, &machine, u->err)) < 0 ||
        (rc = ral_policy_open(&u->policy, j->model, u->dev,
                              j->sft ? "sft" : "update", &prompts, u->err)) <
            0)
        return rc;
    ral_space_init(&u->a, u->dev);
    u->objective = (struct ral_objective){
        .temperature = 1,
        .max_grad_norm = j->sft ? j->sft_optim.max_grad_norm
                                : j->optim.max_grad_norm,
        .micro_tokens = (size_t)j->micro_tokens,
        .ctx = u,
    };
    return ral_metrics_open(&u->metrics, u->common->log, u->err);
}

int ral_update_run(const struct ral_update_job *job,
                   const struct ral_common *common, char *const *inputs,
                   size_t ninputs, const struct ral_log *log,
                   struct ral_err *err)
{
    struct update u = {.job = job, .common = common, .log = log, .err = err};
    int rc = start_update(&u, ninputs);

    if (rc == 0)
        rc = job->sft ? run_sft(&u, inputs, ninputs)
                      : run_rl(&u, inputs, ninputs);
    if (rc == 0)
        rc = ral_training_save(&u.policy, job->out, job->force,
                               common->conf.path, err);
    ral_metrics_close(&u.metrics);
    ral_held_release(&u.held);
    ral_model_close(u.ref);
    ral_policy_close(&u.policy);
    ral_space_release(&u.a);
    ral_arena_release(&u.batch);
    ral_dev_close(u.dev);
    return rc;
}

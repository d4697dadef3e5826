/* lib/job/distill.c - a teacher on the student's rollouts, to a checkpoint. */
#include "job/distill.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"

struct distill {
    const struct ral_distill_job *job;
    const struct ral_common *common;
    const struct ral_log *log;
    struct ral_policy policy, teacher;
    struct ral_objective objective;
    struct ral_held held;
    struct ral_metrics metrics;
    struct ral_arena a;
    struct ral_err *err;
};

static int pictures(void *ctx, const struct ral_train_group *g, bool teacher,
                    struct ral_visual **out, size_t *n, struct ral_arena *a,
                    struct ral_err *err)
{
    struct distill *d = ctx;

    return ral_held_pictures(&d->held,
                             teacher ? &d->teacher.processor
                                     : &d->policy.processor,
                             g, out, n, a, err);
}

/* Token ids must mean the same to both. */
static int check_tokenizers(struct distill *d)
{
    char *a = ral_path_join(d->policy.dir, "tokenizer.json");
    char *b = ral_path_join(d->teacher.dir, "tokenizer.json");
    struct ral_map x = {0}, y = {0};
    int rc = a && b ? 0 : ral_err_set(d->err, -RAL_ENOMEM, "out of memory");

    if (rc == 0)
        rc = ral_map_open(&x, a, d->err);
    if (rc == 0)
        rc = ral_map_open(&y, b, d->err);
    if (rc == 0 && (x.len != y.len || memcmp(x.data, y.data, x.len)))
        rc = ral_err_set(d->err, -RAL_EINVAL,
                         "%s: the teacher's tokenizer.json differs from the "
                         "student's, so token ids mean other things",
                         d->teacher.dir);
    if (rc == 0 && d->teacher.model->config.vocab != d->policy.model->config.vocab)
        rc = ral_err_set(d->err, -RAL_EINVAL,
                         "%s: vocab_size %zu, the student's is %zu",
                         d->teacher.dir, d->teacher.model->config.vocab,
                         d->policy.model->config.vocab);
    ral_map_close(&x);
    ral_map_close(&y);
    free(a);
    free(b);
    return rc;
}

static int put_metrics(struct distill *d, const struct ral_step_stats *t,
                       double seconds)
{
    const double R = (double)(t->response_tokens ? t->response_tokens : 1);
    json_t *more = ral_attention_metrics(t);

    json_object_set_new(more, "kd", ral_json_number(t->kd / R));
    return ral_metrics_put(&d->metrics,
                           ral_training_metrics("ral-distill",
                                                &d->policy.state, t,
                                                d->objective.adamw.lr, seconds,
                                                more),
                           d->err);
}

static int update(void *ctx, const struct ral_train_group *const *g, size_t n,
                  size_t number, size_t of)
{
    struct distill *d = ctx;
    struct ral_step_stats t;
    const double began = ral_now_s();
    int rc;

    d->objective.adamw = ral_optim_now(&d->job->optim, &d->policy.state);
    rc = ral_train_step(&d->policy.state, &d->objective, g, n, &t, &d->a,
                        d->err);
    if (rc < 0)
        return rc;
    ral_debug(d->log, "update %zu of %zu: loss %.5f, KL %.4f, J %.4f nats",
              number, of, t.loss, t.kd / (double)t.response_tokens,
              t.attn_rows ? t.jsd / (double)t.attn_rows : 0);
    return put_metrics(d, &t, ral_now_s() - began);
}

static int run(struct distill *d)
{
    const struct ral_distill_job *j = d->job;
    const size_t n = d->held.n, asked = (size_t)j->mini_batches;

    d->policy.state.step++;
    return ral_held_updates(&d->held, asked < n ? asked : n,
                            (size_t)j->iterations, d->common->seed, d->log,
                            update, d, d->err);
}

static int start(struct distill *d, char *const *streams, size_t n)
{
    const struct ral_distill_job *j = d->job;
    const struct ral_prompt_conf prompts = ral_data_prompts(&j->data);
    struct ral_held_conf conf = {
        .max_record = j->max_record,
        .media_root = j->data.media_root,
    };
    int rc;

    if (!j->teacher)
        return ral_err_set(d->err, -RAL_EUSAGE, "-t TEACHER is needed");
    d->objective = (struct ral_objective){
        .task = RAL_TASK_DISTILL,
        .attn_coef = j->attn_coef,
        .kd_coef = j->kd_coef,
        .max_grad_norm = j->optim.max_grad_norm,
        .micro_tokens = (size_t)j->micro_tokens,
        .pictures = pictures,
        .ctx = d,
    };
    if ((rc = ral_reduce_parse(&d->objective.attn_reduce, j->attn_reduce,
                               d->err)) < 0 ||
        (rc = RAL_OPTIM_CHECK("distill", &j->optim, d->err)) < 0 ||
        (rc = ral_training_out_check(j->out, j->force, d->err)) < 0 ||
        (rc = ral_policy_open(&d->policy, j->model, j->cpu,
                              d->common->threads, "distill", &prompts,
                              d->err)) < 0 ||
        (rc = ral_policy_open(&d->teacher, j->teacher, j->cpu,
                              d->common->threads, NULL, &prompts, d->err)) <
            0 ||
        (rc = check_tokenizers(d)) < 0)
        return rc;
    d->objective.teacher = d->teacher.model;
    conf.digest = j->allow_stale ? NULL : d->policy.digest;
    if ((rc = ral_held_read(&d->held, &conf, streams, n, d->err)) < 0)
        return rc;
    d->objective.temperature =
        d->held.info.greedy ? 1.0f : (float)d->held.info.temperature;
    return ral_metrics_open(&d->metrics, d->common->log, d->err);
}

int ral_distill_run(const struct ral_distill_job *job,
                    const struct ral_common *common, char *const *streams,
                    size_t n, const struct ral_log *log, struct ral_err *err)
{
    struct distill d = {.job = job, .common = common, .log = log, .err = err};
    int rc = start(&d, streams, n);

    if (rc == 0)
        rc = run(&d);
    if (rc == 0)
        rc = ral_training_save(&d.policy, job->out, job->force,
                               common->conf.path, err);
    ral_metrics_close(&d.metrics);
    ral_held_release(&d.held);
    ral_policy_close(&d.policy);
    ral_policy_close(&d.teacher);
    ral_arena_release(&d.a);
    return rc;
}

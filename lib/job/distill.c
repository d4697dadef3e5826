/* lib/job/distill.c - a teacher on the student's rollouts, to a checkpoint. */
#include "job/distill.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"

struct distill {
    const struct ral_distill_job *job;
    const struct ral_common *common;
    const struct ral_log *log;
    struct ral_dev *dev;
    struct ral_policy policy, teacher;
    struct ral_objective objective;
    struct ral_held held;
    struct ral_metrics metrics;
    struct ral_space a;
    struct ral_err *err;
};

static int visuals(void *ctx, const struct ral_train_group *g, bool teacher,
                   const struct ral_visual **out, size_t *n,
                   struct ral_arena *a, struct ral_err *err)
{
    struct distill *d = ctx;

    return ral_held_visuals(&d->held,
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

static int update(void *ctx, const struct ral_train_group *const *g, size_t n,
                  size_t number, size_t of)
{
    struct distill *d = ctx;
    struct ral_step_stats t;
    const double began = ral_now_s();
    char kd[32], jsd[32];
    int rc;

    d->objective.adamw = ral_optim_now(&d->job->optim, &d->policy.state);
    rc = ral_train_step(&d->policy.state, &d->objective, g, n, &t, &d->a,
                        d->err);
    if (rc < 0)
        return rc;
    ral_debug(d->log, "update %zu of %zu: loss %.5f, KL %s, J %s nats", number,
              of, t.loss, ral_measured(&t, "kd", kd),
              ral_measured(&t, "jsd", jsd));
    return ral_metrics_put(&d->metrics,
                           ral_training_metrics("ral-distill",
                                                &d->policy.state, &t,
                                                d->objective.adamw.lr,
                                                ral_now_s() - began, NULL),
                           d->err);
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

/* What is compared are planes of one place: each of the student's layers gets
 * that of the teacher which the same number of the list names. Ascending, as
 * ral_look_init leaves both, 1 and -2 stand in one order of two layers and in
 * the other of four. */
static void pair_layers(struct distill *d)
{
    const struct ral_ints *list = &d->job->attn.layers;
    const int64_t of_student = (int64_t)d->policy.model->config.layers;
    const int64_t of_teacher = (int64_t)d->teacher.model->config.layers;
    const struct ral_look_conf *to = &d->objective.look;

    for (size_t i = 0; i < list->n; i++)
        for (size_t k = 0; k < to->layers; k++) {
            const int64_t l = list->item[i];

            if (to->layer[k] == (l < 0 ? of_student + l : l))
                d->objective.teacher_look.layer[k] =
                    (int32_t)(l < 0 ? of_teacher + l : l);
        }
}

/* KL of tokens, and by its weight J of attention rows. */
static int set_objective(struct distill *d)
{
    const struct ral_distill_job *j = d->job;
    struct ral_objective *o = &d->objective;
    struct ral_term *attention;
    int rc;

    *o = (struct ral_objective){
        .teacher = d->teacher.model,
        .max_grad_norm = j->optim.max_grad_norm,
        .micro_tokens = (size_t)j->micro_tokens,
        .visuals = visuals,
        .ctx = d,
    };
    ral_objective_add(o, &ral_term_teacher_kl, j->kd_coef);
    if (j->attn_coef <= 0)
        return 0;
    attention = ral_objective_add(o, &ral_term_teacher_attention,
                                  j->attn_coef);
    if ((rc = ral_reduce_parse(&attention->reduce, j->attn_reduce, d->err)) <
            0 ||
        (rc = ral_job_look(&j->attn, d->policy.model, &o->look, d->err)) < 0)
        return rc;
    if ((rc = ral_job_look(&j->attn, d->teacher.model, &o->teacher_look,
                           d->err)) < 0)
        return ral_err_at(d->err, "%s", d->teacher.dir);
    pair_layers(d);
    if (o->look.each &&
        d->teacher.model->config.heads != d->policy.model->config.heads)
        return ral_err_set(d->err, -RAL_EUSAGE,
                           "distill.attn_heads each: the teacher has %zu "
                           "heads, the student %zu; compare their mean",
                           d->teacher.model->config.heads,
                           d->policy.model->config.heads);
    return 0;
}

static int start_distill(struct distill *d, char *const *streams, size_t n)
{
    const struct ral_distill_job *j = d->job;
    const struct ral_prompt_conf prompts = ral_data_prompts(&j->data);
    const struct ral_machine_conf machine =
        ral_job_machine(d->common, j->backward);
    struct ral_held_conf conf = {
        .max_record = j->max_record,
        .media_root = j->data.media_root,
    };
    int rc;

    if (!j->teacher)
        return ral_err_set(d->err, -RAL_EUSAGE, "-t TEACHER is needed");
    if ((rc = RAL_OPTIM_CHECK("distill", &j->optim, d->err)) < 0 ||
        (rc = ral_training_out_check(j->out, j->force, d->err)) < 0 ||
        (rc = ral_machine_open(&d->dev, &machine, d->err)) < 0 ||
        (rc = ral_policy_open(&d->policy, j->model, d->dev, "distill",
                              &prompts, d->err)) < 0 ||
        (rc = ral_policy_open(&d->teacher, j->teacher, d->dev, NULL, &prompts,
                              d->err)) < 0 ||
        (rc = check_tokenizers(d)) < 0 || (rc = set_objective(d)) < 0)
        return rc;
    ral_space_init(&d->a, d->dev);
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
    int rc = start_distill(&d, streams, n);

    if (rc == 0)
        rc = run(&d);
    if (rc == 0)
        rc = ral_training_save(&d.policy, job->out, job->force,
                               common->conf.path, err);
    ral_metrics_close(&d.metrics);
    ral_held_release(&d.held);
    ral_policy_close(&d.policy);
    ral_policy_close(&d.teacher);
    ral_space_release(&d.a);
    ral_dev_close(d.dev);
    return rc;
}

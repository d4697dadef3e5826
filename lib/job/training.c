/* lib/job/training.c - what the programs that write checkpoints share. */
#include "job/training.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cblas.h>

#include "base/file.h"

struct ral_machine_conf ral_job_machine(const struct ral_common *c,
                                        int backward)
{
    return (struct ral_machine_conf){
        .device = c->device,
        .cpu = c->cpu,
        .threads = c->threads,
        .blas = backward == RAL_BACKWARD_BLAS,
    };
}

int ral_machine_about(const struct ral_common *c, struct ral_buf *out)
{
    const struct ral_machine_conf conf =
        ral_job_machine(c, RAL_BACKWARD_EXACT);
    struct ral_err err = {0};
    struct ral_dev *dev;

    if (ral_machine_open(&dev, &conf, &err) < 0)
        return ral_buf_printf(out, "machine: %s\n", err.msg);
    ral_buf_printf(out, "machine: %s\nkernels: %s\n", dev->ops->name,
                   dev->kernels);
    ral_dev_close(dev);
    return ral_buf_printf(out, "BLAS: %s (%s), for backward: blas alone\n",
                          openblas_get_corename(), openblas_get_config());
}

int ral_job_look(const struct ral_attn_settings *a, const struct ral_model *m,
                 struct ral_look_conf *look, struct ral_err *err)
{
    return ral_look_init(look, &m->config, a->layers.item, a->layers.n,
                         a->heads == RAL_ATTN_HEADS_EACH, err);
}

struct ral_adamw ral_optim_now(const struct ral_optim_settings *o,
                               const struct ral_state *s)
{
    const double f = ral_schedule_factor(
        (enum ral_schedule)o->schedule, s->updates + s->skipped,
        (uint64_t)o->warmup_steps, (uint64_t)o->max_steps);

    return (struct ral_adamw){o->learning_rate * f, o->beta1, o->beta2,
                              o->epsilon, o->weight_decay};
}

/* ---- checkpoints ---- */

int ral_training_out_check(const char *out, bool force, struct ral_err *err)
{
    struct ral_outdir dir;
    int rc;

    if (!out)
        return ral_err_set(err, -RAL_EUSAGE, "-o DIR is needed");
    if ((rc = ral_outdir_open(&dir, out, force, "config.json", err)) == 0)
        ral_outdir_abort(&dir);
    return rc;
}

static int keep_recipe(const char *recipe, const char *dir,
                       struct ral_err *err)
{
    char *path = ral_path_join(dir, "ral/recipe.yaml");
    struct ral_buf text = {0};
    struct ral_out out;
    int rc = path ? ral_file_read(recipe, 1 << 24, &text, err)
                  : ral_err_set(err, -RAL_ENOMEM, "out of memory");

    if (rc == 0 && (rc = ral_out_open(&out, path, err)) == 0) {
        rc = ral_write_all(out.fd, text.data, text.len, path, err);
        if (rc == 0)
            rc = ral_out_finish(&out, err);
        else
            ral_out_abort(&out);
    }
    ral_buf_release(&text);
    free(path);
    return rc;
}

int ral_training_save(struct ral_policy *p, const char *out, bool force,
                      const char *recipe, struct ral_err *err)
{
    struct ral_outdir dir;
    int rc = ral_outdir_open(&dir, out, force, "config.json", err);

    if (rc < 0)
        return rc;
    rc = ral_state_save(&p->state, p->dir, dir.tmp, err);
    if (rc == 0 && recipe)
        rc = keep_recipe(recipe, dir.tmp, err);
    if (rc == 0)
        return ral_outdir_finish(&dir, err);
    ral_outdir_abort(&dir);
    return rc;
}

/* ---- metrics ---- */

/* What the terms measured, and more, after what every step has. */
json_t *ral_training_metrics(const char *program, const struct ral_state *s,
                             const struct ral_step_stats *t, double lr,
                             double seconds, json_t *more)
{
    json_t *j = json_pack(
        "{s:s,s:I,s:I,s:o,s:o,s:o,s:I,s:I,s:I,s:I,s:o,s:o,s:o,s:I,s:b,s:s}",
        "program", program, "step", (json_int_t)s->step, "update",
        (json_int_t)(s->updates + s->skipped), "loss",
        ral_json_number(t->loss), "grad_norm", ral_json_number(t->grad_norm),
        "learning_rate", ral_json_number(lr), "tokens", (json_int_t)t->tokens,
        "response_tokens", (json_int_t)t->response_tokens, "samples",
        (json_int_t)t->samples, "flat_groups", (json_int_t)t->flat_groups,
        "seconds", ral_json_number(seconds), "tokens_per_s",
        ral_json_number((double)t->tokens / seconds), "samples_per_s",
        ral_json_number((double)t->samples / seconds), "peak_bytes",
        (json_int_t)ral_peak_rss(), "skipped", (int)t->skipped,
        "backward", ral_dev_backward(s->model->dev));

    for (size_t i = 0; i < t->metrics.n; i++) {
        const struct ral_metric *m = &t->metrics.metric[i];
        const double x = ral_metric_value(m);

        if (isfinite(x))
            json_object_set_new(j, m->name, ral_json_number(x));
    }
    if (more)
        json_object_update(j, more);
    json_decref(more);
    return j;
}

const char *ral_measured(const struct ral_step_stats *t, const char *name,
                         char text[32])
{
    const double x = ral_metric_get(&t->metrics, name);

    snprintf(text, 32, isfinite(x) ? "%.3g" : "-", x);
    return text;
}

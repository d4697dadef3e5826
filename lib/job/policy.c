/* lib/job/policy.c - a checkpoint with all that it takes to run it. */
#include "job/policy.h"

#include <cblas.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "model/digest.h"

static int check_agreement(const struct ral_policy *p, struct ral_err *err)
{
    const struct ral_config *c = &p->model->config;
    const struct ral_patch_spec *s = &p->processor.spec;

    if (s->patch != c->vision.patch || s->merge != c->vision.merge ||
        s->temporal != c->vision.temporal)
        return ral_err_set(err, -RAL_EINVAL,
                           "%s: preprocessor_config.json and config.json "
                           "differ in patch, merge or temporal size",
                           p->dir);
    if (p->processor.image_id != c->image_id)
        return ral_err_set(err, -RAL_EINVAL,
                           "%s: <|image_pad|> is %d in tokenizer.json, %d in "
                           "config.json",
                           p->dir, p->processor.image_id, c->image_id);
    return 0;
}

int ral_policy_open(struct ral_policy *p, const char *dir, const char *cpu,
                    int64_t threads, const char *kind,
                    const struct ral_prompt_conf *prompts,
                    struct ral_err *err)
{
    unsigned flags;
    int rc;

    memset(p, 0, sizeof *p);
    if (!dir)
        return ral_err_set(err, -RAL_EUSAGE, "-m CHECKPOINT is needed");
    if ((rc = ral_cpu_flags(&flags, cpu, err)) < 0)
        return rc;
    if ((rc = ral_checkpoint_resolve(&p->dir, dir, err)) < 0)
        return rc;
    if ((rc = ral_nn_init(&p->nn, flags, (int)threads, err)) < 0 ||
        (rc = kind ? ral_state_open(&p->state, p->dir, kind, &p->nn, err)
                   : ral_model_open(&p->model, p->dir, &p->nn, false, err)) <
            0)
        goto fail;
    if (kind)
        p->model = p->state.model;
    if ((rc = ral_processor_open(&p->processor, p->dir, prompts,
                                 p->model->config.vocab, err)) < 0 ||
        (rc = check_agreement(p, err)) < 0 ||
        (rc = ral_policy_digest(p->dir, p->digest, err)) < 0)
        goto fail;
    return 0;

fail:
    ral_policy_close(p);
    return rc;
}

void ral_policy_close(struct ral_policy *p)
{
    ral_processor_close(&p->processor);
    if (p->state.model)
        ral_state_close(&p->state);
    else
        ral_model_close(p->model);
    ral_nn_release(&p->nn);
    free(p->dir);
    memset(p, 0, sizeof *p);
}

struct ral_prompt_conf ral_data_prompts(const struct ral_data_settings *d)
{
    return (struct ral_prompt_conf){d->system_prompt, d->prompt_suffix,
                                    d->response_template,
                                    (enum ral_media_order)d->media_order};
}

int ral_policy_about(const char *cpu, struct ral_buf *out)
{
    struct ral_err err = {0};
    unsigned flags;
    const bool known = ral_cpu_flags(&flags, cpu, &err) == 0;

    ral_buf_printf(out, "kernels: %s\n", known ? ral_cpu_name(flags) : err.msg);
    return ral_buf_printf(out, "BLAS: %s (%s)\n", openblas_get_corename(),
                          openblas_get_config());
}

/* lib/ckpt/policy.c - a checkpoint with all that it takes to run it. */
#include "ckpt/policy.h"

#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "ckpt/digest.h"
#include "cpu/guard.h"
#include "cpu/machine.h"

int ral_machine_open(struct ral_dev **out, const struct ral_machine_conf *conf,
                     struct ral_err *err)
{
    const char *device = conf->device ? conf->device : "cpu";
    unsigned flags;
    int rc;

    *out = NULL;
    if ((rc = ral_cpu_flags(&flags, conf->cpu, err)) < 0)
        return rc;
    if (!strcmp(device, "cpu"))
        rc = ral_cpu_open(out, flags, (int)conf->threads, err);
    else if (!strcmp(device, "guard"))
        rc = ral_guard_open(out, flags, (int)conf->threads, err);
    else
        rc = ral_err_set(err, -RAL_EUSAGE,
                         "--device %s: this build knows cpu, and guard for "
                         "tests",
                         device);
    if (rc == 0 && conf->blas && (rc = ral_cpu_use_blas(*out, err)) < 0) {
        ral_dev_close(*out);
        *out = NULL;
    }
    return rc;
}

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

int ral_policy_open(struct ral_policy *p, const char *dir, struct ral_dev *dev,
                    const char *kind, const struct ral_prompt_conf *prompts,
                    struct ral_err *err)
{
    int rc;

    memset(p, 0, sizeof *p);
    if (!dir)
        return ral_err_set(err, -RAL_EUSAGE, "-m CHECKPOINT is needed");
    p->dev = dev;
    if ((rc = ral_checkpoint_resolve(&p->dir, dir, err)) < 0)
        return rc;
    if ((rc = kind ? ral_state_open(&p->state, p->dir, kind, dev, err)
                   : ral_model_open(&p->model, p->dir, dev, false, err)) < 0)
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
    free(p->dir);
    memset(p, 0, sizeof *p);
}

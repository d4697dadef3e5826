/* lib/job/whole.c - a recipe as a whole, with what every program reads. */
#include "job/whole.h"

#include "job/distill.h"
#include "job/eval.h"
#include "job/init.h"
#include "job/reward.h"
#include "job/rollout.h"
#include "job/update.h"
#include "reward/rules.h"

/* What a table cannot tell, but a run would only find after hours. */
static int check_values(const struct ral_reward_job *reward,
                        const struct ral_update_job *update,
                        struct ral_err *err)
{
    struct ral_rule_set rules = {0};
    int rc = RAL_OPTIM_CHECK("sft", &update->sft_optim, err);

    if (rc == 0)
        rc = RAL_OPTIM_CHECK("update", &update->optim, err);
    for (size_t i = 0; rc == 0 && i < reward->weights.n; i++)
        rc = ral_rule_set_add(&rules, reward->weights.name[i],
                              reward->weights.value[i], err);
    return rc;
}

int ral_recipe_check(const char *path, const struct ral_list *overrides,
                     struct ral_err *err)
{
    struct ral_init_job init = RAL_INIT_JOB_INIT;
    struct ral_rollout_job rollout = RAL_ROLLOUT_JOB_INIT;
    struct ral_reward_job reward = RAL_REWARD_JOB_INIT;
    struct ral_update_job update = RAL_UPDATE_JOB_INIT;
    struct ral_distill_job distill = RAL_DISTILL_JOB_INIT;
    struct ral_eval_job eval = RAL_EVAL_JOB_INIT;
    const struct ral_setting table[] = {
        RAL_INIT_SETTINGS(&init),
        RAL_ROLLOUT_SETTINGS(&rollout),
        RAL_REWARD_SETTINGS(&reward),
        RAL_UPDATE_SETTINGS(&update),
        RAL_DISTILL_SETTINGS(&distill),
        RAL_EVAL_SETTINGS(&eval),
        RAL_SET_STR("train.output", NULL),
        RAL_SET_INT("train.steps", NULL, 0, 1 << 30),
        RAL_SET_INT("train.seed", NULL, 0, (double)INT64_MAX),
        RAL_SET_INT("train.keep", NULL, 1, 1 << 30),
        RAL_SET_INT("train.save_every", NULL, 1, 1 << 30),
        RAL_SET_BOOL("train.keep_streams", NULL),
    };
    struct ral_recipe recipe = RAL_RECIPE(table);
    int rc = ral_recipe_load(&recipe, path, overrides, err);

    if (rc == 0)
        rc = check_values(&reward, &update, err);
    ral_recipe_release(&recipe);
    return rc;
}

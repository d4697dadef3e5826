/* lib/job/whole.c - a recipe as a whole, with what every program reads. */
#include "job/whole.h"

#include <string.h>

#include "job/distill.h"
#include "job/eval.h"
#include "job/init.h"
#include "job/reward.h"
#include "job/rollout.h"
#include "job/update.h"

struct whole {
    struct ral_init_job init;
    struct ral_data_settings data;
    struct ral_rollout_job rollout;
    struct ral_reward_job reward;
    struct ral_update_job update;
    struct ral_distill_job distill;
    struct ral_eval_job eval;
};

/* Of cmd/ral-train. */
#define TRAIN_SETTINGS                                                         \
    RAL_SET_STR("train.output", NULL, "the run folder"),                       \
        RAL_SET_INT("train.steps", NULL, 0, 1 << 30, 0,                        \
                    "on-policy steps; 0 is SFT alone", .shown = ""),           \
        RAL_SET_INT("train.seed", NULL, 0, RAL_MANY, 0,                        \
                    "of all random numbers"),                                  \
        RAL_SET_INT("train.keep", NULL, 1, 1 << 30, 3,                         \
                    "how many checkpoints stay"),                              \
        RAL_SET_INT("train.save_every", NULL, 1, 1 << 30, 0,                   \
                    "every such step's checkpoint stays for good",             \
                    .shown = "none"),                                          \
        RAL_SET_BOOL("train.keep_streams", NULL, false,                        \
                     "keep the scored rollouts of each step")

/* Every key, once. */
#define SETTINGS(w)                                                            \
    RAL_MODEL_SETTINGS(&(w)->init.init, &(w)->init.std),                       \
        RAL_DATA_SETTINGS(&(w)->data), RAL_ROLLOUT_SETTINGS(&(w)->rollout),    \
        RAL_REWARD_SETTINGS(&(w)->reward), RAL_UPDATE_SETTINGS(&(w)->update),  \
        RAL_DISTILL_SETTINGS(&(w)->distill), RAL_EVAL_SETTINGS(&(w)->eval),    \
        TRAIN_SETTINGS, RAL_OPT_END

/* What a table cannot tell, but a run would only find after hours. */
static int check_values(const struct whole *w, struct ral_err *err)
{
    int rc = RAL_OPTIM_CHECK("sft", &w->update.sft_optim, err);

    if (rc == 0)
        rc = RAL_OPTIM_CHECK("update", &w->update.optim, err);
    if (rc == 0)
        rc = ral_reward_check(&w->reward, err);
    return rc;
}

int ral_recipe_check(const char *path, const struct ral_list *overrides,
                     struct ral_err *err)
{
    struct whole w = {0};
    const struct ral_setting rows[] = {SETTINGS(&w)};
    struct ral_arena texts = {0};
    int rc;

    ral_setting_defaults(rows);
    rc = ral_recipe_load(&texts, rows, path, overrides, err);
    if (rc == 0)
        rc = check_values(&w, err);
    ral_arena_release(&texts);
    return rc;
}

int ral_recipe_default(const char *key, struct ral_buf *out,
                       struct ral_err *err)
{
    struct whole w;
    const struct ral_setting rows[] = {SETTINGS(&w)}, *s = rows;
    char text[RAL_SETTING_TEXT];

    while (s->key && strcmp(s->key, key))
        s++;
    if (!s->key || s->shown)
        return 0;
    ral_setting_shown(s, text);
    if (!*text)
        return 0;
    if (ral_buf_printf(out, "%s\n", text) < 0)
        return ral_err_nomem(err, "%s", key);
    return 1;
}

int ral_recipe_settings(struct ral_buf *out, struct ral_err *err)
{
    struct whole w;
    const struct ral_setting rows[] = {SETTINGS(&w)};
    char values[RAL_SETTING_TEXT], shown[RAL_SETTING_TEXT];

    for (const struct ral_setting *s = rows; s->key; s++) {
        ral_setting_values(s, values);
        ral_setting_shown(s, shown);
        if (ral_buf_printf(out, "%s\t%s%s\t%s\t%s\t%s\n", s->key,
                           s->name ? "--" : "", s->name ? s->name : "", values,
                           shown, s->help) < 0)
            return ral_err_nomem(err, "settings");
    }
    return 0;
}

/* cmd/ral-reward.c - read rollouts, write them scored. */
#include <string.h>

#include "base/opt.h"
#include "job/common.h"
#include "job/reward.h"

static void version(void)
{
    ral_version_show("ral-reward");
}

int main(int argc, char **argv)
{
    const char *args[argc + 1]; // parsing reorders argv
    struct ral_reward_job job = RAL_REWARD_JOB_INIT;
    const struct ral_setting settings[] = {RAL_REWARD_SETTINGS(&job)};
    struct ral_recipe recipe = RAL_RECIPE(settings);
    struct ral_common common = RAL_COMMON_INIT(&recipe);
    struct ral_log log;
    struct ral_err err = {0};
    const struct ral_opt opts[] = {
        RAL_OPT_STR('o', "output", &job.out, "FILE", "write here [stdout]"),
        RAL_OPT_NUM(0, "max-failed", &job.max_failed, "X",
                    "exit 3 if more of the records failed [0.1]"),
        RAL_OPT_U64(0, "max-record", &job.max_record, "BYTES",
                    "refuse larger records [1 GiB]"),
        RAL_COMMON_OPTS(&common, version),
        RAL_OPT_END,
    };
    int rc;

    memcpy(args, argv, (size_t)argc * sizeof *args);
    job.args = args + (argc > 0);
    job.n_args = (size_t)argc - (argc > 0);
    rc = ral_opt_parse(opts, &argc, &argv, "[options] [FILE...]",
                       "Scores the samples of a record stream by the rules of "
                       "a recipe.",
                       &err);
    if (rc == 0) { // operands are left in argv
        job.log = common.log;
        rc = ral_common_start(&common, "ral-reward", &log, &err);
    }
    if (rc == 0)
        rc = ral_reward_run(&job, argv, (size_t)argc, &log, &err);
    ral_recipe_release(&recipe);
    return ral_opt_exit("ral-reward", rc, &err);
}

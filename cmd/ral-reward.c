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
    struct ral_reward_job job = {0};
    struct ral_common common = RAL_COMMON_INIT(common);
    struct ral_log log;
    struct ral_err err = {0};
    const struct ral_setting rows[] = {
        RAL_OPT_STR('o', "output", &job.out, "FILE", "write here",
                    .shown = "stdout"),
        RAL_FAILED_OPT(&job.max_failed, 0.1, "records"),
        RAL_RECORD_OPT(&job.max_record),
        RAL_REWARD_SETTINGS(&job),
        RAL_COMMON_OPTS(&common, version),
        RAL_OPT_END,
    };
    int rc;

    memcpy(args, argv, (size_t)argc * sizeof *args);
    job.args = args + (argc > 0);
    job.n_args = (size_t)argc - (argc > 0);
    rc = ral_opt_parse(rows, &argc, &argv, "[options] [FILE...]",
                       "Scores the samples of a record stream by the rules of "
                       "a recipe.",
                       &err);
    if (rc == 0) { // operands are left in argv
        job.log = common.log;
        rc = ral_common_start(&common, "ral-reward", &log, &err);
    }
    if (rc == 0)
        rc = ral_reward_run(&job, argv, (size_t)argc, &log, &err);
    ral_arena_release(&common.texts);
    return ral_opt_exit("ral-reward", rc, &err);
}

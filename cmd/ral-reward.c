/* cmd/ral-reward.c - read rollouts, write them scored. */
#include "job/common.h"
#include "job/reward.h"

static int run(void *arg, const struct ral_call *call, struct ral_err *err)
{
    struct ral_reward_job *job = arg;

    job->log = call->common->log;
    job->args = call->common->args;
    job->n_args = call->common->n_args;
    return ral_reward_run(job, call->argv, call->argc, call->log, err);
}

int main(int argc, char **argv)
{
    struct ral_reward_job job = {0};
    struct ral_common common = RAL_COMMON_INIT(common);
    const struct ral_setting opts[] = {
        RAL_OPT_STR('o', "output", &job.out, "FILE", "write here",
                    .shown = "stdout"),
        RAL_FAILED_OPT(&job.max_failed, 0.1, "records"),
        RAL_RECORD_OPT(&job.max_record),
        RAL_REWARD_SETTINGS(&job),
        RAL_COMMON_OPTS(&common),
        RAL_OPT_END,
    };
    const struct ral_program program = {
        .name = "ral-reward",
        .usage = "[options] [FILE...]",
        .summary = "Scores the samples of a record stream by the rules of "
                   "a recipe.",
        .opts = opts,
        .common = &common,
        .job = &job,
        .run = run,
    };

    return ral_main(&program, argc, argv);
}

/* cmd/ral-init.c - a checkpoint of fresh random weights. */
#include "job/init.h"

static int run(void *job, const struct ral_call *call, struct ral_err *err)
{
    return ral_init_run(job, call->common, call->argv, call->argc,
                        call->log, err);
}

int main(int argc, char **argv)
{
    struct ral_init_job job = RAL_INIT_JOB_INIT;
    const struct ral_setting settings[] = {RAL_INIT_SETTINGS(&job)};
    struct ral_recipe recipe = RAL_RECIPE(settings);
    struct ral_common common = RAL_COMMON_INIT(&recipe);
    const struct ral_opt opts[] = {
        RAL_OPT_STR('o', "output", &job.out, "DIR", "checkpoint to write"),
        RAL_OPT_FLAG(0, "force", &job.force, "replace an existing -o"),
        RAL_OPT_STR(0, "init", &job.init, "HOW",
                    "fan_in: deviation in^-1/2 [default]; normal: --std"),
        RAL_OPT_NUM(0, "std", &job.std, "X", "deviation of normal [0.02]"),
        RAL_COMMON_OPTS(&common),
        RAL_OPT_END,
    };
    const struct ral_program program = {
        .name = "ral-init",
        .usage = "DIR -o CKPT [options]",
        .summary = "Writes random weights for the sizes of "
                   "DIR/config.json, and DIR's other files beside "
                   "them.",
        .opts = opts,
        .common = &common,
        .job = &job,
        .run = run,
    };

    return ral_main(&program, argc, argv);
}

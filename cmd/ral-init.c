/* cmd/ral-init.c - a checkpoint of fresh random weights. */
#include "job/init.h"

static int run(void *job, const struct ral_call *call, struct ral_err *err)
{
    return ral_init_run(job, call->common, call->argv, call->argc,
                        call->log, err);
}

int main(int argc, char **argv)
{
    struct ral_init_job job = {0};
    struct ral_common common = RAL_COMMON_INIT(common);
    const struct ral_setting opts[] = {
        RAL_OPT_STR('o', "output", &job.out, "DIR", "checkpoint to write"),
        RAL_FORCE_OPT(&job.force),
        RAL_MODEL_SETTINGS(&job.init, &job.std),
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

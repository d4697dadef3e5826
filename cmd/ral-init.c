/* cmd/ral-init.c - a checkpoint of fresh random weights. */
#include "job/init.h"

static void version(void)
{
    ral_version_show("ral-init");
}

int main(int argc, char **argv)
{
    struct ral_init_job job = {0};
    struct ral_common common = RAL_COMMON_INIT(common);
    struct ral_log log;
    struct ral_err err = {0};
    const struct ral_setting rows[] = {
        RAL_OPT_STR('o', "output", &job.out, "DIR", "checkpoint to write"),
        RAL_FORCE_OPT(&job.force),
        RAL_MODEL_SETTINGS(&job.init, &job.std),
        RAL_COMMON_OPTS(&common, version),
        RAL_OPT_END,
    };
    int rc = ral_opt_parse(rows, &argc, &argv, "DIR -o CKPT [options]",
                           "Writes random weights for the sizes of "
                           "DIR/config.json, and DIR's other files beside "
                           "them.",
                           &err);

    if (rc == 0)
        rc = ral_common_start(&common, "ral-init", &log, &err);
    if (rc == 0)
        rc = ral_init_run(&job, &common, argv, (size_t)argc, &log, &err);
    ral_arena_release(&common.texts);
    return ral_opt_exit("ral-init", rc, &err);
}

/* cmd/ral-init.c - a checkpoint of fresh random weights. */
#include "job/init.h"

static void version(void)
{
    ral_version_show("ral-init");
}

int main(int argc, char **argv)
{
    struct ral_init_job job = RAL_INIT_JOB_INIT;
    const struct ral_setting settings[] = {RAL_INIT_SETTINGS(&job)};
    struct ral_recipe recipe = RAL_RECIPE(settings);
    struct ral_common common = RAL_COMMON_INIT(&recipe);
    struct ral_log log;
    struct ral_err err = {0};
    const struct ral_opt opts[] = {
        RAL_OPT_STR('o', "output", &job.out, "DIR", "checkpoint to write"),
        RAL_OPT_FLAG(0, "force", &job.force, "replace an existing -o"),
        RAL_OPT_STR(0, "init", &job.init, "HOW",
                    "fan_in: deviation in^-1/2 [default]; normal: --std"),
        RAL_OPT_NUM(0, "std", &job.std, "X", "deviation of normal [0.02]"),
        RAL_COMMON_OPTS(&common, version),
        RAL_OPT_END,
    };
    int rc = ral_opt_parse(opts, &argc, &argv, "DIR -o CKPT [options]",
                           "Writes random weights for the sizes of "
                           "DIR/config.json, and DIR's other files beside "
                           "them.",
                           &err);

    if (rc == 0)
        rc = ral_common_start(&common, "ral-init", &log, &err);
    if (rc == 0)
        rc = ral_init_run(&job, &common, argv, (size_t)argc, &log, &err);
    ral_recipe_release(&recipe);
    return ral_opt_exit("ral-init", rc, &err);
}

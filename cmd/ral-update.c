/* cmd/ral-update.c - training steps: GRPO with RAL, or SFT with --sft. */
#include <stdlib.h>

#include "base/cpu.h"
#include "job/update.h"

static void version(void)
{
    ral_version_show_kernels("ral-update", getenv("RAL_CPU"));
}

int main(int argc, char **argv)
{
    struct ral_update_job job = RAL_UPDATE_JOB_INIT;
    const struct ral_setting settings[] = {RAL_UPDATE_SETTINGS(&job)};
    struct ral_recipe recipe = RAL_RECIPE(settings);
    struct ral_common common = RAL_COMMON_INIT(&recipe);
    struct ral_log log;
    struct ral_err err = {0};
    const struct ral_opt opts[] = {
        RAL_OPT_STR('m', "model", &job.model, "DIR",
                    "checkpoint to train, or run folder (its newest)"),
        RAL_OPT_STR('o', "output", &job.out, "DIR", "checkpoint to write"),
        RAL_OPT_FLAG(0, "force", &job.force, "replace an existing -o"),
        RAL_OPT_STR(0, "ref", &job.ref, "DIR",
                    "frozen reference, needed when update.beta > 0"),
        RAL_OPT_FLAG(0, "sft", &job.sft,
                     "supervised: the input is rows with replies"),
        RAL_OPT_INT(0, "steps", &job.steps, "S",
                    "with --sft: so many steps of sft.batch_size rows [1]"),
        RAL_SPLIT_OPT(&job.split, "sft"),
        RAL_OPT_FLAG(0, "allow-stale", &job.allow_stale,
                     "train on another policy's rollouts"),
        RAL_OPT_STR(0, "media-root", &job.data.media_root, "DIR",
                    "media paths are relative to this [the stream's]"),
        RAL_OPT_U64(0, "max-record", &job.max_record, "BYTES",
                    "refuse larger records [1 GiB]"),
        RAL_COMMON_OPTS(&common, version),
        RAL_OPT_END,
    };
    int rc;

    ral_threads_passive(argv);
    rc = ral_opt_parse(opts, &argc, &argv,
                           "-m DIR -o DIR [options] [STREAM... | ROWS.jsonl]",
                           "Trains a policy on a scored stream, which is read "
                           "to its end first, and writes a checkpoint.",
                           &err);

    job.cpu = getenv("RAL_CPU");
    if (rc == 0)
        rc = ral_common_start(&common, "ral-update", &log, &err);
    if (rc == 0)
        rc = ral_update_run(&job, &common, argv, (size_t)argc, &log, &err);
    ral_recipe_release(&recipe);
    return ral_opt_exit("ral-update", rc, &err);
}

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
    struct ral_update_job job = {0};
    struct ral_common common = RAL_COMMON_INIT(common);
    struct ral_log log;
    struct ral_err err = {0};
    const struct ral_setting rows[] = {
        RAL_OPT_STR('m', "model", &job.model, "DIR",
                    "checkpoint to train, or run folder (its newest)"),
        RAL_OPT_STR('o', "output", &job.out, "DIR", "checkpoint to write"),
        RAL_FORCE_OPT(&job.force),
        RAL_OPT_STR(0, "ref", &job.ref, "DIR",
                    "frozen reference, needed when update.beta > 0"),
        RAL_OPT_FLAG(0, "sft", &job.sft,
                     "supervised: the input is rows with replies"),
        RAL_OPT_INT(0, "steps", &job.steps, "S", 0, RAL_MANY, 1,
                    "with --sft: so many steps of sft.batch_size rows"),
        RAL_SPLIT_OPT(&job.split, "sft"),
        RAL_STALE_OPT(&job.allow_stale),
        RAL_RECORD_OPT(&job.max_record),
        RAL_UPDATE_SETTINGS(&job),
        RAL_DATA_SETTINGS(&job.data),
        RAL_MODEL_SETTINGS(NULL, NULL),
        RAL_COMMON_OPTS(&common, version),
        RAL_OPT_END,
    };
    int rc;

    ral_threads_passive(argv);
    rc = ral_opt_parse(rows, &argc, &argv,
                           "-m DIR -o DIR [options] [STREAM... | ROWS.jsonl]",
                           "Trains a policy on a scored stream, which is read "
                           "to its end first, and writes a checkpoint.",
                           &err);

    job.cpu = getenv("RAL_CPU");
    if (rc == 0)
        rc = ral_common_start(&common, "ral-update", &log, &err);
    if (rc == 0)
        rc = ral_update_run(&job, &common, argv, (size_t)argc, &log, &err);
    ral_arena_release(&common.texts);
    return ral_opt_exit("ral-update", rc, &err);
}

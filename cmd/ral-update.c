/* cmd/ral-update.c - training steps: GRPO with RAL, or SFT with --sft. */
#include <stdlib.h>

#include "job/policy.h"
#include "job/update.h"

static int run(void *job, const struct ral_call *call, struct ral_err *err)
{
    return ral_update_run(job, call->common, call->argv, call->argc,
                          call->log, err);
}

int main(int argc, char **argv)
{
    struct ral_update_job job = RAL_UPDATE_JOB_INIT;
    const struct ral_setting settings[] = {RAL_UPDATE_SETTINGS(&job)};
    struct ral_recipe recipe = RAL_RECIPE(settings);
    struct ral_common common = RAL_COMMON_INIT(&recipe);
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
        RAL_COMMON_OPTS(&common),
        RAL_OPT_END,
    };
    const struct ral_program program = {
        .name = "ral-update",
        .usage = "-m DIR -o DIR [options] [STREAM... | ROWS.jsonl]",
        .summary = "Trains a policy on a scored stream, which is read "
                   "to its end first, and writes a checkpoint.",
        .opts = opts,
        .common = &common,
        .job = &job,
        .run = run,
        .about = ral_policy_about,
    };

    job.cpu = getenv("RAL_CPU");
    return ral_main(&program, argc, argv);
}

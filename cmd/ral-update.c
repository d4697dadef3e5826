/* cmd/ral-update.c - training steps: GRPO with RAL, or SFT with --sft. */
#include "job/update.h"

static int run(void *job, const struct ral_call *call, struct ral_err *err)
{
    return ral_update_run(job, call->common, call->argv, call->argc,
                          call->log, err);
}

int main(int argc, char **argv)
{
    struct ral_update_job job = {0};
    struct ral_common common = RAL_COMMON_INIT(common);
    const struct ral_setting opts[] = {
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
        RAL_DEVICE_OPT(&common),
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
        .about = ral_machine_about,
    };

    return ral_main(&program, argc, argv);
}

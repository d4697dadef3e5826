/* cmd/ral-rollout.c - sample responses, with the attention behind them. */
#include "job/rollout.h"
#include "job/training.h"

static int run(void *arg, const struct ral_call *call, struct ral_err *err)
{
    struct ral_rollout_job *job = arg;

    job->args = call->common->args;
    job->n_args = call->common->n_args;
    return ral_rollout_run(job, call->common, call->argv, call->argc,
                           call->log, err);
}

int main(int argc, char **argv)
{
    struct ral_rollout_job job = {0};
    struct ral_common common = RAL_COMMON_INIT(common);
    const struct ral_setting opts[] = {
        RAL_OPT_STR('m', "model", &job.model, "DIR",
                    "checkpoint, or run folder (its newest)"),
        RAL_OPT_STR('o', "output", &job.out, "FILE", "write here",
                    .shown = "stdout"),
        RAL_ROLLOUT_SETTINGS(&job),
        RAL_OPT_FLAG(0, "given", &job.given,
                     "score the rows' last assistant message instead"),
        RAL_OPT_HEAD("rows"),
        RAL_OPT_INT(0, "draw", &job.draw, "N", 0, RAL_MANY, 0,
                    "take a batch of N rows of a seeded permutation",
                    .shown = "all rows"),
        RAL_OPT_INT(0, "step", &job.step, "K", 1, RAL_MANY, 1,
                    "the K-th batch"),
        RAL_OPT_STR(0, "shard", &job.shard, "K/N",
                    "the K-th of N contiguous parts", .shown = "all"),
        RAL_SPLIT_OPT(&job.split, "train"),
        RAL_DATA_SETTINGS(&job.data),
        RAL_LIMIT_OPT(&job.limit, "rows"),
        RAL_BATCH_OPT(&job.batch),
        RAL_FAILED_OPT(&job.max_failed, RAL_UNASKED, "rows"),
        RAL_MODEL_SETTINGS(NULL, NULL),
        RAL_DEVICE_OPT(&common),
        RAL_COMMON_OPTS(&common),
        RAL_OPT_END,
    };
    const struct ral_program program = {
        .name = "ral-rollout",
        .usage = "-m DIR [options] [ROWS.jsonl]",
        .summary = "Samples responses to the prompts of rows and writes "
                   "a record stream.",
        .opts = opts,
        .common = &common,
        .job = &job,
        .run = run,
        .about = ral_machine_about,
    };

    return ral_main(&program, argc, argv);
}

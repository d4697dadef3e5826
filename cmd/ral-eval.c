/* cmd/ral-eval.c - how often a policy is right, and where it looks. */
#include <stdlib.h>

#include "job/eval.h"
#include "job/policy.h"

static int run(void *job, const struct ral_call *call, struct ral_err *err)
{
    return ral_eval_run(job, call->common, call->argv, call->argc,
                        call->log, err);
}

int main(int argc, char **argv)
{
    struct ral_eval_job job = RAL_EVAL_JOB_INIT;
    const struct ral_setting settings[] = {RAL_EVAL_SETTINGS(&job)};
    struct ral_recipe recipe = RAL_RECIPE(settings);
    struct ral_common common = RAL_COMMON_INIT(&recipe);
    const struct ral_opt opts[] = {
        RAL_OPT_STR('m', "model", &job.model, "DIR",
                    "checkpoint, or run folder (its newest)"),
        RAL_OPT_STR('o', "output", &job.out, "FILE",
                    "write the results here [stdout]"),
        RAL_OPT_STR(0, "rows", &job.rows, "FILE",
                    "write each answer here, as JSON lines"),
        RAL_OPT_INT(0, "max-tokens", &job.max_tokens, "N",
                    "longest response [256]"),
        RAL_OPT_INT(0, "batch", &job.batch, "N",
                    "decode N prompts together [by size]; never changes a "
                    "bit"),
        RAL_OPT_HEAD("comparison"),
        RAL_OPT_STR(0, "baseline", &job.baseline, "FILE",
                    "earlier results"),
        RAL_OPT_NUM(0, "max-drop", &job.max_drop, "X",
                    "exit 3 if accuracy is lower by more [0]"),
        RAL_OPT_STR(0, "baseline-rows", &job.baseline_rows, "FILE",
                    "earlier --rows, for the paired difference"),
        RAL_OPT_HEAD("input"),
        RAL_SPLIT_OPT(&job.split, "test"),
        RAL_OPT_INT(0, "limit", &job.limit, "N", "stop after N rows"),
        RAL_OPT_STR(0, "media-root", &job.data.media_root, "DIR",
                    "media paths are relative to this [the rows' folder]"),
        RAL_OPT_NUM(0, "max-failed", &job.max_failed, "X",
                    "exit 3 if more of the rows fail [0.1]"),
        RAL_OPT_U64(0, "max-record", &job.max_record, "BYTES",
                    "refuse larger records of a stream [1 GiB]"),
        RAL_COMMON_OPTS(&common),
        RAL_OPT_END,
    };
    const struct ral_program program = {
        .name = "ral-eval",
        .usage = "[-m DIR] [options] [ROWS.jsonl | STREAM...]",
        .summary = "Answers rows greedily, or takes a stream's "
                   "answers, and measures them.",
        .opts = opts,
        .common = &common,
        .job = &job,
        .run = run,
        .about = ral_policy_about,
    };

    job.cpu = getenv("RAL_CPU");
    return ral_main(&program, argc, argv);
}

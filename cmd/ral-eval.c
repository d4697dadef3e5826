/* cmd/ral-eval.c - how often a policy is right, and where it looks. */
#include "job/eval.h"
#include "job/training.h"

static int run(void *job, const struct ral_call *call, struct ral_err *err)
{
    return ral_eval_run(job, call->common, call->argv, call->argc,
                        call->log, err);
}

int main(int argc, char **argv)
{
    struct ral_eval_job job = {0};
    struct ral_common common = RAL_COMMON_INIT(common);
    const struct ral_setting opts[] = {
        RAL_OPT_STR('m', "model", &job.model, "DIR",
                    "checkpoint, or run folder (its newest)"),
        RAL_OPT_STR('o', "output", &job.out, "FILE",
                    "write the results here", .shown = "stdout"),
        RAL_OPT_STR(0, "rows", &job.rows, "FILE",
                    "write each answer here, as JSON lines"),
        RAL_EVAL_SETTINGS(&job),
        RAL_BATCH_OPT(&job.batch),
        RAL_OPT_HEAD("comparison"),
        RAL_OPT_STR(0, "baseline", &job.baseline, "FILE",
                    "earlier results"),
        RAL_OPT_NUM(0, "max-drop", &job.max_drop, "X", 0, 1, RAL_UNASKED,
                    "exit 3 if accuracy is lower by more", .shown = "0"),
        RAL_OPT_STR(0, "baseline-rows", &job.baseline_rows, "FILE",
                    "earlier --rows, for the paired difference"),
        RAL_OPT_HEAD("input"),
        RAL_SPLIT_OPT(&job.split, "test"),
        RAL_DATA_SETTINGS(&job.data),
        RAL_LIMIT_OPT(&job.limit, "rows"),
        RAL_FAILED_OPT(&job.max_failed, RAL_UNASKED, "rows"),
        RAL_RECORD_OPT(&job.max_record),
        RAL_MODEL_SETTINGS(NULL, NULL),
        RAL_DEVICE_OPT(&common),
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
        .about = ral_machine_about,
    };

    return ral_main(&program, argc, argv);
}

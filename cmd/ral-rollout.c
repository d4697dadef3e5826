/* cmd/ral-rollout.c - sample responses, with the attention behind them. */
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "job/rollout.h"

static void version(void)
{
    ral_version_show_kernels("ral-rollout", getenv("RAL_CPU"));
}

int main(int argc, char **argv)
{
    const char *args[argc + 1]; // parsing reorders argv
    struct ral_rollout_job job = {0};
    struct ral_common common = RAL_COMMON_INIT(common);
    struct ral_log log;
    struct ral_err err = {0};
    const struct ral_setting rows[] = {
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
        RAL_COMMON_OPTS(&common, version),
        RAL_OPT_END,
    };
    int rc;

    ral_threads_passive(argv);
    memcpy(args, argv, (size_t)argc * sizeof *args);
    job.args = args + (argc > 0);
    job.n_args = (size_t)argc - (argc > 0);
    job.cpu = getenv("RAL_CPU");
    rc = ral_opt_parse(rows, &argc, &argv, "-m DIR [options] [ROWS.jsonl]",
                       "Samples responses to the prompts of rows and writes "
                       "a record stream.",
                       &err);
    if (rc == 0)
        rc = ral_common_start(&common, "ral-rollout", &log, &err);
    if (rc == 0)
        rc = ral_rollout_run(&job, &common, argv, (size_t)argc, &log, &err);
    ral_arena_release(&common.texts);
    return ral_opt_exit("ral-rollout", rc, &err);
}

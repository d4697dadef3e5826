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
    struct ral_rollout_job job = RAL_ROLLOUT_JOB_INIT;
    const struct ral_setting settings[] = {RAL_ROLLOUT_SETTINGS(&job)};
    struct ral_recipe recipe = RAL_RECIPE(settings);
    struct ral_common common = RAL_COMMON_INIT(&recipe);
    struct ral_log log;
    struct ral_err err = {0};
    const struct ral_opt opts[] = {
        RAL_OPT_STR('m', "model", &job.model, "DIR",
                    "checkpoint, or run folder (its newest)"),
        RAL_OPT_STR('o', "output", &job.out, "FILE", "write here [stdout]"),
        RAL_OPT_INT('n', "samples", &job.samples, "N",
                    "responses per prompt [8]"),
        RAL_OPT_NUM(0, "temperature", &job.temperature, "T",
                    "0 is greedy [1]"),
        RAL_OPT_NUM(0, "top-p", &job.top_p, "P",
                    "least set of tokens that reaches P [1: all]"),
        RAL_OPT_INT(0, "top-k", &job.top_k, "K",
                    "the K likeliest tokens [0: all]"),
        RAL_OPT_INT(0, "max-tokens", &job.max_tokens, "N",
                    "longest response [256]"),
        RAL_OPT_FLAG(0, "given", &job.given,
                     "score the rows' last assistant message instead"),
        RAL_OPT_HEAD("rows"),
        RAL_OPT_INT(0, "draw", &job.draw, "N",
                    "take a batch of N rows of a seeded permutation"),
        RAL_OPT_INT(0, "step", &job.step, "K", "the K-th batch [1]"),
        RAL_OPT_STR(0, "shard", &job.shard, "K/N",
                    "the K-th of N contiguous parts"),
        RAL_SPLIT_OPT(&job.split, "train"),
        RAL_OPT_INT(0, "limit", &job.limit, "N", "stop after N rows"),
        RAL_OPT_STR(0, "media-root", &job.data.media_root, "DIR",
                    "media paths are relative to this [the rows' folder]"),
        RAL_OPT_INT(0, "batch", &job.batch, "N",
                    "decode N prompts together [by size]; never changes a "
                    "bit"),
        RAL_OPT_NUM(0, "max-failed", &job.max_failed, "X",
                    "exit 3 if more of the rows fail [0.1]"),
        RAL_COMMON_OPTS(&common, version),
        RAL_OPT_END,
    };
    int rc;

    ral_threads_passive(argv);
    memcpy(args, argv, (size_t)argc * sizeof *args);
    job.args = args + (argc > 0);
    job.n_args = (size_t)argc - (argc > 0);
    job.cpu = getenv("RAL_CPU");
    rc = ral_opt_parse(opts, &argc, &argv, "-m DIR [options] [ROWS.jsonl]",
                       "Samples responses to the prompts of rows and writes "
                       "a record stream.",
                       &err);
    if (rc == 0)
        rc = ral_common_start(&common, "ral-rollout", &log, &err);
    if (rc == 0)
        rc = ral_rollout_run(&job, &common, argv, (size_t)argc, &log, &err);
    ral_recipe_release(&recipe);
    return ral_opt_exit("ral-rollout", rc, &err);
}

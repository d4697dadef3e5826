/* cmd/ral-rollout.c - sample responses, with the attention behind them. */
#include <stdlib.h>

#include "job/policy.h"
#include "job/rollout.h"

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
    struct ral_rollout_job job = RAL_ROLLOUT_JOB_INIT;
    const struct ral_setting settings[] = {RAL_ROLLOUT_SETTINGS(&job)};
    struct ral_recipe recipe = RAL_RECIPE(settings);
    struct ral_common common = RAL_COMMON_INIT(&recipe);
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
        .about = ral_policy_about,
    };

    job.cpu = getenv("RAL_CPU");
    return ral_main(&program, argc, argv);
}

/* cmd/ral-distill.c - a teacher's words and attention to a student. */
#include <stdlib.h>

#include "job/distill.h"
#include "job/policy.h"

static int run(void *job, const struct ral_call *call, struct ral_err *err)
{
    return ral_distill_run(job, call->common, call->argv, call->argc,
                           call->log, err);
}

int main(int argc, char **argv)
{
    struct ral_distill_job job = RAL_DISTILL_JOB_INIT;
    const struct ral_setting settings[] = {RAL_DISTILL_SETTINGS(&job)};
    struct ral_recipe recipe = RAL_RECIPE(settings);
    struct ral_common common = RAL_COMMON_INIT(&recipe);
    const struct ral_opt opts[] = {
        RAL_OPT_STR('m', "model", &job.model, "DIR",
                    "student to train, or run folder (its newest)"),
        RAL_OPT_STR('t', "teacher", &job.teacher, "DIR",
                    "frozen teacher with the same tokenizer"),
        RAL_OPT_STR('o', "output", &job.out, "DIR", "checkpoint to write"),
        RAL_OPT_FLAG(0, "force", &job.force, "replace an existing -o"),
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
        .name = "ral-distill",
        .usage = "-t TEACHER -m DIR -o DIR [options] [STREAM...]",
        .summary = "Distils a teacher into a student on the student's "
                   "own rollouts: token KL and attention divergence.",
        .opts = opts,
        .common = &common,
        .job = &job,
        .run = run,
        .about = ral_policy_about,
    };

    job.cpu = getenv("RAL_CPU");
    return ral_main(&program, argc, argv);
}

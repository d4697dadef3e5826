/* cmd/ral-distill.c - a teacher's words and attention to a student. */
#include <stdlib.h>

#include "base/cpu.h"
#include "job/distill.h"

static void version(void)
{
    ral_version_show_kernels("ral-distill", getenv("RAL_CPU"));
}

int main(int argc, char **argv)
{
    struct ral_distill_job job = RAL_DISTILL_JOB_INIT;
    const struct ral_setting settings[] = {RAL_DISTILL_SETTINGS(&job)};
    struct ral_recipe recipe = RAL_RECIPE(settings);
    struct ral_common common = RAL_COMMON_INIT(&recipe);
    struct ral_log log;
    struct ral_err err = {0};
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
        RAL_COMMON_OPTS(&common, version),
        RAL_OPT_END,
    };
    int rc;

    ral_threads_passive(argv);
    rc = ral_opt_parse(opts, &argc, &argv,
                           "-t TEACHER -m DIR -o DIR [options] [STREAM...]",
                           "Distils a teacher into a student on the student's "
                           "own rollouts: token KL and attention divergence.",
                           &err);

    job.cpu = getenv("RAL_CPU");
    if (rc == 0)
        rc = ral_common_start(&common, "ral-distill", &log, &err);
    if (rc == 0)
        rc = ral_distill_run(&job, &common, argv, (size_t)argc, &log, &err);
    ral_recipe_release(&recipe);
    return ral_opt_exit("ral-distill", rc, &err);
}

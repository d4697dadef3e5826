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
    struct ral_distill_job job = {0};
    struct ral_common common = RAL_COMMON_INIT(common);
    struct ral_log log;
    struct ral_err err = {0};
    const struct ral_setting rows[] = {
        RAL_OPT_STR('m', "model", &job.model, "DIR",
                    "student to train, or run folder (its newest)"),
        RAL_OPT_STR('t', "teacher", &job.teacher, "DIR",
                    "frozen teacher with the same tokenizer"),
        RAL_OPT_STR('o', "output", &job.out, "DIR", "checkpoint to write"),
        RAL_FORCE_OPT(&job.force),
        RAL_STALE_OPT(&job.allow_stale),
        RAL_RECORD_OPT(&job.max_record),
        RAL_DISTILL_SETTINGS(&job),
        RAL_DATA_SETTINGS(&job.data),
        RAL_MODEL_SETTINGS(NULL, NULL),
        RAL_COMMON_OPTS(&common, version),
        RAL_OPT_END,
    };
    int rc;

    ral_threads_passive(argv);
    rc = ral_opt_parse(rows, &argc, &argv,
                           "-t TEACHER -m DIR -o DIR [options] [STREAM...]",
                           "Distils a teacher into a student on the student's "
                           "own rollouts: token KL and attention divergence.",
                           &err);

    job.cpu = getenv("RAL_CPU");
    if (rc == 0)
        rc = ral_common_start(&common, "ral-distill", &log, &err);
    if (rc == 0)
        rc = ral_distill_run(&job, &common, argv, (size_t)argc, &log, &err);
    ral_arena_release(&common.texts);
    return ral_opt_exit("ral-distill", rc, &err);
}

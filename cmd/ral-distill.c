/* cmd/ral-distill.c - a teacher's words and attention to a student. */
#include "job/distill.h"

static int run(void *job, const struct ral_call *call, struct ral_err *err)
{
    return ral_distill_run(job, call->common, call->argv, call->argc,
                           call->log, err);
}

int main(int argc, char **argv)
{
    struct ral_distill_job job = {0};
    struct ral_common common = RAL_COMMON_INIT(common);
    const struct ral_setting opts[] = {
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
        RAL_DEVICE_OPT(&common),
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
        .about = ral_machine_about,
    };

    return ral_main(&program, argc, argv);
}

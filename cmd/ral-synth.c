/* cmd/ral-synth.c - make pictures with questions of known difficulty. */
#include "job/common.h"
#include "job/synth.h"

static int run(void *arg, const struct ral_call *call, struct ral_err *err)
{
    struct ral_synth_job *job = arg;

    if (call->argc > 1 || (call->argc == 1 && job->family))
        return ral_err_set(err, -RAL_EUSAGE, "only one family at a time");
    if (call->argc)
        job->family = call->argv[0];
    return ral_synth_run(job, call->log, err);
}

int main(int argc, char **argv)
{
    struct ral_synth_job job = RAL_SYNTH_JOB_INIT;
    struct ral_common common = {0};
    const struct ral_opt opts[] = {
        RAL_OPT_STR('o', "output", &job.out, "DIR",
                    "write DIR/NAME.jsonl and DIR/images/NAME/"),
        RAL_OPT_STR(0, "split", &job.split, "SPLIT",
                    "train, validation or test; share no picture [train]"),
        RAL_OPT_STR(0, "name", &job.name, "NAME",
                    "of the file and its pictures [the split]"),
        RAL_OPT_STR(0, "prefix", &job.prefix, "TEXT",
                    "of the rows' ids [NAME-]"),
        RAL_OPT_FLAG(0, "force", &job.force, "replace what is there"),
        RAL_OPT_HEAD("questions"),
        RAL_OPT_STR(0, "family", &job.family, "FAMILY",
                    "the same as the operand [search]"),
        RAL_OPT_INT(0, "rows", &job.rows, "N", "how many questions [1000]"),
        RAL_OPT_INT(0, "questions", &job.questions, "N",
                    "about one picture [2]"),
        RAL_OPT_NUM(0, "naming", &job.naming, "SHARE",
                    "of rows with one object to be named [0]"),
        RAL_OPT_STR(0, "order", &job.order, "ORDER",
                    "question-first or picture-first [question-first]"),
        RAL_OPT_HEAD("difficulty"),
        RAL_OPT_INT(0, "objects", &job.objects, "N", "in a picture [3]"),
        RAL_OPT_INT(0, "cells", &job.cells, "N",
                    "N x N cells of 28 pixels [4]"),
        RAL_OPT_INT(0, "shapes", &job.shapes, "N", "that occur, 1 to 8 [8]"),
        RAL_OPT_INT(0, "colours", &job.colours, "N", "that occur, 1 to 6 [6]"),
        RAL_OPT_INT(0, "clutter", &job.clutter, "N",
                    "grey dots and strokes in a picture [0]"),
        RAL_OPT_HEAD("common options"),
        RAL_OPT_U64(0, "seed", &job.seed, "N", "of all random numbers [0]"),
        RAL_SPOKEN_OPTS(&common),
        RAL_OPT_END,
    };
    const struct ral_program program = {
        .name = "ral-synth",
        .usage = "[options] -o DIR [FAMILY]",
        .summary = "Make pictures with questions, answers and boxes.",
        .opts = opts,
        .common = &common,
        .job = &job,
        .run = run,
    };

    return ral_main(&program, argc, argv);
}

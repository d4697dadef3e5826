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
    struct ral_synth_job job = {0};
    struct ral_common common = {0};
    const struct ral_setting opts[] = {
        RAL_OPT_STR('o', "output", &job.out, "DIR",
                    "write DIR/NAME.jsonl and DIR/images/NAME/"),
        RAL_OPT_STR(0, "split", &job.split, "SPLIT",
                    "train, validation or test; share no picture",
                    .text = "train"),
        RAL_OPT_STR(0, "name", &job.name, "NAME",
                    "of the file and its pictures", .shown = "the split"),
        RAL_OPT_STR(0, "prefix", &job.prefix, "TEXT",
                    "of the rows' ids", .shown = "NAME-"),
        RAL_OPT_FLAG(0, "force", &job.force, "replace what is there"),
        RAL_OPT_HEAD("questions"),
        RAL_OPT_STR(0, "family", &job.family, "FAMILY",
                    "the same as the operand", .shown = "search"),
        RAL_OPT_INT(0, "rows", &job.rows, "N", 0, RAL_MANY, 1000,
                    "how many questions"),
        RAL_OPT_INT(0, "questions", &job.questions, "N", 0, RAL_MANY, 2,
                    "about one picture"),
        RAL_OPT_NUM(0, "naming", &job.naming, "SHARE", 0, 1, 0,
                    "of rows with one object to be named"),
        RAL_OPT_ENUM(0, "order", &job.picture_first, "ORDER",
                     RAL_SYNTH_ORDER_WORDS, 0,
                     "question-first or picture-first"),
        RAL_OPT_HEAD("difficulty"),
        RAL_OPT_INT(0, "objects", &job.objects, "N", 0, RAL_MANY, 3,
                    "in a picture"),
        RAL_OPT_INT(0, "cells", &job.cells, "N", 0, RAL_MANY, 4,
                    "N x N cells of 28 pixels"),
        RAL_OPT_INT(0, "shapes", &job.shapes, "N", 0, RAL_MANY, 8,
                    "that occur, 1 to 8"),
        RAL_OPT_INT(0, "colours", &job.colours, "N", 0, RAL_MANY, 6,
                    "that occur, 1 to 6"),
        RAL_OPT_INT(0, "clutter", &job.clutter, "N", 0, RAL_MANY, 0,
                    "grey dots and strokes in a picture"),
        RAL_OPT_HEAD("common options"),
        RAL_OPT_U64(0, "seed", &job.seed, "N", "of all random numbers"),
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

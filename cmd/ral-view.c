/* cmd/ral-view.c - look into record streams. */
#include "job/common.h"
#include "job/view.h"

static int run(void *job, const struct ral_call *call, struct ral_err *err)
{
    return ral_view_run(job, call->argv, call->argc, err);
}

int main(int argc, char **argv)
{
    struct ral_view_job job = {0};
    struct ral_common common = {0};
    const struct ral_setting opts[] = {
        RAL_OPT_FLAG('H', "header", &job.header, "print the header alone"),
        RAL_OPT_FLAG(0, "count", &job.count, "print the number of records"),
        RAL_OPT_FLAG(0, "check", &job.check,
                     "read everything, say nothing if all is well"),
        RAL_OPT_STR(0, "heatmap", &job.heatmap, "PNG",
                    "draw where a response token looks in its picture"),
        RAL_OPT_STR(0, "curve", &job.curve, "PNG",
                    "draw the learning curve of ral-train's metrics, which "
                    "are the FILEs"),
        RAL_OPT_STR(0, "get", &job.get, "KEY",
                    "print one value of the FILE: a recipe, or .json or .jsonl "
                    "as ral-eval and ral-train write them"),
        RAL_OPT_FLAG(0, "settings", &job.settings,
                     "print all that recipes may set: key, option, values, "
                     "default, meaning"),
        RAL_OPT_HEAD("one value"),
        RAL_OPT_LIST(0, "where", &job.where, "KEY=VALUE",
                     "of lines where this holds, or KEY!=VALUE"),
        RAL_OPT_FLAG(0, "last", &job.last, "of the last such line alone"),
        RAL_OPT_STR(0, "default", &job.or_else, "TEXT",
                    "print this where nothing sets the key"),
        RAL_OPT_HEAD("records"),
        RAL_OPT_FLAG(0, "full", &job.full,
                     "with attn and embedded bytes (base64)"),
        RAL_OPT_STR(0, "record", &job.record, "ID", "this record alone"),
        RAL_LIMIT_OPT(&job.limit, "records, or values"),
        RAL_OPT_FLAG(0, "part", &job.part,
                     "the input is one shard alone, without the others"),
        RAL_RECORD_OPT(&job.max_record),
        RAL_OPT_HEAD("heat maps"),
        RAL_OPT_INT(0, "sample", &job.sample, "K", 0, RAL_MANY, 0,
                    "sample, from 0"),
        RAL_OPT_INT(0, "token", &job.token, "T", 0, RAL_MANY, -1,
                    "response token, from 0",
                    .shown = "the one before the answer"),
        RAL_OPT_INT(0, "layer", &job.layer, "L", -1000, 999, -1,
                    "recorded layer, below 0 from the last recorded",
                    .shown = "the last recorded"),
        RAL_OPT_INT(0, "head", &job.head, "H", 0, RAL_MANY, -1,
                    "recorded head, from 0", .shown = "their mean"),
        RAL_OPT_STR(0, "media-root", &job.media_root, "DIR",
                    "folder of the pictures", .shown = "the header's"),
        RAL_OPT_HEAD("common options"),
        RAL_OPT_STR('o', "output", &job.out, "FILE", "write here",
                    .shown = "stdout"),
        RAL_OPT_SETS(&job.sets),
        RAL_OPT_FLAG('q', "quiet", &common.quiet,
                     "nothing but errors; always so"),
        RAL_OPT_FLAG('v', "verbose", &common.verbose, "changes nothing"),
        RAL_OPT_SHOW('V', "version", &common.version, "show version and exit"),
        RAL_OPT_END,
    };
    const struct ral_program program = {
        .name = "ral-view",
        .usage = "[options] [FILE...]",
        .summary = "Prints record streams as JSON lines, one a record.",
        .opts = opts,
        .common = &common,
        .job = &job,
        .run = run,
    };

    return ral_main(&program, argc, argv);
}

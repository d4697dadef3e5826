/* cmd/ral-view.c - look into record streams. */
#include "base/file.h"
#include "base/opt.h"
#include "job/common.h"
#include "job/view.h"

static void version(void)
{
    ral_version_show("ral-view");
}

int main(int argc, char **argv)
{
    struct ral_view_job job = RAL_VIEW_JOB_INIT;
    struct ral_err err = {0};
    bool quiet = false, verbose = false;
    const struct ral_opt opts[] = {
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
        RAL_OPT_HEAD("one value"),
        RAL_OPT_LIST(0, "where", &job.where, "KEY=VALUE",
                     "of lines where this holds, or KEY!=VALUE"),
        RAL_OPT_FLAG(0, "last", &job.last, "of the last such line alone"),
        RAL_OPT_STR(0, "default", &job.or_else, "TEXT",
                    "print this where the key is not set"),
        RAL_OPT_HEAD("records"),
        RAL_OPT_FLAG(0, "full", &job.full,
                     "with attn and embedded bytes (base64)"),
        RAL_OPT_STR(0, "record", &job.record, "ID", "this record alone"),
        RAL_OPT_INT(0, "limit", &job.limit, "N", "stop after N records, or values"),
        RAL_OPT_FLAG(0, "part", &job.part,
                     "the input is one shard alone, without the others"),
        RAL_OPT_U64(0, "max-record", &job.max_record, "BYTES",
                    "refuse larger records [1 GiB]"),
        RAL_OPT_HEAD("heat maps"),
        RAL_OPT_INT(0, "sample", &job.sample, "K", "sample, from 0 [0]"),
        RAL_OPT_INT(0, "token", &job.token, "T",
                    "response token, from 0 [the one before the answer]"),
        RAL_OPT_STR(0, "media-root", &job.media_root, "DIR",
                    "folder of the pictures, in place of the header's"),
        RAL_OPT_HEAD("common options"),
        RAL_OPT_STR('o', "output", &job.out, "FILE", "write here [stdout]"),
        RAL_OPT_SETS(&job.sets),
        RAL_OPT_FLAG('q', "quiet", &quiet, "nothing but errors; always so"),
        RAL_OPT_FLAG('v', "verbose", &verbose, "changes nothing"),
        RAL_OPT_SHOW('V', "version", version, "show version and exit"),
        RAL_OPT_END,
    };
    int rc = ral_opt_parse(opts, &argc, &argv, "[options] [FILE...]",
                           "Prints record streams as JSON lines, one a record.",
                           &err);

    if (rc == 0) { // operands are left in argv
        ral_signals_block();
        rc = ral_view_run(&job, argv, (size_t)argc, &err);
    }
    return ral_opt_exit("ral-view", rc, &err);
}

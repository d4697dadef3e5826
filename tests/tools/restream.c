/* tests/tools/restream.c - change what the samples of a stream hold.
 *
 * With --advantages samples get 1 and -1 in turn, so that a policy of random
 * weights has something to learn. With --key one value of one sample becomes
 * another, which no program of ours would write.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/opt.h"
#include "stream/cbor.h"
#include "stream/edit.h"
#include "stream/reader.h"
#include "stream/writer.h"

enum { EDITS = 2 };

struct want {
    bool advantages;
    int64_t record, sample; // which one, from 0
    const char *key, *value;
};

/* The array of floats under key with its first number changed, encoded. */
static int spoil(const struct want *w, const struct ral_item *sample,
                 struct ral_arena *a, struct ral_buf *out, struct ral_err *err)
{
    const float *v;
    float *copy;
    size_t n;
    int rc = ral_item_f32s(ral_item_get(sample, w->key), w->key, a, &v, &n,
                           err);

    if (rc < 0)
        return rc;
    copy = malloc(n * sizeof *copy);
    memcpy(copy, v, n * sizeof *copy);
    copy[0] = strtof(w->value, NULL);
    rc = ral_cbor_f32s(out, copy, n);
    free(copy);
    return rc;
}

static int edit(const struct want *w, uint64_t record,
                const struct ral_item *rec, struct ral_arena *a,
                struct ral_buf *out, struct ral_err *err)
{
    const struct ral_item *list = ral_item_get(rec, "samples");
    const size_t G = list ? list->n : 0;
    struct ral_edit *e = RAL_ZNEW(a, struct ral_edit, EDITS * (G + 1));
    struct ral_edits *s = RAL_ZNEW(a, struct ral_edits, G + 1);
    struct ral_buf raw = {0};
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < G; i++) {
        s[i].edit = e + EDITS * i;
        if (w->advantages)
            e[EDITS * i + s[i].n++] = (struct ral_edit){
                .key = "advantage",
                .type = RAL_EDIT_F64,
                .num = i % 2 ? -1 : 1};
        if (w->key && record == (uint64_t)w->record && i == (size_t)w->sample) {
            struct ral_edit *k = &e[EDITS * i + s[i].n++];

            *k = (struct ral_edit){.key = w->key, .type = RAL_EDIT_F64,
                                   .num = strtod(w->value, NULL)};
            if (!strcmp(w->key, "logp") || !strcmp(w->key, "attn")) {
                rc = spoil(w, &list->child[i], a, &raw, err);
                k->type = RAL_EDIT_RAW;
                k->raw = raw.data;
                k->raw_len = raw.len;
            }
        }
    }
    if (rc == 0)
        rc = ral_record_replace(out, rec, (struct ral_edits){0}, s, G, err);
    ral_buf_release(&raw);
    return rc;
}

static int run(const struct want *w, struct ral_err *err)
{
    struct ral_arena a = {0};
    struct ral_buf b = {0};
    struct ral_writer *out = NULL;
    struct ral_reader *in;
    struct ral_item *rec;
    int rc = ral_reader_open(&in, STDIN_FILENO, "stdin", 0, err);

    if (rc < 0)
        return rc;
    ral_reader_allow_part(in);
    rc = ral_writer_open(&out, STDOUT_FILENO, "stdout", 1, err);
    if (rc == 0)
        rc = ral_writer_header(out, ral_reader_header(in)->raw,
                               ral_reader_header(in)->raw_len, err);
    for (uint64_t i = 0;
         rc == 0 && (rc = ral_reader_next(in, &a, &rec, err)) == 1; i++) {
        b.len = 0;
        if ((rc = edit(w, i, rec, &a, &b, err)) == 0)
            rc = ral_writer_put(out, b.data, b.len, err);
        ral_arena_reset(&a);
    }
    if (rc == 0)
        rc = ral_writer_finish(out, err);
    else
        ral_writer_abort(out);
    ral_reader_close(in);
    ral_buf_release(&b);
    ral_arena_release(&a);
    return rc;
}

int main(int argc, char **argv)
{
    struct want w = {0};
    struct ral_err err = {0};
    const struct ral_setting rows[] = {
        RAL_OPT_FLAG(0, "advantages", &w.advantages, "1 and -1 in turn"),
        RAL_OPT_INT(0, "record", &w.record, "K", 0, RAL_MANY, 0,
                    "of the key, from 0"),
        RAL_OPT_INT(0, "sample", &w.sample, "I", 0, RAL_MANY, 0,
                    "of the key, from 0"),
        RAL_OPT_STR(0, "key", &w.key, "KEY", "reward, advantage, logp, attn"),
        RAL_OPT_STR(0, "value", &w.value, "X", "what it becomes",
                    .text = "nan"),
        RAL_OPT_END};
    int rc = ral_opt_parse(rows, &argc, &argv, "[options] <IN >OUT",
                           "Changes a stream's samples.", &err);

    if (rc == 0)
        rc = run(&w, &err);
    return ral_opt_exit("restream", rc, &err);
}

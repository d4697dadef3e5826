/* tests/tools/mkgroups.c - a stream of given texts; or a stream as JSON lines.
 *
 * stdin: rows {"id", "answer", ..., "texts": [..]}: one sample per text; a row
 * with "failed": "why" becomes a failed record. Each token is one byte.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/opt.h"
#include "stream/group.h"
#include "stream/json.h"
#include "stream/reader.h"
#include "stream/writer.h"

static int put(struct ral_writer *w, json_t *row, struct ral_arena *a,
               struct ral_err *err)
{
    static const int32_t prompt[] = {1, 2};
    json_t *texts = json_object_get(row, "texts");
    const size_t G = json_array_size(texts);
    const char *failed = json_string_value(json_object_get(row, "failed"));
    struct ral_sample *s = RAL_ZNEW(a, struct ral_sample, G + 1);
    struct ral_buf b = {0};
    int rc;

    for (size_t i = 0; i < G; i++) {
        const char *text = json_string_value(json_array_get(texts, i));
        const size_t T = strlen(text) + 1;
        int32_t *ids = RAL_ZNEW(a, int32_t, T);

        for (size_t t = 0; t + 1 < T; t++)
            ids[t] = (unsigned char)text[t];
        s[i] = (struct ral_sample){
            .ids = ids, .T = T, .text = text, .text_len = T - 1};
    }
    rc = ral_group_encode(
        &b,
        &(struct ral_group_parts){
            .id = json_string_value(json_object_get(row, "id")),
            .row = row,
            .prompt_ids = prompt,
            .P = 2,
            .samples = s,
            .G = failed ? 0 : G,
            .error = failed},
        err);
    if (rc == 0)
        rc = ral_writer_put(w, b.data, b.len, err);
    ral_buf_release(&b);
    return rc;
}

static int make(const struct ral_stream_info *info, struct ral_err *err)
{
    const struct ral_provenance who = {.program = "mkgroups", .version = "1"};
    struct ral_arena a = {0};
    struct ral_buf b = {0};
    struct ral_writer *w = NULL;
    char *line = NULL;
    size_t cap = 0;
    int rc;

    if ((rc = ral_header_encode(&b, info, &who, err)) == 0 &&
        (rc = ral_writer_open(&w, STDOUT_FILENO, "stdout", 1, err)) == 0)
        rc = ral_writer_header(w, b.data, b.len, err);
    while (rc == 0 && getline(&line, &cap, stdin) > 0) {
        json_t *row = json_loads(line, 0, NULL);

        rc = row ? put(w, row, &a, err)
                 : ral_err_set(err, -RAL_EINVAL, "not JSON: %s", line);
        json_decref(row);
        ral_arena_reset(&a);
    }
    if (rc == 0)
        rc = ral_writer_finish(w, err);
    else
        ral_writer_abort(w);
    free(line);
    ral_buf_release(&b);
    ral_arena_release(&a);
    return rc;
}

static int print(const struct ral_item *it, struct ral_err *err)
{
    struct ral_buf line = {0};
    int rc = ral_item_print(&line, it, 0);

    if (rc < 0)
        ral_err_set(err, rc, "out of memory");
    else
        printf("%.*s\n", (int)line.len, (const char *)line.data);
    ral_buf_release(&line);
    return rc;
}

static int dump(struct ral_err *err)
{
    struct ral_reader *r;
    struct ral_arena a = {0};
    struct ral_item *rec;
    int rc = ral_reader_open(&r, STDIN_FILENO, "stdin", 0, err);

    if (rc < 0)
        return rc;
    ral_reader_allow_part(r);
    rc = print(ral_reader_header(r), err);
    while (rc == 0 && (rc = ral_reader_next(r, &a, &rec, err)) == 1) {
        rc = print(rec, err);
        ral_arena_reset(&a);
    }
    ral_reader_close(r);
    ral_arena_release(&a);
    return rc;
}

int main(int argc, char **argv)
{
    int64_t shard, shards;
    bool show = false;
    struct ral_stream_info info = {.policy = "00112233445566778899aabbccddeeff",
                                   .temperature = 1,
                                   .top_p = 1,
                                   .step = 5,
                                   .num_generations = 8,
                                   .max_completion_length = 99,
                                   .image_token_id = -1,
                                   .video_token_id = -1};
    struct ral_err err = {0};
    const struct ral_setting rows[] = {
        RAL_OPT_INT(0, "shard", &shard, "K", 0, RAL_MANY, 1, "shard"),
        RAL_OPT_INT(0, "shards", &shards, "N", 0, RAL_MANY, 1, "of so many"),
        RAL_OPT_FLAG(0, "dump", &show, "print a stream, header first"),
        RAL_OPT_END};
    int rc = ral_opt_parse(rows, &argc, &argv, "[options]",
                           "Writes a stream of given texts.", &err);

    info.shard = (uint64_t)shard;
    info.shards = (uint64_t)shards;
    if (rc == 0)
        rc = show ? dump(&err) : make(&info, &err);
    return ral_opt_exit("mkgroups", rc, &err);
}

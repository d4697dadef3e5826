/* tests/tools/mkstream.c - write a small stream of known content to stdout. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/opt.h"
#include "stream/cbor.h"
#include "stream/group.h"
#include "stream/writer.h"

struct want {
    int64_t records, samples, prompt, tokens, shard, shards, first;
    const char *policy, *image, *root, *digest;
    int64_t grid_h, grid_w;
    bool scored, failed, f16, cut;
};

/* Record r, sample i: T = tokens + i; values that a reader can predict. */
static void sample_init(struct ral_sample *s, const struct want *w, size_t r,
                        size_t i, struct ral_arena *a)
{
    const size_t P = (size_t)w->prompt, T = (size_t)w->tokens + i;
    int32_t *ids = RAL_NEW(a, int32_t, T);
    int32_t *ends = RAL_NEW(a, int32_t, T);
    float *logp = RAL_NEW(a, float, T), *attn;
    size_t n = 0, k = 0;

    ral_attn_count(P, T, &n);
    attn = RAL_NEW(a, float, n);
    for (size_t t = 0; t < T; t++) {
        ids[t] = (int32_t)(100 * r + 10 * i + t);
        ends[t] = t == 0 ? 8 : t == 1 ? 9 : 18; // <answer> B </answer>
        logp[t] = -(float)(t + 1) / 3;
        for (size_t j = 0; j < P + t; j++)
            attn[k++] = 2 * (float)(j + 1) / (float)((P + t) * (P + t + 1));
    }
    *s = (struct ral_sample){.ids = ids,
                             .T = T,
                             .text = "<answer>B</answer>",
                             .text_len = 18,
                             .finish =
                                 i % 2 ? RAL_FINISH_LENGTH : RAL_FINISH_STOP,
                             .ends = ends,
                             .logp = logp,
                             .attn = attn,
                             .attn_n = n};
}

static int put_record(struct ral_writer *w, const struct want *want, size_t r,
                      struct ral_arena *a, struct ral_err *err)
{
    const size_t G = (size_t)want->samples, P = (size_t)want->prompt;
    struct ral_buf b = {0};
    struct ral_sample *s = RAL_ZNEW(a, struct ral_sample, G);
    int32_t *prompt = RAL_NEW(a, int32_t, P);
    const size_t cells = (size_t)(want->grid_h * want->grid_w) / 4;
    struct ral_media_ref m = {
        .path = want->image,
        .digest = want->digest,
        .grid = {1, (uint32_t)want->grid_h, (uint32_t)want->grid_w},
        .width = 56,
        .height = 28};
    char id[32];
    json_t *row;
    int rc;

    snprintf(id, sizeof id, "row-%zu", r);
    row = json_pack("{s:s, s:[{s:s, s:s}], s:s, s:i, s:f, s:[f,f]}", "id", id,
                    "messages", "role", "user", "content",
                    "Which \"one\"? \xc3\xa9\n", "answer", "B", "level", 3,
                    "weight", 0.1, "box", -0.0, 1e300);
    for (size_t i = 0; i < P; i++) // cells visual tokens after the first
        prompt[i] = want->image && i >= 1 && i <= cells ? 99 : (int32_t)i;
    for (size_t i = 0; i < G; i++)
        sample_init(&s[i], want, r, i, a);
    rc = ral_group_encode(
        &b,
        &(struct ral_group_parts){.id = id,
                                  .row = row,
                                  .media = &m,
                                  .n_media = want->image != NULL,
                                  .prompt_ids = prompt,
                                  .P = P,
                                  .samples = s,
                                  .G = want->failed ? 0 : G,
                                  .attn_f16 = want->f16,
                                  .error = want->failed ? "x.png: not an image"
                                                        : NULL},
        err);
    if (rc == 0 && want->scored) {
        struct ral_arena scratch = {0};
        struct ral_item *rec;
        struct ral_buf c = {0};
        struct ral_edit e[8][2];
        struct ral_edits se[8];

        for (size_t i = 0; i < G && i < 8; i++) {
            e[i][0] = (struct ral_edit){
                .key = "reward", .type = RAL_EDIT_F64, .num = (double)i / 3};
            e[i][1] = (struct ral_edit){
                .key = "advantage", .type = RAL_EDIT_F64, .num = (double)i - 1};
            se[i] = (struct ral_edits){e[i], 2};
        }
        rc = ral_item_decode(&rec, b.data, b.len, &scratch, err);
        if (rc == 0)
            rc = ral_record_replace(&c, rec, (struct ral_edits){0}, se, G, err);
        ral_buf_release(&b);
        ral_arena_release(&scratch);
        b = c;
    }
    if (rc == 0)
        rc = ral_writer_put(w, b.data, b.len, err);
    ral_buf_release(&b);
    json_decref(row);
    return rc;
}

/* The digest of the picture, where none was given. */
static int digest(struct want *w, char hex[33], struct ral_err *err)
{
    struct ral_buf file = {0};
    char *path;
    int rc;

    if (!w->image || w->digest)
        return 0;
    path = ral_path_join(w->root, w->image);
    if ((rc = ral_file_read(path, 1 << 20, &file, err)) == 0) {
        ral_hash_hex(XXH3_128bits(file.data, file.len), hex);
        w->digest = hex;
    }
    ral_buf_release(&file);
    free(path);
    return rc;
}

static int run(const struct want *want, struct ral_err *err)
{
    static const int32_t layers[] = {1};
    static const char *const args[] = {"--seed", "7"};
    const struct ral_stream_info info = {.policy = want->policy,
                                         .temperature = 1,
                                         .top_p = 1,
                                         .seed = 7,
                                         .step = 1,
                                         .num_generations =
                                             (uint64_t)want->samples,
                                         .max_completion_length = 16,
                                         .media_root = want->root,
                                         .attn_layers = layers,
                                         .n_layers = 1,
                                         .attn_f16 = want->f16,
                                         .image_token_id = 99,
                                         .video_token_id = 98,
                                         .patch_size = 14,
                                         .spatial_merge_size = 2,
                                         .shard = (uint64_t)want->shard,
                                         .shards = (uint64_t)want->shards};
    const struct ral_provenance who = {.program = "mkstream",
                                       .version = "1",
                                       .args = args,
                                       .n_args = 2,
                                       .seeded = true,
                                       .seed = 7};
    struct ral_arena a = {0};
    struct ral_buf b = {0};
    struct ral_writer *w = NULL;
    int rc;

    if ((rc = ral_header_encode(&b, &info, &who, err)) == 0 &&
        (rc = ral_writer_open(&w, STDOUT_FILENO, "stdout", 1, err)) == 0)
        rc = ral_writer_header(w, b.data, b.len, err);
    for (int64_t i = 0; rc == 0 && i < want->records; i++) {
        ral_arena_reset(&a);
        rc = put_record(w, want, (size_t)(want->first + i), &a, err);
    }
    if (rc == 0 && !want->cut)
        rc = ral_writer_finish(w, err);
    else
        ral_writer_abort(w);
    ral_buf_release(&b);
    ral_arena_release(&a);
    return rc;
}

int main(int argc, char **argv)
{
    struct want w = {0};
    char hex[33];
    struct ral_err err = {0};
    const struct ral_setting rows[] = {
        RAL_OPT_INT('n', "records", &w.records, "N", 0, RAL_MANY, 2, "records"),
        RAL_OPT_INT(0, "first", &w.first, "N", 0, RAL_MANY, 0,
                    "number of the first"),
        RAL_OPT_INT('g', "samples", &w.samples, "G", 0, RAL_MANY, 2,
                    "samples, at most 8"),
        RAL_OPT_INT('p', "prompt", &w.prompt, "P", 0, RAL_MANY, 6,
                    "prompt tokens"),
        RAL_OPT_INT('t', "tokens", &w.tokens, "T", 0, RAL_MANY, 3,
                    "of the first sample"),
        RAL_OPT_INT(0, "shard", &w.shard, "K", 0, RAL_MANY, 1, "shard"),
        RAL_OPT_INT(0, "shards", &w.shards, "N", 0, RAL_MANY, 1, "of so many"),
        RAL_OPT_STR(0, "policy", &w.policy, "HEX", "digest",
                    .text = "0123456789abcdef0123456789abcdef"),
        RAL_OPT_STR(0, "image", &w.image, "PATH", "a medium"),
        RAL_OPT_STR(0, "digest", &w.digest, "HEX", "of the medium"),
        RAL_OPT_STR(0, "media-root", &w.root, "DIR", "media root"),
        RAL_OPT_INT(0, "grid-h", &w.grid_h, "H", 0, RAL_MANY, 2, "patches"),
        RAL_OPT_INT(0, "grid-w", &w.grid_w, "W", 0, RAL_MANY, 4, "patches"),
        RAL_OPT_FLAG(0, "scored", &w.scored, "with rewards"),
        RAL_OPT_FLAG(0, "failed", &w.failed, "records failed"),
        RAL_OPT_FLAG(0, "f16", &w.f16, "attention as f16"),
        RAL_OPT_FLAG(0, "cut", &w.cut, "without the end mark"),
        RAL_OPT_END};
    int rc = ral_opt_parse(rows, &argc, &argv, "[options]",
                           "Writes a small record stream.", &err);

    if (rc == 0 && (rc = digest(&w, hex, &err)) == 0)
        rc = run(&w, &err);
    return ral_opt_exit("mkstream", rc, &err);
}

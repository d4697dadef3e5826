/* lib/stream/header.c - the first map of a stream: where it comes from. */
#include "stream/header.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#include "stream/cbor.h"

/* {program, version, args, seed, previous}; previous names the old entry. */
static void put_entry(struct ral_buf *b, const struct ral_provenance *who,
                      const struct ral_item *old)
{
    char link[17];

    ral_cbor_map(b, 5);
    ral_cbor_pair_text(b, "program", who->program);
    ral_cbor_pair_text(b, "version", who->version);
    ral_cbor_key(b, "args");
    ral_cbor_array(b, who->n_args);
    for (size_t i = 0; i < who->n_args; i++)
        ral_cbor_text_lossy(b, who->args[i], strlen(who->args[i]));
    ral_cbor_key(b, "seed");
    if (who->seeded)
        ral_cbor_uint(b, who->seed);
    else
        ral_cbor_null(b);
    ral_cbor_key(b, "previous");
    if (!old) {
        ral_cbor_null(b);
        return;
    }
    snprintf(link, sizeof link, "%016llx",
             (unsigned long long)XXH3_64bits(old->raw, old->raw_len));
    ral_cbor_key(b, link);
}

static void put_sampling(struct ral_buf *b, const struct ral_stream_info *s)
{
    ral_cbor_map(b, 8);
    ral_cbor_pair_double(b, "temperature", s->temperature);
    ral_cbor_pair_double(b, "top_p", s->top_p);
    ral_cbor_pair_uint(b, "top_k", s->top_k);
    ral_cbor_pair_uint(b, "seed", s->seed);
    ral_cbor_pair_uint(b, "step", s->step);
    ral_cbor_pair_uint(b, "num_generations", s->num_generations);
    ral_cbor_pair_uint(b, "max_completion_length", s->max_completion_length);
    ral_cbor_key(b, "greedy");
    ral_cbor_bool(b, s->greedy);
}

static void put_attn(struct ral_buf *b, const struct ral_stream_info *s)
{
    ral_cbor_map(b, 3);
    ral_cbor_key(b, "layers");
    ral_cbor_array(b, s->n_layers);
    for (size_t i = 0; i < s->n_layers; i++)
        ral_cbor_int(b, s->attn_layers[i]);
    if (s->n_heads)
        ral_cbor_pair_uint(b, "heads", s->n_heads);
    else
        ral_cbor_pair_text(b, "heads", "mean");
    ral_cbor_pair_text(b, "type", s->attn_f16 ? "f16" : "f32");
}

static void put_vision(struct ral_buf *b, const struct ral_stream_info *s)
{
    ral_cbor_map(b, 4);
    ral_cbor_pair_int(b, "image_token_id", s->image_token_id);
    ral_cbor_pair_int(b, "video_token_id", s->video_token_id);
    ral_cbor_pair_uint(b, "patch_size", s->patch_size);
    ral_cbor_pair_uint(b, "spatial_merge_size", s->spatial_merge_size);
}

static void put_shard(struct ral_buf *b, uint64_t k, uint64_t n)
{
    ral_cbor_array(b, 2);
    ral_cbor_uint(b, k);
    ral_cbor_uint(b, n);
}

int ral_header_encode(struct ral_buf *out, const struct ral_stream_info *info,
                      const struct ral_provenance *who, struct ral_err *err)
{
    const size_t len = out->len;

    ral_cbor_map(out, info->media_root ? 8 : 7);
    ral_cbor_pair_uint(out, "ral", RAL_STREAM_VERSION);
    ral_cbor_pair_text(out, "policy", info->policy);
    ral_cbor_key(out, "sampling");
    put_sampling(out, info);
    if (info->media_root)
        ral_cbor_pair_text(out, "media_root", info->media_root);
    ral_cbor_key(out, "attn");
    put_attn(out, info);
    ral_cbor_key(out, "vision");
    put_vision(out, info);
    ral_cbor_key(out, "shard");
    put_shard(out, info->shard, info->shards);
    ral_cbor_key(out, "provenance");
    ral_cbor_array(out, 1);
    put_entry(out, who, NULL);
    if (!out->failed)
        return 0;
    ral_buf_cut(out, len);
    return ral_err_nomem(err, "stream header");
}

int ral_header_derive(const struct ral_item *old, struct ral_buf *out,
                      const struct ral_provenance *who, struct ral_edits edits,
                      bool keep_shard, struct ral_err *err)
{
    const struct ral_item *list = ral_item_get(old, "provenance");
    const size_t n = list && list->type == RAL_ITEM_ARRAY ? list->n : 0;
    struct ral_buf prov = {0}, shard = {0}, once = {0};
    struct ral_item *tree;
    struct ral_arena a = {0};
    int rc;

    ral_cbor_array(&prov, n + 1);
    for (size_t i = 0; i < n; i++)
        ral_cbor_raw(&prov, list->child[i].raw, list->child[i].raw_len);
    put_entry(&prov, who, n ? &list->child[n - 1] : NULL);
    put_shard(&shard, 1, 1);
    if (prov.failed || shard.failed) {
        rc = ral_err_nomem(err, "stream header");
    } else {
        const struct ral_edit own[] = {
            {.key = "provenance", .raw = prov.data, .raw_len = prov.len},
            {.key = "shard", .raw = shard.data, .raw_len = shard.len},
        };

        rc = ral_map_replace(&once, old,
                             (struct ral_edits){own, keep_shard ? 1 : 2}, err);
        if (rc == 0)
            rc = ral_item_decode(&tree, once.data, once.len, &a, err);
        if (rc == 0)
            rc = ral_map_replace(out, tree, edits, err);
    }
    ral_arena_release(&a);
    ral_buf_release(&prov);
    ral_buf_release(&shard);
    ral_buf_release(&once);
    return rc;
}

static int need_map(const struct ral_item *header, const char *key,
                    const struct ral_item **out, struct ral_err *err)
{
    *out = ral_item_get(header, key);
    if (!*out || (*out)->type != RAL_ITEM_MAP)
        return ral_err_set(err, -RAL_EINVAL, "%s is %s", key,
                           *out ? "no map" : "missing");
    return 0;
}

static int read_sampling(struct ral_stream_info *s, const struct ral_item *m,
                         struct ral_err *err)
{
    const struct {
        const char *key, *what;
        uint64_t *out;
    } whole[] = {
        {"top_k", "sampling.top_k", &s->top_k},
        {"seed", "sampling.seed", &s->seed},
        {"step", "sampling.step", &s->step},
        {"num_generations", "sampling.num_generations", &s->num_generations},
        {"max_completion_length", "sampling.max_completion_length",
         &s->max_completion_length},
    };
    int rc = ral_item_number(ral_item_get(m, "temperature"),
                             "sampling.temperature", &s->temperature, err);

    if (rc == 0)
        rc = ral_item_number(ral_item_get(m, "top_p"), "sampling.top_p",
                             &s->top_p, err);
    for (size_t i = 0; rc == 0 && i < sizeof whole / sizeof *whole; i++)
        rc = ral_item_uint(ral_item_get(m, whole[i].key), whole[i].what,
                           UINT64_MAX, whole[i].out, err);
    if (rc == 0)
        rc = ral_item_bool(ral_item_get(m, "greedy"), "sampling.greedy",
                           &s->greedy, err);
    if (rc == 0 && (!isfinite(s->temperature) || s->temperature < 0))
        rc = ral_err_set(err, -RAL_EINVAL,
                         "sampling.temperature is no number of 0 or more");
    return rc;
}

static int read_attn(struct ral_stream_info *s, const struct ral_item *m,
                     struct ral_arena *a, struct ral_err *err)
{
    const struct ral_item *layers = ral_item_get(m, "layers");
    const struct ral_item *heads = ral_item_get(m, "heads");
    int32_t *list;
    uint64_t n = 0;
    int64_t v;
    int rc;

    if (!layers || layers->type != RAL_ITEM_ARRAY)
        return ral_err_set(err, -RAL_EINVAL, "attn.layers is no list");
    if (!(list = RAL_NEW(a, int32_t, layers->n ? layers->n : 1)))
        return ral_err_nomem(err, "attn.layers");
    for (size_t i = 0; i < layers->n; i++) {
        rc = ral_item_int(&layers->child[i], "a layer in attn.layers", 0,
                          INT32_MAX, &v, err);
        if (rc < 0)
            return rc;
        list[i] = (int32_t)v;
    }
    s->attn_layers = list;
    s->n_layers = layers->n;
    s->attn_f16 = ral_item_is(ral_item_get(m, "type"), "f16");
    if (!ral_item_is(heads, "mean")) {
        if ((rc = ral_item_uint(heads, "attn.heads", INT32_MAX, &n, err)) < 0)
            return rc;
        if (n == 0)
            return ral_err_set(err, -RAL_EINVAL, "attn.heads is 0");
    }
    s->n_heads = (size_t)n;
    return 0;
}

static int read_vision(struct ral_stream_info *s, const struct ral_item *m,
                       struct ral_err *err)
{
    int64_t image = -1, video = -1;
    int rc;

    if (!m)
        return 0;
    rc = ral_item_int(ral_item_get(m, "image_token_id"),
                      "vision.image_token_id", -1, INT32_MAX, &image, err);
    if (rc == 0)
        rc = ral_item_int(ral_item_get(m, "video_token_id"),
                          "vision.video_token_id", -1, INT32_MAX, &video, err);
    if (rc == 0)
        rc = ral_item_uint(ral_item_get(m, "patch_size"), "vision.patch_size",
                           1 << 16, &s->patch_size, err);
    if (rc == 0)
        rc = ral_item_uint(ral_item_get(m, "spatial_merge_size"),
                           "vision.spatial_merge_size", 1 << 16,
                           &s->spatial_merge_size, err);
    s->image_token_id = (int32_t)image;
    s->video_token_id = (int32_t)video;
    return rc;
}

static int read_shard(struct ral_stream_info *s, const struct ral_item *it,
                      struct ral_err *err)
{
    int rc;

    if (!it || it->type != RAL_ITEM_ARRAY || it->n != 2)
        return ral_err_set(err, -RAL_EINVAL, "shard is no pair [k, n]");
    rc = ral_item_uint(&it->child[1], "the number of shards", RAL_SHARDS_MAX,
                       &s->shards, err);
    if (rc == 0)
        rc = ral_item_uint(&it->child[0], "shard", s->shards, &s->shard, err);
    if (rc == 0 && s->shard == 0)
        rc = ral_err_set(err, -RAL_EINVAL, "shard 0: they count from 1");
    return rc;
}

int ral_header_decode(struct ral_stream_info *info,
                      const struct ral_item *header, struct ral_arena *a,
                      struct ral_err *err)
{
    const struct ral_item *sampling, *attn;
    const struct ral_item *root = ral_item_get(header, "media_root");
    uint64_t version;
    int rc;

    *info =
        (struct ral_stream_info){.image_token_id = -1, .video_token_id = -1};
    if ((rc = ral_item_uint(ral_item_get(header, "ral"), "format version",
                            UINT64_MAX, &version, err)) < 0)
        goto fail;
    if (version != RAL_STREAM_VERSION) {
        rc = ral_err_set(err, -RAL_EINVAL,
                         "format version %llu; this program reads version %d",
                         (unsigned long long)version, RAL_STREAM_VERSION);
        goto fail;
    }
    if ((rc = ral_item_string(ral_item_get(header, "policy"), "policy", a,
                              &info->policy, err)) < 0 ||
        (root && (rc = ral_item_string(root, "media_root", a, &info->media_root,
                                       err)) < 0) ||
        (rc = need_map(header, "sampling", &sampling, err)) < 0 ||
        (rc = read_sampling(info, sampling, err)) < 0 ||
        (rc = need_map(header, "attn", &attn, err)) < 0 ||
        (rc = read_attn(info, attn, a, err)) < 0 ||
        (rc = read_vision(info, ral_item_get(header, "vision"), err)) < 0 ||
        (rc = read_shard(info, ral_item_get(header, "shard"), err)) < 0)
        goto fail;
    return 0;

fail:
    ral_err_at(err, "stream header");
    return rc;
}

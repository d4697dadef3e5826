/* lib/stream/group.c - a record: one prompt with its samples. */
#include "stream/group.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "stream/cbor.h"
#include "stream/json.h"

int ral_attn_count(size_t P, size_t T, size_t *n)
{
    size_t rows, tail;

    if (__builtin_mul_overflow(P, T, &rows) ||
        __builtin_mul_overflow(T, T ? T - 1 : 0, &tail) ||
        __builtin_add_overflow(rows, tail / 2, n))
        return -RAL_EINVAL;
    return 0;
}

int ral_attn_find(const struct ral_stream_info *info, int64_t layer)
{
    const int64_t n = (int64_t)info->n_layers;

    if (layer < 0)
        return layer >= -n ? (int)(n + layer) : -1;
    for (int64_t i = 0; i < n; i++)
        if (info->attn_layers[i] == layer)
            return (int)i;
    return -1;
}

/* Says which layers and heads there are instead. */
static int not_recorded(const struct ral_stream_info *info, const char *what,
                        int64_t number, struct ral_err *err)
{
    const bool many = info->n_layers > 1;
    struct ral_buf list = {0};
    int rc;

    for (size_t i = 0; i < info->n_layers; i++)
        ral_buf_printf(&list, "%s %ld", i ? "," : "",
                       (long)info->attn_layers[i]);
    if (info->n_heads)
        ral_buf_printf(&list, " of each of %zu heads", info->n_heads);
    else
        ral_buf_printf(&list, ", the mean of %s heads", many ? "their" : "its");
    rc = list.failed ? ral_err_nomem(err, "attn")
                     : ral_err_set(err, -RAL_EUSAGE,
                                   "there is no %s %lld; the stream's attn "
                                   "holds layer%s%s",
                                   what, (long long)number, many ? "s" : "",
                                   (const char *)list.data);
    ral_buf_release(&list);
    return rc;
}

int ral_attn_row(const struct ral_stream_info *info, size_t P,
                 const struct ral_sample *s, size_t t, struct ral_attn_of of,
                 double *p, struct ral_err *err)
{
    const size_t heads = info->n_heads ? info->n_heads : 1;
    const int layer = ral_attn_find(info, of.layer);
    const size_t n = of.head < 0 ? heads : 1; // planes to average
    const float *v;
    size_t rows, before;

    if (!s->attn || !info->n_layers)
        return ral_err_set(err, -RAL_EINVAL, "its attention was not recorded");
    if (layer < 0)
        return not_recorded(info, "layer", of.layer, err);
    if (of.head >= (int64_t)info->n_heads)
        return not_recorded(info, "head", of.head, err);
    if (t >= s->T || ral_attn_count(P, s->T, &rows) < 0 ||
        ral_attn_count(P, t, &before) < 0)
        return ral_err_set(err, -RAL_EINVAL, "it has no token %zu", t);
    v = s->attn + (size_t)layer * heads * rows + before;
    if (of.head > 0)
        v += (size_t)of.head * rows;
    for (size_t i = 0; i < P + t; i++)
        p[i] = 0;
    for (size_t h = 0; h < n; h++, v += rows)
        for (size_t i = 0; i < P + t; i++)
            p[i] += v[i] / (double)n;
    return 0;
}

size_t ral_sample_token(const struct ral_sample *s, size_t at)
{
    size_t t = 0;

    while (s->ends && t < s->T && (size_t)s->ends[t] <= at)
        t++;
    return s->ends ? t : s->T;
}

/* Text of a status pair; absent means ok. */
static int read_status(const struct ral_item *map, struct ral_arena *a,
                       const char **status, const char **error,
                       struct ral_err *err)
{
    const struct ral_item *s = ral_item_get(map, "status");
    const struct ral_item *e = ral_item_get(map, "error");
    int rc = 0;

    *status = "ok";
    *error = NULL;
    if (s && (rc = ral_item_string(s, "status", a, status, err)) < 0)
        return rc;
    if (e)
        rc = ral_item_string(e, "error", a, error, err);
    return rc;
}

static int all_finite(const float *v, size_t n, const char *what,
                      struct ral_err *err)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(v[i]))
            return ral_err_set(err, -RAL_EINVAL, "%s[%zu] is %g", what, i,
                               (double)v[i]);
    return 0;
}

static int read_ids(const struct ral_item *it, const char *what,
                    struct ral_arena *a, const int32_t **ids, size_t *n,
                    struct ral_err *err)
{
    int rc = ral_item_i32s(it, what, a, ids, n, err);

    if (rc < 0)
        return rc;
    if (*n == 0)
        return ral_err_set(err, -RAL_EINVAL, "%s is empty", what);
    for (size_t i = 0; i < *n; i++)
        if ((*ids)[i] < 0)
            return ral_err_set(err, -RAL_EINVAL, "%s[%zu] is %ld", what, i,
                               (long)(*ids)[i]);
    return 0;
}

static int read_score(const struct ral_item *it, const char *what, bool *has,
                      double *out, struct ral_err *err)
{
    int rc;

    if (!it || it->type == RAL_ITEM_NULL)
        return 0;
    if ((rc = ral_item_number(it, what, out, err)) < 0)
        return rc;
    if (!isfinite(*out))
        return ral_err_set(err, -RAL_EINVAL, "%s is %g", what, *out);
    *has = true;
    return 0;
}

/* Offsets into the text that never fall. */
static int check_ends(const struct ral_sample *s, size_t n, struct ral_err *err)
{
    int32_t before = 0;

    if (n != s->T)
        return ral_err_set(err, -RAL_EINVAL,
                           "ends holds %zu values for %zu "
                           "ids",
                           n, s->T);
    for (size_t t = 0; t < n; t++) {
        if (s->ends[t] < before || (size_t)s->ends[t] > s->text_len)
            return ral_err_set(err, -RAL_EINVAL,
                               "ends[%zu] is %ld, with %zu bytes of text", t,
                               (long)s->ends[t], s->text_len);
        before = s->ends[t];
    }
    return 0;
}

/* attn must hold layers x heads x sum(P + t) values. */
static int check_attn(const struct ral_sample *s, size_t P,
                      const struct ral_stream_info *info, struct ral_err *err)
{
    size_t rows, want;
    bool good;

    if (ral_attn_count(P, s->T, &rows) < 0)
        return ral_err_set(err, -RAL_EINVAL, "attn: too many tokens");
    if (info) {
        good = !__builtin_mul_overflow(rows, info->n_layers, &want) &&
               !__builtin_mul_overflow(want, info->n_heads ? info->n_heads : 1,
                                       &want) &&
               s->attn_n == want;
    } else {
        good = s->attn_n % rows == 0; // rows >= 1: P and T are
    }
    if (good)
        return 0;
    return ral_err_set(err, -RAL_EINVAL,
                       "attn holds %zu values, which %zu prompt and %zu "
                       "response tokens and the header's layers and heads "
                       "do not give",
                       s->attn_n, P, s->T);
}

static int read_sample(struct ral_sample *s, size_t P,
                       const struct ral_stream_info *info, struct ral_arena *a,
                       struct ral_err *err)
{
    const struct ral_item *logp = ral_item_get(s->item, "logp");
    const struct ral_item *attn = ral_item_get(s->item, "attn");
    const struct ral_item *ends = ral_item_get(s->item, "ends");
    const struct ral_item *finish = ral_item_get(s->item, "finish");
    size_t n;
    int rc;

    if (s->item->type != RAL_ITEM_MAP)
        return ral_err_set(err, -RAL_EINVAL, "not a map");
    if ((rc = read_ids(ral_item_get(s->item, "ids"), "ids", a, &s->ids, &s->T,
                       err)) < 0 ||
        (rc = ral_item_text(ral_item_get(s->item, "text"), "text", &s->text,
                            &s->text_len, err)) < 0 ||
        (rc = read_status(s->item, a, &s->status, &s->error, err)) < 0 ||
        (rc = read_score(ral_item_get(s->item, "reward"), "reward", &s->scored,
                         &s->reward, err)) < 0 ||
        (rc = read_score(ral_item_get(s->item, "advantage"), "advantage",
                         &s->has_advantage, &s->advantage, err)) < 0)
        return rc;
    if (ral_item_is(finish, "length"))
        s->finish = RAL_FINISH_LENGTH;
    else if (!ral_item_is(finish, "stop"))
        return ral_err_set(err, -RAL_EINVAL,
                           "finish is neither stop nor length");
    if (ends && ((rc = ral_item_i32s(ends, "ends", a, &s->ends, &n, err)) < 0 ||
                 (rc = check_ends(s, n, err)) < 0))
        return rc;
    if (logp) {
        if ((rc = ral_item_f32s(logp, "logp", a, &s->logp, &n, err)) < 0)
            return rc;
        if (n != s->T)
            return ral_err_set(err, -RAL_EINVAL,
                               "logp holds %zu values for %zu ids", n, s->T);
        if ((rc = all_finite(s->logp, n, "logp", err)) < 0)
            return rc;
    }
    if (attn) {
        rc = ral_item_f32s(attn, "attn", a, &s->attn, &s->attn_n, err);
        if (rc < 0 || (rc = check_attn(s, P, info, err)) < 0)
            return rc;
        return all_finite(s->attn, s->attn_n, "attn", err);
    }
    return 0;
}

static int read_grid(const struct ral_item *it, uint32_t grid[3],
                     struct ral_err *err)
{
    uint64_t v;
    int rc;

    if (!it || it->type != RAL_ITEM_ARRAY || it->n != 3)
        return ral_err_set(err, -RAL_EINVAL, "grid is no list [t, h, w]");
    for (int i = 0; i < 3; i++) {
        if ((rc = ral_item_uint(&it->child[i], "grid", 1 << 20, &v, err)) < 0)
            return rc;
        grid[i] = (uint32_t)v;
    }
    return 0;
}

static int read_medium(struct ral_media_ref *m, const struct ral_item *it,
                       struct ral_arena *a, struct ral_err *err)
{
    const struct ral_item *kind = ral_item_get(it, "kind");
    const struct ral_item *bytes = ral_item_get(it, "bytes");
    uint64_t w, h;
    int rc;

    if (it->type != RAL_ITEM_MAP)
        return ral_err_set(err, -RAL_EINVAL, "not a map");
    if ((rc = ral_item_string(ral_item_get(it, "path"), "path", a, &m->path,
                              err)) < 0 ||
        (rc = ral_item_string(ral_item_get(it, "digest"), "digest", a,
                              &m->digest, err)) < 0 ||
        (rc = read_grid(ral_item_get(it, "grid"), m->grid, err)) < 0 ||
        (rc = ral_item_uint(ral_item_get(it, "width"), "width", 1 << 24, &w,
                            err)) < 0 ||
        (rc = ral_item_uint(ral_item_get(it, "height"), "height", 1 << 24, &h,
                            err)) < 0 ||
        (rc = ral_item_number(ral_item_get(it, "seconds"), "seconds",
                              &m->seconds, err)) < 0)
        return rc;
    m->width = (uint32_t)w;
    m->height = (uint32_t)h;
    m->video = ral_item_is(kind, "video");
    if (!m->video && !ral_item_is(kind, "image"))
        return ral_err_set(err, -RAL_EINVAL, "kind is neither image nor video");
    if (!isfinite(m->seconds) || m->seconds < 0)
        return ral_err_set(err, -RAL_EINVAL, "seconds is %g", m->seconds);
    if (bytes && bytes->type != RAL_ITEM_BYTES)
        return ral_err_set(err, -RAL_EINVAL, "bytes is no string of bytes");
    m->bytes = bytes ? (const uint8_t *)bytes->text : NULL;
    m->n_bytes = bytes ? bytes->n : 0;
    return 0;
}

static int read_media(struct ral_group *g, struct ral_arena *a,
                      struct ral_err *err)
{
    struct ral_media_ref *m;
    int rc;

    g->media = ral_item_get(g->item, "media");
    if (!g->media)
        return 0;
    if (g->media->type != RAL_ITEM_ARRAY)
        return ral_err_set(err, -RAL_EINVAL, "media is no list");
    g->n_media = g->media->n;
    if (!(m = RAL_ZNEW(a, struct ral_media_ref, g->n_media + 1)))
        return ral_err_nomem(err, "media");
    for (size_t i = 0; i < g->n_media; i++)
        if ((rc = read_medium(&m[i], &g->media->child[i], a, err)) < 0)
            return ral_err_at(err, "media[%zu]", i);
    g->media_ref = m;
    return 0;
}

static int read_samples(struct ral_group *g, const struct ral_stream_info *info,
                        struct ral_arena *a, struct ral_err *err)
{
    const struct ral_item *list = ral_item_get(g->item, "samples");
    int rc;

    if (!list && !g->ok)
        return 0;
    if (!list || list->type != RAL_ITEM_ARRAY)
        return ral_err_set(err, -RAL_EINVAL, "samples is no list");
    if (!list->n && g->ok)
        return ral_err_set(err, -RAL_EINVAL, "samples is empty");
    if (list->n && !g->P)
        return ral_err_set(err, -RAL_EINVAL, "samples without prompt_ids");
    g->G = list->n;
    if (!(g->samples = RAL_ZNEW(a, struct ral_sample, g->G + 1)))
        return ral_err_nomem(err, "samples");
    for (size_t i = 0; i < g->G; i++) {
        g->samples[i].item = &list->child[i];
        if ((rc = read_sample(&g->samples[i], g->P, info, a, err)) < 0)
            return ral_err_at(err, "samples[%zu]", i);
    }
    return 0;
}

static int read_group(struct ral_group *g, const struct ral_stream_info *info,
                      struct ral_arena *a, struct ral_err *err)
{
    const struct ral_item *prompt = ral_item_get(g->item, "prompt_ids");
    const struct ral_item *answer = ral_item_get(g->item, "answer");
    int rc = read_status(g->item, a, &g->status, &g->error, err);

    if (rc < 0)
        return rc;
    g->ok = !strcmp(g->status, "ok");
    g->messages = ral_item_get(g->item, "messages");
    if (answer && answer->type == RAL_ITEM_TEXT &&
        (rc = ral_item_string(answer, "answer", a, &g->answer, err)) < 0)
        return rc;
    if ((rc = read_media(g, a, err)) < 0)
        return rc;
    // a failed record may lack its prompt, or have an empty one
    if (g->ok || (prompt && !(prompt->type == RAL_ITEM_I32S && !prompt->n))) {
        rc = read_ids(prompt, "prompt_ids", a, &g->prompt_ids, &g->P, err);
        if (rc < 0)
            return rc;
    }
    return read_samples(g, info, a, err);
}

int ral_group_decode(struct ral_group *g, const struct ral_stream_info *info,
                     const struct ral_item *rec, struct ral_arena *a,
                     struct ral_err *err)
{
    int rc;

    *g = (struct ral_group){.item = rec};
    if ((rc = ral_item_string(ral_item_get(rec, "id"), "a record's id", a,
                              &g->id, err)) < 0)
        return rc;
    if ((rc = read_group(g, info, a, err)) < 0)
        return ral_err_at(err, "record %s", g->id);
    return 0;
}

static void put_medium(struct ral_buf *b, const struct ral_media_ref *m)
{
    ral_cbor_map(b, m->bytes ? 8 : 7);
    ral_cbor_pair_text(b, "path", m->path);
    ral_cbor_pair_text(b, "digest", m->digest);
    ral_cbor_pair_text(b, "kind", m->video ? "video" : "image");
    ral_cbor_key(b, "grid");
    ral_cbor_array(b, 3);
    for (int i = 0; i < 3; i++)
        ral_cbor_uint(b, m->grid[i]);
    ral_cbor_pair_uint(b, "width", m->width);
    ral_cbor_pair_uint(b, "height", m->height);
    ral_cbor_pair_double(b, "seconds", m->seconds);
    if (m->bytes) {
        ral_cbor_key(b, "bytes");
        ral_cbor_bytes(b, m->bytes, m->n_bytes);
    }
}

/* ends, moved to where the text's bytes lie once wrong ones are marked. */
static void put_ends(struct ral_buf *b, const struct ral_sample *s)
{
    size_t raw = 0, out = 0, t = 0; // up to raw the text became out bytes
    struct ral_buf list = {0};

    while (t < s->T) {
        const size_t end = s->ends[t] > 0 ? (size_t)s->ends[t] : 0;
        const size_t good =
            ral_cbor_text_valid(s->text + raw, s->text_len - raw);
        int32_t to;

        if (end > raw + good && raw + good < s->text_len) {
            raw += good + 1;
            out += good + 3;
            continue;
        }
        to = (int32_t)(out + (end > raw ? end - raw : 0));
        ral_buf_put(&list, &to, sizeof to);
        t++;
    }
    if (list.failed)
        ral_buf_fail(b, list.failed);
    else
        ral_cbor_i32s(b, (const int32_t *)(void *)list.data, s->T);
    ral_buf_release(&list);
}

static void put_sample(struct ral_buf *b, const struct ral_sample *s,
                       bool attn_f16)
{
    const bool stopped = s->finish == RAL_FINISH_STOP;

    ral_cbor_map(b, 3u + (s->ends != NULL) + (s->logp != NULL) +
                        (s->attn != NULL));
    ral_cbor_key(b, "ids");
    ral_cbor_i32s(b, s->ids, s->T);
    ral_cbor_key(b, "text");
    ral_cbor_text_lossy(b, s->text, s->text_len);
    if (s->ends) {
        ral_cbor_key(b, "ends");
        put_ends(b, s);
    }
    ral_cbor_pair_text(b, "finish", stopped ? "stop" : "length");
    if (s->logp) {
        ral_cbor_key(b, "logp");
        ral_cbor_f32s(b, s->logp, s->T);
    }
    if (s->attn) {
        ral_cbor_key(b, "attn");
        (attn_f16 ? ral_cbor_f16s : ral_cbor_f32s)(b, s->attn, s->attn_n);
    }
}

/* Keys of a record that a row may not bring. */
static bool reserved(const char *key)
{
    static const char *const name[] = {"media", "prompt_ids", "samples",
                                       "status", "error"};

    for (size_t i = 0; i < sizeof name / sizeof *name; i++)
        if (!strcmp(key, name[i]))
            return true;
    return false;
}

static int put_row(struct ral_buf *b, const struct ral_group_parts *p,
                   struct ral_err *err)
{
    json_t *row = (json_t *)p->row; // iteration takes no const
    const char *key;
    json_t *value;

    json_object_foreach(row, key, value)
    {
        if (!strcmp(key, "id"))
            continue;
        if (reserved(key))
            return ral_err_set(err, -RAL_EINVAL,
                               "record %s: the row has a field %s, which "
                               "streams use themselves; rename it",
                               p->id, key);
        ral_cbor_key(b, key);
        if (ral_cbor_json(b, value) == -RAL_EINVAL)
            return ral_err_set(err, -RAL_EINVAL,
                               "record %s: the row's field %s is nested too "
                               "deep",
                               p->id, key);
    }
    return 0;
}

int ral_group_encode(struct ral_buf *b, const struct ral_group_parts *p,
                     struct ral_err *err)
{
    const size_t len = b->len;
    const size_t fields =
        json_object_size(p->row) - (json_object_get(p->row, "id") != NULL);
    int rc = 0;

    ral_cbor_map(b, 1 + fields + 4 + (p->error != NULL));
    ral_cbor_pair_text(b, "id", p->id);
    if (p->row && (rc = put_row(b, p, err)) < 0)
        goto fail;
    ral_cbor_key(b, "media");
    ral_cbor_array(b, p->n_media);
    for (size_t i = 0; i < p->n_media; i++)
        put_medium(b, &p->media[i]);
    ral_cbor_key(b, "prompt_ids");
    ral_cbor_i32s(b, p->prompt_ids, p->P);
    ral_cbor_key(b, "samples");
    ral_cbor_array(b, p->G);
    for (size_t i = 0; i < p->G; i++)
        put_sample(b, &p->samples[i], p->attn_f16);
    ral_cbor_pair_text(b, "status", p->error ? "failed" : "ok");
    if (p->error)
        ral_cbor_pair_text(b, "error", p->error);
    if (!b->failed)
        return 0;
    rc = ral_err_nomem(err, "record %s", p->id);
fail:
    ral_buf_cut(b, len);
    return rc;
}

/* lib/stream/edit.c - copies of a map with some keys replaced. */
#include "stream/edit.h"

#include "stream/cbor.h"

/* The samples of a record, edited; NULL elsewhere. */
struct inner {
    const struct ral_edits *sample;
    size_t n;
};

static void put_value(struct ral_buf *out, const struct ral_edit *e)
{
    switch (e->type) {
    case RAL_EDIT_F64:
        ral_cbor_double(out, e->num);
        break;
    case RAL_EDIT_TEXT:
        ral_cbor_key(out, e->text);
        break;
    default:
        ral_cbor_raw(out, e->raw, e->raw_len);
    }
}

static const struct ral_edit *find(const struct ral_item *key,
                                   struct ral_edits edits)
{
    for (size_t i = 0; i < edits.n; i++)
        if (ral_item_is(key, edits.edit[i].key))
            return &edits.edit[i];
    return NULL;
}

/* Pairs of the map after its edits. */
static size_t count(const struct ral_item *map, struct ral_edits edits)
{
    size_t n = map->n;

    for (size_t i = 0; i < edits.n; i++) {
        const bool there = ral_item_get(map, edits.edit[i].key) != NULL;

        if (edits.edit[i].type == RAL_EDIT_DROP)
            n -= there;
        else
            n += !there;
    }
    return n;
}

static void copy(struct ral_buf *out, const struct ral_item *map,
                 struct ral_edits edits, const struct inner *in);

static void copy_samples(struct ral_buf *out, const struct ral_item *list,
                         const struct inner *in)
{
    ral_cbor_array(out, list->n);
    for (size_t i = 0; i < list->n; i++)
        copy(out, &list->child[i], in->sample[i], NULL);
}

static void copy(struct ral_buf *out, const struct ral_item *map,
                 struct ral_edits edits, const struct inner *in)
{
    ral_cbor_map(out, count(map, edits));
    for (size_t i = 0; i < map->n; i++) {
        const struct ral_item *key = &map->child[2 * i], *value = key + 1;
        const struct ral_edit *e = find(key, edits);

        if (e && e->type == RAL_EDIT_DROP)
            continue;
        ral_cbor_raw(out, key->raw, key->raw_len);
        if (e)
            put_value(out, e);
        else if (in && ral_item_is(key, "samples"))
            copy_samples(out, value, in);
        else
            ral_cbor_raw(out, value->raw, value->raw_len);
    }
    for (size_t i = 0; i < edits.n; i++) {
        const struct ral_edit *e = &edits.edit[i];

        if (e->type != RAL_EDIT_DROP && !ral_item_get(map, e->key)) {
            ral_cbor_key(out, e->key);
            put_value(out, e);
        }
    }
}

static int fail(struct ral_buf *out, size_t len, struct ral_err *err)
{
    const int rc = out->failed;

    ral_buf_cut(out, len);
    if (rc == -RAL_ENOMEM)
        return ral_err_nomem(err, "record");
    return ral_err_set(err, rc, "record: a new text is not UTF-8");
}

int ral_map_replace(struct ral_buf *out, const struct ral_item *map,
                    struct ral_edits edits, struct ral_err *err)
{
    return ral_record_replace(out, map, edits, NULL, 0, err);
}

int ral_record_replace(struct ral_buf *out, const struct ral_item *rec,
                       struct ral_edits top, const struct ral_edits *sample,
                       size_t n_samples, struct ral_err *err)
{
    const struct ral_item *list = ral_item_get(rec, "samples");
    const struct inner in = {sample, n_samples};
    const size_t len = out->len;

    if (rec->type != RAL_ITEM_MAP)
        return ral_err_set(err, -RAL_EINVAL, "record: not a map");
    if (sample) {
        if (!list || list->type != RAL_ITEM_ARRAY || list->n != n_samples)
            return ral_err_set(err, -RAL_EINVAL, "record: not %zu samples",
                               n_samples);
        for (size_t i = 0; i < n_samples; i++)
            if (list->child[i].type != RAL_ITEM_MAP)
                return ral_err_set(err, -RAL_EINVAL,
                                   "record: samples[%zu] is not a map", i);
    }
    copy(out, rec, top, sample ? &in : NULL);
    return out->failed ? fail(out, len, err) : 0;
}

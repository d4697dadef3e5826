/* lib/stream/fields.c - what a row says about its question. */
#include "stream/fields.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "stream/json.h"

/* A text without NUL, or a whole number as text; anything else is none. */
static int read_label(const struct ral_item *it, const char **out,
                      struct ral_arena *a, struct ral_err *err)
{
    char number[32];
    int64_t v;

    *out = NULL;
    if (it && it->type == RAL_ITEM_TEXT) {
        if (it->n && memchr(it->text, 0, it->n))
            return 0;
        *out = ral_arena_text(a, it->text, it->n);
    } else if (ral_item_int(it, "", INT64_MIN, INT64_MAX, &v, NULL) == 0) {
        snprintf(number, sizeof number, "%lld", (long long)v);
        *out = ral_arena_text(a, number, strlen(number));
    } else {
        return 0;
    }
    return *out ? 0 : ral_err_nomem(err, "fields of a row");
}

static int read_choices(struct ral_fields *f, const struct ral_item *list,
                        struct ral_arena *a, struct ral_err *err)
{
    const char **choice;
    int rc;

    if (!list || list->type != RAL_ITEM_ARRAY)
        return 0;
    for (size_t i = 0; i < list->n; i++)
        if (list->child[i].type != RAL_ITEM_TEXT)
            return 0;
    if (!(choice = RAL_NEW(a, const char *, list->n + 1)))
        return ral_err_nomem(err, "fields of a row");
    for (size_t i = 0; i < list->n; i++)
        if ((rc = ral_item_string(&list->child[i], "choices", a, &choice[i],
                                  err)) < 0)
            return rc;
    f->choice = choice;
    f->choices = list->n;
    return 0;
}

int ral_fields_read(struct ral_fields *f, const struct ral_item *row,
                    struct ral_arena *a, struct ral_err *err)
{
    const struct ral_item *answer = ral_item_get(row, "answer");
    int rc;

    *f = (struct ral_fields){.row = row};
    if (answer && answer->type == RAL_ITEM_TEXT) {
        f->answer = answer->text;
        f->answer_len = answer->n;
    }
    if ((rc = read_choices(f, ral_item_get(row, "choices"), a, err)) < 0 ||
        (rc = read_label(ral_item_get(row, "category"), &f->category, a,
                         err)) < 0)
        return rc;
    return read_label(ral_item_get(row, "cluster"), &f->cluster, a, err);
}

int ral_fields_json(struct ral_fields *f, const json_t *row,
                    struct ral_arena *a, struct ral_err *err)
{
    struct ral_buf b = {0};
    struct ral_item *item;
    uint8_t *bytes = NULL;
    int rc = ral_cbor_json(&b, row);
    const size_t n = b.len;

    if (rc == 0 && (bytes = ral_arena_alloc(a, n, 1)))
        memcpy(bytes, b.data, n);
    ral_buf_release(&b);
    if (rc == -RAL_EINVAL)
        return ral_err_set(err, rc, "the row is nested too deep");
    if (!bytes)
        return ral_err_nomem(err, "fields of a row");
    if ((rc = ral_item_decode(&item, bytes, n, a, err)) < 0)
        return rc;
    return ral_fields_read(f, item, a, err);
}

/* ---- boxes ---- */

/* Four numbers, of a list or of a typed array. */
static bool four_numbers(const struct ral_item *it, struct ral_arena *a,
                         double v[4])
{
    const float *f = NULL;
    const int32_t *k = NULL;
    size_t n;

    if (!it || it->n != 4)
        return false;
    if (it->type == RAL_ITEM_F32S || it->type == RAL_ITEM_F16S) {
        if (ral_item_f32s(it, "", a, &f, &n, NULL) < 0)
            return false;
    } else if (it->type == RAL_ITEM_I32S) {
        if (ral_item_i32s(it, "", a, &k, &n, NULL) < 0)
            return false;
    } else if (it->type != RAL_ITEM_ARRAY) {
        return false;
    }
    for (size_t i = 0; i < 4; i++) {
        if (f || k)
            v[i] = f ? (double)f[i] : (double)k[i];
        else if (ral_item_number(&it->child[i], "", &v[i], NULL) < 0)
            return false;
    }
    return true;
}

static int read_box(const struct ral_item *it, size_t i, struct ral_box *out,
                    struct ral_arena *a, struct ral_err *err)
{
    const struct ral_item *numbers = it;
    uint64_t medium = 0;
    double v[4];

    if (it->type == RAL_ITEM_MAP) {
        numbers = ral_item_get(it, "box");
        if (ral_item_uint(ral_item_get(it, "media"), "", SIZE_MAX, &medium,
                          NULL) < 0)
            return ral_err_set(err, -RAL_EINVAL,
                               "boxes[%zu]: media must be the number of a "
                               "picture, from 0",
                               i);
    }
    if (!four_numbers(numbers, a, v) || !isfinite(v[0]) || !isfinite(v[1]) ||
        !isfinite(v[2]) || !isfinite(v[3]) || v[0] >= v[2] || v[1] >= v[3])
        return ral_err_set(err, -RAL_EINVAL,
                           "boxes[%zu]: must be [x0,y0,x1,y1] with x0 < x1 "
                           "and y0 < y1",
                           i);
    *out = (struct ral_box){(size_t)medium, v[0], v[1], v[2], v[3]};
    return 0;
}

int ral_fields_boxes(const struct ral_fields *f, struct ral_box **box,
                     size_t *n, struct ral_arena *a, struct ral_err *err)
{
    const struct ral_item *list = ral_item_get(f->row, "boxes");
    int rc;

    *n = 0;
    *box = NULL;
    if (!list || list->type == RAL_ITEM_NULL)
        return 0;
    if (list->type != RAL_ITEM_ARRAY)
        return ral_err_set(err, -RAL_EINVAL, "boxes: must be a list");
    if (list->n > RAL_BOXES_MAX)
        return ral_err_set(err, -RAL_EINVAL,
                           "boxes: %zu of them; the most is %d", list->n,
                           RAL_BOXES_MAX);
    if (!(*box = RAL_NEW(a, struct ral_box, list->n + 1)))
        return ral_err_nomem(err, "fields of a row");
    for (size_t i = 0; i < list->n; i++)
        if ((rc = read_box(&list->child[i], i, &(*box)[i], a, err)) < 0)
            return rc;
    *n = list->n;
    return 0;
}

/* lib/eval/grounding.c - how much of the attention lies on the evidence. */
#include "eval/grounding.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "text/answer.h"

/* ---- a row's boxes ---- */

static bool read_numbers(const json_t *list, double v[4])
{
    if (!json_is_array(list) || json_array_size(list) != 4)
        return false;
    for (size_t i = 0; i < 4; i++) {
        const json_t *x = json_array_get(list, i);

        if (!json_is_number(x))
            return false;
        v[i] = json_number_value(x);
    }
    return isfinite(v[0]) && isfinite(v[1]) && v[0] < v[2] && v[1] < v[3] &&
           isfinite(v[2]) && isfinite(v[3]);
}

static int read_box(const json_t *it, size_t i, const struct ral_shown *shown,
                    size_t nshown, struct ral_box *out, struct ral_err *err)
{
    const json_t *numbers = it, *medium = NULL;
    double v[4];

    if (json_is_object(it)) {
        numbers = json_object_get(it, "box");
        medium = json_object_get(it, "media");
        if (!json_is_integer(medium))
            return ral_err_set(err, -RAL_EINVAL,
                               "boxes[%zu]: media must be the number of a "
                               "picture, from 0",
                               i);
    }
    if (!read_numbers(numbers, v))
        return ral_err_set(err, -RAL_EINVAL,
                           "boxes[%zu]: must be [x0,y0,x1,y1] with x0 < x1 "
                           "and y0 < y1",
                           i);
    const json_int_t k = medium ? json_integer_value(medium) : 0;
    if (k < 0 || (size_t)k >= nshown)
        return ral_err_set(err, -RAL_EINVAL,
                           "boxes[%zu]: belongs to picture %lld, from 0, of "
                           "%zu",
                           i, (long long)k, nshown);
    *out = (struct ral_box){(size_t)k, v[0], v[1], v[2], v[3]};
    if (v[2] <= 0 || v[3] <= 0 || v[0] >= shown[k].width ||
        v[1] >= shown[k].height)
        return ral_err_set(err, -RAL_EINVAL,
                           "boxes[%zu]: lies outside its picture of %g x %g "
                           "pixels",
                           i, shown[k].width, shown[k].height);
    return 0;
}

int ral_boxes_read(const json_t *list, const struct ral_shown *shown,
                   size_t nshown, struct ral_box **box, size_t *n,
                   struct ral_arena *a, struct ral_err *err)
{
    const size_t count = json_array_size(list);
    int rc;

    *n = 0;
    *box = NULL;
    if (!list || json_is_null(list))
        return 0;
    if (!json_is_array(list))
        return ral_err_set(err, -RAL_EINVAL, "boxes: must be a list");
    if (count > RAL_BOXES_MAX)
        return ral_err_set(err, -RAL_EINVAL, "boxes: %zu of them; the most is "
                           "%d", count, RAL_BOXES_MAX);
    if (!(*box = RAL_NEW(a, struct ral_box, count + 1)))
        return ral_err_set(err, -RAL_ENOMEM, "boxes: out of memory");
    for (size_t i = 0; i < count; i++)
        if ((rc = read_box(json_array_get(list, i), i, shown, nshown,
                           &(*box)[i], err)) < 0)
            return rc;
    *n = count;
    return 0;
}

/* ---- the area of a union ---- */

static int by_top(const void *pa, const void *pb)
{
    const struct ral_box *a = pa, *b = pb;

    return (a->y0 > b->y0) - (a->y0 < b->y0);
}

static int by_value(const void *pa, const void *pb)
{
    const double a = *(const double *)pa, b = *(const double *)pb;

    return (a > b) - (a < b);
}

/* How much of the strip's height the boxes that span it take; by top. */
static double strip_height(const struct ral_box *box, size_t n, double left,
                           double right)
{
    double sum = 0, end = -INFINITY;

    for (size_t i = 0; i < n; i++) {
        if (box[i].x0 > left || box[i].x1 < right || box[i].y1 <= end)
            continue;
        sum += box[i].y1 - fmax(box[i].y0, end);
        end = box[i].y1;
    }
    return sum;
}

/* Between neighbouring vertical edges the union is a set of full strips. */
static double union_area(struct ral_box *box, size_t n, double *edge)
{
    double area = 0;

    for (size_t i = 0; i < n; i++) {
        edge[2 * i] = box[i].x0;
        edge[2 * i + 1] = box[i].x1;
    }
    qsort(box, n, sizeof *box, by_top);
    qsort(edge, 2 * n, sizeof *edge, by_value);
    for (size_t i = 1; i < 2 * n; i++)
        if (edge[i] > edge[i - 1])
            area += (edge[i] - edge[i - 1]) *
                    strip_height(box, n, edge[i - 1], edge[i]);
    return area;
}

/* The boxes of a medium as far as they lie in a cell; their number. */
static size_t clip(const struct ral_box *box, size_t n,
                   const struct ral_box *cell, struct ral_box *out)
{
    size_t k = 0;

    for (size_t i = 0; i < n; i++) {
        const struct ral_box c = {cell->medium, fmax(box[i].x0, cell->x0),
                                  fmax(box[i].y0, cell->y0),
                                  fmin(box[i].x1, cell->x1),
                                  fmin(box[i].y1, cell->y1)};

        if (box[i].medium == cell->medium && c.x0 < c.x1 && c.y0 < c.y1)
            out[k++] = c;
    }
    return k;
}

int ral_boxes_cover(const struct ral_box *box, size_t n,
                    const struct ral_shown *shown, size_t nshown,
                    double *cover, struct ral_arena *a)
{
    const struct ral_mark mark = ral_arena_mark(a);
    struct ral_box *in = RAL_NEW(a, struct ral_box, n + 1);
    double *edge = RAL_NEW(a, double, 2 * n + 1);

    if (!in || !edge)
        return -RAL_ENOMEM;
    for (size_t m = 0; m < nshown; m++) {
        const struct ral_shown *s = &shown[m];
        const double w = s->width / (double)s->gw;
        const double h = s->height / (double)s->gh;

        for (size_t i = 0; i < s->gh * s->gw; i++) {
            const double y = (double)(i / s->gw), x = (double)(i % s->gw);
            const struct ral_box cell = {m, x * w, y * h, (x + 1) * w,
                                         (y + 1) * h};
            const size_t k = clip(box, n, &cell, in);

            *cover++ = k ? fmin(1, union_area(in, k, edge) / (w * h)) : 0;
        }
    }
    ral_arena_rewind(a, mark);
    return 0;
}

bool ral_evidence_mass(const double *p, const double *cover, size_t n,
                       double *mass, double *uniform)
{
    double on = 0, all = 0, covered = 0;

    for (size_t i = 0; i < n; i++) {
        on += p[i] * cover[i];
        all += p[i];
        covered += cover[i];
    }
    if (!(all > 0))
        return false;
    *mass = on / all;
    *uniform = covered / (double)n;
    return true;
}

bool ral_answer_row(const struct ral_sample *s, size_t *t)
{
    const char *answer;
    size_t n, token;

    if (!ral_answer_extract(s->text, s->text_len, &answer, &n) || n == 0)
        return false;
    token = ral_sample_token(s, (size_t)(answer - s->text));
    if (token == 0 || token == s->T)
        return false;
    *t = token - 1;
    return true;
}

/* lib/eval/grounding.c - how much of the attention lies on the evidence. */
#include "eval/grounding.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "media/visual.h"
#include "text/answer.h"

/* ---- a prompt's cells ---- */

size_t ral_cells_merge(const struct ral_stream_info *info)
{
    return info->spatial_merge_size ? (size_t)info->spatial_merge_size : 1;
}

/* Of all media; SIZE_MAX stands for more. */
static size_t count_cells(const struct ral_stream_info *info,
                          const struct ral_media_ref *media, size_t n_media)
{
    const size_t merge = ral_cells_merge(info);
    size_t cells = 0;

    for (size_t i = 0; i < n_media; i++) {
        const uint32_t *g = media[i].grid; // each at most 2^20

        if (__builtin_add_overflow(
                cells, ral_visual_tokens(g[0], g[1], g[2], merge), &cells))
            return SIZE_MAX;
    }
    return cells;
}

int ral_cells_find(const struct ral_stream_info *info, const int32_t *ids,
                   size_t P, const struct ral_media_ref *media, size_t n_media,
                   size_t **token, size_t *n, struct ral_arena *a,
                   struct ral_err *err)
{
    const size_t cells = count_cells(info, media, n_media);

    *n = 0;
    if (!(*token = RAL_NEW(a, size_t, P)))
        return ral_err_nomem(err, "boxes");
    for (size_t i = 0; i < P; i++)
        if (ids[i] == info->image_token_id || ids[i] == info->video_token_id)
            (*token)[(*n)++] = i;
    if (*n == cells)
        return 0;
    return ral_err_set(err, -RAL_EINVAL,
                       "%zu visual tokens in the prompt, but its grids have "
                       "%zu cells",
                       *n, cells);
}

/* ---- a row's boxes ---- */

int ral_boxes_read(const struct ral_fields *f,
                   const struct ral_media_ref *media, size_t n_media,
                   struct ral_box **box, size_t *n, struct ral_arena *a,
                   struct ral_err *err)
{
    int rc = ral_fields_boxes(f, box, n, a, err);

    for (size_t i = 0; rc == 0 && i < *n; i++) {
        const struct ral_box *b = &(*box)[i];
        const struct ral_media_ref *m;

        if (b->medium >= n_media)
            return ral_err_set(err, -RAL_EINVAL,
                               "boxes[%zu]: belongs to picture %zu, from 0, "
                               "of %zu",
                               i, b->medium, n_media);
        m = &media[b->medium];
        if (b->x1 <= 0 || b->y1 <= 0 || b->x0 >= m->width || b->y0 >= m->height)
            return ral_err_set(err, -RAL_EINVAL,
                               "boxes[%zu]: lies outside its picture of %u x "
                               "%u pixels",
                               i, m->width, m->height);
    }
    return rc;
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

/* The cells of one step of a medium. */
static void cover_step(const struct ral_box *box, size_t n, size_t medium,
                       const struct ral_media_ref *m, size_t gh, size_t gw,
                       double *cover, struct ral_box *in, double *edge)
{
    const double w = m->width / (double)gw, h = m->height / (double)gh;

    for (size_t i = 0; i < gh * gw; i++) {
        const double y = (double)(i / gw), x = (double)(i % gw);
        const struct ral_box cell = {medium, x * w, y * h, (x + 1) * w,
                                     (y + 1) * h};
        const size_t k = clip(box, n, &cell, in);

        cover[i] = k ? fmin(1, union_area(in, k, edge) / (w * h)) : 0;
    }
}

int ral_boxes_cover(const struct ral_box *box, size_t n,
                    const struct ral_media_ref *media, size_t n_media,
                    size_t merge, double *cover, struct ral_arena *a)
{
    const struct ral_mark mark = ral_arena_mark(a);
    struct ral_box *in = RAL_NEW(a, struct ral_box, n + 1);
    double *edge = RAL_NEW(a, double, 2 * n + 1);

    if (!in || !edge)
        return -RAL_ENOMEM;
    for (size_t m = 0; m < n_media; m++) {
        const uint32_t *g = media[m].grid;
        const size_t gh = g[1] / merge, gw = g[2] / merge;

        for (size_t t = 0; t < g[0]; t++, cover += gh * gw)
            if (t == 0)
                cover_step(box, n, m, &media[m], gh, gw, cover, in, edge);
            else
                memcpy(cover, cover - gh * gw, gh * gw * sizeof *cover);
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

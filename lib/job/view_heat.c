/* lib/job/view_heat.c - where one response token looks, over its picture. */
#include <stdio.h>

#include "draw/heatmap.h"
#include "eval/grounding.h"
#include "job/view.h"
#include "prompt/prompt.h"

enum { CAPTION = 160 }; // bytes of the response below the picture

/* The response token whose query predicts the answer's first token. */
static int answer_token(const struct ral_sample *s, size_t *token,
                        struct ral_err *err)
{
    if (!s->ends)
        return ral_err_set(err, -RAL_EINVAL,
                           "its tokens' places in the text were not recorded; "
                           "name one with --token");
    if (!ral_answer_row(s, token))
        return ral_err_set(err, -RAL_EINVAL,
                           "there is no <answer>...</answer> in its text, or "
                           "none with a token before it; name a token with "
                           "--token");
    return 0;
}

/* The first picture's cells [gh][gw]: its visual tokens come row by row. */
static int cells(const struct ral_stream_info *info, const struct ral_group *g,
                 const double *row, struct ral_arena *a,
                 struct ral_heat_panel *p, double *share, struct ral_err *err)
{
    const uint32_t *grid = g->media_ref[0].grid;
    const size_t merge = ral_cells_merge(info);
    size_t *token, n;
    float *map;
    int rc = ral_cells_find(info, g->prompt_ids, g->P, g->media_ref,
                            g->n_media, &token, &n, a, err);

    if (rc < 0)
        return rc;
    p->gh = grid[1] / merge;
    p->gw = grid[2] / merge;
    n = p->gh * p->gw;
    if (n == 0 || !(map = RAL_NEW(a, float, n)))
        return ral_err_set(err, -RAL_EINVAL, "its picture has no cells");
    for (size_t k = 0; k < n; k++) {
        map[k] = (float)row[token[k]];
        *share += row[token[k]];
    }
    p->map = map;
    return 0;
}

/* The row's boxes on the first picture. */
static int boxes(const struct ral_group *g, struct ral_arena *a,
                 struct ral_heat_panel *p, struct ral_err *err)
{
    const struct ral_fields f = {.row = g->item};
    struct ral_rect *rect;
    struct ral_box *box;
    size_t n;
    int rc = ral_boxes_read(&f, g->media_ref, g->n_media, &box, &n, a, err);

    if (rc < 0)
        return rc;
    if (!(rect = RAL_NEW(a, struct ral_rect, n + 1)))
        return ral_err_nomem(err, "heat map");
    for (size_t i = 0; i < n; i++)
        if (box[i].medium == 0)
            rect[p->n_boxes++] = (struct ral_rect){box[i].x0, box[i].y0,
                                                   box[i].x1, box[i].y1};
    p->boxes = rect;
    return 0;
}

static int draw_heat(const struct ral_view_job *job,
                     const struct ral_stream_info *info,
                     const struct ral_group *g, struct ral_image *im,
                     struct ral_arena *a, struct ral_buf *png,
                     struct ral_err *err)
{
    const struct ral_sample *s = &g->samples[job->sample];
    struct ral_heat_panel panel = {0};
    const struct ral_attn_of of = {job->layer, job->head};
    char title[160], head[32] = "", label[128], caption[CAPTION + 1];
    double *row, share = 0;
    size_t t = (size_t)job->token;
    int rc;

    if (job->token < 0 && (rc = answer_token(s, &t, err)) < 0)
        return rc;
    if (t >= s->T)
        return ral_err_set(err, -RAL_EUSAGE, "--token %zu: it has %zu", t,
                           s->T);
    if (!(row = RAL_NEW(a, double, g->P + t)))
        return ral_err_nomem(err, "heat map");
    if ((rc = ral_attn_row(info, g->P, s, t, of, row, err)) < 0 ||
        (rc = cells(info, g, row, a, &panel, &share, err)) < 0 ||
        (rc = boxes(g, a, &panel, err)) < 0 ||
        (rc = ral_medium_read(im, &g->media_ref[0],
                              job->media_root ? job->media_root
                                              : info->media_root,
                              NULL, err)) < 0)
        return rc;
    panel.rgb = im->rgb;
    panel.w = im->width;
    panel.h = im->height;
    if (of.head >= 0)
        snprintf(head, sizeof head, ", head %lld", (long long)of.head);
    snprintf(title, sizeof title, "%s, sample %lld, token %zu, layer %ld%s",
             g->id, (long long)job->sample, t,
             (long)info->attn_layers[ral_attn_find(info, of.layer)], head);
    snprintf(label, sizeof label,
             "attention by cell; the picture has %.1f %% of it", 100 * share);
    snprintf(caption, sizeof caption, "%.*s",
             s->text_len < CAPTION ? (int)s->text_len : CAPTION, s->text);
    panel.title = title;
    panel.caption = caption;
    return ral_heatmap_png(&panel, 1, &(struct ral_heat_style){.label = label},
                           png, err);
}

int ral_view_heat(const struct ral_view_job *job,
                  const struct ral_stream_info *info, const struct ral_group *g,
                  struct ral_buf *png, struct ral_err *err)
{
    struct ral_image im = {0};
    struct ral_arena a = {0};
    int rc;

    if (!g->n_media || g->media_ref[0].video)
        rc = ral_err_set(err, -RAL_EINVAL,
                         g->n_media ? "its first medium is a video; "
                                      "pictures only are drawn"
                                    : "it has no picture");
    else if ((size_t)job->sample >= g->G)
        rc = ral_err_set(err, -RAL_EUSAGE, "--sample %lld: it has %zu",
                         (long long)job->sample, g->G);
    else
        rc = draw_heat(job, info, g, &im, &a, png, err);
    if (rc < 0)
        ral_err_at(err, "record %s", g->id);
    ral_image_release(&im);
    ral_arena_release(&a);
    return rc;
}

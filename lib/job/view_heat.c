/* lib/job/view_heat.c - where one response token looks, over its picture. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/file.h"
#include "draw/heatmap.h"
#include "job/view.h"
#include "media/image.h"

enum { CAPTION = 160 }; // bytes of the response below the picture

/* The response token whose query predicts the answer's first token. */
static int answer_token(const struct ral_sample *s, size_t *token,
                        struct ral_err *err)
{
    static const char tag[] = "<answer>";
    const size_t n = sizeof tag - 1;
    size_t at = 0, first;

    if (!s->ends)
        return ral_err_set(err, -RAL_EINVAL,
                           "its tokens' places in the text were not recorded; "
                           "name one with --token");
    for (size_t i = 0; i + n <= s->text_len; i++)
        if (!memcmp(s->text + i, tag, n))
            at = i + n;
    while (at && at < s->text_len && isspace((unsigned char)s->text[at]))
        at++;
    first = ral_sample_token(s, at);
    if (at == 0 || first == 0 || first == s->T)
        return ral_err_set(err, -RAL_EINVAL,
                           "there is no %s in its text; name a token with "
                           "--token",
                           tag);
    *token = first - 1;
    return 0;
}

/* The picture's cells [gh][gw]: its visual tokens come row by row. */
static int cells(const struct ral_stream_info *info, const struct ral_group *g,
                 const double *row, struct ral_arena *a,
                 struct ral_heat_panel *p, double *share, struct ral_err *err)
{
    const uint32_t *grid = g->media_ref[0].grid;
    const size_t merge =
        info->spatial_merge_size ? info->spatial_merge_size : 1;
    float *map;
    size_t n, k = 0;

    p->gh = grid[1] / merge;
    p->gw = grid[2] / merge;
    n = p->gh * p->gw;
    if (n == 0 || !(map = RAL_ZNEW(a, float, n)))
        return ral_err_set(err, -RAL_EINVAL, "its picture has no cells");
    for (size_t i = 0; i < g->P && k < n; i++)
        if (g->prompt_ids[i] == info->image_token_id) {
            map[k++] = (float)row[i];
            *share += row[i];
        }
    if (k < n)
        return ral_err_set(err, -RAL_EINVAL,
                           "%zu visual tokens in the prompt, but the grid has "
                           "%zu cells",
                           k, n);
    p->map = map;
    return 0;
}

static int check_digest(const struct ral_media_ref *m, const uint8_t *p,
                        size_t n, const char *path, struct ral_err *err)
{
    XXH128_canonical_t c;
    char hex[33];

    XXH128_canonicalFromHash(&c, XXH3_128bits(p, n));
    for (int i = 0; i < 16; i++)
        snprintf(hex + 2 * i, 3, "%02x", c.digest[i]);
    if (strcmp(hex, m->digest))
        return ral_err_set(err, -RAL_EINVAL,
                           "%s: not the file that the stream was made with "
                           "(digest %s, recorded %s); see --media-root",
                           path, hex, m->digest);
    return 0;
}

static int load_picture(const struct ral_media_ref *m, const char *root,
                        struct ral_image *im, struct ral_err *err)
{
    struct ral_map file = {0};
    char *path;
    int rc;

    if (m->bytes) {
        if ((rc = check_digest(m, m->bytes, m->n_bytes, m->path, err)) < 0)
            return rc;
        return ral_image_read(im, m->bytes, m->n_bytes, m->path, err);
    }
    if (!(path = ral_path_join(root, m->path)))
        return ral_err_nomem(err, "heat map");
    if ((rc = ral_map_open(&file, path, err)) == 0 &&
        (rc = check_digest(m, file.data, file.len, path, err)) == 0)
        rc = ral_image_read(im, file.data, file.len, path, err);
    ral_map_close(&file);
    free(path);
    return rc;
}

static bool read_box(const struct ral_item *it, struct ral_rect *box)
{
    const struct ral_item *medium = ral_item_get(it, "media");
    double v[4];

    if (it->type == RAL_ITEM_MAP) {
        if (medium && (medium->type != RAL_ITEM_UINT || medium->u != 0))
            return false; // of another picture
        it = ral_item_get(it, "box");
    }
    if (!it || it->type != RAL_ITEM_ARRAY || it->n != 4)
        return false;
    for (int i = 0; i < 4; i++)
        if (ral_item_number(&it->child[i], "box", &v[i], NULL) < 0 ||
            !(v[i] >= 0 && v[i] < 1e9))
            return false;
    *box = (struct ral_rect){v[0], v[1], v[2], v[3]};
    return v[0] < v[2] && v[1] < v[3];
}

/* The row's boxes on the first picture. */
static int boxes(const struct ral_group *g, struct ral_arena *a,
                 struct ral_heat_panel *p, struct ral_err *err)
{
    const struct ral_item *list = ral_item_get(g->item, "boxes");
    struct ral_rect *box;

    if (!list || list->type != RAL_ITEM_ARRAY)
        return 0;
    if (!(box = RAL_NEW(a, struct ral_rect, list->n + 1)))
        return ral_err_nomem(err, "heat map");
    for (size_t i = 0; i < list->n; i++)
        p->n_boxes += read_box(&list->child[i], &box[p->n_boxes]);
    p->boxes = box;
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
    char title[128], label[128], caption[CAPTION + 1];
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
    if ((rc = ral_attn_row(info, g->P, s, t, row, err)) < 0 ||
        (rc = cells(info, g, row, a, &panel, &share, err)) < 0 ||
        (rc = boxes(g, a, &panel, err)) < 0 ||
        (rc = load_picture(&g->media_ref[0],
                           job->media_root ? job->media_root : info->media_root,
                           im, err)) < 0)
        return rc;
    panel.rgb = im->rgb;
    panel.w = im->width;
    panel.h = im->height;
    snprintf(title, sizeof title, "%s, sample %lld, token %zu", g->id,
             (long long)job->sample, t);
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

/* lib/prompt/medium.c - a picture's file to patches for the tower. */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/hash.h"
#include "media/resize.h"
#include "prompt/prompt.h"

/* A file's bytes: the one that ref means, as a picture. */
static int decode(struct ral_image *im, const struct ral_media_ref *ref,
                  const uint8_t *bytes, size_t n, const char *name,
                  char digest[33], struct ral_err *err)
{
    ral_hash_hex(XXH3_128bits(bytes, n), digest);
    if (ref->digest && strcmp(digest, ref->digest))
        return ral_err_set(err, -RAL_EINVAL,
                           "%s: not the file that the stream was made with "
                           "(digest %s, recorded %s); see --media-root",
                           name, digest, ref->digest);
    return ral_image_read(im, bytes, n, name, err);
}

int ral_medium_read(struct ral_image *im, const struct ral_media_ref *ref,
                    const char *root, char digest[33], struct ral_err *err)
{
    struct ral_map file = {0};
    char own[33], *path;
    int rc;

    digest = digest ? digest : own;
    if (ref->bytes)
        return decode(im, ref, ref->bytes, ref->n_bytes, ref->path, digest,
                      err);
    if (!(path = ral_path_join(root, ref->path)))
        return ral_err_nomem(err, "%s", ref->path);
    if ((rc = ral_map_open(&file, path, err)) == 0)
        rc = decode(im, ref, file.data, file.len, path, digest, err);
    ral_map_close(&file);
    free(path);
    return rc;
}

/* To sides that the patches fill. */
static int fit(const struct ral_image *raw, const struct ral_processor *p,
               struct ral_image *out, struct ral_err *err)
{
    size_t H, W;
    int rc = ral_smart_resize(raw->height, raw->width,
                              p->spec.patch * p->spec.merge, p->min_pixels,
                              p->max_pixels, &H, &W, err);

    return rc < 0 ? rc : ral_image_resize(raw, W, H, out, err);
}

static int cut(struct ral_visual *v, const struct ral_image *im,
               const struct ral_patch_spec *s, struct ral_arena *a)
{
    const size_t h = im->height / s->patch, w = im->width / s->patch;
    float *patches = RAL_NEW(a, float, h * w * ral_patch_width(s, 1));

    if (!patches)
        return -RAL_ENOMEM;
    ral_patches(im, s, patches);
    *v = (struct ral_visual){
        .t = 1, .h = h, .w = w, .frames = 1, .patches = patches};
    return 0;
}

/* What is recorded of it, or must be as it was. */
static int settle(struct ral_media_ref *ref, const struct ral_visual *v,
                  const struct ral_image *raw, const char *digest,
                  struct ral_arena *a, struct ral_err *err)
{
    const uint32_t *g = ref->grid;

    if (ref->digest && (v->t != g[0] || v->h != g[1] || v->w != g[2]))
        return ral_err_set(err, -RAL_EINVAL,
                           "%s gives %zux%zu patches here, %ux%u when it was "
                           "sampled",
                           ref->path, v->h, v->w, g[1], g[2]);
    if (ref->digest)
        return 0;
    ref->digest = ral_arena_text(a, digest, strlen(digest));
    ref->grid[0] = (uint32_t)v->t;
    ref->grid[1] = (uint32_t)v->h;
    ref->grid[2] = (uint32_t)v->w;
    ref->width = (uint32_t)raw->width;
    ref->height = (uint32_t)raw->height;
    ref->seconds = v->seconds;
    return ref->digest ? 0 : ral_err_nomem(err, "%s", ref->path);
}

int ral_medium_load(struct ral_visual *v, struct ral_media_ref *ref,
                    const struct ral_processor *p, const char *root,
                    struct ral_arena *a, struct ral_err *err)
{
    struct ral_image raw = {0}, sized = {0};
    char digest[33];
    int rc = ral_medium_read(&raw, ref, root, digest, err);

    if (rc == 0 && (rc = fit(&raw, p, &sized, err)) < 0)
        ral_err_at(err, "%s", ref->path);
    if (rc == 0 && (rc = cut(v, &sized, &p->spec, a)) < 0)
        ral_err_nomem(err, "%s", ref->path);
    if (rc == 0)
        rc = settle(ref, v, &raw, digest, a, err);
    ral_image_release(&raw);
    ral_image_release(&sized);
    return rc;
}

/* lib/text/content.c - what the items of a message are. */
#include "text/content.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

int ral_content_path(const json_t *name, const char **path,
                     struct ral_err *err)
{
    static const char *const other[] = {"http://", "https://", "data:"};
    const char *s = json_string_value(name);

    *path = NULL;
    if (!s)
        return ral_err_set(err, -RAL_EINVAL, "names no picture; it must be a "
                           "text, the path of a file");
    for (size_t i = 0; i < sizeof other / sizeof *other; i++)
        if (!strncasecmp(s, other[i], strlen(other[i])))
            return ral_err_set(err, -RAL_EINVAL,
                               "'%.60s%s' is no file; this version reads "
                               "pictures from files alone, named by a path or "
                               "file://",
                               s, strlen(s) > 60 ? "..." : "");
    *path = strncasecmp(s, "file://", 7) ? s : s + 7;
    return 0;
}

/* A field of the item; null counts as none. */
static const json_t *field(const json_t *item, const char *key)
{
    const json_t *v = json_object_get(item, key);

    return json_is_null(v) ? NULL : v;
}

/* A picture's file, where the item names it. */
static int image_path(const json_t *item, const char *type, const char **path,
                      struct ral_err *err)
{
    const json_t *image = field(item, "image"), *url = field(item, "image_url");

    *path = NULL;
    if (image && url)
        return ral_err_set(err, -RAL_EINVAL,
                           "it has both image and image_url; make two items "
                           "of it");
    if (image)
        return ral_content_path(image, path, err);
    if (!url && !strcmp(type, "image"))
        return 0; // bare
    return ral_content_path(json_is_object(url) ? field(url, "url") : url,
                            path, err);
}

/* The kind alone, by its type, or by its keys. */
static int kind(const json_t *item, const char *name, size_t at,
                struct ral_err *err)
{
    const bool text = field(item, "text");
    const bool image = field(item, "image") || field(item, "image_url");
    const bool picture = !strcmp(name, "image") || !strcmp(name, "image_url");

    if (field(item, "video") || !strcmp(name, "video"))
        return ral_err_set(err, -RAL_EINVAL,
                           "content[%zu] is a video; only pictures and text "
                           "are supported",
                           at);
    if (!picture && strcmp(name, "text"))
        return ral_err_set(err, -RAL_EINVAL,
                           "content[%zu]: type '%.40s' is not text or image",
                           at, name);
    if (picture ? text : image)
        return ral_err_set(err, -RAL_EINVAL,
                           "content[%zu] has both a picture and text; make "
                           "two items of it",
                           at);
    if (!picture && !json_is_string(field(item, "text")))
        return ral_err_set(err, -RAL_EINVAL, "content[%zu] has no text", at);
    return picture ? RAL_CONTENT_IMAGE : RAL_CONTENT_TEXT;
}

int ral_content_kind(const json_t *item, size_t at, const char **path,
                     struct ral_err *err)
{
    const json_t *type = field(item, "type");
    const bool image = field(item, "image") || field(item, "image_url");
    const char *name = type    ? json_string_value(type)
                       : image ? "image"
                               : "text";
    const char *file = NULL;
    int is;

    if (!json_is_object(item))
        return ral_err_set(err, -RAL_EINVAL, "content[%zu] is no object", at);
    if (!name)
        return ral_err_set(err, -RAL_EINVAL,
                           "content[%zu]: type is no string", at);
    is = kind(item, name, at, err);
    if (is == RAL_CONTENT_IMAGE && image_path(item, name, &file, err) < 0)
        is = ral_err_at(err, "content[%zu]", at);
    if (path)
        *path = file;
    return is;
}

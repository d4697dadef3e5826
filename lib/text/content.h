/* lib/text/content.h - what the items of a message are. */
#ifndef RAL_CONTENT_H
#define RAL_CONTENT_H

#include <jansson.h>
#include <stddef.h>

#include "base/err.h"

enum ral_content { RAL_CONTENT_TEXT, RAL_CONTENT_IMAGE };

/**
 * Tells an item {"type": "text"|"image"|"image_url", ...}; without a type its
 * keys do. A key whose value is null counts as absent. A picture's file:
 *
 *     {"image": NAME}
 *     {"image_url": NAME} or {"image_url": {"url": NAME}}
 *     {"type": "image"}       bare: its name stands in the row's images[]
 *
 * @param at    its place in the list, for messages
 * @param path  set to the file of a picture, borrowed (ral_content_path), NULL
 *              of a bare one; may be NULL
 * @return enum ral_content, or -RAL_EINVAL for a video, an item that is two
 *         things or none, and a name that is no file's
 */
int ral_content_kind(const json_t *item, size_t at, const char **path,
                     struct ral_err *err);

/**
 * A picture's name as a path: file:// is taken off, and nothing decoded. A
 * name that is no text, and http, https and data URIs are refused.
 *
 * @return the path inside name, or NULL
 */
int ral_content_path(const json_t *name, const char **path,
                     struct ral_err *err);

#endif

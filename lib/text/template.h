/* lib/text/template.h - the chat template of Qwen2.5-VL, and row patterns. */
#ifndef RAL_TEMPLATE_H
#define RAL_TEMPLATE_H

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#include "base/buf.h"
#include "base/err.h"

#define RAL_MEDIA_ORDER_WORDS "as_is|first|last" // names of ral_media_order
enum ral_media_order {
    RAL_MEDIA_AS_IS,
    RAL_MEDIA_FIRST, // the pictures of a turn before its text
    RAL_MEDIA_LAST,
};

struct ral_template {
    const char *system_prompt; // NULL: the family's; "" leaves the turn out
    const char *prompt_suffix; // ends the text of the last user turn; or NULL
    enum ral_media_order media_order;
    bool generation_prompt; // open the assistant's turn at the end
};

/* What is taught where a row has no reply of its own. */
#define RAL_RESPONSE_TEMPLATE "<answer>{answer}</answer>"

/**
 * Appends the conversation as text. A picture becomes
 * <|vision_start|><|image_pad|><|vision_end|>; one <|image_pad|> stands for
 * all of its visual tokens. Nothing is trimmed and nothing stands between the
 * items of a turn. A system message in the row takes the place of
 * system_prompt.
 *
 * Text may hold no special marker of the family (<|im_end|>, <|image_pad|>,
 * ...), also none that two items make up together: who writes a question
 * must not be able to end it. Such text is refused, and so are videos, roles
 * other than system, user, assistant, and an item that is two things.
 *
 * @param messages  array of {role, content}: content is a
 *                  string or items {"type": "text"|"image", ...}
 * @param images    set to the number of pictures; may be NULL
 * @return 0 or negative; out->len is unchanged then.
 */
int ral_template_render(const struct ral_template *t, const json_t *messages,
                        struct ral_buf *out, size_t *images,
                        struct ral_err *err);

/**
 * Appends pattern with every {key} replaced by that field of the row: strings
 * as they are, numbers and booleans as JSON. {choice} is the text of the
 * choice that the row's answer names by letter; {{ and }} are braces.
 *
 * @return 0, or -RAL_EINVAL for a field that is missing, null, a list or an
 *         object, or a lone brace; out->len is unchanged then.
 */
int ral_template_fill(const char *pattern, const json_t *row,
                      struct ral_buf *out, struct ral_err *err);

#endif

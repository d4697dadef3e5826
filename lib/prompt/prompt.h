/* lib/prompt/prompt.h - one row to token ids, patches and grids. */
#ifndef RAL_PROMPT_H
#define RAL_PROMPT_H

#include <jansson.h>
#include <stdbool.h>

#include "base/arena.h"
#include "base/err.h"
#include "media/image.h"
#include "media/patch.h"
#include "media/visual.h"
#include "stream/group.h"
#include "text/template.h"
#include "text/tokenizer.h"

/* How rows become prompts; texts are borrowed, NULL takes the default. */
struct ral_prompt_conf {
    const char *system_prompt; // "none" leaves the turn out
    const char *prompt_suffix;
    const char *response_template; // RAL_RESPONSE_TEMPLATE
    enum ral_media_order media_order;
};

/* What a checkpoint says of its inputs; read only once open. */
struct ral_processor {
    struct ral_tokenizer *tokenizer;
    struct ral_patch_spec spec;
    size_t min_pixels, max_pixels;
    int32_t image_id, end_id;  // <|image_pad|>, <|im_end|>
    int32_t stop[8];           // of generation_config.json, end_id at least
    size_t nstop;
    struct ral_template template;
    const char *response_template;
};

/**
 * tokenizer.json, preprocessor_config.json and generation_config.json of a
 * checkpoint. vocab: the model's rows; a tokenizer with more is refused.
 */
int ral_processor_open(struct ral_processor *p, const char *dir,
                       const struct ral_prompt_conf *conf, size_t vocab,
                       struct ral_err *err);
void ral_processor_close(struct ral_processor *p);

/* Arrays live in the arena it was made in; paths and messages point into the
 * row, which must outlive the prompt. */
struct ral_prompt {
    int32_t *ids; // [P]
    size_t P;
    struct ral_media_ref *media; // [nvisual], paths as the row names them
    struct ral_visual *visual;   // [nvisual], the same as the tower takes them
    size_t nvisual;
    int32_t *response; // [T] with the end token, where one was asked for
    size_t T;
    const json_t *messages; // of the prompt, without the response
    json_t *owned;          // released by ral_prompt_release
};

enum ral_response_from {
    RAL_RESPONSE_NONE,   // a last assistant message is an error
    RAL_RESPONSE_GIVEN,  // the last assistant message must be there
    RAL_RESPONSE_TARGET, // it, or the response template
};

/**
 * @param root   folder of media paths
 * @param where  "file:line" for messages
 */
int ral_prompt_build(struct ral_prompt *out, const struct ral_processor *p,
                     const json_t *row, const char *root, const char *where,
                     enum ral_response_from from, struct ral_arena *a,
                     struct ral_err *err);
void ral_prompt_release(struct ral_prompt *out);

/**
 * The picture of ref as it is stored: of the bytes that ref holds, else of its
 * path below root. Where ref has a digest, the file must have it, too.
 *
 * @param digest  set to the file's; may be NULL
 * @return 0, -RAL_EIO for a file that cannot be read, -RAL_EINVAL for one that
 *         is no picture or another one
 */
int ral_medium_read(struct ral_image *im, const struct ral_media_ref *ref,
                    const char *root, char digest[33], struct ral_err *err);

/**
 * The same resized and cut for the tower, from the arena. A ref without a
 * digest gets one, its grid and its pixels; with one it comes from a stream,
 * and the grid must be as it says.
 */
int ral_medium_load(struct ral_visual *v, struct ral_media_ref *ref,
                    const struct ral_processor *p, const char *root,
                    struct ral_arena *a, struct ral_err *err);

#endif

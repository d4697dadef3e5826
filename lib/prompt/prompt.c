/* lib/prompt/prompt.c - one row to token ids, patches and grids. */
#include "prompt/prompt.h"

#include <stdint.h>
#include <string.h>

#include "text/content.h"

static bool is_role(const json_t *message, const char *role)
{
    const char *r = json_string_value(json_object_get(message, "role"));

    return r && !strcmp(r, role);
}

/* The text of a message whose content is a string or text items alone. */
static int message_text(const json_t *message, const char *where,
                        struct ral_buf *out, struct ral_err *err)
{
    const json_t *content = json_object_get(message, "content"), *item;
    size_t i;
    int rc = 0;

    if (json_is_string(content))
        return ral_buf_put(out, json_string_value(content),
                           json_string_length(content));
    if (!json_is_array(content))
        return ral_err_set(err, -RAL_EINVAL,
                           "%s: the response must be a text", where);
    json_array_foreach(content, i, item) {
        const json_t *text = json_object_get(item, "text");

        if (!json_is_string(text))
            return ral_err_set(err, -RAL_EINVAL,
                               "%s: the response must be a text", where);
        if ((rc = ral_buf_put(out, json_string_value(text),
                              json_string_length(text))) < 0)
            return rc;
    }
    return rc;
}

/* Takes a last assistant message off: what is left is the prompt. */
static int split_response(struct ral_prompt *out,
                          const struct ral_processor *p, const json_t *row,
                          const char *where, enum ral_response_from from,
                          struct ral_buf *text, struct ral_err *err)
{
    const json_t *all = json_object_get(row, "messages");
    const size_t n = json_array_size(all);
    const json_t *last = n ? json_array_get(all, n - 1) : NULL;
    const bool given = is_role(last, "assistant");
    int rc;

    out->messages = all;
    if (from == RAL_RESPONSE_NONE && given)
        return ral_err_set(err, -RAL_EINVAL,
                           "%s: ends with an assistant message; --given "
                           "scores it, without it there is nothing to sample",
                           where);
    if (from == RAL_RESPONSE_NONE)
        return 0;
    if (!given && from == RAL_RESPONSE_GIVEN)
        return ral_err_set(err, -RAL_EINVAL,
                           "%s: its last message must be the assistant's to "
                           "be scored",
                           where);
    if (!given) {
        rc = ral_template_fill(p->response_template, row, text, err);
        return rc < 0 ? ral_err_at(err, "%s: response_template", where) : 0;
    }
    out->owned = json_copy((json_t *)(uintptr_t)all);
    if (!out->owned || json_array_remove(out->owned, n - 1) < 0)
        return ral_err_nomem(err, "%s", where);
    out->messages = out->owned;
    return message_text(last, where, text, err);
}

/* Its place in images[] is used up by a bare item. */
static int bare_path(const json_t *images, size_t at, const char **path,
                     const char *where, struct ral_err *err)
{
    const json_t *name = json_array_get(images, at);

    if (!name)
        return ral_err_set(err, -RAL_EINVAL,
                           "%s: %zu bare images but images[] holds %zu", where,
                           at + 1, json_array_size(images));
    if (ral_content_path(name, path, err) < 0)
        return ral_err_at(err, "%s: images[%zu]", where, at);
    return 0;
}

/* The pictures of the messages in order, n as the template counted them. */
static int load_media(struct ral_prompt *out, const struct ral_processor *p,
                      const json_t *row, const char *root, const char *where,
                      size_t n, struct ral_arena *a, struct ral_err *err)
{
    const json_t *images = json_object_get(row, "images"), *message, *item;
    size_t i, j, bare = 0;
    int rc;

    out->media = RAL_ZNEW(a, struct ral_media_ref, n + 1);
    out->visual = RAL_ZNEW(a, struct ral_visual, n + 1);
    if (!out->media || !out->visual)
        return ral_err_nomem(err, "%s", where);
    json_array_foreach(out->messages, i, message) {
        json_array_foreach(json_object_get(message, "content"), j, item) {
            const size_t k = out->nvisual;
            const char **path = &out->media[k].path;
            const int kind = ral_content_kind(item, j, path, err);

            if (kind != RAL_CONTENT_IMAGE)
                continue; // the template has refused what is neither
            if (!*path &&
                (rc = bare_path(images, bare++, path, where, err)) < 0)
                return rc;
            if ((rc = ral_medium_load(&out->visual[k], &out->media[k], p, root,
                                      a, err)) < 0)
                return ral_err_at(err, "%s", where);
            out->nvisual++;
        }
    }
    if (bare < json_array_size(images))
        return ral_err_set(err, -RAL_EINVAL,
                           "%s: images[] holds %zu, its messages use %zu",
                           where, json_array_size(images), bare);
    return 0;
}

static size_t tokens(const struct ral_visual *v, const struct ral_processor *p)
{
    return ral_visual_tokens(v->t, v->h, v->w, p->spec.merge);
}

/* Each <|image_pad|> becomes as many as its picture has visual tokens. */
static int expand(struct ral_prompt *out, const struct ral_processor *p,
                  const struct ral_ids *ids, const char *where,
                  struct ral_arena *a, struct ral_err *err)
{
    size_t total = ids->n, k = 0;

    for (size_t i = 0; i < out->nvisual; i++)
        total += tokens(&out->visual[i], p) - 1;
    if (!(out->ids = RAL_NEW(a, int32_t, total)))
        return ral_err_nomem(err, "%s", where);
    for (size_t i = 0; i < ids->n; i++) {
        size_t copies = 1;

        if (ids->id[i] == p->image_id) {
            if (k == out->nvisual)
                return ral_err_set(err, -RAL_EINVAL,
                                   "%s: more placeholders than pictures",
                                   where);
            copies = tokens(&out->visual[k++], p);
        }
        while (copies--)
            out->ids[out->P++] = ids->id[i];
    }
    if (k != out->nvisual)
        return ral_err_set(err, -RAL_EINVAL,
                           "%s: fewer placeholders than pictures", where);
    return 0;
}

static int encode_response(struct ral_prompt *out,
                           const struct ral_processor *p,
                           const struct ral_buf *text, const char *where,
                           struct ral_arena *a, struct ral_err *err)
{
    struct ral_ids ids = {0};
    int rc = ral_tokenizer_encode(p->tokenizer, (const char *)text->data,
                                  text->len, &ids, err);

    if (rc < 0) {
        rc = ral_err_at(err, "%s: response", where);
    } else if (!(out->response = RAL_NEW(a, int32_t, ids.n + 1))) {
        rc = ral_err_nomem(err, "%s", where);
    } else {
        if (ids.n)
            memcpy(out->response, ids.id, ids.n * sizeof *ids.id);
        out->response[ids.n] = p->end_id;
        out->T = ids.n + 1;
    }
    ral_ids_release(&ids);
    return rc;
}

int ral_prompt_build(struct ral_prompt *out, const struct ral_processor *p,
                     const json_t *row, const char *root, const char *where,
                     enum ral_response_from from, struct ral_arena *a,
                     struct ral_err *err)
{
    struct ral_buf text = {0}, reply = {0};
    struct ral_ids ids = {0};
    size_t images;
    int rc;

    memset(out, 0, sizeof *out);
    if ((rc = split_response(out, p, row, where, from, &reply, err)) < 0)
        goto out;
    if ((rc = ral_template_render(&p->template, out->messages, &text, &images,
                                  err)) < 0 ||
        (rc = ral_tokenizer_encode(p->tokenizer, (const char *)text.data,
                                   text.len, &ids, err)) < 0) {
        rc = ral_err_at(err, "%s", where);
        goto out;
    }
    if ((rc = load_media(out, p, row, root, where, images, a, err)) < 0 ||
        (rc = expand(out, p, &ids, where, a, err)) < 0)
        goto out;
    if (from != RAL_RESPONSE_NONE)
        rc = encode_response(out, p, &reply, where, a, err);
out:
    ral_buf_release(&text);
    ral_buf_release(&reply);
    ral_ids_release(&ids);
    if (rc < 0)
        ral_prompt_release(out);
    return rc;
}

void ral_prompt_release(struct ral_prompt *out)
{
    json_decref(out->owned);
    out->owned = NULL;
}

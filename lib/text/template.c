/* lib/text/template.c - conversations and patterns to text. */
#include "text/template.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text/answer.h"
#include "text/content.h"

static const char default_system[] = "You are a helpful assistant.";
static const char image_mark[] = "<|vision_start|><|image_pad|><|vision_end|>";

/* All special tokens of the family read <|name|>. */
static const char *const markers[] = {
    "endoftext",      "im_start",     "im_end",     "object_ref_start",
    "object_ref_end", "box_start",    "box_end",    "quad_start",
    "quad_end",       "vision_start", "vision_end", "vision_pad",
    "image_pad",      "video_pad",
};

/* The marker at the front of s[n], which starts with "<|", or NULL. */
static const char *marker_at(const char *s, size_t n)
{
    for (size_t i = 0; i < sizeof markers / sizeof markers[0]; i++) {
        const size_t len = strlen(markers[i]);

        if (n >= len + 4 && memcmp(s + 2, markers[i], len) == 0 &&
            memcmp(s + 2 + len, "|>", 2) == 0)
            return markers[i];
    }
    return NULL;
}

/* What one call of render writes to. */
struct render {
    const struct ral_template *t;
    struct ral_buf *out;
    bool in_system; // in system_prompt, else in messages[turn]
    size_t images, turn;
    size_t run; // where the current run of user's text begins in out
    struct ral_err *err;
};

__attribute__((format(printf, 2, 3))) static int refuse(const struct render *r,
                                                        const char *fmt, ...)
{
    char what[400];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    if (r->in_system)
        return ral_err_set(r->err, -RAL_EINVAL, "system_prompt: %s", what);
    return ral_err_set(r->err, -RAL_EINVAL, "messages[%zu]: %s", r->turn, what);
}

static int put(struct render *r, const char *s, size_t n)
{
    if (ral_buf_put(r->out, s, n) < 0)
        return ral_err_nomem(r->err, "messages");
    return 0;
}

static int puts_to(struct render *r, const char *s)
{
    return put(r, s, strlen(s));
}

static int put_json(struct render *r, const json_t *string)
{
    return put(r, json_string_value(string), json_string_length(string));
}

/* Ends a run of text that came from outside: no marker may be in it. */
static int check_run(const struct render *r)
{
    const char *s = (const char *)r->out->data + r->run, *p;
    size_t n = r->out->len - r->run;

    while (n && (p = memmem(s, n, "<|", 2))) {
        const char *name;

        n -= (size_t)(p - s);
        if ((name = marker_at(p, n)))
            return refuse(r,
                          "the text holds the special marker <|%s|>; "
                          "remove it or write it in another way",
                          name);
        s = p + 2;
        n -= 2;
    }
    return 0;
}

/* What an item is, or negative after a message. */
static int item_kind(const struct render *r, const json_t *item, size_t i)
{
    const int kind = ral_content_kind(item, i, NULL, r->err);

    return kind < 0 ? ral_err_at(r->err, "messages[%zu]", r->turn) : kind;
}

static int put_image(struct render *r)
{
    int rc;

    if ((rc = check_run(r)) < 0 || (rc = puts_to(r, image_mark)) < 0)
        return rc;
    r->run = r->out->len;
    r->images++;
    return 0;
}

/* Items of one kind, or all of them in their order; suffix after text last. */
static int put_items(struct render *r, const json_t *items, bool text,
                     bool image, size_t last, const char *suffix)
{
    const json_t *item;
    size_t i;
    int rc;

    json_array_foreach(items, i, item)
    {
        const int kind = item_kind(r, item, i);

        if (kind < 0)
            return kind;
        if (kind == RAL_CONTENT_IMAGE && image && (rc = put_image(r)) < 0)
            return rc;
        if (kind != RAL_CONTENT_TEXT || !text)
            continue;
        if ((rc = put_json(r, json_object_get(item, "text"))) < 0)
            return rc;
        if (i == last && (rc = puts_to(r, suffix)) < 0)
            return rc;
    }
    // Without any text the suffix is the text.
    if (text && last == SIZE_MAX)
        return puts_to(r, suffix);
    return 0;
}

static int put_content(struct render *r, const json_t *content,
                       const char *suffix)
{
    const enum ral_media_order order = r->t->media_order;
    size_t last = SIZE_MAX, i;
    const json_t *item;
    int rc;

    if (json_is_string(content)) {
        if ((rc = put_json(r, content)) < 0)
            return rc;
        return puts_to(r, suffix);
    }
    if (!json_is_array(content))
        return refuse(r, "content is neither a string nor a list");
    json_array_foreach(content, i, item)
        if (item_kind(r, item, i) == RAL_CONTENT_TEXT)
            last = i;
    if (order == RAL_MEDIA_AS_IS)
        return put_items(r, content, true, true, last, suffix);
    rc = put_items(r, content, order == RAL_MEDIA_LAST,
                   order == RAL_MEDIA_FIRST, last, suffix);
    if (rc < 0)
        return rc;
    return put_items(r, content, order == RAL_MEDIA_FIRST,
                     order == RAL_MEDIA_LAST, last, suffix);
}

static int open_turn(struct render *r, const char *role)
{
    int rc;

    if ((rc = puts_to(r, "<|im_start|>")) < 0 || (rc = puts_to(r, role)) < 0 ||
        (rc = puts_to(r, "\n")) < 0)
        return rc;
    r->run = r->out->len;
    return 0;
}

static int close_turn(struct render *r)
{
    const int rc = check_run(r);

    return rc < 0 ? rc : puts_to(r, "<|im_end|>\n");
}

static const char *role_of(const json_t *message)
{
    return json_string_value(json_object_get(message, "role"));
}

static int put_message(struct render *r, const json_t *message,
                       const char *suffix)
{
    const char *role = role_of(message);
    int rc;

    if (!role || (strcmp(role, "system") && strcmp(role, "user") &&
                  strcmp(role, "assistant")))
        return refuse(r, "role '%.40s' is not system, user or assistant",
                      role ? role : "");
    if ((rc = open_turn(r, role)) < 0 ||
        (rc = put_content(r, json_object_get(message, "content"), suffix)) < 0)
        return rc;
    return close_turn(r);
}

static int put_system(struct render *r)
{
    const char *s = r->t->system_prompt ? r->t->system_prompt : default_system;
    int rc;

    if (!*s)
        return 0;
    r->in_system = true;
    if ((rc = open_turn(r, "system")) == 0 && (rc = puts_to(r, s)) == 0)
        rc = close_turn(r);
    r->in_system = false;
    return rc;
}

static int render(struct render *r, const json_t *messages)
{
    size_t i, last_user = SIZE_MAX;
    const json_t *m;
    const char *role;
    int rc;

    if (!json_is_array(messages) || json_array_size(messages) == 0)
        return ral_err_set(r->err, -RAL_EINVAL,
                           "messages is not a list with an entry");
    json_array_foreach(messages, i, m) if ((role = role_of(m)) &&
                                           !strcmp(role, "user")) last_user = i;
    role = role_of(json_array_get(messages, 0));
    if ((!role || strcmp(role, "system")) && (rc = put_system(r)) < 0)
        return rc;
    json_array_foreach(messages, r->turn, m)
    {
        const bool last = r->turn == last_user && r->t->prompt_suffix;

        if ((rc = put_message(r, m, last ? r->t->prompt_suffix : "")) < 0)
            return rc;
    }
    return r->t->generation_prompt ? open_turn(r, "assistant") : 0;
}

int ral_template_render(const struct ral_template *t, const json_t *messages,
                        struct ral_buf *out, size_t *images,
                        struct ral_err *err)
{
    struct render r = {.t = t, .out = out, .err = err};
    const size_t had = out->len;
    const int rc = render(&r, messages);

    if (rc < 0)
        ral_buf_cut(out, had);
    if (images)
        *images = r.images;
    return rc;
}

/* A real with the fewest digits that read back as the same number. */
static int put_real(struct ral_buf *out, double x)
{
    char s[40];

    for (int digits = 15; digits <= 17; digits++) {
        snprintf(s, sizeof s, "%.*g", digits, x);
        if (strtod(s, NULL) == x)
            break;
    }
    if (!strpbrk(s, ".e"))
        strcat(s, ".0");
    return ral_buf_put(out, s, strlen(s));
}

static int put_field(const json_t *v, const char *key, struct ral_buf *out,
                     struct ral_err *err)
{
    int rc;

    switch (v ? json_typeof(v) : JSON_NULL) {
    case JSON_STRING:
        rc = ral_buf_put(out, json_string_value(v), json_string_length(v));
        break;
    case JSON_INTEGER:
        rc =
            ral_buf_printf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
        break;
    case JSON_REAL:
        rc = put_real(out, json_real_value(v));
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        rc = ral_buf_printf(out, "%s", json_is_true(v) ? "true" : "false");
        break;
    default:
        return ral_err_set(err, -RAL_EINVAL, "{%s}: the row %s", key,
                           v ? "has neither text nor a number there"
                             : "has no such field");
    }
    if (rc < 0)
        return ral_err_nomem(err, "pattern");
    return 0;
}

/* The text of the choice that the answer's letter means. */
static int put_choice(const json_t *row, struct ral_buf *out,
                      struct ral_err *err)
{
    const json_t *choices = json_object_get(row, "choices");
    const json_t *answer = json_object_get(row, "answer");
    const size_t n = json_array_size(choices);
    int k;

    if (!n)
        return ral_err_set(err, -RAL_EINVAL,
                           "{choice}: the row has no choices");
    k = json_is_string(answer)
            ? ral_answer_letter(json_string_value(answer),
                                json_string_length(answer), n)
            : -1;
    if (k < 0)
        return ral_err_set(err, -RAL_EINVAL,
                           "{choice}: the answer is not the letter of one of "
                           "the %zu choices",
                           n);
    if (!json_is_string(json_array_get(choices, (size_t)k)))
        return ral_err_set(err, -RAL_EINVAL, "{choice}: choice %d is no text",
                           k);
    return put_field(json_array_get(choices, (size_t)k), "choice", out, err);
}

static int put_key(const char *key, size_t n, const json_t *row,
                   struct ral_buf *out, struct ral_err *err)
{
    char name[128];

    if (n >= sizeof name)
        return ral_err_set(err, -RAL_EINVAL, "{%.60s...}: a name too long",
                           key);
    memcpy(name, key, n);
    name[n] = '\0';
    if (!strcmp(name, "choice"))
        return put_choice(row, out, err);
    return put_field(json_object_get(row, name), name, out, err);
}

static int fill(const char *p, const json_t *row, struct ral_buf *out,
                struct ral_err *err)
{
    int rc = 0;

    while (*p && rc == 0) {
        const size_t plain = strcspn(p, "{}");

        if (plain) {
            rc = ral_buf_put(out, p, plain);
            p += plain;
        } else if (p[0] == p[1]) {
            rc = ral_buf_put(out, p, 1);
            p += 2;
        } else {
            const size_t n = strcspn(p + 1, "{}");

            if (*p == '}' || p[1 + n] != '}')
                return ral_err_set(err, -RAL_EINVAL,
                                   "pattern: a lone '%c' at \"%.40s\"; {key} "
                                   "is a field, {{ and }} are braces",
                                   *p, p);
            rc = put_key(p + 1, n, row, out, err);
            if (rc < 0)
                return rc;
            p += n + 2;
        }
    }
    if (rc < 0)
        return ral_err_nomem(err, "pattern");
    return 0;
}

int ral_template_fill(const char *pattern, const json_t *row,
                      struct ral_buf *out, struct ral_err *err)
{
    const size_t had = out->len;
    const int rc = fill(pattern, row, out, err);

    if (rc < 0)
        ral_buf_cut(out, had);
    return rc;
}

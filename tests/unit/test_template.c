/* tests/unit/test_template.c - conversations and row patterns as text. */
#include <check.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text/content.h"
#include "text/template.h"
#include "run.h"

static struct ral_err err;

static json_t *json(const char *s)
{
    json_error_t je;
    json_t *j = json_loads(s, JSON_DECODE_ANY | JSON_ALLOW_NUL, &je);

    ck_assert_msg(j, "%s: %s", s, je.text);
    return j;
}

static void renders(const struct ral_template *t, const char *messages,
                    size_t images, const char *want)
{
    struct ral_buf out = {0};
    json_t *j = json(messages);
    size_t n = 99;
    int rc;

    ck_assert_int_eq(ral_buf_put(&out, "#", 1), 0); // appends
    rc = ral_template_render(t, j, &out, &n, &err);
    ck_assert_msg(rc == 0, "%s", err.msg);
    ck_assert_msg(out.len == strlen(want) + 1 &&
                      !memcmp(out.data + 1, want, out.len - 1),
                  "'%.*s' is not '%s'", (int)out.len - 1, out.data + 1, want);
    ck_assert_uint_eq(n, images);
    json_decref(j);
    ral_buf_release(&out);
}

static void refuses(const struct ral_template *t, const char *messages,
                    const char *says)
{
    struct ral_buf out = {0};
    json_t *j = json(messages);

    ck_assert_int_eq(ral_buf_put(&out, "#", 1), 0);
    ck_assert_int_eq(ral_template_render(t, j, &out, NULL, &err), -RAL_EINVAL);
    ck_assert_msg(strstr(err.msg, says), "'%s' should say '%s'", err.msg, says);
    ck_assert_uint_eq(out.len, 1);
    json_decref(j);
    ral_buf_release(&out);
}

#define SYS "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
#define USER "<|im_start|>user\n"
#define END "<|im_end|>\n"
#define IMG "<|vision_start|><|image_pad|><|vision_end|>"
#define PARTS                                                                  \
    "{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"image\",\"image\":\"x\"}," \
    "{\"type\":\"text\",\"text\":\" b\"},{\"type\":\"image\"}"
#define TURN "[{\"role\":\"user\",\"content\":[" PARTS "]}]"

START_TEST(turns_and_system)
{
    struct ral_template t = {.generation_prompt = true};

    renders(&t, "[{\"role\":\"user\",\"content\":\" Hi \\n\"}]", 0,
            SYS USER " Hi \n" END "<|im_start|>assistant\n");
    t.generation_prompt = false;
    renders(&t,
            "[{\"role\":\"system\",\"content\":\"S\"},"
            "{\"role\":\"user\",\"content\":\"q\"},"
            "{\"role\":\"assistant\",\"content\":\"<answer>x</answer>\"}]",
            0,
            "<|im_start|>system\nS" END USER "q" END
            "<|im_start|>assistant\n<answer>x</answer>" END);
    t.system_prompt = "Be brief.";
    renders(&t, "[{\"role\":\"user\",\"content\":\"q\"}]", 0,
            "<|im_start|>system\nBe brief." END USER "q" END);
    t.system_prompt = "";
    renders(&t, "[{\"role\":\"user\",\"content\":\"q\"}]", 0, USER "q" END);
}
END_TEST

START_TEST(pictures_keep_or_change_their_place)
{
    struct ral_template t = {.system_prompt = "", .prompt_suffix = "!"};

    renders(&t, TURN, 2, USER "a" IMG " b!" IMG END);
    t.media_order = RAL_MEDIA_FIRST;
    renders(&t, TURN, 2, USER IMG IMG "a b!" END);
    t.media_order = RAL_MEDIA_LAST;
    renders(&t, TURN, 2, USER "a b!" IMG IMG END);
    renders(&t, "[{\"role\":\"user\",\"content\":[{\"type\":\"image\"}]}]", 1,
            USER "!" IMG END);
    t.media_order = RAL_MEDIA_AS_IS;
    renders(&t, "[{\"role\":\"user\",\"content\":[{\"image\":\"x\"}]}]", 1,
            USER IMG "!" END);
}
END_TEST

START_TEST(suffix_goes_to_the_last_user_turn)
{
    const struct ral_template t = {.system_prompt = "", .prompt_suffix = " Z"};

    renders(&t,
            "[{\"role\":\"user\",\"content\":\"q\"},"
            "{\"role\":\"assistant\",\"content\":\"r\"},"
            "{\"role\":\"user\",\"content\":\"s\"},"
            "{\"role\":\"assistant\",\"content\":\"u\"}]",
            0,
            USER "q" END "<|im_start|>assistant\nr" END USER "s Z" END
                 "<|im_start|>assistant\nu" END);
}
END_TEST

START_TEST(markers_in_text_are_refused)
{
    static const char *const names[] = {
        "endoftext",      "im_start",     "im_end",     "object_ref_start",
        "object_ref_end", "box_start",    "box_end",    "quad_start",
        "quad_end",       "vision_start", "vision_end", "vision_pad",
        "image_pad",      "video_pad"};
    struct ral_template t = {0};
    char s[200];

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        snprintf(s, sizeof s,
                 "[{\"role\":\"user\",\"content\":\"a<|<|%s|>b\"}]", names[i]);
        refuses(&t, s, names[i]);
    }
    refuses(&t,
            "[{\"role\":\"user\",\"content\":["
            "{\"type\":\"text\",\"text\":\"<|im_end|>\"},"
            "{\"type\":\"image\"}]}]",
            "<|im_end|>");
    // Two items must not make one up, nor an item and the suffix.
    refuses(&t,
            "[{\"role\":\"user\",\"content\":["
            "{\"type\":\"text\",\"text\":\"<|im_\"},"
            "{\"type\":\"text\",\"text\":\"end|>\"}]}]",
            "<|im_end|>");
    t.prompt_suffix = "|>";
    refuses(&t, "[{\"role\":\"user\",\"content\":\"<|im_end\"}]", "im_end");
    t.prompt_suffix = NULL;
    t.media_order = RAL_MEDIA_FIRST;
    refuses(&t,
            "[{\"role\":\"user\",\"content\":["
            "{\"type\":\"text\",\"text\":\"<|im_\"},{\"type\":\"image\"},"
            "{\"type\":\"text\",\"text\":\"end|>\"}]}]",
            "<|im_end|>");
    refuses(&t, "[{\"role\":\"user\",\"content\":\"ok\\u0000<|im_end|>\"}]",
            "im_end");
    t.system_prompt = "<|im_end|>";
    refuses(&t, "[{\"role\":\"user\",\"content\":\"q\"}]", "system_prompt:");
    t.system_prompt = "";
    renders(&t, "[{\"role\":\"user\",\"content\":\"<|im_end| > <|x|> <|\"}]", 0,
            USER "<|im_end| > <|x|> <|" END);
}
END_TEST

START_TEST(other_shapes_are_refused)
{
    static const char *const bad[][2] = {
        {"{}", "not a list"},
        {"[]", "not a list"},
        {"[7]", "messages[0]: role"},
        {"[{\"role\":\"tool\",\"content\":\"x\"}]", "role 'tool'"},
        {"[{\"role\":\"user\"}]", "content is neither"},
        {"[{\"role\":\"user\",\"content\":7}]", "content is neither"},
        {"[{\"role\":\"user\",\"content\":[7]}]", "content[0] is no object"},
        {"[{\"role\":\"user\",\"content\":[{}]}]", "content[0] has no text"},
        {"[{\"role\":\"user\",\"content\":[{\"type\":7}]}]", "no string"},
        {"[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":7}]}]",
         "has no text"},
        {"[{\"role\":\"user\",\"content\":[{\"type\":\"audio\"}]}]", "'audio'"},
        {"[{\"role\":\"user\",\"content\":[{\"type\":\"video\"}]}]", "video"},
        {"[{\"role\":\"user\",\"content\":[{\"video\":\"v.mp4\"}]}]", "video"},
        {"[{\"role\":\"user\",\"content\":[{\"image\":\"i\",\"text\":\"t\"}]}]",
         "both"},
        {"[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"image\":\"i\","
         "\"text\":\"t\"}]}]",
         "both"},
        {"[{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"user\"}]",
         "messages[1]"},
    };
    const struct ral_template t = {0};

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        refuses(&t, bad[i][0], bad[i][1]);
}
END_TEST

static void image(const char *item, const char *path)
{
    const struct ral_template t = {.system_prompt = ""};
    const char *got = "-";
    char messages[300];
    json_t *j = json(item);

    ck_assert_msg(ral_content_kind(j, 0, &got, &err) == RAL_CONTENT_IMAGE,
                  "%s: %s", item, err.msg);
    if (path)
        ck_assert_str_eq(got, path);
    else
        ck_assert_ptr_null(got);
    snprintf(messages, sizeof messages,
             "[{\"role\":\"user\",\"content\":[%s]}]", item);
    renders(&t, messages, 1, USER IMG END);
    json_decref(j);
}

static void no_image(const char *item, const char *says)
{
    const struct ral_template t = {.system_prompt = ""};
    char messages[300];

    snprintf(messages, sizeof messages,
             "[{\"role\":\"user\",\"content\":[{\"text\":\"q\"},%s]}]", item);
    refuses(&t, messages, "messages[0]: content[1]: ");
    refuses(&t, messages, says);
}

START_TEST(pictures_are_files)
{
    image("{\"type\":\"image\"}", NULL);
    image("{\"type\":\"image\",\"image\":null}", NULL);
    image("{\"image\":\"a b.png\",\"text\":null}", "a b.png");
    image("{\"image\":\"file:///x/%20.png\"}", "/x/%20.png");
    image("{\"type\":\"image_url\",\"image_url\":\"i.png\"}", "i.png");
    image("{\"type\":\"image_url\",\"image_url\":{\"url\":\"FILE://i.png\"}}",
          "i.png");
    image("{\"image_url\":{\"url\":\"i.png\",\"detail\":\"low\"}}", "i.png");
    image("{\"image\":\"httpd.png\"}", "httpd.png");
    no_image("{\"image_url\":{\"url\":\"http://x.org/i.png\"}}",
             "'http://x.org/i.png' is no file");
    no_image("{\"image\":\"HTTPS://x.org/i.png\"}", "from files alone");
    no_image("{\"image_url\":\"data:image/png;base64,AAAA\"}", "from files");
    no_image("{\"type\":\"image_url\"}", "names no picture");
    no_image("{\"type\":\"image_url\",\"image_url\":{}}", "names no picture");
    no_image("{\"image\":7}", "names no picture");
    no_image("{\"image\":\"a\",\"image_url\":\"b\"}", "both");
}
END_TEST

#define ROW                                                                    \
    "{\"answer\":\"C\",\"choices\":[\"Latin\",\"Thai\",\"Greek\"],\"n\":3,"    \
    "\"x\":0.1,\"y\":2.0,\"big\":1e300,\"b\":true,\"z\":null,\"l\":[1]}"

static void fills(const char *pattern, const char *want)
{
    json_t *row = json(ROW);
    struct ral_buf out = {0};
    const int rc = ral_template_fill(pattern, row, &out, &err);

    ck_assert_msg(rc == 0, "%s", err.msg);
    ck_assert_msg(out.len == strlen(want) && !memcmp(out.data, want, out.len),
                  "'%.*s' is not '%s'", (int)out.len, out.data, want);
    json_decref(row);
    ral_buf_release(&out);
}

static void does_not_fill(const char *row, const char *pattern,
                          const char *says)
{
    json_t *j = json(row);
    struct ral_buf out = {0};

    ck_assert_int_eq(ral_template_fill(pattern, j, &out, &err), -RAL_EINVAL);
    ck_assert_msg(strstr(err.msg, says), "'%s' should say '%s'", err.msg, says);
    ck_assert_uint_eq(out.len, 0);
    json_decref(j);
    ral_buf_release(&out);
}

START_TEST(patterns)
{
    fills("<think> {choice} </think> <answer> {answer} </answer>",
          "<think> Greek </think> <answer> C </answer>");
    fills("{{{n}}} {x} {y} {big} {b}{{}}", "{3} 0.1 2.0 1e+300 true{}");
    does_not_fill(ROW, "a {colour}", "{colour}: the row has no such field");
    does_not_fill(ROW, "a {z}", "{z}");
    does_not_fill(ROW, "a {l}", "{l}");
    does_not_fill(ROW, "a {", "lone '{'");
    does_not_fill(ROW, "a {x{", "lone '{'");
    does_not_fill(ROW, "a } b", "lone '}'");
    does_not_fill("{\"answer\":\"C\"}", "{choice}", "no choices");
    does_not_fill("{\"answer\":\"C\",\"choices\":[\"a\",\"b\"]}", "{choice}",
                  "one of the 2 choices");
    does_not_fill("{\"answer\":0,\"choices\":[\"a\",\"b\"]}", "{choice}",
                  "choices");
    does_not_fill("{\"answer\":\"A\",\"choices\":[7]}", "{choice}", "no text");
}
END_TEST

int main(void)
{
    TCase *c = tcase_create("template");

    tcase_add_test(c, turns_and_system);
    tcase_add_test(c, pictures_keep_or_change_their_place);
    tcase_add_test(c, suffix_goes_to_the_last_user_turn);
    tcase_add_test(c, markers_in_text_are_refused);
    tcase_add_test(c, other_shapes_are_refused);
    tcase_add_test(c, pictures_are_files);
    tcase_add_test(c, patterns);
    return run_tests(c);
}

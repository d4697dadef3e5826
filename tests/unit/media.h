/* tests/unit/media.h - pictures for tests; golden values by FNV-1a. */
#ifndef TEST_MEDIA_H
#define TEST_MEDIA_H

#include <check.h>
#include <jansson.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "media/image.h"
#include "run.h"

#ifndef GOLDEN_TOP // the Makefile gives the source tree's absolute path
#define GOLDEN_TOP "."
#endif

/* Of tests/golden; RAL_TOP overrides where the source tree lies. */
static inline const char *golden_file(const char *name)
{
    static char path[4096];
    const char *top = getenv("RAL_TOP");

    snprintf(path, sizeof path, "%s/tests/golden/%s", top ? top : GOLDEN_TOP,
             name);
    return path;
}

static inline json_t *golden_media(void)
{
    json_error_t e;
    json_t *j = json_load_file(golden_file("media.json"), 0, &e);

    ck_assert_msg(j != NULL, "%s: %s", golden_file("media.json"), e.text);
    return j;
}

static inline size_t size_at(const json_t *j, const char *key, size_t i)
{
    return (size_t)json_integer_value(
        json_array_get(json_object_get(j, key), i));
}

static inline uint64_t fnv(const void *p, size_t n)
{
    uint64_t h = 0xcbf29ce484222325;

    for (const uint8_t *b = p; n--; b++)
        h = (h ^ *b) * 0x100000001b3;
    return h;
}

static inline int same_fnv(const json_t *j, const void *p, size_t n)
{
    return strtoull(json_string_value(json_object_get(j, "fnv")), NULL, 16) ==
           fnv(p, n);
}

/* The picture of make_media.py: left half noise, right half a gradient. */
static inline struct ral_image test_picture(size_t w, size_t h)
{
    uint32_t noise = (uint32_t)(w * 65536 + h);
    struct ral_image im;

    ck_assert_int_eq(ral_image_alloc(&im, w, h, NULL), 0);
    for (size_t i = 0; i < 3 * w * h; i++) {
        const size_t x = i / 3 % w, y = i / 3 / w, c = i % 3;

        noise = noise * 1664525 + 1013904223;
        im.rgb[i] = (uint8_t)(2 * x < w ? noise >> 24 : x * 7 + y * 3 + c * 50);
    }
    return im;
}

#endif

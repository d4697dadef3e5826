/* tests/fuzz/fuzz_png.c - hostile pictures, with their sums as they are and
 * put right, so that what stands behind the sums is reached, too. */
#include "fuzz.h"

#include <string.h>

#include "media/image.h"
#include "media/resize.h"

/* Larger ones are legal, and slow under a sanitizer. */
enum { MOST_PIXELS = 1 << 20 };

static uint32_t big(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3];
}

/* CRC-32 of ISO 3309, a bit at a time. */
static uint32_t crc(const uint8_t *p, size_t n)
{
    uint32_t c = ~0u;

    for (size_t i = 0; i < n; i++) {
        c ^= p[i];
        for (int k = 0; k < 8; k++)
            c = c >> 1 ^ (c & 1 ? 0xedb88320 : 0);
    }
    return ~c;
}

static void put_sums_right(uint8_t *p, size_t n)
{
    for (size_t at = 8; n - at >= 12 && big(p + at) <= n - at - 12;
         at += big(p + at) + 12) {
        uint8_t *sum = p + at + 8 + big(p + at);
        const uint32_t c = crc(p + at + 4, big(p + at) + 4);

        for (int i = 0; i < 4; i++)
            sum[i] = (uint8_t)(c >> (24 - 8 * i));
    }
}

static void decode(const uint8_t *p, size_t n)
{
    struct ral_image im = {0}, small = {0};
    volatile uint8_t sum = 0;

    if (ral_image_read(&im, p, n, "fuzz", NULL) < 0)
        return;
    for (size_t i = 0; i < 3 * im.width * im.height; i++)
        sum += im.rgb[i];
    if (ral_image_resize(&im, 28, 28, &small, NULL) == 0)
        ral_image_release(&small);
    ral_image_release(&im);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    uint8_t *copy;

    if (n < 24 || (uint64_t)big(p + 16) * big(p + 20) > MOST_PIXELS)
        return 0;
    decode(p, n);
    if (!(copy = malloc(n)))
        abort();
    memcpy(copy, p, n);
    put_sums_right(copy, n);
    decode(copy, n);
    free(copy);
    return 0;
}

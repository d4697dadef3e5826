/* lib/base/dtype.h - the number formats of stored tensors. */
#ifndef RAL_DTYPE_H
#define RAL_DTYPE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum ral_dtype {
    RAL_F32,
    RAL_F16,
    RAL_BF16,
    RAL_F64,
    RAL_I64,
    RAL_I32,
    RAL_I16,
    RAL_I8,
    RAL_U8,
    RAL_BOOL,
    RAL_DTYPES
};

static inline size_t ral_dtype_size(enum ral_dtype t)
{
    static const unsigned char size[RAL_DTYPES] = {4, 2, 2, 8, 8, 4, 2, 1, 1, 1};

    return size[t];
}

static inline float ral_from_bf16(uint16_t h)
{
    const uint32_t u = (uint32_t)h << 16;
    float f;

    memcpy(&f, &u, 4);
    return f;
}

/* IEEE binary16, subnormals and specials included; exact. */
static inline float ral_from_f16(uint16_t h)
{
    const uint32_t sign = (uint32_t)(h & 0x8000) << 16, e = h >> 10 & 31;
    uint32_t m = h & 1023, u;
    float f;

    if (e == 31) {
        u = sign | 0x7f800000 | m << 13;
    } else if (e) {
        u = sign | (e + 112) << 23 | m << 13;
    } else {
        f = (float)m * 0x1p-24f;
        memcpy(&u, &f, 4);
        u |= sign;
    }
    memcpy(&f, &u, 4);
    return f;
}

#endif

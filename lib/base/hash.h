/* lib/base/hash.h - digests as text. */
#ifndef RAL_HASH_H
#define RAL_HASH_H

#include <xxhash.h>

/* XXH3-128 as 32 hexadecimal digits in canonical order, and a NUL. */
void ral_hash_hex(XXH128_hash_t hash, char hex[33]);

#endif

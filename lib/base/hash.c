/* lib/base/hash.c - digests as text. */
#include "base/hash.h"

#include <stdio.h>

void ral_hash_hex(XXH128_hash_t hash, char hex[33])
{
    XXH128_canonical_t c;

    XXH128_canonicalFromHash(&c, hash);
    for (size_t i = 0; i < sizeof c.digest; i++)
        snprintf(hex + 2 * i, 3, "%02x", c.digest[i]);
}

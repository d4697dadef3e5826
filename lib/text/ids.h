/* lib/text/ids.h - a growing run of token ids. */
#ifndef RAL_IDS_H
#define RAL_IDS_H

#include <stddef.h>
#include <stdint.h>

struct ral_ids { // zero initialise
    int32_t *id;
    size_t n, cap;
};

int ral_ids_put(struct ral_ids *ids, int32_t id); // 0 or -RAL_ENOMEM
void ral_ids_release(struct ral_ids *ids);

#endif

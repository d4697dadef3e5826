/* tests/fuzz/fuzz_safetensors.c - hostile weights: all that is told is there. */
#include "fuzz.h"

#include <string.h>

#include "data/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct ral_safetensors *st;
    volatile uint8_t sum = 0;

    if (ral_safetensors_open_file(&st, fuzz_file(p, n), NULL) < 0)
        return 0;
    for (size_t i = 0; i < st->n; i++) {
        const struct ral_st_tensor *t = &st->tensor[i];
        const uint8_t *data = t->data;
        size_t size = ral_dtype_size(t->dtype);

        for (size_t k = 0; k < t->rank; k++)
            size *= t->shape[k];
        if (size != t->nbytes || ral_safetensors_find(st, t->name) != t)
            abort();
        for (size_t k = 0; k < t->nbytes; k++)
            sum += data[k];
    }
    ral_safetensors_close(st);
    return 0;
}

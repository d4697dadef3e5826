/* tests/fuzz/fuzz_tokenizer.c - a hostile tokenizer.json, and what it does. */
#include "fuzz.h"

#include <string.h>

#include "text/tokenizer.h"

/* Text of every kind, and the file itself. */
static void use(const struct ral_tokenizer *t, const char *text, size_t n)
{
    struct ral_ids ids = {0};
    struct ral_buf out = {0};

    if (ral_tokenizer_encode(t, text, n, &ids, NULL) == 0) {
        for (size_t i = 0; i < ids.n; i++)
            if (ids.id[i] < 0 ||
                (size_t)ids.id[i] >= ral_tokenizer_size(t))
                abort();
        if (ral_tokenizer_decode(t, ids.id, ids.n, false, &out) < 0)
            abort();
    }
    ral_ids_release(&ids);
    ral_buf_release(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    static const char text[] = "The 42 cats' <|im_end|>\r\n\n  e\xcc\x81 "
                               "\xe4\xbd\xa0\xf0\x9f\x98\x80 don't!";
    struct ral_tokenizer *t;

    if (ral_tokenizer_open(&t, fuzz_file(p, n), NULL) < 0)
        return 0;
    use(t, text, sizeof text - 1);
    use(t, (const char *)p, n);
    ral_tokenizer_close(t);
    return 0;
}

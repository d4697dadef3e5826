/* tests/fuzz/fuzz_recipe.c - hostile YAML, read as a recipe of every program. */
#include "fuzz.h"

#include "conf/recipe.h"
#include "job/whole.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    static const struct ral_list none;
    static const char *const keys[] = {"train.steps", "reward.rules",
                                       "data.where", "update"};
    const char *path = fuzz_file(p, n);
    struct ral_buf out = {0};

    ral_recipe_check(path, &none, NULL);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        ral_recipe_get(path, &none, keys[i], &out, NULL);
    ral_buf_release(&out);
    return 0;
}

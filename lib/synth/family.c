/* lib/synth/family.c - the families that there are, and the splits. */
#include "synth/family.h"

#include <stdio.h>
#include <string.h>

extern const struct ral_family ral_family_search;

static const struct ral_family *const families[] = {
    &ral_family_search,
};

#define N_FAMILIES (sizeof families / sizeof *families)

int ral_family_find(const struct ral_family **family, const char *name,
                    struct ral_err *err)
{
    char known[200] = "";

    for (size_t i = 0; i < N_FAMILIES; i++) {
        const size_t n = strlen(known);

        if (!strcmp(name, families[i]->name)) {
            *family = families[i];
            return 0;
        }
        snprintf(known + n, sizeof known - n, "%s%s", n ? ", " : "",
                 families[i]->name);
    }
    return ral_err_set(err, -RAL_EUSAGE, "no family \"%s\"; there is %s", name,
                       known);
}

static const char *const split_names[RAL_SPLITS] = {"train", "validation",
                                                    "test"};

const char *ral_split_name(enum ral_split split)
{
    return split_names[split];
}

int ral_split_find(enum ral_split *split, const char *name, struct ral_err *err)
{
    for (int i = 0; i < RAL_SPLITS; i++)
        if (!strcmp(name, split_names[i])) {
            *split = (enum ral_split)i;
            return 0;
        }
    return ral_err_set(err, -RAL_EUSAGE,
                       "no split \"%s\"; there are train, validation and test",
                       name);
}

/* lib/rl/reduce.c - weights of token terms. */
#include "rl/reduce.h"

#include <assert.h>

#include "base/opt.h"

int ral_reduce_parse(enum ral_reduce *out, const char *name,
                     struct ral_err *err)
{
    const int k = ral_word(RAL_REDUCE_WORDS, name);

    if (k < 0)
        return ral_err_set(err, -RAL_EUSAGE,
                           "attn_reduce '%s' is none of %s", name,
                           RAL_REDUCE_WORDS);
    *out = (enum ral_reduce)k;
    return 0;
}

void ral_total_add(struct ral_total *sum, size_t T)
{
    sum->sequences += T > 0;
    sum->tokens += T;
}

double ral_reduce_weight(enum ral_reduce how, size_t T,
                         const struct ral_total *step)
{
    if (T == 0)
        return 0;
    assert(step->sequences > 0 && step->tokens >= T);
    switch (how) {
    case RAL_REDUCE_TOKEN:
        return 1.0 / (double)step->tokens;
    case RAL_REDUCE_SEQUENCE:
        return 1.0 / ((double)step->sequences * (double)T);
    case RAL_REDUCE_SUM:
        break;
    }
    return 1;
}

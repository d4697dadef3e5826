/* lib/prompt/source.c - where a program finds its rows and their media. */
#include "prompt/source.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "stream/header.h"

int ral_shard_parse(const char *text, uint64_t *k, uint64_t *n,
                    struct ral_err *err)
{
    char first[24];
    const char *slash = text ? strchr(text, '/') : NULL;

    *k = 1;
    *n = 0;
    if (!text || !*text)
        return 0;
    if (slash && slash - text < (int)sizeof first) {
        snprintf(first, sizeof first, "%.*s", (int)(slash - text), text);
        if (ral_parse_u64(first, k) == 0 && ral_parse_u64(slash + 1, n) == 0 &&
            *k >= 1 && *k <= *n && *n <= RAL_SHARDS_MAX)
            return 0;
    }
    return ral_err_set(err, -RAL_EUSAGE,
                       "--shard %s: must be k/n with 1 <= k <= n", text);
}

/* Links in the path are followed once, so that names below it compare. */
static char *media_root(const char *asked, const char *rows)
{
    const bool pipe = !rows || !strcmp(rows, "-");
    char *dir = asked ? strdup(asked) : pipe ? strdup(".") : ral_path_dir(rows);
    char *full = dir ? realpath(dir, NULL) : NULL;

    if (!full)
        return dir;
    free(dir);
    return full;
}

/* split: one of RAL_SPLIT_WORDS. */
static void find_split(const struct ral_data_settings *d, const char *split,
                       const char **file, const struct ral_strings **where)
{
    const struct {
        const char *file;
        const struct ral_strings *where;
    } of[] = {
        {d->train, &d->train_where},
        {d->sft ? d->sft : d->train, &d->train_where},
        {d->validation, &d->validation_where},
        {d->test, &d->test_where},
    };
    const int k = ral_word(RAL_SPLIT_WORDS, split);

    assert(k >= 0);
    *file = of[k].file;
    *where = of[k].where;
}

int ral_source_find(struct ral_source *s, const struct ral_data_settings *d,
                    const char *split, const char *usual, const char *operand,
                    struct ral_err *err)
{
    static const struct ral_strings none = {0};
    const struct ral_strings *own = &none;
    const char *file = NULL;

    memset(s, 0, sizeof *s);
    find_split(d, split ? split : usual, &file, &own);
    if (split && operand)
        return ral_err_set(err, -RAL_EUSAGE,
                           "--split %s and %s: the rows are one or the other",
                           split, operand);
    if (split && !file)
        return ral_err_set(err, -RAL_EUSAGE,
                           "--split %s: data.%s is not set; give a recipe "
                           "with -c, or a file of rows",
                           split, split);
    if (operand || !file)
        own = &none;
    s->rows.path = operand ? operand : file;
    s->rows.nwhere = d->where.n + own->n;
    s->where = malloc((s->rows.nwhere + 1) * sizeof *s->where);
    s->root = media_root(d->media_root, s->rows.path);
    if (!s->where || !s->root)
        return ral_err_nomem(err, "rows");
    for (size_t i = 0; i < s->rows.nwhere; i++)
        s->where[i] = i < d->where.n ? d->where.item[i]
                                     : own->item[i - d->where.n];
    s->rows.where = s->where;
    return 0;
}

void ral_source_release(struct ral_source *s)
{
    free(s->root);
    free(s->where);
    memset(s, 0, sizeof *s);
}

struct ral_prompt_conf ral_data_prompts(const struct ral_data_settings *d)
{
    return (struct ral_prompt_conf){d->system_prompt, d->prompt_suffix,
                                    d->response_template,
                                    (enum ral_media_order)d->media_order};
}

/* lib/prompt/processor.c - what a checkpoint says of its inputs. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "data/jsonl.h"
#include "prompt/prompt.h"

static int bad(struct ral_err *err, const char *path, const char *what)
{
    return ral_err_set(err, -RAL_EINVAL, "%s: %s", path, what);
}

static int read_size(const json_t *j, const char *key, size_t lo, size_t hi,
                     const char *path, size_t *out, struct ral_err *err)
{
    const json_t *v = json_object_get(j, key);

    if (!json_is_integer(v) || json_integer_value(v) < (json_int_t)lo ||
        json_integer_value(v) > (json_int_t)hi)
        return ral_err_set(err, -RAL_EINVAL,
                           "%s: %s must be a whole number from %zu to %zu",
                           path, key, lo, hi);
    *out = (size_t)json_integer_value(v);
    return 0;
}

static int read_three(const json_t *j, const char *key, const char *path,
                      float out[3], struct ral_err *err)
{
    const json_t *v = json_object_get(j, key);

    for (size_t i = 0; i < 3; i++) {
        const json_t *x = json_array_get(v, i);

        if (json_array_size(v) != 3 || !json_is_number(x) ||
            !isfinite(json_number_value(x)))
            return ral_err_set(err, -RAL_EINVAL,
                               "%s: %s must be three numbers", path, key);
        out[i] = (float)json_number_value(x);
    }
    return 0;
}

/* min_pixels and max_pixels, or size's edges, which are pixel counts, too. */
static int read_pixels(struct ral_processor *p, const json_t *j,
                       const char *path, struct ral_err *err)
{
    const json_t *size = json_object_get(j, "size");
    const bool edges = json_is_object(size) &&
                       !json_is_integer(json_object_get(j, "min_pixels"));
    const json_t *from = edges ? size : j;
    int rc = read_size(from, edges ? "shortest_edge" : "min_pixels", 1,
                       1 << 30, path, &p->min_pixels, err);

    if (rc == 0)
        rc = read_size(from, edges ? "longest_edge" : "max_pixels",
                       p->min_pixels, 1 << 30, path, &p->max_pixels, err);
    return rc;
}

static int read_preprocessor(struct ral_processor *p, const json_t *j,
                             const char *path, struct ral_err *err)
{
    int rc;

    if ((rc = read_size(j, "patch_size", 1, 256, path, &p->spec.patch, err)) ||
        (rc = read_size(j, "merge_size", 1, 16, path, &p->spec.merge, err)) ||
        (rc = read_size(j, "temporal_patch_size", 1, 16, path,
                        &p->spec.temporal, err)) ||
        (rc = read_three(j, "image_mean", path, p->spec.mean, err)) ||
        (rc = read_three(j, "image_std", path, p->spec.std, err)))
        return rc;
    for (int i = 0; i < 3; i++)
        if (p->spec.std[i] == 0)
            return bad(err, path, "image_std must not be 0");
    return read_pixels(p, j, path, err);
}

/* transformers 5 saves all of it nested in processor_config.json. */
static int open_preprocessor(struct ral_processor *p, const char *dir,
                             struct ral_err *err)
{
    char *nested = ral_path_join(dir, "processor_config.json");
    char *plain = ral_path_join(dir, "preprocessor_config.json");
    const json_t *inner = NULL;
    json_t *j = NULL;
    int rc = 0;

    if (!nested || !plain)
        rc = ral_err_nomem(err, "%s", dir);
    if (rc == 0 && access(nested, F_OK) == 0) {
        if ((rc = ral_json_file(&j, nested, err)) == 0 &&
            (inner = json_object_get(j, "image_processor")))
            rc = read_preprocessor(p, inner, nested, err);
    }
    if (rc == 0 && !inner) {
        json_decref(j);
        if ((rc = ral_json_file(&j, plain, err)) == 0)
            rc = read_preprocessor(p, j, plain, err);
    }
    json_decref(j);
    free(nested);
    free(plain);
    return rc;
}

static int add_stop(struct ral_processor *p, const json_t *v, const char *path,
                    struct ral_err *err)
{
    if (!json_is_integer(v) || json_integer_value(v) < 0 ||
        json_integer_value(v) > INT32_MAX ||
        p->nstop == sizeof p->stop / sizeof *p->stop)
        return bad(err, path, "eos_token_id must be up to eight token ids");
    p->stop[p->nstop++] = (int32_t)json_integer_value(v);
    return 0;
}

/* Of the generation settings only the end tokens: the rest is sampling. */
static int open_generation(struct ral_processor *p, const char *dir,
                           struct ral_err *err)
{
    char *path = ral_path_join(dir, "generation_config.json");
    const json_t *eos, *v;
    json_t *j = NULL;
    bool has_end = false;
    size_t i;
    int rc = 0;

    if (!path)
        return ral_err_nomem(err, "%s", dir);
    if (access(path, F_OK) == 0) {
        rc = ral_json_file(&j, path, err);
        eos = json_object_get(j, "eos_token_id");
        if (json_is_integer(eos))
            rc = add_stop(p, eos, path, err);
        json_array_foreach(eos, i, v)
            if (rc == 0)
                rc = add_stop(p, v, path, err);
    }
    for (i = 0; i < p->nstop; i++)
        has_end |= p->stop[i] == p->end_id;
    if (rc == 0 && !has_end)
        p->stop[p->nstop < 8 ? p->nstop++ : 7] = p->end_id;
    json_decref(j);
    free(path);
    return rc;
}

static int open_tokenizer(struct ral_processor *p, const char *dir,
                          size_t vocab, struct ral_err *err)
{
    char *path = ral_path_join(dir, "tokenizer.json");
    int rc;

    if (!path)
        return ral_err_nomem(err, "%s", dir);
    if ((rc = ral_tokenizer_open(&p->tokenizer, path, err)) == 0) {
        const size_t size = ral_tokenizer_size(p->tokenizer);

        p->image_id = ral_tokenizer_id(p->tokenizer, "<|image_pad|>");
        p->end_id = ral_tokenizer_id(p->tokenizer, "<|im_end|>");
        if (size > vocab)
            rc = ral_err_set(err, -RAL_EINVAL,
                             "%s: holds %zu tokens, config.json's vocab_size "
                             "is %zu",
                             path, size, vocab);
        else if (p->image_id < 0 || p->end_id < 0)
            rc = bad(err, path, "<|image_pad|> or <|im_end|> is missing");
    }
    free(path);
    return rc;
}

int ral_processor_open(struct ral_processor *p, const char *dir,
                       const struct ral_prompt_conf *conf, size_t vocab,
                       struct ral_err *err)
{
    const char *system = conf->system_prompt;
    int rc;

    memset(p, 0, sizeof *p);
    p->template = (struct ral_template){
        .system_prompt = system && !strcmp(system, "none") ? "" : system,
        .prompt_suffix = conf->prompt_suffix,
        .media_order = conf->media_order,
        .generation_prompt = true,
    };
    p->response_template = conf->response_template
                               ? conf->response_template
                               : RAL_RESPONSE_TEMPLATE;
    if ((rc = open_preprocessor(p, dir, err)) < 0 ||
        (rc = open_tokenizer(p, dir, vocab, err)) < 0 ||
        (rc = open_generation(p, dir, err)) < 0)
        ral_processor_close(p);
    return rc;
}

void ral_processor_close(struct ral_processor *p)
{
    ral_tokenizer_close(p->tokenizer);
    p->tokenizer = NULL;
}

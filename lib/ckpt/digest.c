/* lib/ckpt/digest.c - one number that names a policy. */
#include "ckpt/digest.h"

#include <dirent.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/file.h"
#include "base/hash.h"
#include "data/safetensors.h"

enum { CACHE_BYTES = 64 << 20 }; // smaller ones are hashed each time

static const char *const files[] = {"config.json", "preprocessor_config.json",
                                    "tokenizer.json"};

static void put(XXH3_state_t *h, const void *p, size_t n)
{
    XXH3_128bits_update(h, p, n);
}

static void put_u64(XXH3_state_t *h, uint64_t v)
{
    put(h, &v, sizeof v);
}

static int hash_tensors(XXH3_state_t *h, const char *dir, struct ral_err *err)
{
    struct ral_safetensors *st;
    int rc = ral_safetensors_open(&st, dir, err);

    for (size_t i = 0; rc == 0 && i < st->n; i++) {
        const struct ral_st_tensor *t = &st->tensor[i];

        put(h, t->name, strlen(t->name) + 1);
        put(h, ral_st_dtype_name(t->dtype),
            strlen(ral_st_dtype_name(t->dtype)) + 1);
        put_u64(h, t->rank);
        for (size_t k = 0; k < t->rank; k++)
            put_u64(h, t->shape[k]);
        put(h, t->data, t->nbytes);
    }
    ral_safetensors_close(st);
    return rc;
}

/* A file that is not there counts as empty. */
static int hash_file(XXH3_state_t *h, const char *dir, const char *name,
                     struct ral_err *err)
{
    char *path = ral_path_join(dir, name);
    struct ral_map map = {0};
    int rc = 0;

    if (!path)
        return ral_err_set(err, -RAL_ENOMEM, "%s: out of memory", dir);
    if (access(path, F_OK) == 0)
        rc = ral_map_open(&map, path, err);
    put_u64(h, map.len);
    if (map.len)
        put(h, map.data, map.len);
    ral_map_close(&map);
    free(path);
    return rc;
}

static bool counts(const char *name)
{
    const char *dot = strrchr(name, '.');

    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (!strcmp(name, files[i]))
            return true;
    return (dot && !strcmp(dot, ".safetensors")) ||
           !strcmp(name, "model.safetensors.index.json");
}

/* {"files": {name: [size, mtime, inode]}} of what the digest is made of. */
static json_t *stamp(const char *dir, uint64_t *bytes)
{
    DIR *d = opendir(dir);
    json_t *out = json_object();
    struct dirent *e;
    struct stat st;

    *bytes = 0;
    while (d && (e = readdir(d))) {
        if (!counts(e->d_name) || fstatat(dirfd(d), e->d_name, &st, 0) < 0)
            continue;
        *bytes += (uint64_t)st.st_size;
        json_object_set_new(
            out, e->d_name,
            json_pack("[I,I,I]", (json_int_t)st.st_size,
                      (json_int_t)st.st_mtim.tv_sec * 1000000000 +
                          st.st_mtim.tv_nsec,
                      (json_int_t)st.st_ino));
    }
    if (d)
        closedir(d);
    return out;
}

static bool cached(const char *path, const json_t *now, char hex[33])
{
    json_t *j = json_load_file(path, 0, NULL);
    const char *d = json_string_value(json_object_get(j, "digest"));
    const bool hit = d && strlen(d) == 32 &&
                     json_equal(json_object_get(j, "files"), now);

    if (hit)
        memcpy(hex, d, 33);
    json_decref(j);
    return hit;
}

/* A checkpoint that cannot be written to is hashed again, that is all. */
static void keep(const char *dir, const char *path, json_t *now,
                 const char *hex)
{
    json_t *j = json_pack("{s:s,s:O}", "digest", hex, "files", now);
    char *sub = ral_path_join(dir, "ral"), *text;
    struct ral_out out;

    if (j && sub && (mkdir(sub, 0777) == 0 || access(sub, W_OK) == 0) &&
        ral_out_open(&out, path, NULL) == 0) {
        text = json_dumps(j, JSON_COMPACT | JSON_SORT_KEYS);
        if (text &&
            ral_write_all(out.fd, text, strlen(text), path, NULL) == 0)
            ral_out_finish(&out, NULL);
        else
            ral_out_abort(&out);
        free(text);
    }
    json_decref(j);
    free(sub);
}

static int compute(const char *dir, char hex[33], struct ral_err *err)
{
    XXH3_state_t *h = XXH3_createState();
    int rc;

    if (!h)
        return ral_err_set(err, -RAL_ENOMEM, "%s: out of memory", dir);
    XXH3_128bits_reset(h);
    rc = hash_tensors(h, dir, err);
    for (size_t i = 0; rc == 0 && i < sizeof files / sizeof *files; i++)
        rc = hash_file(h, dir, files[i], err);
    ral_hash_hex(XXH3_128bits_digest(h), hex);
    XXH3_freeState(h);
    return rc;
}

int ral_policy_digest(const char *dir, char hex[33], struct ral_err *err)
{
    char *path = ral_path_join(dir, "ral/digest.json");
    uint64_t bytes;
    json_t *now = stamp(dir, &bytes);
    int rc = 0;

    if (!path || !now)
        rc = ral_err_set(err, -RAL_ENOMEM, "%s: out of memory", dir);
    else if (bytes < CACHE_BYTES)
        rc = compute(dir, hex, err);
    else if (!cached(path, now, hex) && (rc = compute(dir, hex, err)) == 0)
        keep(dir, path, now, hex);
    json_decref(now);
    free(path);
    return rc;
}

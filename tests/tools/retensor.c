/* tests/tools/retensor.c - spoil one tensor of DIR/model.safetensors. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/opt.h"
#include "data/safetensors.h"

struct want {
    const char *name, *fill, *fill_last;
    bool drop, reshape, add, f64;
};

/* The tensor named, changed as asked; values go to copy. */
static int change(const struct want *w, struct ral_st_tensor *t, float *copy,
                  struct ral_err *err)
{
    const size_t n = t->nbytes / sizeof(float);

    memcpy(copy, t->data, t->nbytes);
    for (size_t i = 0; w->fill && i < n; i++)
        copy[i] = strtof(w->fill, NULL);
    if (w->fill_last)
        copy[n - 1] = strtof(w->fill_last, NULL);
    t->data = copy;
    if (w->f64) {
        t->dtype = RAL_F64; // of half as many numbers
        t->shape[0] /= 2;
    }
    if (w->reshape) { // the same numbers, one dimension more
        if (t->rank == RAL_ST_RANK_MAX)
            return ral_err_set(err, -RAL_EINVAL, "%s: rank", t->name);
        t->shape[t->rank++] = 1;
    }
    return 0;
}

static int run(const struct want *w, const char *dir, struct ral_err *err)
{
    char *path = ral_path_join(dir, "model.safetensors");
    char *tmp = ral_path_join(dir, "model.safetensors.new");
    struct ral_safetensors *st;
    struct ral_st_tensor *out;
    float *copy = NULL;
    size_t n = 0;
    int rc = ral_safetensors_open_file(&st, path, err);

    if (rc < 0)
        return rc;
    out = calloc(st->n + 1, sizeof *out);
    for (size_t i = 0; rc == 0 && i < st->n; i++) {
        out[n] = st->tensor[i];
        if (strcmp(out[n].name, w->name)) {
            n++;
            continue;
        }
        copy = malloc(out[n].nbytes);
        rc = change(w, &out[n], copy, err);
        n += !w->drop;
        if (w->add) {
            out[n] = out[n - 1];
            out[n++].name = "model.surplus.weight";
        }
    }
    if (rc == 0 && !copy)
        rc = ral_err_set(err, -RAL_EINVAL, "%s: no tensor %s", path, w->name);
    if (rc == 0)
        rc = ral_safetensors_write(tmp, out, n, err);
    if (rc == 0 && rename(tmp, path) < 0)
        rc = ral_err_errno(err, "%s", path);
    ral_safetensors_close(st);
    free(copy);
    free(out);
    free(path);
    free(tmp);
    return rc;
}

int main(int argc, char **argv)
{
    struct want w = {0};
    struct ral_err err = {0};
    const struct ral_setting rows[] = {
        RAL_OPT_STR(0, "name", &w.name, "NAME", "tensor",
                    .text = "model.norm.weight"),
        RAL_OPT_STR(0, "fill", &w.fill, "X", "every number becomes X"),
        RAL_OPT_STR(0, "fill-last", &w.fill_last, "X", "the last one does"),
        RAL_OPT_FLAG(0, "drop", &w.drop, "leave it out"),
        RAL_OPT_FLAG(0, "reshape", &w.reshape, "one dimension more"),
        RAL_OPT_FLAG(0, "add", &w.add, "again under another name"),
        RAL_OPT_FLAG(0, "f64", &w.f64, "call its bytes F64"),
        RAL_OPT_END};
    int rc = ral_opt_parse(rows, &argc, &argv, "[options] DIR",
                           "Spoils a tensor of DIR/model.safetensors.", &err);

    if (rc == 0)
        rc = argc == 1 ? run(&w, argv[0], &err)
                       : ral_err_set(&err, -RAL_EUSAGE, "one folder");
    return ral_opt_exit("retensor", rc, &err);
}

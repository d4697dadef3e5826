/* lib/job/init.c - a checkpoint of fresh random weights. */
#include "job/init.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/file.h"
#include "base/rng.h"
#include "job/training.h"
#include "nn/normal.h"

static void draw_weights(const struct ral_init_job *job, uint64_t seed,
                         const struct ral_tensor *t, float *w)
{
    const size_t n = t->N * t->K;
    const double std =
        job->init == RAL_INIT_FAN_IN ? 1 / sqrt((double)t->K) : job->std;
    struct ral_rng rng;

    ral_rng_init(&rng, seed, XXH3_64bits(t->name, strlen(t->name)), 0);
    for (size_t i = 0; i < n; i++)
        w[i] = t->role == RAL_ROLE_NORM   ? 1
               : t->role == RAL_ROLE_BIAS ? 0
                                          : (float)(std * ral_rng_normal(&rng));
}

static int write_into(const struct ral_init_job *job, uint64_t seed,
                      const struct ral_config *c, const char *from,
                      const char *into, const struct ral_log *log,
                      struct ral_err *err)
{
    struct ral_arena a = {0};
    struct ral_table t;
    float *params = NULL;
    int rc = ral_table_init(&t, c, c->tied == 1, &a);

    if (rc < 0 || !(params = RAL_NEW(&a, float, t.floats))) {
        rc = ral_err_nomem(err, "%s", from);
    } else {
        for (size_t i = 0; i < t.n; i++)
            draw_weights(job, seed, &t.tensor[i], params + t.tensor[i].offset);
        rc = ral_checkpoint_copy_files(from, into, err);
        if (rc == 0)
            rc = ral_checkpoint_weights(&t, params, into, err);
        ral_info(log, "%zu weights in %zu tensors", t.floats, t.n);
    }
    ral_arena_release(&a);
    return rc;
}

/* What would fail at the first rollout fails here. */
static int check_folder(const char *dir, struct ral_config *c,
                        struct ral_err *err)
{
    const struct ral_prompt_conf conf = {0};
    char *path = ral_path_join(dir, "config.json");
    struct ral_processor p;
    int rc;

    if (!path)
        return ral_err_nomem(err, "%s", dir);
    rc = ral_config_read(c, path, err);
    free(path);
    if (rc == 0)
        rc = ral_processor_open(&p, dir, &conf, c->vocab, err);
    if (rc < 0)
        return rc;
    if (p.image_id != c->image_id)
        rc = ral_err_set(err, -RAL_EINVAL,
                         "%s: <|image_pad|> is %d in tokenizer.json, %d in "
                         "config.json",
                         dir, p.image_id, c->image_id);
    ral_processor_close(&p);
    return rc;
}

int ral_init_run(const struct ral_init_job *job,
                 const struct ral_common *common, char *const *dir, size_t n,
                 const struct ral_log *log, struct ral_err *err)
{
    struct ral_config c;
    struct ral_outdir out;
    int rc;

    if (n != 1)
        return ral_err_set(err, -RAL_EUSAGE,
                           "one folder with config.json and tokenizer.json is "
                           "needed");
    if ((rc = ral_training_out_check(job->out, job->force, err)) < 0 ||
        (rc = check_folder(dir[0], &c, err)) < 0 ||
        (rc = ral_outdir_open(&out, job->out, job->force, "config.json",
                              err)) < 0)
        return rc;
    rc = write_into(job, common->seed, &c, dir[0], out.tmp, log, err);
    if (rc == 0)
        return ral_outdir_finish(&out, err);
    ral_outdir_abort(&out);
    return rc;
}

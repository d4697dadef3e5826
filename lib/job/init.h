/* lib/job/init.h - a checkpoint of fresh random weights. */
#ifndef RAL_JOB_INIT_H
#define RAL_JOB_INIT_H

#include "job/common.h"

struct ral_init_job {
    const char *out;
    int init;   // enum ral_init
    double std; // of normal
    bool force;
};

/**
 * dir: config.json, tokenizer.json, preprocessor_config.json. Norms are 1,
 * biases 0, matrices normal with deviation in^-1/2 (fan_in) or std. Every
 * tensor has random numbers of its own name, so sizes of others do not matter.
 */
int ral_init_run(const struct ral_init_job *job,
                 const struct ral_common *common, char *const *dir, size_t n,
                 const struct ral_log *log, struct ral_err *err);

#endif

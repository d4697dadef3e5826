/* lib/job/common.c - what every program has: options, log, metrics. */
#include "job/common.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"

enum { THREADS_MAX = 1024, FLOAT_DIGITS = 9 };

int ral_common_start(const struct ral_common *c, const char *prog,
                     struct ral_log *log, struct ral_err *err)
{
    if (c->quiet && c->verbose)
        return ral_err_set(err, -RAL_EUSAGE, "--quiet and --verbose: only one");
    if (c->threads < 0 || c->threads > THREADS_MAX)
        return ral_err_set(err, -RAL_EUSAGE,
                           "--threads: %lld is not between 0 and %d",
                           (long long)c->threads, THREADS_MAX);
    ral_signals_block();
    ral_log_init(log, prog, c->quiet ? -1 : c->verbose);
    return 0;
}

void ral_version_show(const char *prog)
{
    printf("%s %s\n", prog, RAL_VERSION);
}

int ral_metrics_open(struct ral_metrics *m, const char *path,
                     struct ral_err *err)
{
    *m = (struct ral_metrics){0};
    if (!path)
        return 0;
    if (!(m->path = strdup(path)))
        return ral_err_nomem(err, "%s", path);
    m->fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
    if (m->fd < 0) {
        free(m->path);
        m->path = NULL;
        return ral_err_errno(err, "%s: cannot open", path);
    }
    m->open = true;
    return 0;
}

int ral_metrics_put(struct ral_metrics *m, json_t *obj, struct ral_err *err)
{
    struct ral_buf line = {0};
    char *text;
    int rc;

    if (!m->open) {
        json_decref(obj);
        return 0;
    }
    text = json_dumps(obj, JSON_COMPACT | JSON_REAL_PRECISION(FLOAT_DIGITS));
    json_decref(obj);
    if (!text || ral_buf_printf(&line, "%s\n", text) < 0)
        rc = ral_err_nomem(err, "%s", m->path);
    else
        rc = ral_write_all(m->fd, line.data, line.len, m->path, err);
    free(text);
    ral_buf_release(&line);
    return rc;
}

void ral_metrics_close(struct ral_metrics *m)
{
    if (m->open)
        close(m->fd);
    free(m->path);
    *m = (struct ral_metrics){0};
}

json_t *ral_json_number(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

int ral_failures(double most, size_t failed, size_t n)
{
    if ((double)failed <= (most < 0 ? 0.1 : most) * (double)n)
        return 0;
    return most < 0 ? -RAL_EINVAL : -RAL_ECHECK;
}

bool ral_fraction_ok(double x)
{
    return x == RAL_UNASKED || (x >= 0 && x <= 1);
}

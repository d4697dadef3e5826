/* lib/job/common.c - what every program has: options, log, metrics. */
#include "job/common.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cpu.h"
#include "base/file.h"

enum { FLOAT_DIGITS = 9 };

static int show_version(const struct ral_program *p, struct ral_err *err)
{
    struct ral_buf more = {0};

    if (p->about && p->about(p->common, &more) < 0)
        return ral_err_nomem(err, "version");
    printf("%s %s\n", p->name, RAL_VERSION);
    fwrite(more.data, 1, more.len, stdout);
    ral_buf_release(&more);
    return 0;
}

static int start_common(const struct ral_common *c, const char *prog,
                        struct ral_log *log, struct ral_err *err)
{
    if (c->quiet && c->verbose)
        return ral_err_set(err, -RAL_EUSAGE, "--quiet and --verbose: only one");
    ral_signals_block();
    ral_log_init(log, prog, c->quiet ? -1 : c->verbose);
    return 0;
}

/* A copy for the provenance: parsing reorders argv. */
static int keep_args(struct ral_common *c, int argc, char **argv,
                     struct ral_err *err)
{
    c->n_args = argc > 0 ? (size_t)argc - 1 : 0;
    if (!(c->args = calloc(c->n_args + 1, sizeof *c->args)))
        return ral_err_nomem(err, "arguments");
    for (size_t i = 0; i < c->n_args; i++)
        c->args[i] = argv[i + 1];
    return 0;
}

int ral_main(const struct ral_program *p, int argc, char **argv)
{
    struct ral_common *c = p->common;
    struct ral_err err = {0};
    struct ral_log log;
    int rc;

    if (p->about)
        ral_threads_passive(argv);
    if ((rc = keep_args(c, argc, argv, &err)) == 0)
        rc = ral_opt_parse(p->opts, &argc, &argv, p->usage, p->summary, &err);
    c->cpu = getenv("RAL_CPU");
    if (!c->device)
        c->device = getenv("RAL_DEVICE");
    if (c->version && rc >= 0)
        rc = show_version(p, &err);
    else if (rc == 0 && (rc = start_common(c, p->name, &log, &err)) == 0)
        rc = p->run(p->job, &(struct ral_call){c, &log, argv, (size_t)argc},
                    &err);
    ral_arena_release(&c->texts);
    free(c->args);
    return ral_opt_exit(p->name, rc, &err);
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

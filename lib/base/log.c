/* lib/base/log.c - what a program tells a person. */
#include "base/log.h"

#include <stdarg.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

void ral_log_init(struct ral_log *log, const char *prog, int level)
{
    *log = (struct ral_log){prog, level, isatty(STDERR_FILENO) == 1};
}

static void say(const struct ral_log *log, const char *kind, const char *fmt,
                va_list ap)
{
    char line[1200];

    vsnprintf(line, sizeof line, fmt, ap);
    // One write a line, so that the programs of a pipe do not interleave.
    fprintf(stderr, "%s%s: %s%s\n", log->tty ? "\r\033[K" : "", log->prog,
            kind, line);
}

#define SAY(name, least, kind)                                                 \
    void name(const struct ral_log *log, const char *fmt, ...)                 \
    {                                                                          \
        va_list ap;                                                            \
                                                                               \
        if (!log || !log->prog || log->level < (least))                        \
            return;                                                            \
        va_start(ap, fmt);                                                     \
        say(log, kind, fmt, ap);                                               \
        va_end(ap);                                                            \
    }

SAY(ral_info, 0, "")
SAY(ral_warn, -1, "warning: ")
SAY(ral_debug, 1, "")

static double read_clock(clockid_t id)
{
    struct timespec t;

    clock_gettime(id, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double ral_now_s(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

double ral_cpu_s(void)
{
    return read_clock(CLOCK_PROCESS_CPUTIME_ID);
}

size_t ral_peak_rss(void)
{
    struct rusage u;

    return getrusage(RUSAGE_SELF, &u) ? 0 : (size_t)u.ru_maxrss * 1024;
}

void ral_progress_begin(struct ral_progress *p, const struct ral_log *log,
                        const char *what, const char *unit, size_t total)
{
    *p = (struct ral_progress){
        .log = log, .what = what, .unit = unit, .total = total};
    p->started_s = p->shown_s = ral_now_s();
}

static void show(struct ral_progress *p, double now)
{
    const double spent = now - p->started_s;
    const double rate = spent > 0 ? (double)p->done / spent : 0;
    char eta[64] = "", frac[64];

    snprintf(frac, sizeof frac, "%zu", p->done);
    if (p->total) {
        const double left =
            rate > 0 ? (double)(p->total - p->done) / rate : 0;

        snprintf(frac, sizeof frac, "%zu/%zu", p->done, p->total);
        if (p->done < p->total && rate > 0)
            snprintf(eta, sizeof eta, ", %d:%02d left", (int)left / 60,
                     (int)left % 60);
    }
    fprintf(stderr, "%s%s: %s %s %s, %.1f/s%s%s", p->log->tty ? "\r\033[K" : "",
            p->log->prog, p->what, frac, p->unit, rate, eta,
            p->log->tty ? "" : "\n");
    p->shown_s = now;
    p->drawn = true;
}

void ral_progress_add(struct ral_progress *p, size_t n)
{
    double now;

    p->done += n;
    if (!p->log || !p->log->prog || p->log->level < 0)
        return;
    now = ral_now_s();
    if (now - p->shown_s >= (p->log->tty ? 0.1 : 30))
        show(p, now);
}

void ral_progress_end(struct ral_progress *p)
{
    if (p->drawn && p->log->tty)
        fprintf(stderr, "\r\033[K");
    p->drawn = false;
}

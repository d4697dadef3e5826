/* lib/base/log.h - what a program tells a person, and metrics as JSONL. */
#ifndef RAL_LOG_H
#define RAL_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/err.h"

/* Everything goes to stderr; stdout carries data alone. Zero is quiet use. */
struct ral_log {
    const char *prog; // "ral-update"
    int level;        // -1 quiet, 0 normal, 1 verbose
    bool tty;         // stderr is a terminal
};

void ral_log_init(struct ral_log *log, const char *prog, int level);
__attribute__((format(printf, 2, 3))) void ral_info(const struct ral_log *log,
                                                    const char *fmt, ...);
__attribute__((format(printf, 2, 3))) void ral_warn(const struct ral_log *log,
                                                    const char *fmt, ...);
__attribute__((format(printf, 2, 3))) void ral_debug(const struct ral_log *log,
                                                     const char *fmt, ...);

/**
 * Progress of one long job: on a terminal a line redrawn at most ten times a
 * second with rate and ETA, elsewhere a plain line every thirty seconds. Total 0:
 * unknown. Quiet at level -1. The job must call _end.
 */
struct ral_progress {
    const struct ral_log *log;
    const char *what, *unit;
    size_t total, done;
    double started_s, shown_s;
    bool drawn;
};

void ral_progress_begin(struct ral_progress *p, const struct ral_log *log,
                        const char *what, const char *unit, size_t total);
void ral_progress_add(struct ral_progress *p, size_t n);
void ral_progress_end(struct ral_progress *p);

/* Monotonic seconds. */
double ral_now_s(void);
/* Processor seconds of this process, all threads. */
double ral_cpu_s(void);
/* Most memory ever resident in this process, bytes. */
size_t ral_peak_rss(void);

#endif

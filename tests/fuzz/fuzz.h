/* tests/fuzz/fuzz.h - an input as a file, for parsers that open one. */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

/* A path of p[n], until the next call. */
static inline const char *fuzz_file(const uint8_t *p, size_t n)
{
    static char path[40];
    static int fd = -1;

    if (fd >= 0)
        close(fd);
    if ((fd = memfd_create("fuzz", 0)) < 0 || write(fd, p, n) != (ssize_t)n)
        abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return path;
}

#endif

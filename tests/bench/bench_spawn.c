/* tests/bench/bench_spawn.c - runs a program often, from exec to its end.
 *
 * Usage: bench_spawn RUNS PROGRAM [ARGUMENT...]      one JSON object
 *
 * Its standard output is thrown away. Milliseconds elapsed and of processor
 * time, best and median, and the most memory that a run took.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
}

static double ms(struct timeval t)
{
    return 1e3 * (double)t.tv_sec + 1e-3 * (double)t.tv_usec;
}

static int run(char **argv, struct rusage *u, double *elapsed)
{
    const double began = now_ms();
    const pid_t pid = fork();
    int status;

    if (pid == 0) {
        const int null = open("/dev/null", O_WRONLY);

        if (null >= 0 && dup2(null, 1) == 1)
            execvp(argv[0], argv);
        _exit(127);
    }
    if (pid < 0 || wait4(pid, &status, 0, u) != pid)
        return -1;
    *elapsed = now_ms() - began;
    return status ? -1 : 0;
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

int main(int argc, char **argv)
{
    const int n = argc > 2 ? atoi(argv[1]) : 0;
    double *elapsed, *cpu;
    long peak = 0;

    if (n < 1 || !(elapsed = calloc(2 * (size_t)n, sizeof *elapsed)))
        return 2;
    cpu = elapsed + n;
    for (int i = 0; i < n; i++) {
        struct rusage u;

        if (run(argv + 2, &u, &elapsed[i]) < 0) {
            fprintf(stderr, "bench_spawn: %s failed\n", argv[2]);
            free(elapsed);
            return 1;
        }
        cpu[i] = ms(u.ru_utime) + ms(u.ru_stime);
        peak = u.ru_maxrss > peak ? u.ru_maxrss : peak;
    }
    qsort(elapsed, (size_t)n, sizeof *elapsed, ascending);
    qsort(cpu, (size_t)n, sizeof *cpu, ascending);
    printf("{\"runs\":%d,\"elapsed_ms\":%.2f,\"elapsed_median_ms\":%.2f,"
           "\"cpu_ms\":%.2f,\"cpu_median_ms\":%.2f,\"peak_kb\":%ld}\n",
           n, elapsed[0], elapsed[n / 2], cpu[0], cpu[n / 2], peak);
    free(elapsed);
    return 0;
}

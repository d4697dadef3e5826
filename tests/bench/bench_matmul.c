/* tests/bench/bench_matmul.c - forward products beside OpenBLAS, one thread.
 *
 * One JSON line a shape: the best of interleaved repetitions, ours against
 * the fastest of OpenBLAS's cores. OPENBLAS_CORETYPE is read when the library
 * is loaded, so each core is a child process that answers over pipes.
 *
 * Usage: bench_matmul [ROUNDS [all | M N K]]
 * (default 7 rounds; N = K, all: every pair)
 */
#include <cblas.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cpu.h"
#include "cpu/matmul.h"

struct shape {
    int M, N, K;
};

static const char *const cores[] = {"HASWELL", "ZEN", "SKYLAKEX"};
enum { CORES = 3 };

struct child {
    pid_t pid;
    int to, from;
    char core[32];
};

/* The thread's own time: what else runs on the machine counts less. */
static double cpu_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static float *numbers(size_t n)
{
    float *x = aligned_alloc(64, (n * sizeof(float) + 63) / 64 * 64);

    if (!x)
        abort();
    for (size_t i = 0; i < n; i++)
        x[i] = (float)rand() / (float)RAND_MAX - 0.5f;
    return x;
}

/* Calls enough for some 4 ms. */
static int calls(struct shape s)
{
    return 1 + (int)(1e8 / ((double)s.M * s.N * s.K + 1e4));
}

static int serve(void)
{
    struct shape s;
    const char *core = openblas_get_corename();

    openblas_set_num_threads(1);
    if (write(1, core, 31) != 31)
        return 1;
    while (read(0, &s, sizeof(s)) == sizeof(s)) {
        float *x = numbers((size_t)s.M * s.K), *w = numbers((size_t)s.N * s.K);
        float *y = numbers((size_t)s.M * s.N);
        double best = 1e9;

        for (int r = 0; r < 4; r++) {
            const double t = cpu_s();

            for (int i = 0; i < calls(s); i++)
                cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, s.M, s.N,
                            s.K, 1, x, s.K, w, s.K, 0, y, s.N);
            best = fmin(best, (cpu_s() - t) / calls(s));
        }
        free(x);
        free(w);
        free(y);
        if (write(1, &best, sizeof(best)) != sizeof(best))
            return 1;
    }
    return 0;
}

static double ours(const struct ral_nn *nn, struct shape s)
{
    const size_t M = (size_t)s.M, N = (size_t)s.N, K = (size_t)s.K;
    float *x = numbers(M * K), *y = numbers(M * N), *w = numbers(N * K);
    struct ral_cpu_weight W = {"w", RAL_F32, N, K, w, NULL};
    double best = 1e9;

    W.panels = numbers(ral_weight_panel_floats(&W));
    ral_weight_pack(nn, &W);
    for (int r = 0; r < 4; r++) {
        const double t = cpu_s();

        for (int i = 0; i < calls(s); i++)
            ral_matmul(nn, &W, M, x, K, NULL, false, y, N);
        best = fmin(best, (cpu_s() - t) / calls(s));
    }
    free(x);
    free(y);
    free(w);
    free(W.panels);
    return best;
}

static int start(struct child *c, const char *core)
{
    int in[2], out[2];

    if (pipe(in) || pipe(out) || (c->pid = fork()) < 0)
        return -1;
    if (!c->pid) {
        setenv("OPENBLAS_CORETYPE", core, 1);
        dup2(in[0], 0);
        dup2(out[1], 1);
        close(in[1]);
        close(out[0]);
        execl("/proc/self/exe", "bench_matmul", "--serve", (char *)NULL);
        _exit(1);
    }
    close(in[0]);
    close(out[1]);
    c->to = in[1];
    c->from = out[0];
    return read(c->from, c->core, 31) == 31 ? 0 : -1;
}

static double ask(struct child *c, struct shape s)
{
    double t;

    if (write(c->to, &s, sizeof(s)) != sizeof(s) ||
        read(c->from, &t, sizeof(t)) != sizeof(t)) {
        close(c->to);
        c->to = -1;
        return 1e9;
    }
    return t;
}

static void measure(const struct ral_nn *nn, struct child *c, struct shape s,
                    int rounds)
{
    const double work = 2e-9 * s.M * s.N * s.K;
    double own = 1e9, best = 1e9;
    const char *core = "none";

    for (int r = 0; r < rounds; r++) {
        own = fmin(own, ours(nn, s));
        for (int i = 0; i < CORES; i++) {
            const double t = c[i].to >= 0 ? ask(&c[i], s) : 1e9;

            if (t < best) {
                best = t;
                core = c[i].core;
            }
        }
    }
    printf("{\"shape\":[%d,%d,%d],\"kernels\":\"%s\",\"ours_gflops\":%.1f,"
           "\"openblas_gflops\":%.1f,\"core\":\"%s\",\"ratio\":%.2f}\n",
           s.M, s.N, s.K, nn->k.name, work / own, work / best, core,
           best / own);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    static const int Ms[] = {1, 8, 64, 1024}, Ns[] = {128, 256, 1300, 2048};
    const int rounds = argc > 1 ? atoi(argv[1]) : 7;
    struct child c[CORES];
    struct ral_nn nn;
    struct ral_err err = {0};
    unsigned cpu;

    if (argc > 1 && !strcmp(argv[1], "--serve"))
        return serve();
    signal(SIGPIPE, SIG_IGN);
    if (ral_cpu_flags(&cpu, getenv("RAL_CPU"), &err) < 0 ||
        ral_nn_init(&nn, cpu, 1, &err) < 0) {
        fprintf(stderr, "bench_matmul: %s\n", err.msg);
        return 1;
    }
    for (int i = 0; i < CORES; i++)
        if (start(&c[i], cores[i]))
            c[i].to = -1;
    if (argc == 5)
        measure(&nn, c,
                (struct shape){atoi(argv[2]), atoi(argv[3]), atoi(argv[4])},
                rounds);
    for (int m = 0; m < 4 && argc < 5; m++)
        for (int n = 0; n < 4; n++)
            for (int k = 0; k < 4; k++)
                if (Ns[n] == Ns[k] || argc == 3)
                    measure(&nn, c, (struct shape){Ms[m], Ns[n], Ns[k]},
                            rounds);
    for (int i = 0; i < CORES; i++)
        if (c[i].to >= 0)
            close(c[i].to);
    while (wait(NULL) > 0)
        ;
    ral_nn_release(&nn);
    return 0;
}

/* tests/bench/bench_matmul.c - products beside OpenBLAS, one thread.
 *
 * One JSON line a shape and product (forward, dx, dW): the best of interleaved
 * repetitions, ours against the fastest of OpenBLAS's cores, which may take
 * the whole product in one call. OPENBLAS_CORETYPE is read when the library is
 * loaded, so each core is a child process that answers over pipes. Backward
 * lines name their floor.
 *
 * Usage: bench_matmul [ROUNDS [all | back | M N K]]
 * (default 7 rounds of forward products, N = K; all: every pair; back: dx and
 * dW; M N K: all three)
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

enum op { FORWARD, DX, DW, OPS };
static const char *const names[] = {"forward", "dx", "dW"};

struct shape {
    enum op op;
    int M, N, K;
};

/* The last is the core that the library takes by itself. */
static const char *const cores[] = {"HASWELL", "ZEN", "SKYLAKEX", ""};
enum { CORES = 4 };

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

/* What one product reads and writes: activations, weight, result. */
struct numbers {
    float *x, *w, *dy, *out; // [M][K], [N][K], [M][N], the largest of them
    struct ral_cpu_weight W;
};

static struct numbers numbers_of(struct shape s)
{
    const size_t M = (size_t)s.M, N = (size_t)s.N, K = (size_t)s.K;
    const size_t most = M * K > M * N ? M * K : M * N;
    float *w = numbers(N * K);

    return (struct numbers){numbers(M * K), w, numbers(M * N),
                            numbers(most > N * K ? most : N * K),
                            {"w", RAL_F32, N, K, w, NULL}};
}

static void numbers_free(struct numbers *n)
{
    free(n->x);
    free(n->w);
    free(n->dy);
    free(n->out);
    free(n->W.panels);
}

static void theirs(const struct numbers *n, struct shape s)
{
    if (s.op == FORWARD)
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, s.M, s.N, s.K, 1,
                    n->x, s.K, n->w, s.K, 0, n->out, s.N);
    else if (s.op == DX)
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, s.M, s.K, s.N, 1,
                    n->dy, s.N, n->w, s.K, 0, n->out, s.K);
    else
        cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, s.N, s.K, s.M, 1,
                    n->dy, s.N, n->x, s.K, 1, n->out, s.K);
}

static void ours(const struct ral_nn *nn, const struct numbers *n,
                 struct shape s)
{
    const size_t M = (size_t)s.M, N = (size_t)s.N, K = (size_t)s.K;

    if (s.op == FORWARD)
        ral_matmul(nn, &n->W, M, n->x, K, NULL, false, n->out, N);
    else if (s.op == DX)
        ral_matmul_dx(nn, &n->W, M, n->dy, N, false, n->out, K);
    else
        ral_matmul_dw(nn, M, N, K, n->dy, N, n->x, K, n->out, NULL);
}

/* Seconds of one product, by ours, or where nn is NULL by OpenBLAS. */
static double seconds(const struct ral_nn *nn, struct shape s)
{
    struct numbers n = numbers_of(s);
    double best = 1e9, all = 0;

    if (nn && s.op == FORWARD) {
        n.W.panels = numbers(ral_weight_panel_floats(&n.W));
        ral_weight_pack(nn, &n.W);
    }
    for (int r = 0; r < 4 && (r < 2 || all < 0.2); r++) {
        const double t = cpu_s();
        double took;

        for (int i = 0; i < calls(s); i++)
            if (nn)
                ours(nn, &n, s);
            else
                theirs(&n, s);
        took = cpu_s() - t;
        all += took;
        best = fmin(best, took / calls(s));
    }
    numbers_free(&n);
    return best;
}

static int serve(void)
{
    struct shape s;
    char core[32] = "";

    strncpy(core, openblas_get_corename(), 31);
    openblas_set_num_threads(1);
    if (write(1, core, 31) != 31)
        return 1;
    while (read(0, &s, sizeof(s)) == sizeof(s)) {
        const double t = seconds(NULL, s);

        if (write(1, &t, sizeof(t)) != sizeof(t))
            return 1;
    }
    return 0;
}

static int start(struct child *c, const char *core)
{
    int in[2], out[2];

    if (pipe(in) || pipe(out) || (c->pid = fork()) < 0)
        return -1;
    if (!c->pid) {
        if (*core)
            setenv("OPENBLAS_CORETYPE", core, 1);
        else
            unsetenv("OPENBLAS_CORETYPE");
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
        own = fmin(own, seconds(nn, s));
        for (int i = 0; i < CORES; i++) {
            const double t = c[i].to >= 0 ? ask(&c[i], s) : 1e9;

            if (t < best) {
                best = t;
                core = c[i].core;
            }
        }
    }
    printf("{\"product\":\"%s\",\"shape\":[%d,%d,%d],\"kernels\":\"%s\","
           "\"ours_gflops\":%.1f,\"openblas_gflops\":%.1f,\"core\":\"%s\","
           "\"ratio\":%.2f%s}\n",
           names[s.op], s.M, s.N, s.K, nn->k.name, work / own, work / best,
           core, best / own, s.op == FORWARD ? "" : ",\"floor\":0.95");
    fflush(stdout);
}

/* The demo's products and larger ones: what a backward pass is made of. */
static void measure_backward(const struct ral_nn *nn, struct child *c,
                             int rounds)
{
    static const int Ms[] = {64, 256, 1024, 4096};
    static const int NK[][2] = {{128, 128}, {256, 128},  {128, 256},
                                {256, 256}, {384, 384},  {512, 512},
                                {512, 128}, {1024, 128}, {1024, 512},
                                {2048, 2048}};

    for (enum op op = DX; op <= DW; op++)
        for (int m = 0; m < 4; m++)
            for (size_t i = 0; i < sizeof(NK) / sizeof(*NK); i++)
                measure(nn, c, (struct shape){op, Ms[m], NK[i][0], NK[i][1]},
                        rounds);
}

static void measure_forward(const struct ral_nn *nn, struct child *c,
                            bool pairs, int rounds)
{
    static const int Ms[] = {1, 8, 64, 1024}, Ns[] = {128, 256, 1300, 2048};

    for (int m = 0; m < 4; m++)
        for (int n = 0; n < 4; n++)
            for (int k = 0; k < 4; k++)
                if (n == k || pairs)
                    measure(nn, c,
                            (struct shape){FORWARD, Ms[m], Ns[n], Ns[k]},
                            rounds);
}

int main(int argc, char **argv)
{
    const int rounds = argc > 1 ? atoi(argv[1]) : 7;
    const bool back = argc == 3 && !strcmp(argv[2], "back");
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
        for (enum op op = FORWARD; op < OPS; op++)
            measure(&nn, c,
                    (struct shape){op, atoi(argv[2]), atoi(argv[3]),
                                   atoi(argv[4])},
                    rounds);
    else if (back)
        measure_backward(&nn, c, rounds);
    else
        measure_forward(&nn, c, argc == 3, rounds);
    for (int i = 0; i < CORES; i++)
        if (c[i].to >= 0)
            close(c[i].to);
    while (wait(NULL) > 0)
        ;
    ral_nn_release(&nn);
    return 0;
}

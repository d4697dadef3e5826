/* lib/cpu/nn.c - choosing kernels, scratch, and the check at the start. */
#include "cpu/nn.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/blas.h"
#include "cpu/matmul.h"

/* Shapes of the known-answer check: odd sizes reach remainders. */
enum { CM = 13, CN = 71, CK = 19, CL = 70 };

/* Small integers -3 .. 3, the same on every run. */
static void fill(float *x, size_t n, unsigned salt)
{
    for (size_t i = 0; i < n; i++)
        x[i] =
            (float)((int)((i * 2654435761u + salt * 40503u) >> 7 & 0xffff) % 7 -
                    3);
}

static void product(const float *a, const float *b, float *c)
{
    for (size_t m = 0; m < CM; m++)
        for (size_t n = 0; n < CN; n++) {
            int s = 0;

            for (size_t k = 0; k < CK; k++)
                s += (int)a[m * CK + k] * (int)b[k * CN + n];
            c[m * CN + n] = (float)s;
        }
}

static bool products_right(const struct ral_kernels *k, const float *a,
                           const float *b, const float *want)
{
    const size_t panels = (CN + RAL_PANEL - 1) / RAL_PANEL;
    float c[CM * CN], p[3 * RAL_PANEL * CK] = {0};

    for (size_t i = 0; i < CK; i++)
        for (size_t n = 0; n < CN; n++)
            p[(n / RAL_PANEL * CK + i) * RAL_PANEL + n % RAL_PANEL] =
                b[i * CN + n];
    k->block(CM, CN, CK, a, CK, p, CK * RAL_PANEL, c, CN, false);
    if (memcmp(c, want, sizeof(c)))
        return false;
    memset(c, 0, sizeof(c));
    for (size_t q = 0; q < panels; q++)
        for (size_t m = 0; m < CM; m += RAL_TILE_M)
            k->tile(CM - m < RAL_TILE_M ? CM - m : RAL_TILE_M,
                    q + 1 < panels ? RAL_PANEL : CN - q * RAL_PANEL, CK,
                    a + m * CK, CK, p + q * CK * RAL_PANEL, RAL_PANEL,
                    c + m * CN + q * RAL_PANEL, CN, true);
    return !memcmp(c, want, sizeof(c));
}

/* dx = dy W and dW += dy^T x, whoever computes them. */
static bool backward_right(const struct ral_nn *nn)
{
    float dy[CM * CN], w[CN * CK], x[CM * CK], dx[CM * CK], dw[CN * CK];
    const struct ral_cpu_weight W = {"w", RAL_F32, CN, CK, w, NULL};

    fill(dy, CM * CN, 4);
    fill(w, CN * CK, 5);
    fill(x, CM * CK, 6);
    fill(dw, CN * CK, 7);
    ral_matmul_dx(nn, &W, CM, dy, CN, false, dx, CK);
    for (size_t i = 0; i < CM * CK; i++) {
        for (size_t n = 0; n < CN; n++)
            dx[i] -= dy[i / CK * CN + n] * w[n * CK + i % CK];
        if (dx[i] != 0)
            return false;
    }
    ral_matmul_dw(nn, CM, CN, CK, dy, CN, x, CK, dw, NULL);
    fill(w, CN * CK, 7);
    for (size_t i = 0; i < CN * CK; i++) {
        for (size_t m = 0; m < CM; m++)
            dw[i] -= dy[m * CN + i / CK] * x[m * CK + i % CK];
        if (dw[i] != w[i])
            return false;
    }
    return true;
}

static bool near(const float *x, const float *want, size_t n, float tol)
{
    for (size_t i = 0; i < n; i++)
        if (!(fabsf(x[i] - want[i]) <= tol * (1 + fabsf(want[i]))))
            return false;
    return true;
}

/* Integers where the answer is one, else libm within a few ulp. */
static const char *wrong_function(const struct ral_kernels *k, const float *x)
{
    float y[CL], w[CL], z[CL], u[CL], one[CL], s = 0, ss = 0, mx = x[0], r;

    for (size_t i = 0; i < CL; i++) {
        s += x[i];
        ss += x[i] * x[i];
        mx = x[i] > mx ? x[i] : mx;
        one[i] = 1;
    }
    if (k->sum(x, CL) != s || k->sumsq(x, CL) != ss || k->max(x, CL) != mx)
        return "sum";
    for (size_t i = 0; i < CL; i++)
        w[i] = expf(x[i] - 2);
    k->exp_shift(CL, x, 2, y);
    if (!near(y, w, CL, 1e-6f))
        return "exp";
    for (size_t i = 0; i < CL; i++)
        w[i] = 2 * x[i] / (1 + expf(-x[i]));
    k->scale(CL, one, 2, u);
    k->silu_mul(CL, x, u, y);
    if (!near(y, w, CL, 1e-6f))
        return "silu";
    for (size_t i = 0; i < CL; i++)
        w[i] = x[i] * (1 + erff(x[i] * 0.707106781f)) / 2;
    k->gelu(CL, x, y);
    if (!near(y, w, CL, 1e-6f))
        return "gelu";
    k->add(CL, x, u); // 2 + x
    r = k->rms_norm(CL, x, u, 0, y);
    for (size_t i = 0; i < CL; i++)
        w[i] = x[i] / sqrtf(ss / CL) * (2 + x[i]);
    if (!near(y, w, CL, 1e-6f) ||
        !near(&r, &(float){1 / sqrtf(ss / CL)}, 1, 1e-6f))
        return "rms_norm";
    for (size_t i = 0; i < CL; i++)
        z[i] = x[i];
    k->rotate(CL / 2, u, x + CL / 2, z); // (a c - b s, b c + a s)
    for (size_t i = 0; i < CL / 2; i++) {
        const float c = u[i], sn = x[CL / 2 + i];

        w[i] = x[i] * c - x[CL / 2 + i] * sn;
        w[CL / 2 + i] = x[CL / 2 + i] * c + x[i] * sn;
    }
    return memcmp(z, w, sizeof(z)) ? "rotate" : NULL;
}

/* Default rounding, and subnormals neither flushed nor read as zero. */
static bool float_mode_right(void)
{
    const volatile float least = 0x1p-149f, normal = 0x1p-126f, one = 1;
    const volatile float half = 0x1p-24f;

    return normal * 0.5f != 0 && least * 0x1p100f != 0 && one + half == 1 &&
           one + half * 1.5f > 1 && -one - half == -1;
}

static int check(const struct ral_nn *nn, struct ral_err *err)
{
    float a[CM * CK], b[CK * CN], want[CM * CN], x[CL];
    const char *bad;

    if (!float_mode_right())
        return ral_err_set(err, -RAL_EINVAL,
                           "nn: this process flushes subnormal numbers or "
                           "does not round to nearest; a library that was "
                           "built with -ffast-math is probably loaded");
    fill(a, CM * CK, 1);
    fill(b, CK * CN, 2);
    fill(x, CL, 3);
    product(a, b, want);
    if (!products_right(&nn->k, a, b, want) || !backward_right(nn))
        return ral_err_set(err, -RAL_EINVAL,
                           "nn: the %s matrix kernels give wrong results on "
                           "this processor; try RAL_CPU=c",
                           nn->k.name);
    if ((bad = wrong_function(&nn->k, x)))
        return ral_err_set(err, -RAL_EINVAL,
                           "nn: the %s kernel %s gives wrong results on this "
                           "processor; try RAL_CPU=c",
                           nn->k.name, bad);
    return 0;
}

int ral_nn_reserve(struct ral_nn *nn, size_t floats, struct ral_err *err)
{
    size_t bytes;
    float *p;

    floats = (floats + 1023) & ~(size_t)1023; // threads share no page
    if (floats <= nn->scratch_stride)
        return 0;
    if (__builtin_mul_overflow(floats * sizeof(float), (size_t)nn->threads,
                               &bytes) ||
        floats > (size_t)-1 / 8 || !(p = aligned_alloc(4096, bytes)))
        return ral_err_set(err, -RAL_ENOMEM,
                           "nn: out of memory for %d threads of %zu floats; "
                           "use fewer threads (-j)",
                           nn->threads, floats);
    free(nn->scratch);
    nn->scratch = p;
    nn->scratch_stride = floats;
    return 0;
}

int ral_nn_init(struct ral_nn *nn, unsigned cpu, int threads,
                struct ral_err *err)
{
    int rc;

    memset(nn, 0, sizeof(*nn));
    ral_kernels_init(&nn->k, cpu);
    nn->threads = threads > 0 ? threads : omp_get_max_threads();
    if ((rc = ral_nn_reserve(nn, RAL_NN_SCRATCH, err)) < 0 ||
        (rc = check(nn, err)) < 0)
        ral_nn_release(nn);
    return rc;
}

int ral_nn_use_blas(struct ral_nn *nn, struct ral_err *err)
{
    const char *core = ral_blas_start();

    nn->blas = true;
    if (backward_right(nn))
        return 0;
    nn->blas = false;
    return ral_err_set(err, -RAL_EINVAL,
                       "nn: sgemm of OpenBLAS core %s gives wrong results on "
                       "this processor; update OpenBLAS, set "
                       "OPENBLAS_CORETYPE, or compute exactly",
                       core);
}

void ral_nn_release(struct ral_nn *nn)
{
    if (!nn)
        return;
    free(nn->scratch);
    nn->scratch = NULL;
    nn->scratch_stride = 0;
}

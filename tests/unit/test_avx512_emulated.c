/* tests/unit/test_avx512_emulated.c - the AVX-512 products where the
 * processor has none: kernels_avx512.c over SIMDe, against the C definition.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(RAL_SIMDE) && defined(__has_include)
#if __has_include(<simde/x86/avx512.h>)
#define EMULATED
#endif
#endif

#ifdef EMULATED
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpragmas"
#pragma GCC diagnostic ignored "-Wunknown-warning-option"
#pragma GCC diagnostic ignored "-Wunused-parameter"
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>
#include "../../lib/cpu/kernels_avx512.c"
#include "run.h"
#pragma GCC diagnostic pop

enum { M = 40, N = 170, K = 21, LD = N + 7 };

static float a[M * K], b[6 * K * RAL_PANEL], c[M * LD], want[M * LD];

static void randomize(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = (float)rand() / (float)RAND_MAX * 2 - 1;
}

static void reset(void)
{
    randomize(c, M * LD);
    memcpy(want, c, sizeof(c));
}

START_TEST(block_is_the_definition)
{
    static const size_t ns[] = {1, 15, 16, 17, 32, 33, 64, 70, 128, 130, N};
    struct ral_kernels plain, k;

    ral_kernels_init(&plain, 0);
    ral_kernels_fill_avx512(&k);
    for (size_t m = 1; m <= M; m++)
        for (size_t n = 0; n < sizeof(ns) / sizeof(*ns); n++)
            for (int load = 0; load < 2; load++) {
                reset();
                plain.block(m, ns[n], K, a, K, b, K * RAL_PANEL, want, LD,
                            load);
                k.block(m, ns[n], K, a, K, b, K * RAL_PANEL, c, LD, load);
                ck_assert_mem_eq(c, want, sizeof(c));
            }
}
END_TEST

START_TEST(tile_is_the_definition)
{
    struct ral_kernels plain, k;

    ral_kernels_init(&plain, 0);
    ral_kernels_fill_avx512(&k);
    for (size_t m = 1; m <= RAL_TILE_M; m++)
        for (size_t n = 1; n <= RAL_PANEL; n++)
            for (int load = 0; load < 2; load++) {
                reset();
                plain.tile(m, n, K, a, K, b, 48, want, LD, load);
                k.tile(m, n, K, a, K, b, 48, c, LD, load);
                ck_assert_mem_eq(c, want, sizeof(c));
            }
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("products");

    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) {
        puts("1..0 # SKIP no FMA to emulate with");
        return EXIT_SUCCESS;
    }
    srand(1);
    randomize(a, M * K);
    randomize(b, 6 * K * RAL_PANEL);
    tcase_add_test(t, block_is_the_definition);
    tcase_add_test(t, tile_is_the_definition);
    return run_tests(t);
}
#else
int main(void)
{
    puts("1..0 # SKIP SIMDe is not installed");
    return EXIT_SUCCESS;
}
#endif

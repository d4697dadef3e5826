/* tests/unit/golden.h - the files of tests/golden, and how close is close. */
#ifndef RAL_TEST_GOLDEN_H
#define RAL_TEST_GOLDEN_H

#include <check.h>
#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/safetensors.h"

#ifndef GOLDEN_TOP // the Makefile gives the source tree's absolute path
#define GOLDEN_TOP "."
#endif

/* malloc'ed path of a file or folder of tests/golden; RAL_TOP overrides. */
static inline char *golden_path(const char *name)
{
    const char *top = getenv("RAL_TOP");
    char *path;

    ck_assert_int_gt(asprintf(&path, "%s/tests/golden/%s",
                              top ? top : GOLDEN_TOP, name), 0);
    return path;
}

/* Close with ral_safetensors_close. */
static inline struct ral_safetensors *golden_open(const char *name)
{
    struct ral_safetensors *st = NULL;
    struct ral_err err = {0};
    char *path = golden_path(name);
    const int rc = ral_safetensors_open_file(&st, path, &err);

    free(path);
    ck_assert_msg(rc >= 0, "%s", err.msg);
    return st;
}

/* NULL when it is not there: gradients that are zero are left out. */
__attribute__((format(printf, 2, 3))) static inline const struct ral_st_tensor *
golden_find(const struct ral_safetensors *st, const char *fmt, ...)
{
    char name[256];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(name, sizeof(name), fmt, ap);
    va_end(ap);
    return ral_safetensors_find(st, name);
}

/* golden_get(st, "%s.layer.%zu", name, i): must be there. */
#define golden_get(st, ...) \
    golden_need(golden_find(st, __VA_ARGS__), #__VA_ARGS__)
static inline const struct ral_st_tensor *
golden_need(const struct ral_st_tensor *t, const char *what)
{
    ck_assert_msg(t != NULL, "no golden tensor %s", what);
    return t;
}

static inline size_t golden_len(const struct ral_st_tensor *t)
{
    return t->nbytes / ral_dtype_size(t->dtype);
}

/* Element i, whatever the dtype; the mapping need not be aligned. */
static inline double golden_at(const struct ral_st_tensor *t, size_t i)
{
    const char *p = (const char *)t->data + i * ral_dtype_size(t->dtype);
    int32_t i32;
    float f32;
    double f64;

    switch (t->dtype) {
    case RAL_I32:
        memcpy(&i32, p, sizeof(i32));
        return i32;
    case RAL_F32:
        memcpy(&f32, p, sizeof(f32));
        return f32;
    case RAL_F64:
        memcpy(&f64, p, sizeof(f64));
        return f64;
    default:
        ck_abort_msg("%s: golden files hold I32, F32 and F64", t->name);
    }
}

static inline int32_t golden_int(const struct ral_st_tensor *t, size_t i)
{
    return (int32_t)golden_at(t, i);
}

/* malloc'ed copies, aligned and of one type. */
static inline float *golden_floats(const struct ral_st_tensor *t)
{
    float *x = malloc(golden_len(t) * sizeof(*x));

    ck_assert_ptr_nonnull(x);
    for (size_t i = 0; i < golden_len(t); i++)
        x[i] = (float)golden_at(t, i);
    return x;
}

static inline int32_t *golden_ints(const struct ral_st_tensor *t)
{
    int32_t *x = malloc(golden_len(t) * sizeof(*x));

    ck_assert_ptr_nonnull(x);
    for (size_t i = 0; i < golden_len(t); i++)
        x[i] = golden_int(t, i);
    return x;
}

/**
 * max|x - ref|, the place of it in *at (may be NULL). A NaN is infinitely
 * far away, so that no tolerance lets it pass.
 */
static inline double golden_max_abs(const float *x,
                                    const struct ral_st_tensor *ref,
                                    size_t *at)
{
    double worst = 0;

    for (size_t i = 0; i < golden_len(ref); i++) {
        double d = fabs(x[i] - golden_at(ref, i));

        if (isnan(d))
            d = INFINITY;
        if (d > worst) {
            worst = d;
            if (at)
                *at = i;
        }
    }
    return worst;
}

static inline double golden_max(const struct ral_st_tensor *ref)
{
    double m = 0;

    for (size_t i = 0; i < golden_len(ref); i++)
        m = fmax(m, fabs(golden_at(ref, i)));
    return m;
}

/* max|x - ref| / max|ref| */
static inline double golden_max_rel(const float *x,
                                    const struct ral_st_tensor *ref)
{
    return golden_max_abs(x, ref, NULL) / golden_max(ref);
}

/* |x - ref| / |ref|, Euclidean */
static inline double golden_l2_rel(const float *x,
                                   const struct ral_st_tensor *ref)
{
    double dd = 0, rr = 0;

    for (size_t i = 0; i < golden_len(ref); i++) {
        const double r = golden_at(ref, i), d = x[i] - r;

        dd += d * d;
        rr += r * r;
    }
    return isnan(dd) ? INFINITY : sqrt(dd / rr);
}

/* n is what the caller holds: a size that differs is a failure, too. */
static inline void golden_expect_len(size_t n, const struct ral_st_tensor *ref)
{
    ck_assert_msg(n == golden_len(ref), "%s: %zu values, want %zu", ref->name,
                  n, golden_len(ref));
}

/* Each within tol times the largest reference value. */
static inline void golden_expect_rel(const float *x, size_t n,
                                     const struct ral_st_tensor *ref,
                                     double tol)
{
    const double m = golden_max(ref);
    size_t at = 0;
    double d;

    golden_expect_len(n, ref);
    d = golden_max_abs(x, ref, &at);
    ck_assert_msg(d <= tol * m, "%s[%zu]: %.9g, want %.9g; %.2e of max %.3g",
                  ref->name, at, x[at], golden_at(ref, at), d / m, m);
}

static inline void golden_expect_abs(const float *x, size_t n,
                                     const struct ral_st_tensor *ref,
                                     double tol)
{
    size_t at = 0;
    double d;

    golden_expect_len(n, ref);
    d = golden_max_abs(x, ref, &at);
    ck_assert_msg(d <= tol, "%s[%zu]: %.9g, want %.9g", ref->name, at, x[at],
                  golden_at(ref, at));
}

static inline void golden_expect_l2(const float *x, size_t n,
                                    const struct ral_st_tensor *ref,
                                    double tol)
{
    double d;

    golden_expect_len(n, ref);
    d = golden_l2_rel(x, ref);
    ck_assert_msg(d <= tol, "%s: relative L2 error %.3e, at most %.1e",
                  ref->name, d, tol);
}

static inline void golden_expect_ints(const int32_t *x, size_t n,
                                      const struct ral_st_tensor *ref)
{
    golden_expect_len(n, ref);
    for (size_t i = 0; i < n; i++)
        ck_assert_msg(x[i] == golden_int(ref, i), "%s[%zu]: %d, want %d",
                      ref->name, i, (int)x[i], (int)golden_int(ref, i));
}

#endif

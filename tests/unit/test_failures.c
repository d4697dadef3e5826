/* tests/unit/test_failures.c - how many records may fail. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/failures.h"
#include "run.h"

/* A budget that nobody asked for is the data's fault, one asked for a check. */
START_TEST(whose_fault)
{
    ck_assert_int_eq(ral_failures(RAL_UNASKED, 1, 10), 0);
    ck_assert_int_eq(ral_failures(RAL_UNASKED, 2, 19), -RAL_EINVAL);
    ck_assert_int_eq(ral_failures(0.5, 5, 10), 0);
    ck_assert_int_eq(ral_failures(0.5, 6, 11), -RAL_ECHECK);
    ck_assert_int_eq(ral_failures(0, 1, 1000), -RAL_ECHECK);
    ck_assert_int_eq(ral_failures(0, 0, 0), 0);
}
END_TEST

START_TEST(the_first_is_told)
{
    struct ral_failures f = {0};
    struct ral_err err = {0};

    ck_assert_int_eq(ral_failures_check(&f, 3, 0, &err), 0);
    ral_failures_add(&f, "record %d: %s", 1, "gone");
    ral_failures_add(&f, "record %d: %s", 2, "late");
    ck_assert_uint_eq(f.n, 2);
    ck_assert_int_eq(ral_failures_check(&f, 3, 0.25, &err), -RAL_ECHECK);
    ck_assert_str_eq(err.msg, "2 of 3 records failed, more than --max-failed "
                              "0.25; the first: record 1: gone");
    ck_assert_int_eq(ral_failures_check(&f, 3, RAL_UNASKED, &err),
                     -RAL_EINVAL);
    ck_assert_ptr_nonnull(strstr(err.msg, "--max-failed 0.1;"));
    ck_assert_int_eq(ral_failures_check(&f, 20, RAL_UNASKED, &err), 0);
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("failures");

    tcase_add_test(t, whose_fault);
    tcase_add_test(t, the_first_is_told);
    return run_tests(t);
}

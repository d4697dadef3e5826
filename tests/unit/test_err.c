/* tests/unit/test_err.c - one line, whoever asks for it. */
#include <errno.h>

#include "base/err.h"
#include "run.h"

START_TEST(messages_are_one_line)
{
    struct ral_err err = {0};

    ck_assert_int_eq(ral_err_set(&err, -RAL_EINVAL, "a\n%s", "b\033"),
                     -RAL_EINVAL);
    ck_assert_str_eq(err.msg, "a?b?");
    ck_assert_int_eq(ral_err_at(&err, "%s:%d", "f", 7), -RAL_EINVAL);
    ck_assert_str_eq(err.msg, "f:7: a?b?");
}
END_TEST

START_TEST(causes_come_last)
{
    struct ral_err err = {0};

    errno = ENOENT;
    ck_assert_int_eq(ral_err_errno(&err, "%s: cannot open", "f"), -RAL_EIO);
    ck_assert_str_eq(err.msg, "f: cannot open: No such file or directory");
    ck_assert_int_eq(ral_err_nomem(&err, "%d rows", 3), -RAL_ENOMEM);
    ck_assert_str_eq(err.msg, "3 rows: out of memory");
    ck_assert_int_eq(ral_err_at(&err, "f"), -RAL_ENOMEM);
    ck_assert_str_eq(err.msg, "f: 3 rows: out of memory");
}
END_TEST

START_TEST(nobody_need_listen)
{
    ck_assert_int_eq(ral_err_set(NULL, -RAL_ECHECK, "x"), -RAL_ECHECK);
    ck_assert_int_eq(ral_err_errno(NULL, "x"), -RAL_EIO);
    ck_assert_int_eq(ral_err_nomem(NULL, "x"), -RAL_ENOMEM);
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("err");

    tcase_add_test(t, messages_are_one_line);
    tcase_add_test(t, causes_come_last);
    tcase_add_test(t, nobody_need_listen);
    return run_tests(t);
}

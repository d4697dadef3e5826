/* tests/unit/run.h - the tail of every unit test: run one case, say TAP. */
#ifndef RUN_H
#define RUN_H

#include <check.h>
#include <stdlib.h>

/* Runs the tests of t in this process, on stdout; gives the exit status. */
static inline int run_tests(TCase *t)
{
    Suite *s = suite_create("unit");
    SRunner *r = srunner_create(s);
    int failed;

    suite_add_tcase(s, t);
    srunner_set_fork_status(r, CK_NOFORK);
    srunner_set_tap(r, "-");
    srunner_run_all(r, CK_SILENT);
    failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#endif

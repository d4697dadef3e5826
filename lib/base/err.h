/* lib/base/err.h - one error value: a code and a line for a person. */
#ifndef RAL_ERR_H
#define RAL_ERR_H

/* Functions return 0 or more on success, the negative of one of these else. */
enum ral_code {
    RAL_EINVAL = 1, // data or values that cannot be used
    RAL_ENOMEM,
    RAL_EIO,        // the system refused: open, read, write, rename
    RAL_EUSAGE,     // wrong options or settings: exit status 2
    RAL_ECHECK,     // a check that was asked for did not hold: exit status 3
    RAL_EINTR,      // SIGHUP, SIGINT or SIGTERM asked the program to stop
};

struct ral_err {
    int code;       // enum ral_code, 0 when nothing failed
    char msg[1000]; // one line: where, what was wrong, what to do
};

/**
 * Records a failure and returns code (negative), so that callers can write
 * return ral_err_set(err, -RAL_EINVAL, "%s: no tensors", path). err may be
 * NULL. Line breaks and control characters in the message become '?'.
 */
__attribute__((format(printf, 3, 4))) int
ral_err_set(struct ral_err *err, int code, const char *fmt, ...);

/* Puts "fmt: " before a message already set; returns its (negative) code. */
__attribute__((format(printf, 2, 3))) int ral_err_at(struct ral_err *err,
                                                     const char *fmt, ...);

/* As ral_err_set, appending ": " and the text of errno. */
__attribute__((format(printf, 2, 3))) int ral_err_errno(struct ral_err *err,
                                                        const char *fmt, ...);

/* Says "fmt: out of memory" of a file or a noun; returns -RAL_ENOMEM. */
__attribute__((format(printf, 2, 3))) int ral_err_nomem(struct ral_err *err,
                                                        const char *fmt, ...);

#endif

/* lib/base/file.c - files and pipes: whole reads, atomic output, signals. */
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/*
 * Runs while ppoll lets the signals through, or in a thread that a library
 * started before they were blocked (OpenBLAS does when it is loaded). Sent
 * again to the main thread, whose id is the process's, it is blocked there,
 * hence pending, for ral_stopped and the exit status to see.
 */
static void wake(int sig)
{
    const int kept = errno;

    syscall(SYS_tgkill, getpid(), getpid(), sig);
    errno = kept;
}

/* Hang-up is how a closed terminal says stop. */
static const int stops[] = {SIGHUP, SIGINT, SIGTERM};
static const char *const stop_names[] = {"SIGHUP", "SIGINT", "SIGTERM"};
enum { STOPS = sizeof stops / sizeof *stops };

/*
 * An ignored signal (nohup, a background job) stays ignored, and is not
 * blocked: blocked it would become pending all the same.
 */
void ral_signals_block(void)
{
    const struct sigaction sa = {.sa_handler = wake};
    struct sigaction old;
    sigset_t set;

    sigemptyset(&set);
    for (int i = 0; i < STOPS; i++) {
        if (sigaction(stops[i], NULL, &old) < 0 || old.sa_handler == SIG_IGN)
            continue;
        sigaction(stops[i], &sa, NULL);
        sigaddset(&set, stops[i]);
    }
    sigprocmask(SIG_BLOCK, &set, NULL);
}

/* The stop signal that is pending, as an index, or -1. */
static int pending(void)
{
    sigset_t set;

    if (sigpending(&set) == 0)
        for (int i = STOPS - 1; i >= 0; i--)
            if (sigismember(&set, stops[i]))
                return i;
    return -1;
}

/* A caller that did not block the signals dies of them and never asks. */
bool ral_stopped(void)
{
    return pending() >= 0;
}

int ral_stop_err(struct ral_err *err)
{
    const int i = pending();

    return ral_err_set(err, -RAL_EINTR, "interrupted by %s",
                       stop_names[i < 0 ? 0 : i]);
}

/* The mask of a wait that the stop signals may end. */
static void open_mask(sigset_t *mask)
{
    sigprocmask(SIG_BLOCK, NULL, mask);
    for (int i = 0; i < STOPS; i++)
        sigdelset(mask, stops[i]);
}

/* Waits until fd is ready, with the stop signals let through. */
static int wait_fd(int fd, short events, struct ral_err *err)
{
    struct pollfd p = {fd, events, 0};
    sigset_t open;

    if (ral_stopped())
        return ral_stop_err(err);
    open_mask(&open);
    while (ppoll(&p, 1, NULL, &open) < 0) {
        if (errno != EINTR)
            return 0; // let read or write say what is wrong
        if (ral_stopped())
            return ral_stop_err(err);
    }
    return 0;
}

ptrdiff_t ral_read_some(int fd, void *buf, size_t n, const char *name,
                        struct ral_err *err)
{
    ssize_t got;
    int rc;

    do {
        if ((rc = wait_fd(fd, POLLIN, err)) < 0)
            return rc;
        got = read(fd, buf, n);
    } while (got < 0 && (errno == EINTR || errno == EAGAIN));
    return got < 0 ? ral_err_errno(err, "%s: cannot read", name) : got;
}

/* tee(2) copies from a pipe without taking away. */
static ssize_t peek_pipe(int fd, void *buf, size_t n)
{
    ssize_t got;
    int p[2];

    if (pipe2(p, O_CLOEXEC) < 0)
        return 0;
    got = tee(fd, p[1], n, 0);
    if (got > 0)
        got = read(p[0], buf, (size_t)got);
    close(p[0]);
    close(p[1]);
    return got;
}

ptrdiff_t ral_peek(int fd, void *buf, size_t n, struct ral_err *err)
{
    struct stat st;
    ssize_t got = 0;
    int rc;

    if (fstat(fd, &st) < 0)
        return 0;
    if (S_ISREG(st.st_mode)) {
        got = pread(fd, buf, n, lseek(fd, 0, SEEK_CUR));
    } else if (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode)) {
        if ((rc = wait_fd(fd, POLLIN, err)) < 0)
            return rc;
        got = S_ISFIFO(st.st_mode) ? peek_pipe(fd, buf, n)
                                   : recv(fd, buf, n, MSG_PEEK);
    }
    return got < 0 ? 0 : got;
}

int ral_write_all(int fd, const void *buf, size_t n, const char *name,
                  struct ral_err *err)
{
    const char *p = buf;
    int rc;

    while (n) {
        ssize_t put;

        if ((rc = wait_fd(fd, POLLOUT, err)) < 0)
            return rc;
        put = write(fd, p, n);
        if (put < 0) {
            if (errno == EINTR || errno == EAGAIN)
                continue;
            return ral_err_errno(err, "%s: cannot write", name);
        }
        p += put;
        n -= (size_t)put;
    }
    return 0;
}

int ral_open_read(const char *path, struct ral_err *err)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    return fd < 0 ? ral_err_errno(err, "%s: cannot open", path) : fd;
}

int ral_file_read(const char *path, size_t max, struct ral_buf *out,
                  struct ral_err *err)
{
    const int fd = ral_open_read(path, err);
    ptrdiff_t got = -1;
    int rc = 0;

    if (fd < 0)
        return fd;
    for (;;) {
        if (ral_buf_reserve(out, (64 << 10) + 1) < 0) {
            rc = ral_err_nomem(err, "%s", path);
            break;
        }
        got = ral_read_some(fd, out->data + out->len, 64 << 10, path, err);
        if (got <= 0) {
            rc = (int)got;
            break;
        }
        out->len += (size_t)got;
        if (out->len > max) {
            rc = ral_err_set(err, -RAL_EINVAL, "%s: over %zu bytes", path,
                             max);
            break;
        }
    }
    if (rc == 0)
        out->data[out->len] = 0;
    close(fd);
    return rc;
}

int ral_map_open(struct ral_map *m, const char *path, struct ral_err *err)
{
    // A pipe without a writer would hold us here, before we can refuse it.
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    int rc = 0;

    *m = (struct ral_map){NULL, 0};
    if (fd < 0)
        return ral_err_errno(err, "%s: cannot open", path);
    if (fstat(fd, &st) < 0) {
        rc = ral_err_errno(err, "%s: cannot stat", path);
    } else if (!S_ISREG(st.st_mode)) {
        rc = ral_err_set(err, -RAL_EINVAL, "%s: not a regular file", path);
    } else if (st.st_size > 0) {
        void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);

        if (p == MAP_FAILED)
            rc = ral_err_errno(err, "%s: cannot map", path);
        else
            *m = (struct ral_map){p, (size_t)st.st_size};
    }
    close(fd);
    return rc;
}

void ral_map_close(struct ral_map *m)
{
    if (m->data)
        munmap((void *)(uintptr_t)m->data, m->len);
    *m = (struct ral_map){NULL, 0};
}

static char *tmp_name(const char *path)
{
    size_t n = strlen(path);
    char *tmp;

    while (n > 1 && path[n - 1] == '/')
        n--;
    if (asprintf(&tmp, "%.*s.tmp.XXXXXX", (int)n, path) < 0)
        return NULL;
    return tmp;
}

/* A rename is durable once the folder that holds the name is. */
static int sync_parent(const char *path, struct ral_err *err)
{
    char *dir = ral_path_dir(path);
    const int fd = dir ? open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    int rc = 0;

    if (fd < 0 || (fsync(fd) < 0 && errno != EINVAL))
        rc = ral_err_errno(err, "%s: cannot sync its folder", path);
    if (fd >= 0)
        close(fd);
    free(dir);
    return rc;
}

/* A pipe is only open once it has a reader; until then signals end the wait. */
static int open_existing(const char *path, struct ral_err *err)
{
    struct timespec nap = {0, 20000000};
    sigset_t mask;
    int fd;

    open_mask(&mask);
    while ((fd = open(path, O_WRONLY | O_CLOEXEC | O_NONBLOCK)) < 0 &&
           errno == ENXIO) {
        if (ral_stopped())
            return ral_stop_err(err);
        ppoll(NULL, 0, &nap, &mask);
    }
    return fd < 0 ? ral_err_errno(err, "%s: cannot open", path) : fd;
}

int ral_out_open(struct ral_out *o, const char *path, struct ral_err *err)
{
    struct stat st;
    int rc;

    *o = (struct ral_out){.fd = STDOUT_FILENO};
    if (!path || !strcmp(path, "-"))
        return 0;
    if (!(o->path = strdup(path)))
        return ral_err_nomem(err, "%s", path);
    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode)) {
        if (S_ISDIR(st.st_mode)) {
            rc = ral_err_set(err, -RAL_EIO, "%s: is a folder", path);
            goto fail;
        }
        if ((rc = o->fd = open_existing(path, err)) < 0)
            goto fail;
        return 0;
    }
    if (!(o->tmp = tmp_name(path)) ||
        (o->fd = mkostemp(o->tmp, O_CLOEXEC)) < 0) {
        rc = ral_err_errno(err, "%s: cannot create", path);
        free(o->tmp);
        o->tmp = NULL;
        goto fail;
    }
    const mode_t mask = umask(0);
    umask(mask);
    fchmod(o->fd, 0666 & ~mask);
    return 0;

fail:
    o->fd = -1;
    ral_out_abort(o);
    return rc;
}

int ral_out_finish(struct ral_out *o, struct ral_err *err)
{
    const char *name = o->path ? o->path : "stdout";
    int rc = 0;

    if (o->tmp && fsync(o->fd) < 0)
        rc = ral_err_errno(err, "%s: cannot sync", name);
    if (close(o->fd) < 0 && rc == 0)
        rc = ral_err_errno(err, "%s: cannot close", name);
    o->fd = -1;
    if (rc == 0 && o->tmp) {
        if (rename(o->tmp, o->path) < 0) {
            rc = ral_err_errno(err, "%s: cannot rename", o->tmp);
        } else {
            free(o->tmp);
            o->tmp = NULL;
            rc = sync_parent(o->path, err);
        }
    }
    ral_out_abort(o);
    return rc;
}

void ral_out_abort(struct ral_out *o)
{
    if (o->tmp)
        unlink(o->tmp);
    if (o->path && o->fd >= 0)
        close(o->fd);
    free(o->tmp);
    free(o->path);
    *o = (struct ral_out){.fd = -1};
}

static int remove_at(int dir, const char *name)
{
    int fd;
    DIR *d;
    struct dirent *e;
    int rc = 0;

    if (unlinkat(dir, name, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR && errno != EPERM)
        return -1;
    fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || !(d = fdopendir(fd))) {
        if (fd >= 0)
            close(fd);
        return -1;
    }
    while (rc == 0 && (e = readdir(d)))
        if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
            rc = remove_at(dirfd(d), e->d_name);
    closedir(d);
    return rc == 0 ? unlinkat(dir, name, AT_REMOVEDIR) : rc;
}

int ral_remove_tree(const char *path, struct ral_err *err)
{
    if (remove_at(AT_FDCWD, path) < 0)
        return ral_err_errno(err, "%s: cannot remove", path);
    return 0;
}

/* --force must not cost anybody a folder of other things. */
static bool replaceable(const char *path, const char *mark)
{
    char *file = ral_path_join(path, mark ? mark : ".");
    const bool ok = file && access(file, F_OK) == 0;

    free(file);
    return ok;
}

int ral_outdir_open(struct ral_outdir *o, const char *path, bool force,
                    const char *mark, struct ral_err *err)
{
    struct stat st;

    *o = (struct ral_outdir){.force = force};
    if (lstat(path, &st) == 0 && !force)
        return ral_err_set(err, -RAL_EIO,
                           "%s: exists; name another -o or give --force",
                           path);
    if (lstat(path, &st) == 0 && !S_ISDIR(st.st_mode))
        return ral_err_set(err, -RAL_EIO,
                           "%s: is no folder; --force replaces folders alone",
                           path);
    if (lstat(path, &st) == 0 && !replaceable(path, mark))
        return ral_err_set(err, -RAL_EIO,
                           "%s: holds no %s; --force replaces only what a "
                           "program like this one made",
                           path, mark ? mark : "folder");
    o->path = strdup(path);
    o->tmp = tmp_name(path);
    if (!o->path || !o->tmp || !mkdtemp(o->tmp)) {
        ral_err_errno(err, "%s: cannot create", path);
        free(o->tmp);
        free(o->path);
        *o = (struct ral_outdir){0};
        return -RAL_EIO;
    }
    const mode_t mask = umask(0);
    umask(mask);
    chmod(o->tmp, 0777 & ~mask);
    return 0;
}

/* Files and folders below dir, deepest first. */
static int sync_tree(int at, const char *name)
{
    const int fd = openat(at, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;
    int rc = 0;

    if (fd < 0)
        return errno == ELOOP ? 0 : -1;
    if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode)) {
        DIR *d = fdopendir(dup(fd));
        struct dirent *e;

        while (d && rc == 0 && (e = readdir(d)))
            if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
                rc = sync_tree(fd, e->d_name);
        if (!d)
            rc = -1;
        else
            closedir(d);
    }
    if (rc == 0 && fsync(fd) < 0)
        rc = -1;
    close(fd);
    return rc;
}

int ral_outdir_finish(struct ral_outdir *o, struct ral_err *err)
{
    int rc = 0;

    if (sync_tree(AT_FDCWD, o->tmp) < 0) {
        rc = ral_err_errno(err, "%s: cannot sync", o->tmp);
    } else if (renameat2(AT_FDCWD, o->tmp, AT_FDCWD, o->path,
                         RENAME_NOREPLACE) == 0) {
        free(o->tmp);
        o->tmp = NULL;
    } else if (errno == EEXIST && !o->force) {
        rc = ral_err_set(err, -RAL_EIO, "%s: appeared meanwhile", o->path);
    } else if (errno != EEXIST ||
               renameat2(AT_FDCWD, o->tmp, AT_FDCWD, o->path,
                         RENAME_EXCHANGE) < 0) {
        rc = ral_err_errno(err, "%s: cannot rename to %s", o->tmp, o->path);
    }
    if (rc == 0)
        rc = sync_parent(o->path, err);
    ral_outdir_abort(o); // after an exchange tmp is the old folder
    return rc;
}

void ral_outdir_abort(struct ral_outdir *o)
{
    if (o->tmp)
        ral_remove_tree(o->tmp, NULL);
    free(o->tmp);
    free(o->path);
    *o = (struct ral_outdir){0};
}

int ral_spool_open(struct ral_err *err)
{
    const char *dir = getenv("TMPDIR");
    char *path = ral_path_join(dir && *dir ? dir : "/tmp", "ral-XXXXXX");
    int fd;

    if (!path)
        return ral_err_nomem(err, "temporary file");
    if ((fd = mkostemp(path, O_CLOEXEC)) < 0)
        fd = ral_err_errno(err, "%s: cannot make a temporary file", path);
    else
        unlink(path);
    free(path);
    return fd;
}

char *ral_path_join(const char *dir, const char *name)
{
    char *s;

    if (!dir || !*dir || *name == '/')
        return strdup(name);
    if (asprintf(&s, "%s%s%s", dir, dir[strlen(dir) - 1] == '/' ? "" : "/",
                 name) < 0)
        return NULL;
    return s;
}

char *ral_path_dir(const char *path)
{
    size_t n = strlen(path);

    while (n > 1 && path[n - 1] == '/')
        n--;
    while (n && path[n - 1] != '/')
        n--;
    while (n > 1 && path[n - 1] == '/')
        n--;
    return n ? strndup(path, n) : strdup(".");
}

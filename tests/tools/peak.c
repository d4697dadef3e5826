/* tests/tools/peak.c - run a command and note the memory that it took. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* peak FILE CMD...: kilobytes to FILE; the command's status, 128 + signal. */
int main(int argc, char **argv)
{
    struct rusage u;
    int status;
    pid_t pid;
    FILE *f;

    if (argc < 3) {
        fputs("usage: peak FILE CMD [ARG...]\n", stderr);
        return 2;
    }
    if ((pid = fork()) == 0) {
        execvp(argv[2], argv + 2);
        perror(argv[2]);
        _exit(127);
    }
    if (pid < 0 || wait4(pid, &status, 0, &u) < 0 ||
        !(f = fopen(argv[1], "w"))) {
        perror("peak");
        return 1;
    }
    fprintf(f, "%ld\n", u.ru_maxrss);
    fclose(f);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

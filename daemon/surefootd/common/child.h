/* A program that is run and waited for. */
#ifndef SUREFOOTD_CHILD_H
#define SUREFOOTD_CHILD_H

#include <stddef.h>

/* argv[0] is looked up in PATH; its stderr is ours.  What it says on stdout is kept up to size,
 * with a NUL; output NULL: it is for our stderr.  Its exit status, or -errno: -ETIMEDOUT when it
 * was killed for being late, -ECHILD when it died of a signal. */
int sfd_child_run(const char *const argv[], char *output, size_t size, unsigned timeout_ms);

/* run, in a child, 0 or -errno; -ETIMEDOUT also when the kernel holds on to that child. */
int sfd_child_call(int (*run)(void *arg), void *arg, unsigned timeout_ms);

/* Ends such a child: 0 or -errno becomes its exit status. */
_Noreturn void sfd_child_exit(int error);

#endif

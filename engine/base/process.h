/* Helper processes, and files that go from one to another through sockets. */
#ifndef SF_BASE_PROCESS_H
#define SF_BASE_PROCESS_H

#include <stddef.h>
#include <sys/types.h>

/* 0 or -errno.  fd may be -1: no file. */
int sf_send_file(int socket, void *data, size_t length, int fd);

/* Bytes received, 0 at the end, or -errno; *fd is -1 when no file came. */
ssize_t sf_receive_file(int socket, void *data, size_t length, int *fd);

/* For a process that was just forked: closes every file but these. */
void sf_close_all_but(const int *keep, unsigned n);

/* Leaves the process group and the service, as their signals are meant for the serving process. */
void sf_leave_the_others(void);

#endif

/* The listening socket and its file: bound once, removed only while it is still ours. */
#ifndef SF_CONTROL_SOCKET_FILE_H
#define SF_CONTROL_SOCKET_FILE_H

#include <sys/types.h>
#include <sys/un.h>

struct sf_socket_file {
  int fd;           /* listens, non-blocking; -1: none */
  int directory_fd; /* so that a later chdir (nbdkit's daemon) does not matter */
  char name[sizeof((struct sockaddr_un *) 0)->sun_path];
  dev_t device;
  ino_t inode;
};

/* The directory is made (0755) if its parent is there; the socket file has mode 0660.
 * -ENAMETOOLONG, -EEXIST (something else is there), -EADDRINUSE (somebody listens there). */
int sf_socket_file_bind(const char *path, struct sf_socket_file *file);

/* Unlinks and closes. */
void sf_socket_file_close(struct sf_socket_file *file);

#endif

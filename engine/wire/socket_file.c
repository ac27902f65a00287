#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <surefoot/wire.h>

enum {
  SOCKET_MODE = 0660,
  PRIVATE_MODE = 0600,
  DIRECTORY_MODE = 0755,
  LOCK_TRIES = 100,
  LOCK_PAUSE_MS = 10
};

/* Two servers that start at once must not both find the socket abandoned: the directory is locked
 * from the look to the listen().  The lock is held no longer, so the wait is short and bounded. */
static int
lock_directory(int directory_fd) {
  for (int try = 0; try < LOCK_TRIES; try++) {
    if (flock(directory_fd, LOCK_EX | LOCK_NB) == 0)
      return 0;
    if (errno != EWOULDBLOCK && errno != EINTR)
      return -errno;
    nanosleep(&(struct timespec){.tv_nsec = LOCK_PAUSE_MS * 1000000L}, NULL);
  }
  return -EADDRINUSE;
}

static int
open_directory(const char *path, int *directory_fd) {
  char copy[sizeof((struct sockaddr_un *) 0)->sun_path];
  memcpy(copy, path, strlen(path) + 1);
  const char *directory = dirname(copy);
  if (mkdir(directory, DIRECTORY_MODE) < 0 && errno != EEXIST)
    return -errno;
  int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0)
    return -errno;
  int r = lock_directory(fd);
  if (r < 0) {
    close(fd);
    return r;
  }
  *directory_fd = fd;
  return 0;
}

/* As connect() says it: 0 or errno; or -errno, it could not be tried. */
static int
try_to_connect(const struct sockaddr_un *address) {
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0)
    return -errno;
  int r = connect(fd, (const struct sockaddr *) address, sizeof *address) == 0 ? 0 : errno;
  close(fd);
  return r;
}

bool
sf_control_is_abandoned(const char *path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  size_t len = strlen(path);
  if (len >= sizeof address.sun_path)
    return false;
  memcpy(address.sun_path, path, len + 1);
  return try_to_connect(&address) == ECONNREFUSED;
}

/* 0: no process listens there. */
static int
check_abandoned(const struct sockaddr_un *address) {
  int r = try_to_connect(address);
  if (r < 0)
    return r;
  switch (r) {
  case ECONNREFUSED:
  case ENOENT:
    return 0;
  case 0:
  case EAGAIN:     /* its backlog is full */
  case EPROTOTYPE: /* it is not a stream socket */
    return -EADDRINUSE;
  default:
    return -r;
  }
}

static int
make_room(const struct sf_socket_file *file, const struct sockaddr_un *address) {
  struct stat st;
  if (fstatat(file->directory_fd, file->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
    return errno == ENOENT ? 0 : -errno;
  if (!S_ISSOCK(st.st_mode))
    return -EEXIST;
  int r = check_abandoned(address);
  if (r < 0)
    return r;
  if (unlinkat(file->directory_fd, file->name, 0) < 0 && errno != ENOENT)
    return -errno;
  return 0;
}

static int
bind_and_listen(struct sf_socket_file *file, const struct sockaddr_un *address, mode_t mode) {
  int r = make_room(file, address);
  if (r < 0)
    return r;
  file->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (file->fd < 0)
    return -errno;
  /* Before bind: the file never exists with a wider mode.  After: whatever the umask took. */
  struct stat st;
  bool bound = false;
  if (fchmod(file->fd, mode) < 0)
    goto fail;
  if (bind(file->fd, (const struct sockaddr *) address, sizeof *address) < 0)
    goto fail;
  bound = true;
  if (fchmodat(file->directory_fd, file->name, mode, 0) < 0)
    goto fail;
  if (fstatat(file->directory_fd, file->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
    goto fail;
  /* Without the right to give it away it stays our own. */
  if (sf_peer_group() != (gid_t) -1 &&
      fchownat(file->directory_fd, file->name, (uid_t) -1, sf_peer_group(), AT_SYMLINK_NOFOLLOW) <
          0 &&
      errno != EPERM)
    goto fail;
  if (listen(file->fd, SOMAXCONN) < 0)
    goto fail;
  file->device = st.st_dev;
  file->inode = st.st_ino;
  return 0;

fail:
  r = -errno;
  if (bound)
    unlinkat(file->directory_fd, file->name, 0);
  close(file->fd);
  file->fd = -1;
  return r;
}

static int
bind_file(const char *path, mode_t mode, struct sf_socket_file *file) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  size_t len = strlen(path);
  if (len >= sizeof address.sun_path)
    return -ENAMETOOLONG;
  if (len == 0 || path[len - 1] == '/')
    return -EINVAL;
  memcpy(address.sun_path, path, len + 1);

  struct sf_socket_file made = {.fd = -1, .directory_fd = -1};
  const char *slash = strrchr(path, '/');
  snprintf(made.name, sizeof made.name, "%s", slash ? slash + 1 : path);
  int r = open_directory(path, &made.directory_fd);
  if (r < 0)
    return r;
  r = bind_and_listen(&made, &address, mode);
  flock(made.directory_fd, LOCK_UN);
  if (r < 0) {
    close(made.directory_fd);
    return r;
  }
  *file = made;
  return 0;
}

int
sf_socket_file_bind(const char *path, struct sf_socket_file *file) {
  return bind_file(path, SOCKET_MODE, file);
}

int
sf_socket_file_bind_private(const char *path, struct sf_socket_file *file) {
  return bind_file(path, PRIVATE_MODE, file);
}

void
sf_socket_file_close(struct sf_socket_file *file) {
  struct stat st;
  if (fstatat(file->directory_fd, file->name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
      st.st_dev == file->device && st.st_ino == file->inode)
    unlinkat(file->directory_fd, file->name, 0);
  close(file->fd);
  close(file->directory_fd);
  file->fd = file->directory_fd = -1;
}

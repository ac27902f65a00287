/* A client of the fast door, by hand. */
#ifndef TEST_DOOR_CLIENT_H
#define TEST_DOOR_CLIENT_H

#include <surefoot/door.h>

#include "rig.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define PATIENCE_MS 10000

enum { REQUEST_BYTES = 28, REPLY_BYTES = 16 };

static inline void
hear(int fd, void *bytes, size_t n) {
  struct pollfd news = {.fd = fd, .events = POLLIN};
  size_t had = 0;

  while (had < n) {
    ssize_t got;

    assert_int_equal(poll(&news, 1, PATIENCE_MS), 1);
    got = read(fd, (char *) bytes + had, n - had);
    assert_true(got > 0);
    had += (size_t) got;
  }
}

static inline int
as_it_is(int error) {
  return -error;
}

/* A door of this server, of so many bytes in such blocks. */
static inline struct sf_door *
open_door(struct sf_serve *serve, uint64_t size, uint32_t block_bytes, const char *path) {
  const struct sf_door_options options = {
      .serve = serve, .nbd_errno = as_it_is, .description = "a test"};
  struct sf_door *door;
  char error[SF_CONFIG_ERROR_MAX];

  serve->assembly.base.data_bytes = size;
  serve->assembly.base.block_bytes = block_bytes;
  atomic_store(&serve->block_bytes, block_bytes);
  assert_int_equal(sf_door_open(path, &door, error), 0);
  assert_int_equal(sf_door_start(door, &options), 0);
  return door;
}

/* By EXPORT_NAME, which has the shortest answer. */
static inline int
connect_it(const char *path) {
  static const unsigned char wants[] = "\0\0\0\3IHAVEOPT\0\0\0\1\0\0\0";
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  unsigned char heard[18 + 10];

  memcpy(address.sun_path, path, strlen(path) + 1);
  assert_int_equal(connect(fd, (struct sockaddr *) &address, sizeof address), 0);
  assert_int_equal(write(fd, wants, sizeof wants), sizeof wants);
  hear(fd, heard, sizeof heard);
  return fd;
}

#endif

/* The socket, and the thread that takes connections. */
#include "door/internal.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/thread.h"

enum { CLOSE_S = 5, PAUSE_MS = 1000 };

static void
free_door(struct sf_door *door) {
  if (door->wake_fd >= 0)
    close(door->wake_fd);
  pthread_cond_destroy(&door->changed);
  pthread_mutex_destroy(&door->lock);
  free(door);
}

int
sf_door_open(const char *path, struct sf_door **door, char error[SF_CONFIG_ERROR_MAX]) {
  struct sf_door *made = calloc(1, sizeof *made);
  pthread_condattr_t monotonic;
  int r = made == NULL ? -ENOMEM : sf_socket_file_bind_private(path, &made->socket);

  if (r < 0) {
    snprintf(error, SF_CONFIG_ERROR_MAX, "fast_socket %s: %s", path,
             r == -EADDRINUSE ? "another server listens there"
             : r == -EEXIST   ? "something that is no socket is there"
                              : strerror(-r));
    free(made);
    return r;
  }
  made->wake_fd = -1;
  SF_ASSERT(pthread_mutex_init(&made->lock, NULL) == 0);
  SF_ASSERT(pthread_condattr_init(&monotonic) == 0);
  SF_ASSERT(pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC) == 0);
  SF_ASSERT(pthread_cond_init(&made->changed, &monotonic) == 0);
  pthread_condattr_destroy(&monotonic);
  *door = made;
  return 0;
}

/* ---- connections ---- */

static void
take(struct sf_door *door, int fd) {
  struct door_connection *connection;
  char line[160];
  int r = sf_door_is_full(door) ? -EMFILE : sf_door_connection_create(door, fd, &connection);

  if (r < 0) {
    close(fd);
  } else {
    sf_door_enter(door, connection);
    r = sf_thread_start(NULL, "surefoot-fast", sf_door_connection_main, connection);
    if (r < 0)
      sf_door_leave(door, connection);
  }
  if (r == 0)
    return;
  snprintf(line, sizeof line, "fast socket: a connection is refused: %s",
           r == -EMFILE ? "too many of them" : strerrordesc_np(-r));
  sf_serve_say_once(door->serve, line);
}

/* ---- the thread ---- */

static void
pause_a_while(struct sf_door *door) {
  poll(&(struct pollfd){.fd = door->wake_fd, .events = POLLIN}, 1, PAUSE_MS);
}

static void *
door_main(void *arg) {
  struct sf_door *door = arg;
  struct pollfd fds[2] = {{.fd = door->socket.fd, .events = POLLIN},
                          {.fd = door->wake_fd, .events = POLLIN}};

  while (!atomic_load(&door->stop)) {
    int fd;

    if (poll(fds, 2, -1) < 0 || fds[0].revents == 0)
      continue;
    fd = accept4(door->socket.fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0) {
      take(door, fd);
    } else if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
      char line[160];

      snprintf(line, sizeof line, "fast socket: no connection can be taken: %s",
               strerrordesc_np(errno));
      sf_serve_say_once(door->serve, line);
      pause_a_while(door);
    }
  }
  return NULL;
}

int
sf_door_start(struct sf_door *door, const struct sf_door_options *options) {
  int r;

  door->serve = options->serve;
  door->nbd_errno = options->nbd_errno;
  atomic_store(&door->straight_left, sf_serve_large_buffers(door->serve) / DOOR_STRAIGHT_SHARE);
  atomic_store(&door->data_left, sf_serve_large_buffers(door->serve) / DOOR_DATA_SHARE);
  snprintf(door->description, sizeof door->description, "%s", options->description);
  door->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (door->wake_fd < 0)
    return -errno;
  r = sf_thread_start(&door->thread, "surefoot-door", door_main, door);
  door->started = r == 0;
  return r;
}

/* ---- the end ---- */

int
sf_door_close(struct sf_door *door) {
  uint64_t one = 1;

  if (door == NULL)
    return 0;
  atomic_store(&door->stop, true);
  if (door->started) {
    SF_ASSERT(write(door->wake_fd, &one, sizeof one) == sizeof one);
    pthread_join(door->thread, NULL);
  }
  /* First, as a connection may keep the rest: nobody takes clients any more. */
  sf_socket_file_close(&door->socket);
  /* Each ends by itself within its grace; what hangs in a leg may not. */
  if (door->started && !sf_door_wait_for_all(door, CLOSE_S))
    return -EBUSY;
  free_door(door);
  return 0;
}

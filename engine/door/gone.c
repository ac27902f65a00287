/* The end of a connection, and why. */
#include "door/internal.h"

#include <poll.h>
#include <stdio.h>

/* What it has sent, and nobody has received, ends with that word.  Longer than a few requests is not
 * looked at. */
static bool
says_the_end(int fd) {
  unsigned char bytes[4096];
  ssize_t n = recv(fd, bytes, sizeof bytes, MSG_PEEK | MSG_DONTWAIT);
  struct nbd_request last;

  return n >= NBD_REQUEST_BYTES && n < (ssize_t) sizeof bytes &&
         sf_nbd_read_request(bytes + n - NBD_REQUEST_BYTES, &last) && last.type == NBD_DISC;
}

/* A local socket hangs up when it was closed at the other end, its process killed, or both its
 * directions shut, as the kernel's client does.  A client that has shut its writing side after it
 * said that it ends, as libnbd does, waits for its answers.  Without that word it may be a proxy
 * whose own client was killed, and has sent its requests again elsewhere: they are not done late. */
bool
sf_door_client_is_gone(void *connection) {
  struct door_connection *c = connection;
  struct pollfd look = {.fd = c->fd, .events = POLLRDHUP};

  if (atomic_load(&c->gone))
    return true;
  if (poll(&look, 1, 0) <= 0)
    return false;
  return look.revents & (POLLHUP | POLLERR) ||
         (look.revents & POLLRDHUP && !atomic_load(&c->closing) && !says_the_end(c->fd));
}

void
sf_door_gone(struct door_connection *c) {
  if (!atomic_exchange(&c->gone, true))
    shutdown(c->fd, SHUT_RDWR);
}

void
sf_door_drop(struct door_connection *c, const char *why) {
  char line[160];

  if (atomic_load(&c->gone))
    return;
  snprintf(line, sizeof line, "fast socket: a connection is ended: %s", why);
  sf_serve_say_once(c->door->serve, line);
  sf_door_gone(c);
}

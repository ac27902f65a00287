/* The end of a connection, and why. */
#include "door/internal.h"

#include <poll.h>
#include <stdio.h>
#include <sys/ioctl.h>

static pthread_mutex_t peeking = PTHREAD_MUTEX_INITIALIZER;

bool
sf_door_ends_with_disc(const unsigned char *bytes, size_t n) {
  struct nbd_request last;

  return n >= NBD_REQUEST_BYTES && sf_nbd_read_request(bytes + n - NBD_REQUEST_BYTES, &last) &&
         last.type == NBD_DISC;
}

/* At an offset of the socket, which its other readers do not see. */
static bool
peek(int fd, int offset, unsigned char *bytes, size_t n) {
  int none = -1;
  bool all;

  pthread_mutex_lock(&peeking);
  all = setsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &offset, sizeof offset) == 0 &&
        recv(fd, bytes, n, MSG_PEEK | MSG_DONTWAIT) == (ssize_t) n;
  (void) setsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &none, sizeof none);
  pthread_mutex_unlock(&peeking);
  return all;
}

/* The last that it has sent, be that still in the socket or received and not yet taken. */
static bool
says_the_end(struct door_connection *c) {
  unsigned char bytes[NBD_REQUEST_BYTES];
  int unread = 0;

  if (ioctl(c->fd, FIONREAD, &unread) < 0)
    return false;
  if (unread == 0)
    return atomic_load(&c->has_said_the_end);
  return unread >= NBD_REQUEST_BYTES &&
         peek(c->fd, unread - NBD_REQUEST_BYTES, bytes, sizeof bytes) &&
         sf_door_ends_with_disc(bytes, sizeof bytes);
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
         (look.revents & POLLRDHUP && !atomic_load(&c->closing) && !says_the_end(c));
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

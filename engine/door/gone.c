/* The end of a connection, and why. */
#include "door/internal.h"

#include <poll.h>
#include <stdio.h>

/* A local socket hangs up when it was closed at the other end, its process killed, or both its
 * directions shut, as the kernel's client does.  A client that has shut its writing side alone has
 * asked for all that it wants, and waits for the answers. */
bool
sf_door_client_is_gone(void *connection) {
  struct door_connection *c = connection;
  struct pollfd look = {.fd = c->fd};

  return atomic_load(&c->gone) || (poll(&look, 1, 0) > 0 && look.revents & (POLLHUP | POLLERR));
}

/* The end of its requests may come behind some that cannot be taken before it takes answers. */
bool
sf_door_client_has_ended(const struct door_connection *c) {
  struct pollfd look = {.fd = c->fd, .events = POLLRDHUP};

  return c->closing || (poll(&look, 1, 0) > 0 && look.revents & POLLRDHUP);
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

/* The end of a connection, and why. */
#include "door/internal.h"

#include <stdio.h>

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

/* What a connection needs from its begin to its end, so that it asks for no memory while it
 * serves. */
#include "base/touch.h"
#include "door/internal.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

static void *
map(size_t bytes) {
  void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

  if (memory == MAP_FAILED)
    return NULL;
  if (sf_touch(memory, bytes) < 0) {
    munmap(memory, bytes);
    return NULL;
  }
  return memory;
}

/* An answer of a piece goes in one message then, and the client has something to take while this
 * thread is woken for the next.  The kernel gives what net.core.wmem_max allows. */
static void
widen(int fd) {
  int bytes = DOOR_PIECE_BYTES;

  (void) setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
}

/* All the memory that it will need, and touched. */
int
sf_door_connection_create(struct sf_door *door, int fd, struct door_connection **connection) {
  struct door_connection *c = map(sizeof *c);

  if (c == NULL)
    return -ENOMEM;
  c->door = door;
  c->fd = fd;
  c->in = map(DOOR_IN_BYTES);
  c->out.bytes = map(DOOR_OUT_BYTES);
  c->bounce = map((size_t) DOOR_BOUNCES * DOOR_PIECE_BYTES);
  c->ahead = map(DOOR_AHEAD_BYTES);
  if (c->in == NULL || c->out.bytes == NULL || c->bounce == NULL || c->ahead == NULL) {
    c->fd = -1; /* it stays the caller's */
    sf_door_connection_destroy(c);
    return -ENOMEM;
  }
  widen(fd);
  *connection = c;
  return 0;
}

static void
unmap(void *memory, size_t bytes) {
  if (memory != NULL)
    munmap(memory, bytes);
}

void
sf_door_connection_destroy(struct door_connection *c) {
  if (c->fd >= 0)
    close(c->fd);
  unmap(c->in, DOOR_IN_BYTES);
  unmap(c->out.bytes, DOOR_OUT_BYTES);
  unmap(c->bounce, (size_t) DOOR_BOUNCES * DOOR_PIECE_BYTES);
  unmap(c->ahead, DOOR_AHEAD_BYTES);
  unmap(c, sizeof *c);
}

/* Answers on their way out.  Room for an answer is kept before its request goes to the volume: a
 * client that does not read its answers is not listened to any more, and holds nothing that others
 * need. */
#include "door/internal.h"

#include <string.h>

bool
sf_door_out_keep(struct door_connection *c, struct door_request *request, size_t bytes) {
  size_t used = (size_t) (c->out.head - c->out.tail);

  if (DOOR_OUT_BYTES - used - c->out.kept < bytes)
    return false;
  c->out.kept += bytes;
  request->room = (unsigned) bytes;
  return true;
}

void
sf_door_out_release(struct door_connection *c, struct door_request *request) {
  SF_ASSERT(c->out.kept >= request->room);
  c->out.kept -= request->room;
  request->room = 0;
}

void
sf_door_out_say(struct door_connection *c, const void *bytes, size_t n) {
  struct door_out *out = &c->out;
  size_t at = (size_t) (out->head % DOOR_OUT_BYTES), first = DOOR_OUT_BYTES - at;

  SF_ASSERT(n <= DOOR_OUT_BYTES - (out->head - out->tail));
  if (first > n)
    first = n;
  memcpy(out->bytes + at, bytes, first);
  memcpy(out->bytes, (const unsigned char *) bytes + first, n - first);
  out->head += n;
}

bool
sf_door_out_is_empty(const struct door_connection *c) {
  return c->out.head == c->out.tail && !c->its_long.begun;
}

/* A long read's data goes out of its own memory, right after its header, and nothing goes
 * between. */
unsigned
sf_door_out_parts(struct door_connection *c, struct iovec part[2]) {
  const struct door_out *out = &c->out;
  const struct door_long *its = &c->its_long;
  uint64_t end = its->begun ? its->after : out->head;
  size_t at = (size_t) (out->tail % DOOR_OUT_BYTES), n = (size_t) (end - out->tail);

  if (n == 0 && its->begun && its->ready) {
    part[0] = (struct iovec){c->chunk + its->sent, its->length - its->sent};
    return 1;
  }
  if (n == 0)
    return 0;
  part[0] = (struct iovec){out->bytes + at, n < DOOR_OUT_BYTES - at ? n : DOOR_OUT_BYTES - at};
  part[1] = (struct iovec){out->bytes, n - part[0].iov_len};
  return part[1].iov_len > 0 ? 2 : 1;
}

void
sf_door_out_sent(struct door_connection *c, size_t n) {
  struct door_long *its = &c->its_long;

  if (its->begun && c->out.tail == its->after) {
    its->sent += n;
    SF_ASSERT(its->ready && its->sent <= its->length);
    its->ready = its->sent < its->length;
    return;
  }
  c->out.tail += n;
  SF_ASSERT(c->out.tail <= c->out.head);
  /* From the start again, where the memory is in the processor's cache. */
  if (c->out.tail == c->out.head && !its->begun)
    c->out.head = c->out.tail = 0;
}

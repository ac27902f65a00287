/* Answers on their way out.  Room for an answer is kept before its request goes to the volume: a
 * client that does not read its answers is not listened to any more, and holds little that others
 * need.
 *
 * Large data is sent straight from the buffer into which it was read, which is the pool's: as long
 * as a share of it is left, which all connections have together, and few enough wait.  Else it is
 * copied, so clients that do not read their answers keep no more than that share of the pool from
 * others.  Nothing writes to the buffer that a request has when it has ended: a read that was late
 * on a leg, and was answered by another one, has that one's buffer (volume/ops/read.c). */
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

/* ---- straight from the pool ---- */

static size_t
length_of(const struct door_straight *straight) {
  return (size_t) straight->piece->its.request.length;
}

static struct door_straight *
straight_at(struct door_out *out, unsigned i) {
  return &out->straight[(out->straight_first + i) % DOOR_STRAIGHT_MOST];
}

void
sf_door_out_say_data(struct door_connection *c, struct door_piece *piece) {
  const struct sf_request *its = &piece->its.request;
  struct door_out *out = &c->out;

  if (!piece->is_large || out->straight_n == DOOR_STRAIGHT_MOST ||
      !sf_door_take_share(&c->door->straight_left)) {
    sf_door_out_say(c, sf_door_piece_data(piece), its->length);
    return;
  }
  *straight_at(out, out->straight_n++) = (struct door_straight){.piece = piece, .after = out->head};
  out->kept += its->length;
  piece->is_straight = true;
}

static void
drop_first(struct door_connection *c) {
  struct door_out *out = &c->out;
  struct door_straight *first = straight_at(out, 0);

  SF_ASSERT(out->straight_n > 0 && out->kept >= length_of(first));
  out->kept -= length_of(first);
  sf_door_piece_put(c, first->piece);
  first->piece = NULL;
  out->straight_first = (out->straight_first + 1) % DOOR_STRAIGHT_MOST;
  out->straight_n--;
  atomic_fetch_add(&c->door->straight_left, 1);
}

void
sf_door_out_drop(struct door_connection *c) {
  SF_ASSERT(!c->sending);
  while (c->out.straight_n > 0)
    drop_first(c);
}

/* ---- what is sent ---- */

bool
sf_door_out_is_empty(const struct door_connection *c) {
  return c->out.head == c->out.tail && c->out.straight_n == 0 && !c->its_long.begun;
}

/* A long read's data goes out of its own memory, right after its header, and nothing goes between:
 * what was said after that waits.  Returns how many straight ones were said before. */
static unsigned
straight_before_long(struct door_connection *c) {
  const struct door_long *its = &c->its_long;
  unsigned n = 0;

  while (n < c->out.straight_n && (!its->begun || straight_at(&c->out, n)->after < its->after))
    n++;
  return n;
}

static uint64_t
end_before_long(const struct door_connection *c) {
  return c->its_long.begun ? c->its_long.after : c->out.head;
}

static struct iovec
rest_of(const struct door_straight *straight) {
  unsigned char *data = straight->piece->its.request.buffer->data;

  return (struct iovec){data + straight->sent, length_of(straight) - straight->sent};
}

struct ring {
  unsigned char *memory;
  size_t size;
};

/* Returns how many parts there are now.  A part that finds no place, and all after it, comes with
 * the next message. */
static unsigned
add_bytes(struct ring ring, uint64_t from, uint64_t to, struct iovec *part, unsigned n) {
  while (from < to && n < DOOR_PARTS) {
    size_t at = (size_t) (from % ring.size), bytes = ring.size - at;

    if (bytes > to - from)
      bytes = (size_t) (to - from);
    part[n++] = (struct iovec){ring.memory + at, bytes};
    from += bytes;
  }
  return n;
}

unsigned
sf_door_out_parts(struct door_connection *c, struct iovec part[DOOR_PARTS]) {
  struct door_out *out = &c->out;
  const struct ring said = {out->bytes, DOOR_OUT_BYTES}, ahead = {c->ahead, DOOR_AHEAD_BYTES};
  unsigned straights = straight_before_long(c), n = 0;
  uint64_t at = out->tail;

  for (unsigned i = 0; i < straights && n < DOOR_PARTS; i++) {
    const struct door_straight *straight = straight_at(out, i);

    n = add_bytes(said, at, straight->after, part, n);
    at = straight->after;
    if (n < DOOR_PARTS)
      part[n++] = rest_of(straight);
  }
  n = add_bytes(said, at, end_before_long(c), part, n);
  if (n == 0 && c->its_long.begun)
    n = add_bytes(ahead, c->its_long.sent, sf_door_ahead_there(&c->its_long), part, n);
  return n;
}

/* Returns how many of the n bytes that is. */
static size_t
sent_next(struct door_connection *c, size_t n) {
  struct door_out *out = &c->out;
  bool straight_comes = straight_before_long(c) > 0;
  struct door_straight *first = straight_at(out, 0);
  uint64_t end = straight_comes ? first->after : end_before_long(c);

  if (out->tail < end) {
    if (n > end - out->tail)
      n = (size_t) (end - out->tail);
    out->tail += n;
    return n;
  }
  SF_ASSERT(straight_comes);
  if (n > length_of(first) - first->sent)
    n = length_of(first) - first->sent;
  first->sent += n;
  if (first->sent == length_of(first))
    drop_first(c);
  return n;
}

void
sf_door_out_sent(struct door_connection *c, size_t n) {
  struct door_out *out = &c->out;
  struct door_long *its = &c->its_long;

  if (its->begun && out->tail == its->after) {
    SF_ASSERT(n <= sf_door_ahead_there(its) - its->sent);
    its->sent += n;
    return;
  }
  while (n > 0)
    n -= sent_next(c, n);
  /* From the start again, where the memory is in the processor's cache. */
  if (sf_door_out_is_empty(c))
    out->head = out->tail = 0;
}

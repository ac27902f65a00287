/* Slots of requests and pieces, and the memory that a piece has: a buffer of the pool, or, for a
 * worker, a bounce.  A worker's call takes buffers of the pool, so the piece's own memory must not
 * be one: the pieces that wait for a buffer would hold the buffers that they wait for. */
#include "base/units.h"
#include "door/internal.h"

#include <errno.h>
#include <string.h>

#define TICK_NS (DOOR_TICK_MS * SF_MS)

void
sf_door_pieces_init(struct door_connection *c) {
  for (unsigned i = 0; i < DOOR_REQUESTS; i++) {
    c->request[i].next = c->free_request;
    c->free_request = &c->request[i];
  }
  for (unsigned i = 0; i < DOOR_PIECES; i++) {
    c->piece_of[i].next = c->free_piece;
    c->free_piece = &c->piece_of[i];
  }
}

struct door_request *
sf_door_request_get(struct door_connection *c, const struct nbd_request *nbd) {
  struct door_request *request = c->free_request;

  if (request == NULL)
    return NULL;
  c->free_request = request->next;
  *request = (struct door_request){.nbd = *nbd};
  c->outstanding++;
  return request;
}

void
sf_door_request_put(struct door_connection *c, struct door_request *request) {
  SF_ASSERT(request->open == 0 && request->piece == NULL && request->room == 0);
  request->next = c->free_request;
  c->free_request = request;
  c->outstanding--;
}

/* What a wait took beyond a tick is this process's own delay (R3). */
static void
waited(struct door_connection *c) {
  uint64_t now = sf_tio_now(), took;

  if (c->waits_since_ns != 0) {
    took = now - c->waits_since_ns;
    c->waited_ns += took < TICK_NS ? took : TICK_NS;
  }
  c->waits_since_ns = now;
}

void
sf_door_waits_for_none(struct door_connection *c) {
  c->waited_ns = c->waits_since_ns = 0;
}

bool
sf_door_waits_too_long(struct door_connection *c) {
  return c->waited_ns >= sf_serve_patience_ns(c->door->serve);
}

bool
sf_door_take_share(atomic_uint *left) {
  unsigned n = atomic_load(left);

  while (n > 0)
    if (atomic_compare_exchange_weak(left, &n, n - 1))
      return true;
  return false;
}

static struct door_piece *
take(struct door_connection *c, struct door_request *of) {
  struct door_piece *piece = c->free_piece;

  c->free_piece = piece->next;
  memset(piece, 0, sizeof *piece);
  piece->connection = c;
  piece->of = of;
  of->open++;
  return piece;
}

int
sf_door_piece_get(struct door_connection *c, struct door_request *of, size_t length,
                  struct door_piece **piece) {
  bool is_large = length > DOOR_SMALL_BYTES;
  struct sf_tio_buffer *buffer = NULL;

  if (c->free_piece == NULL || (is_large && c->large_held >= DOOR_LARGE_MOST))
    return -EAGAIN;
  if (length > 0 && sf_tio_buffer_get_or_wake(c->queue, length, &buffer) < 0) {
    waited(c);
    c->wants_buffer = true;
    return -EAGAIN;
  }
  *piece = take(c, of);
  (*piece)->its.request.buffer = buffer;
  (*piece)->waited_ns = c->waited_ns;
  (*piece)->is_large = is_large;
  c->large_held += is_large;
  if (length > 0)
    sf_door_waits_for_none(c);
  return 0;
}

static int
take_bounce(struct door_connection *c, unsigned char **data) {
  for (unsigned i = 0; i < DOOR_BOUNCES; i++) {
    if (c->bounce_taken[i])
      continue;
    c->bounce_taken[i] = true;
    *data = c->bounce + (size_t) i * DOOR_PIECE_BYTES;
    return 0;
  }
  return -EAGAIN;
}

int
sf_door_piece_get_bounce(struct door_connection *c, struct door_request *of, size_t length,
                         struct door_piece **piece) {
  unsigned char *data;

  SF_ASSERT(length <= DOOR_PIECE_BYTES);
  if (c->free_piece == NULL || take_bounce(c, &data) < 0)
    return -EAGAIN;
  *piece = take(c, of);
  (*piece)->data = data;
  return 0;
}

static void
put_buffer(struct door_connection *c, struct door_piece *piece) {
  if (piece->its.request.buffer != NULL)
    sf_tio_buffer_put(sf_serve_pool(c->door->serve), piece->its.request.buffer);
  piece->its.request.buffer = NULL;
  c->large_held -= piece->is_large;
  piece->is_large = false;
}

int
sf_door_piece_move_to_bounce(struct door_connection *c, struct door_piece *piece) {
  const struct sf_request *request = &piece->its.request;
  unsigned char *data;

  if (take_bounce(c, &data) < 0)
    return -EAGAIN;
  piece->data = data;
  if (request->kind == SF_REQ_WRITE)
    memcpy(data, request->buffer->data, request->length);
  put_buffer(c, piece);
  return 0;
}

void
sf_door_piece_put(struct door_connection *c, struct door_piece *piece) {
  put_buffer(c, piece);
  if (piece->data != NULL)
    c->bounce_taken[(size_t) (piece->data - c->bounce) / DOOR_PIECE_BYTES] = false;
  piece->next = c->free_piece;
  c->free_piece = piece;
}

unsigned char *
sf_door_piece_data(const struct door_piece *piece) {
  return piece->data != NULL ? piece->data : piece->its.request.buffer->data;
}

bool
sf_door_is_whole(const struct door_connection *c, uint64_t offset, uint64_t length) {
  uint32_t unit = sf_serve_unit(c->door->serve);

  return offset % unit == 0 && length % unit == 0;
}

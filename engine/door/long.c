/* Reads of more than a piece.
 *
 * Whole blocks up to DOOR_SPLIT_MOST are read as several pieces at once, and answered when all are
 * there.  They get all their buffers or none: two reads with a part each would wait for each other.
 *
 * A read that is longer, has no whole blocks, or finds too few buffers, goes in chunks through
 * memory of the connection's own: a worker reads one, it is sent, and the next is read.  One at a
 * time, and other answers come after it.  In the protocol a read's error stands before its data:
 * when a chunk fails after the first was sent, only the connection's end can say it.  The kernel
 * asks again by the next connection, which must not end in the same way for ever: so the place is
 * noted, and read first the next time. */
#include "door/internal.h"

#include <errno.h>

bool
sf_door_read_is_long(const struct door_request *request) {
  return request->nbd.length > DOOR_PIECE_BYTES;
}

static void
ask(struct door_piece *piece, uint64_t offset, uint64_t length) {
  struct sf_request *its = &piece->its.request;

  its->kind = SF_REQ_READ;
  its->offset = offset;
  its->length = length;
}

/* ---- in pieces ---- */

bool
sf_door_may_split(const struct door_request *request) {
  return request->nbd.length <= DOOR_SPLIT_MOST;
}

static void
put_pieces(struct door_connection *c, struct door_request *request) {
  while (request->piece != NULL) {
    struct door_piece *piece = request->piece;

    request->piece = piece->more;
    request->open--;
    sf_door_piece_put(c, piece);
  }
}

int
sf_door_split_get(struct door_connection *c, struct door_request *request) {
  struct door_piece **end = &request->piece;
  uint64_t offset = request->nbd.offset;
  uint32_t left = request->nbd.length;

  while (left > 0) {
    uint32_t length = left < DOOR_PIECE_BYTES ? left : DOOR_PIECE_BYTES;

    if (sf_door_piece_get(c, request, length, end) < 0) {
      put_pieces(c, request);
      return -EAGAIN;
    }
    ask(*end, offset, length);
    end = &(*end)->more;
    offset += length;
    left -= length;
  }
  return 0;
}

/* ---- in chunks ---- */

static void
read_chunk(struct door_connection *c, uint64_t at) {
  struct door_long *its = &c->its_long;
  struct door_piece *piece = its->of->piece;
  uint64_t left = its->of->nbd.length - at;

  its->at = at;
  its->length = left < DOOR_CHUNK_BYTES ? (size_t) left : DOOR_CHUNK_BYTES;
  its->reading = true;
  piece->data = c->chunk;
  ask(piece, its->of->nbd.offset + at, its->length);
  sf_door_work(c, piece);
}

/* Where in this read one failed after its answer had begun. */
static bool
has_failed_before(struct door_connection *c, const struct nbd_request *nbd, uint64_t *at) {
  struct sf_door *door = c->door;
  bool is_inside;

  pthread_mutex_lock(&door->lock);
  is_inside =
      door->failed && door->failed_at >= nbd->offset && door->failed_at - nbd->offset < nbd->length;
  *at = is_inside ? door->failed_at - nbd->offset : 0;
  pthread_mutex_unlock(&door->lock);
  return is_inside;
}

static void
note_failed(struct door_connection *c, bool failed, uint64_t at) {
  pthread_mutex_lock(&c->door->lock);
  c->door->failed = failed;
  c->door->failed_at = at;
  pthread_mutex_unlock(&c->door->lock);
}

int
sf_door_long_begin(struct door_connection *c, struct door_request *request) {
  struct door_long *its = &c->its_long;
  uint64_t at;

  /* What it waits for, if it does, is not a buffer. */
  c->wants_buffer = false;
  c->waited_ns = c->waits_since_ns = 0;
  if (its->of != NULL || sf_door_piece_get(c, request, 0, &request->piece) < 0)
    return -EAGAIN;
  *its = (struct door_long){.of = request};
  its->looks = has_failed_before(c, &request->nbd, &at);
  read_chunk(c, at);
  return 0;
}

static void
forget(struct door_connection *c) {
  c->its_long.of->piece->data = NULL;
  c->its_long.of = NULL;
  c->its_long.begun = c->its_long.ready = false;
}

static void
say_header(struct door_connection *c, struct door_request *request) {
  unsigned char header[NBD_REPLY_BYTES];

  sf_door_out_release(c, request);
  sf_nbd_write_reply(header, request->nbd.cookie, 0);
  sf_door_out_say(c, header, sizeof header);
  c->its_long.begun = true;
  c->its_long.after = c->out.head;
}

bool
sf_door_long_goes_on(struct door_connection *c, struct door_request *request) {
  struct door_long *its = &c->its_long;

  if (its->of != request)
    return false;
  its->reading = false;
  if (request->error != 0 && its->begun && !atomic_load(&c->gone)) {
    note_failed(c, true, request->nbd.offset + its->at);
    sf_serve_tell_failed(c->door->serve, "read", request->error, its->length,
                         request->nbd.offset + its->at);
    sf_door_drop(c, "a long read fails after its answer has begun");
  }
  if (request->error != 0 || atomic_load(&c->gone)) {
    forget(c);
    return false;
  }
  if (its->looks) {
    its->looks = false;
    note_failed(c, false, 0);
    request->open++;
    read_chunk(c, 0);
    return true;
  }
  if (!its->begun)
    say_header(c, request);
  its->sent = 0;
  its->ready = true;
  return true;
}

static void
end(struct door_connection *c) {
  struct door_request *request = c->its_long.of;
  struct door_piece *piece = request->piece;

  forget(c);
  sf_door_out_release(c, request);
  request->piece = NULL;
  sf_door_piece_put(c, piece);
  sf_door_request_put(c, request);
}

void
sf_door_long_next(struct door_connection *c) {
  struct door_long *its = &c->its_long;

  if (its->of == NULL || its->reading || (its->ready && !atomic_load(&c->gone)))
    return;
  if (atomic_load(&c->gone)) {
    if (!c->sending)
      end(c);
    return;
  }
  if (its->at + its->length == its->of->nbd.length) {
    end(c);
    return;
  }
  its->of->open++;
  read_chunk(c, its->at + its->length);
}

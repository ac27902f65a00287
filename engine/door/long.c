/* Reads of more than a piece.
 *
 * Whole blocks up to DOOR_SPLIT_MOST are read as several pieces at once, and answered when all are
 * there.  They get all their buffers or none: two reads with a part each would wait for each other.
 *
 * A read that is longer, has no whole blocks, or finds too few buffers or too little room for its
 * answer, is answered while it is read, through memory of the connection's own, `ahead`: pieces of
 * it are read as far as that reaches, several at once, and sent in order.  One read at a time; the
 * others wait in a list, and requests behind them go on.
 *
 * In the protocol nothing can stand between a read's header and its data.  So the header is said
 * only when `ahead` is full or has all of it: a read that fits into it delays no other answer, and
 * of a longer one they wait for what did not fit.
 *
 * A read's error stands before its data too: when a piece fails after the header was said, only the
 * connection's end can say it.  The kernel asks again by the next connection, which must not end in
 * the same way for ever: so the place is noted, and read first the next time. */
#include "door/internal.h"

#include <errno.h>
#include <string.h>

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

/* ---- while it is read ---- */

/* What comes behind it does not wait for a buffer, if this did. */
static void
wait_for_none(struct door_connection *c) {
  c->wants_buffer = false;
  sf_door_waits_for_none(c);
}

void
sf_door_long_wait(struct door_connection *c, struct door_request *request) {
  wait_for_none(c);
  request->next = NULL;
  if (c->long_first == NULL)
    c->long_first = request;
  else
    c->long_last->next = request;
  c->long_last = request;
}

/* What is only looked at goes to the beginning. */
static unsigned char *
place_of(const struct door_connection *c, uint64_t at) {
  return c->ahead + (c->its_long.looks ? 0 : at % DOOR_AHEAD_BYTES);
}

/* A request that has come and waits for a buffer is first.  And this takes its next one as soon as
 * one is free, before another connection is awake: so it has a share of them. */
static int
get_with_buffer(struct door_connection *c, size_t length, struct door_piece **piece) {
  struct door_request *request = c->its_long.of;
  int r;

  if (c->wants_buffer || request->open >= sf_serve_large_buffers(c->door->serve) / DOOR_LONG_SHARE)
    return -EAGAIN;
  r = sf_door_piece_get(c, request, length, piece);
  if (r < 0)
    wait_for_none(c);
  return r;
}

/* Parts of blocks by one worker, the others are for what comes behind it; and whole ones, where no
 * buffer is free and no other piece is under way.  False: not before one ends. */
static bool
ask_for(struct door_connection *c, uint64_t at, size_t length) {
  struct door_long *its = &c->its_long;
  uint64_t offset = its->base + at;
  bool is_whole = sf_door_is_whole(c, offset, length);
  struct door_piece *piece;

  if (is_whole && get_with_buffer(c, length, &piece) == 0) {
    ask(piece, offset, length);
    sf_door_piece_to_volume(c, piece);
    return true;
  }
  if ((is_whole && its->of->open > 0) || its->by_worker != NULL ||
      sf_door_piece_get(c, its->of, 0, &piece) < 0)
    return false;
  its->by_worker = piece;
  piece->data = place_of(c, at);
  ask(piece, offset, length);
  sf_door_work(c, piece);
  return true;
}

/* A piece that is being sent keeps its place until all of it has gone. */
static bool
has_room(const struct door_long *its) {
  return its->asked / DOOR_PIECE_BYTES - its->sent / DOOR_PIECE_BYTES < DOOR_AHEAD_PIECES;
}

static void
ask_more(struct door_connection *c) {
  struct door_long *its = &c->its_long;

  while (its->of->error == 0 && its->asked < its->end && has_room(its)) {
    uint64_t at = its->asked, next = sf_door_ahead_next(its, at);

    its->there[sf_door_ahead_slot(at)] = false;
    its->asked = next;
    if (ask_for(c, at, (size_t) (next - at)))
      continue;
    its->asked = at;
    return;
  }
}

/* Where in this read one failed after its answer had begun. */
static bool
has_failed_before(struct door_connection *c, const struct nbd_request *nbd, uint64_t *offset) {
  struct sf_door *door = c->door;
  bool is_inside;

  pthread_mutex_lock(&door->lock);
  is_inside =
      door->failed && door->failed_at >= nbd->offset && door->failed_at - nbd->offset < nbd->length;
  *offset = door->failed_at;
  pthread_mutex_unlock(&door->lock);
  return is_inside;
}

static void
note_failed(struct door_connection *c, bool failed, uint64_t offset) {
  pthread_mutex_lock(&c->door->lock);
  c->door->failed = failed;
  c->door->failed_at = offset;
  pthread_mutex_unlock(&c->door->lock);
}

static void
look(struct door_connection *c) {
  const struct door_long *its = &c->its_long;
  uint64_t at = its->failed - its->base, left = its->end - at;

  (void) ask_for(c, at, left < DOOR_PIECE_BYTES ? (size_t) left : DOOR_PIECE_BYTES);
}

bool
sf_door_is_of_long(const struct door_connection *c, const struct door_piece *piece) {
  return piece->of == c->its_long.of;
}

void
sf_door_long_take(struct door_connection *c, struct door_piece *piece) {
  struct door_long *its = &c->its_long;
  const struct sf_request *read = &piece->its.request;
  uint64_t at = read->offset - its->base;

  if (piece == its->by_worker) {
    its->by_worker = NULL;
    piece->data = NULL;
  } else if (read->error == 0) {
    memcpy(place_of(c, at), sf_door_piece_data(piece), read->length);
  }
  if (read->error != 0 && its->failed_length == 0) {
    its->failed = read->offset;
    its->failed_length = read->length;
  }
  if (read->error == 0 && its->looks) {
    its->looks = false;
    note_failed(c, false, 0);
  } else if (read->error == 0) {
    its->there[sf_door_ahead_slot(at)] = true;
  }
  sf_door_piece_put(c, piece);
}

static void
say_header(struct door_connection *c) {
  struct door_request *request = c->its_long.of;
  unsigned char header[NBD_REPLY_BYTES];

  sf_door_out_release(c, request);
  sf_nbd_write_reply(header, request->nbd.cookie, 0);
  sf_door_out_say(c, header, sizeof header);
  c->its_long.begun = true;
  c->its_long.after = c->out.head;
}

/* When the client is gone, sf_door_long_next() ends it: it may be being sent. */
bool
sf_door_long_goes_on(struct door_connection *c, struct door_request *request) {
  struct door_long *its = &c->its_long;

  if (its->of != request)
    return false;
  if (request->error == 0 || atomic_load(&c->gone))
    return true;
  if (!its->begun) {
    its->of = NULL;
    return false;
  }
  note_failed(c, true, its->failed);
  sf_serve_tell_failed(c->door->serve, "read", request->error, its->failed_length, its->failed);
  sf_door_drop(c, "a long read fails after its answer has begun");
  return true;
}

/* ---- one after the other ---- */

static void
begin_first(struct door_connection *c) {
  struct door_request *request = c->long_first;
  const struct nbd_request *nbd = &request->nbd;
  uint64_t start = nbd->offset % sf_serve_unit(c->door->serve);
  struct door_long *its = &c->its_long;

  c->long_first = request->next;
  *its = (struct door_long){.of = request,
                            .base = nbd->offset - start,
                            .asked = start,
                            .sent = start,
                            .end = start + nbd->length};
  its->looks = has_failed_before(c, nbd, &its->failed);
}

static void
put(struct door_connection *c, struct door_request *request) {
  sf_door_out_release(c, request);
  sf_door_request_put(c, request);
}

static void
end(struct door_connection *c) {
  put(c, c->its_long.of);
  c->its_long.of = NULL;
  c->its_long.begun = false;
}

static void
drop(struct door_connection *c) {
  while (c->long_first != NULL) {
    struct door_request *request = c->long_first;

    c->long_first = request->next;
    put(c, request);
  }
  if (c->its_long.of != NULL && c->its_long.of->open == 0 && !c->sending)
    end(c);
}

void
sf_door_long_sent(struct door_connection *c) {
  const struct door_long *its = &c->its_long;

  if (!atomic_load(&c->gone) && its->of != NULL && its->sent == its->end)
    end(c);
}

void
sf_door_long_next(struct door_connection *c) {
  struct door_long *its = &c->its_long;

  if (atomic_load(&c->gone)) {
    drop(c);
    return;
  }
  if (its->of == NULL && c->long_first != NULL)
    begin_first(c);
  if (its->of == NULL)
    return;
  if (its->looks) {
    if (its->of->open == 0)
      look(c);
    return;
  }
  ask_more(c);
  if (its->of->open == 0 && its->of->error == 0 && !its->begun &&
      (its->asked == its->end || !has_room(its)))
    say_header(c);
}

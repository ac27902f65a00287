/* The ring of what a long read has read and not yet sent: where its pieces end and lie. */
#include "door/internal.h"

uint64_t
sf_door_ahead_next(const struct door_long *its, uint64_t at) {
  uint64_t next = (at / DOOR_PIECE_BYTES + 1) * DOOR_PIECE_BYTES;

  return next < its->end ? next : its->end;
}

unsigned
sf_door_ahead_slot(uint64_t at) {
  return (unsigned) (at / DOOR_PIECE_BYTES % DOOR_AHEAD_PIECES);
}

uint64_t
sf_door_ahead_there(const struct door_long *its) {
  uint64_t at = its->sent;

  while (at < its->asked && its->there[sf_door_ahead_slot(at)])
    at = sf_door_ahead_next(its, at);
  return at;
}

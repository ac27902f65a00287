/* The extents that are being copied, as data: what others ask and say of them. */
#include "volume/ground/copying.h"

#include "volume/ground/facts.h"
#include "volume/ground/scrub_state.h"
#include "volume/ground/unwritten.h"

enum {
  PUT_OFF_S = 10, /* what no source can read is tried again */
  PUT_OFF_MOST_S = 3600,
};

const struct copying *
sf_copying_find(const struct sf_volume *v, uint64_t extent) {
  for (unsigned i = 0; i < SF_COPY_EXTENTS; i++)
    if (v->copier.extent[i].active && v->copier.extent[i].extent == extent)
      return &v->copier.extent[i];
  return NULL;
}

bool
sf_copier_has_piece(const struct sf_volume *v, unsigned leg, uint64_t extent, uint64_t offset,
                    uint64_t length) {
  const struct copying *c = sf_copying_find(v, extent);
  uint64_t base = extent << v->extent_shift, end = offset + length;
  uint64_t first, last;

  if (c == NULL || c->converge || c->leg != leg)
    return false;
  first = offset > base ? (offset - base) / c->piece_bytes : 0;
  last = (end - 1 - base) / c->piece_bytes;
  for (uint64_t i = first; i <= last && i < c->pieces; i++)
    if (c->piece[i] == PIECE_DONE)
      return true;
  return false;
}

/* Extents copied to it are in its unflushed map, and so are stale again; the extents under way are
 * dropped.  It may have lost zeros that it was given. */
void
sf_copier_leg_left(struct sf_volume *v, unsigned leg) {
  sf_map_zero(&v->leg[leg].zeroed);
  EACH_COPYING(c, &v->copier) {
    c->also &= (legset) ~legbit(leg);
    if (c->active && !c->converge && c->leg == leg)
      c->failed = true;
  }
}

void
sf_copier_spoil(struct sf_volume *v, uint64_t extent) {
  struct copier *copier = &v->copier;

  sf_map_clear(&copier->copied, extent);
  sf_map_clear(&copier->flushing_copied, extent);
  EACH_COPYING(c, copier)
    if (c->active && c->converge && c->extent == extent)
      c->failed = true;
}

/* The last one, and it was not whole. */
void
sf_copier_extent_grows(struct sf_volume *v, uint64_t extent) {
  sf_copier_spoil(v, extent);
  EACH_COPYING(c, &v->copier)
    if (c->active && c->extent == extent)
      c->failed = true;
}

/* A leg that is out again may have flushed such a copy before it left. */
void
sf_copier_doubt_resync(struct sf_volume *v, uint64_t extent) {
  for (unsigned i = 0; i < v->legs; i++)
    if (sf_leg_state(&v->leg[i]) != SF_STATE_IN_SYNC)
      sf_map_set(&v->leg[i].stale, extent);
  EACH_COPYING(c, &v->copier)
    if (c->active && !c->converge && c->extent == extent)
      c->failed = true;
}

bool
sf_copier_has_converged(const struct sf_volume *v, uint64_t extent) {
  const struct copying *c = sf_copying_find(v, extent);

  return sf_map_test(&v->copier.copied, extent) ||
         sf_map_test(&v->copier.flushing_copied, extent) || (c != NULL && c->converge && c->wrote);
}

void
sf_copier_put_off(struct sf_volume *v, uint64_t extent) {
  struct copier *copier = &v->copier;

  if (copier->put_off.set == 0) {
    copier->put_off_ns = copier->put_off_ns == 0 ? PUT_OFF_S * SF_S : 2 * copier->put_off_ns;
    if (copier->put_off_ns > PUT_OFF_MOST_S * SF_S)
      copier->put_off_ns = PUT_OFF_MOST_S * SF_S;
    copier->put_off_until_ns = v->now_ns + copier->put_off_ns;
  }
  sf_map_set(&copier->put_off, extent);
}

/* Something was written there, or there is another leg to ask. */
void
sf_copier_try_again(struct sf_volume *v, uint64_t offset, uint64_t length) {
  struct copier *copier = &v->copier;
  uint64_t last = extent_of(v, offset + length - 1);

  for (uint64_t e = extent_of(v, offset); e <= last && copier->put_off.set > 0; e++)
    if (sf_map_clear(&copier->put_off, e))
      v->dirty = true;
  copier->put_off_ns = 0;
}

/* What is in doubt keeps its extent unconverged; all else of it need not wait. */
static bool
is_shown(const struct sf_volume *v, uint64_t extent, uint64_t offset, uint64_t end) {
  const struct copying *c = sf_copying_find(v, extent);
  uint64_t base = extent << v->extent_shift;

  if (c == NULL || !c->converge || c->failed || !c->shows)
    return false;
  for (uint64_t i = offset > base ? (offset - base) / c->piece_bytes : 0;
       i < c->pieces && base + i * c->piece_bytes < end; i++)
    if (c->doubt[i].failed_ns != 0)
      return false;
  return true;
}

bool
sf_vol_must_converge(const struct sf_volume *v, const struct sf_request *request) {
  uint64_t end = request->offset + request->length, last = extent_of(v, end - 1);

  if (request->kind == SF_REQ_WRITE || request->kind == SF_REQ_ZERO)
    return sf_unwritten_any(v, request->offset, request->length);
  if (request->kind != SF_REQ_READ || v->unconverged.set == 0 ||
      sf_bad_any(&v->bad.list, request->offset, end))
    return false;
  for (uint64_t e = extent_of(v, request->offset); e <= last; e++)
    if (sf_map_test(&v->unconverged, e) && !sf_map_test(&v->unwritten, e) &&
        !is_shown(v, e, request->offset, end))
      return true;
  return false;
}

static bool
is_copying(const struct sf_volume *v) {
  for (unsigned i = 0; i < SF_COPY_EXTENTS; i++)
    if (v->copier.extent[i].active)
      return true;
  return false;
}

/* Zeros that nobody waits for hold up nothing, and nothing depends on them. */
bool
sf_copier_is_copying_data(const struct sf_volume *v) {
  for (unsigned i = 0; i < SF_COPY_EXTENTS; i++)
    if (v->copier.extent[i].active && !v->copier.extent[i].zeroes)
      return true;
  return false;
}

void
sf_copier_foreground(struct sf_volume *v, uint64_t latency_ns) {
  struct copier *copier = &v->copier;
  bool busy = is_copying(v) || sf_scrub_is_looking(v);
  uint64_t *average = busy ? &copier->busy_average_ns : &copier->quiet_average_ns;

  *average = *average == 0 ? latency_ns : *average - *average / 16 + latency_ns / 16;
  v->foreground_ns = v->now_ns;
}

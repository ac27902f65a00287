/* Which extents that were never written are zeroed, and when (R17); copier.c zeroes them.
 *
 * A leg that joins is about to be one that must have the zeros too.  So none is begun while a leg
 * joins, and those under way are broken off: they begin anew with that leg.  Else clients that write
 * to ever new extents would keep it out.  Nor in the background while a scrub goes on: it passes over
 * what is unwritten, so it is done sooner than all is zeroed. */
#include "volume/change/zeroing.h"

#include "volume/ground/copying.h"
#include "volume/ground/facts.h"
#include "volume/ground/scrub_state.h"
#include "volume/ground/unwritten.h"

bool
sf_zeroing_is_due(const struct sf_volume *v, const struct sf_request *request, uint64_t extent) {
  return request->kind != SF_REQ_READ && v->joining < 0 && sf_map_test(&v->unwritten, extent) &&
         !sf_map_test(&v->unconverged, extent) && sf_copying_find(v, extent) == NULL;
}

/* A leg that lacks nothing is about to join. */
static bool
a_leg_joins(const struct sf_volume *v) {
  for (unsigned i = 0; i < v->legs; i++)
    if (sf_leg_state(&v->leg[i]) == SF_STATE_CATCHING_UP && v->leg[i].stale.set == 0)
      return true;
  return v->joining >= 0 || v->promoting >= 0;
}

bool
sf_zeroing_gives_way(const struct sf_volume *v, const struct copying *c) {
  return c->zeroes && v->parked != NULL && !sf_unwritten_is_waited_for(v, c->extent);
}

bool
sf_zeroing_next(struct sf_volume *v, uint64_t *extent) {
  struct copier *copier = &v->copier;

  if (v->unwritten.set == copier->zeroing.set || a_leg_joins(v) || sf_scrub_is_at_work(v))
    return false;
  for (unsigned round = 0; round < 2; round++, copier->zero_cursor = 0)
    for (uint64_t e = sf_map_next(&v->unwritten, copier->zero_cursor); e < v->extents;
         e = sf_map_next(&v->unwritten, e + 1))
      if (!sf_map_test(&v->unconverged, e) && sf_copying_find(v, e) == NULL) {
        copier->zero_cursor = e;
        *extent = e;
        return true;
      }
  return false;
}

bool
sf_zeroing_break_off(struct sf_volume *v) {
  struct sf_map *zeroing = &v->copier.zeroing;
  bool any = zeroing->set != 0;

  for (uint64_t e = sf_map_next(zeroing, 0); e < v->extents; e = sf_map_next(zeroing, e + 1)) {
    sf_copier_spoil(v, e);
    sf_map_clear(&v->unconverged, e);
  }
  sf_map_unite(&v->copier.counted, zeroing);
  sf_map_zero(zeroing);
  return any;
}

/* Word by word: nearly all of a large volume may be unwritten, and this is asked for each extent
 * that is copied. */
bool
sf_zeroing_drop_stale(struct sf_volume *v, struct leg *leg) {
  uint64_t lacked = leg->stale.set;

  if (lacked == 0 || v->unwritten.set == 0)
    return false;
  sf_map_subtract(&leg->stale, &v->unwritten);
  if (leg->stale.set == lacked)
    return false;
  v->dirty = true;
  return true;
}

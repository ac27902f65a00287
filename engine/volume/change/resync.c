/* Which extent a leg that catches up is given next (R15), and when before zeros (R17). */
#include "volume/change/resync.h"

#include "volume/change/zeroing.h"
#include "volume/ground/copying.h"
#include "volume/ground/facts.h"

void
sf_resync_advances(struct sf_volume *v, struct leg *leg) {
  if (leg->stale.set >= leg->resync_least)
    return;
  leg->resync_least = leg->stale.set;
  leg->resync_least_ns = v->now_ns;
}

bool
sf_resync_next(struct sf_volume *v, uint64_t *extent, unsigned *leg) {
  for (unsigned i = 0; i < v->legs; i++) {
    struct leg *l = &v->leg[i];

    if (sf_leg_state(l) != SF_STATE_CATCHING_UP)
      continue;
    if (sf_zeroing_drop_stale(v, l))
      sf_resync_advances(v, l);
    for (uint64_t e = sf_map_next(&l->stale, 0); e < v->extents; e = sf_map_next(&l->stale, e + 1))
      if ((!sf_map_test(&v->unconverged, e) || v->exchange.unheard != 0) &&
          !sf_map_test(&v->copier.put_off, e) && sf_copying_find(v, e) == NULL) {
        *extent = e;
        *leg = i;
        return true;
      }
  }
  return false;
}

unsigned
sf_resync_places(const struct sf_volume *v) {
  unsigned n = 0;

  for (unsigned i = 0; i < SF_COPY_EXTENTS; i++)
    n += v->copier.extent[i].active && !v->copier.extent[i].converge;
  return n;
}

static bool
keeps_the_greatest_rate(const struct sf_volume *v) {
  uint64_t most = v->config.resync_max_rate;

  return most == 0 || v->now_ns >= v->copier.resync_began_ns + v->extent_bytes * SF_S / most;
}

/* Clients that write to ever new extents could have all places for their zeros, and the leg would get
 * nothing for as long as they go on: so it has its places first, whatever the rate is but the
 * greatest. */
bool
sf_resync_goes_first(struct sf_volume *v, uint64_t *extent, unsigned *leg) {
  return sf_resync_places(v) == 0 && keeps_the_greatest_rate(v) && sf_resync_next(v, extent, leg);
}

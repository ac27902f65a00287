/* Writes that a leg has begun when it loses its power.  A disk promises that one sector is whole, and
 * not that: of a write in flight, or in the cache, each sector lands by itself (medium.c), and of a
 * torn one the first bytes alone are new, or it cannot be read until it is written again.
 *
 *   All legs at once, a power cut: what is torn then is one more outcome of a write that no client
 *   may rely on yet, and as lasting as the others (R11).
 *   One leg, which is reset while the set does without it: what is torn then is content that no
 *   reader may ever see.  No start trusts that leg, and it is copied to before it joins.
 *
 * What tears at a power cut is drawn with all else; the rest has a stream of its own. */
#include "sim/sim.h"

static uint64_t own_random;
static bool is_reset;

static bool
own_chance(unsigned permille) {
  return permille != 0 && random_of(&own_random) % 1000 < permille;
}

void
torn_start(void) {
  own_random = random_stream(211);
  is_reset = false;
}

void
torn_reset(struct sim_leg *leg, unsigned keep_permille) {
  is_reset = true;
  medium_lose_cache(leg, keep_permille);
  is_reset = false;
}

bool
torn_is(void) {
  if (is_reset ? own_chance(sim.options.tear_reset_permille)
               : sim.power_is_failing && random_chance(sim.options.tear_permille)) {
    COUNT(torn_sectors);
    return true;
  }
  return false;
}

uint32_t
torn_value(uint64_t block, uint32_t value, uint32_t over) {
  if (!is_reset)
    return oracle_tear(block, value, over);
  COUNT(torn_at_resets);
  return oracle_torn_alone(value);
}

/* The sector has landed, torn or whole. */
void
torn_lands(struct sim_leg *leg, uint64_t block, bool torn) {
  if (sim.options.tear_unreadable_permille == 0 || (!sim.power_is_failing && !is_reset))
    return;
  torn = torn && own_chance(sim.options.tear_unreadable_permille);
  if (torn)
    COUNT(torn_unreadable);
  medium_spoil(leg, block, torn);
}

void
torn_page(uint64_t offset) {
  if (offset < SF_PROBE_OFFSET)
    COUNT(torn_superblocks);
  else if (offset >= SF_MAPS_OFFSET && offset < SF_MARK_OFFSET)
    COUNT(torn_pages);
}

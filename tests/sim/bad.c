/* Bad ranges.  The volume may answer EIO for a block, and its legs may hold anything there, while
 * the list that goes with its record has it.  The questions about that list: a block is not in it
 * once its last write was answered, neither in the volume nor for any start; and nothing that a leg
 * holds in a block of the list is wrong. */
#include <string.h>

#include "sim/sim.h"

bool
bad_is_in(const struct sf_bad *list, uint64_t block) {
  return sf_bad_any(list, block * BLOCK, (block + 1) * BLOCK);
}

/* Of the unit of copies, no leg in sync can read all. */
static void
must_be_unreadable(uint64_t block) {
  uint64_t unit = sim.options.block_sectors, first = block - block % unit;

  for (unsigned i = 0; i < sim.options.legs; i++)
    if (sim.leg_state[i] == SF_STATE_IN_SYNC && block < sim.leg[i].blocks &&
        !medium_is_unreadable(&sim.leg[i], sim.data_offset + first * BLOCK, unit * BLOCK))
      sim_fail("block %lu is called bad, and leg %u in sync can read it", (unsigned long) block, i);
}

/* New blocks in the list of the volume count as recorded from now on: a later start may find
 * them. */
void
bad_step(void) {
  const struct sf_bad *list = inside_bad(sim.volume);

  for (unsigned i = 0; i < list->n; i++)
    for (uint64_t b = list->range[i].begin / BLOCK; b < list->range[i].end / BLOCK; b++) {
      if (sim.recorded[b])
        continue;
      COUNT(bad_recorded);
      TRACE("block %lu is called bad", (unsigned long) b);
      must_be_unreadable(b);
      sim.recorded[b] = 1;
    }
}

void
bad_written(uint64_t first, unsigned n) {
  for (uint64_t b = first; b < first + n; b++) {
    if (bad_is_in(inside_bad(sim.volume), b))
      sim_fail("a write to block %lu is answered, and it is still bad", (unsigned long) b);
    if (sim.recorded[b])
      COUNT(bad_written);
    sim.recorded[b] = 0;
  }
}

/* By a start that R12 allows. */
void
bad_started(const struct sf_bad *list) {
  for (unsigned i = 0; i < list->n && !sim.was_forced; i++)
    for (uint64_t b = list->range[i].begin / BLOCK; b < list->range[i].end / BLOCK; b++)
      if (!sim.recorded[b])
        sim_fail("a start finds block %lu bad, which was written and answered, or never was",
                 (unsigned long) b);
}

/* The volume grows.  A leg holds anything where it is new, or zeros: to the oracle these are writes
 * that failed, one for each leg, of which a reader may find any, and always the same. */
#include "sim/sim.h"

static void
put_garbage(struct sim_leg *leg, uint64_t first, uint64_t end) {
  uint32_t id = ++sim.next_id;

  oracle_write_begin(id, false, first, (unsigned) (end - first));
  for (uint64_t b = first; b < end; b++)
    leg->now[b] = leg->stable[b] = id;
  oracle_write_end(id, false, false);
  for (uint64_t b = first; b < end; b++)
    oracle_recheck(leg, b);
}

static void
make_known(uint64_t blocks) {
  uint64_t first = sim.blocks_known;

  if (blocks <= first)
    return;
  sim.blocks_known = blocks;
  for (unsigned i = 0; i < sim.options.legs; i++)
    if (random_chance(600))
      put_garbage(&sim.leg[i], first, blocks);
}

static void
lengthen(unsigned leg, uint64_t blocks) {
  if (sim.leg[leg].blocks >= blocks)
    return;
  TRACE("leg %u is %lu blocks long now", leg, (unsigned long) blocks);
  sim.leg[leg].blocks = blocks;
  trust_changed(leg);
}

/* It is opened again: was it made longer meanwhile? */
void
grow_leg_opened(unsigned leg) {
  struct sf_superblock identity;

  sf_volume_get_identity(sim.volume, &identity);
  if (sim_is_calm() || random_chance(700))
    lengthen(leg, identity.data_bytes / BLOCK);
}

void
grow_begin(void) {
  uint64_t blocks = sim.blocks + 8 * (1 + random_below(SF_EXTENT_BYTES_DEFAULT / BLOCK / 8));
  int r;

  if (sim.volume == NULL || sim.stopping)
    return;
  if (blocks > sim.blocks_room)
    blocks = sim.blocks_room;
  make_known(blocks);
  for (unsigned i = 0; i < sim.options.legs; i++) {
    enum sf_leg_state state = sim.leg_state[i];

    if (state != SF_STATE_IN_SYNC && state != SF_STATE_CATCHING_UP && state != SF_STATE_PROBING)
      continue;
    if (random_chance(950))
      lengthen(i, blocks);
    sf_volume_leg_resized(sim.volume, i, sim.data_offset + sim.leg[i].blocks * BLOCK);
  }
  r = sf_volume_grow(sim.volume, blocks * BLOCK, sim.now_ns);
  TRACE("operator: grow to %lu blocks: %d", (unsigned long) blocks, r);
}

/* It tells its clients this size: no start may forget it. */
static void
promise(uint64_t blocks) {
  sim.blocks = sim.blocks_promised = blocks;
}

void
grow_ended(void) {
  COUNT(growths);
  promise(sf_volume_size(sim.volume) / BLOCK);
}

void
grow_started(void) {
  promise(sim.blocks);
}

void
grow_assembled(const struct sf_superblock *base) {
  sim.blocks = base->data_bytes / BLOCK;
  if (!sim.force_pending && sim.blocks < sim.blocks_promised)
    sim_fail("a start with %lu blocks, and clients have seen %lu", (unsigned long) sim.blocks,
             (unsigned long) sim.blocks_promised);
  if (sim.blocks > sim.blocks_known)
    sim_fail("a start with %lu blocks, and no more than %lu were asked for",
             (unsigned long) sim.blocks, (unsigned long) sim.blocks_known);
}

/* Legs are removed and added while clients work.  A removed leg's place is empty, its disk stays
 * where it is and must never be taken for a leg, nor for the leg that is added in that place with a
 * disk of its own (replace.c says what may befall the two).  The configuration lists all of them
 * all the time: a disk that the volume does not know is not its own. */
#include "sim/sim.h"

bool
members_has(unsigned leg) {
  return sf_volume_find_leg(sim.volume, sim.config.leg[leg].name) == (int) leg;
}

static unsigned
empty_places(const struct sf_superblock *sb) {
  return sb->removed | (((1u << sim.options.legs) - 1) & ~((1u << sb->legs) - 1));
}

void
members_init(void) {
  sim.removed_promised = sim.removed_asked = empty_places(&sim.format);
}

/* Into the lowest empty place. */
void
members_add(void) {
  int place = sf_volume_free_place(sim.volume);
  unsigned index;
  struct sf_uuid uuid;
  int r;

  if (place < 0 || place >= (int) sim.options.legs || sim.leg[place].regions >= 0 ||
      tio_has_ghosts((unsigned) place))
    return;
  replace_new_uuid(&uuid);
  r = sf_volume_leg_add(sim.volume, sim.config.leg[place].name, sim.config.leg[place].path, &uuid,
                        &index, sim.now_ns);
  TRACE("operator: add leg %d: %d", place, r);
  if (r != 0)
    return;
  if ((int) index != place)
    sim_fail("a leg is added in place %u, and the next free one was %d", index, place);
  sim.removed_asked &= ~(1u << index);
  for (unsigned k = 0; k < SF_KINDS; k++)
    sim.config.leg[index].timeout_ns[k] = 0; /* the leg that stood there before had its own */
  sim_settings_changed();
  replace_disk(index, &uuid);
}

static void
remove_leg(unsigned leg) {
  int r = sf_volume_leg_remove(sim.volume, leg, sim.now_ns);

  TRACE("operator: remove leg %u: %d", leg, r);
  if (r == 0)
    sim.removed_asked |= 1u << leg;
}

void
members_act(void) {
  unsigned leg = process_leg_to_change();

  if (sim.volume == NULL || sim.stopping)
    return;
  sim.troubles++;
  if (!members_has(leg))
    members_add();
  else if (process_leg_is_out(leg))
    remove_leg(leg);
  else
    process_fail(leg);
}

/* The volume's lock is held. */
void
members_removed(unsigned leg) {
  COUNT(removals);
  sim.removed_promised |= 1u << leg;
}

void
members_added(unsigned leg) {
  COUNT(additions);
  sim.removed_promised &= ~(1u << leg);
  sim.uuid_promised[leg] = sim.uuid_asked[leg];
}

void
members_assembled(const struct sf_assembly *assembly) {
  unsigned removed = empty_places(&assembly->base);

  if (!sim.force_pending && (removed & ~(sim.removed_promised | sim.removed_asked)))
    sim_fail("a start lacks a leg that was not removed: 0x%x", removed);
  if (!sim.force_pending && (sim.removed_promised & sim.removed_asked & ~removed))
    sim_fail("a start has a leg that was removed: all but 0x%x", removed);
  for (unsigned i = 0; i < sim.options.legs; i++)
    if ((removed >> i & 1) && (assembly->current >> i & 1 || assembly->whole >> i & 1 ||
                               assembly->verdict[i] == SF_LEG_BEHIND))
      sim_fail("leg %u was removed, and is %s", i, sf_verdict_name(assembly->verdict[i]));
  sim.removed_taken = removed;
}

void
members_started(void) {
  sim.removed_promised = sim.removed_asked = sim.removed_taken;
}

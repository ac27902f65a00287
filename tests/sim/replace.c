/* A disk takes another one's place.  Each leg has two disks then, and the configuration names one
 * of them: the operator writes the new one into it once the replacement was told to be durable;
 * when the process or the power ended before, the operator can only guess, and now and then guesses
 * wrong.  A disk that is not the leg's must be refused, and the leg's own never. */
#include <string.h>

#include "sim/sim.h"

void
replace_new_uuid(struct sf_uuid *uuid) {
  *uuid = (struct sf_uuid){{0x5e}};
  for (unsigned i = 1; i < sizeof uuid->bytes; i++)
    uuid->bytes[i] = (uint8_t) random_next();
}

static bool
is_of_leg(unsigned leg, const struct sf_uuid *uuid) {
  struct sf_leg_found found;

  found_of(leg, false, false, &found);
  return found.error == 0 && sf_uuid_equal(&found.sb.leg_uuid[leg], uuid);
}

static void
take_other_disk(unsigned leg) {
  TRACE("leg %u: the other disk is named now", leg);
  medium_swap(&sim.leg[leg], &sim.other_disk[leg]);
  for (uint64_t b = 0; b < sim.blocks_known; b++)
    oracle_recheck(&sim.leg[leg], b);
  trust_changed(leg);
}

void
replace_free(void) {
  for (unsigned i = 0; i < sim.options.legs; i++)
    if (sim.has_other_disk[i])
      medium_free(&sim.other_disk[i]);
}

/* The volume has agreed to know the leg under this uuid: a disk that is emptied when it is
 * opened. */
void
replace_disk(unsigned leg, const struct sf_uuid *uuid) {
  if (!sim.has_other_disk[leg])
    medium_init(&sim.other_disk[leg], leg);
  sim.has_other_disk[leg] = true;
  sim.uuid_asked[leg] = *uuid;
  medium_lose_cache(&sim.leg[leg], (unsigned) random_below(1001));
  take_other_disk(leg);
  sim.blank[leg] = SF_BLANK_NEW;
}

void
replace_begin(unsigned leg) {
  struct sf_uuid uuid;
  int r;

  if (sim.leg[leg].regions >= 0 || tio_has_ghosts(leg) || !members_has(leg))
    return;
  replace_new_uuid(&uuid);
  r = sf_volume_leg_replace(sim.volume, leg, &uuid, NULL, sim.now_ns);
  TRACE("operator: replace leg %u: %d", leg, r);
  if (r == 0)
    replace_disk(leg, &uuid);
}

void
replace_acts(void) {
  unsigned leg = process_leg_to_change();

  if (sim.volume == NULL || sim.stopping)
    return;
  sim.troubles++;
  if (process_leg_is_out(leg))
    replace_begin(leg);
  else
    process_fail(leg);
}

/* A disk is emptied only as the volume agreed with the operator, and not before clients' starts
 * know it as the leg: else a kill could leave the leg's old disk empty. */
void
replace_opens(unsigned leg, enum sf_leg_blank blank) {
  if (blank != sim.blank[leg])
    sim_fail("leg %u: opened with %d, and the operator wants %d", leg, blank, sim.blank[leg]);
  if (blank == SF_BLANK_NEW && !sf_uuid_equal(&sim.uuid_promised[leg], &sim.uuid_asked[leg]))
    sim_fail("leg %u: emptied before its replacement is durable", leg);
}

/* The volume's lock is held. */
void
replace_is_durable(unsigned leg) {
  COUNT(replacements);
  sim.uuid_promised[leg] = sim.uuid_asked[leg];
}

/* Before a start: which disk does the configuration name?  A disk of a forced start that broke off
 * may be the only one that knows of a new line. */
void
replace_before_start(unsigned leg) {
  bool certain = sf_uuid_equal(&sim.uuid_promised[leg], &sim.uuid_asked[leg]);
  const struct sf_uuid *right =
      sim.forced_legs >> leg & 1 ? &sim.forced_uuid[leg] : &sim.uuid_promised[leg];

  if (!sim.has_other_disk[leg] || sim.leg[leg].regions >= 0 || tio_has_ghosts(leg))
    return;
  if (sim.healing ? !is_of_leg(leg, right) : random_chance(certain ? 200 : 500)) {
    medium_flush(&sim.leg[leg], sim.leg[leg].seq); /* a disk that is not named keeps its cache */
    take_other_disk(leg);
  }
}

void
replace_assembled(const struct sf_assembly *assembly) {
  for (unsigned i = 0; i < sim.options.legs; i++) {
    const struct sf_uuid *uuid = &assembly->base.leg_uuid[i];

    if (i >= assembly->base.legs)
      continue;
    if (!sim.force_pending && !sf_uuid_equal(uuid, &sim.uuid_promised[i]) &&
        !sf_uuid_equal(uuid, &sim.uuid_asked[i]))
      sim_fail("leg %u: a start knows it under a uuid that was replaced", i);
    if (!sim.force_pending &&
        (assembly->verdict[i] == SF_LEG_CURRENT || assembly->verdict[i] == SF_LEG_BEHIND) &&
        !is_of_leg(i, uuid))
      sim_fail("leg %u: is %s, and is the disk that was replaced", i,
               sf_verdict_name(assembly->verdict[i]));
    sim.uuid_taken[i] = *uuid;
  }
}

/* It serves: the disks that the start took are durable.  A start that breaks off before says
 * nothing about a replacement that was asked for earlier. */
void
replace_started(void) {
  memcpy(sim.uuid_asked, sim.uuid_taken, sizeof sim.uuid_asked);
  memcpy(sim.uuid_promised, sim.uuid_taken, sizeof sim.uuid_promised);
}

/* The operator mends the path of a leg that is not open, as it was refused; where neither disk is
 * the leg's, as one was replaced and the other never written, the operator replaces it once more.
 * True: done. */
bool
replace_mend(unsigned leg) {
  struct sf_superblock identity;

  sf_volume_get_identity(sim.volume, &identity);
  if (inside_leg_is_open(sim.volume, leg))
    return false;
  if (!sim.has_other_disk[leg] || sim.blank[leg] != SF_BLANK_NOT || sim.opening[leg] ||
      !members_has(leg) || is_of_leg(leg, &identity.leg_uuid[leg]) || sim.leg[leg].regions >= 0 ||
      tio_has_ghosts(leg))
    return false;
  medium_flush(&sim.leg[leg], sim.leg[leg].seq); /* a disk that is not named keeps its cache */
  take_other_disk(leg);
  if (is_of_leg(leg, &identity.leg_uuid[leg]))
    return false;
  replace_begin(leg);
  return true;
}

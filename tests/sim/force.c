/* Forced starts: the operator goes on with the legs that are there, and a new line of history
 * begins.  From then on the data of these legs are right, whatever was acknowledged before; and no
 * leg of another line may be trusted, until it was copied to or the operator gave it up.
 *
 * The forced start writes its first record in the new line before clients are served.  If it breaks
 * off in between it is open which line lives: the next start tells. */
#include "assembly/blank.h"
#include "sim/sim.h"

/* A leg knows so many lines before its own: a leg that was away for more is rightly taken for
 * another volume's. */
bool
force_wants(void) {
  return !sim_is_calm() && sim.options.force_permille != 0 &&
         random_chance(sim.options.force_permille) && sim.forced_starts < SF_ANCESTORS_MAX;
}

/* Is the superblock of the line that clients rely on?  An empty leg is no witness of it to a
 * start. */
bool
force_is_of_line(const struct sf_leg_found *found) {
  return found->present && found->error == 0 && !sf_leg_is_blank(&found->sb) &&
         sf_uuid_equal(&found->sb.lineage, &sim.lineage);
}

/* An operator who has forced a start does not start without any leg of that line: it could not be
 * known then that it lives.  Nor, when it broke off, without all the disks that took part: two
 * lines would begin. */
bool
force_forbids(const struct sf_leg_found *found) {
  if (!sim.was_forced)
    return false;
  for (unsigned i = 0; i < sim.options.legs && sim.force_pending; i++)
    if ((sim.forced_legs >> i & 1) &&
        (!found[i].present || found[i].error != 0 ||
         !sf_uuid_equal(&found[i].sb.leg_uuid[i], &sim.forced_uuid[i])))
      return true;
  if (sim.force_pending)
    return false;
  for (unsigned i = 0; i < sim.options.legs; i++)
    if (force_is_of_line(&found[i]))
      return false;
  return true;
}

void
force_assembled(const struct sf_assembly *assembly) {
  sim.taken = assembly->current;
  if (!assembly->forced)
    return;
  COUNT(forced_starts);
  if (sim.options.silent_storm)
    COUNT(silent_forced);
  sim.forced_starts++;
  sim.troubles++;
  sim.force_pending = sim.was_forced = true;
  sim.forced_legs |= assembly->current;
  for (unsigned i = 0; i < sim.options.legs; i++)
    if (assembly->current >> i & 1)
      sim.forced_uuid[i] = assembly->base.leg_uuid[i];
}

/* What the caches held before is on the disks, or gone, and the legs' own history ends here too:
 * not before, as a forced start that breaks off takes nothing from the old line.  The volume's lock
 * is held. */
void
force_started(void) {
  const struct sf_uuid *lineage = inside_lineage(sim.volume);

  if (sim.force_pending && !sf_uuid_equal(lineage, &sim.lineage)) {
    for (unsigned i = 0; i < sim.options.legs; i++)
      if (sim.taken >> i & 1)
        medium_lose_cache(&sim.leg[i], (unsigned) random_below(1001));
    oracle_forced(sim.taken);
  }
  sim.lineage = *lineage;
  sim.force_pending = false;
  sim.forced_legs = 0;
  trust_reset();
}

/* Legs whose superblocks are lost: overwritten while the process was down, of legs that the start can do without,
 * as they could never come back otherwise.  Their marks stay.  Whatever these say, a start is what it would be with
 * the leg absent; and what the leg holds meanwhile is not what it is when the superblocks are brought back. */
#include <errno.h>
#include <string.h>

#include "sim/sim.h"

/* By the start that would be without it now, with all others there.  The operator must want that start
 * too: where this is the last leg of the line of history that clients rely on, others may be enough
 * for a start in the line that it left, and what was acknowledged since would be gone. */
static bool
can_be_spared(unsigned leg) {
  struct sf_leg_found found[SF_LEGS_MAX] = {{0}};
  struct sf_config config = sim.config;
  struct sf_assembly assembly;
  int from[SF_LEGS_MAX];

  for (unsigned i = 0; i < sim.options.legs; i++)
    if (i != leg)
      found_of(i, false, false, &found[i]);
  if (force_forbids(found))
    return false;
  sf_assemble_file(&config, found, false, from, &assembly);
  return assembly.may_start;
}

/* Nothing of a dead process may land in the head: it would be another one than what is brought back. */
void
head_before_start(unsigned index) {
  struct sim_leg *leg = &sim.leg[index];

  if (sim_is_calm() || sim.options.behead_permille == 0 || sim.count[COUNT_starts] == 0 ||
      sim.force_pending || leg->regions >= 0 || tio_has_ghosts(index))
    return;
  if (leg->head != NULL && random_chance(50)) {
    medium_give_head_back(leg);
  } else if (leg->head == NULL && random_chance(sim.options.behead_permille) &&
             can_be_spared(index)) {
    COUNT(heads_lost);
    sim.troubles++;
    medium_behead(leg);
  }
}

/* found as the assembly got it: in the order of the file, or of the places. */
void
head_has_no_vote(const struct sf_leg_found *found, bool of_file,
                 const struct sf_assembly *assembly) {
  struct sf_leg_found without[SF_LEGS_MAX];
  struct sf_config config;
  struct sf_assembly other;
  int from[SF_LEGS_MAX];
  bool marked = false;

  for (unsigned i = 0; i < sim.options.legs; i++)
    marked = marked || found[i].marked;
  if (!marked)
    return;
  config = sim.config;
  memcpy(without, found, (of_file ? SF_LEGS_MAX : sim.options.legs) * sizeof *without);
  for (unsigned i = 0; i < sim.options.legs; i++)
    if (found[i].marked)
      without[i] = (struct sf_leg_found){.error = -ENOENT};
  if (of_file)
    sf_assemble_file(&config, without, false, from, &other);
  else
    sf_assemble(&config, without, false, &other);
  if (other.may_start != assembly->may_start || other.current != assembly->current ||
      other.whole != assembly->whole || other.recopy != assembly->recopy ||
      other.forced != assembly->forced || other.next_term != assembly->next_term ||
      other.waits_for != assembly->waits_for ||
      (other.reference < 0) != (assembly->reference < 0) ||
      (other.reference >= 0 && memcmp(&other.base, &assembly->base, sizeof other.base) != 0))
    sim_fail("a mark has a say: with it %s, without it %s", assembly->reason, other.reason);
}

void
head_assembled(const struct sf_leg_found *found) {
  for (unsigned i = 0; i < sim.options.legs; i++)
    if (found[i].marked)
      COUNT(starts_without_head);
}

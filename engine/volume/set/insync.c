/* R2: which leg must go for what it owes or has failed, and which may not (R4). */
#include "volume/set/insync.h"

#include <inttypes.h>
#include <stdio.h>

#include "volume/ground/deadline.h"
#include "volume/ground/facts.h"
#include "volume/ground/fault.h"
#include "volume/ground/flush_lost.h"
#include "volume/ground/silence.h"
#include "volume/ground/trouble.h"
#include "volume/set/leg.h"
#include "volume/set/sample.h"

unsigned
sf_insync_evidence(struct sf_volume *v, const struct miss *miss) {
  legset legs =
      miss->witnesses & (legset) ~(legbit(miss->leg) | sf_flush_failure_lacking(v, miss->leg));

  SF_ASSERT((miss->witnesses & (legset) ~sf_insync_legs(v)) == 0);
  return legcount(miss->failed ? legs : sf_insync_witnesses(v, miss->leg, miss->kind, legs));
}

enum sf_leg_state
sf_insync_becomes(const struct miss *miss) {
  return miss->failed ? sf_leg_state_for(miss->error) : SF_STATE_LATE;
}

/* One that keeps a request, and has nothing else just now, is no evidence, and would stay none.  So it
 * is asked for something: again after each grace, as its first answer may end a stall of all. */
static void
ask_the_doubted(struct sf_volume *v, const struct miss *miss) {
  EACH_LEG(leg, sf_insync_doubted(v, miss->leg, miss->kind, miss->witnesses)) {
    sf_probe_sample(v, leg);
  }
}

/* No leg leaves the set while fewer than min_legs of the others have what it lacks. */
void
sf_insync_judge(struct sf_volume *v, const struct miss *miss) {
  unsigned evidence = sf_insync_evidence(v, miss);

  if (!(sf_insync_legs(v) & legbit(miss->leg)))
    sf_leg_fall_back(v, miss->leg, sf_insync_becomes(miss), miss->reason);
  else if (evidence >= v->min_legs && sf_leg_can_leave(v, miss->leg))
    sf_leg_demote(v, miss->leg, sf_insync_becomes(miss), miss->reason);
  else if (miss->failed)
    sf_leg_trouble(v, miss->leg, miss->reason);
  else if (evidence < v->min_legs)
    ask_the_doubted(v, miss);
}

/* An overdue request of this leg alone. */
static const struct leg_io_part *
overdue_alone(const struct leg *leg) {
  for (const struct sf_list *l = leg->outstanding.next; l != &leg->outstanding; l = l->next) {
    const struct leg_io_part *part = SF_LIST_ENTRY(l, struct leg_io_part, link);

    if (part->overdue && !part->io->args.unjudged && (part->io->reads || part->io->args.alone))
      return part;
  }
  return NULL;
}

/* A sample is read from beside the data: then it is where that is on the leg. */
static uint64_t
volume_offset(const struct sf_volume *v, const struct leg_io_part *part) {
  uint64_t offset = part->io->args.offset;

  return offset >= v->data_offset ? offset - v->data_offset : offset;
}

void
sf_insync_settle(struct sf_volume *v) {
  char reason[128];

  EACH_LEG(leg, sf_insync_legs(v)) {
    const struct leg_io_part *part;

    if (v->leg[leg].overdue_n == 0)
      continue;
    part = overdue_alone(&v->leg[leg]);
    if (part == NULL || !sf_leg_can_leave(v, leg) ||
        !sf_insync_leg_hangs(v, leg, part->io->args.kind) ||
        !sf_insync_leg_is_alone(v, leg, part->sent_ns))
      continue;
    snprintf(reason, sizeof reason, "%s at %" PRIu64 " not answered in %" PRIu64 " ms",
             part->io->reads ? "read" : "repair", volume_offset(v, part),
             sf_deadline_of(v, leg, part->io->args.kind) / SF_MS);
    sf_leg_demote(v, leg, SF_STATE_LATE, reason);
  }
}

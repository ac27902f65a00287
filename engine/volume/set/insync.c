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

enum { ASK_MS = 50 }; /* from one time that a witness is asked for its word to the next */

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

void
sf_insync_ask(struct sf_volume *v, legset legs) {
  EACH_LEG(leg, legs) {
    if (v->now_ns < v->leg[leg].ask_at_ns)
      continue;
    v->leg[leg].ask_at_ns = v->now_ns + ASK_MS * SF_MS;
    sf_probe_sample(v, leg);
    if (sf_probe_is_awaited(v, leg))
      v->word_wanted |= legbit(leg);
  }
}

/* One that fails what it is asked now would be alone in the set, and the record that says so would
 * wait for it for ever, while the other leg may be well again soon. */
static legset
not_in_trouble(const struct sf_volume *v, legset legs) {
  EACH_LEG(leg, legs) {
    if (v->leg[leg].troubled_ns != 0)
      legs &= (legset) ~legbit(leg);
  }
  return legs;
}

static legset
heard_since(const struct sf_volume *v, legset legs, uint64_t since_ns) {
  EACH_LEG(leg, legs) {
    if (v->leg[leg].heard_ns < since_ns)
      legs &= (legset) ~legbit(leg);
  }
  return legs;
}

static bool
leaves_for(struct sf_volume *v, const struct miss *miss) {
  if (sf_insync_evidence(v, miss) < v->min_legs || !sf_leg_can_leave(v, miss->leg))
    return false;
  sf_leg_demote(v, miss->leg, sf_insync_becomes(miss), miss->reason);
  return true;
}

/* Whatever made one leg fail may have taken the others with it, and their errors take longer.  So it
 * leaves when these have answered since; where none does, nothing is known, and it stays. */
static void
judge_blamed(struct sf_volume *v, unsigned index) {
  struct blame blame = v->leg[index].blame;
  legset witnesses = not_in_trouble(v, blame.witnesses & sf_insync_legs(v));
  legset silent = witnesses & (legset) ~heard_since(v, witnesses, blame.since_ns);
  struct miss miss = {.leg = index,
                      .kind = blame.kind,
                      .failed = true,
                      .error = blame.error,
                      .witnesses = witnesses & (legset) ~silent,
                      .reason = blame.reason};

  if ((sf_insync_legs(v) & legbit(index)) && !leaves_for(v, &miss)) {
    if ((silent & v->word_wanted) != 0)
      return;
    sf_leg_trouble(v, index, blame.reason);
  }
  v->leg[index].blame.since_ns = 0;
}

static void
blame(struct sf_volume *v, const struct miss *miss) {
  struct blame *blame = &v->leg[miss->leg].blame;

  if (blame->since_ns == 0) {
    *blame = (struct blame){.since_ns = v->now_ns,
                            .witnesses = miss->witnesses & (legset) ~legbit(miss->leg),
                            .kind = miss->kind,
                            .error = miss->error};
    snprintf(blame->reason, sizeof blame->reason, "%s", miss->reason);
    sf_insync_ask(v, blame->witnesses & (legset) ~heard_since(v, blame->witnesses, v->now_ns));
  }
  judge_blamed(v, miss->leg);
}

/* No leg leaves the set while fewer than min_legs of the others have what it lacks, and answer. */
void
sf_insync_judge(struct sf_volume *v, const struct miss *miss) {
  struct miss known = *miss;

  if (!(sf_insync_legs(v) & legbit(miss->leg))) {
    sf_leg_fall_back(v, miss->leg, sf_insync_becomes(miss), miss->reason);
    return;
  }
  if (miss->failed) {
    if (sf_insync_evidence(v, miss) >= v->min_legs && sf_leg_can_leave(v, miss->leg))
      blame(v, miss);
    else
      sf_leg_trouble(v, miss->leg, miss->reason);
    return;
  }
  known.witnesses = not_in_trouble(v, miss->witnesses);
  if (leaves_for(v, &known) || sf_insync_evidence(v, &known) >= v->min_legs)
    return;
  ask_the_doubted(v, &known);
  sf_insync_ask(v, miss->witnesses & (legset) ~(known.witnesses | legbit(miss->leg)));
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

  for (unsigned i = 0; i < v->legs; i++)
    if (v->leg[i].blame.since_ns != 0)
      judge_blamed(v, i);
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

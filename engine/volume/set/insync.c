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

enum { BLAME_S = 60 };

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

static bool
leaves_for(struct sf_volume *v, const struct miss *miss) {
  if (sf_insync_evidence(v, miss) < v->min_legs || !sf_leg_can_leave(v, miss->leg))
    return false;
  sf_leg_demote(v, miss->leg, sf_insync_becomes(miss), miss->reason);
  return true;
}

/* ---- legs that fail ---- */

/* Those that have answered since, and after whose own trouble the leg has failed it once more: what
 * made it fail may have taken them with it, and be over. */
static legset
have_said_so(const struct sf_volume *v, unsigned index) {
  const struct leg *leg = &v->leg[index];
  legset set = 0;

  EACH_LEG(i, leg->blame.witnesses & sf_insync_legs(v)) {
    const struct leg *witness = &v->leg[i];

    if (witness->heard_ns >= leg->blame.since_ns && leg->error_ns >= witness->well_ns &&
        witness->troubled_ns == 0)
      set |= legbit(i);
  }
  return set;
}

/* It is well again, or will not fail that again; or a leg that had what it lacks has left, and may
 * have got that from it since. */
static bool
is_over(const struct sf_volume *v, unsigned index) {
  const struct leg *leg = &v->leg[index];

  return ((leg->blame.witnesses | legbit(index)) & (legset) ~sf_insync_legs(v)) != 0 ||
         (leg->troubled_ns == 0 && sf_fault_passes(leg->blame.error)) ||
         v->now_ns - leg->blame.last_ns >= BLAME_S * SF_S;
}

bool
sf_insync_is_blamed(const struct sf_volume *v, unsigned index) {
  const struct blame *blame = &v->leg[index].blame;

  return blame->since_ns != 0 && (blame->witnesses & v->word_wanted & sf_insync_legs(v)) != 0;
}

static void
judge_blamed(struct sf_volume *v, unsigned index) {
  struct leg *leg = &v->leg[index];
  const struct blame blame = leg->blame;
  struct miss miss = {.leg = index,
                      .kind = blame.kind,
                      .offset = blame.offset,
                      .failed = true,
                      .error = blame.error,
                      .witnesses = have_said_so(v, index),
                      .reason = blame.reason};

  if (is_over(v, index) || leaves_for(v, &miss))
    leg->blame.since_ns = 0;
  else if (!sf_insync_is_blamed(v, index) && leg->troubled_ns != 0)
    sf_leg_trouble(v, index, blame.reason);
}

static void
blame(struct sf_volume *v, const struct miss *miss) {
  struct blame *blame = &v->leg[miss->leg].blame;

  if (blame->since_ns == 0 || is_over(v, miss->leg))
    blame->since_ns = v->now_ns;
  blame->last_ns = v->now_ns;
  blame->witnesses = miss->witnesses & (legset) ~legbit(miss->leg);
  blame->kind = miss->kind;
  blame->offset = miss->offset;
  blame->error = miss->error;
  snprintf(blame->reason, sizeof blame->reason, "%s", miss->reason);
  sf_probe_ask_for_word(v, blame->witnesses & (legset) ~have_said_so(v, miss->leg));
  judge_blamed(v, miss->leg);
}

/* Whatever made a leg fail may have taken the others with it, and their errors take longer.  It
 * would leave by the word of a leg that is dead, and the record of that wait for the dead one for
 * ever, while the leg may be well again soon. */
static void
judge_failed(struct sf_volume *v, const struct miss *miss) {
  if (sf_insync_evidence(v, miss) >= v->min_legs && sf_leg_can_leave(v, miss->leg))
    blame(v, miss);
  else
    sf_leg_trouble(v, miss->leg, miss->reason);
}

static void
judge_late(struct sf_volume *v, const struct miss *miss) {
  struct miss known = *miss;

  EACH_LEG(leg, miss->witnesses) {
    if (sf_leg_fails(v, leg))
      known.witnesses &= (legset) ~legbit(leg);
  }
  if (leaves_for(v, &known) || sf_insync_evidence(v, &known) >= v->min_legs)
    return;
  ask_the_doubted(v, &known);
  sf_probe_ask_for_word(v, miss->witnesses & (legset) ~(known.witnesses | legbit(miss->leg)));
}

/* No leg leaves the set while fewer than min_legs of the others have what it lacks, and answer. */
void
sf_insync_judge(struct sf_volume *v, const struct miss *miss) {
  if (v->phase == PHASE_STOPPED)
    return;
  if (!(sf_insync_legs(v) & legbit(miss->leg)))
    sf_leg_fall_back(v, miss->leg, sf_insync_becomes(miss), miss->reason);
  else if (miss->failed)
    judge_failed(v, miss);
  else
    judge_late(v, miss);
}

/* ---- legs that owe what they alone were asked ---- */

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

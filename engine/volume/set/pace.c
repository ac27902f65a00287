/* Does one leg in sync hold clients back by its pace alone?  (R1 waits for the slowest, and a leg
 * that is slow for long but within its deadline misses nothing.)
 *
 * In each write and flush of a client, the time between the answers of the last leg but one and the
 * last is the last leg's cost.  Over a period, the time that clients waited, divided by that time
 * less the leg's cost, is how many times longer they waited for its sake.  Three periods of 10 s in
 * a row above `slow_factor`, and it is told; with `slow_leg = leave` it leaves, and is kept out
 * until its probes are answered as fast as those that it was compared with: in the time that
 * clients waited without it, times the factor. */
#include "volume/set/pace.h"

#include <inttypes.h>
#include <stdio.h>

#include "volume/ground/facts.h"
#include "volume/ground/host.h"
#include "volume/set/leg.h"

enum {
  PERIOD_S = 10,
  PERIODS = 3,
  ANSWERS_LEAST = 16, /* a period with fewer goes on */
  LIMIT_LEAST_MS = 1, /* a shorter one does no harm */
};

void
sf_pace_note(struct sf_op *op, unsigned leg) {
  struct sf_volume *v = op->volume;

  if (op->kind->reads || op->kind->copies || op->request == NULL || op->request->internal ||
      !(v->ack_legs & legbit(leg)))
    return;
  if ((op->pending & v->ack_legs) != 0) {
    op->paced_ns = v->now_ns;
  } else if (op->paced_ns != 0 && (op->overdue | op->failed) == 0) {
    uint64_t before = op->paced_ns > op->started_ns ? op->paced_ns : op->started_ns;

    v->pace.answers++;
    v->pace.waited_ns += v->now_ns - op->started_ns;
    v->leg[leg].pace.alone_ns += v->now_ns - before;
  }
}

static void
describe(const struct leg *leg, char *text, size_t size) {
  snprintf(text, size, "holds clients back %u.%u x", leg->pace.tenths / 10, leg->pace.tenths % 10);
}

static void
tell(struct sf_volume *v, unsigned index, bool slow) {
  struct leg *leg = &v->leg[index];
  char text[64];

  if (leg->pace.slow == slow)
    return;
  leg->pace.slow = slow;
  describe(leg, text, sizeof text);
  if (slow)
    sf_vol_event(v, SF_EVENT_LEG_SLOW, (int) index, "", "slow", text);
  else
    sf_vol_event(v, SF_EVENT_LEG_SLOW, (int) index, "slow", "", "keeps pace again");
}

static void
take_out(struct sf_volume *v, unsigned index, uint64_t others_ns) {
  struct leg *leg = &v->leg[index];
  char text[64];

  leg->pace.limit_ns = v->config.slow_factor * others_ns;
  if (leg->pace.limit_ns < LIMIT_LEAST_MS * SF_MS)
    leg->pace.limit_ns = LIMIT_LEAST_MS * SF_MS;
  describe(leg, text, sizeof text);
  sf_leg_demote(v, index, SF_STATE_LATE, text);
  leg->penalty.waited_ns = PERIODS * PERIOD_S * SF_S; /* for so long it has cost */
}

static void
judge(struct sf_volume *v, unsigned index) {
  struct leg *leg = &v->leg[index];
  uint64_t waited = v->pace.waited_ns, others = waited - leg->pace.alone_ns;
  double ratio = others == 0 ? 1 : (double) waited / (double) others;

  if (ratio <= v->config.slow_factor) {
    leg->pace.periods = 0;
    tell(v, index, false);
    return;
  }
  leg->pace.tenths = ratio < 1e6 ? (unsigned) (10 * ratio) : 10000000;
  if (++leg->pace.periods < PERIODS)
    return;
  tell(v, index, true);
  if (v->config.slow_leg == SF_SLOW_LEAVE && sf_leg_can_leave(v, index))
    take_out(v, index, others / v->pace.answers);
}

void
sf_pace_tick(struct sf_volume *v) {
  if (v->pace.until_ns == 0)
    v->pace.until_ns = v->now_ns + PERIOD_S * SF_S;
  if (v->now_ns < v->pace.until_ns || v->pace.answers < ANSWERS_LEAST)
    return;
  for (unsigned i = 0; i < v->legs; i++) {
    struct leg *leg = &v->leg[i];

    if (sf_leg_state(leg) == SF_STATE_IN_SYNC)
      judge(v, i);
    leg->pace.alone_ns = 0;
  }
  v->pace.answers = 0;
  v->pace.waited_ns = 0;
  v->pace.until_ns = v->now_ns + PERIOD_S * SF_S;
}

/* Of a leg that left for its pace. */
bool
sf_pace_is_kept(const struct sf_volume *v, unsigned leg, uint64_t latency_ns) {
  uint64_t limit = v->leg[leg].pace.limit_ns;

  return limit == 0 || latency_ns <= limit;
}

void
sf_pace_reason(const struct sf_volume *v, unsigned leg, char *text, size_t size) {
  if (sf_leg_state(&v->leg[leg]) == SF_STATE_IN_SYNC && v->leg[leg].pace.slow && text[0] == '\0')
    describe(&v->leg[leg], text, size);
}

/* How long a leg that was away is kept out (R14): in proportion to what its absences have cost
 * lately.
 *
 * Each absence is charged with its length and with the deadline that clients waited for it, and the
 * charges fade by half in 30 seconds: the decaying penalty of BGP route flap damping (RFC 2439,
 * 4.2).  Not its thresholds: they keep a leg out for minutes that was away once, and a volume is
 * worth more with that leg than without it.  Instead the leg has to be seen well for one and a half
 * times the remembered charges.  The probes that see it cost clients nothing, so a leg that goes on
 * stalling is caught by them and charged again, and a leg that was away once returns soon:
 *
 *   0.2 s every 20 s   remembered 0.5 s, kept out for 0.8 s: in sync for more than nine tenths of
 *                      the time
 *   5 s every 10 s     kept out for 7.5 s after the first: it stalls before, and costs no second
 *                      deadline
 *   an hour, once      counts like 5 s, so 7.5 s
 *
 * A doubling back-off, which this replaces, knew how often and not for how long: the first of these
 * legs was in sync for half the time, the second hurt five times before it was kept out for long
 * enough. */
#include "volume/ground/penalty.h"

#include <inttypes.h>
#include <stdio.h>

#include "volume/ground/deadline.h"
#include "volume/ground/facts.h"

enum {
  HALF_LIFE_S = 30,
  ABSENCE_MOST_S = 5,     /* a longer one says no more of the next */
  REMEMBERED_MOST_S = 20, /* so that it is kept out for 30 s at most */
  KEEP_PER_CENT = 150,
  KEEP_LEAST_MS = 200,
  FAILED_LEAST_MS = 500, /* a probe that failed, however soon */
  RETRY_MOST_S = 5,
  FORGOTTEN_MS = 50, /* remembered less than this: its absences are counted anew */
  TELL_FROM_MS = 2000,
};

/* By half in each half-life, and in a straight line between: within 6 % of the exponential. */
static uint64_t
faded(uint64_t ns, uint64_t age_ns) {
  const uint64_t half_life = HALF_LIFE_S * SF_S;
  uint64_t halves = age_ns / half_life;

  if (halves >= 63)
    return 0;
  ns >>= halves;
  return ns - (uint64_t) ((double) ns * (double) (age_ns % half_life) / (2.0 * (double) half_life));
}

static uint64_t
at_most(uint64_t ns, uint64_t most_ns) {
  return ns < most_ns ? ns : most_ns;
}

/* A leg that left the set has kept clients waiting for a deadline, or made a record necessary at
 * least. */
void
sf_penalty_moved(struct sf_volume *v, unsigned index, enum sf_leg_state from) {
  struct penalty *penalty = &v->leg[index].penalty;
  enum sf_leg_state to = sf_leg_state(&v->leg[index]);

  if (to == SF_STATE_FAULTY) /* only the operator takes it back, and knows better */
    *penalty = (struct penalty){0};
  if (from == SF_STATE_FAULTY || (to != SF_STATE_LATE && to != SF_STATE_MISSING) || penalty->away)
    return;
  penalty->away = true;
  penalty->away_ns = v->now_ns;
  penalty->waited_ns = from == SF_STATE_IN_SYNC ? sf_deadline_timeout(v, index, SF_WRITE_KIND) : 0;
  penalty->probe_failed = from == SF_STATE_PROBING;
}

void
sf_penalty_was_well(struct sf_volume *v, unsigned index) {
  v->leg[index].penalty.away = false;
}

static void
charge(const struct sf_volume *v, struct penalty *penalty) {
  uint64_t cost = at_most(penalty->waited_ns + v->now_ns - penalty->away_ns, ABSENCE_MOST_S * SF_S);

  if (penalty->probe_failed && cost < FAILED_LEAST_MS * SF_MS)
    cost = FAILED_LEAST_MS * SF_MS;
  penalty->remembered_ns = at_most(penalty->remembered_ns + cost, REMEMBERED_MOST_S * SF_S);
  penalty->away = false;
  if (penalty->absences++ == 0)
    penalty->first_ns = penalty->away_ns;
}

/* It is tried at once, unless it has just shown that this is too soon. */
void
sf_penalty_back(struct sf_volume *v, unsigned index) {
  struct penalty *penalty = &v->leg[index].penalty;

  penalty->remembered_ns = faded(penalty->remembered_ns, v->now_ns - penalty->charged_ns);
  penalty->charged_ns = v->now_ns;
  if (penalty->remembered_ns < FORGOTTEN_MS * SF_MS)
    penalty->absences = 0;
  if (penalty->away)
    charge(v, penalty);
  penalty->keep_ns = penalty->remembered_ns / 100 * KEEP_PER_CENT;
  if (penalty->keep_ns < KEEP_LEAST_MS * SF_MS)
    penalty->keep_ns = KEEP_LEAST_MS * SF_MS;
  penalty->well_ns = 0;
  v->leg[index].probe_at_ns = v->now_ns;
  if (penalty->probe_failed)
    v->leg[index].probe_at_ns += at_most(2 * penalty->remembered_ns, RETRY_MOST_S * SF_S);
  penalty->probe_failed = false;
}

void
sf_penalty_seen_well(struct sf_volume *v, unsigned index) {
  struct penalty *penalty = &v->leg[index].penalty;

  if (penalty->well_ns == 0)
    penalty->well_ns = v->now_ns;
}

void
sf_penalty_seen_unwell(struct sf_volume *v, unsigned index) {
  v->leg[index].penalty.well_ns = 0;
}

uint64_t
sf_penalty_left(const struct sf_volume *v, unsigned index) {
  const struct penalty *penalty = &v->leg[index].penalty;
  uint64_t seen = penalty->well_ns == 0 ? 0 : v->now_ns - penalty->well_ns;

  return penalty->keep_ns - at_most(seen, penalty->keep_ns);
}

void
sf_penalty_reason(const struct sf_volume *v, unsigned index, char *text, size_t size) {
  const struct leg *leg = &v->leg[index];
  const struct penalty *penalty = &leg->penalty;
  uint64_t left = sf_penalty_left(v, index), since = v->now_ns - penalty->first_ns;
  int n = snprintf(text, size, "%s", leg->reason);

  if (v->now_ns < leg->room_at_ns && n >= 0 && (size_t) n < size) {
    snprintf(text + n, size - (size_t) n, "; it is tried again in %" PRIu64 " s",
             (leg->room_at_ns - v->now_ns + SF_S - 1) / SF_S);
    return;
  }
  if (penalty->keep_ns < TELL_FROM_MS * SF_MS || left == 0 || n < 0 || (size_t) n >= size)
    return;
  text += n;
  size -= (size_t) n;
  n = snprintf(text, size, "%skept out until it has answered for %" PRIu64 " s more",
               n > 0 ? "; " : "", (left + SF_S - 1) / SF_S);
  if (penalty->absences > 1 && n > 0 && (size_t) n < size)
    snprintf(text + n, size - (size_t) n, ": it was away %u times in the last %" PRIu64 " %s",
             penalty->absences, since < 120 * SF_S ? (since + SF_S - 1) / SF_S : since / SF_S / 60,
             since < 120 * SF_S ? "s" : "min");
}

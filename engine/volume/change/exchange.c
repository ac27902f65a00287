/* A leg of the set answers nothing, and without it too few would be left (R2): it cannot leave, and
 * what it owes keeps the others out that could take its place, as a join waits for every leg of the
 * set.  So while a leg catches up, the silent one counts as *unheard* (reading 14 of the rules):
 *
 *   copies pass what waits for it alone; nothing is converged, and it is no source;
 *   a join does without it: what drains, and the flush, are those of the others;
 *   the record of the join names the newcomer instead of it (record.c), and is not asked of it.
 *
 * A record that leaves others out and waits for the silent leg comes before all of that: the leg may
 * hold one that names them, and the last one counts without its word when enough of them have it.
 *
 * Nothing is answered without it before that record is durable.  When it is, the leg has left like
 * any that is late.  Until the record is sent its first word ends all of this, and so does whatever
 * makes one of the others less than sound. */
#include "volume/change/exchange.h"

#include "volume/change/zeroing.h"
#include "volume/ground/deadline.h"
#include "volume/ground/facts.h"
#include "volume/ground/flush_lost.h"
#include "volume/ground/host.h"
#include "volume/ground/silence.h"
#include "volume/ops/copy_end.h"
#include "volume/ops/suspend.h"
#include "volume/set/leg.h"
#include "volume/set/record.h"
#include "volume/set/sample.h"

enum {
  UNHEARD_S = 5,
  FLUSHES = 2, /* deadlines of the slowest flush */
};

/* ---- may a leg be exchanged ---- */

static uint64_t
unheard_after_ns(const struct sf_volume *v) {
  uint64_t flushes = FLUSHES * sf_deadline_longest(v, SF_FLUSH_KIND);

  return flushes > UNHEARD_S * SF_S ? flushes : UNHEARD_S * SF_S;
}

static bool
a_leg_comes(const struct sf_volume *v) {
  for (unsigned i = 0; i < v->legs; i++)
    if (sf_leg_state(&v->leg[i]) == SF_STATE_CATCHING_UP || v->leg[i].ready)
      return true;
  return false;
}

/* A start needs every leg of such a set (R12), so it cannot do without the ones that hold the record
 * that goes on without a leg.  One leg of a larger set leaves by itself. */
static bool
is_least(const struct sf_volume *v, legset set) {
  return v->latest.min_legs == v->min_legs && legcount(set) >= 2 && legcount(set) <= v->min_legs;
}

static bool
all_else_is_well(const struct sf_volume *v) {
  return v->phase == PHASE_SERVING && !v->taken && sf_flush_failure_legs(v) == 0;
}

static bool
may_exchange(const struct sf_volume *v) {
  legset set = v->durable.in_sync, newcomer = 0;

  if (v->promoting >= 0)
    newcomer = legbit((unsigned) v->promoting);
  return a_leg_comes(v) && all_else_is_well(v) && v->latest.in_sync == (set | newcomer) &&
         is_least(v, set);
}

/* Since it fell silent, each of the others has done something; what has not been asked is. */
static bool
others_answer(struct sf_volume *v, unsigned unheard) {
  legset others = sf_insync_legs(v) & (legset) ~legbit(unheard);
  uint64_t since_ns = v->now_ns - sf_insync_silent_ns(v, unheard);
  bool all = sf_insync_witnesses(v, unheard, SF_WRITE_KIND, others) == others;

  EACH_LEG(leg, others) {
    if (v->leg[leg].troubled_ns != 0)
      all = false;
    if (v->leg[leg].heard_ns >= since_ns)
      continue;
    all = false;
    sf_probe_sample(v, leg);
  }
  return all;
}

/* It may be all that a promotion waits for. */
static bool
others_have_the_record(const struct sf_volume *v, unsigned unheard) {
  EACH_LEG(leg, v->latest.in_sync & (legset) ~legbit(unheard))
    if (v->leg[leg].meta.done != v->version)
      return false;
  return true;
}

/* ---- its beginning and its end ---- */

/* What was copied from it and is not flushed there is copied again.  A convergence would wait for
 * it: the extents are converged by the legs that stay, when it has left. */
static void
begin(struct sf_volume *v, unsigned leg) {
  struct copier *copier = &v->copier;

  sf_vol_trace(v, "leg %u is unheard", leg);
  v->exchange.unheard = legbit(leg);
  v->exchange.since_ns = v->now_ns;
  v->dirty = true;
  (void) sf_zeroing_break_off(v);
  sf_map_zero(&copier->copied);
  EACH_COPYING(c, copier)
    if (c->active && c->converge)
      c->failed = true;
  if (v->promoting >= 0)
    return; /* the newcomer was flushed together with it */
  sf_leg_doubt_copies(v, leg);
  if (v->joining >= 0)
    sf_record_drop_newcomer(v);
}

static void
end(struct sf_volume *v, const char *how) {
  sf_vol_trace(v, "leg %d: %s", __builtin_ctz(v->exchange.unheard), how);
  v->exchange.unheard = 0;
  v->dirty = true;
  sf_op_resend_passed(v);
}

static void
call_off(struct sf_volume *v) {
  end(v, "it is not exchanged");
  if (v->joining >= 0 && v->promoting < 0)
    sf_record_drop_newcomer(v);
}

static void
look(struct sf_volume *v) {
  EACH_LEG(leg, v->durable.in_sync) {
    if (sf_insync_silent_ns(v, leg) < unheard_after_ns(v) || !may_exchange(v) ||
        !others_answer(v, leg))
      continue;
    if (v->promoting >= 0 && !others_have_the_record(v, leg))
      continue;
    begin(v, leg);
    return;
  }
}

/* What it leaves out cannot come before that record is durable, so none has to come yet. */
static void
look_at_left_out(struct sf_volume *v) {
  if (sf_record_left_out(v) == 0 || v->promoting >= 0)
    return;
  EACH_LEG(leg, sf_insync_legs(v) & (legset) ~v->exchange.unasked) {
    if (sf_insync_silent_ns(v, leg) < unheard_after_ns(v) || !all_else_is_well(v) ||
        !is_least(v, v->latest.in_sync) || !others_answer(v, leg) ||
        !others_have_the_record(v, leg))
      continue;
    sf_vol_trace(v, "leg %u is not waited for: the record is to be on 0x%x", leg,
                 sf_record_left_out(v));
    sf_record_spare(v, leg);
    return;
  }
}

/* ---- while it is unheard ---- */

/* Whether the others answer is asked at the beginning only: a flush that is slow on one of them
 * would begin all anew, again and again. */
static bool
is_still_unheard(const struct sf_volume *v) {
  unsigned leg = (unsigned) __builtin_ctz(v->exchange.unheard);

  return v->leg[leg].judged_n > 0 && v->leg[leg].answered_ns <= v->exchange.since_ns &&
         (v->latest.in_sync & legbit(leg)) && may_exchange(v);
}

static bool
hangs(const struct sf_volume *v, const struct sf_op *op) {
  return op->kind->copies && op->copy != NULL && (op->pending & v->exchange.unheard) != 0;
}

/* They hold their extents. */
static void
end_copies(struct sf_volume *v) {
  bool again = true;

  while (again) {
    again = false;
    EACH_ACTIVE(op, v)
      if (hangs(v, op)) {
        sf_copy_end(op, COPY_FAILED);
        again = true;
        break;
      }
  }
}

void
sf_exchange_settle(struct sf_volume *v) {
  legset unheard = v->exchange.unheard;

  if (v->exchange.leaving != 0)
    return; /* the record is on its way: a word comes too late */
  look_at_left_out(v);
  if (unheard != 0 && (v->durable.in_sync & unheard) == 0)
    end(v, "another leg has its place");
  else if (unheard != 0 && !is_still_unheard(v))
    call_off(v);
  if (v->exchange.unheard == 0 && a_leg_comes(v))
    look(v);
  if (v->exchange.unheard == 0)
    return;
  end_copies(v);
  sf_op_pass_unheard(v);
  if (v->promoting >= 0)
    sf_record_exchange(v, (unsigned) v->promoting, (unsigned) __builtin_ctz(v->exchange.unheard));
}

/* The end of a catch-up (reading 3 of the rules).  Its stale map is empty; then, in this order:
 *   carry   every page of the maps is written to it;
 *   drain   answers need the leg from now on, and earlier requests in flight have ended; by then
 *           the pages that changed meanwhile are there too;
 *   flush   all that it holds is stable there;
 *   record  the promotion is written to every leg of the new set; durable, the leg is in sync.
 * A miss at any step leads back to late; a change of the set in between undoes the promotion. */
#include "volume/change/join.h"

#include "volume/change/zeroing.h"
#include "volume/ground/facts.h"
#include "volume/ground/steps.h"
#include "volume/ops/own_flush.h"
#include "volume/ops/suspend.h"
#include "volume/set/flush_failure.h"
#include "volume/set/map_pages.h"
#include "volume/set/record.h"

enum {
  WAIT_LEAST_MS = 100, /* from an attempt that failed to the next */
  WAIT_MOST_MS = 8000,
};

/* ---- when it is tried again ---- */

/* The legs whose flush a join needs, but for the newcomer's. */
static legset
needed(const struct sf_volume *v) {
  return sf_insync_legs(v) & (legset) ~v->exchange.unheard;
}

static void
put_off(struct sf_volume *v, uint64_t ns) {
  v->join_wait.needed = needed(v);
  v->join_wait.until_ns = v->now_ns + ns;
}

static bool
is_put_off(const struct sf_volume *v) {
  return v->now_ns < v->join_wait.until_ns && v->join_wait.needed == needed(v);
}

/* An error is another leg's: were it the newcomer's, that had left, and the flush did without it.  It
 * may be there again as long as the legs are the same.  An attempt that broke zeros off, for which
 * first writes may wait (R17), is to leave them the time before the next; any other one costs
 * nothing, and may be the one that goes well. */
static void
flush_ended(struct sf_volume *v, int error) {
  struct join_wait *wait = &v->join_wait;
  bool in_a_row = wait->ns != 0 && wait->broke_off && wait->needed == needed(v);

  if (error == 0) {
    wait->ns = 0;
    return;
  }
  wait->ns = in_a_row ? 2 * wait->ns : WAIT_LEAST_MS * SF_MS;
  if (wait->ns > WAIT_MOST_MS * SF_MS)
    wait->ns = WAIT_MOST_MS * SF_MS;
  put_off(v, wait->ns);
}

static void
attempt_begins(struct sf_volume *v) {
  struct join_wait *wait = &v->join_wait;

  if (v->now_ns >= wait->until_ns + WAIT_MOST_MS * SF_MS)
    wait->ns = 0; /* a failure of long ago says nothing of this one */
  wait->broke_off = sf_zeroing_break_off(v);
}

/* ---- its steps ---- */

static int
candidate(const struct sf_volume *v) {
  for (unsigned i = 0; i < v->legs; i++) {
    const struct leg *leg = &v->leg[i];

    if (sf_leg_state(leg) == SF_STATE_CATCHING_UP && leg->stale.set == 0 &&
        !(v->ack_legs & legbit(i)))
      return (int) i;
  }
  return -1;
}

static bool
older_ops_remain(const struct sf_volume *v) {
  if (v->flush_leader != NULL && v->flush_leader->machine.id <= v->join_id)
    return true;
  EACH_ACTIVE(op, v) {
    /* An op that was not sent yet will be sent to the newcomer too. */
    if (op->machine.id <= v->join_id && !op->kind->reads && op->sent != 0 &&
        !sf_op_only_waits(op) && !sf_op_waits_for_unheard(op))
      return true;
  }
  return false;
}

void
sf_join_settle(struct sf_volume *v) {
  if (v->phase != PHASE_SERVING || !sf_record_is_as_good_as_durable(v) || v->join_flush.running)
    return;
  if (v->joining < 0) {
    if ((v->grow.step != GROW_NONE && v->exchange.unheard == 0) || is_put_off(v))
      return;
    v->joining = candidate(v);
    if (v->joining < 0)
      return;
    attempt_begins(v);
    sf_join_move(v, JOIN_CARRY);
    sf_map_carry(v, (unsigned) v->joining);
  }
  if (v->join_step == JOIN_CARRY) {
    if (candidate(v) != v->joining) {
      sf_record_drop_newcomer(v);
      return;
    }
    if (!sf_map_is_carried(v, (unsigned) v->joining))
      return;
    /* From here on new intent waits for it; pages written since the carry began are carried
     * again. */
    v->counted = legbit((unsigned) v->joining);
    v->ack_legs |= v->counted;
    v->join_id = v->next_id;
    sf_join_move(v, JOIN_DRAIN);
    sf_map_carry(v, (unsigned) v->joining);
  }
  if (v->join_step == JOIN_DRAIN && !older_ops_remain(v) &&
      sf_map_is_carried(v, (unsigned) v->joining)) {
    sf_join_move(v, JOIN_FLUSH);
    sf_own_flush_begin(v, &v->join_flush, flush_ended);
  }
  if (v->join_step == JOIN_FLUSH && !v->join_flush.running) {
    unsigned leg = (unsigned) v->joining;

    if (v->join_flush.request.error != 0 || v->leg[leg].stale.set != 0) {
      if (v->join_flush.request.error == 0)
        put_off(v, WAIT_LEAST_MS * SF_MS);
      sf_record_drop_newcomer(v);
      return;
    }
    sf_join_move(v, JOIN_RECORD);
    if (v->exchange.unheard != 0)
      sf_record_exchange(v, leg, (unsigned) __builtin_ctz(v->exchange.unheard));
    else
      sf_record_promote(v, leg, sf_flush_failure_is_inherited(v));
  }
}

/* The order of a turn: what may follow from any change, and what the time brings. */
#include "volume/roof/turn.h"

#include <errno.h>
#include <inttypes.h>

#include "volume/change/copier.h"
#include "volume/change/drill.h"
#include "volume/change/exchange.h"
#include "volume/change/grow.h"
#include "volume/change/intent_clear.h"
#include "volume/change/join.h"
#include "volume/change/members.h"
#include "volume/change/newcomer.h"
#include "volume/change/probe.h"
#include "volume/change/scrub.h"
#include "volume/change/stop.h"
#include "volume/change/takeover.h"
#include "volume/ground/check.h"
#include "volume/ground/deadline.h"
#include "volume/ground/facts.h"
#include "volume/ground/flush_lost.h"
#include "volume/ground/host.h"
#include "volume/ground/leg_io.h"
#include "volume/ground/lost.h"
#include "volume/ground/meter.h"
#include "volume/ground/request_queue.h"
#include "volume/ground/unwritten.h"
#include "volume/ops/begin.h"
#include "volume/ops/flush.h"
#include "volume/ops/op.h"
#include "volume/ops/op_time.h"
#include "volume/ops/write.h"
#include "volume/set/bad.h"
#include "volume/set/culprit.h"
#include "volume/set/flush_failure.h"
#include "volume/set/insync.h"
#include "volume/set/map_pages.h"
#include "volume/set/map_write.h"
#include "volume/set/medium.h"
#include "volume/set/pace.h"
#include "volume/set/record.h"
#include "volume/set/record_wait.h"
#include "volume/set/written.h"

enum {
  TICK_BUSY_MS = 20,
  TICK_LOADED_MS = 100,
  TICK_IDLE_MS = 1000,
  LATE_TICK_MS = 50, /* a tick that is later than this was kept from us */
};

/* Each step may make room for another; every pass that sets `dirty` has moved some machine
 * forward, and none moves backward without an event from outside. */
static unsigned
settle(struct sf_volume *v) {
  unsigned passes = 0;

  for (; v->dirty; passes++) {
    v->dirty = false;
    sf_leg_io_settle(v);
    if (v->phase == PHASE_STOPPED)
      break;
    sf_record_settle(v);
    sf_bad_settle(v);
    sf_written_settle(v);
    sf_grow_end(v);
    sf_members_settle(v);
    sf_insync_settle(v);
    sf_medium_settle(v);
    for (unsigned i = 0; i < v->legs; i++)
      sf_leg_settle(v, i);
    sf_flush_failure_settle(v);
    sf_map_settle(v);
    for (unsigned i = 0; i < v->legs; i++)
      sf_newcomer_settle(v, i);
    sf_exchange_settle(v);
    sf_op_review_all(v);
    if (v->phase == PHASE_SERVING && v->held != NULL && sf_op_is_free(v, &sf_op_write))
      sf_vol_release_held(v);
    sf_flush_release(v);
    sf_flush_next(v);
    sf_join_settle(v);
    sf_grow_settle(v);
    sf_copier_settle(v);
    sf_scrub_settle(v);
    sf_drill_settle(v);
    sf_stop_settle(v);
  }
  return passes;
}

void
sf_vol_settle(struct sf_volume *v) {
  unsigned passes = 0;

  do {
    passes += settle(v);
    sf_vol_check_passes(v, passes);
    sf_leg_io_send(v); /* which may drop, or fail */
  } while (v->dirty);
  sf_vol_check(v);
  if (v->phase != PHASE_STOPPED)
    sf_vol_tell_state(v);
}

/* ---- time ---- */

static void
expire_list(struct sf_volume *v, struct sf_request **head, struct sf_request ***tail) {
  struct sf_request *request = *head, *next;

  *head = NULL;
  *tail = head;
  for (; request != NULL; request = next) {
    next = request->next;
    if (v->now_ns - sf_vol_fails_from(request) < v->config.fail_timeout_ns) {
      sf_request_append(request, tail);
    } else {
      v->errors++;
      v->failed = true;
      if (request->kind == SF_REQ_READ)
        sf_medium_read_failed(v, request->offset, request->length, -EIO);
      sf_request_answer(v, request, -EIO);
    }
  }
}

static bool
is_quiet(const struct sf_volume *v) {
  if (v->phase != PHASE_SERVING || !sf_record_is_durable(v) || v->unconverged.set != 0 ||
      v->grow.step != GROW_NONE || !sf_map_is_quiet(v) || v->held != NULL || v->parked != NULL ||
      v->flush_held != NULL || v->suspended > 0 || sf_flush_failure_legs(v) != 0)
    return false;
  return v->latest.in_sync == sf_members(v);
}

/* "failed" lasts until the legs have shown that they answer again: a later request was answered, or
 * what the failed one left behind has been converged and nothing is stuck. */
static void
forgive(struct sf_volume *v) {
  if (!v->failed || sf_unwritten_others(v) != 0 || !sf_list_empty(&v->active) ||
      !sf_record_is_durable(v) || legcount(sf_insync_legs(v)) < v->min_legs)
    return;
  sf_vol_well(v);
}

/* R3: while we could not run, nothing that waits has waited for the legs.  Their answers may be
 * there already; they are heard before anything fails for want of them. */
static void
excuse_own_delay(struct sf_volume *v) {
  uint64_t delay = v->timer_ns != 0 && v->now_ns > v->timer_ns ? v->now_ns - v->timer_ns : 0;
  struct sf_request *const list[] = {v->held, v->parked, v->flush_queue, v->flush_held};

  if (delay < LATE_TICK_MS * SF_MS)
    return;
  sf_vol_trace(v, "our own delay: %" PRIu64 " ms", delay / SF_MS);
  for (unsigned i = 0; i < sizeof list / sizeof list[0]; i++)
    for (struct sf_request *r = list[i]; r != NULL; r = r->next)
      sf_vol_excuse_request(v, r, delay);
  sf_op_excuse_delay(v, delay);
  sf_leg_io_excuse_delay(v, delay);
  v->stop_by_ns += delay;
}

void
sf_turn_tick(struct sf_volume *v) {
  excuse_own_delay(v);
  sf_meter_tick(v);
  v->timer_ns = 0;
  v->dirty = true;
  if (v->phase != PHASE_STOPPED) {
    sf_record_tick(v);
    sf_takeover_tick(v);
    forgive(v);
    for (unsigned i = 0; i < v->legs; i++)
      sf_probe_tick(v, i);
    sf_deadline_tick(v);
    sf_pace_tick(v);
    sf_medium_tick(v);
    sf_lost_tick(v);
    sf_intent_tick(v);
    sf_leg_io_tick(v);
    sf_op_tick(v);
    if (v->config.on_too_few == SF_TOO_FEW_ERROR) {
      expire_list(v, &v->held, &v->held_tail);
      expire_list(v, &v->parked, &v->parked_tail);
      expire_list(v, &v->flush_held, &v->flush_held_tail);
    }
  }
  sf_vol_settle(v);
  if (!is_quiet(v))
    sf_vol_arm(v, v->now_ns + TICK_BUSY_MS * SF_MS);
  else if (!sf_list_empty(&v->active) || v->flush_leader != NULL)
    sf_vol_arm(v, v->now_ns + TICK_LOADED_MS * SF_MS);
  else
    sf_vol_arm(v, v->now_ns + TICK_IDLE_MS * SF_MS);
}

/* The end: a stop in steps, and what becomes of all that waits. */
#include "volume/change/stop.h"

#include <errno.h>

#include "volume/change/drill.h"
#include "volume/change/grow.h"
#include "volume/change/intent_clear.h"
#include "volume/change/members.h"
#include "volume/change/scrub.h"
#include "volume/ground/deadline.h"
#include "volume/ground/facts.h"
#include "volume/ground/host.h"
#include "volume/ground/leg_io.h"
#include "volume/ground/lost.h"
#include "volume/ground/request_queue.h"
#include "volume/ground/steps.h"
#include "volume/ops/op_time.h"
#include "volume/ops/own_flush.h"
#include "volume/set/medium.h"
#include "volume/set/record.h"

enum { FIRST_TICK_MS = 20 };

static void
request_fail_waiting(struct sf_volume *v, int error) {
  sf_request_fail_list(v, &v->held, &v->held_tail, error);
  sf_request_fail_list(v, &v->parked, &v->parked_tail, error);
  sf_request_fail_list(v, &v->flush_held, &v->flush_held_tail, error);
}

static bool
client_ops_active(const struct sf_volume *v) {
  EACH_ACTIVE(op, v)
    if (op->request != NULL)
      return true;
  return v->flush_leader != NULL || v->flush_queue != NULL;
}

/* What no client waits for: copies that have begun, and what is written over bad blocks.  It is to
 * be flushed on legs of the set like all else.  A clean stop does not wait for extents to be copied
 * or zeroed: none is begun any more. */
static bool
own_writes_are_under_way(const struct sf_volume *v) {
  EACH_ACTIVE(op, v) {
    if (op->copy != NULL || (op->running & op->writing & sf_insync_legs(v)) != 0)
      return true;
  }
  return false;
}

void
sf_vol_end(struct sf_volume *v, int error) {
  sf_phase_move(v, PHASE_STOPPED);
  v->taken = error != -ESHUTDOWN;
  sf_grow_stopped(v);
  sf_members_stopped(v);
  sf_scrub_stopped(v);
  sf_drill_stopped(v);
  sf_op_fail_all(v, error);
  request_fail_waiting(v, error);
  sf_request_fail_list(v, &v->flush_queue, &v->flush_queue_tail, error);
  for (unsigned i = 0; i < v->legs; i++)
    sf_leg_io_drop_of_leg(v, i);
}

/* Behind the clean record another host may start, which no lock keeps from writing before that
 * lands which a leg still holds of ours, be it in the set or not (R12). */
static bool
waits_for_writes(const struct sf_volume *v) {
  return v->stop_is_clean && v->unconverged.set == 0 && sf_leg_io_writes(v);
}

static void
stop_end(struct sf_volume *v) {
  bool clean = v->stop_step == STOP_RECORD && sf_record_is_durable(v) && v->durable.clean;
  const char *how = clean                 ? "clean"
                    : waits_for_writes(v) ? "not clean: a leg still holds writes of ours, so no "
                                            "other host may start it unasked"
                                          : "not clean: the next start converges what may differ";

  sf_vol_end(v, -ESHUTDOWN);
  sf_medium_stopped(v);
  sf_lost_stopped(v);
  sf_vol_event(v, SF_EVENT_STOPPED, -1, NULL, NULL, how);
}

/* A leg that misses the clean record is taken out by a record that is not clean: then once more. */
static void
record_settle(struct sf_volume *v) {
  bool has_begun = v->stop_step == STOP_RECORD;

  if (!has_begun && (v->stop_step != STOP_MAPS || v->maps.urgent.set != 0))
    return;
  if (!sf_record_is_durable(v) || (!v->durable.clean && waits_for_writes(v)))
    return;
  if (!v->durable.clean) {
    sf_stop_move(v, STOP_RECORD);
    if (v->stop_is_clean && v->unconverged.set == 0)
      sf_record_change(v, v->latest.in_sync, v->latest.faulty, true);
  }
  if (sf_record_is_durable(v))
    stop_end(v);
}

void
sf_stop_settle(struct sf_volume *v) {
  if (v->phase != PHASE_STOPPING)
    return;
  if (v->stop_step == STOP_DRAIN && !client_ops_active(v) && !own_writes_are_under_way(v)) {
    sf_stop_move(v, STOP_FLUSH);
    sf_own_flush_begin(v, &v->stop_flush, NULL);
  }
  if (v->stop_step == STOP_FLUSH && !v->stop_flush.running) {
    v->stop_is_clean = v->stop_flush.request.error == 0 && sf_intent_stop(v);
    sf_stop_move(v, STOP_MAPS);
    v->dirty = true;
  }
  record_settle(v);
  if (v->phase == PHASE_STOPPING && v->now_ns >= v->stop_by_ns)
    stop_end(v);
}

void
sf_stop_begin(struct sf_volume *v) {
  if (v->phase == PHASE_SERVING) {
    sf_phase_move(v, PHASE_STOPPING);
    sf_stop_move(v, STOP_DRAIN);
    v->stop_by_ns = v->now_ns + sf_deadline_longest(v, SF_FLUSH_KIND) +
                    2 * sf_deadline_longest(v, SF_WRITE_KIND);
    request_fail_waiting(v, -ESHUTDOWN);
    v->dirty = true;
    sf_vol_arm(v, v->now_ns + FIRST_TICK_MS * SF_MS);
  } else if (v->phase < PHASE_STOPPING) {
    stop_end(v); /* at once: nothing but the claim may be written before it is stable (R12) */
  } else if (v->taken && !v->stop_told) {
    v->stop_told = true;
    sf_vol_event(v, SF_EVENT_STOPPED, -1, NULL, NULL, "not clean: it was taken over");
  }
}

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
#include "volume/ops/copy_end.h"
#include "volume/ops/op.h"
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

/* What no client waits for, and the flush is to cover: copies to legs of the set.  Repairs, of reads
 * and of a scrub, have FUA and no intent: they are waited for behind the maps, as is what other legs
 * hold.  A clean stop does not wait for extents to be copied or zeroed: none is begun any more. */
static bool
copies_are_under_way(const struct sf_volume *v) {
  EACH_ACTIVE(op, v) {
    if (op->kind->copies && !op->scrubs && (op->running & op->writing & sf_insync_legs(v)) != 0)
      return true;
  }
  return false;
}

/* A slow leg has many of them to write yet, and a stop has not the time.  What is sent goes on: the
 * legs hold it. */
static void
end_copies(struct sf_volume *v) {
  EACH_ACTIVE_UNLISTING(op, v) {
    if (op->copy != NULL && (op->copy->machine.state != COPY_WRITING || sf_op_waits_to_be_sent(op)))
      sf_copy_end(op, COPY_FAILED);
  }
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
 * lands which a leg still holds of ours, be it in the set or not, or of what empties it (R12). */
static bool
legs_hold_writes(const struct sf_volume *v) {
  for (unsigned i = 0; i < v->legs; i++)
    if (v->leg[i].opening && v->leg[i].blank != SF_BLANK_NOT)
      return true;
  return sf_leg_io_writes(v);
}

static bool
leaves_nothing_to_converge(const struct sf_volume *v) {
  return v->stop_is_clean && v->unconverged.set == 0 && v->maps.urgent.set == 0;
}

static const char *
how_it_ends(const struct sf_volume *v) {
  bool has_begun = v->phase == PHASE_STOPPING;

  if (v->stop_step == STOP_RECORD && sf_record_is_durable(v) && v->durable.clean)
    return "clean";
  if (v->stop_step == STOP_RECORD && v->latest.clean)
    return "not clean: a leg has not ended the record that says so, and others may show it "
           "already: another host may start it";
  if (!has_begun || !legs_hold_writes(v))
    return "not clean: the next start converges what may differ";
  return leaves_nothing_to_converge(v)
             ? "not clean: a leg still holds writes of ours, so no other host may start it unasked"
             : "not clean: a leg still holds writes of ours, so no other host may start it "
               "unasked, and the next start converges what may differ";
}

static void
stop_end(struct sf_volume *v) {
  const char *how = how_it_ends(v);

  sf_vol_end(v, -ESHUTDOWN);
  sf_medium_stopped(v);
  sf_lost_stopped(v);
  sf_vol_event(v, SF_EVENT_STOPPED, -1, NULL, NULL, how);
}

/* A leg that misses the clean record is taken out by a record that is not clean: then once more. */
static void
record_settle(struct sf_volume *v) {
  bool has_begun = v->stop_step == STOP_RECORD;
  bool may_be_clean = v->stop_is_clean && v->unconverged.set == 0;

  if (!has_begun && (v->stop_step != STOP_MAPS || v->maps.urgent.set != 0))
    return;
  if (!sf_record_is_durable(v) || (!v->durable.clean && may_be_clean && legs_hold_writes(v)))
    return;
  if (!v->durable.clean) {
    sf_stop_move(v, STOP_RECORD);
    if (may_be_clean)
      sf_record_change(v, v->latest.in_sync, v->latest.faulty, true);
  }
  if (sf_record_is_durable(v))
    stop_end(v);
}

/* A repair that lands beside the flush is not covered by it, and it may be the flush that drops it. */
static bool
is_to_be_flushed_again(const struct sf_volume *v) {
  bool any = false;

  if (v->stop_flush.request.error != 0)
    return false;
  EACH_LEG(leg, v->latest.in_sync) {
    if (v->leg[leg].flushes > 0 || v->leg[leg].flush_failed)
      return false;
    any |= v->leg[leg].unflushed.set != 0;
  }
  return any;
}

void
sf_stop_settle(struct sf_volume *v) {
  if (v->phase != PHASE_STOPPING)
    return;
  if (v->stop_step == STOP_DRAIN && !client_ops_active(v) && !copies_are_under_way(v)) {
    sf_stop_move(v, STOP_FLUSH);
    sf_own_flush_begin(v, &v->stop_flush, NULL);
  }
  if (v->stop_step == STOP_FLUSH && !v->stop_flush.running && is_to_be_flushed_again(v))
    sf_own_flush_begin(v, &v->stop_flush, NULL);
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
    end_copies(v);
    v->dirty = true;
    sf_vol_arm(v, v->now_ns + FIRST_TICK_MS * SF_MS);
  } else if (v->phase < PHASE_STOPPING) {
    stop_end(v); /* at once: nothing but the claim may be written before it is stable (R12) */
  } else if (v->taken && !v->stop_told) {
    v->stop_told = true;
    sf_vol_event(v, SF_EVENT_STOPPED, -1, NULL, NULL, "not clean: it was taken over");
  }
}

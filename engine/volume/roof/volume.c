/* Entry points: each enters, lets the event act, settles, and leaves. */
#include "volume/roof/volume.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <surefoot/volume.h>

#include "volume/change/probe.h"
#include "volume/change/stop.h"
#include "volume/ground/facts.h"
#include "volume/ground/host.h"
#include "volume/ground/leg_io.h"
#include "volume/ground/request_queue.h"
#include "volume/ops/begin.h"
#include "volume/ops/flush.h"
#include "volume/ops/op_time.h"
#include "volume/roof/delivery.h"
#include "volume/roof/turn.h"
#include "volume/set/flush_failure.h"
#include "volume/set/record.h"

enum { TICK_BUSY_MS = 20, TICK_LOADED_MS = 100 };

/* ---- requests ---- */

/* The kernel is asked for a disk before the lock is taken, so that no request waits for its answer.
 * The device is there: it is not given back before this event has been taken. */
static void
io_event(const struct sf_tio_event *told) {
  struct sf_volume *v = sf_leg_io_volume(told);
  struct sf_tio_event event = *told;

  if (sf_leg_io_is_gone(v, told))
    event.error = -ENODEV;
  sf_vol_enter(v, event.now_ns);
  sf_leg_io_event(&event);
  sf_vol_settle(v);
  sf_vol_leave(v);
}

void
sf_volume_late(const struct sf_tio_event *event) {
  SF_ASSERT(event->late && event->state == SF_TIO_CANCELED && event->kind == SF_TIO_DETACHED);
  io_event(event);
}

const struct leg_io_above sf_volume_above_io = {
    .notify = io_event,
    .flush_fails = sf_flush_failure_collect,
    .flush_failed = sf_flush_failure_note,
    .fua_ended = sf_flush_fua_ended,
};

void
sf_volume_submit(struct sf_volume *v, struct sf_request *request, uint64_t now_ns) {
  sf_vol_enter(v, now_ns);
  request->since_ns = v->now_ns;
  request->zeroed_ns = 0;
  SF_ASSERT(request->kind == SF_REQ_FLUSH ||
            (request->length > 0 && request->offset < v->served_bytes &&
             request->length <= v->served_bytes - request->offset));
  sf_vol_arm(v, v->now_ns + TICK_LOADED_MS * SF_MS);
  if (v->phase == PHASE_SERVING && v->held == NULL)
    sf_vol_begin(v, request);
  else if (v->phase < PHASE_STOPPING)
    sf_request_append(request, &v->held_tail);
  else
    sf_request_answer(v, request, v->taken ? -EIO : -ESHUTDOWN);
  sf_vol_settle(v);
  sf_vol_leave(v);
}

void
sf_volume_give_up(struct sf_volume *v, struct sf_request *request, uint64_t now_ns) {
  struct sf_request **followers = NULL, **unused = NULL;

  sf_vol_enter(v, now_ns);
  if (v->flush_leader != NULL)
    followers = &v->flush_leader->followers;
  if (sf_request_remove(&v->held, &v->held_tail, request) ||
      sf_request_remove(&v->parked, &v->parked_tail, request) ||
      sf_request_remove(&v->flush_queue, &v->flush_queue_tail, request) ||
      sf_request_remove(&v->flush_held, &v->flush_held_tail, request) ||
      (followers != NULL && sf_request_remove(followers, &unused, request)))
    sf_request_answer(v, request, -ESHUTDOWN);
  else
    sf_op_give_up(v, request);
  sf_vol_settle(v);
  sf_vol_leave(v);
}

void
sf_volume_tick(struct sf_volume *v, uint64_t now_ns) {
  sf_vol_enter(v, now_ns);
  sf_turn_tick(v);
  sf_vol_leave(v);
}

/* ---- life ---- */

void
sf_volume_start(struct sf_volume *v, uint64_t now_ns) {
  sf_vol_enter(v, now_ns);
  v->told = sf_vol_state(v);
  v->told_ns = v->now_ns;
  for (unsigned i = 0; i < v->legs; i++)
    v->leg[i].state_ns = v->now_ns;
  for (unsigned i = 0; i < v->legs; i++)
    if (sf_leg_state(&v->leg[i]) == SF_STATE_PROBING)
      sf_probe_schedule(v, i);
  sf_record_start(v);
  if (v->maps.untold > 0)
    sf_vol_event(v, SF_EVENT_LEG_TROUBLE, __builtin_ctz(v->latest.in_sync), NULL, NULL,
                 "pages of its maps cannot be read, on no other leg either: what was never written "
                 "there counts as written, and may show what the disks held before");
  sf_vol_settle(v);
  sf_vol_arm(v, v->now_ns + TICK_BUSY_MS * SF_MS);
  sf_vol_leave(v);
}

void
sf_volume_stop(struct sf_volume *v, uint64_t now_ns) {
  sf_vol_enter(v, now_ns);
  sf_stop_begin(v);
  sf_vol_settle(v);
  sf_vol_leave(v);
}

bool
sf_volume_stopped(struct sf_volume *v) {
  bool stopped;

  pthread_mutex_lock(&v->lock);
  stopped = v->phase == PHASE_STOPPED;
  pthread_mutex_unlock(&v->lock);
  return stopped;
}

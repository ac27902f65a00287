/* Entry points: each takes the lock, notes the time, lets the event act, and settles. */
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
#include "volume/roof/turn.h"
#include "volume/set/flush_failure.h"
#include "volume/set/record.h"

enum { TICK_BUSY_MS = 20, TICK_LOADED_MS = 100 };

/* Each thread read the clock before it waited for the lock, so the times come in any order; inside,
 * time never goes back. */
void
volume_enter(struct sf_volume *v, uint64_t now_ns) {
  pthread_mutex_lock(&v->lock);
  if (now_ns > v->now_ns)
    v->now_ns = now_ns;
}

/* ---- requests ---- */

/* The kernel is asked for a disk before the lock is taken, so that no request waits for its answer.  The device is
 * there: it is not given back before this event has been taken. */
static void
io_event(const struct sf_tio_event *told) {
  struct sf_volume *v = leg_io_volume(told);
  struct sf_tio_event event = *told;

  if (leg_io_is_gone(v, told))
    event.error = -ENODEV;
  volume_enter(v, event.now_ns);
  leg_io_event(&event);
  volume_settle(v);
  pthread_mutex_unlock(&v->lock);
}

void
sf_volume_late(const struct sf_tio_event *event) {
  SF_MUST(event->late && event->state == SF_TIO_CANCELED && event->kind == SF_TIO_DETACHED);
  io_event(event);
}

const struct leg_io_above sf_volume_above_io = {
    .notify = io_event,
    .flush_fails = flush_failure_collect,
    .flush_failed = flush_failure_note,
    .fua_ended = flush_fua_ended,
};

void
sf_volume_submit(struct sf_volume *v, struct sf_request *request, uint64_t now_ns) {
  volume_enter(v, now_ns);
  request->since_ns = v->now_ns;
  SF_MUST(request->kind == SF_REQ_FLUSH ||
          (request->length > 0 && request->offset < v->served_bytes &&
           request->length <= v->served_bytes - request->offset));
  volume_arm(v, v->now_ns + TICK_LOADED_MS * SF_MS);
  if (v->phase == PHASE_SERVING && v->held == NULL)
    volume_begin(v, request);
  else if (v->phase < PHASE_STOPPING)
    request_append(request, &v->held_tail);
  else
    request_answer(request, v->taken ? -EIO : -ESHUTDOWN);
  volume_settle(v);
  pthread_mutex_unlock(&v->lock);
}

void
sf_volume_give_up(struct sf_volume *v, struct sf_request *request, uint64_t now_ns) {
  struct sf_request **followers = NULL, **unused = NULL;

  volume_enter(v, now_ns);
  if (v->flush_leader != NULL)
    followers = &v->flush_leader->followers;
  if (request_remove(&v->held, &v->held_tail, request) ||
      request_remove(&v->parked, &v->parked_tail, request) ||
      request_remove(&v->flush_queue, &v->flush_queue_tail, request) ||
      request_remove(&v->flush_held, &v->flush_held_tail, request) ||
      (followers != NULL && request_remove(followers, &unused, request)))
    request_answer(request, -ESHUTDOWN);
  else
    op_give_up(v, request);
  volume_settle(v);
  pthread_mutex_unlock(&v->lock);
}

void
sf_volume_tick(struct sf_volume *v, uint64_t now_ns) {
  volume_enter(v, now_ns);
  turn_tick(v);
  pthread_mutex_unlock(&v->lock);
}

/* ---- life ---- */

void
sf_volume_start(struct sf_volume *v, uint64_t now_ns) {
  volume_enter(v, now_ns);
  v->told = volume_state(v);
  v->told_ns = v->now_ns;
  for (unsigned i = 0; i < v->legs; i++)
    v->leg[i].state_ns = v->now_ns;
  for (unsigned i = 0; i < v->legs; i++)
    if (leg_state(&v->leg[i]) == SF_STATE_PROBING)
      probe_schedule(v, i);
  record_start(v);
  volume_settle(v);
  volume_arm(v, v->now_ns + TICK_BUSY_MS * SF_MS);
  pthread_mutex_unlock(&v->lock);
}

void
sf_volume_stop(struct sf_volume *v, uint64_t now_ns) {
  volume_enter(v, now_ns);
  stop_begin(v);
  volume_settle(v);
  pthread_mutex_unlock(&v->lock);
}

bool
sf_volume_stopped(struct sf_volume *v) {
  bool stopped;

  pthread_mutex_lock(&v->lock);
  stopped = v->phase == PHASE_STOPPED;
  pthread_mutex_unlock(&v->lock);
  return stopped;
}

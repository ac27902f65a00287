/* Entry points: each takes the lock, notes the time, lets the event act, and settles. */
#include "volume/internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <surefoot/volume.h>

enum {
  TICK_BUSY_MS = 20,
  TICK_LOADED_MS = 100,
  TICK_IDLE_MS = 1000,
  LATE_TICK_MS = 50, /* a tick that is later than this was kept from us */
};

/* Each thread read the clock before it waited for the lock, so the times come in any order; inside,
 * time never goes back. */
void
volume_enter(struct sf_volume *v, uint64_t now_ns) {
  pthread_mutex_lock(&v->lock);
  if (now_ns > v->now_ns)
    v->now_ns = now_ns;
}

/* ---- requests ---- */

static void
request_fail_waiting(struct sf_volume *v, int error) {
  request_fail_list(&v->held, &v->held_tail, error);
  request_fail_list(&v->parked, &v->parked_tail, error);
  request_fail_list(&v->flush_held, &v->flush_held_tail, error);
}

static enum op_kind
kind_of(const struct sf_request *request) {
  switch (request->kind) {
  case SF_REQ_READ:
    return OP_READ;
  case SF_REQ_WRITE:
    return OP_WRITE;
  case SF_REQ_ZERO:
    return OP_ZERO;
  default:
    return OP_FLUSH;
  }
}

void
volume_begin(struct sf_volume *v, struct sf_request *request) {
  struct sf_op *op;

  if (request->kind == SF_REQ_FLUSH) {
    flush_request(v, request);
    return;
  }
  if (volume_must_converge(v, request)) {
    volume_park(v, request);
    return;
  }
  op = op_new(v, kind_of(request), request->offset, request->length);
  if (op == NULL) {
    request_append(request, &v->held_tail);
    return;
  }
  op->request = request;
  op->asked_ns = volume_asked(request);
  op->started_ns = request->since_ns;
  op_enter(op);
}

static void
release_list(struct sf_volume *v, struct sf_request **head, struct sf_request ***tail) {
  struct sf_request *request = *head, *next;

  *head = NULL;
  *tail = head;
  for (; request != NULL; request = next) {
    next = request->next;
    volume_begin(v, request);
  }
}

static void
io_event(const struct sf_tio_event *event) {
  struct sf_volume *v = leg_io_volume(event);

  volume_enter(v, event->now_ns);
  leg_io_event(event);
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

/* ---- settling ---- */

void
volume_tell_state(struct sf_volume *v) {
  enum sf_volume_state state = volume_state(v);
  char reason[SF_LEG_REASON_MAX];

  if (state == v->told)
    return;
  culprit_text(v, reason, sizeof reason);
  volume_event(v, SF_EVENT_STATE, -1, sf_volume_state_name(v->told), sf_volume_state_name(state),
               reason);
  v->told = state;
  v->told_ns = v->now_ns;
}

static void
stop_flush_done(struct sf_request *request) {
  struct sf_volume *v = request->host;

  v->stop_step = STEP_FLUSHED;
  v->dirty = true;
}

static bool
client_ops_active(const struct sf_volume *v) {
  for (const struct sf_list *l = v->active.next; l != &v->active; l = l->next)
    if (SF_LIST_ENTRY(l, struct sf_op, link)->request != NULL)
      return true;
  return v->flush_leader != NULL || v->flush_queue != NULL;
}

void
volume_end(struct sf_volume *v, int error) {
  v->phase = PHASE_STOPPED;
  v->taken = error != -ESHUTDOWN;
  grow_stopped(v);
  members_stopped(v);
  scrub_stopped(v);
  op_fail_all(v, error);
  request_fail_waiting(v, error);
  request_fail_list(&v->flush_queue, &v->flush_queue_tail, error);
  for (unsigned i = 0; i < v->legs; i++)
    leg_io_drop(v, i);
}

static void
stop_end(struct sf_volume *v, bool clean) {
  volume_end(v, -ESHUTDOWN);
  medium_stopped(v);
  volume_event(v, SF_EVENT_STOPPED, -1, NULL, NULL,
               clean ? "clean" : "not clean: the next start converges what may differ");
}

static void
stop_settle(struct sf_volume *v) {
  if (v->phase != PHASE_STOPPING)
    return;
  if (v->stop_step == STEP_DRAIN && !client_ops_active(v)) {
    v->stop_step = STEP_FLUSH;
    v->stop_flush = (struct sf_request){
        .kind = SF_REQ_FLUSH, .done = stop_flush_done, .host = v, .internal = true};
    v->stop_flush.since_ns = v->now_ns;
    volume_begin(v, &v->stop_flush);
  }
  if (v->stop_step == STEP_FLUSHED) {
    v->stop_is_clean = v->stop_flush.error == 0 && intent_stop(v);
    v->stop_step = STEP_MAPS;
    v->dirty = true;
  }
  /* A leg that misses the clean record is taken out by one that is not: then once more. */
  if (((v->stop_step == STEP_MAPS && v->maps.urgent.set == 0) ||
       (v->stop_step == STEP_RECORD && !v->durable.clean)) &&
      record_is_durable(v)) {
    v->stop_step = STEP_RECORD;
    if (v->stop_is_clean && v->unconverged.set == 0)
      record_change(v, v->latest.in_sync, v->latest.faulty, true);
  }
  if ((v->stop_step == STEP_RECORD && record_is_durable(v)) || v->now_ns >= v->stop_by_ns)
    stop_end(v, v->stop_step == STEP_RECORD && record_is_durable(v) && v->durable.clean);
}

/* Each step may make room for another; every pass that sets `dirty` has moved some machine
 * forward, and none moves backward without an event from outside. */
static void
settle(struct sf_volume *v) {
  while (v->dirty) {
    v->dirty = false;
    leg_io_settle(v);
    if (v->phase == PHASE_STOPPED)
      break;
    record_settle(v);
    insync_settle(v);
    medium_settle(v);
    for (unsigned i = 0; i < v->legs; i++)
      leg_settle(v, i);
    flush_failure_settle(v);
    map_settle(v);
    for (unsigned i = 0; i < v->legs; i++)
      newcomer_settle(v, i);
    op_review_all(v);
    if (v->phase == PHASE_SERVING && v->held != NULL && op_is_free(v, OP_WRITE))
      release_list(v, &v->held, &v->held_tail);
    flush_release(v);
    flush_next(v);
    join_settle(v);
    grow_settle(v);
    copier_settle(v);
    scrub_settle(v);
    stop_settle(v);
  }
}

void
volume_settle(struct sf_volume *v) {
  do {
    settle(v);
    leg_io_send(v); /* which may drop, or fail */
  } while (v->dirty);
  if (v->phase != PHASE_STOPPED)
    volume_tell_state(v);
}

void
volume_release_parked(struct sf_volume *v) {
  release_list(v, &v->parked, &v->parked_tail);
}

/* ---- time ---- */

static void
expire_list(struct sf_volume *v, struct sf_request **head, struct sf_request ***tail) {
  struct sf_request *request = *head, *next;

  *head = NULL;
  *tail = head;
  for (; request != NULL; request = next) {
    next = request->next;
    if (v->now_ns - volume_asked(request) < v->config.fail_timeout_ns) {
      request_append(request, tail);
    } else {
      v->errors++;
      v->failed = true;
      if (request->kind == SF_REQ_READ)
        medium_read_failed(v, request->offset, request->length, -EIO);
      request_answer(request, -EIO);
    }
  }
}

static bool
is_quiet(const struct sf_volume *v) {
  if (v->phase != PHASE_SERVING || !record_is_durable(v) || v->unconverged.set != 0 ||
      v->grow.step != GROW_NONE || !map_is_quiet(v) || v->held != NULL || v->parked != NULL ||
      v->flush_held != NULL || v->suspended > 0 || flush_failure_legs(v) != 0)
    return false;
  return v->latest.in_sync == members(v);
}

/* Not while flushes fail, whatever else goes well. */
void
volume_well(struct sf_volume *v) {
  if (flush_failure_legs(v) == 0)
    v->failed = false;
}

/* "failed" lasts until the legs have shown that they answer again: a later request was answered, or
 * what the failed one left behind has been converged and nothing is stuck. */
static void
forgive(struct sf_volume *v) {
  if (!v->failed || v->unconverged.set != 0 || !sf_list_empty(&v->active) ||
      !record_is_durable(v) || legcount(volume_serving(v)) < v->min_legs)
    return;
  volume_well(v);
}

/* R3: while we could not run, nothing that waits has waited for the legs.  Their answers may be there
 * already; they are heard before anything fails for want of them. */
static void
excuse_own_delay(struct sf_volume *v) {
  uint64_t delay = v->timer_ns != 0 && v->now_ns > v->timer_ns ? v->now_ns - v->timer_ns : 0;
  struct sf_request *const list[] = {v->held, v->parked, v->flush_queue, v->flush_held};

  if (delay < LATE_TICK_MS * SF_MS)
    return;
  volume_trace(v, "our own delay: %" PRIu64 " ms", delay / SF_MS);
  for (unsigned i = 0; i < sizeof list / sizeof list[0]; i++)
    for (struct sf_request *r = list[i]; r != NULL; r = r->next)
      volume_excuse_request(v, r, delay);
  op_excuse_delay(v, delay);
  leg_io_excuse_delay(v, delay);
  v->stop_by_ns += delay;
}

void
sf_volume_tick(struct sf_volume *v, uint64_t now_ns) {
  volume_enter(v, now_ns);
  excuse_own_delay(v);
  meter_tick(v);
  v->timer_ns = 0;
  v->dirty = true;
  if (v->phase != PHASE_STOPPED) {
    record_tick(v);
    takeover_tick(v);
    forgive(v);
    for (unsigned i = 0; i < v->legs; i++)
      probe_tick(v, i);
    deadline_tick(v);
    pace_tick(v);
    medium_tick(v);
    intent_tick(v);
    leg_io_tick(v);
    op_tick(v);
    if (v->config.on_too_few == SF_TOO_FEW_ERROR) {
      expire_list(v, &v->held, &v->held_tail);
      expire_list(v, &v->parked, &v->parked_tail);
      expire_list(v, &v->flush_held, &v->flush_held_tail);
    }
  }
  volume_settle(v);
  if (!is_quiet(v))
    volume_arm(v, v->now_ns + TICK_BUSY_MS * SF_MS);
  else if (!sf_list_empty(&v->active) || v->flush_leader != NULL)
    volume_arm(v, v->now_ns + TICK_LOADED_MS * SF_MS);
  else
    volume_arm(v, v->now_ns + TICK_IDLE_MS * SF_MS);
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
  if (v->phase == PHASE_SERVING) {
    v->phase = PHASE_STOPPING;
    v->stop_step = STEP_DRAIN;
    v->stop_by_ns =
        v->now_ns + deadline_longest(v, SF_FLUSH_KIND) + 2 * deadline_longest(v, SF_WRITE_KIND);
    request_fail_waiting(v, -ESHUTDOWN);
    v->dirty = true;
    volume_arm(v, v->now_ns + TICK_BUSY_MS * SF_MS);
  } else if (v->phase < PHASE_STOPPING) {
    stop_end(v,
             false); /* at once: nothing but the claim may be written before it is stable (R12) */
  } else if (v->taken && !v->stop_told) {
    v->stop_told = true;
    volume_event(v, SF_EVENT_STOPPED, -1, NULL, NULL, "not clean: it was taken over");
  }
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

/* Flushes (R9).  One at a time: flushes that arrive while one runs share the next.  A flush makes
 * stable all that had completed on the leg before it was submitted, so each leg's set of unflushed
 * extents changes hands at that moment. */
#include "volume/ops/flush.h"

#include <errno.h>

#include "volume/ground/deadline.h"
#include "volume/ground/facts.h"
#include "volume/ground/flush_lost.h"
#include "volume/ground/host.h"
#include "volume/ground/meter.h"
#include "volume/ground/request_queue.h"
#include "volume/ground/scrub_state.h"
#include "volume/ground/steps.h"
#include "volume/ops/op.h"
#include "volume/ops/suspend.h"
#include "volume/set/flush_failure.h"
#include "volume/set/map_pages.h"

void
sf_flush_request(struct sf_volume *v, struct sf_request *request) {
  request->next = NULL;
  *v->flush_queue_tail = request;
  v->flush_queue_tail = &request->next;
  sf_flush_next(v);
}

static void
snapshot(struct leg *leg, struct sf_op *op) {
  sf_map_unite(&leg->unflushed, &leg->flushing);
  sf_map_zero(&leg->flushing);
  sf_map_swap(&leg->unflushed, &leg->flushing);
  sf_map_unite(&leg->settling, &leg->settled);
  sf_map_zero(&leg->settled);
  leg->flush_op = op;
}

/* The legs that a flush goes to.  Our own for the maps' sake goes to legs that catch up as well; no
 * answer needs them. */
static legset
flush_legs(const struct sf_volume *v, const struct sf_op *op) {
  return v->counted | (op->checkpoint ? sf_vol_receivers(v) : sf_set_legs(v));
}

static bool
queue_has_checkpoint(const struct sf_volume *v) {
  for (const struct sf_request *r = v->flush_queue; r != NULL; r = r->next)
    if (r == &v->maps.flush.request)
      return true;
  return false;
}

static void
flush_leg_failed(struct sf_op *op, unsigned index) {
  struct leg *leg = &op->volume->leg[index];

  if (leg->flush_op != op)
    return;
  leg->flush_op = NULL;
  sf_map_unite(&leg->unflushed, &leg->flushing);
  sf_map_zero(&leg->flushing);
  sf_map_unite(&leg->settled, &leg->settling);
  sf_map_zero(&leg->settling);
}

/* To every leg that has not got it yet.  Not beside an older flush that still runs there: if that
 * one fails, what the newer one says is worth nothing, and the two answers may come in any order.
 * When the older one is late, so is this one. */
static void
send(struct sf_volume *v, struct sf_op *op) {
  struct leg_io_args args = {.op = SF_TIO_FLUSH, .kind = SF_FLUSH_KIND};

  EACH_LEG(index, op->unsent) {
    struct leg *leg = &v->leg[index];
    legset bit = legbit(index);

    if (!(flush_legs(v, op) & bit)) {
      op->unsent &= (legset) ~bit;
      op->pending &= (legset) ~bit;
      op->overdue &= (legset) ~bit;
      v->dirty = true;
    } else if (leg->flushes > 0) {
      if (leg->flush_late && !(op->overdue & bit)) {
        op->overdue |= bit;
        v->dirty = true;
      }
    } else {
      snapshot(leg, op);
      args.legs |= bit;
    }
  }
  if (args.legs == 0)
    return;
  sf_op_send(op, &args);
  if (op->hold == HOLD_AGAIN) { /* no slot: the next tick sends it */
    sf_op_hold(op, HOLD_NOT);
    EACH_LEG(index, args.legs)
      flush_leg_failed(op, index);
    return;
  }
  op->unsent &= (legset) ~args.legs;
  op->overdue &= (legset) ~args.legs;
  op->pending &= (legset) ~(args.legs & (legset) ~op->running);
  EACH_LEG(index, args.legs & op->running)
    v->leg[index].flushes++;
}

void
sf_flush_next(struct sf_volume *v) {
  struct sf_op *op;

  if (v->flush_leader != NULL) {
    if (v->flush_leader->unsent != 0)
      send(v, v->flush_leader);
    return;
  }
  if (v->flush_queue == NULL)
    return;
  op = sf_op_new(v, &sf_op_flush, 0, 0);
  if (op == NULL)
    return;
  op->request = v->flush_queue;
  op->followers = v->flush_queue->next;
  op->asked_ns = sf_vol_asked(op->request);
  op->started_ns = op->request->since_ns;
  op->checkpoint = queue_has_checkpoint(v);
  op->was_held = v->flush_released;
  v->flush_released = false;
  v->flush_queue = NULL;
  v->flush_queue_tail = &v->flush_queue;
  v->flush_leader = op;
  sf_state_move(&op->machine, OP_RUNNING, &(struct sf_state_hooks){0}, v);

  op->asked = v->ack_legs;
  op->unsent = op->pending = flush_legs(v, op);
  send(v, op);
}

static void
flush_leg_ok(struct sf_op *op, unsigned index) {
  struct leg *leg = &op->volume->leg[index];

  if (leg->flush_op != op)
    return;
  if (op->machine.state != OP_RUNNING && leg->fua_running > 0) {
    flush_leg_failed(
        op, index); /* no client waits for it, and a FUA beside it may have failed unheard */
    return;
  }
  leg->flush_op = NULL;
  sf_map_zero(&leg->flushing);
  sf_map_leg_flushed(op->volume, index);
}

/* Its own completion has come. */
static void
note_ended(struct sf_op *op, unsigned index) {
  struct sf_volume *v = op->volume;
  struct leg *leg = &v->leg[index];

  SF_ASSERT(leg->flushes > 0);
  if (--leg->flushes == 0)
    leg->flush_late = false;
  v->dirty = true;
}

/* ---- beside writes with FUA ---- */

/* A FUA submitted before the answer came may have failed already, unheard, and have taken with it
 * data that this flush was to make stable: then the disk had nothing left to flush, and says that
 * all is well. */
static bool
flush_waits_for_fua(struct sf_op *op, unsigned index) {
  struct leg *leg = &op->volume->leg[index];

  if (op->machine.state != OP_RUNNING || leg->fua_running == 0 || leg->flush_op != op)
    return false;
  leg->flush_waiting = op;
  leg->flush_waits = leg->fua_running;
  leg->flush_waits_seq = op->volume->io_seq;
  leg->flush_waits_until_ns =
      op->volume->now_ns + sf_deadline_timeout(op->volume, index, SF_WRITE_KIND);
  return true;
}

static void
went_well(struct sf_op *op, unsigned index) {
  legset bit = legbit(index);

  op->pending &= (legset) ~bit;
  op->overdue &= (legset) ~bit;
  op->ok |= bit;
  flush_leg_ok(op, index);
}

void
sf_flush_fua_ended(struct sf_volume *v, unsigned index, uint64_t seq) {
  struct leg *leg = &v->leg[index];
  struct sf_op *op = leg->flush_waiting;

  SF_ASSERT(leg->fua_running > 0);
  leg->fua_running--;
  if (op == NULL || seq > leg->flush_waits_seq || --leg->flush_waits > 0)
    return;
  leg->flush_waiting = NULL;
  went_well(op, index);
  v->dirty = true; /* and so it is reviewed */
}

/* What has not been heard of for so long still runs: it cannot have failed before this flush. */
void
sf_flush_tick(struct sf_volume *v) {
  for (unsigned i = 0; i < v->legs; i++) {
    struct sf_op *op = v->leg[i].flush_waiting;

    if (op == NULL || v->now_ns < v->leg[i].flush_waits_until_ns)
      continue;
    v->leg[i].flush_waiting = NULL;
    went_well(op, i);
    v->dirty = true;
  }
}

void
sf_flush_excuse_delay(struct sf_volume *v, uint64_t delay_ns) {
  struct sf_op *op = v->flush_leader;

  for (unsigned i = 0; i < v->legs; i++)
    v->leg[i].flush_waits_until_ns += delay_ns;
  if (op == NULL)
    return;
  sf_vol_excuse_request(v, op->request, delay_ns);
  for (struct sf_request *r = op->followers; r != NULL; r = r->next)
    sf_vol_excuse_request(v, r, delay_ns);
}

/* ---- given up ---- */

/* The requests that share the op go on waiting: it is the next one's from here on. */
static void
hand_over(struct sf_op *op) {
  op->request = op->followers;
  op->followers = op->followers->next;
  op->asked_ns = sf_vol_asked(op->request);
  op->started_ns = op->request->since_ns;
}

void
sf_flush_give_up(struct sf_op *op) {
  struct sf_request *request = op->request;

  if (op->followers == NULL) {
    sf_op_fail(op, -ESHUTDOWN);
    return;
  }
  hand_over(op);
  sf_request_answer(op->volume, request, -ESHUTDOWN);
}

/* ---- answers ---- */

static void
count_answer(struct sf_volume *v, const struct sf_request *request, int error) {
  v->flushes++;
  v->errors += error != 0 && error != -ESHUTDOWN;
  sf_meter_answer(v, request, error);
  if (error == 0)
    sf_vol_well(v);
  else if (error != -ESHUTDOWN)
    v->failed = true;
}

/* error 0 or -errno: the clients' answer; HELD: they wait and it is tried again. */
enum { HELD = 1, AGAIN_MS = 100 };

/* For flushes of our own: good for a join, as it does without a leg that answers nothing, and for
 * nothing else. */
enum { GOOD_FOR_JOIN = 1 };

static int
own_answer(const struct sf_volume *v, const struct sf_request *request, int own_error) {
  if (own_error != GOOD_FOR_JOIN)
    return own_error;
  return request == &v->join_flush.request ? 0 : -EIO;
}

static void
flush_end(struct sf_op *op, int error, int own_error) {
  struct sf_volume *v = op->volume;
  struct sf_request *request = op->request, *next;

  SF_ASSERT(v->flush_leader == op && request != NULL);
  v->flush_leader = NULL;
  if (error == 0)
    sf_scrub_flushed(v, op->machine.id);
  for (unsigned i = 0; i < v->legs; i++)
    if (v->leg[i].flush_waiting == op) {
      v->leg[i].flush_waiting = NULL;
      flush_leg_failed(op, i); /* what it covers counts with the next one */
    }
  v->late_acks += error == 0 && (op->sent & (legset) ~op->ok) != 0 && !request->internal;
  request->next = op->followers;
  op->request = op->followers = NULL;
  sf_op_move(op, OP_DRAINING);
  for (; request != NULL; request = next) {
    next = request->next;
    if (!request->internal && error == HELD) {
      request->next = NULL;
      *v->flush_held_tail = request;
      v->flush_held_tail = &request->next;
      continue;
    }
    if (!request->internal)
      count_answer(v, request, error);
    sf_request_answer(v, request, request->internal ? own_answer(v, request, own_error) : error);
  }
  v->dirty = true;
  sf_op_release(op);
}

/* What the clients asked for is tried again; it does not stand in the way of flushes of our own,
 * which may be what brings a leg back. */
static void
hold(struct sf_op *op, int own_error) {
  struct sf_volume *v = op->volume;

  if (v->phase != PHASE_SERVING) {
    flush_end(op, -ESHUTDOWN, own_error);
    return;
  }
  v->flush_again_ns = v->now_ns + AGAIN_MS * SF_MS;
  sf_vol_arm(v, v->flush_again_ns);
  flush_end(op, HELD, own_error);
}

void
sf_flush_release(struct sf_volume *v) {
  if (v->flush_held == NULL || v->now_ns < v->flush_again_ns || v->exchange.unheard != 0)
    return;
  *v->flush_queue_tail = v->flush_held;
  v->flush_queue_tail = v->flush_held_tail;
  v->flush_held = NULL;
  v->flush_held_tail = &v->flush_held;
  v->flush_released = true;
  v->dirty = true;
}

static bool
all_heal(const struct sf_volume *v, legset legs) {
  EACH_LEG(leg, legs) {
    if (!sf_flush_failure_heals(v, leg))
      return false;
  }
  return true;
}

/* All but the leg that answers nothing has ended it. */
static bool
waits_for_unheard(const struct sf_op *op) {
  return op->pending != 0 && (op->pending & (legset) ~op->volume->exchange.unheard) == 0;
}

/* A flush that was sent before a leg joined needs not hear from it: the join flushes by itself.  A
 * leg on its way out must be out first: no account is kept any more of what it may have lost.
 * Where an earlier flush failed, this one makes stable what the leg still has: our own flushes need
 * no more, and a client's does. */
static void
review(struct sf_op *op) {
  struct sf_volume *v = op->volume;
  legset leaving = v->ack_legs & (legset) ~(v->latest.in_sync | v->counted);
  legset hollow = op->ok & (sf_flush_failure_legs(v) | leaving), need, stuck;
  int own_error;

  op->ok &= (legset) ~hollow;
  op->hollow |= hollow;
  if (hollow != 0)
    sf_flush_failure_settle(v); /* they leave, if they may */
  if ((op->overdue | op->failed) != 0)
    sf_op_judge(op);
  need = v->ack_legs & op->asked;
  if ((need & (legset) ~op->ok) == 0 && legcount(op->ok & sf_insync_legs(v)) >= v->min_legs) {
    flush_end(op, 0, 0);
    return;
  }
  if (waits_for_unheard(op)) {
    hold(op, (need & (legset) ~(op->ok | v->exchange.unheard)) == 0 ? GOOD_FOR_JOIN : -EIO);
    return;
  }
  if (op->pending != 0 && (op->pending & (legset) ~op->overdue) == 0 &&
      (op->failed & op->passing) != 0) {
    hold(op, op->error); /* a leg that is well again shows that the other one hangs */
    return;
  }
  if (op->pending != 0 || sf_op_awaits_a_word(op) || sf_record_moves_the_set(v))
    return;
  own_error = (need & (legset) ~(op->ok | op->hollow)) == 0 ? 0 : op->error != 0 ? op->error : -EIO;
  stuck = sf_flush_failure_legs(v) & need;
  if (stuck != 0 ? all_heal(v, stuck) : sf_op_may_wait(op))
    hold(op, own_error);
  else
    flush_end(op, stuck != 0 || op->error == 0 ? -EIO : op->error, own_error);
}

/* fail_timeout, of each that shares the flush: the others go on waiting. */
void
sf_flush_expire(struct sf_volume *v) {
  struct sf_op *op = v->flush_leader;
  struct sf_request **link = op == NULL ? NULL : &op->followers, *request;

  if (op == NULL)
    return;
  while (*link != NULL) {
    request = *link;
    if (request->internal || v->now_ns - sf_vol_asked(request) < v->config.fail_timeout_ns) {
      link = &request->next;
      continue;
    }
    *link = request->next;
    count_answer(v, request, -EIO);
    sf_request_answer(v, request, -EIO);
  }
  request = op->request;
  if (request->internal || v->now_ns - sf_vol_asked(request) < v->config.fail_timeout_ns)
    return;
  if (op->followers == NULL) {
    sf_op_fail(op, -EIO);
    return;
  }
  hand_over(op);
  count_answer(v, request, -EIO);
  sf_request_answer(v, request, -EIO);
}

/* ---- the kind ---- */

/* True: it went well, and counts when the writes with FUA that ran beside it have ended. */
static bool
flush_ended(struct sf_op *op, unsigned leg, const struct sf_tio_event *event) {
  bool waits = event->state == SF_TIO_OK && !event->late && flush_waits_for_fua(op, leg);

  if (waits)
    op->overdue &= (legset) ~legbit(leg);
  note_ended(op, leg);
  return waits;
}

static void
flush_review(struct sf_op *op) {
  if (op->machine.state == OP_RUNNING)
    review(op);
  else
    sf_op_review_ended(op);
}

static void
flush_on_event(struct sf_op *op, unsigned leg, unsigned try, const struct sf_tio_event *event) {
  if (!event_is_final(event))
    op->volume->leg[leg].flush_late = op->volume->dirty = true;
  if (event->state == SF_TIO_OK)
    flush_leg_ok(op, leg);
  else if (event->state != SF_TIO_TIMEOUT)
    flush_leg_failed(op, leg);
  flush_review(op);
}

static void
flush_fail(struct sf_op *op, int error) {
  flush_end(op, error, error);
}

const struct op_kind sf_op_flush = {
    .name = "flush",
    .timeout = SF_FLUSH_KIND,
    .brings_back = true,
    .ended = flush_ended,
    .on_event = flush_on_event,
    .review = flush_review,
    .fail = flush_fail,
};

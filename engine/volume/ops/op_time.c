/* Ops and time: sending again, waiting for too long, giving up. */
#include "volume/ops/op_time.h"

#include <errno.h>

#include "volume/ground/deadline.h"
#include "volume/ground/facts.h"
#include "volume/ground/silence.h"
#include "volume/ground/steps.h"
#include "volume/ops/flush.h"
#include "volume/ops/op.h"
#include "volume/ops/suspend.h"

static void
resend(struct sf_op *op) {
  sf_op_hold(op, HOLD_NOT);
  op->paced_ns = 0;
  op->kind->run_again(op);
}

/* An op goes to another leg, or to one that failed it, while late legs still have it. */
static legset
waits_for(const struct sf_op *op) {
  return op->kind->copies ? op->pending : op->pending & (legset) ~op->overdue;
}

static void
excuse(struct sf_op *op, uint64_t delay_ns) {
  op->asked_ns = sf_vol_later(op->volume, op->asked_ns, delay_ns);
  op->started_ns = sf_vol_later(op->volume, op->started_ns, delay_ns);
}

void
sf_op_excuse_delay(struct sf_volume *v, uint64_t delay_ns) {
  EACH_ACTIVE(op, v)
    excuse(op, delay_ns);
  if (v->flush_leader != NULL)
    excuse(v->flush_leader, delay_ns);
  sf_flush_excuse_delay(v, delay_ns);
  for (unsigned kind = 0; kind < SF_KINDS; kind++)
    if (v->awaited_ns[kind] != 0)
      v->awaited_ns[kind] = sf_vol_later(v, v->awaited_ns[kind], delay_ns);
}

/* A suspended write needs more legs than are in sync.  Sent all the same, it would keep the copies
 * out that bring them back. */
static bool
is_in_vain(const struct sf_op *op) {
  return op->passable && legcount(sf_insync_legs(op->volume)) < op->volume->min_legs;
}

/* It is not a leg's turn that it waits for, be it one that catches up. */
static bool
is_stuck(const struct sf_op *op, legset awaited) {
  legset serving = sf_insync_legs(op->volume);

  if (op->machine.state != OP_RUNNING || (op->pending & serving & (legset) ~awaited) != 0)
    return false;
  return op->pending == 0 || (op->pending & awaited) != 0;
}

static bool
legs_are_too_few(const struct sf_volume *v) {
  return v->suspended > 0 || v->flush_held != NULL ||
         (v->flush_leader != NULL && v->flush_leader->was_held) ||
         legcount(sf_insync_legs(v)) < v->min_legs;
}

/* Legs do not answer, and a request has all that it needs but for these.  Else requests only wait
 * for their turn: on a busy leg they may for long, and the silent leg leaves as soon as the busy
 * one has what it lacks.  The deadline of `kind` counts: a flush may take longer than a write. */
static bool
legs_are_awaited(const struct sf_volume *v, enum sf_kind kind) {
  legset awaited = 0;

  EACH_LEG(leg, sf_insync_legs(v))
    if (sf_insync_leg_is_awaited(v, leg, kind))
      awaited |= legbit(leg);
  if (awaited == 0)
    return false;
  if (kind == SF_FLUSH_KIND)
    return v->flush_leader != NULL && is_stuck(v->flush_leader, awaited);
  if (v->parked != NULL)
    return true;
  EACH_ACTIVE(op, v)
    if (is_stuck(op, awaited))
      return true;
  return false;
}

/* What has waited long for its turn on a busy leg is not starved as soon as a leg is silent: the
 * leg first has the time to leave. */
static bool
waits_in_vain(struct sf_volume *v, enum sf_kind kind, uint64_t since_ns) {
  uint64_t longest = sf_deadline_longest_timeout(v, SF_WRITE_KIND),
           *awaited_ns = &v->awaited_ns[kind];

  if (!legs_are_awaited(v, kind))
    *awaited_ns = 0;
  else if (*awaited_ns == 0)
    *awaited_ns = v->now_ns;
  return *awaited_ns != 0 && v->now_ns - *awaited_ns > 2 * longest &&
         v->now_ns - since_ns > 3 * longest;
}

static bool
is_starved(struct sf_volume *v, uint64_t oldest_ns) {
  const struct sf_op *flush = v->flush_leader;
  bool writes = waits_in_vain(v, SF_WRITE_KIND, oldest_ns);
  bool flushes = waits_in_vain(v, SF_FLUSH_KIND, flush == NULL ? v->now_ns : flush->started_ns);

  return writes || flushes ||
         (legs_are_too_few(v) &&
          v->now_ns - oldest_ns > 3 * sf_deadline_longest_timeout(v, SF_WRITE_KIND));
}

void
sf_op_tick(struct sf_volume *v) {
  uint64_t oldest = sf_vol_oldest_held(v);
  bool again = true;

  sf_flush_tick(v);
  while (again) {
    again = false;
    EACH_ACTIVE(op, v) {
      if (op->request == NULL)
        continue;
      if (op->started_ns < oldest)
        oldest = op->started_ns;
      if (v->config.on_too_few == SF_TOO_FEW_ERROR &&
          v->now_ns - op->asked_ns >= v->config.fail_timeout_ns) {
        sf_op_fail(op, -EIO);
        again = true;
        break;
      }
    }
  }
  if (v->flush_leader != NULL && v->flush_leader->request != NULL) {
    if (v->flush_leader->started_ns < oldest)
      oldest = v->flush_leader->started_ns;
    if (v->config.on_too_few == SF_TOO_FEW_ERROR)
      sf_flush_expire(v);
  }
  EACH_ACTIVE_UNLISTING(op, v) {
    if (op->machine.state == OP_RUNNING && op->hold == HOLD_AGAIN && v->now_ns >= op->again_ns &&
        waits_for(op) == 0 && !sf_op_is_passed(op) && !is_in_vain(op))
      resend(op);
  }
  v->starved_ns = is_starved(v, oldest) ? oldest : 0;
}

void
sf_op_give_up(struct sf_volume *v, const struct sf_request *request) {
  EACH_ACTIVE(op, v) {
    if (op->request == request) {
      sf_op_fail(op, -ESHUTDOWN);
      return;
    }
  }
  if (v->flush_leader != NULL && v->flush_leader->request == request)
    sf_flush_give_up(v->flush_leader);
}

void
sf_op_fail_all(struct sf_volume *v, int error) {
  bool again = true;

  while (again) {
    again = false;
    EACH_ACTIVE(op, v) {
      if (op->request != NULL) {
        sf_op_fail(op, error);
        again = true;
        break;
      }
    }
  }
  if (v->flush_leader != NULL && v->flush_leader->request != NULL)
    sf_op_fail(v->flush_leader, error);
}

/* An op that is answered here leaves the list alone but for itself; then those run that waited. */
void
sf_op_review_all(struct sf_volume *v) {
  EACH_ACTIVE_UNLISTING(op, v) {
    sf_op_review(op);
    if (op->listed)
      sf_op_release(op);
  }
  if (v->flush_leader != NULL)
    sf_op_review(v->flush_leader);
  sf_op_overtake_all(v);
  sf_op_run_all(v);
}

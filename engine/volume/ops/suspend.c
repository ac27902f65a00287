/* Writes that wait for legs (on_too_few = suspend), and the copies that bring those back: what may
 * pass what. */
#include "volume/ops/suspend.h"

#include "volume/ground/facts.h"
#include "volume/ground/steps.h"
#include "volume/ops/op.h"

static bool
overlap(const struct sf_op *a, const struct sf_op *b) {
  return a->offset < b->offset + b->length && b->offset < a->offset + a->length;
}

static void
let_copies_pass(struct sf_op *op) {
  struct sf_volume *v = op->volume;

  EACH_ACTIVE_AFTER(later, op) {
    if (later->kind->copies && !later->scrubs && later->machine.state == OP_WAITING &&
        overlap(op, later)) {
      SF_ASSERT(later->blockers > 0);
      if (--later->blockers == 0)
        v->dirty = v->runnable = true;
    }
  }
  op->passable = true;
  v->suspended += op->request != NULL;
}

/* on_too_few = suspend: it is sent anew, to all, at a later tick.  No request may see it or
 * overtake it meanwhile, or it would happen twice; only copies may, so that a leg can catch up and
 * join while it waits. */
void
sf_op_suspend(struct sf_op *op) {
  sf_op_hold(op, HOLD_AGAIN);
  op->ok = op->failed = op->passing = 0;
  if (!op->passable)
    let_copies_pass(op);
}

/* Only a leg that answers nothing still owes it; all others of the set have it, or it was given up
 * and runs on none of them.  What waits for its intent was not sent. */
bool
sf_op_waits_for_unheard(const struct sf_op *op) {
  const struct sf_volume *v = op->volume;
  legset others = (legset) ~v->exchange.unheard;

  if (v->exchange.unheard == 0 || op->kind->reads || op->machine.state == OP_WAITING ||
      (op->running & sf_vol_receivers(v) & others) != 0)
    return false;
  if (op->machine.state == OP_DRAINING || op->hold == HOLD_INTENT)
    return true;
  return op->kind->writes && op->hold == HOLD_NOT && (sf_set_legs(v) & others & ~op->ok) == 0;
}

/* So that the leg that is to take its place can be copied to. */
void
sf_op_pass_unheard(struct sf_volume *v) {
  EACH_ACTIVE(op, v)
    if (!op->passable && sf_op_waits_for_unheard(op))
      let_copies_pass(op);
}

/* The leg has left, or answers again: what copies have passed goes to the legs that joined since. */
void
sf_op_resend_passed(struct sf_volume *v) {
  EACH_ACTIVE(op, v)
    if (op->passable && op->kind->writes && op->machine.state == OP_RUNNING &&
        op->hold == HOLD_NOT) {
      sf_op_hold(op, HOLD_AGAIN);
      op->again_ns = v->now_ns;
    }
}

/* A copy that passed it must end before it is sent anew, whatever it waited for meanwhile. */
bool
sf_op_is_passed(const struct sf_op *op) {
  const struct sf_volume *v = op->volume;

  if (!op->passable)
    return false;
  EACH_ACTIVE(copy, v) {
    if (copy->kind->copies && copy->machine.state != OP_WAITING && overlap(op, copy))
      return true;
  }
  return false;
}

/* What keeps the copy waiting runs, or only waits itself. */
static bool
waits_for_waiting_only(const struct sf_op *copy) {
  EACH_ACTIVE_BEFORE(op, copy) {
    if (op->machine.state != OP_WAITING && sf_op_conflict(op, copy))
      return false;
  }
  return true;
}

/* Takes its place before the ops that wait. */
static void
overtake(struct sf_op *copy) {
  struct sf_volume *v = copy->volume;
  struct sf_list *first = NULL;

  EACH_ACTIVE_BEFORE(op, copy) {
    if (!sf_op_conflict(op, copy))
      continue;
    if (first == NULL)
      first = &op->link;
    op->blockers++;
    SF_ASSERT(copy->blockers > 0);
    copy->blockers--;
  }
  SF_ASSERT(first != NULL && copy->blockers == 0);
  sf_list_remove(&copy->link);
  sf_list_append(first, &copy->link);
  v->dirty = v->runnable = true;
}

/* What waits behind a suspended write would keep out the copies that are to bring it the legs that
 * it waits for. */
void
sf_op_overtake_all(struct sf_volume *v) {
  if ((v->suspended == 0 && v->exchange.unheard == 0) || v->waiting_ops == 0)
    return;
  EACH_ACTIVE_UNLISTING(op, v) {
    if (op->kind->copies && !op->scrubs && op->machine.state == OP_WAITING && op->blockers > 0 &&
        waits_for_waiting_only(op))
      overtake(op);
  }
}

/* And no copy begins while it runs anew. */
bool
sf_op_is_in_the_way(const struct sf_op *copy) {
  const struct sf_volume *v = copy->volume;

  EACH_ACTIVE(op, v) {
    if (op->passable && overlap(op, copy) &&
        (op->running & sf_vol_receivers(v) & (legset) ~v->exchange.unheard) != 0)
      return true;
  }
  return false;
}

/* What an op that waits for a leg which answers nothing has written stays: a resync takes it
 * along. */
static bool
takes_along(const struct sf_op *copy, const struct sf_op *op) {
  return op->volume->exchange.unheard != 0 && !copy->copy->of->converge &&
         (op->ok & legbit((unsigned) copy->copy->source)) != 0;
}

/* The copy overwrites the data of the ops that it passes: they are sent to all legs again. */
void
sf_op_passed_by(const struct sf_op *copy) {
  struct sf_volume *v = copy->volume;

  EACH_ACTIVE(op, v) {
    if (op->passable && overlap(op, copy) && !takes_along(copy, op))
      op->ok = 0;
  }
}

bool
sf_op_only_waits(const struct sf_op *op) {
  return op->passable && op->hold == HOLD_AGAIN && op->pending == 0;
}

/* R2: without end if it is to be suspended; else unless a leg has said that waiting is in vain, and
 * others cannot do without it, and then fail_timeout ends it.  Where no leg has said anything, too few have been asked: more may come,
 * while the volume serves. */
bool
sf_op_may_wait(const struct sf_op *op) {
  if (op->volume->config.on_too_few == SF_TOO_FEW_SUSPEND)
    return true;
  if ((op->failed & (legset) ~op->passing) != 0)
    return sf_op_lacks_a_word(op);
  return op->failed != 0 || op->volume->phase == PHASE_SERVING;
}

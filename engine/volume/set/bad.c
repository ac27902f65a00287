/* The bad ranges of a volume that runs: see bad.h. */
#include "volume/set/bad.h"

#include "volume/ground/facts.h"
#include "volume/ground/host.h"
#include "volume/ground/lost.h"
#include "volume/ground/steps.h"
#include "volume/set/record.h"

enum {
  /* What is added by itself leaves room for what writes in the middle of ranges split off. */
  MARKED_MOST = SF_BAD_MOST / 2,
};

void
bad_load(struct sf_volume *v) {
  v->bad.list = v->identity.bad;
  for (unsigned i = 0; i < v->bad.list.n; i++) {
    const struct sf_bad_range *range = &v->bad.list.range[i];

    lost_load(v, range->begin, range->end - range->begin);
  }
}

bool
bad_any(const struct sf_volume *v, uint64_t offset, uint64_t length) {
  return sf_bad_any(&v->bad.list, offset, offset + length);
}

bool
bad_all(const struct sf_volume *v, uint64_t offset, uint64_t length) {
  return sf_bad_all(&v->bad.list, offset, offset + length);
}

bool
bad_mark(struct sf_volume *v, uint64_t offset, uint64_t length, uint64_t *change) {
  if (!bad_all(v, offset, length)) {
    if (!sf_bad_add(&v->bad.list, offset, offset + length, MARKED_MOST))
      return false;
    v->bad.changes++;
    v->dirty = true;
  }
  *change = v->bad.changes;
  return true;
}

bool
bad_is_durable(const struct sf_volume *v, uint64_t change) {
  return v->bad.durable >= change;
}

uint64_t
bad_run(const struct sf_volume *v, uint64_t offset, uint64_t length, bool *is_bad) {
  uint64_t run = 0;

  *is_bad = false;
  if (!bad_any(v, offset, length))
    return length;
  *is_bad = bad_any(v, offset, v->block_bytes);
  while (run < length && bad_any(v, offset + run, v->block_bytes) == *is_bad)
    run += v->block_bytes;
  return run < length ? run : length;
}

/* A write that was sent before the range was marked may not be stable: it is sent again.  (None is: a copy
 * marks, and it waits for the writes before it.) */
enum bad_clearing
bad_clear(struct sf_op *op) {
  struct sf_volume *v = op->volume;

  if (op->clears != 0)
    return v->bad.durable >= op->clears ? BAD_CLEARED : BAD_CLEARING;
  if (!bad_any(v, op->offset, op->length))
    return BAD_CLEARED;
  if (!op->request_fua) {
    op->ok = 0;
    op_hold(op, HOLD_AGAIN);
    volume_arm(v, v->now_ns);
    return BAD_CLEARING;
  }
  if (!sf_bad_remove(&v->bad.list, op->offset, op->offset + op->length))
    return BAD_NO_ROOM;
  op->clears = ++v->bad.changes;
  v->dirty = true;
  return BAD_CLEARING;
}

/* While the volume grows it may have bad blocks behind the size that the record has as yet. */
static bool
may_be_recorded(const struct sf_volume *v) {
  return (v->phase == PHASE_SERVING ||
          (v->phase == PHASE_STOPPING && v->stop_step == STOP_DRAIN)) &&
         v->grow.step != GROW_PAGES && record_is_durable(v);
}

/* The next record waits for the last one: it would undo a promotion, and many ranges need one record. */
void
bad_settle(struct sf_volume *v) {
  struct bad *bad = &v->bad;

  if (bad->durable != bad->submitted && record_is_reached(v, bad->submitted_version)) {
    bad->durable = bad->submitted;
    v->dirty = true;
  }
  if (bad->submitted == bad->changes || !may_be_recorded(v))
    return;
  v->identity.bad = bad->list;
  record_change(v, v->latest.in_sync, v->latest.faulty, false);
  bad->submitted = bad->changes;
  bad->submitted_version = v->version;
}

/* The bad ranges of a volume that runs: see bad.h. */
#include "volume/set/bad.h"

#include "volume/ground/facts.h"
#include "volume/ground/host.h"
#include "volume/ground/lost.h"
#include "volume/ground/steps.h"
#include "volume/set/record.h"
#include "volume/set/sample.h"

enum {
  /* Marking leaves room for the ranges that writes in the middle of others split off. */
  MARKED_MOST = SF_BAD_MOST / 2,
  CONFIRM_LOOKS =
      8, /* so many find a block unreadable that is bad: in less than a resync puts it off */
};

void
sf_bad_load(struct sf_volume *v) {
  v->bad.list = v->bad.stands = v->identity.bad;
  for (unsigned i = 0; i < v->bad.list.n; i++) {
    const struct sf_bad_range *range = &v->bad.list.range[i];

    sf_lost_load(v, range->begin, range->end - range->begin);
  }
  v->bad.look_ns = SF_S;
}

bool
sf_bad_touches(const struct sf_volume *v, uint64_t offset, uint64_t length) {
  return sf_bad_any(&v->bad.list, offset, offset + length);
}

bool
sf_bad_covers(const struct sf_volume *v, uint64_t offset, uint64_t length) {
  return sf_bad_all(&v->bad.list, offset, offset + length);
}

bool
sf_bad_mark(struct sf_volume *v, uint64_t offset, uint64_t length, uint64_t *change) {
  if (!sf_bad_covers(v, offset, length)) {
    if (!sf_bad_add(&v->bad.list, offset, offset + length, MARKED_MOST))
      return false;
    v->bad.changes++;
    v->dirty = true;
  }
  *change = v->bad.changes;
  return true;
}

bool
sf_bad_is_durable(const struct sf_volume *v, uint64_t change) {
  return v->bad.durable >= change;
}

uint64_t
sf_bad_run(const struct sf_volume *v, uint64_t offset, uint64_t length, bool *is_bad) {
  uint64_t run = 0;

  *is_bad = false;
  if (!sf_bad_touches(v, offset, length))
    return length;
  *is_bad = sf_bad_touches(v, offset, v->block_bytes);
  while (run < length && sf_bad_touches(v, offset + run, v->block_bytes) == *is_bad)
    run += v->block_bytes;
  return run < length ? run : length;
}

bool
sf_bad_is_cut(const struct sf_volume *v, uint64_t offset, uint64_t length) {
  uint64_t end = offset + length, block = v->block_bytes;
  uint64_t first = offset - offset % block, last = (end + block - 1) / block * block;

  return (first < offset && sf_bad_touches(v, first, offset - first)) ||
         (end < last && sf_bad_touches(v, end, last - end));
}

/* Does it wait for such a block itself?  Two legs must not wait for each other. */
static bool
waits_itself(const struct sf_volume *v, unsigned leg) {
  const struct sf_map *put_off = &v->copier.put_off;

  for (uint64_t e = sf_map_next(put_off, 0); e < v->extents; e = sf_map_next(put_off, e + 1))
    if (sf_map_test(&v->leg[leg].stale, e))
      return true;
  return false;
}

/* By a leg that is out for now, lacks nothing of the extent, and may be able to read it: it is
 * waited for.  Not a faulty one, which comes back by the operator's word only. */
static bool
may_be_had(const struct sf_volume *v, uint64_t extent) {
  EACH_LEG(leg, sf_members(v) & (legset) ~sf_insync_legs(v)) {
    if (sf_leg_state(&v->leg[leg]) != SF_STATE_FAULTY && !sf_map_test(&v->leg[leg].stale, extent) &&
        !waits_itself(v, leg))
      return true;
  }
  return false;
}

/* ---- found ---- */

/* The block was read before, in vain: has the leg read anything since? */
void
sf_bad_note(struct sf_op *op, unsigned leg) {
  const struct copying *of = op->copy->of;
  uint64_t failed_ns = of->judge != NULL ? 0 : of->doubt[op->copy->piece].failed_ns;

  if (failed_ns != 0 && op->volume->leg[leg].read_ok_ns > failed_ns)
    op->copy->well |= legbit(leg);
}

/* Did every leg in sync fail it, for the second time, and read something else in between?  A leg that reads nothing
 * says nothing of the block. */
static bool
is_bad_everywhere(struct sf_op *op) {
  struct sf_volume *v = op->volume;
  legset serving = sf_insync_legs(v);

  EACH_LEG(leg, op->failed & serving) {
    sf_probe_sample(v, leg);
  }
  return (serving & (legset) ~(op->failed & op->copy->well)) == 0;
}

/* A leg may fail all that it is asked for a while, as a disk that is reset does, and be well again; also where the
 * others really cannot read a block.  So what is lost is what was found so again and again, for seconds. */
static bool
is_confirmed(const struct sf_volume *v, struct copying *of, struct doubt *doubt,
             bool is_everywhere) {
  of->doubted += doubt->failed_ns == 0;
  doubt->failed_ns = v->now_ns;
  if (doubt->counted_ns == 0)
    doubt->counted_ns = v->now_ns;
  if (!is_everywhere || v->now_ns - doubt->counted_ns < v->bad.look_ns)
    return false;
  doubt->counted_ns = v->now_ns;
  return ++doubt->looks >= CONFIRM_LOOKS;
}

/* A resync looks twice, as it puts off what it cannot read. */
static bool
failed_before(const struct sf_volume *v, const struct sf_op *op) {
  uint64_t since = sf_lost_since(v, op->offset, op->length);

  return since != 0 && v->now_ns - since >= CONFIRM_LOOKS * v->bad.look_ns;
}

bool
sf_bad_is_found(struct sf_op *op) {
  const struct sf_volume *v = op->volume;
  struct copying *of = op->copy->of;
  bool is_everywhere = is_bad_everywhere(op);
  bool is_sure = is_confirmed(v, of, &of->doubt[op->copy->piece], is_everywhere);

  if (of->converge || !is_everywhere)
    return is_sure;
  of->elsewhere = of->elsewhere || may_be_had(v, of->extent);
  return !of->elsewhere && failed_before(v, op);
}

/* A start may find it bad there still. */
static bool
stands_as_bad(const struct sf_volume *v, uint64_t begin, uint64_t end) {
  return v->bad.durable != v->bad.changes &&
         (sf_bad_any(&v->bad.stands, begin, end) || sf_bad_any(&v->identity.bad, begin, end));
}

/* A write that was sent before the range was marked may not be stable: it is sent again.  (None is:
 * a copy marks, and it waits for the writes before it.) */
enum bad_clearing
sf_bad_clear(struct sf_op *op) {
  struct sf_volume *v = op->volume;

  if (op->clears != 0)
    return v->bad.durable >= op->clears ? BAD_CLEARED : BAD_CLEARING;
  if (sf_bad_is_cut(v, op->offset, op->length))
    return BAD_NO_ROOM; /* it was marked while the write was suspended */
  if (!sf_bad_touches(v, op->offset, op->length)) {
    /* An earlier write that failed to its client has made it good, and the record without it is not
     * durable. */
    if (stands_as_bad(v, op->offset, op->offset + op->length))
      op->clears = v->bad.changes;
    return op->clears != 0 ? BAD_CLEARING : BAD_CLEARED;
  }
  if (!op->request_fua) {
    op->ok = 0;
    sf_op_hold(op, HOLD_AGAIN);
    sf_vol_arm(v, v->now_ns);
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
         v->grow.step != GROW_PAGES && sf_record_is_durable(v);
}

/* The next record waits for the last one: it would undo a promotion, and many ranges need one
 * record. */
void
sf_bad_settle(struct sf_volume *v) {
  struct bad *bad = &v->bad;

  if (bad->durable != bad->submitted && sf_record_is_reached(v, bad->submitted_version)) {
    bad->durable = bad->submitted;
    bad->stands = v->identity.bad;
    v->dirty = true;
  }
  if (bad->submitted == bad->changes || !may_be_recorded(v))
    return;
  v->identity.bad = bad->list;
  sf_record_change(v, v->latest.in_sync, v->latest.faulty, false);
  bad->submitted = bad->changes;
  bad->submitted_version = v->version;
}

/* May the volume submit this?  The fence (R5), nothing that overlaps a write in flight on one leg
 * (R6), intent before data (R8), and records that never go back (R12). */
#include <string.h>

#include "assembly/blank.h"

#include "sim/sim.h"

/* The write changes no content: a block read elsewhere is repaired.  Asked of its part in
 * `want`. */
static bool
changes_nothing(const struct sim_leg *leg, const struct sf_tio_buffer *buffer, uint64_t offset,
                uint64_t length, const struct sf_tio_region *want) {
  for (uint64_t at = offset; at < offset + length; at += BLOCK) {
    uint64_t block = (at - sim.data_offset) / BLOCK;

    if (at >= want->offset && at < want->offset + want->length &&
        stamp_get(buffer->data, (unsigned) ((at - offset) / BLOCK), block) != leg->now[block])
      return false;
  }
  return true;
}

static bool
is_repair(const struct region *r, const struct sf_tio_region *want) {
  return r->op == SF_TIO_WRITE && r->offset >= sim.data_offset &&
         changes_nothing(&sim.leg[r->leg], r->buffer, r->offset, r->length, want);
}

static void
check_submission(unsigned leg, const struct sf_tio_control *control,
                 const struct sf_tio_region *want) {
  EACH_REGION(r, leg) {
    bool overlap = control->op != SF_TIO_FLUSH && r->op != SF_TIO_FLUSH &&
                   want->offset < r->offset + r->length && r->offset < want->offset + want->length;

    if (r->life != sim.life)
      sim_fail("leg %u: used while a dead process holds it", leg);
    if (r->old)
      sim_fail("leg %u: R5, a %s is submitted while it holds a %s from before it left the set", leg,
               op_name[control->op], op_name[r->op]);
    if (overlap && op_writes(r->op) && control->op != SF_TIO_READ)
      sim_fail("leg %u: R5, a %s of %lu+%lu overlaps a %s of %lu+%lu in flight", leg,
               op_name[control->op], (unsigned long) want->offset, (unsigned long) want->length,
               op_name[r->op], (unsigned long) r->offset, (unsigned long) r->length);
    /* A superblock that is read in the middle of its write has a wrong CRC, and says nothing. */
    if (overlap && op_writes(r->op) && control->op == SF_TIO_READ && !is_repair(r, want) &&
        want->offset >= SF_PROBE_OFFSET)
      sim_fail("leg %u: R6, a read of %lu+%lu overlaps a %s in flight", leg,
               (unsigned long) want->offset, (unsigned long) want->length, op_name[r->op]);
  }
}

/* R8, reading 7: before data, its intent is durable on every leg that an answer needs.  Where
 * nothing changes there is nothing to intend (a repair), and where the volume has just grown no
 * client has been promised anything. */
static void
check_intent(unsigned leg, const struct sf_tio_control *control, const struct sf_tio_region *want) {
  uint64_t first, last, end = sim.data_offset + sim.blocks_promised * BLOCK;
  unsigned needs;
  struct sf_tio_region part = *want;

  if (!op_writes(control->op) || want->offset < sim.data_offset || want->offset >= end ||
      !inside_is_member(sim.volume, leg))
    return;
  if (part.length > end - part.offset)
    part.length = end - part.offset;
  first = (part.offset - sim.data_offset) / BLOCK / sim.extent_blocks;
  last = (part.offset + part.length - 1 - sim.data_offset) / BLOCK / sim.extent_blocks;
  needs = inside_needs(sim.volume, part.offset, part.length);
  for (unsigned i = 0; i < sim.options.legs; i++)
    for (uint64_t e = first; e <= last && (needs >> i & 1); e++)
      if (!medium_has_intent(&sim.leg[i], e) &&
          (control->op != SF_TIO_ZERO || !inside_is_unwritten(sim.volume, e)) &&
          (control->op != SF_TIO_WRITE ||
           !changes_nothing(&sim.leg[leg], control->buffer, part.offset, part.length, &part)))
        sim_fail("R8: a %s into extent %lu is submitted to leg %u, and leg %u has no intent",
                 op_name[control->op], (unsigned long) e, leg, i);
}

/* R12: another host may start as soon as it stands on one leg. */
static void
check_clean_record(const struct sf_record *record) {
  for (unsigned i = 0; i < sim.options.legs; i++)
    if (tio_writes_beside(i, record))
      sim_fail("R12: a clean record is written, and leg %u still holds a write of it", i);
}

/* R14: only a leg that lacks everything, or is blank and may have been promoted since, and gets
 * nothing yet. */
static void
check_blank(unsigned leg) {
  const struct picked *head = picked(sim.leg[leg].meta_stable);

  if (inside_is_named(sim.volume, leg) || inside_leg_state(sim.volume, leg) != SF_STATE_PROBING ||
      (!inside_lacks_all(sim.volume, leg) && !sf_leg_is_blank(&head->sb)))
    sim_fail("R14: leg %u is called blank", leg);
}

/* R14: what is copied to a leg makes it one of two times, and no start must take it for whole,
 * whichever copy of the superblock it can read. */
static void
check_told(unsigned leg, const struct sf_tio_control *control, const struct sf_tio_region *want) {
  uint8_t pages[SF_SUPERBLOCK_COPIES * SF_PAGE_BYTES];
  bool is_blank = false;

  if (!op_writes(control->op) || want->offset < sim.data_offset || inside_is_named(sim.volume, leg))
    return;
  memcpy(pages, sim.leg[leg].meta_stable, sizeof pages);
  for (unsigned i = 0; i < SF_SUPERBLOCK_COPIES; i++) {
    const struct picked *head = picked(pages);

    if (head->error != 0)
      return;
    if (is_blank && !sf_leg_is_blank(&head->sb))
      sim_fail("R14: leg %u gets a %s, and one copy of its superblock alone says that it is blank",
               leg, op_name[control->op]);
    is_blank = sf_leg_is_blank(&head->sb);
    if (!sf_leg_is_blank(&head->sb) && (head->sb.record.in_sync >> leg & 1))
      sim_fail("R14: leg %u gets a %s, and its superblock names it", leg, op_name[control->op]);
    memset(pages + (size_t) head->newest * SF_PAGE_BYTES, 0, SF_PAGE_BYTES);
  }
}

/* R12: a claim carries a copy of the record that the start goes on from, and what follows is newer.
 * Without the copy a start that breaks off leaves a doubt behind, and the next one has to wait for
 * legs that it need not have. */
static void
check_record(unsigned leg, const struct sf_tio_control *control, const struct sf_tio_region *want) {
  struct sf_superblock sb;

  if (control->op != SF_TIO_WRITE || want->offset >= SF_PROBE_OFFSET)
    return;
  if (sf_superblock_decode(control->buffer->data, &sb) != 0)
    sim_fail("leg %u: a superblock is written that cannot be read", leg);
  if (sf_leg_is_blank(&sb))
    check_blank(leg);
  else if (sf_record_compare(&sb.record, &sim.base.record) < 0)
    sim_fail("R12: leg %u: claim %lu is written with record (%lu, %lu), and the start goes on from "
             "(%lu, %lu)",
             leg, (unsigned long) sb.claim, (unsigned long) sb.record.term,
             (unsigned long) sb.record.change, (unsigned long) sim.base.record.term,
             (unsigned long) sim.base.record.change);
  if (sb.record.clean && sf_record_compare(&sb.record, &sim.base.record) > 0)
    check_clean_record(&sb.record);
  if ((sb.record.in_sync >> leg & 1) && sim.leg_state[leg] == SF_STATE_CATCHING_UP)
    fault_promotion(leg), silent_promotion(leg);
  silent_record(leg, sb.record.in_sync);
}

/* It says of the leg what its superblock says. */
static void
check_mark(unsigned leg, const struct sf_tio_control *control, const struct sf_tio_region *want) {
  struct sf_mark mark;

  if (control->op != SF_TIO_WRITE || want->offset != SF_MARK_OFFSET)
    return;
  COUNT(marks_written);
  if (!sf_mark_decode(control->buffer->data, &mark) ||
      !sf_mark_is_leg(&mark, inside_identity(sim.volume), leg))
    sim_fail("leg %u: another one's mark is written", leg);
}

void
check_submitted(unsigned leg, const struct sf_tio_control *control,
                const struct sf_tio_region *want) {
  check_submission(leg, control, want);
  check_intent(leg, control, want);
  check_record(leg, control, want);
  check_told(leg, control, want);
  check_mark(leg, control, want);
}

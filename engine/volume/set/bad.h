/* Bad ranges: what no leg in sync could read, each asked twice while it read otherwise (R15).  What
 * a leg holds there says nothing, and may be something else on each: so they are read from no leg
 * until they are written.
 *
 *   marked    by a copy, in the order of R6; from then on a read is answered EIO.  The copy passes
 *             over the block, and its extent counts as copied once the record with the range is
 *             durable, not before: a start that finds the leg without the stale bit finds the
 *             range.
 *   cleared   by a write, which is FUA whatever its client asked: once each leg that its answer
 *             needs has it, a record without the range is written, and the write is answered when
 *             that is durable.  A crash before leaves the range bad, and one after finds the write
 *             on all legs of that record.
 *
 * The list stands in the superblock beside the record and goes with it (R12), so the one of the
 * record that a start starts from counts, and no other. */
#ifndef SF_VOLUME_BAD_H
#define SF_VOLUME_BAD_H

#include "volume/state.h"

void sf_bad_load(struct sf_volume *v);
bool sf_bad_touches(const struct sf_volume *v, uint64_t offset, uint64_t length);
bool sf_bad_covers(const struct sf_volume *v, uint64_t offset, uint64_t length);
/* Does it touch a part of a block of which another part is bad?  Copies read whole blocks: the
 * written part would be called bad again. */
bool sf_bad_is_cut(const struct sf_volume *v, uint64_t offset, uint64_t length);
/* This copy could not read it on that leg. */
void sf_bad_note(struct sf_op *op, unsigned leg);
/* Is what this copy could not read on any leg to be recorded?  Else it is asked for again, now or later. */
bool sf_bad_is_found(struct sf_op *op);
/* True: *change is the change of the list that must be durable before it is relied on.  False:
 * there is no room for another range. */
bool sf_bad_mark(struct sf_volume *v, uint64_t offset, uint64_t length, uint64_t *change);
bool sf_bad_is_durable(const struct sf_volume *v, uint64_t change);
/* Of the blocks from offset on, how many bytes are alike: with something bad in each, or in
 * none. */
uint64_t sf_bad_run(const struct sf_volume *v, uint64_t offset, uint64_t length, bool *is_bad);
enum bad_clearing {
  BAD_CLEARED,  /* or nothing was bad there: it may be answered */
  BAD_CLEARING, /* it may be when a record is durable */
  BAD_NO_ROOM,  /* the rest of the range cannot be recorded, or is a part of a block: it fails */
};
/* The write is where it has to be. */
enum bad_clearing sf_bad_clear(struct sf_op *op);
void sf_bad_settle(struct sf_volume *v);

#endif

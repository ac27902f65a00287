/* What a leg needs that the start did not take as current. */
#ifndef SF_ASSEMBLY_BLANK_H
#define SF_ASSEMBLY_BLANK_H

#include <surefoot/ondisk.h>

/* The record of a leg that sf_leg_discard() emptied, and of one that is about to be copied whole.
 * Older than the first one of any volume, which is (1,1).  Such a leg holds nothing, whatever newer
 * records say of it. */
enum { SF_BLANK_TERM = 1, SF_BLANK_CHANGE = 0 };

static inline bool
sf_leg_is_blank(const struct sf_superblock *sb) {
  return sb->record.term == SF_BLANK_TERM && sb->record.change == SF_BLANK_CHANGE;
}

/* It names the leg itself nowhere in sync, if another leg can be named. */
static inline struct sf_record
sf_leg_blank_record(const struct sf_superblock *volume, unsigned leg, uint8_t min_legs) {
  uint16_t all = (uint16_t) ((1u << volume->legs) - 1) & (uint16_t) ~volume->removed;
  uint16_t others = all & (uint16_t) ~(1u << leg);
  return (struct sf_record){.term = SF_BLANK_TERM,
                            .change = SF_BLANK_CHANGE,
                            .in_sync = others ? others : all,
                            .min_legs = min_legs};
}

/* A leg with verdict BEHIND: copy all of it, whatever the stale maps say.  They were not kept for a
 * leg that was emptied since, nor for a leg from another line of history. */
static inline bool
sf_leg_needs_whole_copy(const struct sf_superblock *base, const struct sf_superblock *leg) {
  return sf_leg_is_blank(leg) || !sf_uuid_equal(&leg->lineage, &base->lineage);
}

#endif

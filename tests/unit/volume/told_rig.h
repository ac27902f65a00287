/* A rig for legs that come back: parts of what they are asked can be kept from ending. */
#ifndef TEST_VOLUME_TOLD_RIG_H
#define TEST_VOLUME_TOLD_RIG_H

#include "rig.h"

enum { EXTENT = 65536, EXTENTS = 64 };

extern struct rig rig;
/* Legs of which these do not end; bit i. */
extern unsigned hung, keep_superblocks, keep_probes, keep_maps, keep_data, keep_flushes;

bool hangs(const struct rig *r, const struct rig_region *region); /* rig.holds, by these */
bool is_probe(const struct rig_region *region);
bool tells_leg_2(const struct rig *r, const struct rig_region *region);

void told_rig_init(unsigned legs, unsigned min_legs); /* nothing is kept */
/* Three legs that serve; these hang while the first extents are written, and copies go at next to no
 * rate. */
void begin(unsigned min_legs, unsigned hang);
void rate(uint64_t bytes);                /* of copies, in a second; 0: as fast as they go */
void pass_until(enum sf_leg_state state); /* of leg 2 */
bool leg_2_names_itself(void);            /* by its newest superblock */
void until_leg_2_names_itself(void);
void write_well(uint64_t extent, uint8_t fill);
void write_eight(unsigned first); /* extents, each of another content */
void flush_well(uint64_t ms);     /* and so much time passes */
/* The process is killed; rig.refused says what became of the start. */
void start_by_force_without(unsigned absent);

#endif

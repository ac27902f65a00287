/* A rig with disks that drop their cache and say so once, in the next flush that they carry out. */
#ifndef TEST_VOLUME_FLUSH_RIG_H
#define TEST_VOLUME_FLUSH_RIG_H

#include "rig.h"

enum { EXTENT = 65536, BLOCK = 4096 };

enum carrier { ANY_FLUSH, FLUSH_COMMAND, MAP_PAGE, FUA_DATA };

struct flush_fault {
  unsigned legs;        /* bit i: the next flush of leg i fails; cleared when it has */
  enum carrier carrier; /* only what carries it in this way fails */
  int error;
  bool drops; /* the first block of the volume goes back to 1 there */
};

extern struct rig rig;
extern struct flush_fault fault;

/* A volume of 64 extents that serves, without a fault yet; intents stay until the test ends. */
void flush_rig_init(unsigned legs, unsigned min_legs, enum sf_on_too_few on_too_few);
int next_flush_fails(const struct rig *r, const struct rig_region *region); /* rig.fails */
extern bool holding; /* what rig.holds names is held back */
bool holds_fua_of_leg_0(const struct rig *r, const struct rig_region *region);
/* A block with FUA, which leg 0 does not answer as long as `holding`. */
void submit_fua_held(struct rig_request *fua, uint64_t offset, uint8_t fill);

/* One block, or a flush, and 400 ms for it: 0, -errno, or 1 for a request that still waits then,
 * and is given up. */
int ask(enum sf_request_kind kind, uint64_t offset, uint8_t fill);
int ask_fua(uint64_t offset, uint8_t fill);
int write_at(uint64_t offset, uint8_t fill);
int flush(void);
/* The first byte of the block, from a read that must go well. */
uint8_t read_at(uint64_t offset);
/* What the leg holds of the block. */
uint8_t *block_on(unsigned leg, uint64_t offset);

#endif

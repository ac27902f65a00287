/* Superblocks, read once (picked.c).  A part of sim.h. */
#ifndef SIM_PICKED_H
#define SIM_PICKED_H

struct picked {
  int error;               /* of sf_superblock_pick() */
  unsigned newest;         /* which copy */
  struct sf_superblock sb; /* zeros: there is none */
};

/* Of both copies.  It lasts until the next call. */
const struct picked *picked(const uint8_t *pages);

#endif

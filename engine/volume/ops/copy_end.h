/* Of copy_end.c.  Called with volume->lock held. */
#ifndef SF_VOLUME_COPY_END_H
#define SF_VOLUME_COPY_END_H

#include "volume/state.h"

extern const struct sf_state_table sf_copy_table;

void sf_copy_move(struct sf_volume *v, struct copy *copy, enum copy_state state);

enum copy_end {
  COPY_DONE,
  COPY_FAILED, /* the extent stays as it is */
  COPY_BAD,    /* no leg can read it: the medium is bad there, or the legs are */
  COPY_LOST,   /* a block, surely */
  COPY_PASSED, /* it was found bad before */
  COPY_AGAIN,  /* to be told which */
  COPY_LATER,  /* no buffer, or a suspended write is tried again: this piece again, soon */
  COPY_LATE,   /* a leg that is busy, and stays: this piece again, after a pause */
};

/* Its piece is noted, and the slot and the op are free. */
void sf_copy_end(struct sf_op *op, enum copy_end how);

#endif

/* Of penalty.c.  Called with volume->lock held. */
#ifndef SF_VOLUME_PENALTY_H
#define SF_VOLUME_PENALTY_H

#include "volume/state.h"

void sf_penalty_moved(struct sf_volume *v, unsigned leg, enum sf_leg_state from);
void sf_penalty_back(struct sf_volume *v,
                     unsigned leg); /* it has ended all that it held, or is there again */
void sf_penalty_seen_well(struct sf_volume *v, unsigned leg);
void sf_penalty_seen_unwell(struct sf_volume *v, unsigned leg);
/* It was put out while it was well: how long that lasts is not its absence. */
void sf_penalty_was_well(struct sf_volume *v, unsigned leg);
uint64_t sf_penalty_left(const struct sf_volume *v, unsigned leg); /* to be seen well, yet */
/* The leg's own, and when it is let in again if that is not soon. */
void sf_penalty_reason(const struct sf_volume *v, unsigned leg, char *text, size_t size);

#endif

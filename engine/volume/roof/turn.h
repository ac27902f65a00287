/* Of turn.c.  Called with volume->lock held. */
#ifndef SF_VOLUME_TURN_H
#define SF_VOLUME_TURN_H

#include "volume/state.h"

void sf_vol_settle(struct sf_volume *v); /* after any change: move on what can move on */
void sf_turn_tick(struct sf_volume *v);

#endif

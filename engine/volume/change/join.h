/* Of join.c: the last steps of a catch-up.  Called with volume->lock held. */
#ifndef SF_VOLUME_JOIN_H
#define SF_VOLUME_JOIN_H

#include "volume/state.h"

void sf_join_settle(struct sf_volume *v);

#endif

/* Of exchange.c: a leg that catches up takes the place of one that answers nothing.  Called with
 * volume->lock held. */
#ifndef SF_VOLUME_EXCHANGE_H
#define SF_VOLUME_EXCHANGE_H

#include "volume/state.h"

void sf_exchange_settle(struct sf_volume *v);

#endif

/* Of intent_clear.c.  Called with volume->lock held. */
#ifndef SF_VOLUME_INTENT_CLEAR_H
#define SF_VOLUME_INTENT_CLEAR_H

#include "volume/state.h"

void sf_intent_tick(struct sf_volume *v);
bool sf_intent_stop(struct sf_volume *v); /* all is flushed: is nothing intended any more? */

#endif

/* Of culprit.c: the legs that a suspended or failed volume waits for.  Called with volume->lock
 * held. */
#ifndef SF_VOLUME_CULPRIT_H
#define SF_VOLUME_CULPRIT_H

#include "volume/state.h"

legset sf_culprit_legs(const struct sf_volume *v);
/* "waits for leg g: 4 writes, the oldest 6.2 s; 2 legs needed"; "" in any other state. */
void sf_culprit_text(const struct sf_volume *v, char *text, size_t size);
void sf_vol_tell_state(struct sf_volume *v); /* if it is another one */

#endif

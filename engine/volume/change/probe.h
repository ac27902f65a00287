/* Of probe.c.  Called with volume->lock held. */
#ifndef SF_VOLUME_PROBE_H
#define SF_VOLUME_PROBE_H

#include "volume/state.h"

void probe_schedule(struct sf_volume *v, unsigned leg);
void probe_tick(struct sf_volume *v, unsigned leg);
void leg_settle(struct sf_volume *v, unsigned leg);

#endif

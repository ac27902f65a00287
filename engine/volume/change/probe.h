/* Of probe.c.  Called with volume->lock held. */
#ifndef SF_VOLUME_PROBE_H
#define SF_VOLUME_PROBE_H

#include "volume/state.h"

void sf_probe_schedule(struct sf_volume *v, unsigned leg);
void sf_probe_tick(struct sf_volume *v, unsigned leg);
void sf_probe_looked(struct sf_volume *v, unsigned leg, uint64_t look, bool gone);
void sf_leg_settle(struct sf_volume *v, unsigned leg);

#endif

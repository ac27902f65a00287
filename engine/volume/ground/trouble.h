/* Of trouble.c.  Called with volume->lock held. */
#ifndef SF_VOLUME_TROUBLE_H
#define SF_VOLUME_TROUBLE_H

#include "volume/state.h"

/* It stays in sync and does not do what it is asked: told once in a series. */
void sf_leg_trouble(struct sf_volume *v, unsigned leg, const char *reason);
/* What an event of a request says of the leg. */
void sf_leg_answered(const struct leg_io_part *part, const struct sf_tio_event *event);
void sf_leg_well(struct sf_volume *v, unsigned leg);

#endif

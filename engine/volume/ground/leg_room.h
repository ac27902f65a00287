/* Of leg_room.c.  Called with volume->lock held. */
#ifndef SF_VOLUME_LEG_ROOM_H
#define SF_VOLUME_LEG_ROOM_H

#include "volume/state.h"

/* Whether the part may be sent to its leg now; sets what it costs there. */
bool sf_leg_room_is_there(struct sf_volume *v, struct leg_io_part *part);
/* By what waits already, and goes first. */
bool sf_leg_room_is_queued_for(const struct sf_volume *v, const struct leg *leg,
                               enum window_use use);
struct leg_io_part *sf_leg_room_next(struct sf_volume *v, struct leg *leg); /* or NULL */

#endif

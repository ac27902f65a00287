/* Of record_wait.c.  Called with volume->lock held. */
#ifndef SF_VOLUME_RECORD_WAIT_H
#define SF_VOLUME_RECORD_WAIT_H

#include "volume/state.h"

/* Its superblock write is late or has failed: what that means for the leg. */
void sf_record_judge(struct sf_volume *v, unsigned leg);
void sf_record_settle(struct sf_volume *v);

#endif

/* Of mark.c.  Called with volume->lock held. */
#ifndef SF_VOLUME_MARK_H
#define SF_VOLUME_MARK_H

#include "volume/state.h"

/* Behind a look at the leg's superblock, with whose io and buffer it is done. */
void sf_mark_look(struct sf_volume *v, unsigned leg);

#endif

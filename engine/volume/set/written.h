/* Of written.c: an extent is written for the first time (R17).  Called with volume->lock held. */
#ifndef SF_VOLUME_WRITTEN_H
#define SF_VOLUME_WRITTEN_H

#include "volume/state.h"

/* Zeros are stable there on every leg that an answer needs. */
void sf_written_first(struct sf_volume *v, uint64_t extent);
/* When nothing is unwritten any more, second copies of the maps' pages need not be. */
void sf_written_settle(struct sf_volume *v);

#endif

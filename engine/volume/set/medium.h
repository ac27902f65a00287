/* Of medium.c.  Called with volume->lock held. */
#ifndef SF_VOLUME_MEDIUM_H
#define SF_VOLUME_MEDIUM_H

#include "volume/state.h"

#define MEDIUM_HEAD UINT64_MAX /* an offset: beside the data */

void sf_medium_failed(struct sf_volume *v, unsigned leg, uint64_t offset, int error);
/* error: why it could not be read. */
void sf_medium_repaired(struct sf_volume *v, unsigned leg, uint64_t offset, uint64_t length,
                        int error);
void sf_medium_read_failed(struct sf_volume *v, uint64_t offset, uint64_t length, int error);
void sf_medium_settle(struct sf_volume *v); /* legs with too many errors leave */
void sf_medium_tick(struct sf_volume *v);
void sf_medium_stopped(struct sf_volume *v);
void sf_medium_reason(const struct sf_volume *v, unsigned leg, char *text, size_t size);

#endif

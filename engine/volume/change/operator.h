/* Of operator.c.  Called with volume->lock held. */
#ifndef SF_VOLUME_OPERATOR_H
#define SF_VOLUME_OPERATOR_H

#include "volume/state.h"

int operator_fail(struct sf_volume *v, unsigned leg);
int operator_take_back(struct sf_volume *v, unsigned leg);
int operator_discard(struct sf_volume *v, unsigned leg);
int operator_opened(struct sf_volume *v, unsigned leg, struct sf_tio_device *device,
                    const struct sf_superblock *sb, uint64_t bytes, int error, const char *why);
int operator_configure(struct sf_volume *v, const struct sf_config *config);

#endif

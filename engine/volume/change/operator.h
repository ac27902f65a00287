/* Of operator.c.  Called with volume->lock held. */
#ifndef SF_VOLUME_OPERATOR_H
#define SF_VOLUME_OPERATOR_H

#include "volume/state.h"

int sf_operator_fail(struct sf_volume *v, unsigned leg);
int sf_operator_take_back(struct sf_volume *v, unsigned leg);
int sf_operator_discard(struct sf_volume *v, unsigned leg);
int sf_operator_opened(struct sf_volume *v, unsigned leg, struct sf_tio_device *device,
                       const struct sf_superblock *sb, uint64_t bytes, int error, const char *why);
int sf_operator_configure(struct sf_volume *v, const struct sf_config *config);

#endif

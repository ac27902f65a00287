/* What the two parts of the rig share. */
#ifndef TEST_VOLUME_RIG_HOST_H
#define TEST_VOLUME_RIG_HOST_H

#include "rig.h"

extern const struct sf_volume_host rig_host; /* its ctx: the rig */

struct sf_tio_buffer *rig_buffer_new(size_t length);
void rig_buffer_unref(struct sf_tio_buffer *buffer);
struct sf_tio_device *rig_device_of(unsigned leg);

#endif

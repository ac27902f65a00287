/* Of volume.c. */
#ifndef SF_VOLUME_VOLUME_H
#define SF_VOLUME_VOLUME_H

#include "volume/state.h"

extern const struct leg_io_above sf_volume_above_io;

#endif

/* Of read.c.  Called with volume->lock held. */
#ifndef SF_VOLUME_READ_H
#define SF_VOLUME_READ_H

#include "volume/state.h"

extern const struct op_kind sf_op_read;

#endif

/* Of sample.c.  Called with volume->lock held. */
#ifndef SF_VOLUME_SAMPLE_H
#define SF_VOLUME_SAMPLE_H

#include "volume/state.h"

int sf_probe_ask(struct sf_volume *v, unsigned leg, enum sf_tio_op op, unsigned flags,
                 void (*on_event)(struct leg_io *io, unsigned leg,
                                  const struct sf_tio_event *event));
void sf_probe_sample(struct sf_volume *v, unsigned leg); /* a read of a block of ours */
/* One is under way, and has not been waited for in vain yet. */
bool sf_probe_is_awaited(const struct sf_volume *v, unsigned leg);

/* A page of the leg's metadata to or from its look_buffer, beside all that the leg is judged by; one at a time. */
int sf_look_ask(struct sf_volume *v, unsigned leg, enum sf_tio_op op, uint64_t offset,
                void (*on_event)(struct leg_io *io, unsigned leg,
                                 const struct sf_tio_event *event));

#endif

/* Of sample.c.  Called with volume->lock held. */
#ifndef SF_VOLUME_SAMPLE_H
#define SF_VOLUME_SAMPLE_H

#include "volume/state.h"

int sf_probe_ask(struct sf_volume *v, unsigned leg, enum sf_tio_op op, unsigned flags,
                 void (*on_event)(struct leg_io *io, unsigned leg,
                                  const struct sf_tio_event *event));
void sf_probe_sample(struct sf_volume *v, unsigned leg); /* a read of a block of ours */
/* The same to hear whether they answer; with pauses after errors.  word_wanted has them until they have said
 * anything well, or a sample has ended otherwise or was waited for in vain. */
void sf_probe_ask_for_word(struct sf_volume *v, legset legs);

/* A page of the leg's metadata to or from its look_buffer, beside all that the leg is judged by; one at a time. */
int sf_look_ask(struct sf_volume *v, unsigned leg, enum sf_tio_op op, uint64_t offset,
                void (*on_event)(struct leg_io *io, unsigned leg,
                                 const struct sf_tio_event *event));

#endif

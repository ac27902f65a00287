/* Of delivery.c: the way in and out of the volume. */
#ifndef SF_VOLUME_DELIVERY_H
#define SF_VOLUME_DELIVERY_H

#include "volume/state.h"

void sf_vol_init_delivery(struct sf_volume *v);
void sf_vol_destroy_delivery(struct sf_volume *v);
void sf_vol_enter(struct sf_volume *v, uint64_t now_ns); /* takes the lock */
/* Lets go of it, and tells what is to be told, unless another thread does. */
void sf_vol_leave(struct sf_volume *v);
/* With the lock held: until all is told, and nobody is inside or comes. */
void sf_vol_tell_the_rest(struct sf_volume *v);

#endif

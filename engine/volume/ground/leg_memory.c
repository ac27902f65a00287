/* What a leg needs of its own, whatever becomes of it. */
#include "volume/ground/leg_memory.h"

#include "volume/ground/maps.h"

int
sf_leg_init_memory(struct sf_volume *v, unsigned index) {
  struct leg *leg = &v->leg[index];

  if (sf_maps_init_leg(v, index) < 0)
    return -ENOMEM;
  leg->meta.buffer = v->host.buffer_get(v->ctx, SF_PAGE_BYTES);
  leg->probe_buffer = v->host.buffer_get(v->ctx, SF_PAGE_BYTES);
  leg->look_buffer = v->host.buffer_get(v->ctx, SF_PAGE_BYTES);
  return leg->meta.buffer == NULL || leg->probe_buffer == NULL || leg->look_buffer == NULL ? -ENOMEM
                                                                                           : 0;
}

void
sf_leg_free_memory(struct sf_volume *v, unsigned index) {
  struct leg *leg = &v->leg[index];

  sf_maps_free_leg(v, index);
  if (leg->meta.buffer != NULL)
    v->host.buffer_put(v->ctx, leg->meta.buffer);
  if (leg->probe_buffer != NULL)
    v->host.buffer_put(v->ctx, leg->probe_buffer);
  if (leg->look_buffer != NULL)
    v->host.buffer_put(v->ctx, leg->look_buffer);
  leg->meta.buffer = leg->probe_buffer = leg->look_buffer = NULL;
}

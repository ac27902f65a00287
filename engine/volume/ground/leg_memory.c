/* What a leg needs of its own, whatever becomes of it. */
#include "volume/ground/leg_memory.h"

int
leg_init_memory(struct sf_volume *v, unsigned index) {
  struct leg *leg = &v->leg[index];

  if (sf_map_init(&leg->stale, v->extents) < 0 || sf_map_init(&leg->unflushed, v->extents) < 0 ||
      sf_map_init(&leg->flushing, v->extents) < 0 || sf_map_init(&leg->lost, v->extents) < 0 ||
      sf_map_init(&leg->healing, v->extents) < 0 || sf_map_init(&leg->unsure, v->extents) < 0)
    return -ENOMEM;
  leg->meta.buffer = v->host.buffer_get(v->ctx, SF_PAGE_BYTES);
  leg->probe_buffer = v->host.buffer_get(v->ctx, SF_PAGE_BYTES);
  leg->look_buffer = v->host.buffer_get(v->ctx, SF_PAGE_BYTES);
  return leg->meta.buffer == NULL || leg->probe_buffer == NULL || leg->look_buffer == NULL ? -ENOMEM
                                                                                           : 0;
}

void
leg_free_memory(struct sf_volume *v, unsigned index) {
  struct leg *leg = &v->leg[index];

  sf_map_destroy(&leg->stale);
  sf_map_destroy(&leg->unflushed);
  sf_map_destroy(&leg->flushing);
  sf_map_destroy(&leg->lost);
  sf_map_destroy(&leg->healing);
  sf_map_destroy(&leg->unsure);
  sf_map_destroy(&leg->settled);
  sf_map_destroy(&leg->settling);
  if (leg->meta.buffer != NULL)
    v->host.buffer_put(v->ctx, leg->meta.buffer);
  if (leg->probe_buffer != NULL)
    v->host.buffer_put(v->ctx, leg->probe_buffer);
  if (leg->look_buffer != NULL)
    v->host.buffer_put(v->ctx, leg->look_buffer);
  leg->meta.buffer = leg->probe_buffer = leg->look_buffer = NULL;
}

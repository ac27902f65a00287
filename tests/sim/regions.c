/* Regions in flight: each leg has a list of its own. */
#include <stdlib.h>

#include "sim/sim.h"

struct region *regions;
static uint32_t regions_cap;
static int regions_free = -1;

struct region *
region_new(unsigned leg) {
  struct region *r;
  int i = regions_free;

  if (i < 0) {
    uint32_t cap = regions_cap ? 2 * regions_cap : 1024;

    regions = realloc(regions, cap * sizeof *regions);
    if (regions == NULL)
      abort();
    for (uint32_t k = regions_cap; k < cap; k++)
      regions[k] = (struct region){.next = k + 1 < cap ? (int) k + 1 : -1};
    i = (int) regions_cap;
    regions_cap = cap;
  }
  r = &regions[i];
  regions_free = r->next;
  *r = (struct region){.used = true,
                       .generation = r->generation + 1,
                       .leg = leg,
                       .previous = -1,
                       .next = sim.leg[leg].regions};
  if (r->next >= 0)
    regions[r->next].previous = i;
  sim.leg[leg].regions = i;
  return r;
}

uint32_t
region_index(const struct region *r) {
  return (uint32_t) (r - regions);
}

/* It does not run any more. */
void
region_unlink(struct region *r) {
  if (r->previous >= 0)
    regions[r->previous].next = r->next;
  else if (sim.leg[r->leg].regions == (int) region_index(r))
    sim.leg[r->leg].regions = r->next;
  if (r->next >= 0)
    regions[r->next].previous = r->previous;
  r->next = r->previous = -1;
}

void
region_release(struct region *r) {
  service_forget(r);
  if (!r->real)
    region_unlink(r);
  if (r->buffer != NULL)
    buffer_unref(r->buffer);
  r->used = false;
  r->generation++;
  r->next = regions_free;
  regions_free = (int) region_index(r);
}

void
regions_free_all(void) {
  for (unsigned leg = 0; leg < sim.options.legs; leg++)
    EACH_REGION(r, leg)
      region_release(r);
  for (uint32_t i = 0; i < regions_cap; i++)
    if (regions[i].used) /* cancelled for real, and not told */
      region_release(&regions[i]);
}

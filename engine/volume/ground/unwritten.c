/* Extents that were never written (R17): whatever the legs hold there, they read as zeros. */
#include "volume/ground/unwritten.h"

#include <string.h>

bool
sf_unwritten_any(const struct sf_volume *v, uint64_t offset, uint64_t length) {
  return v->unwritten.set > 0 &&
         sf_map_any(&v->unwritten, extent_of(v, offset), extent_of(v, offset + length - 1));
}

bool
sf_unwritten_all(const struct sf_volume *v, uint64_t offset, uint64_t length) {
  uint64_t last = extent_of(v, offset + length - 1);

  if (v->unwritten.set == 0)
    return false;
  for (uint64_t e = extent_of(v, offset); e <= last; e++)
    if (!sf_map_test(&v->unwritten, e))
      return false;
  return true;
}

bool
sf_unwritten_is_for(const struct sf_volume *v, const struct sf_request *request, uint64_t extent) {
  return extent_of(v, request->offset) <= extent &&
         extent <= extent_of(v, request->offset + request->length - 1);
}

bool
sf_unwritten_is_waited_for(const struct sf_volume *v, uint64_t extent) {
  for (const struct sf_request *r = v->parked; r != NULL; r = r->next)
    if (sf_unwritten_is_for(v, r, extent))
      return true;
  return false;
}

/* Not for older ones: zeros that fail are no reason to wait for those of younger writes. */
void
sf_unwritten_advances(struct sf_volume *v, uint64_t extent) {
  bool behind = false;

  for (struct sf_request *r = v->parked; r != NULL; r = r->next) {
    if (r->kind == SF_REQ_READ)
      continue;
    behind = behind || sf_unwritten_is_for(v, r, extent);
    if (behind)
      r->zeroed_ns = v->now_ns;
  }
}

void
sf_unwritten_blot(const struct sf_volume *v, uint64_t offset, uint64_t length, void *data) {
  uint64_t end = offset + length;

  if (!sf_unwritten_any(v, offset, length))
    return;
  for (uint64_t at = offset, next; at < end; at = next) {
    uint64_t e = extent_of(v, at);

    next = (e + 1) << v->extent_shift;
    if (next > end)
      next = end;
    if (sf_map_test(&v->unwritten, e))
      memset((uint8_t *) data + (at - offset), 0, next - at);
  }
}

uint64_t
sf_unwritten_others(const struct sf_volume *v) {
  return v->unconverged.set - v->copier.zeroing.set;
}

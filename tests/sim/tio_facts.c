/* What the legs hold and owe just now, for the checks of the volume. */
#include "sim/sim.h"

/* How many other in-sync legs hold what this leg was sent there and has not answered? */
unsigned
tio_have_it_too(unsigned leg, uint64_t offset) {
  unsigned have = 0;

  EACH_REGION(r, leg) {
    if (!op_writes(r->op) || r->finished || r->offset != sim.data_offset + offset)
      continue;
    for (unsigned i = 0; i < sim.options.legs; i++) {
      bool same = i != leg && sim.leg_state[i] == SF_STATE_IN_SYNC;

      for (uint64_t at = 0; same && at < r->length; at += BLOCK) {
        uint64_t block = (offset + at) / BLOCK;
        uint32_t stamp = 0;

        if (r->op == SF_TIO_WRITE)
          stamp = stamp_get(r->buffer->data, (unsigned) (at / BLOCK), block);
        same = sim.leg[i].now[block] == stamp;
      }
      have += same;
    }
    return have;
  }
  return LEGS_MAX; /* it has ended meanwhile */
}

bool
tio_has_ghosts(unsigned leg) {
  EACH_REGION(r, leg)
    if (r->life != sim.life)
      return true;
  return false;
}

static bool
says(const struct region *r, const struct sf_record *record) {
  struct sf_superblock sb;

  return record != NULL && r->offset < SF_PROBE_OFFSET &&
         sf_superblock_decode(r->buffer->data, &sb) == 0 &&
         sf_record_compare(&sb.record, record) == 0;
}

bool
tio_writes_beside(unsigned leg, const struct sf_record *record) {
  EACH_REGION(r, leg)
    if (r->life == sim.life && op_writes(r->op) && !r->finished && r->offset != SF_PROBE_OFFSET &&
        !says(r, record))
      return true;
  return false;
}

bool
tio_writes(unsigned leg) {
  return tio_writes_beside(leg, NULL);
}

bool
tio_has_lost(unsigned leg) {
  EACH_REGION(r, leg)
    if (r->lost && !r->finished)
      return true;
  return false;
}

bool
tio_has_late(unsigned leg) {
  EACH_REGION(r, leg)
    if (r->late && r->life == sim.life && !r->finished)
      return true;
  return false;
}

/* The offset is in the volume; in the metadata area, on the leg. */
static bool
is_at(const struct region *r, uint64_t offset) {
  return r->offset == (r->offset < sim.data_offset ? offset : sim.data_offset + offset);
}

uint64_t
tio_late_since(unsigned leg, enum sf_tio_op op, uint64_t offset) {
  uint64_t since = SIM_NEVER;

  EACH_REGION(r, leg)
    if (r->op == op && r->late && r->life == sim.life && is_at(r, offset) &&
        r->submitted_ns < since)
      since = r->submitted_ns;
  return since;
}

void
tio_doom_flush(unsigned leg) {
  EACH_REGION(r, leg)
    if (r->op == SF_TIO_FLUSH && !r->finished)
      r->doomed = true;
}

bool
tio_map_page_in_flight(unsigned leg, uint64_t page) {
  EACH_REGION(r, leg)
    if (r->op == SF_TIO_WRITE && !r->finished &&
        (r->offset == SF_MAP_PAGE_OFFSET(page) || r->offset == SF_MAP_SECOND_OFFSET(page)))
      return true;
  return false;
}

bool
tio_superblock_in_flight(unsigned leg, const struct region **found) {
  EACH_REGION(r, leg)
    if (r->op == SF_TIO_WRITE && r->offset < SF_PROBE_OFFSET && !r->finished) {
      *found = r;
      return true;
    }
  return false;
}

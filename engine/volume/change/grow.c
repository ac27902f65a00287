/* Growing, with the clients there.  The size is part of the identity that stands beside the record,
 * so a new size is a new record, and as durable (R10, R12):
 *
 *   wait    until no promotion is under way; none begins before the end
 *   pages   the new part has intent, on every leg that an answer needs, and is to be converged
 *           (R11): legs may hold anything there, and must read alike
 *   record  the identity with the new size goes out with the next record; when that is durable, the
 *           new size may be used
 *
 * A start that finds the new record on one leg only takes the size from it, and finds the intent of
 * the new part on that leg; a start that finds it nowhere has the old size, and nothing was
 * promised.  Everything here works on sizes as the volume knows them inside: `size_bytes` is the
 * new one from the second step on, `served_bytes` what clients may use. */
#include "volume/change/grow.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "volume/ground/copying.h"
#include "volume/ground/facts.h"
#include "volume/ground/host.h"
#include "volume/ground/maps.h"
#include "volume/ground/steps.h"
#include "volume/set/leg.h"
#include "volume/set/map_pages.h"
#include "volume/set/record.h"

/* A leg of the set that is too short; -1: none. */
static int
short_leg(const struct sf_volume *v, uint64_t size_bytes) {
  EACH_LEG(leg, v->latest.in_sync)
    if (!sf_leg_holds(v, leg, size_bytes))
      return (int) leg;
  return -1;
}

/* ---- memory ---- */

static void *
larger(void *old, uint64_t had, uint64_t wanted, size_t size) {
  void *memory = realloc(old, wanted * size);

  if (memory != NULL && wanted > had)
    memset((char *) memory + had * size, 0, (wanted - had) * size);
  return memory;
}

/* All memory first: what fails here has changed nothing. */
static int
reserve(struct sf_volume *v, uint64_t extents, uint64_t pages) {
  uint64_t *versions =
      larger(v->maps.intent_version, v->extents, extents, sizeof *v->maps.intent_version);
  struct map_page *page;

  if (versions == NULL)
    return -ENOMEM;
  v->maps.intent_version = versions;
  page = larger(v->maps.page, v->maps.pages, pages, sizeof *v->maps.page);
  if (page == NULL)
    return -ENOMEM;
  v->maps.page = page;
  return sf_maps_reserve(v, extents, pages);
}

static void
extend(struct sf_volume *v, uint64_t extents, uint64_t pages) {
  sf_maps_extend(v, extents, pages);
  for (uint64_t p = v->maps.pages; p < pages; p++)
    v->maps.page[p].version = 1;
  v->maps.pages = pages;
  v->extents = extents;
}

/* ---- the steps ---- */

static void
end(struct sf_volume *v, enum sf_volume_event_kind kind, const char *reason) {
  sf_grow_move(v, GROW_NONE);
  sf_vol_event(v, kind, -1, NULL, NULL, reason);
  v->dirty = true;
}

static void
fail(struct sf_volume *v, int short_of) {
  char reason[128] = "out of memory";

  if (short_of >= 0)
    snprintf(
        reason, sizeof reason, "leg %s is too short: it has %" PRIu64 " bytes and needs %" PRIu64,
        v->config.leg[short_of].name, v->leg[short_of].bytes, v->data_offset + v->grow.size_bytes);
  end(v, SF_EVENT_GROW_FAILED, reason);
}

/* The last extent may have been a short one: it is new where it goes on. */
static void
take_in(struct sf_volume *v) {
  uint64_t first = v->size_bytes >> v->extent_shift;
  uint64_t extents = (v->grow.size_bytes + v->extent_bytes - 1) >> v->extent_shift;
  uint64_t pages = sf_map_pages(v->grow.size_bytes, v->extent_bytes);

  if (reserve(v, extents, pages) < 0) {
    fail(v, -1);
    return;
  }
  if (first < v->extents)
    sf_copier_extent_grows(v, first);
  extend(v, extents, pages);
  v->size_bytes = v->grow.size_bytes;
  for (uint64_t e = first; e < extents; e++) {
    if (sf_map_test(&v->unwritten, e))
      continue; /* the last one, which reads as zeros, and so does what is new of it */
    sf_map_set(&v->unconverged, e);
    sf_map_set(&v->maps.intent, e);
  }
  for (uint64_t p = map_page_of(first); p < pages; p++)
    sf_map_changed(v, p, true);
  for (uint64_t e = first; e < extents; e++)
    v->maps.intent_version[e] =
        sf_map_test(&v->maps.intent, e) ? v->maps.page[map_page_of(e)].version : 0;
  for (unsigned i = 0; i < v->legs; i++) {
    if (v->latest.in_sync & legbit(i))
      continue;
    sf_map_set_range(&v->leg[i].stale, first, extents - 1);
    if (!sf_leg_holds(v, i, v->size_bytes))
      sf_leg_fall_back(v, i, SF_STATE_MISSING, "the volume has grown and it has not");
  }
  v->grow.first_page = map_page_of(first);
  sf_grow_move(v, GROW_PAGES);
  v->dirty = true;
}

static bool
pages_are_durable(const struct sf_volume *v) {
  for (uint64_t p = v->grow.first_page; p < v->maps.pages; p++)
    EACH_LEG(leg, v->ack_legs)
      if (v->maps.page[p].done[leg] < v->maps.page[p].must)
        return false;
  return true;
}

void
sf_grow_settle(struct sf_volume *v) {
  int short_of;

  if (v->grow.step == GROW_NONE || v->phase != PHASE_SERVING || !sf_record_is_durable(v))
    return;
  if (v->grow.step == GROW_WAIT && v->joining < 0 && v->promoting < 0 && !v->join_flush.running &&
      v->exchange.unheard == 0) {
    short_of = short_leg(v, v->grow.size_bytes);
    if (short_of >= 0)
      fail(v, short_of);
    else
      take_in(v);
  }
  if (v->grow.step == GROW_PAGES && pages_are_durable(v)) {
    v->identity.data_bytes = v->size_bytes;
    sf_grow_move(v, GROW_RECORD);
    sf_record_change(v, v->latest.in_sync, v->latest.faulty, false);
    v->grow.version = v->version;
  }
}

void
sf_grow_end(struct sf_volume *v) {
  char reason[32];

  if (v->grow.step != GROW_RECORD || !sf_record_is_reached(v, v->grow.version))
    return;
  v->served_bytes = v->size_bytes;
  snprintf(reason, sizeof reason, "%" PRIu64, v->served_bytes);
  end(v, SF_EVENT_GROWN, reason);
}

/* The record may be on some legs: the next start tells. */
void
sf_grow_stopped(struct sf_volume *v) {
  if (v->grow.step != GROW_NONE)
    end(v, SF_EVENT_GROW_FAILED, "the volume was stopped before the new size was durable");
}

/* ---- what the host asks ---- */

int
sf_grow_to(struct sf_volume *v, uint64_t size_bytes) {
  if (v->phase != PHASE_SERVING || v->grow.step != GROW_NONE || v->change.under_way)
    return -EBUSY;
  if (size_bytes % SF_PAGE_BYTES != 0 || size_bytes > INT64_MAX - v->data_offset)
    return -EINVAL;
  if (size_bytes <= v->size_bytes)
    return -EALREADY;
  if ((size_bytes - 1) >> v->extent_shift >= SF_EXTENTS_MAX)
    return -EFBIG;
  if (v->maps.twice && sf_map_pages(size_bytes, v->extent_bytes) > SF_MAP_TWICE_MOST)
    return -EAGAIN;
  if (short_leg(v, size_bytes) >= 0)
    return -ENOSPC;
  v->grow.size_bytes = size_bytes;
  sf_grow_move(v, GROW_WAIT);
  v->dirty = true;
  return 0;
}

/* What can be read on no leg: told once, and kept for the status until it is written anew or can be
 * read. Nothing depends on it but what the operator sees: what reads are refused for is in
 * bad.c. */
#include "volume/ground/lost.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "volume/ground/copying.h"
#include "volume/ground/host.h"
#include "volume/ground/outbox.h"

static struct sf_lost_range *
range_at(struct sf_volume *v, unsigned i) {
  return &v->lost.range[i];
}

static void
drop(struct sf_volume *v, unsigned i) {
  v->lost.n--;
  memmove(range_at(v, i), range_at(v, i + 1), (v->lost.n - i) * sizeof(struct sf_lost_range));
}

/* False: there is no room. */
static bool
insert(struct sf_volume *v, unsigned i, const struct sf_lost_range *range) {
  if (v->lost.n == SF_LOST_MOST) {
    v->lost.more = true;
    return false;
  }
  memmove(range_at(v, i + 1), range_at(v, i), (v->lost.n - i) * sizeof(struct sf_lost_range));
  *range_at(v, i) = *range;
  v->lost.n++;
  return true;
}

/* Blocks side by side, which come one by one, are one range. */
void
sf_lost_add(struct sf_volume *v, uint64_t offset, uint64_t length, legset legs, int error) {
  struct sf_lost_range added = {
      .begin = offset, .end = offset + length, .legs = legs, .error = error, .since_ns = v->now_ns};
  unsigned i = 0;

  while (i < v->lost.n && range_at(v, i)->end < added.begin)
    i++;
  if (i < v->lost.n && range_at(v, i)->begin <= added.begin && added.end <= range_at(v, i)->end)
    return;
  while (i < v->lost.n && range_at(v, i)->begin <= added.end) {
    const struct sf_lost_range *other = range_at(v, i);

    added.legs |= other->legs;
    if (other->begin < added.begin)
      added.begin = other->begin;
    if (other->end > added.end)
      added.end = other->end;
    drop(v, i);
  }
  insert(v, i, &added);
}

uint64_t
sf_lost_since(const struct sf_volume *v, uint64_t offset, uint64_t length) {
  for (unsigned i = 0; i < v->lost.n; i++)
    if (v->lost.range[i].begin <= offset && offset + length <= v->lost.range[i].end)
      return v->lost.range[i].since_ns;
  return 0;
}

void
sf_lost_load(struct sf_volume *v, uint64_t offset, uint64_t length) {
  sf_lost_add(v, offset, length, v->latest.in_sync, -EIO);
  for (unsigned i = 0; i < v->lost.n; i++)
    range_at(v, i)->told = true;
}

/* It has been written, or read after all. */
void
sf_lost_clear(struct sf_volume *v, uint64_t offset, uint64_t length) {
  uint64_t end = offset + length;

  for (unsigned i = 0; i < v->lost.n;) {
    struct sf_lost_range *range = range_at(v, i), behind = *range;

    if (range->end <= offset || end <= range->begin) {
      i++;
      continue;
    }
    behind.begin = end;
    range->end = offset;
    if (range->begin >= range->end)
      drop(v, i);
    else
      i++;
    if (behind.begin < behind.end && insert(v, i, &behind))
      i++;
  }
  if (v->lost.n == 0)
    v->lost.more = false; /* what did not fit is found again when it is asked for next */
}

/* A leg's block is lost that a catch-up needs: it is tried again at once where a client has
 * written. */
void
sf_lost_written(struct sf_volume *v, uint64_t offset, uint64_t length) {
  if (v->lost.n == 0 && !v->lost.more)
    return;
  sf_lost_clear(v, offset, length);
  sf_copier_try_again(v, offset, length);
}

static void
tell(struct sf_volume *v, bool is_last) {
  struct sf_volume_event event;
  char reason[192];

  v->lost.left = false;
  for (unsigned i = 0; i < v->lost.n; i++) {
    struct sf_lost_range *range = range_at(v, i);

    if (range->told)
      continue;
    v->lost.left = !is_last && !sf_outbox_has_room(&v->outbox);
    if (v->lost.left)
      return;
    range->told = true;
    snprintf(reason, sizeof reason,
             "%" PRIu64 " bytes at %" PRIu64 " cannot be read, and no other leg has them: %s",
             range->end - range->begin, range->begin, strerror(-range->error));
    event = (struct sf_volume_event){.kind = SF_EVENT_LOST_RANGE,
                                     .leg = __builtin_ctz(range->legs),
                                     .reason = reason,
                                     .offset = range->begin,
                                     .length = range->end - range->begin,
                                     .error = range->error,
                                     .count = 1};
    sf_vol_tell(v, &event);
  }
}

void
sf_lost_tell(struct sf_volume *v) {
  tell(v, false);
}

void
sf_lost_tick(struct sf_volume *v) {
  if (v->lost.left)
    tell(v, false);
}

/* No tick comes any more: what finds no room now is counted as untold. */
void
sf_lost_stopped(struct sf_volume *v) {
  if (v->lost.left)
    tell(v, true);
}

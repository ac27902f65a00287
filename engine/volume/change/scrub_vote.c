/* What a scrub has read: which legs are wrong, block by block, and how that is told. */
#include "volume/change/scrub_vote.h"

#include <inttypes.h>
#include <string.h>

#include "base/text.h"
#include "volume/ground/host.h"

enum {
  TOLD_MOST = 16, /* mismatches that are told one by one */
  VOTES_LEAST = 3,
};

const char *
sf_scrub_what_name(enum sf_scrub_what what) {
  static const char *const name[SF_SCRUB_WHATS] = {"wrong", "unknown", "unreadable"};

  return name[what];
}

/* ---- the vote ---- */

static bool
alike(const struct copy *copy, unsigned a, unsigned b, uint64_t at, uint64_t length) {
  return memcmp((const uint8_t *) copy->buffer[a]->data + at,
                (const uint8_t *) copy->buffer[b]->data + at, length) == 0;
}

static legset
like(const struct copy *copy, unsigned leg, legset legs, uint64_t at, uint64_t length) {
  legset set = 0;

  EACH_LEG(other, legs) {
    if (other == leg || alike(copy, leg, other, at, length))
      set |= legbit(other);
  }
  return set;
}

static struct scrub_verdict
judge(const struct sf_volume *v, const struct copy *copy, legset read, uint64_t at,
      uint64_t length) {
  int from = v->scrub.told.order.from;

  if (read == 0)
    return (struct scrub_verdict){0};
  EACH_LEG(leg, read) {
    legset same = like(copy, leg, read, at, length);

    if (same == read || (legcount(read) >= VOTES_LEAST && 2 * legcount(same) > legcount(read)))
      return (struct scrub_verdict){.good = same, .bad = read & (legset) ~same};
  }
  if (from >= 0 && (read & legbit((unsigned) from))) {
    legset same = like(copy, (unsigned) from, read, at, length);

    return (struct scrub_verdict){.good = same, .bad = read & (legset) ~same};
  }
  return (struct scrub_verdict){.bad = read};
}

struct scrub_verdict
sf_scrub_vote(const struct sf_op *op, legset read, uint64_t *from, uint64_t *length) {
  const struct sf_volume *v = op->volume;
  const struct copy *copy = op->copy;
  struct scrub_verdict run = {0}, next;
  uint64_t at = 0;

  *from = *length = 0;
  if (read != 0 && like(copy, (unsigned) __builtin_ctz(read), read, 0, op->length) == read)
    return judge(v, copy, read, 0, op->length);
  for (; at < op->length; at += v->block_bytes) {
    run = judge(v, copy, read, at, v->block_bytes);
    if (run.bad != 0)
      break;
  }
  *from = at;
  for (; at < op->length; at += v->block_bytes) {
    next = judge(v, copy, read, at, v->block_bytes);
    if (next.good != run.good || next.bad != run.bad)
      break;
  }
  *length = at - *from;
  return run;
}

/* ---- the event ---- */

static void
put_legs(const struct sf_volume *v, struct sf_text *text, legset legs) {
  const char *before = "";

  EACH_LEG(leg, legs) {
    sf_text_put(text, "%s%s", before, v->config.leg[leg].name);
    before = ", ";
  }
}

static void
tell_range(struct sf_volume *v, const struct sf_scrub_range *range) {
  char reason[SF_LEG_REASON_MAX] = "";
  struct sf_text text = {.at = reason, .left = sizeof reason};
  bool one = legcount(range->legs) == 1;

  sf_text_put(&text, "%" PRIu64 " bytes at %" PRIu64 ": ", range->end - range->begin, range->begin);
  put_legs(v, &text, range->legs);
  if (range->what == SF_SCRUB_WRONG)
    sf_text_put(&text, range->repaired ? " differed" : one ? " differs" : " differ");
  else if (range->what == SF_SCRUB_UNREADABLE)
    sf_text_put(&text, range->repaired ? " could not be read" : " cannot be read");
  else
    sf_text_put(&text, " differ, and none is known to be right");
  if (range->repaired)
    sf_text_put(&text, "; written anew");
  sf_vol_event(v, SF_EVENT_MISMATCH, one ? __builtin_ctz(range->legs) : -1, NULL, NULL, reason);
}

static bool
is_beside(const struct sf_scrub_range *a, const struct sf_scrub_range *b) {
  return (a->end == b->begin || b->end == a->begin) && a->legs == b->legs && a->what == b->what &&
         a->repaired == b->repaired;
}

void
sf_scrub_note(struct sf_volume *v, const struct sf_scrub_range *range) {
  struct sf_scrub_status *told = &v->scrub.told;
  uint64_t length = range->end - range->begin;

  if (range->what == SF_SCRUB_UNREADABLE)
    told->unreadable_bytes += length;
  else
    told->mismatch_bytes += length;
  if (range->repaired)
    told->repaired_bytes += length;
  for (unsigned i = 0; i < told->ranges; i++) {
    struct sf_scrub_range *other = &told->range[i];

    if (!is_beside(other, range))
      continue;
    if (range->begin < other->begin)
      other->begin = range->begin;
    else
      other->end = range->end;
    return;
  }
  if (told->ranges < SF_SCRUB_RANGES_MOST)
    told->range[told->ranges++] = *range;
  if (told->mismatches++ < TOLD_MOST)
    tell_range(v, range);
}

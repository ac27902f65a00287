/* After every step: if the process were killed now, or the power cut, from which subsets of the
 * legs would R12 start, and which legs would each start trust?  Every one of them must hold every
 * acknowledged (after a power cut: every flushed) write.  After a kill one that they name for a
 * failed flush may lack what has intent: the start makes it whole from those that it trusts; where
 * it trusts none, clients' flushes fail until the operator has taken note (R9).
 *
 * The verdicts depend on the superblocks only, and these change seldom, so the union of the trusted
 * legs is kept until one changes; a superblock write in flight is tried as landed, as not, and as
 * torn: its place holds nothing that can be read then. */
#include <string.h>

#include "sim/sim.h"

enum { MEMO = 1 << 14 };

enum flight { NOT_LANDED, LANDED, TORN, FLIGHTS };
/* A turn is a bit for each leg: landed; or this: all that are in flight are torn. */
enum { ALL_LANDED = (1 << LEGS_MAX) - 1, ALL_TORN = 1 << LEGS_MAX };

struct image {
  struct sf_leg_found found;
  uint64_t hash;
};

static struct image image[LEGS_MAX][2][FLIGHTS]; /* leg; now, stable; what is in flight */
/* Where its newest superblock cannot be read; one leg at a time, in storms of silent legs: a record
 * that leaves out a leg which too few others stay without must be in both. */
static struct image worn_image[LEGS_MAX][2];
enum { NONE_WORN = LEGS_MAX };
static bool tears[LEGS_MAX]; /* a write in flight would: else TORN is as NOT_LANDED, and not kept */
static bool stale[LEGS_MAX];
static bool any_stale;
static unsigned trusted[2];
static unsigned made_whole[2]; /* trusted by no start that does not know what it lost */
/* Of each leg, the ranges that all starts that trust it call bad: no client reads its content
 * there. */
static struct sf_bad tolerated[2][LEGS_MAX];
static struct memo {
  uint64_t key;
  unsigned current, made_whole;
  int reference; /* the leg with the superblock of the list that counts */
} memo[MEMO];
static unsigned memo_used;

void
trust_changed(unsigned leg) {
  stale[leg] = any_stale = true;
}

void
trust_reset(void) {
  memset(memo, 0, sizeof memo);
  memo_used = 0;
  for (unsigned i = 0; i < LEGS_MAX; i++)
    stale[i] = true;
  any_stale = true;
}

static void
found_in(unsigned leg, bool stable, enum flight flight, struct sf_leg_found *found) {
  const uint8_t *meta = stable ? sim.leg[leg].meta_stable : sim.leg[leg].meta_now;
  uint8_t pages[SF_SUPERBLOCK_COPIES * SF_PAGE_BYTES];
  const struct region *r;
  const struct picked *head;

  if (flight != NOT_LANDED && tio_superblock_in_flight(leg, &r)) {
    memcpy(pages, meta, sizeof pages);
    if (flight == LANDED)
      memcpy(pages + r->offset, r->buffer->data, SF_PAGE_BYTES);
    else
      memset(pages + r->offset, 0xff, SF_PAGE_BYTES);
    head = picked(pages);
  } else {
    head = picked(meta);
  }
  *found = (struct sf_leg_found){.present = true,
                                 .error = head->error,
                                 .bytes = sim.data_offset + sim.leg[leg].blocks * BLOCK,
                                 .sb = head->sb};
  if (found->error != 0)
    found->marked = sf_mark_decode(meta + MAPS_END, &found->mark);
}

void
found_of(unsigned leg, bool stable, bool with_in_flight, struct sf_leg_found *found) {
  found_in(leg, stable, with_in_flight ? LANDED : NOT_LANDED, found);
}

static uint64_t
mix(uint64_t hash, uint64_t value) {
  hash = (hash ^ value) * UINT64_C(0x9e3779b97f4a7c15);
  return hash ^ hash >> 29;
}

static uint64_t
hash_of_line(const struct sf_superblock *sb) {
  uint64_t hash = sb->ancestors;

  for (unsigned k = 0; k < sizeof sb->lineage; k++)
    hash = mix(hash, sb->lineage.bytes[k]);
  return hash;
}

static uint64_t
hash_of(unsigned leg, const struct sf_leg_found *found) {
  const struct sf_record *record = &found->sb.record;
  uint64_t hash = mix(mix(leg + 1, (uint64_t) found->error), found->sb.claim);

  hash = mix(mix(hash, record->term), record->change);
  hash = mix(mix(hash, record->in_sync), record->faulty);
  hash = mix(hash, (uint64_t) record->min_legs * 2 + record->clean);
  hash = mix(mix(hash, found->sb.data_bytes), found->bytes);
  hash = mix(hash, found->sb.removed);
  hash = mix(hash, found->sb.bad.n); /* a list is that of its record */
  hash = mix(hash, found->sb.lost);
  if (found->doubtful)
    hash = mix(hash, 1);
  if (sim.was_forced)
    hash = mix(hash, hash_of_line(&found->sb));
  for (unsigned i = 0; i < sim.options.legs && found->error == 0; i++)
    for (unsigned k = 0; k < sizeof(struct sf_uuid); k++)
      hash = mix(hash, found->sb.leg_uuid[i].bytes[k]);
  return hash;
}

static void
look_at_worn(unsigned leg, unsigned s) {
  uint8_t pages[SF_SUPERBLOCK_COPIES * SF_PAGE_BYTES];
  struct image *im = &worn_image[leg][s];
  const struct picked *head;

  *im = image[leg][s][NOT_LANDED];
  memcpy(pages, s ? sim.leg[leg].meta_stable : sim.leg[leg].meta_now, sizeof pages);
  head = picked(pages);
  if (head->error != 0)
    return;
  pages[(size_t) head->newest * SF_PAGE_BYTES] ^= 0xff;
  head = picked(pages);
  im->found.error = head->error;
  if (head->error == 0)
    im->found.sb = head->sb;
  im->found.doubtful = im->found.error == 0;
  im->hash = hash_of(leg, &im->found);
}

/* It goes where the newest copy stands. */
static bool
is_over_newest(unsigned leg, unsigned s, const struct region *r) {
  const struct picked *head = picked(s ? sim.leg[leg].meta_stable : sim.leg[leg].meta_now);

  return head->error == 0 && r->offset == SF_SUPERBLOCK_OFFSET(head->newest);
}

static void
look_in_flight(unsigned leg, unsigned s, enum flight flight) {
  struct image *im = &image[leg][s][flight];

  found_in(leg, s, flight, &im->found);
  im->hash = hash_of(leg, &im->found);
}

static void
look(unsigned leg) {
  const struct region *r;
  bool in_flight = tio_superblock_in_flight(leg, &r);

  tears[leg] = in_flight && (is_over_newest(leg, 0, r) || is_over_newest(leg, 1, r));
  for (unsigned s = 0; s < 2; s++) {
    look_in_flight(leg, s, NOT_LANDED);
    if (in_flight)
      look_in_flight(leg, s, LANDED);
    else
      image[leg][s][LANDED] = image[leg][s][NOT_LANDED];
    if (tears[leg])
      look_in_flight(leg, s, TORN);
  }
  for (unsigned s = 0; s < 2 && sim.options.silent_storm; s++)
    look_at_worn(leg, s);
}

static enum flight
flight_of(unsigned leg, unsigned landed) {
  if (landed == ALL_TORN)
    return tears[leg] ? TORN : NOT_LANDED;
  return landed >> leg & 1 ? LANDED : NOT_LANDED;
}

static const struct image *
image_of(unsigned leg, unsigned s, unsigned landed, unsigned worn) {
  return worn != NONE_WORN && leg == worn ? &worn_image[leg][s]
                                          : &image[leg][s][flight_of(leg, landed)];
}

/* See sf_flush_failure_load(). */
static unsigned
made_whole_by(const struct sf_leg_found *found, const struct sf_assembly *assembly) {
  unsigned lost = assembly->base.lost;

  if (assembly->base.record.clean)
    return 0;
  for (unsigned i = 0; i < sim.options.legs; i++)
    if (assembly->current >> i & 1)
      lost |= found[i].sb.lost;
  return assembly->current & lost;
}

/* On its own: what it puts on the stack is large, and a memo answers nearly every question. */
static __attribute__((noinline)) void
assemble(unsigned subset, unsigned s, unsigned landed, unsigned worn, struct memo *start) {
  struct sf_leg_found found[SF_LEGS_MAX];
  struct sf_assembly assembly;

  for (unsigned i = 0; i < sim.options.legs; i++) /* no more are looked at */
    if (subset >> i & 1)
      found[i] = image_of(i, s, landed, worn)->found;
    else
      found[i] = (struct sf_leg_found){0};
  sf_assemble(&sim.config, found, false, &assembly);
  start->current = assembly.may_start ? assembly.current : 0;
  start->made_whole = assembly.may_start ? made_whole_by(found, &assembly) : 0;
  start->reference = assembly.reference;
  head_has_no_vote(found, false, &assembly);
}

static struct memo
would_start(unsigned subset, unsigned s, unsigned landed, unsigned worn) {
  uint64_t key = 1;
  unsigned slot;

  for (unsigned i = 0; i < sim.options.legs; i++)
    if (subset >> i & 1)
      key = mix(key, image_of(i, s, landed, worn)->hash);
  slot = (unsigned) (key % MEMO);
  while (memo[slot].key != 0 && memo[slot].key != key)
    slot = (slot + 1) % MEMO;
  if (memo[slot].key == key)
    return memo[slot];
  if (memo_used == MEMO / 2) {
    trust_reset();
    slot = (unsigned) (key % MEMO);
  }
  memo_used++;
  memo[slot].key = key;
  assemble(subset, s, landed, worn, &memo[slot]);
  return memo[slot];
}

/* After a power cut a leg that is made whole must hold what others must: a failed flush drops nothing
 * that was flushed. */
static unsigned
may_lack(const struct memo *start, unsigned s) {
  return s == 0 ? start->made_whole : 0;
}

static bool
would_trust(unsigned leg, bool knows, unsigned subset, unsigned s, unsigned landed, unsigned worn) {
  struct memo start = would_start(subset, s, landed, worn);

  return (start.current & ~(knows ? 0 : may_lack(&start, s))) >> leg & 1;
}

static void
intersect(struct sf_bad *into, const struct sf_bad *other) {
  struct sf_bad both;

  both.n = 0;
  if (into->n == 0 || other->n == 0) {
    into->n = 0;
    return;
  }
  for (unsigned i = 0; i < into->n; i++)
    for (unsigned k = 0; k < other->n; k++) {
      struct sf_bad_range range = into->range[i];

      if (other->range[k].begin > range.begin)
        range.begin = other->range[k].begin;
      if (other->range[k].end < range.end)
        range.end = other->range[k].end;
      if (range.begin < range.end)
        sf_bad_add(&both, range.begin, range.end, SF_BAD_MOST);
    }
  *into = both;
}

static void
note_start(unsigned subset, unsigned s, unsigned landed, unsigned worn) {
  struct memo start = would_start(subset, s, landed, worn);
  const struct sf_bad *list;

  if (start.current == 0)
    return;
  list = &image_of((unsigned) start.reference, s, landed, worn)->found.sb.bad;
  bad_started(list);
  for (unsigned i = 0; i < sim.options.legs; i++) {
    if (!(start.current >> i & 1))
      continue;
    if ((trusted[s] | made_whole[s]) >> i & 1)
      intersect(&tolerated[s][i], list);
    else if (list->n == 0)
      tolerated[s][i].n = 0;
    else
      tolerated[s][i] = *list;
  }
  trusted[s] |= start.current & ~may_lack(&start, s);
  made_whole[s] |= may_lack(&start, s);
}

/* After a forced start: is there a leg that knows of it? */
static bool
is_of_line(unsigned subset, unsigned s, unsigned landed, unsigned worn) {
  if (!sim.was_forced)
    return true;
  for (unsigned i = 0; i < sim.options.legs; i++)
    if ((subset >> i & 1) && force_is_of_line(&image_of(i, s, landed, worn)->found))
      return true;
  return false;
}

enum { TURN_TORN = 4, TURNS };

static unsigned
landing(unsigned turn) {
  switch (turn) {
  case 0:
    return 0;
  case 1:
    return ALL_LANDED;
  case TURN_TORN:
    return ALL_TORN;
  default:
    return (unsigned) (mix(sim.seed, sim.steps * 4 + turn) >> 20) & ALL_LANDED;
  }
}

static void
refresh(void) {
  const struct region *r;
  unsigned turns = 1;

  any_stale = false;
  for (unsigned i = 0; i < sim.options.legs; i++) {
    if (stale[i])
      look(i);
    stale[i] = false;
    if (tio_superblock_in_flight(i, &r) && turns < TURNS)
      turns = tears[i] ? TURNS : TURN_TORN;
  }
  for (unsigned s = 0; s < 2; s++) {
    trusted[s] = made_whole[s] = 0;
    for (unsigned turn = 0; turn < turns; turn++)
      for (unsigned subset = 1; subset < 1u << sim.options.legs; subset++)
        if (is_of_line(subset, s, landing(turn), NONE_WORN))
          note_start(subset, s, landing(turn), NONE_WORN);
    for (unsigned worn = 0; worn < sim.options.legs && sim.options.silent_storm; worn++)
      for (unsigned subset = 1; subset < 1u << sim.options.legs; subset++)
        if ((subset >> worn & 1) && is_of_line(subset, s, 0, worn))
          note_start(subset, s, 0, worn);
  }
}

/* Says from which legs the start would be. */
_Noreturn static void
accuse(unsigned leg, unsigned s) {
  bool knows = !(trusted[s] >> leg & 1);
  int64_t block = knows ? oracle_bad_without_intent(&sim.leg[leg], s, &tolerated[s][leg])
                        : oracle_bad_block(&sim.leg[leg], s, &tolerated[s][leg]);
  char text[1024], records[600] = "";
  unsigned found_subset = 0, found_landed = 0, found_worn = NONE_WORN;
  size_t len = 0;

  for (unsigned turn = 0; turn < TURNS; turn++)
    for (unsigned subset = 1; subset < 1u << sim.options.legs && found_subset == 0; subset++)
      if (would_trust(leg, knows, subset, s, landing(turn), NONE_WORN)) {
        found_subset = subset;
        found_landed = landing(turn);
      }
  for (unsigned worn = 0; worn < sim.options.legs && sim.options.silent_storm; worn++)
    for (unsigned subset = 1; subset < 1u << sim.options.legs && found_subset == 0; subset++)
      if ((subset >> worn & 1) && would_trust(leg, knows, subset, s, 0, worn)) {
        found_subset = subset;
        found_worn = worn;
      }
  for (unsigned i = 0; i < sim.options.legs && len < sizeof records; i++) {
    const struct sf_superblock *sb = &image_of(i, s, found_landed, found_worn)->found.sb;

    if (found_subset >> i & 1)
      len += (size_t) snprintf(
          records + len, sizeof records - len,
          " [leg %u%s: record (%lu, %lu) in-sync 0x%x%s, claim %lu, lost 0x%x]", i,
          i == found_worn ? ", its newest superblock unread" : "", (unsigned long) sb->record.term,
          (unsigned long) sb->record.change, sb->record.in_sync, sb->record.clean ? " clean" : "",
          (unsigned long) sb->claim, sb->lost);
  }
  oracle_explain((uint64_t) block, text, sizeof text);
  sim_fail("after a %s now, a start from legs 0x%x would trust leg %u, which lacks %s: %s%s",
           s ? "power cut" : "kill", found_subset, leg, s ? "a flushed write" : "an answered write",
           text, records);
}

static bool
is_trusted_in_vain(unsigned leg, unsigned s) {
  const struct sf_bad *list = &tolerated[s][leg];

  if (!((trusted[s] | made_whole[s]) >> leg & 1) || !oracle_has_bad(&sim.leg[leg], s, list))
    return false;
  return (trusted[s] >> leg & 1) || oracle_bad_without_intent(&sim.leg[leg], s, list) >= 0;
}

void
trust_check(void) {
  if (sim.force_pending)
    return;
  if (any_stale)
    refresh();
  for (unsigned i = 0; i < sim.options.legs; i++) {
    if (sim.leg[i].bad_now != 0 && is_trusted_in_vain(i, 0))
      accuse(i, 0);
    if (sim.leg[i].bad_stable != 0 && is_trusted_in_vain(i, 1))
      accuse(i, 1);
  }
}

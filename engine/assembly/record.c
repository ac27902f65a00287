/* Which record is in force, and may the volume start from it?  R12. */
#include "assembly/look.h"
#include "base/assert.h"

static const struct sf_record *
record_of(const struct sf_look *look, unsigned leg) {
  return &look->found[leg].sb.record;
}

/* A leg that the record names was asked for a later start before it ever held the record.  So the
 * record was not durable then; that start went on from what this leg holds, or died before it
 * could.  Which of the two cannot be told from here, so it is not guessed: see choose_base(). */
static bool
is_doubted_by(const struct sf_look *look, const struct sf_record *record, unsigned leg) {
  return SF_LEG_IN(look->line, leg) && SF_LEG_IN(record->in_sync, leg) &&
         sf_record_compare(record_of(look, leg), record) < 0 &&
         look->found[leg].sb.claim > record->term;
}

/* Alike but for `clean`: the record that promises less is believed. */
static bool
says_the_same(const struct sf_record *a, const struct sf_record *b) {
  return a->in_sync == b->in_sync && a->faulty == b->faulty && a->min_legs == b->min_legs;
}

/* A leg of a set that is not empty, with the newest record in it. */
static unsigned
newest_of(const struct sf_look *look, uint16_t set) {
  SF_ASSERT(set != 0);
  unsigned newest = (unsigned) __builtin_ctz(set);
  for (unsigned leg = newest; leg < look->legs; leg++)
    if (SF_LEG_IN(set, leg) && sf_record_compare(record_of(look, leg), record_of(look, newest)) > 0)
      newest = leg;
  return newest;
}

/* The known legs that have room for the volume as this leg's superblock describes it. */
static uint16_t
find_fitting(const struct sf_look *look, unsigned base) {
  uint16_t fits = 0;
  for (unsigned leg = 0; leg < look->legs; leg++)
    if (SF_LEG_IN(look->known, leg) && sf_look_fits(&look->found[leg], &look->found[base].sb))
      fits |= SF_LEG_BIT(leg);
  return fits;
}

/* Of the legs with this very record, one to quote: preferably one with data in sync. */
static int
choose_reference(struct sf_look *look, unsigned newest) {
  const struct sf_record *record = record_of(look, newest);
  int best = (int) newest, best_worth = -1;
  look->alike = -1;
  for (unsigned leg = 0; leg < look->legs; leg++) {
    const struct sf_record *other = record_of(look, leg);
    if (!SF_LEG_IN(look->line, leg) || sf_record_compare(other, record) != 0)
      continue;
    if (!says_the_same(other, record))
      look->alike = (int) leg;
    bool fits = sf_look_fits(&look->found[leg], &look->found[leg].sb);
    int worth = 2 * !other->clean + (fits && SF_LEG_IN(record->in_sync, leg));
    if (worth > best_worth) {
      best = (int) leg;
      best_worth = worth;
    }
  }
  return best;
}

/* After a forced start, or when min_legs was raised, a record may name fewer legs than min_legs.
 * When they are all present no other leg can have gone on. */
static unsigned
enough_of(const struct sf_record *record, unsigned min_legs) {
  unsigned named = SF_LEG_COUNT(record->in_sync);
  return min_legs < named ? min_legs : named;
}

unsigned
sf_look_enough(const struct sf_record *record) {
  return enough_of(record, record->min_legs);
}

/* Fewer than enough are left out: so one of these legs is in any later set that was made from this
 * record, and in any start from it. */
static bool
leaves_few_out(const struct sf_record *record, uint16_t starting) {
  return SF_LEG_COUNT(record->in_sync & ~starting) < sf_look_enough(record);
}

/* A speaker with a record that leaves too many of its legs out; -1: none. */
static int
find_short(const struct sf_look *look, uint16_t speakers, uint16_t starting) {
  for (unsigned leg = 0; leg < look->legs; leg++)
    if (SF_LEG_IN(speakers, leg) && !leaves_few_out(record_of(look, leg), starting))
      return (int) leg;
  return -1;
}

/* The legs with a record that has a say: one with the newest, legs that doubt it, legs that doubt
 * the records of these. */
static uint16_t
find_speakers(const struct sf_look *look) {
  uint16_t speakers = SF_LEG_BIT(look->reference), todo = speakers;
  while (todo) {
    const struct sf_record *record = record_of(look, (unsigned) __builtin_ctz(todo));
    todo &= (uint16_t) (todo - 1);
    for (unsigned leg = 0; leg < look->legs; leg++)
      if (!SF_LEG_IN(speakers, leg) && is_doubted_by(look, record, leg)) {
        speakers |= SF_LEG_BIT(leg);
        todo |= SF_LEG_BIT(leg);
      }
  }
  return speakers;
}

static uint16_t
named_by(const struct sf_look *look, uint16_t speakers) {
  uint16_t named = 0;
  for (unsigned leg = 0; leg < look->legs; leg++)
    if (SF_LEG_IN(speakers, leg))
      named |= record_of(look, leg)->in_sync;
  return named;
}

/* Without doubt this is R12 as it reads.  With it the volume may have been started last from any of
 * two or more records, and the absent legs could decide between them: so all that are named must be
 * present.  The newest record that leaves few legs out of each of the others is then as good as the
 * last: had any start come to a durable record, a leg that holds it would be here and speak; so
 * nothing was acknowledged since.  And the next start from any of them will meet a leg of ours. */
static bool
choose_base(struct sf_look *look, uint16_t speakers, uint16_t believed) {
  bool doubted = SF_LEG_COUNT(speakers) > 1;
  if (doubted && (named_by(look, speakers) & ~(believed & look->fits)) != 0)
    return false;
  for (uint16_t left = speakers; left;) {
    unsigned base = newest_of(look, left);
    const struct sf_record *record = record_of(look, base);
    uint16_t fits = find_fitting(look, base), starting = record->in_sync & believed & fits;
    if (SF_LEG_COUNT(starting) >= sf_look_enough(record) &&
        find_short(look, speakers, starting) < 0) {
      look->reference = (int) base;
      look->present = starting;
      look->fits = fits;
      return true;
    }
    left &= (uint16_t) ~SF_LEG_BIT(base);
  }
  return false;
}

static void
fall_short(struct sf_look *look, uint16_t speakers, uint16_t trusted) {
  look->obstacle = SF_LEG_COUNT(speakers) > 1 ? SF_OBSTACLE_DOUBT : SF_OBSTACLE_TOO_FEW;
  look->absent = named_by(look, speakers) & (uint16_t) ~trusted;
}

static uint16_t
find_unsure(const struct sf_look *look, uint16_t set) {
  uint16_t unsure = 0;
  for (unsigned leg = 0; leg < look->legs; leg++)
    if (SF_LEG_IN(set, leg) && look->found[leg].doubtful)
      unsure |= SF_LEG_BIT(leg);
  return unsure;
}

/* The last that this leg shows is a claim: what it went on with may be another line of history. */
static bool
shows_a_claim_only(const struct sf_look *look, unsigned leg) {
  return look->found[leg].sb.claim > record_of(look, leg)->term;
}

static void
set_aside(struct sf_look *look, uint16_t set) {
  look->recopy |= set;
  look->present &= (uint16_t) ~set;
}

/* The same across a fork: the first record of a new line names a leg that it never reached, and
 * that leg was asked for a later start of the old line since.  That start may have served, and left
 * this leg: unless every leg that it could begin with is here and none went past the fork. */
static bool
old_line_may_have_gone_on(struct sf_look *look) {
  const struct sf_record *record = record_of(look, (unsigned) look->reference);
  uint16_t named = 0, trusted = (look->line | look->older) & look->fits;
  for (unsigned leg = 0; leg < look->legs; leg++)
    if (SF_LEG_IN((look->older | look->split) & record->in_sync, leg) &&
        look->found[leg].sb.claim > record->term)
      named |= SF_LEG_BIT(leg) | record_of(look, leg)->in_sync;
  if (!(named & (uint16_t) ~trusted))
    return false;
  look->obstacle = SF_OBSTACLE_DOUBT;
  look->absent = named & (uint16_t) ~trusted;
  return true;
}

/* The legs that hold the record in force. */
static uint16_t
find_holders(const struct sf_look *look) {
  const struct sf_record *record = record_of(look, (unsigned) look->reference);
  uint16_t holders = 0;
  for (unsigned leg = 0; leg < look->legs; leg++)
    if (SF_LEG_IN(look->line, leg) && sf_record_compare(record_of(look, leg), record) >= 0)
      holders |= SF_LEG_BIT(leg);
  return holders;
}

/* Of a set the legs that show no claim of a start after the record's. */
static uint16_t
find_unclaimed(const struct sf_look *look, uint16_t set) {
  const struct sf_record *record = record_of(look, (unsigned) look->reference);
  uint16_t unclaimed = 0;
  for (unsigned leg = 0; leg < look->legs; leg++)
    if (SF_LEG_IN(set, leg) && look->found[leg].sb.claim <= record->term)
      unclaimed |= SF_LEG_BIT(leg);
  return unclaimed;
}

/* Of a set the legs whose claim may rest on this record or a later one; `later`: on a later one.  A
 * claim carries the record that it rests on; the legs that are not there show none. */
static uint16_t
may_rest_on(const struct sf_look *look, uint16_t set, const struct sf_record *record, bool later) {
  uint16_t legs = set & (uint16_t) ~(look->line | look->older);
  for (unsigned leg = 0; leg < look->legs; leg++)
    if (SF_LEG_IN(set & (uint16_t) ~legs, leg) &&
        sf_record_compare(record_of(look, leg), record) >= (later ? 1 : 0))
      legs |= SF_LEG_BIT(leg);
  return legs;
}

/* With which of the legs in `may_serve` can a start that knew nothing of the record in force have gone
 * on, after it had claimed this leg and done without it?  It was not on the legs `without`.  0: with
 * none.
 *
 * It began from what this leg shows, or from a record between the two, which could not become durable
 * without this leg.  So that takes legs out, and none that the record in force still names; or it
 * adds one newcomer, and then the record in force undid that; one that names a newcomer came after
 * this leg had all before.  R12 asked for enough of its legs, with fewer than enough left out, and
 * for enough to go on with.  How many are enough changes with a record, so one between may have
 * asked for as many as the one in force. */
static uint16_t
find_successors(const struct sf_look *look, unsigned leg, uint16_t without, uint16_t may_serve,
                unsigned min_legs) {
  const struct sf_record *record = record_of(look, (unsigned) look->reference);
  const struct sf_record *shown = record_of(look, leg);
  bool one_term = record->term == shown->term;
  bool between = record->change > (one_term ? shown->change : 0) + 1;
  unsigned enough = enough_of(shown, min_legs);
  uint16_t named = may_rest_on(look, may_serve, shown, false) & shown->in_sync;
  uint16_t left_out = without & shown->in_sync;
  uint16_t least_out = between ? left_out & record->in_sync : left_out;
  uint16_t promoted = between && one_term ? may_rest_on(look, may_serve, shown, true) : 0;
  unsigned old = SF_LEG_COUNT(promoted & shown->in_sync);
  if ((record->in_sync & (uint16_t) ~shown->in_sync) != 0)
    return 0;
  if (!between && min_legs != shown->min_legs)
    return 0;
  if (SF_LEG_COUNT(left_out) < enough && old < SF_LEG_COUNT(promoted) && old + 1 >= enough)
    return promoted;
  return SF_LEG_COUNT(least_out) < enough && SF_LEG_COUNT(named) >= enough ? named : 0;
}

/* The copy that cannot be read may also have held the claim of such a start, and then it is the record
 * in force that lacks what was acknowledged since.  A leg that has this record was not claimed by it,
 * nor is one that shows an older claim than the record's: each leg that a record names was claimed
 * in its term before, or got the record before any other leg did, and that is what it hides.  What
 * the start recorded is on legs that show its claim, or nothing. */
static void
weigh_hidden_claims(struct sf_look *look, uint16_t sure, uint16_t members) {
  const struct sf_record *record = record_of(look, (unsigned) look->reference);
  uint16_t holders = find_holders(look);
  uint16_t unclaimed = find_unclaimed(look, look->known & (uint16_t) ~look->blank);
  uint16_t without = holders | (sure & unclaimed), successors = 0;
  uint16_t may_serve = members & (uint16_t) ~(holders | sure | unclaimed);
  for (unsigned leg = 0; leg < look->legs; leg++) {
    if (!SF_LEG_IN(look->unsure & (uint16_t) ~holders, leg) ||
        look->found[leg].sb.claim != record->term)
      continue;
    const struct sf_record *shown = record_of(look, leg);
    uint16_t found = find_successors(look, leg, without, may_serve, shown->min_legs) |
                     find_successors(look, leg, without, may_serve, record->min_legs);
    if (found)
      look->claimed |= SF_LEG_BIT(leg);
    successors |= found;
  }
  if (!look->claimed)
    return;
  look->obstacle = SF_OBSTACLE_UNREADABLE;
  look->absent = successors;
}

/* A copy of a superblock that cannot be read may have held a newer record.  It would be durable on
 * every leg that it names, and the readable legs hold none: so it names unreadable and absent legs
 * only.  Are fewer of the legs in sync so than are enough, there is none (R12).  Are these all the
 * legs that can hold one, and just enough of them, it names these, as does the record that is seen:
 * they hold every acknowledged write.  Otherwise it cannot be told which of them went on, nor when
 * the record that is seen is doubted: every leg that could decide that must be there. */
static void
weigh_unreadable(struct sf_look *look, uint16_t speakers) {
  const struct sf_superblock *base = &look->found[look->reference].sb;
  const struct sf_record *record = &base->record;
  uint16_t members = (uint16_t) ((1u << look->legs) - 1) & (uint16_t) ~base->removed;
  uint16_t sure = look->known & (uint16_t) ~(find_unsure(look, look->known) | look->blank);
  uint16_t may_hold = members & (uint16_t) ~sure;
  bool doubted = SF_LEG_COUNT(speakers) > 1;
  look->unsure = (doubted ? named_by(look, speakers) : look->present) & (uint16_t) ~sure;
  if (!look->unsure)
    return;
  if (doubted) {
    look->obstacle = SF_OBSTACLE_UNREADABLE;
    look->absent = look->unsure;
  } else if (leaves_few_out(record, look->present & sure)) {
    weigh_hidden_claims(look, sure, members);
    if (look->obstacle != SF_OBSTACLE_NONE)
      return;
    for (unsigned leg = 0; leg < look->legs; leg++)
      if (SF_LEG_IN(look->unsure, leg) && shows_a_claim_only(look, leg) &&
          SF_LEG_COUNT(look->present) > sf_look_enough(record))
        set_aside(look, SF_LEG_BIT(leg));
  } else if (may_hold == look->unsure && SF_LEG_COUNT(may_hold) == sf_look_enough(record)) {
    set_aside(look, look->present & sure);
  } else {
    look->obstacle = SF_OBSTACLE_UNREADABLE;
    look->absent = may_hold;
  }
}

/* A leg named in sync counts whatever record it holds itself.  If an older one, the record was
 * still on its way to it.  A record takes legs out or adds one that is complete already, so a named
 * leg has every acknowledged write.  So has a leg that the first record of a new line names and did
 * not reach. */
static void
judge_leg(struct sf_look *look, unsigned leg, const struct sf_record *record) {
  if (!SF_LEG_IN(look->known, leg))
    return;
  if (!SF_LEG_IN(look->fits, leg))
    look->verdict[leg] = SF_LEG_TOO_SMALL;
  else if (SF_LEG_IN(look->split, leg))
    look->verdict[leg] = SF_LEG_SPLIT_BRAIN;
  else if (SF_LEG_IN(look->present, leg))
    look->verdict[leg] = SF_LEG_CURRENT;
  else if (SF_LEG_IN(record->faulty, leg))
    look->verdict[leg] = SF_LEG_FAULTY;
  else
    look->verdict[leg] = SF_LEG_BEHIND;
}

/* The lineage is found: at least one leg is of it. */
void
sf_look_record(struct sf_look *look) {
  uint16_t believed = look->line | look->older;
  look->reference = choose_reference(look, newest_of(look, look->line));
  look->fits = find_fitting(look, (unsigned) look->reference);
  uint16_t speakers = find_speakers(look), trusted = believed & look->fits;
  look->present = record_of(look, (unsigned) look->reference)->in_sync & trusted;
  if (look->alike >= 0)
    look->obstacle = SF_OBSTACLE_TWO_ALIKE;
  else if (!choose_base(look, speakers, believed))
    fall_short(look, speakers, trusted);
  else if (!old_line_may_have_gone_on(look))
    weigh_unreadable(look, speakers);
  SF_ASSERT((look->present & (uint16_t) ~(look->known & look->fits)) == 0);
  SF_ASSERT((look->present & look->recopy) == 0);
  for (unsigned leg = 0; leg < look->legs; leg++)
    judge_leg(look, leg, record_of(look, (unsigned) look->reference));
}

/* An explicit-state model of 2 to 4 legs and one volume process that starts, changes the set,
 * acknowledges and is killed.  All of its states are visited up to a bound (breadth first, so a
 * counterexample is a shortest one), four legs by random walks.  After every step every subset of
 * the legs is asked: may it start, and which would it trust? */
#include "model.h"

#include "base/assert.h"

static unsigned
choose(struct chooser *chooser, unsigned n) {
  if (chooser->random) {
    chooser->seed ^= chooser->seed << 13;
    chooser->seed ^= chooser->seed >> 7;
    chooser->seed ^= chooser->seed << 17;
    return (unsigned) (chooser->seed >> 33) % n;
  }
  assert_true(chooser->used < CHOICES_MAX);
  chooser->base[chooser->used] = n;
  return chooser->digit[chooser->used++];
}

/* Any of the subsets of a set. */
static unsigned
choose_subset(struct chooser *chooser, unsigned set) {
  unsigned number = choose(chooser, 1u << __builtin_popcount(set)), subset = 0;
  for (; set; set &= set - 1, number >>= 1)
    if (number & 1)
      subset |= set & -set;
  return subset;
}

/* Any member of a set that is not empty. */
static unsigned
choose_member(struct chooser *chooser, unsigned set) {
  for (unsigned skip = choose(chooser, (unsigned) __builtin_popcount(set)); skip > 0; skip--)
    set &= set - 1;
  return (unsigned) __builtin_ctz(set);
}

/* To the next combination; false: all were tried. */
static bool
choose_next(struct chooser *chooser) {
  while (chooser->used > 0) {
    unsigned at = --chooser->used;
    if (++chooser->digit[at] < chooser->base[at]) {
      memset(chooser->digit + at + 1, 0, sizeof chooser->digit - (at + 1) * sizeof *chooser->digit);
      chooser->used = 0;
      return true;
    }
  }
  return false;
}

static struct sf_config config;
struct sf_leg_found found[SF_LEGS_MAX];

void
prepare(const struct model *m) {
  config = (struct sf_config){.name = "vol0", .min_legs = m->min_legs, .legs = m->legs};
  memset(found, 0, sizeof found);
  for (unsigned i = 0; i < m->legs; i++) {
    struct sf_superblock *sb = &found[i].sb;
    config.leg[i].name[0] = (char) ('a' + i);
    strcpy(config.leg[i].path, "leg");
    found[i].bytes = SF_DATA_OFFSET + SF_VOLUME_BYTES_MIN;
    *sb = (struct sf_superblock){.volume = {{1}},
                                 .volume_name = "vol0",
                                 .leg_index = (uint8_t) i,
                                 .legs = (uint8_t) m->legs,
                                 .data_offset = SF_DATA_OFFSET,
                                 .data_bytes = SF_VOLUME_BYTES_MIN,
                                 .lineage = {{2}}};
    for (unsigned j = 0; j < m->legs; j++) {
      sb->leg_uuid[j].bytes[0] = (uint8_t) (j + 1);
      sb->leg_name[j][0] = (char) ('a' + j);
    }
  }
}

/* NO_DOUBT: claims are hidden from the verdict and still counted for the next term. */
static void
ask(const struct model *m, const struct state *s, unsigned subset, struct sf_assembly *assembly) {
  uint64_t highest_claim = 0;
  for (unsigned i = 0; i < m->legs; i++) {
    const struct leg *leg = &s->leg[i];
    found[i].present = subset >> i & 1;
    found[i].sb.record = (struct sf_record){.term = leg->term,
                                            .change = leg->change,
                                            .in_sync = leg->in_sync,
                                            .min_legs = (uint8_t) m->min_legs};
    found[i].sb.claim = m->mutant == NO_DOUBT ? 0 : leg->claim;
    if (found[i].present && leg->claim > highest_claim)
      highest_claim = leg->claim;
  }
  sf_assemble(&config, found, false, assembly);
  if (assembly->next_term <= highest_claim)
    assembly->next_term = highest_claim + 1;
}

static const char *
check_numbers(const struct model *m, const struct state *s) {
  for (unsigned i = 0; i < m->legs; i++)
    for (unsigned j = 0; j < i; j++)
      if (s->leg[i].term == s->leg[j].term && s->leg[i].change == s->leg[j].change &&
          s->leg[i].in_sync != s->leg[j].in_sync)
        return "two records with one number";
  return NULL;
}

/* As ask(), with one copy of the superblock unreadable on some legs, the newest one on some of
 * these. */
static void
ask_unreadable(const struct model *m, const struct state *s, unsigned subset, unsigned unreadable,
               unsigned newest, struct sf_assembly *assembly) {
  struct state shown = *s;
  for (unsigned i = 0; i < m->legs; i++) {
    struct leg *leg = &shown.leg[i];
    found[i].doubtful = unreadable >> i & 1;
    if (newest >> i & 1) {
      leg->term = leg->old[0];
      leg->change = leg->old[1];
      leg->in_sync = leg->old[2];
      leg->claim = leg->old[3];
    }
  }
  ask(m, &shown, subset, assembly);
  for (unsigned i = 0; i < m->legs; i++)
    found[i].doubtful = false;
}

/* All hold one record, and no start was broken off since. */
static bool
is_settled(const struct model *m, const struct state *s) {
  for (unsigned i = 0; i < m->legs; i++)
    if (s->leg[i].term != s->leg[0].term || s->leg[i].change != s->leg[0].change ||
        s->leg[i].claim > s->leg[0].term)
      return false;
  return true;
}

static struct refusal *
find_refusal(struct refusals *refused, const struct refusal *seen) {
  for (unsigned i = 0; i < refused->n; i++)
    if (memcmp(&refused->at[i], seen, offsetof(struct refusal, is_due)) == 0)
      return &refused->at[i];
  assert_true(refused->n < REFUSALS_MAX);
  refused->at[refused->n] = *seen;
  return &refused->at[refused->n++];
}

/* Refused as an older record may have been claimed: what would the start have trusted?  Claims of
 * later terms than the second are beyond the bounds of these searches. */
static void
note_refusal(const struct model *m, unsigned subset, unsigned unreadable, unsigned complete,
             const struct sf_assembly *assembly) {
  struct refusal seen = {.subset = (uint8_t) subset, .unreadable = (uint8_t) unreadable};
  unsigned trusted = 0;
  if (assembly->may_start || assembly->base.record.term != 1 ||
      strstr(assembly->reason, "from an older record than") == NULL)
    return;
  for (unsigned i = 0; i < m->legs; i++) {
    const struct sf_superblock *sb = &found[i].sb;
    const uint8_t shown[4] = {(uint8_t) sb->record.term, (uint8_t) sb->record.change,
                              (uint8_t) sb->record.in_sync, (uint8_t) sb->claim};
    if (subset >> i & 1)
      memcpy(seen.shown[i], shown, sizeof shown);
    trusted |= (unsigned) (assembly->verdict[i] == SF_LEG_CURRENT) << i;
  }
  struct refusal *refusal = find_refusal(m->refused, &seen);
  refusal->is_due = refusal->is_due || (trusted & ~complete) != 0;
}

/* A leg that lacks something is never trusted, whichever copies cannot be read; and a single
 * unreadable copy does not keep a volume from starting when all legs are there. */
static const char *
check_unreadable(const struct model *m, const struct state *s, unsigned subset, unsigned complete) {
  unsigned all = (1u << m->legs) - 1;
  struct sf_assembly assembly;
  for (unsigned unreadable = subset; unreadable; unreadable = (unreadable - 1) & subset)
    for (unsigned newest = unreadable;; newest = (newest - 1) & unreadable) {
      ask_unreadable(m, s, subset, unreadable, newest, &assembly);
      if (m->refused)
        note_refusal(m, subset, unreadable, complete, &assembly);
      if (assembly.may_start && (assembly.current & ~complete) != 0)
        return "a start trusts a leg that lacks an acknowledged write, for want of a copy";
      if (subset == all && __builtin_popcount(unreadable) == 1 && is_settled(m, s) &&
          !assembly.may_start)
        return "one unreadable copy keeps the volume from starting";
      if (newest == 0)
        break;
    }
  return NULL;
}

const char *
check(const struct model *m, const struct state *s) {
  unsigned all = (1u << m->legs) - 1, complete = 0;
  struct sf_assembly assembly;
  SF_ASSERT(m->legs <= LEGS_MAX);
  for (unsigned i = 0; i < m->legs; i++)
    complete |= (unsigned) s->leg[i].complete << i;
  for (unsigned subset = 1; subset <= all; subset++) {
    ask(m, s, subset, &assembly);
    if (assembly.may_start && (assembly.current & ~complete) != 0)
      return "a start trusts a leg that lacks an acknowledged write";
    if (assembly.may_start && (unsigned) __builtin_popcount(assembly.current) < m->min_legs)
      return "a start with too few legs";
    if (subset == all && !assembly.may_start && m->mutant == RIGHT)
      return "all legs are there and the volume does not start";
    /* A process that runs may be killed at once: that state is asked. */
    const char *wrong =
        m->unreadable && !s->running ? check_unreadable(m, s, subset, complete) : NULL;
    if (wrong)
      return wrong;
  }
  return check_numbers(m, s);
}

static void
keep_old(const struct model *m, struct leg *leg) {
  const uint8_t old[4] = {leg->term, leg->change, leg->in_sync, leg->claim};
  if (m->unreadable)
    memcpy(leg->old, old, sizeof old);
}

static void
put_record(struct state *s, unsigned leg, unsigned term, unsigned change, unsigned in_sync) {
  s->leg[leg].term = (uint8_t) term;
  s->leg[leg].change = (uint8_t) change;
  s->leg[leg].in_sync = (uint8_t) in_sync;
}

static void
crash(struct state *s) {
  s->running = s->term = s->change = s->durable = s->want = s->need = s->newcomer = 0;
}

/* The newest record is stable on these legs. */
static void
settle(const struct model *m, struct state *s) {
  for (unsigned i = 0; i < m->legs; i++)
    if ((s->want >> i & 1) && (s->leg[i].term != s->term || s->leg[i].change != s->change))
      return;
  s->durable = s->need = s->want;
  s->newcomer = 0;
}

/* Must another leg have the record before this one? */
static bool
waits_for_newcomer(const struct model *m, const struct state *s, unsigned leg) {
  unsigned newcomer = s->want & s->newcomer;
  if (m->order != NEWCOMER_FIRST || !newcomer || newcomer >> leg & 1)
    return false;
  const struct leg *first = &s->leg[__builtin_ctz(newcomer)];
  return first->term != s->term || first->change != s->change;
}

static bool
submit_record(const struct model *m, struct state *s, unsigned want, struct chooser *chooser) {
  if (s->change >= (m->durable && s->term == 1 ? m->first_changes_max : m->changes_max))
    return false;
  unsigned reached = choose_subset(chooser, want);
  s->change++;
  s->want = (uint8_t) want;
  s->need |= (uint8_t) want;
  if (m->order == NEWCOMER_FIRST && (want & s->newcomer & ~reached))
    reached = 0;
  for (unsigned i = 0; i < m->legs; i++)
    if (reached >> i & 1) {
      keep_old(m, &s->leg[i]);
      put_record(s, i, s->term, s->change, want);
    }
  settle(m, s);
  return true;
}

/* Phase one: the claim and the copy reach any part of the legs; says which. */
unsigned
claim(const struct model *m, struct state *s, const struct sf_assembly *assembly, unsigned present,
      struct chooser *chooser) {
  unsigned reached = choose_subset(chooser, present);
  for (unsigned i = 0; i < m->legs; i++) {
    if (!(reached >> i & 1))
      continue;
    keep_old(m, &s->leg[i]);
    s->leg[i].claim = (uint8_t) assembly->next_term;
    if (m->mutant != NO_COPY)
      put_record(s, i, (unsigned) assembly->base.record.term,
                 (unsigned) assembly->base.record.change, assembly->base.record.in_sync);
  }
  return reached;
}

/* A start goes on without the legs that missed the claim if it could have begun without them.  The
 * legs that it goes on with; 0: it cannot. */
static unsigned
spare(const struct model *m, const struct state *before, unsigned present, unsigned missed,
      const struct sf_assembly *assembly) {
  struct sf_assembly without;
  unsigned base = assembly->base.record.in_sync, rest = assembly->current & ~missed;
  if (m->mutant == SPARE_BY_BASE)
    return (unsigned) __builtin_popcount(base & rest) >= m->min_legs &&
                   (unsigned) __builtin_popcount(base & ~rest) < m->min_legs
               ? rest
               : 0;
  ask(m, before, present, &without);
  return without.may_start && sf_record_compare(&without.base.record, &assembly->base.record) == 0
             ? rest & without.current
             : 0;
}

static bool
step_start(const struct model *m, struct state *s, struct chooser *chooser) {
  const struct state before = *s;
  struct sf_assembly assembly;
  unsigned present = choose_subset(chooser, (1u << m->legs) - 1);
  ask(m, s, present, &assembly);
  if (!assembly.may_start || assembly.next_term > m->terms_max)
    return false;
  unsigned current = assembly.current;
  if (m->mutant != NO_CLAIM) {
    unsigned missed = current & ~claim(m, s, &assembly, present, chooser);
    current = missed ? spare(m, &before, present & ~missed, missed, &assembly) : current;
  }
  if (!current) {
    crash(s);
    return true;
  }
  s->running = 1;
  s->term = (uint8_t) assembly.next_term;
  return submit_record(m, s, current, chooser);
}

static bool
step_acknowledge(const struct model *m, struct state *s) {
  if (!s->durable)
    return false;
  for (unsigned i = 0; i < m->legs; i++)
    if (!(s->need >> i & 1))
      s->leg[i].complete = 0;
  return true;
}

/* A pending promotion is undone by the very next record. */
static bool
step_demote(const struct model *m, struct state *s, struct chooser *chooser) {
  unsigned want = s->want & ~(1u << choose_member(chooser, s->want));
  if (m->mutant != NO_UNDO)
    want &= ~(unsigned) s->newcomer;
  if ((unsigned) __builtin_popcount(want) < m->min_legs)
    return false;
  return submit_record(m, s, want, chooser);
}

/* The leg was caught up, and answers need it from before its record is submitted.  A leg that comes
 * with a claim above our term is refused: it would throw doubt on its own promotion, with a record
 * of long ago.  (Such a claim is of a start that died in its phase one and that ours did not
 * see.) */
static bool
step_promote(const struct model *m, struct state *s, struct chooser *chooser) {
  unsigned outside = ((1u << m->legs) - 1) & ~(unsigned) s->want;
  if (!outside || !s->durable || s->durable != s->want || s->need != s->want)
    return false;
  unsigned leg = choose_member(chooser, outside);
  if (s->leg[leg].claim > s->term && m->mutant != NO_REFUSAL)
    return false;
  s->leg[leg].complete = 1;
  s->newcomer = (uint8_t) (1u << leg);
  return submit_record(m, s, s->want | 1u << leg, chooser);
}

/* A slow metadata write arrives after all. */
static bool
step_deliver(const struct model *m, struct state *s, struct chooser *chooser) {
  unsigned leg = choose_member(chooser, s->want);
  if (s->leg[leg].term == s->term && s->leg[leg].change == s->change)
    return false;
  if (waits_for_newcomer(m, s, leg))
    return false;
  keep_old(m, &s->leg[leg]);
  put_record(s, leg, s->term, s->change, s->want);
  settle(m, s);
  return true;
}

bool
step(const struct model *m, struct state *s, struct chooser *chooser) {
  if (!s->running)
    return step_start(m, s, chooser);
  switch (choose(chooser, 5)) {
  case 0:
    crash(s);
    return true;
  case 1:
    return step_acknowledge(m, s);
  case 2:
    return step_demote(m, s, chooser);
  case 3:
    return step_promote(m, s, chooser);
  default:
    return step_deliver(m, s, chooser);
  }
}

/* With records 1.2 and 1.3. */
static void
begin_running(const struct model *m, struct state *s) {
  s->running = s->term = 1;
  s->change = 3;
  s->durable = (uint8_t) m->durable;
  s->want = (uint8_t) m->want;
  s->need = (uint8_t) (m->durable | m->want);
  s->newcomer = (uint8_t) (m->want & ~m->durable);
  for (unsigned i = 0; i < m->legs; i++) {
    if (m->durable >> i & 1)
      put_record(s, i, 1, 2, m->durable);
    else
      s->leg[i].complete = s->newcomer >> i & 1;
    keep_old(m, &s->leg[i]);
  }
}

void
first_state(const struct model *m, struct state *s) {
  memset(s, 0, sizeof *s);
  for (unsigned i = 0; i < m->legs; i++) {
    put_record(s, i, 1, 1, (1u << m->legs) - 1);
    s->leg[i].claim = s->leg[i].complete = 1;
    keep_old(m, &s->leg[i]);
  }
  if (m->durable)
    begin_running(m, s);
}

void
print_state(const struct model *m, const struct state *s) {
  for (unsigned i = 0; i < m->legs; i++) {
    print_message("%c %u.%u{", 'a' + i, s->leg[i].term, s->leg[i].change);
    for (unsigned j = 0; j < m->legs; j++)
      if (s->leg[i].in_sync >> j & 1)
        print_message("%c", 'a' + j);
    print_message("} claim %u %s  ", s->leg[i].claim, s->leg[i].complete ? "full" : "LACKS");
  }
  if (s->running)
    print_message("runs %u.%u durable %x want %x need %x", s->term, s->change, s->durable, s->want,
                  s->need);
  print_message("\n");
}

static uint64_t
hash_of(const struct state *s) {
  uint64_t word[sizeof *s / sizeof(uint64_t)], hash = 1469598103934665603u;
  memcpy(word, s, sizeof word);
  for (unsigned i = 0; i < sizeof word / sizeof *word; i++) {
    hash = (hash ^ word[i]) * 0x9e3779b97f4a7c15u;
    hash ^= hash >> 29;
  }
  return hash;
}

/* True when it is new. */
static bool
remember(struct search *search, const struct state *s, uint32_t parent) {
  uint32_t at = (uint32_t) hash_of(s) & (search->slots - 1);
  for (; search->slot[at]; at = (at + 1) & (search->slots - 1))
    if (memcmp(&search->state[search->slot[at] - 1], s, sizeof *s) == 0)
      return false;
  if (search->states == search->states_max)
    return false;
  search->state[search->states] = *s;
  search->parent[search->states] = parent;
  search->slot[at] = ++search->states;
  return true;
}

static void
print_path(const struct model *m, const struct search *search, uint32_t at) {
  if (at != 0)
    print_path(m, search, search->parent[at]);
  print_message("    ");
  print_state(m, &search->state[at]);
}

static const char *
explore_from(const struct model *m, struct search *search, uint32_t at) {
  struct chooser chooser = {.used = 0};
  do {
    struct state next = search->state[at];
    if (!step(m, &next, &chooser) || !remember(search, &next, at))
      continue;
    const char *wrong = check(m, &next);
    if (wrong) {
      print_message("  %s:\n", wrong);
      print_path(m, search, search->states - 1);
      return wrong;
    }
  } while (choose_next(&chooser));
  return NULL;
}

/* NULL: no counterexample. */
const char *
explore(const struct model *m, uint32_t states_max, uint32_t *states) {
  struct search search = {.states_max = states_max, .slots = 1u << 19};
  const char *wrong = NULL;
  struct state first;
  assert_true(states_max < search.slots / 2);
  search.state = calloc(states_max, sizeof *search.state);
  search.parent = calloc(states_max, sizeof *search.parent);
  search.slot = calloc(search.slots, sizeof *search.slot);
  assert_true(search.state && search.parent && search.slot);
  prepare(m);
  first_state(m, &first);
  remember(&search, &first, 0);
  for (uint32_t at = 0; at < search.states && !wrong; at++)
    wrong = explore_from(m, &search, at);
  *states = search.states;
  free(search.state);
  free(search.parent);
  free(search.slot);
  return wrong;
}

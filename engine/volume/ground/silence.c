/* When an overdue leg counts as late (R4): not because it is busy, and not because all are.
 *
 *   It hangs: it has something of ours and has ended nothing for its timeout and a grace, which
 *   are its deadline.  A look, which says nothing of a leg, is no such thing: it is not counted in
 *   judged_n.  A leg that goes on answering is busy, whatever one request takes, up to a few
 *   timeouts: three for a request that it has passed by, answering one that it got a timeout later,
 *   eight for any.
 *   Others are well: enough of them have what it lacks, and have not been silent themselves until
 *   half its timeout ago.  Legs behind one bus, host or hypervisor stall together; the first that
 *   answers is no evidence against the next. */
#include "volume/ground/silence.h"

#include "volume/ground/deadline.h"
#include "volume/ground/facts.h"
#include "volume/ground/host.h"

enum {
  OVERTAKEN_MOST = 3, /* timeouts for a request that a leg has passed by */
  TIMEOUTS_MOST = 8,  /* for one while the leg goes on answering others, in whatever order */
  FLUSHES_MOST = 2,   /* long flushes that one is given for which other requests wait */
  FORGET_SHIFT = 4,   /* of the longest flush, by each shorter one */
};

/* Since when it has had something and ended nothing. */
static uint64_t
silent_since(const struct leg *leg) {
  return leg->answered_ns > leg->busy_since_ns ? leg->answered_ns : leg->busy_since_ns;
}

static uint64_t
silent_ns(const struct sf_volume *v, const struct leg *leg) {
  return v->now_ns - silent_since(leg);
}

/* Was it flushing when it fell silent, or soon after?  A flush sent when it had been silent for a
 * timeout is no excuse. */
static bool
falls_silent_in_a_flush(const struct leg *leg, uint64_t timeout_ns) {
  for (const struct sf_list *l = leg->outstanding.next;
       leg->flushes_n > 0 && l != &leg->outstanding; l = l->next) {
    const struct leg_io_part *part = SF_LIST_ENTRY(l, struct leg_io_part, link);

    if (part->io->flushes)
      return part->sent_ns < silent_since(leg) + timeout_ns;
  }
  return false;
}

/* A disk may answer nothing else while it flushes, and a write with FUA is a flush to most.  So
 * much it is given as it is known to take. */
static uint64_t
silence_allowed(const struct sf_volume *v, unsigned index, enum sf_kind kind) {
  const struct leg *leg = &v->leg[index];
  uint64_t timeout = sf_deadline_timeout(v, index, kind),
           most = sf_deadline_timeout(v, index, SF_FLUSH_KIND);
  uint64_t flush = FLUSHES_MOST * leg->longest_flush_ns;

  if (flush <= timeout || !falls_silent_in_a_flush(leg, timeout))
    return timeout;
  return flush < most ? flush : most;
}

/* An overdue flush counts for no more than its timeout: it may have been a stall. */
static void
learn_flush(struct leg *leg, const struct leg_io_part *part, uint64_t took_ns) {
  if (took_ns > part->timeout_ns)
    took_ns = part->timeout_ns;
  if (took_ns > leg->longest_flush_ns)
    leg->longest_flush_ns = took_ns;
  else
    leg->longest_flush_ns -= leg->longest_flush_ns >> FORGET_SHIFT;
}

/* A leg that is silent for longer leaves, flushing or not: unless the others were silent too. */
static uint64_t
silence_most(const struct sf_volume *v, unsigned index, enum sf_kind kind) {
  uint64_t timeout = sf_deadline_timeout(v, index, kind),
           most = sf_deadline_timeout(v, index, SF_FLUSH_KIND);
  uint64_t flush = FLUSHES_MOST * v->leg[index].longest_flush_ns;

  if (flush > most)
    flush = most;
  return (flush > timeout ? flush : timeout) + sf_deadline_grace(v, index, kind);
}

/* For so long a leg that was silent may be no evidence against another one.  Less than the silence
 * itself, or one that dozes would never be any. */
static uint64_t
says_nothing_for(uint64_t stall_ns) {
  return stall_ns / 2;
}

static void
note_stall(struct sf_volume *v, struct leg *leg, uint64_t silent_ns) {
  bool is_past = v->now_ns - leg->stall[1].end_ns >= says_nothing_for(leg->stall[1].ns);

  leg->stall[0].ns = silent_ns;
  leg->stall[0].end_ns = v->now_ns;
  if (is_past || silent_ns >= leg->stall[1].ns)
    leg->stall[1] = leg->stall[0];
}

/* It was silent until now, and what it still owes is to have another timeout.  That is by kinds: a
 * silence is one only for what may not take so long.  A flush that is lost would never be late if
 * each pause between two writes, which is longer than the timeout of a write, were an excuse for
 * it. */
static void
note_awake(struct sf_volume *v, unsigned index) {
  struct leg *leg = &v->leg[index];
  uint64_t silent = silent_ns(v, leg);

  if (silent >= sf_deadline_timeout(v, index, SF_WRITE_KIND))
    note_stall(v, leg, silent);
  for (enum sf_kind kind = 0; kind < SF_KINDS; kind++) {
    if (silent < sf_deadline_timeout(v, index, kind))
      continue;
    leg->awake_ns[kind] = v->now_ns;
    leg->silence_ns = silent;
    if (silent >= silence_most(v, index, kind))
      leg->stalled_ns[kind] = v->now_ns;
  }
}

/* After its last silence that was too long for any kind. */
static uint64_t
awake_since(const struct leg *leg) {
  uint64_t last = 0;

  for (enum sf_kind kind = 0; kind < SF_KINDS; kind++)
    if (leg->awake_ns[kind] > last)
      last = leg->awake_ns[kind];
  return last;
}

/* What was overdue at the end of a silence was there in it: that was no pause of clients.  So all
 * that the leg has was held up, for as long as it had it then. */
static void
note_held_up(struct leg *leg, const struct leg_io_part *ended) {
  uint64_t awake;

  if (leg->silence_ns == 0 || ended->io->args.unjudged)
    return;
  awake = awake_since(leg);
  if (ended->sent_ns + ended->timeout_ns > awake)
    return;
  for (struct sf_list *l = leg->outstanding.next; l != &leg->outstanding; l = l->next) {
    struct leg_io_part *part = SF_LIST_ENTRY(l, struct leg_io_part, link);
    uint64_t had_ns = part->sent_ns < awake ? awake - part->sent_ns : 0;

    part->held_up_ns += had_ns < leg->silence_ns ? had_ns : leg->silence_ns;
  }
  leg->silence_ns = 0;
}

/* A flush passes nothing by: Linux hands it over before what waits, and disks may answer it first. */
void
sf_insync_leg_answered(struct sf_volume *v, const struct leg_io_part *part) {
  struct leg *leg = &v->leg[part->leg];
  uint64_t *newest = &leg->newest_sent_ns[part->io->reads];

  if (part->sent_ns > *newest && part->io->args.op != SF_TIO_FLUSH)
    *newest = part->sent_ns;
  if (part->io->flushes)
    learn_flush(leg, part, v->now_ns - part->sent_ns);
  if (leg->judged_n > 0 || !part->io->args.unjudged) /* else it was idle */
    note_awake(v, part->leg);
  note_held_up(leg, part);
  leg->answered_ns = v->now_ns;
}

static bool
is_silent(const struct sf_volume *v, unsigned index, enum sf_kind kind) {
  const struct leg *leg = &v->leg[index];

  return leg->judged_n > 0 && silent_ns(v, leg) >= silence_allowed(v, index, kind);
}

uint64_t
sf_insync_silent_ns(const struct sf_volume *v, unsigned index) {
  const struct leg *leg = &v->leg[index];

  return leg->judged_n > 0 ? silent_ns(v, leg) : 0;
}

bool
sf_insync_leg_is_silent(const struct sf_volume *v, unsigned index) {
  return is_silent(v, index, SF_WRITE_KIND);
}

/* Elevators let reads overtake writes, and the other way round, for longer than our timeouts. */
bool
sf_insync_is_overtaken(const struct leg_io_part *part) {
  const struct leg *leg = &part->io->volume->leg[part->leg];

  return leg->newest_sent_ns[part->io->reads] >= part->sent_ns + part->timeout_ns;
}

/* For windows and witnesses: reads may be lost, and go elsewhere since, while writes are answered. */
bool
sf_insync_is_passed_by(const struct leg_io_part *part) {
  const struct leg *leg = &part->io->volume->leg[part->leg];

  return sf_insync_is_overtaken(part) ||
         leg->newest_sent_ns[!part->io->reads] >= part->sent_ns + OVERTAKEN_MOST * part->timeout_ns;
}

bool
sf_insync_is_avoided(const struct sf_volume *v, unsigned leg) {
  return v->leg[leg].avoid || v->leg[leg].drain_until_ns != 0 || sf_insync_leg_is_silent(v, leg);
}

/* A leg that was silent for a while could answer neither: a silence that held up what it had does
 * not count, as it has as much before it then as it had, and may be slower; and a timeout after any
 * it must have.  No hiccup makes the three begin anew, or a lost request would outlast them by one
 * after the other. */
static uint64_t
part_starved_at(const struct leg_io_part *part) {
  const struct leg *leg = &part->io->volume->leg[part->leg];
  uint64_t last = part->sent_ns + TIMEOUTS_MOST * part->timeout_ns, at;

  if (!sf_insync_is_overtaken(part))
    return last;
  at = part->sent_ns + part->held_up_ns + OVERTAKEN_MOST * part->timeout_ns;
  if (at < leg->awake_ns[part->io->args.kind] + part->timeout_ns)
    at = leg->awake_ns[part->io->args.kind] + part->timeout_ns;
  return at < last ? at : last;
}

bool
sf_insync_is_starved(const struct leg_io_part *part) {
  return part->io->volume->now_ns >= part_starved_at(part);
}

/* When the first of its requests will have been waited for long enough, though it answers
 * others. */
static uint64_t
starved_at(const struct leg *leg) {
  uint64_t first = UINT64_MAX;

  for (const struct sf_list *l = leg->outstanding.next; l != &leg->outstanding; l = l->next) {
    const struct leg_io_part *part = SF_LIST_ENTRY(l, struct leg_io_part, link);

    if (!part->io->args.unjudged && part_starved_at(part) < first)
      first = part_starved_at(part);
  }
  return first;
}

/* For the grace and another timeout it may only be on its way out: the record waits its turn on
 * legs that are busy. */
bool
sf_insync_leg_is_awaited(const struct sf_volume *v, unsigned index, enum sf_kind kind) {
  const struct leg *leg = &v->leg[index];
  uint64_t leaves = sf_deadline_timeout(v, index, SF_WRITE_KIND), starved;
  uint64_t grace = sf_deadline_grace(v, index, kind);

  if (leg->device == NULL || leg->troubled_ns != 0)
    return true;
  if (is_silent(v, index, kind) &&
      silent_ns(v, leg) >= silence_allowed(v, index, kind) + grace + leaves)
    return true;
  starved = starved_at(leg);
  return v->now_ns >= starved && v->now_ns - starved >= leaves;
}

bool
sf_insync_leg_hangs(struct sf_volume *v, unsigned index, enum sf_kind kind) {
  const struct leg *leg = &v->leg[index];
  uint64_t at =
      silent_since(leg) + silence_allowed(v, index, kind) + sf_deadline_grace(v, index, kind);
  uint64_t stalled = leg->stalled_ns[kind], starved;

  if (leg->judged_n == 0)
    return false;
  starved = starved_at(leg);
  if (stalled != 0 && starved < stalled + sf_deadline_timeout(v, index, kind))
    starved = stalled + sf_deadline_timeout(v, index, kind);
  if (starved < at)
    at = starved;
  if (v->now_ns >= at)
    return true;
  sf_vol_arm(v, at);
  return false;
}

/* It has ended nothing for that long of what it has: but for what it has passed by, as a leg that
 * keeps one request and answers all others is awake, and may have nothing else just now. */
static bool
perhaps_stalls(const struct sf_volume *v, const struct leg *leg, uint64_t for_ns) {
  if (leg->judged_n == 0 || silent_ns(v, leg) < for_ns)
    return false;
  for (const struct sf_list *l = leg->outstanding.next; l != &leg->outstanding; l = l->next) {
    const struct leg_io_part *part = SF_LIST_ENTRY(l, struct leg_io_part, link);

    if (!part->io->args.unjudged && !sf_insync_is_passed_by(part))
      return v->now_ns - part->sent_ns >= for_ns;
  }
  return false;
}

legset
sf_insync_doubted(const struct sf_volume *v, unsigned index, enum sf_kind kind, legset legs) {
  uint64_t grace = sf_deadline_grace(v, index, kind);
  legset set = 0;

  EACH_LEG(leg, legs & (legset) ~legbit(index)) {
    if (perhaps_stalls(v, &v->leg[leg], grace))
      set |= legbit(leg);
  }
  return set;
}

/* Until when that one says nothing of a leg: it stalled until a moment ago, for long enough that it
 * may be what made the leg silent.  What the leg has may take half the timeout of a write: if it
 * woke when that one did, it has ended something of that by then. */
static uint64_t
says_nothing_until(const struct sf_volume *v, unsigned witness, unsigned index, enum sf_kind kind) {
  const struct leg *leg = &v->leg[witness];
  uint64_t work = sf_deadline_target_ns(v, index, SF_WRITE_KIND), until = 0;

  for (unsigned which = 0; which < 2; which++) {
    uint64_t most = says_nothing_for(leg->stall[which].ns);
    uint64_t at = leg->stall[which].end_ns + (work < most ? work : most);

    if (leg->stall[which].ns >= sf_deadline_grace(v, index, kind) && at > until)
      until = at;
  }
  return until;
}

legset
sf_insync_witnesses(struct sf_volume *v, unsigned index, enum sf_kind kind, legset legs) {
  legset doubted = sf_insync_doubted(v, index, kind, legs), set = 0;

  EACH_LEG(leg, legs & (legset) ~(legbit(index) | doubted)) {
    uint64_t at = says_nothing_until(v, leg, index, kind);

    if (v->now_ns >= at)
      set |= legbit(leg);
    else
      sf_vol_arm(v, at);
  }
  return set;
}

/* R2 where one answer says nothing of the other legs: is it this leg that does not answer, and not
 * more of them than can be spared?  Else the record that takes it out may wait for ever for one of
 * those, and so would it. */
bool
sf_insync_leg_is_alone(struct sf_volume *v, unsigned index, uint64_t since_ns) {
  legset heard = 0;

  EACH_LEG(leg, sf_insync_legs(v) & (legset) ~legbit(index)) {
    if (v->leg[leg].heard_ns >= since_ns && !sf_leg_fails(v, leg))
      heard |= legbit(leg);
  }
  return legcount(sf_insync_witnesses(v, index, SF_READ_KIND, heard)) >= v->min_legs;
}

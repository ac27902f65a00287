/* A scrub: do the legs in sync hold the same?  It is a convergence (R11) of everything, one piece
 * at a time in the order of R6, that tells differences instead of writing them.
 *
 *   look         all legs in sync are read, beside clients' reads.  Alike: on to the next piece.
 *   look again   at the blocks that were not, with readers kept out: a block that a read repair was
 *                about to mend, or that a bus garbled once, is no mismatch.
 *   tell         which blocks are wrong, on which legs.
 *   repair       when that is asked for and known: with FUA, since no intent stands for it.  A
 *                crash in the middle leaves the wrong block wrong, and no convergence may take it
 *                for the right one.
 *
 * Nothing is compared where legs in sync may differ and rightly so: where a convergence is to come,
 * and where a flush failed.  It is a guest: it waits while anything is copied but zeros that nobody waits
 * for (R17), which wait for it, and while requests lack legs. */
#include "volume/change/scrub.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "volume/change/copier.h"
#include "volume/change/copy_rate.h"
#include "volume/change/scrub_vote.h"
#include "volume/ground/copying.h"
#include "volume/ground/facts.h"
#include "volume/ground/host.h"
#include "volume/ground/scrub_state.h"
#include "volume/ops/copy.h"
#include "volume/ops/copy_end.h"
#include "volume/ops/op.h"
#include "volume/ops/own_flush.h"
#include "volume/ops/read.h"
#include "volume/set/bad.h"

enum {
  BACKOFF_MS = 100, /* after a look that failed, or where there may be none now */
  SLOTS_BESIDE_CLIENTS = 1,
  REPAIRS_MOST = 3,
};

#define EACH_SLOT(s, scrub)                                                                        \
  for (struct scrub_slot *s = (scrub)->slot; s < (scrub)->slot + SF_SCRUB_SLOTS; s++)

const char *
sf_scrub_state_name(enum sf_scrub_state state) {
  static const char *const name[SF_SCRUB_STATES] = {"none", "running", "paused", "done",
                                                    "canceled"};

  return name[state];
}

void
sf_scrub_init(struct sf_volume *v) {
  EACH_SLOT(s, &v->scrub)
  sf_state_init(&s->copy.machine, &sf_copy_table, SF_COPY_SLOTS + (unsigned) (s - v->scrub.slot),
                COPY_IDLE);
}

/* ---- its state ---- */

static void
put_bytes(struct sf_text *text, uint64_t bytes, const char *what) {
  if (bytes > 0)
    sf_text_put(text, ", %" PRIu64 " bytes %s", bytes, what);
}

static void
move_to(struct sf_volume *v, enum sf_scrub_state state, const char *why) {
  struct sf_scrub_status *told = &v->scrub.told;
  const char *from = sf_scrub_state_name(told->state);
  char reason[SF_LEG_REASON_MAX] = "";
  struct sf_text text = {.at = reason, .left = sizeof reason};

  sf_text_put(&text, "%s", why);
  if (state == SF_SCRUB_DONE || state == SF_SCRUB_CANCELED) {
    v->scrub.ended_ns = v->now_ns;
    sf_text_put(&text, "%s%" PRIu64 " bytes compared", why[0] != '\0' ? "; " : "",
                told->done_bytes);
    put_bytes(&text, told->unwritten_bytes, "of these never written");
    put_bytes(&text, told->mismatch_bytes, "differ");
    put_bytes(&text, told->unreadable_bytes, "cannot be read");
    put_bytes(&text, told->repaired_bytes, "of these written anew");
    if (told->mismatches == 0)
      sf_text_put(&text, ", all alike");
  }
  told->state = state;
  sf_vol_event(v, SF_EVENT_SCRUB, -1, from, sf_scrub_state_name(state), reason);
  v->dirty = true;
}

void
sf_scrub_status(const struct sf_volume *v, struct sf_scrub_status *status) {
  *status = v->scrub.told;
  if (status->state == SF_SCRUB_NONE)
    return;
  status->age_ns = v->now_ns - v->scrub.begun_ns;
  if (!sf_scrub_is_under_way(v))
    status->ended_age_ns = v->now_ns - v->scrub.ended_ns;
}

/* ---- one look ---- */

static struct scrub_slot *
slot_of(struct copy *copy) {
  return SF_LIST_ENTRY(copy, struct scrub_slot, copy);
}

/* Or legs in sync may differ there, and rightly so. */
static bool
may_compare(const struct sf_volume *v, uint64_t extent) {
  if (v->phase != PHASE_SERVING || legcount(sf_insync_legs(v)) < 2 ||
      sf_map_test(&v->unconverged, extent))
    return false;
  EACH_LEG(leg, sf_insync_legs(v)) {
    const struct leg *l = &v->leg[leg];

    if (sf_map_test(&l->lost, extent) || sf_map_test(&l->unsure, extent))
      return false;
  }
  return true;
}

static bool
scrub_may_look(const struct sf_op *op) {
  return sf_scrub_is_under_way(op->volume) &&
         may_compare(op->volume, extent_of(op->volume, op->offset));
}

/* A leg's word may be of what its cache has dropped, which its next flush says (R9). */
static void
doubt_words(struct sf_volume *v, legset good, uint64_t extent) {
  EACH_LEG(leg, good) {
    if (!sf_map_test(&v->leg[leg].unflushed, extent) && !sf_map_test(&v->leg[leg].flushing, extent))
      return;
  }
  sf_map_set(legcount(good) < 2 ? &v->scrub.guessed : &v->scrub.voted, extent);
  v->scrub.word_id = v->next_id;
}

static void
repair(struct sf_op *op, const struct scrub_verdict *run, legset wrong) {
  struct sf_volume *v = op->volume;
  struct scrub_slot *slot = slot_of(op->copy);

  /* A newcomer is neither in sync then nor to be called stale. */
  if (v->promoting >= 0) {
    sf_copy_finish(op, false);
    return;
  }
  slot->found = SCRUB_REPAIRS;
  slot->repairs++;
  sf_copier_passes_by(v, slot->extent);
  doubt_words(v, run->good, slot->extent);
  sf_copy_repair(op, (unsigned) __builtin_ctz(run->good), wrong);
}

/* Seen twice. */
static void
tell(struct sf_op *op, const struct scrub_verdict *run, legset unread) {
  const struct sf_volume *v = op->volume;
  struct copy *copy = op->copy;
  struct scrub_slot *slot = slot_of(copy);
  struct sf_scrub_range range = {.begin = op->offset, .end = op->offset + op->length};
  legset wrong = run->bad | unread;

  slot->range[0] = slot->range[1] = range;
  slot->range[0].legs = run->bad;
  slot->range[0].what = run->good != 0 ? SF_SCRUB_WRONG : SF_SCRUB_UNKNOWN;
  slot->range[1].legs = unread;
  slot->range[1].what = SF_SCRUB_UNREADABLE;
  if (v->scrub.told.order.repair && run->good != 0 && slot->repairs < REPAIRS_MOST) {
    repair(op, run, wrong);
  } else {
    slot->found = SCRUB_TOLD;
    sf_copy_finish(op, true);
  }
}

static void
scrub_compare(struct sf_op *op) {
  struct sf_volume *v = op->volume;
  struct copy *copy = op->copy;
  struct scrub_slot *slot = slot_of(copy);
  legset asked = copy->targets | legbit((unsigned) copy->source);
  legset unread = copy->unread, read = asked & (legset) ~unread;
  uint64_t from, length;
  struct scrub_verdict run;

  /* A leg that has left meanwhile may have lost its cache before it was read. */
  if (!scrub_may_look(op) || (asked & (legset) ~sf_insync_legs(v)) != 0 ||
      (op->ok & read) != read || sf_bad_touches(v, op->offset, op->length)) {
    sf_copy_finish(op, false);
    return;
  }
  v->scrub.told.legs &= asked;
  if (unread != 0 && op->length > v->block_bytes) {
    slot->found = SCRUB_BLOCKWISE;
    sf_copy_finish(op, true);
    return;
  }
  run = sf_scrub_vote(op, read, &from, &length);
  if (unread == 0 && length == 0) {
    slot->found = SCRUB_ALIKE;
    sf_copy_finish(op, true);
  } else if (op->blocks_reads && (unread != 0 || length == op->length)) {
    tell(op, &run, unread);
  } else {
    slot->found = SCRUB_LOOK_AGAIN;
    slot->at += unread != 0 ? 0 : from;
    slot->doubt_length = unread != 0 ? op->length : length;
    sf_copy_finish(op, true);
  }
}

static void
note_found(struct sf_volume *v, struct scrub_slot *slot, bool repaired) {
  for (unsigned i = 0; i < 2; i++) {
    slot->range[i].repaired = repaired;
    if (slot->range[i].legs != 0)
      sf_scrub_note(v, &slot->range[i]);
  }
}

static void
scrub_ended(struct sf_volume *v, struct copy *copy, bool good) {
  struct scrub_slot *slot = slot_of(copy);
  uint64_t length = slot->doubt_length != 0 ? slot->doubt_length : slot->length;

  if (!good) {
    slot->again_ns = v->now_ns + BACKOFF_MS * SF_MS;
    slot->doubt_length = 0;
    return;
  }
  switch (slot->found) {
  case SCRUB_LOOK_AGAIN:
    return;
  case SCRUB_BLOCKWISE:
    slot->blockwise_until = slot->at + length;
    slot->doubt_length = 0;
    return;
  case SCRUB_REPAIRS:
  case SCRUB_TOLD:
    note_found(v, slot, slot->found == SCRUB_REPAIRS);
    break;
  case SCRUB_ALIKE:
    break;
  }
  slot->at += length;
  slot->doubt_length = 0;
  slot->repairs = 0;
}

static const struct copy_judge judge = {
    .may_look = scrub_may_look, .compare = scrub_compare, .ended = scrub_ended};

/* ---- which, and when ---- */

static uint64_t
rate_of(struct sf_volume *v) {
  uint64_t most = v->scrub.told.order.rate, rate = sf_copy_rate_now(v);

  return most != 0 && (rate == 0 || most < rate) ? most : rate;
}

static void
look(struct sf_volume *v, struct scrub_slot *slot) {
  struct scrub *scrub = &v->scrub;
  uint64_t length = slot->end - slot->at, rate = rate_of(v);
  struct sf_op *op;
  bool is_bad;

  if (slot->at < slot->blockwise_until)
    length = v->block_bytes;
  else if (length > SF_COPY_PIECE_BYTES)
    length = SF_COPY_PIECE_BYTES;
  if (slot->doubt_length != 0)
    length = slot->doubt_length;
  length = sf_bad_run(v, slot->at, length, &is_bad);
  if (is_bad) { /* its legs may differ, and no client reads it */
    slot->at += length;
    slot->doubt_length = 0;
    v->dirty = true;
    return;
  }
  if (slot->doubt_length != 0)
    slot->doubt_length = length;
  else
    slot->length = length;
  op = sf_op_new(v, &sf_op_copy, slot->at, length);
  op->scrubs = true;
  op->blocks_reads = slot->doubt_length != 0;
  op->copy = &slot->copy;
  slot->copy.op = op;
  slot->copy.of = &slot->of;
  slot->of = (struct copying){.active = true, .converge = true, .judge = &judge};
  slot->of.extent = slot->extent;
  scrub->looked_ns = v->now_ns;
  sf_copy_move(v, &slot->copy, COPY_WAITING);
  if (rate > 0)
    scrub->pace_ns =
        (scrub->pace_ns > v->now_ns ? scrub->pace_ns : v->now_ns) + length * SF_S / rate;
  sf_op_enter(op);
}

static bool
is_taken(const struct sf_volume *v, uint64_t extent) {
  for (unsigned i = 0; i < SF_SCRUB_SLOTS; i++)
    if (v->scrub.slot[i].active && v->scrub.slot[i].extent == extent)
      return true;
  return false;
}

/* What has grown meanwhile was converged, and is not counted. */
static void
extent_is_done(struct sf_volume *v, uint64_t extent, uint64_t end) {
  struct sf_scrub_status *told = &v->scrub.told;

  if (end > told->total_bytes)
    end = told->total_bytes;
  if (sf_map_clear(&v->scrub.todo, extent))
    told->done_bytes += end - (extent << v->extent_shift);
}

/* What legs hold there is read by no client: it reads as zeros on each of them. */
static bool
pass_unwritten(struct sf_volume *v, uint64_t extent) {
  struct sf_scrub_status *told = &v->scrub.told;
  uint64_t end = (extent + 1) << v->extent_shift, before = told->done_bytes;

  if (!sf_map_test(&v->unwritten, extent))
    return false;
  extent_is_done(v, extent, end < v->size_bytes ? end : v->size_bytes);
  told->unwritten_bytes += told->done_bytes - before;
  v->dirty = true;
  return true;
}

/* False: all that is left waits for a convergence, or is under way. */
static bool
pick(struct sf_volume *v, struct scrub_slot *slot) {
  struct scrub *scrub = &v->scrub;

  for (unsigned round = 0; round < 2; round++, scrub->cursor = 0)
    for (uint64_t e = sf_map_next(&scrub->todo, scrub->cursor); e < v->extents;
         e = sf_map_next(&scrub->todo, e + 1)) {
      if (pass_unwritten(v, e) || is_taken(v, e) || !may_compare(v, e))
        continue;
      *slot = (struct scrub_slot){.copy = slot->copy, .of = slot->of};
      slot->active = true;
      slot->extent = scrub->cursor = e;
      slot->at = e << v->extent_shift;
      slot->end = slot->at + v->extent_bytes;
      if (slot->end > v->size_bytes)
        slot->end = v->size_bytes;
      return true;
    }
  return false;
}

/* It is a guest. */
static bool
has_leave(const struct sf_volume *v) {
  EACH_LEG(leg, sf_insync_legs(v)) {
    if (v->leg[leg].overdue_n > 0)
      return false;
  }
  return legcount(sf_insync_legs(v)) > 1 && v->suspended == 0 && v->parked == NULL &&
         v->held == NULL && v->starved_ns == 0 && !sf_copier_is_copying_data(v) &&
         sf_op_is_free(v, &sf_op_read);
}

static void
advance(struct sf_volume *v, struct scrub_slot *slot) {
  bool leave;

  if (slot->copy.machine.state != COPY_IDLE)
    return;
  if (slot->active && slot->at >= slot->end) {
    slot->active = false;
    extent_is_done(v, slot->extent, slot->end);
  }
  leave = has_leave(v);
  /* Without leave there is nothing to pick, and looking for it takes long on a large volume. */
  if (!slot->active && (!leave || !pick(v, slot)))
    return;
  if (v->now_ns < slot->again_ns || !leave || !may_compare(v, slot->extent))
    sf_vol_arm(v, v->now_ns + BACKOFF_MS * SF_MS);
  else if (v->now_ns < v->scrub.pace_ns)
    sf_vol_arm(v, v->scrub.pace_ns);
  else
    look(v, slot);
}

static void
flush_ended(struct sf_volume *v, int error) {
  if (error == 0)
    sf_scrub_believe_words(v);
}

/* Blocks written for one leg's word are as good as that leg's next flush. */
static void
finish(struct sf_volume *v) {
  struct scrub *scrub = &v->scrub;
  bool doubts = scrub->guessed.set + scrub->voted.set > 0;

  if (doubts && !scrub->flush.ended) {
    sf_own_flush_begin(v, &scrub->flush, flush_ended);
    return;
  }
  move_to(v, SF_SCRUB_DONE, doubts ? "a flush failed, and written blocks may be lost" : "");
}

static void
end_slots(struct sf_volume *v) {
  EACH_SLOT(s, &v->scrub)
  s->active = false;
}

static void
cancel(struct sf_volume *v, const char *why) {
  end_slots(v);
  move_to(v, SF_SCRUB_CANCELED, why);
}

/* Or taken by another host. */
void
sf_scrub_stopped(struct sf_volume *v) {
  if (sf_scrub_is_under_way(v))
    cancel(v, "the volume stops");
}

void
sf_scrub_settle(struct sf_volume *v) {
  struct scrub *scrub = &v->scrub;
  unsigned slots = sf_copy_rate_counts(v) ? SLOTS_BESIDE_CLIENTS : SF_SCRUB_SLOTS;

  if (!sf_scrub_is_under_way(v) || scrub->flush.running)
    return;
  if (v->phase != PHASE_SERVING) {
    sf_scrub_stopped(v);
    return;
  }
  if (scrub->told.state == SF_SCRUB_PAUSED)
    return;
  for (unsigned i = 0; i < SF_SCRUB_SLOTS; i++)
    if (i < slots || scrub->slot[i].active)
      advance(v, &scrub->slot[i]);
  if (scrub->todo.set == 0 && !sf_scrub_holds_a_copy(v))
    finish(v);
  else if (!sf_scrub_holds_a_copy(v))
    sf_vol_arm(v, v->now_ns + BACKOFF_MS * SF_MS);
}

/* ---- the operator ---- */

void
sf_scrub_leg_is_another(struct sf_volume *v, unsigned leg) {
  if (sf_scrub_is_under_way(v) && v->scrub.told.order.from == (int) leg)
    cancel(v, "the leg that was named is copied anew from the others");
}

int
sf_scrub_begin(struct sf_volume *v, const struct sf_scrub_order *order) {
  struct scrub *scrub = &v->scrub;

  if (sf_scrub_is_under_way(v))
    return -EALREADY;
  if (v->phase != PHASE_SERVING || sf_scrub_holds_a_copy(v))
    return -EBUSY;
  if (order->from >= 0 && !sf_leg_is_member(v, (unsigned) order->from))
    return -ENOENT;
  if (legcount(sf_insync_legs(v)) < 2 ||
      (order->from >= 0 && !(sf_insync_legs(v) & legbit((unsigned) order->from))))
    return -ENOTCONN;
  scrub->told = (struct sf_scrub_status){
      .order = *order, .total_bytes = v->size_bytes, .legs = sf_insync_legs(v)};
  sf_map_fill(&scrub->todo);
  scrub->cursor = scrub->pace_ns = scrub->ended_ns = 0;
  scrub->begun_ns = v->now_ns;
  scrub->flush.ended = false;
  end_slots(v);
  move_to(v, SF_SCRUB_RUNNING, order->repair ? "blocks known to be wrong are written anew" : "");
  return 0;
}

int
sf_scrub_pause(struct sf_volume *v, bool paused) {
  enum sf_scrub_state to = paused ? SF_SCRUB_PAUSED : SF_SCRUB_RUNNING;

  if (!sf_scrub_is_under_way(v))
    return -ENOENT;
  if (v->scrub.told.state != to)
    move_to(v, to, "");
  return 0;
}

int
sf_scrub_cancel(struct sf_volume *v) {
  if (!sf_scrub_is_under_way(v))
    return -ENOENT;
  cancel(v, "");
  return 0;
}

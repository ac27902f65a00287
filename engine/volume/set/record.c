/* The record of the in-sync set (R10, R12): written to every leg that it names, durable when each
 * of them has it, one superblock write per leg at a time, under the same deadline as data. */
#include "volume/set/record.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "assembly/blank.h"
#include "volume/ground/facts.h"
#include "volume/ground/host.h"
#include "volume/ground/leg_io.h"
#include "volume/ground/steps.h"

enum {
  META_RETRY_MS = 100,
  NO_ROOM_MS = 5,
  SECOND_COPY_MS = 1000,    /* after a record, when nothing is likely to wait for the next */
  SECOND_COPY_MOST_S = 600, /* also while something is unflushed, which an error would cost */
  SECOND_AGAIN_S = 60,
};

static void meta_event(struct leg_io *io, unsigned leg, const struct sf_tio_event *event);

/* A claim stands in the line of the record that it carries: on a leg too that the first record of a
 * new line names and did not reach.  In the leg's own line it would have gone past the fork. */
static void
put_line(struct sf_superblock *image, const struct sf_superblock *base) {
  image->lineage = base->lineage;
  image->ancestors = base->ancestors;
  memcpy(image->ancestor, base->ancestor, sizeof image->ancestor);
}

static void
meta_write_record(struct sf_volume *v, unsigned index, const struct sf_record *record,
                  uint64_t version) {
  struct leg *leg = &v->leg[index];
  struct meta *meta = &leg->meta;
  struct sf_superblock *image = &meta->image;
  struct leg_io_args args = {
      .op = SF_TIO_WRITE,
      .flags = SF_TIO_FUA,
      .kind = SF_WRITE_KIND,
      .use = WINDOW_META,
      .legs = legbit(index),
      .length = SF_PAGE_BYTES,
      .buffer = meta->buffer,
  };
  int r;

  *image = v->identity;
  image->serial = leg->sb.serial + 1;
  image->leg_index = (uint8_t) index;
  image->claim = v->claim;
  image->record = *record;
  if (v->phase == PHASE_CLAIMING)
    put_line(image, &v->base);
  else if (image->record.clean)
    image->holder = (struct sf_holder){0}; /* the next server need not ask */
  sf_superblock_encode(image, meta->buffer->data);
  args.offset = SF_SUPERBLOCK_OFFSET(image->serial % SF_SUPERBLOCK_COPIES);

  meta->io.owner = meta;
  meta->io.on_event = meta_event;
  meta->failed = meta->overdue = meta->tells = false;
  r = sf_leg_io_submit(v, &meta->io, &args);
  if (r == -EAGAIN) { /* our own want of room is not the leg's fault */
    sf_vol_arm(v, v->now_ns + NO_ROOM_MS * SF_MS);
    return;
  }
  if (r < 0) {
    meta->failed = true;
    meta->error = r;
    meta->retry_ns = v->now_ns + META_RETRY_MS * SF_MS;
    v->dirty = true;
    return;
  }
  meta->busy = true;
  if (record->in_sync & legbit(index)) /* whatever becomes of it */
    meta->untold |= 1u << image->serial % SF_SUPERBLOCK_COPIES;
  meta->sent = version;
}

static void
meta_write(struct sf_volume *v, unsigned index) {
  meta_write_record(v, index, v->phase == PHASE_CLAIMING ? &v->base.record : &v->latest,
                    v->version);
}

/* A promotion is written to the newcomer first.  A leg that was emptied has no record before, and
 * named by others it would count as absent for ever, if the power failed between the two. */
static legset
whose_turn(const struct sf_volume *v) {
  if (v->promoting >= 0 && !sf_record_is_on(v, (unsigned) v->promoting))
    return legbit((unsigned) v->promoting);
  return sf_record_asks(v) | (sf_record_left_out(v) != 0 ? v->latest.in_sync : 0);
}

/* Named by a record that any leg may hold, and not by the last one: a newcomer whose promotion was
 * undone, and legs whose leaving is not durable. */
legset
sf_record_left_out(const struct sf_volume *v) {
  return (v->durable.in_sync | v->exchange.promoted) & (legset) ~v->latest.in_sync;
}

/* Reading 14: a leg that answers nothing has the set that it is named in again.  Where it may hold a
 * record that names others too, it could start with them from that: so these are to know better. */
legset
sf_record_asks(const struct sf_volume *v) {
  legset set = v->latest.in_sync & (legset) ~v->exchange.unasked;

  return v->exchange.unasked != 0 ? set | sf_record_left_out(v) : set;
}

/* Reading 14: were it in one copy only, and that one went bad, a start from the record before it,
 * with the leg that has lost its place, would be thought to be safe. */
bool
sf_record_is_on(const struct sf_volume *v, unsigned leg) {
  const struct meta *meta = &v->leg[leg].meta;

  return meta->done == v->version &&
         (v->exchange.both != v->version || meta->copies >= SF_SUPERBLOCK_COPIES);
}

/* R5: one that has left first ends all that it holds. */
static bool
may_get_it(const struct sf_volume *v, unsigned leg) {
  return (sf_vol_receivers(v) & legbit(leg)) ||
         (v->leg[leg].device != NULL && v->leg[leg].running == 0);
}

void
sf_record_drive(struct sf_volume *v) {
  EACH_LEG(leg, whose_turn(v)) {
    struct meta *meta = &v->leg[leg].meta;

    if (!meta->busy && !meta->failed && !sf_record_is_on(v, leg) && may_get_it(v, leg))
      meta_write(v, leg);
  }
}

void
sf_record_tell(struct sf_volume *v, unsigned leg, bool lacks_all) {
  struct sf_record blank = sf_leg_blank_record(&v->identity, leg, v->latest.min_legs);

  SF_ASSERT(v->phase == PHASE_SERVING && sf_record_is_as_good_as_durable(v) &&
            !(v->latest.in_sync & legbit(leg)));
  meta_write_record(v, leg, lacks_all ? &blank : &v->latest, lacks_all ? 0 : v->version);
  v->leg[leg].meta.tells = true;
}

static void
meta_event(struct leg_io *io, unsigned index, const struct sf_tio_event *event) {
  struct sf_volume *v = io->volume;
  struct leg *leg = &v->leg[index];
  struct meta *meta = io->owner;

  if (event_is_final(event))
    meta->busy = false;
  if (event->state == SF_TIO_OK || (event->late && event->error == 0))
    leg->sb = meta->image;
  if (event->state == SF_TIO_OK && meta->tells)
    meta->untold &= ~(1u << meta->image.serial % SF_SUPERBLOCK_COPIES);
  if (event->late && meta->tells && event->error != -ECANCELED)
    leg->probe_error = event->error;
  if (!event->late) {
    meta->overdue = event->state == SF_TIO_TIMEOUT;
    if (event->state == SF_TIO_OK) {
      meta->copies = meta->sent == meta->done ? meta->copies + 1 : 1;
      meta->done = meta->sent;
    } else if (event->state == SF_TIO_ERROR) {
      meta->failed = true;
      meta->error = event->error;
      meta->retry_ns = v->now_ns + META_RETRY_MS * SF_MS;
    }
  }
  v->dirty = true;
}

void
sf_record_start(struct sf_volume *v) {
  v->version = 1;
  sf_record_drive(v);
  v->dirty = true;
}

void
sf_record_drop_newcomer(struct sf_volume *v) {
  if (v->joining >= 0 && !(v->latest.in_sync & legbit((unsigned) v->joining)))
    v->ack_legs &= (legset) ~legbit((unsigned) v->joining);
  v->counted = 0;
  v->joining = v->promoting = -1;
  sf_join_move(v, JOIN_NONE);
  v->dirty = true;
}

/* A smaller number than the last durable record's is never recorded together with a smaller set: a
 * start from legs of the new record, without a leg that it names, and a start from the legs that
 * know only the last one, could both go ahead.  First the set, by the old count, and then the
 * number: record_wait.c. */
static unsigned
min_legs_for(const struct sf_volume *v, legset in_sync) {
  legset last = v->durable_version == 0 ? v->base.record.in_sync : v->durable.in_sync;
  bool shrinks = (last & (legset) ~in_sync) != 0;

  return shrinks && v->min_legs > v->config.min_legs ? v->min_legs : v->config.min_legs;
}

/* A record that gives a leg its place back: it is durable without that leg, as it was without it
 * that the place was taken. */
static void
undo_exchange(struct sf_volume *v, bool is_undone) {
  struct exchange *exchange = &v->exchange;
  bool goes_on = !sf_record_is_durable(v) && exchange->both == v->version;

  if (!goes_on || v->phase != PHASE_SERVING)
    exchange->unasked = 0;
  else if (is_undone)
    exchange->unasked = exchange->leaving;
  exchange->both = goes_on ? v->version + 1 : 0;
  exchange->leaving = 0;
}

/* Reading 14: by the record of the promotion a start needs all legs that it names, but one whose newest
 * superblock it cannot read could not have gone on without the newcomer. */
static bool
undoes_promotion_of_few(const struct sf_volume *v, legset in_sync) {
  legset newcomer = v->latest.in_sync & (legset) ~v->durable.in_sync;

  return v->durable_version != 0 && (newcomer & (legset) ~in_sync) != 0 &&
         legcount(in_sync) < v->latest.min_legs;
}

/* Reading 2 of the rules: a promotion that is submitted and not durable is undone by the very next
 * record.  Until that is durable an answer goes on needing the leg (reading 1). */
static void
change(struct sf_volume *v, legset in_sync, legset faulty, bool clean) {
  bool in_both;

  if (v->promoting >= 0) {
    in_sync &= (legset) ~legbit((unsigned) v->promoting);
    sf_record_drop_newcomer(v);
  }
  in_sync |= v->exchange.leaving;
  in_both = undoes_promotion_of_few(v, in_sync);
  undo_exchange(v, v->exchange.leaving != 0);
  SF_ASSERT(in_sync != 0);
  EACH_LEG(leg, in_sync & (legset) ~v->latest.in_sync)
    v->leg[leg].meta.failed = v->leg[leg].meta.overdue = false; /* of an earlier membership */
  v->latest.in_sync = in_sync;
  v->latest.faulty = faulty;
  v->latest.clean = clean;
  v->latest.min_legs = (uint8_t) min_legs_for(v, in_sync);
  v->latest.change++;
  v->version++;
  if (in_both)
    v->exchange.both = v->version;
  v->ack_legs |= in_sync;
  sf_vol_trace(v, "record %" PRIu64 ".%" PRIu64 ": in-sync 0x%x%s", v->latest.term,
               v->latest.change, in_sync, clean ? " clean" : "");
  v->dirty = true;
}

void
sf_record_change(struct sf_volume *v, legset in_sync, legset faulty, bool clean) {
  change(v, in_sync, faulty, clean);
  sf_record_drive(v);
}

/* The claim of a start by force stands in the line before, and names legs that are left out.  In one
 * copy only, and that one lost, a leg shows nothing but that claim: a start would do without it. */
void
sf_record_begins_line(struct sf_volume *v) {
  if (!sf_uuid_equal(&v->identity.lineage, &v->base.lineage))
    v->exchange.both = v->version;
}

void
sf_record_promote(struct sf_volume *v, unsigned leg, bool has_lost) {
  if (has_lost)
    v->identity.lost |= legbit(leg);
  else
    v->identity.lost &= (legset) ~legbit(leg);
  change(v, v->latest.in_sync | legbit(leg), v->latest.faulty & (legset) ~legbit(leg), false);
  v->promoting = (int) leg;
  v->exchange.promoted = legbit(leg);
  sf_record_drive(v);
}

void
sf_record_spare(struct sf_volume *v, unsigned leg) {
  SF_ASSERT(v->promoting < 0 && sf_record_left_out(v) != 0 && (v->latest.in_sync & legbit(leg)));
  v->exchange.unasked = legbit(leg);
  v->exchange.both = v->version;
  v->dirty = true;
  sf_record_drive(v);
}

/* It names the newcomer instead of that leg, and is not asked of it.  One that promotes the newcomer
 * may be on its way: it is not undone then, since that would wait for the very leg that is silent. */
void
sf_record_exchange(struct sf_volume *v, unsigned leg, unsigned leaves) {
  legset in_sync = (v->latest.in_sync | legbit(leg)) & (legset) ~legbit(leaves);

  SF_ASSERT(v->joining == (int) leg && v->exchange.leaving == 0);
  v->promoting = -1;
  v->identity.lost &= (legset) ~legbit(leg);
  change(v, in_sync, v->latest.faulty & (legset) ~legbit(leg), false);
  v->promoting = (int) leg;
  v->exchange.leaving = legbit(leaves);
  v->exchange.unasked = 0;
  v->exchange.both = v->version;
  sf_record_drive(v);
}

/* A record may stand for months.  Were it in one copy only, and that one went bad, a start would
 * believe the record before it, and trust a leg that has left since. */
static void
write_second_copy(struct sf_volume *v, unsigned index) {
  struct leg *leg = &v->leg[index];
  struct meta *meta = &leg->meta;
  uint64_t stands = v->now_ns - v->durable_ns;
  bool risks_nothing = leg->unflushed.set == 0 && leg->flushing.set == 0;
  bool was_unasked = meta->done < v->version; /* it has it as soon as it answers again */

  if (v->phase != PHASE_SERVING || !sf_record_is_durable(v) || meta->busy || meta->failed ||
      v->now_ns < meta->second_ns)
    return;
  if (!meta->doubted && !was_unasked &&
      (meta->copies >= SF_SUPERBLOCK_COPIES ||
       stands < (risks_nothing ? SECOND_COPY_MS * SF_MS : SECOND_COPY_MOST_S * SF_S)))
    return;
  meta->doubted = false;
  meta->second_ns = v->now_ns + SECOND_AGAIN_S * SF_S;
  meta_write(v, index);
}

void
sf_record_doubt(struct sf_volume *v, unsigned leg) {
  v->leg[leg].meta.doubted = true;
  sf_vol_arm(v, v->now_ns);
}

void
sf_record_tick(struct sf_volume *v) {
  EACH_LEG(leg, v->latest.in_sync | sf_record_asks(v)) {
    struct meta *meta = &v->leg[leg].meta;

    if (meta->failed && v->now_ns >= meta->retry_ns)
      meta->failed = false;
    write_second_copy(v, leg);
  }
}

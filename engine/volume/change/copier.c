/* Copies between legs:
 *
 *   resync       to a catching-up leg, from an in-sync one, the extents it is stale in (R15);
 *   convergence  after a crash or a failed write, the extents in which in-sync legs may differ:
 *                each is made what one of them holds, and flushed on all, the source included,
 *                before it is read (R11, reading 10 of the rules).  An extent that waits for it is
 *                no source for a resync (reading 11).  One that was never written is made zeros on
 *                all of them instead, before it is written (R17), or when there is nothing better
 *                to do.
 *
 * A few extents at a time, so that the end of one does not leave the legs idle; of each, pieces in
 * flight.  A client's write to a piece in flight waits for it; to a piece already copied, goes to
 * the target too; to one still to come, does not. */
#include "volume/change/copier.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "volume/change/copy_rate.h"
#include "volume/change/resync.h"
#include "volume/change/zeroing.h"
#include "volume/ground/copying.h"
#include "volume/ground/facts.h"
#include "volume/ground/flush_lost.h"
#include "volume/ground/host.h"
#include "volume/ground/lost.h"
#include "volume/ground/unwritten.h"
#include "volume/ops/begin.h"
#include "volume/ops/copy.h"
#include "volume/ops/copy_end.h"
#include "volume/ops/op.h"
#include "volume/ops/own_flush.h"
#include "volume/set/bad.h"
#include "volume/set/map_pages.h"
#include "volume/set/record.h"
#include "volume/set/written.h"

enum {
  CONVERGE_BATCH = 32,      /* extents copied before a flush */
  BACKOFF_MS = 100,         /* after a flush that failed, or what no leg could read */
  SLOWER_MS = 1000,         /* the latter, when it has failed for so long */
  LOOKS_MOST = 30,          /* of each block: then others have their turn */
  SLOTS_BESIDE_CLIENTS = 2, /* a write that waits for a piece waits for few others before it */
  /* Where first writes may come: what a resync leaves to zeros, and these to it. */
  SLOTS_OF_EACH = SF_COPY_SLOTS / 4,
  PIECES_MOST = SF_EXTENT_BYTES_MAX / 512, /* block by block */
};

int
sf_copier_init(struct sf_volume *v) {
  uint64_t pieces = (v->extent_bytes + v->block_bytes - 1) / v->block_bytes;

  if (pieces > PIECES_MOST)
    return -EFBIG;
  EACH_COPYING(c, &v->copier) {
    c->piece = calloc(pieces, sizeof *c->piece);
    c->doubt = calloc(pieces, sizeof *c->doubt);
    if (c->piece == NULL || c->doubt == NULL)
      return -ENOMEM;
  }
  for (unsigned i = 0; i < SF_COPY_SLOTS; i++)
    sf_state_init(&v->copier.slot[i].machine, &sf_copy_table, i, COPY_IDLE);
  return 0;
}

void
sf_copier_destroy(struct sf_volume *v) {
  EACH_COPYING(c, &v->copier) {
    free(c->piece);
    free(c->doubt);
  }
}

/* ---- an extent ---- */

static uint64_t
extent_length(const struct sf_volume *v, uint64_t extent) {
  uint64_t base = extent << v->extent_shift;
  uint64_t left = v->size_bytes - base;

  return left < v->extent_bytes ? left : v->extent_bytes;
}

/* What becomes of the extent is decided in the set. */
static void
stale_outside(struct sf_volume *v, uint64_t extent) {
  for (unsigned i = 0; i < v->legs; i++)
    if (!(sf_insync_legs(v) & legbit(i)))
      sf_map_set(&v->leg[i].stale, extent);
}

void
sf_copier_passes_by(struct sf_volume *v, uint64_t extent) {
  bool lacks = false;

  for (unsigned i = 0; i < v->legs; i++)
    if (!(sf_insync_legs(v) & legbit(i)))
      lacks |= sf_map_set(&v->leg[i].stale, extent);
  EACH_COPYING(c, &v->copier)
    if (c->active && !c->converge && c->extent == extent)
      c->failed = true;
  if (lacks)
    sf_map_changed(v, map_page_of(extent), true);
  if (v->joining >= 0)
    sf_record_drop_newcomer(v);
}

static void
begin_extent(struct sf_volume *v, struct copying *c, uint64_t extent, bool converge, unsigned leg) {
  bool by_block;

  SF_ASSERT(sf_copying_find(v, extent) == NULL);
  c->active = true;
  c->converge = converge;
  c->zeroes = converge && sf_map_test(&v->unwritten, extent);
  c->is_first = c->zeroes && !sf_map_test(&v->copier.zeroing, extent) &&
                !sf_map_test(&v->copier.counted, extent);
  c->also = 0;
  c->leg = leg;
  c->extent = extent;
  by_block = sf_map_test(&v->copier.by_block, extent) ||
             sf_bad_touches(v, extent << v->extent_shift, extent_length(v, extent));
  c->piece_bytes = by_block ? v->block_bytes : SF_COPY_PIECE_BYTES;
  c->pieces = (unsigned) ((extent_length(v, extent) + c->piece_bytes - 1) / c->piece_bytes);
  c->issued_pieces = c->done_pieces = c->in_flight = 0;
  c->come_from = c->again_from = 0;
  c->again_ns = c->doubt_ns = 0;
  c->marks = 0;
  c->doubted = c->sure = c->agains = 0;
  c->failed = c->wrote = c->lacks = c->no_room = c->elsewhere = c->shows = false;
  memset(c->piece, PIECE_TO_COME, c->pieces);
  memset(c->doubt, 0, c->pieces * sizeof *c->doubt);
  if (!converge)
    return;
  if (c->zeroes) {
    SF_ASSERT(v->joining < 0);
    sf_map_set(&v->unconverged, extent);
    sf_map_set(&v->copier.zeroing, extent);
    c->also = sf_vol_receivers(v) & (legset) ~sf_insync_legs(v);
    for (unsigned i = 0; i < v->legs; i++)
      sf_map_clear(&v->leg[i].zeroed, extent);
    return; /* whatever a leg holds there, it lacks nothing as yet (written.c) */
  }
  stale_outside(v, extent);
  /* Writes there pass a newcomer by from now on, so no answer may need it. */
  if (v->joining >= 0)
    sf_record_drop_newcomer(v);
}

static void
end_extent(struct sf_volume *v, struct copying *c) {
  c->active = false;
  if (c->converge)
    sf_map_clear(&v->copier.copied, c->extent); /* it was for what is not in doubt */
  if (c->lacks || c->marks != 0)
    sf_lost_tell(v);
  if (c->failed || c->done_pieces != c->pieces)
    return;
  if (c->lacks && !c->converge) {
    sf_copier_put_off(v, c->extent);
    snprintf(v->leg[c->leg].reason, sizeof v->leg[c->leg].reason,
             "waits for blocks that can be read on no leg%s",
             c->no_room     ? ": there are too many of them to record"
             : c->elsewhere ? ": a leg that is not in sync may have them"
                            : "");
    return;
  }
  if (c->converge) {
    EACH_LEG(leg, c->also)
      sf_map_set(&v->leg[leg].zeroed, c->extent);
    sf_map_set(&v->copier.copied, c->extent);
    sf_map_clear(&v->copier.by_block, c->extent);
  } else if (sf_map_clear(&v->leg[c->leg].stale, c->extent)) {
    sf_map_set(&v->leg[c->leg].settled, map_page_of(c->extent));
    sf_map_clear(&v->copier.by_block, c->extent);
    sf_resync_advances(v, &v->leg[c->leg]);
  }
}

static uint64_t
again_at(const struct copying *c) {
  bool is_new = c->again_ns < c->doubt_ns + SLOWER_MS * SF_MS;

  return c->again_ns + (is_new ? BACKOFF_MS : SLOWER_MS) * SF_MS;
}

/* -1: only those that are to be asked again, and not yet. */
static int
next_piece(const struct sf_volume *v, struct copying *c) {
  bool again = c->again_ns != 0 && v->now_ns >= again_at(c);

  while (c->come_from < c->pieces && c->piece[c->come_from] != PIECE_TO_COME)
    c->come_from++;
  if (c->come_from < c->pieces)
    return (int) c->come_from;
  while (c->again_from < c->pieces && c->piece[c->again_from] != PIECE_AGAIN)
    c->again_from++;
  return again && c->again_from < c->pieces ? (int) c->again_from : -1;
}

/* False: no op is free. */
static bool
issue_piece(struct sf_volume *v, struct copying *c, struct copy *copy) {
  unsigned piece = (unsigned) next_piece(v, c);
  uint64_t base = c->extent << v->extent_shift;
  uint64_t offset = base + (uint64_t) piece * c->piece_bytes;
  uint64_t length = base + extent_length(v, c->extent) - offset;
  struct sf_op *op;

  if (length > c->piece_bytes)
    length = c->piece_bytes;
  op = sf_op_new(v, &sf_op_copy, offset, length);
  if (op == NULL)
    return false;
  op->blocks_reads = c->converge;
  op->copy = copy;
  copy->op = op;
  copy->of = c;
  copy->piece = piece;
  c->piece[piece] = PIECE_ISSUED;
  c->issued_pieces++;
  c->in_flight++;
  sf_copy_move(v, copy, COPY_WAITING);
  sf_copy_rate_charge(v, length);
  sf_op_enter(op);
  return true;
}

static bool
has_piece_to_come(struct sf_volume *v, struct copying *c) {
  if (!c->active || c->failed || c->issued_pieces == c->pieces)
    return false;
  if (next_piece(v, c) >= 0)
    return true;
  sf_vol_arm(v, again_at(c));
  return false;
}

static void
issue_pieces(struct sf_volume *v, struct copying *c) {
  struct copier *copier = &v->copier;
  bool few = sf_copy_rate_counts(v) && v->parked == NULL;
  unsigned first = 0, slots = SF_COPY_SLOTS;

  if (sf_zeroing_gives_way(v, c))
    return;
  if (few)
    slots = SLOTS_BESIDE_CLIENTS;
  else if (!c->converge && v->unwritten.set > 0)
    slots = v->parked != NULL ? SLOTS_OF_EACH : SF_COPY_SLOTS - SLOTS_OF_EACH;
  if (c->zeroes && v->parked != NULL && sf_resync_places(v) > 0)
    first = SLOTS_OF_EACH;
  for (unsigned i = first; i < slots && has_piece_to_come(v, c); i++) {
    if (copier->slot[i].machine.state != COPY_IDLE)
      continue;
    if (v->now_ns < copier->issue_at_ns || !sf_copy_rate_keeps(v) ||
        !issue_piece(v, c, &copier->slot[i]))
      return;
  }
}

/* Of what is zeroed, that for which a write has waited longest goes first. */
static void
issue_in_order(struct sf_volume *v) {
  for (const struct sf_request *r = v->parked; r != NULL && v->unwritten.set > 0; r = r->next)
    EACH_COPYING(c, &v->copier)
      if (c->active && c->zeroes && sf_unwritten_is_for(v, r, c->extent))
        issue_pieces(v, c);
}

/* ---- what to copy next ---- */

/* What is to be zeroed waits for a leg that joins (zeroing.c). */
static bool
must_be_copied(const struct sf_volume *v, uint64_t extent) {
  if (v->joining >= 0 && sf_map_test(&v->unwritten, extent))
    return false;
  return sf_map_test(&v->unconverged, extent) && !sf_map_test(&v->copier.copied, extent) &&
         !sf_map_test(&v->copier.flushing_copied, extent) && sf_copying_find(v, extent) == NULL;
}

/* What no leg could read some of comes last: it may be in doubt for ever, and there are few places. */
static bool
is_of_round(const struct sf_volume *v, uint64_t extent, unsigned round) {
  return must_be_copied(v, extent) && sf_map_test(&v->copier.by_block, extent) == (round > 0);
}

static bool
demanded_extent(struct sf_volume *v, unsigned round, uint64_t *extent) {
  for (const struct sf_request *r = v->parked; r != NULL; r = r->next) {
    uint64_t last = extent_of(v, r->offset + r->length - 1);

    for (uint64_t e = extent_of(v, r->offset); e <= last; e++)
      if (is_of_round(v, e, round) || (round == 0 && sf_zeroing_is_due(v, r, e))) {
        if (sf_map_test(&v->unwritten, e))
          v->copier.zero_cursor = e; /* writes in order find the next ones done */
        *extent = e;
        return true;
      }
  }
  return false;
}

/* Does c give its place up rather than that one?  What is in doubt does, the older first, unless room
 * is made for such an extent; else one that zeroes and has nothing with a leg. */
static bool
goes_before(const struct copying *c, const struct copying *oldest, bool in_doubt) {
  if (!in_doubt && c->converge && c->doubt_ns != 0)
    return oldest == NULL || c->doubt_ns < oldest->doubt_ns;
  return oldest == NULL && c->zeroes && c->in_flight == 0;
}

/* A request waits for an extent, and all places are taken, none by zeros for another: an extent in
 * doubt begins again later, unless what waits is in doubt too, or one that gives way, when it stands
 * still. */
static void
make_room(struct sf_volume *v) {
  struct copying *oldest = NULL;
  uint64_t extent;
  bool in_doubt;

  if (v->parked == NULL || v->promoting >= 0)
    return;
  in_doubt = !demanded_extent(v, 0, &extent);
  if (in_doubt && !demanded_extent(v, 1, &extent))
    return;
  EACH_COPYING(c, &v->copier) {
    if (!c->active || c->failed || (c->zeroes && !sf_zeroing_gives_way(v, c)))
      return;
    if (goes_before(c, oldest, in_doubt))
      oldest = c;
  }
  if (oldest != NULL)
    oldest->failed = v->dirty = true;
}

static bool
background_extent(struct sf_volume *v, uint64_t *extent) {
  if (v->unconverged.set == v->copier.copied.set + v->copier.flushing_copied.set)
    return false;
  for (unsigned round = 0; round < 2; round++, v->copier.cursor = 0)
    for (uint64_t e = sf_map_next(&v->unconverged, v->copier.cursor); e < v->extents;
         e = sf_map_next(&v->unconverged, e + 1))
      if (must_be_copied(v, e)) {
        v->copier.cursor = e;
        *extent = e;
        return true;
      }
  return false;
}

static void
begin_before_zeros(struct sf_volume *v, struct copying *c, uint64_t extent, unsigned leg) {
  begin_extent(v, c, extent, false, leg);
  v->copier.resync_began_ns = v->now_ns;
}

static void
flush_copied(struct sf_volume *v) {
  struct copier *copier = &v->copier;

  sf_map_swap(&copier->copied, &copier->flushing_copied);
  sf_own_flush_begin(v, &copier->flush, NULL);
}

/* Of one that is still under way, what is in doubt is not. */
static void
extent_converged(struct sf_volume *v, uint64_t extent) {
  EACH_COPYING(c, &v->copier)
    if (c->active && c->extent == extent) {
      c->shows = !c->failed;
      return;
    }
  if (v->phase != PHASE_SERVING && sf_map_test(&v->unwritten, extent))
    return; /* the pages of a stop are on their way */
  if (!sf_map_clear(&v->unconverged, extent))
    return;
  if (sf_map_test(&v->unwritten, extent))
    sf_written_first(v, extent);
  sf_flush_failure_converged(v, extent);
}

static void
converged(struct sf_volume *v) {
  struct copier *copier = &v->copier;
  struct sf_map *good = &copier->flushing_copied;

  if (copier->flush.request.error != 0)
    copier->issue_at_ns = v->now_ns + BACKOFF_MS * SF_MS;
  else
    for (uint64_t e = sf_map_next(good, 0); e < v->extents; e = sf_map_next(good, e + 1))
      extent_converged(v, e);
  sf_map_zero(good);
  if (v->parked != NULL && copier->flush.request.error == 0)
    sf_vol_release_parked(v);
}

static unsigned
converging(const struct sf_volume *v) {
  unsigned n = 0;

  for (unsigned i = 0; i < SF_COPY_EXTENTS; i++)
    n += v->copier.extent[i].active && v->copier.extent[i].converge;
  return n;
}

/* A request waits for an extent of which all is copied but what no leg can read. */
static void
show_the_rest(struct sf_volume *v, struct copying *c) {
  if (v->parked != NULL && c->converge && !c->failed && !c->shows && c->doubted > 0 &&
      c->doubted + c->sure == c->pieces && !sf_map_test(&v->copier.flushing_copied, c->extent) &&
      v->now_ns >= v->copier.issue_at_ns)
    sf_map_set(&v->copier.copied, c->extent);
}

/* What is surely lost has been called so by then; else there may be more of them than are copied at a time. */
static bool
may_end(struct sf_volume *v, struct copying *c) {
  if (c->converge && c->doubted > 0 && c->agains >= LOOKS_MOST * c->doubted &&
      c->done_pieces < c->pieces)
    c->failed = true;
  return c->in_flight == 0 &&
         (c->failed || (c->issued_pieces == c->pieces && sf_bad_is_durable(v, c->marks))) &&
         !(c->converge && sf_map_test(&v->copier.flushing_copied, c->extent));
}

/* Enough is copied, or a request waits for it. */
static bool
should_flush(const struct sf_volume *v) {
  const struct copier *copier = &v->copier;

  if (copier->copied.set == 0 || copier->flush.running)
    return false;
  return copier->copied.set >= CONVERGE_BATCH || v->parked != NULL ||
         (copier->copied.set == v->unconverged.set && converging(v) == 0);
}

/* Into maps.busy: where a write runs, also one that was given up on.  It may land behind a
 * flush. */
static void
find_written(struct sf_volume *v) {
  sf_map_zero(&v->maps.busy);
  EACH_ACTIVE(op, v) {
    if (op->kind->writes || op->writing != 0)
      sf_map_set_range(&v->maps.busy, extent_of(v, op->offset),
                       extent_of(v, op->offset + op->length - 1));
  }
}

/* One leg has nothing to be compared with: what it holds is what the others will be given.  It only
 * has to be stable (reading 10), and that takes more than a flush where one has failed. */
static void
converge_alone(struct sf_volume *v) {
  struct copier *copier = &v->copier;
  bool any = false;

  if (legcount(v->ack_legs) != 1 || v->promoting >= 0 || v->now_ns < copier->issue_at_ns ||
      copier->copied.set + copier->flushing_copied.set == v->unconverged.set)
    return;
  find_written(v);
  for (uint64_t e = sf_map_next(&v->unconverged, 0); e < v->extents;
       e = sf_map_next(&v->unconverged, e + 1)) {
    if (!must_be_copied(v, e) || sf_map_test(&v->maps.busy, e) || sf_map_test(&v->unwritten, e) ||
        sf_flush_failure_unsure(v, e << v->extent_shift, 1) != 0)
      continue;
    stale_outside(v, e);
    sf_map_set(&copier->copied, e);
    any = true;
  }
  if (any && v->joining >= 0)
    sf_record_drop_newcomer(v);
}

/* False: nothing to copy now. */
static bool
pick(struct sf_volume *v, struct copying *c) {
  uint64_t extent, stale;
  unsigned leg = 0;

  if (v->now_ns < v->copier.issue_at_ns)
    return false;
  /* Not while a promotion is under way: the newcomer is neither in sync nor to be called stale. */
  bool may_converge =
      (v->unconverged.set > 0 || v->parked != NULL) && v->promoting < 0 && v->exchange.unheard == 0;
  bool in_time = v->now_ns >= v->copier.pace_ns;
  bool waits = may_converge && (demanded_extent(v, 0, &extent) || demanded_extent(v, 1, &extent));
  if (waits && sf_map_test(&v->unwritten, extent) && sf_resync_goes_first(v, &stale, &leg)) {
    begin_before_zeros(v, c, stale, leg);
    return true;
  }
  if (waits || (may_converge && in_time && background_extent(v, &extent))) {
    begin_extent(v, c, extent, true, 0);
    return true;
  }
  if (!in_time)
    return false;
  if (sf_resync_next(v, &extent, &leg)) {
    begin_extent(v, c, extent, false, leg);
    return true;
  }
  if (v->exchange.unheard != 0 || sf_resync_places(v) > 0 || !sf_zeroing_next(v, &extent))
    return false;
  begin_extent(v, c, extent, true, 0);
  return true;
}

static bool
has_work(const struct sf_volume *v) {
  if (v->unconverged.set > 0 || v->unwritten.set > 0)
    return true;
  for (unsigned i = 0; i < v->legs; i++)
    if (sf_leg_state(&v->leg[i]) == SF_STATE_CATCHING_UP && v->leg[i].stale.set > 0)
      return true;
  return false;
}

void
sf_copier_settle(struct sf_volume *v) {
  struct copier *copier = &v->copier;
  bool more = true;

  if (copier->put_off.set > 0 && v->now_ns >= copier->put_off_until_ns)
    sf_map_zero(&copier->put_off);
  if (sf_own_flush_take(&copier->flush))
    converged(v);
  EACH_COPYING(c, copier)
    if (c->active && may_end(v, c))
      end_extent(v, c);
  if (v->phase != PHASE_SERVING || !has_work(v))
    return;
  converge_alone(v);
  EACH_COPYING(c, copier)
    if (c->active)
      show_the_rest(v, c);
  if (should_flush(v))
    flush_copied(v);
  sf_copy_rate_adapt(v);
  make_room(v);
  issue_in_order(v);
  EACH_COPYING(c, copier) {
    if (!c->active && more)
      more = pick(v, c);
    if (c->active)
      issue_pieces(v, c);
  }
  if (v->now_ns < copier->issue_at_ns)
    sf_vol_arm(v, copier->issue_at_ns);
  else if (v->now_ns < copier->pace_ns)
    sf_vol_arm(v, copier->pace_ns);
}

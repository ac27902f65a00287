/* Copies between legs, a piece at a time and each piece in the order of R6:
 *
 *   resync       to a catching-up leg, from an in-sync one, the extents it is stale in (R15);
 *   convergence  after a crash or a failed write, the extents in which in-sync legs may differ:
 *                each is made what one of them holds, and flushed on all, the source included,
 *                before it is read (R11, reading 10 of the rules).  An extent that waits for it is
 *                no source for a resync (reading 11).
 *
 * One extent at a time, up to SF_COPY_SLOTS pieces of it in flight.  A client's write to a piece in
 * flight waits for it; to a piece already copied, goes to the target too; to one still to come, does
 * not. */
#include "volume/internal.h"

#include <errno.h>
#include <string.h>

enum {
  CONVERGE_BATCH = 32, /* extents copied before a flush */
  BACKOFF_MS = 100,    /* after a piece that failed */
  BUFFER_WAIT_MS = 5,
  ADAPT_MS = 100,
  FOREGROUND_MS = 200,      /* a client was here so recently: keep to the rate */
  SLOTS_BESIDE_CLIENTS = 2, /* a write that waits for a piece waits for few others before it */
};

const struct sf_sm_table sf_copy_table = {
    .machine = "copy",
    .states = COPY_STATES,
    .name = {"idle", "waiting", "reading", "writing"},
    .moves =
        {
            [COPY_IDLE] = SF_SM_TO(COPY_WAITING),
            [COPY_WAITING] = SF_SM_TO(COPY_READING) | SF_SM_TO(COPY_IDLE),
            [COPY_READING] = SF_SM_TO(COPY_WRITING) | SF_SM_TO(COPY_IDLE),
            [COPY_WRITING] = SF_SM_TO(COPY_IDLE),
        },
};

int
copier_init(struct sf_volume *v) {
  if (v->extent_bytes / SF_COPY_PIECE_BYTES > sizeof v->copier.done / sizeof v->copier.done[0])
    return -EFBIG;
  for (unsigned i = 0; i < SF_COPY_SLOTS; i++)
    sf_sm_init(&v->copier.slot[i].sm, &sf_copy_table, i, COPY_IDLE);
  return sf_map_init(&v->copier.copied, v->extents);
}

void
copier_destroy(struct sf_volume *v) {
  sf_map_destroy(&v->copier.copied);
}

/* ---- one piece ---- */

static void
copy_move(struct sf_volume *v, struct copy *copy, enum copy_state state) {
  struct sf_sm_hooks hooks = sf_volume_hooks;

  if (v->host.trace == NULL)
    hooks.trace = NULL;
  sf_sm_move(&copy->sm, state, &hooks, v);
}

enum copy_end {
  COPY_DONE,
  COPY_FAILED, /* the extent stays as it is */
  COPY_LATER,  /* no buffer: this piece again, when others have put theirs */
};

static void
copy_end(struct sf_op *op, enum copy_end how) {
  struct sf_volume *v = op->volume;
  struct copier *copier = &v->copier;
  struct copy *copy = op->copy;

  copy_move(v, copy, COPY_IDLE);
  for (unsigned i = 0; i < v->legs; i++) {
    if (copy->buffer[i] != NULL)
      v->host.buffer_put(v->ctx, copy->buffer[i]);
    copy->buffer[i] = NULL;
  }
  if (how == COPY_DONE) {
    copier->done[copy->piece] = true;
    copier->done_pieces++;
    if (!copier->converge)
      v->leg[copier->leg].resync_copied_bytes += op->length;
  } else if (how == COPY_LATER) {
    copier->issued[copy->piece] = false;
    copier->issued_pieces--;
    copier->issue_at_ns = v->now_ns + BUFFER_WAIT_MS * SF_MS;
  } else {
    copier->failed = true;
    copier->issue_at_ns = v->now_ns + BACKOFF_MS * SF_MS;
  }
  copy->op = NULL;
  op->copy = NULL;
  v->dirty = true;
  op_end(op);
}

static int
choose_source(const struct sf_volume *v) {
  legset serving = volume_serving(v);
  int source = -1;

  EACH_LEG(leg, serving) {
    if (source < 0 || (v->leg[source].avoid && !v->leg[leg].avoid))
      source = (int) leg;
  }
  return source;
}

/* Is the target still one to be written to? */
static bool
target_stands(const struct sf_volume *v, unsigned leg) {
  if (v->copier.converge)
    return volume_serving(v) & legbit(leg);
  return leg_state(&v->leg[leg]) == SF_STATE_CATCHING_UP;
}

static legset
standing(const struct sf_volume *v, legset targets) {
  legset set = 0;

  EACH_LEG(leg, targets)
  if (target_stands(v, leg))
    set |= legbit(leg);
  return set;
}

static void
read_from(struct sf_op *op, unsigned leg) {
  struct sf_volume *v = op->volume;
  struct io_args args = {
      .op = SF_TIO_READ,
      .kind = SF_READ_KIND,
      .legs = legbit(leg),
      .offset = v->data_offset + op->offset,
      .length = op->length,
      .buffer = op->copy->buffer[leg],
  };

  op_send(op, &args);
  if (op->running & legbit(leg))
    op->copy->reading |= legbit(leg);
}

void
copy_run(struct sf_op *op) {
  struct sf_volume *v = op->volume;
  struct copy *copy = op->copy;
  legset from;
  int source = choose_source(v);

  if (copy->sm.state != COPY_WAITING)
    return;
  op->retry = false;
  copy->targets = v->copier.converge ? volume_serving(v) : legbit(v->copier.leg);
  if (source < 0 || v->copier.failed || standing(v, copy->targets) == 0 || op_is_in_the_way(op)) {
    copy_end(op, COPY_FAILED);
    return;
  }
  copy->source = source;
  copy->targets &= (legset) ~legbit((unsigned) source);
  copy->differ = 0;
  copy->reading = 0;
  from = legbit((unsigned) source) | (v->copier.converge ? copy->targets : 0);
  EACH_LEG(leg, from) {
    copy->buffer[leg] = v->host.buffer_get(v->ctx, op->length);
    if (copy->buffer[leg] == NULL) {
      copy_end(op, COPY_LATER);
      return;
    }
  }
  copy_move(v, copy, COPY_READING);
  EACH_LEG(leg, from)
  read_from(op, leg);
  if (copy->reading != from)
    copy_end(op, COPY_FAILED); /* one that is not read is not compared either */
}

static void
finish_if_written(struct sf_op *op) {
  struct sf_volume *v = op->volume;
  struct copy *copy = op->copy;

  if ((standing(v, copy->differ) & (legset) ~op->ok) == 0)
    copy_end(op, v->copier.converge || standing(v, copy->targets) == copy->targets ? COPY_DONE
                                                                                   : COPY_FAILED);
}

static void
start_writing(struct sf_op *op) {
  struct sf_volume *v = op->volume;
  struct copy *copy = op->copy;
  unsigned source = (unsigned) copy->source;
  struct io_args args = {
      .op = SF_TIO_WRITE,
      .kind = SF_WRITE_KIND,
      .offset = v->data_offset + op->offset,
      .length = op->length,
      .buffer = copy->buffer[source],
  };

  if (v->copier.converge) {
    EACH_LEG(leg, op->ok & copy->targets)
    if (memcmp(copy->buffer[leg]->data, copy->buffer[source]->data, op->length) != 0)
      copy->differ |= legbit(leg);
  } else {
    copy->differ = copy->targets;
  }
  copy_move(v, copy, COPY_WRITING);
  args.legs = standing(v, copy->differ);
  op->ok = (op->ok | legbit(source)) & (legset) ~args.legs;
  if (args.legs != 0) {
    op->writing |= args.legs;
    op_send(op, &args);
    if (!(op->running & args.legs)) {
      copy_end(op, COPY_FAILED);
      return;
    }
  }
  finish_if_written(op);
}

static void
on_read(struct sf_op *op, unsigned leg, const struct sf_tio_event *event) {
  struct sf_volume *v = op->volume;
  struct copy *copy = op->copy;
  legset bit = legbit(leg);

  if (event->state == SF_TIO_TIMEOUT) {
    v->leg[leg].avoid = true;
    if (legcount(op->ok & volume_serving(v) & (legset) ~bit) > 0 && leg_can_leave(v, leg)) {
      char reason[128];

      op_reason(op, leg, reason, sizeof reason);
      leg_demote(v, leg, SF_STATE_LATE, reason);
    }
    copy_end(op, COPY_FAILED);
    return;
  }
  copy->reading &= (legset) ~bit;
  if (event->state == SF_TIO_OK) {
    v->leg[leg].avoid = false;
  } else if (event->state == SF_TIO_ERROR && v->copier.converge) {
    /* A bad block there: some other leg's answer goes over it. */
    copy->differ |= bit;
    copy->targets |= bit;
    if ((int) leg == copy->source) {
      legset good = (op->ok | copy->reading) & copy->targets & (legset) ~copy->differ;

      if (good == 0) {
        copy_end(op, COPY_FAILED);
        return;
      }
      copy->source = __builtin_ctz(good);
      copy->targets &= (legset) ~legbit((unsigned) copy->source);
    }
  } else {
    v->leg[leg].avoid = true;
    copy_end(op, COPY_FAILED);
    return;
  }
  if (copy->reading == 0) {
    if (op->ok & legbit((unsigned) copy->source))
      start_writing(op);
    else
      copy_end(op, COPY_FAILED);
  }
}

static void
on_written(struct sf_op *op, unsigned leg, const struct sf_tio_event *event) {
  struct sf_volume *v = op->volume;

  if (event->state == SF_TIO_OK) {
    if (target_stands(v, leg))
      sf_map_set(&v->leg[leg].unflushed, extent_of(v, op->offset));
  } else {
    op_judge(op);
  }
  if (op->copy == NULL)
    return;
  if (event->state == SF_TIO_ERROR && target_stands(v, leg)) {
    copy_end(op, COPY_FAILED); /* it could not be spared: the extent stays as it is */
    return;
  }
  finish_if_written(op);
}

void
copy_on_event(struct sf_op *op, unsigned leg, const struct sf_tio_event *event) {
  if (op->copy == NULL)
    return;
  if (op->copy->sm.state == COPY_READING)
    on_read(op, leg, event);
  else if (op->copy->sm.state == COPY_WRITING && (op->writing & legbit(leg)))
    on_written(op, leg, event);
}

/* ---- an extent ---- */

bool
copier_has_piece(const struct sf_volume *v, unsigned leg, uint64_t extent, uint64_t offset,
                 uint64_t length) {
  const struct copier *copier = &v->copier;
  uint64_t base = extent << v->extent_shift, end = offset + length;
  uint64_t first = offset > base ? (offset - base) / SF_COPY_PIECE_BYTES : 0;
  uint64_t last = (end - 1 - base) / SF_COPY_PIECE_BYTES;

  if (!copier->active || copier->converge || copier->leg != leg || copier->extent != extent)
    return false;
  for (uint64_t i = first; i <= last && i < copier->pieces; i++)
    if (copier->done[i])
      return true;
  return false;
}

/* What was copied to it is in its unflushed map, and so is stale again; the extent under way is
 * dropped. */
void
copier_leg_left(struct sf_volume *v, unsigned leg) {
  if (v->copier.active && !v->copier.converge && v->copier.leg == leg)
    v->copier.failed = true;
}

void
copier_spoil(struct sf_volume *v, uint64_t extent) {
  struct copier *copier = &v->copier;

  sf_map_clear(&copier->copied, extent);
  if (copier->active && copier->converge && copier->extent == extent)
    copier->failed = true;
}

static uint64_t
extent_length(const struct sf_volume *v, uint64_t extent) {
  uint64_t base = extent << v->extent_shift;
  uint64_t left = v->size_bytes - base;

  return left < v->extent_bytes ? left : v->extent_bytes;
}

static void
begin_extent(struct sf_volume *v, uint64_t extent, bool converge, unsigned leg) {
  struct copier *copier = &v->copier;

  copier->active = true;
  copier->converge = converge;
  copier->leg = leg;
  copier->extent = extent;
  copier->pieces =
      (unsigned) ((extent_length(v, extent) + SF_COPY_PIECE_BYTES - 1) / SF_COPY_PIECE_BYTES);
  copier->issued_pieces = copier->done_pieces = 0;
  copier->failed = false;
  memset(copier->issued, 0, sizeof copier->issued);
  memset(copier->done, 0, sizeof copier->done);
  if (converge)
    for (unsigned i = 0; i < v->legs; i++)
      if (!(volume_serving(v) & legbit(i)))
        sf_map_set(&v->leg[i].stale, extent);
}

static bool
pieces_in_flight(const struct copier *copier) {
  for (unsigned i = 0; i < SF_COPY_SLOTS; i++)
    if (copier->slot[i].sm.state != COPY_IDLE)
      return true;
  return false;
}

static void
end_extent(struct sf_volume *v) {
  struct copier *copier = &v->copier;

  copier->active = false;
  if (copier->failed || copier->done_pieces != copier->pieces)
    return;
  if (copier->converge)
    sf_map_set(&copier->copied, copier->extent);
  else if (sf_map_clear(&v->leg[copier->leg].stale, copier->extent))
    sf_map_set(&v->leg[copier->leg].settled, map_page_of(copier->extent));
}

static bool
clients_are_here(const struct sf_volume *v) {
  return v->now_ns - v->foreground_ns <= FOREGROUND_MS * SF_MS;
}

static unsigned
next_piece(const struct copier *copier) {
  unsigned piece = 0;

  while (copier->issued[piece])
    piece++;
  return piece;
}

static void
issue_pieces(struct sf_volume *v) {
  struct copier *copier = &v->copier;

  unsigned slots = clients_are_here(v) ? SLOTS_BESIDE_CLIENTS : SF_COPY_SLOTS;

  for (unsigned i = 0; i < slots; i++) {
    struct copy *copy = &copier->slot[i];
    unsigned piece;
    uint64_t offset, length;
    struct sf_op *op;

    if (copier->failed || copier->issued_pieces == copier->pieces ||
        v->now_ns < copier->issue_at_ns)
      return;
    if (copy->sm.state != COPY_IDLE)
      continue;
    piece = next_piece(copier);
    offset = (copier->extent << v->extent_shift) + (uint64_t) piece * SF_COPY_PIECE_BYTES;
    length = (copier->extent << v->extent_shift) + extent_length(v, copier->extent) - offset;
    if (length > SF_COPY_PIECE_BYTES)
      length = SF_COPY_PIECE_BYTES;
    op = op_new(v, OP_COPY, offset, length);
    if (op == NULL)
      return;
    op->blocks_reads = copier->converge;
    op->copy = copy;
    copy->op = op;
    copy->piece = piece;
    copier->issued[piece] = true;
    copier->issued_pieces++;
    copy_move(v, copy, COPY_WAITING);
    if (copier->rate > 0) {
      uint64_t from = copier->issue_at_ns > v->now_ns ? copier->issue_at_ns : v->now_ns;

      copier->issue_at_ns = from + length * SF_S / copier->rate;
    }
    op_enter(op);
  }
}

/* ---- what to copy next ---- */

static bool
demanded_extent(const struct sf_volume *v, uint64_t *extent) {
  for (const struct sf_request *r = v->parked; r != NULL; r = r->next) {
    uint64_t last = extent_of(v, r->offset + r->length - 1);

    for (uint64_t e = extent_of(v, r->offset); e <= last; e++)
      if (sf_map_test(&v->unconverged, e) && !sf_map_test(&v->copier.copied, e)) {
        *extent = e;
        return true;
      }
  }
  return false;
}

static bool
background_extent(struct sf_volume *v, uint64_t *extent) {
  if (v->unconverged.set == v->copier.copied.set)
    return false;
  for (unsigned round = 0; round < 2; round++, v->copier.cursor = 0)
    for (uint64_t e = sf_map_next(&v->unconverged, v->copier.cursor); e < v->extents;
         e = sf_map_next(&v->unconverged, e + 1))
      if (!sf_map_test(&v->copier.copied, e)) {
        v->copier.cursor = e;
        *extent = e;
        return true;
      }
  return false;
}

static bool
resync_extent(const struct sf_volume *v, uint64_t *extent, unsigned *leg) {
  for (unsigned i = 0; i < v->legs; i++) {
    const struct leg *l = &v->leg[i];

    if (leg_state(l) != SF_STATE_CATCHING_UP)
      continue;
    for (uint64_t e = sf_map_next(&l->stale, 0); e < v->extents; e = sf_map_next(&l->stale, e + 1))
      if (!sf_map_test(&v->unconverged, e)) {
        *extent = e;
        *leg = i;
        return true;
      }
  }
  return false;
}

static void
flush_done(struct sf_request *request) {
  struct sf_volume *v = request->host;

  v->copier.flushing = false;
  v->copier.flushed = true;
  v->dirty = true;
}

static void
flush_copied(struct sf_volume *v) {
  struct copier *copier = &v->copier;

  copier->flushing = true;
  copier->flush = (struct sf_request){
      .kind = SF_REQ_FLUSH, .done = flush_done, .host = v, .internal = true, .since_ns = v->now_ns};
  volume_begin(v, &copier->flush);
}

static void
converged(struct sf_volume *v) {
  struct copier *copier = &v->copier;

  copier->flushed = false;
  if (copier->flush.error != 0) {
    sf_map_zero(&copier->copied);
    copier->issue_at_ns = v->now_ns + BACKOFF_MS * SF_MS;
    return;
  }
  for (uint64_t e = sf_map_next(&copier->copied, 0); e < v->extents;
       e = sf_map_next(&copier->copied, e + 1))
    sf_map_clear(&v->unconverged, e);
  sf_map_zero(&copier->copied);
  if (v->parked != NULL)
    volume_release_parked(v);
}

/* False: nothing to copy now. */
static bool
pick(struct sf_volume *v) {
  struct copier *copier = &v->copier;
  uint64_t extent;
  unsigned leg = 0;
  bool demanded;

  if (v->now_ns < copier->issue_at_ns || copier->flushing)
    return false;
  /* Not while a promotion is under way: the newcomer is neither in sync nor to be called stale. */
  if (v->unconverged.set > 0 && v->promoting < 0) {
    demanded = demanded_extent(v, &extent);
    if (!demanded &&
        (copier->copied.set >= CONVERGE_BATCH || (v->parked != NULL && copier->copied.set > 0) ||
         copier->copied.set == v->unconverged.set)) {
      flush_copied(v);
      return false;
    }
    if (demanded || background_extent(v, &extent)) {
      begin_extent(v, extent, true, 0);
      return true;
    }
  }
  if (!resync_extent(v, &extent, &leg))
    return false;
  begin_extent(v, extent, false, leg);
  return true;
}

/* R15: while clients work, additive up and multiplicative down on their latency, between the
 * configured bounds; at full speed while they are quiet. */
static void
adapt(struct sf_volume *v) {
  struct copier *copier = &v->copier;
  uint64_t most = v->config.resync_max_rate, least = v->config.resync_min_rate;

  if (v->now_ns < copier->adapt_at_ns)
    return;
  copier->adapt_at_ns = v->now_ns + ADAPT_MS * SF_MS;
  if (!clients_are_here(v)) {
    copier->rate = most;
    return;
  }
  if (copier->rate == 0)
    copier->rate = 16 * least;
  else if (copier->quiet_average_ns > 0 &&
           copier->busy_average_ns > copier->quiet_average_ns + copier->quiet_average_ns / 2)
    copier->rate -= copier->rate / 4;
  else
    copier->rate += copier->rate / 8 + least;
  if (most > 0 && copier->rate > most)
    copier->rate = most;
  if (copier->rate < least)
    copier->rate = least;
}

static bool
has_work(const struct sf_volume *v) {
  if (v->unconverged.set > 0)
    return true;
  for (unsigned i = 0; i < v->legs; i++)
    if (leg_state(&v->leg[i]) == SF_STATE_CATCHING_UP && v->leg[i].stale.set > 0)
      return true;
  return false;
}

void
copier_foreground(struct sf_volume *v, uint64_t latency_ns) {
  struct copier *copier = &v->copier;
  uint64_t *average = copier->active ? &copier->busy_average_ns : &copier->quiet_average_ns;

  *average = *average == 0 ? latency_ns : *average - *average / 16 + latency_ns / 16;
  v->foreground_ns = v->now_ns;
}

void
copier_settle(struct sf_volume *v) {
  struct copier *copier = &v->copier;

  if (copier->flushed)
    converged(v);
  if (copier->active && !pieces_in_flight(copier) &&
      (copier->failed || copier->issued_pieces == copier->pieces))
    end_extent(v);
  if (v->phase != PHASE_SERVING || !has_work(v))
    return;
  adapt(v);
  if (!copier->active && !pick(v))
    goto wait;
  if (copier->active)
    issue_pieces(v);
wait:
  if (v->now_ns < copier->issue_at_ns)
    volume_arm(v, copier->issue_at_ns);
}

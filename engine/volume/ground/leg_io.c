/* I/O of ours: one timed request to one or more legs.  Each leg's part of it is sent when the leg's
 * window has room; until then it waits here, in order, and is not late: its timeout counts from
 * when the leg got it. */
#include "volume/ground/leg_io.h"

#include <errno.h>
#include <string.h>

#include "volume/ground/deadline.h"
#include "volume/ground/facts.h"
#include "volume/ground/fault.h"
#include "volume/ground/host.h"
#include "volume/ground/leg_room.h"
#include "volume/ground/meter.h"
#include "volume/ground/silence.h"
#include "volume/ground/trouble.h"

enum {
  NO_ROOM_MS = 5, /* after a submission that found no room below */
  DRAIN_WAITS_MS = 20,
  DRAIN_PAUSE_S = 40,
};

static bool
is_terminal(enum sf_tio_state state) {
  return state == SF_TIO_OK || state == SF_TIO_ERROR || state == SF_TIO_CANCELED;
}

static bool
is_error(const struct sf_tio_event *event) {
  return event->error != 0 && event->error != -ECANCELED &&
         (event->late || event->state == SF_TIO_ERROR);
}

static struct leg *
leg_of(const struct leg_io_part *part) {
  return &part->io->volume->leg[part->leg];
}

/* ---- what a leg has said ---- */

/* What ran while a flush failed may have been dropped by it, and its own flush came too late: it is
 * as if it had not been carried out, and is sent again. */
static const struct sf_tio_event *
judge_fua(const struct sf_tio_event *event, bool ran_across, struct sf_tio_event *across) {
  if (!ran_across || event->late || event->state != SF_TIO_OK)
    return event;
  *across = *event;
  across->state = SF_TIO_CANCELED;
  across->kind = SF_TIO_REAL;
  across->error = SF_DROPPED;
  return across;
}

static void
part_is_not_counted(struct leg_io_part *part, bool answered) {
  if (!part->counted)
    return;
  part->counted = false;
  sf_window_ended(&leg_of(part)->window, part->use, part->class, part->cost_ns,
                  part->io->volume->now_ns, answered);
}

static void
part_is_overdue(struct leg_io_part *part) {
  part->overdue = true;
  leg_of(part)->overdue_n++;
}

/* What a silence held up ends in a burst, and neither is the leg's pace.  A late answer says that
 * the leg is slower than we took it for, and never that it is quicker. */
static bool
tells_the_pace(const struct leg_io_part *part) {
  struct sf_volume *v = part->io->volume;
  const struct leg *leg = leg_of(part);

  if (!part->told)
    return true;
  if (part->sent_ns < leg->awake_ns[SF_WRITE_KIND] || sf_insync_leg_is_silent(v, part->leg))
    return false;
  return part->class == WINDOW_UNMEASURED ||
         v->now_ns - leg->window.busy_ns >= leg->window.cost_ns[part->class];
}

/* The leg has nothing of it any more. */
static void
part_ended(struct leg_io_part *part, const struct sf_tio_event *event) {
  struct sf_volume *v = part->io->volume;
  struct leg *leg = leg_of(part);
  bool answered = event->late ? event->error != -ECANCELED : event->state != SF_TIO_CANCELED;
  bool done = event->late ? event->error == 0 : event->state == SF_TIO_OK;

  if (part->state == PART_SENT) {
    sf_list_remove(&part->link);
    leg->outstanding_n--;
    leg->judged_n -= !part->io->args.unjudged;
    sf_meter_ended(v, part, event);
    leg->overdue_n -= part->overdue;
    leg->flushes_n -= part->io->flushes;
    part_is_not_counted(part, done && tells_the_pace(part));
    if (answered) {
      leg->window.busy_ns = v->now_ns;
      sf_insync_leg_answered(v, part);
    }
  }
  part->state = PART_ENDED;
  SF_ASSERT(leg->running > 0 && part->io->running > 0);
  part->io->running--;
  if (--leg->running == 0 && sf_leg_state(leg) != SF_STATE_IN_SYNC)
    v->dirty = true;
}

bool
sf_leg_io_is_gone(const struct sf_volume *v, const struct sf_tio_event *event) {
  return is_error(event) && !sf_fault_passes(event->error) && v->host.device_is_gone != NULL &&
         v->host.device_is_gone(v->ctx, event->device);
}

/* The io may be used anew inside on_event. */
static void
take(struct leg_io_part *part, const struct sf_tio_event *event) {
  struct leg_io *io = part->io;
  struct sf_volume *v = io->volume;
  bool flush_failed = io->flushes && is_error(event), fua = io->fua;
  uint64_t seq = io->seq;
  unsigned leg = part->leg;
  struct sf_tio_event across;

  if (is_error(event) && sf_fault_of(event->error) == FAULT_ROOM && !io->args.unjudged)
    v->leg[leg].no_room_ns = v->now_ns;
  if (!io->args.unjudged)
    sf_leg_answered(part, event);
  if (event_is_final(event)) {
    part_ended(part, event);
  } else if (part->state == PART_SENT && !part->told) {
    part->told = true; /* or given up on */
    if (event->state == SF_TIO_TIMEOUT)
      part_is_overdue(part);
  }
  if (io->reads && !io->args.unjudged && event->state == SF_TIO_OK && !event->late)
    v->leg[leg].read_ok_ns = v->now_ns;
  SF_ASSERT(event->late || event->state == SF_TIO_TIMEOUT || is_terminal(event->state));
  if (flush_failed)
    v->above->flush_fails(v, leg, io, event->error);
  io->on_event(io, leg, fua ? judge_fua(event, v->leg[leg].dropped_seq >= seq, &across) : event);
  if (flush_failed) /* what carried it has had the chance to take the leg out */
    v->above->flush_failed(v, leg, event->error);
  if (fua && event_is_final(event))
    v->above->fua_ended(v, leg, seq);
}

struct sf_volume *
sf_leg_io_volume(const struct sf_tio_event *event) {
  const struct leg_io_part *first = event->context;

  return first->io->volume;
}

void
sf_leg_io_event(const struct sf_tio_event *event) {
  struct leg_io_part *first = event->context, *part = first + event->region;

  SF_ASSERT(part->io == first->io && part->state == PART_SENT);
  take(part, event);
}

/* ---- sending ---- */

static void
part_sent(struct sf_volume *v, struct leg_io_part *part, uint64_t handle) {
  struct leg *leg = leg_of(part);

  leg->outstanding_n++;
  if (!part->io->args.unjudged && leg->judged_n++ == 0)
    leg->busy_since_ns = v->now_ns;
  leg->flushes_n += part->io->flushes;
  part->state = PART_SENT;
  part->told = part->overdue = false;
  part->counted = true;
  part->handle = handle;
  part->sent_ns = v->now_ns;
  part->held_up_ns = 0;
  sf_list_append(&leg->outstanding, &part->link);
  sf_window_moves(&leg->window, part->io->args.op, part->io->args.offset, part->io->args.length);
  sf_window_sent(&leg->window, part->use, part->class, part->cost_ns, v->now_ns);
}

/* To the legs of n parts that stand beside each other. */
static int
send_parts(struct sf_volume *v, struct leg_io_part *part, unsigned n) {
  const struct leg_io_args *args = &part->io->args;
  struct sf_tio_region region[SF_LEGS_MAX];
  struct sf_tio_control control = {
      .op = args->op,
      .flags = args->flags,
      .buffer = args->buffer,
      .notify = v->above->notify,
      .context = part,
  };
  uint64_t handle;
  int r;

  SF_ASSERT(n > 0);
  for (unsigned i = 0; i < n; i++) {
    SF_ASSERT(leg_of(&part[i])->device != NULL);
    region[i] = (struct sf_tio_region){
        .device = leg_of(&part[i])->device,
        .offset = args->offset,
        .length = args->length,
        .timeout_ns = part[i].timeout_ns,
    };
  }
  r = v->host.submit(v->ctx, &control, region, n, &handle);
  if (r < 0)
    return r;
  for (unsigned i = 0; i < n; i++)
    part_sent(v, &part[i], handle);
  return 0;
}

static void
enter_queue(struct leg_io_part *part, struct sf_list *before) {
  sf_list_append(before, &part->link);
  leg_of(part)->waiting_n++;
  part->io->volume->waiting_parts++;
}

static void
leave_queue(struct leg_io_part *part) {
  sf_list_remove(&part->link);
  leg_of(part)->waiting_n--;
  part->io->volume->waiting_parts--;
}

static void
part_waits(struct sf_volume *v, struct leg_io_part *part) {
  part->state = PART_WAITING;
  part->told = false;
  part->since_ns = v->now_ns;
  enter_queue(part, &leg_of(part)->waiting[part->use]);
}

static void
part_init(struct leg_io_part *part, struct leg_io *io, unsigned leg) {
  struct sf_volume *v = io->volume;
  const struct leg_io_args *args = &io->args;

  part->io = io;
  part->leg = (uint8_t) leg;
  part->use = (uint8_t) args->use;
  part->timeout_ns = sf_deadline_timeout(v, leg, args->kind);
}

/* Parts that can be sent now come first, so that they are sent as one. */
static unsigned
make_parts(struct sf_volume *v, struct leg_io *io) {
  unsigned now = 0, last = io->regions;

  EACH_LEG(leg, io->args.legs) {
    struct leg_io_part part;

    part_init(&part, io, leg);
    if (!sf_leg_room_is_queued_for(v, &v->leg[leg], io->args.use) && sf_leg_room_is_there(v, &part))
      io->part[now++] = part;
    else
      io->part[--last] = part;
  }
  return now;
}

int
sf_leg_io_submit(struct sf_volume *v, struct leg_io *io, const struct leg_io_args *args) {
  unsigned n = legcount(args->legs), now;
  int r;

  SF_ASSERT(args->legs != 0 && io->running == 0);
  if (v->taken) /* the legs are another host's */
    return -EIO;
  io->volume = v;
  io->args = *args;
  io->regions = n;
  io->fua = args->flags & SF_TIO_FUA;
  io->flushes = args->op == SF_TIO_FLUSH || io->fua;
  io->reads = args->op == SF_TIO_READ;
  io->seq = ++v->io_seq;
  now = make_parts(v, io);
  r = now == 0 ? 0 : send_parts(v, io->part, now);
  if (r < 0)
    return r;
  for (unsigned i = now; i < n; i++)
    part_waits(v, &io->part[i]);
  io->running = n;
  EACH_LEG(leg, args->legs) {
    v->leg[leg].running++;
    v->leg[leg].fua_running += io->fua;
  }
  return 0;
}

bool
sf_leg_io_waits(const struct leg_io *io) {
  for (unsigned i = 0; io->running > 0 && i < io->regions; i++)
    if (io->part[i].state == PART_WAITING)
      return true;
  return false;
}

/* ---- giving up ---- */

/* Told by the next settling, and not from inside, like parts that were sent. */
static void
part_drop(struct leg_io_part *part) {
  struct sf_volume *v = part->io->volume;

  leave_queue(part);
  part->state = PART_DROPPED;
  sf_list_append(&v->dropped, &part->link);
  v->dirty = true;
}

void
sf_leg_io_drop(struct leg_io *io) {
  for (unsigned i = 0; io->running > 0 && i < io->regions; i++)
    if (io->part[i].state == PART_WAITING)
      part_drop(&io->part[i]);
}

static bool
has_a_write(const struct sf_list *list) {
  for (const struct sf_list *l = list->next; l != list; l = l->next) {
    const struct leg_io_args *args = &SF_LIST_ENTRY(l, struct leg_io_part, link)->io->args;

    if (args->op != SF_TIO_READ && args->op != SF_TIO_FLUSH && args->offset != SF_PROBE_OFFSET)
      return true;
  }
  return false;
}

bool
sf_leg_io_writes(const struct sf_volume *v) {
  for (unsigned i = 0; i < v->legs; i++) {
    if (has_a_write(&v->leg[i].outstanding))
      return true;
    for (unsigned use = 0; use < WINDOW_USES; use++)
      if (has_a_write(&v->leg[i].waiting[use]))
        return true;
  }
  return false;
}

/* Before what clients wait for, and no longer held to the copies' share. */
static void
part_hurry(struct leg_io_part *part) {
  leave_queue(part);
  part->use = WINDOW_CLIENTS;
  enter_queue(part, leg_of(part)->waiting[WINDOW_CLIENTS].next);
}

void
sf_leg_io_hurry(struct leg_io *io) {
  for (unsigned i = 0; io->running > 0 && i < io->regions; i++) {
    struct leg_io_part *part = &io->part[i];

    if (part->state == PART_WAITING && part->use == WINDOW_COPIES)
      part_hurry(part);
  }
}

void
sf_leg_io_cancel(struct leg_io *io) {
  struct sf_volume *v = io->volume;
  uint64_t handle = 0;

  sf_leg_io_drop(io);
  for (unsigned i = 0; io->running > 0 && i < io->regions; i++) {
    const struct leg_io_part *part = &io->part[i];

    if (part->state == PART_SENT && part->handle != handle)
      v->host.cancel_by_handle(v->ctx, handle = part->handle);
  }
}

void
sf_leg_io_drop_of_leg(struct sf_volume *v, unsigned index) {
  for (unsigned use = 0; use < WINDOW_USES; use++)
    SF_LIST_EACH(l, &v->leg[index].waiting[use])
      part_drop(SF_LIST_ENTRY(l, struct leg_io_part, link));
}

static void
tell(struct leg_io_part *part, enum sf_tio_state state, int error) {
  struct sf_volume *v = part->io->volume;
  struct sf_tio_event event = {
      .context = part,
      .device = leg_of(part)->device,
      .state = state,
      .kind = state == SF_TIO_CANCELED ? SF_TIO_REAL : SF_TIO_NONE,
      .error = error,
      .now_ns = v->now_ns,
  };

  take(part, &event);
}

void
sf_leg_io_settle(struct sf_volume *v) {
  while (!sf_list_empty(&v->dropped)) {
    struct leg_io_part *part = SF_LIST_ENTRY(v->dropped.next, struct leg_io_part, link);

    sf_list_remove(&part->link);
    tell(part, SF_TIO_CANCELED, 0);
  }
}

/* ---- what waits ---- */

/* False: no room below, or in the window. */
static bool
send_next(struct sf_volume *v, struct leg *leg) {
  struct leg_io_part *part = sf_leg_room_next(v, leg);
  struct leg_io *io;
  int r;

  if (part == NULL || !sf_leg_room_is_there(v, part))
    return false;
  io = part->io;
  leave_queue(part);
  r = send_parts(v, part, 1);
  if (r == -EAGAIN) {
    enter_queue(part, leg->waiting[part->use].next); /* first again */
    sf_vol_arm(v, v->now_ns + NO_ROOM_MS * SF_MS);
    return false;
  }
  if (r < 0) {
    part->state = PART_DROPPED;
    tell(part, SF_TIO_ERROR, r);
  } else if (io->on_sent != NULL) {
    io->on_sent(io);
  }
  return true;
}

void
sf_leg_io_send(struct sf_volume *v) {
  for (unsigned i = 0; i < v->legs && v->waiting_parts > 0; i++)
    while (v->leg[i].waiting_n > 0 && send_next(v, &v->leg[i]))
      ;
}

/* What waits for a leg that answers nothing is as late as what that leg has. */
static struct leg_io_part *
late_in_queue(const struct sf_volume *v, const struct leg *leg) {
  for (unsigned use = 0; use < WINDOW_USES; use++)
    for (struct sf_list *l = leg->waiting[use].next; l != &leg->waiting[use]; l = l->next) {
      struct leg_io_part *part = SF_LIST_ENTRY(l, struct leg_io_part, link);

      if (!part->told && v->now_ns - part->since_ns >= part->timeout_ns)
        return part;
    }
  return NULL;
}

/* Parts given up on are not told any more, but are late only past their own timeout, as all
 * others. */
static void
note_overdue(const struct sf_volume *v, struct leg *leg) {
  for (struct sf_list *l = leg->outstanding.next; l != &leg->outstanding; l = l->next) {
    struct leg_io_part *part = SF_LIST_ENTRY(l, struct leg_io_part, link);

    if (part->told && !part->overdue && v->now_ns - part->sent_ns >= part->timeout_ns)
      part_is_overdue(part);
  }
}

/* What hangs, while the leg answers others, is not what the window is for.  Were it counted, a leg
 * that cannot be spared would get nothing else.  Nor is a look that hangs: it makes no leg silent, so
 * what waits for its room would not be late. */
static void
uncount_what_hangs(struct leg *leg, bool silent) {
  for (struct sf_list *l = leg->outstanding.next; l != &leg->outstanding; l = l->next) {
    struct leg_io_part *part = SF_LIST_ENTRY(l, struct leg_io_part, link);

    if (part->told && (sf_insync_is_passed_by(part) || (!silent && sf_insync_is_starved(part)) ||
                       (part->io->args.unjudged && part->overdue)))
      part_is_not_counted(part, false);
  }
}

/* Not at once, or one copy would follow the other without an end. */
static struct leg_io_part *
waits_in_vain(const struct sf_volume *v, const struct leg *leg) {
  for (unsigned use = 0; use < WINDOW_USES; use++) {
    const struct sf_list *first = leg->waiting[use].next;
    struct leg_io_part *part = SF_LIST_ENTRY(first, struct leg_io_part, link);

    if (first != &leg->waiting[use] && v->now_ns - part->since_ns >= DRAIN_WAITS_MS * SF_MS)
      return part;
  }
  return NULL;
}

/* What waits for a leg that gets nothing is answered in its place, so that it goes on with the
 * others: nothing has reached it, so that it has lost nothing. */
static void
answer_for_drained(struct sf_volume *v, struct leg *leg) {
  struct leg_io_part *part;

  if (leg->drain_until_ns != 0 && v->now_ns >= leg->drain_until_ns) {
    leg->drain_until_ns = 0;
    leg->drain_from_ns = v->now_ns + DRAIN_PAUSE_S * SF_S;
  }
  while (leg->drain_until_ns != 0 && (part = waits_in_vain(v, leg)) != NULL) {
    leave_queue(part);
    part->state = PART_DROPPED;
    tell(part, SF_TIO_ERROR, -ENOTCONN);
  }
}

void
sf_leg_io_tick(struct sf_volume *v) {
  for (unsigned i = 0; i < v->legs; i++) {
    struct leg *leg = &v->leg[i];
    struct leg_io_part *part;
    bool silent;

    note_overdue(v, leg);
    answer_for_drained(v, leg);
    if (leg->waiting_n == 0 || leg->overdue_n == 0)
      continue;
    silent = sf_insync_leg_is_silent(v, i);
    uncount_what_hangs(leg, silent);
    if (!silent)
      continue;
    while ((part = late_in_queue(v, leg)) != NULL) {
      part->told = true;
      tell(part, SF_TIO_TIMEOUT, 0);
    }
  }
}

void
sf_leg_io_excuse_delay(struct sf_volume *v, uint64_t delay_ns) {
  for (unsigned i = 0; i < v->legs; i++) {
    struct leg *leg = &v->leg[i];

    leg->drain_until_ns += leg->drain_until_ns != 0 ? delay_ns : 0;
    leg->drain_from_ns += delay_ns;
    leg->answered_ns = sf_vol_later(v, leg->answered_ns, delay_ns);
    leg->busy_since_ns = sf_vol_later(v, leg->busy_since_ns, delay_ns);
    for (unsigned which = 0; which < 2; which++)
      leg->stall[which].end_ns = sf_vol_later(v, leg->stall[which].end_ns, delay_ns);
    leg->window.busy_ns = sf_vol_later(v, leg->window.busy_ns, delay_ns);
    for (unsigned reads = 0; reads < 2; reads++)
      leg->newest_sent_ns[reads] = sf_vol_later(v, leg->newest_sent_ns[reads], delay_ns);
    for (unsigned kind = 0; kind < SF_KINDS; kind++) {
      if (leg->awake_ns[kind] != 0)
        leg->awake_ns[kind] = sf_vol_later(v, leg->awake_ns[kind], delay_ns);
      if (leg->stalled_ns[kind] != 0)
        leg->stalled_ns[kind] = sf_vol_later(v, leg->stalled_ns[kind], delay_ns);
    }
    for (struct sf_list *l = leg->outstanding.next; l != &leg->outstanding; l = l->next) {
      struct leg_io_part *part = SF_LIST_ENTRY(l, struct leg_io_part, link);

      part->sent_ns = sf_vol_later(v, part->sent_ns, delay_ns);
    }
  }
}

/* Another disk: the times of the last one say nothing of it.  Outstanding requests stay counted. */
void
sf_leg_io_forget(struct leg *leg) {
  memset(leg->window.seen, 0, sizeof leg->window.seen);
  memset(leg->window.cost_ns, 0, sizeof leg->window.cost_ns);
  leg->longest_flush_ns = 0;
}

void
sf_leg_io_init(struct leg *leg) {
  sf_list_init(&leg->outstanding);
  for (unsigned use = 0; use < WINDOW_USES; use++)
    sf_list_init(&leg->waiting[use]);
}

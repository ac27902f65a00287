/* Busy runs.  Nothing fails: legs only have a speed and a queue, pause for less than their timeout,
 * and clients keep as much outstanding as a seed says.  Perhaps one leg freezes, or the process is
 * killed and everything that may differ is converged.  busy_check.c asks what must hold.
 *
 * All is drawn from a stream of its own, so that the other runs stay what they are. */
#include <string.h>

#include "sim/sim.h"

enum {
  MIB = 1024 * 1024,
  SLICE = 4096,     /* requests are multiples of it, and aligned to it */
  OUTSTANDING = 16, /* MiB at once */
  OUTSTANDING_MOST = 64,
  RATIO = 20, /* between the rates of two legs of a volume */
  OPS_MOST = 8000,
  LASTS_S = 60, /* about, and most runs much shorter */
  POLL_MS = 20,
  TRIES = 16,
  SLACK_OF_LONG = 8,
};

static bool is_on;
static uint64_t draws;

void
busy_switch(bool on) {
  is_on = on;
}

bool
busy_is_on(void) {
  return is_on;
}

static bool
one_in(unsigned n) {
  return random_of(&draws) % n == 0;
}

static uint64_t
between(uint64_t least, uint64_t most) {
  return least + random_of(&draws) % (most - least + 1);
}

static unsigned
some(unsigned least, unsigned most) {
  return (unsigned) between(least, most);
}

/* Each doubling as likely as another. */
static uint64_t
between_log(uint64_t least, uint64_t most) {
  uint64_t doublings = 0, at_least;

  while (least << (doublings + 1) <= most)
    doublings++;
  at_least = least << between(0, doublings);
  return between(at_least, 2 * at_least < most ? 2 * at_least : most);
}

/* ---- the legs ---- */

static void
draw_flash(struct service *s) {
  s->rate = between(1000, 5000) * 1000000;
  s->channels = some(16, 64);
  s->overhead_ns = between(60, 150) * SIM_US;
  s->flush_ns = between_log(50, 2000) * SIM_US;
}

static void
draw_ssd(struct service *s) {
  s->rate = between(200, 560) * 1000000;
  s->channels = some(8, 32);
  s->overhead_ns = between(60, 300) * SIM_US;
  s->flush_ns = between_log(200, 10000) * SIM_US;
}

static void
draw_cloud(struct service *s) {
  s->rate = between(50, 1000) * 1000000;
  s->channels = some(4, 16);
  s->overhead_ns = between_log(1000, 12000) * SIM_US;
  s->flush_ns = between_log(1000, 20000) * SIM_US;
}

static void
draw_disk(struct service *s) {
  s->rate = between(80, 280) * 1000000;
  s->channels = 1;
  s->overhead_ns = between(50, 300) * SIM_US;
  s->seek_ns = between(4000, 12000) * SIM_US;
  s->sorts = one_in(2);
  s->flush_ns = between(8, 40) * SIM_MS;
}

static void
draw_slow(struct service *s) {
  s->rate = between_log(5, 60) * 1000000;
  s->channels = some(1, 4);
  s->overhead_ns = between_log(100, 2000) * SIM_US;
  s->flush_ns = between_log(1000, 30000) * SIM_US;
}

static const struct {
  const char *name;
  void (*draw)(struct service *);
} kinds[] = {{"flash", draw_flash},
             {"ssd", draw_ssd},
             {"cloud", draw_cloud},
             {"disk", draw_disk},
             {"slow", draw_slow}};
enum { KINDS = sizeof kinds / sizeof kinds[0] };

static void
draw_legs(struct options *o) {
  struct busy *b = &o->busy;
  unsigned kind = some(0, KINDS - 1);
  uint64_t fastest = 0;
  bool alike = one_in(2), equal = one_in(4), share = one_in(5);

  for (unsigned i = 0; i < o->legs; i++) {
    struct service *s = &o->service[i];

    if (i > 0 && !alike)
      kind = some(0, KINDS - 1);
    b->legs_are[i] = kinds[kind].name;
    kinds[kind].draw(s);
    if (i > 0 && alike && equal)
      *s = o->service[0];
    s->jitter_permille = one_in(3) ? 0 : some(50, 300);
    s->shared = share && i <= 1;
    s->bus = s->shared ? 0 : i;
    s->fua_ns = s->flush_ns / 4;
    if (s->rate > fastest)
      fastest = s->rate;
  }
  for (unsigned i = 0; i < o->legs; i++)
    if (o->service[i].rate < fastest / RATIO)
      o->service[i].rate = fastest / RATIO;
  if (share)
    o->service[1].rate = o->service[0].rate;
}

/* ---- the load ---- */

static uint64_t
draw_size(void) {
  return between_log(SLICE, MIB) / SLICE * SLICE;
}

static uint64_t
mean_size(const struct busy *b) {
  return (b->size[0] * (1000 - b->second_permille) + b->size[1] * b->second_permille) / 1000;
}

static void
draw_load(struct options *o) {
  struct busy *b = &o->busy;
  uint64_t outstanding = (uint64_t) (one_in(6) ? OUTSTANDING_MOST : OUTSTANDING) * MIB, most;

  b->size[0] = one_in(4) ? SLICE : one_in(3) ? MIB : draw_size();
  b->size[1] = draw_size();
  b->second_permille = one_in(2) ? 0 : some(1, 500);
  b->sequential_permille = one_in(3) ? 1000 : one_in(2) ? 0 : some(100, 900);
  b->streams = one_in(2) ? 1 : some(1, 4);
  b->read_permille = one_in(2) ? 0 : some(50, 700);
  b->flush_permille = one_in(2) ? 0 : some(1, 30);
  b->fua_permille = one_in(3) ? some(1, 100) : 0;
  b->idle = one_in(10);
  o->clients = one_in(3) ? CLIENTS_MAX : (unsigned) between_log(1, CLIENTS_MAX);
  if (o->clients > outstanding / mean_size(b))
    o->clients = (unsigned) (outstanding / mean_size(b));
  if (b->idle)
    o->clients = 1;
  o->think_ns = b->idle ? between_log(20, 1000) * SIM_MS : 0;
  most = o->clients * mean_size(b) * 4 / MIB;
  o->megabytes = some(8, 32);
  if (o->megabytes < most)
    o->megabytes = (unsigned) most;
}

/* How many, so that the run lasts neither too long in its own time nor in ours. */
static void
draw_ops(struct options *o) {
  struct busy *b = &o->busy;
  uint64_t bytes = (uint64_t) (one_in(6) ? 192 : 48) * MIB, slowest = 1;

  for (unsigned i = 0; i < o->legs; i++) {
    uint64_t each =
        service_each(&o->service[i], mean_size(b), b->sequential_permille == 1000, o->clients);

    if (each > slowest)
      slowest = each;
  }
  o->ops = b->idle ? some(5, 60) : bytes / mean_size(b);
  if (o->ops > OPS_MOST)
    o->ops = OPS_MOST;
  if (o->ops > LASTS_S * SIM_S / slowest)
    o->ops = LASTS_S * SIM_S / slowest;
  if (o->ops < 6 * o->clients)
    o->ops = 6 * o->clients;
}

/* ---- the work of the legs ---- */

static void
draw_deadlines(struct options *o) {
  static const unsigned char slack[] = {2, 3, 4, 8, 16};
  struct busy *b = &o->busy;
  uint64_t largest = b->size[0] > b->size[1] ? b->size[0] : b->size[1], least = 50 * SIM_MS;
  uint64_t deadline, flush = SIM_S;

  if (largest < SF_COPY_PIECE_BYTES)
    largest = SF_COPY_PIECE_BYTES;
  for (unsigned i = 0; i < o->legs; i++) {
    uint64_t longest = service_longest(&o->service[i], largest, false);

    if (o->service[i].shared)
      longest *= 2;
    if (longest > b->longest_ns)
      b->longest_ns = longest;
  }
  b->slack = slack[some(0, sizeof slack - 1)];
  deadline = b->slack * b->longest_ns;
  if (deadline < least)
    deadline = least;
  if (deadline < 2 * SIM_S && one_in(3))
    deadline = between_log(deadline, 2 * SIM_S);
  if (flush < 2 * deadline)
    flush = 2 * deadline;
  o->deadline_ns[SF_READ_KIND] = o->deadline_ns[SF_WRITE_KIND] = deadline;
  o->deadline_ns[SF_FLUSH_KIND] = flush;
  for (unsigned i = 0; i < o->legs; i++)
    if (o->service[i].flush_ns > deadline / 8) {
      o->service[i].flush_ns =
          deadline / 8; /* nothing else is served by then where it has one channel */
      o->service[i].fua_ns = deadline / 32;
    }
  o->fail_timeout_ns = 300 * SIM_S;
}

static void
draw_pauses(struct options *o) {
  struct busy *b = &o->busy;
  uint64_t deadline = o->deadline_ns[SF_WRITE_KIND], most = deadline * 9 / 10;

  b->pause_gap_ns = one_in(2) ? 0 : between(5, 50) * deadline;
  b->pause_legs = one_in(2) ? 1 : o->legs;
  b->pause_together = one_in(2);
  if (most < b->longest_ns + deadline / 10)
    b->pause_gap_ns = 0;
  else
    b->pause_most_ns =
        one_in(2) ? most - b->longest_ns : between(deadline / 10, most - b->longest_ns);
  /* Late together is not late: what stalls all legs is behind none of them.  They go on within an
   * eighth of the deadline of each other, and answer something within two of it. */
  if (b->pause_gap_ns != 0 && b->slack >= SLACK_OF_LONG && one_in(2)) {
    b->pauses_are_long = b->pause_together = true;
    b->pause_legs = o->legs;
    b->pause_most_ns = 3 * deadline;
    b->pause_gap_ns = between(5, 20) * deadline;
  }
}

/* A cache is full, a neighbour wakes up: what legs_are says is what a leg is then. */
static void
draw_slowing(struct options *o) {
  struct busy *b = &o->busy;

  b->slows_at = one_in(3) ? between(o->ops / 4, o->ops * 3 / 4) : 0;
  for (unsigned i = 0; i < o->legs; i++)
    b->faster[i] = b->slows_at != 0 && one_in(2) ? some(2, 10) : 1;
}

static void
draw_course(struct options *o) {
  struct busy *b = &o->busy;
  bool stale = one_in(3), freezes = one_in(3) && !b->idle;

  o->min_legs = o->legs <= 2 || one_in(2) ? 1 : o->legs / 2 + 1;
  b->stale_leg = stale && o->legs > o->min_legs ? (int) some(0, o->legs - 1) : -1;
  b->crash_at = one_in(3) ? between(o->ops / 2, o->ops * 3 / 4) + 1 : 0;
  b->crash_is_power = one_in(3);
  b->freeze_leg = some(0, o->legs - 1);
  b->freeze_at = between(o->ops / 3, o->ops * 2 / 3) + 1;
  b->freeze_ns = check_leaves_within(o) + between(0, 8) * o->deadline_ns[SF_WRITE_KIND];
  if (b->stale_leg == (int) b->freeze_leg || o->legs - (b->stale_leg >= 0) <= o->min_legs)
    freezes = false;
  if (!freezes)
    b->freeze_at = 0;
  else
    b->crash_at = 0;
}

void
busy_draw(uint64_t seed, struct options *o) {
  static const unsigned char legs[] = {2, 2, 2, 3, 3, 4};

  draws = seed * UINT64_C(0xd1342543de82ef95) ^ UINT64_C(0x62757379);
  *o = (struct options){.is_busy = true, .block_sectors = SLICE / BLOCK, .write_weight = 1};
  o->legs = o->legs_formatted = legs[some(0, sizeof legs - 1)];
  o->extent_bytes = one_in(3) ? UINT64_C(65536) << some(0, 6) : SF_EXTENT_BYTES_DEFAULT;
  o->intent_delay_ns = between(500, 5000) * SIM_MS;
  o->hot_extents = one_in(3) ? some(16, 200) : 8192;
  o->stamp_at = 8 * some(0, BLOCK / 8 - 1);
  o->real_permille = one_in(2) ? some(0, 900) : 0;
  draw_legs(o);
  draw_load(o);
  draw_ops(o);
  draw_deadlines(o);
  draw_pauses(o);
  draw_course(o);
  draw_slowing(o);
}

/* ---- for the reader ---- */

#define MS(ns) ((double) (ns) / 1e6)

static void
print_leg(const struct options *o, unsigned i, FILE *to) {
  const struct service *s = &o->service[i];

  if (o->busy.faster[i] != 1)
    fprintf(to, "  leg %u: %u times faster until request %lu\n", i, o->busy.faster[i],
            (unsigned long) o->busy.slows_at);
  fprintf(to,
          "  leg %u, %s: %.1f MB/s, %u channels of %.3f ms, seek %.1f ms%s, jitter %u/1000, flush "
          "%.1f ms%s\n",
          i, o->busy.legs_are[i], (double) s->rate / 1e6, s->channels, MS(s->overhead_ns),
          MS(s->seek_ns), s->sorts ? " sorted" : "", s->jitter_permille, MS(s->flush_ns),
          s->bus == i ? "" : ", on the path of leg 0");
}

void
busy_print(const struct options *o, FILE *to) {
  const struct busy *b = &o->busy;

  fprintf(to,
          "  busy: legs %u, min_legs %u, %u MiB, extents of %lu, hot %u, deadline %.1f ms (%u "
          "times the "
          "longest request), flush %.1f ms\n",
          o->legs, o->min_legs, o->megabytes, (unsigned long) o->extent_bytes, o->hot_extents,
          MS(o->deadline_ns[SF_WRITE_KIND]), b->slack, MS(o->deadline_ns[SF_FLUSH_KIND]));
  for (unsigned i = 0; i < o->legs; i++)
    print_leg(o, i, to);
  fprintf(
      to,
      "  clients: %u, ops %lu, %lu bytes or %u/1000 %lu, sequential %u/1000 of %u streams, reads "
      "%u/1000, flushes %u/1000, fua %u/1000, think %.1f ms\n",
      o->clients, (unsigned long) o->ops, (unsigned long) b->size[0], b->second_permille,
      (unsigned long) b->size[1], b->sequential_permille, b->streams, b->read_permille,
      b->flush_permille, b->fua_permille, MS(o->think_ns));
  fprintf(
      to,
      "  pauses: every %.1f ms of %u legs%s up to %.1f ms; stale leg %d; crash at %lu%s; leg %u "
      "freezes at %lu for %.1f ms\n",
      MS(b->pause_gap_ns), b->pause_legs, b->pause_together ? " together" : "",
      MS(b->pause_most_ns), b->stale_leg, (unsigned long) b->crash_at,
      b->crash_is_power ? " (power)" : "", b->freeze_leg, (unsigned long) b->freeze_at,
      MS(b->freeze_ns));
}

/* ---- requests ---- */

static uint64_t stream_at[4]; /* the next block */
static unsigned stream_next;

static bool
is_in_use(uint64_t first, unsigned n) {
  for (unsigned i = 0; i < sim.options.clients; i++) {
    const struct client *c = &sim.client[i];

    if (c->busy && c->request.offset < (first + n) * BLOCK &&
        first * BLOCK < c->request.offset + c->request.length)
      return true;
  }
  return false;
}

/* Where no other request is, or one would wait for the other. */
static uint64_t
draw_place(unsigned n) {
  uint64_t slices = (sim.blocks - n) * BLOCK / SLICE + 1, first = 0;

  for (unsigned i = 0; i < TRIES; i++) {
    first = random_below(slices) * (SLICE / BLOCK);
    if (!is_in_use(first, n))
      break;
  }
  return first;
}

static uint64_t
next_of_stream(unsigned n) {
  uint64_t *at = &stream_at[stream_next++ % sim.options.busy.streams], first;

  if (*at + n > sim.blocks)
    *at = 0;
  first = *at;
  *at += n;
  return first;
}

enum sf_request_kind
busy_draw_request(uint64_t *first, unsigned *n, bool *fua) {
  const struct busy *b = &sim.options.busy;

  *first = *n = 0;
  *fua = false;
  if (random_chance(b->flush_permille))
    return SF_REQ_FLUSH;
  *n = (unsigned) (b->size[random_chance(b->second_permille)] / BLOCK);
  *first = random_chance(b->sequential_permille) ? next_of_stream(*n) : draw_place(*n);
  if (random_chance(b->read_permille))
    return SF_REQ_READ;
  *fua = random_chance(b->fua_permille);
  return SF_REQ_WRITE;
}

/* ---- the course of it ---- */

static bool has_crashed, has_frozen;

static void
next_pause(unsigned leg, uint64_t after_ns) {
  uint64_t gap = sim.options.busy.pause_gap_ns;

  if (gap != 0)
    event_add(sim.now_ns + after_ns + 3 * sim.options.deadline_ns[SF_WRITE_KIND] +
                  random_below(gap),
              EV_BUSY_PAUSE, leg, 0);
}

void
busy_start(void) {
  const struct busy *b = &sim.options.busy;

  if (!sim.options.is_busy)
    return;
  has_crashed = has_frozen = false;
  for (unsigned i = 0; i < b->streams; i++)
    stream_at[i] = sim.blocks / b->streams * i / (SLICE / BLOCK) * (SLICE / BLOCK);
  stream_next = 0;
  service_init();
  check_init();
  for (unsigned i = 0; i < (b->pause_together ? 1 : b->pause_legs); i++)
    next_pause(i, 0);
  event_add(POLL_MS * SIM_MS, EV_BUSY_POLL, 0, 0);
}

static void
pause_legs(unsigned first) {
  const struct busy *b = &sim.options.busy;
  unsigned last = b->pause_together ? b->pause_legs - 1 : first;
  uint64_t ns = random_chance(300) ? b->pause_most_ns : 1 + random_below(b->pause_most_ns);
  uint64_t apart = 0;

  if (sim.healing)
    return;
  COUNT(busy_pauses);
  if (b->pauses_are_long)
    check_stall(ns);
  for (unsigned i = first; i <= last; i++)
    if (!service_is_paused(i)) {
      if (b->pauses_are_long)
        apart = random_below(sim.options.deadline_ns[SF_WRITE_KIND] / 8);
      TRACE("leg %u pauses for %.3f ms", i, MS(ns + apart));
      service_pause(i, ns + apart);
    }
  next_pause(first, ns);
}

static unsigned
others_in_sync(unsigned leg) {
  unsigned n = 0;

  for (unsigned i = 0; i < sim.options.legs; i++)
    n += i != leg && sim.leg_state[i] == SF_STATE_IN_SYNC;
  return n;
}

static void
act(void) {
  const struct busy *b = &sim.options.busy;

  if (sim.healing || sim.volume == NULL || !inside_is_serving(sim.volume))
    return;
  if (b->crash_at != 0 && sim.ops_begun >= b->crash_at && !has_crashed) {
    has_crashed = true;
    event_add(sim.now_ns, b->crash_is_power ? EV_POWER : EV_KILL, EVENT_ONCE, 0);
  }
  if (b->freeze_at != 0 && sim.ops_begun >= b->freeze_at && !has_frozen &&
      sim.leg_state[b->freeze_leg] == SF_STATE_IN_SYNC &&
      others_in_sync(b->freeze_leg) >= inside_min_legs(sim.volume)) {
    has_frozen = true;
    TRACE("leg %u freezes for %.3f ms", b->freeze_leg, MS(b->freeze_ns));
    service_pause(b->freeze_leg, b->freeze_ns);
    check_frozen(b->freeze_leg);
  }
}

void
busy_event(const struct event *event) {
  if (event->kind == EV_SERVICE) {
    service_event(event->index);
  } else if (event->kind == EV_BUSY_PAUSE) {
    pause_legs(event->index);
  } else {
    act();
    check_poll();
    event_add(sim.now_ns + POLL_MS * SIM_MS, EV_BUSY_POLL, 0, 0);
  }
}

/* What must hold in a busy run.  In its words:
 *
 *   1  while no leg pauses for longer than its timeout, or all do together, no leg leaves the set,
 *      and no leg that catches up falls back;
 *   2  a resync, and a convergence, end within what the legs' speed allows, times a factor;
 *   3  a leg that freezes leaves within its timeout, the grace and its own queue; and no request
 *      waits for longer than that and its turn, be there copies or not;
 *   4  the slowest of the legs that must have each write is kept at work.
 *
 * The bounds have slack: they are to find a leg that is given up, a copy that never ends and a
 * window that strangles, not a percent. */
#include <string.h>

#include "sim/sim.h"

enum {
  SLACK_MS = 200,
  TIMEOUTS_MOST = 8,   /* R4: so many is one kept at most */
  EXTENTS_BEFORE = 16, /* that are converged before an extent that a request waits for, besides
                          those that the other requests wait for */
  RESYNC_SHARE = 8,    /* beside clients a copy gets this part of a leg at least */
  RESYNC_ALONE = 3,    /* and this part without any */
  RESYNC_BEGINS_S = 10,
  COPIED_EXTENTS = 4,  /* at a time, */
  COPIED_PIECES = 16,  /* and so many pieces of them */
  WORK_PERMILLE = 600, /* of what the slowest leg could do */
  RUN_BYTES = 32768,
  WORK_MS = 50,     /* a leg is known by then */
  WORK_LONGEST = 8, /* so many times the longest request */
  INTENT_PART = 2,  /* if intent is written for more than this part, clients wait for it */
};

static struct {
  uint64_t frozen_ns; /* since when; 0: it has not frozen */
  uint64_t left_ns;   /* since when it is out of the set */
  bool is_back;
  uint64_t stalled_until_ns; /* all of them, and a while longer */
  bool one_was_idle;
  uint64_t copying_since_ns[LEGS_MAX], copying_extents[LEGS_MAX];
  uint64_t converging_since_ns, converging_extents;
  uint64_t measured_from_ns; /* 0: nothing is measured */
  uint32_t measured_life;    /* of which process */
  bool measured;
  uint64_t leaves_within_ns, answers_within_ns, piece_bytes;
} check;

/* ---- what legs can do ---- */

/* Intent that has no room any more is cleared for each new one. */
static uint64_t
intent_takes(const struct options *o, unsigned leg) {
  uint64_t extents = (uint64_t) o->megabytes * 1024 * 1024 / o->extent_bytes;

  if (o->hot_extents >= extents)
    return 0;
  return 2 * (service_each(&o->service[leg], SF_PAGE_BYTES, false, 1) + o->service[leg].fua_ns);
}

/* A request of clients on the slowest leg, behind others. */
static uint64_t
slowest_each(const struct options *o) {
  uint64_t slowest = 0, largest = o->busy.size[0];

  if (o->busy.second_permille != 0 && o->busy.size[1] > largest)
    largest = o->busy.size[1];
  for (unsigned i = 0; i < o->legs; i++) {
    bool sequential = o->busy.sequential_permille == 1000 && o->busy.streams == 1 &&
                      o->busy.read_permille == 0; /* each read leaves a gap on the other legs */
    unsigned depth = service_given(&o->service[i], largest);
    uint64_t each = service_each(&o->service[i], largest, sequential, depth) +
                    o->service[i].flush_ns * o->busy.flush_permille / 1000 +
                    o->service[i].fua_ns * o->busy.fua_permille / 1000 + intent_takes(o, i);

    if (o->service[i].shared)
      each *= 2;
    if (each > slowest)
      slowest = each;
  }
  return slowest;
}

/* So much at a place of its own, on the slowest leg. */
static uint64_t
slowest_alone(const struct options *o, uint64_t bytes) {
  uint64_t slowest = 0;

  for (unsigned i = 0; i < o->legs; i++) {
    uint64_t each = service_each(&o->service[i], bytes, false, 1);

    if (o->service[i].shared)
      each *= 2;
    if (each > slowest)
      slowest = each;
  }
  return slowest;
}

/* A piece that is copied, one after the other: read, then written; and so many are on their way. */
static uint64_t
slowest_copy(const struct options *o) {
  uint64_t slowest = slowest_alone(o, SF_COPY_PIECE_BYTES), by_itself = 0;
  unsigned many = COPIED_EXTENTS * (unsigned) (o->extent_bytes / check.piece_bytes);

  if (many > COPIED_PIECES)
    many = COPIED_PIECES;
  for (unsigned i = 0; i < o->legs; i++)
    if (service_by_itself(&o->service[i], check.piece_bytes) > by_itself)
      by_itself = service_by_itself(&o->service[i], check.piece_bytes);
  return slowest > 2 * by_itself / many ? slowest : 2 * by_itself / many;
}

/* Each write before a crash may have left runs of blocks in which the legs differ, a large one
 * several, and each run is written by itself: nothing is sorted there. */
static uint64_t
differences_take(const struct options *o, uint64_t extents) {
  uint64_t all = (uint64_t) o->megabytes * 1024 * 1024 / o->extent_bytes, runs;
  uint64_t largest = o->busy.size[0] > o->busy.size[1] ? o->busy.size[0] : o->busy.size[1];
  uint64_t slowest = slowest_alone(o, RUN_BYTES);

  runs = o->busy.crash_at * (1000 - o->busy.read_permille) / 1000 * (1 + largest / RUN_BYTES);
  return extents < all ? 2 * runs * extents / all * slowest : 2 * runs * slowest;
}

/* Extents that are converged before the one that a request waits for. */
static uint64_t
extents_before(const struct options *o) {
  uint64_t all = (uint64_t) o->megabytes * 1024 * 1024 / o->extent_bytes;
  uint64_t largest = o->busy.size[0] > o->busy.size[1] ? o->busy.size[0] : o->busy.size[1];
  uint64_t before = EXTENTS_BEFORE + (o->clients - 1) * (1 + largest / o->extent_bytes);

  return before < all ? before : all;
}

/* The last of all that clients have outstanding: in front of it is one turn of the slowest leg. */
static uint64_t
turn_of(const struct options *o) {
  return o->clients * slowest_each(o);
}

/* The timeout, a quarter of it as grace, half of it as work that was given to the leg before; half
 * of it as work in front of the record on the others; and until these have what the leg lacks,
 * their turn. */
uint64_t
check_leaves_within(const struct options *o) {
  return o->deadline_ns[SF_WRITE_KIND] * 9 / 4 + o->busy.pause_most_ns + 4 * o->busy.longest_ns +
         2 * turn_of(o) + SLACK_MS * SIM_MS;
}

void
check_init(void) {
  const struct options *o = &sim.options;
  uint64_t piece = SF_COPY_PIECE_BYTES < o->extent_bytes ? SF_COPY_PIECE_BYTES : o->extent_bytes;

  check = (typeof(check)){.leaves_within_ns = check_leaves_within(o), .piece_bytes = piece};
  check.answers_within_ns = check.leaves_within_ns + 2 * turn_of(o);
  if (o->busy.crash_at != 0 || o->busy.stale_leg >= 0 || o->busy.freeze_at != 0)
    check.answers_within_ns +=
        4 * turn_of(o); /* for a copy that waits for its turn itself, three times */
  if (o->busy.crash_at !=
      0) /* and for extents converged before it: read, and written where they differ */
    check.answers_within_ns +=
        extents_before(o) * (o->extent_bytes / piece) * 2 * slowest_alone(o, SF_COPY_PIECE_BYTES) +
        differences_take(o, extents_before(o));
}

/* ---- 1: no leg leaves ---- */

/* A look says nothing of a leg. */
static bool
is_idle(unsigned leg) {
  EACH_REGION(r, leg) {
    if (r->op != SF_TIO_READ || r->offset >= SF_PROBE_OFFSET)
      return false;
  }
  return true;
}

/* While all stall, an idle leg is taken for well, and the others look worse than it. */
static void
look_for_idle(void) {
  for (unsigned i = 0; i < sim.options.legs; i++)
    if (sim.now_ns < check.stalled_until_ns && sim.leg_state[i] == SF_STATE_IN_SYNC && is_idle(i))
      check.one_was_idle = true;
}

void
check_stall(uint64_t ns) {
  check.stalled_until_ns = sim.now_ns + ns + sim.options.deadline_ns[SF_WRITE_KIND];
  check.one_was_idle = false;
  look_for_idle();
}

/* There is no leg to compare one that catches up with. */
static bool
is_excused_by_stall(enum sf_leg_state from) {
  look_for_idle();
  return sim.now_ns < check.stalled_until_ns &&
         (check.one_was_idle || from == SF_STATE_CATCHING_UP);
}

/* R4: it has had one for eight timeouts, among as many as were measured out to a quicker disk. */
static bool
keeps_one(unsigned leg, uint64_t timeout_ns) {
  EACH_REGION(r, leg) {
    if (sim.now_ns - r->submitted_ns >= TIMEOUTS_MOST * timeout_ns)
      return service_is_slowed(leg, timeout_ns);
  }
  return false;
}

static bool
is_excused(unsigned leg) {
  uint64_t timeout_ns = sim.options.deadline_ns[SF_WRITE_KIND];

  if (service_is_overrun(leg, timeout_ns) || keeps_one(leg, timeout_ns))
    return true; /* the first: it was silent for its timeout, with such work */
  return check.frozen_ns != 0 && leg == sim.options.busy.freeze_leg && !check.is_back;
}

/* R14: another leg left while it was promoted. */
static bool
is_told_anew(enum sf_leg_state from, const char *reason) {
  return from == SF_STATE_CATCHING_UP && strncmp(reason, "it is well", 10) == 0;
}

void
check_leg_moved(unsigned leg, enum sf_leg_state from, enum sf_leg_state to, const char *reason) {
  if (to == SF_STATE_IN_SYNC && check.left_ns != 0 && leg == sim.options.busy.freeze_leg)
    check.is_back = true;
  if (to == SF_STATE_IN_SYNC || (from != SF_STATE_IN_SYNC && from != SF_STATE_CATCHING_UP))
    return;
  if (!is_excused(leg) && !is_excused_by_stall(from) && !is_told_anew(from, reason))
    sim_fail("busy: leg %u, which never was silent for its timeout, goes from %s to %s: %s", leg,
             sf_leg_state_name(from), sf_leg_state_name(to), reason);
  if (from == SF_STATE_IN_SYNC && leg == sim.options.busy.freeze_leg && check.frozen_ns != 0 &&
      check.left_ns == 0)
    check.left_ns = sim.now_ns;
}

/* A leg that became slower may have more before it than it answers in its timeout. */
static bool
frozen_cannot_leave(void) {
  unsigned others = 0;

  for (unsigned i = 0; i < sim.options.legs; i++)
    others += i != sim.options.busy.freeze_leg && sim.leg_state[i] == SF_STATE_IN_SYNC &&
              !service_is_slowed(i, sim.options.deadline_ns[SF_WRITE_KIND]);
  return is_excused(sim.options.busy.freeze_leg) && others < sim.options.min_legs;
}

/* What waits for its turn, or for a leg that is about to leave, is not told as a volume that has
 * too few legs. */
void
check_volume_moved(const char *to) {
  if ((strcmp(to, sf_volume_state_name(SF_VOLUME_SUSPENDED)) == 0 ||
       strcmp(to, sf_volume_state_name(SF_VOLUME_FAILED)) == 0) &&
      !frozen_cannot_leave() && !sim.options.busy.pauses_are_long)
    sim_fail("busy: the legs that are needed answer, and the volume is %s", to);
}

/* ---- 2: copies end ---- */

/* A resync waits for the convergence beside it. */
static uint64_t
copy_bound(uint64_t extents) {
  uint64_t bytes = extents * sim.options.extent_bytes;
  uint64_t alone = bytes / check.piece_bytes * slowest_copy(&sim.options);

  if (sim.options.busy.crash_at != 0)
    alone += differences_take(&sim.options, extents);
  if (sim.healing || sim.options.busy.idle)
    return RESYNC_BEGINS_S * SIM_S + RESYNC_ALONE * alone;
  /* A piece waits for what clients write to it, which has a turn before it. */
  return RESYNC_BEGINS_S * SIM_S + RESYNC_SHARE * alone +
         2 * (bytes * SIM_S / sim.config.resync_min_rate) +
         bytes / check.piece_bytes * turn_of(&sim.options);
}

static void
check_copy(uint64_t *since_ns, uint64_t *extents, bool copies, uint64_t left, int leg) {
  if (!copies) {
    *since_ns = 0;
    return;
  }
  if (*since_ns == 0) {
    *since_ns = sim.now_ns;
    *extents = left;
  }
  if (sim.healing && *since_ns < sim.healing_since_ns) {
    *since_ns = sim.healing_since_ns;
    *extents = left;
  }
  if (sim.now_ns - *since_ns > copy_bound(*extents))
    sim_fail("busy: %s of %lu extents lasts for %lu ms, and %lu are left (leg %d)",
             leg < 0 ? "a convergence" : "a resync", (unsigned long) *extents,
             (unsigned long) ((sim.now_ns - *since_ns) / SIM_MS), (unsigned long) left, leg);
}

static void
check_copies(void) {
  bool serves = sim.volume != NULL && inside_is_serving(sim.volume);

  for (unsigned i = 0; i < sim.options.legs; i++)
    check_copy(&check.copying_since_ns[i], &check.copying_extents[i],
               serves && sim.leg_state[i] == SF_STATE_CATCHING_UP,
               serves ? inside_stale_extents(sim.volume, i) : 0, (int) i);
  check_copy(&check.converging_since_ns, &check.converging_extents,
             serves && inside_unconverged_extents(sim.volume) != 0,
             serves ? inside_unconverged_extents(sim.volume) : 0, -1);
}

/* ---- 3: a frozen leg ---- */

void
check_frozen(unsigned leg) {
  check.frozen_ns = sim.now_ns;
  COUNT(busy_freezes);
}

/* Then the flush's deadline counts.  A look at a superblock is not judged. */
static bool
it_only_flushes(unsigned leg) {
  bool flushes = false;

  EACH_REGION(r, leg) {
    bool looks = r->op == SF_TIO_READ && r->offset < sim.data_offset;

    if (r->op != SF_TIO_FLUSH && !looks)
      return false;
    flushes = flushes || r->op == SF_TIO_FLUSH;
  }
  return flushes;
}

static void
check_leaves(void) {
  uint64_t within = check.leaves_within_ns;

  if (it_only_flushes(sim.options.busy.freeze_leg))
    within += sim.options.deadline_ns[SF_FLUSH_KIND] * 5 / 4;
  if (check.frozen_ns != 0 && check.left_ns == 0 && !sim.healing &&
      sim.ops_begun < sim.options.ops && sim.now_ns > check.frozen_ns + within &&
      sim.now_ns < check.frozen_ns + sim.options.busy.freeze_ns)
    sim_fail("busy: leg %u is frozen for %lu ms, and is in the set", sim.options.busy.freeze_leg,
             (unsigned long) ((sim.now_ns - check.frozen_ns) / SIM_MS));
}

void
check_answered(const struct client *c) {
  uint64_t took = sim.now_ns - c->began_ns, most = check.answers_within_ns;

  if (c->request.error != 0)
    sim_fail("busy: a request fails with %d", c->request.error);
  if (c->request.kind == SF_REQ_FLUSH)
    most += sim.options.deadline_ns[SF_FLUSH_KIND];
  most += c->behind * turn_of(&sim.options);
  most += most / 5; /* seeks and flushes are not in a turn */
  if (took > most)
    sim_fail("busy: a request at block %lu took %lu ms, %lu at most",
             (unsigned long) (c->request.offset / BLOCK), (unsigned long) (took / SIM_MS),
             (unsigned long) (most / SIM_MS));
}

/* ---- 4: no leg is strangled ---- */

/* Enough is outstanding, the window may hold all that a leg serves at once, and intent stays once
 * it is written. */
static bool
is_measured(void) {
  const struct options *o = &sim.options;
  unsigned channels = 1;

  for (unsigned i = 0; i < o->legs; i++)
    if (o->service[i].channels > channels)
      channels = o->service[i].channels;
  return !check.measured && o->busy.slack >= 4 && o->clients >= 2 * channels &&
         o->busy.read_permille <= 300 && !o->busy.idle &&
         o->hot_extents >= sim.blocks / sim.extent_blocks;
}

static bool
all_in_sync(void) {
  for (unsigned i = 0; i < sim.options.legs; i++)
    if (sim.leg_state[i] != SF_STATE_IN_SYNC)
      return false;
  return true;
}

static void
judge_work(void) {
  uint64_t lasted = sim.now_ns - check.measured_from_ns, best = 0, requests = 0, paused = 0;

  for (unsigned i = 0; i < sim.options.legs; i++) {
    struct served served = service_served(i);
    uint64_t channels = served.channel_ns / sim.options.service[i].channels;

    if (served.path_ns > best)
      best = served.path_ns;
    if (channels > best)
      best = channels;
    if (served.requests > requests)
      requests = served.requests;
    paused += served.paused_ns;
  }
  if (requests < 2 * sim.options.clients || lasted < WORK_MS * SIM_MS ||
      lasted < WORK_LONGEST * sim.options.busy.longest_ns || lasted < 2 * paused ||
      service_wrote_intent_ns() > lasted / INTENT_PART)
    return;
  COUNT(busy_measured);
  lasted -= paused;
  TRACE("the slowest leg was at work for %lu/1000 of %lu ms",
        (unsigned long) (best * 1000 / lasted), (unsigned long) (lasted / SIM_MS));
  if (best * 1000 < lasted * WORK_PERMILLE)
    sim_fail("busy: with %u requests outstanding for %lu ms, no leg was at work for more than "
             "%lu/1000 of it",
             sim.options.clients, (unsigned long) (lasted / SIM_MS),
             (unsigned long) (best * 1000 / lasted));
}

/* From a third of the requests on, until the last, or until something happens. */
static void
check_work(void) {
  bool goes_on = sim.volume != NULL && inside_is_serving(sim.volume) && all_in_sync() &&
                 check.frozen_ns == 0 && sim.ops_begun < sim.options.ops && !sim.healing;

  if (check.measured_from_ns == 0 && goes_on && is_measured() &&
      sim.ops_begun > sim.options.ops / 3) {
    check.measured_from_ns = sim.now_ns;
    check.measured_life = sim.life;
    service_measure();
  } else if (check.measured_from_ns != 0 && (!goes_on || sim.life != check.measured_life)) {
    if (sim.life == check.measured_life) /* else it stood still meanwhile */
      judge_work();
    check.measured_from_ns = 0;
    check.measured = true;
  }
}

void
check_poll(void) {
  look_for_idle();
  check_copies();
  check_leaves();
  check_work();
}

/* The clock of check_poll() is too coarse for the end of a fast run. */
void
check_begun(void) {
  if (sim.ops_begun == sim.options.ops)
    check_work();
}

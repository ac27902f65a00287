/* The process's functions for its volume, but for I/O: the timer, opening of disks, and events. */
#include "sim/sim.h"

#include <errno.h>
#include <string.h>

enum { OPENING_HANGS_MS = 1500 };

static void
host_timer(void *ctx, uint64_t at_ns) {
  sim.tick_generation++;
  event_add(at_ns + (random_chance(200) ? random_below(3 * SIM_MS) : 0), EV_TICK, 0,
            sim.tick_generation);
}

/* An opening that hangs is answered when all has changed: the leg was failed, returned, is
 * another. */
static uint64_t
opening_takes(void) {
  if (sim_is_calm() || sim.options.late_opening_permille == 0 ||
      !random_chance(sim.options.late_opening_permille))
    return random_below(5 * SIM_MS);
  COUNT(late_openings);
  return random_around(OPENING_HANGS_MS * SIM_MS);
}

static int
host_open_leg(void *ctx, unsigned leg, enum sf_leg_blank blank) {
  if (sim.opening[leg])
    sim_fail("leg %u: a second opening while the first is under way", leg);
  replace_opens(leg, blank);
  sim.opening[leg] = true;
  sim.blank_now[leg] = blank;
  event_add(sim.now_ns + opening_takes(), EV_OPENED, leg, sim.life);
  return 0;
}

static int
host_reopen_leg(void *ctx, unsigned leg) {
  if (sim.opening[leg])
    sim_fail("leg %u: a second opening while the first is under way", leg);
  sim.opening[leg] = sim.reopening[leg] = true;
  event_add(sim.now_ns + opening_takes(), EV_OPENED, leg, sim.life);
  return 0;
}

/* The volume does not rely on its cache any more, so it may lose it. */
static void
host_close_leg(void *ctx, unsigned leg) {
  drill_thaw(leg);
  if (sim.leg[leg].regions >= 0)
    sim_fail("leg %u: closed while it holds requests", leg);
  if (random_chance(500) && sim.options.fault_gap_ns != 0 && inside_leg_is_out(sim.volume, leg)) {
    TRACE("leg %u: closed, and its cache is lost", leg);
    medium_lose_cache(&sim.leg[leg], (unsigned) random_below(1000));
  }
}

static enum sf_leg_state
state_of(const char *name) {
  for (unsigned s = 0; s < SF_LEG_STATES; s++)
    if (strcmp(name, sf_leg_state_name((enum sf_leg_state) s)) == 0)
      return (enum sf_leg_state) s;
  sim_fail("a leg's state called %s", name);
}

/* R2, where one answer says nothing of the other legs: so many of them have done something since
 * the leg got what it has not answered.  Its client may be gone, or have its answer from another
 * leg. */
static void
check_evidence_alone(unsigned leg, enum sf_tio_op op, uint64_t offset) {
  uint64_t since = tio_late_since(leg, op, offset);
  unsigned heard = 0;

  if (since == SIM_NEVER)
    return;
  COUNT(evidence_checked);
  for (unsigned i = 0; i < sim.options.legs; i++)
    heard += i != leg && sim.leg_state[i] == SF_STATE_IN_SYNC && sim.leg[i].heard_ns >= since;
  if (heard < inside_min_legs(sim.volume))
    sim_fail("R2: leg %u leaves for a %s, and only %u others have done anything since", leg,
             op == SF_TIO_READ ? "read" : "repair", heard);
}

/* R2, and R3: no leg leaves the set for nothing. */
static void
check_leaving(unsigned leg, const char *reason) {
  unsigned long offset;
  unsigned others = 0, have;
  char what[8];

  COUNT(demotions);
  for (unsigned i = 0; i < sim.options.legs; i++)
    others += i != leg && sim.leg_state[i] == SF_STATE_IN_SYNC;
  if (others < inside_min_legs(sim.volume) && strstr(reason, "took its place") == NULL)
    sim_fail("R2: leg %u leaves and only %u stay in sync", leg, others);
  if (sim.troubles == 0 && sim.latencies_are_short && sim.options.eagain_permyriad == 0)
    sim_fail("leg %u leaves in a healthy world: %s", leg, reason);
  if (strstr(reason, "not answered") != NULL && !tio_has_late(leg) &&
      sim.leg[leg].timed_out_ns < sim.in_sync_since_ns[leg])
    sim_fail("R3: leg %u leaves, and nothing of its was late: %s", leg, reason);
  if (sscanf(reason, "%7s at %lu not answered", what, &offset) != 2)
    return;
  if (strcmp(what, "read") == 0)
    check_evidence_alone(leg, SF_TIO_READ, offset);
  if (strcmp(what, "repair") == 0)
    check_evidence_alone(leg, SF_TIO_WRITE, offset);
  if (strcmp(what, "write") != 0 && strcmp(what, "zero") != 0)
    return;
  have = tio_have_it_too(leg, offset);
  if (have == LEGS_MAX)
    return;
  COUNT(evidence_checked);
  if (have < inside_min_legs(sim.volume))
    sim_fail("R2: leg %u leaves for a %s that only %u others have", leg, what, have);
}

/* R14: a leg that was taken out for its errors or by the operator stays out over a restart.  `left`
 * until the record of it is durable, `stays` then. */
static void
note_faulty(unsigned leg, enum sf_leg_state from, enum sf_leg_state to) {
  bool was_in_use =
      from == SF_STATE_IN_SYNC || from == SF_STATE_CATCHING_UP || from == SF_STATE_PROBING;

  if (from == SF_STATE_FAULTY)
    sim.faulty[leg].left = sim.faulty[leg].stays = false;
  if (to == SF_STATE_FAULTY && was_in_use)
    sim.faulty[leg].left = true;
}

static void
host_event(void *ctx, const struct sf_volume_event *event) {
  enum sf_leg_state to;

  TRACE("event: leg %d %s -> %s (%s)", event->leg, event->from != NULL ? event->from : "",
        event->to != NULL ? event->to : "", event->reason != NULL ? event->reason : "");
  if (event->kind == SF_EVENT_STARTED) {
    force_started();
    grow_started();
    replace_started();
    members_started();
  }
  if (event->kind == SF_EVENT_STATE && event->reason != NULL &&
      strncmp(event->reason, "taken", 5) == 0)
    sim_fail("no other host is there to take the legs: %s", event->reason);
  if (event->kind == SF_EVENT_LEG_REMOVED)
    members_removed((unsigned) event->leg);
  if (event->kind == SF_EVENT_LEG_ADDED)
    members_added((unsigned) event->leg);
  if (event->kind == SF_EVENT_LEG_REPLACED)
    replace_is_durable((unsigned) event->leg);
  if (event->kind == SF_EVENT_GROWN)
    sim.grown = true;
  if (event->kind == SF_EVENT_STATE && sim.options.is_busy)
    check_volume_moved(event->to);
  if (event->kind != SF_EVENT_LEG_STATE)
    return;
  to = state_of(event->to);
  sim.leg_state[event->leg] = to;
  note_faulty((unsigned) event->leg, state_of(event->from), to);
  if (to == SF_STATE_IN_SYNC) {
    COUNT(promotions);
    sim.leg[event->leg].lost_flush = false; /* all that it lacked was copied to it */
    sim.in_sync_since_ns[event->leg] = sim.now_ns;
  }
  if (state_of(event->from) == SF_STATE_IN_SYNC)
    check_leaving((unsigned) event->leg, event->reason);
  if (sim.options.is_busy)
    check_leg_moved((unsigned) event->leg, state_of(event->from), to, event->reason);
  if (to == SF_STATE_CATCHING_UP) {
    fault_nemesis((unsigned) event->leg);
    fault_newcomer_returns();
  }
  if (to != SF_STATE_IN_SYNC && to != SF_STATE_CATCHING_UP &&
      random_chance(sim.options.reset_permille))
    event_add(sim.now_ns + random_around(30 * SIM_MS), EV_RESET, (unsigned) event->leg, sim.life);
  if (to == SF_STATE_LATE || to == SF_STATE_MISSING || to == SF_STATE_FAULTY)
    tio_leg_left((unsigned) event->leg);
}

static void
host_trace(void *ctx, const char *line) {
  TRACE("| %s", line);
}

void
process_host(struct sf_volume_host *host) {
  host->timer = host_timer;
  host->open_leg = host_open_leg;
  host->close_leg = host_close_leg;
  host->reopen_leg = host_reopen_leg;
  host->event = host_event;
  host->trace = sim.trace != NULL ? host_trace : NULL;
}

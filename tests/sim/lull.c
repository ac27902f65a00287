/* Lulls: now and then nothing befalls any leg for a while, no process is started anew and no
 * operator helps.  A volume with healthy disks must answer within a bound then, and be whole again
 * within another.
 *
 * The first bound, where min_legs legs of the set are well all the time.  A request may have waited
 * for `fail_timeout` where that ends it; else these are in its way:
 *    a disk that has to be opened anew, and is looked for every 2 s:        REOPEN_NS, and once more
 *                                                                          as the first look may miss it
 *    a timeout for each leg that is taken out and for the record of that,
 *    twice, as a copy may be before it:                                    2 * (legs + 2) * timeout
 *    back-offs of 100 ms and ticks of 20 ms, some of each:                 SLACK_NS
 * The second bound, where all legs are well, adds
 *    the longest back-off of a leg that fell out again and again:          BACKOFF_NS
 *                                                                          (8 s of a join run beside it)
 *    copies of every leg at the least rate, converged before and after:    2 * legs * size / rate */
#include "sim/sim.h"

enum { POLL_MS = 50, SERVES_AGAIN_MS = 20000 };

static const uint64_t REOPEN_NS = 2 * SIM_S, SLACK_NS = 5 * SIM_S, BACKOFF_NS = 32 * SIM_S;

void
lull_start(void) {
  if (sim.options.lull_gap_ns != 0)
    event_add(random_around(sim.options.lull_gap_ns), EV_LULL, 0, 0);
}

uint64_t
lull_answer_bound(void) {
  const struct sf_config *c = &sim.config;
  uint64_t most = 0;

  for (unsigned k = 0; k < SF_KINDS; k++)
    if (sf_config_deadline_most(c, (enum sf_kind) k) > most)
      most = sf_config_deadline_most(c, (enum sf_kind) k);
  most = sim_without_grace(most);
  return c->fail_timeout_ns + 2 * REOPEN_NS + 2 * (c->legs + 2) * most + SLACK_NS;
}

static uint64_t
whole_bound(void) {
  uint64_t size = sim.blocks_known * BLOCK;

  return lull_answer_bound() + BACKOFF_NS +
         2 * sim.config.legs * (size * SIM_S / sim.config.resync_min_rate);
}

/* ---- healthy legs ---- */

/* That it has to be opened anew is the volume's business. */
static bool
is_well(unsigned leg) {
  return fault_is_free(leg) && !tio_has_lost(leg) && !tio_has_ghosts(leg) && !sim.opening[leg];
}

static bool
all_are_well(void) {
  for (unsigned i = 0; i < sim.options.legs; i++)
    if (!is_well(i))
      return false;
  return true;
}

/* What only an operator, or a new start, brings back. */
static bool
is_excused(unsigned leg) {
  struct sf_superblock identity;
  struct sf_leg_found found;

  if (!members_has(leg) || sim.leg_state[leg] == SF_STATE_FAULTY)
    return true;
  sf_volume_get_identity(sim.volume, &identity);
  found_of(leg, false, false, &found);
  return found.error != 0 || !sf_uuid_equal(&found.sb.leg_uuid[leg], &identity.leg_uuid[leg]) ||
         sim.blank[leg] != SF_BLANK_NOT || inside_has_newer_claim(sim.volume, leg);
}

static unsigned
legs_in_sync(void) {
  unsigned n = 0;

  for (unsigned i = 0; i < sim.options.legs; i++)
    n += sim.leg_state[i] == SF_STATE_IN_SYNC;
  return n;
}

/* ---- the two questions ---- */

static void
check_answers(void) {
  uint64_t bound = lull_answer_bound();
  char text[1024];

  if (inside_flush_failed(sim.volume) && !swarm_is_on(SWITCH_answers_beside_a_failed_flush))
    return;
  COUNT(lulls_judged);
  for (unsigned i = 0; i < sim.options.clients; i++)
    if (sim.client[i].busy && sim.client[i].began_ns + bound < sim.now_ns) {
      inside_describe(sim.volume, text, sizeof text);
      sim_fail("all disks are well for %lu s, and request %u is not answered: %s",
               (unsigned long) ((sim.now_ns - sim.lull_well_ns) / SIM_S), i, text);
    }
}

static void
check_whole(void) {
  char text[1024];

  COUNT(lulls_in_full);
  inside_describe(sim.volume, text, sizeof text);
  if (inside_flush_failed(sim.volume))
    return;
  for (unsigned i = 0; i < sim.options.legs; i++)
    if (sim.leg_state[i] != SF_STATE_IN_SYNC && !is_excused(i))
      sim_fail("all disks are well for %lu s, and leg %u is not in sync: %s",
               (unsigned long) ((sim.now_ns - sim.lull_well_ns) / SIM_S), i, text);
  if (inside_is_suspended(sim.volume) && legs_in_sync() >= inside_min_legs(sim.volume))
    sim_fail("all disks are well, and the volume is suspended: %s", text);
}

/* ---- the course of it ---- */

static void
begin(void) {
  TRACE("---- a lull");
  sim.lull = true;
  sim.lulls++;
  sim.lull_well_ns = 0;
  sim.lull_since_ns = sim.now_ns;
  for (unsigned i = 0; i < sim.options.legs; i++) {
    fault_cure(i);
    medium_mend(&sim.leg[i]);
    if (sim.has_other_disk[i]) /* a start may name it yet */
      medium_mend(&sim.other_disk[i]);
  }
  event_add(sim.now_ns + POLL_MS * SIM_MS, EV_LULL_POLL, 0, (uint32_t) sim.lulls);
}

void
lull_is_over(void) {
  if (!sim.lull)
    return;
  TRACE("---- the lull is over");
  sim.lull = false;
  if (!sim.healing)
    event_add(sim.now_ns + random_around(sim.options.lull_gap_ns), EV_LULL, 0, 0);
}

static void
poll(void) {
  bool serves = sim.volume != NULL && !sim.stopping && inside_is_serving(sim.volume);
  uint64_t lasts;

  if (!serves || !all_are_well()) {
    sim.lull_well_ns = 0;
    if (sim.now_ns > sim.lull_since_ns + SERVES_AGAIN_MS * SIM_MS) {
      lull_is_over();
      return;
    }
  } else if (sim.lull_well_ns == 0) {
    sim.lull_well_ns = sim.now_ns;
  }
  lasts = sim.lull_well_ns == 0 ? 0 : sim.now_ns - sim.lull_well_ns;
  if (lasts > lull_answer_bound() && legs_in_sync() >= inside_min_legs(sim.volume))
    check_answers();
  if (lasts > whole_bound())
    check_whole();
  if (lasts > (sim.options.lulls_are_long ? whole_bound() : lull_answer_bound())) {
    lull_is_over();
    return;
  }
  event_add(sim.now_ns + POLL_MS * SIM_MS, EV_LULL_POLL, 0, (uint32_t) sim.lulls);
}

void
lull_event(const struct event *event) {
  if (sim.healing)
    return;
  if (event->kind == EV_LULL)
    begin();
  else if (sim.lull && event->generation == (uint32_t) sim.lulls)
    poll();
}

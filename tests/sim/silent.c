/* A leg of the set falls silent for ever while another one catches up, and it cannot be spared: the
 * other takes its place (reading 14).  Half of the times nothing else befalls anything meanwhile, and
 * it has to come about within a bound:
 *    the leg counts as silent after 5 s, or two deadlines of the slowest flush;
 *    what catches up is copied once, at the least rate, and once more where it is in doubt;
 *    all else is that of lull.c's first bound.
 * The other times the process is killed, or the power cut, at about that moment.
 * Where a promotion is on its way the newcomer hangs for a while, now and then: what undoes the
 * promotion waits for the silent leg too, and must not keep the newcomer out for ever.  The bound has
 * room for the time that such a leg is kept out (R14).  Or the silent leg answers again meanwhile.
 * In every third seed, some of them, it falls silent before the record of another leg's leaving is on
 * it, and that leg may answer again: the record counts when that one is told of it, which may hang
 * then.  Of five legs two leave.  In leaving storms it is always so, and the legs that have left keep
 * what they hold.
 * In some runs the operator lets the volume grow, or adds a leg, beside the silence.
 * All draws are of a stream of their own. */
#include "sim/sim.h"

enum { POLL_MS = 20, GONE_S = 4, KEPT_OUT_S = 32, RELAPSES_S = 15 };

static uint64_t
draw(uint64_t n) {
  return random_of(&sim.silent.random) % n;
}

void
silent_start(void) {
  sim.silent.leg = sim.silent.newcomer = -1;
  if (!sim.options.silent_storm)
    return;
  sim.silent.random = random_stream(77);
  sim.silent.at_promotions = draw(3) == 0;
  sim.silent.at_leavings = !sim.silent.at_promotions && sim.seed % SILENT_LEAVINGS == 0;
  if (sim.options.leaving_storm) {
    sim.silent.at_promotions = false;
    sim.silent.at_leavings = true;
  }
  event_add(POLL_MS * SIM_MS, EV_SILENT, 0, 0);
}

static bool
serves(void) {
  return sim.volume != NULL && !sim.stopping && inside_is_serving(sim.volume);
}

static unsigned
legs_in(enum sf_leg_state state) {
  unsigned n = 0;

  for (unsigned i = 0; i < sim.options.legs; i++)
    n += sim.leg_state[i] == state;
  return n;
}

/* ---- its beginning ---- */

static void
crash_at(uint64_t at_ns) {
  event_add(at_ns, draw(2) == 0 ? EV_KILL : EV_POWER, EVENT_ONCE, 0);
}

static void
hang_for(struct sim_leg *leg, uint64_t ns) {
  sim.troubles++;
  leg->cure++;
  leg->stalled_until_ns = sim.now_ns + ns;
  leg->stalled_kinds = 15;
  leg->cured_ns = leg->stalled_until_ns + 2 * SIM_MS;
}

/* For so long that it leaves, or is about to. */
static void
newcomer_hangs(void) {
  struct sim_leg *leg = &sim.leg[sim.silent.newcomer];

  sim.silent.newcomer = -1;
  if (!fault_is_free(leg->index) || sim.leg_state[leg->index] != SF_STATE_CATCHING_UP)
    return;
  COUNT(relapses);
  hang_for(leg, draw(draw(2) == 0 ? SIM_S : RELAPSES_S * SIM_S));
  sim.silent.relapsed = true;
  TRACE("leg %u hangs in its promotion", leg->index);
  if (!sim.silent.calm && draw(2) == 0)
    crash_at(sim.now_ns + draw(RELAPSES_S * SIM_S));
}

static void
fall_silent(unsigned index, int newcomer) {
  struct sim_leg *leg = &sim.leg[index];

  COUNT(silences);
  sim.troubles++;
  leg->cure++;
  leg->stalled_until_ns = SIM_NEVER;
  leg->stalled_kinds = 15;
  sim.silent.leg = (int) index;
  sim.silent.newcomer = newcomer;
  sim.silent.relapsed = false;
  sim.silent.grows = sim.options.grow_gap_ns != 0 && draw(3) == 0;
  sim.silent.adds = sim.options.members_gap_ns != 0 && draw(3) == 0;
  sim.silent.since_ns = sim.now_ns;
  sim.silent.well_ns = sim.silent.down_ns = 0;
  sim.silent.calm = draw(2) == 0;
  TRACE("leg %u falls silent for ever%s", index, sim.silent.calm ? ", and all else is calm" : "");
  if (!sim.silent.calm && draw(4) != 0)
    crash_at(sim.now_ns + (draw(4) == 0 ? draw(5 * SIM_S) : 5 * SIM_S + draw(1500 * SIM_MS)));
}

/* One of the set, in sync and well; -1: none. */
static int
victim(void) {
  unsigned first = (unsigned) draw(sim.options.legs);

  for (unsigned i = 0; i < sim.options.legs; i++) {
    unsigned leg = (first + i) % sim.options.legs;

    if (sim.leg_state[leg] == SF_STATE_IN_SYNC && fault_is_free(leg))
      return (int) leg;
  }
  return -1;
}

static bool
may_begin(void) {
  return sim.options.silent_storm && sim.silent.leg < 0 && !sim_is_calm() && serves();
}

static bool
may_strike(void) {
  return may_begin() && legs_in(SF_STATE_IN_SYNC) <= inside_min_legs(sim.volume) && victim() >= 0;
}

static void
strike(void) {
  if (!sim.silent.at_promotions && !sim.silent.at_leavings && may_strike() &&
      legs_in(SF_STATE_CATCHING_UP) > 0 && draw(5) == 0)
    fall_silent((unsigned) victim(), -1);
}

void
silent_promotion(unsigned newcomer) {
  if (!sim.silent.at_leavings && may_strike() && draw(sim.silent.at_promotions ? 2 : 4) == 0)
    fall_silent((unsigned) victim(), draw(4) != 0 ? (int) newcomer : -1);
}

/* What a leg that has left was sent before ends no sooner than the other counts as silent, and is
 * given up then, so that it can be told. */
static void
keep_what_they_hold(unsigned left_out) {
  for (unsigned i = 0; i < sim.options.legs; i++) {
    struct sim_leg *leg = &sim.leg[i];

    if (!(left_out >> i & 1) || leg->gone || leg->stalled_until_ns == SIM_NEVER || draw(4) == 0)
      continue;
    TRACE("leg %u keeps what it holds", i);
    hang_for(leg, 5 * SIM_S + draw(RELAPSES_S * SIM_S));
  }
}

static void
leaving(unsigned leg, unsigned in_sync) {
  unsigned others = in_sync & ~(1u << leg);

  if ((unsigned) __builtin_popcount(in_sync) == inside_min_legs(sim.volume) && draw(2) == 0) {
    COUNT(silent_leavings);
    fall_silent(leg, -1);
    sim.silent.relapsed = true;
    if (sim.options.leaving_storm)
      keep_what_they_hold(inside_left_out(sim.volume));
  } else if ((unsigned) __builtin_popcount(in_sync) > inside_min_legs(sim.volume)) {
    unsigned other = (unsigned) __builtin_ctz(others);

    if (fault_is_free(other) && draw(2) == 0) {
      TRACE("leg %u hangs as another one leaves", other);
      hang_for(&sim.leg[other], draw(4 * SIM_S));
    }
  }
}

void
silent_record(unsigned leg, unsigned in_sync) {
  if (!sim.silent.at_leavings || sim.healing || !serves() || inside_left_out(sim.volume) == 0 ||
      !fault_is_free(leg))
    return;
  if (in_sync >> leg & 1) {
    if (may_begin() && __builtin_popcount(in_sync) >= 2)
      leaving(leg, in_sync);
  } else if (draw(3) == 0) {
    TRACE("leg %u hangs as it is told that it has left", leg);
    COUNT(relapses);
    hang_for(&sim.leg[leg], draw(RELAPSES_S * SIM_S));
  }
}

/* ---- its end ---- */

static uint64_t
bound(void) {
  uint64_t silence = 5 * SIM_S, bytes = sim.blocks_known * BLOCK;

  for (unsigned i = 0; i < sim.options.legs; i++) {
    uint64_t most = 2 * sf_config_timeout_range(&sim.config, i, SF_FLUSH_KIND).most_ns;

    if (most > silence)
      silence = most;
  }
  if (sim.silent.relapsed)
    silence += KEPT_OUT_S * SIM_S;
  return silence + 2 * (bytes * SIM_S / sim.config.resync_min_rate) + lull_answer_bound();
}

static bool
others_are_well(void) {
  for (unsigned i = 0; i < sim.options.legs; i++)
    if ((int) i != sim.silent.leg && (!fault_is_sound(i) || tio_has_ghosts(i) || sim.opening[i]))
      return false;
  return true;
}

static void
check(uint64_t lasts) {
  char text[1024];

  if (inside_flush_failed(sim.volume))
    return;
  inside_describe(sim.volume, text, sizeof text);
  if (sim.leg_state[sim.silent.leg] == SF_STATE_IN_SYNC)
    sim_fail("leg %d is silent for %lu s, another one could take its place, and it has not: %s",
             sim.silent.leg, (unsigned long) (lasts / SIM_S), text);
  for (unsigned i = 0; i < sim.options.clients; i++)
    if (sim.client[i].busy && sim.now_ns - sim.client[i].began_ns > bound())
      sim_fail("leg %d has left, and request %u is not answered: %s", sim.silent.leg, i, text);
}

static void
is_over(void) {
  TRACE("leg %d: its silence is over", sim.silent.leg);
  if (!fault_is_free((unsigned) sim.silent.leg))
    fault_cure((unsigned) sim.silent.leg);
  sim.silent.leg = sim.silent.newcomer = -1;
  sim.silent.calm = sim.silent.relapsed = false;
}

/* None that only an operator brings back, or an opening. */
static bool
some_leg_comes(void) {
  return legs_in(SF_STATE_CATCHING_UP) > 0 ||
         (sim.silent.relapsed && legs_in(SF_STATE_LATE) + legs_in(SF_STATE_PROBING) > 0);
}

/* Nothing but the silent leg is in the way of an exchange.  After a forced start it may be all of the
 * set: then no other has its data. */
static bool
could_come_about(void) {
  return sim.silent.calm && others_are_well() &&
         (sim.leg_state[sim.silent.leg] != SF_STATE_IN_SYNC ||
          (some_leg_comes() && legs_in(SF_STATE_IN_SYNC) > 1));
}

/* Where a promotion was undone, the leg may also answer before another one has its place. */
static bool
answers_again(void) {
  return (sim.silent.left_ns != 0 && draw(100) == 0) ||
         (sim.silent.relapsed && !sim.silent.calm && draw(300) == 0);
}

/* Calm or not. */
static void
operator_acts(void) {
  if (sim.silent.grows && draw(100) == 0) {
    sim.silent.grows = false;
    grow_begin();
  }
  if (sim.silent.adds && draw(100) == 0) {
    sim.silent.adds = false;
    members_add();
  }
}

static void
watch(void) {
  uint64_t *down = &sim.silent.down_ns, *well = &sim.silent.well_ns;

  if (!serves()) {
    *well = 0;
    *down = *down == 0 ? sim.now_ns : *down;
    if (sim.now_ns - *down > draw(GONE_S) * SIM_S)
      is_over();
    return;
  }
  *down = 0;
  if (sim.silent.newcomer >= 0 && draw(2) == 0)
    newcomer_hangs();
  operator_acts();
  if (fault_is_free((unsigned) sim.silent.leg)) {
    is_over(); /* it was cured otherwise */
    return;
  }
  if (!could_come_about())
    *well = 0;
  else if (*well == 0)
    *well = sim.now_ns;
  if (sim.leg_state[sim.silent.leg] != SF_STATE_IN_SYNC && sim.silent.left_ns == 0) {
    COUNT(exchanges);
    sim.silent.left_ns = sim.now_ns;
  }
  if (*well != 0 && sim.now_ns - *well > bound())
    check(sim.now_ns - sim.silent.since_ns);
  if ((*well != 0 && sim.now_ns - *well > bound()) ||
      sim.now_ns - sim.silent.since_ns > 4 * bound() || answers_again())
    is_over();
}

void
silent_event(void) {
  if (sim.healing)
    return;
  event_add(sim.now_ns + 1 + draw(2 * POLL_MS * SIM_MS), EV_SILENT, 0, 0);
  if (sim.silent.leg < 0) {
    sim.silent.left_ns = 0;
    strike();
  } else {
    watch();
  }
}

void
silent_heals(void) {
  sim.silent.leg = sim.silent.newcomer = -1;
  sim.silent.calm = sim.silent.relapsed = false;
}

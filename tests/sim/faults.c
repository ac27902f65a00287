/* What befalls the legs: one fault at a time on each, and no more legs at once than this seed says.
 * Only what the rules promise to survive: data on stable storage stays, and a leg that goes away
 * loses its cache only once the volume has let go of it. */
#include <errno.h>

#include "sim/sim.h"

static bool
is_troubled(const struct sim_leg *leg) {
  return leg->gone || leg->stalled_until_ns > sim.now_ns || leg->slow > 1 ||
         leg->error_permille != 0 || leg->lose_next != 0;
}

static unsigned
troubled_legs(void) {
  unsigned n = 0;

  for (unsigned i = 0; i < sim.options.legs; i++)
    n += is_troubled(&sim.leg[i]);
  return n;
}

void
faults_start(void) {
  if (sim.options.fault_gap_ns != 0)
    event_add(random_around(sim.options.fault_gap_ns), EV_FAULT, 0, 0);
}

static unsigned
draw_kinds(void) {
  static const unsigned char kinds[] = {
      15, 15, 15, 1 << SF_TIO_READ, 1 << SF_TIO_FLUSH, 1 << SF_TIO_WRITE | 1 << SF_TIO_ZERO};

  return kinds[random_below(sizeof kinds)];
}

static void
cure_after(struct sim_leg *leg, uint64_t ns) {
  event_add(sim.now_ns + random_around(ns), EV_CURE, leg->index, leg->cure);
}

static void
strike_stall(struct sim_leg *leg) {
  COUNT(stalls);
  leg->stalled_until_ns = sim.now_ns + random_around(sim.options.stall_ns);
  leg->stalled_kinds = draw_kinds();
  leg->cured_ns = leg->stalled_until_ns + 2 * SIM_MS;
  TRACE("leg %u stalls for %lu ms (kinds %u)", leg->index,
        (unsigned long) ((leg->stalled_until_ns - sim.now_ns) / SIM_MS), leg->stalled_kinds);
}

static void
strike_hang(struct sim_leg *leg) {
  COUNT(hangs);
  leg->stalled_until_ns = SIM_NEVER;
  leg->stalled_kinds = draw_kinds();
  TRACE("leg %u hangs (kinds %u)", leg->index, leg->stalled_kinds);
  if (random_chance(700))
    cure_after(leg, 4 * sim.options.stall_ns);
}

static void
strike_slow(struct sim_leg *leg) {
  COUNT(slows);
  leg->slow = 2 + (unsigned) random_below(200);
  TRACE("leg %u is %u times slower", leg->index, leg->slow);
  cure_after(leg, 3 * sim.options.stall_ns);
}

static void
strike_error(struct sim_leg *leg) {
  COUNT(errors);
  leg->error = random_chance(700) ? -EIO : -ENOSPC;
  leg->error_kinds = (unsigned) random_below(15) + 1;
  if (leg->error == -ENOSPC)
    leg->error_kinds &= 1 << SF_TIO_WRITE | 1 << SF_TIO_ZERO;
  leg->error_kinds &= ~(1u << SF_TIO_FLUSH);
  leg->error_permille = random_chance(500) ? 1000 : 1 + (unsigned) random_below(500);
  TRACE("leg %u answers with error %d, %u/1000 (kinds %u)", leg->index, leg->error,
        leg->error_permille, leg->error_kinds);
  cure_after(leg, sim.options.stall_ns);
}

static void
strike_flush_error(struct sim_leg *leg) {
  COUNT(flush_errors);
  leg->error = -EIO;
  leg->error_kinds = 1 << SF_TIO_FLUSH;
  leg->error_permille = 500;
  TRACE("leg %u fails flushes", leg->index);
  cure_after(leg, sim.options.stall_ns);
}

/* The last leg that can serve is not taken away for good. */
static void
strike_gone(struct sim_leg *leg) {
  unsigned others = 0;

  for (unsigned i = 0; i < sim.options.legs; i++)
    others += i != leg->index && !is_troubled(&sim.leg[i]) && sim.leg_state[i] == SF_STATE_IN_SYNC;
  if (others < sim.options.min_legs || sim.volume == NULL)
    return;
  COUNT(departures);
  leg->gone = true;
  TRACE("leg %u is gone", leg->index);
  tio_leg_gone(leg->index);
  cure_after(leg, 2 * sim.options.stall_ns);
}

static void
strike_lost(struct sim_leg *leg) {
  leg->lose_next = 1 + (unsigned) random_below(3);
  leg->lose_for_ns = random_chance(200) ? SIM_NEVER : random_around(sim.options.stall_ns);
  TRACE("leg %u will keep %u requests", leg->index, leg->lose_next);
  cure_after(leg, 4 * sim.options.stall_ns);
}

void
fault_strike(void) {
  const struct options *o = &sim.options;
  const struct {
    unsigned weight;
    void (*strike)(struct sim_leg *);
  } fault[] = {{o->stall_weight, strike_stall},
               {o->hang_weight, strike_hang},
               {o->slow_weight, strike_slow},
               {o->error_weight, strike_error},
               {o->gone_weight, strike_gone},
               {o->lost_weight, strike_lost},
               {o->flush_error_weight, strike_flush_error}};
  const unsigned faults = sizeof fault / sizeof fault[0];
  unsigned sum = 0, most = o->all_may_stall ? o->legs : o->legs - o->min_legs;
  struct sim_leg *leg = &sim.leg[random_below(o->legs)];
  uint64_t draw;

  if (sim.healing)
    return;
  event_add(sim.now_ns + random_around(o->fault_gap_ns), EV_FAULT, 0, 0);
  for (unsigned i = 0; i < faults; i++)
    sum += fault[i].weight;
  if (sum == 0 || is_troubled(leg) || troubled_legs() >= most)
    return;
  draw = random_below(sum);
  leg->cure++;
  sim.troubles++;
  for (unsigned i = 0; i < faults; i++) {
    if (draw < fault[i].weight) {
      fault[i].strike(leg);
      break;
    }
    draw -= fault[i].weight;
  }
}

void
fault_cure(unsigned index) {
  struct sim_leg *leg = &sim.leg[index];

  if (is_troubled(leg))
    TRACE("leg %u is well again", index);
  leg->stalled_until_ns = 0;
  leg->slow = 1;
  leg->error_permille = 0;
  leg->lose_next = 0;
  leg->gone = false;
  leg->cure++;
  sim.troubles++;
  leg->cured_ns = sim.now_ns;
  tio_unpark(index);
}

bool
fault_is_sound(unsigned index) {
  return !is_troubled(&sim.leg[index]) && !tio_has_lost(index);
}

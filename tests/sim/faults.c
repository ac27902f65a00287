/* What befalls the legs: one fault at a time on each, and no more legs at once than this seed says.
 * Only what the rules promise to survive: data on stable storage stays, and a leg that goes away
 * loses its cache only once the volume has let go of it. */
#include <errno.h>
#include <string.h>

#include "sim/sim.h"

enum { NEWCOMER_MS = 500 }; /* so long it is probed */

static bool
is_troubled(const struct sim_leg *leg) {
  return leg->gone || leg->frozen_device != 0 || leg->stalled_until_ns > sim.now_ns ||
         leg->slow > 1 || leg->error_permille != 0 || leg->lose_next != 0 ||
         leg->lose_record_ns != 0 || leg->lose_maps_ns != 0;
}

static unsigned
troubled_legs(void) {
  unsigned n = 0;

  for (unsigned i = 0; i < sim.options.legs; i++)
    n += is_troubled(&sim.leg[i]);
  return n;
}

static unsigned
most_troubled(void) {
  return sim.options.all_may_stall ? sim.options.legs : sim.options.legs - sim.config.min_legs;
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

/* Not one alone: a shelf, a switch. */
static void
stall_with(const struct sim_leg *leg, struct sim_leg *other) {
  if (is_troubled(other))
    return;
  other->cure++;
  other->stalled_until_ns = leg->stalled_until_ns;
  other->stalled_kinds = leg->stalled_kinds;
  other->cured_ns = leg->cured_ns;
  TRACE("leg %u stalls with leg %u", other->index, leg->index);
}

static void
strike_stall(struct sim_leg *leg) {
  COUNT(stalls);
  leg->stalled_until_ns = sim.now_ns + random_around(sim.options.stall_ns);
  leg->stalled_kinds = draw_kinds();
  leg->cured_ns = leg->stalled_until_ns + 2 * SIM_MS;
  if (sim.options.together_permille != 0 && random_chance(sim.options.together_permille)) {
    for (unsigned i = 0; i < sim.options.legs; i++)
      stall_with(leg, &sim.leg[i]);
  } else if (random_chance(300) && troubled_legs() < most_troubled()) {
    stall_with(leg, &sim.leg[random_below(sim.options.legs)]);
  }
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
  leg->errors_left = 0;
  if (random_chance(400)) {
    COUNT(single_errors);
    leg->error_permille = 1000;
    leg->errors_left = 1;
    if (random_chance(600))
      leg->error_kinds = 1 << SF_TIO_WRITE | 1 << SF_TIO_ZERO;
  }
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
  leg->errors_left = 0;
  if (sim.options.fua_errors && random_chance(700)) {
    leg->error_of_fua = true;
    leg->error_kinds = 15;
    if (random_chance(700)) {
      leg->error_permille = 1000;
      leg->errors_left = 1;
    }
  }
  TRACE("leg %u fails flushes", leg->index);
  cure_after(leg, sim.options.stall_ns);
}

/* On all legs that clients are answered from: what no copy can read. */
static void
spoil_everywhere(uint64_t block) {
  COUNT(bad_everywhere);
  for (unsigned i = 0; i < sim.options.legs; i++)
    if (sim.leg_state[i] == SF_STATE_IN_SYNC && block < sim.leg[i].blocks && block < sim.blocks)
      medium_spoil(&sim.leg[i], block, true);
  TRACE("block %lu can be read on no leg", (unsigned long) block);
}

/* Some near each other: a scratch, or a head that wrote where it should not. */
static void
strike_bad_sectors(struct sim_leg *leg) {
  uint64_t block = random_below(sim.blocks);

  COUNT(bad_sectors);
  for (unsigned n = 1 + (unsigned) random_below(3); n > 0; n--) {
    if (block < leg->blocks && block < sim.blocks)
      medium_spoil(leg, block, true);
    TRACE("leg %u: block %lu cannot be read", leg->index, (unsigned long) block);
    if (sim.options.bad_everywhere_permille != 0 &&
        random_chance(sim.options.bad_everywhere_permille))
      spoil_everywhere(block);
    block += 1 + random_below(random_chance(500) ? 4 : sim.extent_blocks);
  }
}

/* So many legs at once that a write has too few, and for so short that it is still there when they
 * are well again. */
static void
strike_burst(struct sim_leg *leg) {
  uint64_t lasts = random_around(sim.options.stall_ns);
  unsigned first = (unsigned) random_below(sim.options.legs);
  unsigned in_sync = 0, more;

  for (unsigned i = 0; i < sim.options.legs; i++)
    in_sync += sim.leg_state[i] == SF_STATE_IN_SYNC;
  more = in_sync - (in_sync < sim.config.min_legs ? in_sync : sim.config.min_legs) + 1 +
         random_chance(200);

  COUNT(bursts);
  for (unsigned i = 0; i < sim.options.legs && more > 0; i++) {
    struct sim_leg *other = &sim.leg[(first + i) % sim.options.legs];

    if ((other != leg && is_troubled(other)) || sim.leg_state[other->index] != SF_STATE_IN_SYNC)
      continue;
    more--;
    other->cure++;
    other->error = -EIO;
    other->error_kinds = 1 << SF_TIO_WRITE | 1 << SF_TIO_ZERO;
    other->error_from = sim.data_offset;
    other->error_permille = 1000;
    other->errors_left = random_chance(500) ? 1 + (unsigned) random_below(3) : 0;
    TRACE("leg %u fails writes with others", other->index);
    cure_after(other, lasts);
  }
}

/* The last leg that can serve is not taken away for good. */
static void
strike_gone(struct sim_leg *leg) {
  unsigned others = 0;

  for (unsigned i = 0; i < sim.options.legs; i++)
    others += i != leg->index && !is_troubled(&sim.leg[i]) && sim.leg_state[i] == SF_STATE_IN_SYNC;
  if (others < sim.config.min_legs || sim.volume == NULL)
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

/* A page of the maps counts as all set then.  Not where the second copy is torn, or may be yet: of
 * what was never written nothing would be known that is told. */
static void
strike_map_flip(struct sim_leg *leg) {
  uint64_t page = random_below(sf_map_pages(sim.blocks * BLOCK, sim.options.extent_bytes));

  if (sim.options.unwritten_permille > 0 &&
      (tio_map_page_in_flight(leg->index, page) || !medium_second_is_sound(leg, page)))
    return;
  COUNT(map_flips);
  TRACE("leg %u: page %lu of its maps rots", leg->index, (unsigned long) page);
  medium_flip(leg, SF_MAP_PAGE_OFFSET(page) / SF_PAGE_BYTES);
}

/* The copy that is not the newest: it is not needed, until a write to it is torn. */
static void
strike_flip(struct sim_leg *leg) {
  const struct region *in_flight;
  const struct picked *head;
  unsigned copy;

  if (random_chance(500)) {
    strike_map_flip(leg);
    return;
  }
  head = picked(leg->meta_stable);
  if (tio_superblock_in_flight(leg->index, &in_flight) || head->error != 0)
    return;
  copy = head->newest;
  COUNT(flips);
  TRACE("leg %u: superblock copy %u rots", leg->index, 1 - copy);
  medium_flip(leg, 1 - copy);
}

/* Both copies, of a leg that the set can do without. */
static void
strike_damage(struct sim_leg *leg) {
  if (sim.volume == NULL || !inside_leg_is_out(sim.volume, leg->index))
    return;
  COUNT(damages);
  TRACE("leg %u: both superblock copies rot", leg->index);
  for (unsigned copy = 0; copy < SF_SUPERBLOCK_COPIES; copy++)
    medium_flip(leg, copy);
}

/* ---- which, when, and which leg ---- */

static void
strike(struct sim_leg *leg) {
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
               {o->flush_error_weight, strike_flush_error},
               {o->flip_weight, strike_flip},
               {o->damage_weight, strike_damage},
               {o->burst_weight, strike_burst},
               {o->bad_sector_weight, strike_bad_sectors}};
  const unsigned faults = sizeof fault / sizeof fault[0];
  unsigned sum = 0;
  uint64_t draw;

  for (unsigned i = 0; i < faults; i++)
    sum += fault[i].weight;
  if (sum == 0 || is_troubled(leg) || troubled_legs() >= most_troubled())
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

/* A switch, a shelf: all at once, and back together.  An earlier opening is dead then, or the same
 * device answers again. */
static void
strike_all_gone(void) {
  static const int errors[] = {-ENODEV, -ENXIO, -EIO, -ETIMEDOUT};
  int error = errors[random_below(sizeof errors / sizeof errors[0])];
  bool dead = random_chance(500) && swarm_is_on(SWITCH_all_gone_dead);
  uint64_t back = random_around(sim.options.stall_ns);

  COUNT(all_gone);
  sim.troubles++;
  TRACE("all legs are gone, %s", dead ? "and opened anew when they are back" : strerror(-error));
  for (unsigned i = 0; i < sim.options.legs; i++) {
    struct sim_leg *leg = &sim.leg[i];

    fault_cure(i);
    if (dead) {
      leg->gone = true;
      tio_leg_gone(i);
    } else {
      leg->error = error;
      leg->error_kinds = 1 << SF_TIO_READ | 1 << SF_TIO_WRITE | 1 << SF_TIO_ZERO;
      leg->error_permille = 1000;
      leg->errors_left = 0;
    }
    event_add(sim.now_ns + back + random_below(20 * SIM_MS), EV_CURE, i, leg->cure);
  }
}

/* A leg on its way back meets the rarer cases. */
static struct sim_leg *
victim(void) {
  unsigned first = (unsigned) random_below(sim.options.legs);

  if (random_chance(400))
    for (unsigned i = 0; i < sim.options.legs; i++) {
      unsigned leg = (first + i) % sim.options.legs;

      if (sim.leg_state[leg] == SF_STATE_CATCHING_UP || sim.leg_state[leg] == SF_STATE_PROBING)
        return &sim.leg[leg];
    }
  return &sim.leg[first];
}

void
fault_strike(bool once) {
  if (sim.healing)
    return;
  if (!once)
    event_add(sim.now_ns + random_around(sim.options.fault_gap_ns), EV_FAULT, 0, 0);
  if (sim.lull)
    return;
  if (sim.options.all_gone_permille != 0 && random_chance(sim.options.all_gone_permille))
    strike_all_gone();
  else
    strike(victim());
}

/* While the set changes is the worst moment for anything. */
void
fault_nemesis(unsigned index) {
  uint64_t soon;

  if (sim_is_calm() || !random_chance(sim.options.nemesis_permille))
    return;
  COUNT(nemeses);
  soon = sim.now_ns + random_below(6 * sim.options.latency_ns[index]);
  switch (random_below(5)) {
  case 0:
    if (sim.options.kill_gap_ns != 0)
      event_add(soon, EV_KILL, EVENT_ONCE, 0);
    break;
  case 1:
    if (sim.options.power_gap_ns != 0)
      event_add(soon, EV_POWER, EVENT_ONCE, 0);
    break;
  case 2:
    if (!is_troubled(&sim.leg[index]) && sim.options.lost_weight != 0) {
      sim.troubles++;
      sim.leg[index].lose_next = 1;
      sim.leg[index].lose_for_ns = random_around(sim.options.stall_ns);
    }
    break;
  default:
    event_add(soon, EV_FAULT, EVENT_ONCE, 0);
  }
}

/* Nothing says on disk yet that it lacks everything, and by the time it is to be filled, the
 * process ends: what its superblock says then must be enough for the next start. */
void
fault_newcomer(void) {
  const struct options *o = &sim.options;

  if (sim_is_calm() || !o->all_may_stall || o->newcomer_permille == 0 ||
      !random_chance(o->newcomer_permille))
    return;
  COUNT(nemeses);
  sim.troubles++;
  for (unsigned i = 0; i < o->legs; i++)
    if (sim.leg_state[i] == SF_STATE_IN_SYNC && !is_troubled(&sim.leg[i])) {
      sim.leg[i].cure++;
      sim.leg[i].lose_maps_ns = NEWCOMER_MS * SIM_MS + random_around(o->stall_ns);
      TRACE("leg %u will keep its next write of the maps", i);
      cure_after(&sim.leg[i], NEWCOMER_MS * SIM_MS);
    }
}

void
fault_newcomer_returns(void) {
  const struct options *o = &sim.options;

  if (sim_is_calm() || !o->all_may_stall || o->newcomer_permille == 0 ||
      !random_chance(o->newcomer_permille))
    return;
  event_add(sim.now_ns + random_below(10 * SIM_MS),
            o->kill_gap_ns != 0    ? EV_KILL
            : o->power_gap_ns != 0 ? EV_POWER
                                   : EV_FAULT,
            EVENT_ONCE, 0);
}

/* Of all moments the worst for another leg to hang: what takes that one out must not leave the
 * newcomer in the set. */
void
fault_promotion(unsigned index) {
  struct sim_leg *other = &sim.leg[random_below(sim.options.legs)];

  if (sim_is_calm() || !random_chance(sim.options.promotion_permille) || other->index == index ||
      sim.leg_state[other->index] != SF_STATE_IN_SYNC || is_troubled(other) ||
      troubled_legs() >= most_troubled())
    return;
  COUNT(nemeses);
  sim.troubles++;
  other->cure++;
  other->lose_record_ns = random_around(sim.options.stall_ns);
  TRACE("leg %u will keep its next superblock", other->index);
  cure_after(other, sim.options.stall_ns);
}

void
fault_keeps_record(unsigned index) {
  struct sim_leg *leg = &sim.leg[index];

  if (sim_is_calm() || is_troubled(leg))
    return;
  sim.troubles++;
  leg->cure++;
  leg->lose_record_ns = random_around(sim.options.stall_ns);
  TRACE("leg %u will keep its next superblock", index);
  cure_after(leg, sim.options.stall_ns);
}

/* A client's write to a leg that catches up, which the answer does not need: it ends after the
 * answer, with an error; or not before the volume was stopped. */
void
fault_behind(struct region *r) {
  if (sim_is_calm() || !random_chance(sim.options.behind_permille))
    return;
  COUNT(behinds);
  sim.troubles++;
  if (sim.options.stop_gap_ns != 0 && random_chance(600)) {
    r->keep_ns = random_around(sim.options.stall_ns);
    event_add(sim.now_ns + random_below(2 * SIM_MS), EV_STOP, EVENT_ONCE, 0);
  } else {
    r->keep_ns = random_below(10 * SIM_MS);
    r->doomed = true;
  }
}

/* A device that was reset, or went away and came back: it does not tell that its cache is empty.
 * Only once the set does without it. */
void
fault_reset(unsigned index, uint32_t life) {
  if (sim_is_calm() || sim.volume == NULL || life != sim.life ||
      sim.leg_state[index] == SF_STATE_IN_SYNC || sim.leg_state[index] == SF_STATE_CATCHING_UP)
    return;
  if (!inside_leg_is_out(sim.volume, index)) {
    event_add(sim.now_ns + 2 * SIM_MS, EV_RESET, index, life);
    return;
  }
  COUNT(resets);
  TRACE("leg %u is reset", index);
  torn_reset(&sim.leg[index], (unsigned) random_below(1000));
}

void
fault_cure(unsigned index) {
  struct sim_leg *leg = &sim.leg[index];

  if (is_troubled(leg))
    TRACE("leg %u is well again", index);
  leg->stalled_until_ns = 0;
  leg->slow = 1;
  leg->error_permille = 0;
  leg->error_from = 0;
  leg->error_of_fua = false;
  leg->lose_next = 0;
  leg->lose_record_ns = leg->lose_maps_ns = 0;
  leg->gone = false;
  leg->cure++;
  sim.troubles++;
  leg->cured_ns = leg->fault_ended_ns = sim.now_ns;
  tio_unpark(index);
}

bool
fault_is_free(unsigned index) {
  return !is_troubled(&sim.leg[index]);
}

bool
fault_is_sound(unsigned index) {
  /* A disk that was gone and is back is not: its earlier opening stays dead. */
  return !is_troubled(&sim.leg[index]) && !sim.leg[index].device_dead && !tio_has_lost(index) &&
         sim.leg[index].unreadable_n == 0;
}

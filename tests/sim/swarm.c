/* Each seed draws its own mix: which faults happen at all, how often, on what volume. */
#include <errno.h>
#include <string.h>

#include "sim/sim.h"
#include "sim/swarm.h"

uint64_t
random_of(uint64_t *state) {
  uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

  z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
  z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
  return z ^ z >> 31;
}

uint64_t
random_stream(uint64_t number) {
  return sim.seed * UINT64_C(0x9e3779b97f4a7c15) + number;
}

uint64_t
random_next(void) {
  return random_of(&sim.random);
}

uint64_t
random_below(uint64_t n) {
  return random_next() % n;
}

bool
random_chance(unsigned permille) {
  return random_next() % 1000 < permille;
}

/* Geometric steps of a quarter make a good enough exponential without floating point. */
uint64_t
random_around(uint64_t mean) {
  uint64_t value = mean / 4 + random_below(mean / 2 + 1);

  while (value < 16 * mean && random_chance(370))
    value += random_below(mean + mean / 2 + 1);
  return value + 1;
}

/* ---- switches ---- */

static struct {
  const char *name;
  enum switch_state state;
} draws[] = {
#define DRAWN(name, on) {#name, (on) ? SWITCH_ON : SWITCH_OFF},
    SIM_DRAWS(DRAWN)
#undef DRAWN
};

bool
swarm_switch(const char *name, enum switch_state state) {
  bool all = strcmp(name, "all") == 0, found = all;

  for (unsigned i = 0; i < SWITCHES; i++)
    if (all || strcmp(name, draws[i].name) == 0) {
      draws[i].state = state;
      found = true;
    }
  return found;
}

bool
swarm_is_on(unsigned draw) {
  return draws[draw].state != SWITCH_OFF;
}

bool
swarm_is_always(unsigned draw) {
  return draws[draw].state == SWITCH_ALWAYS;
}

/* ---- options: see swarm.h ---- */

uint64_t option_seed;
static uint64_t option_random;

static uint64_t
option_next(void) {
  return random_of(&option_random);
}

void
option(const char *name, unsigned index) {
  uint64_t hash = UINT64_C(0xcbf29ce484222325) ^ index;

  for (; *name != '\0'; name++)
    hash = (hash ^ (uint8_t) *name) * UINT64_C(0x100000001b3);
  option_random = option_seed * UINT64_C(0xd1342543de82ef95) ^ hash;
  option_next();
}

bool
one_in(unsigned n) {
  return option_next() % n == 0;
}

uint64_t
between(uint64_t least, uint64_t most) {
  return least + option_next() % (most - least + 1);
}

unsigned
some(unsigned least, unsigned most) {
  return (unsigned) between(least, most);
}

bool
one_in_or_always(unsigned n, unsigned draw) {
  return draws[draw].state == SWITCH_ALWAYS || (one_in(n) && swarm_is_on(draw));
}

void
most_ops(struct options *o, unsigned most) {
  if (o->ops > most)
    o->ops = most;
}

void
draw_deadlines(struct options *o, unsigned least_ms, unsigned most_ms) {
  for (unsigned k = 0; k < SF_KINDS; k++)
    o->deadline_ns[k] = between(least_ms, most_ms) * SIM_MS;
}

/* Of legs without a timeout of their own. */
void
draw_latencies(struct options *o, unsigned least_us, unsigned most_us) {
  for (unsigned i = 0; i < o->legs; i++) {
    option("leg", i);
    o->leg_timeout_ns[i] = 0;
    o->latency_ns[i] = between(least_us, most_us) * SIM_US;
  }
}

static unsigned
draw_legs(void) {
  static const unsigned char legs[] = {1, 2, 2, 2, 3, 3, 3, 3, 4, 4, 5, 5};

  return legs[option_next() % sizeof legs];
}

static void
draw_volume(struct options *o) {
  DRAW(legs, draw_legs());
  DRAW(min_legs, one_in(4) ? some(1, o->legs) : o->legs <= 2 ? 1 : o->legs / 2 + 1);
  DRAW(clients, one_in(5) ? 1 : some(2, CLIENTS_OF_SWARM));
  DRAW(megabytes, some(1, one_in(4) ? 16 : 5));
  DRAW(extent_bytes, one_in(3) ? UINT64_C(4096) << some(0, 7) : SF_EXTENT_BYTES_DEFAULT);
  if (o->extent_bytes < 16 * 1024 && o->megabytes > 8)
    o->megabytes = 8;
  DRAW(intent_delay_ns, between(20, one_in(2) ? 200 : 2000) * SIM_MS);
  DRAW(hot_extents, one_in(3) ? 8192 : some(1, one_in(3) ? 200 : 6));
  DRAW(short_blocks,
       one_in(3) ? 8 * (unsigned) (option_next() % (SF_EXTENT_BYTES_DEFAULT / BLOCK / 8 / 2)) : 0);
  DRAW(suspend, one_in(2));
  for (unsigned k = 0; k < SF_KINDS; k++) {
    option("deadline", k);
    o->deadline_ns[k] = between(10, 120) * SIM_MS;
  }
  option("long flush deadline", 0);
  if (one_in(2))
    o->deadline_ns[SF_FLUSH_KIND] = between(100, 1000) * SIM_MS;
  for (unsigned k = 0; k < SF_KINDS; k++) {
    option("auto deadline", k);
    if (one_in(4))
      o->deadline_ns[k] = SF_CONFIG_AUTO;
  }
  for (unsigned i = 0; i < o->legs; i++) {
    option("leg", i);
    o->leg_timeout_ns[i] = one_in(3) ? between(5, 60) * SIM_MS : 0;
    o->latency_ns[i] = between(20, one_in(4) ? 4000 : 400) * SIM_US;
  }
  DRAW(fail_timeout_ns, between(1000, 4000) * SIM_MS);
  DRAW(max_read_errors, one_in(3) ? some(1, 6) : 20);
  DRAW(gone_error, one_in(5) ? -EIO : -ENOTCONN);
}

static void
draw_clients(struct options *o) {
  DRAW(ops, between(100, one_in(4) ? 6000 : 1500));
  DRAW(think_ns, (one_in(3) ? between(1, 30) * 1000 : between(20, 1500)) * SIM_US);
  DRAW(read_weight, some(10, 60));
  DRAW(write_weight, some(20, 60));
  DRAW(zero_weight, one_in(2) ? some(0, 10) : 0);
  DRAW(flush_weight, some(1, 12));
  DRAW(fua_permille, one_in(2) ? some(0, 300) : 0);
  DRAW(trim_permille, one_in(2) ? some(0, 1000) : 0);
  DRAW(blocks_most, one_in(4) ? REQUEST_BLOCKS_MAX : some(1, 48));
  DRAW(hot_permille, one_in(2) ? some(0, 900) : 0);
  DRAW(stamp_at, 8 * some(0, BLOCK / 8 - 1));
  DRAW(block_sectors, one_in(5) ? 8 : 1);
  DRAW(give_up_permyriad, one_in(3) ? some(0, 500) : 0);
}

/* A leg needs most of a second to come back.  So that it does while there are clients, these rest
 * now and then, and a run of the same number of requests takes some seconds. */
static void
draw_rests(struct options *o) {
  uint64_t length, rests;

  DRAW(rest_permille, one_in(3) ? 0 : some(10, 150));
  if (o->rest_permille == 0)
    return;
  option("length", 0);
  length = between(2, one_in(3) ? 60 : 20) * SIM_S;
  rests = o->ops * o->rest_permille / 1000 / o->clients + 1;
  o->rest_ns = length / rests;
}

static void
draw_faults(struct options *o) {
  bool healthy;

  DRAW(fault_gap_ns, between(20, one_in(2) ? 300 : 2000) * SIM_MS);
  DRAW(stall_weight, one_in(3) ? 0 : some(1, 10));
  DRAW(hang_weight, one_in(2) ? 0 : some(1, 6));
  DRAW(slow_weight, one_in(2) ? 0 : some(1, 4));
  DRAW(error_weight, one_in(2) ? 0 : some(1, 4));
  DRAW(gone_weight, one_in(2) ? 0 : some(1, 4));
  DRAW(lost_weight, one_in(3) ? 0 : some(1, 10));
  DRAW(stall_ns, between(5, 2000) * SIM_MS);
  DRAW(all_may_stall, one_in(2));
  DRAW(real_permille, one_in(2) ? some(0, 900) : 0);
  DRAW(torn_permille, one_in(2) ? some(0, 300) : 0);
  DRAW(eagain_permyriad, one_in(4) ? some(1, 100) : 0);
  DRAW(reset_permille, one_in(2) ? some(0, 1000) : 0);
  DRAW(flip_weight, one_in(3) ? some(1, 4) : 0);
  DRAW(damage_weight, one_in(4) ? some(1, 4) : 0);
  DRAW(late_error_permille, one_in_or_always(4, SWITCH_late_errors) ? some(100, 1000) : 0);
  DRAW(late_copy_permille, one_in_or_always(12, SWITCH_late_copies) ? some(2, 100) : 0);
  DRAW(nemesis_permille, one_in(2) ? some(1, 300) : 0);
  DRAW(promotion_permille, one_in(3) ? some(100, 1000) : 0);
  DRAW(behind_permille, one_in(3) ? some(5, 200) : 0);
  DRAW(pause_gap_ns, one_in(4) ? between(100, 3000) * SIM_MS : 0);
  DRAW(pause_ns, between(1, 400) * SIM_MS);
  DRAW(buffers, one_in(4) ? 4 * o->legs + some(1, 8) : 0);
  option("healthy", 0);
  healthy = one_in(8);
  if (healthy)
    o->fault_gap_ns = 0, o->late_copy_permille = o->eagain_permyriad = o->nemesis_permille =
                             o->promotion_permille = o->behind_permille = 0;
}

static void
draw_ends(struct options *o) {
  DRAW(kill_gap_ns, one_in(3) ? between(50, 5000) * SIM_MS : 0);
  DRAW(power_gap_ns, one_in(3) ? between(50, 5000) * SIM_MS : 0);
  DRAW(stop_gap_ns, one_in(4) ? between(200, 5000) * SIM_MS : 0);
  DRAW(operator_gap_ns, one_in(2) ? between(50, 2000) * SIM_MS : 0);
  DRAW(replace_gap_ns, one_in(4) ? between(50, 2000) * SIM_MS : 0);
  DRAW(members_gap_ns, one_in(5) ? between(50, 2000) * SIM_MS : 0);
  DRAW(grow_gap_ns, one_in(4) ? between(50, 4000) * SIM_MS : 0);
  DRAW(absent_permille, one_in(2) ? some(0, 600) : 0);
  DRAW(tear_permille, one_in(2) ? some(0, 300) : 0);
  DRAW(tear_reset_permille, one_in_or_always(4, SWITCH_torn_resets) ? some(50, 600) : 0);
  DRAW(tear_unreadable_permille, one_in_or_always(6, SWITCH_torn_unreadable) ? some(50, 1000) : 0);
  DRAW(flush_error_weight, one_in(2) ? some(1, 4) : 0);
  DRAW(flush_errors_anywhere, one_in(2));
  DRAW(fua_errors, one_in(3));
  if ((o->kill_gap_ns != 0 || o->stop_gap_ns != 0) &&
      !(o->flush_errors_anywhere && swarm_is_on(SWITCH_flush_errors_anywhere)))
    o->flush_error_weight = 0;
}

static void
draw_lulls(struct options *o) {
  DRAW(lull_gap_ns, one_in(3) ? between(200, 4000) * SIM_MS : 0);
  DRAW(lulls_are_long, one_in(3));
  DRAW(settings_gap_ns, one_in(5) ? between(100, 2000) * SIM_MS : 0);
  DRAW(min_legs_permille, one_in(6) ? some(50, 500) : 0);
  DRAW(late_opening_permille, one_in(4) ? some(50, 700) : 0);
  DRAW(force_permille, one_in(6) ? some(50, 600) : 0);
  DRAW(bad_sector_weight, one_in(4) ? some(1, 6) : 0);
  DRAW(bad_everywhere_permille, one_in(2) ? some(100, 900) : 0);
  DRAW(behead_permille, one_in_or_always(4, SWITCH_heads) ? some(20, 300) : 0);
  DRAW(all_gone_permille, one_in(4) ? some(5, 100) : 0);
  DRAW(slow_death_permille, one_in_or_always(3, SWITCH_slow_deaths) ? some(100, 1000) : 0);
}

static void
draw_spare(struct options *o) {
  DRAW(legs_formatted, o->legs - (o->members_gap_ns != 0 && o->legs > o->min_legs && one_in(2)));
}

static void
draw_scrubs(struct options *o) {
  if (!swarm_is_on(SWITCH_scrubs))
    return;
  DRAW(scrub_gap_ns, between(200, 4000) * SIM_MS);
  DRAW(rot_gap_ns, one_in(3) ? 0 : between(100, 3000) * SIM_MS);
}

static void
draw_drills(struct options *o) {
  if (swarm_is_on(SWITCH_drills))
    DRAW(drill_gap_ns, between(100, 3000) * SIM_MS);
}

static void
draw_unwritten(struct options *o) {
  DRAW(unwritten_permille,
       one_in_or_always(3, SWITCH_unwritten) ? (one_in(2) ? 1000 : some(100, 999)) : 0);
}

static void
take_out_what_is_off(struct options *o) {
  if (!swarm_is_on(SWITCH_lulls) || o->silent_storm)
    o->lull_gap_ns = 0;
  if (o->silent_storm)
    o->settings_gap_ns = o->min_legs_permille = o->all_gone_permille = o->behead_permille = 0,
    o->force_permille = swarm_is_on(SWITCH_silent_forced) ? o->silent_force_permille : 0;
  if (!swarm_is_on(SWITCH_late_openings))
    o->late_opening_permille = 0;
  if (!swarm_is_on(SWITCH_forced))
    o->force_permille = 0;
  if (!swarm_is_on(SWITCH_bad_sectors))
    o->bad_sector_weight = 0;
  o->fua_errors = o->fua_errors && swarm_is_on(SWITCH_fua_errors);
  if (!swarm_is_on(SWITCH_all_gone))
    o->all_gone_permille = 0;
  if (!swarm_is_on(SWITCH_settings))
    o->settings_gap_ns = o->min_legs_permille = 0;
}

void
swarm_draw(uint64_t seed, struct options *options) {
  if (busy_is_on()) {
    busy_draw(seed, options);
    return;
  }
  *options = (struct options){0};
  option_seed = seed;
  draw_volume(options);
  draw_clients(options);
  draw_rests(options);
  draw_faults(options);
  draw_ends(options);
  swarm_draw_storms(options);
  draw_spare(options);
  draw_scrubs(options);
  draw_drills(options);
  draw_unwritten(options);
  draw_lulls(options);
  take_out_what_is_off(options);
}

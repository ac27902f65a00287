/* Each seed draws its own mix: which faults happen at all, how often, on what volume. */
#include "sim/sim.h"

uint64_t
random_next(void) {
  uint64_t z = sim.random += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */

  z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
  z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
  return z ^ z >> 31;
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

static bool
one_in(unsigned n) {
  return random_below(n) == 0;
}

static uint64_t
between(uint64_t least, uint64_t most) {
  return least + random_below(most - least + 1);
}

static void
draw_volume(struct options *o) {
  static const unsigned char legs[] = {1, 2, 2, 2, 3, 3, 3, 3, 4, 5};

  o->legs = legs[random_below(sizeof legs)];
  o->min_legs = o->legs <= 2 ? 1 : o->legs / 2 + 1;
  if (one_in(4))
    o->min_legs = (unsigned) between(1, o->legs);
  o->clients = one_in(5) ? 1 : (unsigned) between(2, CLIENTS_MAX);
  o->extents = (unsigned) between(1, one_in(4) ? 16 : 5);
  o->suspend = one_in(2);
  for (unsigned k = 0; k < SF_KINDS; k++)
    o->deadline_ns[k] = between(10, 120) * SIM_MS;
  if (one_in(2))
    o->deadline_ns[SF_FLUSH_KIND] = between(100, 1000) * SIM_MS;
  for (unsigned i = 0; i < o->legs; i++) {
    o->leg_timeout_ns[i] = one_in(3) ? between(5, 60) * SIM_MS : 0;
    o->latency_ns[i] = between(20, one_in(4) ? 4000 : 400) * SIM_US;
  }
  o->fail_timeout_ns = between(1000, 4000) * SIM_MS;
}

static void
draw_clients(struct options *o) {
  o->ops = between(100, one_in(4) ? 6000 : 1500);
  o->think_ns = (one_in(3) ? between(1, 30) * 1000 : between(20, 1500)) * SIM_US;
  o->read_weight = (unsigned) between(10, 60);
  o->write_weight = (unsigned) between(20, 60);
  o->zero_weight = one_in(2) ? (unsigned) between(0, 10) : 0;
  o->flush_weight = (unsigned) between(1, 12);
  o->fua_permille = one_in(2) ? (unsigned) between(0, 300) : 0;
  o->blocks_most = one_in(4) ? REQUEST_BLOCKS_MAX : (unsigned) between(1, 48);
  o->hot_permille = one_in(2) ? (unsigned) between(0, 900) : 0;
  o->give_up_permyriad = one_in(4) ? (unsigned) between(0, 200) : 0;
}

static void
draw_faults(struct options *o) {
  o->fault_gap_ns = between(20, 2000) * SIM_MS;
  o->stall_weight = one_in(3) ? 0 : (unsigned) between(1, 10);
  o->hang_weight = one_in(2) ? 0 : (unsigned) between(1, 6);
  o->slow_weight = one_in(2) ? 0 : (unsigned) between(1, 4);
  o->error_weight = one_in(2) ? 0 : (unsigned) between(1, 4);
  o->gone_weight = one_in(2) ? 0 : (unsigned) between(1, 4);
  o->lost_weight = one_in(3) ? 0 : (unsigned) between(1, 10);
  o->stall_ns = between(5, 2000) * SIM_MS;
  o->all_may_stall = one_in(2);
  o->real_permille = one_in(2) ? (unsigned) between(0, 900) : 0;
  o->torn_permille = one_in(2) ? (unsigned) between(0, 300) : 0;
  o->eagain_permyriad = one_in(4) ? (unsigned) between(1, 100) : 0;
  o->buffers = one_in(4) ? (unsigned) between(24, 64) : 0;
  if (one_in(8)) /* a healthy world */
    o->fault_gap_ns = 0, o->eagain_permyriad = 0;
}

/* A failed flush may lose what it covered.  A process that is then killed before it says so to
 * anybody cannot be asked to remember it: so not both. */
static void
draw_ends(struct options *o) {
  if (one_in(3))
    o->kill_gap_ns = between(50, 5000) * SIM_MS;
  if (one_in(3))
    o->power_gap_ns = between(50, 5000) * SIM_MS;
  if (one_in(4))
    o->stop_gap_ns = between(200, 5000) * SIM_MS;
  if (one_in(3))
    o->operator_gap_ns = between(50, 2000) * SIM_MS;
  o->absent_permille = one_in(2) ? (unsigned) between(0, 600) : 0;
  if (o->kill_gap_ns == 0 && o->stop_gap_ns == 0 && one_in(2))
    o->flush_error_weight = (unsigned) between(1, 4);
}

void
swarm_draw(struct options *options) {
  *options = (struct options){0};
  draw_volume(options);
  draw_clients(options);
  draw_faults(options);
  draw_ends(options);
}

void
swarm_print(const struct options *o, FILE *to) {
  fprintf(
      to,
      "  volume: legs %u, min_legs %u, extents %u, on_too_few %s, deadlines %lu/%lu/%lu ms, "
      "fail_timeout %lu ms\n",
      o->legs, o->min_legs, o->extents, o->suspend ? "suspend" : "error",
      (unsigned long) (o->deadline_ns[0] / SIM_MS), (unsigned long) (o->deadline_ns[1] / SIM_MS),
      (unsigned long) (o->deadline_ns[2] / SIM_MS), (unsigned long) (o->fail_timeout_ns / SIM_MS));
  for (unsigned i = 0; i < o->legs; i++)
    fprintf(to, "  leg %u: latency %lu us, timeout %lu ms\n", i,
            (unsigned long) (o->latency_ns[i] / SIM_US),
            (unsigned long) (o->leg_timeout_ns[i] / SIM_MS));
  fprintf(to,
          "  clients: %u, ops %lu, think %lu us, read:write:zero:flush %u:%u:%u:%u, fua %u/1000, "
          "blocks to %u, hot %u/1000, give up %u/10000\n",
          o->clients, (unsigned long) o->ops, (unsigned long) (o->think_ns / SIM_US),
          o->read_weight, o->write_weight, o->zero_weight, o->flush_weight, o->fua_permille,
          o->blocks_most, o->hot_permille, o->give_up_permyriad);
  fprintf(to,
          "  faults: every %lu ms, stall:hang:slow:error:gone:lost:flush-error "
          "%u:%u:%u:%u:%u:%u:%u, stalls %lu ms, all may stall %d, real cancels %u/1000, torn "
          "%u/1000, buffers %u, eagain %u/10000\n",
          (unsigned long) (o->fault_gap_ns / SIM_MS), o->stall_weight, o->hang_weight,
          o->slow_weight, o->error_weight, o->gone_weight, o->lost_weight, o->flush_error_weight,
          (unsigned long) (o->stall_ns / SIM_MS), o->all_may_stall, o->real_permille,
          o->torn_permille, o->buffers, o->eagain_permyriad);
  fprintf(to,
          "  ends: kill every %lu ms, power cut %lu, stop %lu, operator %lu, absent at a start "
          "%u/1000\n",
          (unsigned long) (o->kill_gap_ns / SIM_MS), (unsigned long) (o->power_gap_ns / SIM_MS),
          (unsigned long) (o->stop_gap_ns / SIM_MS), (unsigned long) (o->operator_gap_ns / SIM_MS),
          o->absent_permille);
}

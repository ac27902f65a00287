/* Storms: worlds in which one rare thing happens again and again, and little else. */
#include "sim/swarm.h"

/* Starts that break off again and again, each on other legs: what R12's claims and doubts are
 * for. */
static void
draw_storm(struct options *o) {
  option("storm", 0);
  if (!swarm_is_always(SWITCH_claim_errors) && !one_in(12))
    return;
  o->legs = some(3, LEGS_MAX);
  o->min_legs = some(2, o->legs - 1);
  o->nemesis_permille = some(200, 900);
  o->absent_permille = some(200, 600);
  o->break_permille = some(200, 900);
  o->kill_gap_ns = between(20, 400) * SIM_MS;
  o->power_gap_ns = one_in(2) ? o->kill_gap_ns : 0;
  o->flush_error_weight = o->buffers = o->rest_permille = 0;
  if (o->ops > 300)
    o->ops = 300;
  draw_latencies(o, 100, 4000);
  if (swarm_is_on(SWITCH_claim_errors)) { /* and the claims fail */
    o->fua_errors = o->flush_errors_anywhere = true;
    o->flush_error_weight = 40;
    o->fault_gap_ns = between(5, 50) * SIM_MS;
    o->power_gap_ns = 0;
  }
}

/* Writes that are suspended, legs that leave and return by the operator's hand, and copies, all in
 * the same few extents. */
static void
draw_suspend_storm(struct options *o) {
  option("suspend storm", 0);
  if (!one_in_or_always(14, SWITCH_suspend_storm) || o->break_permille != 0)
    return;
  o->legs = one_in(4) ? 3 : some(4, LEGS_MAX);
  o->min_legs = one_in(5) ? some(1, o->legs - 1) : 2;
  o->clients = some(4, 12);
  o->suspend = true;
  o->megabytes = some(1, 2);
  o->short_blocks = 0;
  o->extent_bytes = UINT64_C(16384) << some(0, 2);
  o->span_extents = some(8, 40);
  o->burst_weight = 20;
  o->all_may_stall = true;
  o->stall_weight = o->slow_weight = o->error_weight = o->lost_weight = one_in(3);
  o->fault_gap_ns = between(20, 150) * SIM_MS;
  o->operator_gap_ns = between(50, 300) * SIM_MS;
  o->reset_permille = o->nemesis_permille = o->absent_permille = 0;
  o->slow_record_permille = some(300, 1000);
  o->stall_ns = between(10, 100) * SIM_MS;
  o->kill_gap_ns = one_in(2) ? between(200, 2000) * SIM_MS : 0;
  o->power_gap_ns = o->stop_gap_ns = o->replace_gap_ns = o->members_gap_ns = o->grow_gap_ns = 0;
  o->flush_error_weight = o->flip_weight = o->damage_weight = o->gone_weight = o->hang_weight = 0;
  o->hot_permille = o->rest_permille = o->buffers = 0;
  o->think_ns = between(20, 150) * SIM_MS;
  o->resync_rate = o->extent_bytes * some(20, 200);
  o->write_weight = 60;
  if (o->blocks_most > 48)
    o->blocks_most = 48;
  most_ops(o, 400);
  draw_deadlines(o, 200, 1000);
  draw_latencies(o, 100, 3000);
}

/* Disks that are emptied, or put in others' places, and come back while the maps that say so are
 * held for longer than the probes take; then the power fails. The legs' time is long: else a leg
 * that holds a page leaves. */
static void
draw_newcomer_storm(struct options *o) {
  option("newcomer storm", 0);
  if (!one_in_or_always(30, SWITCH_newcomers) || o->break_permille != 0 || o->burst_weight != 0)
    return;
  o->newcomer_permille = some(500, 1000);
  o->fail_timeout_ns = between(2000, 4000) * SIM_MS;
  o->legs = some(2, 3);
  o->min_legs = 1;
  o->clients = some(1, 4);
  o->megabytes = some(1, 3);
  o->short_blocks = 0;
  o->all_may_stall = true;
  o->stall_ns = between(20, 400) * SIM_MS;
  o->fault_gap_ns = between(500, 5000) * SIM_MS;
  o->power_gap_ns = between(2000, 8000) * SIM_MS;
  o->replace_gap_ns = between(200, 1000) * SIM_MS;
  o->operator_gap_ns = between(300, 2000) * SIM_MS;
  o->kill_gap_ns = o->stop_gap_ns = o->grow_gap_ns = o->members_gap_ns = o->absent_permille = 0;
  o->nemesis_permille = o->flush_error_weight = o->hang_weight = o->gone_weight = o->buffers = 0;
  o->rest_permille = some(50, 150);
  o->rest_ns = between(50, 300) * SIM_MS;
  most_ops(o, 600);
  draw_deadlines(o, 800, 1500);
  draw_latencies(o, 50, 1000);
}

/* Few clients that read, and legs that stall together: what a leg is late with says nothing of it
 * then, and nothing else is asked of the others. */
static void
draw_read_storm(struct options *o) {
  option("read storm", 0);
  if (!one_in_or_always(40, SWITCH_read_storm) || o->break_permille != 0 || o->burst_weight != 0 ||
      o->newcomer_permille != 0)
    return;
  o->legs = some(2, 5);
  o->min_legs = one_in(2) ? 1 : some(1, o->legs - 1);
  o->clients = some(1, 2);
  o->read_weight = 90;
  o->write_weight = some(1, 6);
  o->zero_weight = o->fua_permille = 0;
  o->flush_weight = 1;
  o->all_may_stall = true;
  o->together_permille = some(300, 1000);
  o->stall_weight = 8;
  o->hang_weight = o->error_weight = o->gone_weight = o->lost_weight = o->flush_error_weight = 0;
  o->flip_weight = o->damage_weight = o->slow_weight = 0;
  o->stall_ns = between(50, 500) * SIM_MS;
  o->fault_gap_ns = between(100, 800) * SIM_MS;
  o->kill_gap_ns = o->power_gap_ns = o->stop_gap_ns = o->replace_gap_ns = 0;
  o->members_gap_ns = o->grow_gap_ns = o->nemesis_permille = o->buffers = 0;
  o->think_ns = between(1, 40) * SIM_MS;
  most_ops(o, 600);
  draw_deadlines(o, 20, 100);
}

/* Clients that give up what a leg is a little late with, so that it lands when its extent is to be
 * converged; and legs that leave, lose their caches and return by the operator's hand meanwhile. */
static void
draw_give_up_storm(struct options *o) {
  option("give up storm", 0);
  if (!one_in_or_always(40, SWITCH_give_up_storm) || o->break_permille != 0 ||
      o->burst_weight != 0 || o->newcomer_permille != 0 || o->together_permille != 0)
    return;
  o->legs = some(2, 3);
  o->min_legs = one_in(3) ? 1 : o->legs;
  o->clients = some(3, 8);
  o->megabytes = 1;
  o->short_blocks = 0;
  o->extent_bytes = UINT64_C(4096) << some(0, 2);
  o->span_extents = some(20, 200);
  o->give_up_permyriad = some(1000, 4000);
  o->write_weight = 60;
  o->read_weight = 10;
  o->flush_weight = some(1, 4);
  o->all_may_stall = true;
  o->stall_weight = 10;
  o->hang_weight = o->error_weight = o->gone_weight = o->lost_weight = 0;
  o->flush_error_weight = 8;
  o->flush_errors_anywhere = true;
  o->flip_weight = o->damage_weight = o->slow_weight = 0;
  o->stall_ns = between(5, 40) * SIM_MS;
  o->fault_gap_ns = between(10, 60) * SIM_MS;
  o->operator_gap_ns = between(30, 200) * SIM_MS;
  o->reset_permille = 1000;
  o->power_gap_ns = between(300, 2000) * SIM_MS;
  o->kill_gap_ns = o->stop_gap_ns = o->replace_gap_ns = 0;
  o->members_gap_ns = o->grow_gap_ns = o->nemesis_permille = o->buffers = 0;
  o->think_ns = between(1, 20) * SIM_MS;
  most_ops(o, 800);
  draw_deadlines(o, 100, 300);
  draw_latencies(o, 50, 2000);
}

/* Sectors that no leg in sync can read, again and again, on a small volume that clients write all
 * of; and legs that leave, are copied to and join, kills and power cuts. */
static void
draw_bad_storm(struct options *o) {
  option("bad storm", 0);
  if (!one_in_or_always(25, SWITCH_bad_storm) || o->break_permille != 0 || o->burst_weight != 0 ||
      o->newcomer_permille != 0 || o->together_permille != 0 || o->give_up_permyriad >= 1000)
    return;
  o->legs = some(2, 4);
  o->min_legs = one_in(2) ? 1 : some(1, o->legs - 1);
  o->clients = some(2, 8);
  o->megabytes = 1;
  o->extent_bytes = UINT64_C(4096) << some(0, 4);
  o->bad_sector_weight = 20;
  o->look_ns = 20 * SIM_MS;
  o->bad_everywhere_permille = some(500, 1000);
  o->max_read_errors = one_in(3) ? some(1, 20) : 0;
  o->stall_weight = o->error_weight = o->lost_weight = one_in(2);
  o->hang_weight = o->slow_weight = o->gone_weight = o->flush_error_weight = one_in(4);
  o->stall_ns = between(5, 60) * SIM_MS;
  o->fault_gap_ns = between(20, 100) * SIM_MS;
  o->operator_gap_ns = between(100, 800) * SIM_MS;
  o->kill_gap_ns = one_in(3) ? 0 : between(500, 4000) * SIM_MS;
  o->power_gap_ns = one_in(3) ? 0 : between(500, 5000) * SIM_MS;
  o->lull_gap_ns = 0; /* it would mend the sectors */
  o->read_weight = o->write_weight = 40;
  o->zero_weight = some(0, 6);
  o->blocks_most = some(2, 64);
  o->think_ns = between(20, 150) * SIM_MS;
  o->buffers = o->nemesis_permille = 0;
  most_ops(o, 800);
  draw_deadlines(o, 50, 500);
  draw_latencies(o, 50, 3000);
}

/* A leg falls silent for ever when the set cannot spare it, while another catches up; or before it
 * knows that another has left, which is no catching up yet. */
static void
draw_silent_storm(struct options *o) {
  bool silent, leaving;

  option("leaving storm", 0);
  leaving = one_in_or_always(20, SWITCH_leaving_storm);
  option("silent storm", 0);
  silent = one_in_or_always(20, SWITCH_silent_storm);
  if (!silent && !leaving)
    return;
  o->silent_storm = true;
  o->leaving_storm = leaving;
  o->legs = one_in(4) ? 4 : 3;
  o->min_legs = o->legs - 1;
  if ((leaving || option_seed % SILENT_LEAVINGS == 0) && one_in(4)) {
    o->legs = 5;
    o->min_legs = 3;
  }
  o->clients = some(2, 8);
  o->suspend = !one_in(4);
  o->megabytes = some(1, 2);
  o->short_blocks = 0;
  o->extent_bytes = UINT64_C(16384) << some(0, 2);
  o->span_extents = one_in(2) ? 0 : some(8, 40);
  o->stall_weight = 6;
  o->lost_weight = some(0, 4);
  o->hang_weight = o->slow_weight = o->error_weight = one_in(3);
  o->gone_weight = o->flip_weight = o->bad_sector_weight = one_in(4);
  o->flush_error_weight = one_in(5);
  o->damage_weight = o->burst_weight = 0;
  o->all_may_stall = one_in(2);
  o->stall_ns = between(10, 400) * SIM_MS;
  o->fault_gap_ns = between(100, 1500) * SIM_MS;
  o->operator_gap_ns = one_in(2) ? between(300, 4000) * SIM_MS : 0;
  o->break_permille = o->newcomer_permille = o->together_permille = o->slow_record_permille = 0;
  o->nemesis_permille = one_in(3) ? 0 : some(5, 150);
  o->absent_permille = one_in(2) ? some(0, 600) : 0;
  o->kill_gap_ns = between(8000, 30000) * SIM_MS;
  o->power_gap_ns = between(8000, 30000) * SIM_MS;
  o->stop_gap_ns = one_in(4) ? between(5000, 30000) * SIM_MS : 0;
  o->replace_gap_ns = 0;
  o->pause_gap_ns = o->buffers = o->rest_permille = 0;
  o->think_ns = between(20, 300) * SIM_MS;
  o->write_weight = 60;
  o->flush_weight = some(1, 12);
  o->resync_rate = o->extent_bytes * some(20, 400);
  o->look_ns = 20 * SIM_MS;
  if (o->blocks_most > 48)
    o->blocks_most = 48;
  most_ops(o, 900);
  draw_deadlines(o, 20, 200);
  draw_latencies(o, 50, 3000);
  o->members_gap_ns = one_in(4) ? between(3000, 15000) * SIM_MS : 0;
  o->grow_gap_ns = one_in(3) ? between(2000, 15000) * SIM_MS : 0;
  DRAW(silent_force_permille, one_in_or_always(3, SWITCH_silent_forced) ? some(100, 700) : 0);
}

void
swarm_draw_storms(struct options *o) {
  draw_storm(o);
  draw_suspend_storm(o);
  draw_newcomer_storm(o);
  draw_read_storm(o);
  draw_give_up_storm(o);
  draw_bad_storm(o);
  draw_silent_storm(o);
}

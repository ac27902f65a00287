/* What a seed has drawn, for the reader. */
#include "sim/sim.h"

/* auto is 0 */
#define MS(ns) ((ns) == SF_CONFIG_AUTO ? 0UL : (unsigned long) ((ns) / SIM_MS))

void
swarm_print(const struct options *o, FILE *to) {
  if (o->is_busy) {
    busy_print(o, to);
    return;
  }
  fprintf(to,
          "  volume: legs %u of %u, min_legs %u, %u MiB less %u blocks, extents of %lu, intent "
          "delay %lu "
          "ms, hot extents %u, on_too_few %s, deadlines %lu/%lu/%lu ms, fail_timeout %lu ms, read "
          "errors "
          "%u\n",
          o->legs_formatted, o->legs, o->min_legs, o->megabytes, o->short_blocks,
          (unsigned long) o->extent_bytes, MS(o->intent_delay_ns), o->hot_extents,
          o->suspend ? "suspend" : "error", MS(o->deadline_ns[0]), MS(o->deadline_ns[1]),
          MS(o->deadline_ns[2]), MS(o->fail_timeout_ns), o->max_read_errors);
  for (unsigned i = 0; i < o->legs; i++)
    fprintf(to, "  leg %u: latency %lu us, timeout %lu ms\n", i,
            (unsigned long) (o->latency_ns[i] / SIM_US), MS(o->leg_timeout_ns[i]));
  fprintf(to,
          "  clients: %u, ops %lu, think %lu us, read:write:zero:flush %u:%u:%u:%u, fua %u/1000, "
          "trim %u/1000, blocks to %u of %u sectors, hot %u/1000, give up %u/10000, rest %u/1000 "
          "for %lu ms\n",
          o->clients, (unsigned long) o->ops, (unsigned long) (o->think_ns / SIM_US),
          o->read_weight, o->write_weight, o->zero_weight, o->flush_weight, o->fua_permille,
          o->trim_permille, o->blocks_most, o->block_sectors, o->hot_permille, o->give_up_permyriad,
          o->rest_permille, MS(o->rest_ns));
  fprintf(to,
          "  faults: every %lu ms, stall:hang:slow:error:gone:lost:flush-error:flip:damage "
          "%u:%u:%u:%u:%u:%u:%u:%u:%u, stalls %lu ms, all may stall %d\n",
          MS(o->fault_gap_ns), o->stall_weight, o->hang_weight, o->slow_weight, o->error_weight,
          o->gone_weight, o->lost_weight, o->flush_error_weight, o->flip_weight, o->damage_weight,
          MS(o->stall_ns), o->all_may_stall);
  fprintf(
      to,
      "  also: real cancels %u/1000, torn writes %u/1000, torn sectors %u/1000 (at resets %u, "
      "unreadable %u), buffers %u, "
      "eagain %u/10000, resets %u/1000, nemesis %u/1000, promotions %u/1000, newcomers %u/1000, "
      "behind %u/1000, late errors %u/1000, late copies %u/1000\n",
      o->real_permille, o->torn_permille, o->tear_permille, o->tear_reset_permille,
      o->tear_unreadable_permille, o->buffers, o->eagain_permyriad, o->reset_permille,
      o->nemesis_permille, o->promotion_permille, o->newcomer_permille, o->behind_permille,
      o->late_error_permille, o->late_copy_permille);
  fprintf(to,
          "  process: kill every %lu ms, power cut %lu, stop %lu, operator %lu, pause %lu for %lu, "
          "growth %lu, replace %lu, members %lu, absent at a start %u/1000, broken off %u/1000\n",
          MS(o->kill_gap_ns), MS(o->power_gap_ns), MS(o->stop_gap_ns), MS(o->operator_gap_ns),
          MS(o->pause_gap_ns), MS(o->pause_ns), MS(o->grow_gap_ns), MS(o->replace_gap_ns),
          MS(o->members_gap_ns), o->absent_permille, o->break_permille);
  fprintf(to,
          "  draws: late openings %u/1000, forced starts %u/1000, bad sectors %u (%u/1000 "
          "everywhere), flush errors "
          "anywhere %d, with FUA %d, bursts %u, slow records "
          "%u/1000, span %u, %slulls every %lu ms, settings %lu, "
          "min_legs %u/1000, all gone %u/1000, heads lost %u/1000%s\n",
          o->late_opening_permille, o->force_permille, o->bad_sector_weight,
          o->bad_everywhere_permille, o->flush_errors_anywhere, o->fua_errors, o->burst_weight,
          o->slow_record_permille, o->span_extents, o->lulls_are_long ? "long " : "",
          MS(o->lull_gap_ns), MS(o->settings_gap_ns), o->min_legs_permille, o->all_gone_permille,
          o->behead_permille,
          o->leaving_storm  ? ", legs that fall silent for ever as others leave"
          : o->silent_storm ? ", legs that fall silent for ever"
                            : "");
}

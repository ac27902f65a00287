/* What the runs count.  A part of sim.h. */
#ifndef SIM_COUNTS_H
#define SIM_COUNTS_H

/* What may happen, and with --coverage must. */
#define SIM_COUNTS(COUNTED)                                                                        \
  COUNTED(starts)                                                                                  \
  COUNTED(refusals)                                                                                \
  COUNTED(clean_starts)                                                                            \
  COUNTED(kills)                                                                                   \
  COUNTED(power_cuts)                                                                              \
  COUNTED(stops)                                                                                   \
  COUNTED(clean_stops)                                                                             \
  COUNTED(replacements)                                                                            \
  COUNTED(removals)                                                                                \
  COUNTED(additions)                                                                               \
  COUNTED(growths)                                                                                 \
  COUNTED(demotions)                                                                               \
  COUNTED(promotions)                                                                              \
  COUNTED(stalls)                                                                                  \
  COUNTED(hangs)                                                                                   \
  COUNTED(slows)                                                                                   \
  COUNTED(errors)                                                                                  \
  COUNTED(flush_errors)                                                                            \
  COUNTED(departures)                                                                              \
  COUNTED(map_flips)                                                                               \
  COUNTED(starts_compared)                                                                         \
  COUNTED(legs_compared)                                                                           \
  COUNTED(resets)                                                                                  \
  COUNTED(flips)                                                                                   \
  COUNTED(damages)                                                                                 \
  COUNTED(heads_lost)                                                                              \
  COUNTED(heads_back)                                                                              \
  COUNTED(starts_without_head)                                                                     \
  COUNTED(marks_written)                                                                           \
  COUNTED(discards)                                                                                \
  COUNTED(pauses)                                                                                  \
  COUNTED(nemeses)                                                                                 \
  COUNTED(torn_sectors)                                                                            \
  COUNTED(torn_superblocks)                                                                        \
  COUNTED(torn_pages)                                                                              \
  COUNTED(torn_at_resets)                                                                          \
  COUNTED(torn_unreadable)                                                                         \
  COUNTED(late_flush_errors)                                                                       \
  COUNTED(late_errors)                                                                             \
  COUNTED(late_copies)                                                                             \
  COUNTED(slow_deaths)                                                                             \
  COUNTED(evidence_checked)                                                                        \
  COUNTED(lost_requests)                                                                           \
  COUNTED(faulty_at_a_start)                                                                       \
  COUNTED(lost_records)                                                                            \
  COUNTED(single_errors)                                                                           \
  COUNTED(behinds)                                                                                 \
  COUNTED(flushes_given_up)                                                                        \
  COUNTED(torn_writes)                                                                             \
  COUNTED(real_cancels)                                                                            \
  COUNTED(late_landings)                                                                           \
  COUNTED(ghost_landings)                                                                          \
  COUNTED(no_slots)                                                                                \
  COUNTED(no_buffers)                                                                              \
  COUNTED(trims)                                                                                   \
  COUNTED(trims_undone)                                                                            \
  COUNTED(give_ups)                                                                                \
  COUNTED(failed_requests)                                                                         \
  COUNTED(lulls_judged)                                                                            \
  COUNTED(lulls_in_full)                                                                           \
  COUNTED(suspensions)                                                                             \
  COUNTED(fua_errors)                                                                              \
  COUNTED(flushes_forgotten)                                                                       \
  COUNTED(bad_sectors)                                                                             \
  COUNTED(sectors_unread)                                                                          \
  COUNTED(bad_everywhere)                                                                          \
  COUNTED(bad_recorded)                                                                            \
  COUNTED(bad_written)                                                                             \
  COUNTED(bad_reads)                                                                               \
  COUNTED(bad_starts)                                                                              \
  COUNTED(looks_if_gone)                                                                           \
  COUNTED(reopenings)                                                                              \
  COUNTED(late_openings)                                                                           \
  COUNTED(forced_starts)                                                                           \
  COUNTED(bursts)                                                                                  \
  COUNTED(all_gone)                                                                                \
  COUNTED(settings)                                                                                \
  COUNTED(min_legs_changed)                                                                        \
  COUNTED(deadlines_checked)                                                                       \
  COUNTED(rotten)                                                                                  \
  COUNTED(scrubs)                                                                                  \
  COUNTED(scrubs_done)                                                                             \
  COUNTED(drills)                                                                                  \
  COUNTED(mismatches)                                                                              \
  COUNTED(scrub_repairs)                                                                           \
  COUNTED(zeroed_extents)                                                                          \
  COUNTED(silences)                                                                                \
  COUNTED(exchanges)                                                                               \
  COUNTED(silent_leavings)                                                                         \
  COUNTED(relapses)                                                                                \
  COUNTED(early_cancels)                                                                           \
  COUNTED(silent_forced)                                                                           \
  COUNTED(busy_pauses)                                                                             \
  COUNTED(busy_freezes)                                                                            \
  COUNTED(busy_measured)

enum {
#define COUNTED(name) COUNT_##name,
  SIM_COUNTS(COUNTED)
#undef COUNTED
      SIM_COUNT_KINDS
};

#endif

/* What a run is like: its options, and the draws that can be switched.  A part of sim.h. */
#ifndef SIM_OPTIONS_H
#define SIM_OPTIONS_H

/* ---- what a seed draws (swarm.c) ---- */

/* Of a busy run. */
struct busy {
  const char *legs_are[LEGS_MAX]; /* for the reader of a trace */
  /* The load: requests at once are options.clients. */
  uint64_t size[2]; /* bytes; a request has one of the two */
  unsigned second_permille;
  unsigned sequential_permille, streams;
  unsigned read_permille, flush_permille, fua_permille;
  bool idle; /* one client, that rests between two requests */
  /* How much longer a leg's timeout is than its longest request takes by itself. */
  unsigned slack;
  uint64_t longest_ns; /* that request */
  /* The legs */
  int stale_leg;         /* it has to be copied whole at the start; -1: none */
  uint64_t pause_gap_ns; /* 0: none */
  uint64_t pause_most_ns;
  unsigned pause_legs;       /* of them; */
  bool pauses_are_long;      /* longer than the timeout, of all at once */
  bool pause_together;       /* all of these at once */
  unsigned faster[LEGS_MAX]; /* so many times, until: */
  uint64_t slows_at;
  /* The course of it, counted in requests begun; 0: it does not happen. */
  uint64_t crash_at;
  bool crash_is_power;
  uint64_t freeze_at;
  unsigned freeze_leg;
  uint64_t freeze_ns;
};

struct options {
  unsigned legs, min_legs, clients, megabytes, short_blocks;
  unsigned legs_formatted; /* the others may be added */
  uint64_t extent_bytes, intent_delay_ns;
  unsigned hot_extents;
  uint64_t ops; /* client requests until healing begins */
  bool suspend;
  unsigned max_read_errors;
  int gone_error; /* what a disk answers that was pulled out */
  uint64_t deadline_ns[SF_KINDS], leg_timeout_ns[LEGS_MAX], fail_timeout_ns; /* without grace */
  uint64_t latency_ns[LEGS_MAX], think_ns, rest_ns;
  unsigned read_weight, write_weight, zero_weight, flush_weight, fua_permille, trim_permille;
  unsigned rest_permille; /* of the answers, after which a client rests */
  unsigned blocks_most;   /* of a request */
  unsigned stamp_at;      /* where in a block its contents are */
  unsigned block_sectors; /* what the legs can write by itself; requests are aligned to it */
  unsigned hot_permille;  /* aimed at a few blocks */
  uint64_t fault_gap_ns;  /* mean time between faults; 0 = none */
  unsigned stall_weight, hang_weight, slow_weight, error_weight, gone_weight, lost_weight,
      flush_error_weight;
  uint64_t stall_ns;
  bool all_may_stall;
  unsigned real_permille; /* cancels that are REAL */
  unsigned torn_permille; /* writes that land in two parts */
  unsigned buffers;       /* of the volume's own; 0 = no limit */
  unsigned eagain_permyriad;
  unsigned reset_permille; /* legs that leave the set and lose their cache while they are out */
  unsigned flip_weight, damage_weight;
  unsigned tear_permille;            /* sectors torn at a power cut */
  unsigned tear_reset_permille;      /* at a reset */
  unsigned tear_unreadable_permille; /* of all these: cannot be read then */
  unsigned late_error_permille;      /* requests that are late, and fail */
  unsigned late_copy_permille;       /* copies that are made late */
  unsigned slow_death_permille;      /* dead devices whose errors take long */
  unsigned nemesis_permille;         /* metadata writes during which something happens */
  unsigned newcomer_permille;        /* newcomers that are slow to reach the maps on disk */
  unsigned promotion_permille;       /* promotions during which another leg keeps its superblock */
  unsigned behind_permille;          /* writes that a leg gets which catches up, and misses */
  uint64_t pause_gap_ns, pause_ns;
  uint64_t kill_gap_ns, power_gap_ns, stop_gap_ns, operator_gap_ns, grow_gap_ns; /* 0 = never */
  uint64_t replace_gap_ns, members_gap_ns;
  unsigned absent_permille; /* legs left out at a restart */
  unsigned break_permille;  /* starts that are killed before they serve */
  unsigned behead_permille; /* legs that have lost their superblocks by the time of a start */
  unsigned give_up_permyriad;
  uint64_t lull_gap_ns, lull_poll_ns, settings_gap_ns; /* 0 = never */
  bool lulls_are_long;
  unsigned all_gone_permille, min_legs_permille;
  bool flush_errors_anywhere; /* beside kills and stops too */
  bool fua_errors;            /* a FUA write carries a flush, which fails too */
  unsigned bad_sector_weight;
  uint64_t look_ns; /* between two looks at a block that no leg can read; 0: as ever */
  unsigned bad_everywhere_permille; /* of the sectors: bad on each leg in sync */
  unsigned force_permille;          /* of the refused starts */
  unsigned late_opening_permille;   /* openings that hang for seconds */
  unsigned burst_weight;            /* several legs fail writes of data for a moment */
  unsigned together_permille;       /* stalls of all legs at once */
  unsigned slow_record_permille; /* superblocks that take long when the operator takes a leg out */
  uint64_t resync_rate;          /* 0: as the configuration has it */
  uint64_t scrub_gap_ns, rot_gap_ns; /* 0: never */
  uint64_t drill_gap_ns;             /* 0: never */
  bool silent_storm, leaving_storm;  /* the latter is one of the former */
  unsigned silent_force_permille;    /* force_permille of these */
  unsigned span_extents;             /* clients keep to so many; 0: to all */
  unsigned unwritten_permille;       /* of the extents, as the volume is made */
  bool is_busy;                      /* a busy run, and the rest of these is of such */
  struct service service[LEGS_MAX];
  struct busy busy;
};

/* Draws that can be switched by name: draws that show a fault of the engine which is not mended yet
 * are off.  The name, and whether it is on. */
#define SIM_DRAWS(DRAWN)                                                                           \
  DRAWN(lulls, true)                                                                               \
  DRAWN(settings, true)                                                                            \
  DRAWN(all_gone, true)                                                                            \
  DRAWN(all_gone_dead, true) /* they have to be opened anew */                                     \
  DRAWN(flush_errors_anywhere, true)                                                               \
  DRAWN(fua_errors, true)                                                                          \
  DRAWN(late_openings, true)                                                                       \
  DRAWN(heads, true)                                                                               \
  DRAWN(forced, true)                                                                              \
  DRAWN(bad_sectors, true)                                                                         \
  DRAWN(scrubs, false)                                                                             \
  DRAWN(drills, false)                                                                             \
  DRAWN(silent_storm, false)                                                                       \
  DRAWN(leaving_storm, false)                                                                      \
  DRAWN(silent_forced, true)                                                                       \
  DRAWN(unwritten, false)                                                                          \
  DRAWN(claim_errors, false)                                                                       \
  DRAWN(newcomers, true)                                                                           \
  DRAWN(give_up_storm, true)                                                                       \
  DRAWN(read_storm, true)                                                                          \
  DRAWN(suspend_storm, true)                                                                       \
  DRAWN(bad_storm, true)                                                                           \
  DRAWN(torn_resets, true)                                                                         \
  DRAWN(torn_unreadable, true)                                                                     \
  DRAWN(late_errors, true)                                                                         \
  DRAWN(late_copies, true)                                                                         \
  DRAWN(slow_deaths, true)                                                                         \
  DRAWN(answers_beside_a_failed_flush, true)

enum {
#define DRAWN(name, on) SWITCH_##name,
  SIM_DRAWS(DRAWN)
#undef DRAWN
      SWITCHES
};
bool swarm_is_on(unsigned draw);
bool swarm_is_always(unsigned draw);
enum switch_state { SWITCH_OFF, SWITCH_ON, SWITCH_ALWAYS /* in every run */ };
bool swarm_switch(const char *name,
                  enum switch_state state); /* "all": every one; false: there is none */

void swarm_draw(uint64_t seed, struct options *options);
void swarm_print(const struct options *options, FILE *to);

#endif

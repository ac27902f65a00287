/* The simulator: the volume layer, unchanged, on legs that exist in memory and in virtual time.
 *
 * One 64-bit seed is one run, to the last line of its trace.  A run has two parts: chaos, while
 * clients work and everything that the rules promise to survive happens; then all is healed, and
 * within a bound every request must be answered, every leg be in sync and all be equal.
 *
 * Of data one 32-bit stamp is kept per 512-byte block: the number of the write that put it there, 0
 * for zeros.  A buffer carries the stamp and the block's own number in 8 bytes of each block, at a
 * place that the seed draws, and zeros elsewhere.  The metadata area is kept byte by byte.
 *
 *      run.c      one run: chaos, healing, final questions
 *      swarm.c    what this seed draws; storms.c draws storms, and swarm_print.c tells it all
 *      clients.c  their requests           oracle.c  which values may a block have?
 *      process.c  start, kill, power cut   trust.c   which legs would a start trust now?
 *      grow.c     the volume grows         replace.c a disk takes another one's place
 *      members.c  legs are removed and added
 *      faults.c   what befalls the legs    medium.c  a leg's cache and stable storage
 *      tio.c      the host's table of functions, with the semantics of timed_io.h
 *      regions.c  requests in flight       buffers.c the pool's buffers
 *      picked.c   superblocks, read once   submitted.c may the volume submit this?
 *      busy.c     another kind of run: no faults, and as much work as the legs can do
 *      busy_check.c what must hold then    service.c how long the legs take then
 *      head.c     legs whose superblocks are lost
 *      force.c    forced starts, and the lines of history that they begin
 *      lull.c     without faults it must answer, and be whole again, within a bound
 *      settings.c live settings, and min_legs from one start to the next
 *      silent.c   a leg falls silent for ever, and another takes its place
 *      late.c     answers that are late, and errors
 *      torn.c     sectors that are torn as a leg loses its power
 *      drill.c    an operator keeps a leg from answering
 *      scrub.c    the legs are compared, and blocks rot unseen
 *      bad.c      recorded blocks that no leg can read
 *      inside.c   what it takes from the volume's inside
 *      coverage.c what has been seen
 *      main.c     seeds, workers, the shortest failing prefix */
#ifndef SIM_H
#define SIM_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <surefoot/volume.h>

#define SIM_US    UINT64_C(1000)
#define SIM_MS    UINT64_C(1000000)
#define SIM_S     UINT64_C(1000000000)
#define SIM_NEVER UINT64_MAX

enum {
  BLOCK = 512,
  LEGS_MAX = 5,
  CLIENTS_MAX = 512,
  CLIENTS_OF_SWARM = 16, /* but for busy runs */
  /* Of the metadata area: superblocks, probe page, maps; and the mark, which stands behind them here. */
  MAPS_END = 96 * 1024,
  SECOND_AT = MAPS_END + SF_PAGE_BYTES, /* and second copies of the maps behind that */
  META_BYTES = SECOND_AT + MAPS_END - 64 * 1024,
  EXTENTS_MOST = (MAPS_END - 64 * 1024) / SF_PAGE_BYTES * SF_MAP_EXTENTS,
  META_BLOCKS = META_BYTES / BLOCK,
  HEAD_BYTES = 64 * 1024,
  MACHINES_MAX = 8,
  REQUEST_BLOCKS_MAX = 512,
  REQUEST_BYTES_MAX = 1024 * 1024, /* of busy runs */
};

#include "sim/service.h"

#include "sim/options.h"

/* ---- events in virtual time (events.c) ---- */

enum event_kind {
  EV_FINISH,  /* region: the device has done it */
  EV_TIMEOUT, /* region: its timeout has passed */
  EV_TELL,    /* region: tell the volume its end */
  EV_CANCELED,
  EV_LANDING, /* region: a part of a write lands early */
  EV_TICK,
  EV_OPENED, /* leg: answer of an opening */
  EV_LOOKED, /* leg: answer of a look whether its disk is gone */
  EV_CLIENT,
  EV_FAULT,
  EV_CURE, /* leg */
  EV_KILL,
  EV_POWER,
  EV_STOP,
  EV_START,
  EV_OPERATOR,
  EV_GROW,
  EV_REPLACE,
  EV_MEMBERS,
  EV_PAUSE,
  EV_RESET, /* leg */
  EV_LULL,
  EV_LULL_POLL,
  EV_SETTINGS,
  EV_SCRUB,
  EV_DRILL,
  EV_SILENT,
  EV_ROT,
  EV_SERVICE, /* leg: it goes on */
  EV_BUSY_POLL,
  EV_BUSY_PAUSE, /* leg */
  EV_HEAL,
};

enum { EVENT_ONCE = 1 }; /* index of an event that does not repeat itself */

struct event {
  uint64_t at_ns, order;
  enum event_kind kind;
  uint32_t index, generation;
};

void events_reset(void);
void event_add(uint64_t at_ns, enum event_kind kind, uint32_t index, uint32_t generation);
bool event_next(struct event *event);

/* ---- legs (medium.c) ---- */

struct landed; /* a write in the cache */

struct sim_leg {
  unsigned index;
  uint64_t blocks; /* how long it is: room for so many of the volume */
  /* The current blocks, and those on stable storage; each with the number of the write. */
  uint32_t *now, *stable, *now_seq, *stable_seq;
  uint8_t *meta_now, *meta_stable;
  uint32_t *meta_now_seq, *meta_stable_seq;
  uint8_t *head; /* what stood there before it was overwritten; NULL: it was not */
  uint32_t seq;
  struct landed *cache, **cache_tail; /* completed and not flushed, in order */
  unsigned bad_now, bad_stable;       /* blocks that must not be trusted, see oracle.c */
  bool maps_changed;                  /* on stable storage, since intent was read from there */
  uint8_t intent[EXTENTS_MOST];       /* a byte for each extent */
  bool maps_good;                     /* every page of it is valid */
  /* As the leg's own maps have it, now and on stable storage: what it holds there means nothing. */
  bool unwritten[2][EXTENTS_MOST];
  bool lost_flush;     /* it dropped data of a flush, since it came into the set */
  uint8_t *unreadable; /* blocks that answer EIO until they are written */
  unsigned unreadable_n;
  /* Blocks that read otherwise than was written, unseen; `now` and `stable` have the written
   * values.  Since when it is so, or is no more, in steps. */
  bool *rotten;
  uint64_t *rot_changed;

  /* faults */
  uint64_t stalled_until_ns; /* requests of stalled_kinds end no earlier; SIM_NEVER: until cured */
  unsigned stalled_kinds;    /* bit: enum sf_tio_op */
  unsigned slow;             /* latency times this */
  unsigned error_permille, error_kinds;
  unsigned errors_left; /* then it is well again; 0: until cured */
  int error;
  bool error_of_fua;   /* flushes, and writes that carry one */
  uint64_t error_from; /* it meets what lies there or behind */
  bool gone;
  uint32_t frozen_device;  /* a drill keeps it from answering, that generation; 0: none */
  unsigned lose_next;      /* so many regions hang by themselves, */
  uint64_t lose_for_ns;    /* so long; SIM_NEVER: until cured */
  uint64_t lose_record_ns; /* its next superblock write hangs so long; 0: it does not */
  uint64_t lose_maps_ns;   /* the same of its next write of the maps */
  uint64_t cured_ns;
  uint64_t fault_ended_ns;
  uint64_t timed_out_ns; /* when something there was last late */
  uint64_t heard_ns;     /* when it was last told that something was done there in time */
  uint32_t cure;         /* generation of the fault in force */
  uint32_t device;       /* generation: each opening makes a new one */
  bool device_dead;      /* gone_error from now on */
  uint64_t dying_ns;     /* which takes so long */
  int regions;           /* list of regions in flight, ghosts included: head, or -1 */
  unsigned regions_running;
};

/* A device of the host's table is a leg and the number of its opening. */
struct sim_device {
  unsigned leg;
  uint32_t generation;
};

void medium_init(struct sim_leg *leg, unsigned index);
void medium_free(struct sim_leg *leg);
void medium_swap(struct sim_leg *a, struct sim_leg *b); /* no caches */
/* data NULL: zeros.  part_permille: of the blocks that land. */
void medium_write(struct sim_leg *leg, uint64_t offset, uint64_t length, const void *data, bool fua,
                  unsigned part_permille);
void medium_read(const struct sim_leg *leg, uint64_t offset, uint64_t length, void *data);
void medium_flush(struct sim_leg *leg, uint32_t until);
void medium_lose_flush(struct sim_leg *leg, uint32_t until); /* a failed flush: never stable now */
bool medium_is_unreadable(const struct sim_leg *leg, uint64_t offset, uint64_t length);
void medium_spoil(struct sim_leg *leg, uint64_t block, bool unreadable);
void medium_mend(struct sim_leg *leg); /* every sector can be read again */
void medium_lose_cache(struct sim_leg *leg, unsigned keep_permille);
bool medium_has_intent(struct sim_leg *leg, uint64_t extent); /* on stable storage */
/* As a start reads it that trusts this leg alone. */
uint32_t medium_value(const struct sim_leg *leg, uint64_t block, bool stable);
void medium_maps_moved(struct sim_leg *leg); /* its unwritten extents may be others now */
bool medium_maps_are_good(struct sim_leg *leg);
bool medium_second_is_sound(const struct sim_leg *leg, uint64_t page); /* of the maps */
void medium_flip(struct sim_leg *leg, uint64_t page); /* a byte of that page rots */
void medium_wipe(struct sim_leg *leg);                /* another disk in its place, full of zeros */
void medium_blank(struct sim_leg *leg,
                  struct sf_superblock *sb); /* as sf_leg_discard() leaves it */
/* All that is before the maps is overwritten; and is brought back as it was, unless the leg was made anew. */
void medium_behead(struct sim_leg *leg);
void medium_give_head_back(struct sim_leg *leg);
bool medium_is_clean(const struct sim_leg *leg);

/* ---- sectors torn as a leg loses its power (torn.c) ---- */

void torn_start(void);
void torn_reset(struct sim_leg *leg, unsigned keep_permille); /* it alone loses its cache */
bool torn_is(void);                                           /* the sector that lands now */
uint32_t torn_value(uint64_t block, uint32_t value, uint32_t over);
void torn_lands(struct sim_leg *leg, uint64_t block, bool torn);
void torn_page(uint64_t offset); /* some sectors of that page have landed, and others not */

#include "sim/picked.h"
#include "sim/silent.h"
#include "sim/tio.h"

/* ---- drills (drill.c) ---- */

void drill_start(void);
void drill_event(void);
void drill_heal(void);         /* the one that lasts ends */
void drill_thaw(unsigned leg); /* its device is given back */
void drill_process_ended(void);

/* ---- scrubs (scrub.c) ---- */

void scrub_start(void);
void scrub_event(const struct event *event);
void scrub_check(void); /* after each step */
void scrub_rots(struct sim_leg *leg, uint64_t block, bool rotten);
void scrub_swapped(struct sim_leg *leg, struct sim_leg *taken_out);

/* ---- blocks (oracle.c) ---- */

/* The stamp of block i of a buffer. */
void stamp_put(void *data, unsigned i, uint32_t value, uint64_t block);
void stamp_rot(void *data, unsigned i, uint64_t block); /* it is read as something else */
bool stamp_is_rotten(const void *data, unsigned i);
/* Its own number must be that of the place where it lands, or from where it was read. */
uint32_t stamp_get(const void *data, unsigned i, uint64_t block);

void oracle_init(void);
void oracle_free(void);
void oracle_write_begin(uint32_t id, bool zero, uint64_t first, unsigned n);
void oracle_write_undone(uint32_t id); /* a trim that was left undone */
void oracle_write_end(uint32_t id, bool good, bool fua);
void oracle_read_end(uint64_t began, uint64_t first, unsigned n, const void *data);
void oracle_take_note(void); /* the operator knows that unflushed data may be lost */
void oracle_flush_end(uint64_t began, bool good);
/* What a torn sector holds. */
uint32_t oracle_tear(uint64_t block, uint32_t value, uint32_t over);
uint32_t oracle_torn_alone(uint32_t value); /* the same, and no reader may see it */
void oracle_killed(void);
void oracle_power_cut(void);
void oracle_forced(unsigned legs);                        /* what these hold is the truth now */
void oracle_recheck(struct sim_leg *leg, uint64_t block); /* its contents there have changed */
uint64_t oracle_step(void);
void oracle_explain(uint64_t block, char *text, size_t size);
bool oracle_was_written(uint64_t extent);
/* -1: but for these ranges there is none. */
int64_t oracle_bad_block(const struct sim_leg *leg, bool stable, const struct sf_bad *but);
/* The same of what the leg's own maps call equal on all legs. */
int64_t oracle_bad_without_intent(struct sim_leg *leg, bool stable, const struct sf_bad *but);
bool oracle_has_bad(const struct sim_leg *leg, bool stable, const struct sf_bad *but);

/* ---- clients, faults, process, trust ---- */

struct client {
  struct sf_request request;
  bool busy;
  uint32_t id;    /* of its write */
  uint64_t began; /* oracle step */
  uint64_t began_ns;
  uint64_t troubles; /* sim.troubles then */
  bool timely;       /* nothing was in its way when it came: its deadline is checked */
  unsigned behind;   /* so many that overlap, one behind the other, were to end before it */
  bool gave_up;
};

void clients_start(void);
void client_event(unsigned index);
void client_answered(struct sf_request *request);
void clients_orphaned(void);
unsigned clients_busy(void);
uint64_t clients_oldest_read(void);

void faults_start(void);
void fault_nemesis(unsigned leg);      /* a metadata write to it, or it comes back */
void fault_behind(struct region *r);   /* to a leg that catches up */
void fault_promotion(unsigned leg);    /* the record that names it is on its way */
void fault_keeps_record(unsigned leg); /* its next superblock takes long */
void fault_newcomer(void);             /* a leg that lacks everything is opened */
void fault_newcomer_returns(void);     /* and one catches up */
void fault_reset(unsigned leg, uint32_t life);
void fault_strike(bool once);
void fault_cure(unsigned leg);
bool fault_is_free(unsigned leg); /* of what befell it; what it was given may still hang */
bool fault_is_sound(unsigned leg);

void process_event(const struct event *event);
void process_discard(unsigned leg);
void process_fail(unsigned leg);
void process_return(unsigned leg);
void process_suspended(void); /* after each step: requests wait for legs */
bool process_leg_is_out(unsigned leg);
unsigned process_leg_to_change(
    void); /* a leg that is out, if there is one: only such can be replaced or removed */
void process_host(struct sf_volume_host *host); /* host.c: its part of the table */
void process_kill(void);
void process_power_cut(void);
void process_start_schedules(void);
bool process_stopped(void);

void trust_check(void);
void trust_changed(unsigned leg);
void trust_reset(void);
void found_of(unsigned leg, bool stable, bool with_in_flight, struct sf_leg_found *found);

void replace_new_uuid(struct sf_uuid *uuid);
void replace_free(void);
void replace_disk(unsigned leg, const struct sf_uuid *uuid);
void replace_opens(unsigned leg, enum sf_leg_blank blank);
void replace_begin(unsigned leg);
void replace_acts(void);
void replace_is_durable(unsigned leg);
void replace_before_start(unsigned leg);
void replace_assembled(const struct sf_assembly *assembly);
void replace_started(void);
bool replace_mend(unsigned leg);
bool members_has(unsigned leg); /* else its place is empty */
void members_init(void);
void members_add(void);
void members_act(void);
void members_removed(unsigned leg);
void members_added(unsigned leg);
void members_assembled(const struct sf_assembly *assembly);
void members_started(void);
void grow_begin(void);
void grow_ended(void);
void grow_started(void);
void grow_assembled(const struct sf_superblock *base);
void grow_leg_opened(unsigned leg);

bool force_wants(void);
bool force_forbids(const struct sf_leg_found *found);
void force_assembled(const struct sf_assembly *assembly);
void force_started(void);

/* ---- superblocks that are lost (head.c) ---- */

void head_before_start(unsigned leg);
/* The assembly of these, not forced: what does it owe to marks? */
void head_has_no_vote(const struct sf_leg_found *found, bool of_file,
                      const struct sf_assembly *assembly);
void head_assembled(const struct sf_leg_found *found);
bool force_is_of_line(const struct sf_leg_found *found);
void lull_start(void);
void lull_event(const struct event *event);
void lull_is_over(void);
uint64_t lull_answer_bound(void);

#include "sim/busy.h"
#include "sim/settings.h"

/* ---- inside.c ---- */

void inside_destroy(struct sf_volume *volume);
/* Serving, durable, converged, no waiting op, no page of the maps that is tried again. */
bool inside_is_settled(struct sf_volume *volume);
bool inside_is_unwritten(const struct sf_volume *volume, uint64_t extent);
bool inside_is_serving(const struct sf_volume *volume);
bool inside_is_suspended(const struct sf_volume *volume);
bool inside_is_copying(const struct sf_volume *volume);
bool inside_flush_failed(const struct sf_volume *volume);
unsigned inside_min_legs(const struct sf_volume *volume);
void inside_look_sooner(struct sf_volume *volume, uint64_t ns);
bool inside_has_newer_claim(const struct sf_volume *volume, unsigned leg);
bool inside_is_stuck(struct sf_volume *volume);
uint64_t inside_stale_extents(const struct sf_volume *volume, unsigned leg);
bool inside_lacks_all(const struct sf_volume *volume, unsigned leg);
uint64_t inside_unconverged_extents(const struct sf_volume *volume);
bool inside_leg_is_out(const struct sf_volume *volume, unsigned leg); /* durably, and idle */
bool inside_is_needed(const struct sf_volume *volume, unsigned leg);
bool inside_leg_is_open(const struct sf_volume *volume, unsigned leg);
bool inside_is_named(const struct sf_volume *volume, unsigned leg); /* by a record that may count */
bool inside_is_member(const struct sf_volume *volume, unsigned leg);
/* The legs that an answer of this write needs, and so its intent; of the leg, not of the volume. */
unsigned inside_needs(const struct sf_volume *volume, uint64_t offset, uint64_t length);
const struct sf_uuid *inside_lineage(const struct sf_volume *volume);
const struct sf_superblock *inside_identity(const struct sf_volume *volume);
void inside_check_start(const struct sf_volume *volume);
void inside_check_states(const struct sf_volume *volume);
void inside_check_all(struct sf_volume *volume); /* what must hold after each of its steps */
bool inside_record_is_durable(const struct sf_volume *volume);
bool inside_is_clean(const struct sf_volume *volume); /* by the durable record */
void inside_check_alike(const struct sf_volume *volume);
const struct sf_bad *inside_bad(const struct sf_volume *volume);

/* ---- bad.c ---- */

void bad_step(void);
void bad_written(uint64_t first, unsigned n);
void bad_started(const struct sf_bad *list);
bool bad_is_in(const struct sf_bad *list, uint64_t block);
const struct sf_scrub_status *inside_scrub(const struct sf_volume *volume); /* but for ages */
void inside_note_unwritten(const struct sf_volume *volume, bool of_scrub, uint64_t *unwritten);
unsigned inside_serving(const struct sf_volume *volume);
unsigned inside_left_out(const struct sf_volume *volume);
enum sf_leg_state inside_leg_state(const struct sf_volume *volume, unsigned leg);
void inside_describe(struct sf_volume *volume, char *text, size_t size);

/* ---- the run ---- */

#include "sim/counts.h"

extern const char *const sim_count_name[SIM_COUNT_KINDS];
#define COUNT(name) (sim.count[COUNT_##name]++)

struct sim {
  uint64_t seed, random;
  uint64_t now_ns, steps;
  struct options options;
  uint64_t blocks; /* of the volume */
  /* Told to clients, so no start may have less; asked for, so a start may have so much; the most
   * that there is memory for. */
  uint64_t blocks_formatted, blocks_promised, blocks_known, blocks_room;
  uint64_t extent_blocks;
  unsigned extent_shift; /* extent_blocks is 2 to that */
  uint64_t data_offset;
  struct sf_config config;
  struct sf_superblock format; /* of a new leg, but for its index */
  struct sim_leg leg[LEGS_MAX];
  struct sim_leg other_disk[LEGS_MAX]; /* of each leg, the media alone */
  bool has_other_disk[LEGS_MAX];
  /* Durable, so clients may rely on it; asked for last; of the start under way. */
  struct sf_uuid uuid_promised[LEGS_MAX], uuid_asked[LEGS_MAX], uuid_taken[LEGS_MAX];
  /* Empty places: as clients' starts may rely on it, as was asked for last, as the start has
   * them. */
  unsigned removed_promised, removed_asked, removed_taken;
  struct client client[CLIENTS_MAX];

  struct sf_volume *volume; /* NULL: no process */
  uint32_t life;
  bool stopping;
  bool grown; /* it has said so, and the clients have not looked yet */
  bool healing;
  bool lull; /* no faults for a while: see lull.c */
  struct silent silent;
  bool suspension_seen; /* the operator has acted on it */
  uint64_t lull_well_ns, lull_since_ns, lulls;
  uint64_t scrub_begun_step; /* 0: none is under way */
  uint64_t scrub_told_bytes;
  uint32_t scrub_life; /* the process that does it */
  uint64_t tick_at_ns;
  uint32_t tick_generation;
  bool opening[LEGS_MAX], reopening[LEGS_MAX]; /* the latter beside a dead device */
  struct {
    uint64_t look; /* 0: none is under way */
    bool gone;
  } looking[LEGS_MAX];
  /* What the operator wants of its disk, as far as the volume agreed; as the opening under way does. */
  enum sf_leg_blank blank[LEGS_MAX], blank_now[LEGS_MAX];
  /* Lines of history: clients rely on this one; a forced start from these legs began another, and
   * it is not known yet which of the two lives. */
  struct sf_uuid lineage;
  bool force_pending, was_forced;
  unsigned forced_starts;                   /* so far, whatever became of them */
  unsigned forced_legs;                     /* of the forced starts that are not decided */
  struct sf_uuid forced_uuid[LEGS_MAX];     /* their disks */
  unsigned taken;                           /* legs that the last start trusts */
  struct sf_superblock base;                /* of the last start */
  uint64_t paused_from_ns, paused_until_ns; /* the process gets no CPU */
  bool power_is_failing;
  uint8_t *recorded;  /* blocks that a volume has called bad, and that were not written since */
  bool maps_were_bad; /* a page counted as all set, and was written again as such */

  uint64_t ops_begun, ops_answered;
  uint64_t troubles; /* counts faults: anything that may excuse an error or a delay */
  uint64_t answered_ns;
  uint32_t next_id;
  unsigned buffers_used;
  enum sf_leg_state leg_state[LEGS_MAX]; /* as told by events */
  uint64_t in_sync_since_ns[LEGS_MAX];
  struct {
    bool left, stays;
  } faulty[LEGS_MAX]; /* see process.c */
  bool latencies_are_short;
  uint64_t healing_since_ns;
  FILE *trace;

  uint64_t count[SIM_COUNT_KINDS];
};
extern struct sim sim;

#define TRACE(...)                                                                                 \
  do {                                                                                             \
    if (sim.trace != NULL)                                                                         \
      sim_trace(__VA_ARGS__);                                                                      \
  } while (0)

void sim_trace(const char *format, ...) __attribute__((format(printf, 1, 2)));
_Noreturn void sim_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Nothing befalls any leg now. */
static inline bool
sim_is_calm(void) {
  return sim.healing || sim.lull || sim.silent.calm;
}

void sim_settings_changed(void);
void sim_run(uint64_t seed, uint64_t ops_most, FILE *trace);

uint64_t random_stream(uint64_t number); /* the state of one beside the run's own */
uint64_t random_of(uint64_t *state);
uint64_t random_next(void);
uint64_t random_below(uint64_t n);
bool random_chance(unsigned permille);
uint64_t random_around(uint64_t mean); /* exponential, at least 1 */

#endif

/* A volume on legs in memory, with a host by hand: time passes and regions end only when the test
 * says so, so that one interleaving can be written down.  Chance has its place in tests/sim. */
#ifndef TEST_VOLUME_RIG_H
#define TEST_VOLUME_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "volume/state.h"

enum { RIG_LEGS = SF_LEGS_MAX, RIG_REGIONS = 8192 };

struct rig_region {
  bool used, timed_out, canceled, canceled_told;
  unsigned leg, index;
  enum sf_tio_op op;
  unsigned flags;
  uint64_t offset, length, since_ns, deadline_ns, handle;
  struct sf_tio_buffer *buffer;
  sf_tio_event_fn *notify;
  void *context;
};

struct rig {
  struct sf_config config;
  struct sf_superblock format;
  struct sf_volume *volume;
  unsigned legs;
  uint8_t *leg[RIG_LEGS]; /* what it holds, metadata included */
  uint64_t leg_bytes;
  uint32_t block_bytes;                /* of the next start; 0: 512 */
  struct sf_leg_found found[RIG_LEGS]; /* when it was last opened */
  bool absent[RIG_LEGS];

  uint64_t now_ns, tick_ns, handles;
  bool fua;                /* of the requests that are submitted next */
  bool unmap, trim;        /* the same */
  struct sf_holder holder; /* of the next start; since_s 0: none */
  bool takes;              /* the same */
  bool force;              /* the same: by force */
  bool may_refuse;         /* the same: it may be refused, and `refused` says so */
  bool refused;
  unsigned unreadable; /* of the next start: legs with an unreadable newest superblock; bit i */
  uint64_t asked_ns;   /* of the requests that are submitted next; 0: when they are */
  struct rig_region region[RIG_REGIONS];
  unsigned regions; /* none beyond was ever used */
  /* NULL: nothing is held back.  Else whether this region is not to end now. */
  bool (*holds)(const struct rig *rig, const struct rig_region *region);
  int (*fails)(const struct rig *rig,
               const struct rig_region *region); /* NULL: none; 0 or -errno */
  int buffers;                                   /* how many more there are; -1: no limit */
  unsigned full;                                 /* legs that have no room: bit i */
  unsigned cannot_punch;                         /* the same */
  unsigned gone;                        /* legs without their disk, which has left: bit i */
  unsigned frozen;                      /* by a drill: bit i */
  unsigned asked_with_lock;             /* so often, whether a disk is gone */
  void (*while_asked)(struct rig *rig); /* the kernel, which does not answer until then; or NULL */
  unsigned called_back;                 /* legs of which all was to be cancelled: bit i */
  /* Looks whether the disk of a faulty leg is gone: answered by the next step, or by rig_looked()
   * alone; with what was so when the look began. */
  struct rig_look {
    uint64_t look; /* 0: none is under way */
    bool gone;
  } look[RIG_LEGS];
  bool looks_hang;
  unsigned looks; /* begun */
  bool cannot_open;
  int refuses;                /* what submissions are answered with at once; 0: they are taken */
  uint64_t turn_ns[RIG_LEGS]; /* when the leg last ended one in turn; 0: never */
  bool windows;               /* legs have them: else they take all at once */
  unsigned opening, opened;   /* bit i: an opening is asked for; the leg's device is open */
  enum sf_leg_blank blank[RIG_LEGS]; /* as that opening wants it */
  unsigned reopening;                /* bit i: asked for, beside the device in use */
  void (*event)(const struct sf_volume_event *event); /* NULL: events are dropped */
};

struct rig_request {
  struct sf_request request;
  struct rig *rig;
  bool done;
  uint64_t done_ns;
};

/* Legs with all in sync, stopped clean; nothing runs yet. */
void rig_init(struct rig *rig, unsigned legs, unsigned min_legs, uint64_t extent_bytes,
              uint64_t extents);
/* Two copies or more, each full of other bytes, as create leaves legs that cannot be zeroed quickly. */
void rig_init_unwritten(struct rig *rig, unsigned legs, uint64_t extent_bytes, uint64_t extents);
void rig_free(struct rig *rig);

/* The deadline with which a leg has this timeout (R4): what tests reckon with.  rig_init sets that
 * of 100 ms, for flushes of 1 s. */
uint64_t rig_deadline(uint64_t timeout_ns);
/* What is held back makes no leg late, and nor does a slow leg. */
void rig_never_late(struct sf_config *config);
/* Assembles the legs and starts; rig_start_fully also goes on until the volume serves. */
void rig_start(struct rig *rig);
void rig_start_fully(struct rig *rig);
/* With the legs that are there, as far as the first turn; ended again. */
bool rig_would_start(struct rig *rig);
void rig_kill(struct rig *rig); /* the process ends; requests in flight never land */

/* Ends regions that are not held back, until nothing more happens. */
void rig_run(struct rig *rig);
/* The same while time passes: timeouts, ticks. */
void rig_pass(struct rig *rig, uint64_t ms);

void rig_submit(struct rig *rig, struct rig_request *request, enum sf_request_kind kind,
                uint64_t offset, uint64_t length, uint8_t fill);
void rig_put(struct rig_request *request); /* its buffer */
/* Until the leg is the one that joins, or is not any more; so long it took. */
uint64_t rig_until_joining_ms(struct rig *rig, unsigned leg, bool joins);
/* The leg hangs while the first extents are written, and catches up; it is given next to nothing as long
 * as the rate is that of the rig, and afterwards copies go on with that rate at least. */
void rig_lacks(struct rig *rig, unsigned leg, unsigned extents);
void rig_copies_may_go(struct rig *rig, uint64_t least);
/* Writes a block into each, so that none waits for its intent later. */
void rig_touch_extents(struct rig *rig, uint64_t extents, uint64_t extent_bytes);

/* Answers the opening that the volume asked for, with the superblock as it stands on the leg. */
void rig_open(struct rig *rig, unsigned leg);
/* The same for an opening beside a device that is dead; what the volume answered. */
int rig_reopen(struct rig *rig, unsigned leg);
void rig_looked(struct rig *rig, unsigned leg);
void rig_cannot_open(struct rig *rig, unsigned leg, int error, const char *why);

unsigned rig_count(const struct rig *rig,
                   bool (*which)(const struct rig *, const struct rig_region *));
void rig_read_superblock(const struct rig *rig, unsigned leg, struct sf_superblock *sb);
/* As sf_leg_discard() leaves a disk, given a superblock of the volume: it names all others. */
void rig_empty_leg(struct rig *rig, unsigned leg, const struct sf_superblock *reference);
enum sf_leg_state rig_state(const struct rig *rig, unsigned leg);
/* As `holds`: a region ends a millisecond after its submission at the earliest. */
/* For `holds`: the leg ends its data regions of one kind one at a time, in order, each after so
 * much time. */
bool rig_in_turn(struct rig *rig, const struct rig_region *region, uint64_t takes_ns);
/* Of the leg's data regions of all kinds: with it, the leg has one queue. */
bool rig_is_oldest(const struct rig *rig, const struct rig_region *region);
bool rig_takes_a_moment(const struct rig *rig, const struct rig_region *region);
bool rig_is_superblock(const struct rig_region *region); /* a write of one */
bool rig_is_map(const struct rig_region *region);
bool rig_is_data(const struct rig *rig, const struct rig_region *region);

#endif

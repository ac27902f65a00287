/* The volume: the policy of the mirror.  Which legs are in sync, when a leg is late, what is
 * durable before what is answered (R1-R16 of docs/DESIGN.md).
 *
 * It does no I/O of its own, reads no clock and starts no thread: a host calls it with events and
 * the time, and it acts through the host's table of functions.  The real host is serve.h; the
 * simulator is the other.
 *
 * The life of a request
 *
 *      sf_volume_submit() ──► waiting   an earlier overlapping request runs (R6), its extent is
 *                                       being converged (R11), or too few legs are there
 *                         ──► running   sent to the legs
 *                         ──► done      told once; the request belongs to the caller again
 *
 * The life of a leg (R14)
 *
 *      in-sync ──► late ──► probing ──► catching-up ──► in-sync
 *         │          ▲         │             │
 *         │          └─────────┴─────────────┘  a miss
 *         └──► faulty (errors, operator)     missing (cannot be opened) ──► catching-up
 *
 * Threads.  Every function may be called from any thread at any time; the volume has one lock and
 * holds it for decisions only.  The host's functions are called with that lock held, unless it is
 * said otherwise: they must not block and must not call the volume.
 *
 * What is told.  A request's `done` and the host's `event` are called without the lock, one at a
 * time, all in the order in which they were decided: no answer or event overtakes another.  The
 * thread is any that is in a call of the volume; it tells what others have decided as well, for a
 * bounded time where one of these is there to go on.  So a call may have returned before what it has
 * decided is told, and what is told may come before the call that it belongs to has returned, in
 * another thread or in this one.  Both may call the volume; what such a call decides is told after
 * they have returned.  They must not block: all others wait to be told behind them.  Nor may they
 * take a lock with which any thread calls the volume, or wait for what another of them tells. */
#ifndef SUREFOOT_VOLUME_H
#define SUREFOOT_VOLUME_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

#include <surefoot/assembly.h>
#include <surefoot/config.h>
#include <surefoot/ondisk.h>
#include <surefoot/timed_io.h>

enum {
  SF_OPS_MAX = 512,                 /* requests and copies in flight; more wait their turn */
  SF_COPY_PIECE_BYTES = 256 * 1024, /* what resync and convergence hold at a time (R15) */
  SF_LOOK_MS = 2000 /* how often a superblock of each leg is read: whether it is still ours */
};

/* ---- requests ---- */

enum sf_request_kind { SF_REQ_READ, SF_REQ_WRITE, SF_REQ_ZERO, SF_REQ_FLUSH };

/* Caller-owned; zero it, fill the first part, submit, leave it alone until done. */
struct sf_request {
  enum sf_request_kind kind;
  uint64_t offset; /* bytes into the volume, aligned to the volume's block size */
  uint64_t length; /* READ, WRITE: at most the pool's largest buffer; FLUSH: 0 */
  bool fua;
  bool may_unmap; /* ZERO */
  bool is_trim;   /* ZERO: with may_unmap; it may be left undone, on all legs alike (R16) */
  /* The caller's, put by the caller.  WRITE: the data.  READ: room for it; another buffer may stand
   * here when it is done (a hedged read answered first), and the caller puts that one. */
  struct sf_tio_buffer *buffer;
  /* Called once, in any thread ("What is told"); the volume does not touch the request from there
   * on, and it may be submitted again. */
  void (*done)(struct sf_request *request);
  int error;   /* 0 or -errno, set before done */
  bool undone; /* the trim was left undone; set before done */
  void *host;  /* the host's own */
  /* When its client asked for it: fail_timeout counts from here.  0: when it was submitted. */
  uint64_t asked_ns;

  struct sf_request *next; /* the volume's own, as the rest */
  uint64_t since_ns, order;
  /* fail_timeout counts from here: it waited for zeros, and some were written.  0: from when it was asked. */
  uint64_t zeroed_ns;
  bool internal;
};

/* ---- what the host provides ---- */

struct sf_volume_event;

/* What a disk is made before it is opened as a leg (sf_leg_discard of legfile.h). */
enum sf_leg_blank {
  SF_BLANK_NOT,
  SF_BLANK_OWN, /* an empty member, if it is the disk that the volume knows as this leg */
  SF_BLANK_NEW, /* an empty member: it takes the leg's place */
};

struct sf_volume_host {
  /* As sf_tio(), never SYNC, always with `buffer`: notify comes later, never from inside. */
  int (*submit)(void *ctx, const struct sf_tio_control *control,
                const struct sf_tio_region *regions, unsigned n, uint64_t *handle);
  struct sf_tio_canceled (*cancel_by_device)(void *ctx, struct sf_tio_device *device);
  struct sf_tio_canceled (*cancel_by_handle)(void *ctx, uint64_t handle);
  /* Does a ZERO with MAY_UNMAP give space back there, rather than write?  NULL: everywhere. */
  bool (*device_punches)(void *ctx, struct sf_tio_device *device);
  /* Has its disk left the machine, whatever its answers say (a dead one answers EIO, or ENOSPC)?
   * Asked without the volume's lock, by the thread that has the answer: bounded.  NULL: none has. */
  bool (*device_is_gone)(void *ctx, struct sf_tio_device *device);
  /* May be NULL: then there are no drills.  sf_tio_device_freeze(), or thaw. */
  void (*device_freeze)(void *ctx, struct sf_tio_device *device, bool frozen);
  /* May be NULL: none has left.  The same of a leg that is faulty, asked now and then, however long the answer takes:
   * answer with sf_volume_leg_looked(), never from inside.  -errno: it cannot be asked now, and there will be no
   * answer.  The device may be given back before the answer. */
  int (*look_at_leg)(void *ctx, unsigned leg, struct sf_tio_device *device, uint64_t look);
  /* Without waiting; NULL when the pool has none. */
  struct sf_tio_buffer *(*buffer_get)(void *ctx, size_t len);
  void (*buffer_put)(void *ctx, struct sf_tio_buffer *buffer);
  /* Call sf_volume_tick() at at_ns or soon after.  A later call replaces an earlier one. */
  void (*timer)(void *ctx, uint64_t at_ns);
  /* Try to open this missing leg; answer with sf_volume_leg_opened(), never from inside.  -errno:
   * it cannot even be tried now, and there will be no answer.  Until the answer the leg keeps its
   * uuid and its path. */
  int (*open_leg)(void *ctx, unsigned leg, enum sf_leg_blank blank);
  /* May be NULL.  The leg is in sync, cannot be spared, and its device answers nothing but errors:
   * open what its path leads to, beside the device in use, and answer with sf_volume_leg_opened(),
   * never from inside.  -errno: it cannot be tried now, and there will be no answer. */
  int (*reopen_leg)(void *ctx, unsigned leg);
  /* Nothing of the leg runs any more, or it was opened and refused: its device will not be used
   * again. */
  void (*close_leg)(void *ctx, unsigned leg);
  /* May be NULL: none is.  Is this a process of this machine that has ended? */
  bool (*holder_is_gone)(void *ctx, const struct sf_holder *holder);
  /* For the operator; may be NULL.  Without the lock ("What is told").  The event and its texts are
   * there until it returns. */
  void (*event)(void *ctx, const struct sf_volume_event *event);
  void (*trace)(void *ctx, const char *line); /* every state move; may be NULL */
};

/* ---- life ---- */

struct sf_volume;

struct sf_volume_leg {
  struct sf_tio_device *device; /* NULL: absent */
  struct sf_superblock sb;      /* of that leg, when the device is there */
  uint64_t bytes;               /* of the whole leg */
  /* Its maps as they stand on it (SF_MAP_PAGE_OFFSET(0) on); a page that is not here counts as all
   * set.  Asked of current legs only, and not after sf_volume_create. */
  const uint8_t *maps;
  uint64_t map_pages;
  const uint8_t *second; /* copies of them, in the same order; NULL: they do not count */
};

struct sf_volume_params {
  const struct sf_config *config;     /* copied */
  const struct sf_assembly *assembly; /* may_start must be true */
  uint32_t block_bytes;               /* the unit that every leg can write, later legs too */
  struct sf_volume_leg leg[SF_LEGS_MAX];
  /* This server: stands in the claim. since_s 0: none, and the legs are not looked at for other
   * holders. */
  struct sf_holder holder;
  /* The legs are taken from another holder, which must have time to find our claim before anything
   * else is done. */
  bool takes;
};

int sf_volume_create(const struct sf_volume_params *params, const struct sf_volume_host *host,
                     void *ctx, struct sf_volume **volume);

/* The claim, then the first record of the new term (R12).  Requests wait until it is durable. */
void sf_volume_start(struct sf_volume *volume, uint64_t now_ns);

/* R-rules decide when `done` comes; it may come before this has returned. */
void sf_volume_submit(struct sf_volume *volume, struct sf_request *request, uint64_t now_ns);

/* The caller does not want the answer any more: `done` comes next, with -ESHUTDOWN, unless an answer
 * has been found already.  A write given up on may or may not have happened. */
void sf_volume_give_up(struct sf_volume *volume, struct sf_request *request, uint64_t now_ns);

void sf_volume_tick(struct sf_volume *volume, uint64_t now_ns);

/* The client's `late` function (timed_io.h) must hand its events here: they lift the fence. */
void sf_volume_late(const struct sf_tio_event *event);

/* The answer to host.open_leg and host.reopen_leg: 0 with device, sb and the leg's size, or -errno
 * and why in words, for the operator (NULL: nothing to say).  After -errno it is asked for again
 * with the same sf_leg_blank; but -EEXIST to SF_BLANK_OWN says that it is not the leg's own disk:
 * then the discard is given up, and the leg is faulty.
 * 0: the device is the leg's from now on, and what it had before is not used any more.  -errno: it
 * is not used; close_leg has been called for it unless it was opened beside another. */
int sf_volume_leg_opened(struct sf_volume *volume, unsigned leg, struct sf_tio_device *device,
                         const struct sf_superblock *sb, uint64_t bytes, int error, const char *why,
                         uint64_t now_ns);

/* The answer to host.look_at_leg: the disk that was looked at has left the machine, or not.  It may come at any time,
 * also when the leg is another one by then. */
void sf_volume_leg_looked(struct sf_volume *volume, unsigned leg, uint64_t look, bool gone,
                          uint64_t now_ns);

/* A clean stop: no new requests (-ESHUTDOWN), flush, and the record that says clean, when no leg
 * holds a write of ours any more, given up on or not.  Bounded: a leg that does not answer within
 * its timeouts is demoted first, and after the flush deadline plus twice the write deadline the stop
 * ends as it stands: unclean, the holder still named, and nothing lost. */
void sf_volume_stop(struct sf_volume *volume, uint64_t now_ns);
bool sf_volume_stopped(struct sf_volume *volume);

/* Returns when all has been told that was decided before, and those functions have returned: after
 * it the caller may free what they use.  Not from inside one of them. */
void sf_volume_wait_told(struct sf_volume *volume);

/* As that; and no other call may be under way, or be made.  -EBUSY while the kernel holds regions
 * of it. */
int sf_volume_destroy(struct sf_volume *volume);

/* ---- operator ---- */

/* Live settings only are taken over; the rest of config must be as it was (-EINVAL). */
int sf_volume_configure(struct sf_volume *volume, const struct sf_config *config, uint64_t now_ns);
void sf_volume_get_config(struct sf_volume *volume, struct sf_config *config);

/* All of them: -ENOENT where there is no such leg, or not any more. */

/* Takes a leg out: -EBUSY if too few would stay in sync, or a start still claims its term. */
int sf_volume_leg_fail(struct sf_volume *volume, unsigned leg, uint64_t now_ns);
/* Takes a faulty or missing leg back: through missing or probing to catching-up.  Of a leg in sync
 * in which a flush failed it takes note: what that flush was to make stable may be lost, and
 * flushes are answered again. */
int sf_volume_leg_return(struct sf_volume *volume, unsigned leg, uint64_t now_ns);
/* Gives up what a faulty or missing leg holds: the next opening makes its disk an empty member
 * (SF_BLANK_OWN; a new disk that was not opened yet stays SF_BLANK_NEW).  -EBUSY while it is in
 * use, or being opened; -EAGAIN while a start still claims its term, -ESHUTDOWN in a stop. */
int sf_volume_leg_discard(struct sf_volume *volume, unsigned leg, uint64_t now_ns);

/* Gives a faulty or missing leg's place to another disk: from now on the volume knows the leg under
 * this uuid and path, and the disk that it had is foreign.  SF_EVENT_LEG_REPLACED tells when that
 * is durable, and not before then is the new disk opened (SF_BLANK_NEW): a crash before leaves the
 * leg as it was.  path NULL: as it was.  -EBUSY: in use, or another such change is under way. */
int sf_volume_leg_replace(struct sf_volume *volume, unsigned leg, const struct sf_uuid *uuid,
                          const char *path, uint64_t now_ns);
/* Gives the volume one more leg, empty and missing: in the lowest empty place, or in a new one;
 * *leg: which.  min_legs stays.  SF_EVENT_LEG_ADDED tells when that is durable; a crash before
 * leaves the volume without it.  -EEXIST: there is a leg of that name; -ENOSPC: no place; -ENOMEM;
 * -EBUSY. */
int sf_volume_leg_add(struct sf_volume *volume, const char *name, const char *path,
                      const struct sf_uuid *uuid, unsigned *leg, uint64_t now_ns);
/* Where the next leg would be added: a place, or -ENOSPC. */
int sf_volume_free_place(struct sf_volume *volume);
/* Takes a faulty or missing leg out for good; its place is empty then, and the others keep theirs.
 * -EBUSY; -EPERM: fewer than min_legs, or none, would be left.  SF_EVENT_LEG_REMOVED. */
int sf_volume_leg_remove(struct sf_volume *volume, unsigned leg, uint64_t now_ns);
/* The place of the leg of this name, or -ENOENT. */
int sf_volume_find_leg(struct sf_volume *volume, const char *name);
void sf_volume_leg_path(struct sf_volume *volume, unsigned leg, char path[PATH_MAX]);

/* ---- growing ---- */

/* A leg that is open has another size now. */
void sf_volume_leg_resized(struct sf_volume *volume, unsigned leg, uint64_t bytes);

/* Makes the volume larger, with its clients there.  0: it is under way, and SF_EVENT_GROWN tells
 * when the new size is durable and may be used; until then, and after a crash in between, it has
 * the old size.  The new part reads alike on every leg: it is converged like after a crash (R11),
 * and where legs differ all get the content of one.  -EALREADY: not larger than it is; -EINVAL: not
 * a multiple of 4 KiB, or beyond what can be addressed; -EFBIG: more than SF_EXTENTS_MAX extents;
 * -EBUSY: it is not serving, or grows already; -ENOSPC: an in-sync leg is too short; -ENOMEM.  A
 * leg outside the set that is too short is missing until it is longer. */
int sf_volume_grow(struct sf_volume *volume, uint64_t size_bytes, uint64_t now_ns);

/* What clients may use. */
uint64_t sf_volume_size(struct sf_volume *volume);

/* What every leg's superblock has in common, as last decided. */
void sf_volume_get_identity(struct sf_volume *volume, struct sf_superblock *identity);

/* ---- scrubbing: do the legs in sync hold the same? ---- */

/* A convergence (R11) of all that there is, which tells differences instead of writing them, unless
 * it is to repair.  A piece is compared between the writes that overlap it (R6), within the legs'
 * windows, and not while legs may differ there for a reason that is known.  A block that differs,
 * or cannot be read, is read once more with readers kept out, and only then believed to.  Which leg
 * is wrong: of three copies that can be read, or more, the majority says.  A copy that cannot be
 * read is wrong.  Of two that differ neither is known to be wrong. */
struct sf_scrub_order {
  bool repair; /* copies known to be wrong are written anew */
  int from;    /* this leg is right where it is not known; -1: none is, and they stay as they are */
  uint64_t rate; /* bytes of the volume a second, at most; 0: as R15 has it */
};
/* 0: it is under way; SF_EVENT_SCRUB tells its end.  -EALREADY: one is; -EBUSY: it is not serving,
 * or the last one is about to end; -ENOENT: no such leg; -ENOTCONN: that leg is not in sync, or
 * fewer than two are; -ENOMEM. */
int sf_volume_scrub(struct sf_volume *volume, const struct sf_scrub_order *order, uint64_t now_ns);
/* Of the scrub under way; -ENOENT: there is none. */
int sf_volume_scrub_pause(struct sf_volume *volume, bool paused, uint64_t now_ns);
int sf_volume_scrub_cancel(struct sf_volume *volume, uint64_t now_ns);

/* ---- drills ---- */

/* Keeps a leg from answering, as a disk that hangs does, so that an operator sees what becomes of
 * it on a day of their own choosing: until duration_ns have passed, another leg or the volume is in
 * trouble, or the volume stops.  The leg leaves and comes back as from any stall, and until it has
 * caught up the mirror has a copy less.  0: it has begun; SF_EVENT_DRILL tells its begin and its
 * end.  -EALREADY: there is one; -EINVAL: 0, or longer than SF_DRILL_MOST_NS; -ENOTCONN: not every
 * leg is in sync, another one fails what it is asked or does not answer, or the volume does not
 * serve; -EBUSY: fewer than min_legs would be left; -ENOENT: no such leg; -EOPNOTSUPP: the host
 * cannot. */
#define SF_DRILL_MOST_NS (UINT64_C(600) * 1000000000)
int sf_volume_drill(struct sf_volume *volume, unsigned leg, uint64_t duration_ns, uint64_t now_ns);
/* -ENOENT: there is none. */
int sf_volume_drill_cancel(struct sf_volume *volume, uint64_t now_ns);

enum sf_scrub_state {
  SF_SCRUB_NONE, /* since the volume started */
  SF_SCRUB_RUNNING,
  SF_SCRUB_PAUSED,
  SF_SCRUB_DONE,
  SF_SCRUB_CANCELED,
  SF_SCRUB_STATES
};
const char *sf_scrub_state_name(enum sf_scrub_state state);

enum sf_scrub_what {
  SF_SCRUB_WRONG,      /* these legs are */
  SF_SCRUB_UNKNOWN,    /* these legs differ, and it is not known which is wrong */
  SF_SCRUB_UNREADABLE, /* these legs cannot read it */
  SF_SCRUB_WHATS
};
const char *sf_scrub_what_name(enum sf_scrub_what what);

struct sf_scrub_range {
  uint64_t begin, end;
  uint16_t legs; /* bit i */
  enum sf_scrub_what what;
  bool repaired;
};
enum { SF_SCRUB_RANGES_MOST = 64 };

struct sf_scrub_status {
  enum sf_scrub_state state;
  struct sf_scrub_order order;
  uint64_t age_ns, ended_age_ns; /* since it began, and ended */
  uint64_t total_bytes, done_bytes;
  uint64_t unwritten_bytes; /* of these, never written: they read as zeros on every leg (R17) */
  uint16_t legs;            /* that were compared all along: bit i */
  /* Findings: ranges of adjacent blocks, and their bytes. */
  uint64_t mismatches, mismatch_bytes, unreadable_bytes, repaired_bytes;
  struct sf_scrub_range range[SF_SCRUB_RANGES_MOST];
  unsigned ranges; /* the first of them, in the order in which they were found */
};

/* ---- what it tells ---- */

/* A leg that has the holes of the volume: in sync, answering, and with nothing left to converge;
 * -1: none. */
int sf_volume_hole_source(struct sf_volume *volume);

enum sf_leg_state {
  SF_STATE_IN_SYNC,
  SF_STATE_LATE,
  SF_STATE_PROBING,
  SF_STATE_CATCHING_UP,
  SF_STATE_MISSING,
  SF_STATE_FAULTY,
  SF_LEG_STATES
};
const char *sf_leg_state_name(enum sf_leg_state state);

enum sf_volume_state {
  SF_VOLUME_STARTING,
  SF_VOLUME_HEALTHY,
  SF_VOLUME_DEGRADED,
  SF_VOLUME_SUSPENDED, /* too few legs: requests wait */
  SF_VOLUME_FAILED,    /* too few legs and on_too_few = error */
  SF_VOLUME_STOPPING,  /* and stopped */
  SF_VOLUME_STATES
};
const char *sf_volume_state_name(enum sf_volume_state state);

enum { SF_LATENCY_BUCKETS = 160 /* four to the octave */ };

/* The quantiles are of the last minute, and an unanswered request counts with its age; the buckets
 * are since the volume started, of answered requests. */
struct sf_latency {
  uint64_t count;  /* since the start */
  uint64_t recent; /* of the last minute, those not answered yet included */
  uint64_t p50_ns, p99_ns, p999_ns, max_ns;
  uint64_t bucket[SF_LATENCY_BUCKETS];
};
/* The longest that counts in this bucket. */
uint64_t sf_latency_bucket_ns(unsigned bucket);

enum { SF_LEG_REASON_MAX = 1024 };

/* Where a leg's deadline comes from: its own latencies, known or not yet; the file (or, that of a
 * leg without a line, its default); a parameter or `set`. */
enum sf_deadline_source {
  SF_DEADLINE_AUTO,
  SF_DEADLINE_LEARNING,
  SF_DEADLINE_FILE,
  SF_DEADLINE_SET
};
const char *sf_deadline_source_name(enum sf_deadline_source source);

struct sf_leg_status {
  char name[SF_LEG_NAME_MAX];
  char path[PATH_MAX];
  enum sf_leg_state state;
  char reason[SF_LEG_REASON_MAX]; /* why it is not in sync, or what ails it all the same; or "" */
  uint64_t stale_bytes;
  unsigned late_requests; /* unanswered now */
  uint64_t timeouts, errors;
  uint64_t repairs;               /* of what it could not read and another leg could */
  uint64_t state_age_ns;          /* so long in this state */
  uint64_t drill_left_ns;         /* a drill keeps it from answering for so long yet; or 0 */
  uint64_t deadline_ns[SF_KINDS]; /* in force */
  enum sf_deadline_source deadline_source[SF_KINDS];
  uint64_t bytes_read, bytes_written; /* for clients; zeroing is not counted */
  unsigned window;       /* requests that it is handed at a time, of the kind that it has now */
  unsigned in_flight;    /* regions of any kind that its device owes an answer */
  uint64_t oldest_ns;    /* the age of the oldest of them */
  uint64_t resync_bytes; /* copied to it since the start: what its absences have cost */
  bool resyncing;
  uint64_t resync_done_bytes, resync_total_bytes, resync_rate, resync_left_ns;
  uint64_t resync_stalled_ns; /* so long without progress: then the time left is not told */
  struct sf_latency latency[SF_KINDS];
};

/* Bytes of the volume that could be read on none of the legs that were to have them: a medium error
 * on each. */
struct sf_lost_range {
  uint64_t begin, end;
  uint16_t legs; /* that were asked: bit i */
  int error;     /* of the last of these */
  bool told;
  uint64_t since_ns; /* CLOCK_MONOTONIC: when all of it was found to be so */
  bool recorded;     /* reads fail on every leg until it is written, also after restarts */
};
enum { SF_LOST_MOST = SF_BAD_MOST };

struct sf_volume_status {
  char name[SF_VOLUME_NAME_MAX];
  struct sf_uuid uuid;
  enum sf_volume_state state;
  char reason[SF_LEG_REASON_MAX]; /* suspended or failed: legs waited for, and what waits; or "" */
  uint16_t waits_for;             /* the places of these legs: bit i */
  uint64_t size_bytes;
  uint64_t term, change;
  unsigned min_legs, legs_in_sync;
  uint64_t reads, writes, flushes, late_acks, errors;
  int64_t wall_ns;       /* CLOCK_REALTIME of this status, put by the host; 0: not known */
  uint64_t state_age_ns; /* so long in this state */
  uint64_t bytes_read, bytes_written;
  unsigned in_flight; /* clients' requests that are not answered */
  uint64_t oldest_ns; /* how long the oldest of them has waited */
  struct sf_latency latency[SF_KINDS];
  uint64_t unconverged_bytes; /* R11: may differ between legs since a crash */
  uint64_t unwritten_bytes;   /* R17: read as zeros, whatever the legs hold */
  uint64_t intent_bytes;      /* R8: would have to be compared if we crashed now */
  struct sf_lost_range lost[SF_LOST_MOST];
  unsigned lost_n;
  bool lost_more;               /* there are others, for which there was no room */
  struct sf_scrub_status scrub; /* the last one */
  unsigned legs;                /* places: an empty one has no name */
  struct sf_leg_status leg[SF_LEGS_MAX];
};
/* Never waits for I/O: readable while a leg hangs. */
void sf_volume_status(struct sf_volume *volume, uint64_t now_ns, struct sf_volume_status *status);

enum sf_volume_event_kind {
  SF_EVENT_STARTED,
  SF_EVENT_LEG_STATE, /* leg moved from -> to */
  SF_EVENT_STATE,     /* the volume's state moved; reason: that another host took it, or "" */
  /* A leg could not read it; it was read from another and written over.  The first at once, those
   * of the next ten seconds together. */
  SF_EVENT_READ_REPAIRED,
  SF_EVENT_STOPPED,
  SF_EVENT_GROWN,        /* reason: the new size in bytes */
  SF_EVENT_GROW_FAILED,  /* nothing has changed; reason: why */
  SF_EVENT_LEG_REPLACED, /* reason: its path */
  SF_EVENT_LEG_ADDED,    /* reason: its path */
  SF_EVENT_LEG_REMOVED,
  SF_EVENT_LEG_NOT_OPENED, /* a missing leg stays so; reason: why, told once */
  SF_EVENT_CHANGE_FAILED,  /* of a leg: nothing has changed; reason: why */
  /* A leg that is in sync and cannot be spared fails what it is asked; reason: the first of a
   * series.  Requests wait for it, or fail, as on_too_few says. */
  SF_EVENT_LEG_TROUBLE,
  /* What a leg cannot read, and no other leg has; reason: offset, length and error.  Once, until it
   * is written anew. */
  SF_EVENT_LOST_RANGE,
  /* A leg in sync alone holds clients back by more than slow_factor (to: "slow"; reason: by how
   * much), or keeps pace again (from: "slow"). */
  SF_EVENT_LEG_SLOW,
  SF_EVENT_READ_FAILED, /* a client was answered with an error; told together like repairs */
  SF_EVENT_SCRUB,       /* to: the state of a scrub; reason: what it has found */
  SF_EVENT_MISMATCH,    /* found by a scrub; reason: where, and its repair.  The first ones only */
  SF_EVENT_DRILL,       /* of a leg.  to: "begins" or "ends"; reason: how long, or why early */
  /* So many came (count) while the host was still told of others, and there was no room for them.
   * What is told once (a start, a change of legs or of the size) and the stop have room of their
   * own. */
  SF_EVENT_EVENTS_UNTOLD,
  SF_EVENT_LEG_PATH, /* a leg that serves is not where its path leads, or is again; the host's */
  SF_EVENT_KINDS
};
struct sf_volume_event {
  enum sf_volume_event_kind kind;
  uint64_t now_ns;
  int leg; /* -1: the volume */
  const char *leg_name;
  const char *from, *to; /* state names */
  const char *reason;    /* "write at 4096 not answered in 100 ms" */
  /* What it is about, where it is about bytes of the volume: length > 0.  Of several that are told
   * together the last. */
  uint64_t offset, length;
  int error;      /* -errno */
  uint64_t count; /* so many of them */
};

#endif

/* What the files of the volume layer share.  Everything here is called with volume->lock held. */
#ifndef SF_VOLUME_INTERNAL_H
#define SF_VOLUME_INTERNAL_H

#include <errno.h>
#include <pthread.h>

#include <surefoot/volume.h>

#include "base/list.h"
#include "base/must.h"
#include "base/sm.h"
#include "volume/bad.h"
#include "volume/latency.h"
#include "volume/map.h"
#include "volume/window.h"

#define SF_MS UINT64_C(1000000)
#define SF_S  UINT64_C(1000000000)

enum { SF_COPY_SLOTS = 16, SF_COPY_EXTENTS = 4 };

typedef uint16_t legset; /* bit i: leg i */

static inline legset
legbit(unsigned leg) {
  return (legset) (1u << leg);
}

static inline unsigned
legcount(legset set) {
  return (unsigned) __builtin_popcount(set);
}

/* for (each leg number in set) */
#define EACH_LEG(leg, set)                                                                         \
  for (unsigned leg##_set = (set), leg = 0;                                                        \
       leg##_set != 0 && (leg = (unsigned) __builtin_ctz(leg##_set), true);                        \
       leg##_set &= leg##_set - 1)

/* ---- one timed request of ours to one or more legs ---- */

enum { SF_DROPPED = -EAGAIN }; /* the error of a CANCELED event: a failed flush took it with it */

struct io_args {
  enum sf_tio_op op;
  unsigned flags;
  enum sf_kind kind;   /* whose timeout counts */
  enum window_use use; /* whose part of the window */
  legset legs;
  uint64_t offset; /* on the leg */
  uint64_t length;
  struct sf_tio_buffer *buffer;
  bool aside; /* what becomes of it says nothing of the leg */
  /* A repair: no other leg is given the same, so it is judged by what others answer otherwise. */
  bool alone;
};

/* WAITING for the leg's window, SENT, ENDED; DROPPED: it was not sent and will not be, which is told soon. */
enum part_state { PART_ENDED, PART_WAITING, PART_DROPPED, PART_SENT };

struct io_part {       /* of one leg; leg_io.c, insync.c and meter.c */
  struct sf_list link; /* of the leg: waiting or outstanding; or v->dropped */
  struct io *io;
  uint64_t handle;
  uint64_t since_ns, sent_ns; /* since when it waits; when the leg got it */
  uint64_t timeout_ns, cost_ns;
  uint8_t state, leg, class, use;
  bool told;    /* that it is overdue, or was given up */
  bool overdue; /* past its timeout */
  bool counted; /* in the window */
};

struct io {
  struct sf_volume *volume;
  void *owner;
  /* Every notify and late event; `running` is up to date already.  The io may be reused inside. */
  void (*on_event)(struct io *io, unsigned leg, const struct sf_tio_event *event);
  /* May be NULL.  A part that waited has been sent. */
  void (*on_sent)(struct io *io);
  struct io_args args;
  struct io_part part[SF_LEGS_MAX]; /* of each region */
  unsigned regions;
  unsigned running; /* regions whose own completion has not come, or that wait */
  bool flushes;     /* it is a flush, or carries one (FUA) */
  bool fua;         /* the latter */
  bool reads;
  bool of_client; /* it does what a client has asked for: no copy, no page of ours, no repair */
  uint64_t seq;   /* of all submissions of the volume */
};

/* 0, or -errno and then no event will come.  What finds no room in a leg's window waits for it; args->buffer must
 * be there until every part has been sent or was cancelled. */
int io_submit(struct sf_volume *v, struct io *io, const struct io_args *args);
void io_cancel(struct io *io);
void io_drop(struct io *io);        /* what waits; what was sent goes on */
void io_hurry(struct io *io);       /* a client waits for it: what waits goes first */
bool io_waits(const struct io *io); /* some part of it has not been sent yet */

/* What leg_io.c calls above itself; given when the volume is made. */
struct leg_io_above {
  sf_tio_event_fn *notify; /* takes the lock, and hands the event to leg_io_event() */
  /* Before an event that says that a flush failed is handled, and after. */
  void (*flush_fails)(struct sf_volume *v, unsigned leg, const struct io *io, int error);
  void (*flush_failed)(struct sf_volume *v, unsigned leg, int error);
  void (*fua_ended)(struct sf_volume *v, unsigned leg, uint64_t seq);
};
extern const struct leg_io_above sf_volume_above_io;

/* Its own completion has come: nothing of that region runs any more. */
static inline bool
event_is_final(const struct sf_tio_event *event) {
  return event->late || event->state == SF_TIO_OK || event->state == SF_TIO_ERROR ||
         (event->state == SF_TIO_CANCELED && event->kind == SF_TIO_REAL);
}

/* ---- ops: requests and copies on their way ---- */

struct sf_op;

/* What an op of a kind does; one table in the file of each kind. */
struct op_kind {
  const char *name;
  enum sf_kind timeout; /* whose timeout counts */
  bool reads;           /* what a client has asked to read: it writes only where it repairs */
  bool writes;          /* what a client has asked to change */
  bool copies;          /* between legs */
  bool brings_back;     /* legs: the last free ops are for such */

  bool (*may_run)(struct sf_op *op); /* false: it has been put off; NULL: it always may */
  void (*run)(struct sf_op *op);
  void (*run_again)(struct sf_op *op); /* it is sent anew */
  /* Its own completion has come there; true: what it said counts later. */
  bool (*ended)(struct sf_op *op, unsigned leg, const struct sf_tio_event *event);
  /* What is not late, and is noted in the op already; of the op's io number `try`. */
  void (*on_event)(struct sf_op *op, unsigned leg, unsigned try, const struct sf_tio_event *event);
  void (*review)(struct sf_op *op);          /* after an event or a change of the set */
  void (*fail)(struct sf_op *op, int error); /* nothing more is tried */
  void (*answered)(struct sf_op *op, int error);
};

extern const struct op_kind sf_op_read, sf_op_write, sf_op_zero, sf_op_flush, sf_op_copy;

enum op_state { OP_FREE, OP_WAITING, OP_RUNNING, OP_DRAINING, OP_STATES };

struct sf_op {
  struct sf_sm sm;
  struct sf_list link; /* v->active in order of arrival; or v->ops_free */
  struct sf_volume *volume;
  struct sf_request *request; /* NULL once answered, and for a copy */
  const struct op_kind *kind;
  bool blocks_reads; /* COPY: the extent is being converged */
  bool scrubs;       /* COPY: it only compares, as yet: no suspended write may be half done there */
  bool hurried;      /* COPY: a client waits for it */
  bool retry;        /* no slot for it, or too few legs: sent again at the next tick */
  bool passable;     /* it was suspended once, and copies may pass it while it is */
  bool request_fua;  /* stable where it is ok: nothing is left unflushed */
  bool listed;       /* in v->active: later overlapping ops wait for it */
  bool checkpoint;   /* FLUSH: of the legs that catch up too */
  bool gated;        /* its intent is not durable yet (R8) */
  uint64_t offset, length;
  uint64_t asked_ns;   /* when its client asked for it */
  uint64_t started_ns; /* when it came to the volume */
  uint64_t paced_ns;   /* when the last but one of its legs answered */
  unsigned blockers;   /* earlier overlapping ops still active */
  uint64_t clears;     /* WRITE, ZERO: the change of the bad ranges that it has made; 0: none */

  legset sent;  /* legs it was ever sent to */
  legset asked; /* FLUSH: what an answer needed when it was sent */
  legset
      hollow; /* FLUSH: it went well there, and an earlier one did not: ours only may rely on it */
  legset unsent;  /* FLUSH: an older one still runs there, or there was no slot: sent later */
  legset pending; /* not terminal there yet */
  legset running; /* its own completion has not come there */
  legset ok;      /* they have it */
  legset overdue; /* pending past the leg's timeout */
  legset failed;  /* terminal with an error */
  int error;      /* of the last of those */
  legset passing; /* failed with an error that passes by itself */
  /* READ that met errors everywhere: the legs that failed it the time before, since when it is asked now,
   * and those that answered something else in between: it is this block that is bad there. */
  legset failed_before, bad;
  uint64_t round_ns, again_ns; /* not sent again before */
  legset writing;              /* READ, COPY: legs to which this op writes */

  unsigned ios;
  struct io io[SF_LEGS_MAX];
  struct sf_tio_buffer *buffer[SF_LEGS_MAX]; /* READ: of each try */

  struct sf_request *followers; /* FLUSH: answered with it */
  struct copy *copy;            /* COPY; NULL once it has ended */
};

/* ---- legs ---- */

struct meta {
  struct io io;
  struct sf_tio_buffer *buffer;
  bool busy;            /* a superblock write is in flight: at most one per leg */
  bool overdue, failed; /* the one in flight is late; the last one failed */
  uint64_t sent, done;  /* versions of the volume's record */
  unsigned copies;      /* of the superblock that hold `done` */
  int error;
  uint64_t retry_ns;
  uint64_t second_ns;         /* the second copy is not tried before */
  struct sf_superblock image; /* what is being written */
};

enum { DEADLINE_SECONDS = 240 };

struct deadline {      /* of one leg and kind, as its latencies have it */
  uint64_t ns;         /* 0: not known yet */
  uint64_t longest_ns; /* of the answers in this second */
  unsigned answers;
  unsigned seen;                        /* answers in all, as far as it matters */
  uint32_t second_us[DEADLINE_SECONDS]; /* the longest of each; a ring */
  unsigned next, seconds;
};

struct pace {        /* of one leg: does it alone hold clients back? */
  uint64_t alone_ns; /* in this period */
  unsigned periods;  /* above the factor, in a row */
  unsigned tenths;   /* so many times longer clients waited for its sake */
  bool slow;         /* told */
  uint64_t limit_ns; /* it left for that: a probe may take so long; else 0 */
};

struct tally { /* of what is told together; the last of it */
  uint64_t untold, told_ns;
  uint64_t offset, length;
  int error;
};

struct medium {      /* medium.c: what the leg could not read and another could */
  uint32_t errors;   /* within an hour or so */
  uint64_t since_ns; /* when the hour began */
  uint64_t offset;   /* of the last */
  int error;
  bool told; /* that there are too many, and it cannot be spared */
  uint64_t repairs;
  struct tally repaired;
};

struct penalty {               /* R14: what its absences have cost lately */
  bool away, probe_failed;     /* the latter: this is why */
  uint64_t away_ns, waited_ns; /* since when; what clients had waited for it before */
  uint64_t remembered_ns;      /* of what was charged, as of charged_ns */
  uint64_t charged_ns;
  unsigned absences; /* since the first that is remembered */
  uint64_t first_ns;
  uint64_t keep_ns; /* it must be seen well for so long, and is since; 0: is not */
  uint64_t well_ns;
};

struct leg {
  struct sf_sm sm; /* enum sf_leg_state */
  unsigned index;
  struct sf_tio_device *device;
  struct sf_superblock sb; /* newest on the leg */
  uint64_t bytes;          /* of the whole leg */
  unsigned running;        /* regions of ours in the kernel, detached ones included, or waiting */
  /* leg_io.c: what it was handed, in order, detached ones included, and what waits for its window. */
  struct window window;
  struct sf_list outstanding, waiting[WINDOW_USES];
  unsigned outstanding_n, waiting_n;
  unsigned overdue_n; /* outstanding past their timeout */
  unsigned flushes_n; /* outstanding that are flushes or carry one */
  /* insync.c: when it last ended anything; since when it has had something without a break; when it last did
   * after it had been silent for its timeout. */
  uint64_t answered_ns, busy_since_ns, awake_ns;
  /* Of what it has answered, of writes and of reads: when the newest was sent. */
  uint64_t newest_sent_ns[2];
  uint64_t longest_flush_ns; /* lately, of flushes and writes with FUA, late ones included */
  struct meta meta;

  struct sf_map stale;     /* lacks an acknowledged write */
  struct sf_map unflushed; /* completed there since the last good flush was submitted */
  struct sf_map flushing;  /* covered by the flush in flight */
  struct sf_op *flush_op;
  unsigned flushes; /* in the kernel, those given up on included */
  bool flush_late;  /* one of them is past its timeout */
  /* flush_failure.c: a flush failed, and what was unflushed then is lost there for all we know; of that,
   * what another leg has and is being converged. */
  bool flush_failed, heals;
  uint64_t flush_failed_ns;
  int flush_error;
  struct sf_map lost, healing;
  struct sf_map
      unsure; /* what reads there may never get to the disk: a convergence writes it anew */
  uint64_t dropped_seq; /* what was submitted before has run across a failed flush */
  unsigned fua_running; /* regions with FUA in the kernel */
  /* A flush that went well while some of them ran: it counts when those, so many of up to that number, have
   * ended well too. */
  struct sf_op *flush_waiting;
  unsigned flush_waits;
  uint64_t flush_waits_seq, flush_waits_until_ns;
  /* Pages of the maps in which stale bits were cleared: since the last flush was submitted, and
   * before it.  Written once it is flushed, so that a resync goes on where it was. */
  struct sf_map settled, settling;

  struct io look_io; /* takeover.c */
  struct sf_tio_buffer *look_buffer;
  unsigned looks;
  uint64_t opened_serial; /* of the newest superblock that stood there when it was opened */

  struct io probe_io;
  struct sf_tio_buffer *probe_buffer;
  unsigned probe_step, probes_ok;
  uint64_t probe_at_ns;
  struct penalty penalty;
  struct pace pace;
  struct medium medium;
  uint64_t open_at_ns;
  bool opening,
      reopening; /* asked of the host and not answered; the latter beside a dead descriptor */
  enum sf_leg_blank blank; /* what the operator wants its disk to be at the next opening */

  uint64_t resync_total; /* extents, when the catch-up began */
  uint64_t resync_since_ns, resync_copied_bytes;
  uint64_t resync_least, resync_least_ns; /* the fewest extents that were left, and since when */
  uint64_t resync_bytes; /* copied to it since the volume started, whatever became of it */

  uint64_t timeouts, errors;
  uint64_t bytes_read, bytes_written; /* for clients */
  uint64_t state_ns;                  /* since when it is in its state */
  uint64_t read_end;                  /* where the last read ended: sequential runs stay */
  uint64_t read_last_ns;              /* when it was last measured */
  uint64_t heard_ns;                  /* when it last did anything that was asked */
  uint64_t read_ok_ns;                /* when it last read anything */
  unsigned reads_running;
  bool canceled; /* what it held when it left was given up on */
  bool avoid;    /* a read is overdue there and it could not be demoted */
  /* In sync, and all that it was asked since fails; 0: it does not.  The error of the last. */
  uint64_t troubled_ns, told_ns;
  int trouble;
  bool erred; /* faulty for what it answered, not by the operator's word */
  /* When it last answered that it has no room; so it is not tried before; the pause, longer each time. */
  uint64_t no_room_ns, room_at_ns, room_pause_ns;
  char reason[SF_LEG_REASON_MAX];
  struct sf_latency_meter latency[SF_KINDS];
  struct deadline deadline[SF_KINDS];
};

/* ---- copies: resync and convergence ---- */

enum copy_state { COPY_IDLE, COPY_WAITING, COPY_READING, COPY_WRITING, COPY_STATES };

struct copy {
  struct sf_sm sm;
  struct sf_op *op;
  struct copying *of;
  unsigned piece;
  bool again; /* it is asked once more */
  int source;
  legset targets;
  legset differ;  /* CONVERGE: may differ from the source */
  legset unread;  /* of these, could not be read */
  legset rewrite; /* CONVERGE: written whatever they read */
  legset reading;
  legset tried;     /* RESYNC: sources that could not read it */
  legset run;       /* the blocks in writing go to these */
  uint64_t written; /* of the piece, the blocks in writing included */
  struct sf_tio_buffer *run_buffer;
  struct sf_tio_buffer *buffer[SF_LEGS_MAX]; /* one per leg that is read */
};

/* AGAIN: no leg could read the block.  It is asked once more, when each has shown that it reads otherwise. */
enum piece { PIECE_TO_COME, PIECE_ISSUED, PIECE_DONE, PIECE_AGAIN };

/* For one that compares instead of copying (scrub.c). */
struct copy_judge {
  bool (*may_look)(const struct sf_op *op); /* or legs may differ there, and rightly so */
  void (*compare)(struct sf_op *op);        /* all has been read, or cannot be */
  void (*ended)(struct sf_volume *v, struct copy *copy, bool good);
};

struct copying { /* an extent under way */
  bool active;
  bool converge;                  /* else resync of `leg` */
  const struct copy_judge *judge; /* converge, and it says what becomes of what was read; or NULL */
  bool failed;                    /* a piece failed: leave the extent as it is */
  bool
      lacks; /* resync: a block of it can be read nowhere and is not recorded; all else is copied */
  bool no_room;   /* for want of room */
  uint64_t marks; /* it ends when this change of the bad ranges is durable */
  unsigned leg;
  uint64_t extent;
  uint8_t *piece; /* enum piece, of each */
  uint64_t piece_bytes;
  uint64_t again_ns; /* when the last one became AGAIN */
  uint64_t doubt_ns; /* when the first one did */
  bool wrote;        /* something of it */
  unsigned pieces, issued_pieces, done_pieces, in_flight;
  unsigned come_from, again_from; /* no piece before is to come, or to be asked again */
};

struct copier {
  struct copying extent[SF_COPY_EXTENTS];
  struct copy slot[SF_COPY_SLOTS];

  /* Convergence: copied and not yet flushed, so not yet answered for; of these, the ones that the
   * flush under way covers. */
  struct sf_map copied, flushing_copied;
  struct sf_request flush;
  bool flushing, flushed;
  uint64_t cursor; /* where the background goes on */
  /* A piece of it could not be read on any leg: it is converged block by block. */
  struct sf_map by_block;
  struct sf_map put_off; /* not resynced before put_off_until_ns: no source could read all of it */
  uint64_t put_off_until_ns, put_off_ns; /* longer each time */

  /* R15: rate control. */
  uint64_t rate;        /* bytes per second */
  uint64_t issue_at_ns; /* no piece before: something failed */
  uint64_t pace_ns;     /* nor before this, by the rate, unless a client waits for it */
  uint64_t adapt_at_ns;
  uint64_t quiet_average_ns; /* foreground latency while nothing is copied */
  uint64_t busy_average_ns;
};

#define EACH_COPYING(c, copier)                                                                    \
  for (struct copying *c = (copier)->extent; c < (copier)->extent + SF_COPY_EXTENTS; c++)

/* ---- scrubbing ---- */

enum { SF_SCRUB_SLOTS = 4 };

enum scrub_found { SCRUB_ALIKE, SCRUB_LOOK_AGAIN, SCRUB_BLOCKWISE, SCRUB_TOLD, SCRUB_REPAIRS };

struct scrub_slot { /* an extent that is being compared, from its begin to its end */
  bool active;
  uint64_t extent, at, end;
  uint64_t length;          /* of the look at `at` */
  uint64_t again_ns;        /* not before: something failed */
  uint64_t blockwise_until; /* a leg cannot read some of it: block by block */
  uint64_t doubt_length;    /* what differs at `at` is looked at once more; 0: nothing */
  unsigned repairs;         /* that failed, at `at` */
  enum scrub_found found;   /* by the look that has just ended */
  struct sf_scrub_range
      range[2]; /* of that look: what differs, what cannot be read; legs 0: none */
  struct copy copy;
  struct copying of;
};

struct scrub {
  struct sf_scrub_status told; /* but for ages */
  struct sf_map todo;          /* extents that have not been compared whole */
  /* Repaired for the word of one leg, or of more, of which none had flushed what it has there, nor has since. */
  struct sf_map guessed, voted;
  uint64_t word_id; /* ops with a higher number came after the last of these */
  uint64_t cursor;
  uint64_t begun_ns, ended_ns, pace_ns;
  bool flushing, flushed;
  struct sf_request flush;
  struct scrub_slot slot[SF_SCRUB_SLOTS];
};

/* ---- the maps on disk (R8) ---- */

enum {
  MAP_WRITES_MOST = 16, /* under way at once; those that hung legs hold are not counted */
};

enum map_write_state { MAP_IDLE, MAP_WRITING, MAP_HELD, MAP_WRITE_STATES };

struct map_write { /* of one page, to some legs */
  struct sf_sm sm;
  struct io io;
  struct sf_tio_buffer *buffer; /* NULL unless writing */
  uint64_t page;
  uint64_t version;
  legset pending;
};

struct map_page {
  uint64_t version;           /* of its contents in memory; 1: as at the start */
  uint64_t must;              /* somebody waits for so much of it */
  uint64_t carry;             /* a newcomer is given so much of it */
  uint64_t sent[SF_LEGS_MAX]; /* the version last sent to the leg */
  uint64_t done[SF_LEGS_MAX]; /* the version that it holds; 0: not known */
  legset busy;                /* a write of it runs there: at most one per leg */
  legset overdue, failed;     /* the last one is late, or ended with an error */
  bool had_intent;            /* at the start */
  /* The first version that calls all of the leg stale, of one that lacks everything. */
  uint64_t lacks_all[SF_LEGS_MAX];
};

struct maps {
  struct sf_map intent;
  uint64_t *intent_version; /* of each extent: the version of its page that set its bit */
  struct sf_map touched;    /* written since the last look for idle extents */
  struct sf_map idle;       /* found by it: to be cleared when nothing forbids it */
  struct sf_map busy;       /* scratch */
  uint64_t pages;
  struct map_page *page;
  struct sf_map urgent;   /* pages that somebody waits for */
  struct sf_map lazy;     /* pages whose contents on disk promise less than they could */
  struct sf_map troubled; /* pages with a leg that is overdue or failed */
  struct map_write *write;
  unsigned writes, writing;
  uint64_t retry_ns[SF_LEGS_MAX]; /* after an error there */
  int error[SF_LEGS_MAX];         /* that one */
  uint64_t resume_ns;             /* no room below: not before */
  uint64_t look_ns;               /* for idle extents next */
  uint64_t checkpoint_ns;         /* of what is copied: not before */
  unsigned looks;                 /* since something was cleared */
  uint64_t written_ns;            /* when a client last wrote */
  struct sf_request flush;
  bool flushing;
};

enum grow_step { GROW_NONE, GROW_WAIT, GROW_PAGES, GROW_RECORD };

struct grow {
  enum grow_step step;
  uint64_t size_bytes;
  uint64_t first_page; /* of those with something new */
  uint64_t version;    /* of the record with the new size */
};

/* A change of who the legs are, until its record is durable: one at a time. */
struct member_change {
  bool under_way;
  enum sf_volume_event_kind event; /* that tells its end */
  unsigned leg;
  uint64_t version; /* of that record */
};

enum phase { PHASE_CLAIMING, PHASE_RECORDING, PHASE_SERVING, PHASE_STOPPING, PHASE_STOPPED };

struct sf_volume {
  pthread_mutex_t lock;
  struct sf_volume_host host;
  void *ctx;
  const struct leg_io_above *above;
  struct sf_config config;
  struct sf_superblock identity; /* what every leg's superblock has in common */
  uint64_t size_bytes, data_offset, extent_bytes, extents;
  uint64_t served_bytes; /* what clients may use: less than size_bytes while it grows */
  unsigned extent_shift;
  uint32_t block_bytes;
  enum phase phase;
  enum sf_volume_state told; /* the state last reported */
  uint64_t now_ns;           /* of the entry being served */

  unsigned legs; /* places; an empty one's leg is faulty, without a device and without a name */
  struct leg leg[SF_LEGS_MAX];

  /* The in-sync set (R1, R10).  latest is decided; durable is stable on every leg it names. */
  struct sf_record latest, durable;
  struct sf_superblock base; /* what this start goes on from, in the line of that */
  uint64_t claim;
  uint64_t claimed_ns; /* when it was stable everywhere; 0: it is not */
  bool takes;          /* somebody else's legs: not served before he can have seen it */
  bool stop_told;      /* of one that was taken */
  bool taken;          /* from us, by another host: no I/O any more */
  char taken_by[SF_LEG_REASON_MAX];
  uint64_t look_at_ns;               /* when the superblocks are looked at next */
  uint64_t version, durable_version; /* of latest, durable; in memory only */
  uint64_t durable_ns;               /* since when it is */
  legset needs;   /* an answer needs these: every set since the durable one, and a newcomer */
  legset counted; /* newcomer that answers count already (reading 3 of the rules) */
  int promoting;  /* leg whose promotion is submitted and not durable, or -1 */
  int joining;    /* leg that is counted: its flush and then its record are under way, or -1 */
  unsigned min_legs;

  struct sf_op *ops;
  struct sf_list ops_free;
  unsigned ops_free_n;
  struct sf_list active; /* running, draining, or waiting for an earlier one */
  unsigned waiting_ops;
  unsigned suspended;                       /* too few legs had them: sent again at a tick */
  bool runnable;                            /* one of these waits for nobody any more */
  struct sf_request *held, **held_tail;     /* until the volume serves, or an op is free */
  struct sf_request *parked, **parked_tail; /* reads that wait for convergence (R11) */
  struct sf_op *flush_leader;
  struct sf_request *flush_queue, **flush_queue_tail;
  struct sf_request *flush_held, **flush_held_tail; /* tried again, not before flush_again_ns */
  uint64_t flush_again_ns;

  struct sf_map unconverged; /* may differ between in-sync legs (R11) */
  struct sf_map suspect;     /* scratch of flush_failure.c */
  bool suspect_is_copied;    /* the same: of that leg copies may have been made */
  uint64_t io_seq;           /* of the last submission */
  unsigned waiting_parts;    /* of all legs */
  struct sf_list dropped;    /* parts that were not sent and are to be told so */
  struct maps maps;
  struct copier copier;
  struct scrub scrub;
  struct lost { /* lost.c; in order, none beside another */
    struct sf_lost_range range[SF_LOST_MOST];
    unsigned n;
    bool more;
  } lost;
  struct bad bad;
  struct tally read_failed; /* to clients */
  struct grow grow;
  struct member_change change;

  struct {
    uint64_t until_ns, waited_ns;
    unsigned answers;
  } pace;                   /* of clients, in this period */
  uint64_t deadlines_at_ns; /* they are looked at next */
  uint64_t timer_ns;        /* when the host was asked to tick */
  uint64_t awaited_ns; /* since when requests wait for legs that do not answer; 0 = none does */
  uint64_t starved_ns; /* since when some request lacks legs; 0 = none does */
  bool failed;         /* the last answer for too few legs was an error */
  uint64_t stop_by_ns;
  bool stop_is_clean; /* all is flushed, and the maps say so */
  bool dirty;         /* something moved: volume_settle has work */
  uint64_t next_id;

  struct sf_request join_flush, stop_flush;
  enum {
    STEP_NONE,
    STEP_CARRY,
    STEP_DRAIN,
    STEP_FLUSH,
    STEP_FLUSHED,
    STEP_MAPS,
    STEP_RECORD
  } join_step,
      stop_step;
  bool join_flushing;  /* join_flush is under way, whatever became of the join */
  uint64_t join_id;    /* ops older than this must end before the newcomer is flushed */
  uint64_t join_at_ns; /* not before */

  uint64_t reads, writes, flushes, late_acks, errors;
  uint64_t bytes_read, bytes_written;
  uint64_t foreground_ns; /* when a client's request was last answered */
  uint64_t told_ns;       /* since when it is in the state last reported */

  uint64_t slice_ns;                         /* when the slice of the meters ends */
  struct sf_latency_meter latency[SF_KINDS]; /* as clients see it */
};

extern const struct sf_sm_table sf_leg_table, sf_op_table, sf_copy_table, sf_map_write_table;
extern const struct sf_sm_hooks sf_volume_hooks;

/* volume.c */
void volume_enter(struct sf_volume *v, uint64_t now_ns); /* takes the lock */

/* turn.c */
void volume_settle(struct sf_volume *v); /* after any change: move on what can move on */
void turn_tick(struct sf_volume *v);

/* begin.c */
void volume_begin(struct sf_volume *v, struct sf_request *request);
void volume_release_held(struct sf_volume *v);
void volume_release_parked(struct sf_volume *v);

/* stop.c */
void stop_begin(struct sf_volume *v);
void stop_settle(struct sf_volume *v);
/* No request is answered otherwise any more, and no I/O follows but what is under way. */
void volume_end(struct sf_volume *v, int error);

/* host.c */
void volume_trace(struct sf_volume *v, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void volume_event(struct sf_volume *v, enum sf_volume_event_kind kind, int leg, const char *from,
                  const char *to, const char *reason);
/* With its time and its leg's name put. */
void volume_tell(struct sf_volume *v, struct sf_volume_event *event);
void volume_arm(struct sf_volume *v, uint64_t at_ns);

/* request_queue.c */
void request_append(struct sf_request *request, struct sf_request ***tail);
void request_answer(struct sf_request *request, int error);
void request_fail_list(struct sf_request **head, struct sf_request ***tail, int error);
/* False: it is not there. */
bool request_remove(struct sf_request **head, struct sf_request ***tail,
                    struct sf_request *request);
void volume_park(struct sf_volume *v, struct sf_request *request); /* until it is converged */

/* state.c */
enum sf_volume_state volume_state(const struct sf_volume *v);
bool volume_must_converge(const struct sf_volume *v, const struct sf_request *request);
bool record_is_durable(const struct sf_volume *v);
bool record_is_reached(const struct sf_volume *v, uint64_t version);
/* One is under way that names other legs than the durable one: what lacks legs may lack them no more. */
bool record_moves_the_set(const struct sf_volume *v);
legset members(const struct sf_volume *v); /* places that are not empty */
bool leg_is_member(const struct sf_volume *v, unsigned leg);
bool members_may_open(const struct sf_volume *v, unsigned leg);
enum sf_leg_state leg_state(const struct leg *leg);
bool leg_holds(const struct sf_volume *v, unsigned leg, uint64_t size_bytes);
bool leg_punches(const struct sf_volume *v, unsigned leg);
/* Its disk has left the machine, whatever it answers. */
bool leg_is_gone(const struct sf_volume *v, unsigned leg);
bool leg_is_dead(const struct sf_volume *v, unsigned leg); /* worth opening beside what we have */
uint64_t volume_asked(const struct sf_request *request);
uint64_t volume_oldest_held(const struct sf_volume *v);
/* delay_ns after at_ns, and not after now. */
uint64_t volume_later(const struct sf_volume *v, uint64_t at_ns, uint64_t delay_ns);
/* It has waited so much less, as we could not run. */
void volume_excuse_request(const struct sf_volume *v, struct sf_request *request,
                           uint64_t delay_ns);
legset volume_serving(const struct sf_volume *v);   /* in sync, durably and by decision */
legset volume_receivers(const struct sf_volume *v); /* legs that still get new writes */

/* op.c */
void volume_well(struct sf_volume *v); /* a request has gone well */
bool op_is_free(const struct sf_volume *v, const struct op_kind *kind);
struct sf_op *op_new(struct sf_volume *v, const struct op_kind *kind, uint64_t offset,
                     uint64_t length);
void
op_enter(struct sf_op *op); /* takes its place in the order; runs at once if nothing overlaps */
bool op_conflict(const struct sf_op *a, const struct sf_op *b); /* one must wait for the other */
int op_free_io(struct sf_op *op);
void op_park(struct sf_op *op);
void op_unlist(struct sf_op *op);
void op_release(struct sf_op *op); /* answered or given up: leave when nothing runs any more */
void op_move(struct sf_op *op, enum op_state state);
void op_answer(struct sf_op *op, int error);
void op_end(struct sf_op *op);
void op_review(struct sf_op *op);       /* after an event or a change of the set */
void op_review_ended(struct sf_op *op); /* of one that is answered */
void op_run_all(struct sf_volume *v);   /* what waits for no other any more */
void op_cancel(struct sf_op *op);
/* As an op's `ended`: what has landed is to be flushed.  Always false. */
bool op_landed(struct sf_op *op, unsigned leg, const struct sf_tio_event *event);
void op_send(struct sf_op *op, const struct io_args *args);
void op_on_event(struct io *io, unsigned leg, const struct sf_tio_event *event);
void op_judge(struct sf_op *op);
void op_reason(const struct sf_op *op, unsigned leg, char *text, size_t size);
void op_fail(struct sf_op *op, int error);

/* suspend.c */
void op_suspend(struct sf_op *op);
void op_overtake_all(struct sf_volume *v);
bool op_is_in_the_way(const struct sf_op *copy);
bool op_is_passed(const struct sf_op *op); /* by a copy that has not ended */
void op_passed_by(const struct sf_op *copy);
bool op_only_waits(const struct sf_op *op);
bool op_may_wait(const struct sf_op *op); /* rather than fail for what its legs have said */

/* op_time.c */
void op_review_all(struct sf_volume *v);
void op_tick(struct sf_volume *v);
void op_excuse_delay(struct sf_volume *v, uint64_t delay_ns); /* they have waited less */
void op_fail_all(struct sf_volume *v, int error);
void op_give_up(struct sf_volume *v, const struct sf_request *request);

/* flush.c */
void flush_request(struct sf_volume *v, struct sf_request *request);
void flush_next(struct sf_volume *v);
void flush_fua_ended(struct sf_volume *v, unsigned leg, uint64_t seq);
void flush_expire(struct sf_volume *v);
void flush_tick(struct sf_volume *v);
void flush_excuse_delay(struct sf_volume *v, uint64_t delay_ns);
void flush_give_up(struct sf_op *op);
void flush_release(struct sf_volume *v); /* those that wait to be tried again, in time */

/* leg_io.c */
void leg_io_init(struct leg *leg);
struct sf_volume *leg_io_volume(const struct sf_tio_event *event);
/* It is an error, and its disk has left the machine: it says nothing else.  Without the lock. */
bool leg_io_is_gone(const struct sf_volume *v, const struct sf_tio_event *event);
void leg_io_event(const struct sf_tio_event *event);
void leg_io_forget(struct leg *leg);                 /* its disk is another one */
void leg_io_settle(struct sf_volume *v);             /* tells of what was dropped */
void leg_io_send(struct sf_volume *v);               /* what has room by now */
void leg_io_tick(struct sf_volume *v);               /* what waits for a silent leg is overdue */
void leg_io_drop(struct sf_volume *v, unsigned leg); /* what waits there */
void leg_io_excuse_delay(struct sf_volume *v, uint64_t delay_ns);

/* silence.c: when a leg that is overdue counts as late.  Those that say no arm the timer for when they may say
 * yes. */
void insync_leg_answered(struct sf_volume *v, const struct io_part *part);
bool insync_is_overtaken(const struct io_part *part); /* by one that was sent a timeout later */
bool insync_is_starved(const struct io_part *part);   /* though the leg answers others */
bool insync_leg_is_silent(const struct sf_volume *v, unsigned leg);
/* It keeps requests waiting: it is silent or fails, or starves one.  Being busy is no reason. */
bool insync_leg_is_awaited(const struct sf_volume *v, unsigned leg);
bool insync_leg_hangs(struct sf_volume *v, unsigned leg, enum sf_kind kind);
/* Of the legs, those that may testify against this one. */
legset insync_witnesses(struct sf_volume *v, unsigned leg, enum sf_kind kind, legset legs);
bool insync_leg_is_alone(struct sf_volume *v, unsigned leg, uint64_t since_ns);

/* insync.c */
/* A leg is overdue, or has failed something. */
struct miss {
  unsigned leg;
  enum sf_kind kind; /* of what it owes */
  bool failed;
  int error; /* if it has */
  legset
      witnesses; /* legs that have it, whether in the set or not; those that may lack what the leg has are not
                     * counted */
  const char *reason;
};
/* R2: what follows.  The caller has asked insync_leg_hangs() about a leg that is overdue. */
void insync_judge(struct sf_volume *v, const struct miss *miss);
/* So many of the witnesses count. */
unsigned insync_evidence(struct sf_volume *v, const struct miss *miss);
enum sf_leg_state insync_becomes(const struct miss *miss);
void insync_settle(struct sf_volume *v); /* legs that owe a read, or a repair */

/* leg_memory.c */
int leg_init_memory(struct sf_volume *v, unsigned leg);
void leg_free_memory(struct sf_volume *v, unsigned leg);

/* fault.c */
enum fault { FAULT_OURS, FAULT_TIME, FAULT_PATH, FAULT_GONE, FAULT_ROOM, FAULT_MEDIUM };
enum fault fault_of(int error);
bool fault_passes(int error); /* by itself, or by waiting */
enum sf_leg_state leg_state_for(int error);

/* trouble.c */
/* It stays in sync and does not do what it is asked: told once in a series. */
void leg_trouble(struct sf_volume *v, unsigned leg, const char *reason);
void leg_well(struct sf_volume *v, unsigned leg);

/* leg.c */
bool leg_can_leave(const struct sf_volume *v, unsigned leg);
void leg_demote(struct sf_volume *v, unsigned leg, enum sf_leg_state to, const char *reason);
void leg_fall_back(struct sf_volume *v, unsigned leg, enum sf_leg_state to, const char *reason);
void leg_record_faulty(struct sf_volume *v, unsigned leg, bool is_faulty);
void leg_look_for(struct sf_volume *v, unsigned leg, const char *reason);
void leg_mark_stale(struct sf_volume *v, unsigned leg, uint64_t offset, uint64_t length);
void leg_move(struct sf_volume *v, unsigned leg, enum sf_leg_state to, const char *reason);
bool leg_wants(const struct sf_volume *v, unsigned leg, uint64_t offset, uint64_t length);
void medium_forget(struct leg *leg);
void pace_forget(struct leg *leg);

/* flush_lost.c */
/* Legs that hold all that was acknowledged there for certain; if there is none, those that may. */
legset volume_sources(const struct sf_volume *v, uint64_t offset, uint64_t length);
legset flush_failure_legs(const struct sf_volume *v);
/* Legs in sync that may lack what this one has. */
legset flush_failure_lacking(const struct sf_volume *v, unsigned leg);
void flush_failure_left(struct sf_volume *v, unsigned leg);
/* Legs on which a convergence does not believe what it reads there. */
legset flush_failure_unsure(const struct sf_volume *v, uint64_t offset, uint64_t length);
void flush_failure_converged(struct sf_volume *v, uint64_t extent);

/* flush_failure.c */
/* Around the handling of an event that says so: before it, what the leg loses; after it, unless that has
 * taken the leg out, what follows. */
void flush_failure_collect(struct sf_volume *v, unsigned leg, const struct io *io, int error);
void flush_failure_note(struct sf_volume *v, unsigned leg, int error);
void flush_failure_reopened(struct sf_volume *v, unsigned leg);
void flush_failure_load(struct sf_volume *v, const struct sf_volume_params *params);
/* A leg that joins was given what these legs have, and no more. */
bool flush_failure_is_inherited(const struct sf_volume *v);
void flush_failure_inherit(struct sf_volume *v, unsigned leg);
void flush_failure_settle(struct sf_volume *v);
bool flush_failure_heals(const struct sf_volume *v, unsigned leg);
void flush_failure_forgive(struct sf_volume *v, unsigned leg);
/* The extent is copied from a leg that may lack it: then so may the others. */
void flush_failure_spread(struct sf_volume *v, uint64_t extent);

/* sample.c */
int probe_ask(struct sf_volume *v, unsigned leg, enum sf_tio_op op, unsigned flags,
              void (*on_event)(struct io *io, unsigned leg, const struct sf_tio_event *event));
void probe_sample(struct sf_volume *v, unsigned leg); /* a read of a block of ours */

/* probe.c */
void probe_schedule(struct sf_volume *v, unsigned leg);
void probe_tick(struct sf_volume *v, unsigned leg);
void leg_settle(struct sf_volume *v, unsigned leg);

/* deadline.c */
uint64_t deadline_of(const struct sf_volume *v, unsigned leg, enum sf_kind kind);
/* What the leg has is to be answered in so much time. */
uint64_t deadline_target_ns(const struct sf_volume *v, unsigned leg, enum sf_kind kind);
uint64_t deadline_longest(const struct sf_volume *v, enum sf_kind kind); /* of all legs */
enum sf_deadline_source deadline_source(const struct sf_volume *v, unsigned leg, enum sf_kind kind);
void deadline_note(struct sf_volume *v, unsigned leg, enum sf_kind kind, uint64_t latency_ns);
void deadline_forget(struct sf_volume *v, unsigned leg); /* it is another disk */
void deadline_tick(struct sf_volume *v);

/* pace.c */
void pace_note(struct sf_op *op, unsigned leg); /* it has answered well */
void pace_tick(struct sf_volume *v);
bool pace_is_kept(const struct sf_volume *v, unsigned leg, uint64_t latency_ns);
void pace_reason(const struct sf_volume *v, unsigned leg, char *text, size_t size);

/* penalty.c */
void penalty_moved(struct sf_volume *v, unsigned leg, enum sf_leg_state from);
void penalty_back(struct sf_volume *v,
                  unsigned leg); /* it has ended all that it held, or is there again */
void penalty_seen_well(struct sf_volume *v, unsigned leg);
void penalty_seen_unwell(struct sf_volume *v, unsigned leg);
uint64_t penalty_left(const struct sf_volume *v, unsigned leg); /* to be seen well, yet */
/* The leg's own, and when it is let in again if that is not soon. */
void penalty_reason(const struct sf_volume *v, unsigned leg, char *text, size_t size);

/* lost.c */
void lost_add(struct sf_volume *v, uint64_t offset, uint64_t length, legset legs, int error);
/* Known since before the start. */
void lost_load(struct sf_volume *v, uint64_t offset, uint64_t length);
void lost_clear(struct sf_volume *v, uint64_t offset, uint64_t length);
void lost_written(struct sf_volume *v, uint64_t offset, uint64_t length);
void lost_tell(struct sf_volume *v);

/* medium.c; the offset MEDIUM_HEAD: beside the data */
#define MEDIUM_HEAD UINT64_MAX
void medium_failed(struct sf_volume *v, unsigned leg, uint64_t offset, int error);
/* error: why it could not be read. */
void medium_repaired(struct sf_volume *v, unsigned leg, uint64_t offset, uint64_t length,
                     int error);
void medium_read_failed(struct sf_volume *v, uint64_t offset, uint64_t length, int error);
void medium_settle(struct sf_volume *v); /* legs with too many errors leave */
void medium_tick(struct sf_volume *v);
void medium_stopped(struct sf_volume *v);
void medium_reason(const struct sf_volume *v, unsigned leg, char *text, size_t size);

/* takeover.c */
void takeover_tick(struct sf_volume *v);

/* record.c */
void record_start(struct sf_volume *v);
void record_change(struct sf_volume *v, legset in_sync, legset faulty, bool clean);
/* has_lost: what it was given may lack what a failed flush has lost. */
void record_promote(struct sf_volume *v, unsigned leg, bool has_lost);
/* No answer needs it any more, and it is not promoted. */
void record_drop_newcomer(struct sf_volume *v);
void record_drive(struct sf_volume *v);
/* Writes the record as it is to a leg that it does not name. */
void record_tell(struct sf_volume *v, unsigned leg);
void record_tick(struct sf_volume *v);

/* record_wait.c */
/* Its superblock write is late or has failed: what that means for the leg. */
void record_judge(struct sf_volume *v, unsigned leg);
void record_settle(struct sf_volume *v);

/* join.c: the last steps of a catch-up */
void join_settle(struct sf_volume *v);

/* newcomer.c: legs whose superblock says that they lack everything */
bool newcomer_lacks_all(const struct sf_volume *v, const struct sf_superblock *sb);
void newcomer_arrived(struct sf_volume *v, unsigned leg); /* opened: no stale map knows of it */
void newcomer_settle(struct sf_volume *v, unsigned leg);

/* members.c */
void members_settle(struct sf_volume *v);
void members_stopped(struct sf_volume *v);
int member_replace(struct sf_volume *v, unsigned leg, const struct sf_uuid *uuid, const char *path);
int member_add(struct sf_volume *v, const char *name, const char *path, const struct sf_uuid *uuid,
               unsigned *leg);
int member_remove(struct sf_volume *v, unsigned leg);
int member_find(const struct sf_volume *v, const char *name); /* -ENOENT */
int member_free_place(const struct sf_volume *v);             /* -ENOSPC */

/* operator.c */
int operator_fail(struct sf_volume *v, unsigned leg);
int operator_take_back(struct sf_volume *v, unsigned leg);
int operator_discard(struct sf_volume *v, unsigned leg);
int operator_opened(struct sf_volume *v, unsigned leg, struct sf_tio_device *device,
                    const struct sf_superblock *sb, uint64_t bytes, int error, const char *why);
int operator_configure(struct sf_volume *v, const struct sf_config *config);

/* grow.c */
void grow_settle(struct sf_volume *v);
void grow_end(struct sf_volume *v); /* its record is durable */
void grow_stopped(struct sf_volume *v);
int grow_to(struct sf_volume *v, uint64_t size_bytes);

/* copying.c */
const struct copying *copying_find(const struct sf_volume *v, uint64_t extent); /* NULL */
bool copier_has_piece(const struct sf_volume *v, unsigned leg, uint64_t extent, uint64_t offset,
                      uint64_t length);
/* What was, or is being, copied of it may come from a leg that has dropped it: to a leg that catches up; and
 * whether a convergence has written such. */
void copier_doubt_resync(struct sf_volume *v, uint64_t extent);
bool copier_has_converged(const struct sf_volume *v, uint64_t extent);
void copier_try_again(struct sf_volume *v, uint64_t offset, uint64_t length);
void copier_put_off(struct sf_volume *v,
                    uint64_t extent);                    /* its resync: no source can read it now */
void copier_spoil(struct sf_volume *v, uint64_t extent); /* its copies may differ again */
void copier_extent_grows(struct sf_volume *v, uint64_t extent);
void copier_leg_left(struct sf_volume *v, unsigned leg);
void copier_foreground(struct sf_volume *v, uint64_t latency_ns);
bool copier_is_copying(const struct sf_volume *v);

/* scrub_state.c */
bool scrub_is_under_way(const struct sf_volume *v);
bool scrub_holds_a_copy(const struct sf_volume *v);
bool scrub_is_looking(const struct sf_volume *v);
/* A leg has dropped what it had there, or may have: was that the word for which another leg was written? */
bool scrub_loses_word(struct sf_volume *v, uint64_t extent);
void scrub_believe_words(struct sf_volume *v);
/* That op has made stable all that was there before it. */
void scrub_flushed(struct sf_volume *v, uint64_t op_id);

/* copy.c: one piece */

void copy_finish(struct sf_op *op, bool good); /* a scrub: nothing is written */
void copy_repair(struct sf_op *op, unsigned source, legset bad);

/* scrub.c */
int scrub_init(struct sf_volume *v);
void scrub_destroy(struct sf_volume *v);
void scrub_settle(struct sf_volume *v);
void scrub_stopped(struct sf_volume *v);
int scrub_begin(struct sf_volume *v, const struct sf_scrub_order *order);
int scrub_pause(struct sf_volume *v, bool paused);
int scrub_cancel(struct sf_volume *v);
/* Its disk is another one, or is to be copied whole: what was said of it holds no more. */
void scrub_leg_is_another(struct sf_volume *v, unsigned leg);
void scrub_status(const struct sf_volume *v, struct sf_scrub_status *status);

/* scrub_vote.c */
struct scrub_verdict {
  legset good; /* they have what is right, or all that could be read is the same; 0: nobody knows */
  legset bad;  /* they could be read, and have something else */
};
/* Of these legs' copies, from there on: the first blocks that have one verdict and are not alike; length 0: there
 * are none. */
struct scrub_verdict scrub_vote(const struct sf_op *op, legset read, uint64_t *from,
                                uint64_t *length);
void scrub_note(struct sf_volume *v, const struct sf_scrub_range *range);

/* copier.c: which extents, and when */
int copier_init(struct sf_volume *v);
void copier_destroy(struct sf_volume *v);
void copier_settle(struct sf_volume *v);
void copy_move(struct sf_volume *v, struct copy *copy, enum copy_state state);
/* Something is written there to legs in sync alone: all others lack it, one that joins and one that is being given
 * a copy included. */
void copier_passes_by(struct sf_volume *v, uint64_t extent);
uint64_t copier_rate(struct sf_volume *v); /* in force now; 0: no limit */

/* map_load.c: from what the legs hold at the start */
int maps_load(struct sf_volume *v, const struct sf_volume_params *params);
void maps_destroy(struct sf_volume *v);

/* intent.c: which extents may be written, and when that ends */
bool intent_ready(struct sf_volume *v, uint64_t offset, uint64_t length);

/* intent_clear.c */
void intent_tick(struct sf_volume *v);
bool intent_stop(struct sf_volume *v); /* all is flushed: is nothing intended any more? */

/* map_pages.c */
/* Legs that are to have the pages, and of these the ones that lack so much of one. */
legset map_targets(const struct sf_volume *v);
legset map_lacking(const struct sf_volume *v, const struct map_page *page, uint64_t version);
void map_encode(const struct sf_volume *v, uint64_t page, uint8_t bytes[SF_PAGE_BYTES]);
void map_changed(struct sf_volume *v, uint64_t page, bool urgent);
void map_need(struct sf_volume *v, uint64_t page, uint64_t version);
void map_carry(struct sf_volume *v, unsigned leg); /* all pages as they are now, to a newcomer */
bool map_is_carried(const struct sf_volume *v, unsigned leg);
/* So much of the page is on every leg that an answer needs. */
bool map_is_durable(const struct sf_volume *v, uint64_t page, uint64_t version);
void map_leg_left(struct sf_volume *v, unsigned leg); /* what it holds is not known any more */
/* It may have dropped any that it was given: one that ended well beside a flush that failed unheard. */
void map_write_again(struct sf_volume *v, unsigned leg);
void map_leg_flushed(struct sf_volume *v, unsigned leg);
bool map_is_quiet(const struct sf_volume *v);

/* map_write.c */
void map_settle(struct sf_volume *v);

/* meter.c: what the operator is told of the pace.  Nothing is decided by it. */
/* The leg has ended its part. */
void meter_ended(struct sf_volume *v, const struct io_part *part, const struct sf_tio_event *event);
/* A client's request is answered. */
void meter_answer(struct sf_volume *v, const struct sf_request *request, int error);
void meter_tick(struct sf_volume *v);
void meter_leg_status(const struct sf_volume *v, unsigned leg, struct sf_leg_status *status);
void meter_status(const struct sf_volume *v, struct sf_volume_status *status);

/* Each request of a client that is not answered, and its age. */
typedef void meter_visit_fn(void *ctx, enum sf_kind kind, uint64_t age_ns);
void meter_visit_waiting(const struct sf_volume *v, meter_visit_fn *visit, void *ctx);
legset
meter_overdue(const struct sf_volume *v); /* legs that owe an answer for longer than they may */

/* culprit.c: whom a suspended or failed volume waits for */
legset culprit_legs(const struct sf_volume *v);
/* "waits for leg g: 4 writes, the oldest 6.2 s; 2 legs needed"; "" in any other state. */
void culprit_text(const struct sf_volume *v, char *text, size_t size);
void volume_tell_state(struct sf_volume *v); /* if it is another one */

/* status.c */
void status_fill(const struct sf_volume *v, struct sf_volume_status *status);

static inline bool
clients_were_here(const struct sf_volume *v, uint64_t within_ns) {
  return v->now_ns - v->foreground_ns <= within_ns;
}

static inline uint64_t
map_page_of(uint64_t extent) {
  return extent / SF_MAP_EXTENTS;
}

static inline uint64_t
extent_of(const struct sf_volume *v, uint64_t offset) {
  return offset >> v->extent_shift;
}

#endif

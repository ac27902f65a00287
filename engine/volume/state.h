/* The state of a volume: what its files share.  All of it is guarded by volume->lock; each part
 * says which file writes it. */
#ifndef SF_VOLUME_STATE_H
#define SF_VOLUME_STATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "volume/state_leg.h"

enum { SF_COPY_SLOTS = 16, SF_COPY_EXTENTS = 4 };

/* ---- ops: requests and copies on their way ---- */

/* What an op of a kind does; one table in the file of each kind. */
struct op_kind {
  const char *name;
  enum sf_kind timeout; /* the kind of timeout that counts */
  bool reads;           /* a client's read: it writes only where it repairs */
  bool writes;          /* a client's change */
  bool copies;          /* between legs */
  bool brings_back;     /* legs: the last free ops are for such */

  bool (*may_run)(struct sf_op *op); /* false: it has been put off; NULL: it always may */
  void (*run)(struct sf_op *op);
  void (*run_again)(struct sf_op *op); /* it is sent anew */
  /* Its own completion has come there; true: what it said counts later. */
  bool (*ended)(struct sf_op *op, unsigned leg, const struct sf_tio_event *event);
  /* An event that is not late, and is noted in the op already; of the op's io number `try`. */
  void (*on_event)(struct sf_op *op, unsigned leg, unsigned try, const struct sf_tio_event *event);
  void (*review)(struct sf_op *op);          /* after an event or a change of the set */
  void (*fail)(struct sf_op *op, int error); /* nothing more is tried */
  void (*answered)(struct sf_op *op, int error);
};

/* What keeps an op from being sent: its intent, which is not durable yet (R8); or there was no slot
 * for it, or too few legs had it, and it is sent again at the next tick. */
enum sf_op_hold { HOLD_NOT, HOLD_INTENT, HOLD_AGAIN, HOLDS };

enum op_state { OP_FREE, OP_WAITING, OP_RUNNING, OP_DRAINING, OP_STATES };

struct sf_op {
  struct sf_state_machine machine;
  struct sf_list link; /* v->active in order of arrival; or v->ops_free */
  struct sf_volume *volume;
  struct sf_request *request; /* NULL once answered, and for a copy */
  const struct op_kind *kind;
  bool blocks_reads; /* COPY: the extent is being converged */
  bool scrubs;       /* COPY: it only compares, as yet: no suspended write may be half done there */
  bool hurried;      /* COPY: a client waits for it */
  bool passable;     /* it was suspended once, and copies may pass it while it is */
  bool request_fua;  /* stable where it is ok: nothing is left unflushed */
  bool listed;       /* in v->active: later overlapping ops wait for it */
  bool checkpoint;   /* FLUSH: of the legs that catch up too */
  bool was_held;     /* FLUSH: it was tried before, in vain */
  enum sf_op_hold hold;
  uint64_t offset, length;
  uint64_t asked_ns;   /* when its client asked for it, or what it waited for was zeroed last */
  uint64_t started_ns; /* when it came to the volume */
  uint64_t paced_ns;   /* when the last but one of its legs answered */
  unsigned blockers;   /* earlier overlapping ops still active */
  uint64_t clears;     /* WRITE, ZERO: the change of the bad ranges that it waits for; 0: none */

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
  /* READ that met errors everywhere: the legs that failed it the time before, since when it is
   * asked now, and those that answered something else in between: this block is bad there. */
  legset failed_before, bad;
  uint64_t round_ns, again_ns; /* not sent again before */
  legset writing;              /* READ, COPY: legs to which this op writes */

  unsigned ios;
  struct leg_io io[SF_LEGS_MAX];
  struct sf_tio_buffer *buffer[SF_LEGS_MAX]; /* READ: of each try */

  struct sf_request *followers; /* FLUSH: answered with it */
  struct copy *copy;            /* COPY; NULL once it has ended */
};

/* The ops of v->active in order of arrival: all; those behind an op, and those before it. */
#define EACH_ACTIVE(op, v)           EACH_ACTIVE_FROM(op, (v)->active.next, &(v)->active)
#define EACH_ACTIVE_AFTER(later, op) EACH_ACTIVE_FROM(later, (op)->link.next, &(op)->volume->active)
#define EACH_ACTIVE_BEFORE(earlier, op)                                                            \
  EACH_ACTIVE_FROM(earlier, (op)->volume->active.next, &(op)->link)
#define EACH_ACTIVE_FROM(op, first, end)                                                           \
  for (struct sf_op *op = ACTIVE_OP(first); &op->link != (end); op = ACTIVE_OP(op->link.next))
/* All, where the body may unlist or move `op` itself and nothing else. */
#define EACH_ACTIVE_UNLISTING(op, v)                                                               \
  for (struct sf_op *op = ACTIVE_OP((v)->active.next), *op##_next = ACTIVE_OP(op->link.next);      \
       &op->link != &(v)->active; op = op##_next, op##_next = ACTIVE_OP(op->link.next))
#define ACTIVE_OP(entry) SF_LIST_ENTRY(entry, struct sf_op, link)

struct own_flush { /* asked for by the volume itself; own_flush.c */
  struct sf_request request;
  struct sf_volume *volume;
  void (*on_end)(struct sf_volume *v, int error); /* at once; or NULL */
  bool running;
  bool ended; /* and its asker has not looked */
};

/* ---- copies: resync and convergence ---- */

enum copy_state { COPY_IDLE, COPY_WAITING, COPY_READING, COPY_WRITING, COPY_STATES };

struct copy {
  struct sf_state_machine machine;
  struct sf_op *op;
  struct copying *of;
  unsigned piece;
  int source;
  legset targets;
  legset differ;  /* CONVERGE: may differ from the source */
  legset unread;  /* of these, could not be read */
  legset rewrite; /* CONVERGE: written whatever they read */
  legset reading;
  legset well;      /* those that failed had read something else since the last time */
  legset tried;     /* RESYNC: sources that could not read it */
  legset run;       /* the blocks in writing go to these */
  uint64_t written; /* of the piece, the blocks in writing included */
  struct sf_tio_buffer *run_buffer;
  struct sf_tio_buffer *buffer[SF_LEGS_MAX]; /* one per leg that is read */
};

struct doubt { /* of a block that no leg can read: is it lost? */
  uint64_t failed_ns,
      counted_ns; /* when it last did, and when that last counted; 0: it never did */
  unsigned looks; /* that counted */
};

/* AGAIN: no leg could read the block.  It is asked once more, when each has shown that it reads otherwise. */
enum piece { PIECE_TO_COME, PIECE_ISSUED, PIECE_DONE, PIECE_AGAIN };

/* For a copy that compares instead of writing (scrub.c). */
struct copy_judge {
  bool (*may_look)(const struct sf_op *op); /* or legs may differ there, and rightly so */
  void (*compare)(struct sf_op *op);        /* all has been read, or cannot be */
  void (*ended)(struct sf_volume *v, struct copy *copy, bool good);
};

struct copying { /* an extent under way */
  bool active;
  bool converge;                  /* else resync of `leg` */
  bool zeroes;                    /* converge, with zeros for a source: it was never written */
  bool is_first;                  /* and no zeros were written there before */
  legset also;                    /* legs that catch up and have all of it that is done */
  const struct copy_judge *judge; /* converge, and it handles the data that were read; or NULL */
  bool failed;                    /* a piece failed: leave the extent as it is */
  bool
      lacks; /* resync: a block of it can be read nowhere and is not recorded; all else is copied */
  bool no_room;   /* for want of room */
  bool elsewhere; /* a leg that is out may have it */
  uint64_t marks; /* it ends when this change of the bad ranges is durable */
  unsigned leg;
  uint64_t extent;
  uint8_t *piece; /* enum piece, of each */
  uint64_t piece_bytes;
  uint64_t again_ns;      /* when the last one became AGAIN */
  uint64_t doubt_ns;      /* when the first one did */
  struct doubt *doubt;    /* of each piece */
  unsigned doubted, sure; /* pieces that ever were AGAIN; that are done and never were */
  unsigned agains;        /* so often one was */
  bool shows; /* CONVERGE: the latter are flushed, and read while the others are asked again */
  bool wrote; /* something of it */
  unsigned pieces, issued_pieces, done_pieces, in_flight;
  unsigned come_from, again_from; /* no piece before is to come, or to be asked again */
};

struct copier {
  struct copying extent[SF_COPY_EXTENTS];
  struct copy slot[SF_COPY_SLOTS];

  /* Convergence: copied and not yet flushed, so not yet answered for; of these, the ones that the
   * flush under way covers. */
  struct sf_map copied, flushing_copied;
  struct own_flush flush;
  uint64_t cursor; /* where the background goes on */
  /* A piece of it could not be read on any leg: it is converged block by block. */
  struct sf_map by_block;
  struct sf_map put_off; /* not resynced before put_off_until_ns: no source could read all of it */
  uint64_t put_off_until_ns, put_off_ns; /* longer each time */
  /* Unwritten extents that are being zeroed: unconverged for that alone. */
  struct sf_map zeroing;
  struct sf_map
      counted; /* of which a piece was zeroed and then broken off: no sign of progress again */
  uint64_t zero_cursor; /* where the background goes on with them */

  /* R15: rate control. */
  uint64_t rate;        /* bytes per second */
  uint64_t issue_at_ns; /* no piece before: something failed */
  uint64_t pace_ns;     /* nor before this, by the rate, unless a client waits for it */
  uint64_t adapt_at_ns;
  uint64_t resync_began_ns;  /* before zeros for which clients wait: when the last extent was */
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
  /* Repaired for the word of one leg, or of more, of which none had flushed what it has there, nor
   * has since. */
  struct sf_map guessed, voted;
  uint64_t word_id; /* ops with a higher number came after the last of these */
  uint64_t cursor;
  uint64_t begun_ns, ended_ns, pace_ns;
  uint64_t looked_ns; /* when the last look began; 0: there was none */
  struct own_flush flush;
  struct scrub_slot slot[SF_SCRUB_SLOTS];
};

/* ---- the maps on disk (R8) ---- */

enum {
  MAP_WRITES_MOST = 16, /* under way at once; writes held by hung legs are not counted */
};

enum map_write_state { MAP_IDLE, MAP_WRITING, MAP_HELD, MAP_WRITE_STATES };

struct map_write { /* of one page, to some legs */
  struct sf_state_machine machine;
  struct leg_io io;
  struct sf_tio_buffer *buffer; /* NULL unless writing */
  uint64_t page;
  uint64_t version;
  bool second; /* copy of it */
  legset pending;
};

struct map_page {
  uint64_t version;            /* of its contents in memory; 1: as at the start */
  uint64_t must;               /* an op waits for so much of it */
  uint64_t carry;              /* a newcomer is given so much of it */
  uint64_t sent[SF_LEGS_MAX];  /* the version last sent to the leg */
  uint64_t done[SF_LEGS_MAX];  /* the version that it holds, in all copies; 0: not known */
  uint64_t first[SF_LEGS_MAX]; /* that its first copy holds */
  uint64_t written;            /* the first version that calls nothing unwritten any more */
  legset read;                 /* it was read from there at the start, and holds that */
  legset busy;                 /* a write of it runs there: at most one per leg */
  legset overdue, failed;      /* the last one is late, or ended with an error */
  bool had_intent;             /* at the start */
  /* Of a leg that lacks everything: the first version that calls all of it stale. */
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
  struct sf_map urgent;   /* pages that an op waits for */
  struct sf_map lazy;     /* pages that promise less on disk than they could */
  struct sf_map troubled; /* pages with a leg that is overdue or failed */
  struct map_write *write;
  unsigned writes, writing;
  uint64_t retry_ns[SF_LEGS_MAX]; /* after an error there */
  int error[SF_LEGS_MAX];         /* that one */
  uint64_t resume_ns;             /* no room below: not before */
  uint64_t look_ns;               /* for idle extents next */
  uint64_t checkpoint_ns;         /* of copied extents: not before */
  unsigned looks;                 /* since something was cleared */
  uint64_t written_ns;            /* when a client last wrote */
  bool twice;                     /* each page has a second copy */
  uint64_t once_version;          /* of the record by which they count no more */
  uint64_t untold;                /* pages that could be read on no leg at the start */
  struct own_flush flush;
};

/* The machines of ground/steps.c, which alone moves them. */
enum phase {
  PHASE_CLAIMING,
  PHASE_RECORDING,
  PHASE_SERVING,
  PHASE_STOPPING,
  PHASE_STOPPED,
  PHASES
};
enum join_step { JOIN_NONE, JOIN_CARRY, JOIN_DRAIN, JOIN_FLUSH, JOIN_RECORD, JOIN_STEPS };
enum stop_step { STOP_NONE, STOP_DRAIN, STOP_FLUSH, STOP_MAPS, STOP_RECORD, STOP_STEPS };
enum grow_step { GROW_NONE, GROW_WAIT, GROW_PAGES, GROW_RECORD, GROW_STEPS };

struct grow {
  enum grow_step step;
  uint64_t size_bytes;
  uint64_t first_page; /* of those with something new */
  uint64_t version;    /* of the record with the new size */
};

/* A change of the members, until its record is durable: one at a time. */
struct member_change {
  bool under_way;
  enum sf_volume_event_kind event; /* that tells its end */
  unsigned leg;
  uint64_t version; /* of that record */
};

/* Another leg takes the place of one that answers nothing and cannot be spared: exchange.c decides,
 * record.c writes it. */
struct exchange {
  legset unheard;    /* that leg; 0: there is none */
  uint64_t since_ns; /* when it was found to be so */
  /* The record on its way names another leg instead of it: until that is durable it is in the set
   * like any other. */
  legset leaving;
  legset unasked;  /* the last record names it, and is durable without it */
  legset promoted; /* named beside the set by a record since the durable one */
  uint64_t both;   /* the record of this version is durable in both copies only */
};

struct bad {          /* see set/bad.h, and only bad.c writes it */
  struct sf_bad list; /* as decided; identity.bad: as in the last record */
  /* Changes of it: decided, in the last record, in the durable one. */
  uint64_t changes, submitted, durable;
  uint64_t submitted_version; /* that record's */
  struct sf_bad stands;       /* in the durable record */
  uint64_t look_ns;           /* between two looks at a block in doubt that both count */
};

/* ---- what is decided and not told yet ---- */

enum {
  OUTBOX_EVENTS = 64,
  OUTBOX_ONCE = 8, /* of these places, for events that are told once */
  OUTBOX_STOP = 1, /* and for the stop */
};

struct outbox_event {
  struct sf_volume_event event;
  char leg_name[SF_LEG_NAME_MAX], reason[PATH_MAX]; /* it may be a leg's path */
  uint64_t order;
};

struct outbox { /* outbox.c; the rest is delivery.c's */
  struct sf_request *answers, **answers_tail;
  struct outbox_event event[OUTBOX_EVENTS]; /* a ring */
  unsigned events_first, events_n;
  struct sf_volume_event untold; /* of what had no room: how many, and when the last one came */
  uint64_t untold_order;         /* the place of the first */
  struct sf_volume_event untold_telling;
  char untold_reason[96];
  bool stop_is_put;
  uint64_t decided, told; /* in order: the last one's number */

  bool telling;
  pthread_t teller;
  atomic_uint coming; /* threads that wait for the lock and will leave in their turn */
  unsigned waiting;   /* for `changed` */
  pthread_cond_t changed;
};

struct sf_volume {
  pthread_mutex_t lock;
  struct outbox outbox;
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
  bool takes;          /* another holder's legs: not served before it can have seen the claim */
  bool stop_told;      /* of a volume that was taken */
  bool taken;          /* from us, by another host: no I/O any more */
  char taken_by[SF_LEG_REASON_MAX];
  uint64_t gone_looks;               /* so many were begun, of all legs: each has its number */
  uint64_t look_at_ns;               /* when the superblocks are looked at next */
  uint64_t version, durable_version; /* of latest, durable; in memory only */
  uint64_t durable_ns;               /* since when it is */
  legset ack_legs; /* an answer needs these: every set since the durable one, and a newcomer */
  legset counted;  /* newcomer that answers count already (reading 3 of the rules) */
  int promoting;   /* leg with a promotion that is submitted and not durable, or -1 */
  int joining;     /* leg that is counted: its flush and then its record are under way, or -1 */
  struct exchange exchange;
  legset word_wanted; /* sample.c: legs that were asked whether they answer, and have not yet */
  unsigned min_legs;

  struct sf_op *ops;
  struct sf_list ops_free;
  unsigned ops_free_n;
  struct sf_list active; /* running, draining, or waiting for an earlier one */
  unsigned waiting_ops;
  unsigned suspended;                       /* too few legs had them: sent again at a tick */
  bool runnable;                            /* one of these waits for no other any more */
  struct sf_request *held, **held_tail;     /* until the volume serves, or an op is free */
  struct sf_request *parked, **parked_tail; /* reads that wait for convergence (R11) */
  struct sf_op *flush_leader;
  struct sf_request *flush_queue, **flush_queue_tail;
  struct sf_request *flush_held, **flush_held_tail; /* tried again, not before flush_again_ns */
  uint64_t flush_again_ns;
  bool flush_released; /* some in the queue are such */

  struct sf_map unconverged; /* may differ between in-sync legs (R11) */
  struct sf_map unwritten;   /* reads as zeros, whatever the legs hold (R17) */
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
    bool left; /* some are to be told when there is room in the outbox */
  } lost;
  struct bad bad;
  struct tally read_failed; /* to clients */
  struct grow grow;
  struct member_change change;
  struct drill {                  /* drill.c */
    struct sf_tio_device *device; /* frozen by us; NULL: there is no drill */
    unsigned leg;
    uint64_t until_ns;
  } drill;

  struct {
    uint64_t until_ns, waited_ns;
    unsigned answers;
  } pace;                   /* of clients, in this period */
  uint64_t deadlines_at_ns; /* they are looked at next */
  uint64_t timer_ns;        /* when the host was asked to tick */
  uint64_t awaited_ns
      [SF_KINDS];      /* since when requests wait for legs that do not answer; 0 = none does */
  uint64_t starved_ns; /* since when some request lacks legs; 0 = none does */
  bool failed;         /* the last answer for too few legs was an error */
  uint64_t stop_by_ns;
  bool stop_is_clean; /* all is flushed, and the maps say so */
  bool dirty;         /* something moved: sf_vol_settle has work */
  bool checks_all;    /* for tests: sf_vol_check asks also what takes long */
  uint64_t next_id;

  struct own_flush join_flush; /* may run on when the join is off */
  struct own_flush stop_flush;
  enum join_step join_step;
  enum stop_step stop_step;
  uint64_t join_id;  /* ops older than this must end before the newcomer is flushed */
  struct join_wait { /* join.c: none is begun before, as long as it needs the same legs */
    uint64_t until_ns;
    uint64_t ns; /* the last one; 0: the last attempt did not fail for another leg's sake */
    legset needed;
    bool broke_off; /* the last attempt: zeros that were under way */
  } join_wait;

  uint64_t reads, writes, flushes, late_acks, errors;
  uint64_t bytes_read, bytes_written;
  uint64_t foreground_ns; /* when a client's request was last answered */
  uint64_t told_ns;       /* since when it is in the state last reported */

  uint64_t slice_ns;                         /* when the slice of the meters ends */
  struct sf_latency_meter latency[SF_KINDS]; /* as clients see it */
};

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

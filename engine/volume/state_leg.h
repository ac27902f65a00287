/* The state of a leg, and of one timed request of ours to legs.  Each part says which file writes
 * it. */
#ifndef SF_VOLUME_STATE_LEG_H
#define SF_VOLUME_STATE_LEG_H

#include <errno.h>

#include <surefoot/volume.h>

#include "base/assert.h"
#include "base/list.h"
#include "base/state_machine.h"
#include "base/units.h"
#include "volume/ground/latency.h"
#include "volume/ground/map.h"
#include "volume/ground/window.h"
#include "volume/legset.h"

struct sf_op;

/* ---- one timed request of ours to one or more legs ---- */

enum { SF_DROPPED = -EAGAIN }; /* the error of a CANCELED event: a failed flush took it with it */

struct leg_io_args {
  enum sf_tio_op op;
  unsigned flags;
  enum sf_kind kind;   /* the kind of timeout that counts */
  enum window_use use; /* the part of the window */
  legset legs;
  uint64_t offset; /* on the leg */
  uint64_t length;
  struct sf_tio_buffer *buffer;
  bool unjudged; /* its result says nothing of the leg */
  /* A repair: no other leg is given the same, so it is judged by what others answer otherwise. */
  bool alone;
};

/* WAITING for the leg's window, SENT, ENDED; DROPPED: it was not sent and will not be, which is
 * told soon. */
enum part_state { PART_ENDED, PART_WAITING, PART_DROPPED, PART_SENT };

struct leg_io_part {   /* of one leg; leg_io.c, insync.c and meter.c */
  struct sf_list link; /* of the leg: waiting or outstanding; or v->dropped */
  struct leg_io *io;
  uint64_t handle;
  uint64_t since_ns, sent_ns; /* since when it waits; when the leg got it */
  uint64_t timeout_ns, cost_ns;
  uint64_t held_up_ns; /* of its time, by silences of the leg (silence.c) */
  uint8_t state, leg, class, use;
  bool told;    /* that it is overdue, or was given up */
  bool overdue; /* past its timeout */
  bool counted; /* in the window */
};

struct leg_io {
  struct sf_volume *volume;
  void *owner;
  /* Every notify and late event; `running` is up to date already.  The io may be reused inside. */
  void (*on_event)(struct leg_io *io, unsigned leg, const struct sf_tio_event *event);
  /* May be NULL.  A part that waited has been sent. */
  void (*on_sent)(struct leg_io *io);
  struct leg_io_args args;
  struct leg_io_part part[SF_LEGS_MAX]; /* of each region */
  unsigned regions;
  unsigned running; /* regions without their own completion, or that wait */
  bool flushes;     /* it is a flush, or carries one (FUA) */
  bool fua;         /* the latter */
  bool reads;
  bool of_client; /* it does what a client has asked for: no copy, no page of ours, no repair */
  uint64_t seq;   /* of all submissions of the volume */
};

/* What leg_io.c calls above itself; given when the volume is made. */
struct leg_io_above {
  sf_tio_event_fn *notify; /* takes the lock, and hands the event to sf_leg_io_event() */
  /* Before an event that says that a flush failed is handled, and after. */
  void (*flush_fails)(struct sf_volume *v, unsigned leg, const struct leg_io *io, int error);
  void (*flush_failed)(struct sf_volume *v, unsigned leg, int error);
  void (*fua_ended)(struct sf_volume *v, unsigned leg, uint64_t seq);
};

/* Its own completion has come: nothing of that region runs any more. */
static inline bool
event_is_final(const struct sf_tio_event *event) {
  return event->late || event->state == SF_TIO_OK || event->state == SF_TIO_ERROR ||
         (event->state == SF_TIO_CANCELED && event->kind == SF_TIO_REAL);
}

/* ---- legs ---- */

struct meta {
  struct leg_io io;
  struct sf_tio_buffer *buffer;
  bool busy;            /* a superblock write is in flight: at most one per leg */
  bool overdue, failed; /* the one in flight is late; the last one failed */
  bool tells;           /* it tells a leg that is out that it is */
  unsigned untold;      /* copies on the leg that may say too much of it: bit i */
  uint64_t sent, done;  /* versions of the volume's record */
  unsigned copies;      /* of the superblock that hold `done` */
  bool doubted;         /* a flush failed beside the last write of it */
  int error;
  uint64_t retry_ns;
  uint64_t second_ns;         /* the second copy is not tried before */
  struct sf_superblock image; /* the page being written */
};

enum { DEADLINE_SECONDS = 240 };

struct deadline {      /* of one leg and kind, as its latencies have it */
  uint64_t timeout_ns; /* 0: not known yet */
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

struct tally { /* events told together; the last of them */
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
  uint64_t remembered_ns;      /* of the charges, as of charged_ns */
  uint64_t charged_ns;
  unsigned absences; /* since the first remembered one */
  uint64_t first_ns;
  uint64_t keep_ns; /* it must be seen well for so long, and is since; 0: is not */
  uint64_t well_ns;
};

struct blame { /* insync.c: it failed something that others have, and is judged by their word */
  uint64_t since_ns; /* the first time; 0: it is not blamed */
  uint64_t last_ns;  /* when it was last judged, with these: */
  legset witnesses;
  enum sf_kind kind;
  uint64_t offset; /* on the leg */
  int error;
  char reason[SF_LEG_REASON_MAX];
};

struct leg {
  struct sf_state_machine machine; /* enum sf_leg_state */
  unsigned index;
  struct sf_tio_device *device;
  struct sf_superblock sb; /* newest on the leg */
  uint64_t bytes;          /* of the whole leg */
  unsigned running;        /* regions of ours in the kernel, detached ones included, or waiting */
  /* leg_io.c: what it was handed, in order, detached ones included, and what waits for its
   * window. */
  struct window window;
  struct sf_list outstanding, waiting[WINDOW_USES];
  unsigned outstanding_n, waiting_n;
  unsigned judged_n;  /* outstanding that say something of the leg */
  unsigned overdue_n; /* outstanding past their timeout */
  unsigned flushes_n; /* outstanding that are flushes or carry one */
  /* silence.c: when it last ended anything; since when it has had some of judged_n without a break;
   * and, by the kind that it was too long for, when it last did after it had been silent for its
   * timeout, and for so long that it would have left, had others been well. */
  uint64_t answered_ns, busy_since_ns, awake_ns[SF_KINDS], stalled_ns[SF_KINDS];
  uint64_t silence_ns; /* the last, of any timeout; 0: what it held up has it counted */
  struct {
    uint64_t ns, end_ns;
  } stall[2]; /* silences of a write's timeout: the last, and a longer one of a moment ago */
  /* Of what it has answered, of writes and of reads: when the newest was sent. */
  uint64_t newest_sent_ns[2];
  uint64_t longest_flush_ns; /* lately, of flushes and writes with FUA, late ones included */
  struct meta meta;

  struct sf_map stale;  /* lacks an acknowledged write */
  struct sf_map zeroed; /* it catches up, and has all zeros of these, which are unwritten as yet */
  struct sf_map unflushed; /* completed there since the last good flush was submitted */
  struct sf_map flushing;  /* covered by the flush in flight */
  struct sf_op *flush_op;
  unsigned flushes; /* in the kernel, those given up on included */
  bool flush_late;  /* one of them is past its timeout */
  /* flush_failure.c: a flush failed, and data unflushed then may be lost there; of those, extents
   * that another leg has and that are being converged. */
  bool flush_failed, heals;
  uint64_t flush_failed_ns;
  int flush_error;
  struct sf_map lost, healing;
  struct sf_map unsure; /* may read right and never get to the disk: a convergence writes it anew */
  uint64_t dropped_seq; /* earlier regions have run across a failed flush */
  unsigned fua_running; /* regions with FUA in the kernel */
  /* A flush that went well while some of them ran: it counts when those, so many of up to that
   * number, have ended well too. */
  struct sf_op *flush_waiting;
  unsigned flush_waits;
  uint64_t flush_waits_seq, flush_waits_until_ns;
  /* Pages of the maps in which stale bits were cleared: since the last flush was submitted, and
   * before it.  Written once it is flushed, so that a resync goes on where it was. */
  struct sf_map settled, settling;

  struct leg_io look_io; /* takeover.c */
  struct sf_tio_buffer *look_buffer;
  unsigned looks;
  bool mark_seen;         /* mark.c: since it was opened, the mark was there or was written */
  uint64_t opened_serial; /* of the newest superblock that stood there when it was opened */

  struct leg_io probe_io;
  struct sf_tio_buffer *probe_buffer;
  unsigned probe_step, probes_ok;
  bool ready;      /* its probes went well; it is told what a start is to know, and catches up */
  bool is_older;   /* than we left it: what its superblock says of itself is too good */
  int probe_error; /* of one that was late; 0: it went well in the end */
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
  /* It is dead, and another opening of it is there: it gets nothing until what it has has ended, or
   * until then; 0: it does.  And it is not to be so again before. */
  uint64_t drain_until_ns, drain_from_ns;
  struct blame blame;
  /* sample.c: its word is asked for, and not again before; a pause, longer after each error. */
  uint64_t ask_at_ns, ask_pause_ns;
  uint64_t well_ns;   /* when its last trouble ended */
  uint64_t error_ns;  /* when it got what it answered last with an error */
  bool erred;         /* faulty for what it answered, not by the operator's word */
  uint64_t gone_look; /* the look, whether its disk has left, whose answer counts; 0: none */
  /* When it last answered that it has no room; so it is not tried before; the pause, longer each time. */
  uint64_t no_room_ns, room_at_ns, room_pause_ns;
  char reason[SF_LEG_REASON_MAX];
  struct sf_latency_meter latency[SF_KINDS];
  struct deadline deadline[SF_KINDS];
};

#endif

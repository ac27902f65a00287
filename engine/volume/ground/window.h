/* The window of a leg: how much is handed to it at once, so that it is never late because we asked
 * too much.
 *
 * It counts time, not requests.  A request costs what the leg takes between two completions while
 * it is busy (Little's law: with n outstanding, each waits n times that), measured for each class
 * of requests by itself, since a small one behind large ones is not a fast one and a random one
 * behind sequential ones is not either, nor one of two runs that alternate.  One more is sent while
 * the costs of all that is outstanding stay below the target, which is half the timeout in force
 * (Kyber and blk-wbt keep a target latency the same way, by fewer outstanding requests; CoDel's
 * lesson is that the time in the queue is what counts, and not its length).
 *
 *   A class of which little is known begins with one request and doubles with each answer (TCP's
 *   slow start): a first 256 KiB may take 52 ms, and a disk of 100 us is at its limit within a
 *   millisecond.  One request over the target is tried now and then, or a leg that works on many at
 *   once and is slow in each would be held at one for ever (BBR probes for bandwidth for the same
 *   reason).  A pause is not learned as the pace: one gap counts as a few usual ones at most.
 *   Beside a flush the first slower answers say nothing: it may be what they waited for.
 *   The caller tells of answers after the timeout too, where they show that the leg is slower than
 *   it was taken for; of what a silence held up it does not tell (leg_io.c).
 *
 * Pure: no clock, no lock, nothing of the volume. */
#ifndef SF_VOLUME_WINDOW_H
#define SF_VOLUME_WINDOW_H

#include <stdbool.h>
#include <stdint.h>

#include <surefoot/timed_io.h>

enum {
  WINDOW_SIZES = 6,   /* up to 4, 16, 64, 256 KiB, 1 MiB, and more */
  WINDOW_KINDS = 4,   /* read, write, write with FUA, zero */
  WINDOW_ORDERS = 3,  /* goes on with the last one, with another run, or with none */
  WINDOW_STREAMS = 4, /* sequential runs that are known at a time */
  WINDOW_CLASSES = WINDOW_KINDS * WINDOW_ORDERS * WINDOW_SIZES,
  WINDOW_UNMEASURED =
      WINDOW_CLASSES, /* a flush: it covers earlier writes, and is no work of its own */
};

enum window_use {
  WINDOW_CLIENTS, /* requests, and copies that one waits for */
  WINDOW_META,    /* superblocks, maps, probes: before all others, and one always fits */
  WINDOW_COPIES,  /* a part of the window, and nothing while clients wait */
  WINDOW_USES
};

struct window {
  uint64_t cost_ns[WINDOW_CLASSES];
  uint8_t seen[WINDOW_CLASSES]; /* answers, as far as they are counted */

  unsigned of_class[WINDOW_CLASSES]; /* outstanding */
  unsigned outstanding[WINDOW_USES];
  uint64_t planned_ns[WINDOW_USES];    /* the costs of those, as they were when they were sent */
  unsigned unmeasured;                 /* flushes outstanding */
  unsigned slower;                     /* answers in a row beside it, as far as they are counted */
  unsigned refused;                    /* since one was let go over the target */
  uint64_t target_ns;                  /* the last */
  uint64_t busy_ns;                    /* since when it has not been idle, or its last answer */
  uint64_t stream_end[WINDOW_STREAMS]; /* the last one first */
};

/* Of a request, were it sent next. */
unsigned sf_window_class(const struct window *window, enum sf_tio_op op, bool fua, uint64_t offset,
                         uint64_t length);
/* That it is sent now, so the leg is where it ends. */
void sf_window_moves(struct window *window, enum sf_tio_op op, uint64_t offset, uint64_t length);

/* What a request of the class is expected to add, for a target. */
uint64_t sf_window_cost(const struct window *window, unsigned class, uint64_t target_ns);

/* Whether one more of that cost may go now.  clients: some were here lately, and copies keep to
 * less. */
bool sf_window_admits(struct window *window, enum window_use use, uint64_t cost_ns,
                      uint64_t target_ns, bool clients);

/* Whether one more copy stays within the copies' share. */
bool sf_window_copy_fits(const struct window *window, uint64_t cost_ns, uint64_t target_ns,
                         bool clients);

void sf_window_sent(struct window *window, enum window_use use, unsigned class, uint64_t cost_ns,
                    uint64_t now_ns);

/* cost_ns: as it was sent with.  answered: the leg has done it, so that the time it took says
 * something. */
void sf_window_ended(struct window *window, enum window_use use, unsigned class, uint64_t cost_ns,
                     uint64_t now_ns, bool answered);

/* No counted request is outstanding. */
bool sf_window_is_empty(const struct window *window);

/* All outstanding requests are expected to be done after so long. */
uint64_t sf_window_planned_ns(const struct window *window);

#endif

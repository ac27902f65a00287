/* Timed I/O, inside.  Only engine/timed_io includes this.
 *
 * The way of a region (struct sf_tio_io), by `where`:
 *
 *      sf_tio() ──► PENDING ──► RING                  handed to the kernel by its driver
 *          │           └─────┐    │ -EAGAIN, -EOPNOTSUPP
 *          │                 ▼    ▼
 *          └────► AT_DEVICE_THREAD ──► IN_DEVICE_THREAD   handed over by the device's thread
 *
 *      from everywhere ──► NOWHERE                    its own completion, or dropped by a cancel
 *
 * `where` is what the kernel may still do with it; `machine.state` is what the client was told or will
 * be.  The two are independent: a DETACHED region is terminal and still in a ring.  A region is
 * released when it is NOWHERE and all of its events are delivered, a request slot when the last of
 * its regions is.
 *
 * Locks, outermost first
 *  - queue->owner      one thread runs a queue: reaps its ring, delivers its events.  Held across
 *                      notify and late, which never take it (they may not drive).
 *  - device_thread.ring_lock   its ring; held around submitting and reaping only, neither of which
 *                      blocks.  A region IN_DEVICE_THREAD becomes terminal only under it, so a
 *                      cancel and a completion cannot cross.
 *  - client->lock      all bookkeeping; never held in a call that can block, nor while calling out.
 *  - pool->lock, own_delay->lock   leaves. */
#ifndef SF_TIMED_IO_INTERNAL_H
#define SF_TIMED_IO_INTERNAL_H

#include <liburing.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <surefoot/timed_io.h>

#include "base/assert.h"
#include "base/list.h"
#include "base/state_machine.h"
#include "base/units.h"

enum {
  SF_TIO_REQUESTS_LIMIT = 4096, /* a slot is 12 bits of a handle */
  SF_TIO_QUEUES_LIMIT = 1024,
  SF_TIO_RING_ENTRIES = 128,
  SF_TIO_BATCH = 64,               /* completions taken from a ring in one go */
  SF_TIO_CALLS = 16,               /* events told in one go */
  SF_TIO_DEVICE_THREAD_DEPTH = 64, /* regions that one device thread has inside the kernel */
  /* Every region there can have a completion and that of a cancel; another round of cancels may
   * come while the first is not taken. */
  SF_TIO_DEVICE_THREAD_COMPLETIONS = 4 * SF_TIO_DEVICE_THREAD_DEPTH,
  SF_TIO_IOWQ_WORKERS = 16,    /* of these, how many may block in submission; the rest stay in the
                              * kernel's queue, where a cancel still reaches them */
  SF_TIO_INLINE_DEPTH = 64,    /* regions on one device that submitting threads handed over */
  SF_TIO_ATTEMPTS_MAX = 100,   /* of one region, without progress, */
  SF_TIO_ATTEMPTS_AT_ONCE = 4, /* of these without a pause, */
  SF_TIO_REST_DOUBLED = 6,     /* which is 2 ms first and 64 ms at most: 6 s in all */
  SF_TIO_SLOT_BITS = 12,
  SF_TIO_REGION_BITS = 4,
};
_Static_assert(1u << SF_TIO_SLOT_BITS == SF_TIO_REQUESTS_LIMIT, "a slot fits its bits");
_Static_assert(1u << SF_TIO_REGION_BITS == SF_TIO_REGIONS_MAX, "a region index fits its bits");

#define SF_TIO_NEVER UINT64_MAX

/* How long a device may be silent before a submitting thread stops entering the kernel for it:
 * there, a full queue makes submission block.  A device thread's worker blocks in its place. */
#define SF_TIO_SILENCE_NS (10 * SF_MS)

/* How long one wait for several completions together may last.  A wake-up counts as one completion
 * and would otherwise be noticed only with the last of them. */
#define SF_TIO_TOGETHER_NS (4 * SF_MS)

/* A message to a socket that has room is sent as soon as it is handed over, so an alone thread
 * waits for that and one completion more.  Where there is no room, another completion is seen so
 * much later at most. */
#define SF_TIO_SENT_NS (SF_MS / 5)

/* user_data of a region is handle << SF_TIO_REGION_BITS | region, which is at least 1 << 16. */
#define SF_TIO_UD_WAKE    UINT64_C(1)
#define SF_TIO_UD_MESSAGE UINT64_C(16) /* and its place among those under way */
#define SF_TIO_UD_REGIONS (UINT64_C(1) << (SF_TIO_SLOT_BITS + SF_TIO_REGION_BITS))

enum sf_tio_where {
  SF_TIO_NOWHERE,
  SF_TIO_IN_QUEUE,
  SF_TIO_IN_RING,
  SF_TIO_AT_DEVICE_THREAD,
  SF_TIO_IN_DEVICE_THREAD
};

/* The next call to the kernel; an operation may need more than one. */
enum sf_tio_stage {
  SF_TIO_DO_TRANSFER,
  SF_TIO_DO_FSYNC,
  SF_TIO_DO_PUNCH,
  SF_TIO_DO_ZERO_RANGE,
  SF_TIO_DO_WRITE_ZEROS,
};

enum sf_tio_pending_event {
  SF_TIO_EV_TIMEOUT = 1 << 0,
  SF_TIO_EV_TERMINAL = 1 << 1,
  SF_TIO_EV_LATE = 1 << 2,
};

/* ---- buffers (pool.c) ---- */

enum sf_tio_class { SF_TIO_SMALL, SF_TIO_LARGE, SF_TIO_CLASSES, SF_TIO_NO_BUFFER = SF_TIO_CLASSES };

struct sf_tio_slot {
  struct sf_tio_buffer pub; /* first: the user holds a pointer to it */
  struct sf_list free_link;
  atomic_uint refs;
  atomic_uint detached; /* of refs, those of DETACHED regions */
  uint8_t class;
};

struct sf_tio_pool {
  char *memory; /* small slots, large slots, zeros */
  size_t memory_bytes;
  char *zeros;
  size_t zeros_bytes;
  struct iovec fixed[SF_TIO_CLASSES]; /* as registered with every ring */
  struct sf_tio_slot *slots;
  unsigned count[SF_TIO_CLASSES];
  size_t bytes[SF_TIO_CLASSES];
  unsigned spare[SF_TIO_CLASSES]; /* so many only sf_tio_pool_get_spare() takes */

  pthread_mutex_t lock;
  pthread_cond_t came_free[SF_TIO_CLASSES]; /* for threads that wait for that class */
  unsigned waiters[SF_TIO_CLASSES];         /* under lock */
  unsigned free[SF_TIO_CLASSES];            /* under lock */
  struct sf_list list[SF_TIO_CLASSES];      /* under lock */
  struct sf_list to_wake;                   /* under lock: threads, by wants_buffer */
};

int sf_tio_pool_init(struct sf_tio_pool *pool, const struct sf_tio_client_params *params);
void sf_tio_pool_destroy(struct sf_tio_pool *pool);
int sf_tio_pool_get(struct sf_tio_pool *pool, size_t len, uint64_t wait_ns,
                    struct sf_tio_slot **slot);
/* -EAGAIN: no buffer is free now, and the thread is woken once when one comes free. */
int sf_tio_pool_get_or_wake(struct sf_tio_pool *pool, size_t len, struct sf_tio_queue *queue,
                            struct sf_tio_slot **slot);
bool sf_tio_pool_awaits(struct sf_tio_pool *pool, const struct sf_tio_queue *queue);
void sf_tio_pool_forget(struct sf_tio_pool *pool, struct sf_tio_queue *queue);
int sf_tio_pool_get_spare(struct sf_tio_pool *pool, size_t len, struct sf_tio_slot **slot);
void sf_tio_pool_ref(struct sf_tio_slot *slot);
void sf_tio_pool_put(struct sf_tio_pool *pool, struct sf_tio_slot *slot);
unsigned sf_tio_pool_quarantined(struct sf_tio_pool *pool);
bool sf_tio_pool_idle(struct sf_tio_pool *pool);

/* ---- this process's own delay (own_delay.c) ---- */

struct sf_tio_own_delay {
  pthread_t thread;
  pthread_mutex_t lock;
  pthread_cond_t changed;
  bool stop;                    /* under lock */
  uint64_t accounted_ns;        /* under lock: delay before this time is in total_ns */
  atomic_uint_fast64_t next_ns; /* when it should tick; SF_TIO_NEVER while it rests */
  atomic_uint_fast64_t total_ns;
  atomic_uint *busy; /* it rests while this is 0 */
};

int sf_tio_own_delay_start(struct sf_tio_own_delay *own_delay, atomic_uint *busy, const char *name);
void sf_tio_own_delay_stop(struct sf_tio_own_delay *own_delay);
void sf_tio_own_delay_begin(struct sf_tio_own_delay *own_delay); /* from now on */
uint64_t sf_tio_own_delay_now(struct sf_tio_own_delay *own_delay, uint64_t now_ns);
void sf_tio_own_delay_overslept(struct sf_tio_own_delay *own_delay, uint64_t wanted_ns,
                                uint64_t now_ns);

/* ---- requests and regions (request.c) ---- */

struct sf_tio_io {
  struct sf_state_machine machine; /* enum sf_tio_state */
  struct sf_tio_request *request;
  struct sf_tio_device *device;
  struct sf_list where_link;  /* the list that `where` names, if it is one, or device->kept */
  struct sf_list live_link;   /* queue->live, while not terminal */
  struct sf_list device_link; /* device->live, while not terminal */
  struct sf_list event_link;  /* queue->events, while `events` is not 0 */
  uint64_t offset, length, progress;
  uint64_t deadline_ns;    /* SF_TIO_NEVER: none, or its TIMEOUT was said */
  uint64_t rests_until_ns; /* AT_DEVICE_THREAD: not handed over before */
  uint64_t delay_seen_ns;  /* own delay that the deadline already contains */
  uint64_t at_ns[3];       /* when each of the pending events was found, in order of their bits */
  int error;               /* of ERROR */
  int late_error;
  int kept_res; /* what the kernel answered, while its device is frozen */
  uint16_t attempts;
  uint8_t index;
  uint8_t where;
  uint8_t stage;
  uint8_t kind;
  uint8_t events;
  bool touched;  /* a part of it may have run */
  bool overdue;  /* counted in device->overdue */
  bool rests;    /* before it is asked again */
  bool due;      /* its deadline has passed and it is to be cancelled for that */
  bool detached; /* counted in device->detached */
};

struct sf_tio_request {
  uint64_t handle; /* 0: free */
  struct sf_list free_link;
  struct sf_tio_client *client;
  struct sf_tio_queue *queue; /* its driver reports the request */
  struct sf_tio_slot *buffer; /* READ, WRITE */
  void *data;                 /* READ: where the copy goes */
  sf_tio_event_fn *notify;
  void *context;
  uint64_t entry_ns;
  uint64_t entry_delay_ns;
  struct sf_tio_result result;
  uint32_t expired; /* regions cancelled at their deadline */
  uint8_t op;
  uint8_t flags;
  uint8_t n;
  uint8_t untold;     /* regions with a terminal event that is not delivered */
  uint8_t unreleased; /* regions not released, + 1 for a SYNC caller */
  bool auto_cancel;   /* no notify: a deadline cancels */
  struct sf_tio_io io[SF_TIO_REGIONS_MAX];
};

extern const struct sf_state_table sf_tio_states;

struct sf_tio_request *sf_tio_request_get(struct sf_tio_client *client);
void sf_tio_request_release(struct sf_tio_request *request);
struct sf_tio_request *sf_tio_request_find(struct sf_tio_client *client, uint64_t handle);
struct sf_tio_io *sf_tio_io_find(struct sf_tio_client *client, uint64_t user_data);
void sf_tio_io_ended(struct sf_tio_io *io);
void sf_tio_io_release(struct sf_tio_io *io);

static inline bool
sf_tio_io_terminal(const struct sf_tio_io *io) {
  return io->machine.state >= SF_TIO_OK;
}

static inline uint64_t
sf_tio_io_user_data(const struct sf_tio_io *io) {
  return io->request->handle << SF_TIO_REGION_BITS | io->index;
}

/* ---- moves (complete.c): all under client->lock ---- */

void sf_tio_io_timeout(struct sf_tio_io *io, uint64_t now_ns);
void sf_tio_io_cancel(struct sf_tio_io *io, enum sf_tio_kind kind, uint64_t now_ns);
/* A region that the kernel does not have: takes it off its list, and returns the kind of cancel. */
enum sf_tio_kind sf_tio_io_drop(struct sf_tio_io *io, uint64_t now_ns);
/* What the kernel answered.  May put the region on its device's thread list. */
void sf_tio_io_complete(struct sf_tio_io *io, int res, uint64_t now_ns);

/* ---- events (event.c) ---- */

/* Under client->lock. */
void sf_tio_event_add(struct sf_tio_io *io, enum sf_tio_pending_event event, uint64_t now_ns);
/* With owner held and under client->lock, which is dropped around the calls. */
void sf_tio_events_deliver(struct sf_tio_queue *queue);
/* In a notify or late function of this thread? */
bool sf_tio_in_callout(void);

/* ---- rings (ring.c) ---- */

struct sf_tio_ring {
  struct io_uring uring;
  bool fixed; /* the pool is registered with it */
};

int sf_tio_ring_init(struct sf_tio_ring *ring, unsigned entries, unsigned completions);
/* A ring that only the calling thread enters. */
int sf_tio_ring_init_alone(struct sf_tio_ring *ring, unsigned entries, unsigned completions);
/* Makes the pool known to the kernel.  Where that fails, for RLIMIT_MEMLOCK, every transfer pins
 * its pages itself. */
int sf_tio_ring_register(struct sf_tio_ring *ring, const struct sf_tio_pool *pool);
void sf_tio_ring_exit(struct sf_tio_ring *ring);
/* False: the submission queue is full. */
bool sf_tio_ring_prep(struct sf_tio_ring *ring, const struct sf_tio_io *io, bool nowait);
/* Without a ring, here and now: as a completion would say it. */
int sf_tio_transfer(const struct sf_tio_io *io);

/* ---- a queue: ring and events of an attending thread, or of the background thread ---- */

struct sf_tio_queue {
  struct sf_tio_client *client;
  struct sf_tio_ring ring;
  int wake_fd;     /* eventfd */
  bool background; /* the background thread's own: it is woken by its epoll, not by the ring */
  pthread_mutex_t owner;

  /* of the thread that has it: it called sf_tio_attend(), not a SYNC call only */
  bool drives_itself;
  bool alone; /* no other thread ever drives it, and it is not in client->queues */
  struct sf_tio_message *message[SF_TIO_MESSAGES_MAX]; /* of an alone one: under way */
  struct sf_tio_message *messages_done;
  unsigned sends; /* of an alone one: not handed over yet */

  struct sf_list wants_buffer; /* under pool->lock */
  bool wants[SF_TIO_CLASSES];  /* under pool->lock: of that class; not in the list if none */

  /* of the thread that holds owner */
  bool wake_armed; /* the multishot poll on wake_fd is in the ring */
  bool scattered;  /* the live regions did not end together: take completions one by one */

  atomic_bool wake;    /* look again: an event, or sf_tio_wake() */
  atomic_bool waiting; /* in the kernel, or about to be: a wake needs the eventfd */

  /* under client->lock */
  bool attended;      /* a thread has it */
  bool driven;        /* a thread is in drive */
  bool listed;        /* the background thread looks after it */
  bool is_free;       /* in queues_free; listed all the same if it is told of something late */
  unsigned pending_n; /* not handed over yet */
  unsigned in_ring;   /* in the kernel through this ring */
  unsigned in_ring_live, live_n; /* not terminal: of those, and of all */
  unsigned requests_n;           /* requests with a slot that is not released */
  uint64_t deadline_ns;          /* not later than the earliest of live */
  uint64_t drives;               /* how often it was driven */
  struct sf_list pending, live, events;
  struct sf_list free_link;

  /* of the background thread */
  bool watched; /* its ring is armed in the background thread's epoll */
  uint64_t drives_seen;
};

enum sf_tio_queue_kind { SF_TIO_ATTENDING, SF_TIO_ALONE, SF_TIO_BACKGROUND };
int sf_tio_queue_new(struct sf_tio_client *client, enum sf_tio_queue_kind kind,
                     struct sf_tio_queue **queue);
void sf_tio_queue_free(struct sf_tio_queue *queue);
/* Under client->lock: the next thread that attends may have it, once. */
void sf_tio_queue_give_back(struct sf_tio_queue *queue);
/* The calling thread's queue, or NULL. */
struct sf_tio_queue *sf_tio_queue_current(struct sf_tio_client *client);
/* The same, made if need be. */
int sf_tio_queue_get(struct sf_tio_client *client, struct sf_tio_queue **queue);
void sf_tio_queue_destructor(void *queue);
/* Under client->lock: a thread must look at this queue's events, deadlines or pending regions: its
 * own if it drives, else the background thread. */
void sf_tio_queue_kick(struct sf_tio_queue *queue);
bool sf_tio_queue_busy(const struct sf_tio_queue *queue);

/* The parts of one round, with owner held (drive.c, deadline.c); all but submitting under
 * client->lock, which they may drop meanwhile. */
void sf_tio_turn_submit(struct sf_tio_queue *queue);
void sf_tio_turn_feed(struct sf_tio_queue *queue);
void sf_tio_turn_collect(struct sf_tio_queue *queue, uint64_t now_ns);
void sf_tio_deadlines(struct sf_tio_queue *queue, uint64_t now_ns);

/* ---- messages (message.c): of a thread that attends alone ---- */

void sf_tio_message_take(struct sf_tio_queue *queue, uint64_t user_data, int res);
void sf_tio_messages_tell(struct sf_tio_queue *queue); /* without a lock */

/* ---- devices (device.c, device_thread.c) ---- */

/* One device's submitter, as its device thread holds it (submitter.c). */
struct sf_tio_submitter {
  int socket;               /* -1: the process is gone */
  struct sf_tio_ring *ring; /* NULL: there never was one, the device thread submits */
  bool ready;               /* it has said that it is there */
  uint64_t since_ns;        /* when it was asked for last */
  unsigned losses;          /* in short order */
  bool told;                /* that there is none in a lost one's place */
};

struct sf_tio_device_thread {
  pthread_t thread;
  pthread_mutex_t ring_lock;
  struct sf_tio_ring *ring;          /* under ring_lock: own_ring, or the submitter's */
  struct sf_tio_ring own_ring;       /* under ring_lock */
  struct sf_tio_submitter submitter; /* the device thread's */
  atomic_int no_submitter;           /* why there is none, if the client has such; or 0 */
  uint8_t cancels;                   /* under ring_lock: numbers the batches of cancels */
  int wake_fd;
  atomic_bool wake, waiting;
  bool stop;              /* under client->lock */
  struct sf_list list;    /* under client->lock */
  struct sf_list resting; /* under client->lock: until their time */
  unsigned in_kernel;     /* under client->lock */
};

struct sf_tio_device {
  struct sf_tio_client *client;
  int fd;
  unsigned index;       /* in client->devices */
  bool dsync;           /* RWF_DSYNC is heeded; elsewhere a FUA write is followed by a flush */
  bool in_memory;       /* the submitting thread does its transfers itself */
  bool is_block, named; /* the latter: sysfs knew it when it was opened */
  dev_t number;         /* of a block device */
  void *_Atomic user;

  /* under client->lock */
  bool inline_ok;               /* submitting threads may enter the kernel for it */
  bool no_punch, no_zero_range; /* fallocate cannot, or cannot be trusted to */
  bool quick_zero, zeroed;      /* it should zero without writing; and it has, once */
  unsigned running;             /* sf_tio_device_running() */
  unsigned uses;                /* regions not released, and calls that look at it */
  unsigned overdue;             /* in TIMEOUT, or detached */
  unsigned detached[SF_TIO_CLASSES + 1];
  unsigned in_rings;    /* handed over by submitting threads */
  uint64_t progress_ns; /* last completion of those, or when the first was handed over */
  bool frozen;
  struct sf_list
      kept; /* regions that the kernel has answered since; their `where` is what it was */
  struct sf_list live;

  struct sf_tio_device_thread device_thread;
};

int sf_tio_device_thread_start(struct sf_tio_device *device);
void sf_tio_device_thread_stop(struct sf_tio_device *device);
/* Takes what has completed, without waiting. */
void sf_tio_device_thread_reap(struct sf_tio_device *device);
/* As that, with ring_lock held, after asking the kernel to cancel `targets`, which are
 * IN_DEVICE_THREAD. */
void sf_tio_device_thread_cancel(struct sf_tio_device *device, struct sf_tio_io **targets,
                                 unsigned n, struct sf_tio_canceled *canceled);
/* Under client->lock: should a submitting thread hand over this region itself? */
bool sf_tio_device_inline(const struct sf_tio_device *device, const struct sf_tio_io *io,
                          uint64_t now_ns);
bool sf_tio_device_full(const struct sf_tio_device *device, unsigned class);

/* ---- wakes and uses, called by all files above (wake.c); sf_tio_wake() is there too ---- */

void sf_tio_device_thread_wake(struct sf_tio_device_thread *device_thread);
/* Under client->lock, as the rest. */
void sf_tio_device_thread_add(struct sf_tio_io *io);
void sf_tio_device_thread_rest(struct sf_tio_io *io, uint64_t until_ns); /* as that, later */
void sf_tio_device_use(struct sf_tio_device *device);
void sf_tio_device_unuse(struct sf_tio_device *device);

/* Cancels live regions on the device, when handle is not 0 only those of that request; when due,
 * only regions marked so.  Takes device_thread.ring_lock and client->lock (cancel.c). */
void sf_tio_cancel_on(struct sf_tio_device *device, uint64_t handle, bool due,
                      struct sf_tio_canceled *canceled);

/* ---- submitters (submitter.c) ---- */

/* A process for the device that fd is, with a ring of its own, which it submits when told.
 * -ENOSPC: every ring is taken; -EAGAIN: no process. */
int sf_tio_submitter_start(struct sf_tio_submitters *submitters, const struct sf_tio_pool *pool,
                           int fd, const char *name, struct sf_tio_submitter *submitter);
/* Waits, for a second at most, until the process has closed the file. */
void sf_tio_submitter_stop(struct sf_tio_submitters *submitters,
                           struct sf_tio_submitter *submitter);
/* Tells it to look at the ring.  False: it is gone; the caller may submit to the ring itself. */
bool sf_tio_submitter_tell(struct sf_tio_submitter *submitter);
/* It has been seen to be gone: its end of the socket is closed, which is after its last system
 * call.  What it had in the kernel goes on, and only its completions say that it has ended. */
void sf_tio_submitter_lose(struct sf_tio_submitter *submitter);
/* Asks for another in the place of a lost one.  Does not wait: sf_tio_submitter_hear() says when it
 * is ready; until then the caller submits. */
int sf_tio_submitter_replace(struct sf_tio_submitters *submitters, int fd, const char *name,
                             struct sf_tio_submitter *submitter);
/* Its socket has news: it has become ready, or is gone. */
void sf_tio_submitter_hear(struct sf_tio_submitter *submitter);

/* ---- the background thread (background.c) ---- */

struct sf_tio_background {
  pthread_t thread;
  struct sf_tio_queue *queue;
  int epoll_fd;
  bool stop;                     /* under client->lock */
  atomic_uint_fast64_t until_ns; /* when it looks again by itself; NEVER while it looks */
};

int sf_tio_background_start(struct sf_tio_client *client);
void sf_tio_background_stop(struct sf_tio_client *client);

/* ---- the client ---- */

struct sf_tio_client {
  pthread_mutex_t lock;
  pthread_mutex_t opening; /* the files of a queue; taken without the lock */
  pthread_key_t key;       /* of the calling thread's queue */
  sf_tio_event_fn *late;
  char thread_name[16];
  unsigned files_kept;
  struct sf_tio_submitters *submitters; /* or NULL */
  sf_tio_submitter_fn *submitter_lost;  /* or NULL */
  void *submitter_context;
  struct sf_tio_pool pool;
  struct sf_tio_own_delay own_delay;
  struct sf_tio_background background;
  atomic_uint live; /* regions not terminal */
  atomic_uint_fast64_t cancels_submitted, enters;

  /* under lock */
  unsigned requests_max, requests_n;
  struct sf_tio_request *requests;
  struct sf_list requests_free;
  uint64_t sequence; /* of the next handle */
  unsigned devices_n;
  unsigned removers; /* threads that wait for a device's uses to become 0 */
  pthread_cond_t unused;
  struct sf_tio_device *devices[SF_TIO_DEVICES_MAX];
  unsigned alone_n; /* threads that attend alone; `unused` tells when one has ended */
  unsigned queues_n;
  struct sf_tio_queue *queues[SF_TIO_QUEUES_LIMIT];
  struct sf_list queues_free;
};

/* sf_thread_start(); name: 6 characters at most, behind the client's. */
int sf_tio_spawn(pthread_t *thread, const char *prefix, const char *name, void *(*main)(void *),
                 void *arg);
/* A condition variable on CLOCK_MONOTONIC. */
void sf_tio_cond_init(pthread_cond_t *cond);
struct timespec sf_tio_timespec(uint64_t ns);
/* Saturating. */
uint64_t sf_tio_after(uint64_t now_ns, uint64_t delay_ns);

#endif

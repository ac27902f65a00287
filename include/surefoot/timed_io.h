/* Timed I/O: the interface of the 2006 device-mapper RFC "New interface for dm-io to handle timed
 * requests", in user space and over io_uring.  It knows nothing of volumes and replicas.
 *
 * Caveats first
 *  - A cancel never un-writes.  CANCELED says that the library gave up on a region; only the kind
 *    SF_TIO_REAL says that the device did not run it.  A DETACHED region goes on, on memory that
 *    the library owns, and may reach the medium at any later time.
 *  - Only the region's own completion is proof that it ended.  It comes as a terminal notify, or,
 *    after CANCELED/DETACHED, as one call of the client's `late` function.
 *  - After a lack of means (-ENOMEM, -EAGAIN, -EMFILE ...) a region is tried again, for about 6 s,
 *    before that is its ERROR; its deadline runs meanwhile.  A FLUSH or FUA is not tried twice.
 *  - A thread that has called sf_tio_attend() and then submits must call sf_tio_drive(): before
 *    that its requests may or may not be handed to the kernel, and completions may go unseen.
 *
 * The life of a region
 *
 *      PENDING ──► OK | ERROR | CANCELED                      one notify
 *      PENDING ──► TIMEOUT ──► OK | ERROR | CANCELED          two notifies
 *
 * OK, ERROR and CANCELED are terminal and exclude each other; the first wins.  The request may be
 * returned to its originator once every region is terminal.  In TIMEOUT the I/O is still running.
 *
 * What a call does (the RFC's SYNC bit, the notify function and the timeout)
 *
 *      SYNC notify timeout
 *      no   yes    none     returns at once; one terminal notify per region
 *      no   yes    set      the same and a TIMEOUT notify; nothing is cancelled unless asked
 *      yes  yes    none     returns when all regions are terminal; notifies on the way
 *      yes  yes    set      the same; goes on waiting after TIMEOUT unless it is cancelled
 *      yes  no     none     returns when all regions are terminal
 *      yes  no     set      at its deadline each region still running is cancelled; returns then
 *      no   no     none     -EINVAL
 *      no   no     set      fire and forget: cancelled at the deadline
 *
 * Time is nanoseconds.  A timeout is relative to the entry into sf_tio(), before anything is
 * submitted, on CLOCK_MONOTONIC; 0 is none.  The time during which this process itself could not
 * run (stopped, no CPU, suspended machine) is measured and added to running deadlines: it is not
 * the device's fault.
 *
 * Threads.  Every function may be called from any thread and from inside notify and late, except
 * that sf_tio_client_destroy() and sf_tio_drive() may not be called from inside either and a SYNC
 * call from there is refused with -EDEADLK.  Notify and late are never called from inside sf_tio()
 * (SYNC excepted: there they run in the wait) or a cancel, and never with a lock held.  They must
 * not block.  They run
 *  - in the thread that called sf_tio() with SYNC, or that attends and drives, while it waits
 *    there; other news of that thread's requests is reported there too;
 *  - in the client's background thread: for threads that do neither; for the others, the requests
 *    that they left behind, and while there are such also new ones, as long as the thread does not
 *    wait.  So the background thread may be first with the events of a SYNC call as well.
 * Events of one region arrive in order and never concurrently, whichever of the two threads tells
 * them.
 *
 * Errors are 0 or -errno; outputs are untouched on failure.  The library does not print. */
#ifndef SUREFOOT_TIMED_IO_H
#define SUREFOOT_TIMED_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
  SF_TIO_REGIONS_MAX = 16,
  SF_TIO_DEVICES_MAX = 32,
  SF_TIO_ALIGN = 4096, /* of every buffer's memory; offsets and lengths keep the device's own */
};

struct msghdr;
struct sf_tio_client;
struct sf_tio_device;
struct sf_tio_queue;

enum sf_tio_op {
  SF_TIO_READ,
  SF_TIO_WRITE,
  SF_TIO_FLUSH, /* covers all that completed on the device before the call; offset, length unused */
  /* The range reads as zeros afterwards.  fallocate does it where its word can be relied on: block
   * devices, ext4, xfs, btrfs, f2fs, tmpfs.  Elsewhere zeros are written:
   * sf_tio_device_punches(). */
  SF_TIO_ZERO,
  SF_TIO_OPS
};

enum sf_tio_flag {
  SF_TIO_SYNC = 1 << 0,      /* wait here, see the table above */
  SF_TIO_FUA = 1 << 1,       /* WRITE, ZERO: stable before OK */
  SF_TIO_MAY_UNMAP = 1 << 2, /* ZERO: may deallocate where that surely reads as zeros */
};

enum sf_tio_state {
  SF_TIO_PENDING,
  SF_TIO_TIMEOUT,
  SF_TIO_OK,
  SF_TIO_ERROR,
  SF_TIO_CANCELED,
};

enum sf_tio_kind {
  SF_TIO_NONE,
  SF_TIO_REAL,     /* CANCELED: it did not run */
  SF_TIO_DETACHED, /* CANCELED: given up on; it may still run */
};

/* What a notify or late function is told.  Valid during the call only. */
struct sf_tio_event {
  uint64_t handle;
  void *context; /* control.context of the request */
  struct sf_tio_device *device;
  unsigned region; /* index into the array given to sf_tio() */
  enum sf_tio_state state;
  enum sf_tio_kind kind;
  /* ERROR: -errno.  late: 0, or -errno; -ECANCELED = it surely did not run; the state is CANCELED
   * still. */
  int error;
  uint64_t now_ns; /* when this was found, CLOCK_MONOTONIC */
  /* From entry into sf_tio() to now_ns, less this process's own delay.  An attending thread takes
   * what it handed over together when the last of it has come, or after 4 ms one by one: within
   * that, a quick device shows the latency of the slowest. */
  uint64_t latency_ns;
  bool late; /* true in a call of `late` */
};
typedef void sf_tio_event_fn(const struct sf_tio_event *event);

/* ---- client: memory, rings and requests private to one user, as dm_io_client ---- */

/* A call that hangs uninterruptibly in the kernel (a flush of a dead disk) keeps its process there,
 * killed or not, with all files that it has open.  With submitters a small process per device
 * hangs, with that device's file alone; without, this process does.
 *
 * Call it before any file is opened that may hang, best while there is one thread only: it forks.
 * devices: for how many at once, at most SF_TIO_DEVICES_MAX; sf_tio_device_submitter() says why a
 * device has none.  The processes end with this one, or when they no longer hang.  The set must
 * outlive the client.  -ENOSYS, -EPERM: as sf_tio_client_create(). */
struct sf_tio_submitters;
int sf_tio_submitters_start(unsigned devices, struct sf_tio_submitters **submitters);
void sf_tio_submitters_stop(struct sf_tio_submitters *submitters); /* NULL is accepted */

/* Two processes make the submitters.  tend() replaces a killed one; one thread calls it when the
 * file news() polls readable, and now and then.  1: that was done; 0: nothing new; -EPIPE: both are
 * gone for good; another -errno: one is gone, and is tried again.  Each is said once. */
int sf_tio_submitters_news(const struct sf_tio_submitters *submitters);
int sf_tio_submitters_tend(struct sf_tio_submitters *submitters);

/* The submitter of the device that was added with fd was killed.  error 0: another has taken its
 * place.  Else why not, told once and tried again: until a call with 0, a request that hangs on the
 * device hangs in this process.  No region ended with it.  In a thread of the library, which may
 * not be kept. */
typedef void sf_tio_submitter_fn(void *context, int fd, int error);

struct sf_tio_client_params {
  unsigned requests_max;  /* requests in flight; default 256 */
  unsigned buffers_small; /* buffers of small_bytes; default 256 */
  size_t small_bytes;     /* default 16 KiB; a multiple of SF_TIO_ALIGN */
  unsigned buffers_large; /* buffers of large_bytes; default 64 */
  size_t large_bytes;     /* default 256 KiB; the longest transfer of one region */
  /* Slots of each that only sf_tio_buffer_get_spare() hands out; default none. */
  unsigned spare_small, spare_large;
  sf_tio_event_fn *late; /* may be NULL */
  unsigned
      files_kept; /* so many files can still be opened after any sf_tio_attend(); default none */
  const char *thread_name; /* prefix of the names of the library's threads; default "sf-tio" */
  struct sf_tio_submitters *submitters; /* or NULL */
  sf_tio_submitter_fn *submitter_lost;  /* or NULL */
  void *submitter_context;
};

/* Starts the background thread: call it after the last fork.  params may be NULL: all defaults.
 * -ENOSYS: no io_uring in this kernel; -EPERM: io_uring is forbidden here. */
int sf_tio_client_create(const struct sf_tio_client_params *params, struct sf_tio_client **client);

/* -EBUSY while a region runs, a buffer is held by the user or in quarantine, or a device is still
 * attached.  Stops and joins the library's threads.  NULL is accepted. */
int sf_tio_client_destroy(struct sf_tio_client *client);

struct sf_tio_client_stats {
  unsigned requests; /* in flight now */
  unsigned buffers_free_small, buffers_free_large;
  unsigned buffers_quarantined; /* held by DETACHED regions only */
  size_t memory_bytes;          /* the whole pool: fixed at creation */
  uint64_t own_delay_ns;        /* how long this process could not run, since creation */
  uint64_t cancels_submitted;   /* IORING_OP_ASYNC_CANCEL issued */
  uint64_t enters;              /* io_uring_enter calls by attending threads */
};
void sf_tio_client_stats(struct sf_tio_client *client, struct sf_tio_client_stats *stats);

/* ---- device: one open file or block device ---- */

/* fd stays the caller's, must be open for read and write, and must stay open until
 * sf_tio_device_remove() returned 0.  Whether I/O is handed to the kernel by the submitting thread
 * or by a thread of the device's own (where the file system may block in submission: FUSE, NFS and
 * all others not known to honour RWF_NOWAIT) is found out here; in tmpfs the submitting thread
 * copies the data itself.  -ENOSPC: too many. */
int sf_tio_device_add(struct sf_tio_client *client, int fd, struct sf_tio_device **device);

/* -EBUSY while a region on it runs, detached ones included, and in a notify or late call about it.
 * Waits, for a second at most, until calls about it in other threads have returned. */
int sf_tio_device_remove(struct sf_tio_device *device);

/* 0: a request that hangs on it hangs in a submitter process, or the client was given none.  Else
 * why it has none of its own, so that the request would hang in this process: -ENOMEM: the pool
 * cannot be locked in memory for it (RLIMIT_MEMLOCK, without CAP_IPC_LOCK); -ENOSPC: all are in
 * use; -EPIPE: the process that makes them is gone; or another -errno. */
int sf_tio_device_submitter(const struct sf_tio_device *device);

void sf_tio_device_set_user(struct sf_tio_device *device, void *user);
void *sf_tio_device_user(const struct sf_tio_device *device);

/* Regions on it that may still run, detached ones included; REAL ones are not counted.  Inside the
 * notify or late call that says that a region ended, that region is not counted any more. */
unsigned sf_tio_device_running(const struct sf_tio_device *device);
/* A ZERO with MAY_UNMAP gives space back there, as far as is known: files on the file systems
 * above, and block devices that say that they can discard.  Elsewhere it writes, or has the disk
 * write. */
bool sf_tio_device_punches(const struct sf_tio_device *device);
/* For a drill.  From freeze to thaw the device does not answer, as far as any of its users can
 * tell: what the kernel has answered is kept, its deadline passes, and it can be given up; thaw
 * hands it on, as if the kernel answered then.  Nothing is kept from the disk itself, in either
 * direction.  Thaw without freeze does nothing; sf_tio_device_remove() thaws. */
void sf_tio_device_freeze(struct sf_tio_device *device);
void sf_tio_device_thaw(struct sf_tio_device *device);
/* Has the disk itself left: it has no size any more, no name, or the kernel calls it offline?  Its
 * requests end with EIO or ENOSPC then, as if it were there.  Asks the kernel, not the disk: does
 * not wait.  A file is never gone. */
bool sf_tio_device_is_gone(const struct sf_tio_device *device);
/* As sf_tio_device_is_gone() for a caller who cannot rely on an answer at once, nor on the device
 * until then, as another process: what the question needs, with a descriptor of its own.  -ENOTBLK:
 * it is a file; or another -errno.  asked() gives it back. */
struct sf_tio_presence {
  int fd;
  bool named;
  uint64_t number; /* dev_t */
};
int sf_tio_presence_take(const struct sf_tio_device *device, struct sf_tio_presence *presence);
void sf_tio_presence_asked(struct sf_tio_presence *presence);
/* Has every device of the client zeroed a range without writing?  Until then, and for ever where a
 * device cannot, a ZERO takes as long as a write of its length. */
bool sf_tio_zeroes_quickly(struct sf_tio_client *client);

/* ---- buffers: aligned, registered memory of the client's pool ---- */

struct sf_tio_buffer {
  void *data;
  size_t size; /* of the slot: at least the length asked for */
};

/* Waits at most wait_ns for a slot.  -EAGAIN: none came free; -EMSGSIZE: longer than large_bytes.
 * The caller holds one reference; every region takes one more until its own completion. */
int sf_tio_buffer_get(struct sf_tio_client *client, size_t len, uint64_t wait_ns,
                      struct sf_tio_buffer **buffer);
/* The same without waiting, and out of the spare slots too: for requests that must go on so that
 * the holders of all other slots can return them. */
int sf_tio_buffer_get_spare(struct sf_tio_client *client, size_t len,
                            struct sf_tio_buffer **buffer);
/* Does a region have it, besides the caller's own reference? */
bool sf_tio_buffer_is_shared(const struct sf_tio_buffer *buffer);
void sf_tio_buffer_put(struct sf_tio_client *client, struct sf_tio_buffer *buffer);

/* ---- requests ---- */

struct sf_tio_region {
  struct sf_tio_device *device;
  uint64_t offset;
  uint64_t length;
  uint64_t timeout_ns; /* 0: the control's */
};

struct sf_tio_control {
  enum sf_tio_op op;
  unsigned flags; /* enum sf_tio_flag */
  /* READ, WRITE: exactly one of the two.  With `data` the library copies through a buffer of its
   * own: on entry for a write; before the OK notify for a read.  The caller may reuse `data` once
   * it was told that the region is terminal (a write's: once sf_tio() has returned), whatever the
   * device still does; so a READ into `data` without notify and SYNC is refused.  A write goes from
   * the same memory to all regions, which must have one length. */
  struct sf_tio_buffer *buffer;
  void *data;
  sf_tio_event_fn *notify;
  void *context;
  uint64_t timeout_ns;
};

struct sf_tio_result { /* bit i = region i */
  uint32_t ok, error, canceled;
};

/* Submits one request to n regions (1 for a READ).  handle may be NULL; result may be NULL and is
 * written by SYNC calls only.
 *
 * 0: submitted, or, with SYNC, every region is OK.  SYNC: -EIO if a region failed, else -ETIMEDOUT
 * if one was cancelled at its deadline, else -ECANCELED.  Refused, nothing submitted, no notify:
 * -EINVAL (see the table; a zero length; lengths that differ), -EMSGSIZE, -EAGAIN (all requests in
 * use; no buffer for `data`, after waiting as long as the shortest timeout allows, and not at all
 * without one or inside a notify; or a device holds its whole share in quarantine), -EDEADLK. */
int sf_tio(struct sf_tio_client *client, const struct sf_tio_control *control,
           const struct sf_tio_region *regions, unsigned n, uint64_t *handle,
           struct sf_tio_result *result);

struct sf_tio_canceled {
  unsigned real;     /* surely did not and will not run */
  unsigned detached; /* given up on, may still run */
  unsigned done;     /* was terminal already, or the handle is unknown (then 1) */
};

/* All regions of one request that are not terminal.  Handles are never used again, so a stale one
 * is harmless.  The CANCELED notifies come later, from the thread that reports that request. */
struct sf_tio_canceled sf_tio_cancel_by_handle(struct sf_tio_client *client, uint64_t handle);

/* All of this client's regions on the device that are not terminal: those not yet submitted are
 * dropped (REAL), those queued in the kernel really cancelled with IORING_OP_ASYNC_CANCEL (REAL),
 * running ones detached.  New requests on the device are not refused. */
struct sf_tio_canceled sf_tio_cancel_by_device(struct sf_tio_device *device);

/* ---- threads that drive their own requests: one system call per request ---- */

/* Gives the calling thread a ring of its own.  Idempotent, cheap after the first call.  A SYNC call
 * does so too, without making an attending thread of the caller.  The ring
 * goes back to the client when the thread ends; the background thread then reaps what still runs on
 * it.  *queue stays valid as long as the client.
 * -EMFILE: files_kept, or the limit; -EAGAIN: too many threads; or another -errno.  The caller may
 * go on without: the background thread drives its requests then, which costs them two changes of
 * thread. */
int sf_tio_attend(struct sf_tio_client *client, struct sf_tio_queue **queue);

/* Submits what this thread has pending, waits and reports, until stop (arg) says true (asked
 * before the first wait and after every batch of events) or until_ns (absolute CLOCK_MONOTONIC,
 * 0 = no limit) has passed: then -ETIME.  A healthy request costs one io_uring_enter. */
int sf_tio_drive(struct sf_tio_queue *queue, uint64_t until_ns, bool (*stop)(void *), void *arg);

/* Makes a thread that is, or next will be, in sf_tio_drive() ask its stop function again. */
void sf_tio_wake(struct sf_tio_queue *queue);

/* ---- a thread that waits for sockets as well: one system call a round for both ---- */

/* As sf_tio_attend(), with a ring that no other thread ever enters, which costs less.  So no other
 * thread looks after what this one leaves behind: it drives as long as it has requests, and may end
 * when it is idle.  sf_tio_drive() returns with requests of this thread not handed over yet; the
 * next call does that together with the wait.  *queue is valid until the thread ends.  The client
 * may be destroyed only after that. */
int sf_tio_attend_alone(struct sf_tio_client *client, struct sf_tio_queue **queue);

/* Has everything that this thread asked for ended and been told, DETACHED regions included?  Of a
 * thread that attends alone, by itself. */
bool sf_tio_is_idle(struct sf_tio_queue *queue);

enum { SF_TIO_MESSAGES_MAX = 4 }; /* of one thread at a time */

/* Caller-owned; the header, and what it points to, is left alone until done. */
struct sf_tio_message {
  struct msghdr *header;
  /* Called in sf_tio_drive() of the thread, without a lock.  result: bytes, maybe fewer than asked
   * * for; 0: the other end has closed; or -errno.  shutdown(2) ends a receive that waits. */
  void (*done)(struct sf_tio_message *message, int result);
  void *user; /* the caller's own */
  /* Of a receive: most likely nothing has come yet, as the one before took all.  Of a send: most
   * likely not all of it has room at once, and the rest is to be sent as soon as it has.  Only a
   * hint. */
  bool none_yet;

  struct sf_tio_message *next; /* the library's own, as the rest */
  int result;
};

/* As recvmsg(2) and sendmsg(2), on the ring of the calling thread, which attends alone; done with
 * the next sf_tio_drive(). */
void sf_tio_receive(struct sf_tio_queue *queue, int socket, struct sf_tio_message *message);
void sf_tio_send(struct sf_tio_queue *queue, int socket, struct sf_tio_message *message);

/* As sf_tio_buffer_get() without waiting; at -EAGAIN the thread, which attends alone, is woken once
 * when one may have come free. */
int sf_tio_buffer_get_or_wake(struct sf_tio_queue *queue, size_t len,
                              struct sf_tio_buffer **buffer);
/* Whether that is still to come: it may have come before the next sf_tio_drive() began. */
bool sf_tio_buffer_is_awaited(struct sf_tio_queue *queue);

/* CLOCK_MONOTONIC in nanoseconds. */
uint64_t sf_tio_now(void);

/* For messages: "pending", "timeout", "ok", ... */
const char *sf_tio_state_name(enum sf_tio_state state);

#ifdef __cplusplus
}
#endif
#endif

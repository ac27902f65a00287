/* What the files of the real host share. */
#ifndef SF_SERVE_INTERNAL_H
#define SF_SERVE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include <surefoot/control.h>
#include <surefoot/legfile.h>
#include <surefoot/serve.h>
#include <surefoot/timed_io.h>

#include "base/list.h"

enum {
  SERVE_LOG_LINES = 64,
  SERVE_LINE_BYTES = 1024, /* longer ones are cut */
  SERVE_SERIES = 32,       /* at a time */
  SERVE_SERIES_TEXT = 128,
  SERVE_SMALL_BYTES = SF_BUFFER_SMALL_BYTES,
  SERVE_LARGE_BYTES = SF_BUFFER_LARGE_BYTES, /* the longest piece of a request */
  SERVE_FILES_KEPT = 256,
  SERVE_ASK_MS = 500, /* how often a waiting call asks whether its client is still there */
};

_Static_assert((int) SERVE_LARGE_BYTES == (int) SF_COPY_PIECE_BYTES, "a copy has one buffer");

struct serve_watched { /* watch.c; under serve->lock */
  bool on;
  unsigned opening; /* rises when the leg is opened, and when it is let go of */
  bool is_block;    /* and the rest as its file's */
  dev_t device;
  ino_t inode;
  char text[SF_LEG_REASON_MAX]; /* the fault of its path, as it was told; "": none */
};

struct serve_judged {  /* what may be emptied to be the leg */
  struct sf_uuid uuid; /* of that leg */
  struct sf_leg_judged disk;
};

struct serve_one_series { /* series.c; under serve->lock */
  char what[SERVE_SERIES_TEXT];
  uint64_t total, untold; /* total 0: none */
  uint64_t since_ns, told_ns, last_ns;
};

struct serve_series {
  struct serve_one_series one[SERVE_SERIES];
};

struct serve_leg {
  struct sf_leg_file file;
  struct sf_leg_found found;
  struct sf_tio_device *device;
  struct serve_watched watched;
  struct serve_judged judged; /* members.c; under serve->lock */
  int no_submitter;           /* why it has none, as it was told the last time */
  struct serve_leg *left; /* what it had before it was opened anew, until that is let go; or NULL */
  pthread_t opener;
  bool opener_started;      /* and not joined: touched with the volume's lock held, or at the end */
  atomic_bool opener_ended; /* joining it will not wait */
  unsigned hung;            /* openings that did not answer, since one did; the opener's */
  pthread_t looker;         /* presence.c; the same */
  bool looker_started;
  atomic_bool looker_ended;
};

struct serve_device_name { /* of the leg on this device of timed I/O */
  int fd;                  /* -1: unused */
  char name[SF_LEG_NAME_MAX];
};

struct serve_extents { /* under serve->lock; fd, offset and end are the thread's while busy */
  pthread_t thread;
  bool started, quit, ended;
  pthread_cond_t changed;
  bool wanted, busy;
  uint64_t asked, answered;
  int fd;
  uint64_t offset, end;
  struct sf_extent found;
};

struct serve_job {
  pthread_t thread;
  bool started; /* and not joined: the control thread's, or at the end */
  atomic_bool ended;
  uint64_t size; /* grow; 0: what the legs hold */
  unsigned leg;
  char name[SF_LEG_NAME_MAX];
  char path[PATH_MAX]; /* replace, "": as it was */
};

struct serve_order {
  pthread_mutex_t lock; /* of all of it and of clients; the volume's is taken inside */
  pthread_cond_t changed;
  struct sf_list ranges; /* held or waited for, first come first served where they overlap */
  uint64_t writes;       /* handed to the volume so far, and connections opened */
};

struct serve_question {         /* gone.c */
  struct sf_tio_device *device; /* that is asked for; NULL: unused */
  bool waited_for;              /* by a thread, which has the rest without the lock */
  int socket;                   /* where an answer comes that has not come in time; -1 */
  uint64_t told_ns;             /* when the last answer came; 0: none yet */
  bool gone;
};

struct serve_gone {
  pthread_mutex_t lock; /* of all of it */
  pthread_cond_t changed;
  struct serve_question of[SF_TIO_DEVICES_MAX];
};

struct serve_turn {
  pthread_mutex_t lock; /* of all of it */
  pthread_cond_t changed;
  struct sf_list waiting; /* first the call that has the turn, then the calls that wait */
  uint64_t passed_ns;     /* when a piece went well last */
};

struct sf_serve {
  struct sf_config config;
  struct sf_serve_options options;
  /* The settings read here that may change while it runs: */
  atomic_bool suspends; /* on_too_few: requests wait without end */
  _Atomic uint64_t fail_timeout_ns, read_deadline_ns;
  struct sf_assembly assembly;
  struct sf_holder self;
  bool takes;    /* from another holder */
  int no_writer; /* why we are no good writer (base/writer.h); 0 */
  struct serve_leg leg[SF_LEGS_MAX];
  uint32_t block_bytes_at_start; /* what the legs could write then */
  _Atomic uint32_t block_bytes;  /* block.c */
  atomic_uint small_calls;       /* under way in units of less than a page */
  atomic_uint guests;            /* clients that were opened with a hangup of their own */

  struct sf_leg_openers *openers;
  struct sf_tio_submitters *submitters;
  struct sf_tio_client *client;
  struct sf_volume *volume;
  struct sf_control_server *control;
  struct serve_extents extents;
  struct serve_job job;

  pthread_t watch;
  bool watch_started;
  int watch_quit; /* eventfd */
  pthread_t keeper;
  bool keeper_started;
  struct sf_tio_queue *keeper_thread;
  _Atomic uint64_t timer_ns; /* when the volume wants its tick */
  atomic_bool quit;
  atomic_bool told_of_rings; /* that a thread has none */
  atomic_bool stop_asked;    /* by the control socket, with clients still there */

  pthread_mutex_t lock; /* of what follows */
  pthread_cond_t changed;
  bool keeper_ready, stopped;
  struct serve_device_name device_name[SF_TIO_DEVICES_MAX];
  char log[SERVE_LOG_LINES][SERVE_LINE_BYTES];
  unsigned log_first, log_count, log_lost;
  struct serve_series series;

  struct serve_order order;
  struct serve_turn turn;
  struct serve_gone gone;
};

/* log.c */
void sf_serve_log(struct sf_serve *serve, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void sf_serve_event(struct sf_serve *serve, const struct sf_volume_event *event);
void sf_serve_keeper_wake(struct sf_serve *serve);

/* find.c: the legs that the volume starts from; waits for those it needs.  -EAGAIN: it may not
 * start */
int sf_serve_find_legs(struct sf_serve *serve, char error[SF_CONFIG_ERROR_MAX]);
void sf_serve_close_files(struct sf_serve *serve);

/* forced.c: `force_with`.  choose: the other legs lose their paths, so that they are not opened;
 * -EINVAL: not each is a leg of the file.  lacks: named, and not among those that it would start
 * from.  put_back: in its place each has its path again, and is looked for while it serves. */
int sf_serve_forced_choose(struct sf_config *config, const char *with,
                           char error[SF_CONFIG_ERROR_MAX]);
uint16_t sf_serve_forced_lacks(const struct sf_config *config, const char *with,
                               const struct sf_assembly *assembly);
void sf_serve_forced_put_back(struct sf_config *config, const struct sf_config *as_listed);

/* call.c: what one request of a client waits for */
struct sf_call {
  struct sf_serve_client *client;
  struct sf_tio_queue *queue; /* that drives it; NULL: the service does */
  uint32_t block_bytes;       /* the unit of this call, from its begin to its end */
  /* For buffers and blocks, since its receipt or since a part of it was done last.  The time by
   * which a wait overran is this process's own delay (R3), and not in it. */
  uint64_t waited_ns;
};
/* What all calls go by, of the settings in force. */
void sf_serve_take_settings(struct sf_serve *serve, const struct sf_config *config);
bool sf_serve_call_is_gone(const struct sf_call *call); /* its client; one system call */
bool sf_serve_call_is_over(
    const struct sf_call *call);               /* fail_timeout, unless it may wait without end */
void sf_serve_cond_init(pthread_cond_t *cond); /* on CLOCK_MONOTONIC */
/* A wait of at most most_ns, begun at began_ns, has ended. */
void sf_serve_call_waited(struct sf_call *call, uint64_t began_ns, uint64_t most_ns);
/* With the lock held, until something has changed or it is time to ask about the client; that was
 * waited. */
void sf_serve_call_wait(struct sf_call *call, pthread_cond_t *changed, pthread_mutex_t *lock);

/* block.c: the unit of a call, as it is when it begins; and its end */
uint32_t sf_serve_block_begin(struct sf_serve *serve);
void sf_serve_block_end(struct sf_serve *serve, uint32_t bytes);
/* From now on in what a leg with sectors of `bytes` can write.  -EAGAIN: calls in smaller units are
 * still under way, and the leg may not be used before they have ended; try again. */
int sf_serve_block_take(struct sf_serve *serve, uint32_t bytes);

/* buffers.c: of `length`, for a client's request; waits */
int sf_serve_buffer_get(struct sf_call *call, size_t length, struct sf_tio_buffer **buffer);

/* order.c: which write is handed to the volume before which */
struct sf_serve_client { /* one connection; under order.lock */
  struct sf_serve *serve;
  bool (*hangup)(void *ctx); /* NULL: the options' */
  void *ctx;
  uint64_t writes;   /* handed over, of this one */
  uint64_t alive_at; /* of the others, when it was seen alive last */
  bool gone;         /* was seen dead: it writes nothing any more */
};
struct serve_range {
  struct sf_list link;
  uint64_t begin, end;
  bool listed;
};
void sf_serve_order_init(struct serve_order *order);
void sf_serve_order_destroy(struct serve_order *order);
/* From 0 on, no other write that overlaps is handed over until sf_serve_order_submit() with this
 * range or sf_serve_order_release().  Waits; -EIO: for too long; -ESHUTDOWN: the client is gone. */
int sf_serve_order_hold(struct sf_call *call, struct serve_range *range);
/* Calls submit(arg), which hands n writes in the range to the volume, when those before have been;
 * the same errors, and then it was not called.  The range is not held afterwards. */
int sf_serve_order_submit(struct sf_call *call, struct serve_range *range,
                          void (*submit)(void *arg), void *arg, unsigned n);
void sf_serve_order_release(struct sf_call *call, struct serve_range *range); /* if it is held */
/* Without a wait: submit(arg, i) for each of the n ranges that overlaps none that is held, in
 * order, and refused[i] = 0; else it is -EAGAIN, or -ESHUTDOWN for all. */
void sf_serve_order_try(struct sf_serve_client *client, const struct serve_range *ranges,
                        unsigned n, void (*submit)(void *arg, unsigned i), void *arg, int *refused);

/* turn.c: the turn to zero where zeros are written out; `place` is the caller's.  Waits; -EIO: for
 * too long; -ESHUTDOWN: the client is gone. */
void sf_serve_turn_init(struct serve_turn *turn);
void sf_serve_turn_destroy(struct serve_turn *turn);
int sf_serve_turn_take(struct sf_call *call, struct sf_list *place);
void sf_serve_turn_pass(struct sf_call *call, struct sf_list *place, bool well);

/* keeper.c */
int sf_serve_keeper_start(struct sf_serve *serve);
void sf_serve_keeper_stop(struct sf_serve *serve);

/* legs.c: the host functions that open and close legs, and the threads that do it */
int sf_serve_open_leg(void *ctx, unsigned leg, enum sf_leg_blank blank);
int sf_serve_reopen_leg(void *ctx, unsigned leg);
void sf_serve_close_leg(void *ctx, unsigned leg);
void sf_serve_submitter_lost(void *ctx, int fd, int error);
int sf_serve_add_device(struct sf_serve *serve, struct serve_leg *leg, const char *name);
/* Pages of the leg's metadata that could not be read. */
void sf_serve_tell_bad(struct sf_serve *serve, const struct serve_leg *leg, const char *name);
int sf_serve_let_go(struct sf_serve *serve, struct serve_leg *leg); /* its device and file */
/* If one hangs: false, if none does. */
bool sf_serve_give_up_opening(struct sf_serve *serve, unsigned leg);
int sf_serve_join_openers(struct sf_serve *serve);

/* series.c: true when it is the first of its kind, and to be told; else it is counted, and the
 * keeper tells how many there were.  Any thread. */
bool sf_serve_series_add(struct sf_serve *serve, const char *what);
void sf_serve_series_tell(struct sf_serve *serve, bool at_once); /* at_once: it ends */
uint64_t sf_serve_series_next(struct sf_serve *serve);           /* when; 0: nothing to tell */

/* watch.c: the thread that looks whether the paths of the legs lead to them */
int sf_serve_watch_start(struct sf_serve *serve);
void sf_serve_watch_stop(struct sf_serve *serve); /* after one more look */
void sf_serve_watch_leg(struct sf_serve *serve, struct serve_leg *leg, bool on);
/* A path's fault becomes the reason of a leg that has no other. */
void sf_serve_watch_note(struct sf_serve *serve, struct sf_volume_status *status);

/* gone.c: the host function that is asked at an error whether the disk has left.  Waits for a moment at most */
void sf_serve_gone_init(struct serve_gone *gone);
void sf_serve_gone_destroy(struct serve_gone *gone);
bool sf_serve_device_is_gone(void *ctx, struct sf_tio_device *device);
void sf_serve_gone_forget(struct sf_serve *serve,
                          const struct sf_tio_device *device); /* it is removed */

/* presence.c: the host function that asks whether a faulty leg's disk has left, and the threads that do it */
int sf_serve_look_at_leg(void *ctx, unsigned leg, struct sf_tio_device *device, uint64_t look);
int sf_serve_join_lookers(struct sf_serve *serve); /* -EBUSY: one hangs */

/* extents.c: the thread that looks for holes */
int sf_serve_extents_start(struct sf_serve *serve);
int sf_serve_extents_stop(struct sf_serve *serve);

/* job.c: one thread for work that a hung leg may block */
int sf_serve_job_is_free(struct sf_serve *serve, char error[SF_CONFIG_ERROR_MAX]);
int sf_serve_job_begin(struct sf_serve *serve, void *(*run)(void *serve),
                       char error[SF_CONFIG_ERROR_MAX]);
int sf_serve_job_join(struct sf_serve *serve);

/* drill.c: the control socket's handler; ctx is the sf_serve */
int sf_serve_drill(void *ctx, const char *action, const char *leg, const char *duration,
                   char error[SF_CONFIG_ERROR_MAX]);

/* members.c */
int sf_serve_leg_replace(struct sf_serve *serve, unsigned leg, const char *name, const char *path,
                         char error[SF_CONFIG_ERROR_MAX]);
int sf_serve_leg_add(struct sf_serve *serve, const char *name, const char *path,
                     char error[SF_CONFIG_ERROR_MAX]);
int sf_serve_leg_remove(struct sf_serve *serve, unsigned leg, const char *name,
                        char error[SF_CONFIG_ERROR_MAX]);

/* grow.c: the thread that makes legs longer, then the volume */
int sf_serve_grow(struct sf_serve *serve, uint64_t size, char error[SF_CONFIG_ERROR_MAX]);

/* operator.c: what the control socket asks */
int sf_serve_control_create(struct sf_serve *serve, char error[SF_CONFIG_ERROR_MAX]);

#endif

/* The real host of a volume: opens the legs, joins the volume to timed I/O, keeps its timers, and
 * offers the blocking calls that an nbdkit worker thread makes.  No printing: messages go to the
 * log function. */
#ifndef SUREFOOT_SERVE_H
#define SUREFOOT_SERVE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

#include <surefoot/config.h>
#include <surefoot/volume.h>

struct sf_serve;

struct sf_serve_options {
  bool force; /* `force=true`: R12's way out */
  /* `force_with=LEG,LEG`: the same with these legs alone; the others are not looked at before it
   * serves.  NULL: with all that are there. */
  const char *force_with;
  bool take;                                /* `take=true`: from a host that still holds the legs */
  bool quiet;                               /* events are not logged: the control socket has them */
  void (*log)(void *ctx, const char *line); /* state changes, for the operator; any thread */
  void (*trace)(void *ctx, const char *line); /* NULL: off */
  /* Is the client of the request that the calling thread serves gone?  True is for ever.  Asked now
   * and then while a request waits long, and before a write when another connection writes as well;
   * must not block.  NULL: clients stay. */
  bool (*hangup)(void *ctx);
  void *ctx;
};

/* Before the fork: opens and locks the legs, reads the superblocks, decides whether the volume may
 * start (waiting wait_for_legs), binds the control socket.  Everything that can fail visibly. */
int sf_serve_open(const struct sf_config *config, const struct sf_serve_options *options,
                  struct sf_serve **serve, char error[SF_CONFIG_ERROR_MAX]);

/* After the fork: rings, threads, claim and first record.  Requests wait until those are
 * durable. */
int sf_serve_start(struct sf_serve *serve, char error[SF_CONFIG_ERROR_MAX]);

uint64_t sf_serve_size(const struct sf_serve *serve);
uint32_t sf_serve_block_bytes(const struct sf_serve *serve);

/* One connection.  hangup is asked for it: in the thread that opens it, and in those of its
 * requests.  A write or zeroing that is not handed to the volume before the connection dies never
 * is after what the client may have sent again by another one: it is -ESHUTDOWN then. */
struct sf_serve_client;
int sf_serve_client_open(struct sf_serve *serve, struct sf_serve_client **client); /* or -ENOMEM */
/* The same with a hangup function of the client's own, called in any thread, from now until it is
 * closed. */
int sf_serve_client_open_as(struct sf_serve *serve, bool (*hangup)(void *ctx), void *ctx,
                            struct sf_serve_client **client);
/* No request of it runs any more; the functions that told of them have returned afterwards.  NULL
 * is accepted. */
void sf_serve_client_close(struct sf_serve_client *client);

/* 0 or -errno.  Any offset and length inside the volume; longer ones are done piece by piece. */
int sf_serve_read(struct sf_serve_client *client, void *data, uint64_t length, uint64_t offset);
int sf_serve_write(struct sf_serve_client *client, const void *data, uint64_t length,
                   uint64_t offset, bool fua);
int sf_serve_zero(struct sf_serve_client *client, uint64_t length, uint64_t offset, bool fua,
                  bool may_unmap);
/* Zeroed with the space given back, where every leg that gets it can do that; else nothing is done.
 * Nor is it to what are no whole blocks. */
int sf_serve_trim(struct sf_serve_client *client, uint64_t length, uint64_t offset, bool fua);
int sf_serve_flush(struct sf_serve_client *client);

/* ---- requests that no thread waits for: for a loop, which has many at a time ---- */

/* Zeroed, the request filled as volume.h says, with buffers of sf_serve_pool(). */
struct sf_serve_request {
  struct sf_request request;
  /* As the request's: called once, in any thread, perhaps before sf_serve_submit() has returned.  Set
   * a flag, wake a thread: other requests are told behind it. */
  void (*done)(struct sf_serve_request *request);
  void *user; /* the caller's own */
  /* Put by sf_serve_submit(): 0: done() comes, or has come.  Else it was not handed over, and never
   * is: -EAGAIN: it needs a wait, as it is not whole blocks, or another write is changing one of
   * its blocks in part: use the blocking call.  -ESHUTDOWN: its client is gone. */
  int refused;

  struct sf_serve *serve; /* serve's own, as the rest */
  uint32_t block_bytes;
};

/* All of one client's, READ, WRITE and FLUSH; the same rules as for the blocking calls, and no
 * wait. */
void sf_serve_submit(struct sf_serve_client *client, struct sf_serve_request *const requests[],
                     unsigned n);
/* The answer is not wanted any more: done() comes next, if it has not come. */
void sf_serve_give_up(struct sf_serve_client *client, struct sf_serve_request *request);

/* What rings, buffers and wake-ups are to be had from. */
struct sf_tio_client *sf_serve_pool(struct sf_serve *serve);
/* How many large buffers of it all clients together can have. */
unsigned sf_serve_large_buffers(const struct sf_serve *serve);
/* How long a request may wait for a buffer: fail_timeout, or UINT64_MAX. */
uint64_t sf_serve_patience_ns(const struct sf_serve *serve);
/* The volume was told to stop with its clients still there: a request that ends with -ESHUTDOWN is
 * not answered then, and its connection ends. */
bool sf_serve_is_ending(const struct sf_serve *serve);
/* In what unit requests can be handed over just now. */
uint32_t sf_serve_unit(const struct sf_serve *serve);

/* A line for the log; many alike are one line, and then counted. */
void sf_serve_say_once(struct sf_serve *serve, const char *what);

/* A client's request that failed, for the log.  Many alike are one line. */
void sf_serve_tell_failed(struct sf_serve *serve, const char *verb, int error, uint64_t length,
                          uint64_t offset);

struct sf_extent {
  uint64_t length; /* from the offset asked for: at least 1, at most the length asked for */
  bool hole;       /* takes no space and reads as zeros */
};
/* What begins at offset, as far as a leg tells it within a read's deadline; else data. */
void sf_serve_extent(struct sf_serve *serve, uint64_t length, uint64_t offset,
                     struct sf_extent *extent);

/* Ends the volume cleanly (bounded, see sf_volume_stop), joins the threads, closes the legs.  A leg
 * that hangs stays open until the process ends; returns -EBUSY then.  NULL is accepted. */
int sf_serve_close(struct sf_serve *serve);

#endif

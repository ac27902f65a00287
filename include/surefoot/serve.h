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
  bool force;                               /* `force=true`: R12's way out */
  bool take;                                /* `take=true`: from a host that still holds the legs */
  bool quiet;                               /* events are not logged: the control socket has them */
  bool discard;                             /* reserved */
  void (*log)(void *ctx, const char *line); /* state changes, for the operator; any thread */
  void (*trace)(void *ctx, const char *line); /* NULL: off */
  /* Whether the client of the request, whose thread this is, is gone: true is for ever.  Asked now and
   * then while a request waits long, and before a write when another connection writes as well; must
   * not block.  NULL: clients stay. */
  bool (*hangup)(void *ctx);
  void *ctx;
};

/* Before the fork: opens and locks the legs, reads the superblocks, decides whether the volume may
 * start (waiting wait_for_legs), binds the control socket.  Everything that can fail visibly. */
int sf_serve_open(const struct sf_config *config, const struct sf_serve_options *options,
                  struct sf_serve **serve, char error[SF_CONFIG_ERROR_MAX]);

/* After the fork: rings, threads, claim and first record.  Requests wait until those are durable. */
int sf_serve_start(struct sf_serve *serve, char error[SF_CONFIG_ERROR_MAX]);

uint64_t sf_serve_size(const struct sf_serve *serve);
uint32_t sf_serve_block_bytes(const struct sf_serve *serve);

/* One connection.  hangup is asked for it: in the thread that opens it, and in those of its requests.
 * A write or zeroing that is not handed to the volume before the connection dies never is after what
 * the client may have sent again by another one: it is -ESHUTDOWN then. */
struct sf_serve_client;
int sf_serve_client_open(struct sf_serve *serve, struct sf_serve_client **client); /* or -ENOMEM */
/* No request of it runs any more.  NULL is accepted. */
void sf_serve_client_close(struct sf_serve_client *client);

/* 0 or -errno.  Any offset and length inside the volume; longer ones are done piece by piece. */
int sf_serve_read(struct sf_serve_client *client, void *data, uint64_t length, uint64_t offset);
int sf_serve_write(struct sf_serve_client *client, const void *data, uint64_t length,
                   uint64_t offset, bool fua);
int sf_serve_zero(struct sf_serve_client *client, uint64_t length, uint64_t offset, bool fua,
                  bool may_unmap);
/* Zeroed with the space given back, where every leg that gets it can do that; else nothing is done.  Nor is
 * it to what are no whole blocks. */
int sf_serve_trim(struct sf_serve_client *client, uint64_t length, uint64_t offset, bool fua);
int sf_serve_flush(struct sf_serve_client *client);

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

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
  bool quiet;                               /* events are not logged: the control socket has them */
  bool discard;                             /* reserved */
  void (*log)(void *ctx, const char *line); /* state changes, for the operator; any thread */
  void (*trace)(void *ctx, const char *line); /* NULL: off */
  /* Asked now and then while a request waits long: true = the client is gone, give up. */
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

/* 0 or -errno.  Any offset and length inside the volume; longer ones are done piece by piece. */
int sf_serve_read(struct sf_serve *serve, void *data, uint64_t length, uint64_t offset);
int sf_serve_write(struct sf_serve *serve, const void *data, uint64_t length, uint64_t offset,
                   bool fua);
int sf_serve_zero(struct sf_serve *serve, uint64_t length, uint64_t offset, bool fua,
                  bool may_unmap);
int sf_serve_flush(struct sf_serve *serve);

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

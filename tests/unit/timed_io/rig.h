/* What the tests of timed I/O share: a client with devices to play with, a log of the notifies, and
 * waits that are bounded. */
#ifndef TIMED_IO_RIG_H
#define TIMED_IO_RIG_H

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <surefoot/timed_io.h>

#include "unit/timed_io/stall_rig.h"

#define MS UINT64_C(1000000)

/* A wait that takes longer is a failure of the test. */
#define PATIENCE_NS (20000 * MS)

enum { LOG_MAX = 4096, FILE_BYTES = 8 << 20 };

/* Notify and late calls, in the order in which they came.  One per program. */
struct log {
  pthread_mutex_t lock;
  pthread_cond_t changed;
  unsigned n;
  struct sf_tio_event event[LOG_MAX];
  pthread_t thread[LOG_MAX];
};
extern struct log told;

void log_clear(void);
void log_event(const struct sf_tio_event *event); /* a notify and a late function */
/* Waits, with a limit, until so many events of the state are there; -1: of any. */
void log_wait(int state, bool late, unsigned n);
unsigned log_count(int state, bool late);
unsigned log_total(void);
/* The i-th of them. */
struct sf_tio_event log_get(int state, bool late, unsigned i);

/* A fresh plain file, O_RDWR | O_DIRECT, preallocated and already gone from its folder. */
int open_plain(void);

/* The same with a path, which the caller removes; `path` ends in XXXXXX. */
int open_plain_at(char *path);

/* A client with small pools, and a late function that logs. */
struct sf_tio_client *client_new(unsigned requests, unsigned small, unsigned large);
struct sf_tio_device *device_new(struct sf_tio_client *client, int fd);

/* Waits, with a limit, until nothing of the client runs; then takes it down. */
void client_idle(struct sf_tio_client *client);
void device_end(struct sf_tio_device *device);
void client_end(struct sf_tio_client *client);

struct sf_tio_region region_at(struct sf_tio_device *device, uint64_t offset, uint64_t length);

/* Reads without the library.  O_DIRECT. */
void read_back(int fd, uint64_t offset, void *data, size_t length);
/* Whether so many bytes from data are all this one. */
bool all_bytes(const void *data, int byte, size_t length);
/* The byte that a whole block of 4096 is full of; -1: it is not. */
int block_byte(int fd, uint64_t offset);

/* Like sf_tio_drive() until `n` regions of the log are terminal, within the patience. */
void drive_until_told(struct sf_tio_queue *queue, unsigned n);
unsigned log_terminal(void);

/* Exits with 77 if the rig cannot run here. */
void need_rig(bool loop);

/* Until condition holds; false after PATIENCE_NS.  Polls: for what has no event to wait for. */
#define EVENTUALLY(condition)                                                                      \
  ({                                                                                               \
    uint64_t eventually_limit = sf_tio_now() + PATIENCE_NS;                                        \
    while (!(condition) && sf_tio_now() < eventually_limit)                                        \
      pause_briefly();                                                                             \
    (condition);                                                                                   \
  })
void pause_briefly(void);

#endif

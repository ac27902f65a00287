#include "unit/timed_io/rig.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct log told = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

void
log_clear(void) {
  pthread_mutex_lock(&told.lock);
  told.n = 0;
  pthread_mutex_unlock(&told.lock);
}

void
log_event(const struct sf_tio_event *event) {
  pthread_mutex_lock(&told.lock);
  if (told.n < LOG_MAX) {
    told.event[told.n] = *event;
    told.thread[told.n++] = pthread_self();
  }
  pthread_cond_broadcast(&told.changed);
  pthread_mutex_unlock(&told.lock);
}

static bool
matches(const struct sf_tio_event *event, int state, bool late) {
  return event->late == late && (state < 0 || (int) event->state == state);
}

static unsigned
count(int state, bool late) {
  unsigned n = 0;

  for (unsigned i = 0; i < told.n; i++)
    n += matches(&told.event[i], state, late);
  return n;
}

unsigned
log_count(int state, bool late) {
  unsigned n;

  pthread_mutex_lock(&told.lock);
  n = count(state, late);
  pthread_mutex_unlock(&told.lock);
  return n;
}

void
log_wait(int state, bool late, unsigned n) {
  struct timespec limit;
  int error = 0;

  clock_gettime(CLOCK_REALTIME, &limit);
  limit.tv_sec += (time_t) (PATIENCE_NS / 1000000000u);
  pthread_mutex_lock(&told.lock);
  while (count(state, late) < n && !error)
    error = pthread_cond_timedwait(&told.changed, &told.lock, &limit);
  pthread_mutex_unlock(&told.lock);
  assert_int_equal(error, 0);
}

struct sf_tio_event
log_get(int state, bool late, unsigned i) {
  struct sf_tio_event found = {0};
  bool ok = false;

  pthread_mutex_lock(&told.lock);
  for (unsigned j = 0; j < told.n && !ok; j++)
    if (matches(&told.event[j], state, late) && i-- == 0) {
      found = told.event[j];
      ok = true;
    }
  pthread_mutex_unlock(&told.lock);
  assert_true(ok);
  return found;
}

int
open_plain(void) {
  char path[] = "/var/tmp/sf-tio-XXXXXX";
  int fd = open_plain_at(path);

  unlink(path);
  return fd;
}

int
open_plain_at(char *path) {
  int fd = mkostemp(path, O_DIRECT | O_CLOEXEC);
  void *zeros = NULL;

  assert_true(fd >= 0);
  /* Written, not only allocated: a write to an unwritten extent is not RWF_NOWAIT's. */
  assert_int_equal(posix_memalign(&zeros, SF_TIO_ALIGN, 1 << 20), 0);
  memset(zeros, 0, 1 << 20);
  for (int at = 0; at < FILE_BYTES; at += 1 << 20)
    assert_int_equal(pwrite(fd, zeros, 1 << 20, at), 1 << 20);
  free(zeros);
  return fd;
}

/* With TIO_SUBMITTERS in the environment every client of the program has submitter processes. */
static struct sf_tio_submitters *submitters;

__attribute__((constructor)) static void
start_submitters(void) {
  if (getenv("TIO_SUBMITTERS") && sf_tio_submitters_start(8, &submitters) < 0)
    exit(77); /* no io_uring here */
}

__attribute__((destructor)) static void
stop_submitters(void) {
  sf_tio_submitters_stop(submitters);
}

struct sf_tio_client *
client_new(unsigned requests, unsigned small, unsigned large) {
  struct sf_tio_client_params params = {.requests_max = requests,
                                        .buffers_small = small,
                                        .buffers_large = large,
                                        .late = log_event,
                                        .thread_name = "tio-test",
                                        .submitters = submitters};
  struct sf_tio_client *client = NULL;
  int error = sf_tio_client_create(&params, &client);

  if (error == -ENOSYS || error == -EPERM) {
    fprintf(stderr, "SKIP: no io_uring here\n");
    exit(77);
  }
  assert_int_equal(error, 0);
  log_clear();
  return client;
}

struct sf_tio_device *
device_new(struct sf_tio_client *client, int fd) {
  struct sf_tio_device *device = NULL;

  assert_int_equal(sf_tio_device_add(client, fd, &device), 0);
  return device;
}

static unsigned
requests_of(struct sf_tio_client *client) {
  struct sf_tio_client_stats stats;

  sf_tio_client_stats(client, &stats);
  return stats.requests;
}

void
client_idle(struct sf_tio_client *client) {
  assert_true(EVENTUALLY(requests_of(client) == 0));
}

void
device_end(struct sf_tio_device *device) {
  assert_true(EVENTUALLY(sf_tio_device_running(device) == 0));
  assert_int_equal(sf_tio_device_remove(device), 0);
}

void
client_end(struct sf_tio_client *client) {
  client_idle(client);
  assert_int_equal(sf_tio_client_destroy(client), 0);
}

struct sf_tio_region
region_at(struct sf_tio_device *device, uint64_t offset, uint64_t length) {
  return (struct sf_tio_region){.device = device, .offset = offset, .length = length};
}

void
read_back(int fd, uint64_t offset, void *data, size_t length) {
  void *aligned = NULL;

  assert_int_equal(posix_memalign(&aligned, SF_TIO_ALIGN, length), 0);
  assert_int_equal(pread(fd, aligned, length, (off_t) offset), (ssize_t) length);
  memcpy(data, aligned, length);
  free(aligned);
}

void
need_rig(bool loop) {
  const char *missing = stall_rig_missing(loop);

  if (missing) {
    fprintf(stderr, "SKIP: %s\n", missing);
    exit(77);
  }
}

void
pause_briefly(void) {
  nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

bool
all_bytes(const void *data, int byte, size_t length) {
  const unsigned char *at = data;

  for (size_t i = 0; i < length; i++)
    if (at[i] != byte)
      return false;
  return true;
}

int
block_byte(int fd, uint64_t offset) {
  unsigned char block[4096];

  read_back(fd, offset, block, sizeof block);
  return all_bytes(block, block[0], sizeof block) ? block[0] : -1;
}

unsigned
log_total(void) {
  return log_count(-1, false) + log_count(-1, true);
}

unsigned
log_terminal(void) {
  return log_count(SF_TIO_OK, false) + log_count(SF_TIO_ERROR, false) +
         log_count(SF_TIO_CANCELED, false);
}

static bool
told_enough(void *arg) {
  return log_terminal() >= *(unsigned *) arg;
}

void
drive_until_told(struct sf_tio_queue *queue, unsigned n) {
  assert_int_equal(sf_tio_drive(queue, sf_tio_now() + PATIENCE_NS, told_enough, &n), 0);
}

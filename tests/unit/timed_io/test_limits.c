/* Limits: everything has one, and meeting it is an answer and not a hang. */
#include "unit/timed_io/rig.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "timed_io/internal.h"

/* Proves: buffers are aligned, of two sizes, a large one is given when no small one is free; when
 * all are gone the answer is -EAGAIN, at once or after the wait, and memory has not grown. */
static void
buffers_run_out(void **state) {
  struct sf_tio_client *client = client_new(8, 4, 2);
  struct sf_tio_client_stats first, stats;
  struct sf_tio_buffer *buffers[7];
  uint64_t begin;

  sf_tio_client_stats(client, &first);
  assert_int_equal(sf_tio_buffer_get(client, 256 * 1024 + 1, 0, &buffers[6]), -EMSGSIZE);
  for (unsigned i = 0; i < 6; i++) {
    assert_int_equal(sf_tio_buffer_get(client, 100, 0, &buffers[i]), 0);
    assert_int_equal((uintptr_t) buffers[i]->data % SF_TIO_ALIGN, 0);
    assert_int_equal(buffers[i]->size, i < 4 ? 16 * 1024 : 256 * 1024);
    memset(buffers[i]->data, 0xff, buffers[i]->size);
  }
  assert_int_equal(sf_tio_buffer_get(client, 100, 0, &buffers[6]), -EAGAIN);
  begin = sf_tio_now();
  assert_int_equal(sf_tio_buffer_get(client, 100, 20 * MS, &buffers[6]), -EAGAIN);
  assert_in_range(sf_tio_now() - begin, 20 * MS, 1000 * MS);
  sf_tio_client_stats(client, &stats);
  assert_int_equal(stats.memory_bytes, first.memory_bytes);
  assert_int_equal(stats.buffers_free_small + stats.buffers_free_large, 0);
  assert_int_equal(stats.buffers_quarantined, 0);
  assert_int_equal(sf_tio_client_destroy(client), -EBUSY);
  for (unsigned i = 0; i < 6; i++)
    sf_tio_buffer_put(client, buffers[i]);
  client_end(client);
}

/* Proves: the buffer and the request's slot given back last are taken first, since they are in the
 * processor's cache; and the handles of one slot differ all the same. */
static void
the_last_is_the_first(void **state) {
  struct sf_tio_client *client = client_new(8, 4, 2);
  int fd = open_plain();
  struct sf_tio_device *device = device_new(client, fd);
  struct sf_tio_control control = {.op = SF_TIO_WRITE, .flags = SF_TIO_SYNC};
  struct sf_tio_region region = region_at(device, 0, 4096);
  struct sf_tio_buffer *buffer, *again;
  uint64_t handle[2];

  assert_int_equal(sf_tio_buffer_get(client, 1, 0, &buffer), 0);
  sf_tio_buffer_put(client, buffer);
  assert_int_equal(sf_tio_buffer_get(client, 1, 0, &again), 0);
  assert_ptr_equal(again, buffer);
  control.buffer = again;
  for (unsigned i = 0; i < 2; i++)
    assert_int_equal(sf_tio(client, &control, &region, 1, &handle[i], NULL), 0);
  assert_int_not_equal(handle[0], handle[1]);
  assert_int_equal(handle[0] % SF_TIO_REQUESTS_LIMIT, handle[1] % SF_TIO_REQUESTS_LIMIT);
  sf_tio_buffer_put(client, again);
  device_end(device);
  client_end(client);
  close(fd);
}

struct held {
  struct sf_tio_client *client;
  struct sf_tio_buffer *buffer;
};

static void *
put_soon(void *arg) {
  struct held *held = arg;

  for (unsigned i = 0; i < 20; i++)
    pause_briefly();
  sf_tio_buffer_put(held->client, held->buffer);
  return NULL;
}

/* Proves: a thread that waits for a buffer gets the one that comes free; sf_tio() with `data` waits
 * likewise, and within its timeout. */
static void
buffers_come_free(void **state) {
  struct held held = {.client = client_new(8, 1, 1)};
  int fd = open_plain();
  struct sf_tio_device *device = device_new(held.client, fd);
  struct sf_tio_buffer *large;
  char data[4096] = "x";
  struct sf_tio_control control = {
      .op = SF_TIO_WRITE, .flags = SF_TIO_SYNC, .data = data, .timeout_ns = 20 * MS};
  struct sf_tio_region region = region_at(device, 0, 4096);
  pthread_t other;

  assert_int_equal(sf_tio_buffer_get(held.client, 256 * 1024, 0, &large), 0);
  assert_int_equal(sf_tio_buffer_get(held.client, 1, 0, &held.buffer), 0);
  assert_int_equal(sf_tio(held.client, &control, &region, 1, NULL, NULL), -EAGAIN);
  control.timeout_ns = 0;
  assert_int_equal(sf_tio(held.client, &control, &region, 1, NULL, NULL), -EAGAIN);
  pthread_create(&other, NULL, put_soon, &held);
  control.timeout_ns = PATIENCE_NS;
  assert_int_equal(sf_tio(held.client, &control, &region, 1, NULL, NULL), 0);
  pthread_join(other, NULL);
  sf_tio_buffer_put(held.client, large);
  device_end(device);
  client_end(held.client);
  close(fd);
}

#define HOLD_NS (1000 * MS)

static void *
put_after_a_while(void *arg) {
  struct held *held = arg;
  uint64_t until_ns;

  assert_true(EVENTUALLY(atomic_load(&held->client->own_delay.next_ns) == SF_TIO_NEVER));
  until_ns = sf_tio_now() + HOLD_NS;
  while (sf_tio_now() < until_ns)
    pause_briefly();
  sf_tio_buffer_put(held->client, held->buffer);
  return NULL;
}

/* Proves: the time that a request waits for a buffer is in its latency; it is no delay of this
 * process, which could run.  How: nothing else is in flight, so the own-delay thread goes to rest
 * meanwhile. */
static void
waiting_is_no_own_delay(void **state) {
  struct held held = {.client = client_new(8, 1, 1)};
  int fd = open_plain();
  struct sf_tio_device *device = device_new(held.client, fd);
  struct sf_tio_buffer *large;
  char data[4096] = "x";
  struct sf_tio_control control = {.op = SF_TIO_WRITE,
                                   .flags = SF_TIO_SYNC,
                                   .data = data,
                                   .notify = log_event,
                                   .timeout_ns = PATIENCE_NS};
  struct sf_tio_region region = region_at(device, 0, 4096);
  struct sf_tio_client_stats stats;
  pthread_t other;

  assert_int_equal(sf_tio_buffer_get(held.client, 256 * 1024, 0, &large), 0);
  assert_int_equal(sf_tio_buffer_get(held.client, 1, 0, &held.buffer), 0);
  pthread_create(&other, NULL, put_after_a_while, &held);
  assert_int_equal(sf_tio(held.client, &control, &region, 1, NULL, NULL), 0);
  pthread_join(other, NULL);
  sf_tio_client_stats(held.client, &stats);
  assert_in_range(stats.own_delay_ns, 0, HOLD_NS / 2);
  assert_true(log_get(SF_TIO_OK, false, 0).latency_ns >= HOLD_NS / 2);
  sf_tio_buffer_put(held.client, large);
  device_end(device);
  client_end(held.client);
  close(fd);
}

/* Proves: no more requests than said; devices no more than the table; a device in use stays; a
 * client with a device stays; destroying nothing is fine. */
static void
slots_and_devices(void **state) {
  struct sf_tio_client *client = client_new(2, 0, 0);
  struct sf_tio_device *devices[SF_TIO_DEVICES_MAX], *one_more;
  int fd = open_plain();
  char data[4096] = "x";
  struct sf_tio_control control = {.op = SF_TIO_WRITE, .data = data, .notify = log_event};
  struct sf_tio_region region;
  struct sf_tio_queue *queue;

  for (unsigned i = 0; i < SF_TIO_DEVICES_MAX; i++)
    devices[i] = device_new(client, fd);
  assert_int_equal(sf_tio_device_add(client, fd, &one_more), -ENOSPC);
  assert_int_equal(sf_tio_device_add(client, -1, &one_more), -EBADF);
  region = region_at(devices[0], 0, 4096);
  assert_int_equal(sf_tio_attend(client, &queue), 0);
  for (unsigned i = 0; i < 2; i++)
    assert_int_equal(sf_tio(client, &control, &region, 1, NULL, NULL), 0);
  assert_int_equal(sf_tio(client, &control, &region, 1, NULL, NULL), -EAGAIN);
  assert_int_equal(sf_tio_device_remove(devices[0]), -EBUSY);
  drive_until_told(queue, 2);
  assert_int_equal(sf_tio(client, &control, &region, 1, NULL, NULL), 0);
  drive_until_told(queue, 3);
  for (unsigned i = 0; i < SF_TIO_DEVICES_MAX; i++) {
    assert_int_equal(sf_tio_client_destroy(client), -EBUSY);
    device_end(devices[i]);
  }
  client_end(client);
  assert_int_equal(sf_tio_client_destroy(NULL), 0);
  close(fd);
}

static void
resubmit(const struct sf_tio_event *event) {
  unsigned *left = event->context;
  char data[4096] = "x";
  struct sf_tio_control control = {
      .op = SF_TIO_WRITE, .data = data, .notify = resubmit, .context = left};
  struct sf_tio_region region = region_at(event->device, 0, 4096);

  assert_int_equal(sf_tio_device_remove(event->device), -EBUSY);
  if (--*left)
    assert_int_equal(sf_tio(sf_tio_device_user(event->device), &control, &region, 1, NULL, NULL),
                     0);
  log_event(event);
}

/* Proves: a request's slot and buffer are free again when its last notify is called; the device is
 * not to be removed before that has returned.  How: a client with one of each; every notify starts
 * the next request, and asks. */
static void
free_in_the_last_notify(void **state) {
  struct sf_tio_client *client = client_new(1, 1, 1);
  int fd = open_plain();
  struct sf_tio_device *device = device_new(client, fd);
  struct sf_tio_buffer *large;
  char data[4096] = "x";
  unsigned left = 50;
  struct sf_tio_control control = {
      .op = SF_TIO_WRITE, .data = data, .notify = resubmit, .context = &left};
  struct sf_tio_region region = region_at(device, 0, 4096);

  sf_tio_device_set_user(device, client);
  assert_int_equal(sf_tio_buffer_get(client, 256 * 1024, 0, &large), 0);
  assert_int_equal(sf_tio(client, &control, &region, 1, NULL, NULL), 0);
  log_wait(SF_TIO_OK, false, 50);
  sf_tio_buffer_put(client, large);
  device_end(device);
  client_end(client);
  close(fd);
}

/* Proves: parameters that make no sense are refused. */
static void
bad_params(void **state) {
  const struct sf_tio_client_params bad[] = {
      {.requests_max = 5000},
      {.small_bytes = 1000},
      {.large_bytes = 5000},
      {.small_bytes = 65536, .large_bytes = 4096},
  };
  struct sf_tio_client *client = NULL;

  for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++)
    assert_int_equal(sf_tio_client_create(&bad[i], &client), -EINVAL);
  assert_null(client);
  assert_int_equal(sf_tio_client_create(NULL, &client), 0);
  client_end(client);
}

/* No user has this number plus a process number. */
#define ALONE ((uid_t) 1 << 30)

static int
unprivileged_child(void) {
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
  struct __user_cap_data_struct none[2] = {0};
  struct sf_tio_client *client;
  struct sf_tio_device *device;
  char data[4096] = "m", back[4096];
  struct sf_tio_control control = {.op = SF_TIO_WRITE, .flags = SF_TIO_SYNC, .data = data};
  struct sf_tio_region region;
  int fd = open_plain();

  /* What may be locked is counted per user, over all processes without the capability; so root
   * becomes a user of its own. */
  if (geteuid() == 0 && setuid(ALONE + (uid_t) getpid()) < 0)
    return 8;
  if (setrlimit(RLIMIT_MEMLOCK, &(struct rlimit){1 << 20, 1 << 20}) < 0 ||
      syscall(SYS_capset, &header, none) < 0)
    return 1;
  if (sf_tio_client_create(NULL, &client) < 0 || sf_tio_device_add(client, fd, &device) < 0)
    return 2;
  if (client->background.queue->ring.fixed || device->device_thread.ring->fixed)
    return 7; /* then this proves nothing */
  region = region_at(device, 0, 4096);
  if (sf_tio(client, &control, &region, 1, NULL, NULL) < 0)
    return 3;
  control.op = SF_TIO_READ;
  control.data = back;
  if (sf_tio(client, &control, &region, 1, NULL, NULL) < 0 || memcmp(data, back, 4096) != 0)
    return 4;
  control.op = SF_TIO_ZERO;
  control.data = NULL;
  if (sf_tio(client, &control, &region, 1, NULL, NULL) < 0)
    return 5;
  return sf_tio_device_remove(device) < 0 || sf_tio_client_destroy(client) < 0 ? 6 : 0;
}

/* Proves: where memory may not be locked, the pool is not registered and everything works.
 * How: a child without capabilities and with room for rings only. */
static void
no_locked_memory(void **state) {
  pid_t pid = fork();
  int status;

  if (pid == 0)
    _exit(unprivileged_child());
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_true(WIFEXITED(status));
  assert_int_equal(WEXITSTATUS(status), 0);
}

struct attending {
  struct sf_tio_client *client;
  pthread_barrier_t *all;
  pthread_t thread;
  int r;
};

static void *
attend(void *arg) {
  struct attending *attending = arg;
  struct sf_tio_queue *queue;

  attending->r = sf_tio_attend(attending->client, &queue);
  pthread_barrier_wait(attending->all);
  return NULL;
}

/* Proves: threads leave as many files as they are to, are told so, and what they ask for is done
 * all the same.  How: a low limit, more threads than it has room for, then files are opened. */
static void
files_are_left_over(void **state) {
  enum { THREADS = 24, KEPT = 16 };
  const struct sf_tio_client_params params = {.files_kept = KEPT};
  struct attending attending[THREADS];
  struct sf_tio_client *client;
  struct sf_tio_device *device;
  struct rlimit before, low;
  int fd = open_plain(), files[KEPT];
  pthread_barrier_t all;
  unsigned with = 0;

  assert_int_equal(sf_tio_client_create(&params, &client), 0);
  device = device_new(client, fd);
  assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
  files[0] = dup(fd);
  low = before;
  low.rlim_cur = (rlim_t) files[0] + KEPT + THREADS; /* half of them have room */
  close(files[0]);
  assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
  assert_int_equal(pthread_barrier_init(&all, NULL, THREADS), 0);
  for (unsigned i = 0; i < THREADS; i++) {
    attending[i] = (struct attending){.client = client, .all = &all};
    assert_int_equal(pthread_create(&attending[i].thread, NULL, attend, &attending[i]), 0);
  }
  for (unsigned i = 0; i < THREADS; i++) {
    pthread_join(attending[i].thread, NULL);
    assert_true(attending[i].r == 0 || attending[i].r == -EMFILE);
    with += attending[i].r == 0;
  }
  assert_in_range(with, THREADS / 2 - 1, THREADS / 2); /* a thread that starts may hold a number */
  for (unsigned i = 0; i < KEPT; i++) {
    files[i] = dup(fd);
    assert_true(files[i] >= 0);
  }
  for (unsigned i = 0; i < KEPT; i++)
    close(files[i]);
  assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
  pthread_barrier_destroy(&all);
  device_end(device);
  client_end(client);
  close(fd);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(no_locked_memory), /* first: it forks, and no thread is there yet */
      cmocka_unit_test(buffers_run_out),         cmocka_unit_test(files_are_left_over),
      cmocka_unit_test(buffers_come_free),       cmocka_unit_test(slots_and_devices),
      cmocka_unit_test(free_in_the_last_notify), cmocka_unit_test(bad_params),
      cmocka_unit_test(waiting_is_no_own_delay), cmocka_unit_test(the_last_is_the_first),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}

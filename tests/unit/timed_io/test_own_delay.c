/* Rule R3: a stall of this process is not the device's fault. */
#include "unit/timed_io/rig.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "timed_io/internal.h"

extern char **environ;

#define DEADLINE_NS (200 * MS)
#define STOP_NS     (500 * MS) /* what the script sleeps */

/* Another process that waits until this one has stopped itself and wakes it half a second later.
 * Meanwhile it thaws the file that it is given, so that the answer comes while we cannot look: it
 * has come, or is about to, when the file can be read. */
struct waker {
  pid_t pid;
  int pipe;
};

static struct waker
waker_start(struct stall_rig *thaw) {
  char sh[] = "sh", dash_c[] = "-c", pid[16] = "", file[128] = "";
  char script[] = "read -r _; until grep -q '^State:.T' /proc/$PPID/status; do sleep 0.01; done;"
                  "if test $0; then kill -CONT $0;"
                  "dd if=$1 of=/dev/null bs=4096 count=1 iflag=direct status=none; fi;"
                  "sleep 0.5; kill -CONT $PPID";
  char *argv[] = {sh, dash_c, script, pid, file, NULL};
  posix_spawn_file_actions_t actions;
  struct waker waker;
  int fds[2];

  if (thaw) {
    snprintf(pid, sizeof pid, "%d", stall_rig_pid(thaw));
    snprintf(file, sizeof file, "%s", stall_rig_path(thaw, "mnt/nbd"));
  }
  assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, fds[0], 0);
  assert_int_equal(posix_spawnp(&waker.pid, "sh", &actions, NULL, argv, environ), 0);
  posix_spawn_file_actions_destroy(&actions);
  close(fds[0]);
  waker.pipe = fds[1];
  return waker;
}

static void
stop_until_woken(struct waker *waker) {
  assert_int_equal(write(waker->pipe, "\n", 1), 1);
  assert_int_equal(kill(getpid(), SIGSTOP), 0);
}

static void
waker_end(struct waker *waker) {
  close(waker->pipe);
  assert_int_equal(waitpid(waker->pid, NULL, 0), waker->pid);
}

struct place {
  struct stall_rig *rig;
  int fd[2];
  struct sf_tio_client *client;
  struct sf_tio_device
      *device[2]; /* FUSE, through a device thread; loop, from the submitting thread */
};

static int
setup(void **state) {
  struct place *place = calloc(1, sizeof *place);

  place->rig = stall_rig_start(&(struct stall_rig_params){.loop = true});
  place->fd[0] = stall_rig_open(place->rig);
  place->fd[1] = stall_rig_open_loop(place->rig);
  place->client = client_new(0, 0, 0);
  for (unsigned i = 0; i < 2; i++)
    place->device[i] = device_new(place->client, place->fd[i]);
  *state = place;
  return 0;
}

static int
teardown(void **state) {
  struct place *place = *state;

  stall_rig_thaw(place->rig);
  client_idle(place->client);
  for (unsigned i = 0; i < 2; i++) {
    device_end(place->device[i]);
    close(place->fd[i]);
  }
  client_end(place->client);
  stall_rig_stop(place->rig);
  free(place);
  return 0;
}

static uint64_t
own_delay(struct place *place) {
  struct sf_tio_client_stats stats;

  sf_tio_client_stats(place->client, &stats);
  return stats.own_delay_ns;
}

struct job {
  struct place *place;
  struct sf_tio_device *device;
  struct waker *waker;
  uint64_t begin_ns, woken_ns; /* when it was submitted, when this process ran again */
  uint64_t delay_ns;           /* own delay until it was submitted */
  uint64_t noise_ns;           /* by how much a thread of this machine wakes late */
  bool ticking;                /* the own-delay thread, when the write was seen to run */
  atomic_bool told;
};

static void *
stop_when_running(void *arg) {
  struct job *job = arg;

  assert_true(EVENTUALLY(sf_tio_device_running(job->device) == 1));
  job->ticking = atomic_load(&job->place->client->own_delay.next_ns) != SF_TIO_NEVER;
  stop_until_woken(job->waker);
  job->woken_ns = sf_tio_now();
  while (!atomic_load(&job->told)) {
    uint64_t wanted_ns = sf_tio_now() + MS, late_ns;

    pause_briefly();
    late_ns = sf_tio_now() - wanted_ns;
    if (late_ns > job->noise_ns)
      job->noise_ns = late_ns;
  }
  return NULL;
}

/* One write that runs while this process is stopped.  Again, if the machine was so busy that the
 * deadline passed before the stop began. */
static struct job
write_over_a_stop(struct place *place, struct sf_tio_device *device, unsigned flags, bool thaw) {
  char data[4096] = "o";
  struct sf_tio_control control = {.op = SF_TIO_WRITE,
                                   .flags = flags,
                                   .data = data,
                                   .notify = log_event,
                                   .timeout_ns = DEADLINE_NS};
  struct sf_tio_region region = region_at(device, 0, 4096);
  uint64_t patience_ns = sf_tio_now() + PATIENCE_NS;

  for (;;) {
    struct waker waker = waker_start(thaw ? place->rig : NULL);
    struct job job = {.place = place, .device = device, .waker = &waker};
    pthread_t thread;

    log_clear();
    stall_rig_freeze(place->rig);
    pthread_create(&thread, NULL, stop_when_running, &job);
    job.delay_ns = own_delay(place);
    job.begin_ns = sf_tio_now();
    assert_int_equal(sf_tio(place->client, &control, &region, 1, NULL, NULL), 0);
    log_wait(-1, false, 1);
    atomic_store(&job.told, true);
    pthread_join(thread, NULL);
    waker_end(&waker);
    assert_true(job.ticking);
    if (log_get(-1, false, 0).now_ns + STOP_NS > job.woken_ns)
      return job;
    stall_rig_thaw(place->rig);
    client_idle(place->client);
    assert_true(sf_tio_now() < patience_ns);
  }
}

/* Proves: a process that was stopped for half a second does not call a device late that answered
 * meanwhile, at a deadline of 200 ms; the delay is in the statistics and not in the latency.  How:
 * SIGSTOP in the middle of the wait; both ways of submission; SYNC and in the background thread. */
static void
stopped_in_the_wait(void **state) {
  struct place *place = *state;

  for (unsigned i = 0; i < 4; i++) {
    struct job job = write_over_a_stop(place, place->device[i % 2], i / 2 ? SF_TIO_SYNC : 0, true);
    uint64_t delay_ns = own_delay(place) - job.delay_ns;

    assert_int_equal(log_total(), 1);
    assert_true(delay_ns >= STOP_NS - 50 * MS);
    assert_in_range(log_get(SF_TIO_OK, false, 0).latency_ns + delay_ns, 0,
                    sf_tio_now() - job.begin_ns + 20 * MS);
  }
}

/* Proves: the deadline is moved, not removed: a device that does not answer is late all the same,
 * after the deadline plus the delay.  How: the same stop, and the device stays frozen. */
static void
stopped_over_a_stuck_device(void **state) {
  struct place *place = *state;

  for (unsigned i = 0; i < 2; i++) {
    struct job job = write_over_a_stop(place, place->device[i], 0, false);
    struct sf_tio_event late = log_get(SF_TIO_TIMEOUT, false, 0);

    assert_true(late.now_ns - job.begin_ns >= STOP_NS);
    assert_in_range(late.latency_ns, DEADLINE_NS - MS, DEADLINE_NS + 100 * MS + 4 * job.noise_ns);
    stall_rig_thaw(place->rig);
    client_idle(place->client);
  }
}

/* Proves: with nothing in flight the own-delay thread rests, and a stop then is not counted. */
static void
idle_means_no_timer(void **state) {
  struct place *place = *state;
  struct waker waker = waker_start(NULL);
  uint64_t before;

  assert_true(EVENTUALLY(atomic_load(&place->client->own_delay.next_ns) == SF_TIO_NEVER));
  before = own_delay(place);
  stop_until_woken(&waker);
  waker_end(&waker);
  assert_int_equal(own_delay(place), before);
}

/* Proves: spans that overlap are counted once, in whatever order they are found, and small lateness
 * is none.  How: the arithmetic alone, with times made up. */
static void
spans_are_united(void **state) {
  struct sf_tio_own_delay own_delay = {.next_ns = SF_TIO_NEVER};

  pthread_mutex_init(&own_delay.lock, NULL);
  sf_tio_own_delay_overslept(&own_delay, 1000 * MS, 1004 * MS);
  assert_int_equal(sf_tio_own_delay_now(&own_delay, 1004 * MS), 0);
  sf_tio_own_delay_overslept(&own_delay, 1000 * MS, 1100 * MS);
  assert_int_equal(sf_tio_own_delay_now(&own_delay, 1100 * MS), 100 * MS);
  sf_tio_own_delay_overslept(&own_delay, 1050 * MS, 1120 * MS);
  assert_int_equal(sf_tio_own_delay_now(&own_delay, 1120 * MS), 120 * MS);
  atomic_store(&own_delay.next_ns, 1110 * MS);
  assert_int_equal(sf_tio_own_delay_now(&own_delay, 1130 * MS), 130 * MS);
  assert_int_equal(sf_tio_own_delay_now(&own_delay, 1130 * MS), 130 * MS);
  sf_tio_own_delay_overslept(&own_delay, 1000 * MS, 1130 * MS);
  assert_int_equal(sf_tio_own_delay_now(&own_delay, 1130 * MS), 130 * MS);
  /* The tick was due before the thread wanted to wake: the longer span counts, in either order. */
  atomic_store(&own_delay.next_ns, 2030 * MS);
  sf_tio_own_delay_overslept(&own_delay, 2100 * MS, 2325 * MS);
  assert_int_equal(sf_tio_own_delay_now(&own_delay, 2325 * MS), (130 + 295) * MS);
  pthread_mutex_destroy(&own_delay.lock);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(spans_are_united),
      cmocka_unit_test_setup_teardown(stopped_in_the_wait, setup, teardown),
      cmocka_unit_test_setup_teardown(stopped_over_a_stuck_device, setup, teardown),
      cmocka_unit_test_setup_teardown(idle_means_no_timer, setup, teardown),
  };

  need_rig(true);
  return cmocka_run_group_tests(tests, NULL, NULL);
}

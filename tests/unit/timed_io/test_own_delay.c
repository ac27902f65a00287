/* Rule R3: a stall of this process is not the device's fault. */
#include "unit/timed_io/support.h"

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

/* Another process that, when told, stops this one for half a second.  Meanwhile it thaws the device
 * whose pid it is given, so that the answer comes while we cannot look. */
struct stopper {
  pid_t pid;
  int pipe;
};

static struct stopper
stopper_start(int thaw_pid) {
  char sh[] = "sh", dash_c[] = "-c", pid[16];
  char script[] = "read -r _; kill -STOP $PPID; test $0 -gt 0 && kill -CONT $0; sleep 0.5;"
                  "kill -CONT $PPID";
  char *argv[] = {sh, dash_c, script, pid, NULL};
  posix_spawn_file_actions_t actions;
  struct stopper stopper;
  int fds[2];

  snprintf(pid, sizeof pid, "%d", thaw_pid);
  assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, fds[0], 0);
  assert_int_equal(posix_spawnp(&stopper.pid, "sh", &actions, NULL, argv, environ), 0);
  posix_spawn_file_actions_destroy(&actions);
  close(fds[0]);
  stopper.pipe = fds[1];
  return stopper;
}

static void
stopper_go(struct stopper *stopper) {
  assert_int_equal(write(stopper->pipe, "\n", 1), 1);
}

static void
stopper_end(struct stopper *stopper) {
  close(stopper->pipe);
  assert_int_equal(waitpid(stopper->pid, NULL, 0), stopper->pid);
}

struct place {
  struct stall_rig *rig;
  int fd[2];
  struct sf_tio_client *client;
  struct sf_tio_device *device[2]; /* FUSE, through an executor; loop, from the submitting thread */
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
  struct stopper *stopper;
};

static void *
stop_when_running(void *arg) {
  struct job *job = arg;

  assert_true(EVENTUALLY(sf_tio_device_running(job->device) == 1));
  stopper_go(job->stopper);
  return NULL;
}

/* One write that runs while this process is stopped. */
static void
write_over_a_stop(struct place *place, struct sf_tio_device *device, unsigned flags, int thaw_pid) {
  char data[4096] = "o";
  struct sf_tio_control control = {.op = SF_TIO_WRITE,
                                   .flags = flags,
                                   .data = data,
                                   .notify = log_event,
                                   .timeout_ns = DEADLINE_NS};
  struct sf_tio_region region = region_at(device, 0, 4096);
  struct stopper stopper = stopper_start(thaw_pid);
  struct job job = {.place = place, .device = device, .stopper = &stopper};
  pthread_t thread;

  log_clear();
  stall_rig_freeze(place->rig);
  pthread_create(&thread, NULL, stop_when_running, &job);
  assert_int_equal(sf_tio(place->client, &control, &region, 1, NULL, NULL), 0);
  log_wait(thaw_pid ? SF_TIO_OK : SF_TIO_TIMEOUT, false, 1);
  pthread_join(thread, NULL);
  stopper_end(&stopper);
}

/* Proves: a process that was stopped for half a second does not call a device late that answered
 * meanwhile, at a deadline of 200 ms; the delay is in the statistics and not in the latency.
 * How: SIGSTOP in the middle of the wait; both ways of submission; SYNC and in the service. */
static void
stopped_in_the_wait(void **state) {
  struct place *place = *state;

  for (unsigned i = 0; i < 4; i++) {
    uint64_t before = own_delay(place);

    write_over_a_stop(place, place->device[i % 2], i / 2 ? SF_TIO_SYNC : 0,
                      stall_rig_pid(place->rig));
    assert_int_equal(log_total(), 1);
    assert_in_range(own_delay(place) - before, STOP_NS - 50 * MS, STOP_NS + 2000 * MS);
    assert_true(log_get(SF_TIO_OK, false, 0).latency_ns < DEADLINE_NS);
  }
}

/* Proves: the deadline is moved, not removed: a device that does not answer is late all the same,
 * after the deadline plus the delay.  How: the same stop, and nobody thaws the device. */
static void
stopped_over_a_stuck_device(void **state) {
  struct place *place = *state;

  for (unsigned i = 0; i < 2; i++) {
    uint64_t begin = sf_tio_now();
    struct sf_tio_event late;

    write_over_a_stop(place, place->device[i], 0, 0);
    assert_true(sf_tio_now() - begin >= STOP_NS);
    late = log_get(SF_TIO_TIMEOUT, false, 0);
    assert_in_range(late.latency_ns, DEADLINE_NS - MS, DEADLINE_NS + 250 * MS);
    stall_rig_thaw(place->rig);
    client_idle(place->client);
  }
}

/* Proves: with nothing in flight there is no pulse, and a stop then is nobody's delay. */
static void
idle_means_no_pulse(void **state) {
  struct place *place = *state;
  struct stopper stopper = stopper_start(0);
  uint64_t before;

  assert_true(EVENTUALLY(atomic_load(&place->client->pulse.next_ns) == SF_TIO_NEVER));
  before = own_delay(place);
  stopper_go(&stopper);
  stopper_end(&stopper);
  assert_int_equal(own_delay(place), before);
}

/* Proves: spans that overlap are counted once, whoever finds them, and small lateness is none.
 * How: the pulse's arithmetic alone, with times made up. */
static void
spans_are_united(void **state) {
  struct sf_tio_pulse pulse = {.next_ns = SF_TIO_NEVER};

  pthread_mutex_init(&pulse.lock, NULL);
  sf_tio_pulse_overslept(&pulse, 1000 * MS, 1004 * MS);
  assert_int_equal(sf_tio_pulse_delay(&pulse, 1004 * MS), 0);
  sf_tio_pulse_overslept(&pulse, 1000 * MS, 1100 * MS);
  assert_int_equal(sf_tio_pulse_delay(&pulse, 1100 * MS), 100 * MS);
  sf_tio_pulse_overslept(&pulse, 1050 * MS, 1120 * MS);
  assert_int_equal(sf_tio_pulse_delay(&pulse, 1120 * MS), 120 * MS);
  atomic_store(&pulse.next_ns, 1110 * MS);
  assert_int_equal(sf_tio_pulse_delay(&pulse, 1130 * MS), 130 * MS);
  assert_int_equal(sf_tio_pulse_delay(&pulse, 1130 * MS), 130 * MS);
  sf_tio_pulse_overslept(&pulse, 1000 * MS, 1130 * MS);
  assert_int_equal(sf_tio_pulse_delay(&pulse, 1130 * MS), 130 * MS);
  /* The tick was due before the thread wanted to wake: the longer span counts, whoever comes first. */
  atomic_store(&pulse.next_ns, 2030 * MS);
  sf_tio_pulse_overslept(&pulse, 2100 * MS, 2325 * MS);
  assert_int_equal(sf_tio_pulse_delay(&pulse, 2325 * MS), (130 + 295) * MS);
  pthread_mutex_destroy(&pulse.lock);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(spans_are_united),
      cmocka_unit_test_setup_teardown(stopped_in_the_wait, setup, teardown),
      cmocka_unit_test_setup_teardown(stopped_over_a_stuck_device, setup, teardown),
      cmocka_unit_test_setup_teardown(idle_means_no_pulse, setup, teardown),
  };

  need_rig(true);
  return cmocka_run_group_tests(tests, NULL, NULL);
}

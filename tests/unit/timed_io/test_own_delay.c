/* Rule R3: a stall of this process is not the device's fault. */
#include "unit/timed_io/support.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "timed_io/internal.h"

extern char **environ;

/* Stops this process after 20 ms, for 300 ms. */
static pid_t
stop_me_soon(void) {
  char sh[] = "sh", dash_c[] = "-c";
  char script[] = "sleep 0.02; kill -STOP $PPID; sleep 0.3; kill -CONT $PPID";
  char *argv[] = {sh, dash_c, script, NULL};
  pid_t pid;

  assert_int_equal(posix_spawnp(&pid, "sh", NULL, NULL, argv, environ), 0);
  return pid;
}

struct place {
  struct stall_rig *rig;
  int fd[2];
  struct sf_tio_client *client;
  struct sf_tio_device *device[2]; /* FUSE, through an executor; loop, from the submitting thread */
};

static int
setup(void **state) {
  const char *const filters[] = {"--filter=delay", NULL};
  const char *const parameters[] = {"wdelay=50ms", NULL};
  struct place *place = calloc(1, sizeof *place);

  place->rig = stall_rig_start(
      &(struct stall_rig_params){.loop = true, .filters = filters, .parameters = parameters});
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

/* Proves: a process that was stopped for 300 ms does not call a device late that answered within
 * 50 ms, at a deadline of 100; the delay is in the statistics and not in the latency.
 * How: SIGSTOP in the middle of the wait; both ways of submission; SYNC and in the service. */
static void
stopped_in_the_wait(void **state) {
  struct place *place = *state;
  char data[4096] = "o";

  for (unsigned i = 0; i < 4; i++) {
    struct sf_tio_control control = {.op = SF_TIO_WRITE,
                                     .flags = i / 2 ? SF_TIO_SYNC : 0,
                                     .data = data,
                                     .notify = log_event,
                                     .timeout_ns = 100 * MS};
    struct sf_tio_region region = region_at(place->device[i % 2], 0, 4096);
    uint64_t before = own_delay(place);
    pid_t pid = stop_me_soon();

    log_clear();
    /* The stop is sure to come within the wait: it comes after 20 ms, and the answer after 50. */
    assert_int_equal(sf_tio(place->client, &control, &region, 1, NULL, NULL), 0);
    log_wait(SF_TIO_OK, false, 1);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_int_equal(log_total(), 1);
    assert_in_range(own_delay(place) - before, 200 * MS, 600 * MS);
    assert_true(told.event[0].latency_ns < 200 * MS);
  }
}

/* Proves: the deadline is moved, not removed: a device that does not answer is late all the same,
 * after the deadline plus the delay.  How: the same stop over a frozen device. */
static void
stopped_over_a_stuck_device(void **state) {
  struct place *place = *state;
  char data[4096] = "o";

  stall_rig_freeze(place->rig);
  for (unsigned i = 0; i < 2; i++) {
    struct sf_tio_control control = {
        .op = SF_TIO_WRITE, .data = data, .notify = log_event, .timeout_ns = 100 * MS};
    struct sf_tio_region region = region_at(place->device[i], 0, 4096);
    uint64_t begin = sf_tio_now();
    pid_t pid = stop_me_soon();

    log_clear();
    assert_int_equal(sf_tio(place->client, &control, &region, 1, NULL, NULL), 0);
    log_wait(SF_TIO_TIMEOUT, false, 1);
    assert_true(sf_tio_now() - begin >= 300 * MS);
    assert_true(told.event[0].latency_ns >= 99 * MS);
    assert_true(told.event[0].latency_ns < 250 * MS);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
  }
}

/* Proves: with nothing in flight there is no pulse, and a stop then is nobody's delay. */
static void
idle_means_no_pulse(void **state) {
  struct place *place = *state;
  uint64_t before;
  pid_t pid;

  assert_true(EVENTUALLY(atomic_load(&place->client->pulse.next_ns) == SF_TIO_NEVER));
  before = own_delay(place);
  pid = stop_me_soon();
  assert_int_equal(waitpid(pid, NULL, 0), pid);
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

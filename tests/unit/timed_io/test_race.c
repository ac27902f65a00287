/* Exactly one terminal state: completion, timeout, cancel_by_handle and cancel_by_device raced
 * against each other at random, from attending threads, from others and from inside notify.
 *
 * Proves: every region gets one terminal notify, at most one TIMEOUT and that before it, a late
 * call if and only if it was DETACHED and that after it; never two at once; nothing is left over.
 * How: each region has a record that the callbacks check and advance; a seed (argument or printed)
 * gives the choices.  Devices: two plain files, a slow FUSE file, a slow loop device. */
#include "unit/timed_io/rig.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DEVICES = 4, WORKERS = 4, CANCELLERS = 2, ROUNDS = 400, HANDLES = 64 };

struct record {
  atomic_uint inside; /* callbacks running: never 2 */
  atomic_uint timeouts, terminals, lates;
  atomic_int kind;
};

struct asked {
  struct record region[DEVICES];
  atomic_uint terminal;
  unsigned n;
};

static struct sf_tio_client *client;
static struct sf_tio_device *devices[DEVICES];
static struct asked asked[WORKERS][ROUNDS];
static atomic_uint_fast64_t handles[HANDLES]; /* for the cancellers */
static atomic_bool stop;
static unsigned seed;

static void
check(const struct sf_tio_event *event) {
  struct asked *of = event->context;
  struct record *record = &of->region[event->region];

  assert_int_equal(atomic_fetch_add(&record->inside, 1), 0);
  if (event->late) {
    assert_int_equal(atomic_load(&record->terminals), 1);
    assert_int_equal(atomic_load(&record->kind), SF_TIO_DETACHED);
    assert_int_equal(atomic_fetch_add(&record->lates, 1), 0);
  } else if (event->state == SF_TIO_TIMEOUT) {
    assert_int_equal(atomic_load(&record->terminals), 0);
    assert_int_equal(atomic_fetch_add(&record->timeouts, 1), 0);
    if (event->handle % 7 == 0)
      sf_tio_cancel_by_handle(client, event->handle);
  } else {
    atomic_store(&record->kind, event->kind);
    assert_int_equal(atomic_fetch_add(&record->terminals, 1), 0);
  }
  assert_int_equal(atomic_fetch_sub(&record->inside, 1), 1);
  if (!event->late && event->state != SF_TIO_TIMEOUT)
    atomic_fetch_add(&of->terminal, 1);
}

static bool
all_terminal(void *arg) {
  struct asked *of = arg;

  return atomic_load(&of->terminal) == of->n;
}

/* One request with random devices, operation and timeouts. */
static int
ask(struct asked *of, unsigned *random) {
  static const enum sf_tio_op ops[] = {SF_TIO_WRITE, SF_TIO_WRITE, SF_TIO_WRITE,
                                       SF_TIO_READ,  SF_TIO_FLUSH, SF_TIO_ZERO};
  _Alignas(16) char data[8192] = "race";
  struct sf_tio_control control = {.op = ops[(unsigned) rand_r(random) % 6],
                                   .notify = check,
                                   .context = of,
                                   .timeout_ns = (unsigned) rand_r(random) % 8 * MS};
  struct sf_tio_buffer *buffer = NULL;
  struct sf_tio_region regions[DEVICES];
  unsigned first = (unsigned) rand_r(random) % DEVICES;
  uint64_t handle;
  int error;

  of->n = control.op == SF_TIO_READ ? 1 : 1 + (unsigned) rand_r(random) % DEVICES;
  for (unsigned i = 0; i < of->n; i++)
    regions[i] =
        region_at(devices[(first + i) % DEVICES], (unsigned) rand_r(random) % 1000 * 4096, 4096);
  if (control.op == SF_TIO_READ) {
    error = sf_tio_buffer_get(client, 4096, 0, &buffer);
    if (error)
      return error;
    control.buffer = buffer;
  } else if (control.op == SF_TIO_WRITE)
    control.data = data;
  error = sf_tio(client, &control, regions, of->n, &handle, NULL);
  if (buffer)
    sf_tio_buffer_put(client, buffer);
  if (!error)
    atomic_store(&handles[(unsigned) rand_r(random) % HANDLES], handle);
  return error;
}

static void *
worker(void *arg) {
  unsigned me = (unsigned) (uintptr_t) arg, random = seed + me;
  struct sf_tio_queue *queue;

  if (me % 2)
    assert_int_equal(sf_tio_attend(client, &queue), 0);
  for (unsigned i = 0; i < ROUNDS; i++) {
    struct asked *of = &asked[me][i];
    int error = ask(of, &random);

    if (error) {
      assert_int_equal(error, -EAGAIN);
      of->n = 0;
    } else if (me % 2) {
      /* Now and then leave it to the background thread. */
      uint64_t patience = rand_r(&random) % 4 ? PATIENCE_NS : MS / 2;

      error = sf_tio_drive(queue, sf_tio_now() + patience, all_terminal, of);
      assert_true(error == 0 || (error == -ETIME && patience < MS));
    } else
      assert_true(EVENTUALLY(all_terminal(of)));
  }
  return NULL;
}

static void *
canceller(void *arg) {
  unsigned random = seed + 1000 + (unsigned) (uintptr_t) arg;

  while (!atomic_load(&stop)) {
    unsigned choice = (unsigned) rand_r(&random);

    if (choice % 20 == 0)
      sf_tio_cancel_by_device(devices[choice / 20 % DEVICES]);
    else
      sf_tio_cancel_by_handle(client, atomic_load(&handles[choice / 20 % HANDLES]));
    if (choice % 3 == 0)
      pause_briefly();
  }
  return NULL;
}

static void
check_all(void) {
  unsigned terminal[3] = {0}, timeouts = 0;

  for (unsigned w = 0; w < WORKERS; w++)
    for (unsigned i = 0; i < ROUNDS; i++)
      for (unsigned r = 0; r < asked[w][i].n; r++) {
        struct record *record = &asked[w][i].region[r];

        assert_int_equal(record->terminals, 1);
        assert_int_equal(record->lates, record->kind == SF_TIO_DETACHED);
        timeouts += record->timeouts;
        terminal[record->kind]++;
      }
  printf("completed %u, real %u, detached %u, timeouts %u\n", terminal[SF_TIO_NONE],
         terminal[SF_TIO_REAL], terminal[SF_TIO_DETACHED], timeouts);
  assert_true(terminal[SF_TIO_NONE] && terminal[SF_TIO_DETACHED] && timeouts);
}

static void
one_terminal(void **state) {
  const char *const filters[] = {"--filter=delay", NULL};
  const char *const parameters[] = {"wdelay=3ms", "rdelay=2ms", NULL};
  struct stall_rig *rig = stall_rig_start(
      &(struct stall_rig_params){.loop = true, .filters = filters, .parameters = parameters});
  int fds[DEVICES] = {open_plain(), open_plain(), stall_rig_open(rig), stall_rig_open_loop(rig)};
  struct sf_tio_client_params params = {.requests_max = 48, .late = check};
  pthread_t workers[WORKERS], cancellers[CANCELLERS];

  assert_int_equal(sf_tio_client_create(&params, &client), 0);
  for (unsigned i = 0; i < DEVICES; i++)
    devices[i] = device_new(client, fds[i]);
  for (uintptr_t i = 0; i < CANCELLERS; i++)
    pthread_create(&cancellers[i], NULL, canceller, (void *) i);
  for (uintptr_t i = 0; i < WORKERS; i++)
    pthread_create(&workers[i], NULL, worker, (void *) i);
  for (unsigned i = 0; i < WORKERS; i++)
    pthread_join(workers[i], NULL);
  atomic_store(&stop, true);
  for (unsigned i = 0; i < CANCELLERS; i++)
    pthread_join(cancellers[i], NULL);
  client_idle(client);
  for (unsigned i = 0; i < DEVICES; i++) {
    device_end(devices[i]);
    close(fds[i]);
  }
  client_end(client); /* joins the background thread: every call has been made */
  check_all();
  stall_rig_stop(rig);
}

int
main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(one_terminal)};

  need_rig(true);
  seed = argc > 1 ? (unsigned) atoi(argv[1]) : (unsigned) sf_tio_now();
  printf("seed %u\n", seed);
  return cmocka_run_group_tests(tests, NULL, NULL);
}

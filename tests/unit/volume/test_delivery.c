/* Answers and events are told without the lock, by one thread at a time, in the order in which they
 * were decided: also what calls from inside decide, and what other threads do.  A thread that has
 * told its share leaves the rest to one that comes.  Who waits until all is told finds it so. */
#include "rig.h"

#include <errno.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "volume/ground/lost.h"
#include "volume/ground/outbox.h"
#include "volume/roof/delivery.h"

enum { EXTENT = 65536, EXTENTS = 64, BLOCK = 4096, SHARE = 64, MOST = 300, LOST = 100 };

static struct rig rig;
static struct sf_request request[MOST];
static unsigned told;
static bool inside; /* what is told: no other may be told then */

static int
setup(void **state) {
  rig_init(&rig, 2, 1, EXTENT, EXTENTS);
  rig_start_fully(&rig);
  memset(request, 0, sizeof request);
  told = 0;
  inside = false;
  return 0;
}

static int
teardown(void **state) {
  rig_free(&rig);
  return 0;
}

static void
count(struct sf_request *r) {
  assert_false(inside);
  inside = true;
  assert_ptr_equal(r, &request[told]);
  told++;
  inside = false;
}

static void
submit(struct sf_request *r) {
  r->kind = SF_REQ_FLUSH;
  sf_volume_submit(rig.volume, r, rig.now_ns);
}

/* Of a volume that has stopped, each request is answered at once. */
static void
stop(void) {
  sf_volume_stop(rig.volume, rig.now_ns);
  rig_pass(&rig, 1000);
  assert_true(sf_volume_stopped(rig.volume));
}

/* Decided, and not told. */
static void
decide(unsigned n) {
  sf_vol_enter(rig.volume, rig.now_ns);
  for (unsigned i = 0; i < n; i++) {
    if (request[i].done == NULL)
      request[i].done = count;
    sf_outbox_put_answer(&rig.volume->outbox, &request[i]);
  }
  pthread_mutex_unlock(&rig.volume->lock);
}

static void
call(void) {
  static struct sf_volume_status status;

  sf_volume_status(rig.volume, rig.now_ns, &status);
}

/* ---- from inside ---- */

static void
ask_for_more(struct sf_request *r) {
  assert_int_equal(pthread_mutex_trylock(&rig.volume->lock), 0);
  pthread_mutex_unlock(&rig.volume->lock);
  assert_false(inside);
  inside = true;
  told++;
  if (told < 10) {
    request[told].done = ask_for_more;
    submit(&request[told]);
    call();
  }
  assert_ptr_equal(r, &request[told - 1]);
  inside = false;
}

static void
a_call_from_inside_is_told_afterwards(void **state) {
  stop();
  request[0].done = ask_for_more;
  submit(&request[0]);
  assert_int_equal(told, 10);
}

static unsigned seen;

static void
ask_on_event(const struct sf_volume_event *event) {
  assert_false(inside);
  inside = true;
  if (event->kind == SF_EVENT_DRILL && seen++ == 0)
    assert_int_equal(sf_volume_drill_cancel(rig.volume, rig.now_ns), 0);
  inside = false;
}

static void
an_event_may_call_too(void **state) {
  seen = 0;
  rig.event = ask_on_event;
  assert_int_equal(sf_volume_drill(rig.volume, 1, SF_S, rig.now_ns), 0);
  assert_int_equal(seen, 2);
  rig.event = NULL;
}

/* ---- a share ---- */

static void
alone_it_tells_all(void **state) {
  decide(MOST);
  call();
  assert_int_equal(told, MOST);
}

/* The other one is as far as its wait for the lock. */
static void
the_rest_is_for_the_thread_that_comes(void **state) {
  decide(MOST);
  atomic_fetch_add(&rig.volume->outbox.coming, 1);
  call();
  assert_int_equal(told, SHARE);
  atomic_fetch_sub(&rig.volume->outbox.coming, 1);
  call();
  assert_int_equal(told, MOST);
}

static void
who_waits_tells_the_rest(void **state) {
  decide(MOST);
  atomic_fetch_add(&rig.volume->outbox.coming, 1);
  sf_volume_wait_told(rig.volume);
  assert_int_equal(told, MOST);
  atomic_fetch_sub(&rig.volume->outbox.coming, 1);
}

/* ---- waiting ---- */

static sem_t begun;
static atomic_bool returned;

static void
take_long(struct sf_request *r) {
  const struct timespec pause = {.tv_nsec = 50 * SF_MS};

  sem_post(&begun);
  nanosleep(&pause, NULL);
  atomic_store(&returned, true);
}

static void *
caller(void *arg) {
  call();
  return NULL;
}

static pthread_t
tell_long(void) {
  pthread_t thread;

  sem_init(&begun, 0, 0);
  atomic_store(&returned, false);
  request[0].done = take_long;
  decide(1);
  assert_int_equal(pthread_create(&thread, NULL, caller, NULL), 0);
  sem_wait(&begun);
  return thread;
}

static void
it_is_waited_for_what_is_being_told(void **state) {
  pthread_t thread = tell_long();

  sf_volume_wait_told(rig.volume);
  assert_true(atomic_load(&returned));
  pthread_join(thread, NULL);
  sf_volume_wait_told(rig.volume); /* there is nothing */
}

static void
a_call_does_not_wait_for_what_is_being_told(void **state) {
  pthread_t thread = tell_long();

  call();
  assert_false(atomic_load(&returned));
  pthread_join(thread, NULL);
  assert_true(atomic_load(&returned));
}

static void
the_end_waits_for_what_is_being_told(void **state) {
  pthread_t thread = tell_long();

  rig_kill(&rig);
  assert_true(atomic_load(&returned));
  pthread_join(thread, NULL);
}

/* ---- many threads ---- */

enum { THREADS = 4, EACH = 2000 };

static struct asker {
  pthread_t thread;
  struct sf_request request[EACH];
  unsigned told;
} asker[THREADS];

static atomic_uint telling;

static void
count_of_one(struct sf_request *r) {
  struct asker *its = r->host;

  assert_int_equal(atomic_fetch_add(&telling, 1), 0);
  assert_ptr_equal(r, &its->request[its->told]);
  assert_int_equal(r->error, -ESHUTDOWN);
  its->told++;
  if (its->told % 16 == 0)
    call();
  atomic_fetch_sub(&telling, 1);
}

static void *
ask(void *arg) {
  struct asker *its = arg;

  for (unsigned i = 0; i < EACH; i++) {
    its->request[i] = (struct sf_request){.done = count_of_one, .host = its};
    submit(&its->request[i]);
    if (i % 128 == 0) {
      sf_volume_wait_told(rig.volume);
      assert_int_equal(its->told, i + 1);
    }
  }
  sf_volume_wait_told(rig.volume);
  assert_int_equal(its->told, EACH);
  return NULL;
}

static void
many_threads_are_told_in_order(void **state) {
  stop();
  memset(asker, 0, sizeof asker);
  for (unsigned i = 0; i < THREADS; i++)
    assert_int_equal(pthread_create(&asker[i].thread, NULL, ask, &asker[i]), 0);
  for (unsigned i = 0; i < THREADS; i++)
    pthread_join(asker[i].thread, NULL);
  assert_true(sf_outbox_is_empty(&rig.volume->outbox));
}

/* ---- no room ---- */

static unsigned ranges, untold;

static void
count_ranges(const struct sf_volume_event *event) {
  ranges += event->kind == SF_EVENT_LOST_RANGE;
  untold += event->kind == SF_EVENT_EVENTS_UNTOLD ? (unsigned) event->count : 0;
}

static void
add_many_lost(void) {
  for (unsigned i = 0; i < LOST; i++)
    sf_lost_add(rig.volume, (uint64_t) i * 2 * BLOCK, BLOCK, 1, -EIO);
}

static void
find_many_lost(void) {
  sf_vol_enter(rig.volume, rig.now_ns);
  add_many_lost();
  sf_lost_tell(rig.volume);
  assert_int_equal(ranges, 0);
  sf_vol_leave(rig.volume);
  assert_in_range(ranges, 1, LOST - 1);
}

/* They go on standing where they can be told later. */
static void
lost_ranges_wait_for_room(void **state) {
  ranges = untold = 0;
  rig.event = count_ranges;
  find_many_lost();
  rig_pass(&rig, 3000);
  assert_int_equal(ranges, LOST);
  assert_int_equal(untold, 0);
  rig.event = NULL;
}

/* No tick tells of them after the stop. */
static void
a_stop_tells_of_those_that_wait(void **state) {
  ranges = untold = 0;
  rig.event = count_ranges;
  find_many_lost();
  sf_volume_stop(rig.volume, rig.now_ns);
  rig_run(&rig);
  assert_true(sf_volume_stopped(rig.volume));
  assert_int_equal(ranges, LOST);
  assert_int_equal(untold, 0);
  rig.event = NULL;
}

/* In the same turn: nothing has been told yet that would have made room. */
static void
a_stop_counts_those_that_find_no_room(void **state) {
  ranges = untold = 0;
  rig.event = count_ranges;
  sf_vol_enter(rig.volume, rig.now_ns);
  add_many_lost();
  sf_lost_tell(rig.volume);
  sf_lost_stopped(rig.volume);
  sf_vol_leave(rig.volume);
  assert_in_range(ranges, 1, LOST - 1);
  assert_int_equal(untold, LOST - ranges);
  rig.event = NULL;
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(a_call_from_inside_is_told_afterwards, setup, teardown),
      cmocka_unit_test_setup_teardown(an_event_may_call_too, setup, teardown),
      cmocka_unit_test_setup_teardown(alone_it_tells_all, setup, teardown),
      cmocka_unit_test_setup_teardown(the_rest_is_for_the_thread_that_comes, setup, teardown),
      cmocka_unit_test_setup_teardown(who_waits_tells_the_rest, setup, teardown),
      cmocka_unit_test_setup_teardown(it_is_waited_for_what_is_being_told, setup, teardown),
      cmocka_unit_test_setup_teardown(a_call_does_not_wait_for_what_is_being_told, setup, teardown),
      cmocka_unit_test_setup_teardown(the_end_waits_for_what_is_being_told, setup, teardown),
      cmocka_unit_test_setup_teardown(many_threads_are_told_in_order, setup, teardown),
      cmocka_unit_test_setup_teardown(lost_ranges_wait_for_room, setup, teardown),
      cmocka_unit_test_setup_teardown(a_stop_tells_of_those_that_wait, setup, teardown),
      cmocka_unit_test_setup_teardown(a_stop_counts_those_that_find_no_room, setup, teardown),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}

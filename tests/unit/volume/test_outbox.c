/* What is decided comes out in its order; where there is no room for an event, that is told in its
 * place; what is told once, and the stop, have room all the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "volume/ground/outbox.h"

enum { ORDINARY = OUTBOX_EVENTS - OUTBOX_ONCE - OUTBOX_STOP };

static struct outbox outbox;

static int
setup(void **state) {
  memset(&outbox, 0, sizeof outbox);
  sf_outbox_init(&outbox);
  return 0;
}

static void
put(enum sf_volume_event_kind kind, int leg) {
  const struct sf_volume_event event = {.kind = kind, .leg = leg, .now_ns = (uint64_t) leg};

  sf_outbox_put_event(&outbox, &event);
}

static void
put_many(enum sf_volume_event_kind kind, int first, unsigned n) {
  for (unsigned i = 0; i < n; i++)
    put(kind, first + (int) i);
}

static void
expect_event(enum sf_volume_event_kind kind, int leg) {
  struct outbox_item item = sf_outbox_take(&outbox);

  assert_non_null(item.event);
  assert_int_equal(item.event->kind, kind);
  assert_int_equal(item.event->leg, leg);
  sf_outbox_told(&outbox, &item);
}

static void
expect_many(enum sf_volume_event_kind kind, int first, unsigned n) {
  for (unsigned i = 0; i < n; i++)
    expect_event(kind, first + (int) i);
}

static void
expect_untold(unsigned count) {
  struct outbox_item item = sf_outbox_take(&outbox);

  assert_non_null(item.event);
  assert_int_equal(item.event->kind, SF_EVENT_EVENTS_UNTOLD);
  assert_int_equal(item.event->count, count);
  assert_int_equal(item.event->leg, -1);
  assert_int_equal((int) strtoul(item.event->reason, NULL, 10), (int) count);
  sf_outbox_told(&outbox, &item);
}

static void
expect_answer(const struct sf_request *request) {
  struct outbox_item item = sf_outbox_take(&outbox);

  assert_ptr_equal(item.request, request);
  sf_outbox_told(&outbox, &item);
}

static void
answers_and_events_keep_their_order(void **state) {
  struct sf_request request[3] = {{0}};

  assert_true(sf_outbox_is_empty(&outbox));
  sf_outbox_put_answer(&outbox, &request[0]);
  put(SF_EVENT_STATE, 1);
  sf_outbox_put_answer(&outbox, &request[1]);
  sf_outbox_put_answer(&outbox, &request[2]);
  put(SF_EVENT_STATE, 2);
  expect_answer(&request[0]);
  expect_event(SF_EVENT_STATE, 1);
  expect_answer(&request[1]);
  sf_outbox_put_answer(&outbox, &request[0]); /* it is its caller's again */
  expect_answer(&request[2]);
  expect_event(SF_EVENT_STATE, 2);
  expect_answer(&request[0]);
  assert_true(sf_outbox_is_empty(&outbox));
}

static void
an_event_has_its_own_texts(void **state) {
  char name[] = "a", reason[2 * PATH_MAX];
  struct sf_volume_event event = {
      .kind = SF_EVENT_LEG_REPLACED, .leg_name = name, .reason = reason};
  struct outbox_item item;

  memset(reason, 'x', sizeof reason);
  reason[sizeof reason - 1] = '\0';
  sf_outbox_put_event(&outbox, &event);
  event.leg_name = event.reason = NULL;
  sf_outbox_put_event(&outbox, &event);
  strcpy(name, "b");
  strcpy(reason, "y");
  item = sf_outbox_take(&outbox);
  assert_string_equal(item.event->leg_name, "a");
  assert_int_equal(strlen(item.event->reason), PATH_MAX - 1);
  assert_int_equal(item.event->reason[PATH_MAX - 2], 'x');
  sf_outbox_told(&outbox, &item);
  item = sf_outbox_take(&outbox);
  assert_null(item.event->leg_name);
  assert_null(item.event->reason);
  sf_outbox_told(&outbox, &item);
}

/* Behind what came before it, and before what comes when there is room again. */
static void
what_finds_no_room_is_counted(void **state) {
  put_many(SF_EVENT_STATE, 0, ORDINARY);
  assert_false(sf_outbox_has_room(&outbox));
  put_many(SF_EVENT_STATE, 100, 3);
  expect_event(SF_EVENT_STATE, 0);
  assert_true(sf_outbox_has_room(&outbox));
  put(SF_EVENT_STATE, 200);
  expect_many(SF_EVENT_STATE, 1, ORDINARY - 1);
  expect_untold(3);
  expect_event(SF_EVENT_STATE, 200);
  assert_true(sf_outbox_is_empty(&outbox));
  assert_true(sf_outbox_has_room(&outbox));
}

/* An event has its place until it was told: there is no room yet while it is being told. */
static void
what_comes_while_it_is_told_is_counted_anew(void **state) {
  struct outbox_item item;

  put_many(SF_EVENT_STATE, 0, ORDINARY);
  item = sf_outbox_take(&outbox);
  put(SF_EVENT_STATE, 100);
  sf_outbox_told(&outbox, &item);
  expect_many(SF_EVENT_STATE, 1, ORDINARY - 1);
  put_many(SF_EVENT_STATE, 0, ORDINARY);
  item = sf_outbox_take(&outbox);
  assert_int_equal(item.event->kind, SF_EVENT_EVENTS_UNTOLD);
  assert_int_equal(item.event->count, 1);
  put_many(SF_EVENT_STATE, 100, 2);
  assert_int_equal(item.event->count, 1);
  sf_outbox_told(&outbox, &item);
  expect_many(SF_EVENT_STATE, 0, ORDINARY);
  expect_untold(2);
  assert_true(sf_outbox_is_empty(&outbox));
}

static void
what_is_told_once_has_room_of_its_own(void **state) {
  static const enum sf_volume_event_kind once[] = {
      SF_EVENT_STARTED,   SF_EVENT_GROWN,       SF_EVENT_GROW_FAILED,   SF_EVENT_LEG_REPLACED,
      SF_EVENT_LEG_ADDED, SF_EVENT_LEG_REMOVED, SF_EVENT_CHANGE_FAILED, SF_EVENT_GROWN,
  };
  _Static_assert(sizeof once / sizeof once[0] == OUTBOX_ONCE, "as many as there is room for");

  put_many(SF_EVENT_LEG_STATE, 0, ORDINARY + 5);
  for (unsigned i = 0; i < OUTBOX_ONCE; i++)
    put(once[i], (int) i);
  put(SF_EVENT_GROWN, 100);
  put(SF_EVENT_STOPPED, 1);
  expect_many(SF_EVENT_LEG_STATE, 0, ORDINARY);
  expect_untold(6);
  for (unsigned i = 0; i < OUTBOX_ONCE; i++)
    expect_event(once[i], (int) i);
  expect_event(SF_EVENT_STOPPED, 1);
  assert_true(sf_outbox_is_empty(&outbox));
}

static void
nothing_is_counted_after_the_stop(void **state) {
  put_many(SF_EVENT_STATE, 0, ORDINARY);
  put(SF_EVENT_STOPPED, 1);
  put_many(SF_EVENT_STATE, 100, 20);
  expect_many(SF_EVENT_STATE, 0, ORDINARY);
  expect_event(SF_EVENT_STOPPED, 1);
  assert_true(sf_outbox_is_empty(&outbox));
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(answers_and_events_keep_their_order, setup),
      cmocka_unit_test_setup(an_event_has_its_own_texts, setup),
      cmocka_unit_test_setup(what_finds_no_room_is_counted, setup),
      cmocka_unit_test_setup(what_comes_while_it_is_told_is_counted_anew, setup),
      cmocka_unit_test_setup(what_is_told_once_has_room_of_its_own, setup),
      cmocka_unit_test_setup(nothing_is_counted_after_the_stop, setup),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}

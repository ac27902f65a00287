/* Pages of the maps that hang or fail, on one leg and on all (R8, R10). */
#include "rig.h"

#include <errno.h>

enum { PAGES = 40 };

static struct rig rig;
static struct rig_request w[PAGES];

static bool
holds_maps_of_leg_2(const struct rig *r, const struct rig_region *region) {
  return region->leg == 2 && rig_is_map(region);
}

static int
maps_do_not_fit_on_leg_2(const struct rig *r, const struct rig_region *region) {
  return region->leg == 2 && rig_is_map(region) ? -ENOSPC : 0;
}

static int
maps_do_not_fit(const struct rig *r, const struct rig_region *region) {
  return rig_is_map(region) ? -ENOSPC : 0;
}

/* One write into each page, all at once. */
static uint64_t
write_into_every_page(void) {
  for (unsigned i = 0; i < PAGES; i++)
    rig_submit(&rig, &w[i], SF_REQ_WRITE, (uint64_t) i * SF_MAP_EXTENTS * 4096, 4096, 1);
  return rig.now_ns;
}

static void
all_are_answered_by(uint64_t at_ns) {
  for (unsigned i = 0; i < PAGES; i++) {
    assert_true(w[i].done);
    assert_int_equal(w[i].request.error, 0);
    assert_true(w[i].done_ns <= at_ns);
    rig_put(&w[i]);
  }
}

/* More pages than are under way at once, and all hang on one leg: the others answer in time. */
static void
a_leg_on_which_pages_hang_is_not_waited_for(void **state) {
  uint64_t began;

  rig_init(&rig, 3, 2, 4096, PAGES * SF_MAP_EXTENTS);
  rig_start_fully(&rig);
  rig.holds = holds_maps_of_leg_2;
  began = write_into_every_page();
  rig_pass(&rig, 300);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_LATE);
  all_are_answered_by(began + rig.config.deadline_ns[SF_WRITE_KIND] + 5 * SF_MS);
  rig.holds = NULL;
  rig_pass(&rig, 5000);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_IN_SYNC);
  rig_free(&rig);
}

static void
a_leg_without_room_for_pages_leaves_until_it_has(void **state) {
  uint64_t began;

  rig_init(&rig, 3, 2, 4096, PAGES * SF_MAP_EXTENTS);
  rig_start_fully(&rig);
  rig.fails = maps_do_not_fit_on_leg_2;
  began = write_into_every_page();
  rig_pass(&rig, 300);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_PROBING);
  assert_int_equal(rig.volume->durable.faulty, 0);
  all_are_answered_by(began + 5 * SF_MS);
  rig.fails = NULL;
  rig_pass(&rig, 15000);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_IN_SYNC);
  rig_free(&rig);
}

/* No leg is demoted, reads go on, writes fail when their time is up, and all is well once the page
 * can be written. */
static void
pages_that_fail_everywhere_fail_writes_only(void **state) {
  struct rig_request read, again;

  rig_init(&rig, 3, 2, 4096, PAGES * SF_MAP_EXTENTS);
  rig_start_fully(&rig);
  rig.fails = maps_do_not_fit;
  write_into_every_page();
  rig_pass(&rig, 1000);
  rig_submit(&rig, &read, SF_REQ_READ, 3 * 4096, 4096, 0);
  rig_pass(&rig, 5);
  assert_true(read.done);
  assert_int_equal(read.request.error, 0);
  rig_put(&read);
  rig_pass(&rig, rig.config.fail_timeout_ns / SF_MS);
  for (unsigned i = 0; i < PAGES; i++) {
    assert_true(w[i].done);
    assert_int_equal(w[i].request.error, -EIO);
    assert_true(w[i].done_ns - w[i].request.since_ns >= rig.config.fail_timeout_ns);
    rig_put(&w[i]);
  }
  for (unsigned leg = 0; leg < 3; leg++)
    assert_int_equal(rig_state(&rig, leg), SF_STATE_IN_SYNC);
  assert_int_equal(rig.volume->unconverged.set, 0); /* nothing of them was sent */
  rig.fails = NULL;
  rig_submit(&rig, &again, SF_REQ_WRITE, 0, 4096, 2);
  rig_pass(&rig, 300);
  assert_true(again.done);
  assert_int_equal(again.request.error, 0);
  rig_put(&again);
  rig_free(&rig);
}

/* No leg can be spared: the writes wait for the hung leg, and no other request does. */
static void
pages_that_hang_where_no_leg_can_be_spared_hold_their_writes_only(void **state) {
  struct rig_request warm, read, flush;

  rig_init(&rig, 3, 3, 4096, PAGES * SF_MAP_EXTENTS);
  rig_start_fully(&rig);
  rig_submit(&rig, &warm, SF_REQ_WRITE, 4096, 4096, 1);
  rig_run(&rig);
  rig_put(&warm);
  rig.holds = holds_maps_of_leg_2;
  write_into_every_page();
  rig_pass(&rig, 1000);
  rig_submit(&rig, &warm, SF_REQ_WRITE, 4096, 4096, 3);
  rig_submit(&rig, &read, SF_REQ_READ, 8192, 4096, 0);
  rig_submit(&rig, &flush, SF_REQ_FLUSH, 0, 0, 0);
  rig_pass(&rig, 5);
  assert_true(warm.done && warm.request.error == 0);
  assert_true(read.done && read.request.error == 0);
  /* The pages carry flushes, and an earlier one that failed would have been heard of by then. */
  rig_pass(&rig, rig.config.deadline_ns[SF_WRITE_KIND] / SF_MS + 20);
  assert_true(flush.done && flush.request.error == 0);
  rig_put(&warm);
  rig_put(&read);
  rig.holds = NULL;
  rig_pass(&rig, 100);
  all_are_answered_by(rig.now_ns);
  rig_free(&rig);
}

static bool
leg_2_takes_90_ms(const struct rig *r, const struct rig_region *region) {
  return region->leg == 2 && region->op == SF_TIO_WRITE &&
         r->now_ns - region->since_ns < 90 * SF_MS;
}

static bool
is_map_of_leg_2(const struct rig *r, const struct rig_region *region) {
  return region->leg == 2 && rig_is_map(region);
}

/* The leg does each thing within its timeout, and the client waits for three of them, one after the
 * other: a page that was under way already, the page with the intent, the data.  It is slow, and
 * not late. */
static void
a_leg_that_takes_its_time_for_each_of_three_is_not_late(void **state) {
  struct rig_request first, second;
  uint64_t began;

  rig_init(&rig, 3, 2, 65536, 64);
  rig_start_fully(&rig);
  rig_submit(&rig, &first, SF_REQ_WRITE, 0, 4096, 1);
  rig_run(&rig);
  rig_put(&first);
  rig.holds = leg_2_takes_90_ms;
  for (unsigned ms = 0; rig_count(&rig, is_map_of_leg_2) == 0; ms++) {
    assert_true(ms < 20000);
    rig_pass(&rig, 1);
  }
  began = rig.now_ns;
  rig_submit(&rig, &second, SF_REQ_WRITE, 65536, 4096, 2);
  rig_pass(&rig, 400);
  assert_true(second.done);
  assert_int_equal(second.request.error, 0);
  assert_true(second.done_ns - began <= 3 * 90 * SF_MS);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_IN_SYNC);
  rig_put(&second);
  rig_free(&rig);
}

/* Without a buffer it is tried again after a pause, which is not spent in a circle. */
static void
a_page_without_a_buffer_is_tried_again(void **state) {
  struct rig_request write;
  unsigned ticks = 0;

  rig_init(&rig, 2, 1, 65536, 64);
  rig_start_fully(&rig);
  rig_pass(&rig, 100);
  rig.buffers = 0;
  rig_submit(&rig, &write, SF_REQ_WRITE, 0, 4096, 1);
  for (unsigned ms = 0; ms < 100; ms++) {
    assert_true(rig.tick_ns > rig.now_ns);
    ticks += rig.tick_ns <= rig.now_ns + SF_MS;
    rig_pass(&rig, 1);
  }
  assert_in_range(ticks, 5, 50);
  assert_false(write.done);
  rig.buffers = -1;
  rig_pass(&rig, 100);
  assert_true(write.done);
  rig_put(&write);
  rig_free(&rig);
}

/* Extents that fill their last word: what stands behind it in memory is none of them. */
static void
a_page_holds_the_extents_that_there_are(void **state) {
  enum { SMALL = 4096, EXTENTS_OF_5_WORDS = 5 * 64 };
  struct rig_request write;
  struct sf_map_page page;

  rig_init(&rig, 2, 1, SMALL, EXTENTS_OF_5_WORDS);
  rig_start_fully(&rig);
  assert_int_equal(sf_volume_leg_fail(rig.volume, 1, rig.now_ns), 0);
  rig_pass(&rig, 100);
  rig_submit(&rig, &write, SF_REQ_WRITE, (EXTENTS_OF_5_WORDS - 1) * SMALL, SMALL, 1);
  rig_pass(&rig, 100);
  assert_true(write.done);
  rig_put(&write);
  assert_true(sf_map_page_decode(rig.leg[0] + SF_MAP_PAGE_OFFSET(0), &rig.format.volume, 0, &page));
  for (unsigned e = 0; e < SF_MAP_EXTENTS; e++)
    assert_int_equal(page.intent[e / 8] >> e % 8 & 1, e == EXTENTS_OF_5_WORDS - 1);
  for (unsigned e = EXTENTS_OF_5_WORDS; e < SF_MAP_EXTENTS; e++)
    assert_int_equal(page.stale[1][e / 8] >> e % 8 & 1, 0);
  rig_free(&rig);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_leg_on_which_pages_hang_is_not_waited_for),
      cmocka_unit_test(a_leg_without_room_for_pages_leaves_until_it_has),
      cmocka_unit_test(pages_that_fail_everywhere_fail_writes_only),
      cmocka_unit_test(pages_that_hang_where_no_leg_can_be_spared_hold_their_writes_only),
      cmocka_unit_test(a_leg_that_takes_its_time_for_each_of_three_is_not_late),
      cmocka_unit_test(a_page_without_a_buffer_is_tried_again),
      cmocka_unit_test(a_page_holds_the_extents_that_there_are),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

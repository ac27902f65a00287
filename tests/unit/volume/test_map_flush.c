/* Pages of the maps beside a flush that failed (R9): the disk may have dropped those that it called written. */
#include "rig.h"

#include <errno.h>
#include <string.h>

enum { PAGES = 2, LENGTH = 4096 };

static struct rig rig;
static uint8_t before[SF_PAGE_BYTES];
static bool holding;
static int page_1_fails, flush_of_leg_1_fails; /* -errno, the next one */

static uint8_t *
page_on(unsigned leg, uint64_t page) {
  return rig.leg[leg] + SF_MAP_PAGE_OFFSET(page);
}

static bool
is_page_1(const struct rig_region *region) {
  return rig_is_map(region) && region->offset == SF_MAP_PAGE_OFFSET(1);
}

static bool
holds_page_1(const struct rig *r, const struct rig_region *region) {
  return holding && is_page_1(region);
}

static int
fails(const struct rig *r, const struct rig_region *region) {
  int error = 0;

  if (is_page_1(region)) {
    error = page_1_fails;
    page_1_fails = 0;
  } else if (region->op == SF_TIO_FLUSH && region->leg == 1) {
    error = flush_of_leg_1_fails;
    flush_of_leg_1_fails = 0;
  }
  return error;
}

static void
init(unsigned legs, unsigned min_legs) {
  page_1_fails = flush_of_leg_1_fails = 0;
  holding = false;
  rig_init(&rig, legs, min_legs, LENGTH, PAGES * SF_MAP_EXTENTS);
  rig.config.on_too_few = SF_TOO_FEW_SUSPEND;
  rig.config.intent_delay_ns = 600 * SF_S;
  rig.fails = fails;
  rig.holds = holds_page_1;
  rig_start_fully(&rig);
}

/* One page has been written, another one fails and takes it along; nothing but pages was in the disk's cache. */
static void
a_page_beside_one_that_fails_is_written_again(void **state) {
  struct rig_request write;

  init(1, 1);
  memcpy(before, page_on(0, 0), sizeof before);
  holding = true;
  rig_submit(&rig, &write, SF_REQ_WRITE, (SF_MAP_EXTENTS - 1) * LENGTH, 2 * LENGTH, 7);
  rig_pass(&rig, 5);
  assert_memory_not_equal(page_on(0, 0), before, sizeof before);
  memcpy(page_on(0, 0), before, sizeof before); /* dropped */
  page_1_fails = -EIO;
  holding = false;
  rig_pass(&rig, 1000);
  assert_int_equal(page_1_fails, 0);
  assert_true(write.done);
  assert_int_equal(write.request.error, 0);
  assert_memory_not_equal(page_on(0, 0), before, sizeof before);
  rig_put(&write);
  rig_free(&rig);
}

static bool
is_flush(const struct rig *r, const struct rig_region *region) {
  return region->op == SF_TIO_FLUSH && (region->leg == 0 || flush_of_leg_1_fails == 0);
}

/* A leg lacks a page, a start writes it as it stands, and the first flush behind that fails.  Until legs are converged
 * nothing else changes the page. */
static void
a_page_that_a_start_wrote_is_written_again(void **state) {
  struct rig_request write;

  init(2, 2);
  memcpy(before, page_on(1, 0), sizeof before);
  rig_submit(&rig, &write, SF_REQ_WRITE, 0, LENGTH, 7);
  rig_pass(&rig, 50);
  assert_true(write.done);
  rig_put(&write);
  rig_kill(&rig);
  memcpy(page_on(1, 0), before, sizeof before);
  rig.fails = fails;
  rig.holds = is_flush;
  rig_start_fully(&rig);
  rig_pass(&rig, 50);
  assert_memory_not_equal(page_on(1, 0), before, sizeof before);
  memcpy(page_on(1, 0), before, sizeof before); /* dropped */
  flush_of_leg_1_fails = -EIO;
  rig_pass(&rig, 50);
  assert_int_equal(flush_of_leg_1_fails, 0);
  assert_int_equal(rig.volume->maps.page[0].version, 1);
  assert_memory_not_equal(page_on(1, 0), before, sizeof before);
  rig_free(&rig);
}

/* A superblock's FUA ends well, the flush of a page beside it fails, and the disk has dropped both. */
static void
a_record_beside_one_that_fails_is_written_again(void **state) {
  struct rig_request write;
  struct sf_superblock sb;
  static uint8_t head[SF_MAP_PAGE_OFFSET(0)];

  init(2, 1);
  rig_pass(&rig, 100000);
  holding = true;
  rig_submit(&rig, &write, SF_REQ_WRITE, (SF_MAP_EXTENTS - 1) * LENGTH, 2 * LENGTH, 7);
  rig_pass(&rig, 5);
  memcpy(head, rig.leg[0], sizeof head);
  assert_int_equal(sf_volume_leg_fail(rig.volume, 1, rig.now_ns), 0);
  rig_pass(&rig, 5);
  assert_int_equal(rig.volume->durable.in_sync, 1);
  assert_int_equal(rig.volume->durable_version, rig.volume->version);
  memcpy(rig.leg[0], head, sizeof head); /* dropped */
  page_1_fails = -EIO;
  holding = false;
  rig_pass(&rig, 200);
  assert_int_equal(page_1_fails, 0);
  assert_true(write.done);
  assert_int_equal(write.request.error, 0);
  rig_read_superblock(&rig, 0, &sb);
  assert_int_equal(sb.record.in_sync, 1);
  rig_put(&write);
  rig_free(&rig);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_record_beside_one_that_fails_is_written_again),
      cmocka_unit_test(a_page_beside_one_that_fails_is_written_again),
      cmocka_unit_test(a_page_that_a_start_wrote_is_written_again),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

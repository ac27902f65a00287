/* Requests that wait for legs (on_too_few = suspend), and what may happen beside them. */
#include "rig.h"

#include <errno.h>

enum { EXTENT = 65536, EXTENTS = 8, WRITTEN = 5 };

static struct rig rig;
static bool copies_wait, records_wait, writes_of_copies_wait, newest_fails;
static unsigned copied_leg;

static uint64_t
extent_of_region(const struct rig_region *region) {
  return (region->offset - SF_DATA_OFFSET) / EXTENT;
}

static uint8_t
first_byte(const struct rig_region *region) {
  return ((const uint8_t *) region->buffer->data)[0];
}

/* The newest write reaches leg 1 only (and leg 3, where there is one). */
static int
newest_write_fails(const struct rig *r, const struct rig_region *region) {
  return newest_fails && region->op == SF_TIO_WRITE && rig_is_data(r, region) &&
                 (region->leg == 0 || region->leg == 2) && first_byte(region) == 9
             ? -EIO
             : 0;
}

static bool
holds_what_the_test_says(const struct rig *r, const struct rig_region *region) {
  if (rig_is_superblock(region))
    return records_wait;
  if (!rig_is_data(r, region))
    return false;
  if (region->op == SF_TIO_READ && extent_of_region(region) < WRITTEN - 1)
    return copies_wait;
  return writes_of_copies_wait && region->op == SF_TIO_WRITE && region->leg == copied_leg &&
         extent_of_region(region) == WRITTEN && first_byte(region) != 9;
}

static void
init(unsigned legs) {
  rig_init(&rig, legs, 2, EXTENT, 64);
  copies_wait = records_wait = writes_of_copies_wait = newest_fails = false;
  rig.config.on_too_few = SF_TOO_FEW_SUSPEND;
  for (unsigned kind = 0; kind < SF_KINDS; kind++)
    rig.config.deadline_ns[kind] = rig_deadline(10 * SF_S);
  rig.config.fail_timeout_ns = 60 * SF_S;
  rig.fails = newest_write_fails;
  rig.holds = holds_what_the_test_says;
}

static void
write_all(uint8_t fill) {
  struct rig_request write[EXTENTS];

  for (unsigned i = 0; i < EXTENTS; i++)
    rig_submit(&rig, &write[i], SF_REQ_WRITE, i * EXTENT, EXTENT, fill);
  rig_pass(&rig, 50);
  for (unsigned i = 0; i < EXTENTS; i++) {
    assert_true(write[i].done);
    assert_int_equal(write[i].request.error, 0);
    rig_put(&write[i]);
  }
}

/* Else blocks copied from a leg that leaves are copied again. */
static void
flush_all(void) {
  struct rig_request flush;

  rig_submit(&rig, &flush, SF_REQ_FLUSH, 0, 0, 0);
  rig_pass(&rig, 50);
  assert_true(flush.done);
  assert_int_equal(flush.request.error, 0);
}

/* The write is suspended, waits for its intent on the record that is to take leg 2 out, and
 * meanwhile a copy of its extent is under way, which has read the old data and not written them
 * yet. */
static void
write_waits_while_a_copy_passes(struct rig_request *write) {
  newest_fails = true;
  rig_submit(&rig, write, SF_REQ_WRITE, WRITTEN * EXTENT, EXTENT, 9);
  rig_run(&rig);
  assert_false(write->done);
  records_wait = true;
  assert_int_equal(sf_volume_leg_fail(rig.volume, 2, rig.now_ns), 0);
  newest_fails = false;
  rig_pass(&rig, 25);
  writes_of_copies_wait = true;
  copies_wait = false;
  rig_pass(&rig, 40);
  records_wait = false;
  rig_pass(&rig, 30);
  assert_false(write->done);
  writes_of_copies_wait = false;
  rig_pass(&rig, 200);
  assert_true(write->done);
  assert_int_equal(write->request.error, 0);
  rig_put(write);
}

static void
assert_newest_on(unsigned leg) {
  for (uint64_t at = 0; at < EXTENT; at += 512)
    assert_int_equal(rig.leg[leg][SF_DATA_OFFSET + WRITTEN * EXTENT + at], 9);
}

static void
a_suspended_write_waits_for_a_resync_that_passed_it(void **state) {
  struct rig_request write;

  init(4);
  copied_leg = 3;
  rig_start_fully(&rig);
  assert_int_equal(sf_volume_leg_fail(rig.volume, 3, rig.now_ns), 0);
  rig_pass(&rig, 50);
  write_all(1);
  flush_all();
  copies_wait = true;
  assert_int_equal(sf_volume_leg_return(rig.volume, 3, rig.now_ns), 0);
  rig_pass(&rig, 1000);
  assert_int_equal(rig_state(&rig, 3), SF_STATE_CATCHING_UP);
  write_waits_while_a_copy_passes(&write);
  rig_pass(&rig, 8000);
  assert_int_equal(rig_state(&rig, 3), SF_STATE_IN_SYNC);
  assert_newest_on(0);
  assert_newest_on(1);
  assert_newest_on(3);
  rig_free(&rig);
}

static void
a_suspended_write_waits_for_a_convergence_that_passed_it(void **state) {
  struct rig_request write;

  init(3);
  copied_leg = 1;
  rig_start_fully(&rig);
  write_all(1);
  rig_kill(&rig);
  rig.fails = newest_write_fails;
  rig.holds = holds_what_the_test_says;
  copies_wait = true;
  rig_start_fully(&rig);
  assert_true(rig.volume->unconverged.set > 0);
  write_waits_while_a_copy_passes(&write);
  rig_pass(&rig, 1000);
  assert_int_equal(rig.volume->unconverged.set, 0);
  assert_newest_on(0);
  assert_newest_on(1);
  rig_free(&rig);
}

static bool kept;

static bool
keeps_writes_of_block_0(const struct rig *r, const struct rig_region *region) {
  return rig_takes_a_moment(r, region) ||
         (kept && region->op == SF_TIO_WRITE && region->offset == SF_DATA_OFFSET);
}

static int
leg_1_has_no_path_to_block_0(const struct rig *r, const struct rig_region *region) {
  return region->leg == 1 && region->op == SF_TIO_WRITE && region->offset == SF_DATA_OFFSET
             ? -ENOTCONN
             : 0;
}

/* The copy came behind the write, and is let by as soon as that is suspended: it brings the leg that the write
 * waits for. */
static void
a_copy_that_waits_runs_when_the_write_is_suspended(void **state) {
  struct rig_request write;

  rig_init(&rig, 3, 2, 65536, 64);
  rig.config.on_too_few = SF_TOO_FEW_SUSPEND;
  rig.config.intent_delay_ns = 600 * SF_S;
  rig_start_fully(&rig);
  assert_int_equal(sf_volume_leg_fail(rig.volume, 2, rig.now_ns), 0);
  rig_submit(&rig, &write, SF_REQ_WRITE, 0, 4096, 1);
  rig_run(&rig);
  assert_true(write.done);
  rig_put(&write);
  kept = true;
  rig.holds = keeps_writes_of_block_0;
  rig.fails = leg_1_has_no_path_to_block_0;
  assert_int_equal(sf_volume_leg_return(rig.volume, 2, rig.now_ns), 0);
  for (unsigned i = 0; i < 5000 && rig.volume->leg[2].probes_ok == 0; i++)
    rig_pass(&rig, 1);
  while (rig_state(&rig, 2) == SF_STATE_PROBING) {
    if (rig.volume->active.next == &rig.volume->active)
      rig_submit(&rig, &write, SF_REQ_WRITE, 0, 4096, 2);
    rig_pass(&rig, 1);
  }
  rig_pass(&rig, 40); /* the copy waits behind it */
  assert_false(write.done);
  assert_int_equal(rig.volume->waiting_ops, 1);
  kept = false;
  rig_pass(&rig, 10000);
  assert_true(write.done);
  assert_int_equal(write.request.error, 0);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_IN_SYNC);
  assert_memory_equal(rig.leg[0] + SF_DATA_OFFSET, rig.leg[2] + SF_DATA_OFFSET, 65536);
  rig_put(&write);
  rig_free(&rig);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_suspended_write_waits_for_a_resync_that_passed_it),
      cmocka_unit_test(a_suspended_write_waits_for_a_convergence_that_passed_it),
      cmocka_unit_test(a_copy_that_waits_runs_when_the_write_is_suspended),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

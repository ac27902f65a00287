/* R9: a flush that failed never becomes a success, whatever carried it. */
#include "flush_rig.h"

#include <errno.h>

#include "volume/ground/fault.h"

static void
a_page_of_the_maps_takes_an_unflushed_write_with_it(void **state) {
  static struct sf_volume_status status;

  for (unsigned mode = 0; mode < 2; mode++) {
    flush_rig_init(1, 1, mode == 0 ? SF_TOO_FEW_ERROR : SF_TOO_FEW_SUSPEND);
    assert_int_equal(write_at(0, 1), 0);
    assert_int_equal(flush(), 0);
    assert_int_equal(write_at(0, 2), 0);
    fault.carrier = MAP_PAGE;
    fault.legs = 1;
    assert_int_equal(write_at(5 * EXTENT, 3), 0);
    assert_int_equal(fault.legs, 0);
    assert_int_equal(flush(), -EIO);
    assert_int_equal(flush(), -EIO);
    assert_int_equal(write_at(0, 4), 0);
    sf_volume_status(rig.volume, rig.now_ns, &status);
    assert_int_equal(status.state,
                     SF_VOLUME_FAILED); /* other requests that go well do not end that */
    assert_int_equal(flush(), -EIO);
    rig_free(&rig);
  }
}

static void
a_write_with_fua_takes_an_unflushed_write_with_it(void **state) {
  flush_rig_init(1, 1, SF_TOO_FEW_ERROR);
  assert_int_equal(write_at(0, 1), 0);
  fault.legs = 1;
  assert_int_equal(ask_fua(8192, 2), -EIO);
  assert_int_equal(flush(), -EIO);
  rig_free(&rig);

  flush_rig_init(1, 1, SF_TOO_FEW_SUSPEND);
  assert_int_equal(write_at(0, 1), 0);
  fault.legs = 1;
  assert_int_equal(ask_fua(8192, 2), 0); /* it is sent again, and is stable */
  assert_int_equal(flush(), -EIO);
  rig_free(&rig);
}

/* A failed flush of nothing has dropped nothing. */
static void
where_all_was_flushed_nothing_is_lost(void **state) {
  flush_rig_init(1, 1, SF_TOO_FEW_ERROR);
  assert_int_equal(write_at(0, 1), 0);
  assert_int_equal(flush(), 0);
  fault.carrier = MAP_PAGE;
  fault.legs = 1;
  assert_int_equal(write_at(5 * EXTENT, 3), 0);
  assert_int_equal(fault.legs, 0);
  assert_int_equal(flush(), 0);
  rig_free(&rig);
}

/* A flush that was never carried out has dropped nothing. */
static void
a_path_that_is_down_loses_nothing(void **state) {
  flush_rig_init(1, 1, SF_TOO_FEW_ERROR);
  assert_int_equal(write_at(0, 1), 0);
  fault.legs = 1;
  fault.error = -ENOLINK;
  assert_int_equal(flush(), 0); /* after a second try */
  assert_int_equal(fault.legs, 0);
  rig_free(&rig);

  flush_rig_init(1, 1, SF_TOO_FEW_SUSPEND);
  assert_int_equal(write_at(0, 1), 0);
  fault.legs = 1;
  fault.error = -ENODEV; /* it may have been without power */
  assert_int_equal(flush(), -EIO);
  rig_free(&rig);
}

static void
a_leg_that_can_be_spared_leaves(void **state) {
  flush_rig_init(2, 1, SF_TOO_FEW_ERROR);
  assert_int_equal(write_at(0, 1), 0);
  fault.carrier = MAP_PAGE;
  fault.legs = 1;
  assert_int_equal(write_at(5 * EXTENT, 3), 0);
  assert_int_equal(rig_state(&rig, 0), SF_STATE_FAULTY);
  assert_true(sf_map_test(&rig.volume->leg[0].stale, 0));
  assert_int_equal(flush(), 0);
  rig_free(&rig);
}

/* It cannot leave; the other leg has the data: they are written again, and flushed. */
static void
a_leg_that_cannot_leave_is_made_whole(void **state) {
  flush_rig_init(2, 2, SF_TOO_FEW_ERROR);
  assert_int_equal(write_at(0, 7), 0);
  fault.carrier = MAP_PAGE;
  fault.legs = 1;
  fault.drops = true;
  assert_int_equal(write_at(5 * EXTENT, 3), 0);
  assert_int_equal(fault.legs, 0);
  assert_int_equal(flush(), 0);
  assert_int_equal(rig.leg[0][SF_DATA_OFFSET], 7);
  assert_int_equal(rig_state(&rig, 0), SF_STATE_IN_SYNC);
  assert_int_equal(rig.volume->latest.faulty, 0);
  rig_free(&rig);
}

static bool
holds_copies(const struct rig *r, const struct rig_region *region) {
  return region->op == SF_TIO_READ && rig_is_data(r, region) && region->length > 4096;
}

/* And it is not read meanwhile, nor is an answer taken that it gave before. */
static void
a_leg_that_lost_a_flush_is_no_source(void **state) {
  struct rig_request write, read;

  flush_rig_init(2, 2, SF_TOO_FEW_ERROR);
  assert_int_equal(write_at(0, 7), 0);
  rig.volume->leg[1].avoid = true; /* reads go to leg 0 */
  rig.holds = holds_copies;
  fault.carrier = MAP_PAGE;
  fault.drops = true;
  fault.legs = 1;
  rig_submit(&rig, &write, SF_REQ_WRITE, 5 * EXTENT, 4096, 3);
  rig_submit(&rig, &read, SF_REQ_READ, 0, 4096, 0); /* ends behind the flush that fails */
  rig_run(&rig);
  assert_int_equal(fault.legs, 0);
  assert_int_equal(rig.leg[0][SF_DATA_OFFSET], 1);
  rig.holds = NULL;
  rig_pass(&rig, 400);
  assert_true(read.done && write.done);
  assert_int_equal(read.request.error, 0);
  assert_int_equal(((uint8_t *) read.request.buffer->data)[0], 7);
  rig_put(&read);
  rig_put(&write);
  rig_free(&rig);
}

/* Both lost what they had not flushed: neither may make the other's loss good. */
static void
what_no_leg_has_stays_lost(void **state) {
  flush_rig_init(2, 1, SF_TOO_FEW_ERROR);
  assert_int_equal(write_at(0, 7), 0);
  fault.legs = 3;
  assert_int_equal(flush(), -EIO);
  rig_pass(&rig, 1000);
  assert_int_equal(flush(), -EIO);
  assert_int_equal(rig.volume->unconverged.set, 0); /* they are equal all the same */
  assert_int_equal(sf_volume_leg_return(rig.volume, 0, rig.now_ns), 0);
  rig_pass(&rig, 100);
  assert_int_equal(flush(), 0);
  assert_int_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
  rig_free(&rig);
}

/* A leg that lost a flush is no reason for another to leave, late as that may be. */
static bool
holds_leg_1(const struct rig *r, const struct rig_region *region) {
  return region->leg == 1;
}

static void
the_leg_that_has_the_data_does_not_leave(void **state) {
  struct rig_request write;

  flush_rig_init(2, 1, SF_TOO_FEW_SUSPEND);
  assert_int_equal(write_at(0, 7), 0);
  rig.holds = holds_leg_1;
  fault.carrier = MAP_PAGE;
  fault.legs = 1;
  rig_submit(&rig, &write, SF_REQ_WRITE, 5 * EXTENT, 4096, 3);
  rig_pass(&rig, 2000);
  assert_false(write.done);
  assert_int_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
  rig.holds = NULL;
  rig_pass(&rig, 2000);
  assert_true(write.done);
  rig_put(&write);
  assert_int_equal(rig_state(&rig, 0), SF_STATE_FAULTY);
  assert_int_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
  rig_free(&rig);
}

/* A kill does not make it undone. */
static void
a_start_knows_of_it(void **state) {
  flush_rig_init(1, 1, SF_TOO_FEW_ERROR);
  assert_int_equal(write_at(0, 1), 0);
  fault.carrier = MAP_PAGE;
  fault.legs = 1;
  assert_int_equal(write_at(5 * EXTENT, 3), 0);
  rig_kill(&rig);
  rig.fails = next_flush_fails;
  rig_start_fully(&rig);
  assert_int_equal(flush(), -EIO);
  sf_volume_stop(rig.volume, rig.now_ns);
  rig_pass(&rig, 500);
  rig_kill(&rig);
  rig_start_fully(&rig);
  assert_int_equal(flush(), -EIO);
  assert_int_equal(ask(SF_REQ_READ, 0, 0), 0);
  assert_int_equal(sf_volume_leg_return(rig.volume, 0, rig.now_ns), 0);
  rig_pass(&rig, 100);
  assert_int_equal(flush(), 0);
  rig_free(&rig);
}

/* Reads wait for the convergence, which needs a flush of ours, not one that could never succeed. */
static void
reads_of_what_is_unconverged_go_on(void **state) {
  flush_rig_init(1, 1, SF_TOO_FEW_SUSPEND);
  assert_int_equal(write_at(0, 1), 0);
  assert_int_equal(write_at(2 * EXTENT, 1), 0);
  rig_kill(&rig);
  rig.fails = next_flush_fails;
  fault.legs = 1;
  fault.error = -EIO;
  rig_start(&rig);
  rig_pass(&rig, 3000);
  fault.legs = 1;
  assert_int_equal(ask(SF_REQ_READ, 0, 0), 0);
  assert_int_equal(ask(SF_REQ_READ, 2 * EXTENT, 0), 0);
  rig_free(&rig);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_page_of_the_maps_takes_an_unflushed_write_with_it),
      cmocka_unit_test(a_write_with_fua_takes_an_unflushed_write_with_it),
      cmocka_unit_test(where_all_was_flushed_nothing_is_lost),
      cmocka_unit_test(a_path_that_is_down_loses_nothing),
      cmocka_unit_test(a_leg_that_can_be_spared_leaves),
      cmocka_unit_test(a_leg_that_cannot_leave_is_made_whole),
      cmocka_unit_test(a_leg_that_lost_a_flush_is_no_source),
      cmocka_unit_test(what_no_leg_has_stays_lost),
      cmocka_unit_test(the_leg_that_has_the_data_does_not_leave),
      cmocka_unit_test(a_start_knows_of_it),
      cmocka_unit_test(reads_of_what_is_unconverged_go_on),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

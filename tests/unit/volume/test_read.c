/* Reads when their first leg does not answer. */
#include "rig.h"

#include <errno.h>
#include <string.h>

static struct rig rig;

static bool
holds_reads_of_leg_0(const struct rig *r, const struct rig_region *region) {
  return region->leg == 0 && region->op == SF_TIO_READ;
}

static int
leg_0_cannot_read(const struct rig *r, const struct rig_region *region) {
  return region->leg == 0 && region->op == SF_TIO_READ ? -EIO : 0;
}

static void
start_with_data(uint8_t fill) {
  struct rig_request w;

  rig_init(&rig, 2, 1, 65536, 64);
  rig_start_fully(&rig);
  rig_submit(&rig, &w, SF_REQ_WRITE, 0, 4096, fill);
  rig_run(&rig);
  assert_true(w.done && w.request.error == 0);
  rig_put(&w);
}

/* At the timeout of a read the next leg is asked, in a buffer of its own: if there is none just
 * then, as soon as there is. */
static void
a_read_goes_to_the_next_leg_when_a_buffer_comes_free(void **state) {
  struct rig_request read;

  start_with_data(7);
  rig.holds = holds_reads_of_leg_0;
  rig.buffers = 0;
  rig_submit(&rig, &read, SF_REQ_READ, 0, 4096, 0);
  rig_pass(&rig, 120);
  assert_false(read.done);
  rig.buffers = -1;
  rig_pass(&rig, 50);
  assert_true(read.done);
  assert_int_equal(read.request.error, 0);
  assert_int_equal(*(uint8_t *) read.request.buffer->data, 7);
  rig_put(&read);
  rig_free(&rig);
}

static void
a_read_error_needs_no_other_buffer(void **state) {
  struct rig_request read;

  start_with_data(7);
  rig.fails = leg_0_cannot_read;
  rig.buffers = 0;
  rig_submit(&rig, &read, SF_REQ_READ, 0, 4096, 0);
  rig_run(&rig);
  rig.buffers = -1;
  assert_true(read.done);
  assert_int_equal(read.request.error, 0);
  assert_int_equal(*(uint8_t *) read.request.buffer->data, 7);
  rig_put(&read);
  rig_free(&rig);
}

/* No leg is left to ask when all have failed. */
static int
nobody_can_read(const struct rig *r, const struct rig_region *region) {
  return region->op == SF_TIO_READ ? -EIO : 0;
}

static void
a_read_that_fails_everywhere_is_answered(void **state) {
  struct rig_request read;

  start_with_data(7);
  rig.fails = nobody_can_read;
  rig_submit(&rig, &read, SF_REQ_READ, 0, 4096, 0);
  rig_pass(&rig, 30);
  assert_true(read.done);
  assert_int_equal(read.request.error, -EIO);
  rig_put(&read);
  rig_free(&rig);
}

static bool
holds_reads_of_leg_0_and_leg_2(const struct rig *r, const struct rig_region *region) {
  return (region->leg == 0 && region->op == SF_TIO_READ) || region->leg == 2;
}

static bool
holds_leg_2(const struct rig *r, const struct rig_region *region) {
  return region->leg == 2;
}

/* One answer is no evidence that two others can do without the leg: the record that takes it out
 * would wait for another leg that hangs, and all writes with it, though the first has long
 * recovered. */
static void
a_late_read_takes_no_leg_out_that_others_may_need(void **state) {
  struct rig_request read, w;
  uint64_t began;

  rig_init(&rig, 3, 2, 65536, 64);
  rig_start_fully(&rig);
  rig_submit(&rig, &w, SF_REQ_WRITE, 0, 4096, 1);
  rig_run(&rig);
  rig_put(&w);
  rig_pass(&rig, 10);
  rig.holds = holds_reads_of_leg_0_and_leg_2;
  rig_submit(&rig, &read, SF_REQ_READ, 0, 4096, 0);
  rig_pass(&rig, 150);
  assert_true(read.done && read.request.error == 0);
  rig_put(&read);
  rig.holds = holds_leg_2;
  rig_pass(&rig, 10);
  began = rig.now_ns;
  rig_submit(&rig, &w, SF_REQ_WRITE, 0, 4096, 2);
  rig_pass(&rig, 1000);
  assert_true(w.done);
  assert_int_equal(w.request.error, 0);
  assert_true(w.done_ns - began <= rig.config.deadline_ns[SF_WRITE_KIND] + 5 * SF_MS);
  rig_put(&w);
  assert_int_equal(rig_state(&rig, 2), SF_STATE_LATE);
  rig_free(&rig);
}

static bool
holds_reads_of_leg_0_only(const struct rig *r, const struct rig_region *region) {
  return region->leg == 0 && region->op == SF_TIO_READ;
}

/* With evidence of the others it is out at once (R4). */
static void
a_late_read_takes_the_leg_out_when_the_others_are_well(void **state) {
  struct rig_request read, w;

  rig_init(&rig, 3, 2, 65536, 64);
  rig_start_fully(&rig);
  rig.holds = holds_reads_of_leg_0_only;
  rig_submit(&rig, &read, SF_REQ_READ, 0, 4096, 0);
  rig_pass(&rig, 20);
  rig_submit(&rig, &w, SF_REQ_WRITE, 65536, 4096, 2);
  rig_pass(&rig, 130);
  assert_true(read.done && w.done);
  assert_int_equal(rig_state(&rig, 0), SF_STATE_LATE);
  rig_put(&read);
  rig_put(&w);
  rig_free(&rig);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_read_goes_to_the_next_leg_when_a_buffer_comes_free),
      cmocka_unit_test(a_read_error_needs_no_other_buffer),
      cmocka_unit_test(a_read_that_fails_everywhere_is_answered),
      cmocka_unit_test(a_late_read_takes_no_leg_out_that_others_may_need),
      cmocka_unit_test(a_late_read_takes_the_leg_out_when_the_others_are_well),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

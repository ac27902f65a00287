/* Reads whose first leg does not answer. */
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

/* At the timeout of a read the next leg is asked, in a buffer of its own: if there is none just then,
 * as soon as there is. */
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
a_read_error_waits_for_a_buffer_too(void **state) {
  struct rig_request read;

  start_with_data(7);
  rig.fails = leg_0_cannot_read;
  rig.buffers = 0;
  rig_submit(&rig, &read, SF_REQ_READ, 0, 4096, 0);
  rig_pass(&rig, 30);
  assert_false(read.done);
  rig.buffers = -1;
  rig_pass(&rig, 50);
  assert_true(read.done);
  assert_int_equal(read.request.error, 0);
  assert_int_equal(*(uint8_t *) read.request.buffer->data, 7);
  rig_put(&read);
  rig_free(&rig);
}

/* Nobody is left to ask when all have failed. */
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

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_read_goes_to_the_next_leg_when_a_buffer_comes_free),
      cmocka_unit_test(a_read_error_waits_for_a_buffer_too),
      cmocka_unit_test(a_read_that_fails_everywhere_is_answered),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

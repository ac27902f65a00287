/* Devices that are dead, and whose errors take long: how the legs come back. */
#include "trouble_rig.h"

#include <errno.h>

static void
write_well(uint64_t offset) {
  struct rig_request request;

  rig_submit(&rig, &request, SF_REQ_WRITE, offset, 4096, 1);
  rig_pass(&rig, 1000);
  assert_true(request.done && request.request.error == 0);
  rig_put(&request);
}

static void
until_it_is_to_be_opened(unsigned leg, unsigned ms) {
  for (unsigned i = 0; i < ms / 10 && !(rig.reopening >> leg & 1); i++)
    rig_pass(&rig, 10);
  assert_true(rig.reopening >> leg & 1);
}

/* What fails is sent again at once, so that something is always there. */
static void
one_whose_errors_take_long_is_opened_again(void **state) {
  const int errors[] = {-ENODEV, -ENOTCONN, -EIO};

  for (unsigned e = 0; e < sizeof errors / sizeof errors[0]; e++) {
    struct rig_request request[KINDS], more[3];

    trouble_rig_init(1, SF_TOO_FEW_SUSPEND);
    rig_never_late(&rig.volume->config);
    failing = 1;
    error_of_all = errors[e];
    takes_ms[0] = 300;
    submit_all(request);
    for (unsigned i = 0; i < 3; i++) {
      rig_pass(&rig, 90);
      rig_submit(&rig, &more[i], SF_REQ_WRITE, (i + 4) * 65536, 4096, 1);
    }
    until_it_is_to_be_opened(0, 4000);
    if (rig_reopen(&rig, 0) == -EBUSY) {
      until_it_is_to_be_opened(0, 1000);
      failing = 0;
      takes_ms[0] = 1;
      assert_int_equal(rig_reopen(&rig, 0), 0);
    }
    failing = 0;
    takes_ms[0] = 1;
    rig_pass(&rig, 1000);
    for (unsigned i = 0; i < KINDS; i++)
      assert_true(request[i].done && request[i].request.error == 0);
    for (unsigned i = 0; i < 3; i++) {
      assert_true(more[i].done && more[i].request.error == 0);
      rig_put(&more[i]);
    }
    put_all(request);
    rig_free(&rig);
  }
}

/* The other one is well again while what the first one has is still to end. */
static void
what_waits_for_one_that_drains_goes_on_elsewhere(void **state) {
  struct rig_request request[KINDS];

  trouble_rig_init(2, SF_TOO_FEW_SUSPEND);
  write_well(0);
  failing = 3;
  error_of_all = -ENOTCONN;
  takes_ms[0] = 300;
  submit_all(request);
  until_it_is_to_be_opened(0, 4000);
  takes_ms[0] = 10000;
  assert_int_equal(rig_reopen(&rig, 0), -EBUSY);
  failing = 1;
  rig_pass(&rig, 1000);
  for (unsigned i = 0; i < KINDS; i++)
    assert_true(request[i].done && request[i].request.error == 0);
  assert_int_not_equal(rig_state(&rig, 0), SF_STATE_IN_SYNC);
  assert_int_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
  put_all(request);
  rig_free(&rig);
}

/* One request never ends, and the leg is well otherwise. */
static bool
hangs_at_0_or_takes_its_time(const struct rig *r, const struct rig_region *region) {
  return takes_its_time(r, region) || region->offset == SF_DATA_OFFSET;
}

static void
one_that_does_not_end_what_it_has_may_be_well_again(void **state) {
  struct rig_request hangs, write;

  trouble_rig_init(1, SF_TOO_FEW_SUSPEND);
  rig_never_late(&rig.volume->config);
  rig.holds = hangs_at_0_or_takes_its_time;
  rig_submit(&rig, &hangs, SF_REQ_READ, 0, 4096, 0);
  failing = 1;
  error_of_all = -ENODEV;
  rig_submit(&rig, &write, SF_REQ_WRITE, 65536, 4096, 2);
  until_it_is_to_be_opened(0, 4000);
  assert_int_equal(rig_reopen(&rig, 0), -EBUSY);
  failing = 0;
  rig_pass(&rig, 39000);
  assert_false(write.done);
  rig_pass(&rig, 2000);
  assert_true(write.done && write.request.error == 0);
  rig.holds = takes_its_time;
  rig_pass(&rig, 100);
  assert_true(hangs.done);
  rig_put(&hangs);
  rig_put(&write);
  rig_free(&rig);
}

/* It is out, and each probe is late before its error comes: what it has open is dead all the same. */
static void
one_whose_probes_fail_late_is_opened_again(void **state) {
  trouble_rig_init(2, SF_TOO_FEW_SUSPEND);
  write_well(0);
  failing = 2;
  error_of_all = -ENODEV;
  takes_ms[1] = 700;
  write_well(0);
  assert_int_not_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
  for (unsigned i = 0; i < 300 && !(rig.opening >> 1 & 1); i++)
    rig_pass(&rig, 100);
  assert_true(rig.opening >> 1 & 1);
  failing = 0;
  takes_ms[1] = 1;
  rig_open(&rig, 1);
  rig_pass(&rig, 20000);
  assert_int_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
  rig_free(&rig);
}

static struct rig_request dying[4];

/* One leg, which dies while it has something. */
static void
one_dies(void) {
  failing = 1;
  error_of_all = -ENODEV;
  takes_ms[0] = 300;
  for (unsigned i = 0; i < 4; i++) {
    rig_submit(&rig, &dying[i], SF_REQ_READ, (i + 1) * 65536, 4096, 1);
    rig_pass(&rig, 90);
  }
}

static void
one_is_back(void) {
  failing = 0;
  takes_ms[0] = 1;
  rig_pass(&rig, 1000);
  for (unsigned i = 0; i < 4; i++) {
    assert_true(dying[i].done && dying[i].request.error == 0);
    rig_put(&dying[i]);
  }
}

/* Answers openings until one is taken. */
static void
until_it_is_taken(unsigned ms) {
  unsigned passed = 0;

  for (;; passed += 10) {
    if ((rig.reopening & 1) && rig_reopen(&rig, 0) == 0)
      break;
    rig_pass(&rig, 10);
  }
  assert_in_range(passed, 0, ms);
}

/* It goes to the device that is opened. */
static void
what_only_waits_is_not_lost(void **state) {
  struct rig_request write, flush;

  trouble_rig_init(1, SF_TOO_FEW_SUSPEND);
  rig_never_late(&rig.volume->config);
  write_well(0);
  rig_submit(&rig, &flush, SF_REQ_FLUSH, 0, 0, 0);
  rig_pass(&rig, 100);
  assert_true(flush.done && flush.request.error == 0);
  rig_put(&flush);
  one_dies();
  until_it_is_to_be_opened(0, 4000);
  assert_int_equal(rig_reopen(&rig, 0), -EBUSY);
  until_it_is_to_be_opened(0, 1000);
  rig_submit(&rig, &write, SF_REQ_WRITE, 0, 4096, 2);
  assert_int_equal(rig.volume->leg[0].outstanding_n, 0);
  failing = 0;
  takes_ms[0] = 1;
  assert_int_equal(rig_reopen(&rig, 0), 0);
  one_is_back();
  assert_true(write.done && write.request.error == 0);
  rig_put(&write);
  rig_submit(&rig, &flush, SF_REQ_FLUSH, 0, 0, 0);
  rig_pass(&rig, 100);
  assert_true(flush.done && flush.request.error == 0);
  rig_put(&flush);
  rig_free(&rig);
}

static void
one_that_dies_again_drains_again(void **state) {
  trouble_rig_init(1, SF_TOO_FEW_SUSPEND);
  rig_never_late(&rig.volume->config);
  for (unsigned i = 0; i < 2; i++) {
    one_dies();
    until_it_is_taken(6000);
    one_is_back();
    rig_pass(&rig, 5000);
  }
  rig_free(&rig);
}

/* Its node was not there for a moment. */
static void
one_that_cannot_be_opened_once_drains_again(void **state) {
  trouble_rig_init(1, SF_TOO_FEW_SUSPEND);
  rig_never_late(&rig.volume->config);
  one_dies();
  until_it_is_to_be_opened(0, 4000);
  assert_int_equal(rig_reopen(&rig, 0), -EBUSY);
  until_it_is_to_be_opened(0, 1000);
  rig.reopening = 0;
  sf_volume_leg_opened(rig.volume, 0, NULL, NULL, 0, -ENODEV, NULL, rig.now_ns);
  until_it_is_taken(6000);
  one_is_back();
  rig_free(&rig);
}

/* New requests, too, by the word of the one that is well. */
static void
what_comes_while_one_drains_is_answered(void **state) {
  struct rig_request request[KINDS], write;

  trouble_rig_init(2, SF_TOO_FEW_SUSPEND);
  rig_never_late(&rig.volume->config);
  write_well(0);
  write_well(131072);
  failing = 3;
  error_of_all = -ENOTCONN;
  takes_ms[0] = 300;
  submit_all(request);
  rig_pass(&rig, 2300);
  until_it_is_to_be_opened(0, 4000);
  takes_ms[0] = 30000;
  assert_int_equal(rig_reopen(&rig, 0), -EBUSY);
  failing = 1;
  rig_pass(&rig, 300);
  rig_submit(&rig, &write, SF_REQ_WRITE, 131072, 4096, 1);
  rig_pass(&rig, 500);
  assert_true(write.done && write.request.error == 0);
  assert_int_not_equal(rig_state(&rig, 0), SF_STATE_IN_SYNC);
  takes_ms[0] = 1;
  rig_pass(&rig, 1000);
  rig_put(&write);
  put_all(request);
  rig_free(&rig);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(one_whose_errors_take_long_is_opened_again),
      cmocka_unit_test(what_waits_for_one_that_drains_goes_on_elsewhere),
      cmocka_unit_test(one_that_does_not_end_what_it_has_may_be_well_again),
      cmocka_unit_test(one_whose_probes_fail_late_is_opened_again),
      cmocka_unit_test(what_only_waits_is_not_lost),
      cmocka_unit_test(one_that_dies_again_drains_again),
      cmocka_unit_test(one_that_cannot_be_opened_once_drains_again),
      cmocka_unit_test(what_comes_while_one_drains_is_answered),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}

/* A leg that cannot read, where others can: it is mended, counted, told, and at last taken out
 * (medium.c). */
#include "rig.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { BLOCK = 4096, EXTENT = 65536, EXTENTS = 64 };

static struct rig rig;
static unsigned cannot_read; /* legs: bit i */
static int error;
static struct sf_volume_event last[SF_EVENT_KINDS];
static unsigned events[SF_EVENT_KINDS];
static char reason[SF_EVENT_KINDS][256];

static int
fails(const struct rig *r, const struct rig_region *region) {
  return region->op == SF_TIO_READ && region->offset >= SF_DATA_OFFSET &&
                 (cannot_read & 1u << region->leg)
             ? error
             : 0;
}

static void
listen(const struct sf_volume_event *event) {
  last[event->kind] = *event;
  events[event->kind]++;
  snprintf(reason[event->kind], sizeof reason[0], "%s", event->reason ? event->reason : "");
}

static void
setup(unsigned legs, unsigned min_legs) {
  memset(events, 0, sizeof events);
  cannot_read = 0;
  error = -EIO;
  rig_init(&rig, legs, min_legs, EXTENT, EXTENTS);
  rig.fails = fails;
  rig.event = listen;
  rig.holder.since_s = 1; /* the legs are looked at, so each is heard */
  rig_start_fully(&rig);
  rig_touch_extents(&rig, 4, EXTENT);
  rig_pass(&rig, 100);
}

static int
read_at(uint64_t offset) {
  struct rig_request read;
  int r;

  rig_submit(&rig, &read, SF_REQ_READ, offset, BLOCK, 0);
  rig_pass(&rig, 50);
  assert_true(read.done);
  r = read.request.error;
  rig_put(&read);
  return r;
}

/* Reads that leg 0 cannot answer, one after the other: the rig's legs are equally fast, so that it
 * is asked first. */
static void
read_errors(unsigned n) {
  cannot_read = 1;
  for (unsigned i = 0; i < n; i++) {
    uint32_t before = rig.volume->leg[0].medium.errors;

    for (unsigned tries = 0; tries < 50 && rig_state(&rig, 0) == SF_STATE_IN_SYNC &&
                             rig.volume->leg[0].medium.errors == before;
         tries++)
      assert_int_equal(read_at(i % 4 * EXTENT), 0);
  }
  cannot_read = 0;
}

static void
past_the_bound_it_is_faulty(void **state) {
  setup(3, 2);
  read_errors(20);
  rig_pass(&rig, 3000);
  assert_int_equal(rig_state(&rig, 0), SF_STATE_IN_SYNC);
  read_errors(1);
  rig_pass(&rig, 3000);
  assert_int_equal(rig_state(&rig, 0), SF_STATE_FAULTY);
  assert_string_equal(rig.volume->leg[0].reason,
                      "21 read errors within an hour, the last at 0: Input/output error");
  assert_true(rig.volume->durable.faulty & 1);
  /* The operator takes it back, and it begins anew. */
  assert_int_equal(sf_volume_leg_return(rig.volume, 0, rig.now_ns), 0);
  rig_pass(&rig, 3000);
  assert_int_equal(rig_state(&rig, 0), SF_STATE_IN_SYNC);
  read_errors(20);
  rig_pass(&rig, 3000);
  assert_int_equal(rig_state(&rig, 0), SF_STATE_IN_SYNC);
  rig_free(&rig);
}

static void
the_count_halves_each_hour(void **state) {
  setup(2, 1);
  for (unsigned hour = 0; hour < 3; hour++) {
    read_errors(hour == 0 ? 20 : 10);
    for (unsigned minute = 0; minute < 60; minute++)
      rig_pass(&rig, 60000);
    assert_int_equal(rig.volume->leg[0].medium.errors, 10);
  }
  assert_int_equal(rig_state(&rig, 0), SF_STATE_IN_SYNC);
  rig_free(&rig);
}

static void
the_bound_is_a_setting(void **state) {
  struct sf_config config;

  setup(2, 1);
  sf_volume_get_config(rig.volume, &config);
  config.max_read_errors = 0;
  assert_int_equal(sf_volume_configure(rig.volume, &config, rig.now_ns), 0);
  read_errors(30);
  assert_int_equal(rig_state(&rig, 0), SF_STATE_IN_SYNC);
  config.max_read_errors = 35;
  assert_int_equal(sf_volume_configure(rig.volume, &config, rig.now_ns), 0);
  read_errors(6);
  rig_pass(&rig, 10);
  assert_int_equal(rig_state(&rig, 0), SF_STATE_FAULTY);
  rig_free(&rig);
}

/* R2: it is told once, stands in the status, and it leaves when it may. */
static void
one_that_cannot_be_spared_stays(void **state) {
  struct sf_volume_status status;

  setup(2, 2);
  read_errors(40);
  assert_int_equal(rig_state(&rig, 0), SF_STATE_IN_SYNC);
  assert_int_equal(events[SF_EVENT_LEG_TROUBLE], 1);
  assert_string_equal(reason[SF_EVENT_LEG_TROUBLE],
                      "21 read errors within an hour, the last at 0: Input/output error");
  sf_volume_status(rig.volume, rig.now_ns, &status);
  assert_string_equal(status.leg[0].reason,
                      "40 read errors within an hour, the last at 196608: Input/output error");
  assert_int_equal(status.leg[0].repairs, 40);
  rig_free(&rig);
}

/* The other one is no better: both stay. */
static void
both_bad_both_stay(void **state) {
  setup(2, 1);
  cannot_read = 0;
  rig.volume->leg[1].medium.errors = 21;
  rig.volume->leg[1].medium.since_ns = rig.now_ns;
  rig.volume->leg[0].medium.errors = 20;
  rig.volume->leg[0].medium.since_ns = rig.now_ns;
  read_errors(1);
  assert_int_equal(rig_state(&rig, 0), SF_STATE_IN_SYNC);
  assert_int_equal(rig_state(&rig, 1), SF_STATE_IN_SYNC);
  rig_free(&rig);
}

/* A path that is down, or our own want of memory, is no error of the medium. */
static void
what_passes_does_not_count(void **state) {
  setup(2, 1);
  error = -ENOMEM;
  cannot_read = 1;
  for (unsigned i = 0; i < 60; i++)
    assert_int_equal(read_at(i % 4 * EXTENT), 0);
  assert_int_equal(rig.volume->leg[0].medium.errors, 0);
  assert_int_equal(rig_state(&rig, 0), SF_STATE_IN_SYNC);
  rig_free(&rig);
}

static void
repairs_are_told_together(void **state) {
  struct sf_volume_event *told = &last[SF_EVENT_READ_REPAIRED];

  setup(2, 1);
  read_errors(1);
  assert_int_equal(events[SF_EVENT_READ_REPAIRED], 1);
  assert_int_equal(told->leg, 0);
  assert_int_equal(told->offset, 0);
  assert_int_equal(told->length, BLOCK);
  assert_int_equal(told->error, -EIO);
  assert_int_equal(told->count, 1);
  assert_string_equal(reason[SF_EVENT_READ_REPAIRED], "4096 bytes at 0: Input/output error");
  read_errors(3);
  assert_int_equal(events[SF_EVENT_READ_REPAIRED], 1);
  rig_pass(&rig, 11000);
  assert_int_equal(events[SF_EVENT_READ_REPAIRED], 2);
  assert_int_equal(told->count, 3);
  assert_string_equal(reason[SF_EVENT_READ_REPAIRED],
                      "3 more, the last of them 4096 bytes at 131072: Input/output error");
  read_errors(2);
  sf_volume_stop(rig.volume, rig.now_ns);
  rig_pass(&rig, 1000);
  assert_int_equal(events[SF_EVENT_READ_REPAIRED], 3); /* the rest is told before the stop */
  assert_int_equal(events[SF_EVENT_STOPPED], 1);
  rig_free(&rig);
}

static void
a_read_that_fails_to_its_client_is_told(void **state) {
  struct sf_volume_event *told = &last[SF_EVENT_READ_FAILED];

  setup(2, 1);
  cannot_read = 3;
  assert_int_equal(read_at(EXTENT + BLOCK), -EIO);
  assert_int_equal(events[SF_EVENT_READ_FAILED], 1);
  assert_int_equal(told->leg, -1);
  assert_int_equal(told->offset, EXTENT + BLOCK);
  assert_int_equal(told->error, -EIO);
  for (unsigned i = 0; i < 10; i++)
    assert_int_equal(read_at(0), -EIO);
  assert_int_equal(events[SF_EVENT_READ_FAILED], 1);
  rig_pass(&rig, 11000);
  assert_int_equal(events[SF_EVENT_READ_FAILED], 2);
  assert_int_equal(told->count, 10);
  assert_int_equal(rig.volume->leg[0].medium.errors, 0); /* no other leg had it */
  rig_free(&rig);
}

/* Reads avoid it since one was late there: its samples show that it cannot read any more.  One bad
 * block where they are read is written over. */
static bool heals;

static int
fails_samples(const struct rig *r, const struct rig_region *region) {
  if (region->leg != 0 || region->offset != SF_PROBE_OFFSET || error == 0)
    return 0;
  if (region->op == SF_TIO_WRITE && heals)
    error = 0;
  return region->op == SF_TIO_READ ? error : 0;
}

static void
samples_count(void **state) {
  for (unsigned i = 0; i < 2; i++) {
    setup(2, 2);
    heals = i == 0;
    rig.volume->leg[0].avoid = true;
    rig.fails = fails_samples;
    for (unsigned s = 0; s < 60; s++) {
      assert_int_equal(read_at(0), 0);
      rig_pass(&rig, 1000);
    }
    assert_int_equal(events[SF_EVENT_LEG_TROUBLE], heals ? 0 : 1);
    if (heals)
      assert_int_equal(rig.volume->leg[0].medium.errors, 1);
    else
      assert_string_equal(
          reason[SF_EVENT_LEG_TROUBLE],
          "21 read errors within an hour, the last in its head: Input/output error");
    assert_int_equal(rig.volume->leg[0].avoid, !heals);
    rig_free(&rig);
  }
}

/* After a crash both read each extent: what one cannot read is written over too, and none leaves
 * before they are equal. */
static void
convergence_counts_and_spares(void **state) {
  struct rig_request w;

  setup(2, 1);
  for (unsigned i = 0; i < 40; i++) {
    rig_submit(&rig, &w, SF_REQ_WRITE, (uint64_t) i * EXTENT, BLOCK, 1);
    rig_run(&rig);
    rig_put(&w);
  }
  rig_kill(&rig);
  cannot_read = 1;
  rig.fails = fails;
  rig_start(&rig);
  while (rig.volume->unconverged.set > 0 || rig.volume->phase != PHASE_SERVING) {
    assert_int_equal(rig_state(&rig, 0), SF_STATE_IN_SYNC);
    rig_pass(&rig, 1);
  }
  rig_pass(&rig, 3000);
  assert_true(events[SF_EVENT_READ_REPAIRED] > 0);
  assert_int_equal(rig_state(&rig, 0), SF_STATE_FAULTY);
  rig_free(&rig);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(past_the_bound_it_is_faulty),
      cmocka_unit_test(the_count_halves_each_hour),
      cmocka_unit_test(the_bound_is_a_setting),
      cmocka_unit_test(one_that_cannot_be_spared_stays),
      cmocka_unit_test(both_bad_both_stay),
      cmocka_unit_test(what_passes_does_not_count),
      cmocka_unit_test(repairs_are_told_together),
      cmocka_unit_test(a_read_that_fails_to_its_client_is_told),
      cmocka_unit_test(samples_count),
      cmocka_unit_test(convergence_counts_and_spares),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

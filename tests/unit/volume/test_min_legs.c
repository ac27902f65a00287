/* A smaller min_legs in the file: no two sets of legs may start from what a start leaves that
 * adopts it. */
#include "rig.h"

#include <string.h>

static struct rig rig;
static unsigned hung;

static bool
hangs_after_the_claim(const struct rig *r, const struct rig_region *region) {
  return r->volume != NULL && r->volume->phase != PHASE_CLAIMING && (hung >> region->leg & 1);
}

static void
are_absent(unsigned legs) {
  for (unsigned i = 0; i < rig.config.legs; i++)
    rig.absent[i] = legs >> i & 1;
}

/* The number of legs, recorded with a count of three, and then another number in the file. */
static void
made_with_3(unsigned legs, unsigned min_legs) {
  rig_init(&rig, legs, 3, 65536, 64);
  rig_start_fully(&rig);
  rig_kill(&rig);
  rig.config.min_legs = min_legs;
}

static bool
starts_without(unsigned absent) {
  bool may;

  rig.unreadable = 0;
  rig.force = false;
  rig.may_refuse = true;
  rig.holds = NULL;
  are_absent(absent);
  rig_start(&rig);
  may = !rig.refused;
  if (may)
    rig_kill(&rig);
  return may;
}

/* c, d and e of five start, and e misses the first record. */
static void
a_smaller_set_and_count_are_two_records(void **state) {
  made_with_3(5, 2);
  are_absent(0x03);
  hung = 0x10;
  rig.holds = hangs_after_the_claim;
  rig_start(&rig);
  rig_run(&rig);
  rig_kill(&rig);
  assert_false(starts_without(0x13) && starts_without(0x0c));
  rig_free(&rig);
}

/* Hung legs are left out by the count that the others know, or not at all. */
static void
what_is_answered_stands(unsigned absent, unsigned absent_then) {
  struct rig_request write;
  bool answered;

  are_absent(absent);
  rig.holds = hangs_after_the_claim;
  rig_start(&rig);
  rig_pass(&rig, 3000);
  rig_submit(&rig, &write, SF_REQ_WRITE, 0, 4096, 7);
  rig_pass(&rig, 1000);
  answered = write.done && write.request.error == 0;
  rig_kill(&rig);
  hung = 0;
  assert_false(answered && starts_without(absent_then));
  rig_put(&write);
  rig_free(&rig);
}

/* A copy of f's superblocks cannot be read, so that f is set aside and copied whole; then c, d and
 * e hang. */
static void
a_start_that_sets_a_leg_aside(void **state) {
  made_with_3(6, 2);
  rig.unreadable = 1 << 5;
  hung = 0x1c;
  what_is_answered_stands(0, 0x23);
}

/* a, b and c are started by force, and b and c hang. */
static void
a_start_by_force(void **state) {
  made_with_3(6, 1);
  rig.force = true;
  hung = 0x06;
  what_is_answered_stands(0x38, 0x21);
}

static void
is_adopted(unsigned absent, bool force, unsigned min_legs) {
  uint64_t change;

  made_with_3(6, min_legs);
  rig.force = force;
  are_absent(absent);
  rig_start_fully(&rig);
  rig_pass(&rig, 100);
  assert_int_equal(rig.volume->min_legs, min_legs);
  assert_int_equal(rig.volume->durable.min_legs, min_legs);
  change = rig.volume->latest.change;
  rig_pass(&rig, 20000);
  assert_int_equal(rig.volume->latest.change, change);
  rig_free(&rig);
}

static void
the_number_in_the_file_is_adopted(void **state) {
  is_adopted(0, false, 1);
  is_adopted(0x30, false, 1);
  is_adopted(0x3e, true, 1);
  is_adopted(0x3c, true, 2);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_smaller_set_and_count_are_two_records),
      cmocka_unit_test(a_start_that_sets_a_leg_aside),
      cmocka_unit_test(a_start_by_force),
      cmocka_unit_test(the_number_in_the_file_is_adopted),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

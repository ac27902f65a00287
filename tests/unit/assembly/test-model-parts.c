/* Each part of R12 is needed: without it a counterexample is found. */
#include "model.h"

/* ---- the tests ---- */

static void
expect_counterexample(enum mutant mutant, unsigned legs, unsigned min_legs) {
  struct model m = {
      .legs = legs, .min_legs = min_legs, .terms_max = 3, .changes_max = 3, .mutant = mutant};
  uint32_t states;
  const char *wrong = explore(&m, STATES_MAX, &states);
  print_message("found in %u states\n", states);
  assert_non_null(wrong);
}

/* Two starts that know nothing of each other take the same number. */
static void
fails_without_the_claim(void **state) {
  expect_counterexample(NO_CLAIM, 3, 2);
}

/* A claim without the record that it rests on denies a record that the claimant went on from. */
static void
fails_without_the_copy(void **state) {
  expect_counterexample(NO_COPY, 3, 1);
}

/* A record that never was durable comes back and rules over the later start. */
static void
fails_without_doubt(void **state) {
  expect_counterexample(NO_DOUBT, 4, 2);
}

/* The rule of change that is most easily forgotten. */
static void
fails_when_a_promotion_is_not_undone(void **state) {
  expect_counterexample(NO_UNDO, 3, 1);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(fails_without_the_claim),
      cmocka_unit_test(fails_without_the_copy),
      cmocka_unit_test(fails_without_doubt),
      cmocka_unit_test(fails_when_a_promotion_is_not_undone),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

/* R12 never trusts a leg that lacks an acknowledged write, whichever legs are there and wherever
 * the process was killed. */
#include "model.h"

/* ---- random walks ---- */

static const char *
walk(const struct model *m, uint64_t seed, unsigned steps) {
  struct chooser chooser = {.random = true, .seed = seed * 0x9e3779b97f4a7c15u + 1};
  struct state s;
  first_state(m, &s);
  for (unsigned i = 0; i < steps; i++) {
    struct state next = s;
    if (!step(m, &next, &chooser))
      continue;
    s = next;
    const char *wrong = check(m, &s);
    if (wrong) {
      print_message("  seed %llu: %s:\n    ", (unsigned long long) seed, wrong);
      print_state(m, &s);
      return wrong;
    }
  }
  return NULL;
}

/* ---- the tests ---- */

static void
expect_none(unsigned legs, unsigned min_legs, unsigned terms_max, unsigned changes_max,
            uint32_t states_max) {
  struct model m = {legs, min_legs, terms_max, changes_max, RIGHT, false, ANY_ORDER};
  uint32_t states;
  const char *wrong = explore(&m, states_max, &states);
  print_message("%u legs, min_legs %u: %u states%s\n", legs, min_legs, states,
                states == states_max ? " (cut)" : "");
  assert_null(wrong);
}

/* Whole up to the bounds. */
static void
two_and_three_legs(void **state) {
  for (unsigned min_legs = 1; min_legs <= 2; min_legs++)
    expect_none(2, min_legs, 5, 4, STATES_MAX);
  for (unsigned min_legs = 1; min_legs <= 3; min_legs++)
    expect_none(3, min_legs, 3, 3, STATES_MAX);
}

/* A bad block in a superblock: what stood there may have been the newest record, or not. */
static void
unreadable_copies(void **state) {
  for (unsigned legs = 2; legs <= 3; legs++)
    for (unsigned min_legs = 1; min_legs <= legs; min_legs++) {
      struct model m = {legs, min_legs, 4, 3, RIGHT, true, ANY_ORDER};
      uint32_t states;
      const char *wrong = explore(&m, 30000, &states);
      print_message("%u legs, min_legs %u: %u states\n", legs, min_legs, states);
      assert_null(wrong);
    }
}

/* Cut where the time would get long. */
static void
four_legs(void **state) {
  expect_none(4, 1, 3, 2, 40000);
  expect_none(4, 2, 3, 3, 50000);
  expect_none(4, 3, 3, 3, 40000);
}

/* Far beyond the bounds of the searches above. */
static void
long_walks(void **state) {
  for (unsigned legs = 3; legs <= LEGS_MAX; legs++)
    for (unsigned min_legs = 1; min_legs < legs; min_legs++) {
      struct model m = {legs, min_legs, 250, 250, RIGHT, false, ANY_ORDER};
      prepare(&m);
      for (uint64_t seed = 1; seed <= 100; seed++)
        assert_null(walk(&m, seed, 300));
    }
}

/* A leg with a claim above our term throws doubt on its own promotion, unless it is the first to
 * hold the record: each of the two rules is enough, and neither is left out. */
static void
newer_claims(void **state) {
  struct model m = {3, 1, 4, 3, NO_REFUSAL, false, ANY_ORDER};
  uint32_t states;
  assert_non_null(explore(&m, STATES_MAX, &states));
  print_message("found in %u states\n", states);
  m.order = NEWCOMER_FIRST;
  assert_null(explore(&m, STATES_MAX, &states));
  print_message("with the newcomer first none in %u states\n", states);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(newer_claims),      cmocka_unit_test(two_and_three_legs),
      cmocka_unit_test(unreadable_copies), cmocka_unit_test(four_legs),
      cmocka_unit_test(long_walks),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

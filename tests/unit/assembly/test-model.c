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
  struct model m = {
      .legs = legs, .min_legs = min_legs, .terms_max = terms_max, .changes_max = changes_max};
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
      struct model m = {
          .legs = legs, .min_legs = min_legs, .terms_max = 4, .changes_max = 3, .unreadable = true};
      uint32_t states;
      const char *wrong = explore(&m, 30000, &states);
      print_message("%u legs, min_legs %u: %u states\n", legs, min_legs, states);
      assert_null(wrong);
    }
}

/* A set shrinks, or a promotion is undone, and the record is on its way to some when the process is
 * killed.  A start that does not see it goes on without a leg that it has claimed, and the claim is
 * what cannot be read.  No start is refused for that where it cannot be. */
static void
hidden_claims(void **state) {
  static const struct {
    unsigned min_legs, durable, want, first_changes_max;
    bool can_be;
  } from[] = {{2, 15, 12, 3, true},  {1, 15, 8, 3, false}, {3, 15, 14, 3, false},
              {2, 15, 15, 3, false}, {2, 7, 3, 3, false},  {2, 7, 15, 4, true}};
  for (size_t i = 0; i < sizeof from / sizeof *from; i++) {
    static struct refusals refused;
    struct model m = {.legs = 4,
                      .min_legs = from[i].min_legs,
                      .terms_max = 2,
                      .changes_max = 2,
                      .unreadable = true,
                      .order = NEWCOMER_FIRST,
                      .durable = from[i].durable,
                      .want = from[i].want,
                      .first_changes_max = from[i].first_changes_max,
                      .refused = &refused};
    uint32_t states;
    unsigned needless = 0;
    memset(&refused, 0, sizeof refused);
    const char *wrong = explore(&m, STATES_MAX, &states);
    for (unsigned at = 0; at < refused.n; at++)
      needless += !refused.at[at].is_due;
    print_message("4 legs, min_legs %u, %x to %x: %u states, %u refused, %u of these for nothing\n",
                  m.min_legs, m.durable, m.want, states, refused.n, needless);
    assert_null(wrong);
    assert_true(states < STATES_MAX);
    assert_int_equal(needless, 0);
    assert_int_equal(refused.n > 0, from[i].can_be);
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
      struct model m = {.legs = legs, .min_legs = min_legs, .terms_max = 250, .changes_max = 250};
      prepare(&m);
      for (uint64_t seed = 1; seed <= 100; seed++)
        assert_null(walk(&m, seed, 300));
    }
}

/* A leg with a claim above our term throws doubt on its own promotion, unless it is the first to
 * hold the record: each of the two rules is enough, and neither is left out. */
static void
newer_claims(void **state) {
  struct model m = {
      .legs = 3, .min_legs = 1, .terms_max = 4, .changes_max = 3, .mutant = NO_REFUSAL};
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
      cmocka_unit_test(unreadable_copies), cmocka_unit_test(hidden_claims),
      cmocka_unit_test(four_legs),         cmocka_unit_test(long_walks),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

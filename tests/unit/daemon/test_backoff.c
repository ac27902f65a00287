#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/backoff.h"

#define SECOND UINT64_C(1000000)

/* Proves that the first failure is tried again at once, and later ones ever later up to a limit. */
static void
growth(void **state) {
  struct backoff backoff = {0};
  const uint64_t wanted[] = {0,          SECOND / 2,  SECOND,      2 * SECOND, 4 * SECOND,
                             8 * SECOND, 16 * SECOND, 30 * SECOND, 30 * SECOND};
  for (unsigned i = 0; i < sizeof wanted / sizeof *wanted; i++)
    assert_int_equal(sfd_backoff_failed(&backoff, 1000 * SECOND), wanted[i]);
  for (unsigned i = 0; i < 1000; i++)
    assert_int_equal(sfd_backoff_failed(&backoff, 1000 * SECOND), 30 * SECOND);
}

/* Proves that a server that was well is tried again at once, but not without end: a server that
 * dies every few seconds is not started in a tight loop. */
static void
killed_again_and_again(void **state) {
  struct backoff backoff = {0};
  uint64_t now = SECOND;
  for (unsigned i = 0; i < BACKOFF_AT_ONCE; i++) {
    sfd_backoff_well(&backoff, now += SECOND);
    assert_int_equal(sfd_backoff_failed(&backoff, now += 4 * SECOND), 0);
  }
  for (unsigned i = 0; i < 3; i++) {
    sfd_backoff_well(&backoff, now += SECOND);
    assert_int_equal(sfd_backoff_failed(&backoff, now += 59 * SECOND), (SECOND / 2) << i);
  }
}

/* Proves that a start that fails waits ever longer, also after it was well once. */
static void
fails_after_it_was_well(void **state) {
  struct backoff backoff = {0};
  for (unsigned i = 0; i < 5; i++)
    sfd_backoff_failed(&backoff, SECOND);
  sfd_backoff_well(&backoff, SECOND);
  assert_int_equal(sfd_backoff_failed(&backoff, 2 * SECOND), 0);
  assert_int_equal(sfd_backoff_failed(&backoff, 2 * SECOND), SECOND / 2);
  assert_int_equal(sfd_backoff_failed(&backoff, 2 * SECOND), SECOND);
}

/* Proves that a minute of being well ends the growth. */
static void
wellness(void **state) {
  struct backoff backoff = {0};
  uint64_t now = SECOND;
  for (unsigned i = 0; i < 3 * BACKOFF_AT_ONCE; i++) {
    sfd_backoff_well(&backoff, now);
    sfd_backoff_failed(&backoff, now);
  }
  sfd_backoff_well(&backoff, now);
  sfd_backoff_well(&backoff, now + 50 * SECOND); /* said again: since the first time */
  assert_int_equal(sfd_backoff_failed(&backoff, now + 60 * SECOND), 0);
  assert_int_equal(sfd_backoff_failed(&backoff, now + 60 * SECOND), SECOND / 2);
  for (unsigned i = 0; i < BACKOFF_AT_ONCE; i++) {
    sfd_backoff_well(&backoff, now);
    assert_int_equal(sfd_backoff_failed(&backoff, now), 0);
  }
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(growth),
      cmocka_unit_test(killed_again_and_again),
      cmocka_unit_test(fails_after_it_was_well),
      cmocka_unit_test(wellness),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Proves that a word of a list is told from a part of one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/text.h"

static void
a_word_is_whole(void **state) {
  assert_true(sf_text_lists("a", "a"));
  assert_true(sf_text_lists("a,bb,c", "a"));
  assert_true(sf_text_lists("a,bb,c", "bb"));
  assert_true(sf_text_lists("a,bb,c", "c"));
  assert_false(sf_text_lists("a,bb,c", "b"));
  assert_false(sf_text_lists("a,bb,c", "bbc"));
  assert_false(sf_text_lists("a,bb,c", "d"));
  assert_false(sf_text_lists("", "a"));
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_word_is_whole),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

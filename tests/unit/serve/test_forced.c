/* Which legs a start by force looks at when the operator names them. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "serve/internal.h"

static struct sf_config listed, config;
static char error[SF_CONFIG_ERROR_MAX];

/* A file with legs a, ab and b. */
static int
set_up(void **state) {
  static const char *const names[] = {"a", "ab", "b"};

  memset(&listed, 0, sizeof listed);
  for (unsigned i = 0; i < 3; i++) {
    snprintf(listed.leg[i].name, sizeof listed.leg[i].name, "%s", names[i]);
    snprintf(listed.leg[i].path, sizeof listed.leg[i].path, "/dev/%s", names[i]);
  }
  listed.legs = 3;
  config = listed;
  error[0] = '\0';
  return 0;
}

static void
expect_paths(const char *a, const char *ab, const char *b) {
  assert_string_equal(config.leg[0].path, a);
  assert_string_equal(config.leg[1].path, ab);
  assert_string_equal(config.leg[2].path, b);
}

/* Proves that the other legs are not opened, whatever part of a name they share. */
static void
others_are_not_opened(void **state) {
  assert_int_equal(sf_serve_forced_choose(&config, "ab", error), 0);
  expect_paths("", "/dev/ab", "");
  config = listed;
  assert_int_equal(sf_serve_forced_choose(&config, "b,a", error), 0);
  expect_paths("/dev/a", "", "/dev/b");
}

/* Proves that what is no leg of the file, or is named twice, is refused, and nothing starts with
 * fewer legs than were meant. */
static void
names_that_are_wrong(void **state) {
  static const char *const wrong[] = {"c", "a,c", "a,a", "a,", ",a", "ab,b,a,ab", ""};

  for (unsigned i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
    config = listed;
    assert_int_equal(sf_serve_forced_choose(&config, wrong[i], error), -EINVAL);
    assert_non_null(strstr(error, "force_with="));
  }
}

/* Proves that a leg that is named and not one to start from is missed, and others are not. */
static void
each_must_be_there(void **state) {
  struct sf_assembly assembly = {.current = 1u << 0};

  assert_int_equal(sf_serve_forced_lacks(&config, "a", &assembly), 0);
  assert_int_equal(sf_serve_forced_lacks(&config, "b,a", &assembly), 1u << 2);
  assembly.current = 0;
  assert_int_equal(sf_serve_forced_lacks(&config, "a,ab", &assembly), 1u << 0 | 1u << 1);
}

/* Proves that legs that were left out are looked for again by their paths while it serves, in
 * whatever places they are, and that one that the file does not list is not. */
static void
paths_come_back(void **state) {
  assert_int_equal(sf_serve_forced_choose(&config, "b", error), 0);
  memset(config.leg, 0, sizeof config.leg);
  config.legs = 4;
  strcpy(config.leg[0].name, "b");
  strcpy(config.leg[0].path, "/dev/b");
  strcpy(config.leg[1].name, "a");
  strcpy(config.leg[3].name, "unlisted");
  sf_serve_forced_put_back(&config, &listed);
  expect_paths("/dev/b", "/dev/a", "");
  assert_string_equal(config.leg[3].path, "");
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(others_are_not_opened, set_up),
      cmocka_unit_test_setup(names_that_are_wrong, set_up),
      cmocka_unit_test_setup(each_must_be_there, set_up),
      cmocka_unit_test_setup(paths_come_back, set_up),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Proves what the plugin makes of its command line: parameters win over the file wherever they
 * stand, paths become absolute, and each mistake is one clear sentence.
 * Links the plugin's own file with stubs of nbdkit, and reads a real file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "params.h"
#include "stubs.h"

#define MS UINT64_C(1000000)

static char file[] = "/tmp/surefoot-params-XXXXXX";
static struct sf_params params;
static struct sf_config config;

static void
write_file(const char *text) {
  FILE *f = fopen(file, "w");
  assert_non_null(f);
  assert_true(fputs(text, f) >= 0);
  assert_int_equal(fclose(f), 0);
}

static int
make_file(void **state) {
  int fd = mkstemp(file);
  return fd == -1 ? -1 : close(fd);
}

static int
remove_file(void **state) {
  return unlink(file);
}

static int
start_afresh(void **state) {
  memset(&params, 0, sizeof params);
  memset(&config, 0, sizeof config);
  stub_error[0] = '\0';
  write_file("[volume]\n"
             "name = vol0\n"
             "control = run/vol0.ctl\n"
             "write_deadline = 100ms\n"
             "[leg a]\n"
             "path = a.img\n"
             "[leg b]\n"
             "path = /dev/b\n");
  return 0;
}

static int
end(void **state) {
  sf_params_free(&params);
  return 0;
}

static void
parameters_win_over_the_file_in_any_order(void **state) {
  assert_int_equal(sf_params_add(&params, "write_deadline", "50ms"), 0);
  assert_int_equal(sf_params_add(&params, "config", file), 0);
  assert_int_equal(sf_params_add(&params, "leg.a.write_timeout", "20ms"), 0);
  assert_int_equal(sf_params_finish(&params, &config), 0);
  assert_int_equal(config.deadline_ns[SF_WRITE_KIND], 50 * MS);
  assert_int_equal(config.leg[0].timeout_ns[SF_WRITE_KIND], 20 * MS);
  assert_int_equal(config.min_legs, 1);
  assert_false(params.force);
}

static void
paths_become_absolute(void **state) {
  assert_int_equal(sf_params_add(&params, "config", file), 0);
  assert_int_equal(sf_params_add(&params, "leg.b.path", "b.img"), 0);
  assert_int_equal(sf_params_finish(&params, &config), 0);
  assert_string_equal(config.leg[0].path, "/tmp/a.img");            /* from the file's folder */
  assert_string_equal(config.leg[1].path, "/working folder/b.img"); /* from the command's */
  assert_string_equal(config.control, "/tmp/run/vol0.ctl");
}

static void
a_path_that_grows_too_long_is_refused(void **state) {
  char control[SF_CONTROL_PATH_MAX];
  memset(control, 'x', sizeof control - 1);
  control[sizeof control - 1] = '\0';
  assert_int_equal(sf_params_add(&params, "config", file), 0);
  assert_int_equal(sf_params_add(&params, "control", control), 0);
  assert_int_equal(sf_params_finish(&params, &config), -1);
  assert_non_null(strstr(stub_error, "parameter control"));
}

static void
force_is_asked_for_by_name(void **state) {
  assert_int_equal(sf_params_add(&params, "force", "maybe"), -1);
  assert_non_null(strstr(stub_error, "maybe"));
  assert_int_equal(sf_params_add(&params, "force", "true"), 0);
  assert_true(params.force);
  assert_int_equal(sf_params_add(&params, "force", "false"), -1);
  assert_string_equal(stub_error, "force: given twice");
}

static void
nothing_is_given_twice(void **state) {
  assert_int_equal(sf_params_add(&params, "config", file), 0);
  assert_int_equal(sf_params_add(&params, "config", file), -1);
  assert_non_null(strstr(stub_error, "config: given twice"));
  assert_int_equal(sf_params_add(&params, "min_legs", "1"), 0);
  assert_int_equal(sf_params_add(&params, "min_legs", "2"), -1);
  assert_string_equal(stub_error, "min_legs: given twice");
}

static void
there_is_an_end_to_them(void **state) {
  static char key[SF_PARAMS_MAX + 1][16];
  for (unsigned i = 0; i < SF_PARAMS_MAX; i++) {
    snprintf(key[i], sizeof key[i], "key%u", i);
    assert_int_equal(sf_params_add(&params, key[i], "1"), 0);
  }
  assert_int_equal(sf_params_add(&params, "one_more", "1"), -1);
}

static void
mistakes_are_named(void **state) {
  static const struct {
    const char *key, *value, *said;
  } rows[] = {
      {"write_dedline", "50ms", "write_dedline"},
      {"write_deadline", "50", "parameter write_deadline: \"50\" has no unit"},
      {"leg.z.write_timeout", "50ms", "there is no leg \"z\""},
      {"min_legs", "3", "min_legs"},
      {"leg.a.path", "/dev/b", "/dev/b"},
      {"on_too_few", "panic", "on_too_few"},
      {"control", "", "parameter control"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    memset(&params, 0, sizeof params);
    assert_int_equal(sf_params_add(&params, "config", file), 0);
    assert_int_equal(sf_params_add(&params, rows[i].key, rows[i].value), 0);
    assert_int_equal(sf_params_finish(&params, &config), -1);
    if (!strstr(stub_error, rows[i].said))
      fail_msg("%s=%s said: %s", rows[i].key, rows[i].value, stub_error);
    sf_params_free(&params);
  }
}

static void
legs_to_force_with_are_named_once(void **state) {
  assert_int_equal(sf_params_add(&params, "force_with", ""), -1);
  assert_int_equal(sf_params_add(&params, "force_with", "a,b"), 0);
  assert_string_equal(params.force_with, "a,b");
  assert_int_equal(sf_params_add(&params, "force_with", "a"), -1);
  assert_string_equal(stub_error, "force_with: given twice");
}

static void
a_volume_is_needed(void **state) {
  assert_int_equal(sf_params_finish(&params, &config), -1);
  assert_string_equal(stub_error, "which volume?  Give its file: nbdkit surefoot CONF");
  assert_int_equal(sf_params_add(&params, "config", ""), -1);
  assert_int_equal(sf_params_add(&params, "config", "/nonexistent/vol0.conf"), 0);
  assert_int_equal(sf_params_finish(&params, &config), -1);
  assert_non_null(strstr(stub_error, "/nonexistent/vol0.conf"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start_afresh, end)

int
main(void) {
  const struct CMUnitTest tests[] = {
      TEST(parameters_win_over_the_file_in_any_order),
      TEST(paths_become_absolute),
      TEST(a_path_that_grows_too_long_is_refused),
      TEST(force_is_asked_for_by_name),
      TEST(legs_to_force_with_are_named_once),
      TEST(nothing_is_given_twice),
      TEST(there_is_an_end_to_them),
      TEST(mistakes_are_named),
      TEST(a_volume_is_needed),
  };
  return cmocka_run_group_tests(tests, make_file, remove_file);
}

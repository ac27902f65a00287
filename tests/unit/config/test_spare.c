/* [spare X] sections are read, refused and written as other sections are; and a file is edited line
 * by line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <surefoot/config.h>

#define VOLUME "[volume]\nname = v\n[leg a]\npath = /a\n"
#define SPARE  "[spare s]\npath = /s\n"

static char folder[] = "/tmp/test-spare-XXXXXX";

static int
set_up(void **state) {
  return mkdtemp(folder) && chdir(folder) == 0 ? 0 : -1;
}

static int
tear_down(void **state) {
  unlink("c.conf");
  unlink("c.conf.old");
  return chdir("/") == 0 ? rmdir(folder) : -1;
}

static void
put(const char *text) {
  FILE *f = fopen("c.conf", "we");
  assert_non_null(f);
  assert_true(fputs(text, f) >= 0);
  assert_int_equal(fclose(f), 0);
}

static void
expect_text(const char *wanted) {
  char text[1024] = "";
  FILE *f = fopen("c.conf", "re");
  assert_non_null(f);
  text[fread(text, 1, sizeof text - 1, f)] = '\0';
  fclose(f);
  assert_string_equal(text, wanted);
}

static void
spares_are_read_and_written(void **state) {
  static struct sf_config config, back;
  char error[SF_CONFIG_ERROR_MAX] = "", *text;
  size_t len;
  put("[volume]\nname = v\nspare_after = 5m\n[leg a]\npath = /a\n[spare s]\npath = /s\n"
      "shared = yes\n[spare t]\npath = /a\ninstead_of = /old\nshared = no\n");
  assert_int_equal(sf_config_load(&config, "c.conf", error), 0);
  assert_int_equal(sf_config_write(&config, &text, &len, error), 0);
  put(text);
  free(text);
  assert_int_equal(sf_config_load(&back, "c.conf", error), 0);
  assert_int_equal(back.spares, 2);
  assert_int_equal(back.spare_after_ns, UINT64_C(300000000000));
  assert_int_equal(sf_config_find_spare(&back, "t"), 1);
  assert_int_equal(sf_config_find_spare(&back, "u"), -1);
  assert_string_equal(back.spare[0].path, "/s");
  assert_true(back.spare[0].shared);
  assert_string_equal(back.spare[1].path, "/a"); /* it is in use */
  assert_string_equal(back.spare[1].instead_of, "/old");
  assert_false(back.spare[1].shared);
}

static void
mistakes_are_named(void **state) {
  static const char *const bad[][2] = {
      {VOLUME "[spare s]\n", "c.conf: [spare s] path: is missing"},
      {VOLUME SPARE "[spare t]\npath = /s\n", "c.conf: [spare t] path: \"/s\" is spare s already"},
      {VOLUME SPARE "path = /t\n", "c.conf:7: [spare s] path: is set already"},
      {VOLUME SPARE "shared = no\nshared = no\n", "c.conf:8: [spare s] shared: is set already"},
      {VOLUME SPARE "shared = maybe\n",
       "c.conf:7: [spare s] shared: \"maybe\" is neither no nor yes"},
      {VOLUME SPARE "write_timeout = 1s\n",
       "c.conf:7: [spare s] write_timeout: unknown key; known are path shared instead_of"},
      {VOLUME SPARE SPARE, "c.conf:7: [spare s] is there already, in line 5"},
      {VOLUME "[spare a/b]\n", "c.conf:5: \"a/b\" cannot name a spare: 1 to 31 of A-Z a-z 0-9 _ -"},
      {VOLUME "[spare s]\npath =\n", "c.conf:6: [spare s] path: has no value"},
  };
  static struct sf_config config;
  char error[SF_CONFIG_ERROR_MAX];
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    put(bad[i][0]);
    assert_int_not_equal(sf_config_load(&config, "c.conf", error), 0);
    assert_string_equal(error, bad[i][1]);
  }
}

static void
lines_are_changed(void **state) {
  const struct sf_config_edit used[] = {{"leg a", "path", "/s"}, {"spare s", "instead_of", "/a"}};
  const struct sf_config_edit returned[] = {{"leg a", "path", "/a"},
                                            {"spare s", "instead_of", NULL}};
  const struct sf_config_edit more = {"leg b", "path", "/b"}, less = {"leg b", NULL, NULL};
  char error[SF_CONFIG_ERROR_MAX];
  put("# top\n" VOLUME "\n" SPARE "; said\n\n# end");
  assert_int_equal(sf_config_edit("c.conf", used, 2, error), 0);
  expect_text("# top\n[volume]\nname = v\n[leg a]\npath = /s\n\n" SPARE
              "; said\n\n# end\ninstead_of = /a\n");
  assert_int_equal(sf_config_edit("c.conf", returned, 2, error), 0);
  expect_text("# top\n" VOLUME "\n" SPARE "; said\n\n# end\n");
  assert_int_equal(sf_config_edit("c.conf", &more, 1, error), 0);
  expect_text("# top\n" VOLUME "\n" SPARE "; said\n\n# end\n\n[leg b]\npath = /b\n");
  assert_int_equal(sf_config_edit("c.conf", &less, 1, error), 0);
  expect_text("# top\n" VOLUME "\n" SPARE "; said\n\n# end\n\n");
}

/* What would be no volume's file stays as it was, and nothing is left behind. */
static void
a_file_is_not_made_wrong(void **state) {
  const struct sf_config_edit wrong = {"leg a", NULL, NULL};
  char error[SF_CONFIG_ERROR_MAX];
  put(VOLUME);
  assert_int_not_equal(sf_config_edit("c.conf", &wrong, 1, error), 0);
  assert_non_null(strstr(error, "c.conf is not changed: it would be wrong: "));
  expect_text(VOLUME);
  assert_int_not_equal(access("c.conf.new", F_OK), 0);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(spares_are_read_and_written),
      cmocka_unit_test(mistakes_are_named),
      cmocka_unit_test(lines_are_changed),
      cmocka_unit_test(a_file_is_not_made_wrong),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}

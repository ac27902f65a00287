#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "config/keys.h"
#include "files/changed_legs.h"

#define HEAD  "[volume]\nname = v\nmin_legs = 1\n"
#define LEG_A "[leg a]\npath = /a\n"
#define LEG_B "[leg  b] ; the second\npath = /b\nwrite_timeout = 20ms\n; its end\n"
#define LEG_C "[leg c]\npath = /c"

static struct plan_volume *
make(const char *text) {
  char error[SF_CONFIG_ERROR_MAX];
  struct plan_volume *plan = calloc(1, sizeof *plan);
  sf_config_init(&plan->config);
  if (sf_config_parse(&plan->config, "x", text, strlen(text), error) < 0)
    fail_msg("%s", error);
  return plan;
}

static bool
note_difference(void *ctx, const char *key, const char *from, const char *to) {
  fail_msg("%s: %s instead of %s", key, to, from);
  return false;
}

/* The file that the next server reads says the same, and lists these legs. */
static void
expect_told(const struct plan_volume *plan, const char *legs) {
  char error[SF_CONFIG_ERROR_MAX], list[200] = "", *text;
  size_t len;
  struct sf_config *said = malloc(sizeof *said);
  sf_config_init(said);
  if (sf_config_write(&plan->config, &text, &len, error) < 0 ||
      sf_config_parse(said, "x", text, len, error) < 0)
    fail_msg("%s", error);
  assert_int_equal(sf_config_diff(&plan->config, said, note_difference, NULL), 0);
  for (unsigned i = 0; i < said->legs; i++)
    snprintf(list + strlen(list), 40, "%s:%s ", said->leg[i].name, said->leg[i].path);
  assert_string_equal(list, legs);
  int b = sf_config_find_leg(said, "b");
  assert_int_equal(said->leg[b].timeout_ns[SF_WRITE_KIND], 20000000);
  free(text);
  free(said);
}

/* Proves that the next server is told of legs that were replaced, added and removed, whatever
 * became of their old disks, and that a leg's other settings outlive it. */
static void
what_is_told(void **state) {
  struct changed_legs kept = {0};
  struct plan_volume *plan = make(HEAD LEG_A LEG_B LEG_C);
  assert_int_equal(sfd_changed_legs_note(&kept, plan, "b", "/new b"), 0);
  expect_told(plan, "a:/a b:/new b c:/c ");
  assert_int_equal(sfd_changed_legs_note(&kept, plan, "d", "/b"), 0);
  expect_told(plan, "a:/a b:/new b c:/c d:/b ");
  assert_int_equal(sfd_changed_legs_note(&kept, plan, "a", ""), 0);
  expect_told(plan, "b:/new b c:/c d:/b ");
  assert_int_equal(kept.count, 3);
  /* Gone as it came: nothing is left to tell. */
  assert_int_equal(sfd_changed_legs_note(&kept, plan, "d", ""), 0);
  assert_int_equal(kept.count, 2);
  assert_int_equal(sfd_changed_legs_note(&kept, plan, "b", "/b"), 0);
  assert_int_equal(sfd_changed_legs_note(&kept, plan, "a", "/a"), 0);
  assert_int_equal(kept.count, 0);
  expect_told(plan, "b:/b c:/c a:/a ");
  free(plan);
}

/* Proves that a path that no file could say changes nothing. */
static void
impossible(void **state) {
  struct changed_legs kept = {0};
  struct plan_volume *plan = make(HEAD LEG_A LEG_B);
  static char longest[PATH_MAX + 1] = "/";
  memset(longest + 1, 'x', sizeof longest - 2);
  const char *paths[] = {"/a ;b", "/a #b", "/a\nb", "/a ", longest};
  for (unsigned i = 0; i < sizeof paths / sizeof *paths; i++) {
    assert_int_equal(sfd_changed_legs_note(&kept, plan, "b", paths[i]), -EINVAL);
    assert_int_equal(sfd_changed_legs_note(&kept, plan, "d", paths[i]), -EINVAL);
  }
  assert_int_equal(kept.count, 0);
  expect_told(plan, "a:/a b:/b ");
  longest[PATH_MAX - 1] = '\0'; /* and this is the longest that is one */
  assert_int_equal(sfd_changed_legs_note(&kept, plan, "a", longest), 0);
  assert_string_equal(sfd_plan_leg_path(plan, "a"), longest);
  sfd_changed_legs_clear(&kept);
  free(plan);
}

static void
note_behind(void *ctx, const struct changed_leg *leg) {
  char *text = ctx;
  snprintf(text + strlen(text), 100, "%s:%s>%s ", leg->name, leg->in_file, leg->now);
}

static void
read_again(struct changed_legs *kept, const char *text, const char *behind, const char *legs,
           unsigned left) {
  char told[400] = "";
  struct plan_volume *plan = make(text), *copy = sfd_plan_volume_copy(plan);
  assert_int_equal(sfd_changed_legs_apply(kept, copy, note_behind, told), 0);
  assert_string_equal(told, behind);
  free(copy);
  sfd_changed_legs_settle(kept, plan);
  assert_int_equal(kept->count, left);
  assert_int_equal(sfd_changed_legs_apply(kept, plan, NULL, NULL), 0);
  char list[200] = "";
  for (unsigned i = 0; i < plan->config.legs; i++)
    snprintf(list + strlen(list), 40, "%s:%s ", plan->config.leg[i].name, plan->config.leg[i].path);
  assert_string_equal(list, legs);
  free(plan);
}

/* Proves that a file that lags behind does not bring the old disks back, and that what it says anew
 * wins. */
static void
file_read_again(void **state) {
  struct changed_legs kept = {0};
  struct plan_volume *plan = make(HEAD LEG_A LEG_B LEG_C);
  sfd_changed_legs_note(&kept, plan, "b", "/b2");
  sfd_changed_legs_note(&kept, plan, "d", "/d");
  sfd_changed_legs_note(&kept, plan, "c", "");
  for (int i = 0; i < 2; i++)
    read_again(&kept, HEAD LEG_A LEG_B LEG_C, "b:/b>/b2 d:>/d c:/c> ", "a:/a b:/b2 d:/d ", 3);
  read_again(&kept, HEAD LEG_A LEG_B "[leg d]\npath = /d\n" LEG_C, "b:/b>/b2 c:/c> ",
             "a:/a b:/b2 d:/d ", 2);
  read_again(&kept, HEAD LEG_A LEG_B "[leg d]\npath = /d\n", "b:/b>/b2 ", "a:/a b:/b2 d:/d ", 1);
  read_again(&kept, HEAD LEG_A "[leg b]\npath = /other\n", "", "a:/a b:/other ", 0);
  free(plan);
}

/* Proves that a file that was edited first, and read, is not taken for a file that lags behind. */
static void
file_first(void **state) {
  struct changed_legs kept = {0};
  struct plan_volume *plan = make(HEAD LEG_A "[leg b]\npath = /b2\n" LEG_C);
  assert_int_equal(sfd_changed_legs_note(&kept, plan, "b", "/b2"), 0);
  assert_int_equal(kept.count, 0);
  free(plan);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_is_told),
      cmocka_unit_test(impossible),
      cmocka_unit_test(file_read_again),
      cmocka_unit_test(file_first),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

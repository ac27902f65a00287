/* A reload, of files in a folder and of volumes with fake servers. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "fake_server.h"
#include "files/plan.h"
#include "requests/reload.h"
#include "state.h"

#define PATIENT UINT64_C(30000000)
#define ONE     "[volume]\nname = one\n[leg a]\npath = /one-a\n"
#define TWO     "[volume]\nname = two\n[leg a]\npath = /two-a\n"

static char folder[] = "/tmp/test-reload-XXXXXX";
static struct daemon daemon_;

static void
put(const char *name, const char *text) {
  char path[200];
  snprintf(path, sizeof path, "%s/d/%s", folder, name);
  if (!text) {
    unlink(path);
    return;
  }
  FILE *stream = fopen(path, "we");
  assert_non_null(stream);
  fputs(text, stream);
  fclose(stream);
}

static void
on_event(void *ctx, const json_t *event) {
}

static void
on_change(void *ctx) {
}

static void
no_problem(void *ctx, const char *line) {
  fail_msg("%s", line);
}

/* Both volumes serve. */
static void
begin(void) {
  char path[200];
  static struct plan plan;
  struct volume *volume;
  fake = (struct fake){0};
  daemon_ = (struct daemon){.settings_given = true};
  snprintf(path, sizeof path, "%s/surefoot.conf", folder);
  daemon_.settings_file = strdup(path);
  FILE *stream = fopen(path, "we");
  fprintf(stream, "[daemon]\nvolumes = %s/d\nruntime = %s/run\n", folder, folder);
  fclose(stream);
  char error[SF_CONFIG_ERROR_MAX];
  assert_int_equal(sfd_settings_load(&daemon_.settings, path, error), 0);
  assert_true(sd_event_new(&daemon_.event) >= 0);
  daemon_.problems = json_array();
  daemon_.events.published = on_event;
  sf_list_init(&daemon_.volumes.list);
  daemon_.volumes.event = daemon_.event;
  daemon_.volumes.settings = &daemon_.settings;
  daemon_.volumes.events = &daemon_.events;
  daemon_.volumes.changed = daemon_.volumes.gone = on_change;
  put("one.conf", ONE);
  put("two.conf", TWO);
  assert_int_equal(
      sfd_plan_load(daemon_.settings.volumes, daemon_.settings.runtime, &plan, no_problem, NULL),
      0);
  for (unsigned i = 0; i < plan.volumes; i++) {
    assert_int_equal(sfd_volume_create(&daemon_.volumes, plan.volume[i], &volume), 0);
    plan.volume[i] = NULL;
    sfd_volume_start(volume);
    end_probe(0);
    sfd_call_cancel(volume->health);
    volume->health = NULL;
  }
  sfd_plan_clear(&plan);
}

static void
end(void) {
  SF_LIST_EACH(entry, &daemon_.volumes.list)
    sfd_volume_destroy(SF_LIST_ENTRY(entry, struct volume, entry));
  sfd_events_clear(&daemon_.events);
  json_decref(daemon_.problems);
  sd_event_unref(daemon_.event);
  unlink(daemon_.settings_file);
  free((void *) (uintptr_t) daemon_.settings_file);
  const char *const names[] = {"one.conf", "two.conf", "three.conf", "a.conf"};
  for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
    put(names[i], NULL);
}

static struct volume *
get(const char *name) {
  return sfd_volumes_find(&daemon_.volumes, name);
}

static void
expect_problems(size_t count, const char *first) {
  assert_int_equal(json_array_size(daemon_.problems), count);
  if (count > 0 && !strstr(json_string_value(json_array_get(daemon_.problems, 0)), first))
    fail_msg("%s", json_string_value(json_array_get(daemon_.problems, 0)));
}

/* Proves that what did not change changes nothing. */
static void
nothing(void **state) {
  begin();
  sfd_reload_run(&daemon_, false, NULL);
  assert_false(daemon_.reloading);
  assert_int_equal(fake.starts, 2);
  assert_int_equal(fake.signals, 0);
  expect_problems(0, NULL);
  end();
}

/* Proves that a live setting is asked of the volume, is tried again when another made it possible,
 * and is kept for the next server only when it was taken. */
static void
setting_a_value(void **state) {
  begin();
  put("one.conf", "[volume]\nname = one\nwrite_deadline = 7s\n[leg a]\npath = /one-a\n");
  sfd_reload_run(&daemon_, false, NULL);
  assert_true(daemon_.reloading);
  assert_string_equal(fake.command, "set");
  sfd_reload_run(&daemon_, false, NULL); /* one at a time */
  end_call(0, json_pack("{sb ss}", "ok", 0, "error", "not now"));
  assert_false(daemon_.reloading);
  assert_string_equal(get("one")->restart_for, "write_deadline");
  assert_int_equal(get("one")->running->config.deadline_ns[SF_WRITE_KIND], SF_CONFIG_AUTO);
  sfd_reload_run(&daemon_, false, NULL);
  end_call(0, json_pack("{sb}", "ok", 1));
  assert_false(daemon_.reloading);
  assert_string_equal(get("one")->restart_for, "");
  assert_int_equal(get("one")->running->config.deadline_ns[SF_WRITE_KIND], 7000000000);
  sfd_reload_run(&daemon_, false, NULL);
  assert_false(daemon_.reloading);
  end();
}

/* Proves that a dry run asks, starts and stops nothing. */
static void
dry_run(void **state) {
  begin();
  put("one.conf", "[volume]\nname = one\nwrite_deadline = 7s\n[leg a]\npath = /one-a\n");
  put("two.conf", NULL);
  put("three.conf", "[volume]\nname = three\n[leg a]\npath = /three-a\n");
  sfd_reload_run(&daemon_, true, NULL);
  assert_false(daemon_.reloading);
  assert_null(fake.call);
  assert_null(get("three"));
  assert_int_equal(volume_state(get("two")), VOLUME_SERVING);
  end();
}

/* Proves that volumes come and go. */
static void
come_and_go(void **state) {
  begin();
  put("two.conf", NULL);
  put("three.conf", "[volume]\nname = three\n[leg a]\npath = /three-a\n");
  sfd_reload_run(&daemon_, false, NULL);
  assert_int_equal(volume_state(get("two")), VOLUME_STOPPING);
  assert_int_equal(volume_state(get("three")), VOLUME_STARTING);
  assert_int_equal(volume_state(get("one")), VOLUME_SERVING);
  end();
}

/* Proves that a file with a mistake leaves its volume as it is, also when that is down and would
 * start with it, and keeps no other from what its file says. */
static void
mistake(void **state) {
  begin();
  put("two.conf", TWO "colour = red\n");
  put("three.conf", "[volume]\nname = three\n[leg a]\npath = /three-a\n");
  sfd_reload_run(&daemon_, false, NULL);
  expect_problems(1, "two.conf:5: [leg a] colour: unknown key");
  assert_int_equal(volume_state(get("two")), VOLUME_SERVING);
  assert_int_equal(volume_state(get("three")), VOLUME_STARTING);
  /* Its leg stays its own: no other volume gets it. */
  put("a.conf", "[volume]\nname = a\n[leg a]\npath = /two-a\n");
  sfd_reload_run(&daemon_, false, NULL);
  expect_problems(2, "two.conf:5:");
  assert_null(get("a"));
  put("two.conf", TWO);
  sfd_reload_run(&daemon_, false, NULL);
  expect_problems(1, "a.conf: leg a: /two-a is a leg of volume two already");
  put("a.conf", NULL);
  sfd_reload_run(&daemon_, false, NULL);
  expect_problems(0, NULL);
  end();
}

/* Proves that a leg that two volumes want goes to the running one, though the other's file comes
 * first by name. */
static void
two_want_the_same(void **state) {
  begin();
  put("a.conf", ONE);
  put("two.conf", "[volume]\nname = two\n[leg a]\npath = /one-a\n");
  sfd_reload_run(&daemon_, false, NULL);
  expect_problems(2, "two.conf: leg a: /one-a is a leg of volume one already");
  if (!strstr(json_string_value(json_array_get(daemon_.problems, 1)), "a.conf: name: one is that"))
    fail_msg("%s", json_string_value(json_array_get(daemon_.problems, 1)));
  assert_int_equal(volume_state(get("one")), VOLUME_SERVING);
  assert_int_equal(volume_state(get("two")), VOLUME_SERVING);
  assert_string_equal(sfd_plan_leg_path(get("two")->plan, "a"), "/two-a");
  end();
}

/* Proves that a mistake in the settings, or a folder that is away, changes nothing. */
static void
settings(void **state) {
  begin();
  FILE *stream = fopen(daemon_.settings_file, "ae");
  fputs("colour = red\n", stream);
  fclose(stream);
  put("two.conf", NULL);
  sfd_reload_run(&daemon_, false, NULL);
  assert_int_equal(volume_state(get("two")), VOLUME_SERVING);
  expect_problems(0, NULL); /* of the files that are in use */
  stream = fopen(daemon_.settings_file, "we");
  fprintf(stream, "[daemon]\nvolumes = /nowhere\nruntime = %s/run\n", folder);
  fclose(stream);
  sfd_reload_run(&daemon_, false, NULL);
  assert_int_equal(volume_state(get("two")), VOLUME_SERVING);
  assert_string_not_equal(daemon_.settings.volumes, "/nowhere");
  end();
}

static int
set_up(void **state) {
  char path[200];
  if (!mkdtemp(folder))
    return -1;
  snprintf(path, sizeof path, "%s/d", folder);
  if (mkdir(path, 0700) < 0)
    return -1;
  snprintf(path, sizeof path, "%s/run", folder);
  return mkdir(path, 0700);
}

static int
tear_down(void **state) {
  static const char *const made[] = {"run/volumes", "run", "d", ""};
  char path[200];
  for (unsigned i = 0; i < sizeof made / sizeof *made; i++) {
    snprintf(path, sizeof path, "%s/%s", folder, made[i]);
    if (rmdir(path) < 0)
      return -1;
  }
  return 0;
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(nothing),  cmocka_unit_test(setting_a_value),
      cmocka_unit_test(dry_run),  cmocka_unit_test(come_and_go),
      cmocka_unit_test(mistake),  cmocka_unit_test(two_want_the_same),
      cmocka_unit_test(settings),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}

/* The operator's program is run for each event that has a name, one at a time, in order, with all
 * of the event; a program that does not end is killed, and surefootd goes on. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "events/hook.h"

static char folder[] = "/tmp/test-hook-XXXXXX", out[64];
static struct settings settings;
static struct hook hook;

static int
set_up(void **state) {
  sigset_t child;

  sigemptyset(&child);
  sigaddset(&child, SIGCHLD);
  if (sigprocmask(SIG_BLOCK, &child, NULL) < 0 || mkdtemp(folder) == NULL)
    return -1;
  snprintf(out, sizeof out, "%s/out", folder);
  return setenv("OUT", out, 1);
}

static int
tear_down(void **state) {
  unlink(settings.hook);
  unlink(out);
  return rmdir(folder);
}

/* A script for /bin/sh; its result is in $OUT. */
static void
begin(const char *script) {
  FILE *file;

  memset(&settings, 0, sizeof settings);
  snprintf(settings.hook, sizeof settings.hook, "%s/hook", folder);
  snprintf(settings.control, sizeof settings.control, "/run/the-socket");
  settings.hook_timeout_us = 20000000;
  file = fopen(settings.hook, "we");
  assert_non_null(file);
  fprintf(file, "#!/bin/sh\n%s\n", script);
  assert_int_equal(fclose(file), 0);
  assert_int_equal(chmod(settings.hook, 0755), 0);
  file = fopen(out, "we");
  assert_non_null(file);
  fclose(file);
  hook = (struct hook){.settings = &settings};
  assert_true(sd_event_new(&hook.event) >= 0);
}

static void
finish(void) {
  sfd_hook_end(&hook);
  assert_int_equal(hook.count, 0);
  sd_event_unref(hook.event);
}

static void
tell(const char *leg, const char *to) {
  json_t *event = json_pack("{ss ss ss ss ss ss ss sI sI si sI}", "event", "leg-state", "volume",
                            "vol0", "leg", leg, "from", "in-sync", "to", to, "reason", "why",
                            "time", "2026-01-31T12:00:00.123Z", "offset", (json_int_t) 4096,
                            "length", (json_int_t) 512, "errno", 5, "count", (json_int_t) 7);

  assert_non_null(event);
  sfd_hook_tell(&hook, event);
  json_object_set_new(event, "leg", json_string("another")); /* it is the caller's again */
  json_decref(event);
}

static void
run_until_idle(void) {
  while (hook.count > 0)
    assert_true(sd_event_run(hook.event, UINT64_MAX) >= 0);
  assert_null(hook.job);
}

static const char *
written(void) {
  static char text[16384];
  FILE *file = fopen(out, "re");
  size_t n;

  assert_non_null(file);
  n = fread(text, 1, sizeof text - 1, file);
  fclose(file);
  text[n] = '\0';
  return text;
}

static void
it_is_told_all(void **state) {
  begin("echo \"$# $1 $2 $3|$SUREFOOT_EVENT $SUREFOOT_VOLUME $SUREFOOT_LEG $SUREFOOT_FROM "
        "$SUREFOOT_TO "
        "$SUREFOOT_REASON $SUREFOOT_TIME $SUREFOOT_OFFSET $SUREFOOT_LENGTH $SUREFOOT_ERRNO "
        "$SUREFOOT_COUNT $SUREFOOT_CONTROL|$NOTIFY_SOCKET$WATCHDOG_USEC\" >> $OUT");
  setenv("NOTIFY_SOCKET", "/run/systemd", 1);
  setenv("WATCHDOG_USEC", "1", 1);
  tell("b", "late");
  run_until_idle();
  unsetenv("NOTIFY_SOCKET");
  unsetenv("WATCHDOG_USEC");
  assert_string_equal(written(), "3 leg-late vol0 b|leg-late vol0 b in-sync late why "
                                 "2026-01-31T12:00:00.123Z 4096 512 5 7 /run/the-socket|\n");
  finish();
}

/* No leg, no third word; and what has no name is not told. */
static void
what_has_no_name_is_not_told(void **state) {
  begin("echo \"$# $1\" >> $OUT");
  tell("", "late");
  tell("b", "probing");
  assert_int_equal(hook.count, 1);
  run_until_idle();
  assert_string_equal(written(), "2 leg-late\n");
  settings.hook[0] = '\0';
  tell("b", "late");
  assert_int_equal(hook.count, 0);
  snprintf(settings.hook, sizeof settings.hook, "%s/hook", folder);
  finish();
}

/* The second one would be first, were they run beside each other. */
static void
one_at_a_time_in_order(void **state) {
  begin("echo \"$3 begins\" >> $OUT; while [ $3 = a ] && [ ! -e $OUT.go ]; do :; done; echo \"$3 "
        "ends\" >> $OUT");
  char go[80];
  snprintf(go, sizeof go, "%s.go", out);
  tell("a", "late");
  tell("b", "late");
  tell("c", "faulty");
  while (strcmp(written(), "a begins\n") != 0)
    assert_true(sd_event_run(hook.event, 10000) >= 0);
  fclose(fopen(go, "we"));
  run_until_idle();
  unlink(go);
  assert_string_equal(written(), "a begins\na ends\nb begins\nb ends\nc begins\nc ends\n");
  finish();
}

/* It is killed, and the next one is run; so it is after a program that fails, or a file that is
 * none. */
static void
one_that_does_not_end_is_killed(void **state) {
  begin("if [ $3 = a ]; then exec sleep 1000; fi; echo $3 >> $OUT; [ $3 != b ]");
  settings.hook_timeout_us = 300000;
  tell("a", "late");
  while (hook.count > 0 && hook.queue[hook.first] != NULL) {
    assert_true(sd_event_run(hook.event, UINT64_MAX) >= 0);
  }
  settings.hook_timeout_us = 20000000;
  tell("b", "late");
  tell("c", "late");
  run_until_idle();
  assert_string_equal(written(), "b\nc\n");
  assert_int_equal(chmod(settings.hook, 0644), 0);
  tell("a", "late");
  run_until_idle();
  assert_string_equal(written(), "b\nc\n");
  finish();
}

/* What waits is bounded; and what waits at the end is not told any more. */
static void
there_is_an_end_to_what_waits(void **state) {
  begin("echo $3 >> $OUT; exec sleep 1000");
  for (unsigned i = 0; i < HOOK_QUEUE_MAX + 3; i++)
    tell("a", "late");
  assert_int_equal(hook.count, HOOK_QUEUE_MAX);
  assert_int_equal(hook.dropped, 3);
  finish();
  assert_null(hook.job);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(it_is_told_all),
      cmocka_unit_test(what_has_no_name_is_not_told),
      cmocka_unit_test(one_at_a_time_in_order),
      cmocka_unit_test(one_that_does_not_end_is_killed),
      cmocka_unit_test(there_is_an_end_to_what_waits),
  };

  return cmocka_run_group_tests(tests, set_up, tear_down);
}

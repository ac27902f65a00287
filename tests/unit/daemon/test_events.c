#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include <cmocka.h>

#include "events/events.h"
#include "events/store.h"

static unsigned published;

static void
on_event(void *ctx, const json_t *event) {
  published++;
}

/* Proves that an event that ends or stops the service is logged as critical or as an error, one
 * that the volume lives with as a warning, and a good event as neither; and that the hook knows
 * each by its name. */
static void
how_bad(void **state) {
  static const struct {
    const char *event, *to, *hook;
    int priority;
  } cases[] = {
      {"state", "failed", "failed", LOG_CRIT},
      {"state", "suspended", "suspended", LOG_CRIT},
      {"state", "degraded", "degraded", LOG_WARNING},
      {"state", "healthy", "healthy", LOG_NOTICE},
      {"leg-state", "faulty", "leg-faulty", LOG_ERR},
      {"leg-state", "late", "leg-late", LOG_WARNING},
      {"leg-state", "missing", "leg-missing", LOG_WARNING},
      {"leg-state", "in-sync", "leg-returned", LOG_NOTICE},
      {"leg-state", "catching-up", NULL, LOG_NOTICE},
      {"service", "down", "server-down", LOG_ERR},
      {"service", "silent", "server-silent", LOG_ERR},
      {"service", "serving", "server-ready", LOG_NOTICE},
      {"device", "lost", "device-lost", LOG_ERR},
      {"grown", "", NULL, LOG_NOTICE},
      {"read-repaired", "", "read-repaired", LOG_WARNING},
      {"read-failed", "", "read-failed", LOG_ERR},
      {"lost-range", "", "lost-range", LOG_ERR},
      {"mismatch", "", "mismatch", LOG_ERR},
      {"scrub", "done", "scrub-done", LOG_NOTICE},
      {"scrub", "running", NULL, LOG_NOTICE},
      {"leg-trouble", "", "leg-trouble", LOG_ERR},
      {"spare", "used", "spare-used", LOG_WARNING},
      {"spare", "refused", "spare-refused", LOG_ERR},
      {"spare", "free", "spare-free", LOG_NOTICE},
  };
  for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
    json_t *event = json_pack("{ss ss}", "event", cases[i].event, "to", cases[i].to);
    const char *name = sfd_events_hook_name(event);
    if (sfd_events_priority(event) != cases[i].priority ||
        (name == NULL) != (cases[i].hook == NULL) || (name && strcmp(name, cases[i].hook) != 0))
      fail_msg("%s %s: %d %s", cases[i].event, cases[i].to, sfd_events_priority(event),
               name ? name : "(none)");
    json_decref(event);
  }
}

/* Proves that each kind of event has an id of its own in the journal. */
static void
message_ids(void **state) {
  static const char *const kinds[] = {"service",  "state", "leg-state", "leg-trouble", "lost-range",
                                      "mismatch", "scrub", "device",    "grown",       "stopped"};
  const char *ids[sizeof kinds / sizeof *kinds];
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
    json_t *event = json_pack("{ss}", "event", kinds[i]);
    ids[i] = sfd_events_message_id(event);
    assert_non_null(ids[i]);
    assert_int_equal(strspn(ids[i], "0123456789abcdef"), 32);
    for (size_t k = 0; k < i; k++)
      assert_string_not_equal(ids[k], ids[i]);
    json_decref(event);
  }
}

/* Proves that the last that was told of a leg counts, of this volume and since this number, also
 * when the kept ones have gone round. */
static void
leg_is_told(void **state) {
  struct events events = {.published = on_event};
  sfd_events_leg(&events, "v", "a", "missing", "");
  assert_true(sfd_events_leg_is_told(&events, 0, "v", "a", "missing"));
  assert_false(sfd_events_leg_is_told(&events, 1, "v", "a", "missing"));
  assert_false(sfd_events_leg_is_told(&events, 0, "w", "a", "missing"));
  assert_false(sfd_events_leg_is_told(&events, 0, "v", "b", "missing"));
  sfd_events_leg(&events, "v", "a", "late", "");
  assert_false(sfd_events_leg_is_told(&events, 0, "v", "a", "missing"));
  assert_true(sfd_events_leg_is_told(&events, 0, "v", "a", "late"));
  for (int i = 0; i < SF_CONTROL_EVENTS_KEPT; i++)
    sfd_events_service(&events, "v", "", "serving", "");
  assert_false(sfd_events_leg_is_told(&events, 0, "v", "a", "late"));
  assert_int_equal(published, 2 + SF_CONTROL_EVENTS_KEPT);
  json_t *list = sfd_events_list(&events, "v"), *none = sfd_events_list(&events, "w");
  assert_int_equal(json_array_size(list), SF_CONTROL_EVENTS_KEPT);
  assert_int_equal(json_array_size(none), 0);
  json_decref(list);
  json_decref(none);
  sfd_events_clear(&events);
}

/* Proves that a feed that begins again is cut where it was told already. */
static void
told(void **state) {
  json_t *list = json_pack("[{si} {si} {si}]", "n", 1, "n", 2, "n", 3);
  json_t *unknown = json_pack("{si}", "n", 4);
  assert_int_equal(sfd_events_told(list, NULL), 0);
  assert_int_equal(sfd_events_told(list, json_array_get(list, 0)), 1);
  assert_int_equal(sfd_events_told(list, json_array_get(list, 2)), 3);
  assert_int_equal(sfd_events_told(list, unknown), 0);
  json_decref(list);
  json_decref(unknown);
}

/* Proves that events from before are kept in their order, no more than there is room for, and not
 * told again. */
static void
restored(void **state) {
  char path[] = "/tmp/test-events-XXXXXX";
  FILE *file = fdopen(mkstemp(path), "w");
  static struct events events;
  assert_non_null(file);
  for (int i = 0; i < SF_CONTROL_EVENTS_KEPT + 2; i++)
    fprintf(file, "{\"event\":\"state\",\"volume\":\"v\",\"n\":%d}\n%s", i,
            i == 7 ? "{bad\n[]\n" : "");
  fclose(file);
  events = (struct events){.published = on_event};
  published = 0;
  sfd_store_load("", &events);
  sfd_store_load("/nowhere/events", &events);
  assert_int_equal(events.next, 0);
  sfd_store_load(path, &events);
  json_t *list = sfd_events_list(&events, "v");
  assert_int_equal(json_array_size(list), SF_CONTROL_EVENTS_KEPT);
  for (int i = 0; i < SF_CONTROL_EVENTS_KEPT; i++)
    assert_int_equal(json_integer_value(json_object_get(json_array_get(list, (size_t) i), "n")),
                     i + 2);
  assert_int_equal(published, 0);
  json_decref(list);
  sfd_events_clear(&events);
  unlink(path);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(how_bad), cmocka_unit_test(message_ids), cmocka_unit_test(leg_is_told),
      cmocka_unit_test(told),    cmocka_unit_test(restored),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

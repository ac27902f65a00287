#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include <cmocka.h>

#include "events/events.h"

static unsigned published;

static void
on_event(void *ctx, const json_t *event) {
  published++;
}

/* Proves that what ends or stops the service is logged as critical or as an error, what the volume lives
 * with as a warning, and what is well as neither; and that the hook knows each by its name. */
static void
test_how_bad(void **state) {
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
  };
  for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
    json_t *event = json_pack("{ss ss}", "event", cases[i].event, "to", cases[i].to);
    const char *name = events_hook_name(event);
    if (events_priority(event) != cases[i].priority || (name == NULL) != (cases[i].hook == NULL) ||
        (name && strcmp(name, cases[i].hook) != 0))
      fail_msg("%s %s: %d %s", cases[i].event, cases[i].to, events_priority(event),
               name ? name : "(none)");
    json_decref(event);
  }
}

/* Proves that the last that was told of a leg counts, of this volume and since this number, also when the
 * kept ones have gone round. */
static void
test_leg_is_told(void **state) {
  struct events events = {.published = on_event};
  events_leg(&events, "v", "a", "missing", "");
  assert_true(events_leg_is_told(&events, 0, "v", "a", "missing"));
  assert_false(events_leg_is_told(&events, 1, "v", "a", "missing"));
  assert_false(events_leg_is_told(&events, 0, "w", "a", "missing"));
  assert_false(events_leg_is_told(&events, 0, "v", "b", "missing"));
  events_leg(&events, "v", "a", "late", "");
  assert_false(events_leg_is_told(&events, 0, "v", "a", "missing"));
  assert_true(events_leg_is_told(&events, 0, "v", "a", "late"));
  for (int i = 0; i < SF_CONTROL_EVENTS_KEPT; i++)
    events_service(&events, "v", "", "serving", "");
  assert_false(events_leg_is_told(&events, 0, "v", "a", "late"));
  assert_int_equal(published, 2 + SF_CONTROL_EVENTS_KEPT);
  json_t *list = events_list(&events, "v"), *none = events_list(&events, "w");
  assert_int_equal(json_array_size(list), SF_CONTROL_EVENTS_KEPT);
  assert_int_equal(json_array_size(none), 0);
  json_decref(list);
  json_decref(none);
  events_clear(&events);
}

/* Proves that a feed that begins again is cut where it was told already. */
static void
test_told(void **state) {
  json_t *list = json_pack("[{si} {si} {si}]", "n", 1, "n", 2, "n", 3);
  json_t *unknown = json_pack("{si}", "n", 4);
  assert_int_equal(events_told(list, NULL), 0);
  assert_int_equal(events_told(list, json_array_get(list, 0)), 1);
  assert_int_equal(events_told(list, json_array_get(list, 2)), 3);
  assert_int_equal(events_told(list, unknown), 0);
  json_decref(list);
  json_decref(unknown);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_how_bad),
      cmocka_unit_test(test_leg_is_told),
      cmocka_unit_test(test_told),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

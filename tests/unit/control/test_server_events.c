/* The control server and followers of its events. */
#include "server_rig.h"

/* ---- events ---- */

/* Without follow: the kept events, the oldest forgotten, and the connection is as any other. */
static void
the_events(void **state) {
  struct fake_volume *fake = *state;
  char reason[32];
  for (unsigned i = 0; i < SF_CONTROL_EVENTS_KEPT + 10; i++) {
    snprintf(reason, sizeof reason, "number %u", i);
    fake_volume_event(fake, reason);
  }
  int fd = connect_to(fake);
  send_line(fd, V1 "\"command\":\"events\"}");
  json_t *reply = read_line(fd), *events = json_object_get(reply, "events");
  assert_int_equal(json_array_size(events), SF_CONTROL_EVENTS_KEPT);
  for (unsigned i = 0; i < SF_CONTROL_EVENTS_KEPT; i++) {
    snprintf(reason, sizeof reason, "number %u", i + 10);
    assert_string_equal(json_string_value(json_object_get(json_array_get(events, i), "reason")),
                        reason);
  }
  json_decref(reply);
  send_line(fd, STATUS);
  expect_ok(fd);
  close(fd);
}

/* The longest reason that a volume has, whole: what to do stands at its end. */
static void
event_with_a_long_reason(void **state) {
  struct fake_volume *fake = *state;
  char reason[SF_LEG_REASON_MAX];
  memset(reason, 'x', sizeof reason - 1);
  reason[sizeof reason - 1] = '\0';
  fake_volume_event(fake, reason);
  int fd = connect_to(fake);
  send_line(fd, V1 "\"command\":\"events\"}");
  json_t *reply = read_line(fd), *events = json_object_get(reply, "events");
  assert_string_equal(json_string_value(json_object_get(json_array_get(events, 0), "reason")),
                      reason);
  json_decref(reply);
  close(fd);
}

/* A follower that comes while events are told sees each of them once, in order: those before in
 * the answer, those after one by one. */
static void
follow_without_gap(void **state) {
  enum { EVENTS = 200 };
  struct fake_volume *fake = *state;
  struct teller teller = {.fake = fake, .count = EVENTS};
  pthread_t thread;
  assert_int_equal(pthread_create(&thread, NULL, tell_events, &teller), 0);
  int fd = connect_to(fake);
  send_line(fd, FOLLOW);
  json_t *reply = read_line(fd), *events = json_object_get(reply, "events");
  unsigned seen = 0;
  char reason[32];
  for (; seen < json_array_size(events); seen++) {
    snprintf(reason, sizeof reason, "number %u", seen);
    assert_string_equal(json_string_value(json_object_get(json_array_get(events, seen), "reason")),
                        reason);
  }
  json_decref(reply);
  for (; seen < EVENTS; seen++) {
    snprintf(reason, sizeof reason, "number %u", seen);
    expect_event(fd, reason);
  }
  pthread_join(thread, NULL);
  close(fd);
}

/* A follower that sends a request is refused and dropped; a follower that closes its sending side
 * goes on following; a follower that goes away is forgotten. */
static void
follower_behaviour(void **state) {
  struct fake_volume *fake = *state;
  int talker = connect_to(fake), listener = connect_to(fake), gone = connect_to(fake);
  send_line(talker, FOLLOW);
  expect_ok(talker);
  send_line(talker, STATUS);
  expect_error(talker, "this connection follows the events: no more requests");
  expect_closed(talker);

  send_line(gone, FOLLOW);
  expect_ok(gone);
  close(gone);
  send_line(listener, FOLLOW);
  shutdown(listener, SHUT_WR);
  expect_ok(listener);
  fake_volume_event(fake, "heard");
  expect_event(listener, "heard");
  close(listener);
  expect_serving(fake);
}

/* A follower that does not read is dropped when its queue is full; nothing waited for it, and a
 * follower that reads has every event. */
static void
slow_follower(void **state) {
  enum { ROUNDS = 400, PER_ROUND = 50 };
  struct fake_volume *fake = *state;
  char reason[250];
  memset(reason, 'r', sizeof reason - 1);
  reason[sizeof reason - 1] = '\0';
  int slow = connect_to(fake), quick = connect_to(fake);
  send_line(slow, FOLLOW);
  send_line(quick, FOLLOW);
  expect_ok(quick);
  bool dropped = false;
  for (unsigned i = 0; i < ROUNDS && !dropped; i++) {
    for (unsigned k = 0; k < PER_ROUND; k++)
      fake_volume_event(fake, reason);
    for (unsigned k = 0; k < PER_ROUND; k++)
      expect_event(quick, reason);
    expect_serving(fake);
    struct pollfd wait = {.fd = slow};
    dropped = poll(&wait, 1, 0) == 1 && (wait.revents & POLLHUP);
  }
  assert_true(dropped);
  close(slow);
  close(quick);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      WITH_SERVER(the_events),         WITH_SERVER(event_with_a_long_reason),
      WITH_SERVER(follow_without_gap), WITH_SERVER(follower_behaviour),
      WITH_SERVER(slow_follower),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The control socket of all volumes: one request at a time of each client, answered now or later;
 * followers get what happens to the volume that they follow; and a client that is slow, silent,
 * wrong or gone stops no other. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "requests/clients.h"

static char folder[] = "/tmp/test-clients-XXXXXX";
static struct sockaddr_un address = {.sun_family = AF_UNIX};
static sd_event *event;
static struct clients *clients;
static struct reply *waiting[8]; /* requests that are not answered */
static char volume[8][32];       /* of each */
static unsigned asked;

static void
on_request(void *ctx, const struct sf_control_request *request, struct reply *reply) {
  assert_ptr_equal(ctx, &asked);
  assert_true(asked < 8);
  snprintf(volume[asked], sizeof volume[asked], "%s", request->volume ? request->volume : "");
  waiting[asked++] = reply;
}

static int
set_up(void **state) {
  if (mkdtemp(folder) == NULL)
    return -1;
  snprintf(address.sun_path, sizeof address.sun_path, "%s/s", folder);
  return 0;
}

static int
tear_down(void **state) {
  return rmdir(folder);
}

static void
begin(void) {
  asked = 0;
  assert_true(sd_event_new(&event) >= 0);
  assert_int_equal(sfd_clients_create(event, address.sun_path, on_request, &asked, &clients), 0);
}

static void
finish(void) {
  sfd_clients_destroy(clients);
  assert_int_equal(access(address.sun_path, F_OK), -1);
  sd_event_unref(event);
}

/* ---- the other end ---- */

static int
join(void) {
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

  assert_true(fd >= 0);
  assert_int_equal(connect(fd, (const struct sockaddr *) &address, sizeof address), 0);
  return fd;
}

static void
say(int fd, const char *text) {
  assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t) strlen(text));
}

static void
turn_until_quiet(void) {
  while (sd_event_run(event, 0) > 0)
    ;
}

/* What has come, after all that there is to do was done; its end shows as "<end>". */
static const char *
hear(int fd) {
  static char text[16384];
  size_t used = 0;
  ssize_t n;

  turn_until_quiet();
  while ((n = recv(fd, text + used, sizeof text - used - 8, MSG_DONTWAIT)) > 0)
    used += (size_t) n;
  snprintf(text + used, sizeof text - used, "%s", n == 0 ? "<end>" : "");
  return text;
}

static void
ask_status(int fd, const char *name) {
  char line[128];

  snprintf(line, sizeof line, "{\"version\":1,\"command\":\"status\",\"volume\":\"%s\"}\n", name);
  say(fd, line);
}

static void
answer(unsigned i) {
  sfd_reply_send(waiting[i], json_pack("{sb ss}", "ok", 1, "of", volume[i]));
}

static void
publish(const char *name, const char *reason) {
  json_t *object = json_pack("{ss ss ss}", "event", "state", "volume", name, "reason", reason);

  assert_non_null(object);
  sfd_clients_publish(clients, object);
  json_decref(object);
}

/* ---- tests ---- */

static void
one_request_at_a_time(void **state) {
  int a, b;

  begin();
  a = join();
  b = join();
  ask_status(a, "one");
  ask_status(a, "two");
  ask_status(b, "three");
  assert_string_equal(hear(a), "");
  assert_int_equal(asked, 2); /* that of b does not wait for a's */
  assert_string_equal(volume[0], "one");
  assert_string_equal(volume[1], "three");
  answer(1);
  assert_string_equal(hear(b), "{\"ok\":true,\"of\":\"three\"}\n");
  assert_int_equal(asked, 2);
  answer(0);
  assert_string_equal(hear(a), "{\"ok\":true,\"of\":\"one\"}\n");
  assert_int_equal(asked, 3);
  assert_string_equal(volume[2], "two");
  sfd_reply_error(waiting[2], "no %s", "such volume");
  assert_string_equal(hear(a), "{\"ok\":false,\"error\":\"no such volume\"}\n");
  close(a);
  close(b);
  finish();
}

static void
answer_at_once(void *ctx, const struct sf_control_request *request, struct reply *reply) {
  asked++;
  sfd_reply_send(reply, json_pack("{sb}", "ok", 1));
}

/* More than are taken in one turn, and nothing comes after them. */
static void
many_requests_that_have_come(void **state) {
  enum { MANY = 50 };
  unsigned answers = 0;
  int fd;

  asked = 0;
  assert_true(sd_event_new(&event) >= 0);
  assert_int_equal(sfd_clients_create(event, address.sun_path, answer_at_once, NULL, &clients), 0);
  fd = join();
  for (unsigned i = 0; i < MANY; i++)
    ask_status(fd, "one");
  for (const char *at = hear(fd); (at = strchr(at, '\n')) != NULL; at++)
    answers++;
  assert_int_equal(answers, MANY);
  assert_int_equal(asked, MANY);
  close(fd);
  finish();
}

/* A line that is no request is answered with its mistake, and passed to no handler. */
static void
what_is_wrong_is_told(void **state) {
  static char line[SF_CONTROL_LINE_MAX + 2];
  const char *heard;
  int fd;

  begin();
  fd = join();
  say(fd, "{\"version\":1,\"command\":\"dance\"}\n");
  assert_non_null(strstr(hear(fd), "\"ok\":false"));
  say(fd, "{\"version\":1");
  assert_int_equal(shutdown(fd, SHUT_WR), 0);
  heard = hear(fd);
  assert_non_null(strstr(heard, "without a newline"));
  assert_non_null(strstr(heard, "<end>"));
  close(fd);
  fd = join();
  memset(line, ' ', sizeof line - 1);
  for (size_t at = 0; at < sizeof line - 1;) { /* more than the socket takes at once */
    ssize_t n = send(fd, line + at, sizeof line - 1 - at, MSG_NOSIGNAL | MSG_DONTWAIT);

    assert_true(n > 0 || errno == EAGAIN);
    at += n > 0 ? (size_t) n : 0;
    turn_until_quiet();
  }
  heard = hear(fd);
  assert_non_null(strstr(heard, "longer than"));
  assert_non_null(strstr(heard, "<end>"));
  assert_int_equal(asked, 0);
  close(fd);
  finish();
}

static void
followers_get_their_volume(void **state) {
  int one, all;

  begin();
  one = join();
  all = join();
  say(one, "{\"version\":1,\"command\":\"events\",\"volume\":\"vol0\",\"follow\":true}\n");
  turn_until_quiet();
  say(all, "{\"version\":1,\"command\":\"events\",\"follow\":true}\n");
  turn_until_quiet();
  publish("vol0", "before"); /* neither follows yet */
  sfd_reply_follow(waiting[0], json_pack("{sb}", "ok", 1), "vol0");
  sfd_reply_follow(waiting[1], json_pack("{sb}", "ok", 1), NULL);
  publish("vol0", "x");
  publish("vol1", "y");
  assert_string_equal(
      hear(one), "{\"ok\":true}\n{\"event\":\"state\",\"volume\":\"vol0\",\"reason\":\"x\"}\n");
  assert_string_equal(hear(all),
                      "{\"ok\":true}\n{\"event\":\"state\",\"volume\":\"vol0\",\"reason\":\"x\"}\n"
                      "{\"event\":\"state\",\"volume\":\"vol1\",\"reason\":\"y\"}\n");
  ask_status(one, "vol0");
  assert_non_null(strstr(hear(one), "no more requests"));
  assert_int_equal(asked, 2);
  close(one);
  close(all);
  finish();
}

/* A follower that takes nothing is dropped when too much waits for it; the other one has all. */
static void
a_slow_follower_is_dropped(void **state) {
  enum { EVENTS = 200 };
  static char reason[4096];
  unsigned lines = 0;
  int slow, quick;

  begin();
  slow = join();
  quick = join();
  say(slow, "{\"version\":1,\"command\":\"events\",\"follow\":true}\n");
  turn_until_quiet();
  say(quick, "{\"version\":1,\"command\":\"events\",\"follow\":true}\n");
  turn_until_quiet();
  for (unsigned i = 0; i < 2; i++)
    sfd_reply_follow(waiting[i], json_pack("{sb}", "ok", 1), NULL);
  memset(reason, 'r', sizeof reason - 1);
  for (unsigned i = 0; i < EVENTS; i++) {
    publish("vol0", reason);
    for (const char *at = hear(quick); (at = strchr(at, '\n')) != NULL; at++)
      lines++;
  }
  assert_int_equal(lines, EVENTS + 1);
  lines = 0;
  for (unsigned i = 0; i < EVENTS; i++) {
    const char *text = hear(slow);

    for (const char *at = text; (at = strchr(at, '\n')) != NULL; at++)
      lines++;
    if (strstr(text, "<end>") != NULL)
      break;
    assert_true(i + 1 < EVENTS); /* its connection has ended */
  }
  assert_in_range(lines, 1, EVENTS);
  close(slow);
  close(quick);
  finish();
}

/* Its answer goes nowhere; nor does an answer after the end of all. */
static void
a_client_that_is_gone(void **state) {
  int fd, other;

  begin();
  fd = join();
  ask_status(fd, "one");
  turn_until_quiet();
  close(fd);
  turn_until_quiet();
  other = join();
  ask_status(other, "two");
  turn_until_quiet();
  answer(0);
  assert_string_equal(hear(other), "");
  answer(1);
  assert_string_equal(hear(other), "{\"ok\":true,\"of\":\"two\"}\n");
  ask_status(other, "three");
  turn_until_quiet();
  finish();
  answer(2);
  close(other);
}

static void
there_is_an_end_to_clients(void **state) {
  int fd[SF_CONTROL_CLIENTS_MAX], one_more;

  begin();
  for (unsigned i = 0; i < SF_CONTROL_CLIENTS_MAX; i++) {
    fd[i] = join();
    turn_until_quiet();
  }
  one_more = join();
  assert_string_equal(hear(one_more), "{\"ok\":false,\"error\":\"too many clients: 32\"}\n<end>");
  close(one_more);
  close(fd[5]);
  one_more = join(); /* before its end was seen */
  ask_status(one_more, "one");
  turn_until_quiet();
  answer(0);
  assert_string_equal(hear(one_more), "{\"ok\":true,\"of\":\"one\"}\n");
  close(one_more);
  for (unsigned i = 0; i < SF_CONTROL_CLIENTS_MAX; i++)
    if (i != 5)
      close(fd[i]);
  finish();
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(one_request_at_a_time),      cmocka_unit_test(many_requests_that_have_come),
      cmocka_unit_test(what_is_wrong_is_told),      cmocka_unit_test(followers_get_their_volume),
      cmocka_unit_test(a_slow_follower_is_dropped), cmocka_unit_test(a_client_that_is_gone),
      cmocka_unit_test(there_is_an_end_to_clients),
  };

  return cmocka_run_group_tests(tests, set_up, tear_down);
}

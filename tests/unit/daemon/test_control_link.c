/* surefootd's end of a volume's control socket: a request goes out, lines come in, and a server
 * that is not there, hangs, ends or talks nonsense delays no caller. */
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

#include "server/control_link.h"

enum { LONG_US = 60000000 };

static char folder[] = "/tmp/test-link-XXXXXX";
static struct sockaddr_un address = {.sun_family = AF_UNIX};
static sd_event *event;
static int listening, peer;
static struct call *call;
static struct control_link *the_link;
static unsigned done, lines, ended, close_at;
static int with_error;
static char heard[256];

static int
set_up(void **state) {
  if (mkdtemp(folder) == NULL)
    return -1;
  snprintf(address.sun_path, sizeof address.sun_path, "%s/s", folder);
  listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (bind(listening, (const struct sockaddr *) &address, sizeof address) < 0)
    return -1;
  return listen(listening, 4);
}

static int
tear_down(void **state) {
  close(listening);
  unlink(address.sun_path);
  return rmdir(folder);
}

static void
begin(void) {
  done = lines = ended = close_at = 0;
  with_error = 1;
  call = NULL;
  the_link = NULL;
  heard[0] = '\0';
  assert_true(sd_event_new(&event) >= 0);
}

static void
finish(void) {
  close(peer);
  sd_event_unref(event);
}

static void
note(json_t *object) {
  char *text = json_dumps(object, JSON_COMPACT);
  size_t used = strlen(heard);

  snprintf(heard + used, sizeof heard - used, "%s;", text);
  free(text);
}

static void
on_done(void *ctx, int error, json_t *reply) {
  assert_ptr_equal(ctx, &done);
  done++;
  with_error = error;
  if (reply)
    note(reply);
}

static int
start_call(uint64_t timeout_us) {
  int r = sfd_call_start(event, address.sun_path, json_pack("{ss}", "command", "status"),
                         timeout_us, on_done, &done, &call);

  assert_int_equal(done, 0); /* never from inside */
  if (r == 0)
    peer = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
  return r;
}

static void
say(const char *text) {
  assert_int_equal(send(peer, text, strlen(text), MSG_NOSIGNAL), (ssize_t) strlen(text));
}

static void
turn_until_quiet(void) {
  while (sd_event_run(event, 0) > 0)
    ;
}

static void
turn_until(const unsigned *what) {
  while (*what == 0)
    assert_true(sd_event_run(event, UINT64_MAX) >= 0);
}

/* ---- calls ---- */

static void
a_request_and_its_reply(void **state) {
  char asked[256];
  ssize_t n;

  begin();
  assert_int_equal(start_call(LONG_US), 0);
  turn_until_quiet();
  n = recv(peer, asked, sizeof asked - 1, MSG_DONTWAIT);
  assert_true(n > 0);
  asked[n] = '\0';
  assert_string_equal(asked, "{\"command\":\"status\",\"version\":1}\n");
  say("{\"ok\":true,\"n\""); /* half of it */
  turn_until_quiet();
  assert_int_equal(done, 0);
  say(":7}\n{\"ok\":false}\n");
  turn_until(&done);
  turn_until_quiet();
  assert_int_equal(done, 1);
  assert_int_equal(with_error, 0);
  assert_string_equal(heard, "{\"ok\":true,\"n\":7};");
  finish();
}

static void
one_that_hangs_is_a_deadline(void **state) {
  begin();
  assert_int_equal(start_call(20000), 0);
  turn_until(&done);
  assert_int_equal(with_error, -ETIMEDOUT);
  finish();
}

static void
one_that_ends_or_talks_nonsense(void **state) {
  char asked[256];

  begin();
  assert_int_equal(start_call(LONG_US), 0);
  turn_until_quiet();
  assert_true(recv(peer, asked, sizeof asked, MSG_DONTWAIT) > 0);
  close(peer);
  turn_until(&done);
  assert_int_equal(with_error, -ECONNRESET);
  sd_event_unref(event);
  begin();
  assert_int_equal(start_call(LONG_US), 0);
  say("[1]\n");
  turn_until(&done);
  assert_int_equal(with_error, -EPROTO);
  finish();
}

static void
one_that_is_not_there(void **state) {
  char long_path[300];

  begin();
  memset(long_path, 'p', sizeof long_path - 1);
  long_path[sizeof long_path - 1] = '\0';
  assert_int_equal(
      sfd_call_start(event, "/tmp/test-link-none", json_object(), LONG_US, on_done, &done, &call),
      -ENOENT);
  assert_int_equal(sfd_call_start(event, long_path, json_object(), LONG_US, on_done, &done, &call),
                   -ENAMETOOLONG);
  assert_int_equal(sfd_call_start(event, address.sun_path, NULL, LONG_US, on_done, &done, &call),
                   -ENOMEM);
  turn_until_quiet();
  assert_int_equal(done, 0);
  sd_event_unref(event);
}

static void
a_call_that_is_cancelled_is_not_told(void **state) {
  begin();
  assert_int_equal(start_call(1000), 0);
  say("{\"ok\":true}\n");
  sfd_call_cancel(call);
  close(peer);
  assert_int_equal(start_call(20000), 0);
  turn_until(&done);
  assert_int_equal(done,
                   1); /* the second, with its time up after the first one's would have been */
  sfd_call_cancel(NULL);
  finish();
}

/* ---- links ---- */

static void
on_line(void *ctx, json_t *object) {
  note(object);
  if (++lines == close_at)
    sfd_control_link_close(the_link);
}

static void
on_ended(void *ctx, int error) {
  ended++;
  with_error = error;
}

static void
open_link(void) {
  const struct control_link_user user = {.line = on_line, .ended = on_ended};

  assert_int_equal(sfd_control_link_open(event, address.sun_path, json_object(), &user, &the_link),
                   0);
  peer = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
  turn_until_quiet();
}

/* What came before the end is told before the end. */
static void
lines_and_then_the_end(void **state) {
  begin();
  open_link();
  say("{\"n\":1}\n{\"n\":2}\n");
  turn_until_quiet();
  assert_string_equal(heard, "{\"n\":1};{\"n\":2};");
  say("{\"n\":3}\n");
  close(peer);
  turn_until(&ended);
  assert_int_equal(lines, 3);
  assert_int_equal(ended, 1);
  sd_event_unref(event);
}

static void
it_may_be_closed_where_a_line_is_told(void **state) {
  begin();
  open_link();
  close_at = 2;
  say("{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n");
  turn_until_quiet();
  assert_int_equal(lines, 2);
  assert_int_equal(ended, 0);
  finish();
}

/* At once, and not when the loop comes to it. */
static void
what_has_come_can_be_taken_at_once(void **state) {
  begin();
  open_link();
  say("{\"n\":1}\n");
  assert_int_equal(lines, 0);
  sfd_control_link_drain(the_link);
  assert_int_equal(lines, 1);
  sfd_control_link_close(the_link);
  finish();
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_request_and_its_reply),
      cmocka_unit_test(one_that_hangs_is_a_deadline),
      cmocka_unit_test(one_that_ends_or_talks_nonsense),
      cmocka_unit_test(one_that_is_not_there),
      cmocka_unit_test(a_call_that_is_cancelled_is_not_told),
      cmocka_unit_test(lines_and_then_the_end),
      cmocka_unit_test(it_may_be_closed_where_a_line_is_told),
      cmocka_unit_test(what_has_come_can_be_taken_at_once),
  };

  return cmocka_run_group_tests(tests, set_up, tear_down);
}

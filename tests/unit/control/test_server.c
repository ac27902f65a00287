/* The control server against clients that behave and clients that do not.  After each misdeed the
 * same server still answers. */
#include "server_rig.h"

/* ---- a client of bytes ---- */

static int
start_impatient(void **state) {
  struct fake_volume *fake = malloc(sizeof *fake);
  fake_volume_init(fake, "vol0", 150);
  fake_volume_start(fake);
  *state = fake;
  return 0;
}

/* ---- answers ---- */

/* The status reply is the document of `status --json` and "ok". */
static void
the_status(void **state) {
  struct fake_volume *fake = *state;
  int fd = connect_to(fake);
  send_line(fd, STATUS);
  json_t *reply = read_line(fd), *document = sf_status_to_json(&fake->status, 1);
  assert_true(json_is_true(json_object_get(reply, "ok")));
  json_object_del(reply, "ok");
  assert_true(json_equal(reply, document));
  json_decref(reply);
  json_decref(document);
  close(fd);
}

/* set and leg reach their handlers with the client's very words; a handler's line is the reply's
 * error, and its errno where it has no line. */
static void
handlers(void **state) {
  struct fake_volume *fake = *state;
  char call[256];
  int fd = connect_to(fake);
  send_line(fd, V1 "\"command\":\"set\",\"key\":\"leg.a.write_timeout\",\"value\":\"20ms\"}");
  expect_ok(fd);
  fake_volume_last_call(fake, call);
  assert_string_equal(call, "set leg.a.write_timeout=20ms");
  send_line(fd, V1 "\"command\":\"leg\",\"action\":\"discard\",\"leg\":\"c\"}");
  expect_ok(fd);
  fake_volume_last_call(fake, call);
  assert_string_equal(call, "leg discard c");

  send_line(fd, V1 "\"command\":\"leg\",\"action\":\"fail\",\"leg\":\"z\"}");
  expect_error(fd, "unknown leg \"z\"");
  send_line(fd, V1 "\"command\":\"set\",\"key\":\"name\",\"value\":\"x\"}");
  expect_error(fd, "name: cannot be changed while the volume runs");
  send_line(fd, V1 "\"command\":\"set\",\"key\":\"mute\",\"value\":\"x\"}");
  expect_error(fd, "Operation not permitted");
  pthread_mutex_lock(&fake->lock);
  fake->status_error = -ESHUTDOWN;
  pthread_mutex_unlock(&fake->lock);
  send_line(fd, STATUS);
  expect_error(fd, "Cannot send after transport endpoint shutdown");
  close(fd);
}

/* ---- broken messages ---- */

/* Each broken line is answered with its error on a connection that goes on: the next request on it
 * is served. */
static void
lines_that_are_broken(void **state) {
  struct fake_volume *fake = *state;
  int fd = connect_to(fake);
  for (unsigned i = 0; i < BROKEN_LINES; i++) {
    send_bytes(fd, broken_lines[i].bytes, broken_lines[i].len);
    send_bytes(fd, "\n", 1);
    expect_error(fd, broken_lines[i].error);
    send_line(fd, STATUS);
    expect_ok(fd);
  }
  close(fd);
}

/* A line of the longest kind is served; one byte more is refused by name, and the client dropped,
 * since where the next request begins is not known. */
static void
line_length(void **state) {
  struct fake_volume *fake = *state;
  char *line = malloc(SF_CONTROL_LINE_MAX + 1);
  memset(line, ' ', SF_CONTROL_LINE_MAX + 1);
  memcpy(line, STATUS, strlen(STATUS));
  int fd = connect_to(fake);
  send_bytes(fd, line, SF_CONTROL_LINE_MAX);
  send_bytes(fd, "\n", 1);
  expect_ok(fd);
  send_bytes(fd, line, SF_CONTROL_LINE_MAX + 1);
  expect_error(fd, "the request is longer than 65536 bytes");
  expect_closed(fd);
  free(line);
  expect_serving(fake);
}

/* A client that pours bytes without a newline is dropped, however much it would still send. */
static void
endless_line(void **state) {
  struct fake_volume *fake = *state;
  char bytes[4096];
  memset(bytes, 'x', sizeof bytes);
  int fd = connect_to(fake);
  for (unsigned i = 0; i < 1024; i++)
    send_bytes(fd, bytes, sizeof bytes);
  expect_error(fd, "the request is longer than 65536 bytes");
  expect_closed(fd);
  expect_serving(fake);
}

/* Half a line and the end of the sending side: told so.  Half a line and gone: nothing happens. */
static void
half_line(void **state) {
  struct fake_volume *fake = *state;
  int fd = connect_to(fake);
  send_bytes(fd, STATUS, 10);
  shutdown(fd, SHUT_WR);
  expect_error(fd, "the request ends without a newline");
  expect_closed(fd);

  fd = connect_to(fake);
  send_bytes(fd, STATUS, 10);
  close(fd);
  fd = connect_to(fake); /* nothing at all */
  close(fd);
  fd = connect_to(fake); /* a request, and gone before the answer */
  send_line(fd, STATUS);
  close(fd);
  expect_serving(fake);
}

/* A request and then the end of the sending side, as `echo ... | nc -U` does it: answered. */
static void
half_close(void **state) {
  int fd = connect_to(*state);
  send_line(fd, STATUS);
  shutdown(fd, SHUT_WR);
  expect_ok(fd);
  expect_closed(fd);
}

/* A request that comes byte by byte is one request. */
static void
byte_by_byte(void **state) {
  int fd = connect_to(*state);
  for (const char *byte = STATUS "\n"; *byte; byte++)
    send_bytes(fd, byte, 1);
  expect_ok(fd);
  close(fd);
}

/* Many requests in one go are answered each, in order, also when there are more answers than the
 * sockets hold: the server waits with reading, and not for the client. */
static void
many_requests_at_once(void **state) {
  enum { REQUESTS = 2000, STEP = 20 };
  struct fake_volume *fake = *state;
  int fd = connect_to(fake);
  char bytes[STEP * sizeof(STATUS "\nx\n")] = "";
  for (unsigned i = 0; i < STEP; i++)
    strcat(bytes, i % 2 ? STATUS "\n" : "x\n");
  size_t len = strlen(bytes);
  unsigned sent = 0;
  /* As much as goes without reading ... */
  while (sent < REQUESTS && send(fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t) len) {
    sent += STEP;
    expect_serving(fake);
  }
  for (unsigned i = 0; i < sent / STEP * STEP; i++) {
    if (i % 2)
      expect_ok(fd);
    else
      expect_error(fd, "not a JSON object: '[' or '{' expected near 'x' at byte 1");
  }
  assert_true(sent > 0);
  close(fd);
}

/* ---- limits ---- */

/* The 33rd client is told why it is not served, the 32 go on, and when one leaves its place is
 * free. */
static void
too_many_clients(void **state) {
  struct fake_volume *fake = *state;
  int fd[SF_CONTROL_CLIENTS_MAX];
  for (unsigned i = 0; i < SF_CONTROL_CLIENTS_MAX; i++) {
    fd[i] = connect_to(fake);
    send_line(fd[i], STATUS);
    expect_ok(fd[i]);
  }
  int late = connect_to(fake);
  expect_error(late, "too many clients: 32");
  expect_closed(late);
  for (unsigned i = 0; i < SF_CONTROL_CLIENTS_MAX; i++) {
    send_line(fd[i], STATUS);
    expect_ok(fd[i]);
  }
  /* Its goodbye and the next hello may come in the same turn: the hello may be too early once. */
  close(fd[7]);
  json_t *reply = NULL, *request = json_pack("{ss}", "command", "status");
  bool ok = false;
  for (unsigned tries = 0; tries < 100 && !ok; tries++) {
    assert_int_equal(sf_control_call(fake->path, request, PATIENCE_MS, &reply), 0);
    ok = json_is_true(json_object_get(reply, "ok"));
    json_decref(reply);
  }
  assert_true(ok);
  json_decref(request);
  for (unsigned i = 0; i < SF_CONTROL_CLIENTS_MAX; i++)
    if (i != 7)
      close(fd[i]);
}

/* A quiet client, a client that trickles a line without end, and a client that does not take its
 * reply are dropped after the quiet time; a follower may be quiet as long as it likes. */
static void
quiet_clients(void **state) {
  struct fake_volume *fake = *state;
  int follower = connect_to(fake), quiet = connect_to(fake), trickle = connect_to(fake);
  send_line(follower, FOLLOW);
  expect_ok(follower);
  expect_error(quiet, "no whole request for 150 ms");
  expect_closed(quiet);

  bool dropped = false;
  for (unsigned i = 0; i < 1000 && !dropped; i++) {
    send_bytes(trickle, "x", 1);
    struct pollfd wait = {.fd = trickle, .events = POLLIN};
    dropped = poll(&wait, 1, 10) == 1;
  }
  assert_true(dropped);
  expect_error(trickle, "no whole request for 150 ms");
  expect_closed(trickle);

  int deaf = connect_to(fake);
  char requests[100 * sizeof(STATUS "\n")] = "";
  for (unsigned i = 0; i < 100; i++)
    strcat(requests, STATUS "\n");
  while (send(deaf, requests, strlen(requests), MSG_NOSIGNAL) > 0)
    ; /* until EPIPE */
  assert_true(errno == EPIPE || errno == ECONNRESET);
  close(deaf);

  fake_volume_event(fake, "still there");
  expect_event(follower, "still there");
  close(follower);
  expect_serving(fake);
}

/* ---- events ---- */

/* Destroying the server under its clients: followers hear the last event, then all are closed. */
static void
destroy_under_clients(void **state) {
  (void) state;
  struct fake_volume fake;
  fake_volume_init(&fake, "vol0", 0);
  fake_volume_start(&fake);
  int follower = connect_to(&fake), idle = connect_to(&fake);
  send_line(follower, FOLLOW);
  expect_ok(follower);
  send_line(idle, STATUS);
  expect_ok(idle);
  fake_volume_event(&fake, "the end");
  fake_volume_destroy(&fake);
  expect_event(follower, "the end");
  expect_closed(follower);
  expect_closed(idle);
}

/* ---- many at once ---- */

static void *
ask_much(void *arg) {
  struct fake_volume *fake = arg;
  json_t *status = json_pack("{ss}", "command", "status");
  json_t *set = json_pack("{ssssss}", "command", "set", "key", "k", "value", "v");
  uintptr_t wrong = 0;
  for (unsigned i = 0; i < 50; i++) {
    json_t *reply = NULL;
    if (sf_control_call(fake->path, i % 2 ? status : set, PATIENCE_MS, &reply) < 0 ||
        !json_is_true(json_object_get(reply, "ok")))
      wrong++;
    json_decref(reply);
  }
  json_decref(status);
  json_decref(set);
  return (void *) wrong;
}

/* Askers, followers and tellers from many threads at once: no race (under the thread sanitizer),
 * every question answered, every follower sees the end. */
static void
many_threads(void **state) {
  enum { ASKERS = 8, TELLERS = 4, FOLLOWERS = 4 };
  struct fake_volume *fake = *state;
  pthread_t asker[ASKERS], teller[TELLERS], following[FOLLOWERS];
  struct teller telling[TELLERS];
  struct follower followers[FOLLOWERS];
  for (unsigned i = 0; i < FOLLOWERS; i++) {
    followers[i] = (struct follower){.fake = fake};
    pthread_create(&following[i], NULL, follow, &followers[i]);
  }
  for (unsigned i = 0; i < TELLERS; i++) {
    telling[i] = (struct teller){.fake = fake, .from = i * 1000, .count = 300};
    pthread_create(&teller[i], NULL, tell_events, &telling[i]);
  }
  for (unsigned i = 0; i < ASKERS; i++)
    pthread_create(&asker[i], NULL, ask_much, fake);
  for (unsigned i = 0; i < ASKERS; i++) {
    void *wrong;
    pthread_join(asker[i], &wrong);
    assert_ptr_equal(wrong, NULL);
  }
  for (unsigned i = 0; i < TELLERS; i++)
    pthread_join(teller[i], NULL);
  /* A follower that connects after the end has it in its answer, not as a line: tell it again. */
  fake_volume_event(fake, "end");
  for (unsigned i = 0; i < FOLLOWERS; i++) {
    while (pthread_tryjoin_np(following[i], NULL) == EBUSY) {
      fake_volume_event(fake, "end");
      expect_serving(fake);
    }
    assert_int_equal(followers[i].r, 0);
    assert_true(followers[i].count >= 2);
  }
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      WITH_SERVER(the_status),
      WITH_SERVER(handlers),
      WITH_SERVER(lines_that_are_broken),
      WITH_SERVER(line_length),
      WITH_SERVER(endless_line),
      WITH_SERVER(half_line),
      WITH_SERVER(half_close),
      WITH_SERVER(byte_by_byte),
      WITH_SERVER(many_requests_at_once),
      WITH_SERVER(too_many_clients),
      cmocka_unit_test_setup_teardown(quiet_clients, start_impatient, stop),
      cmocka_unit_test(destroy_under_clients),
      WITH_SERVER(many_threads),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

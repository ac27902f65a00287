/* The control server against clients that behave and clients that do not.  After each misdeed the
 * same server still answers. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "broken_lines.h"
#include "fake_volume.h"

#define STATUS V1 "\"command\":\"status\"}"
#define FOLLOW V1 "\"command\":\"events\",\"follow\":true}"

enum { PATIENCE_MS = 20000 };

/* ---- a client of bytes ---- */

static int
try_connect(const char *path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  strcpy(address.sun_path, path);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd >= 0 && connect(fd, (struct sockaddr *) &address, sizeof address) < 0) {
    close(fd);
    return -1;
  }
  return fd;
}

static int
connect_to(const struct fake_volume *fake) {
  int fd = try_connect(fake->path);
  assert_true(fd >= 0);
  return fd;
}

static void
send_bytes(int fd, const char *bytes, size_t len) {
  while (len > 0) {
    ssize_t sent = send(fd, bytes, len, MSG_NOSIGNAL);
    if (sent < 0 && (errno == EPIPE || errno == ECONNRESET))
      return; /* the server may have had enough already */
    assert_true(sent > 0);
    bytes += sent;
    len -= (size_t) sent;
  }
}

static void
send_line(int fd, const char *line) {
  send_bytes(fd, line, strlen(line));
  send_bytes(fd, "\n", 1);
}

/* Takes a line and nothing that comes after it.  NULL: the server closed. */
static json_t *
read_line(int fd) {
  size_t len = 0, size = 1024 * 1024;
  char *line = malloc(size), *newline = NULL;
  while (!newline) {
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&wait, 1, PATIENCE_MS), 1);
    ssize_t there = recv(fd, line + len, size - len, MSG_PEEK);
    if (there <= 0) {
      assert_int_equal(len, 0); /* never half a line */
      free(line);
      return NULL;
    }
    newline = memchr(line + len, '\n', (size_t) there);
    size_t take = newline ? (size_t) (newline + 1 - line) - len : (size_t) there;
    assert_int_equal(recv(fd, line + len, take, 0), take);
    len += take;
    assert_true(len < size);
  }
  json_t *object = json_loadb(line, len - 1, 0, NULL);
  assert_true(json_is_object(object));
  free(line);
  return object;
}

static void
expect_ok(int fd) {
  json_t *reply = read_line(fd);
  assert_non_null(reply);
  assert_true(json_is_true(json_object_get(reply, "ok")));
  json_decref(reply);
}

static void
expect_error(int fd, const char *error) {
  json_t *reply = read_line(fd);
  assert_non_null(reply);
  assert_true(json_is_false(json_object_get(reply, "ok")));
  const char *text = json_string_value(json_object_get(reply, "error"));
  assert_non_null(text);
  assert_true(*text);
  if (error)
    assert_string_equal(text, error);
  json_decref(reply);
}

static void
expect_closed(int fd) {
  assert_null(read_line(fd));
  close(fd);
}

static void
expect_event(int fd, const char *reason) {
  json_t *event = read_line(fd);
  assert_non_null(event);
  assert_string_equal(json_string_value(json_object_get(event, "reason")), reason);
  json_decref(event);
}

static void
expect_serving(const struct fake_volume *fake) {
  int fd = connect_to(fake);
  send_line(fd, STATUS);
  expect_ok(fd);
  close(fd);
}

static int
start(void **state) {
  struct fake_volume *fake = malloc(sizeof *fake);
  fake_volume_init(fake, "vol0", 0);
  fake_volume_start(fake);
  *state = fake;
  return 0;
}

static int
start_impatient(void **state) {
  struct fake_volume *fake = malloc(sizeof *fake);
  fake_volume_init(fake, "vol0", 150);
  fake_volume_start(fake);
  *state = fake;
  return 0;
}

static int
stop(void **state) {
  fake_volume_destroy(*state);
  free(*state);
  return 0;
}

/* ---- answers ---- */

/* The status reply is the document of `status --json` and "ok". */
static void
test_status(void **state) {
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
test_handlers(void **state) {
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
test_broken_lines(void **state) {
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
test_line_length(void **state) {
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
test_endless_line(void **state) {
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
test_half_line(void **state) {
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
test_half_close(void **state) {
  int fd = connect_to(*state);
  send_line(fd, STATUS);
  shutdown(fd, SHUT_WR);
  expect_ok(fd);
  expect_closed(fd);
}

/* A request that comes byte by byte is one request. */
static void
test_byte_by_byte(void **state) {
  int fd = connect_to(*state);
  for (const char *byte = STATUS "\n"; *byte; byte++)
    send_bytes(fd, byte, 1);
  expect_ok(fd);
  close(fd);
}

/* Many requests in one go are answered each, in order, also when there are more answers than the
 * sockets hold: the server waits with reading, and not for the client. */
static void
test_many_requests_at_once(void **state) {
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
test_too_many_clients(void **state) {
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

/* A quiet client, one that trickles a line without end, and one that does not take its reply are
 * dropped after the quiet time; a follower may be quiet as long as it likes. */
static void
test_quiet_clients(void **state) {
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

/* Without follow: what was kept, the oldest forgotten, and the connection is as any other. */
static void
test_events(void **state) {
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
test_event_with_a_long_reason(void **state) {
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

struct teller {
  struct fake_volume *fake;
  unsigned from, count;
};

/* Not faster than the followers are served: a status between is one turn of the server. */
static void *
tell_events(void *arg) {
  struct teller *teller = arg;
  json_t *request = json_pack("{ss}", "command", "status"), *reply;
  for (unsigned i = 0; i < teller->count; i++) {
    char reason[32];
    snprintf(reason, sizeof reason, "number %u", teller->from + i);
    fake_volume_event(teller->fake, reason);
    if (i % 100 == 99 && sf_control_call(teller->fake->path, request, PATIENCE_MS, &reply) == 0)
      json_decref(reply);
  }
  json_decref(request);
  return NULL;
}

/* A follower that comes while events are told sees each of them once, in order: those before in
 * the answer, those after one by one. */
static void
test_follow_without_gap(void **state) {
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

/* A follower that sends a request is told no and dropped; one that closes its sending side goes on
 * following; one that goes away is forgotten. */
static void
test_follower_behaviour(void **state) {
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

/* A follower that does not read is dropped when its queue is full; nobody waited for it, and a
 * follower that reads has every event. */
static void
test_slow_follower(void **state) {
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

/* Destroying the server under its clients: followers hear the last event, then all are closed. */
static void
test_destroy_under_clients(void **state) {
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

static bool
count_until_end(void *arg, json_t *object) {
  unsigned *count = arg;
  ++*count;
  const char *reason = json_string_value(json_object_get(object, "reason"));
  return !reason || strcmp(reason, "end") != 0;
}

struct follower {
  struct fake_volume *fake;
  unsigned count;
  int rc;
};

static void *
follow(void *arg) {
  struct follower *follower = arg;
  json_t *request = json_pack("{sssb}", "command", "events", "follow", 1);
  follower->rc =
      sf_control_follow(follower->fake->path, request, count_until_end, &follower->count);
  json_decref(request);
  return NULL;
}

/* Askers, followers and tellers from many threads at once: no race (under the thread sanitizer),
 * every question answered, every follower sees the end. */
static void
test_many_threads(void **state) {
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
    assert_int_equal(followers[i].rc, 0);
    assert_true(followers[i].count >= 2);
  }
}

/* ---- the socket file ---- */

static int
create_at(const char *path, struct sf_control_server **server) {
  static struct fake_volume nobody;
  struct sf_control_handlers handlers = fake_volume_handlers(&nobody);
  return sf_control_server_create(path, "vol0", &handlers, server);
}

static int
make_directory(void **state) {
  char *directory = strdup("/tmp/sf-control-XXXXXX");
  *state = directory;
  return mkdtemp(directory) ? 0 : -1;
}

static int
remove_directory(void **state) {
  int rc = rmdir(*state);
  free(*state);
  return rc;
}

/* A missing directory is made 0755, not its parents; the socket is 0660 whatever the umask. */
static void
test_modes(void **state) {
  const char *directory = *state;
  char below[96], path[128];
  struct stat st;
  struct sf_control_server *server = NULL;
  snprintf(below, sizeof below, "%s/run", directory);
  snprintf(path, sizeof path, "%s/vol0.ctl", below);
  static const mode_t masks[] = {022, 0, 0077};
  for (unsigned i = 0; i < 3; i++) {
    mode_t before = umask(masks[i]);
    assert_int_equal(create_at(path, &server), 0);
    umask(before);
    assert_int_equal(stat(path, &st), 0);
    assert_true(S_ISSOCK(st.st_mode));
    assert_int_equal(st.st_mode & 07777, 0660);
    if (i == 0) {
      assert_int_equal(stat(below, &st), 0);
      assert_int_equal(st.st_mode & 07777, 0755);
    }
    sf_control_server_destroy(server);
    assert_int_equal(access(path, F_OK), -1);
  }
  assert_int_equal(rmdir(below), 0);
  snprintf(path, sizeof path, "%s/no/such/vol0.ctl", directory);
  assert_int_equal(create_at(path, &server), -ENOENT);
}

/* A live socket is refused, also one that has no thread yet; the loser leaves it untouched. */
static void
test_live_socket(void **state) {
  char path[128];
  snprintf(path, sizeof path, "%s/vol0.ctl", (char *) *state);
  struct sf_control_server *first = NULL, *second = NULL;
  assert_int_equal(create_at(path, &first), 0);
  assert_int_equal(create_at(path, &second), -EADDRINUSE);
  assert_null(second);
  int fd = try_connect(path);
  assert_true(fd >= 0);
  close(fd);
  sf_control_server_destroy(first);
}

/* What a killed server left is replaced. */
static void
test_abandoned_socket(void **state) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  snprintf(address.sun_path, sizeof address.sun_path, "%s/vol0.ctl", (char *) *state);
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  assert_int_equal(bind(fd, (struct sockaddr *) &address, sizeof address), 0);
  close(fd);
  struct sf_control_server *server = NULL;
  assert_int_equal(create_at(address.sun_path, &server), 0);
  fd = try_connect(address.sun_path);
  assert_true(fd >= 0);
  close(fd);
  sf_control_server_destroy(server);
}

/* A file, a directory or a link in the way is refused and stays. */
static void
test_something_else_there(void **state) {
  const char *directory = *state;
  char path[128];
  struct sf_control_server *server = NULL;
  snprintf(path, sizeof path, "%s/vol0.ctl", directory);
  close(open(path, O_CREAT | O_WRONLY, 0600));
  assert_int_equal(create_at(path, &server), -EEXIST);
  assert_int_equal(unlink(path), 0);
  assert_int_equal(mkdir(path, 0700), 0);
  assert_int_equal(create_at(path, &server), -EEXIST);
  assert_int_equal(rmdir(path), 0);
  assert_int_equal(symlink("/nowhere", path), 0);
  assert_int_equal(create_at(path, &server), -EEXIST);
  assert_int_equal(unlink(path), 0);
  assert_null(server);
}

/* The longest path that a Unix socket can have is taken, one more is refused by name. */
static void
test_long_path(void **state) {
  const char *directory = *state;
  char path[256];
  struct sf_control_server *server = NULL;
  memset(path, 'x', sizeof path);
  memcpy(path, directory, strlen(directory));
  path[strlen(directory)] = '/';
  path[108] = '\0';
  assert_int_equal(create_at(path, &server), -ENAMETOOLONG);
  path[107] = '\0';
  assert_int_equal(create_at(path, &server), 0);
  sf_control_server_destroy(server);
  assert_int_equal(create_at("", &server), -EINVAL);
  assert_int_equal(create_at("/tmp/", &server), -EINVAL);
}

/* A relative path is removed also after a chdir, which nbdkit does when it goes to the background;
 * a socket that another server has put in its place is left alone. */
static void
test_removal(void **state) {
  const char *directory = *state;
  char path[128], before[4096];
  struct sf_control_server *server = NULL, *other = NULL;
  snprintf(path, sizeof path, "%s/vol0.ctl", directory);
  assert_non_null(getcwd(before, sizeof before));
  assert_int_equal(chdir(directory), 0);
  assert_int_equal(create_at("vol0.ctl", &server), 0);
  assert_int_equal(chdir(before), 0);
  sf_control_server_destroy(server);
  assert_int_equal(access(path, F_OK), -1);

  assert_int_equal(create_at(path, &server), 0);
  assert_int_equal(unlink(path), 0);
  assert_int_equal(create_at(path, &other), 0);
  sf_control_server_destroy(server);
  int fd = try_connect(path);
  assert_true(fd >= 0);
  close(fd);
  sf_control_server_destroy(other);
  sf_control_server_destroy(NULL);
}

struct binder {
  char path[128];
  atomic_uint *to_come; /* all begin when it is 0 */
  struct sf_control_server *server;
  int rc;
};

static void *
bind_together(void *arg) {
  struct binder *binder = arg;
  /* Not a barrier: that wakes them one after the other, and the first is done too soon. */
  atomic_fetch_sub(binder->to_come, 1);
  while (atomic_load(binder->to_come) > 0)
    ;
  binder->rc = create_at(binder->path, &binder->server);
  return NULL;
}

/* Of two that find one abandoned socket at the same time exactly one gets it. */
static void
test_race_for_abandoned_socket(void **state) {
  enum { RACERS = 2, RACES = 500 };
  for (unsigned race = 0; race < RACES; race++) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s/vol0.ctl", (char *) *state);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *) &address, sizeof address), 0);
    close(fd);
    struct binder binder[RACERS];
    pthread_t thread[RACERS];
    atomic_uint to_come = RACERS;
    for (unsigned i = 0; i < RACERS; i++) {
      binder[i] = (struct binder){.to_come = &to_come};
      strcpy(binder[i].path, address.sun_path);
      pthread_create(&thread[i], NULL, bind_together, &binder[i]);
    }
    unsigned winners = 0;
    for (unsigned i = 0; i < RACERS; i++) {
      pthread_join(thread[i], NULL);
      assert_true(binder[i].rc == 0 || binder[i].rc == -EADDRINUSE);
      winners += binder[i].rc == 0;
    }
    assert_int_equal(winners, 1);
    for (unsigned i = 0; i < RACERS; i++)
      sf_control_server_destroy(binder[i].server);
  }
}

/* The look at the socket file and its replacement are one step under the directory's lock: while
 * somebody else is in it, nobody binds, and nobody waits for long. */
static void
test_directory_lock(void **state) {
  char path[128];
  struct sf_control_server *server = NULL;
  snprintf(path, sizeof path, "%s/vol0.ctl", (char *) *state);
  int directory_fd = open(*state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  assert_int_equal(flock(directory_fd, LOCK_EX), 0);
  assert_int_equal(create_at(path, &server), -EADDRINUSE);
  assert_int_equal(access(path, F_OK), -1);
  close(directory_fd);
  assert_int_equal(create_at(path, &server), 0);
  sf_control_server_destroy(server);
}

/* ---- the client ---- */

/* The client never waits longer than it was told, and says what happened: nobody there, nobody
 * answering (a server without its thread). */
static void
test_client_failures(void **state) {
  char path[128];
  snprintf(path, sizeof path, "%s/vol0.ctl", (char *) *state);
  json_t *request = json_pack("{ss}", "command", "status"), *reply = NULL;
  assert_int_equal(sf_control_call(path, request, 50, &reply), -ENOENT);
  struct sf_control_server *server = NULL;
  assert_int_equal(create_at(path, &server), 0);
  assert_int_equal(sf_control_call(path, request, 50, &reply), -ETIMEDOUT);
  sf_control_server_destroy(server);

  memset(path, 'x', sizeof path);
  path[sizeof path - 1] = '\0';
  assert_int_equal(sf_control_call(path, request, 50, &reply), -ENAMETOOLONG);
  assert_null(reply);
  json_decref(request);
}

struct strange_server {
  int listen_fd;
  const char *answer;
};

static void *
answer_strangely(void *arg) {
  struct strange_server *strange = arg;
  int fd = accept(strange->listen_fd, NULL, NULL);
  char request[4096];
  if (recv(fd, request, sizeof request, 0) > 0)
    send(fd, strange->answer, strlen(strange->answer), MSG_NOSIGNAL);
  close(fd);
  return NULL;
}

/* A server that answers nonsense, half a line or nothing is an error of its own each. */
static void
test_client_and_strange_servers(void **state) {
  static const struct {
    const char *answer;
    int rc;
  } cases[] = {{"hello\n", -EPROTO},        {"[]\n", -EPROTO}, {"\n", -EPROTO},
               {"{\"ok\":tr", -ECONNRESET}, {"", -ECONNRESET}, {"{\"ok\":true}\nmore", 0}};
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  snprintf(address.sun_path, sizeof address.sun_path, "%s/vol0.ctl", (char *) *state);
  struct strange_server strange = {.listen_fd = socket(AF_UNIX, SOCK_STREAM, 0)};
  assert_int_equal(bind(strange.listen_fd, (struct sockaddr *) &address, sizeof address), 0);
  assert_int_equal(listen(strange.listen_fd, 5), 0);
  json_t *request = json_pack("{ss}", "command", "status");
  for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    strange.answer = cases[i].answer;
    pthread_t thread;
    pthread_create(&thread, NULL, answer_strangely, &strange);
    json_t *reply = NULL;
    assert_int_equal(sf_control_call(address.sun_path, request, PATIENCE_MS, &reply), cases[i].rc);
    assert_int_equal(reply != NULL, cases[i].rc == 0);
    json_decref(reply);
    pthread_join(thread, NULL);
  }
  json_decref(request);
  close(strange.listen_fd);
  unlink(address.sun_path);
}

#define WITH_SERVER(test)    cmocka_unit_test_setup_teardown(test, start, stop)
#define WITH_DIRECTORY(test) cmocka_unit_test_setup_teardown(test, make_directory, remove_directory)

int
main(void) {
  const struct CMUnitTest tests[] = {
      WITH_SERVER(test_status),
      WITH_SERVER(test_handlers),
      WITH_SERVER(test_broken_lines),
      WITH_SERVER(test_line_length),
      WITH_SERVER(test_endless_line),
      WITH_SERVER(test_half_line),
      WITH_SERVER(test_half_close),
      WITH_SERVER(test_byte_by_byte),
      WITH_SERVER(test_many_requests_at_once),
      WITH_SERVER(test_too_many_clients),
      cmocka_unit_test_setup_teardown(test_quiet_clients, start_impatient, stop),
      WITH_SERVER(test_events),
      WITH_SERVER(test_event_with_a_long_reason),
      WITH_SERVER(test_follow_without_gap),
      WITH_SERVER(test_follower_behaviour),
      WITH_SERVER(test_slow_follower),
      cmocka_unit_test(test_destroy_under_clients),
      WITH_SERVER(test_many_threads),
      WITH_DIRECTORY(test_modes),
      WITH_DIRECTORY(test_live_socket),
      WITH_DIRECTORY(test_abandoned_socket),
      WITH_DIRECTORY(test_something_else_there),
      WITH_DIRECTORY(test_long_path),
      WITH_DIRECTORY(test_removal),
      WITH_DIRECTORY(test_race_for_abandoned_socket),
      WITH_DIRECTORY(test_directory_lock),
      WITH_DIRECTORY(test_client_failures),
      WITH_DIRECTORY(test_client_and_strange_servers),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

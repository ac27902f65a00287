/* A control server, and a client of bytes. */
#include "server_rig.h"

int
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

int
connect_to(const struct fake_volume *fake) {
  int fd = try_connect(fake->path);
  assert_true(fd >= 0);
  return fd;
}

void
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

void
send_line(int fd, const char *line) {
  send_bytes(fd, line, strlen(line));
  send_bytes(fd, "\n", 1);
}

/* Takes a line and nothing that comes after it.  NULL: the server closed. */
json_t *
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

void
expect_ok(int fd) {
  json_t *reply = read_line(fd);
  assert_non_null(reply);
  assert_true(json_is_true(json_object_get(reply, "ok")));
  json_decref(reply);
}

void
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

void
expect_closed(int fd) {
  assert_null(read_line(fd));
  close(fd);
}

void
expect_event(int fd, const char *reason) {
  json_t *event = read_line(fd);
  assert_non_null(event);
  assert_string_equal(json_string_value(json_object_get(event, "reason")), reason);
  json_decref(event);
}

void
expect_serving(const struct fake_volume *fake) {
  int fd = connect_to(fake);
  send_line(fd, STATUS);
  expect_ok(fd);
  close(fd);
}

int
start(void **state) {
  struct fake_volume *fake = malloc(sizeof *fake);
  fake_volume_init(fake, "vol0", 0);
  fake_volume_start(fake);
  *state = fake;
  return 0;
}

int
stop(void **state) {
  fake_volume_destroy(*state);
  free(*state);
  return 0;
}

/* Not faster than the followers are served: a status between is one turn of the server. */
void *
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

static bool
count_until_end(void *arg, json_t *object) {
  unsigned *count = arg;
  ++*count;
  const char *reason = json_string_value(json_object_get(object, "reason"));
  return !reason || strcmp(reason, "end") != 0;
}

void *
follow(void *arg) {
  struct follower *follower = arg;
  json_t *request = json_pack("{sssb}", "command", "events", "follow", 1);
  follower->r = sf_control_follow(follower->fake->path, request, count_until_end, &follower->count);
  json_decref(request);
  return NULL;
}

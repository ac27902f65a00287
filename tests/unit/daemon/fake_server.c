#include "fake_server.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- the server ---- */

struct fake fake;

int
sfd_server_start(struct server *server, const char *const argv[], int listen_fd) {
  struct stat st;
  assert_int_equal(stat(argv[6], &st), 0); /* its configuration */
  snprintf(fake.force, sizeof fake.force, "%s", argv[7] ? argv[7] : "");
  if (fake.start_error)
    return fake.start_error;
  fake.server = server;
  fake.starts++;
  server->pid = 1000000 + (pid_t) fake.starts;
  server->last_line[0] = '\0';
  return 0;
}

void
sfd_server_signal(struct server *server, int signal) {
  if (!server->pid)
    return;
  fake.last_signal = signal;
  fake.signals++;
}

void
sfd_server_destroy(struct server *server) {
  server->pid = 0;
}

void
end_server(const char *how) {
  fake.server->pid = 0;
  fake.server->ended(fake.server->ctx, how);
}

/* ---- the proof ---- */

struct probe {
  void (*done)(void *ctx, const struct probe_result *result);
  void *ctx;
};

int
sfd_probe_start(sd_event *event, const char *socket,
                void (*done)(void *ctx, const struct probe_result *result), void *ctx,
                struct probe **probe) {
  *probe = malloc(sizeof **probe);
  **probe = (struct probe){done, ctx};
  fake.probe = *probe;
  snprintf(fake.probed, sizeof fake.probed, "%s", socket);
  return 0;
}

void
sfd_probe_cancel(struct probe *probe) {
  if (probe == fake.probe)
    fake.probe = NULL;
  free(probe);
}

void
end_probe(int error) {
  struct probe *probe = fake.probe;
  struct probe_result result = {.error = error, .fd = error ? -1 : open("/dev/null", O_RDONLY)};
  assert_non_null(probe);
  fake.probe = NULL;
  probe->done(probe->ctx, &result);
  free(probe);
}

/* ---- its control socket ---- */

struct call {
  void (*done)(void *ctx, int error, json_t *reply);
  void *ctx;
};

int
sfd_call_start(sd_event *event, const char *path, json_t *request, uint64_t timeout_us,
               void (*done)(void *ctx, int error, json_t *reply), void *ctx, struct call **call) {
  snprintf(fake.command, sizeof fake.command, "%s",
           json_string_value(json_object_get(request, "command")));
  json_decref(request);
  *call = malloc(sizeof **call);
  **call = (struct call){done, ctx};
  fake.call = *call;
  return 0;
}

void
sfd_call_cancel(struct call *call) {
  if (call == fake.call)
    fake.call = NULL;
  free(call);
}

void
end_call(int error, json_t *reply) {
  struct call *call = fake.call;
  assert_non_null(call);
  fake.call = NULL;
  call->done(call->ctx, error, reply);
  free(call);
  json_decref(reply);
}

struct control_link {
  struct control_link_user user;
};

int
sfd_control_link_open(sd_event *event, const char *path, json_t *request,
                      const struct control_link_user *user, struct control_link **control_link) {
  json_decref(request);
  *control_link = malloc(sizeof **control_link);
  (*control_link)->user = *user;
  fake.feed = *control_link;
  return 0;
}

void
sfd_control_link_drain(struct control_link *control_link) {
}

void
sfd_control_link_close(struct control_link *control_link) {
  if (control_link == fake.feed)
    fake.feed = NULL;
  free(control_link);
}

void
feed_line(json_t *line) {
  fake.feed->user.line(fake.feed->user.ctx, line);
  json_decref(line);
}

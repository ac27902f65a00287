/* The device's states, with a kernel that is a folder: netlink requests change files in it, and
 * each leaves a line in "calls".  They are made in child processes, so what they are to do stands
 * in files too. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "device/device.h"
#include "device/netlink.h"

#define UUID    "11111111-2222-3333-4444-555555555555"
#define PATIENT UINT64_C(30000000)

static char folder[] = "/tmp/test-device-XXXXXX";

/* ---- the kernel ---- */

static void
path_of(char path[256], const char *name) {
  snprintf(path, 256, "%s/nbd7/%s", folder, name);
}

static void
put(const char *name, const char *text) {
  char path[256];
  path_of(path, name);
  if (!text) {
    unlink(path);
    return;
  }
  FILE *stream = fopen(path, "we");
  assert_non_null(stream);
  fprintf(stream, "%s\n", text);
  fclose(stream);
}

static bool
is_there(const char *name) {
  char path[256];
  path_of(path, name);
  return access(path, F_OK) == 0;
}

static void
note_call(const char *name) {
  char path[256];
  path_of(path, "calls");
  int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  dprintf(fd, "%s ", name);
  close(fd);
}

static void
show(const struct netlink_device *device) {
  char size[32];
  snprintf(size, sizeof size, "%llu", (unsigned long long) device->size_bytes / 512);
  put("pid", "1234");
  put("backend", device->identifier);
  put("size", size);
}

int
sfd_netlink_connect(const struct netlink_device *device) {
  note_call("connect");
  assert_true(fcntl(device->fd, F_GETFD) >= 0);
  if (is_there("says-yes-does-nothing"))
    return 0;
  show(device);
  return 0;
}

int
sfd_netlink_reconnect(const struct netlink_device *device) {
  note_call("reconnect");
  if (is_there("refuses"))
    return -EINVAL;
  show(device);
  return 0;
}

int
sfd_netlink_set_timeouts(const struct netlink_device *device) {
  note_call("timeouts");
  return 0;
}

int
sfd_netlink_disconnect(const struct netlink_device *device) {
  note_call("disconnect");
  put("pid", NULL);
  return 0;
}

int
sfd_netlink_listen(sd_event *event, void (*dead)(void *ctx, unsigned index), void *ctx,
                   struct netlink_listener **listener) {
  return -ENOENT;
}

void
sfd_netlink_listener_close(struct netlink_listener *listener) {
}

/* ---- the owner ---- */

struct owner {
  sd_event *event;
  struct device device;
  unsigned wants, stopped, lost;
  int server_fd; /* the server's end of the last connection */
};

static void
on_wants(void *ctx) {
  struct owner *owner = ctx;
  owner->wants++;
}

static void
on_changed(void *ctx) {
}

static void
on_lost(void *ctx, const char *why) {
  struct owner *owner = ctx;
  assert_string_equal(owner->device.reason, why);
  owner->lost++;
}

static void
on_stopped(void *ctx) {
  struct owner *owner = ctx;
  owner->stopped++;
}

static void
begin(struct owner *owner) {
  static struct sf_config config;
  *owner = (struct owner){.server_fd = -1};
  sigset_t child;
  sigemptyset(&child);
  sigaddset(&child, SIGCHLD);
  sigprocmask(SIG_BLOCK, &child, NULL);
  assert_true(sd_event_new(&owner->event) >= 0);
  owner->device = (struct device){.event = owner->event,
                                  .volume = "vol0",
                                  .wants = on_wants,
                                  .changed = on_changed,
                                  .lost = on_lost,
                                  .stopped = on_stopped,
                                  .ctx = owner,
                                  .connection.fd = -1};
  sf_config_init(&config);
  strcpy(config.device, "/dev/nbd7");
  put("calls", NULL);
  sfd_device_begin(&owner->device, &config);
  strcpy(owner->device.path, "/dev/null"); /* a file that is there */
}

static void
end(struct owner *owner) {
  sfd_device_end(&owner->device);
  close(owner->server_fd);
  sd_event_unref(owner->event);
  const char *const files[] = {"pid",    "backend", "size", "calls", "says-yes-does-nothing",
                               "refuses"};
  for (unsigned i = 0; i < sizeof files / sizeof *files; i++)
    put(files[i], NULL);
}

static void
connect_it(struct owner *owner) {
  int ends[2];
  if (owner->server_fd >= 0)
    close(owner->server_fd);
  assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  owner->server_fd = ends[1];
  const struct probe_result connection = {
      .fd = ends[0], .size_bytes = 1 << 20, .block_bytes = 4096};
  sfd_device_connect(&owner->device, &connection, UUID);
}

static const char *
calls(void) {
  static char text[400];
  char path[256];
  path_of(path, "calls");
  text[0] = '\0';
  FILE *stream = fopen(path, "re");
  if (stream && !fgets(text, sizeof text, stream))
    text[0] = '\0';
  if (stream)
    fclose(stream);
  return text;
}

/* Runs the loop until the condition holds. */
#define WAIT_UNTIL(owner, condition)                                                               \
  while (!(condition)) {                                                                           \
    int run = sd_event_run((owner)->event, PATIENT);                                               \
    if (run <= 0)                                                                                  \
      fail_msg("not in time: %s (state %d, calls %s)", #condition, (owner)->device.state,          \
               calls());                                                                           \
  }

static void
attach_it(struct owner *owner) {
  connect_it(owner);
  WAIT_UNTIL(owner, owner->device.state != DEVICE_ATTACHING);
  assert_int_equal(owner->device.state, DEVICE_ATTACHED);
  WAIT_UNTIL(owner, !owner->device.job);
}

/* As LVM's rules want it: "add", once the kernel shows it. */
static bool
is_announced(void) {
  char path[256], text[16] = "";
  path_of(path, "uevent");
  FILE *file = fopen(path, "re");
  assert_non_null(file);
  bool there = fgets(text, sizeof text, file) != NULL && strcmp(text, "add") == 0;
  fclose(file);
  put("uevent", "");
  return there;
}

/* ---- the tests ---- */

/* Proves that an attach is believed without a read, and offered once more a little later, which
 * changes nothing. */
static void
attach(void **state) {
  struct owner owner;
  begin(&owner);
  attach_it(&owner);
  assert_string_equal(calls(), "connect ");
  WAIT_UNTIL(&owner, strcmp(calls(), "connect reconnect ") == 0 && !owner.device.job);
  assert_int_equal(owner.device.state, DEVICE_ATTACHED);
  assert_int_equal(owner.wants, 0);
  assert_true(is_announced());
  end(&owner);
}

/* Proves that a yes is not enough: the kernel must show the device, with a size, as this
 * volume's. */
static void
yes_is_not_enough(void **state) {
  struct owner owner;
  begin(&owner);
  put("says-yes-does-nothing", "");
  connect_it(&owner);
  WAIT_UNTIL(&owner, owner.device.state != DEVICE_ATTACHING);
  assert_int_equal(owner.device.state, DEVICE_FAILED);
  assert_non_null(strstr(owner.device.reason, "does not show it"));
  put("says-yes-does-nothing", NULL);
  WAIT_UNTIL(&owner, owner.wants == 1); /* tried again */
  end(&owner);
}

/* Proves that another's device is left alone. */
static void
of_another(void **state) {
  struct owner owner;
  begin(&owner);
  put("pid", "1");
  put("backend", "somebody");
  connect_it(&owner);
  WAIT_UNTIL(&owner, owner.device.state != DEVICE_ATTACHING);
  assert_int_equal(owner.device.state, DEVICE_FAILED);
  assert_non_null(strstr(owner.device.reason, "in use by something else"));
  assert_string_equal(calls(), "");
  end(&owner);
}

/* Proves that a device that an earlier surefootd attached is given the new connection, and that a
 * kernel that notices only then that the old one is over is offered it again, during the job and
 * after it. */
static void
link_dead_late(void **state) {
  struct owner owner;
  begin(&owner);
  put("pid", "1");
  put("backend", UUID);
  put("size", "2048");
  (void) is_announced();
  connect_it(&owner);
  sfd_device_link_dead(&owner.device); /* before the job is done */
  WAIT_UNTIL(&owner, strcmp(calls(), "reconnect reconnect ") == 0 && !owner.device.job);
  sfd_device_link_dead(&owner.device); /* and after it */
  WAIT_UNTIL(&owner, strcmp(calls(), "reconnect reconnect reconnect ") == 0 && !owner.device.job);
  assert_false(is_announced()); /* it was there before */
  assert_int_equal(owner.device.state, DEVICE_ATTACHED);
  assert_int_equal(owner.wants, 0);
  end(&owner);
}

/* Proves that a connection that is ended while the server lives is noticed and made anew: by the
 * socket (nbd-client -d ends it), and by what the kernel shows. */
static void
detached_by_somebody(void **state) {
  struct owner owner;
  begin(&owner);
  attach_it(&owner);
  shutdown(owner.server_fd, SHUT_RDWR);
  put("pid", NULL);
  WAIT_UNTIL(&owner, owner.device.state == DEVICE_WAITING);
  assert_non_null(strstr(owner.device.reason, "nbd-client -d"));
  assert_int_equal(owner.lost, 1);
  WAIT_UNTIL(&owner, owner.wants == 1);
  attach_it(&owner);
  assert_string_equal(owner.device.reason, "");

  put("backend", "somebody");
  sfd_device_look(&owner.device);
  assert_int_equal(owner.device.state, DEVICE_WAITING);
  WAIT_UNTIL(&owner, owner.wants == 2);
  put("backend", UUID);
  attach_it(&owner);
  sfd_device_look(&owner.device);
  assert_int_equal(owner.device.state, DEVICE_ATTACHED);
  end(&owner);
}

/* Proves that a server that ends is no loss: the device waits for the next one. */
static void
server_ends(void **state) {
  struct owner owner;
  begin(&owner);
  attach_it(&owner);
  shutdown(owner.server_fd, SHUT_RDWR);
  WAIT_UNTIL(&owner, sd_event_source_get_enabled(owner.device.hang_up, NULL) == 0);
  sfd_device_server_gone(&owner.device);
  assert_int_equal(owner.device.state, DEVICE_WAITING);
  attach_it(&owner);
  assert_int_equal(owner.wants, 0);
  assert_int_equal(owner.lost, 0);
  end(&owner);
}

/* Proves that a kernel that does not take the connection any more is not believed. */
static void
refused_later(void **state) {
  struct owner owner;
  begin(&owner);
  attach_it(&owner);
  put("refuses", "");
  WAIT_UNTIL(&owner, owner.device.state == DEVICE_WAITING);
  WAIT_UNTIL(&owner, owner.wants == 1);
  put("refuses", NULL);
  attach_it(&owner);
  end(&owner);
}

/* Proves that a device given up on purpose is not attached again, whatever becomes of its
 * connection. */
static void
a_stop(void **state) {
  struct owner owner;
  begin(&owner);
  attach_it(&owner);
  sfd_device_stop(&owner.device);
  shutdown(owner.server_fd, SHUT_RDWR);
  put("pid", NULL);
  WAIT_UNTIL(&owner, owner.stopped == 1);
  sfd_device_look(&owner.device);
  sfd_device_link_dead(&owner.device);
  assert_int_equal(owner.wants, 0);
  assert_int_equal(owner.device.state, DEVICE_STOPPING);
  end(&owner);
}

static int
set_up(void **state) {
  char path[256];
  if (!mkdtemp(folder))
    return -1;
  sfd_device_sysfs = folder;
  snprintf(path, sizeof path, "%s/nbd7", folder);
  if (mkdir(path, 0700) < 0)
    return -1;
  path_of(path, "queue");
  if (mkdir(path, 0700) < 0)
    return -1;
  put("queue/io_timeout", "30000");
  put("uevent", "");
  return 0;
}

static int
tear_down(void **state) {
  char path[256];
  put("queue/io_timeout", NULL);
  put("uevent", NULL);
  path_of(path, "queue");
  rmdir(path);
  snprintf(path, sizeof path, "%s/nbd7", folder);
  return rmdir(path) < 0 || rmdir(folder) < 0 ? -1 : 0;
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(attach),
      cmocka_unit_test(yes_is_not_enough),
      cmocka_unit_test(of_another),
      cmocka_unit_test(link_dead_late),
      cmocka_unit_test(detached_by_somebody),
      cmocka_unit_test(server_ends),
      cmocka_unit_test(refused_later),
      cmocka_unit_test(a_stop),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}

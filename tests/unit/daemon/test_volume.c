/* A volume's states, with a server, a probe and a control socket that do what the test says. */
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
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "fake_server.h"
#include "volumes/volume.h"

#define PATIENT UINT64_C(30000000)

static char folder[] = "/tmp/test-volume-XXXXXX";

/* ---- the owner ---- */

static struct owner {
  sd_event *event;
  struct settings settings;
  struct events events;
  struct volumes volumes;
  struct volume *volume;
  unsigned gone;
} owner;

static void
on_event(void *ctx, const json_t *event) {
}

static void
on_changed(void *ctx) {
}

static void
on_gone(void *ctx) {
  owner.gone++;
}

static void
begin(void) {
  struct plan_volume *plan = calloc(1, sizeof *plan);
  char error[SF_CONFIG_ERROR_MAX], control[200];
  fake = (struct fake){0};
  owner = (struct owner){0};
  assert_true(sd_event_new(&owner.event) >= 0);
  sfd_settings_init(&owner.settings);
  snprintf(owner.settings.runtime, sizeof owner.settings.runtime, "%s", folder);
  owner.events.published = on_event;
  sf_list_init(&owner.volumes.list);
  owner.volumes.event = owner.event;
  owner.volumes.settings = &owner.settings;
  owner.volumes.events = &owner.events;
  owner.volumes.changed = on_changed;
  owner.volumes.gone = on_gone;
  sf_config_init(&plan->config);
  assert_int_equal(sf_config_set(&plan->config, "name", "vol0", error), 0);
  assert_int_equal(sf_config_set_leg(&plan->config, "a", "/a"), 0);
  snprintf(control, sizeof control, "%s/volumes/vol0.ctl", folder);
  assert_int_equal(sf_config_set(&plan->config, "control", control, error), 0);
  snprintf(plan->config.socket, sizeof plan->config.socket, "%s/vol0.sock", folder);
  assert_int_equal(sf_config_complete(&plan->config, error), 0);
  assert_int_equal(sfd_volume_create(&owner.volumes, plan, &owner.volume), 0);
  assert_ptr_equal(sfd_volumes_find(&owner.volumes, "vol0"), owner.volume);
  assert_null(sfd_volumes_find(&owner.volumes, "vol1"));
}

static void
end(void) {
  sfd_volume_destroy(owner.volume);
  assert_true(sf_list_empty(&owner.volumes.list));
  assert_null(fake.probe);
  assert_null(fake.call);
  assert_null(fake.feed);
  sfd_events_clear(&owner.events);
  sd_event_unref(owner.event);
}

#define WAIT_UNTIL(condition)                                                                      \
  while (!(condition))                                                                             \
    if (sd_event_run(owner.event, PATIENT) <= 0)                                                   \
      fail_msg("not in time: %s", #condition);

static void
serve(void) {
  sfd_volume_start(owner.volume);
  end_probe(0);
  assert_int_equal(volume_state(owner.volume), VOLUME_SERVING);
}

static json_t *
status(const char *state, const char *leg_state) {
  return json_pack("{sb s[{ss ss s[{ss ss ss} {ss ss}]}]}", "ok", 1, "volumes", "uuid", "u",
                   "state", state, "legs", "name", "b", "state", leg_state, "reason", "why", "name",
                   "a", "state", "in-sync");
}

/* The events' leg, from, to, as "leg:from>to ". */
static const char *
told(const char *kind) {
  static char text[1000];
  json_t *list = sfd_events_list(&owner.events, NULL), *event;
  size_t i;
  text[0] = '\0';
  json_array_foreach(list, i, event)
    if (strcmp(sfd_events_text(event, "event"), kind) == 0)
      snprintf(text + strlen(text), 100, "%s:%s>%s ", sfd_events_text(event, "leg"),
               sfd_events_text(event, "from"), sfd_events_text(event, "to"));
  json_decref(list);
  return text;
}

/* ---- the tests ---- */

/* Proves that only a proof makes it serve, and that a server that ends is followed by the next. */
static void
life(void **state) {
  begin();
  sfd_volume_start(owner.volume);
  assert_int_equal(volume_state(owner.volume), VOLUME_STARTING);
  assert_string_equal(sfd_volume_state_text(owner.volume), "starting");
  end_probe(-ECONNREFUSED);
  assert_int_equal(volume_state(owner.volume), VOLUME_STARTING);
  WAIT_UNTIL(fake.probe != NULL);
  end_probe(0);
  assert_int_equal(volume_state(owner.volume), VOLUME_SERVING);
  assert_string_equal(sfd_volume_state_text(owner.volume), "starting"); /* not heard of yet */
  assert_non_null(fake.feed);
  assert_string_equal(fake.command, "status");
  end_call(0, status("healthy", "in-sync"));
  assert_string_equal(sfd_volume_state_text(owner.volume), "healthy");
  end_server("signal 9");
  assert_int_equal(volume_state(owner.volume), VOLUME_DOWN);
  assert_string_equal(owner.volume->reason, "signal 9");
  assert_null(fake.feed);
  WAIT_UNTIL(fake.starts == 2);
  assert_int_equal(owner.volume->restarts, 1);
  end_probe(0);
  assert_string_equal(told("service"),
                      ":down>starting :starting>serving :serving>down :down>starting "
                      ":starting>serving ");
  end();
}

/* Proves that a start that fails is tried again, with the reason. */
static void
start_fails(void **state) {
  begin();
  fake.start_error = -ENOENT;
  sfd_volume_start(owner.volume);
  assert_int_equal(volume_state(owner.volume), VOLUME_DOWN);
  assert_non_null(strstr(owner.volume->reason, "cannot start nbdkit: No such file"));
  fake.start_error = 0;
  WAIT_UNTIL(fake.starts == 1);
  end();
}

static void
assert_described(const char *state) {
  json_t *described = sfd_volume_describe(owner.volume, NULL, "");
  assert_string_equal(sfd_events_text(described, "state"), state);
  assert_int_equal(strlen(sfd_events_text(described, "since")), strlen("2026-01-31T12:00:00.123Z"));
  json_decref(described);
}

/* Proves that only a failed server is called failed: one that starts, stops or is silent is named
 * by that, and after a failed start it has failed until it serves. */
static void
states_by_name(void **state) {
  begin();
  sfd_volume_start(owner.volume);
  assert_described("starting");
  end_server("exit status 1");
  assert_described("failed");
  WAIT_UNTIL(fake.starts == 2);
  assert_int_equal(volume_state(owner.volume), VOLUME_STARTING);
  assert_described("failed");
  end_probe(0);
  end_call(0, status("healthy", "in-sync"));
  json_t *own = json_pack("{ss}", "state", "healthy"), *described;
  described = sfd_volume_describe(owner.volume, own, "");
  assert_string_equal(sfd_events_text(described, "state"), "healthy");
  json_decref(described);
  described = sfd_volume_describe(owner.volume, NULL, "no answer");
  assert_string_equal(sfd_events_text(described, "state"), "silent");
  json_decref(described);
  end_server("signal 9");
  assert_described("failed");
  WAIT_UNTIL(fake.starts == 3);
  assert_described("starting"); /* it had served */
  end_probe(0);
  sfd_volume_leave(owner.volume);
  assert_described("stopping");
  described = sfd_volume_describe(owner.volume, own, "");
  assert_string_equal(sfd_events_text(described, "state"), "stopping");
  json_decref(described);
  json_decref(own);
  end();
}

/* Proves that a leg that is not in sync at the start is told once a start, and not when the volume
 * has told it. */
static void
legs_at_the_start(void **state) {
  begin();
  serve();
  end_call(0, status("degraded", "missing"));
  assert_string_equal(told("leg-state"), "b:>missing ");
  WAIT_UNTIL(fake.call != NULL); /* the next look */
  end_call(0, status("degraded", "missing"));
  assert_string_equal(told("leg-state"), "b:>missing ");
  end_server("signal 9");
  WAIT_UNTIL(fake.starts == 2);
  end_probe(0);
  end_call(0, status("degraded", "missing"));
  assert_string_equal(told("leg-state"), "b:>missing b:>missing ");
  end_server("signal 9");
  WAIT_UNTIL(fake.starts == 3);
  end_probe(0);
  json_t *event = json_pack("{ss ss ss ss ss}", "event", "leg-state", "volume", "vol0", "leg", "b",
                            "from", "in-sync", "to", "late");
  feed_line(event);
  end_call(0, status("degraded", "late"));
  assert_string_equal(told("leg-state"), "b:>missing b:>missing b:in-sync>late ");
  end();
}

/* Proves that a server that does not answer is told of at once, and killed only after
 * silent_timeout, and more than one look. */
static void
a_silent_server(void **state) {
  begin();
  owner.settings.silent_timeout_us = 1000000;
  serve();
  end_call(-ETIMEDOUT, NULL);
  assert_true(owner.volume->silent);
  assert_string_equal(sfd_volume_state_text(owner.volume), "silent");
  assert_int_equal(fake.signals, 0);
  WAIT_UNTIL(fake.call != NULL);
  end_call(0, status("healthy", "in-sync")); /* it was busy */
  assert_false(owner.volume->silent);
  WAIT_UNTIL(fake.call != NULL);
  end_call(-ETIMEDOUT, NULL);
  WAIT_UNTIL(fake.call != NULL);
  assert_int_equal(fake.signals, 0);
  end_call(-ETIMEDOUT, NULL);
  assert_int_equal(fake.signals, 1);
  assert_int_equal(fake.last_signal, SIGKILL);
  end_server("signal 9");
  assert_non_null(strstr(owner.volume->reason, "did not answer for 12 s and was killed"));
  WAIT_UNTIL(fake.starts == 2);
  owner.settings.silent_timeout_us = 0; /* off */
  end_probe(0);
  for (int i = 0; i < 2; i++) {
    WAIT_UNTIL(fake.call != NULL);
    end_call(-ETIMEDOUT, NULL);
  }
  assert_int_equal(fake.signals, 1);
  end();
}

/* Proves the order of a stop: by a signal, then by its socket, without its clients, then by force;
 * and that its last words are believed. */
static void
a_stop(void **state) {
  begin();
  owner.settings.stop_timeout_us = 200000;
  serve();
  end_call(0, status("healthy", "in-sync"));
  sfd_volume_leave(owner.volume);
  assert_int_equal(volume_state(owner.volume), VOLUME_STOPPING);
  assert_int_equal(volume_stop(owner.volume), STOP_CLIENTS);
  assert_int_equal(fake.last_signal, SIGTERM);
  assert_int_equal(sfd_volume_restart(owner.volume), -ESHUTDOWN);
  WAIT_UNTIL(fake.call != NULL);
  assert_string_equal(fake.command, "stop");
  assert_int_equal(volume_stop(owner.volume), STOP_TOLD);
  end_call(0, json_pack("{sb}", "ok", 1));
  WAIT_UNTIL(fake.last_signal == SIGKILL);
  assert_int_equal(volume_stop(owner.volume), STOP_KILLED);
  end_server("signal 9");
  assert_int_equal(volume_state(owner.volume), VOLUME_GONE);
  assert_int_equal(owner.gone, 1);
  end();
}

/* Proves that a server that was told, and says that it has stopped, is not waited for. */
static void
last_words(void **state) {
  begin();
  serve();
  end_call(0, status("healthy", "in-sync"));
  sfd_volume_leave(owner.volume);
  WAIT_UNTIL(volume_stop(owner.volume) == STOP_TOLD);
  json_t *event = json_pack("{ss ss ss}", "event", "stopped", "volume", "vol0", "reason", "clean");
  feed_line(event);
  assert_int_equal(fake.last_signal, SIGKILL);
  assert_string_equal(owner.volume->stop_said, "clean");
  end_server("signal 9");
  assert_int_equal(owner.gone, 1);
  end();
}

/* Proves that a restart begins anew, that it ends when it becomes a stop, and that a volume that is
 * down can be stopped. */
static void
restart(void **state) {
  begin();
  serve();
  assert_int_equal(sfd_volume_restart(owner.volume), 0);
  assert_int_equal(fake.last_signal, SIGTERM);
  end_server("exit status 0");
  assert_int_equal(volume_state(owner.volume), VOLUME_STARTING);
  assert_int_equal(volume_stop(owner.volume), STOP_NONE);
  assert_int_equal(fake.starts, 2);
  assert_int_equal(owner.volume->restarts, 0);
  end_probe(0);
  assert_int_equal(sfd_volume_restart(owner.volume), 0);
  sfd_volume_leave(owner.volume);
  end_server("exit status 0");
  assert_int_equal(volume_state(owner.volume), VOLUME_GONE);
  assert_int_equal(owner.gone, 1);
  end();

  begin();
  fake.start_error = -ENOENT;
  sfd_volume_start(owner.volume);
  sfd_volume_leave(owner.volume);
  assert_int_equal(volume_state(owner.volume), VOLUME_GONE);
  assert_int_equal(owner.gone, 1);
  end();
}

/* As of a device that is in force; without a uuid its connection is kept and not handed on. */
static void
serve_device(const char *door) {
  struct sf_config *config = &owner.volume->plan->config;
  char error[SF_CONFIG_ERROR_MAX];
  assert_int_equal(sf_config_set(config, "device", "/dev/nbd7", error), 0);
  assert_int_equal(sf_config_set(config, "device_door", door, error), 0);
  assert_int_equal(sf_config_set(config, "fast_socket", "/run/vol0.fast", error), 0);
  serve();
}

/* Proves that a device is given a connection of the fast door, of nbdkit's where that cannot be
 * had, and of nbdkit's alone where the file says so. */
static void
device_door(void **state) {
  begin();
  serve_device("fast");
  assert_int_equal(owner.volume->connection.fd, -1);
  assert_string_equal(fake.probed, "/run/vol0.fast");
  end_probe(0);
  assert_null(fake.probe);
  assert_true(owner.volume->connection.fd >= 0);
  assert_true(owner.volume->device.by_fast_door);
  end_server("signal 9");
  serve();
  assert_string_equal(fake.probed, "/run/vol0.fast");
  end_probe(-EMFILE);
  assert_string_equal(fake.probed, owner.volume->socket_path);
  end_probe(0);
  assert_true(owner.volume->connection.fd >= 0);
  assert_false(owner.volume->device.by_fast_door);
  end();

  begin();
  serve_device("nbdkit");
  assert_null(fake.probe);
  assert_true(owner.volume->connection.fd >= 0);
  assert_false(owner.volume->device.by_fast_door);
  end();
}

/* Proves that a killed server's sockets are removed with its volume, and that a socket on which
 * another process listens stays. */
static void
sockets_left(void **state) {
  char path[SF_CONTROL_PATH_MAX], error[SF_CONFIG_ERROR_MAX];
  struct sf_socket_file socket;
  snprintf(path, sizeof path, "%s/vol0.fast", folder);
  for (int listens = 0; listens <= 1; listens++) {
    begin();
    assert_int_equal(sf_config_set(&owner.volume->plan->config, "fast_socket", path, error), 0);
    serve();
    assert_int_equal(sf_socket_file_bind_private(path, &socket), 0);
    if (!listens)
      close(socket.fd);
    end();
    assert_int_equal(access(path, F_OK), listens ? 0 : -1);
    if (listens)
      sf_socket_file_close(&socket);
    else
      close(socket.directory_fd);
  }
}

/* A volume with legs a, b and c, min_legs 2, that serves. */
static void
serve_three(void) {
  char error[SF_CONFIG_ERROR_MAX];
  struct sf_config *config = &owner.volume->plan->config;
  assert_int_equal(sf_config_set_leg(config, "b", "/b"), 0);
  assert_int_equal(sf_config_set_leg(config, "c", "/c"), 0);
  assert_int_equal(sf_config_set(config, "min_legs", "2", error), 0);
  serve();
  end_call(0, status("suspended", "in-sync"));
}

static void
expect_not_forced(const char *leg, const char *with, const char *said) {
  char error[SF_CONFIG_ERROR_MAX] = "";
  unsigned signals = fake.signals;
  assert_true(sfd_volume_fail_by_force(owner.volume, leg, with, error) < 0);
  if (!strstr(error, said))
    fail_msg("leg %s with %s said: %s", leg, with, error);
  assert_int_equal(fake.signals, signals);
}

/* Proves that a server is killed for a leg that is failed by force, that each start is by force
 * with the other legs and no larger min_legs until one serves, that the leg is then failed there
 * until that is taken, and that the next start is a common one. */
static void
failed_by_force(void **state) {
  char error[SF_CONFIG_ERROR_MAX];
  begin();
  expect_not_forced("a", "b", "does not run");
  serve_three();
  expect_not_forced("z", "a", "has no leg z");
  expect_not_forced("b", "a,b", "with a,b: not other legs");
  expect_not_forced("b", "a,z", "with a,z: not other legs");
  expect_not_forced("b", "", "not other legs");
  assert_int_equal(sfd_volume_fail_by_force(owner.volume, "b", "a", error), 0);
  assert_int_equal(fake.last_signal, SIGKILL);
  expect_not_forced("c", "a", "leg b is being failed");
  end_server("signal 9");
  assert_string_equal(owner.volume->reason, "signal 9: leg b is failed by force");
  WAIT_UNTIL(fake.starts == 2);
  assert_string_equal(fake.force, "force_with=a");
  assert_int_equal(owner.volume->plan->config.min_legs, 1);
  end_server("exit status 1");
  WAIT_UNTIL(fake.starts == 3);
  assert_string_equal(fake.force, "force_with=a");
  end_probe(0);
  end_call(0, status("degraded", "missing"));
  assert_string_equal(fake.command, "leg");
  end_call(0, json_pack("{sb ss}", "ok", 0, "error", "only starting"));
  WAIT_UNTIL(fake.call != NULL);
  end_call(0, status("degraded", "probing"));
  assert_string_equal(fake.command, "leg");
  end_call(0, json_pack("{sb}", "ok", 1));
  assert_string_equal(owner.volume->forced.leg, "");
  WAIT_UNTIL(fake.call != NULL);
  end_call(0, status("degraded", "probing")); /* the operator returned it */
  assert_null(fake.call);
  end_server("signal 9");
  WAIT_UNTIL(fake.starts == 4);
  assert_string_equal(fake.force, "");
  assert_int_equal(owner.volume->plan->config.min_legs, 1);
  end();
}

/* Proves that another word of the operator's ends it: min_legs is as it was. */
static void
forced_no_more(void **state) {
  char error[SF_CONFIG_ERROR_MAX];
  begin();
  serve_three();
  assert_int_equal(sfd_volume_fail_by_force(owner.volume, "b", "a", error), 0);
  end_server("signal 9");
  WAIT_UNTIL(fake.starts == 2);
  end_server("exit status 1");
  assert_int_equal(sfd_volume_resume(owner.volume, false), 0);
  assert_string_equal(fake.force, "");
  assert_int_equal(owner.volume->plan->config.min_legs, 2);
  end();
}

static int
set_up(void **state) {
  return mkdtemp(folder) ? 0 : -1;
}

static int
tear_down(void **state) {
  char path[200];
  snprintf(path, sizeof path, "%s/volumes", folder);
  return rmdir(path) < 0 || rmdir(folder) < 0 ? -1 : 0;
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(life),
      cmocka_unit_test(start_fails),
      cmocka_unit_test(states_by_name),
      cmocka_unit_test(legs_at_the_start),
      cmocka_unit_test(a_silent_server),
      cmocka_unit_test(a_stop),
      cmocka_unit_test(last_words),
      cmocka_unit_test(restart),
      cmocka_unit_test(device_door),
      cmocka_unit_test(sockets_left),
      cmocka_unit_test(failed_by_force),
      cmocka_unit_test(forced_no_more),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}

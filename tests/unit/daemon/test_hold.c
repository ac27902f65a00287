/* May surefootd be stopped?  With a systemd that is a shell script: what it is asked leaves a line
 * in "calls", and files in its folder say what it answers.  The device is a folder too, and "held"
 * in it says what holds it. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "device/device.h"
#include "device/in_use.h"
#include "hold/hold.h"

static char folder[] = "/tmp/test-hold-XXXXXX";
static struct settings settings;

static void
path_of(char path[256], const char *name) {
  snprintf(path, 256, "%s/%s", folder, name);
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
  fputs(text, stream);
  fclose(stream);
}

static const char *
get(const char *name) {
  static char text[4096];
  char path[256];
  path_of(path, name);
  FILE *stream = fopen(path, "re");
  size_t len = stream ? fread(text, 1, sizeof text - 1, stream) : 0;
  if (stream)
    fclose(stream);
  text[len] = '\0';
  return text;
}

bool
sfd_in_use(const char *name, char *why, size_t size) {
  assert_string_equal(name, "nbd7");
  const char *held = get("held");
  snprintf(why, size, "%s", held);
  return *held != '\0';
}

/* It is mounted; a volume group alone would not count. */
bool
sfd_in_use_at_last(const char *name, char *why, size_t size) {
  return sfd_in_use(name, why, size) && !strstr(why, "is part of");
}

void
sfd_in_use_list(const char *name, struct sfd_in_use_list *list) {
  assert_string_equal(name, "nbd7");
  list->count = 2;
  snprintf(list->unit[0], sizeof list->unit[0], "/srv/vol0");
  snprintf(list->unit[1], sizeof list->unit[1], "/srv/vol0/beneath");
}

int
sfd_in_use_exclusively(void *path) {
  assert_string_equal(path, "/dev/nbd7");
  return *get("held-unseen") ? -EBUSY : 0;
}

/* surefootd itself listens, or has died. */
static void
listen_at_control(bool alive) {
  static int fd = -1;
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (fd >= 0)
    close(fd);
  unlink(settings.control);
  memcpy(address.sun_path, settings.control, strlen(settings.control) + 1);
  fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  assert_int_equal(bind(fd, (struct sockaddr *) &address, sizeof address), 0);
  if (alive)
    assert_int_equal(listen(fd, 8), 0);
}

/* What it is asked, but for the questions. */
static const char *
calls(void) {
  sfd_hold_run(&settings);
  return get("calls");
}

static int
begin(void **state) {
  put("calls", NULL);
  put("held", "nbd7 is mounted on /srv/vol0");
  put("held-unseen", NULL);
  put("lets-go", NULL);
  put("jobs", "12 surefootd.service stop waiting\n");
  put("all-jobs", "12 surefootd.service stop waiting\n13 surefoot-hold.service stop running\n");
  put("all-jobs-then", NULL);
  put("system", "running\n");
  put("required-by", "");
  put("active", "");
  put("nbd7/pid", "12\n");
  put("nbd7/backend", "11111111-2222-3333-4444-555555555555\n");
  listen_at_control(true);
  return 0;
}

/* Proves that a stop under a device that stays in use is called off, once the units that require
 * the target were stopped, and that those of them that were up are started again; the terminals are
 * told why. */
static void
refused(void **state) {
  put("required-by", "srv-vol0.mount db.service off.service\n");
  put("active", "active\nactive\ninactive\n");
  assert_string_equal(calls(), "systemctl stop surefoot.target\n"
                               "systemctl cancel 12\n"
                               "systemctl start --no-block surefoot-hold.service surefoot.target "
                               "srv-vol0.mount db.service\n"
                               "wall surefootd is not stopped: vol0: nbd7 is mounted on /srv/vol0. "
                               "Stop it again when that has ended.\n");
}

/* Proves that it is let pass when the end of what requires the target has freed the device. */
static void
ended_in_order(void **state) {
  put("lets-go", "surefoot.target");
  assert_string_equal(calls(), "systemctl stop surefoot.target\n");
}

/* Proves that a holder that only the kernel knows counts. */
static void
held_unseen(void **state) {
  put("held", "");
  put("held-unseen", "yes");
  const char *said = calls();
  assert_non_null(strstr(said, "systemctl cancel 12\n"));
  assert_non_null(strstr(said, "a process that /proc does not show holds nbd7"));
}

/* Proves that nothing is asked or done when there is nothing to lose: no device that is held, a
 * device of another program, a restart, a surefootd that has crashed. */
static void
let_pass(void **state) {
  put("held", "");
  assert_string_equal(calls(), "");
  begin(state);
  put("nbd7/backend", NULL);
  assert_string_equal(calls(), "");
  begin(state);
  put("nbd7/pid", NULL);
  assert_string_equal(calls(), "");
  begin(state);
  put("jobs", "12 surefootd.service restart waiting\n");
  assert_string_equal(calls(), "");
  begin(state);
  listen_at_control(false);
  assert_string_equal(calls(), "");
}

/* Proves that at a shutdown it waits until the device is free, and calls nothing off. */
static void
a_shutdown(void **state) {
  put("system", "stopping\n");
  put("lets-go", "is-system-running");
  assert_string_equal(calls(), "");
  assert_string_equal(get("held"), "");
  put("lets-go", NULL);
  put("held", "nbd7 is part of dm-0 (vg-data)");
  assert_string_equal(calls(), "");
}

/* Proves that what was mounted as a local filesystem, which systemd unmounts after us, is unmounted before: when nothing
 * else stops any more, since that may be using it. */
static void
unmounted_at_a_shutdown(void **state) {
  put("system", "stopping\n");
  put("all-jobs", "13 surefoot-hold.service stop running\n14 db.service stop running\n");
  put("all-jobs-then", "13 surefoot-hold.service stop running\n15 srv-vol0.mount stop waiting\n");
  put("lets-go", "/srv/vol0");
  assert_string_equal(calls(),
                      "systemctl stop --job-mode=ignore-dependencies -- /srv/vol0/beneath\n"
                      "systemctl stop --job-mode=ignore-dependencies -- /srv/vol0\n");
  assert_string_equal(get("all-jobs-then"), "");
  assert_string_equal(get("held"), "");
}

static void
write_script(const char *name, const char *text) {
  char path[256];
  put(name, text);
  path_of(path, name);
  assert_int_equal(chmod(path, 0755), 0);
}

static int
set_up(void **state) {
  static char sysfs[64];
  char path[256], text[512];
  assert_non_null(mkdtemp(folder));
  sfd_settings_init(&settings);
  snprintf(settings.runtime, sizeof settings.runtime, "%.40s", folder);
  snprintf(settings.control, sizeof settings.control, "%.40s/control", folder);
  snprintf(sysfs, sizeof sysfs, "%s", folder);
  sfd_device_sysfs = sysfs;
  path_of(path, "nbd7");
  assert_int_equal(mkdir(path, 0755), 0);
  path_of(path, "volumes");
  assert_int_equal(mkdir(path, 0755), 0);
  put("volumes/vol0.conf", "[volume]\nname = vol0\ndevice = /dev/nbd7\n[leg a]\npath = /a\n");
  put("volumes/vol1.conf", "[volume]\nname = vol1\n[leg a]\npath = /b\n");
  write_script("wall", "#!/bin/sh\necho wall \"$1\" >>${0%/*}/calls\n");
  write_script("systemctl",
               "#!/bin/sh\n"
               "cd ${0%/*}\n"
               "case $1 in\n"
               "list-jobs) case $* in\n"
               "  *surefootd.service) cat jobs;;\n"
               "  *) cat all-jobs; [ ! -e all-jobs-then ] || mv all-jobs-then all-jobs;;\n"
               "  esac;;\n"
               "is-system-running) cat system;;\n"
               "show) cat required-by;;\n"
               "is-active) cat active; exit 3;;\n"
               "*) echo systemctl \"$@\" >>calls;;\n"
               "esac\n"
               "case \" $* \" in *\" $(cat lets-go 2>/dev/null) \"*) : >held;; esac\n");
  snprintf(text, sizeof text, "%s:%s", folder, getenv("PATH"));
  return setenv("PATH", text, 1);
}

static int
tear_down(void **state) {
  char command[64];
  snprintf(command, sizeof command, "rm -rf %s", folder);
  return system(command);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(refused, begin),
      cmocka_unit_test_setup(ended_in_order, begin),
      cmocka_unit_test_setup(held_unseen, begin),
      cmocka_unit_test_setup(let_pass, begin),
      cmocka_unit_test_setup(a_shutdown, begin),
      cmocka_unit_test_setup(unmounted_at_a_shutdown, begin),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}

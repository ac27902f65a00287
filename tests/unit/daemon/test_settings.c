#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "files/settings.h"

static char file[] = "/tmp/test-settings-XXXXXX";

static int
set_up(void **state) {
  int fd = mkstemp(file);
  return fd < 0 ? -1 : close(fd);
}

static int
tear_down(void **state) {
  return unlink(file);
}

static int
load(struct settings *settings, const char *text, char error[SF_CONFIG_ERROR_MAX]) {
  FILE *stream = fopen(file, "we");
  assert_non_null(stream);
  fputs(text, stream);
  assert_int_equal(fclose(stream), 0);
  error[0] = '\0';
  return sfd_settings_load(settings, file, error);
}

static void
assert_defaults(const struct settings *settings) {
  assert_string_equal(settings->volumes, "/etc/surefoot/volumes.d");
  assert_string_equal(settings->runtime, "/run/surefoot");
  assert_string_equal(settings->control, "/run/surefoot/control");
  assert_string_equal(settings->nbdkit, "nbdkit");
  assert_string_equal(settings->hook, "");
  assert_string_equal(settings->events, "/var/lib/surefoot/events");
  assert_string_equal(settings->latency, "/var/lib/surefoot/latency");
  assert_string_equal(settings->metrics.address, "");
  assert_int_equal(settings->metrics.port, 0);
  assert_string_equal(settings->page.address, "");
  assert_int_equal(settings->start_timeout_us, 30000000);
  assert_int_equal(settings->stop_timeout_us, 60000000);
  assert_int_equal(settings->silent_timeout_us, 60000000);
  assert_int_equal(settings->hook_timeout_us, 10000000);
}

/* Proves every default, and that an empty file is one. */
static void
defaults(void **state) {
  struct settings settings, loaded;
  char error[SF_CONFIG_ERROR_MAX];
  sfd_settings_init(&settings);
  assert_defaults(&settings);
  memset(&loaded, 0xff, sizeof loaded);
  assert_int_equal(load(&loaded, "", error), 0);
  assert_defaults(&loaded);
  assert_string_equal(loaded.plugin, settings.plugin);
  assert_int_equal(sfd_settings_load(&loaded, "/nowhere/surefoot.conf", error), -ENOENT);
}

/* Proves that each key is taken. */
static void
all_keys(void **state) {
  struct settings settings;
  char error[SF_CONFIG_ERROR_MAX];
  assert_int_equal(load(&settings,
                        "; a comment\n[daemon]\nvolumes = /v\nruntime = /r ; there\n"
                        "nbdkit = /opt/nbdkit\nplugin = other\nstart_timeout = 5s\n"
                        "stop_timeout = 90s\nsilent_timeout = 7s\nhook = /h\nhook_timeout = "
                        "2s\nmetrics = [::1]:9000\npage = 9001\n",
                        error),
                   0);
  assert_string_equal(settings.volumes, "/v");
  assert_string_equal(settings.runtime, "/r");
  assert_string_equal(settings.control, "/r/control");
  assert_string_equal(settings.events, "/r.events"); /* two daemons do not share one */
  assert_string_equal(settings.latency, "/r.latency");
  assert_string_equal(settings.nbdkit, "/opt/nbdkit");
  assert_string_equal(settings.plugin, "other");
  assert_string_equal(settings.hook, "/h");
  assert_string_equal(settings.metrics.address, "::1");
  assert_int_equal(settings.metrics.port, 9000);
  assert_string_equal(settings.page.address, "127.0.0.1");
  assert_int_equal(settings.page.port, 9001);
  assert_false(sfd_settings_same_place(&settings.metrics, &settings.page));
  settings.page = settings.metrics;
  assert_true(sfd_settings_same_place(&settings.metrics, &settings.page));
  assert_int_equal(settings.start_timeout_us, 5000000);
  assert_int_equal(settings.stop_timeout_us, 90000000);
  assert_int_equal(settings.hook_timeout_us, 2000000);
  assert_int_equal(settings.silent_timeout_us, 7000000);
  assert_int_equal(load(&settings, "[daemon]\ncontrol = /c\nmetrics = 9733\n", error), 0);
  assert_string_equal(settings.control, "/c");
  assert_string_equal(settings.metrics.address, "127.0.0.1");
  assert_int_equal(load(&settings, "[daemon]\nsilent_timeout = 0s\n", error), 0);
  assert_int_equal(settings.silent_timeout_us, 0);
  assert_int_equal(load(&settings, "[daemon]\nruntime = /r\nevents = /e\n", error), 0);
  assert_string_equal(settings.events, "/e");
  assert_string_equal(settings.latency, "/r.latency");
  assert_int_equal(load(&settings, "[daemon]\nevents = off\nlatency = off\n", error), 0);
  assert_string_equal(settings.events, "");
  assert_string_equal(settings.latency, "");
  assert_int_equal(load(&settings, "[daemon]\nmetrics = off\n", error), 0);
  assert_string_equal(settings.metrics.address, "");
}

/* Proves that a mistake is refused with its line, and that nothing of the file is taken. */
static void
refusals(void **state) {
  static const struct {
    const char *text, *error;
  } cases[] = {
      {"volumes = /v\n", ":1: unknown section []"},
      {"[volume]\nname = x\n", ":2: unknown section [volume]"},
      {"[daemon]\nvolume = /v\n", ":2: volume: unknown key; known are volumes runtime control"},
      {"[daemon]\nvolumes = v\n", ":2: volumes: \"v\" must be an absolute path"},
      {"[daemon]\nvolumes =\n", ":2: volumes: has no value"},
      {"[daemon]\nhook = /a\n\nhook = /b\n", ":4: hook: is set already, in line 2"},
      {"[daemon]\nhook = /a\n  /b\n", ":3: the line is indented"},
      {"[daemon]\nnonsense\n", ":2: is neither [daemon] nor key = value nor a comment"},
      {"[daemon]\nnbdkit = ./nbdkit\n", ":2: nbdkit: \"./nbdkit\" must be an absolute path"},
      {"[daemon]\nnbdkit = a b\n", ":2: nbdkit: \"a b\" is neither an absolute path nor a name"},
      {"[daemon]\nhook_timeout = 5\n", ":2: hook_timeout: \"5\" has no unit"},
      {"[daemon]\nstop_timeout = 2h\n", ":2: stop_timeout: 2h is not between 1s and 3600s"},
      {"[daemon]\nstop_timeout = 999ms\n", ":2: stop_timeout: 999ms is not between 1s and 3600s"},
      {"[daemon]\nsilent_timeout = 500ms\n", ":2: silent_timeout: 500ms is not between 1s"},
      {"[daemon]\nstop_timeout = 0s\n", ":2: stop_timeout: 0s is not between 1s and 3600s"},
      {"[daemon]\nmetrics = 0\n", ":2: metrics: \"0\" is not a port"},
      {"[daemon]\nmetrics = 65536\n", ":2: metrics: \"65536\" is not a port"},
      {"[daemon]\nmetrics = localhost:9733\n", ":2: metrics: \"localhost\" is not an address"},
      {"[daemon]\nmetrics = :9733\n", ":2: metrics: \":9733\" is not ADDRESS:PORT"},
      {"[daemon]\nmetrics = 1.2.3.4:x\n", ":2: metrics: \"x\" is not a port"},
      {"[daemon]\npage = 0.0.0.0:80\n", ":2: page: 0.0.0.0 is not of this machine alone"},
      {"[daemon]\npage = 10.1.2.3:80\n", ":2: page: 10.1.2.3 is not of this machine alone"},
      {"[daemon]\npage = [::]:80\n", ":2: page: :: is not of this machine alone"},
      {"[daemon]\npage = [::ffff:127.0.0.1]:80\n", ":2: page: ::ffff:127.0.0.1 is not of this"},
  };
  struct settings settings, before;
  char error[SF_CONFIG_ERROR_MAX], long_line[2 * PATH_MAX];
  sfd_settings_init(&settings);
  before = settings;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    assert_int_equal(load(&settings, cases[i].text, error), -EINVAL);
    if (!strstr(error, cases[i].error))
      fail_msg("%s\ninstead of\n%s", error, cases[i].error);
    assert_memory_equal(&settings, &before, sizeof settings);
  }
  memset(long_line, 'x', sizeof long_line);
  memcpy(long_line, "[daemon]\nhook = /", 17);
  memcpy(long_line + sizeof long_line - 2, "\n", 2);
  assert_int_equal(load(&settings, long_line, error), -EINVAL);
  assert_non_null(strstr(error, ":2: the line is too long"));
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(defaults),
      cmocka_unit_test(all_keys),
      cmocka_unit_test(refusals),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}

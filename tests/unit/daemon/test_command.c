/* The command line of a server, and the file that it reads: the settings in force, whole or not
 * there. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "files/command.h"

static char folder[] = "/tmp/test-command-XXXXXX";
static struct settings settings;
static struct plan_volume plan;
static struct server_command command;
static char error[SF_CONFIG_ERROR_MAX];

static void
write_text(const char *path, const char *text) {
  FILE *file = fopen(path, "we");

  assert_non_null(file);
  fputs(text, file);
  assert_int_equal(fclose(file), 0);
}

static int
set_up(void **state) {
  char path[PATH_MAX];
  int r;

  if (mkdtemp(folder) == NULL)
    return -1;
  snprintf(settings.runtime, sizeof settings.runtime, "%s", folder);
  snprintf(settings.nbdkit, sizeof settings.nbdkit, "/usr/sbin/nbdkit");
  snprintf(settings.plugin, sizeof settings.plugin, "/usr/lib/plugin.so");
  snprintf(path, sizeof path, "%s/v.conf", folder);
  write_text(path, "[volume]\nname = vol0\nthreads = 7\nwrite_deadline = 120ms\n"
                   "[leg a]\npath = /dev/disk a\nwrite_timeout = 40ms\n[leg b]\npath = /dev/b\n");
  r = sf_config_load(&plan.config, path, error);
  unlink(path);
  return r;
}

static int
tear_down(void **state) {
  char path[PATH_MAX];

  snprintf(path, sizeof path, "%s/volumes", folder);
  rmdir(path);
  return rmdir(folder);
}

static void
the_words(void **state) {
  const char *const words[] = {"/usr/sbin/nbdkit",  "--foreground",      "--threads=7", "-D",
                               "surefoot.events=0", "/usr/lib/plugin.so"};
  char file[PATH_MAX];

  snprintf(file, sizeof file, "%s/volumes/vol0.conf", folder);
  assert_int_equal(sfd_command_make(&settings, &plan, false, NULL, &command, error), 0);
  for (unsigned i = 0; i < 6; i++)
    assert_string_equal(command.argv[i], words[i]);
  assert_string_equal(command.argv[6], file);
  assert_null(command.argv[7]);
  assert_int_equal(sfd_command_make(&settings, &plan, true, NULL, &command, error), 0);
  assert_string_equal(command.argv[7], "force=true");
  assert_null(command.argv[8]);
  assert_int_equal(sfd_command_make(&settings, &plan, false, "a,b", &command, error), 0);
  assert_string_equal(command.argv[7], "force_with=a,b");
  assert_null(command.argv[8]);
  sfd_command_forget(&settings, &plan);
  assert_int_equal(access(file, F_OK), -1);
}

/* As they are in force, and not as the volume's own file has them. */
static void
the_file_has_the_settings_in_force(void **state) {
  struct sf_config read;

  assert_int_equal(sf_config_set(&plan.config, "write_deadline", "250ms", error), 0);
  assert_int_equal(sfd_command_make(&settings, &plan, false, NULL, &command, error), 0);
  assert_int_equal(sf_config_load(&read, command.file, error), 0);
  assert_string_equal(read.name, "vol0");
  assert_int_equal(read.legs, 2);
  assert_string_equal(read.leg[0].path, "/dev/disk a");
  assert_int_equal(sf_config_deadline(&read, SF_WRITE_KIND).first_ns, 250000000);
  assert_int_equal(read.threads, 7);
  sfd_command_forget(&settings, &plan);
}

/* A server may be reading it: it is another file then, and a crash leaves a whole one. */
static void
the_file_is_replaced(void **state) {
  struct stat before, after;
  char path[PATH_MAX + 8];

  assert_int_equal(sfd_command_make(&settings, &plan, false, NULL, &command, error), 0);
  assert_int_equal(stat(command.file, &before), 0);
  assert_int_equal(link(command.file, (snprintf(path, sizeof path, "%s.old", command.file), path)),
                   0);
  assert_int_equal(sfd_command_make(&settings, &plan, false, NULL, &command, error), 0);
  assert_int_equal(stat(command.file, &after), 0);
  assert_int_not_equal(before.st_ino, after.st_ino);
  unlink(path);
  snprintf(path, sizeof path, "%s.new", command.file);
  assert_int_equal(access(path, F_OK), -1);
  sfd_command_forget(&settings, &plan);
}

static void
what_cannot_be_written_is_told(void **state) {
  struct settings bad = settings;

  snprintf(bad.runtime, sizeof bad.runtime, "%s/nowhere", folder);
  error[0] = '\0';
  assert_int_equal(sfd_command_make(&bad, &plan, false, NULL, &command, error), -ENOENT);
  assert_non_null(strstr(error, "nowhere/volumes/vol0.conf: No such file"));
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_words),
      cmocka_unit_test(the_file_has_the_settings_in_force),
      cmocka_unit_test(the_file_is_replaced),
      cmocka_unit_test(what_cannot_be_written_is_told),
  };

  return cmocka_run_group_tests(tests, set_up, tear_down);
}

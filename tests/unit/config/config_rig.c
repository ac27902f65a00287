/* A folder of its own, and the files in it. */
#include "config_rig.h"

char folder[] = "/tmp/test-config-XXXXXX";
char real_folder[PATH_MAX];

int
set_up(void **state) {
  return mkdtemp(folder) && realpath(folder, real_folder) && chdir(folder) == 0 ? 0 : -1;
}

int
tear_down(void **state) {
  unlink("c.conf");
  rmdir("sub");
  return chdir("/") == 0 ? rmdir(folder) : -1;
}

void
write_file(const char *name, const char *text, size_t len) {
  FILE *f = fopen(name, "we");
  assert_non_null(f);
  assert_int_equal(fwrite(text, 1, len, f), len);
  assert_int_equal(fclose(f), 0);
}

int
load(struct sf_config *config, const char *text, size_t len, char error[SF_CONFIG_ERROR_MAX]) {
  write_file("c.conf", text, len);
  return sf_config_load(config, "c.conf", error);
}

void
load_good(struct sf_config *config, const char *text) {
  char error[SF_CONFIG_ERROR_MAX] = "";
  int r = load(config, text, strlen(text), error);
  if (r != 0)
    fail_msg("%d %s\nfor\n%s", r, error, text);
}

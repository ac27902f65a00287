#include "fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int
fixture_setup(void **state) {
  struct fixture *f = calloc(1, sizeof *f);
  char dir[] = "legs-XXXXXX";
  if (!f || !mkdtemp(dir))
    return -1;
  strcpy(f->dir, dir);
  strcpy(f->config.name, "vol0");
  f->config.legs = 3;
  f->config.min_legs = 2;
  for (unsigned i = 0; i < f->config.legs; i++) {
    f->config.leg[i].name[0] = (char) ('a' + i);
    sprintf(f->config.leg[i].path, "%s/%c", dir, 'a' + i);
  }
  for (unsigned i = 0; i < SF_LEGS_MAX; i++)
    f->file[i].fd = -1;
  *state = f;
  return 0;
}

int
fixture_teardown(void **state) {
  struct fixture *f = *state;
  char command[128];
  for (unsigned i = 0; i < SF_LEGS_MAX; i++)
    sf_leg_file_close(&f->file[i]);
  snprintf(command, sizeof command, "rm -rf %s", f->dir);
  free(f);
  return system(command);
}

bool
fixture_possible(void) {
  int fd = open(".", O_TMPFILE | O_RDWR | O_DIRECT | O_CLOEXEC, 0600);
  if (fd < 0) {
    print_message("skipped: no O_DIRECT here: %s\n", strerror(errno));
    return false;
  }
  close(fd);
  return true;
}

void
make_file(const char *path, uint64_t bytes) {
  int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  assert_true(fd >= 0);
  assert_int_equal(ftruncate(fd, (off_t) bytes), 0);
  close(fd);
}

void
put_byte(const char *path, uint64_t offset, char byte) {
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  assert_true(fd >= 0);
  assert_int_equal(pwrite(fd, &byte, 1, (off_t) offset), 1);
  assert_int_equal(fsync(fd), 0);
  close(fd);
}

char
get_byte(const char *path, uint64_t offset) {
  char byte;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  assert_true(fd >= 0);
  assert_int_equal(pread(fd, &byte, 1, (off_t) offset), 1);
  close(fd);
  return byte;
}

void
make_volume(struct fixture *f) {
  const struct sf_format_options options = {.size = TEST_DATA_MIB * MIB};
  int rc = sf_format(&f->config, &options, NULL, NULL, f->error);
  if (rc < 0)
    fail_msg("%s", f->error);
}

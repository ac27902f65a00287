/* Proves the same of block devices, as far as loop devices show it: exclusive opening, sizes and
 * block sizes, zeroing, and that a file and its loop device are known for one. */
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "rig.h"

static const uint64_t leg_bytes = SF_DATA_OFFSET + TEST_DATA_MIB * MIB;

struct loop {
  int fd;
  char path[32];
};

/* The device goes by itself with its last close. */
static bool
attach(struct loop *loop, const char *path, uint64_t offset, uint64_t limit, uint32_t block_bytes,
       uint32_t flags) {
  int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
  int file = open(path, O_RDWR | O_CLOEXEC);
  struct loop_config config = {.fd = (uint32_t) file, .block_size = block_bytes};
  config.info.lo_offset = offset;
  config.info.lo_sizelimit = limit;
  config.info.lo_flags = LO_FLAGS_AUTOCLEAR | flags;
  loop->fd = -1;
  for (unsigned attempt = 0; control >= 0 && file >= 0 && attempt < 8; attempt++) {
    int number = ioctl(control, LOOP_CTL_GET_FREE);
    snprintf(loop->path, sizeof loop->path, "/dev/loop%d", number);
    loop->fd = number < 0 ? -1 : open(loop->path, O_RDWR | O_CLOEXEC);
    if (loop->fd < 0 || ioctl(loop->fd, LOOP_CONFIGURE, &config) == 0)
      break;
    close(loop->fd);
    loop->fd = -1;
  }
  if (control >= 0)
    close(control);
  if (file >= 0)
    close(file);
  return loop->fd >= 0;
}

static void
need(bool attached) {
  if (!attached)
    fail_msg("no loop device: %s", strerror(errno));
}

/* The legs of the fixture, on loop devices of their files. */
static void
attach_legs(struct fixture *f, struct loop loop[3], uint32_t block_bytes) {
  for (unsigned i = 0; i < 3; i++) {
    make_file(f->config.leg[i].path, leg_bytes);
    need(attach(&loop[i], f->config.leg[i].path, 0, 0, block_bytes, 0));
    strcpy(f->config.leg[i].path, loop[i].path);
  }
}

static void
detach_legs(struct loop loop[3]) {
  for (unsigned i = 0; i < 3; i++)
    close(loop[i].fd);
}

static int
open_one(struct fixture *f, const char *path, unsigned flags) {
  sf_leg_file_close(&f->file[0]);
  return sf_leg_file_open(path, flags, &f->file[0], &f->found[0], f->error);
}

static int
open_all(struct fixture *f) {
  return sf_leg_files_open(NULL, &f->config, 0, UINT64_C(10000000000), f->file, f->found,
                           f->leg_error, f->error);
}

static void
a_device(void **state) {
  struct fixture *f = *state;
  struct loop loop;
  static const uint32_t block_bytes[] = {512, 4096};
  make_file(f->config.leg[0].path, leg_bytes);
  for (unsigned i = 0; i < 2; i++) {
    need(attach(&loop, f->config.leg[0].path, 0, 0, block_bytes[i], 0));
    assert_int_equal(open_one(f, loop.path, 0), 0);
    assert_true(f->file[0].is_block);
    assert_int_equal(f->file[0].bytes, leg_bytes);
    assert_int_equal(f->file[0].inode, 0);
    assert_int_equal(f->file[0].block_bytes, block_bytes[i]);
    sf_leg_file_close(&f->file[0]);
    close(loop.fd);
  }
}

/* As mount and mdadm hold theirs. */
static void
a_device_in_use(void **state) {
  struct fixture *f = *state;
  struct loop loop;
  make_file(f->config.leg[0].path, leg_bytes);
  need(attach(&loop, f->config.leg[0].path, 0, 0, 512, 0));
  int holder = open(loop.path, O_RDONLY | O_EXCL | O_CLOEXEC);
  assert_true(holder >= 0);
  assert_int_equal(open_one(f, loop.path, 0), -EBUSY);
  assert_says(f->error, "in use");
  assert_int_equal(open_one(f, loop.path, SF_LEG_READ_ONLY), 0);
  close(holder);
  assert_int_equal(open_one(f, loop.path, 0), 0);
  close(loop.fd);
}

static void
a_read_only_device(void **state) {
  struct fixture *f = *state;
  struct loop loop;
  make_file(f->config.leg[0].path, leg_bytes);
  need(attach(&loop, f->config.leg[0].path, 0, 0, 512, LO_FLAGS_READ_ONLY));
  int r = open_one(f, loop.path, 0);
  assert_true(r == -EROFS || r == -EACCES);
  if (r == -EROFS)
    assert_says(f->error, "the device is read-only");
  close(loop.fd);
}

static void
a_volume_of_devices(void **state) {
  struct fixture *f = *state;
  struct loop loop[3];
  struct sf_format_options options = {0};
  struct sf_assembly assembly;
  char data[3][PATH_MAX];
  for (unsigned i = 0; i < 3; i++)
    strcpy(data[i], f->config.leg[i].path);
  attach_legs(f, loop, 4096);
  put_byte(loop[1].path, leg_bytes - 1, 'x');
  assert_int_equal(sf_format(&f->config, &options, NULL, NULL, f->error), -EEXIST);
  options.overwrite = true;
  assert_int_equal(sf_format(&f->config, &options, NULL, NULL, f->error), 0);
  assert_int_equal(get_byte(data[1], leg_bytes - 1), 0);
  assert_int_equal(open_all(f), 0);
  sf_assemble(&f->config, f->found, false, &assembly);
  assert_true(assembly.may_start);
  for (unsigned i = 0; i < 3; i++)
    sf_leg_file_close(&f->file[i]);
  assert_int_equal(sf_leg_discard(loop[2].path, &assembly.base, 2, true, NULL, f->error), 0);
  detach_legs(loop);
}

static void
expect_same(struct fixture *f) {
  assert_int_equal(open_all(f), -EINVAL);
  assert_says(f->error, "legs a (");
  assert_says(f->error, "and b (");
  assert_says(f->error, "one and the same");
}

static void
a_file_and_its_loop_device(void **state) {
  struct fixture *f = *state;
  struct loop loop, again;
  const char *file = f->config.leg[0].path;
  make_file(file, leg_bytes);
  make_file(f->config.leg[2].path, leg_bytes);
  need(attach(&loop, file, 0, 0, 512, 0));
  strcpy(f->config.leg[1].path, loop.path);
  expect_same(f);
  /* Two loop devices of one file. */
  need(attach(&again, file, MIB, 0, 512, 0));
  strcpy(f->config.leg[0].path, again.path);
  expect_same(f);
  /* One device by two names. */
  char alias[PATH_MAX];
  snprintf(alias, sizeof alias, "%s/alias", f->dir);
  assert_int_equal(symlink(loop.path, alias), 0);
  strcpy(f->config.leg[0].path, alias);
  expect_same(f);
  close(again.fd);
  close(loop.fd);
}

/* Two halves of one file do not overlap: allowed, if not wise. */
static void
two_parts_of_a_file(void **state) {
  struct fixture *f = *state;
  struct loop low, high;
  f->config.legs = 2;
  make_file(f->config.leg[0].path, 2 * leg_bytes);
  need(attach(&low, f->config.leg[0].path, 0, leg_bytes, 512, 0));
  need(attach(&high, f->config.leg[0].path, leg_bytes, 0, 512, 0));
  strcpy(f->config.leg[0].path, low.path);
  strcpy(f->config.leg[1].path, high.path);
  assert_int_equal(open_all(f), 0);
  close(low.fd);
  close(high.fd);
}

static bool
loop_devices_work(void) {
  struct loop loop;
  make_file("legs-loop-trial", MIB);
  bool works = attach(&loop, "legs-loop-trial", 0, 0, 512, 0);
  if (works)
    close(loop.fd);
  else
    print_message("skipped: no loop devices here: %s\n", strerror(errno));
  unlink("legs-loop-trial");
  return works;
}

int
main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
  const struct CMUnitTest tests[] = {
      TEST(a_device),
      TEST(a_device_in_use),
      TEST(a_read_only_device),
      TEST(a_volume_of_devices),
      TEST(a_file_and_its_loop_device),
      TEST(two_parts_of_a_file),
  };
  if (!fixture_possible() || !loop_devices_work())
    return TEST_SKIPPED;
  return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The operations: reads return the written data, zeros are zeros, errors are told, nonsense is
 * refused; on plain files, FUSE, loop devices, and where fallocate or RWF_NOWAIT do not work. */
#include "unit/timed_io/rig.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static int
sync_op(struct sf_tio_client *client, enum sf_tio_op op, unsigned flags, void *data,
        struct sf_tio_device *device, uint64_t offset, uint64_t length) {
  struct sf_tio_control control = {
      .op = op, .flags = SF_TIO_SYNC | flags, .data = data, .timeout_ns = PATIENCE_NS};
  struct sf_tio_region region = region_at(device, offset, length);

  return sf_tio(client, &control, &region, 1, NULL, NULL);
}

/* What the device is expected to do without writing. */
static bool quick_zeros;

/* One of everything; fd is a file of FILE_BYTES at least. */
static void
everything(int fd) {
  static char data[256 * 1024], back[256 * 1024];
  struct sf_tio_client *client = client_new(0, 0, 0);
  struct sf_tio_device *device = device_new(client, fd);

  memset(data, 'e', sizeof data);
  assert_int_equal(sync_op(client, SF_TIO_WRITE, 0, data, device, 65536, sizeof data), 0);
  assert_int_equal(sync_op(client, SF_TIO_READ, 0, back, device, 65536, sizeof back), 0);
  assert_memory_equal(data, back, sizeof data);
  memset(data, 'f', 4096);
  assert_int_equal(sync_op(client, SF_TIO_WRITE, SF_TIO_FUA, data, device, 65536, 4096), 0);
  assert_int_equal(sync_op(client, SF_TIO_FLUSH, 0, NULL, device, 0, 0), 0);
  assert_int_equal(sync_op(client, SF_TIO_READ, 0, back, device, 65536, 8192), 0);
  assert_true(all_bytes(back, 'f', 4096) && all_bytes(back + 4096, 'e', 4096));

  assert_int_equal(sync_op(client, SF_TIO_ZERO, 0, NULL, device, 65536 + 8192, 4096), 0);
  assert_int_equal(
      sync_op(client, SF_TIO_ZERO, SF_TIO_MAY_UNMAP, NULL, device, 65536 + 16384, 4096), 0);
  assert_int_equal(sync_op(client, SF_TIO_ZERO, SF_TIO_MAY_UNMAP | SF_TIO_FUA, NULL, device,
                           65536 + 24576, 4096),
                   0);
  if (quick_zeros) {
    assert_true(sf_tio_device_punches(device));
    assert_true(sf_tio_zeroes_quickly(client));
  }
  for (unsigned block = 0; block < 8; block++) {
    assert_int_equal(sync_op(client, SF_TIO_READ, 0, back, device, 65536 + block * 4096, 4096), 0);
    assert_true(all_bytes(back, "fe\0e\0e\0e"[block], 4096));
  }
  /* More than one buffer's worth, so a fallback has to go on. */
  assert_int_equal(sync_op(client, SF_TIO_ZERO, SF_TIO_FUA, NULL, device, 4096, 1 << 20), 0);
  assert_int_equal(sync_op(client, SF_TIO_READ, 0, back, device, 65536, sizeof back), 0);
  assert_true(all_bytes(back, 0, sizeof back));
  device_end(device);
  client_end(client);
}

/* Proves: a plain file under O_DIRECT does everything. */
static void
plain_file(void **state) {
  int fd = open_plain();

  quick_zeros = true;
  everything(fd);
  quick_zeros = false;
  close(fd);
}

/* Proves: a file that is not opened with O_DIRECT works too; its writes refuse RWF_NOWAIT with
 * -EAGAIN or -EOPNOTSUPP, and its reads come in parts when a part is cached. */
static void
buffered_file(void **state) {
  char path[] = "/var/tmp/sf-tio-XXXXXX";
  int fd = mkostemp(path, O_CLOEXEC);

  unlink(path);
  assert_int_equal(ftruncate(fd, FILE_BYTES), 0);
  everything(fd);
  close(fd);
}

/* Proves: tmpfs, where zero-range does not exist: it is done by writing. */
static void
no_zero_range(void **state) {
  int fd = memfd_create("sf-tio", MFD_CLOEXEC);

  assert_int_equal(ftruncate(fd, FILE_BYTES), 0);
  everything(fd);
  close(fd);
}

/* Proves: FUSE and a block device over it.  How: the rig, thawed. */
static void
fuse_and_loop(void **state) {
  struct stall_rig *rig = stall_rig_start(&(struct stall_rig_params){.loop = true});
  int fd = stall_rig_open(rig);

  everything(fd);
  close(fd);
  fd = stall_rig_open_loop(rig);
  everything(fd);
  close(fd);
  stall_rig_stop(rig);
}

/* Proves: a file system is not believed where its fallocate lies: zeros are written there.  How:
 * nbdfuse over an nbdkit without zero support: it says that all is done and zeroed 4 KiB. */
static void
zero_by_writing(void **state) {
  const char *const filters[] = {"--filter=nozero", NULL};
  struct stall_rig *rig = stall_rig_start(&(struct stall_rig_params){.filters = filters});
  int fd = stall_rig_open(rig);

  everything(fd);
  close(fd);
  stall_rig_stop(rig);
}

/* Proves: a FUA write is stable where RWF_DSYNC is not known to make it so.
 * How: FUSE drops that flag; the log of nbdkit behind it shows a flush after the write, and none
 * after a plain write. */
static void
fua_by_flushing(void **state) {
  const char *const filters[] = {"--filter=log", NULL};
  const char *const parameters[] = {"logfile=%D/log", NULL};
  struct stall_rig *rig =
      stall_rig_start(&(struct stall_rig_params){.filters = filters, .parameters = parameters});
  struct sf_tio_client *client = client_new(0, 0, 0);
  int fd = stall_rig_open(rig);
  struct sf_tio_device *device = device_new(client, fd);
  char data[4096] = "x", line[256], last[3][8] = {"", "", ""};
  FILE *log;

  assert_int_equal(sync_op(client, SF_TIO_WRITE, 0, data, device, 0, 4096), 0);
  assert_int_equal(sync_op(client, SF_TIO_WRITE, SF_TIO_FUA, data, device, 8192, 4096), 0);
  log = fopen(stall_rig_path(rig, "log"), "re");
  assert_non_null(log);
  while (fgets(line, sizeof line, log)) {
    const char *what = strstr(line, " Write id=")   ? "write"
                       : strstr(line, " Flush id=") ? "flush"
                                                    : NULL;

    if (!what)
      continue;
    strcpy(last[0], last[1]);
    strcpy(last[1], last[2]);
    strcpy(last[2], what);
  }
  fclose(log);
  assert_string_equal(last[0], "write");
  assert_string_equal(last[1], "write");
  assert_string_equal(last[2], "flush");
  device_end(device);
  client_end(client);
  close(fd);
  stall_rig_stop(rig);
}

/* Proves: an error of the device is ERROR with its errno, SYNC says -EIO, and a later request
 * works.  How: nbdkit's error filter, switched by a file. */
static void
device_error(void **state) {
  const char *const filters[] = {"--filter=error", NULL};
  const char *const parameters[] = {"error-rate=100%", "error=EIO", "error-file=%D/trigger", NULL};
  struct stall_rig *rig = stall_rig_start(
      &(struct stall_rig_params){.filters = filters, .parameters = parameters, .loop = true});
  int fds[2] = {stall_rig_open(rig), stall_rig_open_loop(rig)};
  struct sf_tio_client *client = client_new(0, 0, 0);
  struct sf_tio_device *device[2] = {device_new(client, fds[0]), device_new(client, fds[1])};
  char data[4096] = "x";

  for (unsigned i = 0; i < 2; i++) {
    struct sf_tio_control control = {.op = SF_TIO_WRITE,
                                     .flags = SF_TIO_SYNC,
                                     .data = data,
                                     .notify = log_event,
                                     .timeout_ns = PATIENCE_NS};
    struct sf_tio_region region = region_at(device[i], 0, 4096);
    struct sf_tio_result result;
    const char *trigger = stall_rig_path(rig, "trigger");

    log_clear();
    close(open(trigger, O_CREAT | O_WRONLY, 0600));
    assert_int_equal(sf_tio(client, &control, &region, 1, NULL, &result), -EIO);
    assert_int_equal(result.error, 1);
    assert_int_equal(log_get(SF_TIO_ERROR, false, 0).error, -EIO);
    unlink(trigger);
    assert_int_equal(sf_tio(client, &control, &region, 1, NULL, &result), 0);
    device_end(device[i]);
    close(fds[i]);
  }
  client_end(client);
  stall_rig_stop(rig);
}

/* Proves: a read that reaches behind the end of the file is an error, not half a success.
 * How: the file ends in the middle of it, so that the first answer is short. */
static void
short_read(void **state) {
  struct sf_tio_client *client = client_new(0, 0, 0);
  int fd = open_plain();
  struct sf_tio_device *device = device_new(client, fd);
  char back[8192];

  assert_int_equal(sync_op(client, SF_TIO_READ, 0, back, device, FILE_BYTES - 4096, 8192), -EIO);
  assert_int_equal(sync_op(client, SF_TIO_READ, 0, back, device, FILE_BYTES - 4096, 4096), 0);
  device_end(device);
  client_end(client);
  close(fd);
}

/* Proves: one write to many devices carries the same bytes from the user's own buffer. */
static void
own_buffer(void **state) {
  struct sf_tio_client *client = client_new(0, 0, 0);
  struct sf_tio_client_stats stats;
  struct sf_tio_device *devices[SF_TIO_REGIONS_MAX];
  struct sf_tio_region regions[SF_TIO_REGIONS_MAX];
  int fds[SF_TIO_REGIONS_MAX];
  struct sf_tio_buffer *buffer;
  struct sf_tio_control control = {.op = SF_TIO_WRITE, .flags = SF_TIO_SYNC};

  assert_int_equal(sf_tio_buffer_get(client, 10000, 0, &buffer), 0);
  assert_true(buffer->size >= 10000);
  assert_int_equal((uintptr_t) buffer->data % SF_TIO_ALIGN, 0);
  memset(buffer->data, 'b', 8192);
  control.buffer = buffer;
  for (unsigned i = 0; i < SF_TIO_REGIONS_MAX; i++) {
    fds[i] = open_plain();
    devices[i] = device_new(client, fds[i]);
    sf_tio_device_set_user(devices[i], &fds[i]);
    regions[i] = region_at(devices[i], 4096 * i, 8192);
  }
  assert_int_equal(sf_tio(client, &control, regions, SF_TIO_REGIONS_MAX, NULL, NULL), 0);
  sf_tio_client_stats(client, &stats);
  assert_int_equal(stats.buffers_free_small, 255);
  sf_tio_buffer_put(client, buffer);
  for (unsigned i = 0; i < SF_TIO_REGIONS_MAX; i++) {
    assert_int_equal(block_byte(fds[i], 4096 * i), 'b');
    assert_ptr_equal(sf_tio_device_user(devices[i]), &fds[i]);
    device_end(devices[i]);
    close(fds[i]);
  }
  client_end(client);
}

/* Proves: what makes no sense is refused before anything happens. */
static void
refused(void **state) {
  struct sf_tio_client *client = client_new(0, 0, 0);
  int fd = open_plain();
  struct sf_tio_device *device = device_new(client, fd);
  static char data[1 << 20];
  struct sf_tio_control good = {.op = SF_TIO_WRITE, .data = data, .notify = log_event};
  struct sf_tio_region regions[SF_TIO_REGIONS_MAX + 1];
  struct sf_tio_control bad;
  struct sf_tio_buffer *buffer;

  assert_int_equal(sf_tio_buffer_get(client, 4096, 0, &buffer), 0);
  for (unsigned i = 0; i <= SF_TIO_REGIONS_MAX; i++)
    regions[i] = region_at(device, 0, 4096);
#define REFUSED(error, n, ...)                                                                     \
  do {                                                                                             \
    bad = good;                                                                                    \
    __VA_ARGS__;                                                                                   \
    assert_int_equal(sf_tio(client, &bad, regions, n, NULL, NULL), error);                         \
  } while (0)
  REFUSED(-EINVAL, 0);
  REFUSED(-EINVAL, SF_TIO_REGIONS_MAX + 1);
  REFUSED(-EINVAL, 1, bad.op = SF_TIO_OPS);
  REFUSED(-EINVAL, 1, bad.flags = 1 << 10);
  REFUSED(-EINVAL, 1, bad.flags = SF_TIO_MAY_UNMAP);
  REFUSED(-EINVAL, 1, bad.op = SF_TIO_READ; bad.flags = SF_TIO_FUA);
  REFUSED(-EINVAL, 2, bad.op = SF_TIO_READ);
  REFUSED(-EINVAL, 1, bad.data = NULL);
  REFUSED(-EINVAL, 1, bad.buffer = buffer);
  REFUSED(-EINVAL, 1, bad.op = SF_TIO_FLUSH);
  REFUSED(-EINVAL, 1, bad.op = SF_TIO_READ; bad.notify = NULL; bad.timeout_ns = MS);
  regions[1].length = 8192;
  REFUSED(-EINVAL, 2);
  regions[0].length = 0;
  REFUSED(-EINVAL, 1);
  regions[0].length = 512 * 1024;
  REFUSED(-EMSGSIZE, 1);
  regions[0].length = 32 * 1024;
  REFUSED(-EMSGSIZE, 1, bad.data = NULL; bad.buffer = buffer);
  regions[0] = region_at(device, UINT64_MAX - 100, 4096);
  REFUSED(-EINVAL, 1);
  regions[0] = region_at(NULL, 0, 4096);
  REFUSED(-EINVAL, 1);
  assert_int_equal(log_total(), 0);
  sf_tio_buffer_put(client, buffer);
  device_end(device);
  client_end(client);
  close(fd);
}

static void
names(void **state) {
  assert_string_equal(sf_tio_state_name(SF_TIO_PENDING), "pending");
  assert_string_equal(sf_tio_state_name(SF_TIO_CANCELED), "canceled");
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(plain_file),      cmocka_unit_test(buffered_file),
      cmocka_unit_test(no_zero_range),   cmocka_unit_test(fuse_and_loop),
      cmocka_unit_test(zero_by_writing), cmocka_unit_test(fua_by_flushing),
      cmocka_unit_test(device_error),    cmocka_unit_test(short_read),
      cmocka_unit_test(own_buffer),      cmocka_unit_test(refused),
      cmocka_unit_test(names),
  };

  need_rig(true);
  return cmocka_run_group_tests(tests, NULL, NULL);
}

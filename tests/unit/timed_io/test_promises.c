/* The five falsifiable claims of the RFC's mapping (dm-io-rfc.md 4.8), on real stalls: a bounded
 * answer, memory that is the caller's again, a fence that is needed and possible, a pool that one
 * stuck device cannot eat.  (The fifth, one terminal state under races, is test_race.c.) */
#include "unit/timed_io/rig.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct place {
  char path[32]; /* of the disk behind the rig */
  int disk_fd;
  struct stall_rig *rig;
  int stuck_fd, quick_fd[2];
  struct sf_tio_client *client;
  struct sf_tio_device *stuck, *quick[2], *disk;
};

static int
setup(void **state) {
  struct place *place = calloc(1, sizeof *place);

  strcpy(place->path, "/var/tmp/sf-tio-disk-XXXXXX");
  place->disk_fd = open_plain_at(place->path);
  place->rig = stall_rig_start(&(struct stall_rig_params){.disk = place->path, .loop = true});
  unlink(place->path);
  place->stuck_fd = stall_rig_open_loop(place->rig);
  place->client = client_new(64, 64, 16);
  place->stuck = device_new(place->client, place->stuck_fd);
  place->disk = device_new(place->client, place->disk_fd);
  for (unsigned i = 0; i < 2; i++) {
    place->quick_fd[i] = open_plain();
    place->quick[i] = device_new(place->client, place->quick_fd[i]);
  }
  *state = place;
  return 0;
}

static int
teardown(void **state) {
  struct place *place = *state;

  stall_rig_thaw(place->rig);
  client_idle(place->client);
  device_end(place->stuck);
  device_end(place->disk);
  for (unsigned i = 0; i < 2; i++) {
    device_end(place->quick[i]);
    close(place->quick_fd[i]);
  }
  client_end(place->client);
  close(place->stuck_fd);
  close(place->disk_fd);
  stall_rig_stop(place->rig);
  free(place);
  return 0;
}

/* The timeout is the stuck device's: how quick a plain file is on a busy machine is not tested. */
static int
write_sync(struct place *place, struct sf_tio_device **devices, unsigned n, void *data,
           uint64_t timeout_ns, struct sf_tio_result *result) {
  struct sf_tio_control control = {
      .op = SF_TIO_WRITE, .flags = SF_TIO_SYNC, .data = data, .timeout_ns = timeout_ns};
  struct sf_tio_region regions[4];

  for (unsigned i = 0; i < n; i++) {
    regions[i] = region_at(devices[i], 4096, 4096);
    if (timeout_ns && devices[i] != place->stuck)
      regions[i].timeout_ns = PATIENCE_NS;
  }
  return sf_tio(place->client, &control, regions, n, NULL, result);
}

/* Proves: the answer comes at the deadline, not with the stuck device, and the others have the
 * data.  How: three devices, one frozen for ten times the deadline at least (until after the last
 * of ten answers).  The best of them must be close; a busy machine may delay others. */
static void
answer_at_the_deadline(void **state) {
  struct place *place = *state;
  struct sf_tio_device *devices[3] = {place->quick[0], place->stuck, place->quick[1]};
  uint64_t best = UINT64_MAX;
  char data[4096];

  memset(data, 'a', sizeof data);
  stall_rig_freeze(place->rig);
  for (unsigned i = 0; i < 10; i++) {
    struct sf_tio_result result;
    uint64_t begin = sf_tio_now(), took;

    assert_int_equal(write_sync(place, devices, 3, data, 30 * MS, &result), -ETIMEDOUT);
    took = sf_tio_now() - begin;
    assert_in_range(took, 30 * MS, 3000 * MS);
    if (took < best)
      best = took;
    assert_int_equal(result.ok, 1 | 4);
    assert_int_equal(result.canceled, 2);
  }
  assert_true(best < 50 * MS);
  assert_int_equal(block_byte(place->quick_fd[0], 4096), 'a');
  assert_int_equal(block_byte(place->quick_fd[1], 4096), 'a');
}

/* Proves: after the answer the caller's memory is its own: the late write carries the old payload,
 * the late read does not land.  How: poison it at once, thaw, and look. */
static void
poisoned_after_the_answer(void **state) {
  struct place *place = *state;
  struct sf_tio_control read = {.op = SF_TIO_READ, .flags = SF_TIO_SYNC, .timeout_ns = 30 * MS};
  struct sf_tio_region region = region_at(place->stuck, 4096, 4096);
  char data[4096], into[4096];

  stall_rig_freeze(place->rig);
  memset(data, 'p', sizeof data);
  assert_int_equal(write_sync(place, &place->stuck, 1, data, 30 * MS, NULL), -ETIMEDOUT);
  memset(data, 'X', sizeof data);
  read.data = into;
  memset(into, 'r', sizeof into);
  assert_int_equal(sf_tio(place->client, &read, &region, 1, NULL, NULL), -ETIMEDOUT);
  memset(into, 'Y', sizeof into);
  stall_rig_thaw(place->rig);
  log_wait(-1, true, 2);
  client_idle(place->client);
  assert_int_equal(block_byte(place->disk_fd, 4096), 'p');
  assert_true(all_bytes(into, 'Y', sizeof into));
}

/* Proves: a fence is needed: without one, a zombie overwrites newer data.  And that it is possible:
 * with sf_tio_device_running() and `late` a client knows when the zombie has ended.  How: a write
 * is given up on; the same bytes are written by another way that does not stall.  First at once:
 * they are lost.  Then only after `late`: they stay. */
static void
fence(void **state) {
  struct place *place = *state;
  char old[4096], new[4096];

  memset(old, 'o', sizeof old);
  memset(new, 'n', sizeof new);
  stall_rig_freeze(place->rig);
  assert_int_equal(write_sync(place, &place->stuck, 1, old, 30 * MS, NULL), -ETIMEDOUT);
  assert_int_equal(sf_tio_device_running(place->stuck), 1);
  assert_int_equal(write_sync(place, &place->disk, 1, new, 0, NULL), 0);
  assert_int_equal(block_byte(place->disk_fd, 4096), 'n');
  stall_rig_thaw(place->rig);
  log_wait(-1, true, 1);
  assert_int_equal(sf_tio_device_running(place->stuck), 0);
  assert_int_equal(block_byte(place->disk_fd, 4096), 'o'); /* lost */

  stall_rig_freeze(place->rig);
  assert_int_equal(write_sync(place, &place->stuck, 1, old, 30 * MS, NULL), -ETIMEDOUT);
  stall_rig_thaw(place->rig);
  log_wait(-1, true, 2);
  assert_int_equal(write_sync(place, &place->disk, 1, new, 0, NULL), 0);
  client_idle(place->client);
  assert_int_equal(block_byte(place->disk_fd, 4096), 'n');
}

/* Proves: a device that is stuck for ever at full load is refused when its share is in quarantine,
 * and I/O that avoids it goes on; memory stays what it was at creation.
 * How: write to the frozen device until refused; then both quick devices a few hundred times. */
static void
pool_has_shares(void **state) {
  struct place *place = *state;
  struct sf_tio_client_stats before, after;
  unsigned detached = 0;
  char data[4096] = "x";
  int error;

  sf_tio_client_stats(place->client, &before);
  stall_rig_freeze(place->rig);
  while ((error = write_sync(place, &place->stuck, 1, data, 2 * MS, NULL)) != -EAGAIN) {
    assert_int_equal(error, -ETIMEDOUT);
    detached++;
    assert_true(detached <= 64);
  }
  /* Four devices: a quarter.  Regions never handed over were really cancelled and do not count. */
  assert_true(detached >= 64 / 4);
  assert_int_equal(sf_tio_device_running(place->stuck), 64 / 4);
  sf_tio_client_stats(place->client, &after);
  assert_int_equal(after.buffers_quarantined, 64 / 4);
  assert_int_equal(after.memory_bytes, before.memory_bytes);
  for (unsigned i = 0; i < 300; i++)
    assert_int_equal(write_sync(place, place->quick, 2, data, 2000 * MS, NULL), 0);
  assert_int_equal(sf_tio_client_destroy(place->client), -EBUSY);
  assert_int_equal(sf_tio_device_remove(place->stuck), -EBUSY);
  stall_rig_thaw(place->rig);
  client_idle(place->client);
  assert_int_equal(write_sync(place, &place->stuck, 1, data, 0, NULL), 0);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(answer_at_the_deadline, setup, teardown),
      cmocka_unit_test_setup_teardown(poisoned_after_the_answer, setup, teardown),
      cmocka_unit_test_setup_teardown(fence, setup, teardown),
      cmocka_unit_test_setup_teardown(pool_has_shares, setup, teardown),
  };

  need_rig(true);
  return cmocka_run_group_tests(tests, NULL, NULL);
}

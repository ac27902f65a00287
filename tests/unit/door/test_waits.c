/* What a connection waits for comes: a buffer that came free just before it began to wait, and a
 * block that is free again while the workers wait for what the connection holds. */
#include "client.h"
#include "rig.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <surefoot/door.h>

#include "door/internal.h"

enum { SIZE = 1 << 20, BLOCK = 4096, WRITE = 1 };

static struct sf_serve *serve;
static struct sf_door *door;
static char directory[] = "/tmp/door-waits-XXXXXX", path[64];
static struct sf_tio_buffer *held[4];
static atomic_uint held_n;
static atomic_bool workers_starve;

void __wrap_sf_volume_submit(struct sf_volume *v, struct sf_request *request, uint64_t now_ns);
uint64_t __wrap_sf_volume_size(struct sf_volume *v);
void __wrap_sf_volume_wait_told(struct sf_volume *v);
int __wrap_sf_tio_buffer_get_or_wake(struct sf_tio_queue *queue, size_t len,
                                     struct sf_tio_buffer **buffer);
int __real_sf_tio_buffer_get_or_wake(struct sf_tio_queue *queue, size_t len,
                                     struct sf_tio_buffer **buffer);
int __wrap_sf_serve_buffer_get(struct sf_call *call, size_t length, struct sf_tio_buffer **buffer);
int __real_sf_serve_buffer_get(struct sf_call *call, size_t length, struct sf_tio_buffer **buffer);

void
__wrap_sf_volume_submit(struct sf_volume *v, struct sf_request *request, uint64_t now_ns) {
  request->error = 0;
  request->done(request);
}

uint64_t
__wrap_sf_volume_size(struct sf_volume *v) {
  return SIZE;
}

void
__wrap_sf_volume_wait_told(struct sf_volume *v) {
}

/* The held buffers come free as soon as a caller has asked in vain. */
int
__wrap_sf_tio_buffer_get_or_wake(struct sf_tio_queue *queue, size_t len,
                                 struct sf_tio_buffer **buffer) {
  int r = __real_sf_tio_buffer_get_or_wake(queue, len, buffer);

  while (r == -EAGAIN && atomic_load(&held_n) > 0)
    sf_tio_buffer_put(serve->client, held[atomic_fetch_sub(&held_n, 1) - 1]);
  return r;
}

/* The workers': comes when what the connection holds has been answered, and not before. */
int
__wrap_sf_serve_buffer_get(struct sf_call *call, size_t length, struct sf_tio_buffer **buffer) {
  while (atomic_load(&workers_starve))
    usleep(1000);
  return __real_sf_serve_buffer_get(call, length, buffer);
}

static int
begin(void **state) {
  const struct sf_tio_client_params params = {.buffers_small = 4, .buffers_large = 4};

  serve = serve_with(&params);
  atomic_store(&serve->suspends, true);
  snprintf(path, sizeof path, "%s/socket", directory);
  door = open_door(serve, SIZE, BLOCK, path);
  return 0;
}

static int
end(void **state) {
  assert_int_equal(sf_door_close(door), 0);
  serve_end(serve);
  return 0;
}

/* ---- a client ---- */

static void
ask_write(int fd, uint32_t length) {
  static const unsigned char data[16 * BLOCK];
  unsigned char request[REQUEST_BYTES] = {0x25, 0x60, 0x95, 0x13, 0, 0, 0, WRITE};

  request[26] = (unsigned char) (length >> 8);
  assert_int_equal(write(fd, request, sizeof request), sizeof request);
  assert_int_equal(write(fd, data, length), length);
}

static void
hear_well(int fd) {
  unsigned char reply[REPLY_BYTES];
  static const unsigned char well[8] = {0x67, 0x44, 0x66, 0x98};

  hear(fd, reply, sizeof reply);
  assert_memory_equal(reply, well, sizeof well);
}

/* ---- proofs ---- */

/* Proves that a buffer which comes free after the pool was asked in vain, and before the connection
 * waits, is taken at once and not half a second later. */
static void
a_buffer_that_came_before(void **state) {
  int fd = connect_it(path);
  uint64_t began, took;

  for (unsigned i = 0; i < 4; i++)
    assert_int_equal(sf_tio_buffer_get(serve->client, 16 * BLOCK, 0, &held[i]), 0);
  atomic_store(&held_n, 4);
  began = sf_tio_now();
  ask_write(fd, 8 * BLOCK);
  hear_well(fd);
  took = sf_tio_now() - began;
  assert_int_equal(atomic_load(&held_n), 0);
  assert_in_range(took / MS, 0, 400);
  close(fd);
}

static void
until_held(unsigned n) {
  struct sf_tio_client_stats stats;
  uint64_t until = sf_tio_now() + PATIENCE_MS * MS;

  do {
    usleep(1000);
    sf_tio_client_stats(serve->client, &stats);
    assert_true(sf_tio_now() < until);
  } while (stats.buffers_free_large > 4 - n);
}

/* Proves that writes which were refused for a block that was being changed, and hold all buffers
 * while the workers that should do them wait for one, are done when the block is free. */
static void
a_block_that_is_free_again(void **state) {
  struct sf_serve_client *other;
  struct serve_range block = {.begin = 0, .end = BLOCK};
  struct sf_call call;
  int fd = connect_it(path);

  assert_int_equal(sf_serve_client_open(serve, &other), 0);
  call = (struct sf_call){.client = other};
  assert_int_equal(sf_serve_order_hold(&call, &block), 0);
  atomic_store(&workers_starve, true);
  for (unsigned i = 0; i < 6; i++)
    ask_write(fd, 8 * BLOCK);
  until_held(4);
  sf_serve_order_release(&call, &block);
  for (unsigned i = 0; i < 4; i++)
    hear_well(fd);
  atomic_store(&workers_starve, false);
  for (unsigned i = 0; i < 2; i++)
    hear_well(fd);
  close(fd);
  sf_serve_client_close(other);
}

/* Sends a write of 256 KiB, and so many bytes of its data. */
static void
begin_write(int fd, size_t bytes) {
  static const unsigned char data[256 << 10];
  static const unsigned char request[REQUEST_BYTES] = {0x25, 0x60,        0x95,
                                                       0x13, [7] = WRITE, [25] = 4};

  assert_int_equal(write(fd, request, sizeof request), sizeof request);
  assert_int_equal(write(fd, data, bytes), bytes);
}

/* Proves that clients which do not send the rest of their data leave buffers to the others, and that
 * theirs are done too when it comes. */
static void
data_that_does_not_come(void **state) {
  static const unsigned char rest[256 << 10];
  int rude[6], good;

  atomic_store(&door->data_left, 2);
  for (unsigned i = 0; i < 6; i++) {
    rude[i] = connect_it(path);
    begin_write(rude[i], 10);
  }
  until_held(2);
  good = connect_it(path);
  for (unsigned i = 0; i < 3; i++) {
    begin_write(good, sizeof rest);
    hear_well(good);
  }
  close(rude[0]);
  for (unsigned i = 1; i < 6; i++) {
    assert_int_equal(write(rude[i], rest, sizeof rest - 10), sizeof rest - 10);
    hear_well(rude[i]);
    close(rude[i]);
  }
  close(good);
}

/* Proves that, and that the share comes back, whichever way the writes ended. */
static void
data_that_does_not_come_leaves_the_share(void **state) {
  data_that_does_not_come(state);
  for (unsigned ms = 0; atomic_load(&door->data_left) != 2; ms++) {
    assert_true(ms < PATIENCE_MS);
    usleep(1000);
  }
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(a_buffer_that_came_before, begin, end),
      cmocka_unit_test_setup_teardown(a_block_that_is_free_again, begin, end),
      cmocka_unit_test_setup_teardown(data_that_does_not_come_leaves_the_share, begin, end),
  };
  int failed;

  if (mkdtemp(directory) == NULL)
    return 1;
  failed = cmocka_run_group_tests(tests, NULL, NULL);
  rmdir(directory);
  return failed;
}

/* What a connection waits for comes: a buffer that came free just before it began to wait, and a
 * block that is free again while the workers wait for what the connection holds. */
#include "door_rig.h"

#include <errno.h>
#include <unistd.h>

enum { SIZE = 1 << 20 };

static struct sf_tio_buffer *held[4];
static atomic_uint held_n;
static atomic_bool workers_starve;

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
  door_rig_init(SIZE, &(struct sf_tio_client_params){.buffers_small = 4, .buffers_large = 4});
  atomic_store(&serve->suspends, true);
  door_rig_open();
  return 0;
}

/* ---- a client ---- */

static void
ask_write(int fd, uint32_t length) {
  send_request(fd, WRITE, 0, length, 0);
  send_zeros(fd, length);
}

/* ---- proofs ---- */

/* Proves that a buffer which comes free after the pool was asked in vain, and before the connection
 * waits, is taken at once and not half a second later. */
static void
a_buffer_that_came_before(void **state) {
  int fd = connect_client();
  uint64_t began, took;

  for (unsigned i = 0; i < 4; i++)
    assert_int_equal(sf_tio_buffer_get(serve->client, 16 * BLOCK, 0, &held[i]), 0);
  atomic_store(&held_n, 4);
  began = sf_tio_now();
  ask_write(fd, 8 * BLOCK);
  hear_well(fd);
  took = sf_tio_now() - began;
  assert_int_equal(atomic_load(&held_n), 0);
  assert_in_range(took / SF_MS, 0, 400);
  close(fd);
}

static void
until_held(unsigned n) {
  uint64_t until = end_of_patience();

  do
    look_again(until);
  while (free_large_buffers() > 4 - n);
}

/* Proves that writes which were refused for a block that was being changed, and hold all buffers
 * while the workers that should do them wait for one, are done when the block is free. */
static void
a_block_that_is_free_again(void **state) {
  struct sf_serve_client *other;
  struct serve_range block = {.begin = 0, .end = BLOCK};
  struct sf_call call;
  int fd = connect_client();

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
  send_request(fd, WRITE, 0, PIECE, 0);
  send_zeros(fd, bytes);
}

/* Proves that clients which do not send the rest of their data leave buffers to the others, and that
 * theirs are done too when it comes. */
static void
data_that_does_not_come(void **state) {
  int rude[6], good;

  atomic_store(&door->data_left, 2);
  for (unsigned i = 0; i < 6; i++) {
    rude[i] = connect_client();
    begin_write(rude[i], 10);
  }
  until_held(2);
  good = connect_client();
  for (unsigned i = 0; i < 3; i++) {
    begin_write(good, PIECE);
    hear_well(good);
  }
  close(rude[0]);
  for (unsigned i = 1; i < 6; i++) {
    send_zeros(rude[i], PIECE - 10);
    hear_well(rude[i]);
    close(rude[i]);
  }
  close(good);
}

/* Proves that, and that the share comes back, whichever way the writes ended. */
static void
data_that_does_not_come_leaves_the_share(void **state) {
  uint64_t until;

  data_that_does_not_come(state);
  until = end_of_patience();
  while (atomic_load(&door->data_left) != 2)
    look_again(until);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(a_buffer_that_came_before, begin, door_rig_end),
      cmocka_unit_test_setup_teardown(a_block_that_is_free_again, begin, door_rig_end),
      cmocka_unit_test_setup_teardown(data_that_does_not_come_leaves_the_share, begin,
                                      door_rig_end),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}

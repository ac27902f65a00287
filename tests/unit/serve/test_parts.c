/* A stuck write of a part of a block stops no write elsewhere. */
#include "order_rig.h"

/* ---- parts of blocks ---- */

static unsigned
ranges(void) {
  unsigned n = 0;

  pthread_mutex_lock(&serve->order.lock);
  SF_LIST_EACH(l, &serve->order.ranges)
    n++;
  pthread_mutex_unlock(&serve->order.lock);
  return n;
}

static void
wait_for_ranges(unsigned n) {
  while (ranges() < n)
    sched_yield();
}

static void
a_stuck_part_stops_nobody_elsewhere(void **state) {
  struct connection one, other;
  struct asked part = {.connection = &one, .byte = 1, .length = 512, .offset = 512};
  struct asked there = {.connection = &other, .byte = 2, .length = 512, .offset = 1024};
  unsigned char data[512];

  connect_it(&one);
  connect_it(&other);
  stick(0);
  ask(&part);
  wait_until_stuck();
  ask(&there); /* the same block: after the first */
  wait_for_ranges(2);
  assert_int_equal(write_all(&other, 3, BLOCK, BLOCK), 0);
  assert_int_equal(write_all(&other, 4, 512, 2 * BLOCK + 512), 0);
  mine = &other;
  assert_int_equal(sf_serve_zero(other.client, 4 * BLOCK, 4 * BLOCK, false, false), 0);
  assert_int_equal(sf_serve_read(other.client, data, sizeof data, 2 * BLOCK + 512), 0);
  assert_int_equal(data[0], 4);
  assert_int_equal(byte_at(512), 0);
  unstick();
  assert_int_equal(answer(&part), 0);
  assert_int_equal(answer(&there), 0);
  assert_int_equal(byte_at(512), 1);
  assert_int_equal(byte_at(1024), 2);
  assert_int_equal(byte_at(2 * BLOCK + 511), 0);
  sf_serve_client_close(one.client);
  sf_serve_client_close(other.client);
}

/* A whole block behind a part of it, and a long write over both. */
static void
a_stuck_part_is_not_undone(uint64_t length) {
  struct connection one, other;
  struct asked part = {.connection = &one, .byte = 1, .length = 512};
  struct asked whole = {.connection = &other, .byte = 5, .length = length};

  connect_it(&one);
  connect_it(&other);
  stick(0);
  ask(&part);
  wait_until_stuck();
  ask(&whole);
  wait_for_ranges(2);
  unstick();
  assert_int_equal(answer(&part), 0);
  assert_int_equal(answer(&whole), 0);
  assert_int_equal(byte_at(0), 5);
  assert_int_equal(byte_at(length - 1), 5);
  sf_serve_client_close(one.client);
  sf_serve_client_close(other.client);
}

static void
a_whole_block_waits_for_a_part_of_it(void **state) {
  a_stuck_part_is_not_undone(BLOCK);
  a_stuck_part_is_not_undone(2 * BLOCK);
}

/* The block is let go when the write is handed over: the volume orders what comes after it. */
static void
a_stuck_write_holds_no_block(void **state) {
  struct connection one, other;
  struct asked part = {.connection = &one, .byte = 1, .length = 512};

  connect_it(&one);
  connect_it(&other);
  assert_int_equal(write_all(&other, 3, BLOCK, BLOCK), 0);
  one.hold_at = AFTER_LOOK; /* between the read and the write */
  ask(&part);
  wait_until_held();
  assert_int_equal(ranges(), 1);
  stick(0);
  open_gate();
  wait_until_stuck();
  assert_int_equal(ranges(), 0);
  unstick();
  assert_int_equal(answer(&part), 0);
  sf_serve_client_close(one.client);
  sf_serve_client_close(other.client);
}

/* Making a ring takes long: no block is held meanwhile. */
static void
one_that_makes_its_ring_holds_no_block(void **state) {
  struct connection one, other;
  struct asked part = {.connection = &one, .byte = 1, .length = 512};

  connect_it(&one);
  connect_it(&other);
  one.hold_at = AT_RING;
  ask(&part);
  wait_until_held();
  assert_int_equal(write_all(&other, 2, 512, 512), 0);
  assert_int_equal(write_all(&other, 2, BLOCK, 0), 0);
  open_gate();
  assert_int_equal(answer(&part), 0);
  sf_serve_client_close(one.client);
  sf_serve_client_close(other.client);
}

/* A block that is never let go is waited for as long as the configuration says, or as the client is
 * there. */
static void
a_held_block_is_waited_for_as_long_as_may_be(void **state) {
  struct connection one;
  struct sf_call call = {0};
  struct serve_range block = {.begin = 0, .end = BLOCK};

  connect_it(&one);
  call.client = one.client;
  mine = &one;
  assert_int_equal(sf_serve_order_hold(&call, &block), 0);
  assert_int_equal(write_all(&one, 1, BLOCK, 0), -EIO);
  assert_int_equal(write_all(&one, 1, 512, 0), -EIO);
  atomic_store(&serve->suspends, true);
  atomic_store(&one.dead, true);
  assert_int_equal(write_all(&one, 1, BLOCK, 0), -ESHUTDOWN);
  assert_int_equal(write_all(&one, 1, 512, 0), -ESHUTDOWN);
  assert_int_equal(volume.submitted, 0);
  sf_serve_order_release(&call, &block);
  assert_int_equal(ranges(), 0);
  sf_serve_client_close(one.client);
}

/* What the volume has read for a part of a block, and still writes over a bad block, is left
 * alone. */
static void
what_is_read_is_not_changed(void **state) {
  struct connection one;
  unsigned char *data;

  connect_it(&one);
  assert_int_equal(write_all(&one, 7, BLOCK, 0), 0);
  volume.repairs = true;
  assert_int_equal(write_all(&one, 1, 512, 0), 0);
  volume.repairs = false;
  data = volume.repairing->data;
  assert_int_equal(data[0], 7);
  assert_int_equal(byte_at(0), 1);
  assert_int_equal(byte_at(512), 7);
  sf_tio_buffer_put(serve->client, volume.repairing);
  sf_serve_client_close(one.client);
}

/* ---- a thread without a ring ---- */

static void
without_a_ring_it_is_done_as_well(void **state) {
  struct connection one;
  struct asked part = {.connection = &one, .byte = 1, .length = 512};

  connect_it(&one);
  one.no_ring = true;
  assert_int_equal(write_all(&one, 2, 2 * BLOCK, 0), 0);
  stick(0);
  ask(&part); /* answered by another thread */
  wait_until_stuck();
  unstick();
  assert_int_equal(answer(&part), 0);
  assert_int_equal(byte_at(0), 1);
  assert_int_equal(byte_at(512), 2);
  assert_int_equal(serve->log_count, 1); /* told once */
  sf_serve_client_close(one.client);
}

/* A call that waits so still asks whether its client is there. */
static void
without_a_ring_it_is_given_up_as_well(void **state) {
  struct connection one;
  struct asked whole = {.connection = &one, .byte = 1, .length = BLOCK};

  connect_it(&one);
  one.no_ring = true;
  stick(0);
  ask(&whole);
  wait_until_stuck();
  atomic_store(&one.dead, true);
  assert_int_equal(answer(&whole), -ESHUTDOWN);
  sf_serve_client_close(one.client);
}

/* ---- all of it at once ---- */

static void *
add_parts(void *arg) {
  struct connection connection;
  unsigned part = (unsigned) (uintptr_t) arg;

  connect_it(&connection);
  connection.random_pauses = true;
  for (unsigned i = 0; i < PER_WRITER; i++) {
    assert_int_equal(write_all(&connection, part + 1, 512, part * 512), 0);
    assert_int_equal(byte_at(part * 512), (int) part + 1); /* no older block came over it */
    assert_int_equal(write_all(&connection, 0, 512, part * 512), 0);
    assert_int_equal(byte_at(part * 512), 0);
  }
  sf_serve_client_close(connection.client);
  return NULL;
}

/* Parts of one block by many: none undoes another's. */
static void
parts_of_one_block_by_many(void **state) {
  pthread_t thread[WRITERS];

  for (uintptr_t i = 0; i < WRITERS; i++)
    assert_int_equal(pthread_create(&thread[i], NULL, add_parts, (void *) i), 0);
  for (unsigned i = 0; i < WRITERS; i++)
    pthread_join(thread[i], NULL);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(a_stuck_part_stops_nobody_elsewhere, begin, end),
      cmocka_unit_test_setup_teardown(a_whole_block_waits_for_a_part_of_it, begin, end),
      cmocka_unit_test_setup_teardown(a_stuck_write_holds_no_block, begin, end),
      cmocka_unit_test_setup_teardown(one_that_makes_its_ring_holds_no_block, begin, end),
      cmocka_unit_test_setup_teardown(a_held_block_is_waited_for_as_long_as_may_be, begin, end),
      cmocka_unit_test_setup_teardown(what_is_read_is_not_changed, begin, end),
      cmocka_unit_test_setup_teardown(without_a_ring_it_is_done_as_well, begin, end),
      cmocka_unit_test_setup_teardown(without_a_ring_it_is_given_up_as_well, begin, end),
      cmocka_unit_test_setup_teardown(parts_of_one_block_by_many, begin, end),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

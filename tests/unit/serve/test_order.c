/* What a dead connection asked for is not written over what came after it. */
#include "order_rig.h"

/* ---- a dead connection ---- */

/* W1 is held at the place; its connection dies, and the client sends it again, and then W2. */
static void
dies_while_held(enum place place, bool had_another, uint64_t length) {
  struct connection old, new;
  struct asked w1 = {.connection = &old, .byte = 1, .length = length};

  if (had_another)
    connect_it(&new);
  connect_it(&old);
  if (!had_another)
    connect_it(&new);
  assert_int_equal(write_all(&new, 9, BLOCK, 8 * BLOCK), 0); /* so that the old one is looked at */
  old.hold_at = place;
  ask(&w1);
  wait_until_held();
  atomic_store(&old.dead, true);
  /* A part of a block that is held keeps the block: a write sent again waits for it. */
  if (length == BLOCK) {
    assert_int_equal(write_all(&new, 1, BLOCK, 0), 0);
    assert_int_equal(write_all(&new, 2, BLOCK, 0), 0);
    open_gate();
    assert_int_equal(answer(&w1), -ESHUTDOWN);
  } else {
    struct asked again = {.connection = &new, .byte = 1, .length = length};

    ask(&again);
    open_gate();
    answer(&w1);
    assert_int_equal(answer(&again), 0);
    assert_int_equal(write_all(&new, 2, BLOCK, 0), 0);
  }
  assert_int_equal(byte_at(0), 2);
  sf_serve_client_close(old.client);
  sf_serve_client_close(new.client);
}

static void
dead_while_its_ring_is_made(void **state) {
  dies_while_held(AT_RING, false, BLOCK);
}

static void
dead_after_it_was_looked_at(void **state) {
  dies_while_held(AFTER_LOOK, false, BLOCK);
}

static void
resent_by_one_that_was_there(void **state) {
  dies_while_held(AFTER_LOOK, true, BLOCK);
}

static void
dead_with_a_part_of_a_block(void **state) {
  dies_while_held(AFTER_LOOK, false, 512);
}

static void
dead_in_the_read_of_a_part(void **state) {
  struct connection old, new;
  struct asked w1 = {.connection = &old, .byte = 1, .length = 512};
  struct asked again = {.connection = &new, .byte = 1, .length = 512};

  connect_it(&old);
  connect_it(&new);
  stick(0);
  ask(&w1);
  wait_until_stuck();
  atomic_store(&old.dead, true);
  ask(&again);
  assert_int_equal(write_all(&new, 9, BLOCK, BLOCK), 0);
  unstick();
  assert_int_equal(answer(&w1), -ESHUTDOWN);
  assert_int_equal(answer(&again), 0);
  assert_int_equal(write_all(&new, 2, 512, 0), 0);
  assert_int_equal(byte_at(0), 2);
  sf_serve_client_close(old.client);
  sf_serve_client_close(new.client);
}

static void
dead_between_batches_of_zeros(void **state) {
  struct connection old, new;
  struct asked zeros = {.connection = &old, .zero = true, .length = sizeof volume.disk};
  uint64_t last = sizeof volume.disk - BLOCK;

  connect_it(&old);
  connect_it(&new);
  assert_int_equal(write_all(&new, 7, BLOCK, last), 0);
  old.hold_at = AFTER_LOOK;
  old.let_by = 1; /* before the first batch */
  ask(&zeros);
  wait_until_held();
  atomic_store(&old.dead, true);
  assert_int_equal(write_all(&new, 2, BLOCK, last), 0);
  open_gate();
  assert_int_equal(answer(&zeros), -ESHUTDOWN);
  assert_int_equal(volume.submitted, 2 + 4);
  assert_int_equal(byte_at(last), 2);
  sf_serve_client_close(old.client);
  sf_serve_client_close(new.client);
}

/* A new connection that only reads: what it read stays. */
static void
dead_before_another_is_opened(void **state) {
  struct connection old, new;
  struct asked w1 = {.connection = &old, .byte = 1, .length = BLOCK};
  unsigned char data[BLOCK];

  connect_it(&new);
  connect_it(&old);
  assert_int_equal(write_all(&new, 9, BLOCK, BLOCK), 0);
  sf_serve_client_close(new.client);
  old.hold_at = AFTER_LOOK;
  ask(&w1);
  wait_until_held();
  atomic_store(&old.dead, true);
  connect_it(&new);
  mine = &new;
  assert_int_equal(sf_serve_read(new.client, data, sizeof data, 0), 0);
  assert_int_equal(data[0], 0);
  open_gate();
  assert_int_equal(answer(&w1), -ESHUTDOWN);
  assert_int_equal(byte_at(0), 0);
  sf_serve_client_close(old.client);
  sf_serve_client_close(new.client);
}

/* A connection that is dead when it is opened writes nothing, and one that was seen dead is not
 * asked again. */
static void
dead_from_the_beginning(void **state) {
  struct connection dead = {.dead = true};
  unsigned looks;

  mine = &dead;
  assert_int_equal(sf_serve_client_open(serve, &dead.client), 0);
  looks = dead.looks;
  assert_int_equal(write_all(&dead, 1, BLOCK, 0), -ESHUTDOWN);
  assert_int_equal(dead.looks, looks);
  assert_int_equal(volume.submitted, 0);
  sf_serve_client_close(dead.client);
}

/* ---- what it costs ---- */

static void
one_alone_is_not_looked_at(void **state) {
  struct connection one;

  connect_it(&one);
  assert_int_equal(one.looks, 1);
  for (unsigned i = 0; i < 100; i++)
    assert_int_equal(write_all(&one, i, BLOCK, i * BLOCK), 0);
  assert_int_equal(one.looks, 1);
  sf_serve_client_close(one.client);
}

static struct connection quick;

/* Hands a write over if the thread that looks does not hold the lock. */
static void
be_quicker(void) {
  struct connection *before = mine;

  if (pthread_mutex_trylock(&serve->order.lock) != 0)
    return;
  pthread_mutex_unlock(&serve->order.lock);
  assert_int_equal(write_all(&quick, 3, BLOCK, BLOCK), 0);
  mine = before;
}

static void
who_is_slow_is_not_kept_for_ever(void **state) {
  struct connection slow;

  connect_it(&slow);
  connect_it(&quick);
  assert_int_equal(write_all(&quick, 3, BLOCK, BLOCK), 0);
  slow.on_look = be_quicker;
  assert_int_equal(write_all(&slow, 1, BLOCK, 0), 0);
  assert_int_equal(byte_at(0), 1);
  assert_true(slow.looks < 10);
  sf_serve_client_close(slow.client);
  sf_serve_client_close(quick.client);
}

/* ---- all of it at once ---- */

/* A client that dies at any moment of its write and sends it again, with others in between. */
static void
at_any_moment(void **state) {
  struct connection noise;

  connect_it(&noise);
  for (unsigned round = 0; round < ROUNDS; round++) {
    struct connection old, new;
    struct asked w1 = {.connection = &old, .byte = 1, .length = round % 3 ? BLOCK : 512};

    connect_it(&old);
    connect_it(&new);
    assert_int_equal(write_all(&noise, 9, BLOCK, BLOCK), 0);
    old.random_pauses = new.random_pauses = true;
    ask(&w1);
    mine = &new;
    for (unsigned i = 0; i < round % 16; i++)
      pause_at_random();
    atomic_store(&old.dead, true);
    assert_int_equal(write_all(&new, 1, w1.length, 0), 0);
    assert_int_equal(write_all(&new, 2, w1.length, 0), 0);
    answer(&w1);
    assert_int_equal(byte_at(0), 2);
    sf_serve_client_close(old.client);
    sf_serve_client_close(new.client);
  }
  sf_serve_client_close(noise.client);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(dead_while_its_ring_is_made, begin, end),
      cmocka_unit_test_setup_teardown(dead_after_it_was_looked_at, begin, end),
      cmocka_unit_test_setup_teardown(resent_by_one_that_was_there, begin, end),
      cmocka_unit_test_setup_teardown(dead_with_a_part_of_a_block, begin, end),
      cmocka_unit_test_setup_teardown(dead_in_the_read_of_a_part, begin, end),
      cmocka_unit_test_setup_teardown(dead_between_batches_of_zeros, begin, end),
      cmocka_unit_test_setup_teardown(dead_before_another_is_opened, begin, end),
      cmocka_unit_test_setup_teardown(dead_from_the_beginning, begin, end),
      cmocka_unit_test_setup_teardown(one_alone_is_not_looked_at, begin, end),
      cmocka_unit_test_setup_teardown(who_is_slow_is_not_kept_for_ever, begin, end),
      cmocka_unit_test_setup_teardown(at_any_moment, begin, end),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

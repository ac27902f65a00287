/* The end of a connection: what its client asked for is done and answered before, and a client that
 * is dead gets nothing done any more. */
#include "door_rig.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

enum { SIZE = 1 << 20, DISC = 2 };

static struct sf_door *volatile left; /* its memory stays */
static struct sf_serve_client *other, *later;

/* Writes that have reached the volume; and the last request, which it keeps. */
static atomic_uint writes;
static atomic_bool keeps, hangs; /* hangs: also what was given up */
static struct sf_request *_Atomic kept;

void
__wrap_sf_volume_submit(struct sf_volume *v, struct sf_request *request, uint64_t now_ns) {
  request->error = 0;
  if (request->kind == SF_REQ_WRITE)
    atomic_fetch_add(&writes, 1);
  if (atomic_load(&keeps))
    atomic_store(&kept, request);
  else
    request->done(request);
}

static void
let_go(int error) {
  struct sf_request *request;

  pthread_mutex_lock(&volume_lock);
  request = atomic_exchange(&kept, NULL);
  assert_non_null(request);
  request->error = error;
  request->done(request);
  pthread_mutex_unlock(&volume_lock);
}

void
__wrap_sf_volume_give_up(struct sf_volume *v, struct sf_request *request, uint64_t now_ns) {
  if (!atomic_load(&hangs) && atomic_load(&kept) == request)
    let_go(-ESHUTDOWN);
}

static int
begin(void **state) {
  atomic_store(&writes, 0);
  atomic_store(&keeps, false);
  atomic_store(&hangs, false);
  atomic_store(&kept, NULL);
  door_rig_init(SIZE, &(struct sf_tio_client_params){.buffers_small = 4, .buffers_large = 4});
  atomic_store(&serve->suspends, true);
  door_rig_open();
  return 0;
}

/* ---- a client ---- */

static void
ask(int fd, unsigned char kind, uint64_t offset, uint32_t length) {
  send_request(fd, kind, offset, length, kind);
  send_zeros(fd, length);
}

static void
hear_end(int fd) {
  struct pollfd news = {.fd = fd, .events = POLLIN};
  char byte;

  assert_int_equal(poll(&news, 1, PATIENCE_MS), 1);
  assert_true(read(fd, &byte, 1) <= 0);
}

static void
until_kept(void) {
  uint64_t until = end_of_patience();

  while (atomic_load(&kept) == NULL)
    look_again(until);
}

/* Longer than it takes the connection, and a call, to look for the client. */
static void
wait_for_looks(void) {
  usleep((DOOR_TICK_MS + SERVE_ASK_MS) * 1000);
}

/* ---- a block that another client changes in part: a write of it waits, and is looked after ---- */

static struct sf_call call;
static struct serve_range block;

static void
hold_block(void) {
  assert_int_equal(sf_serve_client_open(serve, &other), 0);
  call = (struct sf_call){.client = other};
  block = (struct serve_range){.begin = 0, .end = BLOCK};
  assert_int_equal(sf_serve_order_hold(&call, &block), 0);
}

static void
free_block(void) {
  sf_serve_order_release(&call, &block);
}

/* ---- proofs ---- */

/* Proves that what a client asked for is done and answered after it said that it ends, and shut its
 * writing side as libnbd does. */
static void
half_closed_after_its_word(void **state) {
  int fd = connect_client();

  atomic_store(&keeps, true);
  ask(fd, WRITE, 0, BLOCK);
  until_kept();
  ask(fd, DISC, 0, 0);
  assert_int_equal(shutdown(fd, SHUT_WR), 0);
  wait_for_looks();
  let_go(0);
  assert_int_equal(hear_well(fd), WRITE);
  hear_end(fd);
  close(fd);
}

/* Proves that one that shuts it without that word is dead: a proxy passes the end of its own client
 * on so, and keeps the socket.  What the volume does not have yet is never done. */
static void
half_closed_without_a_word(void **state) {
  int fd = connect_client();

  hold_block();
  ask(fd, WRITE, 0, BLOCK);
  ask(fd, WRITE, 512, 512);
  usleep(50 * 1000);
  assert_int_equal(shutdown(fd, SHUT_WR), 0);
  assert_int_equal(sf_serve_client_open(serve, &later), 0);
  free_block();
  until_connections_left(0);
  assert_int_equal(atomic_load(&writes), 0);
  close(fd);
  sf_serve_client_close(later);
  sf_serve_client_close(other);
}

/* Proves the same of writes that the volume does not have yet: of a whole block and of a part. */
static void
half_closed_with_writes_that_wait(void **state) {
  int fd = connect_client();

  hold_block();
  ask(fd, WRITE, 0, BLOCK);
  ask(fd, WRITE, 512, 512);
  ask(fd, DISC, 0, 0);
  assert_int_equal(shutdown(fd, SHUT_WR), 0);
  wait_for_looks();
  assert_int_equal(atomic_load(&writes), 0);
  free_block();
  assert_int_equal(hear_well(fd), WRITE);
  assert_int_equal(hear_well(fd), WRITE);
  hear_end(fd);
  assert_int_equal(atomic_load(&writes), 2);
  close(fd);
  sf_serve_client_close(other);
}

/* Proves the same where the word has come and cannot be taken yet: both places for parts of blocks are
 * taken. */
static void
half_closed_behind_what_waits(void **state) {
  enum { WRITES = 20 };
  int fd = connect_client();

  hold_block();
  for (unsigned i = 0; i < WRITES; i++)
    ask(fd, WRITE, 512, 512);
  ask(fd, DISC, 0, 0);
  assert_int_equal(shutdown(fd, SHUT_WR), 0);
  wait_for_looks();
  assert_int_equal(atomic_load(&writes), 0);
  free_block();
  for (unsigned i = 0; i < WRITES; i++)
    assert_int_equal(hear_well(fd), WRITE);
  hear_end(fd);
  assert_int_equal(atomic_load(&writes), WRITES);
  close(fd);
  sf_serve_client_close(other);
}

/* Proves that the same writes are never done after another connection has come, where the client has
 * closed its socket, or shut both its directions as the kernel's does, after it shut the writing
 * one: it may have sent them again.  And that they are not told as failed. */
static void
dead_with_writes_that_wait(int how) {
  int fd = connect_client();

  hold_block();
  ask(fd, WRITE, 0, BLOCK);
  ask(fd, WRITE, 512, 512);
  ask(fd, DISC, 0, 0);
  assert_int_equal(shutdown(fd, SHUT_WR), 0);
  usleep(50 * 1000);
  if (how < 0)
    close(fd);
  else
    assert_int_equal(shutdown(fd, how), 0);
  assert_int_equal(sf_serve_client_open(serve, &later), 0);
  free_block();
  until_connections_left(0);
  assert_int_equal(atomic_load(&writes), 0);
  assert_int_equal(serve->log_count, 0);
  if (how >= 0)
    close(fd);
  sf_serve_client_close(later);
  sf_serve_client_close(other);
}

static void
closed_with_writes_that_wait(void **state) {
  dead_with_writes_that_wait(-1);
}

static void
shut_with_writes_that_wait(void **state) {
  dead_with_writes_that_wait(SHUT_RDWR);
}

/* Proves that a write whose data ends in the middle is not done, and that the client is told. */
static void
half_a_write(void **state) {
  static const unsigned char request[REQUEST_BYTES + 512] = {0x25, 0x60,        0x95,
                                                             0x13, [7] = WRITE, [26] = 0x10};
  int fd = connect_client();

  assert_int_equal(write(fd, request, sizeof request), sizeof request);
  assert_int_equal(shutdown(fd, SHUT_WR), 0);
  hear_end(fd);
  until_connections_left(0);
  assert_int_equal(atomic_load(&writes), 0);
  close(fd);
}

/* Proves that a client which asks no more and waits for its answer does not keep the door open. */
static void
half_closed_at_the_end(void **state) {
  int fd = connect_client();

  atomic_store(&keeps, true);
  ask(fd, WRITE, 0, BLOCK);
  until_kept();
  ask(fd, DISC, 0, 0);
  assert_int_equal(shutdown(fd, SHUT_WR), 0);
  assert_int_equal(sf_door_close(door), 0);
  door = NULL;
  hear_end(fd);
  close(fd);
}

/* Proves that a door which cannot be closed, as a leg hangs, leaves no socket that clients would
 * wait at. */
static void
busy_at_the_end(void **state) {
  int fd = connect_client();

  atomic_store(&keeps, true);
  atomic_store(&hangs, true);
  ask(fd, WRITE, 0, BLOCK);
  until_kept();
  assert_int_equal(sf_door_close(door), -EBUSY);
  assert_int_equal(access(socket_path, F_OK), -1);
  assert_int_equal(door->socket.fd, -1);
  let_go(-EIO);
  until_connections_left(0);
  left = door;
  door = NULL;
  close(fd);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(half_closed_after_its_word, begin, door_rig_end),
      cmocka_unit_test_setup_teardown(half_closed_without_a_word, begin, door_rig_end),
      cmocka_unit_test_setup_teardown(half_closed_with_writes_that_wait, begin, door_rig_end),
      cmocka_unit_test_setup_teardown(half_closed_behind_what_waits, begin, door_rig_end),
      cmocka_unit_test_setup_teardown(closed_with_writes_that_wait, begin, door_rig_end),
      cmocka_unit_test_setup_teardown(shut_with_writes_that_wait, begin, door_rig_end),
      cmocka_unit_test_setup_teardown(half_a_write, begin, door_rig_end),
      cmocka_unit_test_setup_teardown(half_closed_at_the_end, begin, door_rig_end),
      cmocka_unit_test_setup_teardown(busy_at_the_end, begin, door_rig_end),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}

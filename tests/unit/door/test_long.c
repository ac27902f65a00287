/* Reads of more than a piece: several at once, answered while they are read where they are too long
 * or buffers are few, with what comes behind them answered meanwhile, with no memory that was not
 * there before, and with an error that the client is told. */
#include "door_rig.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SIZE = 64 << 20, LARGE = 8, AHEAD = DOOR_AHEAD_BYTES };

static _Atomic uint64_t bad_at; /* UINT64_MAX: nowhere */
static atomic_uint maps;
/* Requests that begin there are not answered before they are let go. */
static pthread_mutex_t held_lock = PTHREAD_MUTEX_INITIALIZER; /* of the rest */
static uint64_t held_from, held_below;
static struct sf_request *held[32];
static unsigned held_n;

void *__wrap_mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset);
void *__real_mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset);

void *
__wrap_mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset) {
  atomic_fetch_add(&maps, 1);
  return __real_mmap(address, length, protection, flags, fd, offset);
}

static void
answer(struct sf_request *request) {
  uint64_t bad = atomic_load(&bad_at);

  request->error = bad >= request->offset && bad - request->offset < request->length ? -EIO : 0;
  if (request->kind == SF_REQ_READ)
    say_where(request->buffer->data, request->offset, request->length);
  request->done(request);
}

void
__wrap_sf_volume_submit(struct sf_volume *v, struct sf_request *request, uint64_t now_ns) {
  bool is_held;

  pthread_mutex_lock(&held_lock);
  is_held = request->offset >= held_from && request->offset < held_below;
  if (is_held) {
    assert_true(held_n < sizeof held / sizeof *held);
    held[held_n++] = request;
  }
  pthread_mutex_unlock(&held_lock);
  if (!is_held)
    answer(request);
}

void
__wrap_sf_volume_give_up(struct sf_volume *v, struct sf_request *request, uint64_t now_ns) {
}

static void
hold(uint64_t from, uint64_t below) {
  pthread_mutex_lock(&held_lock);
  held_from = from;
  held_below = below;
  held_n = 0;
  pthread_mutex_unlock(&held_lock);
}

static int
begin(void **state) {
  atomic_store(&bad_at, UINT64_MAX);
  hold(0, 0);
  door_rig_init(SIZE, &(struct sf_tio_client_params){.buffers_small = 4, .buffers_large = LARGE});
  door_rig_open();
  return 0;
}

/* ---- proofs ---- */

/* Proves that reads of any length bring the right data, whole blocks or not, in order, and take no
 * new memory. */
static void
any_length(void **state) {
  static const uint64_t lengths[] = {PIECE + BLOCK, MIB,       MIB + MIB / 2, MIB + MIB / 2 + BLOCK,
                                     2 * MIB,       PIECE + 1, MIB + 5,       5 * MIB + 3,
                                     32 * MIB};
  uint64_t mixed[3] = {8 * MIB, BLOCK, 4 * MIB};
  int fd = connect_client();
  unsigned had;

  read_it(fd, 8 * MIB, PIECE);
  had = atomic_load(&maps);
  for (unsigned i = 0; i < sizeof lengths / sizeof *lengths; i++)
    read_it(fd, MIB + (lengths[i] % BLOCK != 0 ? 3 : 0), lengths[i]);
  assert_int_equal(atomic_load(&maps), had);
  for (unsigned char n = 0; n < 3; n++)
    ask_read(fd, n * MIB, mixed[n], n);
  for (unsigned i = 0; i < 3; i++) {
    unsigned char cookie = hear_well(fd);

    assert_true(cookie < 3);
    hear_data(fd, cookie * MIB, mixed[cookie]);
    mixed[cookie] = 0;
  }
  close(fd);
}

static void
until_held(unsigned n) {
  uint64_t until = end_of_patience();
  bool are;

  do {
    look_again(until);
    pthread_mutex_lock(&held_lock);
    are = held_n >= n;
    pthread_mutex_unlock(&held_lock);
  } while (!are);
}

static void
let_go(void) {
  struct sf_request *those[sizeof held / sizeof *held];
  unsigned n;

  pthread_mutex_lock(&held_lock);
  held_below = 0;
  n = held_n;
  memcpy(those, held, sizeof held);
  pthread_mutex_unlock(&held_lock);
  pthread_mutex_lock(&volume_lock);
  for (unsigned i = 0; i < n; i++)
    answer(those[i]);
  pthread_mutex_unlock(&volume_lock);
}

/* Proves that a long read which waits for the volume keeps no other one waiting. */
static void
several_at_once(void **state) {
  int fd = connect_client();

  hold(0, MIB);
  ask_read(fd, 0, MIB, 1);
  ask_read(fd, 4 * MIB, MIB, 2);
  assert_int_equal(hear_header(fd, 2), 0);
  hear_data(fd, 4 * MIB, MIB);
  until_held(4);
  let_go();
  assert_int_equal(hear_header(fd, 1), 0);
  hear_data(fd, 0, MIB);
  close(fd);
}

/* Proves that neither a write nor a read waits for long reads before it which the volume does not
 * answer, whole blocks or not, and that those are answered when it does. */
static void
what_comes_behind(void **state) {
  static const uint64_t lengths[] = {32 * MIB, 4 * MIB, 8 * MIB + 3, MIB};
  int fd = connect_client();

  for (unsigned first = 0; first < 2; first++) {
    hold(0, 33 * MIB);
    for (unsigned char n = 0; n < 4; n++)
      ask_read(fd, first, lengths[n], n);
    until_held(1);
    write_it(fd, 48 * MIB, BLOCK);
    write_it(fd, 48 * MIB, 8 * BLOCK);
    read_it(fd, 40 * MIB, BLOCK);
    read_it(fd, 40 * MIB, MIB / 2);
    let_go();
    for (unsigned i = 0; i < 4; i++) {
      unsigned char n = hear_well(fd);

      hear_data(fd, first, lengths[n]);
    }
  }
  close(fd);
}

/* Proves that an answer which fits into the memory for it does not begin before all of it is there,
 * so that others go before it. */
static void
what_fits(void **state) {
  int fd = connect_client();

  hold(AHEAD - PIECE, AHEAD);
  ask_read(fd, 0, AHEAD, 1);
  until_held(1);
  write_it(fd, 48 * MIB, BLOCK);
  read_it(fd, 40 * MIB, PIECE);
  let_go();
  assert_int_equal(hear_header(fd, 1), 0);
  hear_data(fd, 0, AHEAD);
  close(fd);
}

/* Proves that as many reads as a client likes are all answered, though room for answers, buffers
 * and turns are few. */
static void
many_at_once(void **state) {
  enum { N = 200 };
  static const uint64_t lengths[] = {MIB, 2 * MIB, PIECE + 1, MIB + MIB / 2, BLOCK, PIECE};
  int fd = connect_client();
  bool heard[N] = {false};

  for (unsigned n = 0; n < N; n++)
    ask_read(fd, n * BLOCK, lengths[n % 6], (unsigned char) n);
  for (unsigned i = 0; i < N; i++) {
    unsigned char n = hear_well(fd);

    assert_true(n < N && !heard[n]);
    heard[n] = true;
    hear_data(fd, n * BLOCK, lengths[n % 6]);
  }
  close(fd);
}

/* Proves that a read that finds too few buffers does with one, and keeps none of them meanwhile. */
static void
few_buffers(void **state) {
  struct sf_tio_buffer *taken[LARGE - 1];
  int fd = connect_client();

  for (unsigned i = 0; i < LARGE - 1; i++)
    assert_int_equal(sf_tio_buffer_get(serve->client, PIECE, 0, &taken[i]), 0);
  for (unsigned i = 0; i < 3; i++)
    read_it(fd, i * MIB, MIB);
  for (unsigned i = 0; i < LARGE - 1; i++)
    sf_tio_buffer_put(serve->client, taken[i]);
  close(fd);
}

static void
until_ended(int fd) {
  struct pollfd news = {.fd = fd, .events = POLLIN};
  static char heard[65536];
  size_t most = 6 * MIB;

  while (true) {
    ssize_t got;

    assert_int_equal(poll(&news, 1, PATIENCE_MS), 1);
    got = read(fd, heard, sizeof heard);
    if (got <= 0)
      return;
    assert_true((size_t) got <= most);
    most -= (size_t) got;
  }
}

/* Proves that an error before an answer has begun is told as an error, and that an error after it
 * ends the connection, but only once: a client that asks again is told. */
static void
errors(void **state) {
  int fd = connect_client();

  atomic_store(&bad_at, MIB / 2);
  ask_read(fd, 0, MIB, 1);
  assert_int_equal(hear_header(fd, 1), EIO);
  for (unsigned i = 0; i < 2; i++) {
    ask_read(fd, 0, 8 * MIB, 2);
    assert_int_equal(hear_header(fd, 2), EIO);
    atomic_store(&bad_at, AHEAD - 1);
  }
  ask_read(fd, 3, 8 * MIB, 2);
  assert_int_equal(hear_header(fd, 2), EIO);
  read_it(fd, AHEAD, 2 * MIB);

  atomic_store(&bad_at, 6 * MIB);
  ask_read(fd, 0, 8 * MIB, 3);
  assert_int_equal(hear_header(fd, 3), 0);
  until_ended(fd);
  close(fd);
  fd = connect_client();
  read_it(fd, 8 * MIB, 8 * MIB);
  ask_read(fd, 0, 8 * MIB, 4);
  assert_int_equal(hear_header(fd, 4), EIO);
  atomic_store(&bad_at, UINT64_MAX);
  read_it(fd, 0, 8 * MIB);
  close(fd);
}

/* Proves that a client which goes in the middle of one leaves nothing behind. */
static void
a_client_that_goes(void **state) {
  int fd = connect_client();

  ask_read(fd, 0, 32 * MIB, 1);
  ask_read(fd, 3, 32 * MIB, 2);
  ask_read(fd, 0, 2 * MIB, 3);
  assert_int_equal(hear_header(fd, 1), 0);
  hear_data(fd, 0, MIB + BLOCK);
  close(fd);
}

/* Proves the same of one whose reads are at the volume, wait for memory, and wait for their turn:
 * before its answer has begun, and after that. */
static void
a_client_that_goes_earlier(void **state) {
  for (unsigned i = 0; i < 2; i++) {
    int fd = connect_client(), other = connect_client();

    hold(i * 5 * MIB, 32 * MIB);
    ask_read(fd, 0, 8 * MIB, 1);
    ask_read(fd, 8 * MIB, 32 * MIB, 2);
    ask_read(fd, 8 * MIB + 1, 2 * MIB, 3);
    if (i == 1) {
      assert_int_equal(hear_header(fd, 1), 0);
      hear_data(fd, 0, 5 * MIB);
    }
    until_held(1);
    close(fd);
    usleep(10000);
    let_go();
    until_connections_left(1);
    read_it(other, 0, 8 * MIB);
    close(other);
  }
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(any_length, begin, door_rig_end),
      cmocka_unit_test_setup_teardown(several_at_once, begin, door_rig_end),
      cmocka_unit_test_setup_teardown(what_comes_behind, begin, door_rig_end),
      cmocka_unit_test_setup_teardown(what_fits, begin, door_rig_end),
      cmocka_unit_test_setup_teardown(many_at_once, begin, door_rig_end),
      cmocka_unit_test_setup_teardown(few_buffers, begin, door_rig_end),
      cmocka_unit_test_setup_teardown(errors, begin, door_rig_end),
      cmocka_unit_test_setup_teardown(a_client_that_goes, begin, door_rig_end),
      cmocka_unit_test_setup_teardown(a_client_that_goes_earlier, begin, door_rig_end),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}

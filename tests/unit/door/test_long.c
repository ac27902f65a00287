/* Reads of more than a piece: several at once, in chunks where they are too long or buffers are
 * few, with no memory that was not there before, and with an error that the client is told. */
#include "reads.h"
#include "rig.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <surefoot/door.h>

enum { SIZE = 64 << 20, BLOCK = 4096, LARGE = 8 };

static struct sf_serve *serve;
static struct sf_door *door;
static char directory[] = "/tmp/door-long-XXXXXX", path[64];
static _Atomic uint64_t bad_at, held_below; /* UINT64_MAX: nowhere; 0: none */
static struct sf_request *_Atomic held[8];
static atomic_uint held_n, maps;
/* done is told with it, as a volume tells it. */
static pthread_mutex_t volume_lock = PTHREAD_MUTEX_INITIALIZER;

void __wrap_sf_volume_submit(struct sf_volume *v, struct sf_request *request, uint64_t now_ns);
uint64_t __wrap_sf_volume_size(struct sf_volume *v);
void __wrap_sf_volume_wait_told(struct sf_volume *v);
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
  say_where(request->buffer->data, request->offset, request->length);
  request->done(request);
}

void
__wrap_sf_volume_submit(struct sf_volume *v, struct sf_request *request, uint64_t now_ns) {
  if (request->offset < atomic_load(&held_below)) {
    unsigned n = atomic_load(&held_n);

    atomic_store(&held[n], request);
    atomic_store(&held_n, n + 1);
    return;
  }
  answer(request);
}

uint64_t
__wrap_sf_volume_size(struct sf_volume *v) {
  return SIZE;
}

void
__wrap_sf_volume_wait_told(struct sf_volume *v) {
  pthread_mutex_lock(&volume_lock);
  pthread_mutex_unlock(&volume_lock);
}

static int
begin(void **state) {
  const struct sf_tio_client_params params = {.buffers_small = 4, .buffers_large = LARGE};

  atomic_store(&bad_at, UINT64_MAX);
  atomic_store(&held_below, 0);
  atomic_store(&held_n, 0);
  serve = serve_with(&params);
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

/* ---- proofs ---- */

/* Proves that reads of any length bring the right data, whole blocks or not, in order, and take no
 * new memory. */
static void
any_length(void **state) {
  static const uint64_t lengths[] = {PIECE + BLOCK, MIB,       MIB + MIB / 2, MIB + MIB / 2 + BLOCK,
                                     2 * MIB,       PIECE + 1, MIB + 5,       5 * MIB + 3,
                                     32 * MIB};
  uint64_t mixed[3] = {8 * MIB, BLOCK, 4 * MIB};
  int fd = connect_it(path);
  unsigned had, error;

  read_it(fd, 8 * MIB, PIECE);
  had = atomic_load(&maps);
  for (unsigned i = 0; i < sizeof lengths / sizeof *lengths; i++)
    read_it(fd, MIB + (lengths[i] % BLOCK != 0 ? 3 : 0), lengths[i]);
  assert_int_equal(atomic_load(&maps), had);
  for (unsigned char n = 0; n < 3; n++)
    ask_read(fd, n * MIB, mixed[n], n);
  for (unsigned i = 0; i < 3; i++) {
    unsigned char cookie = hear_reply(fd, &error);

    assert_int_equal(error, 0);
    assert_true(cookie < 3);
    hear_data(fd, cookie * MIB, mixed[cookie]);
    mixed[cookie] = 0;
  }
  close(fd);
}

static void
let_go(unsigned n) {
  uint64_t until = sf_tio_now() + PATIENCE_MS * MS;

  while (atomic_load(&held_n) < n) {
    assert_true(sf_tio_now() < until);
    usleep(1000);
  }
  pthread_mutex_lock(&volume_lock);
  for (unsigned i = 0; i < n; i++)
    answer(atomic_load(&held[i]));
  pthread_mutex_unlock(&volume_lock);
}

/* Proves that a long read which waits for the volume keeps no other one waiting. */
static void
several_at_once(void **state) {
  int fd = connect_it(path);

  atomic_store(&held_below, MIB);
  ask_read(fd, 0, MIB, 1);
  ask_read(fd, 4 * MIB, MIB, 2);
  assert_int_equal(hear_header(fd, 2), 0);
  hear_data(fd, 4 * MIB, MIB);
  let_go(4);
  assert_int_equal(hear_header(fd, 1), 0);
  hear_data(fd, 0, MIB);
  close(fd);
}

/* Proves that a read that finds too few buffers does with one, and keeps none of them meanwhile. */
static void
few_buffers(void **state) {
  struct sf_tio_buffer *taken[LARGE - 1];
  int fd = connect_it(path);

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
  size_t most = 4 * MIB;

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
  int fd = connect_it(path);

  atomic_store(&bad_at, MIB / 2);
  ask_read(fd, 0, MIB, 1);
  assert_int_equal(hear_header(fd, 1), EIO);
  ask_read(fd, 0, 8 * MIB, 2);
  assert_int_equal(hear_header(fd, 2), EIO);
  read_it(fd, MIB, 2 * MIB);

  atomic_store(&bad_at, 3 * MIB);
  ask_read(fd, 0, 8 * MIB, 3);
  assert_int_equal(hear_header(fd, 3), 0);
  until_ended(fd);
  close(fd);
  fd = connect_it(path);
  read_it(fd, 4 * MIB, 8 * MIB);
  ask_read(fd, 0, 8 * MIB, 4);
  assert_int_equal(hear_header(fd, 4), EIO);
  atomic_store(&bad_at, UINT64_MAX);
  read_it(fd, 0, 8 * MIB);
  close(fd);
}

/* Proves that a client which goes in the middle of one leaves nothing behind. */
static void
a_client_that_goes(void **state) {
  int fd = connect_it(path);

  ask_read(fd, 0, 32 * MIB, 1);
  assert_int_equal(hear_header(fd, 1), 0);
  hear_data(fd, 0, MIB + BLOCK);
  close(fd);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(any_length, begin, end),
      cmocka_unit_test_setup_teardown(several_at_once, begin, end),
      cmocka_unit_test_setup_teardown(few_buffers, begin, end),
      cmocka_unit_test_setup_teardown(errors, begin, end),
      cmocka_unit_test_setup_teardown(a_client_that_goes, begin, end),
  };
  int failed;

  if (mkdtemp(directory) == NULL)
    return 1;
  failed = cmocka_run_group_tests(tests, NULL, NULL);
  rmdir(directory);
  return failed;
}

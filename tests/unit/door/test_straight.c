/* Large answers that are sent straight from the pool's buffers: the right bytes in the right order,
 * a share of the pool and no more while clients do not read them, and every buffer back once. */
#include "door_rig.h"

#include <linux/sockios.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* The pool has as many large buffers as sf_config_buffers() says for 4 threads, and no spare ones:
 * answers may wait in a quarter of them. */
enum { SIZE = 64 << 20, LARGE = 10, SHARE = 2, UNREAD = 15, SOON_MS = 20 };
/* The same for 64 threads, and what one connection may have of it. */
enum { MANY = 160, OF_ONE = 16, THREADS = 64, OUT_MOST = 32 };

static unsigned all; /* large buffers */

/* A leg that is late: the buffer that it was asked with, which it still writes to. */
static atomic_bool is_late;
static struct sf_tio_buffer *_Atomic late_buffer;

/* A read of a part of a block, which does not end until it is let go. */
static atomic_bool holds_parts;
static struct sf_request *_Atomic held;

static void
answer_by_another_leg(struct sf_request *request) {
  late_buffer = request->buffer;
  assert_int_equal(sf_tio_buffer_get(serve->client, request->length, 0, &request->buffer), 0);
}

void
__wrap_sf_volume_submit(struct sf_volume *v, struct sf_request *request, uint64_t now_ns) {
  request->error = 0;
  if (request->length == BLOCK && atomic_load(&holds_parts)) {
    atomic_store(&held, request);
    return;
  }
  if (request->kind == SF_REQ_READ && atomic_exchange(&is_late, false))
    answer_by_another_leg(request);
  if (request->kind == SF_REQ_READ)
    say_where(request->buffer->data, request->offset, request->length);
  request->done(request);
}

void
__wrap_sf_volume_give_up(struct sf_volume *v, struct sf_request *request, uint64_t now_ns) {
}

static int
begin_with(unsigned large, unsigned threads) {
  all = large;
  door_rig_init(SIZE, &(struct sf_tio_client_params){.buffers_small = 8, .buffers_large = large});
  serve->config.threads = threads;
  assert_int_equal(sf_serve_large_buffers(serve), large);
  door_rig_open();
  return 0;
}

static int
begin(void **state) {
  return begin_with(LARGE, 0);
}

static int
begin_with_many(void **state) {
  return begin_with(MANY, THREADS);
}

static void
until_free(unsigned n) {
  uint64_t until = end_of_patience();

  while (free_large_buffers() != n)
    look_again(until);
}

/* A client that asks for much and reads what it is made to. */
struct reader {
  int fd;
  uint64_t length;
  bool asked[OUT_MOST];
};

static void
ask_next(struct reader *reader) {
  unsigned char n = 0;

  while (reader->asked[n])
    n++;
  assert_true(n < OUT_MOST);
  reader->asked[n] = true;
  ask_read(reader->fd, n * MIB, reader->length, n);
}

static void
hear_next(struct reader *reader) {
  unsigned char n = hear_well(reader->fd);

  assert_true(n < OUT_MOST && reader->asked[n]);
  reader->asked[n] = false;
  hear_data(reader->fd, n * MIB, reader->length);
}

/* How many sockets of the door have no room: nothing of what waits for one goes. */
static unsigned
full_sockets(void) {
  unsigned n = 0;

  pthread_mutex_lock(&door->lock);
  for (unsigned i = 0; i < SF_DOOR_CONNECTIONS_MAX; i++) {
    const struct door_connection *c = door->connection[i];
    int used = 0, room = 1;

    if (c == NULL)
      continue;
    assert_int_equal(ioctl(c->fd, SIOCOUTQ, &used), 0);
    assert_int_equal(getsockopt(c->fd, SOL_SOCKET, SO_SNDBUF, &room, &(socklen_t){sizeof room}), 0);
    n += used >= room;
  }
  pthread_mutex_unlock(&door->lock);
  return n;
}

/* Is it so, and stays so?  What a full socket has taken is the door's own until it has seen that. */
static bool
settles_at(unsigned n, unsigned sockets) {
  uint64_t now = sf_tio_now(), until = now + 4 * SOON_MS * SF_MS, since = now;

  do {
    usleep(1000);
    now = sf_tio_now();
    if (full_sockets() != sockets || free_large_buffers() != n)
      since = now;
  } while (now - since < SOON_MS * SF_MS && now < until);
  return now - since >= SOON_MS * SF_MS;
}

/* With so many answers not read, of which so many wait in buffers when its socket is full, as so
 * many are then.  Answers that all come before the first is sent find the share taken, and the
 * socket takes those that have it: then one is read and another one asked for, until those that
 * have it are behind what waits. */
static struct reader
fill(uint64_t length, unsigned unread, unsigned waiting, unsigned sockets) {
  struct reader reader = {.fd = connect_client(), .length = length};
  unsigned turns = 0;

  for (unsigned i = 0; i < unread; i++)
    ask_next(&reader);
  while (!settles_at(all - waiting, sockets)) {
    assert_true(turns++ < 8 * OUT_MOST);
    hear_next(&reader);
    ask_next(&reader);
  }
  return reader;
}

static void
hear_all(struct reader *reader) {
  for (unsigned i = 0; i < OUT_MOST; i++)
    while (reader->asked[i])
      hear_next(reader);
  close(reader->fd);
}

/* ---- proofs ---- */

/* Proves that clients which do not read large answers keep the share of the pool, however many
 * there are, and that another one reads and writes with the rest meanwhile; and that the answers
 * are right when they are read after all, in whatever way they waited. */
static void
clients_that_do_not_read(void **state) {
  enum { TURNS = 50, TICK_MS = 500 }; /* a connection that missed its news goes on with a tick */
  struct reader rude[3];
  int fd = connect_client();
  uint64_t began;

  for (unsigned i = 0; i < 3; i++)
    rude[i] = fill(PIECE, UNREAD, SHARE, i + 1);
  began = sf_tio_now();
  for (unsigned i = 0; i < TURNS; i++) {
    read_it(fd, i * BLOCK, PIECE);
    read_it(fd, i * BLOCK, MIB + MIB / 2);
    write_it(fd, i * BLOCK, PIECE);
    write_it(fd, i * BLOCK, MIB);
    read_it(fd, i * BLOCK, BLOCK);
    until_free(LARGE - SHARE);
  }
  assert_in_range((sf_tio_now() - began) / SF_MS, 0, TURNS * TICK_MS / 2);
  for (unsigned i = 0; i < 3; i++)
    hear_all(&rude[i]);
  until_free(LARGE);
  read_it(fd, 0, PIECE);
  close(fd);
}

/* Proves that a client which goes in the middle of an answer, wherever, leaves no buffer behind,
 * and that the share is whole again: the next client gets all of it. */
static void
clients_that_go(void **state) {
  static const size_t cuts[] = {0, 1, 16, 17, PIECE, PIECE + 16, PIECE + 31, 5 * PIECE + 7};
  unsigned char *data = malloc(6 * PIECE);

  for (unsigned i = 0; i < sizeof cuts / sizeof *cuts; i++) {
    int fd = fill(PIECE, UNREAD, SHARE, 1).fd;

    if (cuts[i] > 0)
      hear(fd, data, cuts[i]);
    if (i % 2 == 0)
      assert_int_equal(shutdown(fd, SHUT_RD), 0);
    close(fd);
    until_free(LARGE);
  }
  free(data);
}

/* Proves that a client which is gone keeps no buffer, though a request of it does not end. */
static void
a_client_whose_request_hangs(void **state) {
  uint64_t until = end_of_patience();
  int fd = fill(PIECE, UNREAD - 1, SHARE, 1).fd;

  atomic_store(&holds_parts, true);
  atomic_store(&held, NULL);
  ask_read(fd, 1, 2, UNREAD);
  while (atomic_load(&held) == NULL)
    assert_true(sf_tio_now() < until);
  close(fd);
  until_free(LARGE);
  atomic_store(&holds_parts, false);
  atomic_load(&held)->done(atomic_load(&held));
}

/* Proves that one client has only so many, however large the pool is, and has its answers. */
static void
a_bound_of_one_client(void **state) {
  struct reader reader = fill(PIECE / 2, 2 * UNREAD, OF_ONE, 1);

  assert_int_equal(free_large_buffers(), MANY - OF_ONE);
  hear_all(&reader);
}

/* Proves that a door which closes while answers wait has its buffers back. */
static void
a_door_that_closes(void **state) {
  int fd = fill(PIECE, UNREAD, SHARE, 1).fd;

  assert_int_equal(sf_door_close(door), 0);
  door = NULL;
  assert_int_equal(free_large_buffers(), LARGE);
  close(fd);
}

/* Proves that large, small and long answers, read in odd pieces with a pause at each, come whole
 * and none within another. */
static void
answers_of_all_kinds(void **state) {
  static const uint64_t lengths[] = {PIECE,     BLOCK,         MIB, 2 * MIB + BLOCK, PIECE / 2,
                                     BLOCK + 1, PIECE - BLOCK, MIB, 3 * MIB,         32 * 1024};
  enum { N = sizeof lengths / sizeof *lengths };
  int fd = connect_client();

  for (unsigned round = 0; round < 8; round++) {
    for (unsigned char i = 0; i < N; i++)
      ask_read(fd, i * MIB + round * BLOCK, lengths[i], i);
    for (unsigned i = 0; i < N; i++) {
      unsigned char cookie = hear_well(fd);
      uint64_t at = 0, step = 100 + 7001 * round;

      assert_true(cookie < N);
      for (; at < lengths[cookie]; at += step, step *= 3) {
        uint64_t left = lengths[cookie] - at;

        sched_yield();
        hear_data(fd, cookie * MIB + round * BLOCK + at, left < step ? left : step);
      }
    }
  }
  close(fd);
}

/* Proves that what is answered in the middle of a long answer comes after it. */
static void
answers_behind_a_long_one(void **state) {
  int fd = connect_client();

  ask_read(fd, 0, 4 * MIB, 1);
  assert_int_equal(hear_header(fd, 1), 0);
  ask_read(fd, 8 * MIB, PIECE, 2);
  ask_read(fd, 9 * MIB, PIECE, 3);
  until_free(LARGE - 2);
  hear_data(fd, 0, 4 * MIB);
  for (unsigned char i = 2; i <= 3; i++) {
    assert_int_equal(hear_header(fd, i), 0);
    hear_data(fd, (6 + i) * MIB, PIECE);
  }
  close(fd);
}

/* Proves that of a read which was late on a leg, and answered by another one, that one's buffer is
 * sent: what the late leg writes afterwards is in no answer. */
static void
a_leg_that_is_late(void **state) {
  int fd = connect_client();

  for (unsigned i = 0; i < 20; i++) {
    atomic_store(&is_late, true);
    ask_read(fd, i * MIB, PIECE, 1);
    assert_int_equal(hear_header(fd, 1), 0);
    memset(late_buffer->data, 0xee, PIECE);
    hear_data(fd, i * MIB, PIECE);
    until_free(LARGE - 1);
    sf_tio_buffer_put(serve->client, late_buffer);
  }
  close(fd);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(clients_that_do_not_read, begin, door_rig_end),
      cmocka_unit_test_setup_teardown(clients_that_go, begin, door_rig_end),
      cmocka_unit_test_setup_teardown(a_client_whose_request_hangs, begin, door_rig_end),
      cmocka_unit_test_setup_teardown(a_bound_of_one_client, begin_with_many, door_rig_end),
      cmocka_unit_test_setup_teardown(a_door_that_closes, begin, door_rig_end),
      cmocka_unit_test_setup_teardown(answers_of_all_kinds, begin, door_rig_end),
      cmocka_unit_test_setup_teardown(answers_behind_a_long_one, begin, door_rig_end),
      cmocka_unit_test_setup_teardown(a_leg_that_is_late, begin, door_rig_end),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}

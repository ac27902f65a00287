/* A thread that attends alone: its sockets and its requests are waited for together, it keeps its
 * ring until what it gave up on has ended, and a wait for memory wakes it. */
#include "unit/timed_io/rig.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "timed_io/internal.h"

enum { BLOCK = 4096 };

struct message {
  struct sf_tio_message message;
  struct msghdr header;
  struct iovec part[2];
  bool done;
  int result;
};

static void
on_done(struct sf_tio_message *message, int result) {
  struct message *its = message->user;

  its->done = true;
  its->result = result;
}

static void
prepare(struct message *message, void *first, size_t first_bytes, void *second,
        size_t second_bytes) {
  memset(message, 0, sizeof *message);
  message->part[0] = (struct iovec){first, first_bytes};
  message->part[1] = (struct iovec){second, second_bytes};
  message->header.msg_iov = message->part;
  message->header.msg_iovlen = second == NULL ? 1 : 2;
  message->message =
      (struct sf_tio_message){.header = &message->header, .done = on_done, .user = message};
}

static bool
is_done(void *arg) {
  return ((struct message *) arg)->done;
}

static void
drive_until_done(struct sf_tio_queue *queue, struct message *message) {
  assert_int_equal(sf_tio_drive(queue, sf_tio_now() + PATIENCE_NS, is_done, message), 0);
}

/* Each runs in a thread of its own, and what it needs is there before and after. */
static struct sf_tio_client *client;
static struct sf_tio_device *device;
static int sockets[2];
static atomic_bool go;

static void
in_thread(void *(*run)(void *arg)) {
  pthread_t thread;

  assert_int_equal(pthread_create(&thread, NULL, run, NULL), 0);
  pthread_join(thread, NULL);
}

static void
begin(int fd) {
  client = client_new(0, 4, 2);
  device = fd >= 0 ? device_new(client, fd) : NULL;
  assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), 0);
  atomic_store(&go, false);
  log_clear();
}

static void
end(void) {
  client_idle(client);
  if (device)
    device_end(device);
  client_end(client);
  close(sockets[0]);
  close(sockets[1]);
}

static bool
is_idle(void *thread) {
  return sf_tio_is_idle(thread);
}

static void
until_idle(struct sf_tio_queue *queue) {
  assert_int_equal(sf_tio_drive(queue, sf_tio_now() + PATIENCE_NS, is_idle, queue), 0);
}

static void *
talk(void *arg) {
  char in[8] = "", more[8] = "", out[] = "answer";
  struct sf_tio_queue *queue;
  struct message received, sent;

  assert_int_equal(sf_tio_attend_alone(client, &queue), 0);
  prepare(&received, in, 3, more, 5);
  prepare(&sent, out, 6, NULL, 0);
  sf_tio_receive(queue, sockets[0], &received.message);
  sf_tio_send(queue, sockets[0], &sent.message);
  drive_until_done(queue, &sent);
  assert_int_equal(sent.result, 6);
  assert_false(received.done);
  assert_false(sf_tio_is_idle(queue));
  assert_int_equal(write(sockets[1], "question", 8), 8);
  drive_until_done(queue, &received);
  assert_int_equal(received.result, 8);
  assert_memory_equal(in, "que", 3);
  assert_memory_equal(more, "stion", 5);
  prepare(&received, in, 8, NULL, 0);
  sf_tio_receive(queue, sockets[0], &received.message);
  shutdown(sockets[0], SHUT_RDWR);
  drive_until_done(queue, &received);
  assert_int_equal(received.result, 0);
  prepare(&sent, out, 6, NULL, 0);
  sf_tio_send(queue, sockets[0], &sent.message);
  drive_until_done(queue, &sent);
  assert_int_equal(sent.result, -EPIPE);
  assert_true(sf_tio_is_idle(queue));
  return NULL;
}

/* Proves: bytes received and sent are reported with their length, in several parts, and at the end
 * of the connection. */
static void
messages(void **state) {
  begin(-1);
  in_thread(talk);
  end();
}

static void *
work(void *arg) {
  struct sf_tio_control control = {.op = SF_TIO_WRITE, .notify = log_event};
  struct sf_tio_region region = region_at(device, 0, BLOCK);
  struct sf_tio_client_stats before, after;
  char data[BLOCK] = "w", in[8];
  struct sf_tio_queue *queue;
  struct message received;

  control.data = data;
  assert_int_equal(sf_tio_attend_alone(client, &queue), 0);
  sf_tio_client_stats(client, &before);
  for (unsigned i = 1; i <= 200; i++) {
    prepare(&received, in, sizeof in, NULL, 0);
    sf_tio_receive(queue, sockets[0], &received.message);
    assert_int_equal(sf_tio(client, &control, &region, 1, NULL, NULL), 0);
    assert_int_equal(write(sockets[1], "x", 1), 1);
    drive_until_done(queue, &received);
    drive_until_told(queue, i);
  }
  sf_tio_client_stats(client, &after);
  assert_in_range(after.enters - before.enters, 1, 500);
  until_idle(queue);
  return NULL;
}

/* Proves: regions and messages go to the kernel, and are waited for, together: two hundred of both,
 * which may end apart, take no more than two and a half calls each. */
static void
together(void **state) {
  int fd = open_plain();

  begin(fd);
  in_thread(work);
  assert_int_equal(log_count(SF_TIO_OK, false), 200);
  end();
  close(fd);
}

enum { TRIPLES = 400 };

struct triple {
  struct message received[3];
  unsigned done_before; /* when it was looked at last */
  bool in_one;
};

static int triple_sockets[3][2];
static struct sf_tio_queue *_Atomic sleeper;
static atomic_uint triples;

static bool
three_are_done(void *arg) {
  struct triple *triple = arg;
  unsigned done = 0;

  for (unsigned i = 0; i < 3; i++)
    done += triple->received[i].done;
  triple->in_one |= done == 3 && triple->done_before == 0;
  triple->done_before = done;
  return done == 3;
}

static void *
receive_triples(void *arg) {
  unsigned *in_one = arg;
  struct sf_tio_queue *queue;
  char in[3][8];

  assert_int_equal(sf_tio_attend_alone(client, &queue), 0);
  for (unsigned n = 0; n < TRIPLES; n++) {
    struct triple triple = {0};

    for (unsigned i = 0; i < 3; i++) {
      prepare(&triple.received[i], in[i], sizeof in[i], NULL, 0);
      triple.received[i].message.none_yet = n % 2 == 0;
      sf_tio_receive(queue, triple_sockets[i][0], &triple.received[i].message);
    }
    atomic_store(&triples, n + 1);
    atomic_store(&sleeper, queue);
    assert_int_equal(sf_tio_drive(queue, sf_tio_now() + PATIENCE_NS, three_are_done, &triple), 0);
    *in_one += triple.in_one;
  }
  until_idle(queue);
  return NULL;
}

static void
send_triples(void) {
  for (unsigned n = 1; n <= TRIPLES; n++) {
    assert_true(EVENTUALLY(atomic_load(&triples) == n && atomic_load(&sleeper->waiting)));
    pause_briefly();
    for (unsigned i = 0; i < 3; i++)
      assert_int_equal(write(triple_sockets[i][1], "x", 1), 1);
  }
}

/* Proves: what ends while the thread sleeps is told in one round and not one by one, and a receive
 * finds what has come whether it was told that there is none yet or not. */
static void
all_that_has_ended(void **state) {
  unsigned in_one = 0;
  pthread_t thread;

  begin(-1);
  for (unsigned i = 0; i < 3; i++)
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, triple_sockets[i]), 0);
  assert_int_equal(pthread_create(&thread, NULL, receive_triples, &in_one), 0);
  send_triples();
  pthread_join(thread, NULL);
  assert_in_range(in_one, TRIPLES / 100,
                  TRIPLES); /* the sleeper may be up before the second is written */
  for (unsigned i = 0; i < 6; i++)
    close(triple_sockets[i / 2][i % 2]);
  end();
}

static void *
leave_something(void *arg) {
  struct sf_tio_control control = {.op = SF_TIO_WRITE, .notify = log_event, .timeout_ns = 50 * MS};
  struct sf_tio_region region = region_at(device, 0, BLOCK);
  char data[BLOCK] = "l";
  struct sf_tio_queue *queue;
  uint64_t handle;

  control.data = data;
  assert_int_equal(sf_tio_attend_alone(client, &queue), 0);
  assert_int_equal(sf_tio(client, &control, &region, 1, &handle, NULL), 0);
  assert_int_equal(sf_tio_drive(queue, sf_tio_now() + 200 * MS, NULL, NULL), -ETIME);
  assert_int_equal(sf_tio_cancel_by_handle(client, handle).detached, 1);
  assert_int_equal(sf_tio_drive(queue, sf_tio_now() + 50 * MS, NULL, NULL), -ETIME);
  assert_int_equal(log_count(SF_TIO_CANCELED, false), 1);
  assert_false(sf_tio_is_idle(queue));
  atomic_store(&go, true);
  until_idle(queue);
  return NULL;
}

static void
given_up(int (*open_it)(struct stall_rig *rig), bool loop) {
  struct stall_rig *rig;
  pthread_t thread;
  int fd;

  need_rig(loop);
  rig = stall_rig_start(&(struct stall_rig_params){.loop = loop});
  fd = open_it(rig);
  begin(fd);
  stall_rig_freeze(rig);
  assert_int_equal(pthread_create(&thread, NULL, leave_something, NULL), 0);
  assert_true(EVENTUALLY(atomic_load(&go)));
  assert_int_equal(log_count(SF_TIO_CANCELED, true), 0);
  stall_rig_thaw(rig);
  pthread_join(thread, NULL);
  assert_int_equal(log_count(-1, true), 1);
  end();
  close(fd);
  stall_rig_stop(rig);
}

/* Proves: a thread is not idle while what it gave up on runs, hears of its end, and is woken for
 * that: on a device in its own ring, and with a device thread. */
static void
given_up_in_its_ring(void **state) {
  given_up(stall_rig_open_loop, true);
}

static void
given_up_at_a_device_thread(void **state) {
  given_up(stall_rig_open, false);
}

static struct sf_tio_buffer *held[6], *taken[6];

static bool
has_one(void *arg) {
  return sf_tio_buffer_get_or_wake(arg, BLOCK, &taken[5]) == 0;
}

static void *
wait_for_memory(void *arg) {
  struct sf_tio_queue *queue;

  assert_int_equal(sf_tio_attend_alone(client, &queue), 0);
  assert_int_equal(sf_tio_buffer_get_or_wake(queue, BLOCK, &taken[5]), -EAGAIN);
  atomic_store(&go, true);
  assert_int_equal(sf_tio_drive(queue, sf_tio_now() + PATIENCE_NS, has_one, queue), 0);
  sf_tio_buffer_put(client, taken[5]);
  for (unsigned i = 0; i < 6; i++) /* the other thread is still giving them back */
    assert_int_equal(sf_tio_buffer_get(client, BLOCK, PATIENCE_NS, &taken[i]), 0);
  /* It may end with its name on the list. */
  assert_int_equal(sf_tio_buffer_get_or_wake(queue, BLOCK, &held[5]), -EAGAIN);
  return NULL;
}

/* Proves: a thread that finds the pool empty is woken when a buffer comes free, and a thread that
 * ended without one is not. */
static void
memory(void **state) {
  pthread_t thread;

  begin(-1);
  for (unsigned i = 0; i < 6; i++)
    assert_int_equal(sf_tio_buffer_get(client, BLOCK, 0, &held[i]), 0);
  assert_int_equal(pthread_create(&thread, NULL, wait_for_memory, NULL), 0);
  assert_true(EVENTUALLY(atomic_load(&go)));
  for (unsigned i = 0; i < 6; i++)
    sf_tio_buffer_put(client, held[i]);
  pthread_join(thread, NULL);
  for (unsigned i = 0; i < 6; i++)
    sf_tio_buffer_put(client, taken[i]);
  end();
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(messages),
      cmocka_unit_test(together),
      cmocka_unit_test(all_that_has_ended),
      cmocka_unit_test(given_up_in_its_ring),
      cmocka_unit_test(given_up_at_a_device_thread),
      cmocka_unit_test(memory),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}

/* What a dead connection asked for is not written over what came after it, and a part of a block that is
 * stuck stops nobody who writes elsewhere.
 *
 * The volume is played: a request takes effect the moment it is submitted, so that the disk shows the
 * order of submission, and is answered then too unless the test has its block stick.  Threads are held where they may be kept from running:
 * where they make a ring, and after they have looked at their connection. */
#include <errno.h>
#include <string.h>

#include "support.h"
#include "timed_io/internal.h"

enum { BLOCK = 4096, BLOCKS = 5120 /* zeroing all takes two batches */ };

static struct sf_serve *serve;

static char played;
#define PLAYED ((struct sf_tio_thread *) (void *) &played)

/* ---- the volume ---- */

static struct {
  pthread_mutex_t lock;
  pthread_cond_t changed;
  unsigned char disk[BLOCKS][BLOCK];
  int stuck_block; /* -1: none */
  struct sf_request *stuck;
  struct sf_tio_buffer *repairing; /* what the last read gave, if it is still being written */
  bool repairs;
  unsigned submitted;
} volume = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

void __wrap_sf_volume_submit(struct sf_volume *v, struct sf_request *request, uint64_t now_ns);
void __wrap_sf_volume_give_up(struct sf_volume *v, struct sf_request *request, uint64_t now_ns);
int __wrap_sf_tio_attend(struct sf_tio_client *client, struct sf_tio_thread **thread);
int __wrap_sf_tio_drive(struct sf_tio_thread *thread, uint64_t until_ns, bool (*stop)(void *),
                        void *arg);
void __wrap_sf_tio_wake(struct sf_tio_thread *thread);
void __real_sf_tio_wake(struct sf_tio_thread *thread);

static void
act(struct sf_request *request) {
  unsigned char *at = volume.disk[request->offset / BLOCK];

  if (request->kind == SF_REQ_READ)
    memcpy(request->buffer->data, at, request->length);
  if (request->kind == SF_REQ_READ && volume.repairs) {
    volume.repairing = request->buffer;
    sf_tio_pool_ref((struct sf_tio_slot *) request->buffer);
  } else if (request->kind == SF_REQ_WRITE)
    memcpy(at, request->buffer->data, request->length);
  else if (request->kind == SF_REQ_ZERO)
    memset(at, 0, request->length);
}

static void
finish(struct sf_request *request, int error) {
  request->error = error;
  request->done(request);
}

void
__wrap_sf_volume_submit(struct sf_volume *v, struct sf_request *request, uint64_t now_ns) {
  pthread_mutex_lock(&volume.lock);
  volume.submitted++;
  act(request);
  if ((int) (request->offset / BLOCK) == volume.stuck_block && volume.stuck == NULL)
    volume.stuck = request;
  else
    finish(request, 0);
  pthread_cond_broadcast(&volume.changed);
  pthread_mutex_unlock(&volume.lock);
}

void
__wrap_sf_volume_give_up(struct sf_volume *v, struct sf_request *request, uint64_t now_ns) {
  pthread_mutex_lock(&volume.lock);
  if (volume.stuck == request) {
    volume.stuck = NULL;
    finish(request, -ESHUTDOWN);
  }
  pthread_mutex_unlock(&volume.lock);
}

/* The pool's client has real ones. */
void
__wrap_sf_tio_wake(struct sf_tio_thread *thread) {
  if (thread == PLAYED)
    pthread_cond_broadcast(&volume.changed);
  else
    __real_sf_tio_wake(thread);
}

int
__wrap_sf_tio_drive(struct sf_tio_thread *thread, uint64_t until_ns, bool (*stop)(void *),
                    void *arg) {
  struct timespec soon;
  bool stopped;

  clock_gettime(CLOCK_REALTIME, &soon);
  soon.tv_sec++;
  pthread_mutex_lock(&volume.lock);
  while (!(stopped = stop(arg)) && sf_tio_now() < until_ns)
    pthread_cond_timedwait(&volume.changed, &volume.lock, &soon);
  pthread_mutex_unlock(&volume.lock);
  return stopped ? 0 : -ETIME;
}

static void
stick(int block) {
  pthread_mutex_lock(&volume.lock);
  volume.stuck_block = block;
  pthread_mutex_unlock(&volume.lock);
}

static void
wait_until_stuck(void) {
  pthread_mutex_lock(&volume.lock);
  while (volume.stuck == NULL)
    pthread_cond_wait(&volume.changed, &volume.lock);
  pthread_mutex_unlock(&volume.lock);
}

static void
unstick(void) {
  pthread_mutex_lock(&volume.lock);
  volume.stuck_block = -1;
  if (volume.stuck != NULL)
    finish(volume.stuck, 0);
  volume.stuck = NULL;
  pthread_cond_broadcast(&volume.changed);
  pthread_mutex_unlock(&volume.lock);
}

/* ---- connections ---- */

enum place { NOWHERE, AT_RING, AFTER_LOOK };

struct connection {
  struct sf_serve_client *client;
  atomic_bool dead;
  atomic_uint looks;
  enum place hold_at;
  unsigned let_by; /* so often before it is held */
  bool random_pauses, no_ring;
  void (*on_look)(void);
};

static _Thread_local struct connection *mine;

static struct {
  pthread_mutex_t lock;
  pthread_cond_t changed;
  bool held, go;
} gate = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void
pass_gate(void) {
  pthread_mutex_lock(&gate.lock);
  gate.held = true;
  pthread_cond_broadcast(&gate.changed);
  while (!gate.go)
    pthread_cond_wait(&gate.changed, &gate.lock);
  pthread_mutex_unlock(&gate.lock);
}

static void
wait_until_held(void) {
  pthread_mutex_lock(&gate.lock);
  while (!gate.held)
    pthread_cond_wait(&gate.changed, &gate.lock);
  pthread_mutex_unlock(&gate.lock);
}

static void
open_gate(void) {
  pthread_mutex_lock(&gate.lock);
  gate.go = true;
  pthread_cond_broadcast(&gate.changed);
  pthread_mutex_unlock(&gate.lock);
}

static void
pause_at_random(void) {
  static _Thread_local unsigned seed = 1;

  for (int n = rand_r(&seed) % 4; n > 0; n--)
    sched_yield();
}

static void
come_by(enum place place) {
  if (mine->hold_at == place && mine->let_by > 0) {
    mine->let_by--;
  } else if (mine->hold_at == place) {
    mine->hold_at = NOWHERE;
    pass_gate();
  }
  if (mine->random_pauses)
    pause_at_random();
}

int
__wrap_sf_tio_attend(struct sf_tio_client *client, struct sf_tio_thread **thread) {
  come_by(AT_RING);
  if (mine->no_ring)
    return -EMFILE;
  *thread = PLAYED;
  return 0;
}

static bool
hangup(void *ctx) {
  bool dead = atomic_load(&mine->dead);

  atomic_fetch_add(&mine->looks, 1);
  if (mine->on_look != NULL)
    mine->on_look();
  come_by(AFTER_LOOK);
  return dead;
}

static void
connect_it(struct connection *connection) {
  struct connection *before = mine;

  *connection = (struct connection){0};
  mine = connection;
  assert_int_equal(sf_serve_client_open(serve, &connection->client), 0);
  mine = before;
}

static int
write_all(struct connection *connection, unsigned byte, uint64_t length, uint64_t offset) {
  unsigned char data[2 * BLOCK];

  mine = connection;
  memset(data, (int) byte, sizeof data);
  return sf_serve_write(connection->client, data, length, offset, false);
}

static int
byte_at(uint64_t offset) {
  int byte;

  pthread_mutex_lock(&volume.lock);
  byte = volume.disk[offset / BLOCK][offset % BLOCK];
  pthread_mutex_unlock(&volume.lock);
  return byte;
}

/* A request in a thread of its own. */
struct asked {
  pthread_t thread;
  struct connection *connection;
  unsigned byte;
  uint64_t length, offset;
  bool zero;
  int r;
};

static void *
ask_thread(void *arg) {
  struct asked *asked = arg;

  mine = asked->connection;
  asked->r = asked->zero ? sf_serve_zero(mine->client, asked->length, asked->offset, false, false)
                         : write_all(mine, asked->byte, asked->length, asked->offset);
  return NULL;
}

static void
ask(struct asked *asked) {
  assert_int_equal(pthread_create(&asked->thread, NULL, ask_thread, asked), 0);
}

static int
answer(struct asked *asked) {
  pthread_join(asked->thread, NULL);
  return asked->r;
}

static int
begin(void **state) {
  const struct sf_tio_client_params params = {.large_bytes = SERVE_LARGE_BYTES};

  serve = serve_with(&params);
  atomic_store(&serve->block_bytes, BLOCK);
  serve->options.hangup = hangup;
  memset(volume.disk, 0, sizeof volume.disk);
  volume.stuck_block = -1;
  volume.submitted = 0;
  gate.held = gate.go = false;
  return 0;
}

static int
end(void **state) {
  serve_end(serve);
  return 0;
}

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
  /* A part of a block that is held keeps the block: what is sent again waits for it. */
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

/* Who is dead when it is opened writes nothing, and who was seen dead is not asked again. */
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

/* Hands a write over if the lock is not held by whoever looks. */
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
  assert_int_equal(serve_order_hold(&call, &block), 0);
  assert_int_equal(write_all(&one, 1, BLOCK, 0), -EIO);
  assert_int_equal(write_all(&one, 1, 512, 0), -EIO);
  atomic_store(&serve->suspends, true);
  atomic_store(&one.dead, true);
  assert_int_equal(write_all(&one, 1, BLOCK, 0), -ESHUTDOWN);
  assert_int_equal(write_all(&one, 1, 512, 0), -ESHUTDOWN);
  assert_int_equal(volume.submitted, 0);
  serve_order_release(&call, &block);
  assert_int_equal(ranges(), 0);
  sf_serve_client_close(one.client);
}

/* What the volume has read for a part of a block, and still writes over a bad block, is left alone. */
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

/* Who waits so still asks whether its client is there. */
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

enum { ROUNDS = 3000, WRITERS = 3, PER_WRITER = 300 };

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

static void *
add_parts(void *arg) {
  struct connection connection;
  unsigned part = (unsigned) (uintptr_t) arg;

  connect_it(&connection);
  connection.random_pauses = true;
  for (unsigned i = 0; i < PER_WRITER; i++) {
    assert_int_equal(write_all(&connection, part + 1, 512, part * 512), 0);
    assert_int_equal(byte_at(part * 512), (int) part + 1); /* nobody's older block came over it */
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
      cmocka_unit_test_setup_teardown(a_stuck_part_stops_nobody_elsewhere, begin, end),
      cmocka_unit_test_setup_teardown(a_whole_block_waits_for_a_part_of_it, begin, end),
      cmocka_unit_test_setup_teardown(a_stuck_write_holds_no_block, begin, end),
      cmocka_unit_test_setup_teardown(one_that_makes_its_ring_holds_no_block, begin, end),
      cmocka_unit_test_setup_teardown(a_held_block_is_waited_for_as_long_as_may_be, begin, end),
      cmocka_unit_test_setup_teardown(what_is_read_is_not_changed, begin, end),
      cmocka_unit_test_setup_teardown(without_a_ring_it_is_done_as_well, begin, end),
      cmocka_unit_test_setup_teardown(without_a_ring_it_is_given_up_as_well, begin, end),
      cmocka_unit_test_setup_teardown(at_any_moment, begin, end),
      cmocka_unit_test_setup_teardown(parts_of_one_block_by_many, begin, end),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Requests of a loop have the same order as those of threads: no write of a dead connection after
 * another one's write, none into a block that is being changed in part, and none of a part of a
 * block; and a refused request was not handed over and leaves nothing behind. */
#include "rig.h"

#include <errno.h>
#include <string.h>

enum { BLOCK = 4096, MOST = 80 };

static struct sf_serve *serve;
static bool dead;
static unsigned looks, submitted, told, waits;
static struct sf_request *last[MOST];

void __wrap_sf_volume_submit(struct sf_volume *v, struct sf_request *request, uint64_t now_ns);
void __wrap_sf_volume_wait_told(struct sf_volume *v);

void
__wrap_sf_volume_submit(struct sf_volume *v, struct sf_request *request, uint64_t now_ns) {
  assert_true(submitted < MOST);
  last[submitted++] = request;
}

void
__wrap_sf_volume_wait_told(struct sf_volume *v) {
  waits++;
}

static bool
hangup(void *ctx) {
  looks++;
  return ctx == &dead && dead;
}

static void
on_done(struct sf_serve_request *request) {
  told++;
}

static struct sf_serve_client *
connect_it(void *ctx) {
  struct sf_serve_client *client;

  assert_int_equal(sf_serve_client_open_as(serve, hangup, ctx, &client), 0);
  return client;
}

static struct sf_serve_request
asked(enum sf_request_kind kind, uint64_t offset, uint64_t length) {
  return (struct sf_serve_request){.request = {.kind = kind, .offset = offset, .length = length},
                                   .done = on_done};
}

static int
hand_over(struct sf_serve_client *client, struct sf_serve_request *request) {
  sf_serve_submit(client, &request, 1);
  return request->refused;
}

static void
answer_all(void) {
  for (unsigned i = 0; i < submitted; i++)
    last[i]->done(last[i]);
  submitted = 0;
}

static int
begin(void **state) {
  serve = serve_with(NULL);
  atomic_store(&serve->block_bytes, 512);
  dead = false;
  looks = submitted = told = waits = 0;
  return 0;
}

static int
end(void **state) {
  assert_int_equal(atomic_load(&serve->small_calls), 0);
  serve_end(serve);
  return 0;
}

/* Proves that a part of a block is refused, and that the unit is in use until a request is
 * answered. */
static void
whole_blocks_only(void **state) {
  struct sf_serve_client *client = connect_it(NULL);
  struct sf_serve_request part = asked(SF_REQ_WRITE, 100, 512), half = asked(SF_REQ_READ, 0, 700),
                          whole = asked(SF_REQ_READ, 512, 1024);

  assert_int_equal(hand_over(client, &part), -EAGAIN);
  assert_int_equal(hand_over(client, &half), -EAGAIN);
  assert_int_equal(submitted, 0);
  assert_int_equal(hand_over(client, &whole), 0);
  assert_int_equal(atomic_load(&serve->small_calls), 1);
  answer_all();
  assert_int_equal(told, 1);
  sf_serve_client_close(client);
}

/* Proves that a write into a block that is held is refused, and others beside it go. */
static void
a_block_that_is_held(void **state) {
  struct sf_serve_client *client = connect_it(NULL);
  struct sf_call call = {.client = client};
  struct serve_range held = {.begin = BLOCK, .end = 2 * BLOCK};
  struct sf_serve_request in = asked(SF_REQ_WRITE, BLOCK + 512, 512),
                          over = asked(SF_REQ_WRITE, 0, 3 * BLOCK),
                          before = asked(SF_REQ_WRITE, 0, BLOCK),
                          after = asked(SF_REQ_WRITE, 2 * BLOCK, BLOCK),
                          reads = asked(SF_REQ_READ, BLOCK, BLOCK);
  struct sf_serve_request *all[] = {&in, &over, &before, &after, &reads};

  assert_int_equal(sf_serve_order_hold(&call, &held), 0);
  sf_serve_submit(client, all, 5);
  assert_int_equal(in.refused, -EAGAIN);
  assert_int_equal(over.refused, -EAGAIN);
  assert_int_equal(before.refused, 0);
  assert_int_equal(after.refused, 0);
  assert_int_equal(reads.refused, 0);
  assert_int_equal(submitted, 3);
  sf_serve_order_release(&call, &held);
  assert_int_equal(hand_over(client, &in), 0);
  answer_all();
  sf_serve_client_close(client);
}

/* Proves that a dead connection's writes are refused as soon as another one has written, and all
 * those after; reads are not. */
static void
a_dead_connection(void **state) {
  struct sf_serve_client *old = connect_it(&dead), *new;
  struct sf_serve_request first = asked(SF_REQ_WRITE, 0, BLOCK), other = first, stale = first,
                          another = first, reads = asked(SF_REQ_READ, 0, BLOCK);

  assert_int_equal(hand_over(old, &first), 0);
  dead = true;
  new = connect_it(NULL);
  assert_int_equal(hand_over(new, &other), 0);
  assert_int_equal(hand_over(old, &stale), -ESHUTDOWN);
  dead = false; /* dead is dead */
  assert_int_equal(hand_over(old, &another), -ESHUTDOWN);
  assert_int_equal(hand_over(old, &reads), 0);
  assert_int_equal(submitted, 3);
  answer_all();
  sf_serve_client_close(old);
  sf_serve_client_close(new);
}

/* Proves that a connection which is alone is not looked at, and that many writes are looked at
 * once. */
static void
one_look_for_many(void **state) {
  struct sf_serve_client *client = connect_it(NULL), *other;
  struct sf_serve_request request[20];
  struct sf_serve_request *all[20];

  for (unsigned i = 0; i < 20; i++) {
    request[i] = asked(SF_REQ_WRITE, i * BLOCK, BLOCK);
    all[i] = &request[i];
  }
  looks = 0;
  sf_serve_submit(client, all, 20);
  assert_int_equal(looks, 0);
  other = connect_it(NULL);
  looks = 0;
  sf_serve_submit(client, all, 20);
  assert_int_equal(looks, 1);
  answer_all();
  sf_serve_client_close(client);
  sf_serve_client_close(other);
}

/* Whether or not it has a hangup function of its own. */
static void
a_close_waits_until_all_is_told(void **state) {
  struct sf_serve_client *plain;

  sf_serve_client_close(connect_it(NULL));
  assert_int_equal(waits, 1);
  assert_int_equal(atomic_load(&serve->guests), 0);
  assert_int_equal(sf_serve_client_open(serve, &plain), 0);
  sf_serve_client_close(plain);
  assert_int_equal(waits, 2);
  assert_int_equal(atomic_load(&serve->guests), 0);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(whole_blocks_only, begin, end),
      cmocka_unit_test_setup_teardown(a_block_that_is_held, begin, end),
      cmocka_unit_test_setup_teardown(a_dead_connection, begin, end),
      cmocka_unit_test_setup_teardown(one_look_for_many, begin, end),
      cmocka_unit_test_setup_teardown(a_close_waits_until_all_is_told, begin, end),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}

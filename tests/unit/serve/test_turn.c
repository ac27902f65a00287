/* Zeros that are written out come piece by piece, in the order in which they were asked for; a call
 * that waits for others' pieces does not fail while these go well, and does when they do not. */
#include "rig.h"

#include <errno.h>
#include <unistd.h>

enum { PIECES = 5 };

static struct sf_serve *serve;
static bool gone;
static int held; /* pieces under way */

static bool
hung_up(void *ctx) {
  return gone;
}

struct waiter {
  pthread_t thread;
  struct sf_serve_client client;
  unsigned pieces; /* done */
  int r;
};

static void *
take_pieces(void *arg) {
  struct waiter *w = arg;
  struct sf_call call = {.client = &w->client};

  for (unsigned i = 0; i < PIECES && w->r == 0; i++) {
    struct sf_list place;

    w->r = sf_serve_turn_take(&call, &place);
    if (w->r < 0)
      break;
    assert_int_equal(__atomic_add_fetch(&held, 1, __ATOMIC_SEQ_CST), 1);
    usleep(20 * 1000); /* a slow disk; three of these are longer than fail_timeout */
    __atomic_sub_fetch(&held, 1, __ATOMIC_SEQ_CST);
    w->pieces++;
    sf_serve_turn_pass(&call, &place, true);
  }
  return NULL;
}

/* Proves: one at a time, and no call fails for having waited longer than fail_timeout (50 ms) for
 * four others with pieces of 20 ms each. */
static void
one_by_one(void **state) {
  struct waiter w[5] = {0};

  for (unsigned i = 0; i < 5; i++) {
    w[i].client.serve = serve;
    assert_int_equal(pthread_create(&w[i].thread, NULL, take_pieces, &w[i]), 0);
  }
  for (unsigned i = 0; i < 5; i++) {
    pthread_join(w[i].thread, NULL);
    assert_int_equal(w[i].r, 0);
    assert_int_equal(w[i].pieces, PIECES);
  }
}

/* Proves: behind a piece that does not end, it fails after fail_timeout, or when its client has
 * hung up; and the place is left. */
static void
behind_one_that_hangs(void **state) {
  struct sf_serve_client client = {.serve = serve};
  struct sf_call first = {.client = &client}, second = {.client = &client};
  struct sf_list mine, other;

  assert_int_equal(sf_serve_turn_take(&first, &mine), 0);
  assert_int_equal(sf_serve_turn_take(&second, &other), -EIO);
  assert_true(second.waited_ns >= 50 * MS);
  gone = true;
  assert_int_equal(sf_serve_turn_take(&second, &other), -ESHUTDOWN);
  gone = false;
  sf_serve_turn_pass(&first, &mine, false);
  second.waited_ns = 0;
  assert_int_equal(sf_serve_turn_take(&second, &other), 0);
  sf_serve_turn_pass(&second, &other, true);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(one_by_one),
      cmocka_unit_test(behind_one_that_hangs),
  };
  const struct sf_tio_client_params params = {0};
  int r;

  serve = serve_with(&params);
  serve->options.hangup = hung_up;
  r = cmocka_run_group_tests(tests, NULL, NULL);
  serve_end(serve);
  return r;
}

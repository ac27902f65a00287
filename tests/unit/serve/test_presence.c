/* The kernel is asked for a faulty leg's disk by a thread of its own: it may hang there, and who asks, with the volume's
 * lock held, goes on; one look of a leg is under way at most, and it ends when the kernel answers. */
#include <errno.h>
#include <sched.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "serve/internal.h"

static struct sf_serve *serve;
static pthread_mutex_t volume_lock = PTHREAD_MUTEX_INITIALIZER;
static sem_t asks, answer, told;
static struct sf_tio_device *const device = (struct sf_tio_device *) &serve;
static int descriptors;
static uint64_t told_look;
static bool told_gone;

/* ---- the kernel and the volume, by the linker's --wrap ---- */

int __wrap_sf_tio_presence_take(const struct sf_tio_device *of, struct sf_tio_presence *presence);
bool __wrap_sf_tio_presence_gone(const struct sf_tio_presence *presence);
void __wrap_sf_tio_presence_asked(struct sf_tio_presence *presence);
void __wrap_sf_volume_leg_looked(struct sf_volume *volume, unsigned leg, uint64_t look, bool gone,
                                 uint64_t now_ns);

int
__wrap_sf_tio_presence_take(const struct sf_tio_device *of, struct sf_tio_presence *presence) {
  if (of != device)
    return -ENOTBLK;
  descriptors++;
  *presence = (struct sf_tio_presence){.fd = 1000};
  return 0;
}

bool
__wrap_sf_tio_presence_gone(const struct sf_tio_presence *presence) {
  sem_post(&asks);
  sem_wait(&answer);
  return true;
}

void
__wrap_sf_tio_presence_asked(struct sf_tio_presence *presence) {
  descriptors--;
}

/* As the real one: it takes the lock. */
void
__wrap_sf_volume_leg_looked(struct sf_volume *volume, unsigned leg, uint64_t look, bool gone,
                            uint64_t now_ns) {
  pthread_mutex_lock(&volume_lock);
  assert_int_equal(leg, 2);
  assert_int_equal(descriptors, 0); /* given back before: the volume may open the disk at once */
  told_look = look;
  told_gone = gone;
  pthread_mutex_unlock(&volume_lock);
  sem_post(&told);
}

/* As the volume does. */
static int
look(uint64_t number) {
  int r;

  pthread_mutex_lock(&volume_lock);
  r = sf_serve_look_at_leg(serve, 2, device, number);
  pthread_mutex_unlock(&volume_lock);
  return r;
}

static int
begin(void **state) {
  serve = calloc(1, sizeof *serve);
  pthread_mutex_init(&serve->lock, NULL);
  sf_serve_cond_init(&serve->changed);
  sem_init(&asks, 0, 0);
  sem_init(&answer, 0, 0);
  sem_init(&told, 0, 0);
  return 0;
}

static int
end(void **state) {
  free(serve);
  return 0;
}

static void
who_hangs_holds_up_nobody(void **state) {
  assert_int_equal(look(7), 0);
  sem_wait(&asks);
  pthread_mutex_lock(&volume_lock); /* a write comes */
  pthread_mutex_unlock(&volume_lock);
  assert_int_equal(look(8), -EBUSY);
  assert_int_equal(sf_serve_join_lookers(serve), -EBUSY);
  sem_post(&answer);
  sem_wait(&told);
  assert_int_equal(told_look, 7);
  assert_true(told_gone);
  assert_int_equal(sf_serve_join_lookers(serve), 0);
}

/* Asked anew while the last thread is on its way out: it is joined with the lock held, and does not need that. */
static void
looks_follow_each_other(void **state) {
  for (uint64_t i = 1; i <= 50; i++) {
    int r;

    sem_post(&answer);
    while ((r = look(i)) == -EBUSY)
      sched_yield();
    assert_int_equal(r, 0);
    sem_wait(&told);
    assert_int_equal(told_look, i);
  }
  assert_int_equal(sf_serve_join_lookers(serve), 0);
  assert_int_equal(descriptors, 0);
}

static void
a_file_is_not_asked_for(void **state) {
  pthread_mutex_lock(&volume_lock);
  assert_int_equal(sf_serve_look_at_leg(serve, 2, NULL, 1), -ENOTBLK);
  pthread_mutex_unlock(&volume_lock);
  assert_int_equal(sf_serve_join_lookers(serve), 0);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(who_hangs_holds_up_nobody, begin, end),
      cmocka_unit_test_setup_teardown(looks_follow_each_other, begin, end),
      cmocka_unit_test_setup_teardown(a_file_is_not_asked_for, begin, end),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

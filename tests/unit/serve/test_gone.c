/* Has the disk left, a thread asks that has an error of it: where the kernel hangs in the question, that thread goes on
 * soon, and the next ones at once; other disks are asked for meanwhile.  A disk with many errors is asked for once. */
#include <errno.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/disk.h"
#include "base/thread.h"
#include "base/units.h"
#include "serve/internal.h"

enum { SOUND, DYING, IS_A_FILE, DISKS };

struct kernel { /* for all processes of a test */
  sem_t answer;
  atomic_uint asked[DISKS];
  atomic_bool hangs, dead;
};

static struct kernel *kernel;
static struct sf_serve *serve;
static char place[DISKS];
static int disk;

static struct sf_tio_device *
device(unsigned number) {
  return (struct sf_tio_device *) &place[number];
}

/* ---- the kernel, by the linker's --wrap ---- */

int __wrap_sf_tio_presence_take(const struct sf_tio_device *of, struct sf_tio_presence *presence);
void __wrap_sf_tio_presence_asked(struct sf_tio_presence *presence);
bool __wrap_sf_tio_device_is_gone(const struct sf_tio_device *of);
bool __wrap_sf_disk_is_gone(int fd, dev_t number, bool named);

int
__wrap_sf_tio_presence_take(const struct sf_tio_device *of, struct sf_tio_presence *presence) {
  if (of == device(IS_A_FILE))
    return -ENOTBLK;
  *presence = (struct sf_tio_presence){.fd = dup(disk), .number = (const char *) of - place};
  return 0;
}

void
__wrap_sf_tio_presence_asked(struct sf_tio_presence *presence) {
  close(presence->fd);
}

bool
__wrap_sf_tio_device_is_gone(const struct sf_tio_device *of) {
  return __wrap_sf_disk_is_gone(disk, (dev_t) ((const char *) of - place), false);
}

bool
__wrap_sf_disk_is_gone(int fd, dev_t number, bool named) {
  kernel->asked[number]++;
  if (number == DYING && kernel->hangs)
    sem_wait(&kernel->answer);
  return number == DYING && kernel->dead;
}

static int
begin(void **state) {
  char path[] = "gone-XXXXXX";

  kernel = mmap(NULL, sizeof *kernel, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  assert_true(kernel != MAP_FAILED);
  sem_init(&kernel->answer, 1, 0);
  disk = mkstemp(path);
  assert_true(disk >= 0);
  unlink(path);
  serve = calloc(1, sizeof *serve);
  sf_serve_gone_init(&serve->gone);
  assert_int_equal(sf_leg_openers_start(&serve->openers), 0);
  return 0;
}

static int
end(void **state) {
  sf_serve_gone_destroy(&serve->gone);
  sf_leg_openers_stop(serve->openers);
  free(serve);
  close(disk);
  munmap(kernel, sizeof *kernel);
  return 0;
}

static void *
ask_for_the_dying(void *arg) {
  assert_false(sf_serve_device_is_gone(serve, device(DYING)));
  return NULL;
}

static void
a_question_that_hangs_holds_up_nobody(void **state) {
  uint64_t began_ns;
  pthread_t thread;

  kernel->hangs = kernel->dead = true;
  assert_int_equal(sf_thread_start(&thread, "asks", ask_for_the_dying, NULL), 0);
  while (kernel->asked[DYING] == 0)
    usleep(1000);
  assert_false(sf_serve_device_is_gone(serve, device(SOUND)));
  pthread_join(thread, NULL); /* the kernel has not answered */
  began_ns = sf_tio_now();
  for (unsigned i = 0; i < 1000; i++)
    assert_false(sf_serve_device_is_gone(serve, device(DYING)));
  assert_true(sf_tio_now() - began_ns < 10 * SF_S); /* 200 if each waited */
  assert_int_equal(kernel->asked[DYING], 1);
  sem_post(&kernel->answer);
  while (!sf_serve_device_is_gone(serve, device(DYING)))
    usleep(1000);
  assert_int_equal(kernel->asked[DYING], 1);
}

static void
a_burst_of_errors_is_one_question(void **state) {
  kernel->dead = true;
  assert_true(sf_serve_device_is_gone(serve, device(DYING)));
  for (unsigned i = 0; i < 1000; i++) {
    assert_true(sf_serve_device_is_gone(serve, device(DYING)));
    assert_false(sf_serve_device_is_gone(serve, device(SOUND)));
  }
  assert_true(kernel->asked[DYING] < 100 && kernel->asked[SOUND] < 100);
  kernel->dead = false; /* another disk has its place */
  sf_serve_gone_forget(serve, device(DYING));
  assert_false(sf_serve_device_is_gone(serve, device(DYING)));
}

static void
a_file_is_not_asked_for(void **state) {
  assert_false(sf_serve_device_is_gone(serve, device(IS_A_FILE)));
  assert_int_equal(kernel->asked[IS_A_FILE], 0);
}

static void
without_a_process_it_is_asked_here(void **state) {
  struct sf_leg_openers *openers = serve->openers;

  serve->openers = NULL;
  kernel->dead = true;
  assert_true(sf_serve_device_is_gone(serve, device(DYING)));
  serve->openers = openers;
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(a_question_that_hangs_holds_up_nobody, begin, end),
      cmocka_unit_test_setup_teardown(a_burst_of_errors_is_one_question, begin, end),
      cmocka_unit_test_setup_teardown(a_file_is_not_asked_for, begin, end),
      cmocka_unit_test_setup_teardown(without_a_process_it_is_asked_here, begin, end),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The kernel is asked for a faulty leg's disk by a process of its own: it may hang there, and who asks, with the volume's
 * lock held, goes on; one look of a leg is under way at most, and it ends when the kernel answers.  A server that is
 * killed meanwhile leaves that process, and that leg, behind. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/disk.h"
#include "serve/internal.h"

struct kernel { /* for all processes of a test */
  sem_t asks, answer, ready;
  pid_t asked_by;
};

static struct kernel *kernel;
static struct sf_serve *serve;
static pthread_mutex_t volume_lock = PTHREAD_MUTEX_INITIALIZER;
static sem_t told;
static struct sf_tio_device *const device = (struct sf_tio_device *) &serve;
static int descriptors, disk = 1000;
static uint64_t told_look;
static bool told_gone;

/* ---- the kernel and the volume, by the linker's --wrap ---- */

int __wrap_sf_tio_presence_take(const struct sf_tio_device *of, struct sf_tio_presence *presence);
bool __wrap_sf_disk_is_gone(int fd, dev_t number, bool named);
void __wrap_sf_tio_presence_asked(struct sf_tio_presence *presence);
void __wrap_sf_volume_leg_looked(struct sf_volume *volume, unsigned leg, uint64_t look, bool gone,
                                 uint64_t now_ns);

int
__wrap_sf_tio_presence_take(const struct sf_tio_device *of, struct sf_tio_presence *presence) {
  if (of != device)
    return -ENOTBLK;
  descriptors++;
  *presence = (struct sf_tio_presence){.fd = disk, .number = 7, .named = true};
  return 0;
}

/* As in the kernel no signal ends it, where it has a process of its own. */
bool
__wrap_sf_disk_is_gone(int fd, dev_t number, bool named) {
  prctl(PR_SET_PDEATHSIG, 0);
  kernel->asked_by = getpid();
  sem_post(&kernel->asks);
  sem_wait(&kernel->answer);
  return number == 7 && named;
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
  kernel = mmap(NULL, sizeof *kernel, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  assert_true(kernel != MAP_FAILED);
  serve = calloc(1, sizeof *serve);
  pthread_mutex_init(&serve->lock, NULL);
  sf_serve_cond_init(&serve->changed);
  sem_init(&kernel->asks, 1, 0);
  sem_init(&kernel->answer, 1, 0);
  sem_init(&kernel->ready, 1, 0);
  sem_init(&told, 0, 0);
  return 0;
}

static int
end(void **state) {
  free(serve);
  munmap(kernel, sizeof *kernel);
  disk = 1000;
  return 0;
}

static void
who_hangs_holds_up_nobody(void **state) {
  assert_int_equal(look(7), 0);
  sem_wait(&kernel->asks);
  pthread_mutex_lock(&volume_lock); /* a write comes */
  pthread_mutex_unlock(&volume_lock);
  assert_int_equal(look(8), -EBUSY);
  assert_int_equal(sf_serve_join_lookers(serve), -EBUSY);
  sem_post(&kernel->answer);
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

    sem_post(&kernel->answer);
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

/* ---- in a process of its own ---- */

static int
make_leg(char path[]) {
  struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
  int fd = mkostemp(path, O_CLOEXEC);

  if (fd < 0 || fcntl(fd, F_OFD_SETLK, &whole) < 0)
    _exit(1);
  return fd;
}

static bool
is_locked(const char *path) {
  struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
  int fd = open(path, O_RDWR | O_CLOEXEC);

  assert_true(fd >= 0);
  assert_int_equal(fcntl(fd, F_OFD_GETLK, &whole), 0);
  close(fd);
  return whole.l_type != F_UNLCK;
}

/* Two legs, of which the second is looked at. */
static void
be_server(char first[], char second[]) {
  if (sf_leg_openers_start(&serve->openers) < 0)
    _exit(1);
  (void) make_leg(first);
  disk = make_leg(second);
  if (sf_serve_look_at_leg(serve, 2, device, 1) < 0)
    _exit(1);
  sem_wait(&kernel->asks);
  sem_post(&kernel->ready);
  pause();
  _exit(1);
}

static void
who_hangs_keeps_its_own_leg_alone(void **state) {
  char first[] = "presence-XXXXXX", second[] = "presence-XXXXXX";
  char(*path)[sizeof first] =
      mmap(NULL, 2 * sizeof first, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  pid_t server;

  assert_true(path != MAP_FAILED);
  memcpy(path[0], first, sizeof first);
  memcpy(path[1], second, sizeof second);
  server = fork();
  assert_true(server >= 0);
  if (server == 0)
    be_server(path[0], path[1]);
  sem_wait(&kernel->ready);
  assert_true(is_locked(path[0]) && is_locked(path[1]));
  assert_int_not_equal(kernel->asked_by, server);
  kill(server, SIGKILL);
  assert_int_equal(waitpid(server, NULL, 0), server);
  assert_false(is_locked(path[0]));
  assert_true(is_locked(path[1]));
  sem_post(&kernel->answer);
  while (is_locked(path[1]))
    sched_yield();
  unlink(path[0]);
  unlink(path[1]);
  munmap(path, 2 * sizeof first);
}

/* The openers are cut at the end: a look that hangs does not keep the server. */
static void
who_hangs_does_not_hold_up_the_end(void **state) {
  char path[] = "presence-XXXXXX";

  assert_int_equal(sf_leg_openers_start(&serve->openers), 0);
  disk = make_leg(path);
  assert_int_equal(look(3), 0);
  sem_wait(&kernel->asks);
  assert_int_equal(sf_serve_join_lookers(serve), -EBUSY);
  sf_leg_openers_cut(serve->openers);
  assert_int_equal(sf_serve_join_lookers(serve), 0);
  sem_wait(&told);
  assert_int_equal(told_look, 3);
  assert_false(told_gone);
  assert_int_equal(descriptors, 0);
  sem_post(&kernel->answer);
  sf_leg_openers_stop(serve->openers);
  close(disk);
  unlink(path);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(who_hangs_holds_up_nobody, begin, end),
      cmocka_unit_test_setup_teardown(looks_follow_each_other, begin, end),
      cmocka_unit_test_setup_teardown(a_file_is_not_asked_for, begin, end),
      cmocka_unit_test_setup_teardown(who_hangs_keeps_its_own_leg_alone, begin, end),
      cmocka_unit_test_setup_teardown(who_hangs_does_not_hold_up_the_end, begin, end),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

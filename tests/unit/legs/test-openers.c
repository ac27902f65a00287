/* Proves that legs are opened, looked at and emptied by processes of their own as they are without,
 * that a hung process holds up no other, and that killed processes are replaced. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "assembly/blank.h"
#include "rig.h"

static void
start_openers(struct fixture *f) {
  char here[PATH_MAX / 2], path[PATH_MAX];
  assert_non_null(getcwd(here, sizeof here));
  for (unsigned i = 0; i < 3; i++) {
    snprintf(path, sizeof path, "%s/%.1000s", here, f->config.leg[i].path);
    strcpy(f->config.leg[i].path, path);
  }
  assert_int_equal(sf_leg_openers_start(&f->openers), 0);
}

/* The same through openers: what they read comes over with the file, and so does the lock. */
static void
opened_isolated(void **state) {
  struct fixture *f = *state;
  make_volume(f);
  assert_int_equal(unlink(f->config.leg[1].path), 0);
  start_openers(f);
  assert_int_equal(open_legs(f, second_ns * 10), 0);
  assert_int_equal(f->file[1].fd, -1);
  assert_int_equal(f->found[1].error, -ENOENT);
  assert_says(f->leg_error[1], "there is no such file");
  for (unsigned i = 0; i < 3; i += 2) {
    assert_true(f->file[i].fd >= 0);
    assert_int_equal(f->found[i].error, 0);
    assert_int_equal(f->found[i].sb.leg_index, i);
    assert_int_equal(f->file[i].map_pages, 1);
    assert_memory_equal(f->file[i].maps, "SUREMAPS", 8);
    struct sf_leg_file second;
    struct sf_leg_found found;
    assert_int_equal(sf_leg_file_open(f->config.leg[i].path, 0, &second, &found, f->error), -EBUSY);
    sf_leg_file_close(&f->file[i]);
    assert_int_equal(open_first(f, f->config.leg[i].path, 0), 0);
    sf_leg_file_close(&f->file[0]);
  }
  sf_leg_openers_stop(f->openers);
}

/* So are a discard and the look before it, and why not comes over in words. */
static void
discarded_isolated(void **state) {
  struct fixture *f = *state;
  make_volume(f);
  assert_int_equal(open_first(f, f->config.leg[0].path, 0), 0);
  struct sf_superblock sb = f->found[0].sb;
  sf_leg_file_close(&f->file[0]);
  const char *path = f->config.leg[1].path;
  start_openers(f);
  assert_int_equal(sf_leg_discard_isolated(f->openers, path, &sb, 2, true, NULL, 0, f->error),
                   -EEXIST);
  assert_says(f->error, "it is leg b of this volume, not leg c");
  assert_int_equal(sf_leg_check_new_isolated(f->openers, path, 0, &sb, 2, 0, &f->judged, f->error),
                   -EEXIST);
  assert_says(f->error, "it is leg b of this volume, not leg c");
  assert_int_equal(sf_leg_check_new_isolated(f->openers, path, 0, &sb, 1, 0, &f->judged, f->error),
                   0);
  assert_int_equal(open_first(f, path, 0), 0);
  assert_int_equal(f->found[0].sb.record.term, sb.record.term);
  sf_leg_file_close(&f->file[0]);
  assert_int_equal(sf_leg_discard_isolated(f->openers, path, &sb, 1, true, NULL, 0, f->error), 0);
  assert_int_equal(open_first(f, path, 0), 0);
  assert_true(sf_leg_is_blank(&f->found[0].sb));
  assert_int_equal(f->found[0].sb.leg_index, 1);
  sf_leg_file_close(&f->file[0]);
  sf_leg_openers_stop(f->openers);
}

/* An opener that hangs is left behind, with its leg alone: the waiting process can go on, and
 * end. */
static void
an_opener_that_hangs(void **state) {
  struct fixture *f = *state;
  for (unsigned i = 0; i < 3; i++)
    make_file(f->config.leg[i].path, MIB);
  pid_t holder = start_holder(hold_lease, f->config.leg[1].path);
  if (holder < 0)
    skip();
  start_openers(f);
  assert_int_equal(open_legs(f, second_ns / 5), 0);
  assert_true(f->file[0].fd >= 0 && f->file[2].fd >= 0);
  assert_int_equal(f->found[1].error, -ETIMEDOUT);
  sf_leg_openers_stop(f->openers);
  f->openers = NULL;
  sf_leg_file_close(&f->file[0]);
  sf_leg_file_close(&f->file[2]);
  kill_holder(holder);
  assert_true(becomes_free(f, f->config.leg[1].path));
}

/* A thread that waits for an opener is told of the cut. */
static void *
cut_soon(void *openers) {
  struct timespec pause = {0, 100000000};
  nanosleep(&pause, NULL);
  sf_leg_openers_cut(openers);
  return NULL;
}

static void
openers_are_cut(void **state) {
  struct fixture *f = *state;
  pthread_t thread;
  make_file(f->config.leg[0].path, MIB);
  pid_t holder = start_holder(hold_lease, f->config.leg[0].path);
  if (holder < 0)
    skip();
  start_openers(f);
  assert_int_equal(pthread_create(&thread, NULL, cut_soon, f->openers), 0);
  assert_int_equal(sf_leg_file_open_isolated(f->openers, f->config.leg[0].path, 0, 0, &f->file[0],
                                             &f->found[0], f->error),
                   -ECANCELED);
  assert_int_equal(f->file[0].fd, -1);
  assert_int_equal(sf_leg_file_open_isolated(f->openers, f->config.leg[0].path, 0, 0, &f->file[0],
                                             &f->found[0], f->error),
                   -ECANCELED);
  pthread_join(thread, NULL);
  sf_leg_openers_stop(f->openers);
  kill_holder(holder);
}

static bool
lease_is_wanted(pid_t holder) {
  char line[256];
  bool wanted = false;
  int pid;
  FILE *locks = fopen("/proc/locks", "re");
  assert_non_null(locks);
  while (fgets(line, sizeof line, locks))
    wanted |= sscanf(line, "%*d: LEASE BREAKING %*s %d", &pid) == 1 && pid == holder;
  fclose(locks);
  return wanted;
}

static void *
open_isolated(void *arg) {
  struct fixture *f = arg;
  return (void *) (intptr_t) sf_leg_file_open_isolated(f->openers, f->config.leg[0].path, 0, 0,
                                                       &f->file[0], &f->found[0], f->error);
}

/* A leg that was opened for a process with no number left for a file is not open, and it says so:
 * it would count as present, with nothing to reach it by.  How: the limit falls while the opener
 * hangs. */
static void
no_number_for_an_opened_leg(void **state) {
  struct fixture *f = *state;
  struct rlimit limit, none;
  pthread_t thread;
  void *r;
  make_volume(f);
  pid_t holder = start_holder(hold_lease, f->config.leg[0].path);
  if (holder < 0)
    skip();
  start_openers(f);
  assert_int_equal(pthread_create(&thread, NULL, open_isolated, f), 0);
  for (double until = now_s() + 10; !lease_is_wanted(holder);)
    assert_true(now_s() < until);
  assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
  none = (struct rlimit){.rlim_cur = 0, .rlim_max = limit.rlim_max};
  assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
  kill_holder(holder);
  pthread_join(thread, &r);
  assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
  assert_int_equal((intptr_t) r, -EMFILE);
  assert_int_equal(f->file[0].fd, -1);
  assert_false(f->found[0].present);
  assert_int_equal(f->found[0].error, -EMFILE);
  assert_says(f->error, "Too many open files");
  assert_true(becomes_free(f, f->config.leg[0].path));
  sf_leg_openers_stop(f->openers);
}

static void
a_discard_that_hangs_is_cut(void **state) {
  struct fixture *f = *state;
  pthread_t thread;
  make_volume(f);
  assert_int_equal(open_first(f, f->config.leg[0].path, 0), 0);
  struct sf_superblock sb = f->found[0].sb;
  sf_leg_file_close(&f->file[0]);
  pid_t holder = start_holder(hold_lease, f->config.leg[1].path);
  if (holder < 0)
    skip();
  start_openers(f);
  assert_int_equal(pthread_create(&thread, NULL, cut_soon, f->openers), 0);
  assert_int_equal(
      sf_leg_discard_isolated(f->openers, f->config.leg[1].path, &sb, 1, true, NULL, 0, f->error),
      -ECANCELED);
  assert_int_equal(sf_leg_check_new_isolated(f->openers, f->config.leg[1].path, 0, &sb, 1, 0,
                                             &f->judged, f->error),
                   -ECANCELED);
  pthread_join(thread, NULL);
  sf_leg_openers_stop(f->openers);
  kill_holder(holder);
}

/* Its two youngest children of that name. */
static unsigned
find_children(pid_t parent, const char *name, pid_t found[2]) {
  char command[64];
  unsigned n = 0;
  int pid;
  snprintf(command, sizeof command, "pgrep -P %d -x %s", (int) parent, name);
  FILE *pipe = popen(command, "re");
  assert_non_null(pipe);
  for (; fscanf(pipe, "%d", &pid) == 1; found[1] = pid)
    found[0] = n++ == 0 ? pid : found[1];
  pclose(pipe);
  return n;
}

/* What it says of the next that happens. */
static int
tend_openers(struct fixture *f) {
  struct pollfd news = {.fd = sf_leg_openers_news(f->openers), .events = POLLIN};
  for (double until = now_s() + 10; now_s() < until;) {
    assert_true(poll(&news, 1, 100) >= 0);
    int said = sf_leg_openers_tend(f->openers, (uint64_t) (now_s() * 1e9));
    if (said != 0)
      return said;
  }
  return 0;
}

/* Of the two that make openers one may be killed, then the other: legs can be opened all the while,
 * by others, and each loss is told once, when there is another in its place. */
static void
makers_of_openers_are_killed(void **state) {
  struct fixture *f = *state;
  pid_t maker[2];
  make_volume(f);
  start_openers(f);
  assert_true(find_children(getpid(), "sf-openers", maker) >= 2);
  for (unsigned i = 0; i < 2; i++) {
    assert_int_equal(kill(maker[i], SIGKILL), 0);
    assert_int_equal(waitpid(maker[i], NULL, 0), maker[i]);
    assert_int_equal(open_legs(f, second_ns * 10), 0);
    assert_true(f->file[0].fd >= 0 && f->file[1].fd >= 0);
    for (unsigned leg = 0; leg < 3; leg++)
      sf_leg_file_close(&f->file[leg]);
    assert_int_equal(tend_openers(f), 1);
    assert_int_equal(sf_leg_openers_tend(f->openers, (uint64_t) (now_s() * 1e9)), 0);
  }
  assert_int_equal(open_legs(f, second_ns * 10), 0);
  for (unsigned leg = 0; leg < 3; leg++)
    sf_leg_file_close(&f->file[leg]);
  sf_leg_openers_stop(f->openers);
}

/* With both gone at once it is told that there is none, and a leg can be opened all the same. */
static void
all_makers_of_openers_are_killed(void **state) {
  struct fixture *f = *state;
  pid_t maker[2];
  make_volume(f);
  start_openers(f);
  assert_true(find_children(getpid(), "sf-openers", maker) >= 2);
  for (unsigned i = 0; i < 2; i++)
    assert_int_equal(kill(maker[i], SIGKILL), 0);
  for (unsigned i = 0; i < 2; i++)
    assert_int_equal(waitpid(maker[i], NULL, 0), maker[i]);
  assert_int_equal(tend_openers(f), -EPIPE);
  assert_int_equal(sf_leg_openers_tend(f->openers, (uint64_t) (now_s() * 1e9)), 0);
  assert_int_equal(open_legs(f, second_ns * 10), 0);
  assert_true(f->file[0].fd >= 0 && f->file[0].maps && f->found[0].sb.leg_index == 0);
  for (unsigned leg = 0; leg < 3; leg++)
    sf_leg_file_close(&f->file[leg]);
  sf_leg_openers_stop(f->openers);
}

/* A thread that waits for an opener that is killed is told, and can ask again. */
static void
an_opener_is_killed(void **state) {
  struct fixture *f = *state;
  pthread_t thread;
  pid_t maker[2], opener[2] = {0, 0};
  void *r;
  make_volume(f);
  pid_t holder = start_holder(hold_lease, f->config.leg[0].path);
  if (holder < 0)
    skip();
  start_openers(f);
  assert_true(find_children(getpid(), "sf-openers", maker) >= 2);
  assert_int_equal(pthread_create(&thread, NULL, open_isolated, f), 0);
  for (double until = now_s() + 10; !lease_is_wanted(holder);)
    assert_true(now_s() < until);
  if (find_children(maker[0], "sf-opener", opener) == 0)
    assert_int_equal(find_children(maker[1], "sf-opener", opener), 1);
  assert_int_equal(kill(opener[0], SIGKILL), 0);
  pthread_join(thread, &r);
  assert_int_equal((intptr_t) r, -ECANCELED);
  kill_holder(holder);
  assert_true(becomes_free(f, f->config.leg[0].path));
  sf_leg_file_close(&f->file[0]);
  assert_int_equal((intptr_t) open_isolated(f), 0);
  sf_leg_file_close(&f->file[0]);
  sf_leg_openers_stop(f->openers);
}

/* In the time that an opener has, one that hangs is given up, each errand: its process ends, what it was to do is not
 * done when the disk answers, and the next finds no lock of it. */
static void
an_errand_has_a_bound(void **state) {
  struct fixture *f = *state;
  const uint64_t bound = second_ns / 5;
  pid_t maker[2], opener[2];
  make_volume(f);
  const char *path = f->config.leg[1].path;
  assert_int_equal(open_first(f, path, 0), 0);
  struct sf_superblock sb = f->found[0].sb;
  sf_leg_file_close(&f->file[0]);
  pid_t holder = start_holder(hold_lease, path);
  if (holder < 0)
    skip();
  start_openers(f);
  path = f->config.leg[1].path;
  assert_true(find_children(getpid(), "sf-openers", maker) >= 2);
  assert_int_equal(
      sf_leg_file_open_isolated(f->openers, path, 0, bound, &f->file[0], &f->found[0], f->error),
      -ETIMEDOUT);
  assert_says(f->error, "it did not answer within");
  assert_int_equal(f->file[0].fd, -1);
  assert_int_equal(f->found[0].error, -ETIMEDOUT);
  assert_int_equal(sf_leg_discard_isolated(f->openers, path, &sb, 1, true, NULL, bound, f->error),
                   -ETIMEDOUT);
  assert_int_equal(
      sf_leg_check_new_isolated(f->openers, path, 0, &sb, 1, bound, &f->judged, f->error),
      -ETIMEDOUT);
  for (double until = now_s() + 10;
       find_children(maker[0], "sf-opener", opener) + find_children(maker[1], "sf-opener", opener) >
       0;)
    assert_true(now_s() < until);
  kill_holder(holder);
  assert_int_equal(sf_leg_file_open_isolated(f->openers, path, 0, bound * 50, &f->file[0],
                                             &f->found[0], f->error),
                   0);
  assert_memory_equal(&f->found[0].sb, &sb, sizeof sb);
  sf_leg_file_close(&f->file[0]);
  sf_leg_openers_stop(f->openers);
}

/* An operator's word ends an opening of that path that hangs, and no other. */
static void
an_opening_is_given_up(void **state) {
  struct fixture *f = *state;
  pthread_t thread;
  void *r;
  make_volume(f);
  pid_t holder = start_holder(hold_lease, f->config.leg[0].path);
  if (holder < 0)
    skip();
  start_openers(f);
  assert_false(sf_leg_openers_give_up(f->openers, f->config.leg[0].path));
  double began = now_s();
  assert_int_equal(pthread_create(&thread, NULL, open_isolated, f), 0);
  while (!sf_leg_openers_give_up(f->openers, f->config.leg[0].path)) {
    assert_false(sf_leg_openers_give_up(f->openers, f->config.leg[1].path));
    assert_true(now_s() < began + 10);
  }
  assert_true(now_s() >= began + 2);
  pthread_join(thread, &r);
  assert_int_equal((intptr_t) r, -ECANCELED);
  kill_holder(holder);
  assert_int_equal((intptr_t) open_isolated(f), 0);
  sf_leg_file_close(&f->file[0]);
  sf_leg_openers_stop(f->openers);
}

int
main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
  const struct CMUnitTest tests[] = {
      TEST(opened_isolated),
      TEST(discarded_isolated),
      TEST(an_opener_that_hangs),
      TEST(openers_are_cut),
      TEST(no_number_for_an_opened_leg),
      TEST(a_discard_that_hangs_is_cut),
      TEST(makers_of_openers_are_killed),
      TEST(all_makers_of_openers_are_killed),
      TEST(an_opener_is_killed),
      TEST(an_errand_has_a_bound),
      TEST(an_opening_is_given_up),
  };
  return fixture_possible() ? cmocka_run_group_tests(tests, NULL, NULL) : TEST_SKIPPED;
}

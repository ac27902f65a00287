/* The holder of the legs: what a start believes of the holder that stands on them. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <surefoot/legfile.h>

static struct sf_leg_found found[SF_LEGS_MAX];
static struct sf_holder self;
static struct sf_uuid volume;

static int
fresh(void **state) {
  memset(found, 0, sizeof found);
  memset(&volume, 7, sizeof volume);
  sf_holder_self(&self);
  for (unsigned i = 0; i < 3; i++) {
    found[i].present = true;
    found[i].sb.volume = volume;
    found[i].sb.claim = 5;
    found[i].sb.record = (struct sf_record){.term = 5, .change = 2, .in_sync = 7, .min_legs = 2};
  }
  return 0;
}

static const struct sf_superblock *
held(void) {
  return sf_held_by_another(found, &volume, &self);
}

static struct sf_holder
of_another_machine(void) {
  struct sf_holder holder = self;

  memset(&holder.machine, 1, sizeof holder.machine);
  memset(&holder.boot, 2, sizeof holder.boot);
  snprintf(holder.host, sizeof holder.host, "there");
  return holder;
}

/* Proves: this process knows its machine, its kernel and itself, and is not gone. */
static void
oneself(void **state) {
  static const struct sf_uuid nil;

  assert_true(self.since_s > 0);
  assert_int_equal(self.pid, getpid());
  assert_true(self.started > 0);
  assert_false(sf_uuid_equal(&self.boot, &nil));
  assert_false(sf_holder_is_gone(&self, &self));
  for (unsigned i = 0; i < 3; i++)
    found[i].sb.holder = self;
  assert_null(held());
}

/* Proves: a process of this machine holds them while it is there, as this process and no other with
 * its number, and no longer; a process from before the machine's last start is gone. */
static void
of_this_machine(void **state) {
  struct sf_holder other = self;
  int pipe_fd[2];
  pid_t child;
  char byte;

  assert_int_equal(pipe(pipe_fd), 0);
  child = fork();
  if (child == 0) {
    close(pipe_fd[0]);
    sf_holder_self(&other);
    (void) !write(pipe_fd[1], &other, sizeof other);
    pause();
    _exit(0);
  }
  close(pipe_fd[1]);
  assert_int_equal(read(pipe_fd[0], &other, sizeof other), sizeof other);
  found[1].sb.holder = other;
  assert_ptr_equal(held(), &found[1].sb);
  found[1].sb.holder.started++;
  assert_null(held());
  found[1].sb.holder.started--;
  found[1].sb.holder.boot.bytes[3] ^= 1;
  assert_null(held());
  kill(child, SIGKILL);
  assert_int_equal(read(pipe_fd[0], &byte, 1), 0); /* its end of the pipe is closed: a zombie */
  found[1].sb.holder = other;
  assert_null(held());
  waitpid(child, NULL, 0);
  assert_null(held());
  close(pipe_fd[0]);
}

/* Proves: another machine holds them, whatever runs here, until it has stopped clean; what it left
 * on a leg that was out of the set then tells nothing. */
static void
of_another(void **state) {
  char error[SF_CONFIG_ERROR_MAX];

  found[0].sb.holder = found[1].sb.holder = found[2].sb.holder = of_another_machine();
  assert_non_null(held());
  sf_say_held(held(), error);
  assert_non_null(strstr(error, "in use by there (machine 01010101-"));
  assert_non_null(strstr(error, "term 5"));
  assert_non_null(strstr(error, "take=true"));
  for (unsigned i = 0; i < 2; i++) {
    found[i].sb.record.change = 4;
    found[i].sb.record.clean = true;
    found[i].sb.holder = (struct sf_holder){0};
  }
  assert_null(held());
}

/* Proves: a claim that stands on one leg only counts, and other volumes and legs that cannot be
 * read do not. */
static void
a_claim(void **state) {
  found[2].sb.claim = 6;
  found[2].sb.holder = of_another_machine();
  assert_ptr_equal(held(), &found[2].sb);
  found[2].error = -1;
  assert_null(held());
  found[2].error = 0;
  found[2].sb.volume.bytes[0]++;
  assert_null(held());
}

/* Proves: two machines without an id are told apart by their names. */
static void
without_an_id(void **state) {
  memset(&self.machine, 0, sizeof self.machine);
  found[0].sb.holder = of_another_machine();
  memset(&found[0].sb.holder.machine, 0, sizeof self.machine);
  assert_non_null(held());
  snprintf(found[0].sb.holder.host, SF_HOST_NAME_MAX, "%s", self.host);
  assert_null(held()); /* this one, before it was started last */
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(oneself, fresh),       cmocka_unit_test_setup(of_this_machine, fresh),
      cmocka_unit_test_setup(of_another, fresh),    cmocka_unit_test_setup(a_claim, fresh),
      cmocka_unit_test_setup(without_an_id, fresh),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}

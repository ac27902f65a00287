#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/job.h"

struct answer {
  bool there;
  int error;
};

static void
on_done(void *ctx, int error) {
  struct answer *answer = ctx;
  assert_false(answer->there);
  *answer = (struct answer){true, error};
}

static int
give_back(void *arg) {
  return *(int *) arg;
}

static int
hang(void *arg) {
  while (pause() < 0)
    ;
  return 0;
}

static int
die(void *arg) {
  return raise(SIGKILL);
}

static struct answer
run(sd_event *event, uint64_t timeout_us, int (*function)(void *), void *arg) {
  struct answer answer = {0};
  struct job *job;
  assert_int_equal(sfd_job_start(event, timeout_us, function, arg, -1, on_done, &answer, &job), 0);
  while (!answer.there)
    assert_true(sd_event_run(event, 10000000) >= 0);
  return answer;
}

static int
set_up(void **state) {
  sigset_t child;
  sigemptyset(&child);
  sigaddset(&child, SIGCHLD);
  sigprocmask(SIG_BLOCK, &child, NULL);
  return sd_event_default((sd_event **) state) < 0 ? -1 : 0;
}

static int
tear_down(void **state) {
  sd_event_unref(*state);
  return 0;
}

/* Proves that a job's errno comes back, that its death is told, and that a late one is killed and
 * told in time. */
static void
answers(void **state) {
  sd_event *event = *state;
  int results[] = {0, -ENOENT, -EBUSY, -255};
  for (unsigned i = 0; i < sizeof results / sizeof *results; i++)
    assert_int_equal(run(event, 60000000, give_back, &results[i]).error, results[i]);
  assert_int_equal(run(event, 60000000, die, NULL).error, -ECHILD);
  assert_int_equal(run(event, 20000, hang, NULL).error, -ETIMEDOUT);
}

/* Proves that a cancelled job calls nothing more, and that no process is left. */
static void
cancel(void **state) {
  sd_event *event = *state;
  struct answer answer = {0};
  struct job *job;
  assert_int_equal(sfd_job_start(event, 60000000, hang, NULL, -1, on_done, &answer, &job), 0);
  sfd_job_cancel(job);
  sfd_job_cancel(NULL);
  /* The one after it is heard: the loop has seen both ends. */
  int zero = 0;
  run(event, 60000000, give_back, &zero);
  sd_event_run(event, 100000);
  assert_false(answer.there);
}

static int
count_descriptors(void *arg) {
  int open = 0;
  for (int fd = STDERR_FILENO + 1; fd < 1024; fd++)
    open += fcntl(fd, F_GETFD) >= 0;
  return -open;
}

static int
is_there(void *arg) {
  return fcntl(*(int *) arg, F_GETFD) >= 0 ? -count_descriptors(NULL) : -EBADF;
}

/* Proves that a job has no descriptor of its parent's but the one for it. */
static void
descriptors(void **state) {
  sd_event *event = *state;
  int fds[3];
  for (unsigned i = 0; i < 3; i++)
    fds[i] = open("/dev/null", O_RDONLY); /* not even close on exec */
  assert_int_equal(run(event, 60000000, count_descriptors, NULL).error, 0);
  for (unsigned i = 0; i < 3; i++) {
    struct answer answer = {0};
    struct job *job;
    assert_int_equal(
        sfd_job_start(event, 60000000, is_there, &fds[i], fds[i], on_done, &answer, &job), 0);
    while (!answer.there)
      assert_true(sd_event_run(event, 10000000) >= 0);
    assert_int_equal(answer.error, -1);
  }
  for (unsigned i = 0; i < 3; i++)
    close(fds[i]);
}

/* Says on its pipe that it is there, and is waited for by the pipe's end. */
static int
say_and_hang(void *arg) {
  return write(*(int *) arg, "x", 1) == 1 ? hang(NULL) : -EPIPE;
}

/* Proves that a job dies with its parent. */
static void
dies_with_its_parent(void **state) {
  int fds[2];
  char byte;
  assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
  pid_t parent = fork();
  if (parent == 0) {
    sd_event *event;
    struct job *job;
    struct answer answer = {0};
    close(fds[0]);
    if (sd_event_new(&event) < 0 ||
        sfd_job_start(event, 60000000, say_and_hang, &fds[1], fds[1], on_done, &answer, &job) < 0)
      _exit(1);
    close(fds[1]);
    hang(NULL);
  }
  close(fds[1]);
  assert_int_equal(read(fds[0], &byte, 1), 1);
  kill(parent, SIGKILL);
  assert_int_equal(waitpid(parent, NULL, 0), parent);
  assert_int_equal(read(fds[0], &byte, 1), 0); /* ends with the last process that had it open */
  close(fds[0]);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(answers),
      cmocka_unit_test(cancel),
      cmocka_unit_test(descriptors),
      cmocka_unit_test(dies_with_its_parent),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}

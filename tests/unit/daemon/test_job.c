#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "job.h"

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
  assert_int_equal(job_start(event, timeout_us, function, arg, on_done, &answer, &job), 0);
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
test_answers(void **state) {
  sd_event *event = *state;
  int results[] = {0, -ENOENT, -EBUSY, -255};
  for (unsigned i = 0; i < sizeof results / sizeof *results; i++)
    assert_int_equal(run(event, 60000000, give_back, &results[i]).error, results[i]);
  assert_int_equal(run(event, 60000000, die, NULL).error, -ECHILD);
  assert_int_equal(run(event, 20000, hang, NULL).error, -ETIMEDOUT);
}

/* Proves that who cancels hears nothing more, and that no process is left. */
static void
test_cancel(void **state) {
  sd_event *event = *state;
  struct answer answer = {0};
  struct job *job;
  assert_int_equal(job_start(event, 60000000, hang, NULL, on_done, &answer, &job), 0);
  job_cancel(job);
  job_cancel(NULL);
  /* The one after it is heard: the loop has seen both ends. */
  int zero = 0;
  run(event, 60000000, give_back, &zero);
  sd_event_run(event, 100000);
  assert_false(answer.there);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_answers),
      cmocka_unit_test(test_cancel),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}

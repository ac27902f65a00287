/* State machines: the moves in the table are allowed, and no others. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/state_machine.h"

enum door { CLOSED, OPEN, LOCKED, DOORS };

static const struct sf_state_table table = {
    .machine = "door",
    .states = DOORS,
    .name = {"closed", "open", "locked"},
    .moves = {[CLOSED] = SF_MOVE_TO(OPEN) | SF_MOVE_TO(LOCKED),
              [OPEN] = SF_MOVE_TO(CLOSED),
              [LOCKED] = SF_MOVE_TO(CLOSED)},
};

static char traced[128];
static int its_owner;

static void
trace(void *owner, const char *line) {
  assert_ptr_equal(owner, &its_owner);
  strcpy(traced, line);
}

static void
an_allowed_move_is_made_and_traced(void **state) {
  const struct sf_state_hooks hooks = {.trace = trace};
  struct sf_state_machine machine;

  sf_state_init(&machine, &table, 7, CLOSED);
  sf_state_move(&machine, LOCKED, &hooks, &its_owner);
  assert_int_equal(machine.state, LOCKED);
  assert_string_equal(sf_state_name(&machine), "locked");
  assert_string_equal(traced, "door 7: closed -> locked");
  sf_state_check(&table, 7, LOCKED, CLOSED);
}

/* It ends the process, in words: so in a child. */
static void
aborts(unsigned from, unsigned to, const char *says) {
  char told[256] = "";
  int fd[2], status;
  pid_t pid;

  assert_int_equal(pipe(fd), 0);
  pid = fork();
  if (pid == 0) {
    signal(SIGABRT, SIG_DFL);
    dup2(fd[1], STDERR_FILENO);
    sf_state_check(&table, 7, from, to);
    _exit(0);
  }
  close(fd[1]);
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
  assert_true(read(fd[0], told, sizeof told - 1) > 0);
  close(fd[0]);
  assert_non_null(strstr(told, says));
}

static void
any_other_move_ends_the_program(void **state) {
  aborts(OPEN, LOCKED, "door 7: the move open -> locked is not allowed");
  aborts(OPEN, OPEN, "door 7: the move open -> open is not allowed");
  aborts(OPEN, DOORS, "must be true");
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(an_allowed_move_is_made_and_traced),
      cmocka_unit_test(any_other_move_ends_the_program),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

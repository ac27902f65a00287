/* Good writers (base/writer.h): settings that are inherited, that are not, and that are refused
 * rather than half done. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/writer.h"

static long
locked_kib(void) {
  FILE *file = fopen("/proc/self/status", "re");
  char line[128];
  long kib = -1;

  assert_non_null(file);
  while (fgets(line, sizeof line, file) != NULL)
    if (sscanf(line, "VmLck: %ld", &kib) == 1)
      break;
  fclose(file);
  return kib;
}

/* What the child finds wrong is its exit status. */
static void
in_a_child(int (*look)(void)) {
  int status;
  pid_t pid = fork();

  if (pid == 0)
    _exit(look());
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_true(WIFEXITED(status));
  assert_int_equal(WEXITSTATUS(status), 0);
}

static int
inherits_and_may_end(void) {
  if (prctl(PR_GET_IO_FLUSHER, 0, 0, 0, 0) != 1)
    return 1;
  sf_writer_end();
  return prctl(PR_GET_IO_FLUSHER, 0, 0, 0, 0) != 0;
}

static void
flusher(void **state) {
  int r = sf_writer_begin();

  if (r == -EPERM)
    skip(); /* no CAP_SYS_RESOURCE here */
  assert_int_equal(r, 0);
  in_a_child(inherits_and_may_end);
  sf_writer_end();
}

static int
begins_without_and_locks(void) {
  if (locked_kib() != 0)
    return 1;
  if (sf_writer_lock() != 0)
    return 2;
  return locked_kib() <= 0;
}

/* What comes later is locked too, when it is there and not before. */
static int
locks(void) {
  const size_t size = 64 << 20;
  char *memory;
  struct rusage before, after;

  if (sf_writer_lock() != 0 || locked_kib() <= 0)
    return 1;
  getrusage(RUSAGE_SELF, &before);
  memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED)
    return 2;
  memory[0] = 1;
  getrusage(RUSAGE_SELF, &after);
  if (after.ru_maxrss - before.ru_maxrss > 32 << 10)
    return 3; /* all of it is there */
  in_a_child(begins_without_and_locks);
  return locked_kib() < 64 << 10 ? 4 : 0;
}

static void
memory(void **state) {
  int r = sf_writer_lock();

  if (r == -EPERM)
    skip();
  assert_int_equal(r, 0);
  munlockall();
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  skip(); /* they lock nothing */
#endif
  in_a_child(locks);
}

/* Under a limit every later allocation would count, and fail. */
static int
refuses_under_a_limit(void) {
  const struct rlimit limit = {65536, 65536};

  if (setrlimit(RLIMIT_MEMLOCK, &limit) < 0)
    return 1;
  if (setgid(65534) < 0 || setuid(65534) < 0)
    return 0; /* cannot be tried */
  return sf_writer_lock() != -EPERM;
}

static void
limit(void **state) {
  in_a_child(refuses_under_a_limit);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(flusher),
      cmocka_unit_test(memory),
      cmocka_unit_test(limit),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

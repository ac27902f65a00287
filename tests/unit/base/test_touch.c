/* Memory that is touched is there, also in a process that locks its memory as it is touched. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "base/touch.h"
#include "base/writer.h"

enum { PAGES = 512, PAGE = 4096 };

static void
is_all_there(void **state) {
  static unsigned char there[PAGES];
  unsigned char *memory;

  (void) state;
  (void) sf_writer_lock(); /* -EPERM: then it is proved without */
  memory = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  assert_ptr_not_equal(memory, MAP_FAILED);
  assert_int_equal(sf_touch(memory, PAGES * PAGE), 0);
  assert_int_equal(mincore(memory, PAGES * PAGE, there), 0);
  for (unsigned i = 0; i < PAGES; i++)
    assert_true(there[i] & 1);
  for (unsigned i = 0; i < PAGES * PAGE; i++)
    assert_int_equal(memory[i], 0);
  munmap(memory, PAGES * PAGE);
}

int
main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(is_all_there)};

  return cmocka_run_group_tests(tests, NULL, NULL);
}

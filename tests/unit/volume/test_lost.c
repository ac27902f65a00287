/* The list of what cannot be read anywhere: ranges that touch are one, and what is written leaves what
 * stands on both sides of it. */
#include "rig.h"

#include <errno.h>

#include "volume/ground/lost.h"

static struct rig rig;

static void
init(void) {
  rig_init(&rig, 2, 1, 65536, 64);
  rig_start_fully(&rig);
}

static void
add(uint64_t begin, uint64_t end) {
  sf_lost_add(rig.volume, begin, end - begin, 1, -EIO);
}

static void
assert_range(unsigned i, uint64_t begin, uint64_t end) {
  assert_true(i < rig.volume->lost.n);
  assert_int_equal(rig.volume->lost.range[i].begin, begin);
  assert_int_equal(rig.volume->lost.range[i].end, end);
}

static void
what_touches_is_one(void **state) {
  init();
  add(8192, 12288);
  add(16384, 20480);
  add(0, 4096);
  assert_int_equal(rig.volume->lost.n, 3);
  assert_range(0, 0, 4096);
  assert_range(1, 8192, 12288);
  assert_range(2, 16384, 20480);
  add(16384, 20480);
  add(17408, 18432);
  assert_int_equal(rig.volume->lost.n, 3);
  add(20480, 24576); /* behind one */
  add(4096, 8192);   /* between two */
  assert_int_equal(rig.volume->lost.n, 2);
  assert_range(0, 0, 12288);
  assert_range(1, 16384, 24576);
  sf_lost_add(rig.volume, 10240, 8192, 2, -ENODATA); /* over the gap */
  assert_int_equal(rig.volume->lost.n, 1);
  assert_range(0, 0, 24576);
  assert_int_equal(rig.volume->lost.range[0].legs, 3);
  rig_free(&rig);
}

static void
what_is_written_is_lost_no_more(void **state) {
  init();
  for (unsigned i = 0; i < 4; i++)
    add(i * 16384, i * 16384 + 8192);
  sf_lost_clear(rig.volume, 8192, 8192); /* between two */
  assert_int_equal(rig.volume->lost.n, 4);
  sf_lost_clear(rig.volume, 18432, 2048); /* in the middle of one */
  assert_int_equal(rig.volume->lost.n, 5);
  assert_range(0, 0, 8192);
  assert_range(1, 16384, 18432);
  assert_range(2, 20480, 24576);
  assert_range(3, 32768, 40960);
  assert_range(4, 49152, 57344);
  sf_lost_clear(rig.volume, 22528, 12288); /* the end of one and the begin of the next */
  assert_int_equal(rig.volume->lost.n, 5);
  assert_range(2, 20480, 22528);
  assert_range(3, 34816, 40960);
  sf_lost_clear(rig.volume, 17408, 24576); /* an end, and two whole ones */
  assert_int_equal(rig.volume->lost.n, 3);
  assert_range(1, 16384, 17408);
  assert_range(2, 49152, 57344);
  sf_lost_clear(rig.volume, 49152, 8192);
  assert_int_equal(rig.volume->lost.n, 2);
  sf_lost_clear(rig.volume, 0, 65536);
  assert_int_equal(rig.volume->lost.n, 0);
  rig_free(&rig);
}

static void
since_when_is_known_of_what_lies_inside(void **state) {
  uint64_t since_ns;

  init();
  rig_pass(&rig, 10);
  since_ns = rig.volume->now_ns;
  add(8192, 16384);
  rig_pass(&rig, 100);
  assert_int_equal(sf_lost_since(rig.volume, 8192, 8192), since_ns);
  assert_int_equal(sf_lost_since(rig.volume, 12288, 512), since_ns);
  assert_int_equal(sf_lost_since(rig.volume, 8192 - 512, 1024), 0);
  assert_int_equal(sf_lost_since(rig.volume, 16384 - 512, 1024), 0);
  assert_int_equal(sf_lost_since(rig.volume, 0, 512), 0);
  rig_free(&rig);
}

/* What does not fit is not forgotten altogether. */
static void
there_is_an_end_to_the_list(void **state) {
  init();
  for (unsigned i = 0; i < SF_LOST_MOST; i++)
    add(i * 8192, i * 8192 + 512);
  assert_false(rig.volume->lost.more);
  add(4096, 4608);
  assert_true(rig.volume->lost.more);
  assert_int_equal(rig.volume->lost.n, SF_LOST_MOST);
  assert_range(0, 0, 512);
  assert_range(SF_LOST_MOST - 1, (SF_LOST_MOST - 1) * 8192, (SF_LOST_MOST - 1) * 8192 + 512);
  sf_lost_clear(rig.volume, 0, 512);
  assert_true(rig.volume->lost.more);
  sf_lost_clear(rig.volume, 0, SF_LOST_MOST * 8192);
  assert_int_equal(rig.volume->lost.n, 0);
  assert_false(rig.volume->lost.more);
  rig_free(&rig);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_touches_is_one),
      cmocka_unit_test(what_is_written_is_lost_no_more),
      cmocka_unit_test(since_when_is_known_of_what_lies_inside),
      cmocka_unit_test(there_is_an_end_to_the_list),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Sets of extents: members, count, and the order in which they are found; at the edges of words. */
#include "rig.h"

#include "volume/ground/map.h"

enum { EXTENTS = 150 }; /* the last word is not full */

static const uint64_t edges[] = {0, 1, 62, 63, 64, 65, 127, 128, EXTENTS - 1};

enum { EDGES = sizeof edges / sizeof edges[0] };

static struct sf_map a, b;

static void
init(void) {
  assert_int_equal(sf_map_init(&a, EXTENTS), 0);
  assert_int_equal(sf_map_init(&b, EXTENTS), 0);
}

static void
destroy(void) {
  sf_map_destroy(&a);
  sf_map_destroy(&b);
  assert_null(a.words);
}

/* The count, each bit asked for, and the search from every place, all say the same. */
static void
check(const struct sf_map *map) {
  uint64_t n = 0, next = map->extents;

  for (uint64_t e = map->extents; e-- > 0;) {
    if (sf_map_test(map, e)) {
      n++;
      next = e;
    }
    assert_int_equal(sf_map_next(map, e), next);
  }
  assert_int_equal(map->set, n);
  assert_int_equal(sf_map_next(map, map->extents), map->extents);
  assert_int_equal(sf_map_next(map, UINT64_MAX), map->extents);
}

static void
each_bit_is_its_own(void **state) {
  init();
  check(&a);
  for (unsigned i = 0; i < EDGES; i++) {
    assert_true(sf_map_set(&a, edges[i]));
    assert_false(sf_map_set(&a, edges[i]));
    assert_int_equal(a.set, 1);
    assert_int_equal(sf_map_next(&a, 0), edges[i]);
    check(&a);
    assert_true(sf_map_clear(&a, edges[i]));
    assert_false(sf_map_clear(&a, edges[i]));
    check(&a);
  }
  for (unsigned i = 0; i < EDGES; i++)
    sf_map_set(&a, edges[i]);
  check(&a);
  assert_int_equal(a.set, EDGES);
  destroy();
}

static void
a_range_has_its_ends(void **state) {
  init();
  sf_map_set_range(&a, 63, 64);
  check(&a);
  assert_int_equal(a.set, 2);
  assert_true(sf_map_test(&a, 63) && sf_map_test(&a, 64));
  assert_true(sf_map_any(&a, 0, 63));
  assert_true(sf_map_any(&a, 64, EXTENTS - 1));
  assert_false(sf_map_any(&a, 0, 62));
  assert_false(sf_map_any(&a, 65, EXTENTS - 1));
  assert_true(sf_map_any(&a, 63, 63));
  assert_false(sf_map_any(&b, 0, EXTENTS - 1));
  sf_map_set_range(&a, 5, 5);
  assert_int_equal(a.set, 3);
  check(&a);
  destroy();
}

static void
full_and_empty(void **state) {
  init();
  sf_map_fill(&a);
  check(&a);
  assert_int_equal(a.set, EXTENTS);
  sf_map_zero(&a);
  check(&a);
  assert_int_equal(a.set, 0);
  sf_map_set(&a, EXTENTS - 1);
  sf_map_zero(&a);
  check(&a);
  destroy();
  assert_int_equal(sf_map_init(&a, 128), 0);
  sf_map_fill(&a);
  check(&a);
  assert_int_equal(a.set, 128);
  sf_map_destroy(&a);
}

/* A: all; B: every second. */
static void
the_union_and_what_is_left(void **state) {
  init();
  for (unsigned i = 0; i < EDGES; i += 2)
    sf_map_set(&b, edges[i]);
  sf_map_unite(&a, &b);
  check(&a);
  assert_int_equal(a.set, (EDGES + 1) / 2);
  assert_true(sf_map_is_subset(&b, &a) && sf_map_is_subset(&a, &b));
  for (unsigned i = 0; i < EDGES; i++)
    sf_map_set(&a, edges[i]);
  assert_true(sf_map_is_subset(&b, &a));
  assert_false(sf_map_is_subset(&a, &b));
  sf_map_unite(&a, &b);
  check(&a);
  assert_int_equal(a.set, EDGES);
  sf_map_subtract(&a, &b);
  check(&a);
  assert_int_equal(a.set, EDGES / 2);
  for (unsigned i = 0; i < EDGES; i++)
    assert_int_equal(sf_map_test(&a, edges[i]), i % 2);
  assert_false(sf_map_is_subset(&b, &a));
  sf_map_zero(&b);
  sf_map_subtract(&a, &b);
  sf_map_unite(&a, &b);
  check(&a);
  assert_int_equal(a.set, EDGES / 2);
  sf_map_subtract(&b, &a);
  check(&b);
  assert_true(sf_map_is_subset(&b, &a) && sf_map_is_subset(&b, &b));
  destroy();
}

/* As many in each, and not the same ones. */
static void
a_subset_is_asked_bit_by_bit(void **state) {
  init();
  sf_map_set(&a, EXTENTS - 1);
  sf_map_set(&b, EXTENTS - 2);
  assert_false(sf_map_is_subset(&a, &b));
  sf_map_set(&b, EXTENTS - 1);
  assert_true(sf_map_is_subset(&a, &b));
  sf_map_set(&a, 0);
  assert_false(sf_map_is_subset(&a, &b));
  destroy();
}

static void
two_change_places(void **state) {
  init();
  sf_map_set(&a, 3);
  sf_map_set(&b, 64);
  sf_map_set(&b, 65);
  sf_map_swap(&a, &b);
  check(&a);
  check(&b);
  assert_true(sf_map_test(&a, 64) && sf_map_test(&b, 3));
  assert_int_equal(a.set, 2);
  destroy();
}

/* The new part is empty, whether it fits into the present words or not. */
static void
it_grows_with_nothing_set(void **state) {
  init();
  sf_map_fill(&a);
  assert_int_equal(sf_map_reserve(&a, 192), 0);
  sf_map_extend(&a, 192);
  check(&a);
  assert_int_equal(a.set, EXTENTS);
  assert_int_equal(sf_map_reserve(&a, 64000), 0);
  check(&a);
  sf_map_extend(&a, 64000);
  check(&a);
  assert_int_equal(a.set, EXTENTS);
  sf_map_fill(&a);
  assert_int_equal(a.set, 64000);
  check(&a);
  destroy();
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(each_bit_is_its_own),
      cmocka_unit_test(a_range_has_its_ends),
      cmocka_unit_test(full_and_empty),
      cmocka_unit_test(the_union_and_what_is_left),
      cmocka_unit_test(a_subset_is_asked_bit_by_bit),
      cmocka_unit_test(two_change_places),
      cmocka_unit_test(it_grows_with_nothing_set),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}

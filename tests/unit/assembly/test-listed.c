/* Which legs an assembly believes to be the volume's, what a sentence may hold, and which copy is
 * whole. */
#include "assembly_rig.h"

/* ---- legs as a file lists them ---- */

static void
check_listed(const struct listed *l) {
  struct sf_config config = {
      .file = "vol0.conf", .name = "vol0", .legs = (unsigned) strlen(l->names), .min_legs = 2};
  struct sf_leg_found found[SF_LEGS_MAX] = {{0}};
  struct sf_assembly assembly;
  int from[SF_LEGS_MAX];

  for (unsigned i = 0; i < config.legs; i++) {
    config.leg[i].name[0] = l->names[i];
    sprintf(config.leg[i].path, "/dev/%c", l->names[i]);
    if (l->places[i] == '-')
      continue;
    bool old = l->places[i] >= 'a';
    unsigned place = (unsigned) (l->places[i] - (old ? 'a' : 'A'));
    struct one_case c = {.legs = old ? l->old_legs : l->legs, .min_legs = 2};
    for (unsigned k = 0; k < c.legs; k++)
      c.leg[k] = (struct leg){.term = 4, .change = old ? 1 : 2, .in_sync = "ab"};
    found[i] = (struct sf_leg_found){.present = true, .bytes = SF_DATA_OFFSET * 2};
    found[i].sb = superblock_of(&c, place);
    if (!old) {
      found[i].sb.removed = l->removed;
      found[i].sb.record.in_sync = l->in_sync;
    }
  }
  sf_assemble_file(&config, found, false, from, &assembly);
  print_message("%s: %s\n", l->names, assembly.reason);
  assert_int_equal(config.legs, strlen(l->want));
  for (unsigned i = 0; i < config.legs; i++) {
    bool listed = l->want[i] >= 'a';
    char name = l->want[i] == '.' ? '\0' : listed ? l->want[i] : (char) (l->want[i] + 32);
    assert_int_equal(config.leg[i].name[0], name);
    assert_int_equal(config.leg[i].path[0] != '\0', listed);
    assert_int_equal(from[i] >= 0, listed);
    if (listed)
      assert_int_equal(l->names[from[i]], name);
    if (l->verdicts[i] != ' ')
      assert_int_equal(letters[assembly.verdict[i]], l->verdicts[i]);
  }
  assert_int_equal(assembly.may_start, l->may_start);
  if (l->says && !strstr(assembly.reason, l->says))
    fail_msg("does not say: %s", l->says);
}

/* Proves where the sections of a file come to stand: after a leg was added, removed, or listed in
 * another order, and where a change of the legs reached only some of them. */
static void
what_is_listed(void **state) {
  static const struct listed cases_listed[] = {
      /* the order of the file is the operator's */
      {"cab", "CAB", 3, 3, 0, 7, "abc", "CCC", true, "starts"},
      /* the middle one was removed; its section is gone */
      {"ac", "AC", 3, 3, 2, 5, "a.c", "C C", true, NULL},
      /* or is still there, with the disk that it was */
      {"abc", "AbC", 3, 3, 2, 5, "a.c", "C C", true, "the volume has no leg b"},
      /* the removal reached one leg: it counts */
      {"abc", "Abc", 3, 3, 2, 5, "a.c", "C C", true, "the volume has no leg b"},
      /* a third one was added and is not listed */
      {"ab", "AB", 2, 3, 0, 3, "abC", "CC-", true, "the configuration file does not list it"},
      /* the same, and it is in sync: two of three are enough for a start without it */
      {"ab", "AB", 2, 3, 0, 7, "abC", "CC-", true, "the configuration file does not list it"},
      /* and alone they are not */
      {"a", "A", 2, 3, 0, 7, "aBC", "C--", false, "waits for leg b: the configuration file"},
      /* the addition reached one leg: the other has fewer places, and is in sync */
      {"abc", "Ab-", 2, 3, 0, 3, "abc", "CC-", true, NULL},
      /* it reached none, and the file lists it already */
      {"abc", "ab-", 2, 2, 0, 3, "ab", "CC", true, "the volume has no leg c"},
      /* a section was renamed: the leg is not listed, and the name is unknown */
      {"ax", "AB", 2, 2, 0, 3, "aB", "C-", false, "does not list it"},
  };
  for (size_t i = 0; i < sizeof cases_listed / sizeof *cases_listed; i++)
    check_listed(&cases_listed[i]);
}

/* Leg a went on alone in a line that was begun by force, b in the other one: each removed the other
 * from the volume, and b has made more records. */
static void
assemble_removed_by_each_other(char line_of_b, struct sf_assembly *assembly) {
  const struct one_case c = {
      .legs = 2, .min_legs = 1, .leg = {LINE('B', 3, 1, "a"), LINE(line_of_b, 4, 7, "b")}};

  for (unsigned first = 0; first < 2; first++) {
    struct sf_config config = {.file = "vol0.conf", .name = "vol0", .legs = 2, .min_legs = 1};
    struct sf_leg_found found[SF_LEGS_MAX] = {{0}};
    int from[SF_LEGS_MAX];

    for (unsigned i = 0; i < 2; i++) {
      unsigned leg = i ^ first; /* whatever the order in the file */

      config.leg[i].name[0] = (char) ('a' + leg);
      found[i] = found_of(&c, leg);
      found[i].sb.removed = (uint16_t) (leg == 0 ? 2 : 1);
    }
    sf_assemble_file(&config, found, false, from, assembly);
    print_message("%s\n", assembly->reason);
    if (assembly->may_start)
      assert_int_equal(assembly->base.record.term, 3);
  }
}

/* Proves that the newest line says which the legs are, not the highest number; and that two lines,
 * neither of which comes from the other, are told from each other where neither knows the other's
 * legs. */
static void
listed_lines(void **state) {
  struct sf_assembly assembly;

  assemble_removed_by_each_other('A', &assembly);
  assert_true(assembly.may_start);
  assert_int_equal(assembly.current, 1);
  assert_non_null(strstr(assembly.reason, "the volume has no leg b"));
  assemble_removed_by_each_other('C', &assembly);
  assert_false(assembly.may_start);
  assert_int_equal(assembly.current, 0);
  assert_non_null(strstr(assembly.reason, "list only those of one line of history"));
}

/* Proves that a leg that was emptied tells nothing of lines: it stands beside whichever goes on. */
static void
listed_discarded(void **state) {
  const struct one_case c = {
      .legs = 2,
      .min_legs = 1,
      .leg = {LINE('B', 3, 1, "a"), {.kind = DISCARDED, .line = 'C', .in_sync = "a"}}};

  for (unsigned first = 0; first < 2; first++) {
    struct sf_config config = {.file = "vol0.conf", .name = "vol0", .legs = 2, .min_legs = 1};
    struct sf_leg_found found[SF_LEGS_MAX] = {{0}};
    struct sf_assembly assembly;
    int from[SF_LEGS_MAX];

    for (unsigned i = 0; i < 2; i++) {
      config.leg[i].name[0] = (char) ('a' + (i ^ first));
      found[i] = found_of(&c, i ^ first);
    }
    sf_assemble_file(&config, found, false, from, &assembly);
    print_message("%s\n", assembly.reason);
    assert_true(assembly.may_start);
    assert_int_equal(assembly.current, 1);
    assert_int_equal(assembly.base.record.term, 3);
  }
}

/* Proves that the sections stand as the file has them where no leg says anything else. */
static void
listed_and_none_there(void **state) {
  struct sf_config config = {.file = "vol0.conf", .name = "vol0", .legs = 3, .min_legs = 1};
  struct sf_leg_found found[SF_LEGS_MAX] = {{0}};
  struct sf_assembly assembly;
  int from[SF_LEGS_MAX];

  memset(from, 0x55, sizeof from);
  for (unsigned i = 0; i < 3; i++)
    config.leg[i].name[0] = (char) ('a' + i);
  sf_assemble_file(&config, found, false, from, &assembly);
  assert_false(assembly.may_start);
  for (int i = 0; i < SF_LEGS_MAX; i++)
    assert_int_equal(from[i], i < 3 ? i : -1);
}

/* Proves that a long path leaves room for the sentence: 16 legs, all of them gone. */
static void
sentence_is_bounded(void **state) {
  static struct sf_config config = {.name = "vol0", .min_legs = 9, .legs = SF_LEGS_MAX};
  static struct sf_leg_found found[SF_LEGS_MAX];
  struct sf_assembly assembly;
  for (unsigned i = 0; i < SF_LEGS_MAX; i++) {
    memset(config.leg[i].name, 'a' + (int) i, SF_LEG_NAME_MAX - 1);
    memset(config.leg[i].path, '/', PATH_MAX - 1);
    found[i].error = -EIO;
  }
  sf_assemble(&config, found, true, &assembly);
  assert_false(assembly.may_start);
  assert_int_equal(strlen(assembly.reason), sizeof assembly.reason - 1);
}

/* Proves that no start claims a term that no reader would take from it, and by force neither: it
 * names the leg with the superblock that stands in the way. */
static void
last_term(void **state) {
  const struct one_case c = {
      .legs = 3, .min_legs = 2, .leg = {ON(4, 2, "abc"), ON(4, 2, "abc"), ON(4, 2, "abc")}};
  struct sf_config config = {.name = "vol0", .legs = 3, .min_legs = 2};
  struct sf_leg_found found[SF_LEGS_MAX] = {{0}};
  struct sf_assembly assembly;
  for (unsigned i = 0; i < 3; i++) {
    config.leg[i].name[0] = (char) ('a' + i);
    found[i] = found_of(&c, i);
  }
  found[1].sb.claim = SF_NUMBER_MAX - 1;
  sf_assemble(&config, found, false, &assembly);
  assert_true(assembly.may_start);
  assert_true(assembly.next_term == SF_NUMBER_MAX);
  for (unsigned force = 0; force < 2; force++) {
    found[1].sb.claim = SF_NUMBER_MAX;
    sf_assemble(&config, found, force, &assembly);
    assert_false(assembly.may_start);
    assert_int_equal(assembly.current, 0);
    assert_non_null(strstr(assembly.reason, "superblock of b names the last term"));
    found[1].sb.claim = 4;
    found[1].sb.record.term = SF_NUMBER_MAX;
    found[2] = (struct sf_leg_found){.error = -ENOENT};
    sf_assemble(&config, found, force, &assembly);
    assert_false(assembly.may_start || assembly.forced);
    found[1] = found_of(&c, 1);
    found[2] = found_of(&c, 2);
  }
}

/* Proves when a leg is copied whole: emptied since, or from another line of history. */
static void
whole_copy(void **state) {
  struct sf_superblock base = {.lineage = uuid('A', 0), .record = {.term = 3, .change = 1}};
  struct sf_superblock leg = base;
  assert_false(sf_leg_needs_whole_copy(&base, &leg));
  leg.record = (struct sf_record){.term = 1, .change = 1};
  assert_false(sf_leg_needs_whole_copy(&base, &leg));
  leg.record.change = SF_BLANK_CHANGE;
  assert_true(sf_leg_needs_whole_copy(&base, &leg));
  leg = base;
  leg.lineage = uuid('B', 0);
  assert_true(sf_leg_needs_whole_copy(&base, &leg));
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_is_listed),
      cmocka_unit_test(listed_lines),
      cmocka_unit_test(listed_discarded),
      cmocka_unit_test(sentence_is_bounded),
      cmocka_unit_test(last_term),
      cmocka_unit_test(whole_copy),
      cmocka_unit_test(listed_and_none_there),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

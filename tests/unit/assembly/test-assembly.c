/* Proves what sf_assemble says of each constellation that an operator can meet: one case, one
 * constellation, one verdict for each leg. */
#include "assembly_rig.h"

/* ---- from a case to superblocks ---- */

static void
assemble(const struct one_case *c, struct sf_assembly *assembly) {
  struct sf_config config = {.file = "vol0.conf", .name = "vol0", .legs = c->legs};
  struct sf_leg_found found[SF_LEGS_MAX] = {{0}};
  config.min_legs = c->config_min_legs ? c->config_min_legs : c->min_legs;
  for (unsigned i = 0; i < c->legs; i++) {
    config.leg[i].name[0] = (char) ('a' + i);
    sprintf(config.leg[i].path, "/dev/%c", 'a' + i);
    found[i] = found_of(c, i);
  }
  sf_assemble(&config, found, c->force, assembly);
}

/* ---- the checks ---- */

static void
check_sets(const struct one_case *c, const struct sf_assembly *assembly) {
  uint16_t current = 0;
  for (unsigned i = 0; i < c->legs; i++)
    if (assembly->verdict[i] == SF_LEG_CURRENT)
      current |= (uint16_t) (1u << i);
  assert_int_equal(assembly->current, assembly->may_start ? current : 0);
  if (assembly->may_start)
    assert_int_equal(assembly->waits_for, 0);
  assert_int_equal(assembly->waits_for & current, 0);
  if (c->waits_for)
    assert_int_equal(assembly->waits_for, set_of(c->waits_for));
}

static void
check_record(const struct one_case *c, const struct sf_assembly *assembly) {
  char record[64];
  if (!c->record) {
    assert_int_equal(assembly->reference, -1);
    return;
  }
  assert_true(assembly->reference >= 0 && assembly->reference < (int) c->legs);
  snprintf(record, sizeof record, "%d.%d%s", (int) assembly->base.record.term,
           (int) assembly->base.record.change,
           strstr(c->record, "unclean") && !assembly->base.record.clean ? " unclean" : "");
  assert_string_equal(record, c->record);
}

static void
check(const struct cases *cases) {
  for (size_t i = 0; i < cases->n; i++) {
    const struct one_case *c = &cases->one[i];
    struct sf_assembly assembly;
    char verdicts[SF_LEGS_MAX + 1] = "";
    assemble(c, &assembly);
    print_message("%s\n    %s\n", c->proves, assembly.reason);
    for (unsigned leg = 0; leg < c->legs; leg++)
      verdicts[leg] = letters[assembly.verdict[leg]];
    assert_int_equal(assembly.legs, c->legs);
    assert_string_equal(verdicts, c->verdicts);
    assert_int_equal(assembly.may_start, c->may_start);
    assert_int_equal(assembly.forced, c->forced);
    assert_int_equal(assembly.unreadable, strstr(assembly.reason, "refuses to start: one copy of "
                                                                  "the superblock of ") != NULL);
    if (c->bytes)
      assert_int_equal(assembly.base.data_bytes, c->bytes);
    if (c->next_term)
      assert_int_equal(assembly.next_term, c->next_term);
    check_sets(c, &assembly);
    check_record(c, &assembly);
    for (unsigned s = 0; s < 4 && c->says[s]; s++)
      if (!strstr(assembly.reason, c->says[s]))
        fail_msg("does not say: %s", c->says[s]);
  }
}

static void
all_cases(void **state) {
  check(&cases_of_legs);
  check(&cases_of_lines);
}

/* All but the words, and whom they are said of. */
static void
assert_same_verdict(const struct sf_assembly *a, const struct sf_assembly *b) {
  struct sf_assembly x = *a, y = *b;
  x.headless = y.headless = 0;
  memset(x.reason, 0, sizeof x.reason);
  memset(y.reason, 0, sizeof y.reason);
  assert_memory_equal(&x, &y, sizeof x);
}

static void
check_marks(const struct cases *cases) {
  for (size_t i = 0; i < cases->n; i++) {
    struct one_case without = cases->one[i];
    for (unsigned leg = 0; leg < without.legs; leg++)
      without.leg[leg].marked = false;
    for (unsigned set = 1; set < 1u << without.legs; set++) {
      struct one_case with = without;
      struct sf_assembly a, b;
      unsigned marked = 0;
      for (unsigned leg = 0; leg < with.legs; leg++)
        marked |= with.leg[leg].marked =
            (set >> leg & 1) && (with.leg[leg].kind == GONE || with.leg[leg].kind == ERROR);
      assemble(&without, &a);
      assemble(&with, &b);
      assert_same_verdict(&a, &b);
      assert_true(marked || b.headless == 0);
    }
  }
}

/* Proves that a mark has no say: in each constellation, each leg that is gone or says nothing may have one or not,
 * and the start is the same. */
static void
marks_have_no_say(void **state) {
  check_marks(&cases_of_legs);
  check_marks(&cases_of_lines);
}

static bool
has(const struct cases *cases, char letter) {
  for (size_t i = 0; i < cases->n; i++)
    if (strchr(cases->one[i].verdicts, letter) != NULL)
      return true;
  return false;
}

/* Proves that the tables have a case for every verdict, so that none can rot. */
static void
every_verdict_has_a_case(void **state) {
  for (size_t v = 0; v < sizeof letters; v++) {
    if (!has(&cases_of_legs, letters[v]) && !has(&cases_of_lines, letters[v]))
      fail_msg("no case gives %s", sf_verdict_name((enum sf_verdict) v));
    assert_string_not_equal(sf_verdict_name((enum sf_verdict) v), "unknown");
  }
  assert_string_equal(sf_verdict_name((enum sf_verdict) 99), "unknown");
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(all_cases),
      cmocka_unit_test(marks_have_no_say),
      cmocka_unit_test(every_verdict_has_a_case),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

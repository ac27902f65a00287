#include <string.h>

#include "assembly/blank.h"
#include "assembly/look.h"
#include "base/assert.h"

/* What the legs of one volume say. */
static void
look_at(struct sf_look *look, const struct sf_uuid *volume) {
  sf_look_identify(look, volume);
  do {
    look->reference = look->alike = -1;
    look->obstacle = SF_OBSTACLE_NONE;
    look->unsure = look->claimed = look->recopy = 0;
    if (!(look->known & (uint16_t) ~look->blank)) {
      look->obstacle = look->known ? SF_OBSTACLE_ONLY_BLANK : SF_OBSTACLE_NO_LEG;
      return;
    }
    if (!sf_look_lineages(look)) {
      look->obstacle = SF_OBSTACLE_TWO_LINES;
      return;
    }
    sf_look_record(look);
  } while (sf_look_drop_impostors(look));
}

/* Both lines exist and only the operator can say which one is to live. */
static void
judge_two_lines(struct sf_look *look) {
  for (unsigned leg = 0; leg < look->legs; leg++)
    if (SF_LEG_IN(look->known & (uint16_t) ~look->blank, leg))
      look->verdict[leg] = SF_LEG_SPLIT_BRAIN;
}

/* By force, and it is not known which of the unreadable legs went on: one of them is taken, and the
 * others are made like it. Two would pass for equal. An unreadable leg that the newest record leaves
 * out is not taken in place of those that it names: what it lacks is known, what it may have is not. */
static void
take_one(struct sf_look *look) {
  uint16_t unsure = look->present & look->unsure, all = (look->present | look->unsure) & look->fits;
  if (unsure != 0)
    look->present = unsure & (uint16_t) -unsure;
  look->recopy = all & (uint16_t) ~look->present;
  for (unsigned leg = 0; leg < look->legs; leg++)
    if (SF_LEG_IN(look->recopy, leg) && look->verdict[leg] != SF_LEG_FAULTY)
      look->verdict[leg] = SF_LEG_BEHIND;
}

/* Without a superblock of the volume names must do. */
static bool
is_headless(const struct sf_look *look, unsigned leg) {
  const struct sf_leg_found *found = &look->found[leg];
  if (!found->marked)
    return false;
  if (look->reference >= 0)
    return sf_mark_is_leg(&found->mark, &look->found[look->reference].sb, leg);
  return strcmp(found->mark.volume_name, look->config->name) == 0 &&
         strcmp(found->mark.leg_name, look->config->leg[leg].name) == 0;
}

/* What a host relies on. */
static void
check(const struct sf_assembly *assembly) {
  SF_ASSERT(assembly->reference < (int) assembly->legs);
  SF_ASSERT(!assembly->may_start || (assembly->reference >= 0 && assembly->current != 0));
  SF_ASSERT(assembly->may_start || assembly->current == 0);
  SF_ASSERT((assembly->current & (assembly->waits_for | assembly->recopy)) == 0);
}

static void
conclude(struct sf_look *look, bool force, struct sf_assembly *assembly) {
  if (look->reference >= 0 && assembly->next_term > SF_NUMBER_MAX) {
    look->obstacle = SF_OBSTACLE_NO_TERM;
    look->recopy = 0;
  }
  if (look->obstacle == SF_OBSTACLE_TWO_LINES)
    judge_two_lines(look);
  for (unsigned leg = 0; leg < look->legs; leg++)
    if (is_headless(look, leg))
      look->headless |= SF_LEG_BIT(leg);
  assembly->headless = look->headless;
  assembly->reference = look->reference;
  if (look->reference >= 0)
    assembly->base = look->found[look->reference].sb;

  bool waits = look->obstacle == SF_OBSTACLE_TOO_FEW || look->obstacle == SF_OBSTACLE_DOUBT ||
               look->obstacle == SF_OBSTACLE_UNREADABLE;
  bool by_force = force && waits && look->present != 0;
  if (by_force && look->obstacle == SF_OBSTACLE_UNREADABLE)
    take_one(look);
  /* A leg that is to be copied whole is known for it by its older line, whatever interrupts the
   * copy. */
  assembly->forced = by_force || look->recopy != 0;
  memcpy(assembly->verdict, look->verdict, sizeof assembly->verdict);
  assembly->may_start = assembly->forced || look->obstacle == SF_OBSTACLE_NONE;
  assembly->whole = assembly->recopy = look->recopy;
  for (unsigned leg = 0; leg < look->legs; leg++)
    if (SF_LEG_IN(look->known, leg) && assembly->verdict[leg] != SF_LEG_CURRENT &&
        look->reference >= 0 && sf_leg_needs_whole_copy(&assembly->base, &look->found[leg].sb))
      assembly->whole |= SF_LEG_BIT(leg);
  if (assembly->may_start)
    assembly->current = look->present;
  else if (waits)
    assembly->waits_for = look->absent & (uint16_t) ~look->unsure;
  assembly->unreadable = !assembly->may_start && look->obstacle == SF_OBSTACLE_UNREADABLE;
  check(assembly);
  sf_look_reason(look, assembly);
}

static bool
may_start(const struct sf_look *look, const struct sf_uuid *volume) {
  struct sf_look trial = *look;
  look_at(&trial, volume);
  return trial.obstacle == SF_OBSTACLE_NONE;
}

/* The volumes that carry the configured name: one, unless disks were mixed up. */
static unsigned
find_volumes(const struct sf_look *look, const struct sf_uuid *volume[SF_LEGS_MAX]) {
  unsigned volumes = 0;
  for (unsigned leg = 0; leg < look->legs; leg++) {
    const struct sf_uuid *uuid = &look->found[leg].sb.volume;
    bool seen = !sf_leg_is_named(look->config, &look->found[leg]);
    for (unsigned i = 0; i < volumes && !seen; i++)
      seen = sf_uuid_equal(volume[i], uuid);
    if (!seen)
      volume[volumes++] = uuid;
  }
  return volumes;
}

void
sf_assemble(const struct sf_config *config, const struct sf_leg_found found[SF_LEGS_MAX],
            bool force, struct sf_assembly *assembly) {
  struct sf_look look = {.config = config, .found = found, .legs = config->legs};
  const struct sf_uuid *volume[SF_LEGS_MAX] = {NULL};
  unsigned volumes, startable = 0, chosen = 0;

  SF_ASSERT(config->legs <= SF_LEGS_MAX);
  volumes = find_volumes(&look, volume);
  memset(assembly, 0, sizeof *assembly);
  assembly->legs = config->legs;
  assembly->reference = -1;
  for (unsigned i = 0; i < volumes && volumes > 1; i++)
    if (may_start(&look, volume[i])) {
      startable++;
      chosen = i;
    }
  if (volumes > 0)
    assembly->next_term = sf_look_next_term(&look, volume[chosen]);

  look_at(&look, volumes > 0 ? volume[chosen] : NULL);
  if (volumes <= 1 || startable == 1) {
    conclude(&look, force, assembly);
    return;
  }
  /* Two volumes of one name and not exactly one of them could start: never guess. */
  memcpy(assembly->verdict, look.verdict, sizeof assembly->verdict);
  sf_look_reason_two_volumes(&look, assembly);
}

const char *
sf_verdict_name(enum sf_verdict verdict) {
  static const char *const name[] = {
      [SF_LEG_ABSENT] = "absent",           [SF_LEG_CURRENT] = "current",
      [SF_LEG_BEHIND] = "behind",           [SF_LEG_FAULTY] = "faulty",
      [SF_LEG_UNFORMATTED] = "unformatted", [SF_LEG_DAMAGED] = "damaged",
      [SF_LEG_TOO_NEW] = "too new",         [SF_LEG_FOREIGN] = "foreign",
      [SF_LEG_SPLIT_BRAIN] = "split brain", [SF_LEG_TOO_SMALL] = "too small",
  };
  return (unsigned) verdict < sizeof name / sizeof *name ? name[verdict] : "unknown";
}

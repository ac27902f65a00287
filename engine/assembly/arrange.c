/* The file lists legs by name; the volume knows places, some of which may be empty, since a leg
 * that was removed leaves its place behind.  So each section of the file is put where the
 * superblock in force has that name.  A leg that the file lacks is absent, a section beyond is not
 * opened: both are said. */
#include <stdio.h>
#include <string.h>

#include "assembly/blank.h"
#include "assembly/look.h"
#include "base/assert.h"

static bool
is_member(const struct sf_superblock *sb, unsigned place) {
  return place < sb->legs && !SF_LEG_IN(sb->removed, place);
}

static bool
same_members(const struct sf_superblock *a, const struct sf_superblock *b) {
  if (a->legs != b->legs || a->removed != b->removed)
    return false;
  for (unsigned i = 0; i < a->legs; i++)
    if (is_member(a, i) && strcmp(a->leg_name[i], b->leg_name[i]) != 0)
      return false;
  return true;
}

/* Does each of them tell of a line of history, of one volume? */
static bool
are_comparable(const struct sf_superblock *a, const struct sf_superblock *b) {
  return sf_uuid_equal(&a->volume, &b->volume) && !sf_leg_is_blank(a) && !sf_leg_is_blank(b);
}

/* The number says which is newer within one line only: a leg that went on in the old line may have
 * a higher one. */
static bool
is_newer(const struct sf_superblock *a, const struct sf_superblock *b) {
  if (are_comparable(a, b) && !sf_uuid_equal(&a->lineage, &b->lineage)) {
    if (sf_look_descends(a, &b->lineage))
      return true;
    if (sf_look_descends(b, &a->lineage))
      return false;
  }
  return sf_record_compare(&a->record, &b->record) > 0;
}

/* NULL: none. */
static const struct sf_superblock *
newest(const struct sf_config *file, const struct sf_leg_found found[SF_LEGS_MAX]) {
  const struct sf_superblock *best = NULL;
  for (unsigned i = 0; i < file->legs; i++)
    if (sf_leg_is_named(file, &found[i]) && (best == NULL || is_newer(&found[i].sb, best)))
      best = &found[i].sb;
  return best;
}

/* A leg that is none of the base's members, in a line that the base does not come from: there it
 * may be one, and the base's legs are not.  Left out by either, the other would not be known. */
static bool
another_line_is_left_out(const struct sf_config *file, const struct sf_leg_found found[SF_LEGS_MAX],
                         const struct sf_superblock *base) {
  for (unsigned i = 0; i < file->legs; i++)
    if (sf_leg_is_named(file, &found[i]) && are_comparable(&found[i].sb, base) &&
        !sf_look_descends(base, &found[i].sb.lineage))
      return true;
  return false;
}

/* from[place]: the section of the file; -1: none. */
static void
arrange(const struct sf_config *file, const struct sf_superblock *members, struct sf_config *config,
        int from[SF_LEGS_MAX]) {
  unsigned count = 0;
  *config = *file;
  config->legs = members->legs;
  for (unsigned i = 0; i < SF_LEGS_MAX; i++) {
    config->leg[i] = (struct sf_config_leg){0};
    from[i] = -1;
    if (!is_member(members, i))
      continue;
    count++;
    from[i] = sf_config_find_leg(file, members->leg_name[i]);
    if (from[i] >= 0)
      config->leg[i] = file->leg[from[i]];
    else
      strcpy(config->leg[i].name, members->leg_name[i]);
  }
  if (config->min_legs > count)
    config->min_legs = count;
}

static void
say_strangers(const struct sf_config *file, const int from[SF_LEGS_MAX],
              struct sf_assembly *assembly) {
  for (unsigned i = 0; i < file->legs; i++) {
    size_t used = strlen(assembly->reason);
    bool taken = false;
    for (unsigned place = 0; place < SF_LEGS_MAX; place++)
      taken = taken || from[place] == (int) i;
    if (!taken)
      snprintf(
          assembly->reason + used, sizeof assembly->reason - used,
          "; the volume has no leg %s, which the file lists: `surefootctl leg add %s %s PATH`, or "
          "take it out of the file",
          file->leg[i].name, file->name, file->leg[i].name);
  }
}

void
sf_assemble_file(struct sf_config *config, struct sf_leg_found found[SF_LEGS_MAX], bool force,
                 int from[SF_LEGS_MAX], struct sf_assembly *assembly) {
  const struct sf_config file = *config;
  struct sf_leg_found in_file[SF_LEGS_MAX];
  struct sf_superblock members;
  const struct sf_superblock *best;
  bool agreed = false;

  SF_ASSERT(file.legs <= SF_LEGS_MAX);
  best = newest(&file, found);
  for (unsigned i = 0; i < SF_LEGS_MAX; i++)
    from[i] = i < file.legs ? (int) i : -1;
  if (best == NULL) {
    sf_assemble(config, found, force, assembly);
    return;
  }
  memcpy(in_file, found, sizeof in_file);
  members = *best;
  /* The newest record is seldom not the one in force: then once more, by that one. */
  for (unsigned round = 0; round < 2 && !agreed; round++) {
    arrange(&file, &members, config, from);
    for (unsigned place = 0; place < SF_LEGS_MAX; place++)
      found[place] = from[place] >= 0 ? in_file[from[place]] : (struct sf_leg_found){0};
    sf_assemble(config, found, force, assembly);
    agreed = assembly->reference < 0 || same_members(&assembly->base, &members);
    members = assembly->base;
  }
  if (!agreed ||
      (assembly->reference >= 0 && another_line_is_left_out(&file, in_file, &assembly->base))) {
    assembly->may_start = assembly->forced = false;
    assembly->current = 0;
    snprintf(assembly->reason, sizeof assembly->reason,
             "refuses to start: the legs do not agree about which legs the volume has; list only "
             "those of one line of history");
  }
  say_strangers(&file, from, assembly);
}

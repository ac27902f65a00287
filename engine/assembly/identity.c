/* Which volume's legs are these?  Verdicts on each leg that need no record. */
#include <errno.h>
#include <string.h>

#include "assembly/blank.h"
#include "assembly/look.h"
#include "base/assert.h"

/* A valid superblock with the volume name of the configuration. */
bool
sf_leg_is_named(const struct sf_config *config, const struct sf_leg_found *found) {
  return found->present && found->error == 0 && strcmp(found->sb.volume_name, config->name) == 0;
}

static enum sf_verdict
verdict_unreadable(int error) {
  switch (error) {
  case -ENODATA:
    return SF_LEG_UNFORMATTED;
  case -EPROTONOSUPPORT:
    return SF_LEG_TOO_NEW;
  default:
    return SF_LEG_DAMAGED;
  }
}

/* Why a valid superblock is not this leg's; NULL: it is. */
static const char *
why_foreign(const struct sf_look *look, unsigned leg, const struct sf_uuid *volume) {
  const struct sf_superblock *sb = &look->found[leg].sb;
  if (!sf_leg_is_named(look->config, &look->found[leg]))
    return "it belongs to a volume of another name";
  if (!sf_uuid_equal(&sb->volume, volume))
    return "it belongs to another volume of the same name";
  if (sb->leg_index != leg)
    return "it is another leg of this volume, listed in the wrong place";
  if (strcmp(sb->leg_name[leg], look->config->leg[leg].name) != 0)
    return "the volume knows this leg by another name";
  return NULL;
}

/* Is there room for the volume as `sb` describes it? */
bool
sf_look_fits(const struct sf_leg_found *found, const struct sf_superblock *sb) {
  return found->bytes >= sb->data_offset && found->bytes - sb->data_offset >= sb->data_bytes;
}

static void
identify_leg(struct sf_look *look, unsigned leg, const struct sf_uuid *volume) {
  const struct sf_leg_found *found = &look->found[leg];
  if (!found->present) {
    look->verdict[leg] = SF_LEG_ABSENT;
    return;
  }
  if (found->error != 0) {
    look->verdict[leg] = verdict_unreadable(found->error);
    return;
  }
  look->detail[leg] = why_foreign(look, leg, volume);
  if (look->detail[leg]) {
    look->verdict[leg] = SF_LEG_FOREIGN;
    return;
  }
  look->known |= SF_LEG_BIT(leg);
  if (sf_leg_is_blank(&found->sb))
    look->blank |= SF_LEG_BIT(leg);
  look->verdict[leg] = sf_look_fits(found, &found->sb) ? SF_LEG_BEHIND : SF_LEG_TOO_SMALL;
}

/* volume may be NULL when no leg carries the name. */
void
sf_look_identify(struct sf_look *look, const struct sf_uuid *volume) {
  for (unsigned leg = 0; leg < look->legs; leg++)
    identify_leg(look, leg, volume);
}

/* The size goes with the record: a leg that has another record may have another size, from before
 * or from a change that never became durable.  With one record there is one size; two lines of
 * history number theirs alike. */
static bool
size_is_possible(const struct sf_superblock *sb, const struct sf_superblock *base) {
  return sb->data_bytes == base->data_bytes || !sf_uuid_equal(&sb->lineage, &base->lineage) ||
         sf_record_compare(&sb->record, &base->record) != 0;
}

static const char *
why_impostor(const struct sf_superblock *sb, const struct sf_superblock *base, unsigned leg) {
  if (leg >= base->legs)
    return "the volume has no such leg: `leg add` was broken off";
  if (SF_LEG_IN(base->removed, leg))
    return "it was removed from the volume";
  if (!sf_uuid_equal(&sb->leg_uuid[leg], &base->leg_uuid[leg]) && !sf_leg_is_blank(sb) &&
      sf_uuid_equal(&sb->lineage, &base->lineage) &&
      sf_record_compare(&sb->record, &base->record) < 0)
    return "another disk has taken this leg's place (`leg replace`): give the path of that one";
  if (!sf_uuid_equal(&sb->leg_uuid[leg], &base->leg_uuid[leg]))
    return "the volume knows this leg under another uuid";
  if (sb->data_offset != base->data_offset || sb->extent_bytes != base->extent_bytes ||
      !size_is_possible(sb, base))
    return "it was formatted with another size than the volume";
  return NULL;
}

/* Legs that the reference knows under another uuid, or with another geometry: formatted for another
 * volume.  True when there were any: lineage and record must be looked for again. */
bool
sf_look_drop_impostors(struct sf_look *look) {
  const struct sf_superblock *base;
  bool dropped = false;

  SF_ASSERT(look->reference >= 0 && look->reference < (int) look->legs);
  base = &look->found[look->reference].sb;
  for (unsigned leg = 0; leg < look->legs; leg++) {
    uint16_t bit = SF_LEG_BIT(leg);
    if (!(look->known & bit))
      continue;
    look->detail[leg] = why_impostor(&look->found[leg].sb, base, leg);
    if (look->detail[leg] == NULL)
      continue;
    look->verdict[leg] = SF_LEG_FOREIGN;
    look->known &= (uint16_t) ~bit;
    look->blank &= (uint16_t) ~bit;
    dropped = true;
  }
  return dropped;
}

/* Above all claims and records of this volume, on whatever leg and in whatever line of history. */
uint64_t
sf_look_next_term(const struct sf_look *look, const struct sf_uuid *volume) {
  uint64_t highest = 0;
  for (unsigned leg = 0; leg < look->legs; leg++) {
    const struct sf_leg_found *found = &look->found[leg];
    if (!found->present || found->error != 0 || !sf_uuid_equal(&found->sb.volume, volume))
      continue;
    if (found->sb.claim > highest)
      highest = found->sb.claim;
    if (found->sb.record.term > highest)
      highest = found->sb.record.term;
  }
  return highest + 1;
}

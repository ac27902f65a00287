/* Which line of history is the newest, and what are the legs of the others to it? */
#include "assembly/look.h"
#include "base/assert.h"

static const struct sf_ancestor *
find_ancestor(const struct sf_superblock *sb, const struct sf_uuid *lineage) {
  for (unsigned i = 0; i < sb->ancestors; i++)
    if (sf_uuid_equal(&sb->ancestor[i].lineage, lineage))
      return &sb->ancestor[i];
  return NULL;
}

bool
sf_look_descends(const struct sf_superblock *sb, const struct sf_uuid *lineage) {
  return sf_uuid_equal(&sb->lineage, lineage) || find_ancestor(sb, lineage) != NULL;
}

static bool
went_past(const struct sf_record *record, const struct sf_ancestor *fork) {
  SF_ASSERT(fork != NULL); /* the newest line comes from each of the others */
  const struct sf_record left = {.term = fork->term, .change = fork->change};
  return sf_record_compare(record, &left) > 0;
}

/* Is each other line an ancestor of this leg's?  Then this leg's is the newest. */
static bool
descends_from_all(const struct sf_look *look, unsigned leg, uint16_t speak) {
  const struct sf_superblock *sb = &look->found[leg].sb;
  for (unsigned other = 0; other < look->legs; other++) {
    const struct sf_uuid *lineage = &look->found[other].sb.lineage;
    if (SF_LEG_IN(speak, other) && !sf_look_descends(sb, lineage))
      return false;
  }
  return true;
}

static void
place_leg(struct sf_look *look, unsigned leg) {
  const struct sf_superblock *newest = &look->found[look->newest_leg].sb;
  const struct sf_superblock *sb = &look->found[leg].sb;
  if (sf_uuid_equal(&sb->lineage, &newest->lineage))
    look->line |= SF_LEG_BIT(leg);
  else if (went_past(&sb->record, find_ancestor(newest, &sb->lineage)))
    look->split |= SF_LEG_BIT(leg);
  else
    look->older |= SF_LEG_BIT(leg);
}

bool
sf_look_lineages(struct sf_look *look) {
  uint16_t speak = look->known & (uint16_t) ~look->blank;
  look->newest_leg = -1;
  look->line = look->older = look->split = 0;
  for (unsigned leg = 0; leg < look->legs && look->newest_leg < 0; leg++)
    if (SF_LEG_IN(speak, leg) && descends_from_all(look, leg, speak))
      look->newest_leg = (int) leg;
  if (look->newest_leg < 0)
    return false;
  for (unsigned leg = 0; leg < look->legs; leg++)
    if (SF_LEG_IN(speak, leg))
      place_leg(look, leg);
  return true;
}

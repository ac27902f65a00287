/* Superblocks from a case. */
#include "assembly_rig.h"

const char letters[VERDICTS] = {
    [SF_LEG_ABSENT] = '-',    [SF_LEG_CURRENT] = 'C',     [SF_LEG_BEHIND] = 'b',
    [SF_LEG_FAULTY] = 'f',    [SF_LEG_UNFORMATTED] = 'u', [SF_LEG_DAMAGED] = 'd',
    [SF_LEG_TOO_NEW] = 'n',   [SF_LEG_FOREIGN] = 'x',     [SF_LEG_SPLIT_BRAIN] = '!',
    [SF_LEG_TOO_SMALL] = 's',
};

struct sf_uuid
uuid(char what, unsigned number) {
  struct sf_uuid result = {{(uint8_t) what, (uint8_t) (number + 1)}};
  return result;
}

uint16_t
set_of(const char *names) {
  uint16_t set = 0;
  for (; names && *names; names++)
    set |= (uint16_t) (1u << (*names - 'a'));
  return set;
}

static void
add_ancestor(struct sf_superblock *sb, char line, unsigned term, unsigned change) {
  sb->ancestor[sb->ancestors++] =
      (struct sf_ancestor){.lineage = uuid(line, 0), .term = term, .change = change};
}

static void
set_lineage(struct sf_superblock *sb, char line) {
  sb->lineage = uuid(line ? line : 'A', 0);
  if (line == 'D')
    add_ancestor(sb, 'B', 5, 1);
  if (line == 'B' || line == 'C' || line == 'D')
    add_ancestor(sb, 'A', 2, 3);
}

struct sf_superblock
superblock_of(const struct one_case *c, unsigned index) {
  const struct leg *leg = &c->leg[index];
  struct sf_superblock sb = {.serial = 1,
                             .volume = uuid('v', 0),
                             .volume_name = "vol0",
                             .leg_index = (uint8_t) index,
                             .legs = (uint8_t) c->legs,
                             .data_offset = SF_DATA_OFFSET,
                             .data_bytes = SF_VOLUME_BYTES_MIN,
                             .extent_bytes = SF_EXTENT_BYTES_DEFAULT};
  for (unsigned i = 0; i < c->legs; i++) {
    sb.leg_uuid[i] = uuid('l', i);
    sb.leg_name[i][0] = (char) ('a' + i);
  }
  set_lineage(&sb, leg->line);
  sb.record =
      (struct sf_record){.term = leg->term ? leg->term : 1,
                         .change = leg->change ? leg->change : 1,
                         .in_sync = set_of(leg->in_sync),
                         .faulty = set_of(leg->faulty),
                         .min_legs = (uint8_t) (leg->min_legs ? leg->min_legs : c->min_legs),
                         .clean = leg->clean};
  sb.claim = leg->claim ? leg->claim : sb.record.term;
  return sb;
}

static void
disguise(struct sf_superblock *sb, struct sf_leg_found *found, enum kind kind) {
  unsigned index = sb->leg_index;
  if (kind == OTHER_NAME)
    strcpy(sb->volume_name, "vol1");
  else if (kind == OTHER_UUID)
    sb->volume = uuid('w', 0);
  else if (kind == SWAPPED)
    sb->leg_index = (uint8_t) (index == 1 ? 2 : 1);
  else if (kind == RENAMED)
    strcpy(sb->leg_name[index], "old");
  else if (kind == IMPOSTOR)
    sb->leg_uuid[index] = uuid('m', index);
  else if (kind == RESIZED || kind == GROWN || kind == GROWN_SHORT)
    sb->data_bytes *= 2;
  else if (kind == SHORT)
    found->bytes = SF_DATA_OFFSET + SF_VOLUME_BYTES_MIN - 1;
  if (kind == GROWN_SHORT || kind == NOT_GROWN_SHORT)
    found->bytes = SF_DATA_OFFSET + SF_VOLUME_BYTES_MIN;
  if (kind == DISCARDED)
    sb->record = (struct sf_record){
        .term = SF_BLANK_TERM, .change = SF_BLANK_CHANGE, .in_sync = 1, .min_legs = 1};
}

void
give_mark(const struct one_case *c, unsigned index, struct sf_leg_found *found) {
  const struct sf_superblock sb = superblock_of(c, index);
  found->marked = true;
  sf_mark_of(&sb, &found->mark);
}

struct sf_leg_found
found_of(const struct one_case *c, unsigned index) {
  enum kind kind = c->leg[index].kind;
  struct sf_leg_found found = {.present = kind != GONE,
                               .error = c->leg[index].error,
                               .bytes = SF_DATA_OFFSET + 4 * SF_VOLUME_BYTES_MIN};
  if (c->leg[index].marked)
    give_mark(c, index, &found);
  if (kind != GONE && kind != ERROR) {
    found.sb = superblock_of(c, index);
    found.doubtful = c->leg[index].doubtful;
    disguise(&found.sb, &found, kind);
  }
  return found;
}

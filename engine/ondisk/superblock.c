#include <errno.h>
#include <string.h>

#include <surefoot/ondisk.h>

#include "base/assert.h"
#include "ondisk/frame.h"
#include "ondisk/possible.h"

static const uint8_t magic_bytes[8] = {'S', 'U', 'R', 'E', 'F', 'O', 'O', 'T'};

/* From which on there are maps and empty places, a block size, a holder, bad ranges, and unwritten
 * extents. */
enum {
  VERSION_WITH_MAPS = 2,
  VERSION_WITH_BLOCK = 3,
  VERSION_WITH_HOLDER = 4,
  VERSION_WITH_BAD = 5,
  VERSION_WITH_UNWRITTEN = 6,
};

enum { BAD_UNIT = 512 };

enum { UUID_BYTES = 16, ANCESTOR_BYTES = UUID_BYTES + 8 + 8, FLAG_CLEAN = 1, FLAG_UNWRITTEN = 2 };

/* The layout behind the frame, as docs/on-disk-format.md has it. */
enum {
  AT_SERIAL = 24,
  AT_VOLUME = 32,
  AT_VOLUME_NAME = 48,
  AT_LEG_INDEX = 112,
  AT_LEGS = 113,
  AT_ANCESTORS = 114,
  AT_MIN_LEGS = 115,
  AT_IN_SYNC = 116,
  AT_FAULTY = 118,
  AT_FLAGS = 120,
  AT_END_OF_FLAGS = 121,
  AT_REMOVED = 122,
  AT_LOST = 124,
  AT_BLOCK_BYTES = 126,
  AT_TERM = 128,
  AT_CHANGE = 136,
  AT_CLAIM = 144,
  AT_DATA_OFFSET = 152,
  AT_DATA_BYTES = 160,
  AT_EXTENT_BYTES = 168,
  AT_LINEAGE = 176,
  AT_ANCESTOR = 192,
  AT_END_OF_ANCESTORS = 448,
  AT_LEG_UUID = 512,
  AT_LEG_NAME = 768,
  AT_HOST = 1280,
  AT_MACHINE = 1344,
  AT_BOOT = 1360,
  AT_SINCE = 1376,
  AT_STARTED = 1384,
  AT_PID = 1392,
  AT_BADS = 1396,
  AT_BAD = 1400,
  AT_END = AT_BAD + SF_BAD_MOST * 16,
};

_Static_assert(AT_VOLUME + UUID_BYTES == AT_VOLUME_NAME, "volume");
_Static_assert(AT_VOLUME_NAME + SF_VOLUME_NAME_MAX == AT_LEG_INDEX, "volume name");
_Static_assert(AT_LINEAGE + UUID_BYTES == AT_ANCESTOR, "lineage");
_Static_assert(AT_ANCESTOR + SF_ANCESTORS_MAX * ANCESTOR_BYTES == AT_END_OF_ANCESTORS, "ancestors");
_Static_assert(AT_LEG_UUID + SF_LEGS_MAX * UUID_BYTES == AT_LEG_NAME, "leg uuids");
_Static_assert(AT_LEG_NAME + SF_LEGS_MAX * SF_LEG_NAME_MAX == AT_HOST, "leg names");
_Static_assert(AT_HOST + SF_HOST_NAME_MAX == AT_MACHINE, "host name");
_Static_assert((size_t) AT_END <= SF_PAGE_BYTES, "one page");
_Static_assert((int) VERSION_WITH_UNWRITTEN == (int) SF_ONDISK_VERSION, "the newest");

static void
walk_identity(struct sf_le *le, struct sf_superblock *sb) {
  sf_le_expect(le, AT_SERIAL);
  sf_le_u64(le, &sb->serial);
  sf_le_expect(le, AT_VOLUME);
  sf_le_bytes(le, sb->volume.bytes, UUID_BYTES);
  sf_le_expect(le, AT_VOLUME_NAME);
  sf_le_bytes(le, sb->volume_name, sizeof sb->volume_name);
  sf_le_expect(le, AT_LEG_INDEX);
  sf_le_u8(le, &sb->leg_index);
  sf_le_expect(le, AT_LEGS);
  sf_le_u8(le, &sb->legs);
  sf_le_expect(le, AT_ANCESTORS);
  sf_le_u8(le, &sb->ancestors);
}

static void
walk_record(struct sf_le *le, struct sf_superblock *sb) {
  struct sf_record *record = &sb->record;
  uint8_t flags =
      (uint8_t) ((record->clean ? FLAG_CLEAN : 0) | (sb->unwritten ? FLAG_UNWRITTEN : 0));
  sf_le_expect(le, AT_MIN_LEGS);
  sf_le_u8(le, &record->min_legs);
  sf_le_expect(le, AT_IN_SYNC);
  sf_le_u16(le, &record->in_sync);
  sf_le_expect(le, AT_FAULTY);
  sf_le_u16(le, &record->faulty);
  sf_le_expect(le, AT_FLAGS);
  sf_le_u8(le, &flags);
  record->clean = flags & FLAG_CLEAN;
  sb->unwritten = flags & FLAG_UNWRITTEN;
  sf_le_expect(le, AT_END_OF_FLAGS);
  sf_le_zeros_until(le, AT_REMOVED);
  sf_le_u16(le, &sb->removed);
  sf_le_expect(le, AT_LOST);
  sf_le_u16(le, &sb->lost);
  sf_le_expect(le, AT_BLOCK_BYTES);
  sf_le_u16(le, &sb->block_bytes);
  sf_le_expect(le, AT_TERM);
  sf_le_u64(le, &record->term);
  sf_le_expect(le, AT_CHANGE);
  sf_le_u64(le, &record->change);
}

static void
walk_geometry(struct sf_le *le, struct sf_superblock *sb) {
  sf_le_expect(le, AT_DATA_OFFSET);
  sf_le_u64(le, &sb->data_offset);
  sf_le_expect(le, AT_DATA_BYTES);
  sf_le_u64(le, &sb->data_bytes);
  sf_le_expect(le, AT_EXTENT_BYTES);
  sf_le_u64(le, &sb->extent_bytes);
}

static void
walk_lineage(struct sf_le *le, struct sf_superblock *sb) {
  sf_le_expect(le, AT_LINEAGE);
  sf_le_bytes(le, sb->lineage.bytes, UUID_BYTES);
  sf_le_expect(le, AT_ANCESTOR);
  for (unsigned i = 0; i < SF_ANCESTORS_MAX; i++) {
    sf_le_bytes(le, sb->ancestor[i].lineage.bytes, UUID_BYTES);
    sf_le_u64(le, &sb->ancestor[i].term);
    sf_le_u64(le, &sb->ancestor[i].change);
  }
  sf_le_expect(le, AT_END_OF_ANCESTORS);
}

static void
walk_legs(struct sf_le *le, struct sf_superblock *sb) {
  sf_le_expect(le, AT_LEG_UUID);
  for (unsigned i = 0; i < SF_LEGS_MAX; i++)
    sf_le_bytes(le, sb->leg_uuid[i].bytes, UUID_BYTES);
  sf_le_expect(le, AT_LEG_NAME);
  for (unsigned i = 0; i < SF_LEGS_MAX; i++)
    sf_le_bytes(le, sb->leg_name[i], SF_LEG_NAME_MAX);
}

static void
walk_holder(struct sf_le *le, struct sf_holder *holder) {
  sf_le_expect(le, AT_HOST);
  sf_le_bytes(le, holder->host, sizeof holder->host);
  sf_le_expect(le, AT_MACHINE);
  sf_le_bytes(le, holder->machine.bytes, UUID_BYTES);
  sf_le_expect(le, AT_BOOT);
  sf_le_bytes(le, holder->boot.bytes, UUID_BYTES);
  sf_le_expect(le, AT_SINCE);
  sf_le_u64(le, &holder->since_s);
  sf_le_expect(le, AT_STARTED);
  sf_le_u64(le, &holder->started);
  sf_le_expect(le, AT_PID);
  sf_le_u32(le, &holder->pid);
}

static void
walk_bad(struct sf_le *le, struct sf_bad *bad) {
  sf_le_expect(le, AT_BADS);
  sf_le_u32(le, &bad->n);
  sf_le_expect(le, AT_BAD);
  for (unsigned i = 0; i < SF_BAD_MOST; i++) {
    sf_le_u64(le, &bad->range[i].begin);
    sf_le_u64(le, &bad->range[i].end);
  }
  sf_le_expect(le, AT_END);
}

static void
walk(struct sf_le *le, struct sf_frame *frame, struct sf_superblock *sb) {
  sf_frame_walk(le, frame);
  sf_le_zeros_until(le, AT_SERIAL);
  walk_identity(le, sb);
  walk_record(le, sb);
  sf_le_expect(le, AT_CLAIM);
  sf_le_u64(le, &sb->claim);
  walk_geometry(le, sb);
  walk_lineage(le, sb);
  sf_le_zeros_until(le, AT_LEG_UUID);
  walk_legs(le, sb);
  walk_holder(le, &sb->holder);
  walk_bad(le, &sb->bad);
  sf_le_zeros_until(le, SF_PAGE_BYTES);
}

/* ---- possible contents ---- */

static bool
identity_is_possible(const struct sf_superblock *sb) {
  if (sb->legs > SF_LEGS_MAX || sb->leg_index >= sb->legs) /* so there is one leg at least */
    return false;
  if (sb->lost >> sb->legs != 0 || sb->removed >> sb->legs != 0 ||
      (sb->removed >> sb->leg_index & 1))
    return false;
  if (!sf_uuid_is_set(&sb->volume) || !sf_name_is_possible(sb->volume_name, sizeof sb->volume_name))
    return false;
  for (unsigned i = 0; i < sb->legs; i++) {
    if (!sf_uuid_is_set(&sb->leg_uuid[i]) || !sf_name_is_possible(sb->leg_name[i], SF_LEG_NAME_MAX))
      return false;
    for (unsigned j = 0; j < i; j++)
      if (sf_uuid_equal(&sb->leg_uuid[i], &sb->leg_uuid[j]) ||
          (!(sb->removed >> i & 1) && !(sb->removed >> j & 1) &&
           strcmp(sb->leg_name[i], sb->leg_name[j]) == 0))
        return false;
  }
  return true;
}

static bool
geometry_is_possible(const struct sf_superblock *sb) {
  if (sb->block_bytes != 0 && (sb->block_bytes < 512 || sb->block_bytes > SF_PAGE_BYTES ||
                               (sb->block_bytes & (sb->block_bytes - 1)) != 0))
    return false;
  if (sb->data_offset < SF_DATA_OFFSET || sb->data_offset % SF_DATA_ALIGN != 0)
    return false;
  if (sb->data_bytes < SF_VOLUME_BYTES_MIN || sb->data_bytes % SF_PAGE_BYTES != 0)
    return false;
  if (sb->data_offset > INT64_MAX || sb->data_bytes > INT64_MAX - sb->data_offset)
    return false;
  if (sb->extent_bytes < SF_PAGE_BYTES || (sb->extent_bytes & (sb->extent_bytes - 1)) != 0)
    return false;
  if (sb->unwritten && sf_map_pages(sb->data_bytes, sb->extent_bytes) > SF_MAP_TWICE_MOST)
    return false;
  return (sb->data_bytes - 1) / sb->extent_bytes < SF_EXTENTS_MAX;
}

static bool
record_is_possible(const struct sf_superblock *sb) {
  const struct sf_record *record = &sb->record;
  uint32_t known = (UINT32_C(1) << sb->legs) - 1;
  if (record->term == 0)
    return false;
  if (record->in_sync == 0 || (record->in_sync & ~known) || (record->faulty & ~known))
    return false;
  if ((record->in_sync & record->faulty) || ((record->in_sync | record->faulty) & sb->removed))
    return false;
  return record->min_legs >= 1 && record->min_legs <= sb->legs;
}

static bool
lineage_is_possible(const struct sf_superblock *sb) {
  if (!sf_uuid_is_set(&sb->lineage) || sb->ancestors > SF_ANCESTORS_MAX)
    return false;
  for (unsigned i = 0; i < sb->ancestors; i++) {
    const struct sf_ancestor *ancestor = &sb->ancestor[i];
    if (!sf_uuid_is_set(&ancestor->lineage) || ancestor->term == 0)
      return false;
    if (sf_uuid_equal(&ancestor->lineage, &sb->lineage))
      return false;
    for (unsigned j = 0; j < i; j++)
      if (sf_uuid_equal(&ancestor->lineage, &sb->ancestor[j].lineage))
        return false;
  }
  return true;
}

static bool
holder_is_possible(const struct sf_holder *holder) {
  size_t len = strnlen(holder->host, sizeof holder->host);
  if (holder->since_s == 0)
    return len == 0 && !sf_uuid_is_set(&holder->machine) && !sf_uuid_is_set(&holder->boot) &&
           holder->started == 0 && holder->pid == 0;
  for (size_t i = 0; i < len; i++)
    if (holder->host[i] <= ' ' || holder->host[i] > '~')
      return false;
  return len < sizeof holder->host;
}

static bool
bad_is_possible(const struct sf_superblock *sb) {
  const struct sf_bad *bad = &sb->bad;
  if (bad->n > SF_BAD_MOST)
    return false;
  for (unsigned i = 0; i < bad->n; i++) {
    const struct sf_bad_range *range = &bad->range[i];
    if (range->begin % BAD_UNIT != 0 || range->end % BAD_UNIT != 0 || range->begin >= range->end ||
        range->end > sb->data_bytes || (i > 0 && range->begin <= bad->range[i - 1].end))
      return false;
  }
  return true;
}

static bool
is_possible(const struct sf_superblock *sb) {
  return identity_is_possible(sb) && geometry_is_possible(sb) && record_is_possible(sb) &&
         lineage_is_possible(sb) && holder_is_possible(&sb->holder) && bad_is_possible(sb);
}

/* No volume counts so far. A written number may be above: it is one more than the number read. */
static bool
numbers_are_possible(const struct sf_superblock *sb) {
  return sb->serial <= SF_NUMBER_MAX && sb->claim <= SF_NUMBER_MAX &&
         sb->record.term <= SF_NUMBER_MAX && sb->record.change <= SF_NUMBER_MAX;
}

/* Makes what no field uses zero: entries past the counts, bytes past a name's end.  sb is
 * possible. */
static void
clear_unused(struct sf_superblock *sb) {
  size_t len = strlen(sb->volume_name);
  memset(sb->volume_name + len, 0, sizeof sb->volume_name - len);
  len = strlen(sb->holder.host);
  memset(sb->holder.host + len, 0, sizeof sb->holder.host - len);
  for (unsigned i = 0; i < SF_LEGS_MAX; i++) {
    len = i < sb->legs ? strlen(sb->leg_name[i]) : 0;
    memset(sb->leg_name[i] + len, 0, SF_LEG_NAME_MAX - len);
    if (i >= sb->legs)
      sb->leg_uuid[i] = (struct sf_uuid){0};
  }
  for (unsigned i = sb->ancestors; i < SF_ANCESTORS_MAX; i++)
    sb->ancestor[i] = (struct sf_ancestor){0};
  for (unsigned i = sb->bad.n; i < SF_BAD_MOST; i++)
    sb->bad.range[i] = (struct sf_bad_range){0};
}

/* ---- public ---- */

int
sf_record_compare(const struct sf_record *a, const struct sf_record *b) {
  if (a->term != b->term)
    return a->term < b->term ? -1 : 1;
  if (a->change != b->change)
    return a->change < b->change ? -1 : 1;
  return 0;
}

bool
sf_holder_equal(const struct sf_holder *a, const struct sf_holder *b) {
  return strcmp(a->host, b->host) == 0 && sf_uuid_equal(&a->machine, &b->machine) &&
         sf_uuid_equal(&a->boot, &b->boot) && a->since_s == b->since_s &&
         a->started == b->started && a->pid == b->pid;
}

static void
encode_as(const struct sf_superblock *sb, uint32_t version, uint8_t page[SF_PAGE_BYTES]) {
  /* Better to stop here than to leave a leg that no start will take. */
  SF_ASSERT(is_possible(sb));

  struct sf_superblock copy = *sb;
  struct sf_frame frame = {.version = version, .length = SF_PAGE_BYTES};
  struct sf_le le = {.page = page, .end = SF_PAGE_BYTES, .writing = true};
  memcpy(frame.magic, magic_bytes, sizeof magic_bytes);
  clear_unused(&copy);
  walk(&le, &frame, &copy);
  sf_page_seal(page);
}

/* Not newer than what it says: a volume of which nothing new is known stays readable for an older
 * program. */
void
sf_superblock_encode(const struct sf_superblock *sb, uint8_t page[SF_PAGE_BYTES]) {
  uint32_t version = sb->block_bytes ? VERSION_WITH_BLOCK : VERSION_WITH_MAPS;
  if (sb->holder.since_s != 0)
    version = VERSION_WITH_HOLDER;
  if (sb->bad.n != 0)
    version = VERSION_WITH_BAD;
  if (sb->unwritten)
    version = VERSION_WITH_UNWRITTEN;
  encode_as(sb, version, page);
}

int
sf_superblock_decode(const uint8_t page[SF_PAGE_BYTES], struct sf_superblock *sb) {
  uint8_t copy[SF_PAGE_BYTES], canonical[SF_PAGE_BYTES];
  struct sf_superblock found = {0};
  struct sf_frame frame;
  memcpy(copy, page, sizeof copy);
  struct sf_le le = {.page = copy, .end = SF_PAGE_BYTES};
  walk(&le, &frame, &found);

  if (memcmp(frame.magic, magic_bytes, sizeof magic_bytes) != 0)
    return -ENODATA;
  /* Before the version: a flipped bit there is damage, not a newer program. */
  if (frame.crc != sf_page_crc(page))
    return -EBADMSG;
  if (frame.version > SF_ONDISK_VERSION)
    return -EPROTONOSUPPORT;
  if (frame.length != SF_PAGE_BYTES)
    return -EBADMSG;
  if (frame.version == 0 || !is_possible(&found) || !numbers_are_possible(&found))
    return -EUCLEAN;
  if (frame.version < VERSION_WITH_MAPS &&
      (found.removed != 0 || found.lost != 0)) /* reserved there */
    return -EUCLEAN;
  if ((frame.version < VERSION_WITH_UNWRITTEN) == found.unwritten)
    return -EUCLEAN;
  if (frame.version < VERSION_WITH_UNWRITTEN &&
      (frame.version < VERSION_WITH_BAD) != (found.bad.n == 0))
    return -EUCLEAN;
  if (frame.version < VERSION_WITH_BAD &&
      (frame.version < VERSION_WITH_HOLDER) != (found.holder.since_s == 0))
    return -EUCLEAN;
  if (frame.version < VERSION_WITH_HOLDER &&
      (frame.version < VERSION_WITH_BLOCK) != (found.block_bytes == 0))
    return -EUCLEAN;

  /* One superblock has one page: this refuses whatever no field shows, that is unknown flags, and
   * anything but zero in reserved bytes, unused entries and behind names. */
  encode_as(&found, frame.version, canonical);
  if (memcmp(canonical, page, sizeof canonical) != 0)
    return -EUCLEAN;
  *sb = found;
  return 0;
}

/* Of two failures, the error that the operator must hear of. */
static int
worse_error(int a, int b) {
  static const int order[] = {-EPROTONOSUPPORT, -EBADMSG, -EUCLEAN, -ENODATA};
  for (size_t i = 0; i < sizeof order / sizeof *order; i++)
    if (a == order[i] || b == order[i])
      return order[i];
  return a;
}

int
sf_superblock_pick(const uint8_t page[SF_SUPERBLOCK_COPIES][SF_PAGE_BYTES],
                   struct sf_superblock *sb, unsigned *copy) {
  struct sf_superblock found[SF_SUPERBLOCK_COPIES];
  int error[SF_SUPERBLOCK_COPIES];
  for (unsigned i = 0; i < SF_SUPERBLOCK_COPIES; i++) {
    error[i] = sf_superblock_decode(page[i], &found[i]);
    /* Taken for the newest it would be written over next. */
    if (error[i] == 0 && found[i].serial % SF_SUPERBLOCK_COPIES != i)
      error[i] = -EUCLEAN;
  }

  if (error[0] == -EPROTONOSUPPORT || error[1] == -EPROTONOSUPPORT)
    return -EPROTONOSUPPORT;
  if (error[0] < 0 && error[1] < 0)
    return worse_error(error[0], error[1]);

  unsigned newest;
  if (error[0] < 0 || error[1] < 0)
    newest = error[0] < 0;
  else
    newest = found[1].serial > found[0].serial;
  *sb = found[newest];
  if (copy)
    *copy = newest;
  return 0;
}

const char *
sf_superblock_error(int error) {
  switch (error) {
  case 0:
    return "valid";
  case -ENODATA:
    return "wrong magic: there is no superblock";
  case -EBADMSG:
    return "CRC or length mismatch: the superblock is damaged";
  case -EPROTONOSUPPORT:
    return "written by a newer version";
  case -EUCLEAN:
    return "CRC is right but the contents are impossible";
  case -EIO:
    return "one copy of the superblock cannot be read, and the other place holds none";
  default:
    return "not a superblock error";
  }
}

bool
sf_superblock_is_leg(const struct sf_superblock *sb, const struct sf_superblock *volume,
                     unsigned leg) {
  return sf_uuid_equal(&sb->volume, &volume->volume) && sb->leg_index == leg &&
         sf_uuid_equal(&sb->leg_uuid[leg], &volume->leg_uuid[leg]);
}

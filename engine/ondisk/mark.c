/* The mark of a leg: whose it is, where nothing that happens to its head can meet it. */
#include <string.h>

#include <surefoot/ondisk.h>

#include "ondisk/frame.h"
#include "ondisk/possible.h"

static const uint8_t magic_bytes[8] = {'S', 'U', 'R', 'E', 'M', 'A', 'R', 'K'};

enum { MARK_VERSION = 1 };

/* The layout behind the frame, as docs/on-disk-format.md has it. */
enum {
  AT_VOLUME = 32,
  AT_LEG = 48,
  AT_VOLUME_NAME = 64,
  AT_LEG_NAME = 128,
  AT_LEG_INDEX = 160,
  AT_END = 161,
};

_Static_assert(AT_VOLUME + sizeof(struct sf_uuid) == AT_LEG, "volume");
_Static_assert(AT_LEG + sizeof(struct sf_uuid) == AT_VOLUME_NAME, "leg");
_Static_assert((int) AT_VOLUME_NAME + (int) SF_VOLUME_NAME_MAX == (int) AT_LEG_NAME, "its name");
_Static_assert((int) AT_LEG_NAME + (int) SF_LEG_NAME_MAX == (int) AT_LEG_INDEX, "its name");

static void
walk(struct sf_le *le, struct sf_frame *frame, struct sf_mark *mark) {
  sf_frame_walk(le, frame);
  sf_le_zeros_until(le, AT_VOLUME);
  sf_le_bytes(le, mark->volume.bytes, sizeof mark->volume.bytes);
  sf_le_expect(le, AT_LEG);
  sf_le_bytes(le, mark->leg.bytes, sizeof mark->leg.bytes);
  sf_le_expect(le, AT_VOLUME_NAME);
  sf_le_bytes(le, mark->volume_name, sizeof mark->volume_name);
  sf_le_expect(le, AT_LEG_NAME);
  sf_le_bytes(le, mark->leg_name, sizeof mark->leg_name);
  sf_le_expect(le, AT_LEG_INDEX);
  sf_le_u8(le, &mark->leg_index);
  sf_le_expect(le, AT_END);
  sf_le_zeros_until(le, SF_PAGE_BYTES);
}

void
sf_mark_of(const struct sf_superblock *sb, struct sf_mark *mark) {
  memset(mark, 0, sizeof *mark);
  mark->volume = sb->volume;
  mark->leg = sb->leg_uuid[sb->leg_index];
  mark->leg_index = sb->leg_index;
  memcpy(mark->volume_name, sb->volume_name, strnlen(sb->volume_name, SF_VOLUME_NAME_MAX - 1));
  memcpy(mark->leg_name, sb->leg_name[sb->leg_index],
         strnlen(sb->leg_name[sb->leg_index], SF_LEG_NAME_MAX - 1));
}

void
sf_mark_encode(const struct sf_mark *mark, uint8_t page[SF_PAGE_BYTES]) {
  struct sf_frame frame = {.version = MARK_VERSION, .length = SF_PAGE_BYTES};
  struct sf_le le = {.page = page, .end = SF_PAGE_BYTES, .writing = true};
  struct sf_mark copy = *mark;
  memcpy(frame.magic, magic_bytes, sizeof magic_bytes);
  walk(&le, &frame, &copy);
  sf_page_seal(page);
}

bool
sf_mark_decode(const uint8_t page[SF_PAGE_BYTES], struct sf_mark *mark) {
  uint8_t copy[SF_PAGE_BYTES];
  struct sf_frame frame;
  struct sf_mark read;
  memcpy(copy, page, sizeof copy);
  struct sf_le le = {.page = copy, .end = SF_PAGE_BYTES};
  walk(&le, &frame, &read);
  if (memcmp(frame.magic, magic_bytes, sizeof magic_bytes) != 0 || frame.crc != sf_page_crc(page) ||
      frame.version != MARK_VERSION || frame.length != SF_PAGE_BYTES ||
      !sf_uuid_is_set(&read.volume) || !sf_uuid_is_set(&read.leg) ||
      read.leg_index >= SF_LEGS_MAX ||
      !sf_name_is_possible(read.volume_name, sizeof read.volume_name) ||
      !sf_name_is_possible(read.leg_name, sizeof read.leg_name))
    return false;
  *mark = read;
  return true;
}

bool
sf_mark_is_leg(const struct sf_mark *mark, const struct sf_superblock *volume, unsigned leg) {
  return sf_uuid_equal(&mark->volume, &volume->volume) && mark->leg_index == leg &&
         sf_uuid_equal(&mark->leg, &volume->leg_uuid[leg]);
}

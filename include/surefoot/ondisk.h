/* What stands at the beginning of each leg: the metadata area, then the data at data_offset, which
 * is aligned to 1 MiB, so that `losetup -o` reads a leg without us.
 * The layout byte by byte is docs/on-disk-format.md.
 *
 * Everything here is arithmetic on memory: no I/O, no clock, no allocation.
 *
 * Little-endian, encoded and decoded explicitly.  A superblock is one 4 KiB page with magic,
 * version, length and CRC-32C (Castagnoli, as iSCSI) over the page with its CRC field as zero.
 * Each leg has two copies; a write never goes to the newest valid copy. */
#ifndef SUREFOOT_ONDISK_H
#define SUREFOOT_ONDISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
  SF_LEGS_MAX = 16,
  SF_ANCESTORS_MAX = 8,
  SF_LEG_NAME_MAX = 32,    /* with the final NUL */
  SF_VOLUME_NAME_MAX = 64, /* with the final NUL */
  SF_PAGE_BYTES = 4096,
  SF_SUPERBLOCK_COPIES = 2,
  SF_HOST_NAME_MAX = 64, /* with the final NUL */
  /* The newest that is read.  Version 1 had no maps, 2 no block size, 3 no holder, 4 no bad ranges,
   * 5 no unwritten extents: what says none of it is written as the older one. */
  SF_ONDISK_VERSION = 6,
  SF_BAD_MOST = 128,     /* bad ranges of a volume */
  SF_MAP_VERSION = 3,    /* the newest that is read; a page without unwritten extents is of 2 */
  SF_MAP_EXTENTS = 1792, /* in a page of the maps */
  SF_MAP_BYTES = SF_MAP_EXTENTS / 8,
  /* While a volume has unwritten extents each page has a second copy, so many pages further on; and
   * a volume with more than SF_MAP_TWICE_MOST pages has no such extents. */
  SF_MAP_SECOND = 1016,
  SF_MAP_TWICE_MOST = SF_MAP_SECOND - 1,
};

/* Offsets on a leg, bytes. */
#define SF_SUPERBLOCK_OFFSET(copy) ((uint64_t) (copy) *SF_PAGE_BYTES)
#define SF_PROBE_OFFSET            ((uint64_t) 2 * SF_PAGE_BYTES) /* scratch for R14's probes */
#define SF_MAPS_OFFSET             ((uint64_t) 64 * 1024)
#define SF_MAP_PAGE_OFFSET(page)   (SF_MAPS_OFFSET + (uint64_t) (page) *SF_PAGE_BYTES)
#define SF_MAP_SECOND_OFFSET(page) SF_MAP_PAGE_OFFSET((page) + SF_MAP_SECOND)
#define SF_DATA_OFFSET             ((uint64_t) 8 * 1024 * 1024)
#define SF_MARK_OFFSET             (SF_DATA_OFFSET - SF_PAGE_BYTES) /* far from the head */
#define SF_DATA_ALIGN              ((uint64_t) 1024 * 1024)
#define SF_EXTENT_BYTES_DEFAULT    ((uint64_t) 1024 * 1024)
#define SF_VOLUME_BYTES_MIN        ((uint64_t) 1024 * 1024)
/* No volume has more extents: the area of the maps is made for it. */
#define SF_EXTENTS_MAX (UINT64_C(1) << 21)
/* Larger ones are possible on disk, but no volume serves them: an extent is copied in one go. */
#define SF_EXTENT_BYTES_MAX ((uint64_t) 1024 * 1024 * 1024)
#define SF_VOLUME_BYTES_MAX (SF_EXTENTS_MAX * SF_EXTENT_BYTES_MAX) /* 2 PiB */

/* No serial, term, change or claim that is read is above it: the next ones are counted on from
 * there. */
#define SF_NUMBER_MAX (UINT64_C(1) << 62)

struct sf_uuid {
  uint8_t bytes[16];
};

/* The durable statement of the in-sync set.  Compared by (term, change). */
struct sf_record {
  uint64_t term;
  uint64_t change;
  uint16_t in_sync; /* bit i: leg i holds every acknowledged write */
  uint16_t faulty;  /* bit i: taken out for errors or by the operator; not taken back by itself */
  uint8_t min_legs;
  bool clean; /* stopped with nothing in flight and everything flushed on the in-sync set */
};

/* Where an earlier line of history was left by a forced start. */
struct sf_ancestor {
  struct sf_uuid lineage;
  uint64_t term, change; /* the newest record of it that the forced start saw */
};

/* The server that has claimed the leg and has not stopped clean since. since_s 0: none, and the
 * rest is zero. */
struct sf_holder {
  char host[SF_HOST_NAME_MAX]; /* its name, printable; may be empty */
  struct sf_uuid machine;      /* /etc/machine-id; nil: not known */
  struct sf_uuid boot;         /* of the running kernel; nil: not known */
  uint64_t since_s;            /* when the server was started, seconds since 1970 */
  uint64_t started;            /* the process's start, as /proc/PID/stat has it */
  uint32_t pid;
};

/* A range that no leg could read, and that was not written since: reads of it fail, whatever the
 * legs hold there. */
struct sf_bad_range {
  uint64_t begin, end; /* bytes of the volume: multiples of 512, begin < end */
};

struct sf_bad {
  uint32_t n;
  struct sf_bad_range range[SF_BAD_MOST]; /* in order, none beside another */
};

struct sf_superblock {
  uint64_t serial; /* of this leg's superblock writes: the higher valid copy is the newest */
  struct sf_uuid volume;
  char volume_name[SF_VOLUME_NAME_MAX];
  uint8_t leg_index;
  uint8_t legs;     /* how many places the volume has */
  uint16_t removed; /* bit i: place i is empty; its uuid and name are what they were */
  /* Bit i: leg i is in sync, and a flush failed there: in extents with intent it may lack
   * acknowledged writes (R9). */
  uint16_t lost;
  struct sf_uuid leg_uuid[SF_LEGS_MAX];
  char leg_name[SF_LEGS_MAX][SF_LEG_NAME_MAX];
  /* The smallest block as clients are told, as it was when the volume was made: a partition table
   * and some file systems are bound to it.  A power of two, 512 to 4096; 0: not recorded. */
  uint16_t block_bytes;
  uint64_t data_offset;
  uint64_t data_bytes; /* the volume's size */
  uint64_t extent_bytes;
  struct sf_uuid lineage;
  uint8_t ancestors; /* how many of: newest first */
  struct sf_ancestor ancestor[SF_ANCESTORS_MAX];
  uint64_t claim; /* the highest term that this leg has promised to a start (R12) */
  struct sf_holder holder;
  struct sf_bad bad;
  /* The maps may call extents unwritten, and their pages have second copies that count. */
  bool unwritten;
  struct sf_record record;
};

/* Of the bytes from begin up to end: are any bad, are all? */
bool sf_bad_any(const struct sf_bad *bad, uint64_t begin, uint64_t end);
bool sf_bad_all(const struct sf_bad *bad, uint64_t begin, uint64_t end);
/* False: the list would have more than `most` ranges, and is as it was. */
bool sf_bad_add(struct sf_bad *bad, uint64_t begin, uint64_t end, unsigned most);
/* False: it would have too many ranges, as a removal from the middle of one leaves two. */
bool sf_bad_remove(struct sf_bad *bad, uint64_t begin, uint64_t end);

bool sf_holder_equal(const struct sf_holder *a, const struct sf_holder *b);

/* -1, 0, 1 as a is older than, the same as, newer than b. */
int sf_record_compare(const struct sf_record *a, const struct sf_record *b);

void sf_superblock_encode(const struct sf_superblock *sb, uint8_t page[SF_PAGE_BYTES]);

/* -ENODATA: no superblock at all (wrong magic).  -EBADMSG: magic but damaged (CRC, length).
 * -EPROTONOSUPPORT: a newer version than we know.  -EUCLEAN: valid CRC, impossible contents.
 * *sb is untouched on failure. */
int sf_superblock_decode(const uint8_t page[SF_PAGE_BYTES], struct sf_superblock *sb);
/* Is it that leg's, as this superblock of the volume knows the leg? */
bool sf_superblock_is_leg(const struct sf_superblock *sb, const struct sf_superblock *volume,
                          unsigned leg);

/* Of the two copies takes the newest valid one and says which (*copy may be NULL).  A copy with a
 * serial that belongs to the other place is not valid: -EUCLEAN.
 * If neither is valid: -EPROTONOSUPPORT if either is of a newer version, else -EBADMSG if either
 * carries the magic, else -EUCLEAN if such, else -ENODATA.  A newer version in one copy refuses
 * even when the other copy is valid: a newer program has written here. */
int sf_superblock_pick(const uint8_t page[SF_SUPERBLOCK_COPIES][SF_PAGE_BYTES],
                       struct sf_superblock *sb, unsigned *copy);

/* One page of the maps: for each of SF_MAP_EXTENTS extents, from page * SF_MAP_EXTENTS on, whether
 * it may differ between in-sync legs after a crash (intent, R8), for each leg whether it lacks an
 * acknowledged write there (stale), and whether it was never written, so that it reads as zeros
 * whatever the legs hold (unwritten).  All in one page, so that one write of it clears an intent
 * bit and keeps the stale bits that it stood for.  Extent k is bit k % 8 of byte k / 8. */
struct sf_map_page {
  struct sf_uuid volume;
  uint32_t page;
  uint64_t number; /* of the writes of this page, for the curious; nothing depends on it */
  uint8_t intent[SF_MAP_BYTES];
  uint8_t stale[SF_LEGS_MAX][SF_MAP_BYTES];
  uint8_t unwritten[SF_MAP_BYTES];
};

/* How many pages the maps of a volume have. */
uint64_t sf_map_pages(uint64_t data_bytes, uint64_t extent_bytes);

void sf_map_page_encode(const struct sf_map_page *map, uint8_t page[SF_PAGE_BYTES]);

/* A page that is damaged, of another volume or of another place counts as all set (R10): then this
 * says false and *map has every bit set, but calls nothing unwritten: what may hold acknowledged
 * data must not be read as zeros. */
bool sf_map_page_decode(const uint8_t page[SF_PAGE_BYTES], const struct sf_uuid *volume,
                        uint32_t index, struct sf_map_page *map);

/* Of the two copies of a page the one that counts: the first, which is written first, unless it is
 * damaged.  Either may be NULL.  NULL: both are damaged. */
const uint8_t *sf_map_page_choose(const uint8_t *first, const uint8_t *second,
                                  const struct sf_uuid *volume, uint32_t index);

/* What a leg is, without what it holds: no record, no claim, and so no vote.  It stands far from the
 * superblocks, which say all of it too, and is asked only when neither of them says anything. */
struct sf_mark {
  struct sf_uuid volume, leg;
  char volume_name[SF_VOLUME_NAME_MAX]; /* the names as they were when it was written */
  char leg_name[SF_LEG_NAME_MAX];
  uint8_t leg_index;
};

void sf_mark_of(const struct sf_superblock *sb, struct sf_mark *mark);
void sf_mark_encode(const struct sf_mark *mark, uint8_t page[SF_PAGE_BYTES]);
/* False, and *mark as it was: there is none, or one that this program does not know. */
bool sf_mark_decode(const uint8_t page[SF_PAGE_BYTES], struct sf_mark *mark);
/* Is it that leg of the volume, as this superblock of it knows it? */
bool sf_mark_is_leg(const struct sf_mark *mark, const struct sf_superblock *volume, unsigned leg);

/* True when the first 64 KiB of a leg hold anything but zeros. */
bool sf_looks_used(const uint8_t *bytes, size_t len);

/* The volume's size that fits a leg of leg_bytes, a multiple of 4 KiB; 0: too small. */
uint64_t sf_data_bytes_for(uint64_t leg_bytes);

/* A power of two, at least the default and at most SF_EXTENT_BYTES_MAX, so that a new volume has no
 * more than 2^19 extents and can grow fourfold: one above 512 TiB less, up to
 * SF_VOLUME_BYTES_MAX. */
uint64_t sf_extent_bytes_for(uint64_t data_bytes);

void sf_uuid_generate(struct sf_uuid *uuid);
bool sf_uuid_equal(const struct sf_uuid *a, const struct sf_uuid *b);
void sf_uuid_format(const struct sf_uuid *uuid, char text[37]);

/* "wrong magic", "CRC mismatch", ... for a code that sf_superblock_decode/pick returned. */
const char *sf_superblock_error(int error);

#endif

/* Is anything on this disk, and what?  Asked before something is made of it that destroys that.
 * Names come from libblkid; what it does not know shows by not being zero, wherever a bounded
 * number of reads meets it. */
#include <blkid.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "legs/internal.h"

enum {
  ROUNDS = 16,  /* of samples, each spread over the disk */
  SAMPLES = 32, /* in a round: a quarter of a second of a spinning disk */
  SAMPLE_BYTES = 64 * 1024,
  HURRY_MS = 500,
  SIGNS_MAX = 8,
  TEXT_MAX = 160,
};

/* Read from end to end, or from the beginning on. */
static const uint64_t whole_bytes = UINT64_C(256) << 20, dense_bytes = UINT64_C(64) << 20;

/* ---- what libblkid knows ---- */

static blkid_probe
open_probe(int fd) {
  blkid_probe probe = blkid_new_probe();
  if (!probe)
    return NULL;
  blkid_probe_enable_superblocks(probe, 1);
  blkid_probe_set_superblocks_flags(probe, BLKID_SUBLKS_TYPE | BLKID_SUBLKS_MAGIC);
  blkid_probe_enable_partitions(probe, 1);
  blkid_probe_set_partitions_flags(probe, BLKID_PARTS_MAGIC | BLKID_PARTS_FORCE_GPT);
  if (blkid_probe_set_device(probe, fd, 0, 0) == 0)
    return probe;
  blkid_free_probe(probe);
  return NULL;
}

struct sign {
  const char *name;
  uint64_t offset;
  size_t len;
};

static bool
read_sign(blkid_probe probe, struct sign *sign) {
  const char *at = NULL, *magic;
  *sign = (struct sign){0};
  if (blkid_probe_lookup_value(probe, "TYPE", &sign->name, NULL) == 0) {
    blkid_probe_lookup_value(probe, "SBMAGIC_OFFSET", &at, NULL);
    blkid_probe_lookup_value(probe, "SBMAGIC", &magic, &sign->len);
  } else if (blkid_probe_lookup_value(probe, "PTTYPE", &sign->name, NULL) == 0) {
    blkid_probe_lookup_value(probe, "PTMAGIC_OFFSET", &at, NULL);
    blkid_probe_lookup_value(probe, "PTMAGIC", &magic, &sign->len);
  }
  sign->offset = at ? strtoull(at, NULL, 10) : 0;
  return sign->name != NULL;
}

/* The twin at the end of the disk is told only when the first one is not seen. */
static void
look_behind(blkid_probe probe, const struct sign *sign) {
  if (sign->len > 0 && blkid_probe_hide_range(probe, sign->offset, sign->len) == 0)
    blkid_probe_step_back(probe);
}

/* libblkid reads as it likes, which O_DIRECT does not take: so the file is opened once more. */
static int
open_again(const struct sf_leg_file *file) {
  char path[64];
  snprintf(path, sizeof path, "/proc/self/fd/%d", file->fd);
  return open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
}

int
sf_leg_find_signs(const struct sf_leg_file *file, uint64_t from, uint64_t to, char *text,
                  size_t size) {
  int fd = open_again(file), count = fd < 0 ? -errno : 0;
  blkid_probe probe = fd < 0 ? NULL : open_probe(fd);
  size_t used = 0;
  text[0] = '\0';
  if (fd >= 0 && !probe)
    count = -EIO;
  for (unsigned i = 0; probe && i < SIGNS_MAX && blkid_do_probe(probe) == 0; i++) {
    struct sign sign;
    if (!read_sign(probe, &sign))
      continue;
    if (sign.offset >= from && sign.offset < to) {
      if (used < size)
        used += (size_t) snprintf(text + used, size - used, "%s%s at byte %" PRIu64,
                                  count ? ", " : "", sign.name, sign.offset);
      count++;
    }
    look_behind(probe, &sign);
  }
  if (probe)
    blkid_free_probe(probe);
  if (fd >= 0)
    close(fd);
  return count;
}

/* ---- bytes that are not zero ---- */

struct search {
  const struct sf_leg_file *file;
  uint64_t until; /* for what need not be looked at */
  uint8_t *buffer;
  uint64_t end; /* of what O_DIRECT can read */
  char *text;
};

/* 1: found. */
static int
look(struct search *search, uint64_t from, size_t len) {
  if (from >= search->end)
    return 0;
  if (len > search->end - from)
    len = (size_t) (search->end - from);
  ssize_t n = sf_leg_read(search->file->fd, search->buffer, len, from);
  if (n < 0) {
    snprintf(search->text, TEXT_MAX, "what stands at byte %" PRIu64 " cannot be read", from);
    return (int) n;
  }
  for (ssize_t i = 0; i < n; i++)
    if (search->buffer[i] != 0) {
      snprintf(search->text, TEXT_MAX, "bytes that are not zero at %" PRIu64, from + (uint64_t) i);
      return 1;
    }
  return 0;
}

static int
look_through(struct search *search, uint64_t from, uint64_t to) {
  int r = 0;
  for (; from < to && r == 0; from += LEG_PIECE_BYTES)
    r = look(search, from, LEG_PIECE_BYTES);
  return r;
}

static bool
has_time(const struct search *search) {
  return sf_clock_ns() < search->until;
}

/* Each round lies in the middle between those before. */
static int
sample(struct search *search, unsigned round) {
  static const unsigned place[ROUNDS] = {0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15};
  uint64_t step = search->end / (ROUNDS * SAMPLES) / LEG_BUFFER_ALIGN * LEG_BUFFER_ALIGN;
  int r = 0;
  for (unsigned i = 0; i < SAMPLES && r == 0 && (round == 0 || has_time(search)); i++)
    r = look(search, (i * ROUNDS + place[round]) * step, SAMPLE_BYTES);
  return r;
}

/* The ends first: that is where most things have their labels.  Then what tells most in least
 * time. */
static int
search_all(struct search *search) {
  uint64_t end = search->end, at = end < dense_bytes ? end : SF_DATA_OFFSET;
  int r = end > LEG_PIECE_BYTES ? look_through(search, end - LEG_PIECE_BYTES, end) : 0;
  if (r == 0)
    r = look_through(search, 0, at);
  for (unsigned round = 0; round < ROUNDS && r == 0 && at < end; round++)
    r = sample(search, round);
  for (uint64_t to = end <= whole_bytes ? end : dense_bytes; at < to && r == 0 && has_time(search);
       at += LEG_PIECE_BYTES)
    r = look(search, at, LEG_PIECE_BYTES);
  return r;
}

int
sf_leg_find_use(const struct sf_leg_file *file, bool hurry, char text[LEG_USE_TEXT_MAX]) {
  _Static_assert((int) TEXT_MAX <= (int) LEG_USE_TEXT_MAX, "one buffer");
  struct search search = {.file = file,
                          .until = hurry ? sf_clock_ns() + HURRY_MS * SF_MS : UINT64_MAX,
                          .buffer = sf_leg_buffer(LEG_PIECE_BYTES),
                          .end = file->bytes - file->bytes % LEG_BUFFER_ALIGN,
                          .text = text};
  text[0] = '\0';
  if (sf_leg_find_signs(file, 0, UINT64_MAX, text, LEG_USE_TEXT_MAX) > 0) {
    free(search.buffer);
    return 1;
  }
  int r = search.buffer ? search_all(&search) : -ENOMEM;
  free(search.buffer);
  return r;
}

/* ---- wiping ---- */

/* Old labels at the end outlive a write at the beginning: the second GPT, md 1.0 and 0.90, ZFS,
 * DRBD.  A program that repairs one of these from there would write over our superblock. */
int
sf_leg_wipe_end(const struct sf_leg_file *file, uint64_t from) {
  uint64_t end = file->bytes - file->bytes % file->block_bytes;
  uint64_t begin = end > LEG_PIECE_BYTES ? end - LEG_PIECE_BYTES : 0;
  begin -= begin % LEG_BUFFER_ALIGN;
  if (begin < from)
    begin = from;
  return begin < end ? sf_leg_zero(file, begin, end - begin, NULL, NULL) : 0;
}

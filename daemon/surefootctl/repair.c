/* `check --compare --repair`: where legs in sync differ, the wrong ones are written anew, as a
 * scrub does it while the volume is used:
 * each block by the vote of the copies, and where that knows nothing, by the leg that the operator
 * names. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"

enum { BLOCK_BYTES = SF_PAGE_BYTES };

struct repairing {
  const struct checked *checked;
  int from; /* -1: no leg was named */
  struct repaired *result;
  uint8_t *block[SF_LEGS_MAX];
};

/* A start makes the legs equal after a crash, and a leg that is out would miss the writes made
 * here. */
int
ctl_repair_may(const struct checked *checked) {
  const struct sf_assembly *assembly = &checked->assembly;
  const struct sf_superblock *base = &assembly->base;
  uint16_t members = (uint16_t) ((1u << base->legs) - 1) & (uint16_t) ~base->removed;
  char names[256];
  if (assembly->reference < 0 || !assembly->may_start)
    return ctl_fail("%s: nothing is repaired, as it would not start", checked->config.name);
  if (!base->record.clean)
    return ctl_fail(
        "%s: nothing is repaired, as it was not stopped cleanly: start it, and scrub it",
        checked->config.name);
  if (base->lost != 0)
    return ctl_fail(
        "%s: nothing is repaired, as a flush failed on a leg: start it, and see its status",
        checked->config.name);
  if (checked->current == members)
    return CTL_DONE;
  ctl_compare_names(checked, members & (uint16_t) ~checked->current, names, sizeof names);
  return ctl_fail("%s: nothing is repaired without %s: all legs must be here and in sync, or those "
                  "that are not would come back without it.  A scrub repairs while it is used",
                  checked->config.name, names);
}

/* ---- one block ---- */

/* A read there is answered with an error on every leg, until it is written. */
static bool
is_bad(const struct sf_bad *bad, uint64_t at) {
  for (unsigned i = 0; i < bad->n; i++)
    if (bad->range[i].begin < at + BLOCK_BYTES && at < bad->range[i].end)
      return true;
  return false;
}

static uint16_t
read_block(const struct repairing *r, uint64_t at) {
  uint64_t offset = r->checked->assembly.base.data_offset + at;
  uint16_t readable = 0;
  for (unsigned leg = 0; leg < r->checked->config.legs; leg++)
    if ((r->checked->current >> leg & 1) &&
        pread(r->checked->file[leg].fd, r->block[leg], BLOCK_BYTES, (off_t) offset) == BLOCK_BYTES)
      readable |= (uint16_t) (1u << leg);
  return readable;
}

static uint16_t
alike(const struct repairing *r, unsigned leg, uint16_t readable) {
  uint16_t same = 0;
  for (unsigned other = 0; other < r->checked->config.legs; other++)
    if ((readable >> other & 1) && memcmp(r->block[leg], r->block[other], BLOCK_BYTES) == 0)
      same |= (uint16_t) (1u << other);
  return same;
}

/* A leg that is right; -1: none is known to be.  It is right if all readable copies are alike, or
 * more than half of three or more. */
static int
find_right(const struct repairing *r, uint16_t readable) {
  int copies = __builtin_popcount(readable);
  for (unsigned leg = 0; leg < r->checked->config.legs; leg++) {
    if (!(readable >> leg & 1))
      continue;
    uint16_t same = alike(r, leg, readable);
    if (same == readable || (copies > 2 && 2 * __builtin_popcount(same) > copies))
      return (int) leg;
  }
  return r->from >= 0 && (readable >> r->from & 1) ? r->from : -1;
}

/* Writes the right copy and reads it again: a disk that says yes and does not write is reported. */
static bool
write_block(struct repairing *r, unsigned leg, unsigned right, uint64_t at) {
  off_t offset = (off_t) (r->checked->assembly.base.data_offset + at);
  int fd = r->checked->file[leg].fd;
  return pwrite(fd, r->block[right], BLOCK_BYTES, offset) == BLOCK_BYTES && fdatasync(fd) == 0 &&
         pread(fd, r->block[leg], BLOCK_BYTES, offset) == BLOCK_BYTES &&
         memcmp(r->block[leg], r->block[right], BLOCK_BYTES) == 0;
}

static void
repair_block(struct repairing *r, uint64_t at) {
  const struct checked *checked = r->checked;
  uint16_t readable = is_bad(&checked->assembly.base.bad, at) ? 0 : read_block(r, at);
  int right = readable ? find_right(r, readable) : -1;
  if (right < 0) {
    r->result->unknown_bytes += BLOCK_BYTES;
    return;
  }
  uint16_t wrong = checked->current & (uint16_t) ~alike(r, (unsigned) right, readable);
  for (unsigned leg = 0; leg < checked->config.legs; leg++) {
    if (!(wrong >> leg & 1))
      continue;
    if (write_block(r, leg, (unsigned) right, at))
      r->result->bytes[leg] += BLOCK_BYTES;
    else
      r->result->failed_bytes += BLOCK_BYTES;
  }
}

/* ---- all that was found ---- */

static void
repair_range(struct repairing *r, uint64_t offset, uint64_t length) {
  for (uint64_t at = offset; at < offset + length; at += BLOCK_BYTES) {
    uint16_t readable = read_block(r, at);
    uint16_t current = r->checked->current;
    if (readable != current || alike(r, (unsigned) __builtin_ctz(current), readable) != current)
      repair_block(r, at);
  }
}

/* Is it in a piece that a leg could not read, of the first so many?  Each is looked at once. */
static bool
is_done(const struct comparison *comparison, size_t pieces, uint64_t offset) {
  for (size_t i = 0; i < pieces; i++) {
    const struct unreadable *piece = &comparison->unreadable[i];
    if (offset >= piece->offset && offset < piece->offset + piece->length)
      return true;
  }
  return false;
}

int
ctl_repair_legs(const struct checked *checked, const struct comparison *comparison, int from,
                struct repaired *result) {
  struct repairing r = {.checked = checked, .from = from, .result = result};
  int status = CTL_DONE;
  *result = (struct repaired){.done = true};
  for (unsigned leg = 0; leg < checked->config.legs; leg++)
    if (posix_memalign((void **) &r.block[leg], SF_PAGE_BYTES, BLOCK_BYTES) != 0) {
      r.block[leg] = NULL;
      status = ctl_fail("%s: out of memory", checked->config.name);
    }
  for (size_t i = 0; i < comparison->unreadables && status == CTL_DONE; i++)
    if (!is_done(comparison, i, comparison->unreadable[i].offset))
      repair_range(&r, comparison->unreadable[i].offset, comparison->unreadable[i].length);
  for (size_t i = 0; i < comparison->differences && status == CTL_DONE; i++)
    if (!is_done(comparison, comparison->unreadables, comparison->difference[i].offset))
      repair_range(&r, comparison->difference[i].offset, comparison->difference[i].length);
  for (unsigned leg = 0; leg < checked->config.legs; leg++)
    free(r.block[leg]);
  return status;
}

bool
ctl_repair_is_whole(const struct repaired *repaired) {
  return repaired->done && repaired->unknown_bytes == 0 && repaired->failed_bytes == 0;
}

/* ---- said ---- */

void
ctl_repair_print(const struct checked *checked, const struct repaired *repaired) {
  char size[CTL_TEXT_MAX];
  bool any = false;
  for (unsigned leg = 0; leg < checked->config.legs; leg++)
    if (repaired->bytes[leg] > 0) {
      printf("repaired %s of %s\n", ctl_size(repaired->bytes[leg], size),
             checked->config.leg[leg].name);
      any = true;
    }
  if (repaired->unknown_bytes > 0)
    printf("of %s no leg is known to be right: --from LEG decides\n",
           ctl_size(repaired->unknown_bytes, size));
  if (repaired->failed_bytes > 0)
    printf("%s could not be written\n", ctl_size(repaired->failed_bytes, size));
  if (!any && repaired->unknown_bytes == 0 && repaired->failed_bytes == 0)
    puts("nothing was to be repaired");
}

json_t *
ctl_repair_to_json(const struct checked *checked, const struct repaired *repaired) {
  json_t *legs = json_object();
  for (unsigned leg = 0; leg < checked->config.legs; leg++)
    if (repaired->bytes[leg] > 0)
      json_object_set_new(legs, checked->config.leg[leg].name,
                          json_integer((json_int_t) repaired->bytes[leg]));
  return json_pack("{so sI sI}", "repaired_bytes", legs, "unknown_bytes",
                   (json_int_t) repaired->unknown_bytes, "failed_bytes",
                   (json_int_t) repaired->failed_bytes);
}

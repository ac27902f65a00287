/* What a leg begins with: superblocks and maps.  A bad block there costs what stood in it and
 * nothing else, so what cannot be read at once is read piece by piece. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "legs/internal.h"

enum {
  HEAD_BYTES = 64 * 1024,
  HEAD_PAGES = HEAD_BYTES / SF_PAGE_BYTES,
  PIECE_PAGES = 16,
  /* Each can take a disk seconds: with more than these the rest counts as bad, unread. */
  BAD_PAGES_MAX = 64,
};

_Static_assert(HEAD_BYTES >= SF_SUPERBLOCK_COPIES * SF_PAGE_BYTES, "both copies are in the head");
_Static_assert(HEAD_BYTES == SF_MAPS_OFFSET, "the head, then the maps");

struct pages {
  uint8_t *bytes;
  bool *bad;
  uint64_t count, offset;
};

static void
mark_bad(struct sf_leg_file *file, struct pages *pages, uint64_t page, int error) {
  memset(pages->bytes + page * SF_PAGE_BYTES, 0, SF_PAGE_BYTES);
  pages->bad[page] = true;
  if (file->bad_pages++ == 0) {
    file->bad_offset = pages->offset + page * SF_PAGE_BYTES;
    file->bad_error = error;
  }
}

/* 0, or -errno; zeros behind the end of the leg. */
static int
read_some(const struct sf_leg_file *file, struct pages *pages, uint64_t first, uint64_t count) {
  ssize_t n = sf_leg_read(file->fd, pages->bytes + first * SF_PAGE_BYTES, count * SF_PAGE_BYTES,
                          pages->offset + first * SF_PAGE_BYTES);
  return n < 0 ? (int) n : 0;
}

static void
read_piece(struct sf_leg_file *file, struct pages *pages, uint64_t first, uint64_t count) {
  int r = file->bad_pages < BAD_PAGES_MAX ? read_some(file, pages, first, count) : file->bad_error;
  if (r == 0)
    return;
  for (uint64_t i = first; i < first + count; i++) {
    r = file->bad_pages < BAD_PAGES_MAX ? read_some(file, pages, i, 1) : file->bad_error;
    if (r < 0)
      mark_bad(file, pages, i, r);
  }
}

/* What cannot be read is zeros, and marked. */
static void
read_pages(struct sf_leg_file *file, struct pages *pages) {
  if (read_some(file, pages, 0, pages->count) == 0)
    return;
  for (uint64_t first = 0; first < pages->count; first += PIECE_PAGES)
    read_piece(file, pages, first,
               pages->count - first < PIECE_PAGES ? pages->count - first : PIECE_PAGES);
}

/* A bad block is healed by being written.  Zeros mean there what a page means that cannot be read:
 * a page of the maps is then damaged and counts as all set, the rest of the head means nothing.  A
 * copy of the superblock is left to the volume: which record it held is not known yet.  And a leg
 * with very many is not one with a bad block: its pages may be well again in a moment. */
static void
rewrite(struct sf_leg_file *file, const struct pages *pages, uint64_t first) {
  void *zeros = file->bad_pages < BAD_PAGES_MAX ? sf_leg_buffer(SF_PAGE_BYTES) : NULL;
  for (uint64_t i = first; i < pages->count && zeros; i++)
    if (pages->bad[i] &&
        sf_leg_write(file->fd, zeros, SF_PAGE_BYTES, pages->offset + i * SF_PAGE_BYTES) == 0)
      file->rewritten_pages++;
  free(zeros);
}

/* Whose leg it was, when the head does not say it any more.  It may not be read either. */
static void
read_mark(const struct sf_leg_file *file, struct sf_leg_found *found) {
  uint8_t *page = sf_leg_buffer(SF_PAGE_BYTES);
  if (page && sf_leg_read(file->fd, page, SF_PAGE_BYTES, SF_MARK_OFFSET) == SF_PAGE_BYTES)
    found->marked = sf_mark_decode(page, &found->mark);
  free(page);
}

/* What somebody newer wrote is not lost. */
static bool
is_lost(int error) {
  return error != 0 && error != -EPROTONOSUPPORT;
}

static void
judge_head(struct sf_leg_file *file, struct sf_leg_found *found, const struct pages *head) {
  bool lost = head->bad[0] || head->bad[1];
  file->looks_used = file->bad_pages > 0 || sf_looks_used(head->bytes, HEAD_BYTES);
  found->present = true;
  found->bytes = file->bytes;
  found->error =
      sf_superblock_pick((const uint8_t(*)[SF_PAGE_BYTES]) head->bytes, &found->sb, NULL);
  found->doubtful = lost && found->error == 0;
  /* What stood there may have been one. */
  if (lost && found->error == -ENODATA)
    found->error = -EIO;
}

static int
fail_unreadable(const char *path, const struct sf_leg_file *file, struct sf_leg_found *found,
                char error[SF_CONFIG_ERROR_MAX]) {
  char whose[SF_MARK_TEXT_MAX] = "it may be a leg";
  read_mark(file, found);
  if (found->marked)
    snprintf(whose, sizeof whose, "it is leg %s of volume %s by its mark", found->mark.leg_name,
             found->mark.volume_name);
  return sf_leg_fail(
      error, file->bad_error,
      "%s: %s, and neither copy of its superblock can be read: %s; if it is the disk, "
      "copy what can be "
      "read to another one (ddrescue)",
      sf_leg_path(path), whose, strerrordesc_np(-file->bad_error));
}

int
sf_leg_read_head(const char *path, unsigned flags, struct sf_leg_file *file,
                 struct sf_leg_found *found, char error[SF_CONFIG_ERROR_MAX]) {
  bool bad[HEAD_PAGES] = {false};
  struct pages head = {.bytes = sf_leg_buffer(HEAD_BYTES), .bad = bad, .count = HEAD_PAGES};
  int r = 0;
  if (head.bytes == NULL)
    return sf_leg_fail(error, -ENOMEM, "%s: out of memory", sf_leg_path(path));
  read_pages(file, &head);
  if (bad[0] && bad[1])
    r = fail_unreadable(path, file, found, error);
  else
    judge_head(file, found, &head);
  if (r == 0 && is_lost(found->error))
    read_mark(file, found);
  if (r == 0 && found->error == 0 && !(flags & SF_LEG_READ_ONLY))
    rewrite(file, &head, SF_SUPERBLOCK_COPIES);
  free(head.bytes);
  return r;
}

static int
read_map_pages(struct sf_leg_file *file, unsigned flags, uint64_t first, uint64_t offset) {
  struct pages maps = {
      .count = file->map_pages, .offset = offset, .bytes = file->maps + first * SF_PAGE_BYTES};
  maps.bad = calloc(maps.count, sizeof *maps.bad);
  if (maps.bad == NULL)
    return -ENOMEM;
  read_pages(file, &maps);
  if (!(flags & SF_LEG_READ_ONLY))
    rewrite(file, &maps, 0);
  free(maps.bad);
  return 0;
}

int
sf_leg_read_maps(const char *path, unsigned flags, struct sf_leg_file *file,
                 const struct sf_leg_found *found, char error[SF_CONFIG_ERROR_MAX]) {
  const struct sf_superblock *sb = &found->sb;
  if (found->error != 0)
    return 0;
  int r;
  file->map_pages = sf_map_pages(sb->data_bytes, sb->extent_bytes);
  file->maps_twice = sb->unwritten;
  file->maps = sf_leg_buffer(sf_leg_maps_bytes(file));
  r = file->maps ? read_map_pages(file, flags, 0, SF_MAP_PAGE_OFFSET(0)) : -ENOMEM;
  if (r == 0 && file->maps_twice)
    r = read_map_pages(file, flags, file->map_pages, SF_MAP_SECOND_OFFSET(0));
  return r == 0 ? 0 : sf_leg_fail(error, r, "%s: out of memory", sf_leg_path(path));
}

size_t
sf_leg_maps_bytes(const struct sf_leg_file *file) {
  return file->map_pages * SF_PAGE_BYTES * (file->maps_twice ? 2 : 1);
}

const uint8_t *
sf_leg_file_map_page(const struct sf_leg_file *file, const struct sf_uuid *volume, uint64_t page) {
  const uint8_t *first = file->maps + page * SF_PAGE_BYTES;
  if (file->maps == NULL || page >= file->map_pages)
    return NULL;
  return sf_map_page_choose(first,
                            file->maps_twice ? first + file->map_pages * SF_PAGE_BYTES : NULL,
                            volume, (uint32_t) page);
}

const char *
sf_leg_file_bad_text(const struct sf_leg_file *file, char text[SF_LEG_BAD_TEXT_MAX]) {
  const char *why = strerrordesc_np(-file->bad_error);
  unsigned left = file->bad_pages - file->rewritten_pages;
  text[0] = '\0';
  if (file->bad_pages == 0)
    return text;
  snprintf(text, SF_LEG_BAD_TEXT_MAX,
           "%u page%s of its metadata could not be read, the first at byte %llu: %s; %s",
           file->bad_pages, file->bad_pages == 1 ? "" : "s", (unsigned long long) file->bad_offset,
           why ? why : "an error",
           left == 0 ? "written anew" : "what stood there is taken from elsewhere");
  return text;
}

/* Giving up what one leg holds. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "assembly/blank.h"
#include "legs/internal.h"

/* The operator named the leg, not what its path leads to today: a disk that got another one's name
 * is not wiped.  Nor is a disk that cannot tell its name given this leg's, as another may have it:
 * two disks under one uuid would pass for each other. */
static bool
is_own(const struct sf_leg_found *found, const struct sf_superblock *reference, unsigned leg) {
  return found->error == 0 && sf_uuid_equal(&found->sb.leg_uuid[leg], &reference->leg_uuid[leg]);
}

/* `wipefs -a` takes the labels and leaves the data, and so the reason. */
static int
fail_used(const char *path, const struct sf_leg_file *file, const char *what,
          char error[SF_CONFIG_ERROR_MAX]) {
  const char *at = sf_leg_path(path);
  if (file->is_block)
    return sf_leg_fail(
        error, -EEXIST,
        "%s: it carries data that are not of this volume: %s; if it is the right disk, "
        "`blkdiscard --zeroout %s` empties it",
        at, what, at);
  return sf_leg_fail(
      error, -EEXIST,
      "%s: it carries data that are not of this volume: %s; if it is the right file, "
      "remove it, and it is made anew",
      at, what);
}

/* in_place: the disk at the leg's own path, which is to be made anew by the operator's word. */
static int
check_mark(const char *path, const struct sf_leg_file *file, const struct sf_leg_found *found,
           const struct sf_superblock *reference, unsigned leg, bool in_place,
           char error[SF_CONFIG_ERROR_MAX]) {
  char text[SF_MARK_TEXT_MAX], what[LEG_USE_TEXT_MAX];
  uint64_t at;
  const char *mark = sf_mark_text(found, text);
  if (!sf_uuid_equal(&found->mark.volume, &reference->volume))
    return sf_leg_fail(error, -EEXIST, "%s: %s, another one; wipe it yourself", sf_leg_path(path),
                       mark);
  if (found->mark.leg_index != leg)
    return sf_leg_fail(error, -EEXIST, "%s: %s, this one, and not leg %s", sf_leg_path(path), mark,
                       reference->leg_name[leg]);
  if (!in_place)
    return sf_leg_fail(error, -EEXIST, "%s: %s, and may hold what nobody else does; %s",
                       sf_leg_path(path), mark,
                       file->is_block ? "if it does not, `blkdiscard --zeroout` empties it"
                                      : "if it does not, remove it, and it is made anew");
  if (found->error == -EIO)
    return sf_leg_fail(
        error, -EIO,
        "%s: %s, and they may be read again, and tell of data that no other leg has; "
        "give the leg another disk",
        sf_leg_path(path), mark);
  /* Something else may have been made of it since, which began where its superblocks were. */
  int signs = sf_leg_find_signs(file, 0, SF_DATA_OFFSET, what, sizeof what);
  if (signs < 0)
    return sf_leg_fail(error, signs, "%s: whether it has a label cannot be found out: %s",
                       sf_leg_path(path), strerrordesc_np(-signs));
  if (signs > 0)
    return fail_used(path, file, what, error);
  int strange = sf_leg_find_strange(file, &reference->volume, &at);
  if (strange < 0)
    return sf_leg_fail(error, strange, "%s: what stands at byte %" PRIu64 " cannot be read: %s",
                       sf_leg_path(path), at, strerrordesc_np(-strange));
  snprintf(what, sizeof what, "bytes that are not its maps at %" PRIu64, at);
  return strange ? fail_used(path, file, what, error) : 0;
}

static int
check_whose(const char *path, const struct sf_leg_file *file, const struct sf_leg_found *found,
            const struct sf_superblock *reference, unsigned leg, bool in_place,
            char error[SF_CONFIG_ERROR_MAX]) {
  const struct sf_superblock *sb = &found->sb;
  if (found->error == -EPROTONOSUPPORT)
    return sf_leg_fail(error, -EPROTONOSUPPORT, "%s: it was written by a newer version",
                       sf_leg_path(path));
  if (found->error == 0 && !sf_uuid_equal(&sb->volume, &reference->volume))
    return sf_leg_fail(error, -EEXIST, "%s: it belongs to volume %s, another one; wipe it yourself",
                       sf_leg_path(path), sb->volume_name);
  if (found->error == 0 && sb->leg_index != leg)
    return sf_leg_fail(error, -EEXIST, "%s: it is leg %s of this volume, not leg %s",
                       sf_leg_path(path), sb->leg_name[sb->leg_index], reference->leg_name[leg]);
  if (found->marked)
    return check_mark(path, file, found, reference, leg, in_place, error);
  if (found->error != -ENODATA && found->error != -EIO)
    return 0;
  char what[LEG_USE_TEXT_MAX];
  int used = sf_leg_find_use(file, false, what);
  if (used < 0)
    return sf_leg_fail(error, used, "%s: %s: %s", sf_leg_path(path),
                       *what ? what : "it cannot be read", strerrordesc_np(-used));
  return used ? fail_used(path, file, what, error) : 0;
}

/* A file is made as long as it must be: the volume may have grown since it was made. */
static int
make_fit(const char *path, struct sf_leg_file *file, const struct sf_superblock *reference,
         unsigned leg, bool read_only, char error[SF_CONFIG_ERROR_MAX]) {
  uint64_t needs = reference->data_offset + reference->data_bytes;
  int r = 0;
  if (file->bytes < needs && !file->is_block)
    r = read_only ? 0 : sf_leg_extend(file->fd, file->is_block, needs, &file->bytes);
  if (r < 0)
    return sf_leg_fail(error, r, "leg %s (%s) cannot be made longer: %s", reference->leg_name[leg],
                       sf_leg_path(path), strerrordesc_np(-r));
  if (file->bytes >= needs || (read_only && !file->is_block))
    return 0;
  return sf_leg_fail(error, -ENOSPC,
                     "leg %s (%s) is too small for the volume: it has %" PRIu64
                     " bytes and needs %" PRIu64,
                     reference->leg_name[leg], sf_leg_path(path), file->bytes, needs);
}

static void
describe_blank(const struct sf_superblock *reference, unsigned leg, struct sf_superblock *sb) {
  *sb = *reference;
  sb->leg_index = (uint8_t) leg;
  sb->holder = (struct sf_holder){0};
  sb->record = sf_leg_blank_record(reference, leg, reference->record.min_legs);
}

/* The mark that stands there stays until the superblocks are stable: what breaks off before that leaves a leg that
 * can be told, and be made anew once more. */
static int
blank(const struct sf_leg_file *file, struct sf_superblock *sb) {
  uint64_t behind = SF_MARK_OFFSET + SF_PAGE_BYTES;
  int r = sf_leg_zero(file, 0, SF_MARK_OFFSET, NULL, NULL);
  if (r == 0 && behind < sb->data_offset)
    r = sf_leg_zero(file, behind, sb->data_offset - behind, NULL, NULL);
  if (r == 0)
    r = sf_leg_wipe_end(file, sb->data_offset);
  if (r == 0 && fsync(file->fd) < 0)
    r = -errno;
  for (sb->serial = 1; sb->serial <= SF_SUPERBLOCK_COPIES && r == 0; sb->serial++)
    r = sf_leg_write_superblock(file, sb);
  if (r == 0 && fsync(file->fd) < 0)
    r = -errno;
  return r == 0 ? sf_leg_write_mark(file, sb) : r;
}

int
sf_leg_discard(const char *path, const struct sf_superblock *reference, unsigned leg, bool own,
               const struct sf_leg_judged *judged, char error[SF_CONFIG_ERROR_MAX]) {
  struct sf_superblock sb;
  struct sf_leg_found found;
  struct sf_leg_file file;
  struct sf_leg_judged now;
  if (leg >= reference->legs || (reference->removed >> leg & 1))
    return sf_leg_fail(error, -EINVAL, "%s: the volume has no leg %u", sf_leg_path(path), leg);
  int r = sf_leg_file_open(path, 0, &file, &found, error);
  if (r < 0)
    return r;
  sf_leg_judge(&file, &found, judged == NULL || judged->in_place, &now);
  r = judged ? sf_leg_check_judged(path, judged, &now, reference, leg, own, error) : 0;
  if (r == 0)
    r = check_whose(path, &file, &found, reference, leg, now.in_place, error);
  if (r == 0 && own && !is_own(&found, reference, leg))
    r = sf_leg_fail(error, -EEXIST,
                    "%s: it does not show that it is the disk that the volume knows as leg %s; "
                    "`surefootctl leg replace` takes it in that one's place",
                    sf_leg_path(path), reference->leg_name[leg]);
  if (r == 0)
    r = make_fit(path, &file, reference, leg, false, error);
  if (r == 0) {
    describe_blank(reference, leg, &sb);
    r = blank(&file, &sb);
    if (r < 0)
      sf_leg_fail(error, r, "%s: %s", sf_leg_path(path), strerrordesc_np(-r));
  }
  sf_leg_file_close(&file);
  return r;
}

/* Under /dev a name that is missing is a device that is missing. */
static int
create_missing(const char *path, char error[SF_CONFIG_ERROR_MAX]) {
  struct stat st;
  if (strncmp(path, "/dev/", 5) == 0 || stat(path, &st) == 0 || errno != ENOENT)
    return 0;
  int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0)
    return sf_leg_fail(error, -errno, "%s: cannot be created: %s", sf_leg_path(path),
                       strerror(errno));
  close(fd);
  return sf_leg_sync_parent(path) < 0
             ? sf_leg_fail(error, -EIO, "%s: its directory cannot be synced", sf_leg_path(path))
             : 0;
}

int
sf_leg_check_new(const char *path, unsigned flags, const struct sf_superblock *reference,
                 unsigned leg, struct sf_leg_judged *judged, char error[SF_CONFIG_ERROR_MAX]) {
  struct sf_leg_found found;
  struct sf_leg_file file;
  int r = create_missing(path, error);
  if (r == 0)
    r = sf_leg_file_open(path, flags, &file, &found, error);
  if (r < 0)
    return r;
  r = check_whose(path, &file, &found, reference, leg, flags & SF_LEG_READ_ONLY, error);
  if (r == 0)
    r = make_fit(path, &file, reference, leg, flags & SF_LEG_READ_ONLY, error);
  if (r == 0)
    sf_leg_judge(&file, &found, flags & SF_LEG_READ_ONLY, judged);
  sf_leg_file_close(&file);
  return r;
}

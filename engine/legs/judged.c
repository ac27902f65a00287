/* Between the look at a disk and the opening that empties it somebody may change what its path leads to, or what stands
 * on it.  What is emptied must be what was judged, so the second opening compares. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>

#include "base/units.h"
#include "legs/internal.h"

/* The kernel counts every disk that it ever had, since Linux 5.15. */
uint64_t
sf_leg_born(int fd, bool is_block) {
  struct statx st;
  uint64_t count = 0;
  if (is_block)
    return ioctl(fd, BLKGETDISKSEQ, &count) == 0 ? count : 0;
  if (statx(fd, "", AT_EMPTY_PATH, STATX_BTIME, &st) < 0 || !(st.stx_mask & STATX_BTIME))
    return 0;
  return (uint64_t) st.stx_btime.tv_sec * SF_S + st.stx_btime.tv_nsec;
}

void
sf_leg_judge(const struct sf_leg_file *file, const struct sf_leg_found *found, bool in_place,
             struct sf_leg_judged *judged) {
  *judged = (struct sf_leg_judged){.in_place = in_place,
                                   .is_block = file->is_block,
                                   .device = file->device,
                                   .inode = file->inode,
                                   .born = file->born,
                                   .bytes = file->bytes,
                                   .error = found->error,
                                   .looks_used = file->looks_used,
                                   .marked = found->marked};
  if (found->error == 0) {
    judged->volume = found->sb.volume;
    judged->leg = found->sb.leg_uuid[found->sb.leg_index];
    judged->serial = found->sb.serial;
  }
  if (found->marked) {
    judged->mark_volume = found->mark.volume;
    judged->mark_leg = found->mark.leg;
  }
}

static bool
is_same_storage(const struct sf_leg_judged *a, const struct sf_leg_judged *b) {
  return a->is_block == b->is_block && a->device == b->device && a->inode == b->inode &&
         a->born == b->born;
}

/* A try before may have made a file longer. */
static bool
has_same_size(const struct sf_leg_judged *judged, const struct sf_leg_judged *now, uint64_t needs) {
  return now->bytes == judged->bytes ||
         (!now->is_block && judged->bytes < needs && now->bytes == needs);
}

/* A try before may have emptied the head, or made it the new leg; nothing else has that uuid yet. */
static bool
has_same_contents(const struct sf_leg_judged *judged, const struct sf_leg_judged *now,
                  const struct sf_uuid *made) {
  bool is_emptied = made && now->error == -ENODATA && !now->looks_used;
  bool is_made = made && now->error == 0 && sf_uuid_equal(&now->leg, made);
  bool is_marked_alike = now->marked == judged->marked &&
                         sf_uuid_equal(&now->mark_volume, &judged->mark_volume) &&
                         sf_uuid_equal(&now->mark_leg, &judged->mark_leg);
  if (is_made)
    return true;
  if (is_emptied)
    return !now->marked || is_marked_alike || sf_uuid_equal(&now->mark_leg, made);
  return now->error == judged->error && now->serial == judged->serial &&
         now->looks_used == judged->looks_used && is_marked_alike &&
         sf_uuid_equal(&now->volume, &judged->volume) && sf_uuid_equal(&now->leg, &judged->leg);
}

int
sf_leg_check_judged(const char *path, const struct sf_leg_judged *judged,
                    const struct sf_leg_judged *now, const struct sf_superblock *reference,
                    unsigned leg, bool own, char error[SF_CONFIG_ERROR_MAX]) {
  const struct sf_uuid *made = own ? NULL : &reference->leg_uuid[leg];
  const char *differs = NULL;
  if (!is_same_storage(judged, now))
    differs = now->is_block ? "this is another disk" : "this is another file";
  else if (!has_same_size(judged, now, reference->data_offset + reference->data_bytes))
    differs = "it has another size";
  else if (!has_same_contents(judged, now, made))
    differs = "something else stands on it";
  if (differs == NULL)
    return 0;
  return sf_leg_fail(error, -ESTALE,
                     "%s: %s than when it was named and looked at, so it is not emptied; if it is "
                     "the right one, name it again",
                     sf_leg_path(path), differs);
}

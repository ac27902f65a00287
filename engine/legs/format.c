/* Making a volume.  Nothing is written to any leg before all were looked at; then the metadata
 * areas of all legs are wiped, the data zeroed, and when that is stable on all of them, the
 * superblocks come last.  Where zeroing would take longer than a second the maps call all extents
 * unwritten (R17), whatever a leg holds.  Each step is done on all legs at a time: a disk does not
 * become slower by the others.  Wherever a format is interrupted, no leg passes for a volume
 * without having its data: legs that are not wiped yet are still the old volume's, with untouched
 * data; while some have no superblock yet, the others are the new volume's, and hold its first
 * contents. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/thread.h"
#include "legs/internal.h"

struct format;

struct formatted_leg {
  struct format *format;
  unsigned index;
  struct sf_leg_file file;
  struct sf_leg_found found;
  struct leg_identity identity;
  bool missing;
  bool created; /* by us: removed again when it comes to nothing */
  bool is_zero; /* its data read as zeros */
  int (*step)(struct formatted_leg *l);
  pthread_t thread;
  bool has_thread;
  int result; /* of the step; or -errno */
  char use[LEG_USE_TEXT_MAX];
};

struct format {
  const struct sf_config *config;
  const struct sf_format_options *options;
  uint64_t data_bytes;
  bool at_once;         /* all is zeroed now, however long it takes */
  _Atomic bool in_vain; /* some leg takes too long */
  struct sf_superblock sb;
  struct formatted_leg leg[SF_LEGS_MAX];
  void (*progress)(void *arg, unsigned leg, uint64_t done, uint64_t total);
  void *arg;
  char *error;
};

static const char *
path_of(const struct format *f, unsigned leg) {
  return sf_leg_path(f->config->leg[leg].path);
}

/* "leg a (/dev/sdb): zeroing: No space left on device" */
static int
fail_leg(const struct format *f, unsigned leg, int r, const char *what) {
  const char *why = strerrordesc_np(-r);
  return sf_leg_fail(f->error, r, "leg %s (%s): %s: %s", f->config->leg[leg].name, path_of(f, leg),
                     what, why ? why : "failed");
}

static void *
do_step(void *arg) {
  struct formatted_leg *l = arg;
  l->result = l->step(l);
  return NULL;
}

static void
on_all(struct format *f, int (*step)(struct formatted_leg *l)) {
  for (unsigned i = 0; i < f->config->legs; i++) {
    struct formatted_leg *l = &f->leg[i];
    l->step = step;
    l->has_thread = sf_thread_start(&l->thread, NULL, do_step, l) == 0;
    if (!l->has_thread)
      do_step(l);
  }
  for (unsigned i = 0; i < f->config->legs; i++)
    if (f->leg[i].has_thread)
      pthread_join(f->leg[i].thread, NULL);
}

static int
write_on_all(struct format *f, int (*step)(struct formatted_leg *l), const char *what) {
  on_all(f, step);
  for (unsigned i = 0; i < f->config->legs; i++)
    if (f->leg[i].result < 0)
      return fail_leg(f, i, f->leg[i].result, what);
  return 0;
}

/* ---- looking ---- */

static int
check_size_option(const struct format *f) {
  uint64_t size = f->options->size;
  if (size == 0)
    return 0;
  if (size % SF_PAGE_BYTES != 0)
    return sf_leg_fail(f->error, -EINVAL, "size %" PRIu64 " is not a multiple of 4 KiB", size);
  if (size < SF_VOLUME_BYTES_MIN || size > INT64_MAX - SF_DATA_OFFSET)
    return sf_leg_fail(f->error, -EINVAL, "size %" PRIu64 " is not possible: at least %" PRIu64,
                       size, (uint64_t) SF_VOLUME_BYTES_MIN);
  return 0;
}

static int
check_same(const struct format *f, unsigned leg) {
  for (unsigned other = 0; other < leg; other++)
    if (sf_leg_same_storage(&f->leg[other].identity, &f->leg[leg].identity))
      return sf_leg_fail_same(f->config, other, leg, f->error);
  return 0;
}

static int
find_use(struct formatted_leg *l) {
  bool looks = !l->missing && l->found.error != 0 && !l->found.marked;
  return looks ? sf_leg_find_use(&l->file, true, l->use) : 0;
}

static int
check_unused(const struct format *f, unsigned leg) {
  const struct formatted_leg *l = &f->leg[leg];
  if (l->missing)
    return 0;
  if (l->found.error == 0)
    return sf_leg_fail(
        f->error, -EEXIST,
        "leg %s (%s) already is leg %s of volume %s: --overwrite destroys it; a leg that "
        "is lost gets another disk by `surefootctl leg replace`, not by create",
        f->config->leg[leg].name, path_of(f, leg), l->found.sb.leg_name[l->found.sb.leg_index],
        l->found.sb.volume_name);
  if (l->found.marked) {
    char mark[SF_MARK_TEXT_MAX];
    return sf_leg_fail(
        f->error, -EEXIST,
        "leg %s (%s): %s: --overwrite destroys what it holds; a leg that is lost is made "
        "anew by `surefootctl leg replace`, not by create",
        f->config->leg[leg].name, path_of(f, leg), sf_mark_text(&l->found, mark));
  }
  if (l->result < 0)
    return fail_leg(f, leg, l->result, *l->use ? l->use : "reading");
  if (l->result == 1)
    return sf_leg_fail(f->error, -EEXIST, "leg %s (%s) carries data: %s; --overwrite destroys it",
                       f->config->leg[leg].name, path_of(f, leg), l->use);
  return 0;
}

/* What --assume-clean keeps would go on being found: a label at the end that lies within the
 * data. */
static int
check_kept(const struct format *f, unsigned leg) {
  const struct formatted_leg *l = &f->leg[leg];
  char what[LEG_USE_TEXT_MAX];
  if (!f->options->assume_clean || l->missing ||
      sf_leg_find_signs(&l->file, SF_DATA_OFFSET, SF_DATA_OFFSET + f->data_bytes, what,
                        sizeof what) <= 0)
    return 0;
  return sf_leg_fail(
      f->error, -EEXIST,
      "leg %s (%s) has %s, within the volume's data, which --assume-clean keeps: it would "
      "still pass for that; create the volume without --assume-clean",
      f->config->leg[leg].name, path_of(f, leg), what);
}

static int
look_at(struct format *f, unsigned leg) {
  struct formatted_leg *l = &f->leg[leg];
  int r = sf_leg_open(f->config->leg[leg].path, 0, &l->file, &l->found, &l->identity, f->error);
  /* Before "it is locked": we may have it ourselves. */
  int same = check_same(f, leg);
  if (same < 0)
    return same;
  if (r == -ENOENT && f->options->size != 0 && !sf_leg_is_of_dev(f->config->leg[leg].path)) {
    l->missing = true;
    f->error[0] = '\0';
    return 0;
  }
  if (r == -ENOENT && !sf_leg_is_of_dev(f->config->leg[leg].path))
    return sf_leg_fail(f->error, r,
                       "leg %s (%s): there is no such file; with --size SIZE it is made",
                       f->config->leg[leg].name, path_of(f, leg));
  return r;
}

/* ---- creating ---- */

/* Room alone, for a new file on a file system that is not trusted to zero.  1; 0: not known; or -errno. */
static int
reserve(const struct sf_leg_file *file) {
  struct stat st;
  int r;
  do
    r = fallocate(file->fd, 0, 0, (off_t) file->bytes) < 0 ? -errno : 0;
  while (r == -EINTR);
  if (r == 0 && fstat(file->fd, &st) == 0)
    return (uint64_t) st.st_blocks * 512 >= file->bytes;
  return r == -ENOSPC || r == -EDQUOT || r == -EFBIG ? r : 0;
}

/* All of it, so that no write to the volume has to allocate: on ext4 a write into a hole cannot be
 * done without waiting (RWF_NOWAIT says EAGAIN), one into an unwritten extent can. */
static int
allocate(struct formatted_leg *l) {
  if (!l->created)
    return 0;
  bool is_a_hole = sf_leg_is_a_hole(&l->file, 0, l->file.bytes);
  int r = sf_leg_zero_fast(&l->file, 0, l->file.bytes);
  l->is_zero = r == 0;
  if (r == -EOPNOTSUPP) {
    r = reserve(&l->file);
    l->is_zero = r == 1 && is_a_hole;
  }
  return r;
}

static int
create(struct format *f, unsigned leg) {
  struct formatted_leg *l = &f->leg[leg];
  const char *path = f->config->leg[leg].path;
  int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0 && errno != EEXIST)
    return fail_leg(f, leg, -errno, "creating it");
  /* EEXIST: another leg's name for the same file, which we just made; or another process was
   * quicker. */
  l->created = fd >= 0;
  if (fd >= 0)
    close(fd);
  int r = sf_leg_open(path, 0, &l->file, &l->found, &l->identity, f->error);
  int same = check_same(f, leg);
  if (same < 0)
    return same;
  if (r < 0)
    return r;
  if (!l->created)
    return fail_leg(f, leg, -EEXIST, "creating it");
  if (ftruncate(l->file.fd, (off_t) (SF_DATA_OFFSET + f->options->size)) < 0)
    return fail_leg(f, leg, -errno, "setting its size");
  l->file.bytes = SF_DATA_OFFSET + f->options->size;
  return 0;
}

static int
look_at_all(struct format *f) {
  int r = check_size_option(f);
  for (unsigned i = 0; i < f->config->legs && r == 0; i++)
    r = look_at(f, i);
  if (r < 0 || f->options->overwrite)
    return r;
  on_all(f, find_use);
  for (unsigned i = 0; i < f->config->legs && r == 0; i++)
    r = check_unused(f, i);
  return r;
}

static int
create_missing(struct format *f) {
  int r = 0;
  for (unsigned i = 0; i < f->config->legs && r == 0; i++)
    if (f->leg[i].missing)
      r = create(f, i);
  return r < 0 ? r : write_on_all(f, allocate, "allocating");
}

static int
fail_small(const struct format *f, unsigned leg, uint64_t size) {
  return sf_leg_fail(
      f->error, -EINVAL, "leg %s (%s) is too small: it has %" PRIu64 " bytes and needs %" PRIu64,
      f->config->leg[leg].name, path_of(f, leg), f->leg[leg].file.bytes, SF_DATA_OFFSET + size);
}

static int
check_largest(const struct format *f) {
  if (f->data_bytes <= SF_VOLUME_BYTES_MAX)
    return 0;
  return sf_leg_fail(f->error, -EFBIG,
                     "%" PRIu64 " bytes are too many: a volume has at most %" PRIu64
                     " (2 PiB, 2^21 extents of 1 GiB): give --size 2048T or less",
                     f->data_bytes, (uint64_t) SF_VOLUME_BYTES_MAX);
}

/* Of legs that exist; those to be created will fit. */
static int
choose_size(struct format *f) {
  f->data_bytes = f->options->size;
  for (unsigned i = 0; i < f->config->legs; i++) {
    uint64_t fits = sf_data_bytes_for(f->leg[i].file.bytes);
    if (f->leg[i].missing)
      continue;
    if (fits == 0 || fits < f->options->size)
      return fail_small(f, i, f->options->size ? f->options->size : SF_VOLUME_BYTES_MIN);
    if (f->options->size == 0 && (f->data_bytes == 0 || fits < f->data_bytes))
      f->data_bytes = fits;
  }
  int r = check_largest(f);
  for (unsigned i = 0; i < f->config->legs && r == 0; i++)
    r = check_kept(f, i);
  return r;
}

/* ---- writing ---- */

static void
tell(void *arg, uint64_t done) {
  const struct formatted_leg *l = arg;
  const struct format *f = l->format;
  if (f->progress)
    f->progress(f->arg, l->index, done, f->data_bytes);
}

/* The metadata first, and stable: the old volume is gone before its data go. */
static int
wipe(struct formatted_leg *l) {
  const struct format *f = l->format;
  /* A label at the end would be found until its extent is zeroed. */
  uint64_t kept = f->at_once ? SF_DATA_OFFSET + f->data_bytes : SF_DATA_OFFSET;
  int r = l->is_zero ? 0 : sf_leg_zero(&l->file, 0, SF_DATA_OFFSET, NULL, NULL);
  if (r == 0 && fsync(l->file.fd) < 0)
    r = -errno;
  if (r == 0 && !l->is_zero)
    r = sf_leg_wipe_end(&l->file, kept);
  if (r == 0 && fsync(l->file.fd) < 0)
    r = -errno;
  return r;
}

static int
zero_soon(struct formatted_leg *l) {
  struct format *f = l->format;
  const struct leg_zero_soon how = {.by_writing = !f->options->lazy, .in_vain = &f->in_vain};
  int r = sf_leg_zero_soon(&l->file, SF_DATA_OFFSET, f->data_bytes, &how);
  l->is_zero = r == 1;
  return r < 0 ? r : 0;
}

static int
zero_data(struct formatted_leg *l) {
  struct format *f = l->format;
  int r = 0;
  bool is_kept = l->is_zero || (f->options->assume_clean && !l->created);
  if (!is_kept && f->at_once)
    r = sf_leg_zero(&l->file, SF_DATA_OFFSET, f->data_bytes, tell, l);
  else if (!is_kept)
    r = zero_soon(l);
  if (r == 0 && fsync(l->file.fd) < 0)
    r = -errno;
  if (r == 0 && (f->at_once || l->is_zero))
    tell(l, f->data_bytes);
  return r;
}

/* A new file's name is to last as well. */
int
sf_leg_sync_parent(const char *path) {
  char parent[PATH_MAX];
  strcpy(parent, path);
  char *slash = strrchr(parent, '/');
  if (slash)
    slash[slash == parent] = '\0';
  int fd = open(slash ? parent : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
  if (fd < 0 || fsync(fd) < 0)
    r = -errno;
  if (fd >= 0)
    close(fd);
  return r == -EINVAL ? 0 : r;
}

static int
sync_parent(const struct format *f, unsigned leg) {
  int r = sf_leg_sync_parent(f->config->leg[leg].path);
  return r < 0 ? fail_leg(f, leg, r, "syncing its directory") : 0;
}

/* Is there a leg whose data were not zeroed?  Not where they are equal by the operator's word. */
static bool
is_unwritten(const struct format *f) {
  for (unsigned i = 0; i < f->config->legs; i++)
    if (!f->at_once && !f->options->assume_clean && !f->leg[i].is_zero)
      return true;
  return false;
}

static void
describe_volume(struct format *f) {
  const struct sf_config *config = f->config;
  struct sf_superblock *sb = &f->sb;
  *sb = (struct sf_superblock){.legs = (uint8_t) config->legs,
                               .data_offset = SF_DATA_OFFSET,
                               .data_bytes = f->data_bytes,
                               .extent_bytes = sf_extent_bytes_for(f->data_bytes),
                               .block_bytes = 512,
                               .unwritten = is_unwritten(f),
                               .claim = 1};
  for (unsigned i = 0; i < config->legs; i++)
    if (f->leg[i].file.block_bytes > sb->block_bytes)
      sb->block_bytes = (uint16_t) f->leg[i].file.block_bytes;
  sf_uuid_generate(&sb->volume);
  sf_uuid_generate(&sb->lineage);
  strcpy(sb->volume_name, config->name);
  for (unsigned i = 0; i < config->legs; i++) {
    sf_uuid_generate(&sb->leg_uuid[i]);
    strcpy(sb->leg_name[i], config->leg[i].name);
  }
  sb->record = (struct sf_record){.term = 1,
                                  .change = 1,
                                  .in_sync = (uint16_t) ((1u << config->legs) - 1),
                                  .min_legs = (uint8_t) config->min_legs,
                                  .clean = true};
}

static int
write_superblocks(struct formatted_leg *l) {
  struct sf_superblock sb = l->format->sb;
  sb.leg_index = (uint8_t) l->index;
  int r = sf_leg_write_maps(&l->file, &sb);
  if (r == 0 && fsync(l->file.fd) < 0)
    r = -errno;
  for (sb.serial = 1; sb.serial <= SF_SUPERBLOCK_COPIES && r == 0; sb.serial++)
    r = sf_leg_write_superblock(&l->file, &sb);
  if (r == 0 && fsync(l->file.fd) < 0)
    r = -errno;
  return r < 0 ? r : sf_leg_write_mark(&l->file, &sb);
}

/* Not by the operator's word, and where second copies of the maps have no room. */
static bool
may_be_unwritten(const struct format *f) {
  return !f->options->zero && !f->options->assume_clean &&
         sf_map_pages(f->data_bytes, sf_extent_bytes_for(f->data_bytes)) <= SF_MAP_TWICE_MOST;
}

static int
write_all(struct format *f) {
  f->at_once = !may_be_unwritten(f);
  int r = write_on_all(f, wipe, "wiping its metadata");
  if (r == 0)
    r = write_on_all(f, zero_data, "zeroing");
  describe_volume(f);
  if (r == 0)
    r = write_on_all(f, write_superblocks, "writing its superblocks");
  for (unsigned i = 0; i < f->config->legs && r == 0; i++)
    if (f->leg[i].created)
      r = sync_parent(f, i);
  return r;
}

int
sf_format(const struct sf_config *config, const struct sf_format_options *options,
          void (*progress)(void *arg, unsigned leg, uint64_t done, uint64_t total), void *arg,
          char error[SF_CONFIG_ERROR_MAX]) {
  struct format *f = calloc(1, sizeof *f);
  if (f == NULL)
    return sf_leg_fail(error, -ENOMEM, "out of memory");
  f->config = config;
  f->options = options;
  f->progress = progress;
  f->arg = arg;
  f->error = error;
  error[0] = '\0';
  for (unsigned i = 0; i < config->legs; i++)
    f->leg[i] = (struct formatted_leg){.format = f, .index = i, .file = {.fd = -1}};

  int r = look_at_all(f);
  if (r == 0)
    r = choose_size(f);
  if (r == 0)
    r = create_missing(f);
  if (r == 0)
    r = write_all(f);

  for (unsigned i = 0; i < config->legs; i++) {
    sf_leg_file_close(&f->leg[i].file);
    if (r < 0 && f->leg[i].created)
      unlink(config->leg[i].path);
  }
  free(f);
  return r;
}

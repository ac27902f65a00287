/* Opening, fencing and formatting legs: everything that touches a leg outside timed I/O.
 * These calls block; the ones that must not wait for a dead disk run in threads of their own with
 * a bound. */
#ifndef SUREFOOT_LEGFILE_H
#define SUREFOOT_LEGFILE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <surefoot/assembly.h>

struct sf_leg_file {
  int fd; /* -1: not open */
  bool is_block;
  uint64_t bytes;
  uint32_t block_bytes; /* what O_DIRECT offsets and lengths must be multiples of */
  dev_t device;         /* st_dev+st_ino of a file, st_rdev (ino 0) of a block device */
  ino_t inode;
  /* Tells it from another that has its number later: the kernel's count of disks, or when the file was made, in
   * nanoseconds; 0: neither is known here. */
  uint64_t born;
  bool looks_used; /* anything but zeros in the first 64 KiB */
  /* The pages of the maps as they stand, when there is a valid superblock, and behind them their
   * second copies, where that says that they count; the file's own, freed when it is closed or
   * before by sf_leg_file_forget_maps. */
  uint8_t *maps;
  uint64_t map_pages;
  bool maps_twice;
  /* Pages of the metadata area that could not be read when it was opened.  Those but for the copies
   * of the superblock are written anew at once, unless it was opened for reading only. */
  unsigned bad_pages, rewritten_pages;
  uint64_t bad_offset; /* of the first */
  int bad_error;       /* -errno, of the first */
};

/* "1 page of its metadata could not be read, the first at byte 4096: ...", or "". */
enum { SF_LEG_BAD_TEXT_MAX = 192 };
const char *sf_leg_file_bad_text(const struct sf_leg_file *file, char text[SF_LEG_BAD_TEXT_MAX]);

enum sf_leg_open_flag {
  SF_LEG_READ_ONLY = 1 << 0, /* for offline tools: no lock is taken, nothing can be written */
};

/* R7: O_RDWR|O_DIRECT, O_EXCL on block devices (refuses a mounted one), an exclusive OFD lock on
 * the same description that will carry the I/O.  Reads both superblock copies into *found; one of
 * them is enough, and a bad block costs what stands in it only.
 * error: one line with the path and what to do.  -EBUSY: locked by another process or mounted. */
int sf_leg_file_open(const char *path, unsigned flags, struct sf_leg_file *file,
                     struct sf_leg_found *found, char error[SF_CONFIG_ERROR_MAX]);
void sf_leg_file_close(struct sf_leg_file *file);

/* Does another process hold R7's lock: a volume that runs, or a dead one with a request still under
 * way?  Takes none. */
bool sf_leg_file_is_locked(const struct sf_leg_file *file);
void sf_leg_file_forget_maps(struct sf_leg_file *file);
/* Of a page of the maps the copy that counts, for sf_assembly_map_page; NULL: it cannot be read. */
const uint8_t *sf_leg_file_map_page(const struct sf_leg_file *file, const struct sf_uuid *volume,
                                    uint64_t page);

/* Opening in processes of their own: an opener that hangs in a dead disk keeps only that disk, and
 * the process that waits for it can be killed, end, or go on without.  Start them before any leg is
 * open and while there is one thread only: it forks.  The processes end with this one.  Paths must
 * be absolute: they live in "/".
 * cut: a thread that waits for one of them gets -ECANCELED, now and from now on.  stop: that, and
 * the end. */
struct sf_leg_openers;
int sf_leg_openers_start(struct sf_leg_openers **openers);
void sf_leg_openers_cut(struct sf_leg_openers *openers);
void sf_leg_openers_stop(struct sf_leg_openers *openers); /* NULL is accepted */

/* Ends an opening of this path that has lasted for 2 s: its thread gets -ECANCELED.  False: there is
 * none.  For a caller that knows that the path leads to another disk, or wants another one. */
bool sf_leg_openers_give_up(struct sf_leg_openers *openers, const char *path);

/* Two processes make the others. tend() replaces a killed one; one thread calls it when the file
 * news() polls readable, and now and then.  1: that was done; 0: nothing new; -EPIPE: both are gone
 * for good, and legs are opened by this process; another -errno: one is gone, and is tried again.
 * Each is said once. */
int sf_leg_openers_news(const struct sf_leg_openers *openers);
int sf_leg_openers_tend(struct sf_leg_openers *openers, uint64_t now_ns);

/* What a path leads to now, looked at in such a process.  begin: a socket that polls readable when
 * the answer is there, or -errno; end: takes it and closes the socket: 0, or -errno when there will
 * be none. */
struct sf_leg_look {
  int error; /* -errno of stat(2) */
  bool is_block;
  dev_t device; /* as in struct sf_leg_file */
  ino_t inode;
  uint64_t bytes;
};
int sf_leg_look_begin(struct sf_leg_openers *openers, const char *path);
int sf_leg_look_end(int socket, struct sf_leg_look *look);

/* Has the open disk left the machine (base/disk.h)?  Asked in such a process, which may hang there, and has that
 * description open until it has answered, and with it the lock.  0, or -errno: it is not known. */
int sf_leg_is_gone_isolated(struct sf_leg_openers *openers, int fd, dev_t number, bool named,
                            bool *gone);
/* The same for a caller that does not wait so long.  begin: a socket that polls readable when the
 * answer is there, or -errno; -EPIPE: there are no such processes.  end: takes it and closes the
 * socket: 0, or -errno when there will be none. */
int sf_leg_is_gone_begin(struct sf_leg_openers *openers, int fd, dev_t number, bool named);
int sf_leg_is_gone_end(int socket, bool *gone);

/* timeout_ns, here and below: how long the process may be silent; 0: for ever.  Then it is killed, and what it has not
 * begun by then it does not do: -ETIMEDOUT.  As long as it hangs in the kernel it stays, with the lock of that disk if
 * it has it. */
int sf_leg_file_open_isolated(struct sf_leg_openers *openers, const char *path, unsigned flags,
                              uint64_t timeout_ns, struct sf_leg_file *file,
                              struct sf_leg_found *found, char error[SF_CONFIG_ERROR_MAX]);

/* Opens every leg of config at once, each in a thread, and waits at most timeout_ns: a leg that
 * has not answered by then is absent (-ETIMEDOUT), and its thread closes what it gets, by itself.
 * Two legs on one file or disk, by whatever alias: -EINVAL naming both, and nothing stays open.
 * openers: NULL for offline tools, which may hang until the disk answers. */
int sf_leg_files_open(struct sf_leg_openers *openers, const struct sf_config *config,
                      unsigned flags, uint64_t timeout_ns, struct sf_leg_file file[SF_LEGS_MAX],
                      struct sf_leg_found found[SF_LEGS_MAX],
                      char leg_error[SF_LEGS_MAX][SF_CONFIG_ERROR_MAX],
                      char error[SF_CONFIG_ERROR_MAX]);

/* sf_leg_files_open and sf_assemble_file; the files of legs that are none of the volume's are
 * closed. */
int sf_leg_files_assemble(struct sf_leg_openers *openers, struct sf_config *config, unsigned flags,
                          uint64_t timeout_ns, bool force, struct sf_leg_file file[SF_LEGS_MAX],
                          struct sf_leg_found found[SF_LEGS_MAX],
                          char leg_error[SF_LEGS_MAX][SF_CONFIG_ERROR_MAX],
                          struct sf_assembly *assembly, char error[SF_CONFIG_ERROR_MAX]);

/* A file that is shorter than `wanted` is made so long; a device is as long as it is.  *bytes: what
 * it has now.  For a leg in use, by its descriptor.  The new length is stable with the next flush or
 * FUA write of that leg, as fdatasync(2) has it. */
int sf_leg_extend(int fd, bool is_block, uint64_t wanted, uint64_t *bytes);

/* ---- the holder of the legs ---- */

/* This process; since now. */
void sf_holder_self(struct sf_holder *holder);
/* Is it of this machine, and its process has ended? */
bool sf_holder_is_gone(const struct sf_holder *self, const struct sf_holder *holder);
/* Of the legs of the volume, a superblock of the latest start that names another holder, if that
 * one may still be running; or NULL. */
const struct sf_superblock *sf_held_by_another(const struct sf_leg_found found[SF_LEGS_MAX],
                                               const struct sf_uuid *volume,
                                               const struct sf_holder *self);
void sf_say_held(const struct sf_superblock *held, char error[SF_CONFIG_ERROR_MAX]);

struct sf_format_options {
  uint64_t size;     /* of the volume; 0: what the smallest leg holds.  Creates missing files */
  bool overwrite;    /* format a leg that carries data or metadata all the same */
  bool assume_clean; /* the data areas are equal already: no zeroing */
  /* zero: all legs are zeroed, however long it takes.  lazy: only without writing.  Neither: by writing too.  What is
   * not zeroed within a second is unwritten (R17). */
  bool lazy, zero;
};

/* Checks all legs first, then formats all, all at a time: zeroes the data areas, where that takes no longer than a
 * second or is to be done now; else the maps call all of the volume unwritten, so
 * that it reads as zeros and is zeroed when it is written to, or in the background.  Then it writes
 * the superblocks, record (1,1), every leg in sync, clean.  progress may be NULL; it is called by a thread for each leg. */
int sf_format(const struct sf_config *config, const struct sf_format_options *options,
              void (*progress)(void *arg, unsigned leg, uint64_t done, uint64_t total), void *arg,
              char error[SF_CONFIG_ERROR_MAX]);

/* Which disk or file was judged, and what stood on it.  The opening that empties it must find the same: its path may
 * lead to another one by then, and its number may be another one's. */
struct sf_leg_judged {
  bool in_place; /* as the disk at the leg's own path */
  bool is_block; /* and so on as in struct sf_leg_file */
  dev_t device;
  ino_t inode;
  uint64_t born, bytes;
  int error; /* and so on as in struct sf_leg_found */
  struct sf_uuid volume, leg;
  uint64_t serial;
  bool looks_used, marked;
  struct sf_uuid mark_volume, mark_leg;
};
void sf_leg_judge(const struct sf_leg_file *file, const struct sf_leg_found *found, bool in_place,
                  struct sf_leg_judged *judged);

/* Makes one leg an empty member of the volume again (its index, a stale record): what it held is
 * lost, the volume copies it whole.  A file is made as long as the volume needs.  reference: a
 * superblock of the volume.
 * own: it must be the disk that the volume knows as this leg, and its superblock must say so; else
 * -EEXIST.  Two disks with one uuid could not be told apart when the other one comes back, so a
 * different disk takes the leg's place under a new uuid (`leg replace`), and then own is false.
 * judged: before, by another opening, or NULL.  -ESTALE: it is another one by now, and nothing was changed. */
int sf_leg_discard(const char *path, const struct sf_superblock *reference, unsigned leg, bool own,
                   const struct sf_leg_judged *judged, char error[SF_CONFIG_ERROR_MAX]);

/* Gives the volume of this configuration another name, on all of its legs; the file is the
 * caller's.  All must be there, and the volume stopped cleanly; each is locked meanwhile.  What
 * broke off is done again by the next call. */
int sf_legs_rename(struct sf_leg_openers *openers, const struct sf_config *config, const char *name,
                   uint64_t timeout_ns, char error[SF_CONFIG_ERROR_MAX]);

/* Would sf_leg_discard() make this leg of it?  Changes nothing but the length of a file; with
 * SF_LEG_READ_ONLY, for a leg that is open, not even that.  A file that is missing is created.  *judged: what it was,
 * when it may be made one. */
int sf_leg_check_new(const char *path, unsigned flags, const struct sf_superblock *reference,
                     unsigned leg, struct sf_leg_judged *judged, char error[SF_CONFIG_ERROR_MAX]);

/* The same in a process of their own (see sf_leg_openers): they open, read, write and flush. */
int sf_leg_discard_isolated(struct sf_leg_openers *openers, const char *path,
                            const struct sf_superblock *reference, unsigned leg, bool own,
                            const struct sf_leg_judged *judged, uint64_t timeout_ns,
                            char error[SF_CONFIG_ERROR_MAX]);
int sf_leg_check_new_isolated(struct sf_leg_openers *openers, const char *path, unsigned flags,
                              const struct sf_superblock *reference, unsigned leg,
                              uint64_t timeout_ns, struct sf_leg_judged *judged,
                              char error[SF_CONFIG_ERROR_MAX]);

#endif

/* Shared by the files of this folder. */
#ifndef SF_LEGS_INTERNAL_H
#define SF_LEGS_INTERNAL_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include <surefoot/legfile.h>

/* ---- say.c ---- */

/* Formats into error and returns r, so that a failure is one statement. */
int sf_leg_fail(char error[SF_CONFIG_ERROR_MAX], int r, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The end of a path: the part that tells it from others, short enough for a message. */
const char *sf_leg_path(const char *path);

/* ---- identity.c: which storage is it? ---- */

struct leg_identity {
  bool known;
  bool is_block;
  dev_t device;
  ino_t inode;
  /* The file that has its bytes: a file itself, or a part of one under a loop device. */
  bool has_backing;
  dev_t backing_device;
  ino_t backing_inode;
  uint64_t from, to;
};

void sf_leg_identify(const char *path, const struct stat *st, struct leg_identity *identity);
bool sf_leg_same_storage(const struct leg_identity *a, const struct leg_identity *b);
int sf_leg_fail_same(const struct sf_config *config, unsigned a, unsigned b,
                     char error[SF_CONFIG_ERROR_MAX]);

/* ---- judged.c ---- */

uint64_t sf_leg_born(int fd, bool is_block); /* as in struct sf_leg_file */
/* To be made this leg, if it is not its own disk under the new uuid that `reference` has for it.  -ESTALE: it is not
 * what was judged, nor what a try to make it that leg has left of it. */
int sf_leg_check_judged(const char *path, const struct sf_leg_judged *judged,
                        const struct sf_leg_judged *now, const struct sf_superblock *reference,
                        unsigned leg, bool own, char error[SF_CONFIG_ERROR_MAX]);

/* ---- open.c ---- */

/* As sf_leg_file_open.  *identity is filled as far as it got, in a failure too. */
int sf_leg_open(const char *path, unsigned flags, struct sf_leg_file *file,
                struct sf_leg_found *found, struct leg_identity *identity,
                char error[SF_CONFIG_ERROR_MAX]);

bool sf_leg_is_of_dev(const char *path);

/* ---- head.c ---- */

/* -errno when neither copy of the superblock can be read; found has the mark, if there is one, all the same. */
int sf_leg_read_head(const char *path, unsigned flags, struct sf_leg_file *file,
                     struct sf_leg_found *found, char error[SF_CONFIG_ERROR_MAX]);
/* Pages that cannot be read are zeros, which count as all set. */
int sf_leg_read_maps(const char *path, unsigned flags, struct sf_leg_file *file,
                     const struct sf_leg_found *found, char error[SF_CONFIG_ERROR_MAX]);

/* ---- openers.c ---- */

/* As sf_leg_open, in another process when there are openers.  timeout_ns: as of
 * sf_leg_file_open_isolated. */
int sf_leg_open_isolated(struct sf_leg_openers *openers, const char *path, unsigned flags,
                         uint64_t timeout_ns, struct sf_leg_file *file, struct sf_leg_found *found,
                         struct leg_identity *identity, char error[SF_CONFIG_ERROR_MAX]);
void sf_leg_openers_hold(struct sf_leg_openers *openers); /* NULL is accepted, here and below */
void sf_leg_openers_release(struct sf_leg_openers *openers);

size_t sf_leg_maps_bytes(const struct sf_leg_file *file);

/* ---- io.c: on memory that O_DIRECT takes ---- */

enum { LEG_BUFFER_ALIGN = 4096, LEG_PIECE_BYTES = 1024 * 1024 };

void *sf_leg_buffer(size_t len); /* zeros; free() it */
/* Bytes read, fewer only at the end of the file; or -errno. */
ssize_t sf_leg_read(int fd, void *buffer, size_t len, uint64_t offset);
int sf_leg_write(int fd, const void *buffer, size_t len, uint64_t offset);
int sf_leg_write_superblock(const struct sf_leg_file *file, const struct sf_superblock *sb);
int sf_leg_write_mark(const struct sf_leg_file *file, const struct sf_superblock *sb);
int sf_leg_write_maps(const struct sf_leg_file *file, const struct sf_superblock *sb);

/* ---- signs.c ---- */

enum { LEG_USE_TEXT_MAX = 256 };

/* 1 when the leg holds anything, as far as a bounded number of reads and libblkid tell; 0; or
 * -errno.  hurry: fewer of them where they take longer than half a second.  text: what and where,
 * "ext4 at byte 1080"; of a failure, what could not be read. */
int sf_leg_find_use(const struct sf_leg_file *file, bool hurry, char text[LEG_USE_TEXT_MAX]);
/* How many labels that libblkid knows begin at a byte in [from, to), and which; or -errno. */
int sf_leg_find_signs(const struct sf_leg_file *file, uint64_t from, uint64_t to, char *text,
                      size_t size);
/* Zeros in the last MiB, as far as it is behind `from`. */
int sf_leg_wipe_end(const struct sf_leg_file *file, uint64_t from);

/* ---- remains.c ---- */

/* 1: between the head and the mark stands what is neither zeros nor a page of this volume's maps, from *at on; 0; or
 * -errno. */
int sf_leg_find_strange(const struct sf_leg_file *file, const struct sf_uuid *volume, uint64_t *at);

/* ---- format.c ---- */

int sf_leg_sync_parent(const char *path);

/* ---- zero.c ---- */

typedef void leg_zero_progress(void *arg, uint64_t done);
int sf_leg_zero(const struct sf_leg_file *file, uint64_t from, uint64_t len,
                leg_zero_progress *progress, void *arg);
struct leg_zero_soon {
  bool by_writing; /* where there is no other way */
  /* Some leg takes too long, so none need go on: set, and heeded. */
  _Atomic bool *in_vain;
};
/* Zeros, if all of it promises to be there within a second.  1; 0: it may hold anything; or -errno of a write. */
int sf_leg_zero_soon(const struct sf_leg_file *file, uint64_t from, uint64_t len,
                     const struct leg_zero_soon *how);
/* Of a file, by its file system's word. */
bool sf_leg_is_a_hole(const struct sf_leg_file *file, uint64_t from, uint64_t len);
/* The quick way or -EOPNOTSUPP. */
int sf_leg_zero_fast(const struct sf_leg_file *file, uint64_t from, uint64_t len);

#endif

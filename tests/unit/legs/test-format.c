/* Proves that making a volume leaves legs that start together, that it destroys nothing without
 * being told to, and that a half-made volume is none. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "assembly/blank.h"
#include "rig.h"

static const uint64_t leg_bytes = SF_DATA_OFFSET + TEST_DATA_MIB * MIB;

static bool
exists(const char *path) {
  struct stat st;
  return stat(path, &st) == 0;
}

static void
new_files(void **state) {
  struct fixture *f = *state;
  make_volume(f);
  expect_starts(f);
  for (unsigned i = 0; i < 3; i++) {
    const struct sf_superblock *sb = &f->found[i].sb;
    struct stat st;
    assert_int_equal(stat(f->config.leg[i].path, &st), 0);
    assert_int_equal(st.st_size, leg_bytes);
    assert_true((uint64_t) st.st_blocks * 512 >= leg_bytes); /* allocated, not a hole */
    assert_int_equal(sb->leg_index, i);
    assert_int_equal(sb->data_bytes, TEST_DATA_MIB * MIB);
    assert_int_equal(sb->data_offset, SF_DATA_OFFSET);
    assert_int_equal(sb->serial, 2);
    assert_true(sb->record.term == 1 && sb->record.change == 1 && sb->record.clean);
    assert_int_equal(sb->record.in_sync, 7);
    assert_int_equal(sb->record.min_legs, 2);
    assert_string_equal(sb->leg_name[i], f->config.leg[i].name);
    assert_true(sf_uuid_equal(&sb->volume, &f->found[0].sb.volume));
    assert_true(sf_uuid_equal(&sb->lineage, &f->found[0].sb.lineage));
  }
}

/* Either copy alone is enough. */
static void
both_copies_are_written(void **state) {
  struct fixture *f = *state;
  make_volume(f);
  put_byte(f->config.leg[0].path, SF_SUPERBLOCK_OFFSET(0) + 100, 'x');
  put_byte(f->config.leg[1].path, SF_SUPERBLOCK_OFFSET(1) + 100, 'x');
  expect_starts(f);
}

static void
existing_files_and_no_size(void **state) {
  struct fixture *f = *state;
  make_file(f->config.leg[0].path, leg_bytes + 3 * MIB);
  make_file(f->config.leg[1].path, leg_bytes + 5000);
  make_file(f->config.leg[2].path, leg_bytes + MIB);
  assert_int_equal(format(f, (struct sf_format_options){0}), 0);
  expect_starts(f);
  assert_int_equal(f->found[0].sb.data_bytes, TEST_DATA_MIB * MIB + 4096);
}

static void
missing_and_no_size(void **state) {
  struct fixture *f = *state;
  make_file(f->config.leg[0].path, leg_bytes);
  assert_int_equal(format(f, (struct sf_format_options){0}), -ENOENT);
  assert_says(f->error, "--size");
  assert_false(exists(f->config.leg[1].path));
  assert_int_equal(get_byte(f->config.leg[0].path, 0), 0);
}

static void
impossible_sizes(void **state) {
  struct fixture *f = *state;
  assert_int_equal(format(f, (struct sf_format_options){.size = MIB + 512}), -EINVAL);
  assert_says(f->error, "4 KiB");
  assert_int_equal(format(f, (struct sf_format_options){.size = MIB / 2}), -EINVAL);
  assert_int_equal(format(f, (struct sf_format_options){.size = UINT64_MAX - 4095}), -EINVAL);
  assert_int_equal(format(f, (struct sf_format_options){.size = SF_VOLUME_BYTES_MAX + 4096}),
                   -EFBIG);
  assert_says(f->error, "at most 2251799813685248");
  assert_false(exists(f->config.leg[0].path));
}

static void
too_small(void **state) {
  struct fixture *f = *state;
  make_file(f->config.leg[1].path, leg_bytes - 1);
  assert_int_equal(format(f, (struct sf_format_options){.size = TEST_DATA_MIB * MIB}), -EINVAL);
  assert_says(f->error, "leg b (");
  assert_says(f->error, "too small");
  assert_false(exists(f->config.leg[0].path));
}

/* The second file cannot be made: the first does not stay either. */
static void
created_files_go_again(void **state) {
  struct fixture *f = *state;
  snprintf(f->config.leg[1].path, PATH_MAX, "%s/no/b", f->dir);
  assert_int_equal(format(f, (struct sf_format_options){.size = MIB}), -ENOENT);
  assert_says(f->error, "leg b (");
  assert_false(exists(f->config.leg[0].path));
}

static void
expect_refused(struct fixture *f, const char *says) {
  assert_int_equal(format(f, (struct sf_format_options){.size = TEST_DATA_MIB * MIB}), -EEXIST);
  assert_says(f->error, says);
  assert_says(f->error, "--overwrite");
  assert_false(exists(f->config.leg[0].path));
}

static void
data_are_not_destroyed(void **state) {
  struct fixture *f = *state;
  static const uint64_t places[] = {0, 4095, 65536 + 64, SF_DATA_OFFSET + TEST_DATA_MIB * MIB - 1};
  for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
    unlink(f->config.leg[1].path);
    make_file(f->config.leg[1].path, leg_bytes);
    put_byte(f->config.leg[1].path, places[i], 'x');
    expect_refused(f, "leg b (");
    assert_int_equal(get_byte(f->config.leg[1].path, places[i]), 'x');
  }
}

/* An old array's label: md 0.90, in the last 128 KiB. */
static uint64_t
put_old_label(const char *path, uint64_t bytes) {
  const uint32_t label[9] = {0xa92b4efc, 0, 90, 0, 0, 1, 0, 1, 5120};
  uint64_t at = bytes / 65536 * 65536 - 65536;
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  assert_true(fd >= 0);
  assert_int_equal(pwrite(fd, label, sizeof label, (off_t) at), sizeof label);
  assert_int_equal(fsync(fd), 0);
  close(fd);
  return at;
}

/* A signature that is found is named, with its place. */
static void
says_what_it_found(void **state) {
  struct fixture *f = *state;
  char text[64];
  make_file(f->config.leg[1].path, leg_bytes);
  snprintf(text, sizeof text, "linux_raid_member at byte %llu",
           (unsigned long long) put_old_label(f->config.leg[1].path, leg_bytes));
  expect_refused(f, text);
  unlink(f->config.leg[1].path);
  make_file(f->config.leg[1].path, leg_bytes);
  put_byte(f->config.leg[1].path, SF_DATA_OFFSET + 12345, 'x');
  expect_refused(f, "bytes that are not zero at 8400953");
}

/* Data need not begin at the beginning of a disk. */
static void
make_hole(const char *path, uint64_t bytes) {
  unlink(path);
  make_file(path, bytes);
}

static void
put_data(const char *path, uint64_t at, uint64_t length) {
  enum { PIECE = 64 * 1024 };
  static uint8_t data[PIECE];
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  assert_true(fd >= 0);
  memset(data, 'x', sizeof data);
  for (uint64_t done = 0; done < length; done += PIECE)
    assert_int_equal(pwrite(fd, data, PIECE, (off_t) (at + done)), PIECE);
  close(fd);
}

/* A disk that is to take a leg's place is looked at for as long as it takes. */
static void
expect_no_place(struct fixture *f, const struct sf_superblock *reference) {
  const char *path = f->config.leg[2].path;
  assert_int_equal(sf_leg_discard(path, reference, 2, true, NULL, f->error), -EEXIST);
  assert_says(f->error, "carries data");
}

static void
data_are_looked_for_everywhere(void **state) {
  static const uint64_t bytes = UINT64_C(20) << 30, mib = MIB;
  const uint64_t places[] = {20 * mib, 60 * mib, bytes - mib};
  struct fixture *f = *state;
  const char *path = f->config.leg[2].path;
  make_volume(f);
  expect_starts(f);
  struct sf_superblock reference = f->found[0].sb;
  for (unsigned i = 0; i < sizeof places / sizeof *places; i++) {
    make_hole(path, bytes);
    put_data(path, places[i], 65536);
    expect_no_place(f, &reference);
  }
  /* A few MiB, anywhere. */
  make_hole(path, bytes);
  put_data(path, bytes / 3 / 4096 * 4096, 48 * mib);
  expect_no_place(f, &reference);
}

/* However slow the disk is: its ends, and samples of all of it. */
static void
a_look_in_a_hurry(void **state) {
  static const uint64_t bytes = UINT64_C(2) << 30, mib = MIB;
  struct fixture *f = *state;
  const char *path = f->config.leg[2].path;
  const uint64_t places[][2] = {
      {7 * mib, 65536}, {bytes - mib, 65536}, {bytes / 3 / 4096 * 4096, 96 * mib}};
  for (unsigned i = 0; i < sizeof places / sizeof *places; i++) {
    make_hole(path, bytes);
    put_data(path, places[i][0], places[i][1]);
    expect_refused(f, "leg c (");
  }
}

/* Nothing that another program takes for its own outlives a volume's making: it might repair it. */
static void
old_labels_are_wiped(void **state) {
  struct fixture *f = *state;
  for (unsigned i = 0; i < 3; i++)
    make_file(f->config.leg[i].path, 3 * leg_bytes);
  uint64_t at = put_old_label(f->config.leg[1].path, 3 * leg_bytes);
  const struct sf_format_options options = {
      .size = TEST_DATA_MIB * MIB, .overwrite = true, .assume_clean = true};
  assert_int_equal(format(f, options), 0);
  expect_starts(f);
  assert_int_equal(get_byte(f->config.leg[1].path, at), 0);

  /* Within the data, which are to be kept: that is said before anything is written. */
  put_old_label(f->config.leg[1].path, 3 * leg_bytes);
  assert_int_equal(format(f, (struct sf_format_options){.overwrite = true, .assume_clean = true}),
                   -EEXIST);
  assert_says(f->error, "create the volume without --assume-clean");
  expect_starts(f);
  assert_int_equal(format(f, (struct sf_format_options){.overwrite = true}), 0);
  assert_int_equal(get_byte(f->config.leg[1].path, at), 0);
}

static void
old_labels_are_wiped_from_a_new_disk(void **state) {
  struct fixture *f = *state;
  make_volume(f);
  expect_starts(f);
  struct sf_superblock reference = f->found[0].sb;
  const char *path = f->config.leg[2].path;
  assert_int_equal(truncate(path, 3 * leg_bytes), 0);
  uint64_t at = put_old_label(path, 3 * leg_bytes);
  assert_int_equal(sf_leg_discard(path, &reference, 2, true, NULL, f->error), 0);
  assert_int_equal(get_byte(path, at), 0);
  unlink(path);
  make_file(path, leg_bytes);
  put_old_label(path, leg_bytes);
  assert_int_equal(sf_leg_check_new(path, 0, &reference, 2, &f->judged, f->error), -EEXIST);
  assert_says(f->error, "linux_raid_member at byte");
  assert_says(f->error, "remove it, and it is made anew");
}

static void
a_volume_is_not_destroyed(void **state) {
  struct fixture *f = *state;
  make_volume(f);
  unlink(f->config.leg[0].path);
  expect_refused(f, "already is leg b of volume vol0");
}

static void
overwrite_zeroes(void **state) {
  struct fixture *f = *state;
  make_volume(f);
  expect_starts(f);
  struct sf_uuid before = f->found[0].sb.volume;
  put_byte(f->config.leg[1].path, SF_DATA_OFFSET - 5, 'x');
  put_byte(f->config.leg[1].path, leg_bytes - 1, 'x');
  assert_int_equal(format(f, (struct sf_format_options){.overwrite = true}), 0);
  expect_starts(f);
  assert_false(sf_uuid_equal(&before, &f->found[0].sb.volume));
  assert_int_equal(get_byte(f->config.leg[1].path, SF_DATA_OFFSET - 5), 0);
  assert_int_equal(get_byte(f->config.leg[1].path, leg_bytes - 1), 0);
}

static void
assume_clean_keeps_data(void **state) {
  struct fixture *f = *state;
  make_volume(f);
  put_byte(f->config.leg[1].path, SF_DATA_OFFSET - 5, 'x');
  put_byte(f->config.leg[1].path, leg_bytes - 1, 'x');
  assert_int_equal(format(f, (struct sf_format_options){.overwrite = true, .assume_clean = true}),
                   0);
  expect_starts(f);
  assert_int_equal(get_byte(f->config.leg[1].path, SF_DATA_OFFSET - 5), 0);
  assert_int_equal(get_byte(f->config.leg[1].path, leg_bytes - 1), 'x');
}

static void
legs_in_use_are_left_alone(void **state) {
  struct fixture *f = *state;
  make_volume(f);
  assert_int_equal(sf_leg_file_open(f->config.leg[2].path, 0, &f->file[2], &f->found[2], f->error),
                   0);
  assert_int_equal(format(f, (struct sf_format_options){.overwrite = true}), -EBUSY);
  assert_says(f->error, "locked");
  sf_leg_file_close(&f->file[2]);
  expect_starts(f);
}

static void
one_file_by_two_names(void **state) {
  struct fixture *f = *state;
  struct sf_format_options options = {.size = TEST_DATA_MIB * MIB};
  snprintf(f->config.leg[2].path, PATH_MAX, "./%s/a", f->dir);
  assert_int_equal(format(f, options), -EINVAL);
  assert_says(f->error, "legs a (");
  assert_says(f->error, "and c (");
  assert_false(exists(f->config.leg[0].path) || exists(f->config.leg[1].path));
  make_file(f->config.leg[0].path, leg_bytes);
  assert_int_equal(format(f, options), -EINVAL);
  assert_says(f->error, "one and the same");
}

/* ---- progress and interruption ---- */

struct witness {
  struct fixture *f;
  uint64_t done[3];
  atomic_uint valid; /* times a leg carried a valid superblock while data were zeroed */
  bool die;
};

static void
watch(void *arg, unsigned leg, uint64_t done, uint64_t total) {
  struct witness *w = arg;
  assert_int_equal(total, TEST_DATA_MIB * MIB);
  assert_true(done > w->done[leg] || done == total);
  w->done[leg] = done;
  for (unsigned i = 0; i < 3; i++) {
    struct sf_leg_file file;
    struct sf_leg_found found;
    char error[SF_CONFIG_ERROR_MAX];
    assert_int_equal(
        sf_leg_file_open(w->f->config.leg[i].path, SF_LEG_READ_ONLY, &file, &found, error), 0);
    sf_leg_file_close(&file);
    w->valid += found.error != -ENODATA;
  }
  if (w->die)
    _exit(0);
}

struct meeting {
  pthread_mutex_t lock;
  pthread_cond_t come;
  bool here[3], in_vain;
  unsigned count;
};

/* Each leg waits in its thread until every other has come as far. */
static void
meet(void *arg, unsigned leg, uint64_t done, uint64_t total) {
  (void) done;
  (void) total;
  struct meeting *m = arg;
  struct timespec by;
  clock_gettime(CLOCK_REALTIME, &by);
  by.tv_sec += 20;
  pthread_mutex_lock(&m->lock);
  if (!m->here[leg]) {
    m->here[leg] = true;
    m->count++;
    pthread_cond_broadcast(&m->come);
    while (m->count < 3 && !m->in_vain)
      m->in_vain = pthread_cond_timedwait(&m->come, &m->lock, &by) != 0;
  }
  pthread_mutex_unlock(&m->lock);
}

static void
legs_are_zeroed_at_a_time(void **state) {
  struct fixture *f = *state;
  struct meeting m = {.lock = PTHREAD_MUTEX_INITIALIZER, .come = PTHREAD_COND_INITIALIZER};
  struct sf_format_options options = {.overwrite = true};
  make_volume(f);
  assert_int_equal(sf_format(&f->config, &options, meet, &m, f->error), 0);
  assert_int_equal(m.count, 3);
  assert_false(m.in_vain);
}

static void
superblocks_come_last(void **state) {
  struct fixture *f = *state;
  struct witness w = {.f = f};
  struct sf_format_options options = {.overwrite = true};
  make_volume(f);
  assert_int_equal(sf_format(&f->config, &options, watch, &w, f->error), 0);
  assert_int_equal(w.valid, 0);
  for (unsigned i = 0; i < 3; i++)
    assert_int_equal(w.done[i], TEST_DATA_MIB * MIB);
}

static void
an_interrupted_format_is_no_volume(void **state) {
  struct fixture *f = *state;
  struct witness w = {.f = f, .die = true};
  struct sf_format_options options = {.overwrite = true};
  struct sf_assembly assembly;
  make_volume(f);
  pid_t pid = fork();
  if (pid == 0) {
    sf_format(&f->config, &options, watch, &w, f->error);
    _exit(1);
  }
  int status;
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  assemble(f, &assembly);
  assert_false(assembly.may_start);
  for (unsigned i = 0; i < 3; i++)
    assert_int_equal(assembly.verdict[i], SF_LEG_UNFORMATTED);
  /* And it can simply be done again. */
  assert_int_equal(format(f, (struct sf_format_options){.overwrite = true}), 0);
  expect_starts(f);
}

/* ---- discard ---- */

static void
discard(void **state) {
  struct fixture *f = *state;
  struct sf_assembly assembly;
  make_volume(f);
  expect_starts(f);
  put_byte(f->config.leg[2].path, SF_MAPS_OFFSET, 'x');
  assert_int_equal(sf_leg_discard(f->config.leg[2].path, &f->found[0].sb, 2, true, NULL, f->error),
                   0);
  assert_int_equal(get_byte(f->config.leg[2].path, SF_MAPS_OFFSET), 0);
  assemble(f, &assembly);
  assert_true(assembly.may_start);
  assert_int_equal(assembly.current, 3);
  assert_int_equal(assembly.verdict[2], SF_LEG_BEHIND);
  assert_true(sf_leg_is_blank(&f->found[2].sb));
  assert_true(sf_leg_needs_whole_copy(&assembly.base, &f->found[2].sb));
}

/* After a change of disks: a new, empty file; or a file with a damaged superblock. */
static void
discard_of_new_and_damaged(void **state) {
  struct fixture *f = *state;
  struct sf_assembly assembly;
  make_volume(f);
  expect_starts(f);
  struct sf_superblock reference = f->found[0].sb;
  unlink(f->config.leg[1].path);
  make_file(f->config.leg[1].path, leg_bytes);
  put_byte(f->config.leg[2].path, SF_SUPERBLOCK_OFFSET(0) + 100, 'x');
  put_byte(f->config.leg[2].path, SF_SUPERBLOCK_OFFSET(1) + 100, 'x');
  assemble(f, &assembly);
  assert_int_equal(assembly.verdict[1], SF_LEG_UNFORMATTED);
  assert_int_equal(assembly.verdict[2], SF_LEG_DAMAGED);
  /* A disk that does not show which leg it is must not pass for the disk that it may replace. */
  assert_int_equal(sf_leg_discard(f->config.leg[1].path, &reference, 1, true, NULL, f->error),
                   -EEXIST);
  assert_says(f->error, "leg replace");
  assert_int_equal(sf_leg_discard(f->config.leg[2].path, &reference, 2, true, NULL, f->error),
                   -EEXIST);
  assert_says(f->error, "leg replace");
  for (unsigned i = 1; i < 3; i++)
    assert_int_equal(sf_leg_discard(f->config.leg[i].path, &reference, i, false, NULL, f->error),
                     0);
  assemble(f, &assembly);
  assert_int_equal(assembly.verdict[1], SF_LEG_BEHIND);
  assert_int_equal(assembly.verdict[2], SF_LEG_BEHIND);
  /* With an empty place. */
  reference.removed = 2;
  assert_int_equal(sf_leg_discard(f->config.leg[2].path, &reference, 2, true, NULL, f->error), 0);
  reference.removed = 0;
  /* The volume has grown meanwhile: so is a file. */
  struct stat st;
  reference.data_bytes *= 2;
  assert_int_equal(sf_leg_discard(f->config.leg[2].path, &reference, 2, true, NULL, f->error), 0);
  assert_int_equal(stat(f->config.leg[2].path, &st), 0);
  assert_int_equal(st.st_size, reference.data_offset + reference.data_bytes);
}

static void
discard_refuses(void **state) {
  struct fixture *f = *state;
  make_volume(f);
  expect_starts(f);
  struct sf_superblock reference = f->found[0].sb, other = reference;
  const char *path = f->config.leg[2].path;
  assert_int_equal(sf_leg_discard(path, &reference, 1, true, NULL, f->error), -EEXIST);
  assert_says(f->error, "it is leg c of this volume, not leg b");
  other.volume.bytes[0] ^= 1;
  assert_int_equal(sf_leg_discard(path, &other, 2, true, NULL, f->error), -EEXIST);
  assert_says(f->error, "belongs to volume vol0, another one");
  assert_int_equal(sf_leg_discard(path, &reference, 3, true, NULL, f->error), -EINVAL);
  expect_starts(f);
  unlink(path);
  make_file(path, leg_bytes);
  put_byte(path, 65536 + 64, 'x');
  assert_int_equal(sf_leg_discard(path, &reference, 2, true, NULL, f->error), -EEXIST);
  assert_says(f->error, "carries data");
  assert_int_equal(get_byte(path, 65536 + 64), 'x');
}

static void
discard_of_a_single_leg(void **state) {
  struct fixture *f = *state;
  struct sf_assembly assembly;
  f->config.legs = f->config.min_legs = 1;
  make_volume(f);
  assemble(f, &assembly);
  assert_true(assembly.may_start);
  assert_int_equal(sf_leg_discard(f->config.leg[0].path, &f->found[0].sb, 0, true, NULL, f->error),
                   0);
  assemble(f, &assembly);
  assert_false(assembly.may_start);
  assert_says(assembly.reason, "discarded");
}

int
main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
  const struct CMUnitTest tests[] = {
      TEST(new_files),
      TEST(both_copies_are_written),
      TEST(existing_files_and_no_size),
      TEST(missing_and_no_size),
      TEST(impossible_sizes),
      TEST(too_small),
      TEST(created_files_go_again),
      TEST(data_are_not_destroyed),
      TEST(says_what_it_found),
      TEST(data_are_looked_for_everywhere),
      TEST(a_look_in_a_hurry),
      TEST(old_labels_are_wiped),
      TEST(old_labels_are_wiped_from_a_new_disk),
      TEST(a_volume_is_not_destroyed),
      TEST(overwrite_zeroes),
      TEST(assume_clean_keeps_data),
      TEST(legs_in_use_are_left_alone),
      TEST(one_file_by_two_names),
      TEST(legs_are_zeroed_at_a_time),
      TEST(superblocks_come_last),
      TEST(an_interrupted_format_is_no_volume),
      TEST(discard),
      TEST(discard_of_new_and_damaged),
      TEST(discard_refuses),
      TEST(discard_of_a_single_leg),
  };
  return fixture_possible() ? cmocka_run_group_tests(tests, NULL, NULL) : TEST_SKIPPED;
}

/* `leg replace` and `leg add`: the disk that is emptied is the one that was looked at, although the path led to another one
 * as soon as the volume had heard of it, and one that hangs keeps nothing else waiting.  The volume is the test's. */
#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/units.h"
#include "serve/internal.h"

enum { DATA_BYTES = 2 << 20, NEW_LEG = 3, SHORT_MS = 500 };

static char folder[] = "members-XXXXXX";
static struct sf_serve *serve;
static sem_t opened;
static struct sf_superblock identity;
static char path_of[SF_LEGS_MAX][PATH_MAX], link_path[PATH_MAX], judged[PATH_MAX], other[PATH_MAX];
static int opened_error;
static bool swaps, busy;
static uint64_t bound_ns; /* of the last errand to a disk; it is not waited for here */
static char opened_why[SF_CONFIG_ERROR_MAX], told[SF_CONFIG_ERROR_MAX];

/* ---- the volume, by the linker's --wrap ---- */

void __wrap_sf_volume_get_identity(struct sf_volume *volume, struct sf_superblock *now);
void __wrap_sf_volume_leg_path(struct sf_volume *volume, unsigned leg, char path[PATH_MAX]);
int __wrap_sf_volume_leg_replace(struct sf_volume *volume, unsigned leg, const struct sf_uuid *uuid,
                                 const char *path, uint64_t now_ns);
int __wrap_sf_volume_leg_add(struct sf_volume *volume, const char *name, const char *path,
                             const struct sf_uuid *uuid, unsigned *leg, uint64_t now_ns);
int __wrap_sf_volume_free_place(struct sf_volume *volume);
int __wrap_sf_volume_find_leg(struct sf_volume *volume, const char *name);
int __wrap_sf_volume_leg_opened(struct sf_volume *volume, unsigned leg,
                                struct sf_tio_device *device, const struct sf_superblock *sb,
                                uint64_t bytes, int error, const char *why, uint64_t now_ns);
void __wrap_sf_serve_event(struct sf_serve *of, const struct sf_volume_event *event);
int __real_sf_leg_check_new_isolated(struct sf_leg_openers *openers, const char *path,
                                     unsigned flags, const struct sf_superblock *reference,
                                     unsigned leg, uint64_t timeout_ns, struct sf_leg_judged *judge,
                                     char error[SF_CONFIG_ERROR_MAX]);
int __wrap_sf_leg_check_new_isolated(struct sf_leg_openers *openers, const char *path,
                                     unsigned flags, const struct sf_superblock *reference,
                                     unsigned leg, uint64_t timeout_ns, struct sf_leg_judged *judge,
                                     char error[SF_CONFIG_ERROR_MAX]);
int __real_sf_leg_file_open_isolated(struct sf_leg_openers *openers, const char *path,
                                     unsigned flags, uint64_t timeout_ns, struct sf_leg_file *file,
                                     struct sf_leg_found *found, char error[SF_CONFIG_ERROR_MAX]);
int __wrap_sf_leg_file_open_isolated(struct sf_leg_openers *openers, const char *path,
                                     unsigned flags, uint64_t timeout_ns, struct sf_leg_file *file,
                                     struct sf_leg_found *found, char error[SF_CONFIG_ERROR_MAX]);
int __wrap_sf_tio_device_add(struct sf_tio_client *client, int fd, struct sf_tio_device **device);
int __wrap_sf_tio_device_submitter(const struct sf_tio_device *device);
int __wrap_sf_tio_device_remove(struct sf_tio_device *device);

void
__wrap_sf_volume_get_identity(struct sf_volume *volume, struct sf_superblock *now) {
  *now = identity;
}

void
__wrap_sf_volume_leg_path(struct sf_volume *volume, unsigned leg, char path[PATH_MAX]) {
  strcpy(path, path_of[leg]);
}

static void
lead_to(const char *file) {
  unlink(link_path);
  assert_int_equal(symlink(file, link_path), 0);
}

int
__wrap_sf_volume_leg_replace(struct sf_volume *volume, unsigned leg, const struct sf_uuid *uuid,
                             const char *path, uint64_t now_ns) {
  if (busy)
    return -EPERM;
  identity.leg_uuid[leg] = *uuid;
  strcpy(path_of[leg], path);
  if (swaps)
    lead_to(other);
  return 0;
}

int
__wrap_sf_volume_leg_add(struct sf_volume *volume, const char *name, const char *path,
                         const struct sf_uuid *uuid, unsigned *leg, uint64_t now_ns) {
  identity.legs = NEW_LEG + 1;
  snprintf(identity.leg_name[NEW_LEG], SF_LEG_NAME_MAX, "%s", name);
  *leg = NEW_LEG;
  return __wrap_sf_volume_leg_replace(volume, NEW_LEG, uuid, path, now_ns);
}

int
__wrap_sf_volume_free_place(struct sf_volume *volume) {
  return NEW_LEG;
}

int
__wrap_sf_volume_find_leg(struct sf_volume *volume, const char *name) {
  return -ENOENT;
}

int
__wrap_sf_volume_leg_opened(struct sf_volume *volume, unsigned leg, struct sf_tio_device *device,
                            const struct sf_superblock *sb, uint64_t bytes, int error,
                            const char *why, uint64_t now_ns) {
  opened_error = error;
  snprintf(opened_why, sizeof opened_why, "%s", why == NULL ? "" : why);
  sem_post(&opened);
  return 0;
}

void
__wrap_sf_serve_event(struct sf_serve *of, const struct sf_volume_event *event) {
  snprintf(told, sizeof told, "%s", event->reason);
}

int
__wrap_sf_leg_check_new_isolated(struct sf_leg_openers *openers, const char *path, unsigned flags,
                                 const struct sf_superblock *reference, unsigned leg,
                                 uint64_t timeout_ns, struct sf_leg_judged *judge,
                                 char error[SF_CONFIG_ERROR_MAX]) {
  bound_ns = timeout_ns;
  return __real_sf_leg_check_new_isolated(openers, path, flags, reference, leg, SHORT_MS * SF_MS,
                                          judge, error);
}

int
__wrap_sf_leg_file_open_isolated(struct sf_leg_openers *openers, const char *path, unsigned flags,
                                 uint64_t timeout_ns, struct sf_leg_file *file,
                                 struct sf_leg_found *found, char error[SF_CONFIG_ERROR_MAX]) {
  bound_ns = timeout_ns;
  return __real_sf_leg_file_open_isolated(openers, path, flags, SHORT_MS * SF_MS, file, found,
                                          error);
}

int
__wrap_sf_tio_device_add(struct sf_tio_client *client, int fd, struct sf_tio_device **device) {
  *device = (struct sf_tio_device *) &serve;
  return 0;
}

int
__wrap_sf_tio_device_submitter(const struct sf_tio_device *device) {
  return 0;
}

int
__wrap_sf_tio_device_remove(struct sf_tio_device *device) {
  return 0;
}

/* ---- */

static void
make_file(const char *path) {
  FILE *file = fopen(path, "we");

  assert_non_null(file);
  fclose(file);
  assert_int_equal(truncate(path, SF_DATA_OFFSET + DATA_BYTES), 0);
}

static bool
is_empty(const char *path) {
  struct sf_leg_file file;
  struct sf_leg_found found;
  char error[SF_CONFIG_ERROR_MAX];

  assert_int_equal(sf_leg_file_open(path, SF_LEG_READ_ONLY, &file, &found, error), 0);
  sf_leg_file_close(&file);
  return found.error == -ENODATA && !file.looks_used;
}

static void
make_volume(const char *here) {
  static struct sf_config config;
  const struct sf_format_options options = {.size = DATA_BYTES};
  char error[SF_CONFIG_ERROR_MAX];
  struct sf_leg_file file;
  struct sf_leg_found found;

  config = (struct sf_config){.name = "vol0", .legs = 3, .min_legs = 2};
  for (unsigned i = 0; i < config.legs; i++) {
    config.leg[i].name[0] = (char) ('a' + i);
    snprintf(path_of[i], PATH_MAX, "%s/%c", here, 'a' + i);
    strcpy(config.leg[i].path, path_of[i]);
  }
  assert_int_equal(sf_format(&config, &options, NULL, NULL, error), 0);
  assert_int_equal(sf_leg_file_open(path_of[0], 0, &file, &found, error), 0);
  identity = found.sb;
  sf_leg_file_close(&file);
}

static int
begin(void **state) {
  char here[PATH_MAX / 2], made[] = "members-XXXXXX";
  size_t used;

  strcpy(folder, mkdtemp(made));
  assert_non_null(getcwd(here, sizeof here));
  used = strlen(here);
  snprintf(here + used, sizeof here - used, "/%s", folder);
  make_volume(here);
  snprintf(link_path, sizeof link_path, "%s/link", here);
  snprintf(judged, sizeof judged, "%s/judged", here);
  snprintf(other, sizeof other, "%s/other", here);
  make_file(judged);
  make_file(other);
  lead_to(judged);
  sem_init(&opened, 0, 0);
  serve = calloc(1, sizeof *serve);
  pthread_mutex_init(&serve->lock, NULL);
  sf_serve_cond_init(&serve->changed);
  serve->block_bytes = serve->block_bytes_at_start = SF_PAGE_BYTES;
  for (unsigned i = 0; i < SF_TIO_DEVICES_MAX; i++)
    serve->device_name[i].fd = -1;
  for (unsigned i = 0; i < SF_LEGS_MAX; i++)
    serve->leg[i].file.fd = -1;
  swaps = true;
  busy = false;
  told[0] = '\0';
  return 0;
}

static int
end(void **state) {
  char command[64];

  for (unsigned i = 0; i < SF_LEGS_MAX; i++)
    (void) sf_serve_let_go(serve, &serve->leg[i]);
  free(serve);
  snprintf(command, sizeof command, "rm -rf %s", folder);
  return system(command);
}

static void
end_job(void) {
  while (sf_serve_job_join(serve) == -EBUSY)
    usleep(1000);
}

/* As the volume has it done. */
static void
open_leg(unsigned leg) {
  assert_int_equal(sf_serve_open_leg(serve, leg, SF_BLANK_NEW), 0);
  sem_wait(&opened);
  assert_int_equal(sf_serve_join_openers(serve), 0);
}

static void
expect_refused(unsigned leg) {
  open_leg(leg);
  assert_int_equal(opened_error, -ESTALE);
  assert_non_null(strstr(opened_why, "this is another file"));
  assert_true(is_empty(other));
  assert_true(is_empty(judged));
  /* It is tried again, and the path is as it was. */
  lead_to(judged);
  open_leg(leg);
  assert_int_equal(opened_error, 0);
  assert_true(is_empty(other));
  assert_false(is_empty(judged));
}

static void
a_replaced_leg(void **state) {
  char error[SF_CONFIG_ERROR_MAX];

  assert_int_equal(sf_serve_leg_replace(serve, 1, "b", link_path, error), 0);
  end_job();
  assert_string_equal(told, "");
  expect_refused(1);
}

static void
an_added_leg(void **state) {
  char error[SF_CONFIG_ERROR_MAX];

  assert_int_equal(sf_serve_leg_add(serve, "d", link_path, error), 0);
  end_job();
  assert_string_equal(told, "");
  expect_refused(NEW_LEG);
}

/* What the volume refuses does not take the word back that it has accepted before. */
static void
a_refused_change_leaves_the_one_before(void **state) {
  char error[SF_CONFIG_ERROR_MAX];

  swaps = false;
  assert_int_equal(sf_serve_leg_replace(serve, 1, "b", link_path, error), 0);
  end_job();
  busy = true;
  assert_int_equal(sf_serve_leg_replace(serve, 1, "b", other, error), 0);
  end_job();
  assert_string_not_equal(told, "");
  open_leg(1);
  assert_int_equal(opened_error, 0);
  assert_false(is_empty(judged));
  assert_true(is_empty(other));
}

/* Who opens it waits until it is closed. */
static int
hang(const char *path) {
  int fd;

  signal(SIGIO, SIG_IGN); /* somebody waits */
  assert_int_equal(sf_leg_openers_start(&serve->openers), 0);
  fd = open(path, O_RDWR | O_CLOEXEC);
  assert_true(fd >= 0);
  if (fcntl(fd, F_SETLEASE, F_WRLCK) < 0)
    skip();
  return fd;
}

static void
expect_hung(const char *name) {
  char says[64];

  snprintf(says, sizeof says, "nothing was changed for leg %s", name);
  end_job();
  assert_non_null(strstr(told, "it did not answer within"));
  assert_non_null(strstr(told, says));
  assert_int_equal(bound_ns, 120 * SF_S);
}

static void
a_new_disk_that_hangs(void **state) {
  char error[SF_CONFIG_ERROR_MAX];
  int fd = hang(judged);

  assert_int_equal(sf_serve_leg_replace(serve, 1, "b", link_path, error), 0);
  expect_hung("b");
  assert_int_equal(sf_serve_leg_add(serve, "d", link_path, error), 0);
  expect_hung("d");
  told[0] = '\0';
  assert_int_equal(sf_serve_leg_replace(serve, 1, "b", other, error), 0);
  end_job();
  assert_string_equal(told, "");
  close(fd);
  sf_leg_openers_stop(serve->openers);
}

/* Each opening is given longer than the one before, until one is answered. */
static void
a_missing_leg_that_hangs(void **state) {
  int fd = hang(path_of[1]);
  static const unsigned bound_s[] = {30, 60, 120, 240, 480, 960, 960};

  for (unsigned i = 0; i < sizeof bound_s / sizeof bound_s[0]; i++) {
    assert_int_equal(sf_serve_open_leg(serve, 1, SF_BLANK_NOT), 0);
    sem_wait(&opened);
    assert_int_equal(sf_serve_join_openers(serve), 0);
    assert_int_equal(opened_error, -ETIMEDOUT);
    assert_non_null(strstr(opened_why, "it did not answer within"));
    assert_int_equal(bound_ns, bound_s[i] * SF_S);
  }
  close(fd);
  assert_int_equal(sf_serve_open_leg(serve, 1, SF_BLANK_NOT), 0);
  sem_wait(&opened);
  assert_int_equal(sf_serve_join_openers(serve), 0);
  assert_int_equal(opened_error, 0);
  assert_int_equal(serve->leg[1].hung, 0);
  sf_leg_openers_stop(serve->openers);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(a_replaced_leg, begin, end),
      cmocka_unit_test_setup_teardown(an_added_leg, begin, end),
      cmocka_unit_test_setup_teardown(a_refused_change_leaves_the_one_before, begin, end),
      cmocka_unit_test_setup_teardown(a_new_disk_that_hangs, begin, end),
      cmocka_unit_test_setup_teardown(a_missing_leg_that_hangs, begin, end),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Submitter processes: what hangs for a device hangs there, and there only. */
#include "unit/timed_io/rig.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static struct sf_tio_submitters *submitters;

static struct { atomic_int n, fd, error; } lost;

static void
on_lost(void *context, int fd, int error) {
  assert_ptr_equal(context, &lost);
  atomic_store(&lost.fd, fd);
  atomic_store(&lost.error, error);
  atomic_fetch_add(&lost.n, 1);
}

static struct sf_tio_client *
client_with(struct sf_tio_submitters *those) {
  struct sf_tio_client_params params = {.late = log_event,
                                        .thread_name = "tio-outside",
                                        .submitters = those,
                                        .submitter_lost = on_lost,
                                        .submitter_context = &lost};
  struct sf_tio_client *client = NULL;

  atomic_store(&lost.n, 0);
  assert_int_equal(sf_tio_client_create(&params, &client), 0);
  log_clear();
  return client;
}

static struct sf_tio_client *
client_with_submitters(void) {
  return client_with(submitters);
}

static int
sync_op(struct sf_tio_client *client, enum sf_tio_op op, void *data, struct sf_tio_device *device,
        uint64_t offset) {
  struct sf_tio_control control = {
      .op = op, .flags = SF_TIO_SYNC, .data = data, .timeout_ns = PATIENCE_NS};
  struct sf_tio_region region = region_at(device, offset, 4096);

  return sf_tio(client, &control, &region, 1, NULL, NULL);
}

static bool
locks(int fd) {
  struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

  return fcntl(fd, F_OFD_SETLK, &whole) == 0;
}

/* Its parent, or 0; *run_state as in ps. */
static pid_t
look_at(pid_t pid, char *run_state) {
  pid_t parent = 0;
  char path[64];
  FILE *stat;

  snprintf(path, sizeof path, "/proc/%d/stat", pid);
  stat = fopen(path, "re");
  if (!stat)
    return 0;
  if (fscanf(stat, "%*d (%*[^)]) %c %d", run_state, &parent) != 2)
    parent = 0;
  fclose(stat);
  return parent;
}

static pid_t
parent_of(pid_t pid) {
  char run_state;

  return look_at(pid, &run_state);
}

static bool
is_stopped(pid_t pid) {
  char run_state = '?';

  return look_at(pid, &run_state) > 0 && run_state == 'T';
}

/* A child or grandchild that pgrep lists: the first, or the last. */
static pid_t
find_process(const char *pgrep, bool child, bool last) {
  FILE *pipe = popen(pgrep, "re");
  pid_t pid = 0, found = 0;

  assert_non_null(pipe);
  while (fscanf(pipe, "%d", &pid) == 1)
    if ((last || !found) && (child ? parent_of(pid) : parent_of(parent_of(pid))) == getpid())
      found = pid;
  pclose(pipe);
  return found;
}

static pid_t
find_submitter(void) {
  return find_process("pgrep -x tio-outside", false, false);
}

/* ---- a process that is killed ---- */

struct doomed {
  enum sf_tio_op op;
  struct stall_rig *rig;
  bool replaced; /* its submitters were killed before, and have others in their places */
  int fd;        /* of the device that will hang */
  int ready;
};

static void
on_notify(const struct sf_tio_event *event) {
  const struct doomed *doomed = event->context;
  char one = 1;

  if (event->state == SF_TIO_TIMEOUT)
    assert_int_equal(write(doomed->ready, &one, 1), 1);
}

/* Has two devices; on one of them a request hangs. */
static void
live_until_killed(struct doomed *doomed, int healthy) {
  struct sf_tio_submitters *own;
  struct sf_tio_client_params params = {
      .thread_name = "tio-doomed", .submitter_lost = on_lost, .submitter_context = &lost};
  struct sf_tio_control control = {
      .op = doomed->op, .notify = on_notify, .context = doomed, .timeout_ns = 200 * MS};
  struct sf_tio_client *client;
  struct sf_tio_device *device, *other;
  struct sf_tio_region region;
  char data[4096] = "late";

  if (sf_tio_submitters_start(2, &own) < 0)
    _exit(1);
  params.submitters = own;
  if (!locks(doomed->fd) || !locks(healthy) || sf_tio_client_create(&params, &client) < 0 ||
      sf_tio_device_add(client, doomed->fd, &device) < 0 ||
      sf_tio_device_add(client, healthy, &other) < 0)
    _exit(2);
  for (int n = 1; doomed->replaced && n <= 2; n++) {
    kill(find_process("pgrep -x tio-doomed", false, false), SIGKILL);
    if (!EVENTUALLY(atomic_load(&lost.n) == n) || atomic_load(&lost.error) != 0)
      _exit(4);
  }
  /* The rig's own call is for its parent. */
  if (doomed->replaced && (kill(stall_rig_pid(doomed->rig), SIGSTOP) < 0 ||
                           !EVENTUALLY(is_stopped(stall_rig_pid(doomed->rig)))))
    _exit(5);
  region = region_at(device, 8192, 4096);
  if (doomed->op == SF_TIO_WRITE || doomed->op == SF_TIO_READ)
    control.data = data;
  if (sf_tio(client, &control, &region, 1, NULL, NULL) < 0)
    _exit(3);
  for (;;)
    pause();
}

static bool
ended(pid_t pid, int *status, bool *has) {
  if (!*has)
    *has = waitpid(pid, status, WNOHANG) == pid;
  return *has;
}

static void
killed_in(enum sf_tio_op op, bool replaced) {
  struct stall_rig *rig = stall_rig_start(&(struct stall_rig_params){0});
  char path[] = "/var/tmp/sf-tio-XXXXXX", byte;
  int healthy = open_plain_at(path), ends[2], status;
  struct doomed doomed = {.op = op, .rig = rig, .replaced = replaced};
  int again, healthy_again = open(path, O_RDWR | O_CLOEXEC);
  bool has_ended = false;
  pid_t pid;

  unlink(path);
  assert_int_equal(pipe(ends), 0);
  doomed.ready = ends[1];
  doomed.fd = stall_rig_open(rig);
  again = stall_rig_open(rig);
  if (!replaced)
    stall_rig_freeze(rig);
  pid = fork();
  if (pid == 0)
    live_until_killed(&doomed, healthy);
  close(doomed.fd);
  close(healthy);
  assert_int_equal(read(ends[0], &byte, 1), 1);

  kill(pid, SIGKILL);
  assert_true(EVENTUALLY(ended(pid, &status, &has_ended)));
  assert_true(WIFSIGNALED(status));
  assert_true(EVENTUALLY(locks(healthy_again)));
  assert_false(locks(again)); /* its request may still land */
  stall_rig_thaw(rig);
  assert_true(EVENTUALLY(locks(again)));

  close(ends[0]);
  close(ends[1]);
  close(again);
  close(healthy_again);
  stall_rig_stop(rig);
}

/* Proves: a killed process with a flush that hangs uninterruptibly is gone at once, the lock on its
 * other device with it, and the lock on the hung device stays until the flush has ended (R7). */
static void
killed_in_a_flush(void **state) {
  need_rig(false);
  killed_in(SF_TIO_FLUSH, false);
}

/* Proves: the same for a write. */
static void
killed_in_a_write(void **state) {
  need_rig(false);
  killed_in(SF_TIO_WRITE, false);
}

/* Proves: the same where the submitters were killed before and replaced. */
static void
killed_in_a_flush_of_another(void **state) {
  need_rig(false);
  killed_in(SF_TIO_FLUSH, true);
}

/* ---- a process that may not lock memory ---- */

static _Noreturn void
live_without_the_right(int fd) {
  const struct rlimit little = {.rlim_cur = 1 << 20, .rlim_max = 1 << 20};
  struct sf_tio_submitters *own;
  struct sf_tio_client_params params = {.thread_name = "tio-none"};
  struct sf_tio_client *client;
  struct sf_tio_device *device;
  char data[4096] = "n";

  if (setrlimit(RLIMIT_MEMLOCK, &little) < 0 || setresuid(65534, 65534, 65534) < 0)
    _exit(1);
  if (sf_tio_submitters_start(1, &own) < 0)
    _exit(2);
  params.submitters = own;
  if (sf_tio_client_create(&params, &client) < 0 || sf_tio_device_add(client, fd, &device) < 0)
    _exit(3);
  if (sf_tio_device_submitter(device) != -ENOMEM)
    _exit(4);
  if (sync_op(client, SF_TIO_WRITE, data, device, 4096) < 0 ||
      sync_op(client, SF_TIO_FLUSH, NULL, device, 0) < 0)
    _exit(5);
  if (sf_tio_device_remove(device) < 0 || sf_tio_client_destroy(client) < 0)
    _exit(6);
  sf_tio_submitters_stop(own);
  _exit(0);
}

/* Proves: where the pool cannot be locked for a submitter there is none, which is said, and the
 * device works all the same.  How: another user, with little memory to lock. */
static void
no_right_to_lock(void **state) {
  int fd = open_plain(), status;
  pid_t pid;

  if (geteuid() != 0)
    skip();
  pid = fork();
  if (pid == 0)
    live_without_the_right(fd);
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_true(WIFEXITED(status));
  assert_int_equal(WEXITSTATUS(status), 0);
  close(fd);
}

/* ---- one process that loses its submitter ---- */

static void
works(struct sf_tio_client *client, struct sf_tio_device *device) {
  char data[4096] = "w", back[4096] = "";

  assert_int_equal(sync_op(client, SF_TIO_WRITE, data, device, 8192), 0);
  assert_int_equal(sync_op(client, SF_TIO_FLUSH, NULL, device, 0), 0);
  assert_int_equal(sync_op(client, SF_TIO_READ, back, device, 8192), 0);
  assert_memory_equal(data, back, sizeof data);
}

/* Proves: a killed submitter is replaced, which is told with its device, and everything is done
 * meanwhile and after; its successor is replaced likewise. */
static void
submitter_killed(void **state) {
  int fd = open_plain();
  struct sf_tio_client *client = client_with_submitters();
  struct sf_tio_device *device = device_new(client, fd);

  works(client, device);
  for (int times = 1; times <= 2; times++) {
    pid_t pid = find_submitter();

    assert_true(pid > 0);
    kill(pid, SIGKILL);
    works(client, device);
    assert_true(EVENTUALLY(atomic_load(&lost.n) == times));
    assert_int_equal(lost.fd, fd);
    assert_int_equal(lost.error, 0);
    assert_int_equal(sf_tio_device_submitter(device), 0);
    assert_true(find_submitter() > 0 && find_submitter() != pid);
    works(client, device);
  }
  device_end(device);
  client_end(client);
  close(fd);
}

static void
submit_flushes(struct sf_tio_client *client, struct sf_tio_device *device, unsigned n) {
  struct sf_tio_control control = {.op = SF_TIO_FLUSH, .notify = log_event, .timeout_ns = 50 * MS};
  struct sf_tio_region region = region_at(device, 0, 0);

  for (unsigned i = 0; i < n; i++)
    assert_int_equal(sf_tio(client, &control, &region, 1, NULL, NULL), 0);
}

/* Proves: requests that hang in a submitter that is killed have not ended with it, nor have later
 * ones; all are answered, once, when the device answers. */
static void
submitter_killed_while_it_hangs(void **state) {
  struct sf_tio_client *client;
  struct sf_tio_device *device;
  struct stall_rig *rig;
  int fd;

  need_rig(false);
  rig = stall_rig_start(&(struct stall_rig_params){0});
  fd = stall_rig_open(rig);
  client = client_with_submitters();
  device = device_new(client, fd);
  works(client, device);
  log_clear();
  stall_rig_freeze(rig);
  submit_flushes(client, device, 2);
  log_wait(SF_TIO_TIMEOUT, false, 2);
  kill(find_submitter(), SIGKILL);
  submit_flushes(client, device, 2);
  log_wait(SF_TIO_TIMEOUT, false, 4);
  assert_int_equal(sf_tio_device_running(device), 4);
  assert_int_equal(log_count(SF_TIO_OK, false) + log_count(SF_TIO_ERROR, false), 0);
  stall_rig_thaw(rig);
  log_wait(SF_TIO_OK, false, 4);
  assert_int_equal(log_terminal(), 4);
  assert_true(EVENTUALLY(atomic_load(&lost.n) == 1));
  assert_int_equal(lost.error, 0);
  works(client, device);
  device_end(device);
  client_end(client);
  close(fd);
  stall_rig_stop(rig);
}

/* The youngest process that makes submitters: of the set that was made last. */
static pid_t
kill_maker(void) {
  pid_t maker = find_process("pgrep -x sf-submitters", true, true);

  assert_true(maker > 0);
  kill(maker, SIGKILL);
  assert_int_equal(waitpid(maker, NULL, 0), maker);
  return maker;
}

/* What it says of the next that happens. */
static int
tend(struct sf_tio_submitters *own) {
  struct pollfd news = {.fd = sf_tio_submitters_news(own), .events = POLLIN};
  uint64_t until = sf_tio_now() + PATIENCE_NS;
  int said = 0;

  while (said == 0 && sf_tio_now() < until)
    said = poll(&news, 1, 100) >= 0 ? sf_tio_submitters_tend(own) : 0;
  return said;
}

/* Proves: one of the two that make submitters may be killed, then the other one: each is replaced,
 * which is said once, and a submitter that is killed after that is replaced as well. */
static void
maker_killed(void **state) {
  int fd = open_plain();
  struct sf_tio_submitters *own;
  struct sf_tio_client *client;
  struct sf_tio_device *device;
  pid_t pid;

  assert_int_equal(sf_tio_submitters_start(2, &own), 0);
  client = client_with(own);
  device = device_new(client, fd);
  pid = find_submitter();
  for (int times = 1; times <= 2; times++) {
    kill_maker();
    assert_int_equal(tend(own), 1);
    assert_int_equal(sf_tio_submitters_tend(own), 0);
  }
  kill(pid, SIGKILL);
  assert_true(EVENTUALLY(atomic_load(&lost.n) == 1));
  assert_int_equal(lost.error, 0);
  assert_int_equal(sf_tio_device_submitter(device), 0);
  works(client, device);
  device_end(device);
  client_end(client);
  sf_tio_submitters_stop(own);
  close(fd);
}

/* Proves: where there is no other in a killed one's place, that is told once, and the device
 * works. */
static void
no_other_submitter(void **state) {
  int fd = open_plain();
  struct sf_tio_submitters *own;
  struct sf_tio_client *client;
  struct sf_tio_device *device;
  pid_t pid;

  assert_int_equal(sf_tio_submitters_start(1, &own), 0);
  client = client_with(own);
  device = device_new(client, fd);
  pid = find_submitter();
  kill_maker();
  kill_maker();
  assert_int_equal(tend(own), -EPIPE);
  assert_int_equal(sf_tio_submitters_tend(own), 0);
  kill(pid, SIGKILL);
  assert_true(EVENTUALLY(atomic_load(&lost.n) == 1));
  assert_int_equal(lost.fd, fd);
  assert_int_equal(lost.error, -EPIPE);
  assert_int_equal(sf_tio_device_submitter(device), -EPIPE);
  works(client, device);
  assert_int_equal(lost.n, 1);
  device_end(device);
  client_end(client);
  sf_tio_submitters_stop(own);
  close(fd);
}

/* ---- rings ---- */

/* Proves: a device that is taken away has let go of its file when that is said, and its ring serves
 * the next one, as often as one likes. */
static void
again_and_again(void **state) {
  struct sf_tio_client *client = client_with_submitters();
  char path[] = "/var/tmp/sf-tio-XXXXXX", data[4096] = "a", back[4096];
  int fd = open_plain_at(path);

  for (unsigned i = 0; i < 20; i++) {
    struct sf_tio_device *device;
    int same = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);

    assert_true(same >= 0 && locks(same));
    device = device_new(client, same);
    data[1] = (char) i;
    assert_int_equal(sync_op(client, SF_TIO_WRITE, data, device, 4096), 0);
    assert_int_equal(sync_op(client, SF_TIO_FLUSH, NULL, device, 0), 0);
    device_end(device);
    close(same);
    assert_true(locks(fd));
    assert_int_equal(fcntl(fd, F_OFD_SETLK, &(struct flock){.l_type = F_UNLCK}), 0);
    read_back(fd, 4096, back, sizeof back);
    assert_memory_equal(data, back, sizeof data);
  }
  client_end(client);
  close(fd);
  unlink(path);
}

/* Proves: more devices than submitters work too: the rest are entered for by this process, which is
 * said of them. */
static void
more_devices_than_rings(void **state) {
  struct sf_tio_client *client = client_with_submitters();
  struct sf_tio_device *device[6];
  int fd[6];

  for (unsigned i = 0; i < 6; i++) {
    fd[i] = open_plain();
    device[i] = device_new(client, fd[i]);
    assert_int_equal(sf_tio_device_submitter(device[i]), i < 4 ? 0 : -ENOSPC);
  }
  for (unsigned i = 0; i < 6; i++)
    assert_int_equal(sync_op(client, SF_TIO_FLUSH, NULL, device[i], 0), 0);
  for (unsigned i = 0; i < 6; i++) {
    device_end(device[i]);
    close(fd[i]);
  }
  client_end(client);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(killed_in_a_flush), /* first: they fork, and no thread is there yet */
      cmocka_unit_test(killed_in_a_write),
      cmocka_unit_test(killed_in_a_flush_of_another),
      cmocka_unit_test(no_right_to_lock),
      cmocka_unit_test(submitter_killed),
      cmocka_unit_test(submitter_killed_while_it_hangs),
      cmocka_unit_test(maker_killed),
      cmocka_unit_test(no_other_submitter),
      cmocka_unit_test(again_and_again),
      cmocka_unit_test(more_devices_than_rings),
  };
  int failed;

  if (sf_tio_submitters_start(4, &submitters) < 0)
    return 77;
  failed = cmocka_run_group_tests(tests, NULL, NULL);
  sf_tio_submitters_stop(submitters);
  return failed;
}

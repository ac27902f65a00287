/* Threads that cannot be had are not the client's error: the first one is there before a connection
 * is taken, and without more of them requests wait. */
#include "reads.h"
#include "rig.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <surefoot/door.h>

#include "base/thread.h"

enum { SIZE = 1 << 20, BLOCK = 4096, ZERO = 6, MANY = 16 };

static struct sf_serve *serve;
static struct sf_door *door;
static char directory[] = "/tmp/door-workers-XXXXXX", path[64];
static atomic_bool no_worker;
static atomic_uint workers;

void __wrap_sf_volume_submit(struct sf_volume *v, struct sf_request *request, uint64_t now_ns);
uint64_t __wrap_sf_volume_size(struct sf_volume *v);
void __wrap_sf_volume_wait_told(struct sf_volume *v);
int __wrap_sf_thread_start(pthread_t *thread, const char *name, void *(*main)(void *), void *arg);
int __real_sf_thread_start(pthread_t *thread, const char *name, void *(*main)(void *), void *arg);

void
__wrap_sf_volume_submit(struct sf_volume *v, struct sf_request *request, uint64_t now_ns) {
  usleep(1000);
  request->error = 0;
  request->done(request);
}

uint64_t
__wrap_sf_volume_size(struct sf_volume *v) {
  return SIZE;
}

void
__wrap_sf_volume_wait_told(struct sf_volume *v) {
}

int
__wrap_sf_thread_start(pthread_t *thread, const char *name, void *(*main)(void *), void *arg) {
  if (name != NULL && strcmp(name, "surefoot-work") == 0) {
    if (atomic_load(&no_worker))
      return -EAGAIN;
    atomic_fetch_add(&workers, 1);
  }
  return __real_sf_thread_start(thread, name, main, arg);
}

static int
begin(void **state) {
  const struct sf_tio_client_params params = {.buffers_small = 4, .buffers_large = 4};

  atomic_store(&no_worker, false);
  atomic_store(&workers, 0);
  serve = serve_with(&params);
  snprintf(path, sizeof path, "%s/socket", directory);
  door = open_door(serve, SIZE, BLOCK, path);
  return 0;
}

static int
end(void **state) {
  assert_int_equal(sf_door_close(door), 0);
  serve_end(serve);
  return 0;
}

static void
ask_zero(int fd) {
  unsigned char request[REQUEST_BYTES] = {0x25, 0x60, 0x95, 0x13, [7] = ZERO, [15] = ZERO};

  put(request + 24, 2 * BLOCK, 4);
  assert_int_equal(write(fd, request, sizeof request), sizeof request);
}

/* ---- proofs ---- */

/* Proves that zeros, which a thread beside the connection's writes, are written where no thread can
 * be had after the client has connected, as many as it likes. */
static void
none_after_the_first(void **state) {
  int fd = connect_it(path);
  unsigned error;

  atomic_store(&no_worker, true);
  for (unsigned i = 0; i < MANY; i++)
    ask_zero(fd);
  for (unsigned i = 0; i < MANY; i++) {
    assert_int_equal(hear_reply(fd, &error), ZERO);
    assert_int_equal(error, 0);
  }
  close(fd);
}

/* Proves that one request at a time has one thread. */
static void
one_at_a_time(void **state) {
  int fd = connect_it(path);
  unsigned error;

  ask_zero(fd);
  assert_int_equal(hear_reply(fd, &error), ZERO);
  assert_int_equal(atomic_load(&workers), 1);
  close(fd);
}

/* Proves that a client which could not be served is not greeted, that the log says why, and that
 * the next one is served when it can be. */
static void
none_at_all(void **state) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct pollfd news = {.fd = fd, .events = POLLIN};
  char byte;

  atomic_store(&no_worker, true);
  memcpy(address.sun_path, path, strlen(path) + 1);
  assert_int_equal(connect(fd, (struct sockaddr *) &address, sizeof address), 0);
  assert_int_equal(poll(&news, 1, PATIENCE_MS), 1);
  assert_int_equal(read(fd, &byte, 1), 0);
  close(fd);
  pthread_mutex_lock(&serve->lock);
  assert_int_equal(serve->log_count, 1);
  assert_string_equal(serve->log[serve->log_first],
                      "fast socket: a connection is refused: Resource temporarily unavailable");
  pthread_mutex_unlock(&serve->lock);
  atomic_store(&no_worker, false);
  one_at_a_time(state);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(none_after_the_first, begin, end),
      cmocka_unit_test_setup_teardown(one_at_a_time, begin, end),
      cmocka_unit_test_setup_teardown(none_at_all, begin, end),
  };
  int failed;

  if (mkdtemp(directory) == NULL)
    return 1;
  failed = cmocka_run_group_tests(tests, NULL, NULL);
  rmdir(directory);
  return failed;
}

#include "rig.h"

#include "door_rig.h" /* after it: there a `serve` is another one */

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { REPLY_BYTES = 16 };

struct sf_serve *serve;
struct sf_door *door;
char socket_path[64];
pthread_mutex_t volume_lock = PTHREAD_MUTEX_INITIALIZER;

static uint64_t volume_bytes;
static char directory[32];

uint64_t
__wrap_sf_volume_size(struct sf_volume *v) {
  return volume_bytes;
}

void
__wrap_sf_volume_wait_told(struct sf_volume *v) {
  pthread_mutex_lock(&volume_lock);
  pthread_mutex_unlock(&volume_lock);
}

void
door_rig_init(uint64_t bytes, const struct sf_tio_client_params *pool) {
  volume_bytes = bytes;
  serve = serve_with(pool);
  serve->assembly.base.data_bytes = bytes;
  serve->assembly.base.block_bytes = BLOCK;
  atomic_store(&serve->block_bytes, BLOCK);
}

static int
as_it_is(int error) {
  return -error;
}

void
door_rig_open(void) {
  const struct sf_door_options options = {
      .serve = serve, .nbd_errno = as_it_is, .description = "a test"};
  char error[SF_CONFIG_ERROR_MAX];

  strcpy(directory, "/tmp/door-XXXXXX");
  assert_non_null(mkdtemp(directory));
  snprintf(socket_path, sizeof socket_path, "%s/socket", directory);
  assert_int_equal(sf_door_open(socket_path, &door, error), 0);
  assert_int_equal(sf_door_start(door, &options), 0);
}

int
door_rig_end(void **state) {
  int r = sf_door_close(door);

  rmdir(directory);
  assert_int_equal(r, 0);
  serve_end(serve);
  return 0;
}

uint64_t
end_of_patience(void) {
  return sf_tio_now() + PATIENCE_MS * SF_MS;
}

void
look_again(uint64_t until) {
  usleep(1000);
  assert_true(sf_tio_now() < until);
}

void
until_connections_left(unsigned n) {
  uint64_t until = end_of_patience();
  unsigned left;

  do {
    look_again(until);
    pthread_mutex_lock(&door->lock);
    left = door->connections;
    pthread_mutex_unlock(&door->lock);
  } while (left > n);
}

unsigned
free_large_buffers(void) {
  struct sf_tio_client_stats stats;

  sf_tio_client_stats(serve->client, &stats);
  return stats.buffers_free_large;
}

int
connect_ungreeted(void) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

  memcpy(address.sun_path, socket_path, strlen(socket_path) + 1);
  assert_int_equal(connect(fd, (struct sockaddr *) &address, sizeof address), 0);
  return fd;
}

/* By EXPORT_NAME, which has the shortest answer. */
int
connect_client(void) {
  static const unsigned char wants[] = "\0\0\0\3IHAVEOPT\0\0\0\1\0\0\0";
  int fd = connect_ungreeted();
  unsigned char heard[18 + 10];

  assert_int_equal(write(fd, wants, sizeof wants), sizeof wants);
  hear(fd, heard, sizeof heard);
  return fd;
}

void
hear(int fd, void *bytes, size_t n) {
  struct pollfd news = {.fd = fd, .events = POLLIN};
  size_t had = 0;

  while (had < n) {
    ssize_t got;

    assert_int_equal(poll(&news, 1, PATIENCE_MS), 1);
    got = read(fd, (char *) bytes + had, n - had);
    assert_true(got > 0);
    had += (size_t) got;
  }
}

void
send_zeros(int fd, size_t n) {
  unsigned char *zeros = calloc(1, n);
  size_t left = n;

  while (left > 0) {
    ssize_t sent = write(fd, zeros, left);

    assert_true(sent > 0);
    left -= (size_t) sent;
  }
  free(zeros);
}

static void
put(unsigned char *bytes, uint64_t number, unsigned n) {
  for (unsigned i = n; i-- > 0; number >>= 8)
    bytes[i] = (unsigned char) number;
}

void
send_request(int fd, unsigned char command, uint64_t offset, uint64_t length,
             unsigned char cookie) {
  unsigned char request[REQUEST_BYTES] = {0x25, 0x60, 0x95, 0x13, [7] = command, [15] = cookie};

  put(request + 16, offset, 8);
  put(request + 24, length, 4);
  assert_int_equal(write(fd, request, sizeof request), sizeof request);
}

/* Returns its cookie. */
static unsigned char
hear_reply(int fd, unsigned *error) {
  unsigned char reply[REPLY_BYTES];
  static const unsigned char magic[4] = {0x67, 0x44, 0x66, 0x98};

  hear(fd, reply, sizeof reply);
  assert_memory_equal(reply, magic, sizeof magic);
  *error =
      (unsigned) reply[4] << 24 | (unsigned) reply[5] << 16 | (unsigned) reply[6] << 8 | reply[7];
  return reply[15];
}

unsigned char
hear_well(int fd) {
  unsigned error;
  unsigned char cookie = hear_reply(fd, &error);

  assert_int_equal(error, 0);
  return cookie;
}

unsigned
hear_header(int fd, unsigned char cookie) {
  unsigned error;

  assert_int_equal(hear_reply(fd, &error), cookie);
  return error;
}

void
say_where(void *data, uint64_t offset, uint64_t length) {
  for (uint64_t at = 0; at < length; at += 8) {
    uint64_t said = offset + at;

    memcpy((unsigned char *) data + at, &said, 8);
  }
}

void
ask_read(int fd, uint64_t offset, uint64_t length, unsigned char cookie) {
  send_request(fd, READ, offset, length, cookie);
}

void
hear_data(int fd, uint64_t offset, uint64_t length) {
  unsigned char *data = malloc(length);

  assert_non_null(data);
  hear(fd, data, length);
  for (uint64_t at = 0; at < length; at++) {
    uint64_t whole = (offset + at) / 8 * 8;

    if (data[at] != ((unsigned char *) &whole)[(offset + at) % 8])
      fail_msg("byte %llu of %llu", (unsigned long long) at, (unsigned long long) length);
  }
  free(data);
}

void
read_it(int fd, uint64_t offset, uint64_t length) {
  ask_read(fd, offset, length, 7);
  assert_int_equal(hear_header(fd, 7), 0);
  hear_data(fd, offset, length);
}

void
write_it(int fd, uint64_t offset, uint32_t length) {
  send_request(fd, WRITE, offset, length, 9);
  send_zeros(fd, length);
  assert_int_equal(hear_header(fd, 9), 0);
}

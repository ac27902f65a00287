/* Reads and writes by hand, of a volume in which each eight bytes say where they are. */
#ifndef TEST_DOOR_READS_H
#define TEST_DOOR_READS_H

#include "client.h"

#include <stdlib.h>

enum { PIECE = 256 << 10, WRITE = 1 };

#define MIB UINT64_C(1048576)

static inline void
say_where(void *data, uint64_t offset, uint64_t length) {
  for (uint64_t at = 0; at < length; at += 8) {
    uint64_t said = offset + at;

    memcpy((unsigned char *) data + at, &said, 8);
  }
}

static inline void
put(unsigned char *bytes, uint64_t number, unsigned n) {
  for (unsigned i = n; i-- > 0; number >>= 8)
    bytes[i] = (unsigned char) number;
}

static inline void
ask_read(int fd, uint64_t offset, uint64_t length, unsigned char cookie) {
  unsigned char request[REQUEST_BYTES] = {0x25, 0x60, 0x95, 0x13, [15] = cookie};

  put(request + 16, offset, 8);
  put(request + 24, length, 4);
  assert_int_equal(write(fd, request, sizeof request), sizeof request);
}

/* Returns the number of the request that it answers. */
static inline unsigned char
hear_reply(int fd, unsigned *error) {
  unsigned char reply[REPLY_BYTES];
  static const unsigned char magic[4] = {0x67, 0x44, 0x66, 0x98};

  hear(fd, reply, sizeof reply);
  assert_memory_equal(reply, magic, sizeof magic);
  *error = reply[7];
  return reply[15];
}

/* Its error. */
static inline unsigned
hear_header(int fd, unsigned char cookie) {
  unsigned error;

  assert_int_equal(hear_reply(fd, &error), cookie);
  return error;
}

static inline void
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

/* Nothing else is answered meanwhile. */
static inline void
write_it(int fd, uint64_t offset, uint32_t length) {
  unsigned char request[REQUEST_BYTES] = {0x25, 0x60, 0x95, 0x13, [7] = WRITE, [15] = 9};
  unsigned char *data = calloc(1, length);
  uint32_t left = length;

  put(request + 16, offset, 8);
  put(request + 24, length, 4);
  assert_int_equal(write(fd, request, sizeof request), sizeof request);
  while (left > 0) {
    ssize_t n = write(fd, data, left);

    assert_true(n > 0);
    left -= (uint32_t) n;
  }
  free(data);
  assert_int_equal(hear_header(fd, 9), 0);
}

static inline void
read_it(int fd, uint64_t offset, uint64_t length) {
  ask_read(fd, offset, length, 7);
  assert_int_equal(hear_header(fd, 7), 0);
  hear_data(fd, offset, length);
}

#endif

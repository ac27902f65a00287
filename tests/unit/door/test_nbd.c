/* Proves that the fast door's protocol is NBD's: what it says byte for byte, what it refuses, and
 * that it reads no byte beyond those it was given and leaves none of an option behind. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "door/nbd.h"

static const struct nbd_export the_export = {.size = UINT64_C(0x123456000),
                                             .block_minimum = 512,
                                             .block_preferred = 4096,
                                             .description = "a volume"};

enum { GO = 7, INFO = 6, LIST = 3, ABORT = 2, EXPORT_NAME = 1, STARTTLS = 5, STRUCTURED = 8 };

struct talk {
  struct nbd_handshake handshake;
  struct nbd_said said;
  size_t used;
  const char *why;
};

/* On the heap and no byte longer, for the sanitizer. */
static enum nbd_step
hear(struct talk *talk, const void *bytes, size_t n) {
  unsigned char *copy = malloc(n > 0 ? n : 1);
  enum nbd_step step;

  memcpy(copy, bytes, n);
  step = sf_nbd_hear(&talk->handshake, &the_export, copy, n, &talk->used, &talk->said, &talk->why);
  free(copy);
  return step;
}

static void
put32(unsigned char *bytes, uint32_t number) {
  for (unsigned i = 4; i-- > 0; number >>= 8)
    bytes[i] = (unsigned char) number;
}

static size_t
option(unsigned char *bytes, uint32_t which, const void *data, size_t n) {
  memcpy(bytes, "IHAVEOPT", 8);
  put32(bytes + 8, which);
  put32(bytes + 12, (uint32_t) n);
  memcpy(bytes + 16, data, n);
  return n + 16;
}

static enum nbd_step
ask(struct talk *talk, uint32_t which, const void *data, size_t n) {
  unsigned char bytes[NBD_HEARD_MAX];
  size_t length = option(bytes, which, data, n);
  enum nbd_step step = hear(talk, bytes, length);

  assert_int_equal(length, talk->used);
  return step;
}

static struct talk
greeted(unsigned flags) {
  struct talk talk = {0};
  unsigned char bytes[4];

  put32(bytes, flags);
  assert_int_equal(NBD_ON, hear(&talk, bytes, sizeof bytes));
  assert_int_equal(4, talk.used);
  return talk;
}

static uint64_t
number(const unsigned char *bytes, unsigned n) {
  uint64_t value = 0;

  for (unsigned i = 0; i < n; i++)
    value = value << 8 | bytes[i];
  return value;
}

/* An answer's type; *at goes on behind it. */
static uint32_t
answer(const struct talk *talk, uint32_t which, size_t *at, const unsigned char **data) {
  const unsigned char *bytes = talk->said.bytes + *at;

  assert_true(*at + 20 <= talk->said.n);
  assert_int_equal(UINT64_C(0x3e889045565a9), number(bytes, 8));
  assert_int_equal(which, number(bytes + 8, 4));
  *data = bytes + 20;
  *at += 20 + (size_t) number(bytes + 16, 4);
  assert_true(*at <= talk->said.n);
  return (uint32_t) number(bytes + 12, 4);
}

static void
greeting(void **state) {
  unsigned char bytes[NBD_GREETING_BYTES];

  sf_nbd_greet(bytes);
  assert_memory_equal("NBDMAGICIHAVEOPT\0\3", bytes, sizeof bytes);
}

static void
unknown_client_flags(void **state) {
  struct talk talk = {0};

  assert_int_equal(NBD_WRONG, hear(&talk, "\0\0\0\4", 4));
  assert_non_null(talk.why);
}

static void
go(void **state) {
  /* No name; asks for the block size and the description. */
  static const unsigned char data[] = {0, 0, 0, 0, 0, 2, 0, 3, 0, 2};
  struct talk talk = greeted(3);
  const unsigned char *its;
  size_t at = 0;

  assert_int_equal(NBD_SERVE, ask(&talk, GO, data, sizeof data));
  assert_int_equal(3, answer(&talk, GO, &at, &its));
  assert_int_equal(0, number(its, 2));
  assert_int_equal(the_export.size, number(its + 2, 8));
  assert_int_equal(0x96d, number(its + 10, 2));
  assert_int_equal(3, answer(&talk, GO, &at, &its));
  assert_memory_equal("\0\3\0\0\2\0\0\0\x10\0\2\0\0\0", its, 14);
  assert_int_equal(3, answer(&talk, GO, &at, &its));
  assert_memory_equal("\0\2a volume", its, 10);
  assert_int_equal(1, answer(&talk, GO, &at, &its));
  assert_int_equal(talk.said.n, at);
}

static void
info_goes_on(void **state) {
  struct talk talk = greeted(3);

  assert_int_equal(NBD_ON, ask(&talk, INFO, "\0\0\0\3abc\0\0", 9));
  assert_int_equal(NBD_SERVE, ask(&talk, GO, "\0\0\0\0\0\0", 6));
}

/* A name that is longer than the option, more questions than there are, or fewer. */
static void
info_that_lies(void **state) {
  static const struct {
    const char *data;
    size_t n;
  } lies[] = {{"\0\0\0\4abc\0\0", 9},        {"\0\0\0\0\0\2\0\3", 8},
              {"\0\0\0\0\0\0\0\3", 8},       {"", 0},
              {"\xff\xff\xff\xff\0\0\0", 7}, {"\0\0\0\1\0\0", 6}};

  for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
    struct talk talk = greeted(3);
    const unsigned char *its;
    size_t at = 0;

    assert_int_equal(NBD_ON, ask(&talk, GO, lies[i].data, lies[i].n));
    assert_int_equal(0x80000003, answer(&talk, GO, &at, &its));
  }
}

static void
export_name(void **state) {
  struct talk talk = greeted(1);

  assert_int_equal(NBD_SERVE, ask(&talk, EXPORT_NAME, "x", 1));
  assert_int_equal(8 + 2 + 124, talk.said.n);
  assert_int_equal(the_export.size, number(talk.said.bytes, 8));
  talk = greeted(3);
  assert_int_equal(NBD_SERVE, ask(&talk, EXPORT_NAME, "", 0));
  assert_int_equal(8 + 2, talk.said.n);
}

static void
list_and_abort(void **state) {
  struct talk talk = greeted(3);
  const unsigned char *its;
  size_t at = 0;

  assert_int_equal(NBD_ON, ask(&talk, LIST, "", 0));
  assert_int_equal(2, answer(&talk, LIST, &at, &its));
  assert_int_equal(1, answer(&talk, LIST, &at, &its));
  assert_int_equal(NBD_ABORTED, ask(&talk, ABORT, "", 0));
}

static void
what_is_not_had(void **state) {
  static const uint32_t options[] = {STARTTLS, STRUCTURED, 9, 10, 11, 4, 0, 77};
  struct talk talk = greeted(3);

  for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
    const unsigned char *its;
    size_t at = 0;

    assert_int_equal(NBD_ON, ask(&talk, options[i], "", 0));
    assert_int_equal(0x80000001, answer(&talk, options[i], &at, &its));
  }
}

static void
halves(void **state) {
  unsigned char bytes[NBD_HEARD_MAX];
  struct talk talk = greeted(3);
  size_t n = option(bytes, GO, "\0\0\0\0\0\0", 6);

  for (size_t i = 0; i < n; i++) {
    assert_int_equal(NBD_MORE, hear(&talk, bytes, i));
    assert_int_equal(0, talk.used);
  }
  assert_int_equal(NBD_SERVE, hear(&talk, bytes, n));
}

static void
no_client(void **state) {
  unsigned char bytes[32];
  struct talk talk = greeted(3);

  memset(bytes, 'G', sizeof bytes);
  assert_int_equal(NBD_WRONG, hear(&talk, bytes, sizeof bytes));
  talk = greeted(3);
  option(bytes, GO, "", 0);
  put32(bytes + 12, NBD_OPTION_MAX + 1);
  assert_int_equal(NBD_WRONG, hear(&talk, bytes, sizeof bytes));
  talk = greeted(3);
  for (unsigned i = 0; i < NBD_OPTIONS_MAX; i++)
    assert_int_equal(NBD_ON, ask(&talk, 77, "", 0));
  assert_int_equal(NBD_WRONG, hear(&talk, bytes, option(bytes, 77, "", 0)));
}

static void
a_request(void **state) {
  static const unsigned char bytes[NBD_REQUEST_BYTES] = "\x25\x60\x95\x13\0\1\0\1"
                                                        "abcdefgh"
                                                        "\0\0\0\0\x12\x34\0\0"
                                                        "\0\0\x10";
  struct nbd_request request;
  unsigned char wrong[NBD_REQUEST_BYTES], reply[NBD_REPLY_BYTES];

  assert_true(sf_nbd_read_request(bytes, &request));
  assert_int_equal(NBD_FUA, request.flags);
  assert_int_equal(NBD_WRITE, request.type);
  assert_int_equal(0x12340000, request.offset);
  assert_int_equal(0x1000, request.length);
  assert_int_equal(0, sf_nbd_check_request(&the_export, &request));
  sf_nbd_write_reply(reply, request.cookie, 28);
  assert_memory_equal("\x67\x44\x66\x98\0\0\0\x1c"
                      "abcdefgh",
                      reply, sizeof reply);
  memcpy(wrong, bytes, sizeof wrong);
  wrong[3]++;
  assert_false(sf_nbd_read_request(wrong, &request));
}

static int
check(uint16_t type, uint16_t flags, uint64_t offset, uint32_t length) {
  const struct nbd_request request = {
      .type = type, .flags = flags, .offset = offset, .length = length};

  return sf_nbd_check_request(&the_export, &request);
}

static void
bounds(void **state) {
  const uint64_t end = the_export.size;

  assert_int_equal(0, check(NBD_READ, 0, end - 1, 1));
  assert_int_equal(EINVAL, check(NBD_READ, 0, end - 1, 2));
  assert_int_equal(EINVAL, check(NBD_READ, 0, UINT64_MAX, 2));
  assert_int_equal(EINVAL, check(NBD_READ, 0, 0, 0));
  assert_int_equal(EINVAL, check(NBD_READ, 0, 0, NBD_DATA_MAX + 1));
  assert_int_equal(0, check(NBD_WRITE, 0, 0, NBD_DATA_MAX));
  assert_int_equal(EINVAL, check(NBD_WRITE, 0, 0, NBD_DATA_MAX + 1));
  assert_int_equal(ENOSPC, check(NBD_WRITE, 0, end, 1));
  assert_int_equal(ENOSPC, check(NBD_WRITE_ZEROES, 0, end - 1, 2));
  assert_int_equal(EINVAL, check(NBD_TRIM, 0, end - 1, 2));
  assert_int_equal(EINVAL, check(NBD_TRIM, 0, 0, 0));
  assert_int_equal(0, check(NBD_TRIM, 0, end - 1, 1));
  assert_int_equal(0,
                   check(NBD_WRITE_ZEROES, NBD_FUA | NBD_NO_HOLE | NBD_FAST_ZERO, 0, UINT32_MAX));
  assert_int_equal(EINVAL, check(NBD_WRITE_ZEROES, 1 << 2, 0, 512));
  assert_int_equal(EINVAL, check(NBD_TRIM, NBD_NO_HOLE, 0, 512));
  assert_int_equal(0, check(NBD_FLUSH, 0, 0, 0));
  assert_int_equal(EINVAL, check(NBD_FLUSH, 0, 512, 0));
  assert_int_equal(EINVAL, check(NBD_FLUSH, 0, 0, 512));
  assert_int_equal(EINVAL, check(5, 0, 0, 512));
  assert_int_equal(EINVAL, check(77, 0, 0, 0));
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(greeting),
      cmocka_unit_test(unknown_client_flags),
      cmocka_unit_test(go),
      cmocka_unit_test(info_goes_on),
      cmocka_unit_test(info_that_lies),
      cmocka_unit_test(export_name),
      cmocka_unit_test(list_and_abort),
      cmocka_unit_test(what_is_not_had),
      cmocka_unit_test(halves),
      cmocka_unit_test(no_client),
      cmocka_unit_test(a_request),
      cmocka_unit_test(bounds),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}

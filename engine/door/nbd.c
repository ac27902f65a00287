#include "door/nbd.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"

#define NBD_MAGIC    UINT64_C(0x4e42444d41474943) /* "NBDMAGIC" */
#define OPTION_MAGIC UINT64_C(0x49484156454F5054) /* "IHAVEOPT" */
#define ANSWER_MAGIC UINT64_C(0x3e889045565a9)

enum { REQUEST_MAGIC = 0x25609513, REPLY_MAGIC = 0x67446698 };

enum { FIXED_NEWSTYLE = 1, NO_ZEROES = 2 }; /* of both sides */

enum { OPT_EXPORT_NAME = 1, OPT_ABORT = 2, OPT_LIST = 3, OPT_INFO = 6, OPT_GO = 7 };

enum { INFO_EXPORT = 0, INFO_DESCRIPTION = 2, INFO_BLOCK_SIZE = 3 };

#define REP_ACK         UINT32_C(1)
#define REP_SERVER      UINT32_C(2)
#define REP_INFO        UINT32_C(3)
#define REP_ERR_UNSUP   UINT32_C(0x80000001)
#define REP_ERR_INVALID UINT32_C(0x80000003)

enum { OPTION_HEADER = 16, FLAGS_BYTES = 4, PADDING = 124, NAME_MAX_BYTES = 4096 };

/* HAS_FLAGS, SEND_FLUSH, SEND_FUA, SEND_TRIM, SEND_WRITE_ZEROES, CAN_MULTI_CONN, SEND_FAST_ZERO */
enum { EXPORT_FLAGS = 1 << 0 | 1 << 2 | 1 << 3 | 1 << 5 | 1 << 6 | 1 << 8 | 1 << 11 };

/* ---- numbers: big-endian ---- */

static uint64_t
get(const unsigned char *bytes, unsigned n) {
  uint64_t number = 0;

  for (unsigned i = 0; i < n; i++)
    number = number << 8 | bytes[i];
  return number;
}

static void
put(unsigned char *bytes, uint64_t number, unsigned n) {
  for (unsigned i = n; i-- > 0; number >>= 8)
    bytes[i] = (unsigned char) number;
}

static void
say(struct nbd_said *said, uint64_t number, unsigned n) {
  SF_ASSERT(said->n + n <= sizeof said->bytes);
  put(said->bytes + said->n, number, n);
  said->n += n;
}

/* ---- handshake ---- */

void
sf_nbd_greet(unsigned char greeting[NBD_GREETING_BYTES]) {
  put(greeting, NBD_MAGIC, 8);
  put(greeting + 8, OPTION_MAGIC, 8);
  put(greeting + 16, FIXED_NEWSTYLE | NO_ZEROES, 2);
}

static void
answer(struct nbd_said *said, uint32_t option, uint32_t type, uint32_t length) {
  say(said, ANSWER_MAGIC, 8);
  say(said, option, 4);
  say(said, type, 4);
  say(said, length, 4);
}

static enum nbd_step
hear_flags(struct nbd_handshake *handshake, const unsigned char *bytes, size_t n, size_t *used,
           const char **why) {
  uint64_t flags;

  if (n < FLAGS_BYTES)
    return NBD_MORE;
  flags = get(bytes, FLAGS_BYTES);
  if (flags & ~(uint64_t) (FIXED_NEWSTYLE | NO_ZEROES)) {
    *why = "it asks for a handshake that is not known here";
    return NBD_WRONG;
  }
  handshake->greeted = true;
  handshake->no_zeroes = flags & NO_ZEROES;
  *used = FLAGS_BYTES;
  return NBD_ON;
}

static enum nbd_step
export_name(const struct nbd_handshake *handshake, const struct nbd_export *export,
            struct nbd_said *said) {
  say(said, export->size, 8);
  say(said, EXPORT_FLAGS, 2);
  for (unsigned i = 0; i < PADDING && !handshake->no_zeroes; i++)
    say(said, 0, 1);
  return NBD_SERVE;
}

static void
tell_block_size(uint32_t option, const struct nbd_export *export, struct nbd_said *said) {
  answer(said, option, REP_INFO, 14);
  say(said, INFO_BLOCK_SIZE, 2);
  say(said, export->block_minimum, 4);
  say(said, export->block_preferred, 4);
  say(said, NBD_DATA_MAX, 4);
}

static void
tell_description(uint32_t option, const struct nbd_export *export, struct nbd_said *said) {
  size_t n = strlen(export->description);

  SF_ASSERT(n <= NBD_DESCRIPTION_MAX);
  answer(said, option, REP_INFO, (uint32_t) n + 2);
  say(said, INFO_DESCRIPTION, 2);
  for (size_t i = 0; i < n; i++)
    say(said, (unsigned char) export->description[i], 1);
}

/* Length of name, name, number of information requests, the requests. */
static enum nbd_step
info(uint32_t option, const struct nbd_export *export, const unsigned char *data, size_t n,
     struct nbd_said *said) {
  uint64_t name = n >= 4 ? get(data, 4) : n, asked;
  bool block_size = false, description = false;

  if (n < 6 || name > n - 6 || name > NAME_MAX_BYTES) {
    answer(said, option, REP_ERR_INVALID, 0);
    return NBD_ON;
  }
  asked = get(data + 4 + name, 2);
  if (6 + name + 2 * asked != n) {
    answer(said, option, REP_ERR_INVALID, 0);
    return NBD_ON;
  }
  for (unsigned i = 0; i < asked; i++) {
    uint64_t what = get(data + 6 + name + 2 * i, 2);

    block_size |= what == INFO_BLOCK_SIZE;
    description |= what == INFO_DESCRIPTION;
  }
  answer(said, option, REP_INFO, 12);
  say(said, INFO_EXPORT, 2);
  say(said, export->size, 8);
  say(said, EXPORT_FLAGS, 2);
  if (block_size)
    tell_block_size(option, export, said);
  if (description)
    tell_description(option, export, said);
  answer(said, option, REP_ACK, 0);
  return option == OPT_GO ? NBD_SERVE : NBD_ON;
}

/* There is one export, and every name is its name. */
static enum nbd_step
list(uint32_t option, size_t n, struct nbd_said *said) {
  if (n > 0) {
    answer(said, option, REP_ERR_INVALID, 0);
    return NBD_ON;
  }
  answer(said, option, REP_SERVER, 4);
  say(said, 0, 4);
  answer(said, option, REP_ACK, 0);
  return NBD_ON;
}

static enum nbd_step
hear_option(const struct nbd_handshake *handshake, const struct nbd_export *export, uint32_t option,
            const unsigned char *data, size_t n, struct nbd_said *said) {
  switch (option) {
  case OPT_EXPORT_NAME:
    return export_name(handshake, export, said);
  case OPT_ABORT:
    answer(said, option, REP_ACK, 0);
    return NBD_ABORTED;
  case OPT_LIST:
    return list(option, n, said);
  case OPT_INFO:
  case OPT_GO:
    return info(option, export, data, n, said);
  default:
    answer(said, option, REP_ERR_UNSUP, 0);
    return NBD_ON;
  }
}

enum nbd_step
sf_nbd_hear(struct nbd_handshake *handshake, const struct nbd_export *export,
            const unsigned char *bytes, size_t n, size_t *used, struct nbd_said *said,
            const char **why) {
  uint64_t length;

  *used = said->n = 0;
  if (!handshake->greeted)
    return hear_flags(handshake, bytes, n, used, why);
  if (n < OPTION_HEADER)
    return NBD_MORE;
  length = get(bytes + 12, 4);
  *why = NULL;
  if (get(bytes, 8) != OPTION_MAGIC)
    *why = "an option without its magic number";
  else if (length > NBD_OPTION_MAX)
    *why = "an option is too long";
  else if (handshake->options >= NBD_OPTIONS_MAX)
    *why = "it goes on asking for options";
  if (*why != NULL)
    return NBD_WRONG;
  if (n < OPTION_HEADER + length)
    return NBD_MORE;
  handshake->options++;
  *used = OPTION_HEADER + (size_t) length;
  return hear_option(handshake, export, (uint32_t) get(bytes + 8, 4), bytes + OPTION_HEADER,
                     (size_t) length, said);
}

/* ---- transmission ---- */

bool
sf_nbd_read_request(const unsigned char bytes[NBD_REQUEST_BYTES], struct nbd_request *request) {
  if (get(bytes, 4) != REQUEST_MAGIC)
    return false;
  request->flags = (uint16_t) get(bytes + 4, 2);
  request->type = (uint16_t) get(bytes + 6, 2);
  memcpy(request->cookie, bytes + 8, sizeof request->cookie);
  request->offset = get(bytes + 16, 8);
  request->length = (uint32_t) get(bytes + 24, 4);
  return true;
}

/* Flags that mean nothing for this command; clients may set FUA with any, since it does no harm. */
static unsigned
flags_of(uint16_t type) {
  return type == NBD_WRITE_ZEROES ? NBD_FUA | NBD_NO_HOLE | NBD_FAST_ZERO : NBD_FUA;
}

static bool
is_inside(const struct nbd_export *export, const struct nbd_request *request) {
  return request->length > 0 && request->offset <= export->size &&
         request->length <= export->size - request->offset;
}

int
sf_nbd_check_request(const struct nbd_export *export, const struct nbd_request *request) {
  if (request->flags & ~flags_of(request->type))
    return EINVAL;
  switch (request->type) {
  case NBD_DISC:
    return 0;
  case NBD_FLUSH: /* reserved, and zero */
    return request->offset == 0 && request->length == 0 ? 0 : EINVAL;
  case NBD_READ:
    if (request->length > NBD_DATA_MAX)
      return EINVAL;
    return is_inside(export, request) ? 0 : EINVAL;
  case NBD_TRIM:
    return is_inside(export, request) ? 0 : EINVAL;
  case NBD_WRITE:
  case NBD_WRITE_ZEROES:
    if (request->length == 0 || (request->type == NBD_WRITE && request->length > NBD_DATA_MAX))
      return EINVAL;
    return is_inside(export, request) ? 0 : ENOSPC;
  default:
    return EINVAL;
  }
}

void
sf_nbd_write_reply(unsigned char bytes[NBD_REPLY_BYTES], const unsigned char cookie[8], int error) {
  put(bytes, REPLY_MAGIC, 4);
  put(bytes + 4, (uint64_t) error, 4);
  memcpy(bytes + 8, cookie, 8);
}

/* The NBD protocol as bytes: what a server says and hears in a fixed newstyle handshake without
 * TLS, and in transmission with simple replies.  Pure functions: no I/O, no clock, no memory of
 * their own. */
#ifndef SF_DOOR_NBD_H
#define SF_DOOR_NBD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
  NBD_GREETING_BYTES = 18,
  NBD_REQUEST_BYTES = 28,
  NBD_REPLY_BYTES = 16,
  NBD_OPTION_MAX = 8 * 1024, /* of data; an export's name has at most 4096 bytes */
  NBD_HEARD_MAX = 16 + NBD_OPTION_MAX,
  NBD_OPTIONS_MAX = 64, /* of one handshake */
  NBD_SAID_MAX = 512,   /* to one option */
  NBD_DESCRIPTION_MAX = 200,
  NBD_DATA_MAX = 32 * 1024 * 1024,
};

struct nbd_export {
  uint64_t size;
  uint32_t block_minimum, block_preferred;
  const char *description; /* at most NBD_DESCRIPTION_MAX bytes */
};

struct nbd_handshake {
  bool greeted; /* the client's flags have come */
  bool no_zeroes;
  unsigned options;
};

enum nbd_step {
  NBD_MORE,    /* not enough bytes: nothing was used */
  NBD_ON,      /* go on with what follows */
  NBD_SERVE,   /* transmission begins with what follows */
  NBD_ABORTED, /* the client ends it */
  NBD_WRONG,   /* *why: this is no client */
};

struct nbd_said {
  unsigned char bytes[NBD_SAID_MAX];
  size_t n;
};

void sf_nbd_greet(unsigned char greeting[NBD_GREETING_BYTES]);

/* Hears the client's flags, or one option.  *used: of the n bytes; said: the answer, also before
 * the end.  With NBD_HEARD_MAX bytes there it is never NBD_MORE. */
enum nbd_step sf_nbd_hear(struct nbd_handshake *handshake, const struct nbd_export *export,
                          const unsigned char *bytes, size_t n, size_t *used, struct nbd_said *said,
                          const char **why);

enum nbd_command {
  NBD_READ = 0,
  NBD_WRITE = 1,
  NBD_DISC = 2,
  NBD_FLUSH = 3,
  NBD_TRIM = 4,
  NBD_WRITE_ZEROES = 6,
};
enum nbd_flag { NBD_FUA = 1 << 0, NBD_NO_HOLE = 1 << 1, NBD_FAST_ZERO = 1 << 4 };

struct nbd_request {
  uint16_t flags, type;
  unsigned char cookie[8]; /* as it came: it means something to the client only */
  uint64_t offset;
  uint32_t length;
};

/* False: it does not begin with the magic number, and nothing that follows can be trusted. */
bool sf_nbd_read_request(const unsigned char bytes[NBD_REQUEST_BYTES], struct nbd_request *request);
/* 0, or the errno that it is to be answered with. */
int sf_nbd_check_request(const struct nbd_export *export, const struct nbd_request *request);
/* error: 0 or an errno that NBD has. */
void sf_nbd_write_reply(unsigned char bytes[NBD_REPLY_BYTES], const unsigned char cookie[8],
                        int error);

#endif

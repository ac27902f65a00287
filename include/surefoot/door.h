/* The fast door: a Unix socket beside nbdkit's, in the same process and on the same volume.  It
 * speaks the NBD protocol without TLS and with simple replies.  Each connection has one thread and
 * one ring: requests that have come are taken together, handed over together and answered together.
 *
 * Any number of both doors' connections may be used at once: they are connections of one volume.
 *
 * Bounds: SF_DOOR_CONNECTIONS_MAX connections, each with its own memory, made when it comes; a
 * client that does not read, or sends half a request, delays only itself.  No printing: log lines
 * are serve's. */
#ifndef SUREFOOT_DOOR_H
#define SUREFOOT_DOOR_H

#include <surefoot/config.h>
#include <surefoot/serve.h>

enum {
  SF_DOOR_CONNECTIONS_MAX = 64,
  SF_DOOR_HANDSHAKE_S = 10, /* a client that has not ended it by then is dropped */
  SF_DOOR_STALL_S = 120,    /* and a client that sends nothing for so long within a request, or
                             * takes nothing of its last answers */
};

struct sf_door;

/* Before the fork: binds the socket, which only the user of this process and root may use. */
int sf_door_open(const char *path, struct sf_door **door, char error[SF_CONFIG_ERROR_MAX]);

struct sf_door_options {
  struct sf_serve *serve;
  /* The errno that a client is to see, for 0 or -errno of ours. */
  int (*nbd_errno)(int error);
  const char *description; /* for clients that ask; at most 200 bytes are told */
};

/* After the fork, and after sf_serve_start(): clients are served. */
int sf_door_start(struct sf_door *door, const struct sf_door_options *options);

/* Before sf_serve_close(): no more connections and requests; requests under way have a second to be
 * answered; after that they are given up on and their connections end without an answer.  -EBUSY: a
 * thread hangs in a leg, and the memory stays; the socket is gone.  NULL is accepted. */
int sf_door_close(struct sf_door *door);

#endif

/* The proof that a volume serves: an NBD client that negotiates and reads a block, without waiting.
 * Negotiated is the plain protocol that the kernel speaks, so that the same connection can be
 * handed to it. */
#ifndef SUREFOOTD_PROBE_H
#define SUREFOOTD_PROBE_H

#include <stdint.h>

#include <systemd/sd-event.h>

struct probe;

struct probe_result {
  int error;     /* 0 or -errno */
  char why[256]; /* what libnbd says of the error */
  int fd;        /* the connection, in transmission, nothing in flight; the user's; -1 on error */
  uint64_t size_bytes;
  uint32_t block_bytes;
  uint16_t flags; /* NBD_FLAG_* of the export */
};

/* done comes once, not from inside; *probe is gone then. */
int sfd_probe_start(sd_event *event, const char *socket,
                    void (*done)(void *ctx, const struct probe_result *result), void *ctx,
                    struct probe **probe);
/* done does not come any more.  NULL is accepted. */
void sfd_probe_cancel(struct probe *probe);

#endif

/* Any bytes as input from a client of the fast door: no byte beyond them is read, the answer fits,
 * an option is taken whole or not at all, and a handshake ends; then as requests: accepted ones are
 * inside the volume. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "door/nbd.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct nbd_export the_export = {
    .size = 1 << 30, .block_minimum = 512, .block_preferred = 4096, .description = "fuzzed"};

static void
request(const uint8_t *data) {
  struct nbd_request asked;
  unsigned char reply[NBD_REPLY_BYTES];

  if (!sf_nbd_read_request(data, &asked))
    return;
  sf_nbd_write_reply(reply, asked.cookie, sf_nbd_check_request(&the_export, &asked));
  SF_ASSERT(memcmp(reply + 8, data + 8, 8) == 0);
  if (sf_nbd_check_request(&the_export, &asked) != 0 || asked.type == NBD_FLUSH ||
      asked.type == NBD_DISC)
    return;
  SF_ASSERT(asked.length > 0 && asked.offset < the_export.size);
  SF_ASSERT(asked.offset + asked.length <= the_export.size);
  SF_ASSERT(asked.length <= NBD_DATA_MAX || asked.type > NBD_WRITE);
}

/* Returns the bytes left of it when transmission begins; 0: it does not. */
static size_t
handshake(const uint8_t *data, size_t size) {
  struct nbd_handshake state = {0};
  struct nbd_said said;

  for (;;) {
    const char *why = NULL;
    size_t used = SIZE_MAX;
    enum nbd_step step = sf_nbd_hear(&state, &the_export, data, size, &used, &said, &why);

    SF_ASSERT(used <= size && said.n <= sizeof said.bytes);
    SF_ASSERT((step == NBD_WRONG) == (why != NULL));
    SF_ASSERT(step != NBD_MORE || (used == 0 && said.n == 0 && size < NBD_HEARD_MAX));
    data += used;
    size -= used;
    if (step == NBD_SERVE)
      return size;
    if (step != NBD_ON)
      return 0;
    SF_ASSERT(used > 0);
  }
}

/* On the heap and no byte longer, so that the sanitizer sees a read beyond. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  uint8_t *copy = malloc(size > 0 ? size : 1);
  size_t left;

  memcpy(copy, data, size);
  left = handshake(copy, size);
  for (; left >= NBD_REQUEST_BYTES; left -= NBD_REQUEST_BYTES)
    request(copy + size - left);
  if (size >= NBD_REQUEST_BYTES)
    request(copy);
  free(copy);
  return 0;
}

/* Buffers, as the pool of timed_io lends them. */
#include <stdlib.h>
#include <string.h>

#include "sim/sim.h"

struct buffer {
  struct sf_tio_buffer pub; /* first */
  unsigned refs;
  bool whole; /* metadata: it uses whole blocks, and data only one place in each */
  struct buffer *next;
};

/* Of three sizes, so that each buffer of a list fits its caller. */
static const size_t size_of[] = {16 * 1024, 256 * 1024, REQUEST_BYTES_MAX};
enum { SIZES = sizeof size_of / sizeof size_of[0] };

static struct buffer *unused[SIZES];

static unsigned
size_class(size_t length) {
  unsigned i = 0;

  while (i < SIZES && size_of[i] < length)
    i++;
  if (i == SIZES)
    sim_fail("a buffer of %lu bytes", (unsigned long) length);
  return i;
}

struct sf_tio_buffer *
buffer_new(size_t length) {
  unsigned class = size_class(length);
  struct buffer *b = unused[class];

  if (b != NULL) {
    unused[class] = b->next;
  } else {
    b = calloc(1, sizeof *b);
    if (b == NULL)
      abort();
    b->pub.size = size_of[class];
    b->pub.data = calloc(1, b->pub.size);
    if (b->pub.data == NULL)
      abort();
  }
  b->refs = 1;
  b->next = NULL;
  return &b->pub;
}

void
buffer_is_whole(struct sf_tio_buffer *pub) {
  ((struct buffer *) pub)->whole = true;
}

void
buffer_ref(struct sf_tio_buffer *pub) {
  struct buffer *b = (struct buffer *) pub;

  if (b->refs == 0)
    sim_fail("a buffer is used that was put");
  b->refs++;
}

void
buffer_unref(struct sf_tio_buffer *pub) {
  struct buffer *b = (struct buffer *) pub;

  if (b->refs == 0)
    sim_fail("a buffer is put twice");
  if (--b->refs > 0)
    return;
  /* A page that waited for its leg's window and was dropped was never submitted: so the smallest
   * always. */
  if (b->whole || b->pub.size == size_of[0])
    memset(b->pub.data, 0, b->pub.size);
  b->whole = false;
  b->next = unused[size_class(b->pub.size)];
  unused[size_class(b->pub.size)] = b;
}

void
buffers_free(void) {
  for (unsigned i = 0; i < SIZES; i++)
    while (unused[i] != NULL) {
      struct buffer *b = unused[i];

      unused[i] = b->next;
      free(b->pub.data);
      free(b);
    }
}

struct sf_tio_buffer *
buffer_get(void *ctx, size_t len) {
  if (sim.options.buffers != 0 && sim.buffers_used >= sim.options.buffers) {
    COUNT(no_buffers);
    return NULL;
  }
  sim.buffers_used++;
  return buffer_new(len);
}

/* The volume puts what it got; what the pool lends it is counted by its own puts. */
void
buffer_put(void *ctx, struct sf_tio_buffer *buffer) {
  if (sim.buffers_used > 0)
    sim.buffers_used--;
  buffer_unref(buffer);
}

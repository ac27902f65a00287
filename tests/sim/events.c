/* A binary heap: the earliest first, and of two at one time the first added. */
#include <stdlib.h>

#include "sim/sim.h"

static struct event *heap;
static size_t heap_len, heap_cap;
static uint64_t heap_order;

static bool
before(const struct event *a, const struct event *b) {
  return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->order < b->order;
}

void
events_reset(void) {
  heap_len = 0;
  heap_order = 0;
}

void
event_add(uint64_t at_ns, enum event_kind kind, uint32_t index, uint32_t generation) {
  struct event event = {at_ns, heap_order++, kind, index, generation};
  size_t i = heap_len;

  if (at_ns < sim.now_ns)
    event.at_ns = sim.now_ns;
  if (heap_len == heap_cap) {
    heap_cap = heap_cap ? 2 * heap_cap : 1024;
    heap = realloc(heap, heap_cap * sizeof *heap);
    if (heap == NULL)
      abort();
  }
  heap_len++;
  while (i > 0 && before(&event, &heap[(i - 1) / 2])) {
    heap[i] = heap[(i - 1) / 2];
    i = (i - 1) / 2;
  }
  heap[i] = event;
}

bool
event_next(struct event *event) {
  struct event last;
  size_t i = 0;

  if (heap_len == 0)
    return false;
  *event = heap[0];
  last = heap[--heap_len];
  for (;;) {
    size_t child = 2 * i + 1;

    if (child >= heap_len)
      break;
    if (child + 1 < heap_len && before(&heap[child + 1], &heap[child]))
      child++;
    if (!before(&heap[child], &last))
      break;
    heap[i] = heap[child];
    i = child;
  }
  heap[i] = last;
  return true;
}

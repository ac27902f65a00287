#include "volume/ground/window.h"

#include "base/assert.h"

enum {
  COPIES_ALONE = 4,    /* at least, without clients, where the window has room */
  SMALLEST_SHIFT = 12, /* the first size class: up to 4 KiB */
  SHIFT_STEP = 2,      /* each next one: four times as much */
  SMOOTH = 16, /* answers over which a cost is averaged, or as many as are outstanding of it: */
  SMOOTH_MOST = 200, /* the time that those will take is predicted */
  KNOWN = 8,         /* answers after which a class is known */
  GAP_MOST = 4,      /* usual gaps that one counts for at most, once the class is known; */
  GAP_SHIFT = 3,     /* or an eighth of the target, if that is more */
  PROBE_EVERY = 4,   /* refusals, then one over the target */
  IN_FLUSH = 4,      /* slower answers in a row beside a flush: more are the leg's pace */
};

/* ---- classes ---- */

static unsigned
size_class(uint64_t length) {
  unsigned class = 0;

  while (class + 1 < WINDOW_SIZES && length > UINT64_C(1) << (SMALLEST_SHIFT + SHIFT_STEP * class))
    class ++;
  return class;
}

static unsigned
kind_of(enum sf_tio_op op, bool fua) {
  switch (op) {
  case SF_TIO_READ:
    return 0;
  case SF_TIO_ZERO:
    return 3;
  default:
    return fua ? 2 : 1;
  }
}

/* WINDOW_STREAMS: none. */
static unsigned
stream_at(const struct window *window, uint64_t offset) {
  unsigned stream = 0;

  while (stream < WINDOW_STREAMS && window->stream_end[stream] != offset)
    stream++;
  return stream;
}

/* A disk that turns goes on where it is, and seeks between two runs as it does between two random
 * places.  Other legs show that they do not, and some disks read ahead in each run. */
static unsigned
order_of(unsigned stream) {
  if (stream == 0)
    return 0;
  return stream < WINDOW_STREAMS ? 1 : 2;
}

unsigned
sf_window_class(const struct window *window, enum sf_tio_op op, bool fua, uint64_t offset,
                uint64_t length) {
  unsigned order = order_of(stream_at(window, offset));

  if (op == SF_TIO_FLUSH)
    return WINDOW_UNMEASURED;
  return (kind_of(op, fua) * WINDOW_ORDERS + order) * WINDOW_SIZES + size_class(length);
}

void
sf_window_moves(struct window *window, enum sf_tio_op op, uint64_t offset, uint64_t length) {
  unsigned stream = stream_at(window, offset);

  if (op == SF_TIO_FLUSH)
    return;
  for (stream = stream < WINDOW_STREAMS ? stream : WINDOW_STREAMS - 1; stream > 0; stream--)
    window->stream_end[stream] = window->stream_end[stream - 1];
  window->stream_end[0] = offset + length;
}

/* ---- costs ---- */

static unsigned
outstanding(const struct window *window) {
  unsigned n = 0;

  for (unsigned use = 0; use < WINDOW_USES; use++)
    n += window->outstanding[use];
  return n;
}

/* The nearest class of the same kind and order that has answered: a larger one costs as much at
 * least, a smaller one so many times less at most. */
static uint64_t
cost_of_others(const struct window *window, unsigned class) {
  unsigned size = class % WINDOW_SIZES, first = class - size;

  for (unsigned s = size + 1; s < WINDOW_SIZES; s++)
    if (window->seen[first + s] > 0)
      return window->cost_ns[first + s];
  for (unsigned s = size; s-- > 0;)
    if (window->seen[first + s] > 0)
      return window->cost_ns[first + s] << (SHIFT_STEP * (size - s));
  return 0;
}

uint64_t
sf_window_cost(const struct window *window, unsigned class, uint64_t target_ns) {
  uint64_t cost, doubt;

  if (class == WINDOW_UNMEASURED)
    return 0;
  SF_ASSERT(class < WINDOW_CLASSES);
  cost = window->seen[class] > 0 ? window->cost_ns[class] : cost_of_others(window, class);
  if (window->seen[class] >= KNOWN)
    return cost;
  doubt = target_ns >> window->seen[class];
  return cost > doubt ? cost : doubt;
}

static void
learn(struct window *window, unsigned class, uint64_t gap_ns) {
  uint64_t *cost = &window->cost_ns[class];
  uint8_t *seen = &window->seen[class];
  uint64_t most = GAP_MOST * *cost;
  int64_t gap, over;

  if (most < window->target_ns >> GAP_SHIFT)
    most = window->target_ns >> GAP_SHIFT;
  gap = (int64_t) (*seen >= KNOWN && gap_ns > most ? most : gap_ns);
  over = window->of_class[class] > SMOOTH ? window->of_class[class] : SMOOTH;
  if (*seen < SMOOTH_MOST)
    ++*seen;
  if (over > *seen)
    over = *seen;
  *cost = (uint64_t) ((int64_t) *cost + (gap - (int64_t) *cost) / over);
  if (*cost == 0)
    *cost = 1;
}

/* A flush may hold up what runs beside it, once; a leg that goes on answering slowly is slow. */
static bool
is_pace(struct window *window, unsigned class, uint64_t gap_ns) {
  if (window->unmeasured == 0 || gap_ns <= window->cost_ns[class]) {
    window->slower = 0;
    return true;
  }
  if (window->slower < IN_FLUSH) {
    window->slower++;
    return window->seen[class] < KNOWN;
  }
  return true;
}

/* ---- outstanding requests ---- */

bool
sf_window_is_empty(const struct window *window) {
  return outstanding(window) == 0 && window->unmeasured == 0;
}

uint64_t
sf_window_planned_ns(const struct window *window) {
  uint64_t ns = 0;

  for (unsigned use = 0; use < WINDOW_USES; use++)
    ns += window->planned_ns[use];
  return ns;
}

/* One more than fits, and then no other before it has fitted again. */
static bool
probes(struct window *window, uint64_t planned_ns, uint64_t cost_ns, uint64_t target_ns) {
  if (planned_ns > target_ns || planned_ns + cost_ns > 2 * target_ns)
    return false;
  if (++window->refused < PROBE_EVERY)
    return false;
  window->refused = 0;
  return true;
}

/* One at least; and some where nothing else is asked: a leg that takes long over each, and works on
 * many at once, would show that to no copy. */
bool
sf_window_copy_fits(const struct window *window, uint64_t cost_ns, uint64_t target_ns,
                    bool clients) {
  uint64_t share = clients ? target_ns / 4 : target_ns / 2;
  unsigned least = clients ? 1 : COPIES_ALONE;

  return window->outstanding[WINDOW_COPIES] < least ||
         window->planned_ns[WINDOW_COPIES] + cost_ns <= share;
}

bool
sf_window_admits(struct window *window, enum window_use use, uint64_t cost_ns, uint64_t target_ns,
                 bool clients) {
  uint64_t planned = sf_window_planned_ns(window);

  window->target_ns = target_ns;
  if (cost_ns == 0 || outstanding(window) == 0)
    return true;
  if (use == WINDOW_META && window->outstanding[WINDOW_META] == 0)
    return true;
  if (use == WINDOW_COPIES && !sf_window_copy_fits(window, cost_ns, target_ns, clients))
    return false;
  if (planned + cost_ns <= target_ns)
    return true;
  return use == WINDOW_CLIENTS && probes(window, planned, cost_ns, target_ns);
}

void
sf_window_sent(struct window *window, enum window_use use, unsigned class, uint64_t cost_ns,
               uint64_t now_ns) {
  if (class == WINDOW_UNMEASURED) {
    if (window->unmeasured++ == 0)
      window->slower = 0;
    return;
  }
  if (outstanding(window) == 0)
    window->busy_ns = now_ns;
  window->outstanding[use]++;
  window->of_class[class]++;
  window->planned_ns[use] += cost_ns;
}

void
sf_window_ended(struct window *window, enum window_use use, unsigned class, uint64_t cost_ns,
                uint64_t now_ns, bool answered) {
  uint64_t gap = now_ns - window->busy_ns;

  if (class == WINDOW_UNMEASURED) {
    SF_ASSERT(window->unmeasured > 0);
    window->unmeasured--;
    window->busy_ns = now_ns;
    return;
  }
  SF_ASSERT(window->outstanding[use] > 0 && window->planned_ns[use] >= cost_ns);
  window->outstanding[use]--;
  window->of_class[class]--;
  window->planned_ns[use] -= cost_ns;
  if (!answered)
    return;
  window->busy_ns = now_ns;
  if (is_pace(window, class, gap))
    learn(window, class, gap);
}

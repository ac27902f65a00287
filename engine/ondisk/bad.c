/* The list of bad ranges: in order, none touching another. */
#include <string.h>

#include <surefoot/ondisk.h>

/* The first that ends at `at` or behind. */
static unsigned
find(const struct sf_bad *bad, uint64_t at) {
  unsigned i = 0;

  while (i < bad->n && bad->range[i].end < at)
    i++;
  return i;
}

/* In the place of `old` ranges from i on come `fresh`, which the caller has room for. */
static void
put(struct sf_bad *bad, unsigned i, unsigned old, const struct sf_bad_range fresh[],
    unsigned fresh_n) {
  unsigned behind = bad->n - i - old;

  memmove(&bad->range[i + fresh_n], &bad->range[i + old], behind * sizeof bad->range[0]);
  for (unsigned k = 0; k < fresh_n; k++)
    bad->range[i + k] = fresh[k];
  bad->n = i + fresh_n + behind;
}

bool
sf_bad_any(const struct sf_bad *bad, uint64_t begin, uint64_t end) {
  unsigned i;

  if (bad->n == 0)
    return false;
  i = find(bad, begin + 1);
  return i < bad->n && bad->range[i].begin < end;
}

bool
sf_bad_all(const struct sf_bad *bad, uint64_t begin, uint64_t end) {
  unsigned i = find(bad, end);

  return i < bad->n && bad->range[i].begin <= begin;
}

bool
sf_bad_add(struct sf_bad *bad, uint64_t begin, uint64_t end, unsigned most) {
  struct sf_bad_range added = {.begin = begin, .end = end};
  unsigned i = find(bad, begin), old = 0;

  for (; i + old < bad->n && bad->range[i + old].begin <= end; old++) {
    const struct sf_bad_range *other = &bad->range[i + old];

    if (other->begin < added.begin)
      added.begin = other->begin;
    if (other->end > added.end)
      added.end = other->end;
  }
  if (old == 0 && bad->n >= most)
    return false;
  put(bad, i, old, &added, 1);
  return true;
}

bool
sf_bad_remove(struct sf_bad *bad, uint64_t begin, uint64_t end) {
  struct sf_bad_range left[2];
  unsigned i = find(bad, begin + 1), old = 0, left_n = 0;

  while (i + old < bad->n && bad->range[i + old].begin < end)
    old++;
  if (old == 0)
    return true;
  if (bad->range[i].begin < begin)
    left[left_n++] = (struct sf_bad_range){.begin = bad->range[i].begin, .end = begin};
  if (bad->range[i + old - 1].end > end)
    left[left_n++] = (struct sf_bad_range){.begin = end, .end = bad->range[i + old - 1].end};
  if (bad->n - old + left_n > SF_BAD_MOST)
    return false;
  put(bad, i, old, left, left_n);
  return true;
}

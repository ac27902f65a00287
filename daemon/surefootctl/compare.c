/* Do the legs that are in sync hold the same?  A thread per leg reads one piece while the one
 * before it is compared, so that the slowest disk sets the pace and nothing else does. */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"

#include "check.h"

enum { PIECE_BYTES = 4 * 1024 * 1024, PARTS = 2, RANGES_SHOWN = 40 };

struct reader {
  struct compare *compare;
  unsigned leg;
  pthread_t thread;
  uint8_t *part[PARTS];
  int error[PARTS];
};

struct compare {
  const struct checked *checked;
  struct comparison *result;
  uint64_t data_offset, data_bytes, extent_bytes;
  unsigned readers;
  struct reader reader[SF_LEGS_MAX];
  pthread_barrier_t begin, end; /* of the reading of a piece, by all */
  uint64_t at;                  /* of the piece that is read */
  bool quit, no_memory;
};

void
ctl_compare_names(const struct checked *checked, uint16_t legs, char *text, size_t size) {
  unsigned left = (unsigned) __builtin_popcount(legs);
  struct sf_text list = {text, size};
  text[0] = '\0';
  for (unsigned i = 0; i < checked->config.legs; i++)
    if (legs >> i & 1)
      sf_text_put(&list, "%s%s", checked->config.leg[i].name, sf_text_after_name(--left));
}

static size_t
piece_bytes(const struct compare *compare, uint64_t at) {
  uint64_t left = compare->data_bytes - at;
  return left < PIECE_BYTES ? (size_t) left : PIECE_BYTES;
}

static int
read_piece(int fd, uint8_t *bytes, size_t len, uint64_t offset) {
  for (size_t done = 0; done < len;) {
    ssize_t n = pread(fd, bytes + done, len - done, (off_t) (offset + done));
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return n < 0 ? -errno : -ENODATA;
    done += (size_t) n;
  }
  return 0;
}

/* Bad ranges are read from no leg: legs may differ there, and rightly so.  Zeros on each, and
 * alike. */
static int
read_what_counts(const struct reader *reader, uint8_t *bytes, size_t len) {
  const struct checked *checked = reader->compare->checked;
  const struct sf_leg_file *file = &checked->file[reader->leg];
  const struct sf_bad *bad = &checked->assembly.base.bad;
  uint64_t at = reader->compare->at, from = at, end = at + len, to, next;
  int r = 0;
  for (unsigned i = 0; i <= bad->n && r == 0; i++, from = next) {
    to = next = end;
    if (i < bad->n) { /* whole sectors of this leg: it is read around the buffer cache */
      to = bad->range[i].begin / file->block_bytes * file->block_bytes;
      next = (bad->range[i].end + file->block_bytes - 1) / file->block_bytes * file->block_bytes;
      to = to < from ? from : to > end ? end : to;
      next = next < from ? from : next > end ? end : next;
    }
    r = to == from ? 0
                   : read_piece(file->fd, bytes + (from - at), (size_t) (to - from),
                                reader->compare->data_offset + from);
    memset(bytes + (to - at), 0, (size_t) (next - to));
  }
  return r;
}

static void *
read_leg(void *arg) {
  struct reader *reader = arg;
  struct compare *compare = reader->compare;
  for (unsigned part = 0;; part = (part + 1) % PARTS) {
    pthread_barrier_wait(&compare->begin);
    if (compare->quit)
      return NULL;
    reader->error[part] =
        read_what_counts(reader, reader->part[part], piece_bytes(compare, compare->at));
    pthread_barrier_wait(&compare->end);
  }
}

/* ---- findings ---- */

static void *
one_more(struct compare *compare, void **array, size_t *count, size_t size) {
  void *larger = reallocarray(*array, *count + 1, size);
  if (larger == NULL) {
    compare->no_memory = true;
    return NULL;
  }
  *array = larger;
  return (char *) larger + size * (*count)++;
}

static void
note_difference(struct compare *compare, const struct difference *found) {
  struct comparison *result = compare->result;
  struct difference *last =
      result->differences ? &result->difference[result->differences - 1] : NULL;
  if (last && last->offset + last->length == found->offset && last->legs == found->legs &&
      last->converged == found->converged) {
    last->length += found->length;
    return;
  }
  last = one_more(compare, (void **) &result->difference, &result->differences, sizeof *last);
  if (last)
    *last = *found;
}

static void
note_unreadable(struct compare *compare, const struct unreadable *found) {
  struct comparison *result = compare->result;
  struct unreadable *last =
      one_more(compare, (void **) &result->unreadable, &result->unreadables, sizeof *last);
  if (last)
    *last = *found;
}

/* ---- comparing ---- */

static size_t
first_difference(const uint8_t *a, const uint8_t *b, size_t len) {
  size_t at = 0;
  while (at < len && a[at] == b[at])
    at++;
  return at;
}

/* The readers that hold what most of them hold, the first of equals; and where another begins to
 * differ. */
static uint16_t
find_most(const struct compare *compare, unsigned part, size_t from, size_t len,
          uint16_t readable) {
  uint16_t most = 0;
  for (unsigned i = 0; i < compare->readers && most != readable; i++) {
    uint16_t same = 0;
    for (unsigned j = 0; j < compare->readers; j++)
      if ((readable >> i & readable >> j & 1) &&
          memcmp(compare->reader[i].part[part] + from, compare->reader[j].part[part] + from, len) ==
              0)
        same |= (uint16_t) (1u << j);
    if (__builtin_popcount(same) > __builtin_popcount(most))
      most = same;
  }
  return most;
}

/* Of one extent, or what of it lies in the piece. */
static void
compare_extent(struct compare *compare, unsigned part, uint64_t at, size_t from, size_t len,
               uint16_t readable) {
  uint16_t most = find_most(compare, part, from, len, readable);
  if (most == readable ||
      ctl_extents_has(&compare->checked->unwritten, (at + from) / compare->extent_bytes))
    return;
  const struct reader *good = &compare->reader[__builtin_ctz(most)];
  struct difference found = {.offset = at + from,
                             .length = len,
                             .converged = ctl_extents_has(&compare->checked->converge,
                                                          (at + from) / compare->extent_bytes)};
  size_t first = len;
  for (unsigned i = 0; i < compare->readers; i++)
    if (readable & ~most & 1u << i) {
      size_t differs =
          first_difference(good->part[part] + from, compare->reader[i].part[part] + from, len);
      first = differs < first ? differs : first;
      found.legs |= (uint16_t) (1u << compare->reader[i].leg);
    }
  found.first = found.offset + first;
  note_difference(compare, &found);
}

static void
compare_piece(struct compare *compare, unsigned part, uint64_t at) {
  size_t len = piece_bytes(compare, at);
  uint16_t readable = 0;
  for (unsigned i = 0; i < compare->readers; i++) {
    const struct reader *reader = &compare->reader[i];
    if (reader->error[part] == 0)
      readable |= (uint16_t) (1u << i);
    else
      note_unreadable(compare, &(struct unreadable){.offset = at,
                                                    .length = len,
                                                    .leg = reader->leg,
                                                    .error = reader->error[part]});
  }
  size_t step = compare->extent_bytes < PIECE_BYTES ? compare->extent_bytes : PIECE_BYTES;
  for (size_t from = 0; from < len && readable; from += step)
    compare_extent(compare, part, at, from, len - from < step ? len - from : step, readable);
}

static void
compare_all(struct compare *compare) {
  int shown = -1;
  unsigned part = 0;
  for (uint64_t at = 0; at < compare->data_bytes; at += PIECE_BYTES) {
    compare->at = at;
    pthread_barrier_wait(&compare->begin);
    if (at > 0)
      compare_piece(compare, (part + PARTS - 1) % PARTS, at - PIECE_BYTES);
    pthread_barrier_wait(&compare->end);
    ctl_progress(&shown, at, compare->data_bytes, "compared");
    part = (part + 1) % PARTS;
  }
  uint64_t last = (compare->data_bytes - 1) / PIECE_BYTES * PIECE_BYTES;
  compare_piece(compare, (part + PARTS - 1) % PARTS, last);
  ctl_progress_end(&shown);
  compare->quit = true;
  pthread_barrier_wait(&compare->begin);
}

/* ---- threads ---- */

static bool
get_memory(struct compare *compare) {
  for (unsigned i = 0; i < compare->readers; i++)
    for (unsigned part = 0; part < PARTS; part++)
      if (posix_memalign((void **) &compare->reader[i].part[part], SF_PAGE_BYTES, PIECE_BYTES) != 0)
        return false;
  return true;
}

static int
run_readers(struct compare *compare) {
  const char *volume = compare->checked->config.name;
  int r = get_memory(compare) ? 0 : ENOMEM;
  pthread_barrier_init(&compare->begin, NULL, compare->readers + 1);
  pthread_barrier_init(&compare->end, NULL, compare->readers + 1);
  for (unsigned i = 0; i < compare->readers && r == 0; i++)
    r = pthread_create(&compare->reader[i].thread, NULL, read_leg, &compare->reader[i]);
  /* Threads that began wait for the others, and end with the process. */
  if (r != 0)
    return ctl_fail("%s: cannot compare: %s", volume, strerror(r));
  compare_all(compare);
  for (unsigned i = 0; i < compare->readers; i++)
    pthread_join(compare->reader[i].thread, NULL);
  pthread_barrier_destroy(&compare->begin);
  pthread_barrier_destroy(&compare->end);
  for (unsigned i = 0; i < compare->readers; i++)
    for (unsigned part = 0; part < PARTS; part++)
      free(compare->reader[i].part[part]);
  bool no_memory = compare->no_memory;
  free(compare);
  return no_memory ? ctl_fail("%s: out of memory", volume) : CTL_DONE;
}

/* If a leg was written meanwhile, a difference may only be one of time. */
static int
check_unchanged(const struct checked *checked, uint16_t legs) {
  static uint8_t page[SF_SUPERBLOCK_COPIES][SF_PAGE_BYTES] __attribute__((aligned(SF_PAGE_BYTES)));
  for (unsigned leg = 0; leg < checked->config.legs; leg++) {
    struct sf_superblock sb;
    if (!(legs >> leg & 1))
      continue;
    if (sf_leg_file_is_locked(&checked->file[leg]) ||
        read_piece(checked->file[leg].fd, page[0], sizeof page, SF_SUPERBLOCK_OFFSET(0)) < 0 ||
        sf_superblock_pick((const uint8_t(*)[SF_PAGE_BYTES]) page, &sb, NULL) < 0 ||
        sb.serial != checked->found[leg].sb.serial)
      return ctl_fail("%s: leg %s was in use while it was compared: the result means nothing",
                      checked->config.name, checked->config.leg[leg].name);
  }
  return CTL_DONE;
}

int
ctl_compare_legs(const struct checked *checked, struct comparison *comparison) {
  const struct sf_superblock *base = &checked->assembly.base;
  struct compare *compare;
  char names[256];
  *comparison = (struct comparison){.legs = checked->current};
  if (checked->current & checked->in_use) {
    ctl_compare_names(checked, checked->current & checked->in_use, names, sizeof names);
    return ctl_fail("%s: %s in use by a running volume: stop it before its legs are compared",
                    checked->config.name, names);
  }
  if (!checked->has_maps || __builtin_popcount(checked->current) < 2)
    return CTL_DONE;
  compare = calloc(1, sizeof *compare);
  if (compare == NULL)
    return ctl_fail("%s: out of memory", checked->config.name);
  compare->checked = checked;
  compare->result = comparison;
  compare->data_offset = base->data_offset;
  compare->data_bytes = comparison->bytes = base->data_bytes;
  compare->extent_bytes = base->extent_bytes;
  for (unsigned leg = 0; leg < checked->config.legs; leg++)
    if (checked->current >> leg & 1)
      compare->reader[compare->readers++] = (struct reader){.compare = compare, .leg = leg};
  int status = run_readers(compare);
  if (status == CTL_DONE)
    status = check_unchanged(checked, checked->current);
  comparison->done = status == CTL_DONE;
  return status;
}

void
ctl_compare_free(struct comparison *comparison) {
  free(comparison->difference);
  free(comparison->unreadable);
}

bool
ctl_compare_is_well(const struct comparison *comparison) {
  for (size_t i = 0; i < comparison->differences; i++)
    if (!comparison->difference[i].converged)
      return false;
  return comparison->unreadables == 0;
}

/* ---- for people ---- */

static void
print_differences(const struct checked *checked, const struct comparison *comparison,
                  bool converged) {
  size_t shown = 0, all = 0;
  uint64_t bytes = 0;
  char names[256], size[CTL_TEXT_MAX];
  for (size_t i = 0; i < comparison->differences; i++) {
    const struct difference *at = &comparison->difference[i];
    if (at->converged != converged)
      continue;
    bytes += at->length;
    if (all++ >= RANGES_SHOWN)
      continue;
    shown++;
    ctl_compare_names(checked, at->legs, names, sizeof names);
    printf("  %s  %" PRIu64 "-%" PRIu64 " (%s): %s, first at byte %" PRIu64 "\n",
           converged ? "will be converged" : "DIFFERS          ", at->offset,
           at->offset + at->length - 1, ctl_size(at->length, size), names, at->first);
  }
  if (all > shown)
    printf("  %s  and %zu ranges more, %s in all\n",
           converged ? "will be converged" : "DIFFERS          ", all - shown,
           ctl_size(bytes, size));
}

void
ctl_compare_print(const struct checked *checked, const struct comparison *comparison) {
  char names[256], size[CTL_TEXT_MAX];
  ctl_compare_names(checked, comparison->legs, names, sizeof names);
  if (!comparison->done) {
    printf("nothing was compared: %s\n",
           comparison->legs ? "only one leg is in sync and here" : "no leg is in sync and here");
    return;
  }
  printf("compared %s of %s: ", ctl_size(comparison->bytes, size), names);
  if (!ctl_compare_is_well(comparison))
    ctl_put_coloured("NOT EQUAL", CTL_RED);
  else
    ctl_put_coloured(comparison->differences ? "equal once converged" : "equal", CTL_GREEN);
  putchar('\n');
  for (size_t i = 0; i < comparison->unreadables && i < RANGES_SHOWN; i++) {
    const struct unreadable *at = &comparison->unreadable[i];
    printf("  UNREADABLE         %" PRIu64 "-%" PRIu64 ": %s: %s\n", at->offset,
           at->offset + at->length - 1, checked->config.leg[at->leg].name, strerror(-at->error));
  }
  print_differences(checked, comparison, false);
  print_differences(checked, comparison, true);
}

/* ---- as JSON ---- */

static json_t *
names_to_json(const struct checked *checked, uint16_t legs) {
  json_t *names = json_array();
  for (unsigned i = 0; i < checked->config.legs; i++)
    if (legs >> i & 1)
      json_array_append_new(names, json_string(checked->config.leg[i].name));
  return names;
}

json_t *
ctl_compare_to_json(const struct checked *checked, const struct comparison *comparison) {
  json_t *differences = json_array(), *unreadable = json_array();
  for (size_t i = 0; i < comparison->differences; i++) {
    const struct difference *at = &comparison->difference[i];
    json_array_append_new(
        differences, json_pack("{sI sI sI so sb}", "offset", (json_int_t) at->offset, "length",
                               (json_int_t) at->length, "first", (json_int_t) at->first, "legs",
                               names_to_json(checked, at->legs), "converged", (int) at->converged));
  }
  for (size_t i = 0; i < comparison->unreadables; i++) {
    const struct unreadable *at = &comparison->unreadable[i];
    json_array_append_new(unreadable, json_pack("{sI sI ss ss}", "offset", (json_int_t) at->offset,
                                                "length", (json_int_t) at->length, "leg",
                                                checked->config.leg[at->leg].name, "error",
                                                strerror(-at->error)));
  }
  return json_pack("{sb so sI sb so so}", "done", (int) comparison->done, "legs",
                   names_to_json(checked, comparison->legs), "bytes",
                   (json_int_t) comparison->bytes, "equal", (int) ctl_compare_is_well(comparison),
                   "differences", differences, "unreadable", unreadable);
}

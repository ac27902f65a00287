/* Finds the word that was meant by a mistyped one. */
#include <getopt.h>
#include <string.h>

#include "ctl.h"

enum { WORD_MAX = 32 };

/* Letters left out, put in, changed, or two exchanged; a word that begins as the other is one step
 * away. */
static unsigned
distance(const char *a, const char *b) {
  size_t la = strlen(a), lb = strlen(b);
  unsigned row[3][WORD_MAX + 1];
  if (la > WORD_MAX || lb > WORD_MAX)
    return WORD_MAX;
  if (la >= 2 && strncmp(a, b, la) == 0)
    return 1;
  for (unsigned j = 0; j <= lb; j++)
    row[0][j] = j;
  for (unsigned i = 1; i <= la; i++) {
    unsigned *now = row[i % 3], *before = row[(i + 2) % 3], *earlier = row[(i + 1) % 3];
    now[0] = i;
    for (unsigned j = 1; j <= lb; j++) {
      unsigned best = before[j - 1] + (a[i - 1] != b[j - 1]);
      if (before[j] + 1 < best)
        best = before[j] + 1;
      if (now[j - 1] + 1 < best)
        best = now[j - 1] + 1;
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
          earlier[j - 2] + 1 < best)
        best = earlier[j - 2] + 1;
      now[j] = best;
    }
  }
  return row[la % 3][lb];
}

bool
ctl_is_near(const char *word, const char *name, unsigned *steps) {
  unsigned found = distance(word, name);
  if (found > 2 || found >= strlen(name) || found >= *steps)
    return false;
  *steps = found;
  return true;
}

/* ---- options ---- */

static const struct option *
find_option(const struct option *options, const char *name, size_t len) {
  for (; options->name; options++)
    if (strlen(options->name) == len && strncmp(options->name, name, len) == 0)
      return options;
  return NULL;
}

const char *
ctl_inexact_option(int argc, char *const *argv, const struct option *options, bool leading) {
  for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
    if (strncmp(argv[i], "--", 2) != 0) {
      if (leading && argv[i][0] != '-')
        return NULL;
      continue;
    }
    size_t len = strcspn(argv[i] + 2, "=");
    const struct option *found = find_option(options, argv[i] + 2, len);
    if (found == NULL)
      return argv[i];
    i += found->has_arg == required_argument && argv[i][2 + len] != '=';
  }
  return NULL;
}

const char *
ctl_nearest_option(const char *word, const struct option *options) {
  char name[WORD_MAX + 1];
  const char *nearest = NULL;
  unsigned steps = 3;
  while (*word == '-')
    word++;
  snprintf(name, sizeof name, "%.*s", (int) strcspn(word, "="), word);
  for (; options->name; options++)
    if (ctl_is_near(name, options->name, &steps))
      nearest = options->name;
  return nearest;
}

#include <stdio.h>
#include <unistd.h>

#include "ctl.h"

static void
draw(unsigned percent, uint64_t done, uint64_t total, const char *verb) {
  enum { WIDTH = 40 };
  char bar[WIDTH + 1], done_text[CTL_TEXT_MAX], total_text[CTL_TEXT_MAX];
  for (unsigned i = 0; i < WIDTH; i++)
    bar[i] = i < percent * WIDTH / 100 ? '#' : '.';
  bar[WIDTH] = '\0';
  fprintf(stderr, "\r  [%s] %3u%%  %s of %s %s\033[K", bar, percent, ctl_size(done, done_text),
          ctl_size(total, total_text), verb);
}

void
ctl_progress(int *shown, uint64_t done, uint64_t total, const char *verb) {
  int percent = total ? (int) ((double) done * 100.0 / (double) total) : 100;
  if (percent == *shown || !isatty(STDERR_FILENO))
    return;
  draw((unsigned) percent, done, total, verb);
  *shown = percent;
}

void
ctl_progress_end(const int *shown) {
  if (*shown >= 0)
    fputs("\r\033[K", stderr);
}

#include "monitor/page_chart.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "events/events.h"
#include "monitor/page_text.h"

enum { MINUTES = 60, LEFT = 46, TOP = 6, WIDTH = 320, HEIGHT = 96, BELOW = 26 };

/* Decades of microseconds. */
struct scale {
  int low, high;
};

static double
x_of(const json_t *sample) {
  double ago = (double) sfd_page_number(sample, "ago_min");
  return LEFT + (MINUTES - 1 - ago) * (double) (WIDTH - LEFT - 4) / (MINUTES - 1);
}

static double
y_of(const struct scale *scale, uint64_t us) {
  double at = (log10(us > 0 ? (double) us : 1) - scale->low) / (scale->high - scale->low);
  at = at < 0 ? 0 : at > 1 ? 1 : at;
  return TOP + (1 - at) * HEIGHT;
}

/* ---- one scale for all that stand side by side ---- */

static void
stretch(const json_t *samples, const char *kind, uint64_t *least, uint64_t *most) {
  static const char *const keys[] = {"p50_us", "max_us", "deadline_us"};
  size_t i;
  json_t *sample;
  json_array_foreach(samples, i, sample) {
    for (unsigned k = 0; k < sizeof keys / sizeof keys[0]; k++) {
      uint64_t us = sfd_page_number(json_object_get(sample, kind), keys[k]);
      *least = us > 0 && us < *least ? us : *least;
      *most = us > *most ? us : *most;
    }
  }
}

/* False: there was no request of this kind. */
static bool
find_scale(const json_t *history, const char *kind, struct scale *scale) {
  uint64_t least = UINT64_MAX, most = 0;
  size_t i;
  json_t *leg;
  stretch(json_object_get(history, "samples"), kind, &least, &most);
  json_array_foreach(json_object_get(history, "legs"), i, leg)
    stretch(json_object_get(leg, "samples"), kind, &least, &most);
  if (most == 0)
    return false;
  scale->low = (int) floor(log10((double) least));
  scale->high = (int) ceil(log10((double) most));
  if (scale->high <= scale->low)
    scale->high = scale->low + 1;
  return true;
}

/* ---- the drawing ---- */

static const char *
decade_text(int decade, char text[PAGE_TEXT_MAX]) {
  static const char *const units[] = {"µs", "ms", "s"};
  int unit = decade < 0 ? 0 : decade / 3 > 2 ? 2 : decade / 3;
  snprintf(text, PAGE_TEXT_MAX, "%.0f %s", pow(10, decade - 3 * unit), units[unit]);
  return text;
}

static void
put_grid(FILE *out, const struct scale *scale) {
  char text[PAGE_TEXT_MAX];
  for (int decade = scale->low; decade <= scale->high; decade++) {
    double y = y_of(scale, (uint64_t) pow(10, decade));
    fprintf(out, "<path class=g d='M%d %.1fH%d'/><text x=%d y=%.1f text-anchor=end>%s</text>", LEFT,
            y, WIDTH - 4, LEFT - 4, y + 3, decade_text(decade, text));
  }
  for (int ago = 60; ago >= 0; ago -= 20)
    fprintf(out, "<text x=%d y=%d text-anchor=%s>%s</text>",
            LEFT + (60 - ago) * (WIDTH - LEFT - 4) / 60, TOP + HEIGHT + BELOW - 6,
            ago == 60  ? "start"
            : ago == 0 ? "end"
                       : "middle",
            ago == 60   ? "60 min ago"
            : ago == 40 ? "40"
            : ago == 20 ? "20"
                        : "now");
}

/* What follows minute on minute is joined; one alone is a dot. */
static void
put_line(FILE *out, const struct scale *scale, const json_t *samples, const char *kind,
         const char *key, char class) {
  size_t i;
  json_t *sample;
  uint64_t before = UINT64_MAX;
  bool any = false;
  json_array_foreach(samples, i, sample) {
    uint64_t us = sfd_page_number(json_object_get(sample, kind), key);
    uint64_t ago = sfd_page_number(sample, "ago_min");
    if (us == 0)
      continue;
    if (!any)
      fprintf(out, "<path class=%c d='", class);
    any = true;
    fprintf(out, before == ago + 1 ? "L%.1f %.1f" : "M%.1f %.1fh.1", x_of(sample), y_of(scale, us));
    before = ago;
  }
  if (any)
    fputs("'/>", out);
}

/* A strip below for the minutes in which it was out. */
static unsigned
put_outs(FILE *out, const json_t *samples) {
  double width = (double) (WIDTH - LEFT - 4) / (MINUTES - 1);
  unsigned outs = 0;
  size_t i;
  json_t *sample;
  json_array_foreach(samples, i, sample) {
    if (!json_is_true(json_object_get(sample, "out")))
      continue;
    outs++;
    fprintf(out, "<rect class=o x=%.1f y=%d width=%.1f height=5 />", x_of(sample) - width / 2,
            TOP + HEIGHT + 3, width);
  }
  return outs;
}

/* The last that is known, and the most of all; false: it was asked nothing. */
static bool
put_caption(FILE *out, const json_t *samples, const char *name, const char *kind) {
  char text[PAGE_TEXT_MAX];
  uint64_t most = 0, p99 = 0, deadline = 0;
  size_t i;
  json_t *sample;
  json_array_foreach(samples, i, sample) {
    const json_t *of = json_object_get(sample, kind);
    if (!json_is_object(of))
      continue;
    p99 = sfd_page_number(of, "p99_us");
    deadline = sfd_page_number(of, "deadline_us");
    most = sfd_page_number(of, "max_us") > most ? sfd_page_number(of, "max_us") : most;
  }
  fputs("<figcaption><b>", out);
  sfd_page_put(out, name);
  fputs("</b> ", out);
  if (most == 0)
    fputs("nothing asked", out);
  else
    fprintf(out, "p99 %s", sfd_page_us(p99, text));
  if (most > 0)
    fprintf(out, ", longest %s", sfd_page_us(most, text));
  if (deadline > 0)
    fprintf(out, ", late after %s", sfd_page_us(deadline, text));
  fputs("</figcaption>", out);
  return most > 0;
}

static void
put_chart(FILE *out, const struct scale *scale, const json_t *samples, const char *name,
          const char *kind, const char *outs_said) {
  fputs("<figure>", out);
  if (!put_caption(out, samples, name, kind)) {
    fputs("</figure>", out);
    return;
  }
  fprintf(out, "<svg viewBox='0 0 %d %d' role=img aria-label=\"", WIDTH, TOP + HEIGHT + BELOW);
  sfd_page_put(out, name);
  fprintf(out, ", %ss of the last hour\">", kind);
  put_grid(out, scale);
  put_line(out, scale, samples, kind, "max_us", 'm');
  put_line(out, scale, samples, kind, "p50_us", 'h');
  put_line(out, scale, samples, kind, "p99_us", 'p');
  put_line(out, scale, samples, kind, "deadline_us", 'd');
  unsigned outs = put_outs(out, samples);
  fputs("</svg>", out);
  if (outs > 0)
    fprintf(out, "<p class=n>%s in %u of the last 60 minutes</p>", outs_said, outs);
  fputs("</figure>", out);
}

void
sfd_page_charts(FILE *out, const json_t *history) {
  static const char *const kinds[][2] = {
      {"write", "Writes"}, {"read", "Reads"}, {"flush", "Flushes"}};
  struct scale scale;
  bool any = false;
  for (unsigned k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
    size_t i;
    json_t *leg;
    if (!find_scale(history, kinds[k][0], &scale))
      continue;
    fprintf(out, "<h3>%s in the last hour</h3>", kinds[k][1]);
    if (!any)
      fputs(
          "<p class=n>each minute: half took less than the thin line, 99 % less than the thick "
          "one, all less than the dots; beyond the dashes the leg is late, and a strip below says "
          "when it was out of sync</p>",
          out);
    any = true;
    fputs("<div class=c>", out);
    json_array_foreach(json_object_get(history, "legs"), i, leg)
      put_chart(out, &scale, json_object_get(leg, "samples"), sfd_events_text(leg, "name"),
                kinds[k][0], "out of sync");
    put_chart(out, &scale, json_object_get(history, "samples"), "clients", kinds[k][0],
              "the volume not healthy");
    fputs("</div>", out);
  }
}

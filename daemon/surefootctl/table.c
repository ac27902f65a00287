#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/assert.h"
#include "ctl.h"

void
ctl_table_init(struct ctl_table *table, unsigned columns, const char *const *headings) {
  SF_ASSERT(columns > 0 && columns <= CTL_COLUMNS_MAX);
  memset(table, 0, sizeof *table);
  table->columns = columns;
  ctl_table_row(table);
  for (unsigned i = 0; i < columns; i++) {
    table->right[i] = headings[i][0] == '>';
    ctl_table_cell(table, i, headings[i] + table->right[i], CTL_BOLD);
  }
}

void
ctl_table_row(struct ctl_table *table) {
  if (table->rows < CTL_ROWS_MAX)
    table->rows++;
}

void
ctl_table_cell(struct ctl_table *table, unsigned column, const char *text, enum ctl_colour colour) {
  SF_ASSERT(table->rows > 0 && column < table->columns);
  struct ctl_cell *cell = &table->cell[table->rows - 1][column];
  free(cell->text);
  cell->text = text ? strdup(text) : NULL;
  cell->colour = colour;
}

/* Columns on the screen: one per UTF-8 character is near enough. */
static unsigned
width_of(const char *text) {
  unsigned width = 0;
  for (; text && *text; text++)
    width += ((unsigned char) *text & 0xc0) != 0x80;
  return width;
}

static bool
is_blank_after(const struct ctl_table *table, unsigned row, unsigned column) {
  for (unsigned i = column + 1; i < table->columns; i++)
    if (width_of(table->cell[row][i].text) > 0)
      return false;
  return true;
}

static void
print_cell(const struct ctl_table *table, unsigned row, unsigned column, unsigned width) {
  const struct ctl_cell *cell = &table->cell[row][column];
  unsigned padding = width - width_of(cell->text);
  fputs("  ", stdout);
  if (table->right[column])
    printf("%*s", (int) padding, "");
  ctl_put_coloured(cell->text ? cell->text : "", cell->colour);
  if (!table->right[column] && !is_blank_after(table, row, column))
    printf("%*s", (int) padding, "");
}

/* ---- what does not fit the terminal ---- */

enum { PATH_LEAST = 16, NOTE_INDENT = 5 };

/* "/dev/disk/by-id/...-part1": both ends of a path say which it is.  In place. */
static void
cut_middle(char *text, unsigned columns) {
  SF_ASSERT(columns > 3);
  size_t len = strlen(text), head = (columns - 3) / 2, tail = columns - 3 - head;
  if (width_of(text) <= columns)
    return;
  while (head > 0 && ((unsigned char) text[head] & 0xc0) == 0x80)
    head--;
  while (tail > 0 && ((unsigned char) text[len - tail] & 0xc0) == 0x80)
    tail--;
  memset(text + head, '.', 3);
  memmove(text + head + 3, text + len - tail, tail + 1);
}

/* Paths give way, and where a note has no room beside the numbers it stands below them, so that
 * columns stay columns.  True: notes are below. */
static bool
fit(struct ctl_table *table, unsigned width[CTL_COLUMNS_MAX]) {
  struct winsize size = {0};
  unsigned whole = 0, path = CTL_COLUMNS_MAX, last = table->columns - 1;
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_col == 0)
    return false;
  for (unsigned i = 0; i < table->columns; i++) {
    if (strcmp(table->cell[0][i].text, "PATH") == 0)
      path = i;
    whole += 2 + width[i];
  }
  bool below = whole > size.ws_col && strcmp(table->cell[0][last].text, "NOTE") == 0;
  if (below)
    whole -= 2 + width[last];
  if (path == CTL_COLUMNS_MAX || whole <= size.ws_col)
    return below;
  unsigned over = whole - size.ws_col;
  unsigned room = width[path] > over + PATH_LEAST ? width[path] - over : PATH_LEAST;
  if (room >= width[path])
    return below;
  for (unsigned row = 1; row < table->rows; row++)
    if (table->cell[row][path].text)
      cut_middle(table->cell[row][path].text, room);
  width[path] = room;
  return below;
}

static void
measure(const struct ctl_table *table, unsigned width[CTL_COLUMNS_MAX]) {
  for (unsigned row = 0; row < table->rows; row++)
    for (unsigned i = 0; i < table->columns; i++) {
      unsigned own = width_of(table->cell[row][i].text);
      width[i] = own > width[i] ? own : width[i];
    }
}

void
ctl_table_print(struct ctl_table *table) {
  unsigned width[CTL_COLUMNS_MAX] = {0}, last = table->columns - 1;
  measure(table, width);
  bool below = fit(table, width);
  for (unsigned row = 0; row < table->rows; row++) {
    char *note = below ? table->cell[row][last].text : NULL;
    if (below)
      table->cell[row][last].text = NULL;
    for (unsigned i = 0; i < table->columns; i++)
      if (width_of(table->cell[row][i].text) > 0 || !is_blank_after(table, row, i))
        print_cell(table, row, i, width[i]);
    putchar('\n');
    if (note && *note && row > 0) {
      printf("%*s", NOTE_INDENT, "");
      ctl_put_wrapped(note, NOTE_INDENT, NOTE_INDENT);
      putchar('\n');
    }
    free(note);
    for (unsigned i = 0; i < table->columns; i++)
      free(table->cell[row][i].text);
  }
}

static enum { COLOURS_AUTO, COLOURS_ALWAYS, COLOURS_NEVER } colours;

bool
ctl_set_colours(const char *when) {
  static const char *const words[] = {"auto", "always", "never"};
  for (unsigned i = 0; i < sizeof words / sizeof words[0]; i++)
    if (strcmp(words[i], when) == 0) {
      colours = i;
      return true;
    }
  return false;
}

bool
ctl_colours(void) {
  const char *off = getenv("NO_COLOR"), *terminal = getenv("TERM");
  if (colours != COLOURS_AUTO)
    return colours == COLOURS_ALWAYS;
  return isatty(STDOUT_FILENO) && !(off && *off) && terminal && strcmp(terminal, "dumb") != 0;
}

void
ctl_put_coloured(const char *text, enum ctl_colour colour) {
  static const char *const codes[] = {
      [CTL_PLAIN] = "", [CTL_GREEN] = "32", [CTL_YELLOW] = "33", [CTL_RED] = "31", [CTL_BOLD] = "1",
  };
  bool on = colour != CTL_PLAIN && ctl_colours();
  if (on)
    printf("\033[%sm", codes[colour]);
  ctl_put(text);
  if (on)
    fputs("\033[0m", stdout);
}

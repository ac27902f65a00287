/* From a file to a struct sf_config.
 *
 * inih splits keys from values and takes comments away.  It also joins indented lines to the line
 * before, splits long lines, shortens section names and says nothing of a section without keys.  So
 * it sees only lines that our reader has looked at: one call, one line, in the shape that has one
 * meaning.  The reader also keeps track of sections. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ini.h>

#include <surefoot/config.h>

#include "base/assert.h"
#include "config/keys.h"

enum {
  LINE_CHARS_MAX = PATH_MAX + 128,     /* the longest path, its key and a comment */
  INI_LINE_BYTES = LINE_CHARS_MAX + 3, /* ini.h: 3 more than the longest line */
  NO_SECTION = -2,
  FIRST_SPARE = SF_LEGS_MAX,
  SECTIONS_MAX = 1 + SF_LEGS_MAX + SF_SPARES_MAX,
};

struct parser {
  struct sf_config *config;
  const char *file; /* its name in messages */
  const char *next, *end;
  unsigned line;
  int section; /* NO_SECTION, SF_CONFIG_VOLUME, a leg's index, or FIRST_SPARE and a spare's */
  unsigned section_line[SECTIONS_MAX];
  unsigned error_line; /* 0: none yet.  The first one stays */
  char *error;
};

static const char *
section_name(const struct parser *p, int section, char text[SF_LEG_NAME_MAX + 8]) {
  if (section == SF_CONFIG_VOLUME)
    return "[volume]";
  if (section >= FIRST_SPARE) {
    snprintf(text, SF_LEG_NAME_MAX + 8, "[spare %s]", p->config->spare[section - FIRST_SPARE].name);
    return text;
  }
  snprintf(text, SF_LEG_NAME_MAX + 8, "[leg %s]", p->config->leg[section].name);
  return text;
}

/* A long path of the file must not push the reason out of the message. */
static const char *
file_tail(const char *file) {
  size_t len = strlen(file);
  return len > 160 ? file + len - 160 : file;
}

static void
fail_line(struct parser *p, const char *key, const char *text) {
  if (p->error_line)
    return;
  char section[SF_LEG_NAME_MAX + 8];
  p->error_line = p->line;
  if (key && p->section != NO_SECTION)
    sf_config_error(p->error, "%s:%u: %s %.200s: %s", file_tail(p->file), p->line,
                    section_name(p, p->section, section), key, text);
  else if (key)
    sf_config_error(p->error, "%s:%u: %.200s: %s", file_tail(p->file), p->line, key, text);
  else
    sf_config_error(p->error, "%s:%u: %s", file_tail(p->file), p->line, text);
}

/* ---- sections ---- */

static void
enter_section(struct parser *p, int section) {
  unsigned first_line = p->section_line[1 + section];
  p->section = section;
  if (first_line == 0) {
    p->section_line[1 + section] = p->line;
    return;
  }
  struct sf_why why;
  char name[SF_LEG_NAME_MAX + 8];
  sf_why(&why, 0, "%s is there already, in line %u", section_name(p, section, name), first_line);
  fail_line(p, NULL, why.text);
}

static void
enter_leg(struct parser *p, const char *name) {
  struct sf_config *config = p->config;
  struct sf_why why;

  if (!sf_value_is_name(name, SF_LEG_NAME_MAX - 1)) {
    sf_why(&why, 0, "\"%.100s\" cannot name a leg: 1 to %d of A-Z a-z 0-9 _ -", name,
           SF_LEG_NAME_MAX - 1);
    fail_line(p, NULL, why.text);
    return;
  }
  int leg = sf_config_find_leg(config, name);
  if (leg >= 0) {
    enter_section(p, leg);
    return;
  }
  if (config->legs == SF_LEGS_MAX) {
    sf_why(&why, 0, "[leg %s] is one too many: at most %d legs are taken", name, SF_LEGS_MAX);
    fail_line(p, NULL, why.text);
    return;
  }
  memcpy(config->leg[config->legs].name, name, strlen(name) + 1);
  enter_section(p, (int) config->legs++);
}

static void
enter_spare(struct parser *p, const char *name) {
  struct sf_config *config = p->config;
  int spare = sf_config_find_spare(config, name);
  struct sf_why why;

  if (!sf_value_is_name(name, SF_LEG_NAME_MAX - 1))
    sf_why(&why, 0, "\"%.100s\" cannot name a spare: 1 to %d of A-Z a-z 0-9 _ -", name,
           SF_LEG_NAME_MAX - 1);
  else if (spare < 0 && config->spares == SF_SPARES_MAX)
    sf_why(&why, 0, "[spare %s] is one too many: at most %d are taken", name, SF_SPARES_MAX);
  else {
    if (spare < 0) {
      spare = (int) config->spares++;
      memcpy(config->spare[spare].name, name, strlen(name) + 1);
    }
    enter_section(p, FIRST_SPARE + spare);
    return;
  }
  fail_line(p, NULL, why.text);
}

/* line begins with '['. */
static void
read_section(struct parser *p, const char *line) {
  char name[LINE_CHARS_MAX + 1];
  size_t len = strcspn(line + 1, "]");
  const char *rest = line + 1 + len;
  if (*rest != ']') {
    fail_line(p, NULL, "the section has no closing ]");
    return;
  }
  rest += 1 + strspn(rest + 1, " \t");
  if (*rest != '\0' && *rest != ';' && *rest != '#') {
    fail_line(p, NULL, "only a comment may follow the section's ]");
    return;
  }
  memcpy(name, line + 1, len);
  name[len] = '\0';

  if (strcmp(name, "volume") == 0)
    enter_section(p, SF_CONFIG_VOLUME);
  else if (strncmp(name, "leg ", 4) == 0)
    enter_leg(p, name + 4 + strspn(name + 4, " "));
  else if (strncmp(name, "spare ", 6) == 0)
    enter_spare(p, name + 6 + strspn(name + 6, " "));
  else {
    struct sf_why why;
    sf_why(&why, 0, "unknown section [%.100s]; known are [volume], [leg X] and [spare X]", name);
    fail_line(p, NULL, why.text);
  }
}

/* ---- lines ---- */

static void
check_line(struct parser *p, const char *line, size_t len) {
  struct sf_why why;
  for (size_t i = 0; i < len; i++) {
    unsigned char c = (unsigned char) line[i];
    if ((c < ' ' && c != '\t') || c == 0x7f) {
      sf_why(&why, 0, "byte 0x%02x in column %zu does not belong in a text file", c, i + 1);
      fail_line(p, NULL, why.text);
      return;
    }
  }
  if (len > LINE_CHARS_MAX) {
    sf_why(&why, 0, "the line has %zu characters: at most %d are taken", len, LINE_CHARS_MAX);
    fail_line(p, NULL, why.text);
    return;
  }
  size_t indent = 0;
  while (indent < len && (line[indent] == ' ' || line[indent] == '\t'))
    indent++;
  if (indent > 0 && indent < len && line[indent] != ';' && line[indent] != '#')
    fail_line(p, NULL, "the line is indented: a value cannot be continued on the next line");
}

/* inih's reader, shaped like fgets.  NULL ends the parse. */
static char *
read_line(char *buffer, int size, void *stream) {
  struct parser *p = stream;
  SF_ASSERT(size > LINE_CHARS_MAX);
  if (p->error_line || p->next == p->end)
    return NULL;

  const char *line = p->next;
  const char *newline = memchr(line, '\n', (size_t) (p->end - line));
  size_t len = (size_t) ((newline ? newline : p->end) - line);
  p->next = newline ? newline + 1 : p->end;
  p->line++;

  if (p->line == 1 && len >= 3 && memcmp(line, "\xef\xbb\xbf", 3) == 0) {
    line += 3;
    len -= 3;
  }
  if (newline && len > 0 && line[len - 1] == '\r')
    len--;

  check_line(p, line, len);
  if (p->error_line)
    return NULL;
  memcpy(buffer, line, len);
  buffer[len] = '\0';
  if (*buffer == '[')
    read_section(p, buffer);
  return p->error_line ? NULL : buffer;
}

/* After a value inih takes ';' for a comment, and '#' for a part of the value. */
static bool
has_hash_comment(const char *value) {
  const char *hash = strchr(value, '#');
  return hash && (hash == value || hash[-1] == ' ' || hash[-1] == '\t');
}

/* inih's handler, once for each key.  The return value makes inih note the line as wrong. */
static int
take_key(void *user, const char *section, const char *name, const char *value) {
  struct parser *p = user;
  struct sf_why why;

  if (p->error_line)
    return 0;
  if (*name == '\0') {
    fail_line(p, NULL, "there is no key before the =");
    return 0;
  }
  if (p->section == NO_SECTION) {
    fail_line(p, name, "stands before the first section");
    return 0;
  }
  if (has_hash_comment(value)) {
    fail_line(p, name, "after a value a comment begins with ; and not with #");
    return 0;
  }

  if (p->section >= FIRST_SPARE) {
    unsigned spare = (unsigned) (p->section - FIRST_SPARE);
    if (sf_config_spare_set(p->config, spare, name, value, &why) < 0)
      fail_line(p, name, why.text);
    return p->error_line == 0;
  }
  const struct sf_config_key *key = sf_config_key_find(name, p->section >= 0, &why);
  if (key == NULL) {
    fail_line(p, name, why.text);
    return 0;
  }
  uint32_t first_line = sf_config_key_set_at(p->config, p->section, key);
  if (first_line) {
    sf_why(&why, 0, "is set already, in line %u", (unsigned) first_line);
    fail_line(p, name, why.text);
    return 0;
  }
  if (sf_config_key_set(p->config, p->section, key, value, &why) < 0)
    fail_line(p, name, why.text);
  else
    sf_config_key_note(p->config, p->section, key, p->line);
  return p->error_line == 0;
}

/* ---- the whole ---- */

static int
fail_file(struct parser *p, int error, const char *text) {
  sf_config_error(p->error, "%s: %s", file_tail(p->file), text);
  return error;
}

/* Names the line of the key in question, or that of its section when the key is not there. */
static int
finish(struct parser *p) {
  struct sf_config_place place;
  struct sf_why why;
  if (p->section_line[1 + SF_CONFIG_VOLUME] == 0)
    return fail_file(p, -EINVAL, "there is no [volume] section");
  int r = sf_config_spares_check(p->config, &why);
  if (r < 0)
    return fail_file(p, r, why.text);
  r = sf_config_finish(p->config, &place, &why);
  if (r == 0)
    return 0;
  if (place.key == NULL)
    return fail_file(p, r, why.text);
  p->section = place.leg;
  p->line = sf_config_key_set_at(p->config, place.leg, place.key);
  if (p->line == 0)
    p->line = p->section_line[1 + place.leg];
  fail_line(p, sf_config_key_name(place.key), why.text);
  return r;
}

int
sf_config_parse(struct sf_config *config, const char *file, const char *text, size_t len,
                char error[SF_CONFIG_ERROR_MAX]) {
  struct parser p = {.config = config,
                     .file = file,
                     .next = text,
                     .end = text + len,
                     .section = NO_SECTION,
                     .error = error};
  if (len == 0)
    return fail_file(&p, -EINVAL, "is empty");

  /* Debian's inih takes the size of its buffer from here; the default is 200. */
  ini_max_line = INI_LINE_BYTES;
  int bad_line = ini_parse_stream(read_line, &p, take_key, &p);
  if (bad_line < 0)
    return fail_file(&p, -ENOMEM, "out of memory");
  /* inih goes on after a line that it cannot split: that line may come before ours. */
  if (bad_line > 0 && (p.error_line == 0 || (unsigned) bad_line < p.error_line)) {
    p.error_line = 0;
    p.line = (unsigned) bad_line;
    fail_line(&p, NULL, "is neither [section] nor key = value nor a comment");
  }
  return p.error_line ? -EINVAL : finish(&p);
}

/* Absolute, since the process may change its folder before a relative leg is looked up again. */
static int
absolute_name(const char *file, char absolute[PATH_MAX]) {
  char folder[PATH_MAX], real[PATH_MAX];
  const char *slash = strrchr(file, '/');
  const char *base = slash ? slash + 1 : file;
  int len = slash ? snprintf(folder, sizeof folder, "%.*s", (int) (slash + 1 - file), file)
                  : snprintf(folder, sizeof folder, ".");
  if (len >= (int) sizeof folder)
    return -ENAMETOOLONG;
  if (realpath(folder, real) == NULL)
    return -errno;
  len = snprintf(absolute, PATH_MAX, "%s/%s", strcmp(real, "/") == 0 ? "" : real, base);
  return len < PATH_MAX ? 0 : -ENAMETOOLONG;
}

/* At most max bytes; -EFBIG if there are more. */
static int
read_file(const char *file, char *text, size_t max, size_t *len) {
  FILE *stream = fopen(file, "re");
  if (stream == NULL)
    return -errno;
  errno = 0;
  size_t n = fread(text, 1, max, stream);
  int r = 0;
  if (ferror(stream))
    r = errno ? -errno : -EIO;
  else if (n == max && getc(stream) != EOF)
    r = -EFBIG;
  fclose(stream);
  if (r == 0)
    *len = n;
  return r;
}

int
sf_config_load(struct sf_config *config, const char *file, char error[SF_CONFIG_ERROR_MAX]) {
  struct loading {
    struct sf_config config;
    char text[SF_CONFIG_FILE_MAX];
  } *loading = malloc(sizeof *loading);
  struct parser p = {.file = file, .error = error};
  if (loading == NULL)
    return fail_file(&p, -ENOMEM, "out of memory");

  size_t len = 0;
  sf_config_init(&loading->config);
  int r = read_file(file, loading->text, sizeof loading->text, &len);
  if (r == 0)
    r = absolute_name(file, loading->config.file);
  if (r == -EFBIG)
    fail_file(&p, r, "is larger than 128 KiB: not a configuration");
  else if (r < 0)
    fail_file(&p, r, strerrordesc_np(-r));
  else
    r = sf_config_parse(&loading->config, file, loading->text, len, error);
  if (r == 0)
    *config = loading->config;
  free(loading);
  return r;
}

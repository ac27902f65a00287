#include "config/keys.h"
#include "base/units.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"

#define DAY (UINT64_C(86400) * SF_S)
#define KIB UINT64_C(1024)
#define TIB (UINT64_C(1) << 40)

/* Longer than any that is right, and short enough to be named in a message. */
enum { VALUE_CHARS_MAX = 128, SHOWN_CHARS_MAX = 160 };

enum type {
  TYPE_NAME,
  TYPE_PATH,
  TYPE_SOCKET,
  TYPE_DEVICE,
  TYPE_COUNT,
  TYPE_DURATION,
  TYPE_RATE,
  TYPE_WORD,
};

struct sf_config_key {
  const char *name;
  bool of_leg;
  enum type type;
  size_t offset; /* in sf_config, or in sf_config_leg */
  bool live;
  bool of_daemon; /* nothing but surefootd looks at it */
  bool automatic; /* "auto" is possible */
  bool zero;      /* 0 is possible whatever min says: unset, none or no limit */
  uint64_t min, max;
  const char *word[2]; /* of TYPE_WORD: those of an enum with the values 0 and 1 */
};

#define VOLUME(field) .of_leg = false, .offset = offsetof(struct sf_config, field)
#define LEG(field)    .of_leg = true, .offset = offsetof(struct sf_config_leg, field)

/* A day at most keeps sums of time far from overflow; on_too_few = suspend waits longer. */
#define WAIT       .type = TYPE_DURATION, .min = SF_MS, .max = DAY
#define AUTO       .automatic = true
#define WORD(a, b) .type = TYPE_WORD, .word = {a, b}
#define RATE       .type = TYPE_RATE, .min = 4 * KIB, .max = TIB
#define LIVE       .live = true
#define DAEMON     .of_daemon = true

static const struct sf_config_key keys[] = {
    {.name = "name", VOLUME(name), .type = TYPE_NAME, .max = SF_VOLUME_NAME_MAX - 1},
    {.name = "min_legs", VOLUME(min_legs), .type = TYPE_COUNT, .min = 1, .max = SF_LEGS_MAX},
    {.name = "read_deadline", VOLUME(deadline_ns[SF_READ_KIND]), WAIT, AUTO, LIVE},
    {.name = "write_deadline", VOLUME(deadline_ns[SF_WRITE_KIND]), WAIT, AUTO, LIVE},
    {.name = "flush_deadline", VOLUME(deadline_ns[SF_FLUSH_KIND]), WAIT, AUTO, LIVE},
    {.name = "fail_timeout", VOLUME(fail_timeout_ns), WAIT, LIVE},
    {.name = "on_too_few", VOLUME(on_too_few), WORD("error", "suspend"), LIVE},
    {.name = "slow_leg", VOLUME(slow_leg), WORD("wait", "leave"), LIVE},
    {.name = "slow_factor", VOLUME(slow_factor), .type = TYPE_COUNT, .min = 2, .max = 1000, LIVE},
    {.name = "max_read_errors",
     VOLUME(max_read_errors),
     .type = TYPE_COUNT,
     .min = 1,
     .max = 1000000,
     .zero = true,
     LIVE},
    {.name = "control", VOLUME(control), .type = TYPE_SOCKET, .zero = true},
    {.name = "fast_socket", VOLUME(fast_socket), .type = TYPE_SOCKET, .zero = true},
    {.name = "wait_for_legs", VOLUME(wait_for_legs_ns), WAIT, .zero = true},
    {.name = "resync_min_rate", VOLUME(resync_min_rate), RATE, LIVE},
    {.name = "resync_max_rate", VOLUME(resync_max_rate), RATE, .zero = true, LIVE},
    {.name = "intent_delay", VOLUME(intent_delay_ns), WAIT, LIVE},
    {.name = "hot_extents",
     VOLUME(hot_extents),
     .type = TYPE_COUNT,
     .min = 1,
     .max = 1 << 21,
     LIVE},
    {.name = "socket", VOLUME(socket), .type = TYPE_SOCKET, .zero = true, DAEMON},
    {.name = "threads", VOLUME(threads), .type = TYPE_COUNT, .min = 1, .max = 1024, DAEMON},
    {.name = "device", VOLUME(device), .type = TYPE_DEVICE, .zero = true, DAEMON},
    {.name = "device_door", VOLUME(device_door), WORD("fast", "nbdkit"), DAEMON},
    {.name = "device_timeout",
     VOLUME(device_timeout_ns),
     .type = TYPE_DURATION,
     .min = SF_S,
     .max = DAY,
     .zero = true,
     DAEMON},
    {.name = "device_dead_timeout",
     VOLUME(device_dead_timeout_ns),
     .type = TYPE_DURATION,
     .min = 10 * SF_S,
     .max = DAY,
     DAEMON},
    {.name = "spare_after", VOLUME(spare_after_ns), WAIT, LIVE, DAEMON},
    {.name = "path", LEG(path), .type = TYPE_PATH},
    {.name = "read_timeout", LEG(timeout_ns[SF_READ_KIND]), WAIT, AUTO, LIVE},
    {.name = "write_timeout", LEG(timeout_ns[SF_WRITE_KIND]), WAIT, AUTO, LIVE},
    {.name = "flush_timeout", LEG(timeout_ns[SF_FLUSH_KIND]), WAIT, AUTO, LIVE},
};

_Static_assert(sizeof keys / sizeof *keys == SF_CONFIG_KEYS, "callers size tables by it");

unsigned
sf_config_keys(void) {
  return SF_CONFIG_KEYS;
}

const struct sf_config_key *
sf_config_key_at(unsigned index) {
  SF_ASSERT(index < SF_CONFIG_KEYS);
  return &keys[index];
}

unsigned
sf_config_key_index(const struct sf_config_key *key) {
  return (unsigned) (key - keys);
}

const char *
sf_config_key_name(const struct sf_config_key *key) {
  return key->name;
}

bool
sf_config_key_is_live(const struct sf_config_key *key) {
  return key->live;
}

bool
sf_config_key_is_of_leg(const struct sf_config_key *key) {
  return key->of_leg;
}

bool
sf_config_key_is_of_daemon(const struct sf_config_key *key) {
  return key->of_daemon;
}

static void
refuse_key(const char *name, bool of_leg, struct sf_why *why) {
  for (unsigned i = 0; i < SF_CONFIG_KEYS; i++)
    if (strcmp(keys[i].name, name) == 0) {
      sf_why(why, 0, "belongs in %s", of_leg ? "[volume]" : "a [leg X] section");
      return;
    }

  char list[512] = "";
  size_t len = 0;
  for (unsigned i = 0; i < SF_CONFIG_KEYS && len < sizeof list; i++)
    if (keys[i].of_leg == of_leg)
      len += (size_t) snprintf(list + len, sizeof list - len, " %s", keys[i].name);
  SF_ASSERT(len < sizeof list);
  sf_why(why, 0, "unknown key; known are%s", list);
}

const struct sf_config_key *
sf_config_key_find(const char *name, bool of_leg, struct sf_why *why) {
  for (unsigned i = 0; i < SF_CONFIG_KEYS; i++)
    if (keys[i].of_leg == of_leg && strcmp(keys[i].name, name) == 0)
      return &keys[i];
  refuse_key(name, of_leg, why);
  return NULL;
}

/* ---- paths ---- */

/* Removes "//" and "/./", so that two spellings of one path are seen to be the same.  ".." stays:
 * what it means depends on symbolic links. */
static void
tidy_path(char *path) {
  char *to = path;
  for (const char *from = path; *from;) {
    if (from[0] == '/' && from[1] == '/')
      from++;
    else if (from[0] == '/' && from[1] == '.' && from[2] == '/')
      from += 2;
    else
      *to++ = *from++;
  }
  *to = '\0';
}

/* A relative path is relative to the folder of the configuration file, not to where the process
 * happens to stand. */
static int
resolve_path(const struct sf_config *config, const char *value, size_t max, char *path,
             struct sf_why *why) {
  if (strstr(value, "://"))
    return sf_why(why, -EINVAL, "\"%.*s\" is a URI; only files and block devices are taken",
                  SHOWN_CHARS_MAX, value);
  if (value[strlen(value) - 1] == '/')
    return sf_why(why, -EINVAL, "\"%.*s\" names a folder", SHOWN_CHARS_MAX, value);

  int folder_len = 0;
  if (*value != '/') {
    const char *slash = strrchr(config->file, '/');
    if (slash == NULL)
      return sf_why(why, -EINVAL, "\"%.*s\" must be an absolute path", SHOWN_CHARS_MAX, value);
    folder_len = (int) (slash + 1 - config->file);
  }

  char full[2 * PATH_MAX];
  int len = snprintf(full, sizeof full, "%.*s%s", folder_len, config->file, value);
  if (len >= (int) sizeof full)
    return sf_why(why, -EINVAL, "the path is too long: at most %zu bytes are taken", max - 1);
  tidy_path(full);
  size_t bytes = strlen(full);
  if (bytes >= max)
    return sf_why(why, -EINVAL, "\"%.*s%s\" has %zu bytes: at most %zu are taken", SHOWN_CHARS_MAX,
                  full, bytes > SHOWN_CHARS_MAX ? "..." : "", bytes, max - 1);
  memcpy(path, full, bytes + 1);
  return 0;
}

int
sf_config_resolve_path(const struct sf_config *config, const char *value, char path[PATH_MAX],
                       struct sf_why *why) {
  return resolve_path(config, value, PATH_MAX, path, why);
}

/* ---- values ---- */

static void
write_number(enum type type, uint64_t number, char text[SF_VALUE_TEXT_MAX]) {
  if (type == TYPE_DURATION)
    sf_value_write_duration(number, text);
  else if (type == TYPE_RATE)
    sf_value_write_size(number, text);
  else
    sf_value_write_count(number, text);
}

static int
check_number(const struct sf_config_key *key, uint64_t number, struct sf_why *why) {
  char said[SF_VALUE_TEXT_MAX], limit[SF_VALUE_TEXT_MAX];
  if (number == 0 && key->zero)
    return 0;
  write_number(key->type, number, said);
  if (number < key->min) {
    write_number(key->type, key->min, limit);
    return sf_why(why, -EINVAL, "%s is too little: at least %s", said, limit);
  }
  if (number > key->max) {
    write_number(key->type, key->max, limit);
    return sf_why(why, -EINVAL, "%s is too much: at most %s", said, limit);
  }
  return 0;
}

static int
read_number(const struct sf_config_key *key, const char *value, uint64_t *number,
            struct sf_why *why) {
  uint64_t n = 0;
  int r;
  if (key->automatic && strcmp(value, "auto") == 0) {
    *number = SF_CONFIG_AUTO;
    return 0;
  }
  if (key->type == TYPE_DURATION)
    r = sf_value_read_duration(value, &n, why);
  else if (key->type == TYPE_RATE)
    r = sf_value_read_size(value, &n, why);
  else
    r = sf_value_read_count(value, &n, why);
  if (r == 0)
    r = check_number(key, n, why);
  if (r == 0)
    *number = n;
  return r == 0 ? 0 : -EINVAL;
}

static int
read_name(const char *value, size_t max_chars, char *name, struct sf_why *why) {
  if (!sf_value_is_name(value, max_chars))
    return sf_why(why, -EINVAL, "\"%s\" is not a name: 1 to %zu of A-Z a-z 0-9 _ -", value,
                  max_chars);
  memcpy(name, value, strlen(value) + 1);
  return 0;
}

_Static_assert(SF_TOO_FEW_ERROR == 0 && SF_TOO_FEW_SUSPEND == 1 && SF_SLOW_WAIT == 0 &&
                   SF_SLOW_LEAVE == 1 && SF_DEVICE_DOOR_FAST == 0 && SF_DEVICE_DOOR_NBDKIT == 1,
               "in the order of their words");
_Static_assert(_Generic((enum sf_on_too_few){0}, unsigned : 1, default : 0) &&
                   _Generic((enum sf_slow_leg){0}, unsigned : 1, default : 0) &&
                   _Generic((enum sf_device_door){0}, unsigned : 1, default : 0),
               "read and written as one");

static int
read_word(const struct sf_config_key *key, const char *value, unsigned *field, struct sf_why *why) {
  for (unsigned i = 0; i < 2; i++)
    if (strcmp(value, key->word[i]) == 0) {
      *field = i;
      return 0;
    }
  return sf_why(why, -EINVAL, "\"%s\" is neither %s nor %s", value, key->word[0], key->word[1]);
}

/* "/dev/nbd0".  A link to one would not say which number the kernel is to be asked for. */
static bool
is_device(const char *text) {
  if (strncmp(text, "/dev/nbd", 8) != 0)
    return false;
  size_t digits = strspn(text + 8, "0123456789");
  return digits >= 1 && digits <= 4 && text[8 + digits] == '\0' && (text[8] != '0' || digits == 1);
}

static int
read_device(const char *value, char *device, struct sf_why *why) {
  if (!is_device(value))
    return sf_why(why, -EINVAL, "\"%s\" is not an NBD device such as /dev/nbd0", value);
  memcpy(device, value, strlen(value) + 1);
  return 0;
}

static bool
has_control_character(const char *text) {
  for (; *text; text++)
    if ((unsigned char) *text < ' ' || *text == 0x7f)
      return true;
  return false;
}

static bool
is_blank(char c) {
  return c == ' ' || c == '\t';
}

bool
sf_config_value_fits_line(const char *value) {
  size_t len = strlen(value);
  if (len == 0 || is_blank(value[0]) || is_blank(value[len - 1]) || has_control_character(value))
    return false;
  for (size_t i = 0; i < len; i++)
    if ((value[i] == ';' || value[i] == '#') && (i == 0 || is_blank(value[i - 1])))
      return false;
  return true;
}

uint32_t
sf_config_key_set_at(const struct sf_config *config, int leg, const struct sf_config_key *key) {
  unsigned index = sf_config_key_index(key);
  return leg == SF_CONFIG_VOLUME ? config->set_at[index] : config->leg[leg].set_at[index];
}

void
sf_config_key_note(struct sf_config *config, int leg, const struct sf_config_key *key,
                   uint32_t set_at) {
  unsigned index = sf_config_key_index(key);
  if (leg == SF_CONFIG_VOLUME)
    config->set_at[index] = set_at;
  else
    config->leg[leg].set_at[index] = set_at;
}

static int
read_value(struct sf_config *config, int leg, const struct sf_config_key *key, const char *value,
           struct sf_why *why) {
  if (*value == '\0')
    return sf_why(why, -EINVAL, "has no value");
  if (has_control_character(value))
    return sf_why(why, -EINVAL, "the value has a control character in it");
  if (key->type != TYPE_PATH && key->type != TYPE_SOCKET && strlen(value) > VALUE_CHARS_MAX)
    return sf_why(why, -EINVAL, "the value has %zu characters: that is too long", strlen(value));

  char *field = (key->of_leg ? (char *) &config->leg[leg] : (char *) config) + key->offset;
  uint64_t number = 0;
  int r = -EINVAL;
  switch (key->type) {
  case TYPE_NAME:
    return read_name(value, key->max, field, why);
  case TYPE_PATH:
    return resolve_path(config, value, PATH_MAX, field, why);
  case TYPE_SOCKET:
    return resolve_path(config, value, SF_CONTROL_PATH_MAX, field, why);
  case TYPE_DEVICE:
    return read_device(value, field, why);
  case TYPE_WORD:
    return read_word(key, value, (unsigned *) field, why);
  case TYPE_COUNT:
    r = read_number(key, value, &number, why);
    if (r == 0)
      *(unsigned *) field = (unsigned) number;
    return r;
  case TYPE_DURATION:
  case TYPE_RATE:
    r = read_number(key, value, &number, why);
    if (r == 0)
      *(uint64_t *) field = number;
    return r;
  }
  return r;
}

int
sf_config_key_set(struct sf_config *config, int leg, const struct sf_config_key *key,
                  const char *value, struct sf_why *why) {
  SF_ASSERT(key->of_leg == (leg != SF_CONFIG_VOLUME));
  SF_ASSERT(leg == SF_CONFIG_VOLUME || (leg >= 0 && (unsigned) leg < config->legs));
  int r = read_value(config, leg, key, value, why);
  if (r == 0)
    sf_config_key_note(config, leg, key, SF_CONFIG_SET_LIVE);
  return r;
}

void
sf_config_key_unset(struct sf_config *config, int leg, const struct sf_config_key *key,
                    const struct sf_config *from) {
  const bool is_long = key->type == TYPE_DURATION || key->type == TYPE_RATE;
  const char *as = (key->of_leg ? (const char *) &from->leg[0] : (const char *) from) + key->offset;
  char *field = (key->of_leg ? (char *) &config->leg[leg] : (char *) config) + key->offset;
  SF_ASSERT(is_long || key->type == TYPE_COUNT || key->type == TYPE_WORD);
  memcpy(field, as, is_long ? sizeof(uint64_t) : sizeof(unsigned));
  sf_config_key_note(config, leg, key, SF_CONFIG_DEFAULT);
}

int
sf_config_key_check(const struct sf_config *config, int leg, const struct sf_config_key *key,
                    struct sf_why *why) {
  const char *field =
      (key->of_leg ? (const char *) &config->leg[leg] : (const char *) config) + key->offset;
  switch (key->type) {
  case TYPE_NAME:
    if (*field == '\0')
      return sf_why(why, -EINVAL, "is missing");
    if (!sf_value_is_name(field, key->max))
      return sf_why(why, -EINVAL, "is not a name: 1 to %zu of A-Z a-z 0-9 _ -", (size_t) key->max);
    return 0;
  case TYPE_PATH:
  case TYPE_SOCKET:
    if (*field == '\0' && key->zero)
      return 0;
    if (*field == '\0')
      return sf_why(why, -EINVAL, "is missing");
    if (*field != '/')
      return sf_why(why, -EINVAL, "\"%.*s\" must be an absolute path", SHOWN_CHARS_MAX, field);
    return 0;
  case TYPE_DEVICE:
    return *field == '\0' || is_device(field)
               ? 0
               : sf_why(why, -EINVAL, "\"%s\" is not an NBD device such as /dev/nbd0", field);
  case TYPE_WORD:
    return 0;
  case TYPE_COUNT:
    return check_number(key, *(const unsigned *) field, why);
  case TYPE_DURATION:
    /* A leg without a timeout of its own has 0. */
    if (key->of_leg && *(const uint64_t *) field == 0)
      return 0;
    if (key->automatic && *(const uint64_t *) field == SF_CONFIG_AUTO)
      return 0;
    return check_number(key, *(const uint64_t *) field, why);
  case TYPE_RATE:
    return check_number(key, *(const uint64_t *) field, why);
  }
  return -EINVAL;
}

static void
write_value(const struct sf_config *config, int leg, const struct sf_config_key *key, bool zero,
            char text[PATH_MAX]) {
  const char *field =
      (key->of_leg ? (const char *) &config->leg[leg] : (const char *) config) + key->offset;
  uint64_t number = 0;
  text[0] = '\0';
  switch (key->type) {
  case TYPE_NAME:
  case TYPE_PATH:
  case TYPE_SOCKET:
  case TYPE_DEVICE:
    snprintf(text, PATH_MAX, "%s", field);
    return;
  case TYPE_WORD:
    snprintf(text, PATH_MAX, "%s", key->word[*(const unsigned *) field != 0]);
    return;
  case TYPE_COUNT:
    number = *(const unsigned *) field;
    break;
  case TYPE_DURATION:
  case TYPE_RATE:
    number = *(const uint64_t *) field;
    break;
  }
  if (number == SF_CONFIG_AUTO && key->automatic)
    snprintf(text, PATH_MAX, "auto");
  else if (number != 0 || zero)
    write_number(key->type, number, text);
}

void
sf_config_key_text(const struct sf_config *config, int leg, const struct sf_config_key *key,
                   char text[PATH_MAX]) {
  /* A leg's timeout of 0 means that it is not set; a rate of 0 is a value. */
  write_value(config, leg, key, key->type == TYPE_RATE, text);
}

void
sf_config_key_written(const struct sf_config *config, int leg, const struct sf_config_key *key,
                      char text[PATH_MAX]) {
  write_value(config, leg, key, true, text);
}

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <surefoot/config.h>

#include "base/assert.h"
#include "base/units.h"
#include "config/keys.h"
#include "config/value.h"

#define DEVICE_MARGIN_NS (2 * SF_S)

void
sf_config_init(struct sf_config *config) {
  *config = (struct sf_config){
      .deadline_ns = {SF_CONFIG_AUTO, SF_CONFIG_AUTO, SF_CONFIG_AUTO},
      .fail_timeout_ns = 30 * SF_S,
      .on_too_few = SF_TOO_FEW_ERROR,
      .slow_leg = SF_SLOW_WAIT,
      .device_door = SF_DEVICE_DOOR_FAST,
      .slow_factor = 4,
      .max_read_errors = 20,
      .wait_for_legs_ns = 30 * SF_S,
      .resync_min_rate = UINT64_C(4) << 20,
      .intent_delay_ns = 5 * SF_S,
      .hot_extents = 8192,
      .threads = 64,
      .device_dead_timeout_ns = 60 * SF_S,
      .spare_after_ns = 600 * SF_S,
  };
}

void
sf_config_error(char error[SF_CONFIG_ERROR_MAX], const char *format, ...) {
  va_list args;
  va_start(args, format);
  vsnprintf(error, SF_CONFIG_ERROR_MAX, format, args);
  va_end(args);
  for (char *c = error; *c; c++)
    if ((unsigned char) *c < ' ' || *c == 0x7f)
      *c = '?';
}

/* ---- one setting ---- */

static int
find_leg(const struct sf_config *config, const char *name, size_t len) {
  for (unsigned i = 0; i < config->legs; i++)
    if (strlen(config->leg[i].name) == len && memcmp(config->leg[i].name, name, len) == 0)
      return (int) i;
  return -1;
}

int
sf_config_find_leg(const struct sf_config *config, const char *name) {
  return find_leg(config, name, strlen(name));
}

/* "leg.NAME.KEY" into NAME (not terminated) and KEY; false: it does not have this shape. */
static bool
split_leg_key(const char *key, const char **name, size_t *name_len, const char **rest) {
  if (strncmp(key, "leg.", 4) != 0)
    return false;
  const char *dot = strchr(key + 4, '.');
  if (dot == NULL)
    return false;
  *name = key + 4;
  *name_len = (size_t) (dot - *name);
  *rest = dot + 1;
  return true;
}

/* "default", for a key that may be set while it runs: a change is to have a way back. */
static int
set(struct sf_config *config, int leg, const struct sf_config_key *key, const char *value,
    struct sf_why *why) {
  struct sf_config *fresh;
  if (!sf_config_key_is_live(key) || strcmp(value, "default") != 0)
    return sf_config_key_set(config, leg, key, value, why);
  fresh = malloc(sizeof *fresh);
  if (fresh == NULL)
    return sf_why(why, -ENOMEM, "out of memory");
  sf_config_init(fresh);
  sf_config_key_unset(config, leg, key, fresh);
  free(fresh);
  return 0;
}

int
sf_config_set(struct sf_config *config, const char *key, const char *value,
              char error[SF_CONFIG_ERROR_MAX]) {
  const char *leg_name = "", *name = key;
  size_t leg_name_len = 0;
  int leg = SF_CONFIG_VOLUME;
  bool of_leg = split_leg_key(key, &leg_name, &leg_name_len, &name);
  if (of_leg) {
    leg = find_leg(config, leg_name, leg_name_len);
    if (leg < 0) {
      sf_config_error(error, "%s: there is no leg \"%.*s\"", key, (int) leg_name_len, leg_name);
      return -EINVAL;
    }
  }

  struct sf_why why;
  const struct sf_config_key *found = sf_config_key_find(name, of_leg, &why);
  int r = found ? set(config, leg, found, value, &why) : -EINVAL;
  if (r < 0)
    sf_config_error(error, "%s: %s", key, why.text);
  return r;
}

static void
remove_leg(struct sf_config *config, unsigned leg) {
  config->legs--;
  memmove(&config->leg[leg], &config->leg[leg + 1], (config->legs - leg) * sizeof config->leg[0]);
}

int
sf_config_set_leg(struct sf_config *config, const char *name, const char *path) {
  const struct sf_config_key *min_legs = sf_config_key_find("min_legs", false, NULL);
  int leg = sf_config_find_leg(config, name), r = 0;
  bool is_new = leg < 0;
  if (!*path && is_new)
    return 0;
  if (!*path) {
    remove_leg(config, (unsigned) leg);
  } else {
    if (!sf_value_is_name(name, SF_LEG_NAME_MAX - 1) || !sf_config_value_fits_line(path))
      return -EINVAL;
    if (is_new && config->legs == SF_LEGS_MAX)
      return -ENOSPC;
    if (is_new) {
      leg = (int) config->legs++;
      config->leg[leg] = (struct sf_config_leg){0};
      memcpy(config->leg[leg].name, name, strlen(name) + 1);
    }
    r = sf_config_key_set(config, leg, sf_config_key_find("path", true, NULL), path, NULL);
    if (r < 0 && is_new)
      remove_leg(config, (unsigned) leg);
  }
  if (r == 0 && config->min_legs != 0 &&
      sf_config_key_set_at(config, SF_CONFIG_VOLUME, min_legs) == SF_CONFIG_DEFAULT)
    sf_config_key_note(config, SF_CONFIG_VOLUME, min_legs, SF_CONFIG_SET_LIVE);
  return r;
}

static const struct sf_config_key *
find_key(const char *key) {
  const char *leg_name = "", *name = key;
  size_t leg_name_len = 0;
  bool of_leg = split_leg_key(key, &leg_name, &leg_name_len, &name);
  if (of_leg && leg_name_len == 0)
    return NULL;
  return sf_config_key_find(name, of_leg, NULL);
}

bool
sf_config_is_live(const char *key) {
  const struct sf_config_key *found = find_key(key);
  return found && sf_config_key_is_live(found);
}

bool
sf_config_is_of_daemon(const char *key) {
  const struct sf_config_key *found = find_key(key);
  return found && sf_config_key_is_of_daemon(found);
}

/* ---- the whole ---- */

static int
check_keys(const struct sf_config *config, struct sf_config_place *place, struct sf_why *why) {
  for (int leg = SF_CONFIG_VOLUME; leg < (int) config->legs; leg++)
    for (unsigned i = 0; i < sf_config_keys(); i++) {
      const struct sf_config_key *key = sf_config_key_at(i);
      if (sf_config_key_is_of_leg(key) != (leg != SF_CONFIG_VOLUME))
        continue;
      int r = sf_config_key_check(config, leg, key, why);
      if (r < 0) {
        *place = (struct sf_config_place){leg, key};
        return r;
      }
    }
  return 0;
}

static int
check_legs(const struct sf_config *config, struct sf_config_place *place, struct sf_why *why) {
  for (unsigned i = 0; i < config->legs; i++) {
    const struct sf_config_leg *leg = &config->leg[i];
    place->leg = (int) i;
    place->key = NULL;
    if (!sf_value_is_name(leg->name, SF_LEG_NAME_MAX - 1))
      return sf_why(why, -EINVAL, "\"%s\" is not a name: 1 to %d of A-Z a-z 0-9 _ -", leg->name,
                    SF_LEG_NAME_MAX - 1);
    for (unsigned j = 0; j < i; j++) {
      if (strcmp(leg->name, config->leg[j].name) == 0)
        return sf_why(why, -EINVAL, "another leg has this name");
      if (strcmp(leg->path, config->leg[j].path) == 0) {
        place->key = sf_config_key_find("path", true, NULL);
        return sf_why(why, -EINVAL, "\"%.200s\" is leg %s already", leg->path, config->leg[j].name);
      }
    }
  }
  return 0;
}

/* The kernel drops a server that has not answered within device_timeout, also a healthy server that
 * waits for its legs.  An answer may take fail_timeout, or for ever. */
static int
check_device(const struct sf_config *config, struct sf_config_place *place, struct sf_why *why) {
  char one[SF_VALUE_TEXT_MAX], other[SF_VALUE_TEXT_MAX];
  const struct {
    const char *key;
    uint64_t ns;
  } seconds[] = {{"device_timeout", config->device_timeout_ns},
                 {"device_dead_timeout", config->device_dead_timeout_ns}};

  for (unsigned i = 0; i < 2; i++)
    if (seconds[i].ns % SF_S != 0) {
      place->key = sf_config_key_find(seconds[i].key, false, NULL);
      sf_value_write_duration(seconds[i].ns, one);
      return sf_why(why, -EINVAL, "%s is not a whole number of seconds, as the kernel wants it",
                    one);
    }
  if (config->device_timeout_ns == 0)
    return 0;

  place->key = sf_config_key_find("device_timeout", false, NULL);
  sf_value_write_duration(config->device_timeout_ns, one);
  if (config->on_too_few == SF_TOO_FEW_SUSPEND)
    return sf_why(why, -EINVAL,
                  "with on_too_few = suspend an answer may take for ever, and after %s the kernel "
                  "would drop a healthy server: leave this line out",
                  one);
  sf_value_write_duration(config->fail_timeout_ns, other);
  if (config->device_timeout_ns < config->fail_timeout_ns + DEVICE_MARGIN_NS)
    return sf_why(why, -EINVAL,
                  "%s must be 2s longer than fail_timeout, which is %s: the kernel would drop a "
                  "healthy server that waits for its legs",
                  one, other);
  return 0;
}

/* Between these, as an SSD that answers in 100 us has pauses of tens of milliseconds all the same,
 * and an operator who accepts more than the most should set it.  It begins with times that an
 * ordinary disk, also one that turns, does not exceed while it is healthy: its own speed is known
 * after some tens of requests.  The odd ones are the grace (R4): without it a leg has 50 ms, 500 ms
 * and 2 s, and five times as long for flushes at most. */
static const struct sf_timeout automatic[SF_KINDS] = {
    [SF_READ_KIND] = {62500 * SF_US, 625 * SF_MS, 2500 * SF_MS},
    [SF_WRITE_KIND] = {62500 * SF_US, 625 * SF_MS, 2500 * SF_MS},
    [SF_FLUSH_KIND] = {312500 * SF_US, 2500 * SF_MS, 12500 * SF_MS},
};

static uint64_t
at_most(uint64_t ns, uint64_t most_ns) {
  return ns < most_ns ? ns : most_ns;
}

/* Legs leave at half of fail_timeout at the latest: then others have answered before requests
 * fail. */
static struct sf_timeout
auto_timeout(const struct sf_config *config, enum sf_kind kind) {
  struct sf_timeout t = automatic[kind];
  uint64_t half = config->fail_timeout_ns / 2;

  t.most_ns = half < t.least_ns ? t.least_ns : at_most(t.most_ns, half);
  t.first_ns = at_most(t.first_ns, t.most_ns);
  return t;
}

static const char *const deadline_keys[SF_KINDS] = {"read_deadline", "write_deadline",
                                                    "flush_deadline"};
static const char *const timeout_keys[SF_KINDS] = {"read_timeout", "write_timeout",
                                                   "flush_timeout"};

static int
check_deadlines(const struct sf_config *config, struct sf_config_place *place, struct sf_why *why) {
  char one[SF_VALUE_TEXT_MAX], other[SF_VALUE_TEXT_MAX];

  sf_value_write_duration(config->fail_timeout_ns, other);
  for (unsigned kind = 0; kind < SF_KINDS; kind++) {
    bool is_auto = config->deadline_ns[kind] == SF_CONFIG_AUTO;
    uint64_t least = is_auto ? automatic[kind].least_ns : config->deadline_ns[kind];

    if (config->fail_timeout_ns < least) {
      place->key = sf_config_key_find("fail_timeout", false, NULL);
      sf_value_write_duration(least, one);
      return sf_why(why, -EINVAL, "%s is shorter than %s, which is %s%s", other,
                    deadline_keys[kind], is_auto ? "auto and at least " : "", one);
    }
    for (unsigned i = 0; is_auto && i < config->legs; i++)
      if (config->leg[i].timeout_ns[kind] > config->fail_timeout_ns &&
          config->leg[i].timeout_ns[kind] != SF_CONFIG_AUTO) {
        *place =
            (struct sf_config_place){(int) i, sf_config_key_find(timeout_keys[kind], true, NULL)};
        sf_value_write_duration(config->leg[i].timeout_ns[kind], one);
        return sf_why(why, -EINVAL, "%s is longer than fail_timeout, which is %s", one, other);
      }
  }
  return 0;
}

static int
check_relations(const struct sf_config *config, struct sf_config_place *place, struct sf_why *why) {
  char one[SF_VALUE_TEXT_MAX], other[SF_VALUE_TEXT_MAX];

  place->leg = SF_CONFIG_VOLUME;
  if (config->min_legs > config->legs) {
    place->key = sf_config_key_find("min_legs", false, NULL);
    return sf_why(why, -EINVAL, "%u is too much: the volume has %u leg%s", config->min_legs,
                  config->legs, config->legs == 1 ? "" : "s");
  }

  int r = check_deadlines(config, place, why);
  if (r == 0)
    r = check_device(config, place, why);
  if (r < 0)
    return r;

  if (config->resync_max_rate != 0 && config->resync_max_rate < config->resync_min_rate) {
    place->key = sf_config_key_find("resync_max_rate", false, NULL);
    sf_value_write_size(config->resync_max_rate, one);
    sf_value_write_size(config->resync_min_rate, other);
    return sf_why(why, -EINVAL, "%s is below resync_min_rate, which is %s", one, other);
  }
  return 0;
}

int
sf_config_finish(struct sf_config *config, struct sf_config_place *place, struct sf_why *why) {
  *place = (struct sf_config_place){SF_CONFIG_VOLUME, NULL};
  if (config->legs == 0)
    return sf_why(why, -EINVAL, "the volume has no leg: a [leg X] section is needed");
  if (config->legs > SF_LEGS_MAX)
    return sf_why(why, -EINVAL, "the volume has %u legs: at most %d are taken", config->legs,
                  SF_LEGS_MAX);

  /* With two legs a majority would be both, and one stumbling leg would stop the volume. */
  unsigned min_legs = config->min_legs;
  if (min_legs == 0)
    config->min_legs = config->legs <= 2 ? 1 : config->legs / 2 + 1;

  int r = check_keys(config, place, why);
  if (r == 0)
    r = check_legs(config, place, why);
  if (r == 0)
    r = check_relations(config, place, why);
  if (r < 0)
    config->min_legs = min_legs;
  return r;
}

int
sf_config_complete(struct sf_config *config, char error[SF_CONFIG_ERROR_MAX]) {
  struct sf_config_place place;
  struct sf_why why;
  int r = sf_config_finish(config, &place, &why);
  if (r == 0)
    return 0;
  const char *key = place.key ? sf_config_key_name(place.key) : NULL;
  if (place.leg >= 0)
    sf_config_error(error, "leg.%s%s%s: %s", config->leg[place.leg].name, key ? "." : "",
                    key ? key : "", why.text);
  else if (key)
    sf_config_error(error, "%s: %s", key, why.text);
  else
    sf_config_error(error, "%s", why.text);
  return r;
}

struct sf_timeout
sf_config_deadline(const struct sf_config *config, enum sf_kind kind) {
  uint64_t ns = config->deadline_ns[kind];

  return ns == SF_CONFIG_AUTO ? auto_timeout(config, kind) : (struct sf_timeout){ns, ns, ns};
}

struct sf_timeout
sf_config_timeout_range(const struct sf_config *config, unsigned leg, enum sf_kind kind) {
  SF_ASSERT(leg < config->legs);
  SF_ASSERT(kind < SF_KINDS);
  uint64_t deadline_ns = config->deadline_ns[kind];
  uint64_t own_ns = config->leg[leg].timeout_ns[kind], fixed_ns = 0;

  if (deadline_ns != SF_CONFIG_AUTO)
    fixed_ns = deadline_ns;
  if (own_ns != 0 && own_ns != SF_CONFIG_AUTO && (fixed_ns == 0 || own_ns < fixed_ns))
    fixed_ns = own_ns;
  if (own_ns != SF_CONFIG_AUTO && fixed_ns != 0)
    return (struct sf_timeout){fixed_ns, fixed_ns, fixed_ns};
  struct sf_timeout t = auto_timeout(config, kind);
  if (fixed_ns != 0) {
    t.most_ns = at_most(t.most_ns, fixed_ns);
    t.first_ns = at_most(t.first_ns, fixed_ns);
    t.least_ns = at_most(t.least_ns, fixed_ns);
  }
  return t;
}

uint64_t
sf_config_timeout(const struct sf_config *config, unsigned leg, enum sf_kind kind) {
  return sf_config_timeout_range(config, leg, kind).most_ns;
}

uint32_t
sf_config_timeout_set_at(const struct sf_config *config, unsigned leg, enum sf_kind kind) {
  uint64_t own_ns = config->leg[leg].timeout_ns[kind], deadline_ns = config->deadline_ns[kind];
  bool is_own = own_ns != 0 && (own_ns < deadline_ns || own_ns == SF_CONFIG_AUTO);

  if (is_own)
    return sf_config_key_set_at(config, (int) leg,
                                sf_config_key_find(timeout_keys[kind], true, NULL));
  return sf_config_key_set_at(config, SF_CONFIG_VOLUME,
                              sf_config_key_find(deadline_keys[kind], false, NULL));
}

uint64_t
sf_config_deadline_most(const struct sf_config *config, enum sf_kind kind) {
  uint64_t most = 0;

  for (unsigned i = 0; i < config->legs; i++) {
    uint64_t ns = sf_config_timeout(config, i, kind);

    most = ns > most ? ns : most;
  }
  return most;
}

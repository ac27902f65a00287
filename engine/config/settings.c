/* The settings in force, and where each comes from. */
#include <stdio.h>
#include <string.h>

#include <surefoot/config.h>

#include "config/keys.h"

static const char *
source_name(uint32_t set_at) {
  switch (set_at) {
  case SF_CONFIG_DEFAULT:
    return "default";
  case SF_CONFIG_SET_LIVE:
    return "set";
  case SF_CONFIG_PARAMETER:
    return "parameter";
  default:
    return "file";
  }
}

/* "write_timeout" -> "write_deadline" */
static const struct sf_config_key *
volume_deadline(const struct sf_config_key *key) {
  char name[64];
  const char *timeout = sf_config_key_name(key), *end = strstr(timeout, "_timeout");

  if (!sf_config_key_is_of_leg(key) || end == NULL)
    return NULL;
  snprintf(name, sizeof name, "%.*s_deadline", (int) (end - timeout), timeout);
  return sf_config_key_find(name, false, NULL);
}

static void
tell(const struct sf_config *config, int leg, const struct sf_config_key *key,
     sf_config_setting_fn *setting, void *ctx) {
  char name[SF_LEG_NAME_MAX + 64], value[PATH_MAX];
  uint32_t set_at = sf_config_key_set_at(config, leg, key);
  const char *source = source_name(set_at);
  const struct sf_config_key *deadline = set_at == SF_CONFIG_DEFAULT ? volume_deadline(key) : NULL;

  if (leg == SF_CONFIG_VOLUME)
    snprintf(name, sizeof name, "%s", sf_config_key_name(key));
  else
    snprintf(name, sizeof name, "leg.%s.%s", config->leg[leg].name, sf_config_key_name(key));
  if (deadline)
    sf_config_key_written(config, SF_CONFIG_VOLUME, deadline, value);
  else
    sf_config_key_written(config, leg, key, value);
  if (strcmp(value, "0ns") == 0)
    snprintf(value, sizeof value, "0s");
  /* min_legs and a leg's path have no default: they follow from the legs, or came with one.  An
   * automatic value is "auto" wherever it was set. */
  if ((set_at == SF_CONFIG_DEFAULT && strcmp(name, "min_legs") == 0) || strcmp(value, "auto") == 0)
    source = "auto";
  if (set_at == SF_CONFIG_DEFAULT && strcmp(sf_config_key_name(key), "path") == 0)
    source = "set";
  setting(ctx, name, value[0] ? value : NULL, source);
}

void
sf_config_each(const struct sf_config *config, sf_config_setting_fn *setting, void *ctx) {
  for (int leg = SF_CONFIG_VOLUME; leg < (int) config->legs; leg++) {
    if (leg != SF_CONFIG_VOLUME && config->leg[leg].name[0] == '\0')
      continue; /* an empty place */
    for (unsigned i = 0; i < sf_config_keys(); i++) {
      const struct sf_config_key *key = sf_config_key_at(i);

      if (sf_config_key_is_of_leg(key) == (leg != SF_CONFIG_VOLUME))
        tell(config, leg, key, setting, ctx);
    }
  }
}

static void
mark(uint32_t set_at[SF_CONFIG_KEYS]) {
  for (unsigned i = 0; i < SF_CONFIG_KEYS; i++)
    if (set_at[i] == SF_CONFIG_SET_LIVE)
      set_at[i] = SF_CONFIG_PARAMETER;
}

void
sf_config_mark_parameters(struct sf_config *config) {
  mark(config->set_at);
  for (unsigned i = 0; i < config->legs; i++)
    mark(config->leg[i].set_at);
}

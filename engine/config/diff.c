/* What differs between two configurations of one volume. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <surefoot/config.h>

#include "config/keys.h"

int
sf_config_diff(const struct sf_config *from, const struct sf_config *to,
               bool (*change)(void *ctx, const char *key, const char *from, const char *to),
               void *ctx) {
  char name[SF_LEG_NAME_MAX + 64], before[PATH_MAX], after[PATH_MAX];
  unsigned in_both = 0;
  for (int leg = SF_CONFIG_VOLUME; leg < (int) from->legs; leg++) {
    int other = leg == SF_CONFIG_VOLUME ? leg : sf_config_find_leg(to, from->leg[leg].name);
    if (leg != SF_CONFIG_VOLUME && other < 0)
      continue;
    in_both += leg != SF_CONFIG_VOLUME;
    for (unsigned i = 0; i < sf_config_keys(); i++) {
      const struct sf_config_key *key = sf_config_key_at(i);
      if (sf_config_key_is_of_leg(key) != (leg != SF_CONFIG_VOLUME))
        continue;
      sf_config_key_text(from, leg, key, before);
      sf_config_key_text(to, other, key, after);
      if (strcmp(before, after) == 0)
        continue;
      if (leg == SF_CONFIG_VOLUME)
        snprintf(name, sizeof name, "%s", sf_config_key_name(key));
      else
        snprintf(name, sizeof name, "leg.%s.%s", from->leg[leg].name, sf_config_key_name(key));
      if (!change(ctx, name, before, after))
        return 0;
    }
  }
  return in_both == from->legs && in_both == to->legs ? 0 : -ENOTUNIQ;
}

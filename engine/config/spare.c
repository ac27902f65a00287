/* [spare NAME] sections: disks that surefootd may put in the place of a leg.  They are no settings
 * of the volume, and nothing else looks at them. */
#include <errno.h>
#include <string.h>

#include <surefoot/config.h>

#include "config/keys.h"

static const char *const words[] = {"no", "yes"};

static int
set_path(const struct sf_config *config, char path[PATH_MAX], const char *value,
         struct sf_why *why) {
  char resolved[PATH_MAX];
  int r;
  if (path[0])
    return sf_why(why, -EINVAL, "is set already");
  if (!sf_config_value_fits_line(value))
    return sf_why(why, -EINVAL, "has no value");
  r = sf_config_resolve_path(config, value, resolved, why);
  if (r == 0)
    memcpy(path, resolved, sizeof resolved);
  return r;
}

int
sf_config_spare_set(struct sf_config *config, unsigned index, const char *key, const char *value,
                    struct sf_why *why) {
  struct sf_config_spare *spare = &config->spare[index];
  if (strcmp(key, "path") == 0)
    return set_path(config, spare->path, value, why);
  if (strcmp(key, "instead_of") == 0)
    return set_path(config, spare->instead_of, value, why);
  if (strcmp(key, "shared") != 0)
    return sf_why(why, -EINVAL, "unknown key; known are path shared instead_of");
  if (spare->shared_is_said)
    return sf_why(why, -EINVAL, "is set already");
  for (unsigned i = 0; i < 2; i++)
    if (strcmp(value, words[i]) == 0) {
      spare->shared = i == 1;
      spare->shared_is_said = true;
      return 0;
    }
  return sf_why(why, -EINVAL, "\"%.100s\" is neither no nor yes", value);
}

int
sf_config_spares_check(const struct sf_config *config, struct sf_why *why) {
  for (unsigned i = 0; i < config->spares; i++) {
    const struct sf_config_spare *spare = &config->spare[i];
    if (!spare->path[0])
      return sf_why(why, -EINVAL, "[spare %s] path: is missing", spare->name);
    for (unsigned j = 0; j < i; j++)
      if (strcmp(spare->path, config->spare[j].path) == 0)
        return sf_why(why, -EINVAL, "[spare %s] path: \"%.200s\" is spare %s already", spare->name,
                      spare->path, config->spare[j].name);
  }
  return 0;
}

int
sf_config_find_spare(const struct sf_config *config, const char *name) {
  for (unsigned i = 0; i < config->spares; i++)
    if (strcmp(config->spare[i].name, name) == 0)
      return (int) i;
  return -1;
}

static int
write_one(FILE *stream, const char *key, const char *value, char error[SF_CONFIG_ERROR_MAX]) {
  if (!sf_config_value_fits_line(value)) {
    sf_config_error(error, "%s: no file can say \"%.200s\"", key, value);
    return -EINVAL;
  }
  fprintf(stream, "%s = %s\n", key, value);
  return 0;
}

int
sf_config_spares_write(FILE *stream, const struct sf_config *config,
                       char error[SF_CONFIG_ERROR_MAX]) {
  int r = 0;
  for (unsigned i = 0; i < config->spares && r == 0; i++) {
    const struct sf_config_spare *spare = &config->spare[i];
    fprintf(stream, "[spare %s]\n", spare->name);
    r = write_one(stream, "path", spare->path, error);
    if (r == 0 && spare->shared)
      r = write_one(stream, "shared", words[1], error);
    if (r == 0 && spare->instead_of[0])
      r = write_one(stream, "instead_of", spare->instead_of, error);
  }
  return r;
}

#include "params.h"

#include <stdlib.h>
#include <string.h>

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

const char sf_params_help[] =
    "[config=]FILE             (required) the volume's INI file\n"
    "control=PATH              Unix socket for surefootctl\n"
    "fast_socket=PATH          Unix socket for NBD clients, beside nbdkit's and faster\n"
    "force=true                start although newer data may be on an absent leg\n"
    "force_with=LEG[,LEG...]   the same with these legs alone, each of which must be there\n"
    "take=true                 start although another host has the legs: it must not run any more\n"
    "\n"
    "These win over the file, wherever they stand (durations: ns, us, ms, s, m, h; sizes: K, M, G, "
    "T):\n"
    "write_deadline=TIME|auto  read_deadline, flush_deadline: when a request stops waiting\n"
    "fail_timeout=TIME         when a request fails for want of legs\n"
    "on_too_few=error|suspend  what a request does then\n"
    "slow_leg=wait|leave       what becomes of a leg that alone holds clients back\n"
    "slow_factor=N             by so many times\n"
    "max_read_errors=N         a leg with more of them in an hour is faulty\n"
    "min_legs=N                an acknowledgement needs so many legs\n"
    "wait_for_legs=TIME        how long a start waits for the legs that it needs\n"
    "resync_min_rate=SIZE      resync_max_rate: bytes per second of catching up\n"
    "intent_delay=TIME         when an extent may leave the map of what a crash makes unsure\n"
    "hot_extents=N             so many extents stay in it\n"
    "leg.NAME.write_timeout=TIME\n"
    "                          read_timeout, flush_timeout, path: of one leg";

static int
add_file(struct sf_params *params, const char *value) {
  if (params->file) {
    nbdkit_error("config: given twice; one nbdkit serves one volume");
    return -1;
  }
  if (value[0] == '\0') {
    nbdkit_error("config: the name of the volume's file is empty");
    return -1;
  }
  params->file = nbdkit_absolute_path(value);
  return params->file ? 0 : -1;
}

/* Once each. */
static int
add_flag(const char *key, const char *value, bool *flag, bool *given) {
  int is_set;

  if (*given) {
    nbdkit_error("%s: given twice", key);
    return -1;
  }
  is_set = nbdkit_parse_bool(value);
  if (is_set == -1)
    return -1;
  *flag = is_set;
  *given = true;
  return 0;
}

/* Once.  Whether the volume has these legs is seen where they are looked for. */
static int
add_force_with(struct sf_params *params, const char *value) {
  if (params->force_with || value[0] == '\0') {
    nbdkit_error("force_with: %s", params->force_with ? "given twice" : "names no leg");
    return -1;
  }
  params->force_with = value;
  return 0;
}

int
sf_params_add(struct sf_params *params, const char *key, const char *value) {
  if (strcmp(key, "config") == 0)
    return add_file(params, value);
  if (strcmp(key, "force") == 0)
    return add_flag(key, value, &params->force, &params->force_given);
  if (strcmp(key, "take") == 0)
    return add_flag(key, value, &params->take, &params->take_given);
  if (strcmp(key, "force_with") == 0)
    return add_force_with(params, value);

  for (unsigned i = 0; i < params->settings; i++)
    if (strcmp(params->setting[i].key, key) == 0) {
      nbdkit_error("%s: given twice", key);
      return -1;
    }
  if (params->settings == SF_PARAMS_MAX) {
    nbdkit_error("%s: more than %d parameters", key, SF_PARAMS_MAX);
    return -1;
  }
  params->setting[params->settings].key = key;
  params->setting[params->settings].value = value;
  params->settings++;
  return 0;
}

static bool
names_a_path(const char *key) {
  const char *last = strrchr(key, '.');
  return strcmp(key, "control") == 0 || strcmp(key, "fast_socket") == 0 ||
         (last && strcmp(last, ".path") == 0);
}

/* A path on the command line starts from where the command stands; one in the file, from the
 * file's folder. */
static int
apply(struct sf_config *config, const char *key, const char *value) {
  char error[SF_CONFIG_ERROR_MAX] = "";
  char *absolute = NULL;

  if (sf_config_is_of_daemon(key)) {
    nbdkit_error("parameter %s: is surefootd's, and belongs in the file", key);
    return -1;
  }
  if (names_a_path(key) && value[0] != '\0') {
    absolute = nbdkit_absolute_path(value);
    if (absolute == NULL)
      return -1;
  }
  int r = sf_config_set(config, key, absolute ? absolute : value, error);
  free(absolute);
  if (r != 0)
    nbdkit_error("parameter %s", error);
  return r == 0 ? 0 : -1;
}

int
sf_params_finish(const struct sf_params *params, struct sf_config *config) {
  char error[SF_CONFIG_ERROR_MAX] = "";

  if (params->file == NULL) {
    nbdkit_error("which volume?  Give its file: nbdkit surefoot CONF");
    return -1;
  }
  sf_config_init(config);
  if (sf_config_load(config, params->file, error) != 0) {
    nbdkit_error("%s", error);
    return -1;
  }
  for (unsigned i = 0; i < params->settings; i++)
    if (apply(config, params->setting[i].key, params->setting[i].value) == -1)
      return -1;
  sf_config_mark_parameters(config);
  if (sf_config_complete(config, error) != 0) {
    nbdkit_error("%s", error);
    return -1;
  }
  return 0;
}

void
sf_params_free(struct sf_params *params) {
  free(params->file);
  params->file = NULL;
}

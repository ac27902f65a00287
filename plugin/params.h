/* The plugin's command line: gathered while nbdkit hands it over, understood at the end, so that a
 * parameter wins over the file wherever it stands. */
#ifndef SF_PLUGIN_PARAMS_H
#define SF_PLUGIN_PARAMS_H

#include <stdbool.h>

#include <surefoot/config.h>

enum { SF_PARAMS_MAX = 256 };

struct sf_params {
  char *file; /* absolute; NULL until config= came */
  bool force, force_given;
  bool take, take_given;
  const char *force_with; /* nbdkit's own; NULL: not given */
  unsigned settings;
  struct {
    const char *key, *value; /* nbdkit's own strings: they stay valid */
  } setting[SF_PARAMS_MAX];
};

extern const char sf_params_help[];

/* One key=value.  0, or -1 with the reason told through nbdkit_error. */
int sf_params_add(struct sf_params *params, const char *key, const char *value);

/* Reads the file, lays the settings over it and checks the whole.  Every path is absolute then:
 * nbdkit goes to / when it starts, and legs are opened again later.  0, or -1 as above. */
int sf_params_finish(const struct sf_params *params, struct sf_config *config);

void sf_params_free(struct sf_params *params);

#endif

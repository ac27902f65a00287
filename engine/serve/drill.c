/* What the control socket asks about drills.  In the control server's thread. */
#include "serve/internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static int
begin(struct sf_serve *serve, const char *name, const char *duration,
      char error[SF_CONFIG_ERROR_MAX]) {
  int leg = sf_volume_find_leg(serve->volume, name);
  uint64_t ns = 0;
  int r;

  if (leg < 0) {
    snprintf(error, SF_CONFIG_ERROR_MAX, "volume %s has no leg %s", serve->config.name, name);
    return -ENOENT;
  }
  if (sf_parse_duration(duration, &ns) < 0 || ns == 0 || ns > SF_DRILL_MOST_NS) {
    snprintf(error, SF_CONFIG_ERROR_MAX,
             "%.64s: a drill may last from 1ms to %" PRIu64 "s (for example 10s)", duration,
             SF_DRILL_MOST_NS / 1000000000);
    return -EINVAL;
  }
  r = sf_volume_drill(serve->volume, (unsigned) leg, ns, sf_tio_now());
  if (r == -EALREADY)
    snprintf(error, SF_CONFIG_ERROR_MAX, "a drill is under way");
  else if (r == -ENOTCONN)
    snprintf(error, SF_CONFIG_ERROR_MAX,
             "a drill needs a healthy volume: `surefootctl status` shows which leg is not well");
  else if (r == -EBUSY)
    snprintf(error, SF_CONFIG_ERROR_MAX,
             "leg %s is needed: fewer than min_legs would stay in sync without it", name);
  return r;
}

int
sf_serve_drill(void *ctx, const char *action, const char *leg, const char *duration,
               char error[SF_CONFIG_ERROR_MAX]) {
  struct sf_serve *serve = ctx;
  int r;

  if (strcmp(action, "start") == 0)
    return begin(serve, leg, duration, error);
  r = sf_volume_drill_cancel(serve->volume, sf_tio_now());
  if (r == -ENOENT)
    snprintf(error, SF_CONFIG_ERROR_MAX, "no drill is under way");
  return r;
}

/* What the control socket asks of a volume that runs.  In the control server's thread. */
#include "serve/internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static int
on_status(void *ctx, struct sf_volume_status *status) {
  struct sf_serve *serve = ctx;

  struct timespec wall;

  sf_volume_status(serve->volume, sf_tio_now(), status);
  clock_gettime(CLOCK_REALTIME, &wall);
  status->wall_ns = (int64_t) wall.tv_sec * 1000000000 + wall.tv_nsec;
  sf_serve_watch_note(serve, status);
  return 0;
}

static void
on_config(void *ctx, struct sf_config *config) {
  struct sf_serve *serve = ctx;

  sf_volume_get_config(serve->volume, config);
}

/* Empty places and legs that the file does not list are nothing to check. */
static int
check_listed(const struct sf_config *config, char error[SF_CONFIG_ERROR_MAX]) {
  struct sf_config listed = *config;

  listed.legs = 0;
  for (unsigned i = 0; i < config->legs; i++)
    if (config->leg[i].path[0] != '\0')
      listed.leg[listed.legs++] = config->leg[i];
  if (listed.min_legs > listed.legs)
    listed.min_legs = listed.legs;
  return sf_config_complete(&listed, error);
}

static int
on_set(void *ctx, const char *key, const char *value, char error[SF_CONFIG_ERROR_MAX]) {
  struct sf_serve *serve = ctx;
  struct sf_config config;
  int r;

  sf_volume_get_config(serve->volume, &config);
  r = sf_config_set(&config, key, value, error);
  if (r < 0)
    return r;
  if (!sf_config_is_live(key)) {
    snprintf(error, SF_CONFIG_ERROR_MAX, "%s: cannot be changed while the volume runs", key);
    return -EPERM;
  }
  r = check_listed(&config, error);
  if (r < 0)
    return r;
  r = sf_volume_configure(serve->volume, &config, sf_tio_now());
  if (r < 0)
    snprintf(error, SF_CONFIG_ERROR_MAX, "%s: %s", key, strerror(-r));
  else
    sf_serve_log(serve, "set %s = %s", key, value);
  if (r == 0)
    sf_serve_take_settings(serve, &config);
  return r;
}

/* An opening that hangs is over a moment after it was given up. */
static int
discard(struct sf_serve *serve, unsigned leg) {
  const struct timespec pause = {.tv_nsec = 50000000};
  int r = sf_volume_leg_discard(serve->volume, leg, sf_tio_now());

  if (r == -EBUSY && sf_serve_give_up_opening(serve, leg))
    for (unsigned i = 0; i < 20 && r == -EBUSY; i++) {
      nanosleep(&pause, NULL);
      r = sf_volume_leg_discard(serve->volume, leg, sf_tio_now());
    }
  return r;
}

static int
on_leg(void *ctx, const char *action, const char *name, const char *path,
       char error[SF_CONFIG_ERROR_MAX]) {
  struct sf_serve *serve = ctx;
  int leg, r;
  uint64_t now = sf_tio_now();

  if (strcmp(action, "add") == 0)
    return sf_serve_leg_add(serve, name, path, error);
  leg = sf_volume_find_leg(serve->volume, name);
  if (leg < 0) {
    snprintf(error, SF_CONFIG_ERROR_MAX, "volume %s has no leg %s", serve->config.name, name);
    return -ENOENT;
  }
  if (strcmp(action, "fail") == 0) {
    r = sf_volume_leg_fail(serve->volume, (unsigned) leg, now);
    if (r == -EBUSY)
      snprintf(error, SF_CONFIG_ERROR_MAX,
               "leg %s is needed: fewer than min_legs would stay in sync without it, or the volume "
               "is only starting",
               name);
  } else if (strcmp(action, "return") == 0) {
    (void) sf_serve_give_up_opening(serve, (unsigned) leg);
    r = sf_volume_leg_return(serve->volume, (unsigned) leg, now);
    if (r == -EBUSY)
      snprintf(error, SF_CONFIG_ERROR_MAX,
               "leg %s still has requests in the kernel; it can return when they have ended", name);
  } else if (strcmp(action, "discard") == 0) {
    r = discard(serve, (unsigned) leg);
    if (r == -EBUSY)
      snprintf(
          error, SF_CONFIG_ERROR_MAX,
          "leg %s is in use: `leg fail` it first, and wait until its requests have ended; or it "
          "was just looked for: say it again",
          name);
    else if (r == -EAGAIN)
      snprintf(error, SF_CONFIG_ERROR_MAX,
               "the volume is only starting, and may need what leg %s holds until it serves: say "
               "it again then",
               name);
    else if (r == -ESHUTDOWN)
      snprintf(error, SF_CONFIG_ERROR_MAX,
               "the volume stops: `leg discard` it when it serves again, or without it running");
  } else if (strcmp(action, "replace") == 0) {
    r = sf_serve_leg_replace(serve, (unsigned) leg, name, path, error);
  } else if (strcmp(action, "remove") == 0) {
    r = sf_serve_leg_remove(serve, (unsigned) leg, name, error);
  } else {
    snprintf(error, SF_CONFIG_ERROR_MAX,
             "unknown action '%s': fail, return, discard, replace, add or remove", action);
    return -EINVAL;
  }
  return r;
}

static int
on_grow(void *ctx, const char *size, char error[SF_CONFIG_ERROR_MAX]) {
  struct sf_serve *serve = ctx;
  uint64_t bytes = 0;

  if (size != NULL && (sf_parse_size(size, &bytes) < 0 || bytes == 0)) {
    snprintf(error, SF_CONFIG_ERROR_MAX, "%.64s: not a size (for example 10G)", size);
    return -EINVAL;
  }
  return sf_serve_grow(serve, bytes, error);
}

static int
scrub_start(struct sf_serve *serve, bool repair, const char *leg, const char *rate,
            char error[SF_CONFIG_ERROR_MAX]) {
  struct sf_scrub_order order = {.repair = repair, .from = -1};
  int r;

  if (rate != NULL && (sf_parse_size(rate, &order.rate) < 0 || order.rate == 0)) {
    snprintf(error, SF_CONFIG_ERROR_MAX, "%.64s: not a rate (for example 50M, a second)", rate);
    return -EINVAL;
  }
  if (leg != NULL)
    order.from = sf_volume_find_leg(serve->volume, leg);
  if (leg != NULL && order.from < 0) {
    snprintf(error, SF_CONFIG_ERROR_MAX, "volume %s has no leg %s", serve->config.name, leg);
    return -ENOENT;
  }
  r = sf_volume_scrub(serve->volume, &order, sf_tio_now());
  if (r == -EALREADY)
    snprintf(error, SF_CONFIG_ERROR_MAX, "a scrub is under way");
  else if (r == -ENOTCONN)
    snprintf(error, SF_CONFIG_ERROR_MAX, "%s%s", leg != NULL ? leg : "fewer than two legs are",
             leg != NULL ? " is not in sync, or it is alone" : " in sync: nothing to compare");
  else if (r == -EBUSY)
    snprintf(error, SF_CONFIG_ERROR_MAX, "the volume only starts, or the last scrub is ending");
  return r;
}

static int
on_scrub(void *ctx, const char *action, bool repair, const char *leg, const char *rate,
         char error[SF_CONFIG_ERROR_MAX]) {
  struct sf_serve *serve = ctx;
  uint64_t now = sf_tio_now();
  int r;

  if (strcmp(action, "start") == 0)
    return scrub_start(serve, repair, leg, rate, error);
  if (strcmp(action, "cancel") == 0)
    r = sf_volume_scrub_cancel(serve->volume, now);
  else
    r = sf_volume_scrub_pause(serve->volume, strcmp(action, "pause") == 0, now);
  if (r == -ENOENT)
    snprintf(error, SF_CONFIG_ERROR_MAX, "no scrub is under way");
  return r;
}

static int
on_stop(void *ctx, char error[SF_CONFIG_ERROR_MAX]) {
  struct sf_serve *serve = ctx;

  sf_serve_log(serve, "told to stop");
  atomic_store(&serve->stop_asked, true);
  sf_volume_stop(serve->volume, sf_tio_now());
  return 0;
}

int
sf_serve_control_create(struct sf_serve *serve, char error[SF_CONFIG_ERROR_MAX]) {
  const struct sf_control_handlers handlers = {.ctx = serve,
                                               .status = on_status,
                                               .config = on_config,
                                               .set = on_set,
                                               .leg = on_leg,
                                               .grow = on_grow,
                                               .scrub = on_scrub,
                                               .drill = sf_serve_drill,
                                               .stop = on_stop};
  int r;

  if (serve->config.control[0] == '\0')
    return 0;
  r = sf_control_server_create(serve->config.control, serve->config.name, &handlers,
                               &serve->control);
  if (r < 0)
    snprintf(error, SF_CONFIG_ERROR_MAX, "control socket %s: %s", serve->config.control,
             strerror(-r));
  return r;
}

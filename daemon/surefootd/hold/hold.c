#include "hold/hold.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <surefoot/wire.h>

#include "base/writer.h"

#include "common/child.h"
#include "common/clock.h"
#include "common/log.h"
#include "device/device.h"
#include "device/in_use.h"
#include "files/plan.h"
#include "hold/systemd.h"

enum {
  LOOK_MS = 250,
  SETTLE_MS = 2000,        /* udev looks into a device for a moment */
  OPEN_MS = 1000,          /* an open that takes longer says nothing */
  TELL_MS = 10000,         /* a wait of this length is reported */
  UNMOUNT_MS = 120000,     /* more than systemd gives a mount unit */
  SHUTDOWN_MS = 90 * 1000, /* as systemd gives any unit */
  PAUSE_MS = 1000,         /* between two tries to unmount */
};

struct hold {
  struct plan plan;
  char held[320]; /* the device and its user, in words */
  const char *volume;
  bool shutdown;
  int64_t began_ms;
  bool told; /* that it waits */
};

static void
ignore_problem(void *ctx, const char *line) {
}

/* Is it attached with an identifier, as surefootd does it? */
static bool
is_attached(const char *name) {
  char path[PATH_MAX];
  snprintf(path, sizeof path, "%s/%s/pid", sfd_device_sysfs, name);
  if (access(path, F_OK) < 0)
    return false;
  snprintf(path, sizeof path, "%s/%s/backend", sfd_device_sysfs, name);
  return access(path, F_OK) == 0;
}

static bool
is_held(struct hold *hold) {
  for (unsigned i = 0; i < hold->plan.volumes; i++) {
    const struct sf_config *config = &hold->plan.volume[i]->config;
    const char *name = config->device + strlen("/dev/");
    if (!config->device[0] || !is_attached(name))
      continue;
    hold->volume = config->name;
    if (hold->shutdown ? sfd_in_use_at_last(name, hold->held, sizeof hold->held)
                       : sfd_in_use(name, hold->held, sizeof hold->held))
      return true;
    if (hold->shutdown)
      continue;
    char device[SF_DEVICE_PATH_MAX];
    memcpy(device, config->device, sizeof device);
    if (sfd_child_call(sfd_in_use_exclusively, device, OPEN_MS) != -EBUSY)
      continue;
    snprintf(hold->held, sizeof hold->held, "a process that /proc does not show holds %s", name);
    return true;
  }
  return false;
}

/* Nothing tells us that a device was let go. */
static bool
wait_free(struct hold *hold, unsigned timeout_ms) {
  int64_t began = sfd_clock_ms();
  while (is_held(hold)) {
    int64_t now = sfd_clock_ms();
    if (now - began > timeout_ms)
      return false;
    if (now - hold->began_ms > TELL_MS && !hold->told) {
      hold->told = true;
      log_warning(hold->volume, "the stop waits: %s", hold->held);
    }
    nanosleep(&(struct timespec){.tv_nsec = LOOK_MS * 1000000L}, NULL);
  }
  return true;
}

/* One in use goes with its last user. */
static void
detach_loop(const char *name, int64_t until_ms) {
  char path[64];
  const char *const words[] = {"losetup", "-d", path, NULL};
  int64_t left_ms = until_ms - sfd_clock_ms();
  snprintf(path, sizeof path, "/dev/%s", name);
  if (left_ms > 0)
    (void) sfd_child_run(words, NULL, 0, (unsigned) left_ms);
}

/* The last one first, as one may be mounted on another. */
static void
unmount(const struct hold *hold, int64_t until_ms, bool tell) {
  static struct sfd_in_use_list list;
  for (unsigned i = 0; i < hold->plan.volumes; i++) {
    const struct sf_config *config = &hold->plan.volume[i]->config;
    const char *name = config->device + strlen("/dev/");
    if (!config->device[0] || !is_attached(name))
      continue;
    sfd_in_use_list(name, &list);
    for (unsigned k = 0; k < list.loops; k++)
      detach_loop(list.loop[k], until_ms);
    while (list.count-- > 0) {
      const char *unit = list.unit[list.count];
      int64_t left_ms = until_ms - sfd_clock_ms();
      if (tell)
        log_notice(config->name, "%s is ended before the volume: systemd would do it after", unit);
      if (left_ms > 0)
        sfd_systemd_stop_at_once(unit, (unsigned) left_ms);
    }
  }
}

/* Until nothing but us keeps the rest from stopping: what stops now may be writing its last.  Seen twice, as between the
 * end of a job and the begin of the next none runs. */
static bool
wait_for_the_others(struct hold *hold) {
  int64_t until_ms = sfd_clock_ms() + SHUTDOWN_MS;
  for (unsigned seen = 0; seen < 2 && sfd_clock_ms() < until_ms;) {
    seen = sfd_systemd_waits_for_us() ? seen + 1 : 0;
    if (wait_free(hold, PAUSE_MS))
      return true;
  }
  return false;
}

/* A filesystem that was mounted without _netdev counts as local to systemd, which unmounts it after all services, us
 * too: it would wait for us, as we wait for it.  So it is unmounted by our word. */
static void
wait_for_shutdown(struct hold *hold) {
  hold->shutdown = true;
  if (wait_for_the_others(hold))
    return;
  int64_t until_ms = sfd_clock_ms() + UNMOUNT_MS;
  for (bool first = true; sfd_clock_ms() < until_ms; first = false) {
    unmount(hold, until_ms, first);
    if (wait_free(hold, PAUSE_MS))
      return;
  }
  log_error(hold->volume, "%s, and the machine goes down: the volume ends under it", hold->held);
}

static void
refuse(struct hold *hold, const struct systemd_units *units) {
  char text[1024];
  snprintf(text, sizeof text,
           "surefootd is not stopped: %s: %s. Stop it again when that has ended.", hold->volume,
           hold->held);
  log_error(NULL, "%s", text);
  sfd_systemd_call_off(units);
  sfd_systemd_tell_terminals(text);
}

static void
end_in_order(struct hold *hold) {
  struct systemd_units units;
  sfd_systemd_find_dependents(&units);
  if (units.count > 0)
    log_notice(hold->volume, "%s: what requires surefoot.target is stopped first", hold->held);
  if (sfd_systemd_stop_target(TELL_MS) == -ETIMEDOUT && is_held(hold)) {
    char text[1024];
    snprintf(text, sizeof text, "the stop of surefootd waits: %s: %s", hold->volume, hold->held);
    log_warning(NULL, "%s", text);
    sfd_systemd_tell_terminals(text);
    (void) sfd_systemd_stop_target(UNMOUNT_MS); /* it waits for what goes on */
  }
  if (wait_free(hold, SETTLE_MS))
    return;
  if (sfd_systemd_shuts_down()) /* meanwhile */
    wait_for_shutdown(hold);
  else
    refuse(hold, &units);
}

void
sfd_hold_run(const struct settings *settings) {
  static struct hold hold;
  char folder[PATH_MAX];
  if (sf_control_is_abandoned(settings->control))
    return; /* it has crashed, and is to start again */
  (void) sf_writer_begin();
  sfd_log_unit = "surefootd.service";
  hold.began_ms = sfd_clock_ms();
  snprintf(folder, sizeof folder, "%s/volumes", settings->runtime);
  if (sfd_plan_load(folder, settings->runtime, &hold.plan, ignore_problem, NULL) < 0)
    return;
  if (is_held(&hold) && sfd_systemd_is_to_stop()) {
    if (!sfd_systemd_shuts_down())
      end_in_order(&hold);
    else
      wait_for_shutdown(&hold);
  }
  sfd_plan_clear(&hold.plan);
}

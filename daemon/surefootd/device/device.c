#include "device/device.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <surefoot/wire.h>

#include "common/log.h"
#include "device/in_use.h"
#include "device/netlink.h"

#define SECOND_US UINT64_C(1000000)

enum {
  ATTACH_S = 15, /* netlink */
  DETACH_S = 15, /* what a disconnect may take before it is given up */
  /* How often the kernel looks whether a request's server has been replaced: so long may a request
   * wait that a killed server had.  The price: while a volume waits for too few legs, the kernel
   * logs "Possible stuck request" at this pace. */
  LOOK_AGAIN_MS = 2000,
  CONFIRM_MS = 1000, /* after an attach: it is offered once more */
  HANG_UP_MS = 200,  /* for the end of the server itself to be heard of */
  STOP_TRIES = 4,    /* udev looks into a device for a moment, and an unmount takes one */
  STOP_PAUSE_MS = 250,
};

const char *sfd_device_sysfs = "/sys/block";

static const char *const state_name[] = {"none",     "waiting for its server", "attaching",
                                         "attached", "not attached",           "stopping"};

/* ---- in a child: it may block ---- */

static bool
read_sysfs(const struct device *device, const char *name, char *text, int size) {
  char path[PATH_MAX];
  snprintf(path, sizeof path, "%s/nbd%u/%s", sfd_device_sysfs, device->index, name);
  FILE *file = fopen(path, "re");
  if (file == NULL)
    return false;
  bool there = fgets(text, size, file) != NULL;
  fclose(file);
  if (there)
    text[strcspn(text, "\n")] = '\0';
  return there;
}

/* A request keeps the time that was in force when it was sent. */
static int
set_look_again(const struct device *device) {
  char path[PATH_MAX], text[16];
  if (device->timeout_s != 0)
    return 0;
  snprintf(path, sizeof path, "%s/nbd%u/queue/io_timeout", sfd_device_sysfs, device->index);
  int len = snprintf(text, sizeof text, "%d", LOOK_AGAIN_MS);
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  int r = fd < 0 ? -ENODEV : write(fd, text, (size_t) len) != len ? -errno : 0;
  if (fd >= 0)
    close(fd);
  return r;
}

/* To the kernel an attach is a change of a disk that was there all the time, but LVM and others
 * take up added disks only.  A failure leaves them as they were. */
static void
announce(const struct device *device) {
  char path[PATH_MAX];
  snprintf(path, sizeof path, "%s/nbd%u/uevent", sfd_device_sysfs, device->index);
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0)
    return;
  (void) !write(fd, "add", 3);
  close(fd);
}

static struct netlink_device
to_netlink(const struct device *device) {
  return (struct netlink_device){
      .index = device->index,
      .fd = device->connection.fd,
      .size_bytes = device->connection.size_bytes,
      .block_bytes = device->connection.block_bytes,
      .server_flags = device->connection.flags,
      .timeout_s = device->timeout_s,
      .dead_timeout_s = device->dead_timeout_s,
      .identifier = device->identifier,
  };
}

bool
sfd_device_is_ours(const struct device *device) {
  char backend[64];
  return device->identifier[0] && read_sysfs(device, "backend", backend, sizeof backend) &&
         strcmp(backend, device->identifier) == 0;
}

/* What the kernel shows of it. */
static int
check(const struct device *device) {
  char pid[32], size[32];
  struct stat st;
  if (!read_sysfs(device, "pid", pid, sizeof pid) || !sfd_device_is_ours(device))
    return -ENOTCONN;
  if (!read_sysfs(device, "size", size, sizeof size) || strtoull(size, NULL, 10) == 0)
    return -ENOTCONN;
  return stat(device->path, &st) < 0 ? -ENODEV : 0;
}

static int
attach(void *arg) {
  const struct device *device = arg;
  struct netlink_device netlink = to_netlink(device);
  char pid[32];
  bool fresh = !read_sysfs(device, "pid", pid, sizeof pid);
  int r;
  if (fresh)
    r = sfd_netlink_connect(&netlink);
  else if (sfd_device_is_ours(device))
    r = sfd_netlink_reconnect(&netlink);
  else
    r = -EBUSY;
  if (r == 0)
    r = set_look_again(device);
  if (r == 0)
    r = check(device);
  if (r == 0 && fresh)
    announce(device);
  return r;
}

/* Held exclusively, so that it cannot be mounted in between. */
static int
detach(void *arg) {
  const struct device *device = arg;
  struct netlink_device netlink = to_netlink(device);
  if (!sfd_device_is_ours(device))
    return 0;
  int fd = open(device->path, O_RDONLY | O_EXCL | O_CLOEXEC);
  if (fd < 0)
    return -errno;
  int r = sfd_netlink_disconnect(&netlink);
  close(fd);
  return r;
}

/* Requests that a server had already are sent again after the time to look again, to the next one
 * or to none: then dead_timeout counts for them as for all others.  With a longer time a request
 * that lost its answer in the stop would wait although the next server is there. */
static int
leave(void *arg) {
  struct netlink_device netlink = to_netlink(arg);
  netlink.timeout_s = LOOK_AGAIN_MS / 1000;
  return sfd_netlink_set_timeouts(&netlink);
}

/* ---- states ---- */

static void
move(struct device *device, enum device_state state) {
  if (device->state == state)
    return;
  device->state = state;
  device->changed(device->ctx);
}

static void
drop_connection(struct device *device) {
  device->hang_up = sd_event_source_disable_unref(device->hang_up);
  if (device->connection.fd < 0)
    return;
  /* The kernel has it too: to both ends it is over now. */
  shutdown(device->connection.fd, SHUT_RDWR);
  close(device->connection.fd);
  device->connection.fd = -1;
}

static void
note_reason(struct device *device, const char *text) {
  if (strcmp(device->reason, text) != 0)
    log_error(device->volume, "%s: %s", device->path, text);
  snprintf(device->reason, sizeof device->reason, "%s", text);
}

static void
explain(struct device *device, int error) {
  char text[sizeof device->reason];
  switch (-error) {
  case ENOENT:
    snprintf(text, sizeof text, "this kernel has no NBD client: modprobe nbd");
    break;
  case EBUSY:
    snprintf(text, sizeof text,
             "%s is in use by something else (nbd-client -d %s frees it, another device in the "
             "volume's file avoids it)",
             device->path, device->path);
    break;
  case EPERM:
  case EACCES:
    snprintf(text, sizeof text, "not allowed: the kernel's NBD client needs root");
    break;
  case ENODEV:
    snprintf(text, sizeof text, "the kernel has attached it, but there is no such device");
    break;
  case ENOTCONN:
    snprintf(text, sizeof text, "the kernel said yes, but does not show it as attached");
    break;
  case ETIMEDOUT:
    snprintf(text, sizeof text, "the kernel did not answer in %d s", ATTACH_S);
    break;
  default:
    snprintf(text, sizeof text, "%s", strerror(-error));
  }
  note_reason(device, text);
}

static int
on_try_again(sd_event_source *source, uint64_t usec, void *userdata) {
  struct device *device = userdata;
  if (device->state == DEVICE_FAILED)
    device->wants(device->ctx);
  return 0;
}

static void
try_later(struct device *device) {
  uint64_t now = 0;
  drop_connection(device);
  device->tried = true;
  device->timer = sd_event_source_disable_unref(device->timer);
  sd_event_now(device->event, CLOCK_MONOTONIC, &now);
  uint64_t wait_us = sfd_backoff_failed(&device->backoff, now);
  sd_event_add_time_relative(device->event, &device->timer, CLOCK_MONOTONIC,
                             wait_us < SECOND_US ? SECOND_US : wait_us, 0, on_try_again, device);
  move(device, DEVICE_FAILED);
}

static void
fail(struct device *device, int error) {
  explain(device, error);
  try_later(device);
}

void
sfd_device_no_connection(struct device *device, const char *why) {
  if (device->state == DEVICE_NONE || device->state == DEVICE_STOPPING)
    return;
  note_reason(device, why);
  try_later(device);
}

/* ---- the connection ends while the server lives ---- */

static bool
is_hung_up(const struct device *device) {
  struct pollfd end = {.fd = device->connection.fd, .events = POLLRDHUP};
  return device->connection.fd >= 0 && poll(&end, 1, 0) == 1;
}

static int
on_wants_again(sd_event_source *source, uint64_t usec, void *userdata) {
  struct device *device = userdata;
  if (device->state == DEVICE_WAITING)
    device->wants(device->ctx);
  return 0;
}

/* At once, unless that happens again and again. */
static void
lose(struct device *device, const char *why) {
  uint64_t now = 0;
  sfd_job_cancel(device->job);
  device->job = NULL;
  drop_connection(device);
  snprintf(device->reason, sizeof device->reason, "%s", why);
  device->lost(device->ctx, why);
  sd_event_now(device->event, CLOCK_MONOTONIC, &now);
  device->timer = sd_event_source_disable_unref(device->timer);
  sd_event_add_time_relative(device->event, &device->timer, CLOCK_MONOTONIC,
                             sfd_backoff_failed(&device->backoff, now), 0, on_wants_again, device);
  move(device, DEVICE_WAITING);
}

static int
on_still_hung_up(sd_event_source *source, uint64_t usec, void *userdata) {
  struct device *device = userdata;
  if (device->state == DEVICE_ATTACHED && is_hung_up(device))
    lose(device, "its connection was ended from outside, as by nbd-client -d or device_timeout: it "
                 "is attached again");
  return 0;
}

/* It is so too when the server has ended, and then we hear of that. */
static int
on_hang_up(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
  struct device *device = userdata;
  sd_event_source_set_enabled(source, SD_EVENT_OFF);
  if (device->state != DEVICE_ATTACHED)
    return 0;
  device->timer = sd_event_source_disable_unref(device->timer);
  sd_event_add_time_relative(device->event, &device->timer, CLOCK_MONOTONIC, HANG_UP_MS * 1000, 0,
                             on_still_hung_up, device);
  return 0;
}

void
sfd_device_look(struct device *device) {
  if (device->state != DEVICE_ATTACHED || device->job)
    return;
  int r = check(device);
  if (r == -ENOTCONN)
    lose(device, "the kernel does not have it any more: it is attached again");
}

/* ---- the kernel takes it ---- */

static void offer(struct device *device);

static int
on_time_to_confirm(sd_event_source *source, uint64_t usec, void *userdata) {
  struct device *device = userdata;
  if (device->state == DEVICE_ATTACHED && device->job == NULL)
    offer(device);
  return 0;
}

static void
on_offered_again(void *ctx, int error) {
  struct device *device = ctx;
  device->job = NULL;
  if (error)
    lose(device, "the kernel does not take its connection: it is attached again");
  else if (device->offer_again)
    offer(device);
}

/* The connection that it has or had not taken yet. */
static void
offer(struct device *device) {
  device->offer_again = false;
  int r = sfd_job_start(device->event, ATTACH_S * SECOND_US, attach, device, device->connection.fd,
                        on_offered_again, device, &device->job);
  if (r < 0)
    log_warning(device->volume, "%s: cannot be looked after: %s", device->path, strerror(-r));
}

static void
on_attached(void *ctx, int error) {
  struct device *device = ctx;
  uint64_t now = 0;
  device->job = NULL;
  if (error) {
    fail(device, error);
    return;
  }
  sd_event_now(device->event, CLOCK_MONOTONIC, &now);
  sfd_backoff_well(&device->backoff, now);
  device->reason[0] = '\0';
  device->tried = true;
  log_notice(device->volume, "%s is attached", device->path);
  sd_event_add_io(device->event, &device->hang_up, device->connection.fd, EPOLLRDHUP, on_hang_up,
                  device);
  device->timer = sd_event_source_disable_unref(device->timer);
  sd_event_add_time_relative(device->event, &device->timer, CLOCK_MONOTONIC, CONFIRM_MS * 1000, 0,
                             on_time_to_confirm, device);
  bool again = device->offer_again;
  move(device, DEVICE_ATTACHED);
  if (again)
    offer(device);
}

void
sfd_device_connect(struct device *device, const struct probe_result *connection, const char *uuid) {
  if (device->state == DEVICE_NONE || device->state == DEVICE_STOPPING) {
    close(connection->fd);
    return;
  }
  sfd_job_cancel(device->job);
  device->job = NULL;
  drop_connection(device);
  device->connection = *connection;
  snprintf(device->identifier, sizeof device->identifier, "%s", uuid);
  device->offer_again = false;
  move(device, DEVICE_ATTACHING);
  int r = sfd_job_start(device->event, ATTACH_S * SECOND_US, attach, device, device->connection.fd,
                        on_attached, device, &device->job);
  if (r < 0)
    fail(device, r);
}

void
sfd_device_server_gone(struct device *device) {
  if (device->state == DEVICE_NONE || device->state == DEVICE_STOPPING)
    return;
  sfd_job_cancel(device->job);
  device->job = NULL;
  device->timer = sd_event_source_disable_unref(device->timer);
  device->lets_go = false;
  drop_connection(device);
  move(device, DEVICE_WAITING);
}

/* While the kernel takes the old connection for alive, it would not take a new one. */
static void
go_on(struct device *device) {
  device->lets_go = false;
  device->timer = sd_event_source_disable_unref(device->timer);
  if (device->state == DEVICE_WAITING)
    device->wants(device->ctx);
}

static int
on_not_told(sd_event_source *source, uint64_t usec, void *userdata) {
  go_on(userdata);
  return 0;
}

void
sfd_device_grown(struct device *device) {
  if (device->state != DEVICE_ATTACHED)
    return;
  log_info(device->volume, "%s is attached anew, with the new size", device->path);
  drop_connection(device);
  device->lets_go = true;
  device->timer = sd_event_source_disable_unref(device->timer);
  sd_event_add_time_relative(device->event, &device->timer, CLOCK_MONOTONIC, SECOND_US, 0,
                             on_not_told, device);
  move(device, DEVICE_WAITING);
}

void
sfd_device_link_dead(struct device *device) {
  if (device->lets_go) {
    go_on(device);
    return;
  }
  /* Ours is well: it may speak of the one before, and not have taken ours when it said so. */
  if (device->job)
    device->offer_again = true;
  else if (device->state == DEVICE_ATTACHED && !is_hung_up(device))
    offer(device);
  /* Else that is being seen to: on_hang_up() */
}

/* ---- the end ---- */

bool
sfd_device_in_use(const struct device *device, char *why, size_t size) {
  const char *name = device->path + strlen("/dev/");
  return device->state != DEVICE_NONE && sfd_in_use(name, why, size);
}

static void
end_stop(struct device *device) {
  drop_connection(device);
  device->stopped(device->ctx);
}

static void
on_left(void *ctx, int error) {
  struct device *device = ctx;
  device->job = NULL;
  if (error)
    log_warning(device->volume, "%s: its timeouts could not be set: %s", device->path,
                strerror(-error));
  end_stop(device);
}

static void
leave_it(struct device *device, const char *why) {
  device->left = true;
  log_warning(
      device->volume,
      "%s stays, without a server: %s; its requests wait for %llu s for the next start, then "
      "they fail",
      device->path, why, (unsigned long long) device->dead_timeout_s);
  int r = sfd_job_start(device->event, DETACH_S * SECOND_US, leave, device, -1, on_left, device,
                        &device->job);
  if (r < 0)
    on_left(device, r);
}

static void
on_detached(void *ctx, int error) {
  struct device *device = ctx;
  device->job = NULL;
  if (error) {
    leave_it(device, error == -EBUSY       ? "another process holds it"
                     : error == -ETIMEDOUT ? "it does not answer"
                                           : strerror(-error));
    return;
  }
  log_info(device->volume, "%s is detached", device->path);
  end_stop(device);
}

static void try_to_stop(struct device *device);

static int
on_stop_pause(sd_event_source *source, uint64_t usec, void *userdata) {
  try_to_stop(userdata);
  return 0;
}

static void
try_to_stop(struct device *device) {
  char why[200];
  device->timer = sd_event_source_disable_unref(device->timer);
  bool used = sfd_device_in_use(device, why, sizeof why);
  if (used && ++device->stop_tries < STOP_TRIES &&
      sd_event_add_time_relative(device->event, &device->timer, CLOCK_MONOTONIC,
                                 STOP_PAUSE_MS * 1000, 0, on_stop_pause, device) >= 0)
    return;
  if (used) {
    leave_it(device, why);
    return;
  }
  int r = sfd_job_start(device->event, DETACH_S * SECOND_US, detach, device, -1, on_detached,
                        device, &device->job);
  if (r < 0)
    on_detached(device, r);
}

void
sfd_device_stop(struct device *device) {
  if (device->state == DEVICE_NONE) {
    device->stopped(device->ctx);
    return;
  }
  /* Attaching may succeed any moment, and a device that is not reconnected is attached still. */
  bool attached = device->state == DEVICE_ATTACHED || device->state == DEVICE_ATTACHING ||
                  sfd_device_is_ours(device);
  sfd_job_cancel(device->job);
  device->job = NULL;
  device->timer = sd_event_source_disable_unref(device->timer);
  device->state = DEVICE_STOPPING;
  device->left = false;
  if (!attached) {
    end_stop(device);
    return;
  }
  device->stop_tries = 0;
  device->lets_go = false;
  try_to_stop(device);
}

void
sfd_device_after_stop(struct device *device) {
  if (device->state == DEVICE_STOPPING)
    device->state = device->left ? DEVICE_WAITING : DEVICE_NONE;
}

/* ---- the beginning ---- */

void
sfd_device_begin(struct device *device, const struct sf_config *config) {
  device->state = DEVICE_NONE;
  device->connection.fd = -1;
  memcpy(device->path, config->device, sizeof device->path);
  device->timeout_s = config->device_timeout_ns / 1000000000;
  device->dead_timeout_s = config->device_dead_timeout_ns / 1000000000;
  device->reason[0] = device->identifier[0] = '\0';
  device->tried = device->path[0] == '\0';
  device->backoff = (struct backoff){0};
  if (!device->path[0])
    return;
  device->index = (unsigned) strtoul(device->path + strlen("/dev/nbd"), NULL, 10);
  device->state = DEVICE_WAITING;
}

json_t *
sfd_device_describe(const struct device *device) {
  if (device->state == DEVICE_NONE)
    return json_null();
  const char *door = device->state != DEVICE_ATTACHED ? ""
                     : device->by_fast_door           ? "fast"
                                                      : "nbdkit";
  return json_pack("{ss ss so so}", "path", device->path, "state", state_name[device->state],
                   "reason", sf_text_to_json(device->reason), "door", sf_text_to_json(door));
}

void
sfd_device_end(struct device *device) {
  sfd_job_cancel(device->job);
  device->job = NULL;
  device->timer = sd_event_source_disable_unref(device->timer);
  device->hang_up = sd_event_source_disable_unref(device->hang_up);
  if (device->connection.fd >= 0)
    close(device->connection.fd);
  device->connection.fd = -1;
  device->state = DEVICE_NONE;
}

#include "daemon.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>

#include <surefoot/wire.h>

#include "base/writer.h"

#include "common/log.h"
#include "device/netlink.h"
#include "events/store.h"
#include "monitor/http.h"
#include "monitor/notify.h"
#include "requests/answers.h"
#include "requests/clients.h"
#include "requests/reload.h"
#include "volumes/past.h"
#include "volumes/volume.h"

enum { SERVER_BYTES = 12 << 20 /* beside its buffers, idle */, FILES_OWN = 32, FILES_VOLUME = 8 };

/* ---- what others hear of it ---- */

static void
on_event(void *ctx, const json_t *event) {
  struct daemon *daemon = ctx;
  sfd_clients_publish(daemon->clients, event);
  sfd_hook_tell(&daemon->hook, event);
  sfd_kept_file_note(&daemon->store);
}

static void
tell_ready(struct daemon *daemon) {
  if (daemon->ready || daemon->stopping)
    return;
  daemon->ready = true;
  daemon->start_timer = sd_event_source_disable_unref(daemon->start_timer);
  log_notice(NULL, "ready");
  sfd_notify_ready(&daemon->volumes, daemon->problems);
}

static void
on_link_dead(void *ctx, unsigned index) {
  struct daemon *daemon = ctx;
  SF_LIST_EACH(entry, &daemon->volumes.list) {
    struct volume *volume = SF_LIST_ENTRY(entry, struct volume, entry);
    if (volume->device.state != DEVICE_NONE && volume->device.index == index)
      sfd_device_link_dead(&volume->device);
  }
}

/* It has served, with its device, or something has failed: the start need not wait for it. */
static bool
is_tried(const struct volume *volume) {
  return volume->tried && (volume_state(volume) != VOLUME_SERVING || volume->device.tried);
}

/* Something has changed that systemd or the operator is told in one line. */
static void
on_volume_changed(void *ctx) {
  struct daemon *daemon = ctx;
  bool all_tried = true;
  SF_LIST_EACH(entry, &daemon->volumes.list) {
    const struct volume *volume = SF_LIST_ENTRY(entry, struct volume, entry);
    all_tried = is_tried(volume) && all_tried;
    /* Before it is attached: the kernel's messages from then on must be heard. */
    if (volume->device.state == DEVICE_ATTACHING && daemon->listener == NULL)
      sfd_netlink_listen(daemon->event, on_link_dead, daemon, &daemon->listener);
  }
  if (daemon->stopping || !daemon->started)
    return;
  if (!daemon->ready && all_tried)
    tell_ready(daemon);
  else
    sfd_notify_status(&daemon->volumes, daemon->problems);
}

/* ---- stop ---- */

static int
on_sweep(sd_event_source *source, void *userdata) {
  struct daemon *daemon = userdata;
  SF_LIST_EACH(entry, &daemon->volumes.list) {
    struct volume *volume = SF_LIST_ENTRY(entry, struct volume, entry);
    if (volume_state(volume) == VOLUME_GONE)
      sfd_volume_destroy(volume);
  }
  if (daemon->stopping && sf_list_empty(&daemon->volumes.list))
    sd_event_exit(daemon->event, 0);
  return 0;
}

static void
on_volume_looked(void *ctx) {
  struct daemon *daemon = ctx;
  sfd_kept_file_note(&daemon->past);
}

/* Not at once: it is the volume that calls. */
static void
on_volume_gone(void *ctx) {
  struct daemon *daemon = ctx;
  sd_event_source_set_enabled(daemon->sweep, SD_EVENT_ONESHOT);
}

static void
ignore_problem(void *ctx, const char *line) {
}

static void
tell_behind(void *ctx, const struct changed_leg *leg) {
  const char *const *volume = ctx;
  if (*leg->now) /* a section too much does no harm */
    log_warning(*volume, "before the next start its file must say: [leg %s] path = %s", leg->name,
                leg->now);
}

/* What only this process knows ends with it. */
static void
tell_what_files_lack(struct daemon *daemon) {
  struct plan plan;
  if (sfd_plan_load(daemon->settings.volumes, daemon->settings.runtime, &plan, ignore_problem,
                    NULL) < 0)
    return;
  SF_LIST_EACH(entry, &daemon->volumes.list) {
    const struct volume *volume = SF_LIST_ENTRY(entry, struct volume, entry);
    const char *name = sfd_volume_name(volume);
    struct plan_volume *said = sfd_plan_find(&plan, name);
    if (said)
      sfd_changed_legs_apply(&volume->changed_legs, said, tell_behind, &name);
  }
  sfd_plan_clear(&plan);
}

static int
on_stop(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata) {
  struct daemon *daemon = userdata;
  if (daemon->stopping)
    return 0;
  daemon->stopping = true;
  log_notice(NULL, "stopping");
  sfd_notify_stopping();
  tell_what_files_lack(daemon);
  sfd_kept_file_close(&daemon->past);
  SF_LIST_EACH(entry, &daemon->volumes.list)
    sfd_volume_leave(SF_LIST_ENTRY(entry, struct volume, entry));
  sd_event_source_set_enabled(daemon->sweep, SD_EVENT_ONESHOT);
  return 0;
}

static int
on_reload(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata) {
  struct daemon *daemon = userdata;
  if (!daemon->stopping)
    sfd_reload_run(daemon, false, NULL);
  return 0;
}

/* ---- start ---- */

static void
note_problem(void *ctx, const char *line) {
  struct daemon *daemon = ctx;
  log_error(NULL, "%s", line);
  json_array_append_new(daemon->problems, sf_text_to_json_string(line));
}

int
sfd_daemon_check(struct daemon *daemon, struct plan *plan) {
  char error[SF_CONFIG_ERROR_MAX] = "";
  int r = sfd_settings_load(&daemon->settings, daemon->settings_file, error);
  if (r == -ENOENT && !daemon->settings_given) {
    sfd_settings_init(&daemon->settings);
  } else if (r < 0) {
    log_error(NULL, "%s", error);
    return r;
  }
  daemon->problems = json_array();
  if (daemon->problems == NULL)
    return -ENOMEM;
  r = sfd_plan_load(daemon->settings.volumes, daemon->settings.runtime, plan, note_problem, daemon);
  if (r == 0)
    sfd_plan_check(plan, note_problem, daemon);
  return r;
}

static int
on_start_too_long(sd_event_source *source, uint64_t usec, void *userdata) {
  struct daemon *daemon = userdata;
  SF_LIST_EACH(entry, &daemon->volumes.list) {
    struct volume *volume = SF_LIST_ENTRY(entry, struct volume, entry);
    if (!is_tried(volume))
      log_warning(sfd_volume_name(volume), "does not serve yet; the others do not wait for it");
  }
  tell_ready(daemon);
  return 0;
}

static int
set_up_loop(struct daemon *daemon) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGHUP);
  sigaddset(&signals, SIGCHLD);
  sigprocmask(SIG_BLOCK, &signals, NULL);
  signal(SIGPIPE, SIG_IGN);

  int r = sd_event_default(&daemon->event);
  if (r >= 0)
    r = sd_event_set_watchdog(daemon->event, true);
  if (r >= 0)
    r = sd_event_add_signal(daemon->event, NULL, SIGTERM, on_stop, daemon);
  if (r >= 0)
    r = sd_event_add_signal(daemon->event, NULL, SIGINT, on_stop, daemon);
  if (r >= 0)
    r = sd_event_add_signal(daemon->event, NULL, SIGHUP, on_reload, daemon);
  if (r >= 0)
    r = sd_event_add_defer(daemon->event, &daemon->sweep, on_sweep, daemon);
  if (r >= 0)
    r = sd_event_source_set_enabled(daemon->sweep, SD_EVENT_OFF);
  if (r >= 0)
    r = sd_event_add_time_relative(daemon->event, &daemon->start_timer, CLOCK_MONOTONIC,
                                   daemon->settings.start_timeout_us, 0, on_start_too_long, daemon);
  if (r < 0)
    log_error(NULL, "no event loop: %s", strerror(-r));
  return r < 0 ? r : 0;
}

/* It attaches a device anew when a server has died, while the kernel waits for that device. */
static void
be_a_good_writer(void) {
  int r = sf_writer_begin(), unlocked = sf_writer_lock();
  if (r < 0 || unlocked < 0)
    log_notice(NULL,
               "memory: %s: when it is short, this machine itself must not have swap or a "
               "filesystem on a volume",
               unlocked < 0 ? "it may not be locked (LimitMEMLOCK, CAP_IPC_LOCK)"
                            : "not marked as what writes are made with (CAP_SYS_RESOURCE)");
}

/* Not refused: a server that starts again when memory is short must be let start, as the kernel may
 * be waiting for it to have more. */
static void
warn_of_memory(const struct plan *plan) {
  struct sysinfo machine;
  uint64_t need = 0;
  for (unsigned i = 0; i < plan->volumes; i++)
    need += sf_config_buffers(&plan->volume[i]->config).bytes + SERVER_BYTES;
  if (sysinfo(&machine) < 0)
    return;
  uint64_t have = (uint64_t) machine.totalram * machine.mem_unit;
  if (need > have / 4 * 3)
    log_warning(NULL,
                "%u volumes need %" PRIu64 " MiB of memory, and this machine has %" PRIu64
                " MiB in all: fewer `threads` in the volumes' files need less",
                plan->volumes, need >> 20, have >> 20);
}

/* Of each volume the socket, its server's output, connections, and some for control clients. */
static void
make_room_for_files(const struct plan *plan) {
  struct rlimit files;
  uint64_t need = FILES_OWN + (uint64_t) plan->volumes * FILES_VOLUME;
  if (getrlimit(RLIMIT_NOFILE, &files) < 0)
    return;
  files.rlim_cur = files.rlim_max;
  (void) setrlimit(RLIMIT_NOFILE, &files);
  if (files.rlim_max < need)
    log_warning(NULL,
                "%u volumes need %" PRIu64 " open files, and %" PRIu64
                " are allowed (LimitNOFILE): not all will start",
                plan->volumes, need, (uint64_t) files.rlim_max);
}

static int
start_volumes(struct daemon *daemon, struct plan *plan) {
  struct volume *volume;
  warn_of_memory(plan);
  make_room_for_files(plan);
  for (unsigned i = 0; i < plan->volumes; i++) {
    int r = sfd_volume_create(&daemon->volumes, plan->volume[i], &volume);
    if (r < 0) {
      log_error(plan->volume[i]->config.name, "%s", strerror(-r));
      return r;
    }
    plan->volume[i] = NULL;
  }
  json_t *past = sfd_past_load(daemon->settings.latency);
  sfd_past_take(&daemon->volumes, past);
  json_decref(past);
  SF_LIST_EACH(entry, &daemon->volumes.list)
    sfd_volume_start(SF_LIST_ENTRY(entry, struct volume, entry));
  return 0;
}

/* One listener where both are at one place. */
static int
start_http(struct daemon *daemon) {
  const struct settings *settings = &daemon->settings;
  bool one = sfd_settings_same_place(&settings->metrics, &settings->page);
  const struct http_serves serves[] = {
      {.metrics = true, .page = one, .problems = &daemon->problems},
      {.page = true, .problems = &daemon->problems}};
  const struct settings_place *place[] = {&settings->metrics, &settings->page};
  for (unsigned i = 0; i < 2; i++) {
    if (!place[i]->address[0] || (i == 1 && one))
      continue;
    int r = sfd_http_create(&daemon->volumes, place[i], &serves[i], &daemon->http[i]);
    if (r < 0) {
      log_error(NULL, "%s at %s:%u: %s", i == 0 ? "metrics" : "page", place[i]->address,
                place[i]->port, strerror(-r));
      return r;
    }
  }
  return 0;
}

int
sfd_daemon_run(struct daemon *daemon, struct plan *plan) {
  if (mkdir(daemon->settings.runtime, 0755) < 0 && errno != EEXIST) {
    log_error(NULL, "%s: %s", daemon->settings.runtime, strerror(errno));
    return -errno;
  }
  be_a_good_writer();
  int r = set_up_loop(daemon);
  if (r == 0) {
    r = sfd_clients_create(daemon->event, daemon->settings.control, sfd_answers_request, daemon,
                           &daemon->clients);
    if (r < 0)
      log_error(NULL, "control socket %s: %s", daemon->settings.control,
                r == -EADDRINUSE ? "another surefootd is running" : strerror(-r));
  }
  daemon->hook = (struct hook){.event = daemon->event, .settings = &daemon->settings};
  daemon->store = sfd_store_of(daemon->event, daemon->settings.events, &daemon->events);
  sfd_store_load(daemon->settings.events, &daemon->events);
  daemon->events.published = on_event;
  daemon->events.ctx = daemon;
  daemon->volumes.event = daemon->event;
  daemon->volumes.settings = &daemon->settings;
  daemon->volumes.events = &daemon->events;
  daemon->volumes.changed = on_volume_changed;
  daemon->volumes.gone = on_volume_gone;
  daemon->volumes.looked = on_volume_looked;
  daemon->volumes.ctx = daemon;
  daemon->past = sfd_past_of(&daemon->volumes, daemon->settings.latency);
  if (r == 0)
    r = start_http(daemon);
  if (r == 0)
    r = start_volumes(daemon, plan);
  if (r == 0) {
    daemon->started = true;
    if (plan->volumes == 0 && plan->broken == 0)
      log_notice(NULL, "no volume yet: %s holds no *.conf", daemon->settings.volumes);
    on_volume_changed(daemon);
    r = sd_event_loop(daemon->event);
    if (r < 0)
      log_error(NULL, "the event loop failed: %s", strerror(-r));
  }
  SF_LIST_EACH(entry, &daemon->volumes.list)
    sfd_volume_destroy(SF_LIST_ENTRY(entry, struct volume, entry));
  for (unsigned i = 0; i < sizeof daemon->http / sizeof daemon->http[0]; i++)
    sfd_http_destroy(daemon->http[i]);
  sfd_clients_destroy(daemon->clients);
  sfd_hook_end(&daemon->hook);
  sfd_kept_file_end(&daemon->store);
  sfd_kept_file_end(&daemon->past);
  sfd_netlink_listener_close(daemon->listener);
  sfd_events_clear(&daemon->events);
  json_decref(daemon->problems);
  sd_event_source_disable_unref(daemon->start_timer);
  sd_event_source_disable_unref(daemon->sweep);
  sd_event_unref(daemon->event);
  return r;
}

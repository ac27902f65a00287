/* From a configuration to a serving volume, and back. */
#include "base/units.h"
#include "serve/internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "base/writer.h"

enum { CLOSE_GRACE_S = 5 };

/* ---- the volume's host ---- */

static int
host_submit(void *ctx, const struct sf_tio_control *control, const struct sf_tio_region *regions,
            unsigned n, uint64_t *handle) {
  struct sf_serve *serve = ctx;

  return sf_tio(serve->client, control, regions, n, handle, NULL);
}

static struct sf_tio_canceled
host_cancel_by_device(void *ctx, struct sf_tio_device *device) {
  return sf_tio_cancel_by_device(device);
}

static struct sf_tio_canceled
host_cancel_by_handle(void *ctx, uint64_t handle) {
  struct sf_serve *serve = ctx;

  return sf_tio_cancel_by_handle(serve->client, handle);
}

static bool
host_device_punches(void *ctx, struct sf_tio_device *device) {
  return sf_tio_device_punches(device);
}

static void
host_device_freeze(void *ctx, struct sf_tio_device *device, bool frozen) {
  if (frozen)
    sf_tio_device_freeze(device);
  else
    sf_tio_device_thaw(device);
}

static struct sf_tio_buffer *
host_buffer_get(void *ctx, size_t len) {
  struct sf_serve *serve = ctx;
  struct sf_tio_buffer *buffer;

  return sf_tio_buffer_get_spare(serve->client, len, &buffer) == 0 ? buffer : NULL;
}

static void
host_buffer_put(void *ctx, struct sf_tio_buffer *buffer) {
  struct sf_serve *serve = ctx;

  sf_tio_buffer_put(serve->client, buffer);
}

static void
host_timer(void *ctx, uint64_t at_ns) {
  struct sf_serve *serve = ctx;

  atomic_store(&serve->timer_ns, at_ns);
  sf_serve_keeper_wake(serve);
}

static bool
host_holder_is_gone(void *ctx, const struct sf_holder *holder) {
  const struct sf_serve *serve = ctx;

  return sf_holder_is_gone(&serve->self, holder);
}

static void
host_event(void *ctx, const struct sf_volume_event *event) {
  sf_serve_event(ctx, event);
}

static void
host_trace(void *ctx, const char *line) {
  struct sf_serve *serve = ctx;

  serve->options.trace(serve->options.ctx, line);
}

/* ---- open ---- */

/* A leg that is no member as it stands is left alone. */
static void
drop_strangers(struct sf_serve *serve) {
  for (unsigned i = 0; i < serve->config.legs; i++) {
    struct serve_leg *leg = &serve->leg[i];
    enum sf_verdict verdict = serve->assembly.verdict[i];

    if (verdict != SF_LEG_CURRENT && verdict != SF_LEG_BEHIND && verdict != SF_LEG_FAULTY)
      sf_leg_file_close(&leg->file);
    else if (leg->file.fd >= 0 && leg->file.block_bytes > serve->block_bytes_at_start)
      serve->block_bytes_at_start = leg->file.block_bytes;
  }
  atomic_store(&serve->block_bytes, serve->block_bytes_at_start);
  /* A volume from before this was recorded: what it would have told its clients till now. */
  if (serve->assembly.base.block_bytes == 0)
    serve->assembly.base.block_bytes = (uint16_t) serve->block_bytes_at_start;
}

static int
fail_uring(int r, char error[SF_CONFIG_ERROR_MAX]) {
  snprintf(error, SF_CONFIG_ERROR_MAX, "%s: %s",
           r == -ENOSYS ? "this kernel has no io_uring"
           : r == -ENOMEM
               ? "no memory for its buffers, or none that may be locked (fewer `threads` need less)"
           : r == -EPERM ? "io_uring is forbidden here (sysctl kernel.io_uring_disabled, or a "
                           "seccomp filter)"
                         : "cannot set up io_uring",
           strerror(-r));
  return r;
}

/* Every ring has the whole pool pinned, and without CAP_IPC_LOCK each counts.  Every thread that
 * serves a client has a ring, and that is two files. */
static void
raise_limits(void) {
  struct rlimit limit = {.rlim_cur = RLIM_INFINITY, .rlim_max = RLIM_INFINITY};

  if (setrlimit(RLIMIT_MEMLOCK, &limit) < 0 && getrlimit(RLIMIT_MEMLOCK, &limit) == 0) {
    limit.rlim_cur = limit.rlim_max;
    (void) setrlimit(RLIMIT_MEMLOCK, &limit);
  }
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    limit.rlim_cur = limit.rlim_max;
    (void) setrlimit(RLIMIT_NOFILE, &limit);
  }
}

/* What threads leave: for connections, the control socket, and legs that are opened. */
static unsigned
files_kept(void) {
  struct rlimit limit;

  if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur / 4 > SERVE_FILES_KEPT)
    return SERVE_FILES_KEPT;
  return (unsigned) (limit.rlim_cur / 4);
}

/* For as many legs as may be added, and more: a submitter that ended late keeps its place. A place
 * is a ring of 16 KiB. */
static int
start_submitters(struct sf_serve *serve, char error[SF_CONFIG_ERROR_MAX]) {
  int r = sf_tio_submitters_start(SF_LEGS_MAX + 3, &serve->submitters);

  return r < 0 ? fail_uring(r, error) : 0;
}

static int
start_openers(struct sf_serve *serve, char error[SF_CONFIG_ERROR_MAX]) {
  int r = sf_leg_openers_start(&serve->openers);

  if (r < 0)
    snprintf(error, SF_CONFIG_ERROR_MAX, "no process to open the legs: %s", strerror(-r));
  return r;
}

static void
serve_free(struct sf_serve *serve) {
  sf_control_server_destroy(serve->control);
  sf_serve_close_files(serve);
  sf_leg_openers_stop(serve->openers);
  sf_tio_submitters_stop(serve->submitters);
  sf_serve_order_destroy(&serve->order);
  sf_serve_turn_destroy(&serve->turn);
  sf_serve_gone_destroy(&serve->gone);
  pthread_cond_destroy(&serve->extents.changed);
  pthread_cond_destroy(&serve->changed);
  pthread_mutex_destroy(&serve->lock);
  free(serve);
}

static void
init_locks(struct sf_serve *serve) {
  pthread_mutex_init(&serve->lock, NULL);
  sf_serve_cond_init(&serve->changed);
  sf_serve_cond_init(&serve->extents.changed);
  sf_serve_order_init(&serve->order);
  sf_serve_turn_init(&serve->turn);
  sf_serve_gone_init(&serve->gone);
}

int
sf_serve_open(const struct sf_config *config, const struct sf_serve_options *options,
              struct sf_serve **result, char error[SF_CONFIG_ERROR_MAX]) {
  struct sf_serve *serve = calloc(1, sizeof *serve);
  int r;

  if (serve == NULL) {
    snprintf(error, SF_CONFIG_ERROR_MAX, "out of memory");
    return -ENOMEM;
  }
  serve->config = *config;
  serve->options = *options;
  serve->block_bytes_at_start = 512;
  for (unsigned i = 0; i < SF_LEGS_MAX; i++)
    serve->leg[i].file.fd = -1;
  for (unsigned i = 0; i < SF_TIO_DEVICES_MAX; i++)
    serve->device_name[i].fd = -1;
  init_locks(serve);
  sf_serve_take_settings(serve, config);
  raise_limits();
  serve->no_writer = sf_writer_begin();
  r = start_openers(serve, error);
  if (r == 0)
    r = start_submitters(serve, error);
  if (r == 0)
    r = sf_serve_find_legs(serve, error);
  if (r == 0) {
    drop_strangers(serve);
    r = sf_serve_control_create(serve, error);
  }
  if (r < 0) {
    serve_free(serve);
    return r;
  }
  *result = serve;
  return 0;
}

/* ---- start ---- */

static int
add_devices(struct sf_serve *serve, struct sf_volume_params *params,
            char error[SF_CONFIG_ERROR_MAX]) {
  for (unsigned i = 0; i < serve->config.legs; i++) {
    struct serve_leg *leg = &serve->leg[i];
    int r;

    if (leg->file.fd < 0)
      continue;
    r = sf_serve_add_device(serve, leg, serve->config.leg[i].name);
    if (r < 0) {
      snprintf(error, SF_CONFIG_ERROR_MAX, "leg %s: %s", serve->config.leg[i].name, strerror(-r));
      return r;
    }
    params->leg[i] = (struct sf_volume_leg){.device = leg->device,
                                            .sb = leg->found.sb,
                                            .bytes = leg->file.bytes,
                                            .maps = leg->file.maps,
                                            .map_pages = leg->file.map_pages};
    if (leg->file.maps_twice)
      params->leg[i].second = leg->file.maps + leg->file.map_pages * SF_PAGE_BYTES;
  }
  return 0;
}

/* In the process that serves: a fork before would not have it. */
static void
be_a_good_writer(struct sf_serve *serve) {
  int unlocked = sf_writer_lock();

  if (serve->no_writer == 0 && unlocked == 0)
    return;
  sf_serve_log(serve,
               "memory: %s%s%s. When memory is short, this machine itself must not have swap or a "
               "filesystem on this volume",
               serve->no_writer != 0 ? "not marked as what writes are made with (CAP_SYS_RESOURCE)"
                                     : "",
               serve->no_writer != 0 && unlocked != 0 ? "; " : "",
               unlocked != 0 ? "not locked (CAP_IPC_LOCK, or no limit of locked memory)" : "");
}

static int
create_client(struct sf_serve *serve) {
  const struct sf_config_buffers buffers = sf_config_buffers(&serve->config);
  const struct sf_tio_client_params client = {
      .requests_max = 2 * SF_OPS_MAX,
      .buffers_small = buffers.small,
      .small_bytes = SERVE_SMALL_BYTES,
      .buffers_large = buffers.large,
      .large_bytes = SERVE_LARGE_BYTES,
      .spare_small = buffers.spare_small,
      .spare_large = buffers.spare_large,
      .files_kept = files_kept(),
      .late = sf_volume_late,
      .thread_name = "surefoot",
      .submitters = serve->submitters,
      .submitter_lost = sf_serve_submitter_lost,
      .submitter_context = serve,
  };

  return sf_tio_client_create(&client, &serve->client);
}

static int
create_volume(struct sf_serve *serve, const struct sf_volume_params *params) {
  const struct sf_volume_host host = {
      .submit = host_submit,
      .cancel_by_device = host_cancel_by_device,
      .cancel_by_handle = host_cancel_by_handle,
      .device_punches = host_device_punches,
      .device_is_gone = sf_serve_device_is_gone,
      .device_freeze = host_device_freeze,
      .look_at_leg = sf_serve_look_at_leg,
      .buffer_get = host_buffer_get,
      .buffer_put = host_buffer_put,
      .timer = host_timer,
      .open_leg = sf_serve_open_leg,
      .reopen_leg = sf_serve_reopen_leg,
      .close_leg = sf_serve_close_leg,
      .holder_is_gone = host_holder_is_gone,
      .event = host_event,
      .trace = serve->options.trace == NULL ? NULL : host_trace,
  };

  return sf_volume_create(params, &host, serve, &serve->volume);
}

static int
start_threads(struct sf_serve *serve) {
  int r = sf_serve_keeper_start(serve);

  if (r == 0)
    r = sf_serve_extents_start(serve);
  if (r == 0)
    r = sf_serve_watch_start(serve);
  if (r == 0 && serve->control != NULL)
    r = sf_control_server_start(serve->control);
  return r;
}

static void
tell_start(struct sf_serve *serve) {
  if (serve->assembly.reason[0] != '\0')
    sf_serve_log(serve, "%s", serve->assembly.reason);
  for (unsigned i = 0; i < serve->config.legs; i++)
    sf_serve_tell_bad(serve, &serve->leg[i], serve->config.leg[i].name);
}

int
sf_serve_start(struct sf_serve *serve, char error[SF_CONFIG_ERROR_MAX]) {
  struct sf_volume_params params = {
      .config = &serve->config,
      .assembly = &serve->assembly,
      .block_bytes = SF_PAGE_BYTES,
      .takes = serve->takes,
  };
  int r;

  sf_holder_self(&serve->self); /* in the process that serves */
  params.holder = serve->self;
  be_a_good_writer(serve);

  r = create_client(serve);
  if (r < 0)
    return fail_uring(r, error);
  r = add_devices(serve, &params, error);
  if (r < 0)
    return r;
  r = create_volume(serve, &params);
  for (unsigned i = 0; i < serve->config.legs; i++)
    sf_leg_file_forget_maps(&serve->leg[i].file);
  if (r == 0)
    r = start_threads(serve);
  if (r < 0) {
    snprintf(error, SF_CONFIG_ERROR_MAX, "cannot start volume %s: %s", serve->config.name,
             strerror(-r));
    return r;
  }
  tell_start(serve);
  sf_volume_start(serve->volume, sf_tio_now());
  return 0;
}

uint64_t
sf_serve_size(const struct sf_serve *serve) {
  return serve->volume != NULL ? sf_volume_size(serve->volume) : serve->assembly.base.data_bytes;
}

uint32_t
sf_serve_block_bytes(const struct sf_serve *serve) {
  return serve->assembly.base.block_bytes;
}

/* ---- close ---- */

/* The volume bounds its own stop; the grace is for a keeper that gets no CPU. */
static void
wait_stopped(struct sf_serve *serve) {
  struct sf_config config; /* as it is set now */
  struct timespec at;
  uint64_t until;

  sf_volume_get_config(serve->volume, &config);
  until = sf_tio_now() + sf_config_deadline_most(&config, SF_FLUSH_KIND) +
          2 * sf_config_deadline_most(&config, SF_WRITE_KIND) + CLOSE_GRACE_S * SF_S;
  at = (struct timespec){.tv_sec = (time_t) (until / SF_S), .tv_nsec = (long) (until % SF_S)};
  pthread_mutex_lock(&serve->lock);
  while (!serve->stopped && pthread_cond_timedwait(&serve->changed, &serve->lock, &at) == 0)
    ;
  pthread_mutex_unlock(&serve->lock);
}

/* The locks on healthy legs end here, even if this process has to stay for a hung one. */
static int
close_legs(struct sf_serve *serve) {
  int r = 0;

  for (unsigned i = 0; i < SF_LEGS_MAX;
       i++) { /* more than at the start: some may have been added */
    struct serve_leg *leg = &serve->leg[i];

    if (leg->device != NULL && sf_tio_device_remove(leg->device) < 0) {
      r = -EBUSY;
      continue;
    }
    leg->device = NULL;
    sf_leg_file_close(&leg->file);
  }
  return r;
}

static void
end_control(struct sf_serve *serve) {
  struct sf_control_server *control;

  pthread_mutex_lock(&serve->lock);
  control = serve->control;
  serve->control = NULL;
  pthread_mutex_unlock(&serve->lock);
  sf_control_server_destroy(control);
}

int
sf_serve_close(struct sf_serve *serve) {
  if (serve == NULL)
    return 0;
  sf_serve_watch_stop(serve);
  if (serve->keeper_started) {
    sf_volume_stop(serve->volume, sf_tio_now());
    wait_stopped(serve);
    sf_serve_keeper_stop(serve);
  }
  end_control(serve);
  sf_leg_openers_cut(serve->openers);
  /* What hangs in there has a leg's file, and may give it another number at any time. */
  if (sf_serve_extents_stop(serve) < 0 || sf_serve_job_join(serve) < 0 ||
      sf_serve_join_openers(serve) < 0 || sf_serve_join_lookers(serve) < 0)
    return -EBUSY;
  /* A leg hangs, and its requests own this memory until the process ends; or a thread of a client
   * does. */
  if (close_legs(serve) < 0 || atomic_load(&serve->guests) > 0)
    return -EBUSY;
  if (sf_volume_destroy(serve->volume) < 0)
    return -EBUSY;
  serve->volume = NULL;
  if (sf_tio_client_destroy(serve->client) < 0)
    return -EBUSY;
  serve_free(serve);
  return 0;
}

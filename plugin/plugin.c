/* nbdkit's callbacks, in the order of the lifecycle.  Everything that the volume is happens behind
 * serve.h; here its calls are given nbdkit's shape and nothing else. */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <surefoot/control.h>
#include <surefoot/door.h>
#include <surefoot/ondisk.h>
#include <surefoot/serve.h>

#include "base/assert.h"
#include "errors.h"
#include "exposure.h"
#include "params.h"
#include "report.h"

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

enum {
  SF_DESCRIPTION_MAX = 200,
  BLOCK_BYTES_PREFERRED = 4096,
  REQUEST_BYTES_MAX = 32 * 1024 * 1024, /* of data; the largest that every client knows */
};

static struct sf_params params;
static struct sf_config config;
static struct sf_serve *serve;
static struct sf_door *door;

/* ---- configuration ---- */

static int
surefoot_config(const char *key, const char *value) {
  return sf_params_add(&params, key, value);
}

static int
surefoot_config_complete(void) {
  return sf_params_finish(&params, &config);
}

static void
surefoot_dump_plugin(void) {
  printf("surefoot_version=%s\n", SF_VERSION);
  printf("surefoot_ondisk_version=%d\n", SF_ONDISK_VERSION);
  printf("surefoot_control_version=%d\n", SF_CONTROL_VERSION);
  printf("surefoot_legs_max=%d\n", SF_LEGS_MAX);
  printf("surefoot_features=flush fua multi-conn trim zero\n");
}

/* ---- life ---- */

/* The client hung up, or nbdkit was told to quit: the answer would reach no client. */
static bool
client_is_gone(void *ctx) {
  return nbdkit_nanosleep(0, 0) == -1; /* a look without a wait */
}

/* Given a listening socket, nbdkit has itself sent SIGTERM when its parent dies, and answers what
 * is in flight with ESHUTDOWN: an error for the file system on the kernel's device.  A connection
 * that dies answers nothing, and the next server gets the requests again. */
static int
die_with_surefootd(void) {
  const char *pid = getenv("SUREFOOTD_PID");

  if (pid == NULL)
    return 0;
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || strtol(pid, NULL, 10) != getppid()) {
    nbdkit_error("%s: surefootd, which started this server, is gone", config.name);
    return -1;
  }
  return 0;
}

static void
close_all(void) {
  if (sf_door_close(door) == -EBUSY)
    sf_report_log(NULL, "a connection of the fast socket hangs in a leg");
  door = NULL;
  if (sf_serve_close(serve) == -EBUSY)
    sf_report_log(NULL, "a leg still holds requests: no volume can take it before they have ended");
  serve = NULL;
}

/* Before nbdkit forks, where the operator sees an error: files, locks, superblocks, R12. */
static int
surefoot_get_ready(void) {
  struct sf_serve_options options = {
      .force = params.force || params.force_with,
      .force_with = params.force_with,
      .take = params.take,
      .quiet = !sf_report_events(),
      .log = sf_report_log,
      .trace = sf_report_tracing() ? sf_report_trace : NULL,
      .hangup = client_is_gone,
  };
  char error[SF_CONFIG_ERROR_MAX] = "";

  if (die_with_surefootd() < 0)
    return -1;
  sf_report_volume(config.name);
  if (sf_serve_open(&config, &options, &serve, error) != 0 ||
      (config.fast_socket[0] != '\0' && sf_door_open(config.fast_socket, &door, error) != 0)) {
    nbdkit_error("%s: %s", config.name, error);
    close_all();
    return -1;
  }
  return 0;
}

static void
describe(char description[SF_DESCRIPTION_MAX]) {
  snprintf(description, SF_DESCRIPTION_MAX, "surefoot volume %s, %u legs", config.name,
           config.legs);
}

/* It comes after the volume and goes before it. */
static int
start_door(void) {
  char description[SF_DESCRIPTION_MAX];
  const struct sf_door_options options = {
      .serve = serve, .nbd_errno = sf_nbd_errno, .description = description};
  int r;

  describe(description);
  r = door == NULL ? 0 : sf_door_start(door, &options);
  if (r < 0)
    nbdkit_error("%s: the fast socket cannot be served: %s", config.name, strerror(-r));
  return r;
}

/* Threads and rings made before the last fork would not be in this process. */
static int
surefoot_after_fork(void) {
  char error[SF_CONFIG_ERROR_MAX] = "";

  if (sf_serve_start(serve, error) != 0) {
    nbdkit_error("%s: %s", config.name, error);
    close_all();
    return -1;
  }
  if (start_door() < 0) {
    close_all();
    return -1;
  }
  return 0;
}

/* The last client has gone.  Not .close: nbdkit leaves that out when it quits. */
static void
surefoot_cleanup(void) {
  close_all();
}

static void
surefoot_unload(void) {
  sf_params_free(&params);
}

/* ---- a connection ---- */

/* Once for each server: a client that comes again and again is not news.  nbdkit tells what it
 * listens on, and whether with TLS, only once a client has connected. */
static void
warn_of_exposure(void) {
  static atomic_bool warned;
  struct sockaddr_storage peer;
  socklen_t len = sizeof peer;
  char name[SF_EXPOSED_NAME_MAX], line[256];

  if (warned || nbdkit_is_tls() != 0 || nbdkit_peer_name((struct sockaddr *) &peer, &len) == -1 ||
      !sf_exposed((struct sockaddr *) &peer, name) || atomic_exchange(&warned, true))
    return;
  snprintf(
      line, sizeof line,
      "warning: %s is connected by TCP without TLS: the network between can read and change the "
      "data; serve a Unix socket (-U SOCKET), or TCP with --tls=require",
      name);
  sf_report_log(NULL, line);
}

static void *
surefoot_open(int readonly) {
  struct sf_serve_client *client;

  warn_of_exposure();
  if (sf_serve_client_open(serve, &client) == 0)
    return client;
  nbdkit_error("%s: no memory for another connection", config.name);
  return NULL;
}

static void
surefoot_close(void *handle) {
  sf_serve_client_close(handle);
}

static int64_t
surefoot_get_size(void *handle) {
  return (int64_t) sf_serve_size(serve);
}

static int
surefoot_block_size(void *handle, uint32_t *minimum, uint32_t *preferred, uint32_t *maximum) {
  uint32_t block_bytes = sf_serve_block_bytes(serve);

  *minimum = block_bytes;
  *preferred = block_bytes > BLOCK_BYTES_PREFERRED ? block_bytes : BLOCK_BYTES_PREFERRED;
  *maximum = REQUEST_BYTES_MAX;
  return 0;
}

static const char *
surefoot_export_description(void *handle) {
  char description[SF_DESCRIPTION_MAX];

  describe(description);
  return nbdkit_strdup_intern(description);
}

static int
surefoot_is_rotational(void *handle) {
  return 0;
}

static int
surefoot_can_flush(void *handle) {
  return 1;
}

static int
surefoot_can_fua(void *handle) {
  return NBDKIT_FUA_NATIVE;
}

/* One volume stands behind all connections: a flush on one covers what any other was answered. */
static int
surefoot_can_multi_conn(void *handle) {
  return 1;
}

static int
surefoot_can_trim(void *handle) {
  return 1;
}

static int
surefoot_can_zero(void *handle) {
  return 1;
}

/* The flag is understood; the answer is always "not faster". */
static int
surefoot_can_fast_zero(void *handle) {
  return 1;
}

static int
surefoot_can_cache(void *handle) {
  return NBDKIT_CACHE_NONE;
}

/* ---- requests: any thread, many at once ---- */

#define THREAD_MODEL NBDKIT_THREAD_MODEL_PARALLEL

static int
answer(int r, const char *verb, uint64_t length, uint64_t offset) {
  if (r == 0)
    return 0;
  sf_serve_tell_failed(serve, verb, r, length, offset);
  nbdkit_set_error(sf_nbd_errno(r));
  return -1;
}

static int
surefoot_pread(void *handle, void *data, uint32_t count, uint64_t offset, uint32_t flags) {
  SF_ASSERT(flags == 0);
  return answer(sf_serve_read(handle, data, count, offset), "read", count, offset);
}

static int
surefoot_pwrite(void *handle, const void *data, uint32_t count, uint64_t offset, uint32_t flags) {
  SF_ASSERT(!(flags & ~NBDKIT_FLAG_FUA));
  bool fua = flags & NBDKIT_FLAG_FUA;
  return answer(sf_serve_write(handle, data, count, offset, fua), "write", count, offset);
}

static int
surefoot_flush(void *handle, uint32_t flags) {
  SF_ASSERT(flags == 0);
  return answer(sf_serve_flush(handle), "flush", 0, 0);
}

/* R16: a trimmed range reads as zeros, or as before, on every leg alike. */
static int
surefoot_trim(void *handle, uint32_t count, uint64_t offset, uint32_t flags) {
  SF_ASSERT(!(flags & ~NBDKIT_FLAG_FUA));
  bool fua = flags & NBDKIT_FLAG_FUA;
  return answer(sf_serve_trim(handle, count, offset, fua), "trim", count, offset);
}

/* ENOTSUP only to FAST_ZERO: to a plain zero nbdkit 1.32 would answer it by writing the first 64
 * MiB of a longer range again and again, and report success. */
static int
surefoot_zero(void *handle, uint32_t count, uint64_t offset, uint32_t flags) {
  SF_ASSERT(!(flags & ~(NBDKIT_FLAG_FUA | NBDKIT_FLAG_MAY_TRIM | NBDKIT_FLAG_FAST_ZERO)));
  bool fua = flags & NBDKIT_FLAG_FUA, may_unmap = flags & NBDKIT_FLAG_MAY_TRIM;

  if (flags & NBDKIT_FLAG_FAST_ZERO) {
    nbdkit_set_error(ENOTSUP);
    return -1;
  }
  return answer(sf_serve_zero(handle, count, offset, fua, may_unmap), "zero", count, offset);
}

static int
surefoot_can_extents(void *handle) {
  return 1;
}

static int
surefoot_extents(void *handle, uint32_t count, uint64_t offset, uint32_t flags,
                 struct nbdkit_extents *extents) {
  uint64_t left = count;

  do {
    struct sf_extent extent;

    sf_serve_extent(serve, left, offset, &extent);
    if (nbdkit_add_extent(extents, offset, extent.length,
                          extent.hole ? NBDKIT_EXTENT_HOLE | NBDKIT_EXTENT_ZERO : 0) == -1)
      return -1;
    offset += extent.length;
    left -= extent.length;
  } while (left > 0 && !(flags & NBDKIT_FLAG_REQ_ONE));
  return 0;
}

static struct nbdkit_plugin plugin = {
    .name = "surefoot",
    .longname = "Surefoot replicated block device",
    .version = SF_VERSION,
    .description = "writes to several legs and does not wait for the slowest one",
    .config = surefoot_config,
    .config_complete = surefoot_config_complete,
    .config_help = sf_params_help,
    .magic_config_key = "config",
    .dump_plugin = surefoot_dump_plugin,
    .get_ready = surefoot_get_ready,
    .after_fork = surefoot_after_fork,
    .cleanup = surefoot_cleanup,
    .unload = surefoot_unload,
    .open = surefoot_open,
    .close = surefoot_close,
    .get_size = surefoot_get_size,
    .block_size = surefoot_block_size,
    .export_description = surefoot_export_description,
    .is_rotational = surefoot_is_rotational,
    .can_flush = surefoot_can_flush,
    .can_fua = surefoot_can_fua,
    .can_multi_conn = surefoot_can_multi_conn,
    .can_trim = surefoot_can_trim,
    .can_zero = surefoot_can_zero,
    .can_fast_zero = surefoot_can_fast_zero,
    .can_cache = surefoot_can_cache,
    .can_extents = surefoot_can_extents,
    .pread = surefoot_pread,
    .pwrite = surefoot_pwrite,
    .flush = surefoot_flush,
    .trim = surefoot_trim,
    .zero = surefoot_zero,
    .extents = surefoot_extents,
    .errno_is_preserved = 1,
};

/* nbdkit's header leaves the prototype out. */
NBDKIT_DLL_PUBLIC struct nbdkit_plugin *plugin_init(void);
NBDKIT_REGISTER_PLUGIN(plugin)

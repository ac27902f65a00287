#include <errno.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "control/server.h"
#include "fake_volume.h"

#define GIB (UINT64_C(1) << 30)
#define MIB (UINT64_C(1) << 20)

static int
fake_status(void *ctx, struct sf_volume_status *status) {
  struct fake_volume *fake = ctx;
  pthread_mutex_lock(&fake->lock);
  *status = fake->status;
  int r = fake->status_error;
  pthread_mutex_unlock(&fake->lock);
  return r;
}

static void
remember(struct fake_volume *fake, const char *what, const char *a, const char *between,
         const char *b) {
  pthread_mutex_lock(&fake->lock);
  snprintf(fake->last_call, sizeof fake->last_call, "%s %s%s%s", what, a, between, b);
  pthread_mutex_unlock(&fake->lock);
}

static int
fake_set(void *ctx, const char *key, const char *value, char error[SF_CONFIG_ERROR_MAX]) {
  remember(ctx, "set", key, "=", value);
  if (strcmp(key, "name") == 0) {
    snprintf(error, SF_CONFIG_ERROR_MAX, "name: cannot be changed while the volume runs");
    return -EINVAL;
  }
  if (strcmp(key, "mute") == 0)
    return -EPERM;
  return 0;
}

static int
fake_leg(void *ctx, const char *action, const char *leg, const char *path,
         char error[SF_CONFIG_ERROR_MAX]) {
  remember(ctx, "leg", action, " ", leg);
  if (strlen(leg) != 1 || !strchr("abc", leg[0])) {
    snprintf(error, SF_CONFIG_ERROR_MAX, "unknown leg \"%s\"", leg);
    return -ENOENT;
  }
  return 0;
}

struct sf_control_handlers
fake_volume_handlers(struct fake_volume *fake) {
  return (struct sf_control_handlers){
      .ctx = fake, .status = fake_status, .set = fake_set, .leg = fake_leg};
}

static void
make_up_leg(struct sf_leg_status *leg, const char *name, enum sf_leg_state state,
            const char *reason) {
  snprintf(leg->name, sizeof leg->name, "%s", name);
  snprintf(leg->path, sizeof leg->path, "/dev/sd%c", name[0] + 1);
  snprintf(leg->reason, sizeof leg->reason, "%s", reason);
  leg->state = state;
  leg->latency[SF_WRITE_KIND] = (struct sf_latency){.count = 1000,
                                                    .recent = 100,
                                                    .p50_ns = 350000,
                                                    .p99_ns = 1234567,
                                                    .p999_ns = 4000000,
                                                    .max_ns = 9000001};
}

static void
make_up_status(struct sf_volume_status *status, const char *name) {
  memset(status, 0, sizeof *status);
  snprintf(status->name, sizeof status->name, "%s", name);
  for (unsigned i = 0; i < sizeof status->uuid.bytes; i++)
    status->uuid.bytes[i] = (uint8_t) (0x10 + i);
  status->state = SF_VOLUME_DEGRADED;
  status->size_bytes = 10 * GIB;
  status->term = 7;
  status->change = 12;
  status->min_legs = 1;
  status->legs_in_sync = 1;
  status->reads = 123456;
  status->writes = 7890;
  status->flushes = 12;
  status->late_acks = 31;
  status->legs = 3;
  make_up_leg(&status->leg[0], "a", SF_STATE_IN_SYNC, "");
  make_up_leg(&status->leg[1], "b", SF_STATE_CATCHING_UP, "");
  make_up_leg(&status->leg[2], "c", SF_STATE_LATE, "write at 4096 not answered in 100 ms");
  status->leg[1].stale_bytes = 1229 * MIB;
  status->leg[1].timeouts = 31;
  status->leg[1].resyncing = true;
  status->leg[1].resync_done_bytes = 771 * MIB;
  status->leg[1].resync_total_bytes = 2000 * MIB;
  status->leg[1].resync_rate = 120 * MIB;
  status->leg[1].resync_left_ns = UINT64_C(10300000000);
  status->leg[1].latency[SF_WRITE_KIND].p99_ns = 812000;
  status->leg[2].stale_bytes = 64 * MIB;
  status->leg[2].late_requests = 3;
  status->leg[2].timeouts = 5;
  status->leg[2].errors = 1;
  status->leg[2].latency[SF_WRITE_KIND] = (struct sf_latency){0};
}

static void
init_in(struct fake_volume *fake, const char *name, const char *directory, unsigned quiet_ms) {
  memset(fake, 0, sizeof *fake);
  pthread_mutex_init(&fake->lock, NULL);
  make_up_status(&fake->status, name);
  snprintf(fake->path, sizeof fake->path, "%s/%s.ctl", directory, name);
  struct sf_control_handlers handlers = fake_volume_handlers(fake);
  assert_int_equal(sf_control_server_create(fake->path, name, &handlers, &fake->server), 0);
  if (quiet_ms)
    sf_control_server_set_quiet_ms(fake->server, quiet_ms);
}

void
fake_volume_init(struct fake_volume *fake, const char *name, unsigned quiet_ms) {
  char directory[] = "/tmp/sf-control-XXXXXX";
  assert_non_null(mkdtemp(directory));
  init_in(fake, name, directory, quiet_ms);
  strcpy(fake->directory, directory);
}

void
fake_volume_init_beside(struct fake_volume *fake, const char *name,
                        const struct fake_volume *first) {
  init_in(fake, name, first->directory, 0);
}

void
fake_volume_start(struct fake_volume *fake) {
  assert_int_equal(sf_control_server_start(fake->server), 0);
}

void
fake_volume_destroy(struct fake_volume *fake) {
  sf_control_server_destroy(fake->server);
  assert_int_equal(access(fake->path, F_OK), -1);
  if (fake->directory[0])
    assert_int_equal(rmdir(fake->directory), 0);
  pthread_mutex_destroy(&fake->lock);
}

void
fake_volume_event(struct fake_volume *fake, const char *reason) {
  struct sf_volume_event event = {.kind = SF_EVENT_LEG_STATE,
                                  .now_ns = 1000,
                                  .leg = 1,
                                  .leg_name = "b",
                                  .from = "in-sync",
                                  .to = "late",
                                  .reason = reason};
  sf_control_server_event(fake->server, &event);
}

void
fake_volume_last_call(struct fake_volume *fake, char text[256]) {
  pthread_mutex_lock(&fake->lock);
  memcpy(text, fake->last_call, sizeof fake->last_call);
  pthread_mutex_unlock(&fake->lock);
}

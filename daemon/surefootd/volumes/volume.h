/* One volume: its listening socket, its server process, and their state.
 *
 *      down ──► starting ──► serving ──► stopping ──► gone
 *        ▲          │           │           ▲
 *        └──────────┴───────────┴───────────┘ the process ended; tried again with back-off
 *
 * The listening socket is the daemon's: clients that come while the server is down wait in it.
 * "Serving" is said only after a block was read through it. */
#ifndef SUREFOOTD_VOLUME_H
#define SUREFOOTD_VOLUME_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include <systemd/sd-event.h>

#include <surefoot/wire.h>

#include "base/list.h"
#include "base/state_machine.h"
#include "common/backoff.h"
#include "device/device.h"
#include "files/changed_legs.h"
#include "files/plan.h"
#include "server/control_link.h"
#include "server/server.h"
#include "volumes/history.h"
#include "volumes/volumes.h"

/* What a volume that stops waits for. */
enum volume_stop {
  STOP_NONE,    /* it does not stop */
  STOP_DEVICE,  /* the device; its server may have ended already */
  STOP_CLIENTS, /* the server was told by a signal, and clients may leave by themselves */
  STOP_TOLD,    /* the server was told by its socket, so that clients do not hold it up */
  STOP_KILLED,
};

enum volume_state {
  VOLUME_DOWN,     /* waits for its next try */
  VOLUME_STARTING, /* the process is there, the proof is not */
  VOLUME_SERVING,
  VOLUME_STOPPING, /* told to end */
  VOLUME_GONE,     /* ended, and stays so */
};

struct probe;
struct job;
struct writing;

/* The volume did not take this spare; it is not tried before. */
struct spare_refused {
  char *path; /* NULL: none */
  uint64_t until_us;
  char reason[SF_CONFIG_ERROR_MAX];
};

struct spare_out {
  char leg[SF_LEG_NAME_MAX]; /* "": none */
  uint64_t since_us;         /* it has been out */
};

/* A spare that takes the place of a leg, and since when legs are out (spare.c). */
struct spare_use {
  bool under_way; /* the volume was asked, and has not told its end */
  char name[SF_LEG_NAME_MAX], leg[SF_LEG_NAME_MAX];
  char path[PATH_MAX], own[PATH_MAX]; /* the spare's, the leg's before */
  struct call *call;
  struct job *job; /* writes the file */
  struct writing *writing;
  struct spare_out out[SF_LEGS_MAX];
  struct spare_refused refused[SF_SPARES_MAX];
};

/* A leg that the operator fails by force (forced.c). */
struct forced {
  char leg[SF_LEG_NAME_MAX];                /* "": none */
  char with[SF_LEGS_MAX * SF_LEG_NAME_MAX]; /* "a,b": the legs to go on with */
  unsigned least, min_legs_before;          /* so many are these; 0: it was not larger */
  bool served;                              /* the leg itself is still to be failed */
  struct call *call;
};

struct volume {
  struct sf_list entry;
  const struct volumes *volumes;
  struct plan_volume *plan;    /* what the next start runs */
  struct plan_volume *running; /* the settings in force, without a text; NULL: no server */
  char restart_for[128];       /* settings that a reload brought and only a restart applies; "" */
  struct changed_legs changed_legs;
  struct sf_state_machine machine; /* volume_state() */
  struct sf_state_machine stop;    /* volume_stop() */
  /* While it stops: its server has ended.  Else NULL. */
  void (*stop_ended)(struct volume *volume, const char *reason);
  /* In force; the plan may say otherwise until the next start. */
  char socket_path[SF_CONTROL_PATH_MAX], control_path[SF_CONTROL_PATH_MAX];
  struct sf_socket_file socket;
  struct server server;
  struct probe *probe;
  struct probe_result connection; /* proven, for the device, until the uuid is known; fd -1: none */
  struct device device;
  struct probe *device_probe;
  bool probes_fast_door; /* device_probe does */
  struct backoff backoff;
  sd_event_source *timer; /* the next try, the end of patience when it stops */

  bool start_failed;   /* the last try ended before it served */
  int64_t since_ns;    /* of this state, or of its silence; CLOCK_REALTIME */
  bool tried;          /* served, or failed, once: what systemd waits for */
  bool leaving;        /* it stops for good */
  bool again;          /* stopping for a restart */
  bool held;           /* the operator has stopped it: down until it is started */
  bool force;          /* its next start is forced */
  char stop_said[128]; /* its own last words on it: "clean", "not clean: ..."; "" none */
  unsigned restarts;
  char reason[320]; /* why it does not serve */

  struct control_link *feed;   /* its events */
  json_t *last_event;          /* that this server told; NULL: none yet */
  bool feed_answers;           /* what it will say at its end is heard */
  sd_event_source *feed_timer; /* the next look at its health; the feed is opened again there */
  struct call *health;
  struct call *stop_call;
  bool silent;           /* it does not answer on its socket */
  unsigned silent_looks; /* in a row */
  char ended_for[96];    /* why we killed it; "": we did not */
  bool legs_told;        /* legs that were not in sync when it started */
  uint64_t first_event;  /* number of the first event that can be this server's */
  char state[32];        /* "healthy", ... as last heard; "" unknown */
  char uuid[40];         /* "" unknown */
  struct spare_use spare;
  struct forced forced;
  struct history history;
  json_t *scrub; /* the last that has ended, of an earlier server too; NULL: none is known */
};

/* One more of volumes, which outlives it.  Takes plan over if it succeeds.  -ENOMEM. */
int sfd_volume_create(struct volumes *volumes, struct plan_volume *plan, struct volume **volume);
/* Only when it is gone, or at the end of the whole. */
void sfd_volume_destroy(struct volume *volume);

/* Binds the socket, where it has none yet, and starts the server.  What fails is tried again; why
 * is in reason. */
void sfd_volume_start(struct volume *volume);
/* Ends the server cleanly, and for good, also where it was to start again after that; the owner
 * hears of it by gone(). */
void sfd_volume_leave(struct volume *volume);
/* The same, and a start after it.  -ESHUTDOWN: it leaves. */
int sfd_volume_restart(struct volume *volume);
/* Ends the server cleanly, and stays down until sfd_volume_resume(), or until surefootd itself
 * starts anew.  A client that connects meanwhile is refused, and does not wait. -ESHUTDOWN: it
 * leaves; -EALREADY. */
int sfd_volume_hold(struct volume *volume);
/* A start now.  force: although newer data may be on an absent leg; also while a start is under
 * way. -EALREADY: it serves; -EBUSY: it stops; -ESHUTDOWN. */
int sfd_volume_resume(struct volume *volume, bool force);

/* A leg that it needs is failed all the same: it starts anew by force with the legs of "a,b", and
 * min_legs is no more than these are.  This has begun when it returns 0; else -errno and error
 * says why not. */
int sfd_volume_fail_by_force(struct volume *volume, const char *leg, const char *with,
                             char error[SF_CONFIG_ERROR_MAX]);

static inline enum volume_state
volume_state(const struct volume *volume) {
  return (enum volume_state) volume->machine.state;
}
static inline enum volume_stop
volume_stop(const struct volume *volume) {
  return (enum volume_stop) volume->stop.state;
}
const char *sfd_volume_name(const struct volume *volume);
/* "healthy", ... as the server said, or "starting", "stopping", "silent", "failed" of the server
 * itself. */
const char *sfd_volume_state_text(const struct volume *volume);

/* Is this setting the device, and does only a restart give the present one up? */
bool sfd_volume_keeps_device(const struct volume *volume, const char *key);
/* Is its device in use, so that a stop would take it away? why: by what. */
bool sfd_volume_in_use(struct volume *volume, char why[SF_CONFIG_ERROR_MAX]);

/* What the next start is to run, of the same name, as its file says; takes plan over.  needed_for:
 * the settings that only a restart applies, "" if none. */
void sfd_volume_replan(struct volume *volume, struct plan_volume *plan, const char *needed_for);

/* It took this setting while it runs: also the next server is to have it. */
void sfd_volume_note_setting(struct volume *volume, const char *key, const char *value);

/* A request to its socket: as sfd_call_start. */
int sfd_volume_ask(struct volume *volume, json_t *request, uint64_t timeout_us,
                   void (*done)(void *ctx, int error, json_t *reply), void *ctx,
                   struct call **call);

/* What its socket said of itself: what a later server does not know is kept. */
void sfd_volume_note_status(struct volume *volume, const json_t *own);
/* How long its legs took: as sfd_history_sum and sfd_history_samples. */
json_t *sfd_volume_latencies(const struct volume *volume, uint64_t since_us);
json_t *sfd_volume_samples(const struct volume *volume);

/* Its entry in the status: own is what its socket said, NULL with a reason when it said nothing. */
json_t *sfd_volume_describe(struct volume *volume, json_t *own, const char *reason);

#endif

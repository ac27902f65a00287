/* The other end of a volume's own control socket, without waiting for it: requests go out, lines
 * come in, a volume that hangs is a deadline that passes. */
#ifndef SUREFOOTD_UPSTREAM_H
#define SUREFOOTD_UPSTREAM_H

#include <jansson.h>
#include <stdint.h>

#include <systemd/sd-event.h>

struct upstream;

struct upstream_user {
  /* One line.  The object is the upstream's. */
  void (*line)(void *ctx, json_t *object);
  /* The connection ended, or broke (-errno).  The upstream is gone when this returns. */
  void (*ended)(void *ctx, int error);
  void *ctx;
};

/* Connects and sends the request (taken over; NULL: -ENOMEM).  Nothing is called from inside. */
int upstream_open(sd_event *event, const char *path, json_t *request,
                  const struct upstream_user *user, struct upstream **upstream);
/* Takes what has arrived, now and not when the event loop comes to it; the upstream may be gone then. */
void upstream_drain(struct upstream *upstream);
/* Nothing is called any more.  NULL is accepted. */
void upstream_close(struct upstream *upstream);

/* ---- one request, one reply ---- */

struct call;

/* done comes once, never from inside, with 0 and the reply, or -errno and NULL; *call is gone then.
 * -ETIMEDOUT: no answer in time. */
int call_start(sd_event *event, const char *path, json_t *request, uint64_t timeout_us,
               void (*done)(void *ctx, int error, json_t *reply), void *ctx, struct call **call);
/* done does not come any more.  NULL is accepted. */
void call_cancel(struct call *call);

#endif

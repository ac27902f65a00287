/* The other end of a volume's own control socket, without waiting for it: requests go out, lines
 * come in, a volume that hangs is a deadline that passes. */
#ifndef SUREFOOTD_CONTROL_LINK_H
#define SUREFOOTD_CONTROL_LINK_H

#include <jansson.h>
#include <stdint.h>

#include <systemd/sd-event.h>

struct control_link;

struct control_link_user {
  /* One line.  The object is the control_link's. */
  void (*line)(void *ctx, json_t *object);
  /* The connection ended, or broke (-errno).  The control_link is gone when this returns. */
  void (*ended)(void *ctx, int error);
  void *ctx;
};

/* Connects and sends the request (taken over; NULL: -ENOMEM).  Nothing is called from inside. */
int sfd_control_link_open(sd_event *event, const char *path, json_t *request,
                          const struct control_link_user *user, struct control_link **control_link);
/* Takes what has arrived, now and not when the event loop comes to it; the control_link may be gone
 * then. */
void sfd_control_link_drain(struct control_link *control_link);
/* Nothing is called any more.  NULL is accepted. */
void sfd_control_link_close(struct control_link *control_link);

/* ---- one request, one reply ---- */

struct call;

/* done comes once, never from inside, with 0 and the reply, or -errno and NULL; *call is gone then.
 * -ETIMEDOUT: no answer in time. */
int sfd_call_start(sd_event *event, const char *path, json_t *request, uint64_t timeout_us,
                   void (*done)(void *ctx, int error, json_t *reply), void *ctx,
                   struct call **call);
/* done does not come any more.  NULL is accepted. */
void sfd_call_cancel(struct call *call);

#endif

/* The control socket of all volumes, in the event loop.  A client has one request at a time; while
 * it is being answered, or its answer not taken, nothing more is read from it.  Limits: as for a
 * volume's own socket (control.h).  A client that is slow, silent or gone stops no other. */
#ifndef SUREFOOTD_CLIENTS_H
#define SUREFOOTD_CLIENTS_H

#include <jansson.h>

#include <systemd/sd-event.h>

#include <surefoot/wire.h>

struct clients;
struct reply;

/* A request: it ends in one sfd_reply_send, now or later.  The request is valid during the call. */
typedef void clients_request(void *ctx, const struct sf_control_request *request,
                             struct reply *reply);

int sfd_clients_create(sd_event *event, const char *path, clients_request *request, void *ctx,
                       struct clients **clients);
/* NULL is accepted.  Replies that are still to come go nowhere. */
void sfd_clients_destroy(struct clients *clients);

/* Takes the object over; NULL: no memory.  The reply is gone after this. */
void sfd_reply_send(struct reply *reply, json_t *object);
void sfd_reply_error(struct reply *reply, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The client gets every event from now on; volume NULL: of all. */
void sfd_reply_follow(struct reply *reply, json_t *object, const char *volume);

void sfd_clients_publish(struct clients *clients, const json_t *event);

#endif

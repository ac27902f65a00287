/* Requests in a row: a head, and where the next one goes. */
#include "volume/ground/request_queue.h"

#include "volume/ground/outbox.h"

void
sf_request_append(struct sf_request *request, struct sf_request ***tail) {
  request->next = NULL;
  **tail = request;
  *tail = &request->next;
}

void
sf_request_answer(struct sf_volume *v, struct sf_request *request, int error) {
  request->error = error;
  if (request->internal)
    request->done(request);
  else
    sf_outbox_put_answer(&v->outbox, request);
}

void
sf_request_fail_list(struct sf_volume *v, struct sf_request **head, struct sf_request ***tail,
                     int error) {
  struct sf_request *request = *head, *next;

  *head = NULL;
  *tail = head;
  for (; request != NULL; request = next) {
    next = request->next;
    sf_request_answer(v, request, error);
  }
}

bool
sf_request_remove(struct sf_request **head, struct sf_request ***tail, struct sf_request *request) {
  for (struct sf_request **link = head; *link != NULL; link = &(*link)->next)
    if (*link == request) {
      *link = request->next;
      if (*tail == &request->next)
        *tail = link;
      return true;
    }
  return false;
}

void
sf_vol_park(struct sf_volume *v, struct sf_request *request) {
  sf_request_append(request, &v->parked_tail);
  v->dirty = true;
}

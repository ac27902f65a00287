/* The operator's requests and their answers. */
#ifndef SUREFOOTD_ANSWERS_H
#define SUREFOOTD_ANSWERS_H

#include "requests/clients.h"

/* A clients_request; ctx is the daemon. */
void sfd_answers_request(void *ctx, const struct sf_control_request *request, struct reply *reply);

#endif

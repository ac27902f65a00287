/* A server, a probe and a control socket that do what a test says, in place of surefootd's own. The
 * functions here end the last of each. */
#ifndef TEST_FAKE_SERVER_H
#define TEST_FAKE_SERVER_H

#include <jansson.h>

#include "volumes/volume.h"

struct fake {
  struct server *server;
  unsigned starts;
  char force[64]; /* the last parameter of the last start, or "" */
  int start_error, last_signal;
  unsigned signals;
  struct probe *probe;
  char probed[SF_CONTROL_PATH_MAX]; /* the socket of the last one */
  struct call *call;                /* the last unanswered call */
  char command[64];                 /* of it */
  struct control_link *feed;
};

extern struct fake fake;

void end_server(const char *how);
void end_probe(int error);
/* Takes the reply over. */
void end_call(int error, json_t *reply);
/* A line of the feed; takes it over. */
void feed_line(json_t *line);

#endif

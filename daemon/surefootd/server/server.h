/* The nbdkit process of one volume: started with the listening socket, listened to, ended. */
#ifndef SUREFOOTD_SERVER_H
#define SUREFOOTD_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include <systemd/sd-event.h>

struct server {
  /* The owner's, before the first start. */
  sd_event *event;
  const char *volume; /* the name, for the log */
  /* Its process has ended: "exit status 1", "signal 9".  Not called from inside. */
  void (*ended)(void *ctx, const char *how);
  void *ctx;

  pid_t pid; /* 0: none */
  sd_event_source *child, *output;
  int output_fd;
  size_t used;
  char line[512];      /* what it is just writing to stderr */
  char last_line[256]; /* what it said last: the reason, when it ends */
};

/* argv as for execvp.  It dies with this process. */
int sfd_server_start(struct server *server, const char *const argv[], int listen_fd);
void sfd_server_signal(struct server *server, int signal);
/* Kills it without a word. */
void sfd_server_destroy(struct server *server);

#endif

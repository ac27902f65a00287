/* A volume that is only talk: made-up status, handlers that remember, a server over them. */
#ifndef FAKE_VOLUME_H
#define FAKE_VOLUME_H

#include <pthread.h>

#include <surefoot/control.h>

struct fake_volume {
  pthread_mutex_t lock;
  struct sf_volume_status status;
  char last_call[256]; /* "set leg.a.write_timeout=20ms" */
  int status_error;    /* what the status handler returns */
  char directory[64];  /* private, removed at the end */
  char path[SF_CONTROL_PATH_MAX];
  struct sf_control_server *server;
};

/* Status as in test_surefootctl's expected output; the server listens at DIRECTORY/NAME.ctl but
 * does not run.  quiet_ms 0: the server's default. */
void fake_volume_init(struct fake_volume *fake, const char *name, unsigned quiet_ms);
/* Another volume in the directory of the first. */
void fake_volume_init_beside(struct fake_volume *fake, const char *name,
                             const struct fake_volume *first);
void fake_volume_start(struct fake_volume *fake);
void fake_volume_destroy(struct fake_volume *fake);

struct sf_control_handlers fake_volume_handlers(struct fake_volume *fake);
void fake_volume_event(struct fake_volume *fake, const char *reason);
void fake_volume_last_call(struct fake_volume *fake, char text[256]);

#endif

/* What systemd is told (Type=notify); nothing when it did not start us.  problems: lines, of which the
 * first is shown. */
#ifndef SUREFOOTD_NOTIFY_H
#define SUREFOOTD_NOTIFY_H

#include <jansson.h>

struct volumes;

void notify_ready(const struct volumes *volumes, const json_t *problems);
void notify_reloading(void);
void notify_reloaded(const struct volumes *volumes, const json_t *problems);
void notify_stopping(void);
/* The line that `systemctl status` shows. */
void notify_status(const struct volumes *volumes, const json_t *problems);

#endif

/* What systemd is told (Type=notify); nothing when it did not start us.  problems: lines, of which
 * the first is shown. */
#ifndef SUREFOOTD_NOTIFY_H
#define SUREFOOTD_NOTIFY_H

#include <jansson.h>

struct volumes;

void sfd_notify_ready(const struct volumes *volumes, const json_t *problems);
void sfd_notify_reloading(void);
void sfd_notify_reloaded(const struct volumes *volumes, const json_t *problems);
void sfd_notify_stopping(void);
/* The line that `systemctl status` shows. */
void sfd_notify_status(const struct volumes *volumes, const json_t *problems);

#endif

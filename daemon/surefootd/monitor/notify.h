/* What systemd is told (Type=notify); nothing when it did not start us. */
#ifndef SUREFOOTD_NOTIFY_H
#define SUREFOOTD_NOTIFY_H

struct volumes;

void notify_ready(const struct volumes *volumes);
void notify_reloading(void);
void notify_reloaded(const struct volumes *volumes);
void notify_stopping(void);
/* The line that `systemctl status` shows. */
void notify_status(const struct volumes *volumes);

#endif

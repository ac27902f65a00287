/* What systemd is told (Type=notify); nothing when it did not start us. */
#ifndef SUREFOOTD_NOTIFY_H
#define SUREFOOTD_NOTIFY_H

struct daemon;

void notify_ready(struct daemon *daemon);
void notify_reloading(struct daemon *daemon);
void notify_reloaded(struct daemon *daemon);
void notify_stopping(struct daemon *daemon);
/* The line that `systemctl status` shows. */
void notify_status(struct daemon *daemon);

#endif

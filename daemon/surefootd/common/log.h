/* The daemon's log: to the journal with fields when stderr is the journal, else lines on stderr.
 * It never waits: a line that the log does not take at once is lost, and that is told when it takes
 * lines again.  (A log that is held up by a volume must not hold up what would help the volume.) */
#ifndef SUREFOOTD_LOG_H
#define SUREFOOTD_LOG_H

#include <syslog.h>

/* Any of them may be NULL.  They become SUREFOOT_VOLUME, SUREFOOT_LEG and SUREFOOT_REASON;
 * message_id: MESSAGE_ID. */
struct log_fields {
  const char *volume, *leg, *reason, *message_id;
};

/* Later entries are also among the lines of this unit (`journalctl -u`). */
extern const char *sfd_log_unit;

void sfd_log_open(void);
/* For sfd_log_open(), and tests: entries go to the socket of this path.  0 or -errno. */
int sfd_log_open_journal(const char *path);

/* priority as for syslog; a line longer than 1 KiB is cut. */
void sfd_log_fields(int priority, const struct log_fields *fields, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* volume may be NULL: the daemon itself. */
#define log_line(priority, name, ...)                                                              \
  sfd_log_fields(priority, &(struct log_fields){.volume = (name)}, __VA_ARGS__)
#define log_info(name, ...)    log_line(LOG_INFO, name, __VA_ARGS__)
#define log_notice(name, ...)  log_line(LOG_NOTICE, name, __VA_ARGS__)
#define log_warning(name, ...) log_line(LOG_WARNING, name, __VA_ARGS__)
#define log_error(name, ...)   log_line(LOG_ERR, name, __VA_ARGS__)

#endif

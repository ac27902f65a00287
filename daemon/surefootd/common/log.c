#include "common/log.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/assert.h"

enum {
  LINE_CHARS_MAX = 1024,
  FIELDS_MAX = 8,
  ENTRY_BYTES_MAX = FIELDS_MAX * (LINE_CHARS_MAX + 64)
};

#define JOURNAL_PATH "/run/systemd/journal/socket"

const char *sfd_log_unit; /* NULL: of ours only */
static int journal = -1;  /* a socket that is connected to it; -1: lines go to stderr */
static unsigned dropped;  /* since the last line that was taken */

static bool
stderr_is_journal(void) {
  const char *stream = getenv("JOURNAL_STREAM");
  struct stat st;
  unsigned long long device, inode;
  return stream && sscanf(stream, "%llu:%llu", &device, &inode) == 2 &&
         fstat(STDERR_FILENO, &st) == 0 && st.st_dev == device && st.st_ino == inode;
}

/* Not sd_journal_send(): it waits for a journal that does not take entries, and what holds the
 * journal up may be a volume that waits for us. */
int
sfd_log_open_journal(const char *path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  int bytes = 8 * 1024 * 1024; /* as libsystemd asks for */
  if (strlen(path) >= sizeof address.sun_path)
    return -ENAMETOOLONG;
  memcpy(address.sun_path, path, strlen(path) + 1);
  int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0)
    return -errno;
  if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes) < 0)
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
  if (connect(fd, (struct sockaddr *) &address, sizeof address) < 0) {
    int error = -errno;
    close(fd);
    return error;
  }
  if (journal >= 0)
    close(journal);
  journal = fd;
  return 0;
}

/* systemd says in JOURNAL_STREAM which file the journal's end of stderr is. */
void
sfd_log_open(void) {
  if (stderr_is_journal())
    sfd_log_open_journal(JOURNAL_PATH);
}

/* ---- an entry in the journal's own protocol: KEY=value, one a line ---- */

struct entry {
  char text[ENTRY_BYTES_MAX];
  size_t used;
};

static void
add_field(struct entry *entry, const char *name, const char *value) {
  if (value == NULL || !*value)
    return;
  SF_ASSERT(entry->used + LINE_CHARS_MAX + 33 <= sizeof entry->text);
  char *from = entry->text + entry->used;
  int len = snprintf(from, LINE_CHARS_MAX + 32, "%s=%s", name, value);
  size_t bytes = len < LINE_CHARS_MAX + 32 ? (size_t) len : LINE_CHARS_MAX + 31;
  for (size_t i = 0; i < bytes; i++)
    if (from[i] == '\n') /* it would end the field */
      from[i] = ' ';
  from[bytes] = '\n';
  entry->used += bytes + 1;
}

/* False: it was not taken.  The journal may have been started anew. */
static bool
send_entry(const struct entry *entry) {
  ssize_t sent = send(journal, entry->text, entry->used, MSG_NOSIGNAL);
  if (sent < 0 && (errno == ECONNREFUSED || errno == ENOTCONN || errno == ECONNRESET) &&
      sfd_log_open_journal(JOURNAL_PATH) == 0)
    sent = send(journal, entry->text, entry->used, MSG_NOSIGNAL);
  return sent >= 0;
}

static bool
to_journal(int priority, const struct log_fields *fields, const char *line) {
  struct entry entry;
  char number[16];
  entry.used = 0;
  snprintf(number, sizeof number, "%d", priority);
  add_field(&entry, "MESSAGE", line);
  add_field(&entry, "PRIORITY", number);
  add_field(&entry, "SYSLOG_IDENTIFIER", "surefootd");
  add_field(&entry, "OBJECT_SYSTEMD_UNIT", sfd_log_unit);
  add_field(&entry, "MESSAGE_ID", fields->message_id);
  add_field(&entry, "SUREFOOT_VOLUME", fields->volume);
  add_field(&entry, "SUREFOOT_LEG", fields->leg);
  add_field(&entry, "SUREFOOT_REASON", fields->reason);
  return send_entry(&entry);
}

/* ---- a line on stderr ---- */

/* A pipe or a terminal that says it can be written takes PIPE_BUF bytes without waiting. */
static bool
to_stderr(const char *line) {
  char text[LINE_CHARS_MAX + 16];
  struct pollfd out = {.fd = STDERR_FILENO, .events = POLLOUT};
  int len = snprintf(text, sizeof text, "surefootd: %s\n", line);
  if (poll(&out, 1, 0) != 1 || !(out.revents & POLLOUT))
    return false;
  ssize_t sent = send(STDERR_FILENO, text, (size_t) len, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent < 0 && errno == ENOTSOCK)
    sent = write(STDERR_FILENO, text, (size_t) len);
  return sent >= 0;
}

static bool
put(int priority, const struct log_fields *fields, const char *line) {
  return journal >= 0 ? to_journal(priority, fields, line) : to_stderr(line);
}

/* Told before the first line that is taken again. */
static void
tell_dropped(void) {
  static const struct log_fields none;
  char line[96];
  snprintf(line, sizeof line, "the log took no lines for a while: %u are lost here", dropped);
  if (dropped > 0 && put(LOG_WARNING, &none, line))
    dropped = 0;
}

void
sfd_log_fields(int priority, const struct log_fields *fields, const char *format, ...) {
  char line[LINE_CHARS_MAX];
  int used = 0;
  if (fields->volume)
    used = snprintf(line, sizeof line, "%s: ", fields->volume);
  va_list args;
  va_start(args, format);
  vsnprintf(line + used, sizeof line - (size_t) used, format, args);
  va_end(args);
  tell_dropped();
  if (!put(priority, fields, line))
    dropped++;
}

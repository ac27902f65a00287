#include "common/log.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <systemd/sd-journal.h>

enum { LINE_CHARS_MAX = 1024, FIELDS_MAX = 6 };

static bool to_journal;

/* systemd says in JOURNAL_STREAM which file the journal's end of stderr is. */
void
log_open(void) {
  const char *stream = getenv("JOURNAL_STREAM");
  struct stat st;
  unsigned long long device, inode;
  to_journal = stream && sscanf(stream, "%llu:%llu", &device, &inode) == 2 &&
               fstat(STDERR_FILENO, &st) == 0 && st.st_dev == device && st.st_ino == inode;
}

struct entry {
  struct iovec iov[FIELDS_MAX];
  char text[FIELDS_MAX][LINE_CHARS_MAX + 32];
  int count;
};

static void
add_field(struct entry *entry, const char *name, const char *value) {
  if (!value || !*value)
    return;
  int i = entry->count++;
  int len = snprintf(entry->text[i], sizeof entry->text[i], "%s=%s", name, value);
  size_t bytes = len < (int) sizeof entry->text[i] ? (size_t) len : sizeof entry->text[i] - 1;
  entry->iov[i] = (struct iovec){.iov_base = entry->text[i], .iov_len = bytes};
}

static void
send_to_journal(int priority, const struct log_fields *fields, const char *line) {
  struct entry entry;
  char number[16];
  entry.count = 0;
  snprintf(number, sizeof number, "%d", priority);
  add_field(&entry, "MESSAGE", line);
  add_field(&entry, "PRIORITY", number);
  add_field(&entry, "SYSLOG_IDENTIFIER", "surefootd");
  add_field(&entry, "SUREFOOT_VOLUME", fields->volume);
  add_field(&entry, "SUREFOOT_LEG", fields->leg);
  add_field(&entry, "SUREFOOT_REASON", fields->reason);
  sd_journal_sendv(entry.iov, entry.count);
}

void
log_fields(int priority, const struct log_fields *fields, const char *format, ...) {
  char line[LINE_CHARS_MAX];
  int used = 0;
  if (fields->volume)
    used = snprintf(line, sizeof line, "%s: ", fields->volume);
  va_list args;
  va_start(args, format);
  vsnprintf(line + used, sizeof line - (size_t) used, format, args);
  va_end(args);
  if (to_journal)
    send_to_journal(priority, fields, line);
  else
    fprintf(stderr, "surefootd: %s\n", line);
}

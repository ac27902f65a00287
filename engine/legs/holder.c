/* The holder of the legs: this server, as its claim will say; and at a start, the server that
 * claimed them last.
 *
 * A holder that was of this machine is gone when its process is: by itself a claim does not tell a
 * crash from a server that still runs.  Of another machine only the operator can know that. */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <surefoot/legfile.h>

enum { EXITING = 4 /* PF_EXITING of the kernel's flags */ };

/* The hexadecimal digits of a file, with or without hyphens; nil when it has not 32 of them. */
static struct sf_uuid
read_uuid(const char *path) {
  struct sf_uuid uuid = {0};
  char digits[3] = "";
  unsigned n = 0;
  FILE *file = fopen(path, "re");
  int c;

  if (file == NULL)
    return uuid;
  while (n < 2 * sizeof uuid.bytes && (isxdigit(c = getc(file)) || c == '-'))
    if (c != '-') {
      digits[n % 2] = (char) c;
      if (n++ % 2 == 1)
        uuid.bytes[n / 2 - 1] = (uint8_t) strtoul(digits, NULL, 16);
    }
  fclose(file);
  return n == 2 * sizeof uuid.bytes ? uuid : (struct sf_uuid){0};
}

/* False: there is no such process, or it is on its way out. */
static bool
read_process(uint32_t pid, uint64_t *started) {
  char path[64], line[1024], state = 'X', *after;
  unsigned flags = EXITING;
  FILE *file;
  bool read;

  snprintf(path, sizeof path, "/proc/%" PRIu32 "/stat", pid);
  file = fopen(path, "re");
  if (file == NULL)
    return false;
  read = fgets(line, sizeof line, file) != NULL;
  fclose(file);
  after = read ? strrchr(line, ')') : NULL; /* its name may have anything in it */
  if (after == NULL ||
      sscanf(after + 1,
             " %c %*d %*d %*d %*d %*d %u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %" SCNu64,
             &state, &flags, started) != 3)
    return false;
  return state != 'Z' && state != 'X' && !(flags & EXITING);
}

void
sf_holder_self(struct sf_holder *holder) {
  *holder = (struct sf_holder){
      .machine = read_uuid("/etc/machine-id"),
      .boot = read_uuid("/proc/sys/kernel/random/boot_id"),
      .since_s = (uint64_t) time(NULL),
      .pid = (uint32_t) getpid(),
  };
  gethostname(holder->host, sizeof holder->host - 1);
  for (char *at = holder->host; *at != '\0'; at++)
    if (*at <= ' ' || *at > '~')
      *at = '?';
  read_process(holder->pid, &holder->started);
}

static bool
is_nil(const struct sf_uuid *uuid) {
  static const struct sf_uuid nil;

  return sf_uuid_equal(uuid, &nil);
}

/* What a machine knows of itself: a clone of it may have its id, and has another kernel. */
static bool
is_of_this_machine(const struct sf_holder *self, const struct sf_holder *holder) {
  if (!is_nil(&holder->boot) && sf_uuid_equal(&holder->boot, &self->boot))
    return true;
  if (is_nil(&holder->machine) && is_nil(&self->machine))
    return strcmp(holder->host, self->host) == 0;
  return sf_uuid_equal(&holder->machine, &self->machine);
}

bool
sf_holder_is_gone(const struct sf_holder *self, const struct sf_holder *holder) {
  uint64_t started = 0;

  if (!is_of_this_machine(self, holder))
    return false;
  if (is_nil(&holder->boot) || !sf_uuid_equal(&holder->boot, &self->boot))
    return true; /* it was before the machine was started last */
  return !read_process(holder->pid, &started) || started != holder->started;
}

/* The superblocks that tell of the latest start: those with the highest claim, and of them, as it
 * may have gone on, the newest record.  Others may name a holder that has stopped clean since. */
static int
compare_claims(const struct sf_superblock *a, const struct sf_superblock *b) {
  if (a->claim != b->claim)
    return a->claim < b->claim ? -1 : 1;
  return sf_record_compare(&a->record, &b->record);
}

const struct sf_superblock *
sf_held_by_another(const struct sf_leg_found found_legs[SF_LEGS_MAX], const struct sf_uuid *volume,
                   const struct sf_holder *self) {
  const struct sf_superblock *latest = NULL, *held = NULL;

  for (unsigned i = 0; i < SF_LEGS_MAX; i++) {
    const struct sf_leg_found *found = &found_legs[i];
    int order;

    if (!found->present || found->error != 0 || !sf_uuid_equal(&found->sb.volume, volume))
      continue;
    order = latest == NULL ? 1 : compare_claims(&found->sb, latest);
    if (order < 0)
      continue;
    if (order > 0) {
      latest = &found->sb;
      held = NULL;
    }
    if (found->sb.holder.since_s != 0 && !sf_holder_equal(&found->sb.holder, self) &&
        !sf_holder_is_gone(self, &found->sb.holder))
      held = &found->sb;
  }
  return held;
}

void
sf_say_held(const struct sf_superblock *held, char error[SF_CONFIG_ERROR_MAX]) {
  const struct sf_holder *holder = &held->holder;
  time_t at = (time_t) holder->since_s;
  char since[64] = "?", machine[37];
  struct tm tm;

  if (localtime_r(&at, &tm) != NULL)
    strftime(since, sizeof since, "%F %T", &tm);
  sf_uuid_format(&holder->machine, machine);
  snprintf(
      error, SF_CONFIG_ERROR_MAX,
      "in use by %s (machine %s, process %" PRIu32 ") since %s, term %" PRIu64
      ": stop it there, and wait until it has stopped. If it is certain that it runs no more, take "
      "the legs from it: `nbdkit surefoot CONF take=true`",
      holder->host[0] != '\0' ? holder->host : "a host without a name", machine, holder->pid, since,
      held->claim);
}

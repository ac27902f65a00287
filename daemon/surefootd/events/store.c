#include "events/store.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/job.h"
#include "common/log.h"

/* Events come in bursts: so long is waited for more. */
#define GATHER_US  UINT64_C(300000)
#define TIMEOUT_US UINT64_C(30000000)

enum { LAST_WORDS_MS = 2000, LINE_BYTES_MAX = 32 * 1024 };

/* ---- the file ---- */

void
sfd_store_load(const char *path, struct events *events) {
  char *line = NULL;
  size_t size = 0;
  ssize_t len;
  FILE *stream = path[0] ? fopen(path, "re") : NULL;
  if (!stream) {
    if (path[0] && errno != ENOENT)
      log_warning(NULL, "%s: the events from before are not known: %s", path, strerror(errno));
    return;
  }
  while ((len = getline(&line, &size, stream)) > 0 && len < LINE_BYTES_MAX) {
    json_t *event = json_loads(line, 0, NULL);
    if (*sfd_events_text(event, "event") && *sfd_events_text(event, "volume"))
      sfd_events_restore(events, event);
    json_decref(event);
  }
  free(line);
  fclose(stream);
}

static int
write_all(const struct events *events, FILE *stream) {
  json_t *list = sfd_events_list(events, NULL), *event;
  size_t i;
  int r = list ? 0 : -ENOMEM;
  json_array_foreach(list, i, event)
    if (json_dumpf(event, stream, JSON_COMPACT) < 0 || fputc('\n', stream) == EOF)
      r = -EIO;
  json_decref(list);
  return r;
}

/* In a child.  A crash leaves the old file or the new one. */
static int
save(void *arg) {
  const struct store *store = arg;
  char folder[PATH_MAX], made[PATH_MAX];
  const char *slash = strrchr(store->path, '/');
  snprintf(folder, sizeof folder, "%.*s", (int) (slash - store->path), store->path);
  if (folder[0] && mkdir(folder, 0755) < 0 && errno != EEXIST)
    return -errno;
  if (snprintf(made, sizeof made, "%s.new", store->path) >= (int) sizeof made)
    return -ENAMETOOLONG;
  int fd = open(made, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0640);
  FILE *stream = fd < 0 ? NULL : fdopen(fd, "w");
  if (!stream)
    return -errno;
  int r = write_all(store->events, stream);
  if (r == 0 && (fflush(stream) != 0 || fsync(fd) < 0))
    r = -errno;
  if (fclose(stream) != 0 && r == 0)
    r = -errno;
  if (r == 0 && rename(made, store->path) < 0)
    r = -errno;
  return r;
}

/* ---- when ---- */

static void plan(struct store *store);

static void
on_saved(void *ctx, int error) {
  struct store *store = ctx;
  store->job = NULL;
  if (error && !store->failed)
    log_warning(NULL, "%s: events are not kept for the next start: %s", store->path,
                strerror(-error));
  store->failed = error != 0;
  if (store->dirty)
    plan(store);
}

static int
on_time(sd_event_source *source, uint64_t usec, void *userdata) {
  struct store *store = userdata;
  store->timer = sd_event_source_disable_unref(store->timer);
  store->dirty = false;
  int r = sfd_job_start(store->event, TIMEOUT_US, save, store, -1, on_saved, store, &store->job);
  if (r < 0)
    on_saved(store, r);
  return 0;
}

static void
plan(struct store *store) {
  if (store->timer || store->job)
    return;
  sd_event_add_time_relative(store->event, &store->timer, CLOCK_MONOTONIC, GATHER_US, 0, on_time,
                             store);
}

void
sfd_store_note(struct store *store) {
  if (!store->path || !store->path[0])
    return;
  store->dirty = true;
  plan(store);
}

void
sfd_store_end(struct store *store) {
  bool has_news = store->dirty || store->job;
  sfd_job_cancel(store->job);
  store->job = NULL;
  store->timer = sd_event_source_disable_unref(store->timer);
  if (!has_news)
    return;
  pid_t pid = fork();
  if (pid == 0)
    _exit(save(store) < 0);
  int fd = pid < 0 ? -1 : pidfd_open(pid, 0);
  struct pollfd ended = {.fd = fd, .events = POLLIN};
  if (fd < 0 || poll(&ended, 1, LAST_WORDS_MS) <= 0)
    log_warning(NULL, "%s: the last events are not kept", store->path);
  else
    waitpid(pid, NULL, 0);
  if (fd >= 0)
    close(fd);
}

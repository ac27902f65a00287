#include "common/kept_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/child.h"
#include "common/job.h"
#include "common/log.h"

#define TIMEOUT_US UINT64_C(30000000)

enum { LAST_WORDS_MS = 2000, READ_MS = 3000 };

/* ---- what was kept ---- */

struct reading {
  const char *path;
  int to;
};

/* In a child. */
static int
copy(void *arg) {
  const struct reading *reading = arg;
  int from = open(reading->path, O_RDONLY | O_CLOEXEC);
  char bytes[64 * 1024];
  ssize_t n;
  if (from < 0)
    return -errno;
  while ((n = read(from, bytes, sizeof bytes)) > 0)
    if (write(reading->to, bytes, (size_t) n) != n)
      return -EIO;
  return n < 0 ? -errno : 0;
}

/* It may be on a volume, and then a start after a crash is what that waits for. */
FILE *
sfd_kept_file_read(const char *path, const char *what) {
  if (!path[0])
    return NULL;
  struct reading reading = {.path = path, .to = memfd_create("surefootd", MFD_CLOEXEC)};
  int r = reading.to < 0 ? -errno : sfd_child_call(copy, &reading, READ_MS);
  FILE *stream = NULL;
  if (r == 0 && (lseek(reading.to, 0, SEEK_SET) < 0 || !(stream = fdopen(reading.to, "r"))))
    r = -errno;
  if (!stream && reading.to >= 0)
    close(reading.to);
  if (r < 0 && r != -ENOENT)
    log_warning(NULL, "%s: the %s from before are not known: %s", path, what,
                r == -ETIMEDOUT ? "it does not answer" : strerror(-r));
  return stream;
}

/* ---- keeping ---- */

/* In a child.  A crash leaves the old file or the new one. */
static int
save(void *arg) {
  const struct kept_file *kept = arg;
  char folder[PATH_MAX], made[PATH_MAX];
  const char *slash = strrchr(kept->path, '/');
  snprintf(folder, sizeof folder, "%.*s", (int) (slash - kept->path), kept->path);
  if (folder[0] && mkdir(folder, 0755) < 0 && errno != EEXIST)
    return -errno;
  if (snprintf(made, sizeof made, "%s.new", kept->path) >= (int) sizeof made)
    return -ENAMETOOLONG;
  int fd = open(made, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0640);
  FILE *stream = fd < 0 ? NULL : fdopen(fd, "w");
  if (stream == NULL)
    return -errno;
  int r = kept->write(kept->ctx, stream);
  if (r == 0 && (fflush(stream) != 0 || fsync(fd) < 0))
    r = -errno;
  if (fclose(stream) != 0 && r == 0)
    r = -errno;
  if (r == 0 && rename(made, kept->path) < 0)
    r = -errno;
  return r;
}

static void plan(struct kept_file *kept);

static void
on_saved(void *ctx, int error) {
  struct kept_file *kept = ctx;
  kept->job = NULL;
  if (error && !kept->failed)
    log_warning(NULL, "%s: %s are not kept for the next start: %s", kept->path, kept->what,
                strerror(-error));
  kept->failed = error != 0;
  if (kept->dirty)
    plan(kept);
}

static void
begin(struct kept_file *kept) {
  kept->timer = sd_event_source_disable_unref(kept->timer);
  kept->dirty = false;
  int r = sfd_job_start(kept->event, TIMEOUT_US, save, kept, -1, on_saved, kept, &kept->job);
  if (r < 0)
    on_saved(kept, r);
}

static int
on_time(sd_event_source *source, uint64_t usec, void *userdata) {
  begin(userdata);
  return 0;
}

static void
plan(struct kept_file *kept) {
  if (kept->timer || kept->job)
    return;
  sd_event_add_time_relative(kept->event, &kept->timer, CLOCK_MONOTONIC, kept->gather_us, 0,
                             on_time, kept);
}

void
sfd_kept_file_note(struct kept_file *kept) {
  if (kept->path == NULL || !kept->path[0] || kept->closed)
    return;
  kept->dirty = true;
  plan(kept);
}

void
sfd_kept_file_close(struct kept_file *kept) {
  bool has_news = kept->dirty || kept->job;
  sfd_job_cancel(kept->job);
  kept->job = NULL;
  kept->closed = true;
  if (has_news)
    begin(kept);
}

void
sfd_kept_file_end(struct kept_file *kept) {
  bool has_news = kept->dirty || kept->job;
  pid_t pid = kept->closed && kept->job ? sfd_job_pid(kept->job) : 0;
  kept->timer = sd_event_source_disable_unref(kept->timer);
  if (!has_news)
    return;
  if (!pid) {
    sfd_job_cancel(kept->job);
    kept->job = NULL;
    pid = fork();
    if (pid == 0)
      _exit(save(kept) < 0);
  }
  int fd = pid < 0 ? -1 : pidfd_open(pid, 0);
  struct pollfd ended = {.fd = fd, .events = POLLIN};
  if (fd < 0 || poll(&ended, 1, LAST_WORDS_MS) <= 0)
    log_warning(NULL, "%s: the last %s are not kept", kept->path, kept->what);
  else if (kept->job == NULL)
    waitpid(pid, NULL, 0);
  if (fd >= 0)
    close(fd);
  sfd_job_cancel(kept->job);
  kept->job = NULL;
}

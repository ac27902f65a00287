/* Does the path of each leg still lead to the leg?  A file that was deleted, renamed or replaced
 * while it is open serves on, and is not found at the next start.  Looked at now and then, by
 * processes that may hang instead of us; the processes that make them are replaced here when they
 * are killed. */
#include "base/units.h"
#include "serve/internal.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/assert.h"

enum { WATCH_S = 5, ANSWER_MS = 1000 };

struct look_under_way {
  int socket;       /* -1: none */
  unsigned opening; /* of the leg that it is about */
};

/* The path's fault; NULL: none that can be told. */
static const char *
what_is_wrong(const struct serve_watched *leg, const struct sf_leg_look *look) {
  if (look->error == -ENOENT || look->error == -ENOTDIR)
    return leg->is_block ? "the device is gone, or has another name"
                         : "its file was deleted or renamed";
  if (look->error != 0)
    return NULL; /* a look that fails otherwise says nothing of the leg */
  if (look->is_block != leg->is_block || look->device != leg->device || look->inode != leg->inode)
    return "its path names another one";
  return leg->is_block && look->bytes == 0 ? "the device is empty: was it unplugged?" : NULL;
}

static void
tell(struct sf_serve *serve, unsigned index, const char *wrong) {
  char name[SF_LEG_NAME_MAX], reason[SF_LEG_REASON_MAX] = "its path leads to it again";
  struct sf_superblock identity;
  struct sf_volume_event event = {.kind = SF_EVENT_LEG_PATH,
                                  .now_ns = sf_tio_now(),
                                  .leg = (int) index,
                                  .leg_name = name,
                                  .reason = reason};

  sf_volume_get_identity(serve->volume, &identity);
  snprintf(name, sizeof name, "%s", identity.leg_name[index]);
  if (wrong != NULL)
    snprintf(reason, sizeof reason,
             "%s: the next start will not find the leg. Give it its name back, or `leg fail` and "
             "`leg replace` it, while it serves",
             wrong);
  pthread_mutex_lock(&serve->lock);
  snprintf(serve->leg[index].watched.text, SF_LEG_REASON_MAX, "%s", wrong == NULL ? "" : reason);
  pthread_mutex_unlock(&serve->lock);
  sf_serve_event(serve, &event);
}

/* Of each leg one look is under way at most, however long it takes. */
static void
begin(struct sf_serve *serve, struct look_under_way *look, unsigned index) {
  char path[PATH_MAX];
  bool on;

  pthread_mutex_lock(&serve->lock);
  on = serve->leg[index].watched.on;
  if (on && look->socket < 0)
    look->opening = serve->leg[index].watched.opening;
  pthread_mutex_unlock(&serve->lock);
  if (!on || look->socket >= 0)
    return;
  sf_volume_leg_path(serve->volume, index, path);
  if (path[0] == '/')
    look->socket = sf_leg_look_begin(serve->openers, path);
}

static void
take(struct sf_serve *serve, struct look_under_way *look, unsigned index) {
  struct serve_watched watched;
  struct sf_leg_look found;
  int r = sf_leg_look_end(look->socket, &found);
  const char *wrong;

  look->socket = -1;
  pthread_mutex_lock(&serve->lock);
  watched = serve->leg[index].watched;
  pthread_mutex_unlock(&serve->lock);
  /* Opened anew meanwhile: the look was at the path of another file. */
  if (r < 0 || !watched.on || watched.opening != look->opening)
    return;
  wrong = what_is_wrong(&watched, &found);
  if ((wrong != NULL) != (watched.text[0] != '\0') ||
      (wrong != NULL && strncmp(watched.text, wrong, strlen(wrong)) != 0))
    tell(serve, index, wrong);
}

/* Takes what comes within ANSWER_MS. */
static void
take_answers(struct sf_serve *serve, struct look_under_way look[SF_LEGS_MAX]) {
  uint64_t until = sf_tio_now() + ANSWER_MS * SF_MS, now;

  while ((now = sf_tio_now()) < until) {
    struct pollfd ready[SF_LEGS_MAX];
    bool open = false;

    for (unsigned i = 0; i < SF_LEGS_MAX; i++) {
      ready[i] = (struct pollfd){.fd = look[i].socket, .events = POLLIN};
      open |= look[i].socket >= 0;
    }
    if (!open || poll(ready, SF_LEGS_MAX, (int) ((until - now) / SF_MS) + 1) <= 0)
      return;
    for (unsigned i = 0; i < SF_LEGS_MAX; i++)
      if (ready[i].revents != 0)
        take(serve, &look[i], i);
  }
}

/* ---- the processes that make processes ---- */

static void
tell_of_forks(struct sf_serve *serve, const char *what, const char *without, int news) {
  if (news == 1)
    sf_serve_log(serve, "a process that makes %s was killed; a new one has taken its place", what);
  else if (news == -EPIPE)
    sf_serve_log(serve, "both processes that make %s were killed: %s until the volume is restarted",
                 what, without);
  else if (news < 0)
    sf_serve_log(serve, "a process that makes %s was killed; it is tried again to replace it: %s",
                 what, strerror(-news));
}

static void
tend_forks(struct sf_serve *serve) {
  tell_of_forks(serve, "the processes that open legs",
                "legs are opened by the server itself, which stays if one hangs",
                sf_leg_openers_tend(serve->openers, sf_tio_now()));
  tell_of_forks(serve, "the legs' own processes", "a leg that needs a new one has none",
                sf_tio_submitters_tend(serve->submitters));
}

/* False: it ends. */
static bool
wait_a_while(struct sf_serve *serve) {
  uint64_t until = sf_tio_now() + WATCH_S * SF_S, now;

  while ((now = sf_tio_now()) < until) {
    struct pollfd news[] = {
        {.fd = serve->watch_quit, .events = POLLIN},
        {.fd = sf_leg_openers_news(serve->openers), .events = POLLIN},
        {.fd = sf_tio_submitters_news(serve->submitters), .events = POLLIN},
    };
    int n = poll(news, 3, (int) ((until - now) / SF_MS) + 1);

    if (news[0].revents != 0)
      return false;
    if (n > 0)
      tend_forks(serve);
  }
  tend_forks(serve);
  return true;
}

/* Once more at the end: what happened a moment ago is to be told too. */
static void *
watch(void *arg) {
  struct sf_serve *serve = arg;
  struct look_under_way look[SF_LEGS_MAX];
  bool more;

  for (unsigned i = 0; i < SF_LEGS_MAX; i++)
    look[i] = (struct look_under_way){.socket = -1};
  do {
    more = wait_a_while(serve);
    for (unsigned i = 0; i < SF_LEGS_MAX; i++)
      begin(serve, &look[i], i);
    take_answers(serve, look);
  } while (more);
  for (unsigned i = 0; i < SF_LEGS_MAX; i++)
    if (look[i].socket >= 0)
      close(look[i].socket);
  return NULL;
}

int
sf_serve_watch_start(struct sf_serve *serve) {
  int r;

  serve->watch_quit = eventfd(0, EFD_CLOEXEC);
  if (serve->watch_quit < 0)
    return -errno;
  r = pthread_create(&serve->watch, NULL, watch, serve);
  if (r != 0) {
    close(serve->watch_quit);
    return -r;
  }
  serve->watch_started = true;
  pthread_setname_np(serve->watch, "surefoot-watch");
  return 0;
}

void
sf_serve_watch_stop(struct sf_serve *serve) {
  uint64_t one = 1;

  if (!serve->watch_started)
    return;
  SF_ASSERT(write(serve->watch_quit, &one, sizeof one) == sizeof one);
  pthread_join(serve->watch, NULL);
  close(serve->watch_quit);
  serve->watch_started = false;
}

void
sf_serve_watch_leg(struct sf_serve *serve, struct serve_leg *leg, bool on) {
  pthread_mutex_lock(&serve->lock);
  leg->watched.on = on;
  leg->watched.opening++;
  leg->watched.is_block = leg->file.is_block;
  leg->watched.device = leg->file.device;
  leg->watched.inode = leg->file.inode;
  leg->watched.text[0] = '\0';
  pthread_mutex_unlock(&serve->lock);
}

void
sf_serve_watch_note(struct sf_serve *serve, struct sf_volume_status *status) {
  pthread_mutex_lock(&serve->lock);
  for (unsigned i = 0; i < status->legs && i < SF_LEGS_MAX; i++)
    if (status->leg[i].reason[0] == '\0')
      snprintf(status->leg[i].reason, SF_LEG_REASON_MAX, "%s", serve->leg[i].watched.text);
  pthread_mutex_unlock(&serve->lock);
}

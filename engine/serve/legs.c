/* Opening a leg that was missing.  open(2) on a dead disk can hang, so each attempt has a thread of
 * its own; the volume asks for at most one attempt per leg at a time. */
#include "base/units.h"
#include "serve/internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What hangs at a path must not keep what the path leads to later out.  But a disk with many bad pages needs long, and
 * each opening that hangs leaves a process behind: so the next may take twice as long, up to 16 minutes. */
enum { ANSWER_S = 30, LONGER_AT_MOST = 5 };

struct opening {
  struct sf_serve *serve;
  unsigned leg;
  enum sf_leg_blank blank;
  struct serve_leg *beside; /* the fresh opening beside the device in use; else NULL */
};

static const char *
no_submitter(int error) {
  switch (error) {
  case -ENOMEM:
    return "it may not lock the memory; run as root, or raise the limit (LimitMEMLOCK=infinity, "
           "ulimit -l)";
  case -ENOSPC:
    return "all are with legs that hang";
  case -EPIPE:
    return "the processes that make them are gone; a restart of the volume brings them back";
  default:
    return strerrordesc_np(-error);
  }
}

/* With serve->lock held; -1: an unused one. */
static struct serve_device_name *
find_name(struct sf_serve *serve, int fd) {
  for (unsigned i = 0; i < SF_TIO_DEVICES_MAX; i++)
    if (serve->device_name[i].fd == fd)
      return &serve->device_name[i];
  return NULL;
}

/* Before there is a device: its submitter can be killed at any time.  NULL: it has none any
 * more. */
static void
set_name(struct sf_serve *serve, int fd, const char *name) {
  struct serve_device_name *known;

  pthread_mutex_lock(&serve->lock);
  known = find_name(serve, name != NULL ? -1 : fd);
  if (known != NULL) {
    known->fd = name != NULL ? fd : -1;
    snprintf(known->name, sizeof known->name, "%s", name != NULL ? name : "");
  }
  pthread_mutex_unlock(&serve->lock);
}

/* The process of a leg was killed, by an operator or for want of memory. */
void
sf_serve_submitter_lost(void *ctx, int fd, int error) {
  struct sf_serve *serve = ctx;
  const struct serve_device_name *known;
  char name[SF_LEG_NAME_MAX] = "?";

  pthread_mutex_lock(&serve->lock);
  known = find_name(serve, fd);
  if (known != NULL)
    memcpy(name, known->name, sizeof name);
  pthread_mutex_unlock(&serve->lock);
  if (error == 0)
    sf_serve_log(serve, "leg %s: its own process was killed; a new one has taken its place", name);
  else
    sf_serve_log(
        serve,
        "leg %s: its own process was killed, and there is no new one: %s. If the leg hangs, "
        "this process stays and keeps all legs",
        name, no_submitter(error));
}

int
sf_serve_add_device(struct sf_serve *serve, struct serve_leg *leg, const char *name) {
  int error, r;

  set_name(serve, leg->file.fd, name);
  r = sf_tio_device_add(serve->client, leg->file.fd, &leg->device);
  if (r < 0) {
    set_name(serve, leg->file.fd, NULL);
    return r;
  }
  sf_serve_watch_leg(serve, leg, true);
  error = sf_tio_device_submitter(leg->device);
  if (error < 0 && error != leg->no_submitter)
    sf_serve_log(
        serve, "leg %s: no process of its own: %s. If it hangs, this one stays and keeps all legs",
        name, no_submitter(error));
  leg->no_submitter = error;
  return 0;
}

void
sf_serve_tell_bad(struct sf_serve *serve, const struct serve_leg *leg, const char *name) {
  char text[SF_LEG_BAD_TEXT_MAX];

  if (leg->file.fd >= 0 && *sf_leg_file_bad_text(&leg->file, text) != '\0')
    sf_serve_log(serve, "leg %s: %s", name, text);
}

int
sf_serve_let_go(struct sf_serve *serve, struct serve_leg *leg) {
  struct sf_leg_file file;
  int r;

  if (leg->device != NULL) {
    r = sf_tio_device_remove(leg->device);
    if (r < 0)
      return r;
    sf_serve_gone_forget(serve, leg->device);
    leg->device = NULL;
    sf_serve_watch_leg(serve, leg, false);
    set_name(serve, leg->file.fd, NULL);
  }
  /* A number that is closed can soon mean another file: not while the extents thread looks for
   * holes there. */
  pthread_mutex_lock(&serve->lock);
  r = serve->extents.busy && serve->extents.fd == leg->file.fd ? -EBUSY : 0;
  if (r == 0) {
    file = leg->file;
    leg->file.fd = -1;
  }
  pthread_mutex_unlock(&serve->lock);
  if (r == 0)
    sf_leg_file_close(&file);
  return r;
}

/* Its superblocks are lost, or it is no leg.  What makes it anew empties it: named only where it is this one. */
static void
say_headless(const struct sf_leg_found *found, const struct sf_superblock *volume, unsigned index,
             char error[SF_CONFIG_ERROR_MAX]) {
  const char *name = volume->leg_name[index];
  size_t used = strlen(error);

  if (!found->marked)
    return;
  if (!sf_mark_is_leg(&found->mark, volume, index))
    snprintf(error + used, SF_CONFIG_ERROR_MAX - used, "; the volume knows %s under another uuid",
             name);
  else if (found->present)
    snprintf(error + used, SF_CONFIG_ERROR_MAX - used,
             "; `surefootctl leg replace %s %s` makes it anew: all of it is copied from the "
             "others, and what "
             "only it holds is lost",
             volume->volume_name, name);
  else
    snprintf(error + used, SF_CONFIG_ERROR_MAX - used,
             "; `surefootctl leg replace %s %s PATH` puts another disk in its place",
             volume->volume_name, name);
}

static void
say_no_superblock(const char *path, const struct sf_leg_found *found,
                  char error[SF_CONFIG_ERROR_MAX]) {
  char mark[SF_MARK_TEXT_MAX];

  snprintf(error, SF_CONFIG_ERROR_MAX, "%.64s: %s", path,
           found->marked ? sf_mark_text(found, mark) : sf_superblock_error(found->error));
}

/* What takes a leg's place must be what was judged when it was named. */
static int
empty(struct sf_serve *serve, unsigned index, enum sf_leg_blank blank, const char *path,
      const struct sf_superblock *base, char error[SF_CONFIG_ERROR_MAX]) {
  bool own = blank == SF_BLANK_OWN;
  struct serve_judged judged;
  char why[SF_CONFIG_ERROR_MAX];
  int r;

  pthread_mutex_lock(&serve->lock);
  judged = serve->leg[index].judged;
  pthread_mutex_unlock(&serve->lock);
  if (!own && !sf_uuid_equal(&judged.uuid, &base->leg_uuid[index])) {
    snprintf(error, SF_CONFIG_ERROR_MAX, "another disk is just being named for it");
    return -EAGAIN;
  }
  /* Without a bound: cut while it writes, it would leave a disk that nothing takes for the leg's. */
  r = sf_leg_discard_isolated(serve->openers, path, base, index, own, own ? NULL : &judged.disk, 0,
                              why);
  if (r < 0)
    snprintf(error, SF_CONFIG_ERROR_MAX, "cannot be made an empty member: %.*s",
             SF_CONFIG_ERROR_MAX / 2, why);
  return r;
}

/* The volume leaves the leg's uuid and path alone meanwhile. */
static int
open_again(struct sf_serve *serve, unsigned index, enum sf_leg_blank blank, struct serve_leg *leg,
           char error[SF_CONFIG_ERROR_MAX]) {
  struct sf_superblock now, *base = &now;
  char path[PATH_MAX];
  uint64_t needs, timeout_ns;
  int r;

  sf_volume_get_identity(serve->volume, &now);
  sf_volume_leg_path(serve->volume, index, path);
  needs = base->data_offset + base->data_bytes;
  timeout_ns = (ANSWER_S * SF_S) << serve->leg[index].hung;
  if (blank != SF_BLANK_NOT) {
    r = empty(serve, index, blank, path, base, error);
    if (r < 0)
      return r;
  }
  r = sf_leg_file_open_isolated(serve->openers, path, 0, timeout_ns, &leg->file, &leg->found,
                                error);
  if (r < 0) {
    say_headless(&leg->found, base, index, error);
    return r;
  }
  sf_leg_file_forget_maps(&leg->file); /* the volume's own are newer */
  sf_serve_tell_bad(serve, leg, base->leg_name[index]);
  if (leg->found.error != 0) {
    say_no_superblock(path, &leg->found, error);
    say_headless(&leg->found, base, index, error);
    r = leg->found.error;
  } else if (sf_serve_block_take(serve, leg->file.block_bytes) < 0) {
    snprintf(error, SF_CONFIG_ERROR_MAX,
             "%.64s: it has larger sectors than the other legs, and requests in smaller blocks are "
             "still under way; it is tried again",
             path);
    r = -EAGAIN;
  } else {
    /* The volume may have grown without it.  A leg that stays too short is told of so, and refused
     * there. */
    if (leg->file.bytes < needs && sf_superblock_is_leg(&leg->found.sb, base, index))
      (void) sf_leg_extend(leg->file.fd, leg->file.is_block, needs, &leg->file.bytes);
    r = sf_serve_add_device(serve, leg, base->leg_name[index]);
  }
  if (r < 0)
    sf_leg_file_close(&leg->file);
  return r;
}

static void
count_hung(struct serve_leg *leg, int r) {
  if (r == -ETIMEDOUT)
    leg->hung += leg->hung < LONGER_AT_MOST;
  else if (r != -ECANCELED)
    leg->hung = 0;
}

/* The operator's word counts for more than the opening that it finds under way. */
bool
sf_serve_give_up_opening(struct sf_serve *serve, unsigned index) {
  char path[PATH_MAX];

  sf_volume_leg_path(serve->volume, index, path);
  return sf_leg_openers_give_up(serve->openers, path);
}

/* What the leg had before stays open until it has let go of its requests. */
static int
let_go_of_left(struct sf_serve *serve, struct serve_leg *leg) {
  int r;

  if (leg->left == NULL)
    return 0;
  r = sf_serve_let_go(serve, leg->left);
  if (r < 0)
    return r;
  free(leg->left);
  leg->left = NULL;
  return 0;
}

static void *
opener(void *arg) {
  struct opening *opening = arg;
  struct sf_serve *serve = opening->serve;
  unsigned index = opening->leg;
  struct serve_leg *leg = &serve->leg[index];
  enum sf_leg_blank blank = opening->blank;
  char error[SF_CONFIG_ERROR_MAX] = "";
  int r;

  free(opening);
  r = let_go_of_left(serve, leg);
  if (r == 0)
    r = sf_serve_let_go(serve, leg);
  if (r == 0) {
    r = open_again(serve, index, blank, leg, error);
    count_hung(leg, r);
  }
  if (atomic_load(&serve->quit)) {
    r = -ESHUTDOWN;
    error[0] = '\0';
  }
  /* Before the volume hears of it: it may ask for the next attempt at once. */
  atomic_store(&leg->opener_ended, true);
  sf_volume_leg_opened(serve->volume, index, r == 0 ? leg->device : NULL, &leg->found.sb,
                       leg->file.bytes, r, error[0] != '\0' ? error : NULL, sf_tio_now());
  return NULL;
}

static void
swap(struct sf_serve *serve, struct serve_leg *leg, struct serve_leg *fresh) {
  const struct serve_leg old = *leg;

  pthread_mutex_lock(&serve->lock); /* the file's number is looked at by the search for holes */
  leg->file = fresh->file;
  leg->found = fresh->found;
  leg->device = fresh->device;
  leg->no_submitter = fresh->no_submitter;
  fresh->file = old.file;
  fresh->device = old.device;
  pthread_mutex_unlock(&serve->lock);
}

/* The device in use answers nothing but errors.  It is let go of only when the volume has taken the
 * other one: a file that was deleted meanwhile is nowhere else. */
static void *
reopener(void *arg) {
  struct opening *opening = arg;
  struct sf_serve *serve = opening->serve;
  struct serve_leg *leg = &serve->leg[opening->leg], *fresh = opening->beside;
  char error[SF_CONFIG_ERROR_MAX] = "";
  int r = let_go_of_left(serve, leg);

  if (r == 0) {
    r = open_again(serve, opening->leg, SF_BLANK_NOT, fresh, error);
    count_hung(leg, r);
  }
  if (atomic_load(&serve->quit)) {
    r = -ESHUTDOWN;
    error[0] = '\0';
  }
  r = sf_volume_leg_opened(serve->volume, opening->leg, r == 0 ? fresh->device : NULL,
                           &fresh->found.sb, fresh->file.bytes, r, error[0] != '\0' ? error : NULL,
                           sf_tio_now());
  if (r == 0) {
    sf_serve_log(serve, "leg %s: its device was dead and is opened anew",
                 serve->config.leg[opening->leg].name);
    swap(serve, leg, fresh);
    sf_serve_watch_leg(serve, leg, true);
  }
  if (leg->left == NULL) {
    leg->left = fresh;
    (void) let_go_of_left(serve, leg); /* else the next opening does, or the end */
  } else {
    free(fresh); /* the earlier opening was not let go, so nothing was opened beside it */
  }
  free(opening);
  atomic_store(&leg->opener_ended, true);
  return NULL;
}

static int
start_opener(struct serve_leg *leg, struct opening *opening, void *(*run)(void *) ) {
  atomic_store(&leg->opener_ended, false);
  if (pthread_create(&leg->opener, NULL, run, opening) != 0)
    return -EAGAIN;
  leg->opener_started = true;
  return 0;
}

static int
join_opener(struct serve_leg *leg) {
  if (!leg->opener_started)
    return 0;
  if (!atomic_load(&leg->opener_ended))
    return -EBUSY;
  pthread_join(leg->opener, NULL); /* it has told its result already */
  leg->opener_started = false;
  return 0;
}

int
sf_serve_open_leg(void *ctx, unsigned index, enum sf_leg_blank blank) {
  struct sf_serve *serve = ctx;
  struct serve_leg *leg = &serve->leg[index];
  struct opening *opening;
  int r = join_opener(leg);

  if (r < 0)
    return r;
  opening = malloc(sizeof *opening);
  if (opening == NULL)
    return -ENOMEM;
  *opening = (struct opening){.serve = serve, .leg = index, .blank = blank};
  r = start_opener(leg, opening, opener);
  if (r < 0)
    free(opening);
  return r;
}

int
sf_serve_reopen_leg(void *ctx, unsigned index) {
  struct sf_serve *serve = ctx;
  struct serve_leg *leg = &serve->leg[index];
  struct opening *opening;
  int r = join_opener(leg);

  if (r < 0)
    return r;
  opening = malloc(sizeof *opening);
  if (opening == NULL)
    return -ENOMEM;
  *opening = (struct opening){.serve = serve, .leg = index, .beside = calloc(1, sizeof *leg)};
  r = -ENOMEM;
  if (opening->beside != NULL) {
    opening->beside->file.fd = -1;
    opening->beside->no_submitter = leg->no_submitter;
    r = start_opener(leg, opening, reopener);
  }
  if (r < 0) {
    free(opening->beside);
    free(opening);
  }
  return r;
}

/* The next opening lets go of the old file first: close(2) can hang too. */
void
sf_serve_close_leg(void *ctx, unsigned index) {
}

int
sf_serve_join_openers(struct sf_serve *serve) {
  for (unsigned i = 0; i < SF_LEGS_MAX; i++) {
    struct serve_leg *leg = &serve->leg[i];
    int r = join_opener(leg);

    if (r == 0)
      r = let_go_of_left(serve, leg);
    if (r < 0)
      return r;
  }
  return 0;
}

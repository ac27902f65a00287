/* Which parts of the volume are holes.  Only lseek(2) knows, and it can hang with its leg, so a
 * thread of its own asks, and its callers wait no longer than a read may take. "All of it is data"
 * is always a right answer, and is given when the thread is late. */
#include "base/units.h"
#include "serve/internal.h"

#include <errno.h>
#include <time.h>
#include <unistd.h>

/* The end of the run of one kind that begins at `offset`, in the leg's own bytes. */
static void
look(int fd, uint64_t offset, uint64_t end, struct sf_extent *extent) {
  off_t data = lseek(fd, (off_t) offset, SEEK_DATA), hole;

  extent->hole = false;
  extent->length = end - offset;
  if (data < 0 && errno == ENXIO) { /* no data from here to the end of the file */
    extent->hole = true;
  } else if (data > (off_t) offset) {
    extent->hole = true;
    if ((uint64_t) data < end)
      extent->length = (uint64_t) data - offset;
  } else if (data >= 0) {
    hole = lseek(fd, (off_t) offset, SEEK_HOLE);
    if (hole > (off_t) offset && (uint64_t) hole < end)
      extent->length = (uint64_t) hole - offset;
  }
}

static void *
looker(void *arg) {
  struct sf_serve *serve = arg;
  struct serve_extents *ask = &serve->extents;
  struct sf_extent extent;

  pthread_mutex_lock(&serve->lock);
  while (!ask->quit) {
    if (!ask->wanted) {
      pthread_cond_wait(&ask->changed, &serve->lock);
      continue;
    }
    ask->wanted = false;
    pthread_mutex_unlock(&serve->lock);
    look(ask->fd, ask->offset, ask->end, &extent);
    pthread_mutex_lock(&serve->lock);
    ask->found = extent;
    ask->answered = ask->asked;
    ask->busy = false;
    pthread_cond_broadcast(&ask->changed);
  }
  ask->ended = true;
  pthread_cond_broadcast(&ask->changed);
  pthread_mutex_unlock(&serve->lock);
  return NULL;
}

int
sf_serve_extents_start(struct sf_serve *serve) {
  int r = pthread_create(&serve->extents.thread, NULL, looker, serve);

  if (r != 0)
    return -r;
  serve->extents.started = true;
  pthread_setname_np(serve->extents.thread, "surefoot-seek");
  return 0;
}

static struct timespec
after(uint64_t ns) {
  uint64_t until = sf_tio_now() + ns;

  return (struct timespec){.tv_sec = (time_t) (until / SF_S), .tv_nsec = (long) (until % SF_S)};
}

/* -EBUSY: it hangs in lseek(2), on a leg that hangs. */
int
sf_serve_extents_stop(struct sf_serve *serve) {
  struct serve_extents *ask = &serve->extents;
  const struct timespec at = after(SF_S);
  bool ended;

  if (!ask->started)
    return 0;
  pthread_mutex_lock(&serve->lock);
  ask->quit = true;
  pthread_cond_broadcast(&ask->changed);
  while (!ask->ended && pthread_cond_timedwait(&ask->changed, &serve->lock, &at) == 0)
    ;
  ended = ask->ended;
  pthread_mutex_unlock(&serve->lock);
  if (!ended)
    return -EBUSY;
  pthread_join(ask->thread, NULL);
  ask->started = false;
  return 0;
}

/* With serve->lock held: hands the question over.  *extent stays as it is when the thread is busy
 * or the time is up. */
static void
ask_looker(struct sf_serve *serve, int fd, uint64_t offset, uint64_t end,
           struct sf_extent *extent) {
  struct serve_extents *ask = &serve->extents;
  const struct timespec at = after(atomic_load(&serve->read_deadline_ns));
  uint64_t mine;

  if (ask->busy)
    return;
  ask->busy = ask->wanted = true;
  ask->fd = fd;
  ask->offset = offset;
  ask->end = end;
  mine = ++ask->asked;
  pthread_cond_broadcast(&ask->changed);
  while (ask->answered < mine)
    if (pthread_cond_timedwait(&ask->changed, &serve->lock, &at) != 0)
      return;
  /* Another question may have been answered since ours was. */
  if (ask->answered == mine)
    *extent = ask->found;
}

void
sf_serve_extent(struct sf_serve *serve, uint64_t length, uint64_t offset,
                struct sf_extent *extent) {
  uint64_t base = serve->assembly.base.data_offset + offset, end = base + length;
  int leg = sf_volume_hole_source(serve->volume);

  *extent = (struct sf_extent){.length = length, .hole = false};
  if (leg < 0 || serve->leg[leg].file.is_block)
    return;
  pthread_mutex_lock(&serve->lock);
  if (serve->leg[leg].file.fd >= 0)
    ask_looker(serve, serve->leg[leg].file.fd, base, end, extent);
  pthread_mutex_unlock(&serve->lock);
}

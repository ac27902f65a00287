/* Opening legs in processes of their own.  A thread that hangs in open(2) of a dead disk, or in the
 * first read of it, stays in the kernel, killed or not, and keeps every file that its process has
 * open: the locks on healthy legs, for one.  So a small process opens, looks, and hands the open
 * file over with the pages that it read; when it hangs it has no file but that leg.  A disk is also
 * emptied there before it is opened as a leg, and examined before it may be one; and the kernel is
 * asked there whether an open one has left.
 *
 *      us            wait at a socket: that can be ended
 *      fork server   was forked before any leg was open, so it has no file that could hang; there
 *                    are two, and each makes the other anew when it is killed (base/forks.h)
 *      opener        of one leg, once; ends with the server unless it hangs
 *
 * When both are gone, this process opens by itself: a leg that does not come back would be worse
 * than one that may hang here.
 *
 * The lock goes with the open file (R7), and an opener with an answer that is not wanted any more
 * gives it up when it stops hanging.
 *
 * An opener that nobody waits for any more is killed: what hangs in the kernel stays until that ends,
 * and does nothing after it.  It must not go on to empty a disk that was given up, and its answer may
 * be the file of a disk that the path does not lead to any more. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/disk.h"
#include "base/forks.h"
#include "base/list.h"
#include "base/process.h"
#include "base/units.h"
#include "legs/internal.h"

/* An opening that has lasted for so long may be given up. */
enum { HANGS_S = 2 };

struct sf_leg_openers {
  struct sf_forks forks;
  pthread_mutex_t lock;
  unsigned users;
  bool cut;
  struct sf_list waiting; /* struct waiter */
};

enum errand { OPEN, DISCARD, CHECK_NEW, LOOK, IS_GONE };

struct waiter {
  struct sf_list link;
  int socket;
  const struct order *order;
  uint64_t since_ns;
};

/* To the fork server, with the opener's end of a socket.  IS_GONE: the file comes through that. */
struct order {
  enum errand errand;
  bool waits; /* a thread does, and is told first by what to kill the opener */
  unsigned flags;
  unsigned leg; /* DISCARD, CHECK_NEW, and what follows */
  bool own;
  bool has_judged;
  struct sf_leg_judged judged;
  bool named;   /* IS_GONE */
  dev_t number; /* IS_GONE */
  struct sf_superblock reference;
  char path[PATH_MAX];
};

/* From the opener, with the file if it is to stay open; the pages of the maps follow. */
struct answer {
  int result;
  struct sf_leg_file file;
  struct sf_leg_found found;
  struct leg_identity identity;
  struct sf_leg_look look;
  struct sf_leg_judged judged;
  bool gone;
  char error[SF_CONFIG_ERROR_MAX];
};

/* ---- the opener ---- */

static bool
send_all(int socket, const void *data, size_t length) {
  for (size_t done = 0; done < length;) {
    ssize_t n = send(socket, (const char *) data + done, length - done, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return false;
    done += (size_t) n;
  }
  return true;
}

/* Without opening it: that would be enough to wake a device. */
static uint64_t
size_of_device(dev_t device) {
  char path[64];
  unsigned long long sectors = 0;
  snprintf(path, sizeof path, "/sys/dev/block/%u:%u/size", major(device), minor(device));
  FILE *file = fopen(path, "re");
  if (file == NULL)
    return 0;
  if (fscanf(file, "%llu", &sectors) != 1)
    sectors = 0;
  fclose(file);
  return sectors * 512;
}

static void
look_at(const char *path, struct sf_leg_look *look) {
  struct stat st;
  if (stat(path, &st) < 0) {
    look->error = -errno;
    return;
  }
  look->is_block = S_ISBLK(st.st_mode);
  look->device = look->is_block ? st.st_rdev : st.st_dev;
  look->inode = look->is_block ? 0 : st.st_ino;
  look->bytes = look->is_block ? size_of_device(st.st_rdev) : (uint64_t) st.st_size;
}

/* given: the file of IS_GONE. */
static void
run_errand(const struct order *order, int given, struct answer *answer) {
  answer->file.fd = -1;
  switch (order->errand) {
  case OPEN:
    answer->result = sf_leg_open(order->path, order->flags, &answer->file, &answer->found,
                                 &answer->identity, answer->error);
    break;
  case DISCARD:
    answer->result = sf_leg_discard(order->path, &order->reference, order->leg, order->own,
                                    order->has_judged ? &order->judged : NULL, answer->error);
    break;
  case CHECK_NEW:
    answer->result = sf_leg_check_new(order->path, order->flags, &order->reference, order->leg,
                                      &answer->judged, answer->error);
    break;
  case LOOK:
    look_at(order->path, &answer->look);
    break;
  case IS_GONE:
    answer->gone = sf_disk_is_gone(given, order->number, order->named);
    break;
  }
}

/* The one who waits can kill it by this.  False: nobody waits any more. */
static bool
tell_who_it_is(int socket) {
  char with = 0;
  int self = pidfd_open(getpid(), 0);
  int r = sf_send_file(socket, &with, 1, self);
  if (self >= 0)
    close(self);
  return r == 0;
}

/* A child of the fork server. */
static void
open_for(void *context, int socket, const void *ordered) {
  const struct order *order = ordered;
  static struct answer answer;
  pid_t server = getppid();
  int given = -1;
  char with;
  prctl(PR_SET_NAME, "sf-opener");
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != server)
    _exit(1);
  if (order->waits && !tell_who_it_is(socket))
    _exit(1);
  if (order->errand == IS_GONE && (sf_receive_file(socket, &with, 1, &given) <= 0 || given < 0))
    _exit(1);
  run_errand(order, given, &answer);
  if (given >= 0)
    close(given); /* the disk may be opened anew by the answer */
  if (sf_send_file(socket, &answer, sizeof answer, answer.file.fd) == 0 && answer.file.maps)
    send_all(socket, answer.file.maps, sf_leg_maps_bytes(&answer.file));
  _exit(0);
}

/* ---- on our side ---- */

int
sf_leg_openers_start(struct sf_leg_openers **openers) {
  const struct sf_forks_kind kind = {
      .name = "sf-openers", .order_bytes = sizeof(struct order), .child = open_for};
  struct sf_leg_openers *made = calloc(1, sizeof *made);
  if (made == NULL)
    return -ENOMEM;
  int r = sf_forks_start(&made->forks, &kind);
  if (r < 0) {
    free(made);
    return r;
  }
  made->users = 1;
  sf_list_init(&made->waiting);
  SF_ASSERT(pthread_mutex_init(&made->lock, NULL) == 0);
  *openers = made;
  return 0;
}

int
sf_leg_openers_news(const struct sf_leg_openers *openers) {
  return openers->forks.news;
}

int
sf_leg_openers_tend(struct sf_leg_openers *openers, uint64_t now_ns) {
  return sf_forks_tend(&openers->forks, now_ns);
}

void
sf_leg_openers_hold(struct sf_leg_openers *openers) {
  if (openers == NULL)
    return;
  SF_ASSERT(pthread_mutex_lock(&openers->lock) == 0);
  openers->users++;
  SF_ASSERT(pthread_mutex_unlock(&openers->lock) == 0);
}

void
sf_leg_openers_release(struct sf_leg_openers *openers) {
  if (openers == NULL)
    return;
  SF_ASSERT(pthread_mutex_lock(&openers->lock) == 0);
  bool last = --openers->users == 0;
  SF_ASSERT(pthread_mutex_unlock(&openers->lock) == 0);
  if (!last)
    return;
  sf_forks_stop(&openers->forks);
  pthread_mutex_destroy(&openers->lock);
  free(openers);
}

void
sf_leg_openers_cut(struct sf_leg_openers *openers) {
  if (openers == NULL)
    return;
  SF_ASSERT(pthread_mutex_lock(&openers->lock) == 0);
  openers->cut = true;
  for (struct sf_list *l = openers->waiting.next; l != &openers->waiting; l = l->next)
    shutdown(SF_LIST_ENTRY(l, struct waiter, link)->socket, SHUT_RDWR);
  SF_ASSERT(pthread_mutex_unlock(&openers->lock) == 0);
}

static bool
hangs_at(const struct waiter *waiter, const char *path) {
  const struct order *order = waiter->order;
  return order->errand == OPEN && strcmp(order->path, path) == 0 &&
         sf_clock_ns() - waiter->since_ns >= HANGS_S * SF_S;
}

bool
sf_leg_openers_give_up(struct sf_leg_openers *openers, const char *path) {
  bool any = false;
  if (openers == NULL)
    return false;
  SF_ASSERT(pthread_mutex_lock(&openers->lock) == 0);
  for (struct sf_list *l = openers->waiting.next; l != &openers->waiting; l = l->next)
    if (hangs_at(SF_LIST_ENTRY(l, struct waiter, link), path)) {
      shutdown(SF_LIST_ENTRY(l, struct waiter, link)->socket, SHUT_RDWR);
      any = true;
    }
  SF_ASSERT(pthread_mutex_unlock(&openers->lock) == 0);
  return any;
}

void
sf_leg_openers_stop(struct sf_leg_openers *openers) {
  sf_leg_openers_cut(openers);
  sf_leg_openers_release(openers);
}

/* False: cut, so that no thread may wait any more. */
static bool
begin_waiting(struct sf_leg_openers *openers, struct waiter *waiter) {
  SF_ASSERT(pthread_mutex_lock(&openers->lock) == 0);
  bool cut = openers->cut;
  if (!cut)
    sf_list_append(&openers->waiting, &waiter->link);
  SF_ASSERT(pthread_mutex_unlock(&openers->lock) == 0);
  return !cut;
}

static void
end_waiting(struct sf_leg_openers *openers, struct waiter *waiter) {
  SF_ASSERT(pthread_mutex_lock(&openers->lock) == 0);
  sf_list_remove(&waiter->link);
  SF_ASSERT(pthread_mutex_unlock(&openers->lock) == 0);
}

static bool
receive_all(int socket, void *data, size_t length) {
  for (size_t done = 0; done < length;) {
    ssize_t n = recv(socket, (char *) data + done, length - done, 0);
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return false;
    done += (size_t) n;
  }
  return true;
}

/* A wait at the socket that is longer ends with -EAGAIN.  0: none. */
static void
set_bound(int socket, uint64_t timeout_ns) {
  struct timeval most = {.tv_sec = (time_t) (timeout_ns / SF_S),
                         .tv_usec = (suseconds_t) (timeout_ns % SF_S / 1000)};
  SF_ASSERT(setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &most, sizeof most) == 0);
}

/* *answer has the file and its own copy of the maps, or nothing that must be freed. */
static int
receive_answer(int socket, struct answer *answer) {
  int fd;
  ssize_t n = sf_receive_file(socket, answer, sizeof *answer, &fd);
  if (n <= 0 || !receive_all(socket, (char *) answer + n, sizeof *answer - (size_t) n)) {
    if (fd >= 0)
      close(fd);
    return n == -EAGAIN ? -ETIMEDOUT : -ECANCELED;
  }
  bool sent = answer->file.fd >= 0; /* then this process has no number left for it */
  answer->file.fd = fd;
  if (sent && fd < 0)
    return -EMFILE;
  if (answer->file.maps == NULL)
    return 0;
  size_t bytes = sf_leg_maps_bytes(&answer->file);
  answer->file.maps = sf_leg_buffer(bytes);
  if (answer->file.maps && receive_all(socket, answer->file.maps, bytes))
    return 0;
  int r = answer->file.maps ? -ECANCELED : -ENOMEM;
  sf_leg_file_close(&answer->file);
  return r;
}

/* Ours, and the one for the process that gets the order.  given: -1, or a file that goes with it. */
static int
connect_ends(int ends[2], int given) {
  char with = 0;
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
    return -errno;
  int r = given >= 0 ? sf_send_file(ends[0], &with, 1, given) : 0;
  if (r < 0) {
    close(ends[0]);
    close(ends[1]);
  }
  return r;
}

/* Takes that end. */
static int
send_order(struct sf_leg_openers *openers, struct order *order, int end) {
  int r = sf_forks_order(&openers->forks, order, sizeof *order, end);
  close(end);
  return r;
}

/* An answer that comes after this is closed with the socket. */
static int
receive_or_kill(int socket, struct answer *answer) {
  char with;
  int opener;
  ssize_t n = sf_receive_file(socket, &with, 1, &opener);
  int r = n > 0 ? receive_answer(socket, answer) : n == -EAGAIN ? -ETIMEDOUT : -ECANCELED;
  if (r < 0 && opener >= 0)
    (void) pidfd_send_signal(opener, SIGKILL, NULL, 0);
  if (opener >= 0)
    close(opener);
  return r;
}

/* given: as above.  timeout_ns: how long the opener may be silent; 0: for ever. */
static int
ask(struct sf_leg_openers *openers, struct order *order, int given, uint64_t timeout_ns,
    struct answer *answer) {
  struct waiter waiter = {.order = order, .since_ns = sf_clock_ns()};
  int ends[2];
  int r = connect_ends(ends, given);
  if (r < 0)
    return r;
  waiter.socket = ends[0];
  order->waits = true;
  set_bound(ends[0], timeout_ns);
  if (begin_waiting(openers, &waiter)) {
    r = send_order(openers, order, ends[1]);
    if (r == 0)
      r = receive_or_kill(ends[0], answer);
    end_waiting(openers, &waiter);
  } else {
    close(ends[1]);
    r = -ECANCELED;
  }
  close(ends[0]);
  return r;
}

/* The answer comes to the socket.  given: as above. */
static int
begin(struct sf_leg_openers *openers, struct order *order, int given) {
  int ends[2];
  int r = connect_ends(ends, given);
  if (r < 0)
    return r;
  r = send_order(openers, order, ends[1]);
  if (r == 0)
    return ends[0];
  close(ends[0]);
  return r;
}

int
sf_leg_look_begin(struct sf_leg_openers *openers, const char *path) {
  struct order order = {.errand = LOOK};
  strcpy(order.path, path);
  return begin(openers, &order, -1);
}

int
sf_leg_look_end(int socket, struct sf_leg_look *look) {
  struct answer answer;
  int r = receive_answer(socket, &answer);
  if (r == 0)
    *look = answer.look;
  close(socket);
  return r;
}

int
sf_leg_is_gone_isolated(struct sf_leg_openers *openers, int fd, dev_t number, bool named,
                        bool *gone) {
  struct order order = {.errand = IS_GONE, .number = number, .named = named};
  struct answer answer;
  int r = openers ? ask(openers, &order, fd, 0, &answer) : -EPIPE;
  if (r == 0)
    *gone = answer.gone;
  if (r != -EPIPE)
    return r;
  *gone = sf_disk_is_gone(fd, number, named);
  return 0;
}

int
sf_leg_is_gone_begin(struct sf_leg_openers *openers, int fd, dev_t number, bool named) {
  struct order order = {.errand = IS_GONE, .number = number, .named = named};
  return openers ? begin(openers, &order, fd) : -EPIPE;
}

int
sf_leg_is_gone_end(int socket, bool *gone) {
  struct answer answer;
  int r = receive_answer(socket, &answer);
  if (r == 0)
    *gone = answer.gone;
  close(socket);
  return r;
}

/* NULL: it could not be asked, or did not answer; error says why. */
static struct answer *
answer_to(struct sf_leg_openers *openers, struct order *order, const char *path,
          uint64_t timeout_ns, int *r, char error[SF_CONFIG_ERROR_MAX]) {
  struct answer *answer = malloc(sizeof *answer);
  strcpy(order->path, path);
  *r = answer ? ask(openers, order, -1, timeout_ns, answer) : -ENOMEM;
  if (*r == -EPIPE) {
    memset(answer, 0, sizeof *answer);
    run_errand(order, -1, answer);
    *r = 0;
  }
  if (*r == 0) {
    *r = answer->result;
    memcpy(error, answer->error, SF_CONFIG_ERROR_MAX);
    return answer;
  }
  free(answer);
  if (*r == -ETIMEDOUT)
    sf_leg_fail(error, *r, "%s: it did not answer within %llu s", sf_leg_path(path),
                (unsigned long long) (timeout_ns / SF_S));
  else if (*r == -ECANCELED)
    sf_leg_fail(error, *r, "%s: the process that was to open it has ended, or was given up",
                sf_leg_path(path));
  else
    sf_leg_fail(error, *r, "%s: it cannot be opened in a process of its own: %s", sf_leg_path(path),
                strerrordesc_np(-*r));
  return NULL;
}

int
sf_leg_open_isolated(struct sf_leg_openers *openers, const char *path, unsigned flags,
                     uint64_t timeout_ns, struct sf_leg_file *file, struct sf_leg_found *found,
                     struct leg_identity *identity, char error[SF_CONFIG_ERROR_MAX]) {
  struct order order = {.errand = OPEN, .flags = flags};
  int r;
  if (openers == NULL)
    return sf_leg_open(path, flags, file, found, identity, error);
  *file = (struct sf_leg_file){.fd = -1};
  *identity = (struct leg_identity){0};
  struct answer *answer = answer_to(openers, &order, path, timeout_ns, &r, error);
  if (answer == NULL) {
    *found = (struct sf_leg_found){.error = r};
    return r;
  }
  *file = answer->file;
  *found = answer->found;
  *identity = answer->identity;
  free(answer);
  return r;
}

int
sf_leg_file_open_isolated(struct sf_leg_openers *openers, const char *path, unsigned flags,
                          uint64_t timeout_ns, struct sf_leg_file *file, struct sf_leg_found *found,
                          char error[SF_CONFIG_ERROR_MAX]) {
  struct leg_identity identity;
  return sf_leg_open_isolated(openers, path, flags, timeout_ns, file, found, &identity, error);
}

int
sf_leg_discard_isolated(struct sf_leg_openers *openers, const char *path,
                        const struct sf_superblock *reference, unsigned leg, bool own,
                        const struct sf_leg_judged *judged, uint64_t timeout_ns,
                        char error[SF_CONFIG_ERROR_MAX]) {
  struct order order = {.errand = DISCARD, .leg = leg, .own = own, .reference = *reference};
  int r;
  if (openers == NULL)
    return sf_leg_discard(path, reference, leg, own, judged, error);
  order.has_judged = judged;
  if (judged)
    order.judged = *judged;
  free(answer_to(openers, &order, path, timeout_ns, &r, error));
  return r;
}

int
sf_leg_check_new_isolated(struct sf_leg_openers *openers, const char *path, unsigned flags,
                          const struct sf_superblock *reference, unsigned leg, uint64_t timeout_ns,
                          struct sf_leg_judged *judged, char error[SF_CONFIG_ERROR_MAX]) {
  struct order order = {.errand = CHECK_NEW, .flags = flags, .leg = leg, .reference = *reference};
  int r;
  if (openers == NULL)
    return sf_leg_check_new(path, flags, reference, leg, judged, error);
  struct answer *answer = answer_to(openers, &order, path, timeout_ns, &r, error);
  if (answer)
    *judged = answer->judged;
  free(answer);
  return r;
}

#include "base/forks.h"
#include "base/units.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/process.h"
#include "base/writer.h"

/* A process that could not be made is not asked for again before this time. */
#define AGAIN_NS SF_S

/* ---- the processes ---- */

/* An order of one byte is for another of our kind, which goes on with the socket that comes with
 * it. */
static _Noreturn void
serve_forks(const struct sf_forks_kind *kind, int socket) {
  char *order = malloc(kind->order_bytes), begun = 1;
  int given;
  ssize_t n;

  if (order == NULL)
    _exit(1);
  (void) !send(socket, &begun, 1, MSG_NOSIGNAL);
  while ((n = sf_receive_file(socket, order, kind->order_bytes, &given)) > 0) {
    pid_t pid = given >= 0 ? fork() : -1;

    if (pid != 0) {
      if (given >= 0)
        close(given);
      continue;
    }
    close(socket);
    (void) sf_writer_lock(); /* the serving process reports when this fails */
    if (n > 1)
      kind->child(kind->context, given, order);
    socket = given;
    (void) !send(socket, &begun, 1, MSG_NOSIGNAL);
  }
  _exit(0);
}

static _Noreturn void
begin(const struct sf_forks_kind *kind, int socket) {
  int *keep = malloc((kind->keeps + 1) * sizeof *keep);

  if (keep == NULL)
    _exit(1);
  for (unsigned i = 0; i < kind->keeps; i++)
    keep[i] = kind->keep[i];
  keep[kind->keeps] = socket;
  sf_close_all_but(keep, kind->keeps + 1);
  free(keep);
  sf_leave_the_others(); /* it ends with the serving process */
  prctl(PR_SET_NAME, kind->name);
  (void) sf_writer_lock();
  serve_forks(kind, socket);
}

/* ---- on our side ---- */

static int
look_for_news(struct sf_forks *forks, unsigned i) {
  struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP};

  return epoll_ctl(forks->news, EPOLL_CTL_ADD, forks->socket[i], &event) < 0 ? -errno : 0;
}

/* By then it has let go of all that is not its own, and has its name. */
static int
wait_until_begun(int socket) {
  char begun;
  ssize_t n;

  do
    n = recv(socket, &begun, 1, 0);
  while (n < 0 && errno == EINTR);
  return n > 0 ? 0 : n == 0 ? -EPIPE : -errno;
}

static int
start_one(struct sf_forks *forks, const struct sf_forks_kind *kind, unsigned i) {
  int ends[2], error;
  pid_t pid;

  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
    return -errno;
  pid = fork();
  if (pid == 0)
    begin(kind, ends[1]);
  error = pid < 0 ? -errno : 0;
  close(ends[1]);
  forks->socket[i] = ends[0];
  if (error == 0)
    forks->one[i].child = pid;
  if (error == 0)
    error = wait_until_begun(ends[0]);
  return error == 0 ? look_for_news(forks, i) : error;
}

int
sf_forks_start(struct sf_forks *forks, const struct sf_forks_kind *kind) {
  int error = 0;

  *forks = (struct sf_forks){.news = epoll_create1(EPOLL_CLOEXEC)};
  for (unsigned i = 0; i < SF_FORKS; i++)
    forks->socket[i] = -1;
  if (forks->news < 0)
    return -errno;
  for (unsigned i = 0; i < SF_FORKS && error == 0; i++)
    error = start_one(forks, kind, i);
  if (error < 0)
    sf_forks_stop(forks);
  return error;
}

void
sf_forks_stop(struct sf_forks *forks) {
  for (unsigned i = 0; i < SF_FORKS; i++)
    if (forks->socket[i] >= 0)
      close(forks->socket[i]);
  close(forks->news);
}

static bool
is_gone(int error) {
  return error == -EPIPE || error == -ECONNRESET || error == -ENOTCONN;
}

/* What a killed one had received goes with it, and closes the file that came with the order. */
int
sf_forks_order(struct sf_forks *forks, void *order, size_t bytes, int fd) {
  int error = -EPIPE;

  for (unsigned i = 0; i < SF_FORKS && is_gone(error); i++)
    error = sf_send_file(forks->socket[i], order, bytes, fd);
  return is_gone(error) ? -EPIPE : error;
}

/* 1: it has just begun in the place of another; -EAGAIN: it was to begin, and did not. */
static int
hear(struct sf_forks *forks, unsigned i, uint64_t now_ns) {
  char begun;
  ssize_t n = recv(forks->socket[i], &begun, 1, MSG_DONTWAIT);
  bool begins = forks->one[i].state == SF_FORKS_BEGINS;

  if (n > 0) {
    forks->one[i].state = SF_FORKS_LIVES;
    return begins;
  }
  if (n < 0 && (errno == EAGAIN || errno == EINTR))
    return 0;
  (void) !epoll_ctl(forks->news, EPOLL_CTL_DEL, forks->socket[i], NULL);
  forks->one[i].state = SF_FORKS_DEAD;
  forks->one[i].again_ns = begins ? now_ns + AGAIN_NS : 0;
  return begins ? -EAGAIN : 0;
}

/* A thread that sends to the place meanwhile finds the old socket there or the new one. */
static int
replace(struct sf_forks *forks, unsigned i) {
  char another = 1;
  int ends[2], error = -EPIPE;

  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
    return -errno;
  for (unsigned k = 0; k < SF_FORKS && is_gone(error); k++)
    if (forks->one[k].state != SF_FORKS_DEAD)
      error = sf_send_file(forks->socket[k], &another, sizeof another, ends[1]);
  if (error == 0) {
    error = dup3(ends[0], forks->socket[i], O_CLOEXEC) < 0 ? -errno : look_for_news(forks, i);
    forks->one[i].state = error == 0 ? SF_FORKS_BEGINS : SF_FORKS_DEAD;
  }
  close(ends[0]);
  close(ends[1]);
  return is_gone(error) ? -EPIPE : error;
}

/* 0, or why its place is empty. */
static int
replace_dead(struct sf_forks *forks, unsigned i, uint64_t now_ns) {
  int error;

  if (forks->one[i].child > 0 && waitpid(forks->one[i].child, NULL, WNOHANG) != 0)
    forks->one[i].child = 0;
  if (forks->one[i].state != SF_FORKS_DEAD || now_ns < forks->one[i].again_ns)
    return 0;
  error = replace(forks, i);
  if (error < 0)
    forks->one[i].again_ns = now_ns + AGAIN_NS;
  return error;
}

int
sf_forks_tend(struct sf_forks *forks, uint64_t now_ns) {
  int news = 0, error = 0;

  /* All are heard first: a dead process cannot make another. */
  for (unsigned i = 0; i < SF_FORKS; i++) {
    int heard = forks->one[i].state != SF_FORKS_DEAD ? hear(forks, i, now_ns) : 0;

    news = heard > 0 ? heard : news;
    error = heard < 0 ? heard : error;
  }
  for (unsigned i = 0; i < SF_FORKS; i++) {
    int failed = replace_dead(forks, i, now_ns);

    error = failed < 0 ? failed : error;
  }
  if (news > 0) {
    forks->told = 0;
    return news;
  }
  if (error == 0 || error == forks->told)
    return 0;
  forks->told = error;
  return error;
}

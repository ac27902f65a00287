/* The other end of the control socket.  Every wait has a deadline, but for the next line of a
 * connection that follows. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <surefoot/wire.h>

#include "base/clock.h"

enum {
  LINE_MAX_BYTES = 16 * 1024 * 1024, /* of a reply: a limit on what we believe, not on what comes */
  FOLLOW_CONNECT_MS = 10000,
};

static uint64_t
clock_ms(void) {
  return sf_clock_ns() / SF_MS;
}

struct peer {
  int fd;
  uint64_t deadline_ms; /* UINT64_MAX: none */
  char *bytes;          /* received; bytes[0..used) */
  size_t used, size;
  size_t line; /* of which the line last given, with its newline */
};

static void
peer_close(struct peer *peer) {
  if (peer->fd >= 0)
    close(peer->fd);
  free(peer->bytes);
}

static int
peer_wait(const struct peer *peer, short events) {
  for (;;) {
    int wait_ms = -1;
    if (peer->deadline_ms != UINT64_MAX) {
      uint64_t now = clock_ms();
      if (now >= peer->deadline_ms)
        return -ETIMEDOUT;
      wait_ms = (int) (peer->deadline_ms - now);
    }
    struct pollfd fd = {.fd = peer->fd, .events = events};
    int r = poll(&fd, 1, wait_ms);
    if (r > 0)
      return 0;
    if (r < 0 && errno != EINTR)
      return -errno;
  }
}

/* A Unix socket's connect() waits only while the backlog is full, and then for SO_SNDTIMEO. */
static int
peer_connect(struct peer *peer, const char *path, int timeout_ms) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  size_t len = strlen(path);
  if (len >= sizeof address.sun_path)
    return -ENAMETOOLONG;
  memcpy(address.sun_path, path, len + 1);

  *peer = (struct peer){.deadline_ms = clock_ms() + (uint64_t) timeout_ms};
  peer->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (peer->fd < 0)
    return -errno;
  struct timeval limit = {.tv_sec = timeout_ms / 1000, .tv_usec = timeout_ms % 1000 * 1000};
  int r = 0;
  if (setsockopt(peer->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) < 0)
    r = -errno;
  else if (connect(peer->fd, (const struct sockaddr *) &address, sizeof address) < 0)
    r = errno == EAGAIN ? -ETIMEDOUT : -errno;
  if (r < 0) {
    close(peer->fd);
    peer->fd = -1;
  }
  return r;
}

static int
peer_send_bytes(struct peer *peer, const char *bytes, size_t len) {
  while (len > 0) {
    ssize_t sent = send(peer->fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent >= 0) {
      bytes += sent;
      len -= (size_t) sent;
      continue;
    }
    /* It hung up on us, but may have said why before: the reply is still there to be read. */
    if (errno == EPIPE || errno == ECONNRESET)
      return 0;
    if (errno != EAGAIN && errno != EINTR)
      return -errno;
    int r = peer_wait(peer, POLLOUT);
    if (r < 0)
      return r;
  }
  return 0;
}

static int
peer_send(struct peer *peer, json_t *request) {
  json_t *whole = json_pack("{si}", "version", SF_CONTROL_VERSION);
  char *text = NULL;
  if (whole && json_object_update(whole, request) == 0)
    text = json_dumps(whole, JSON_COMPACT);
  json_decref(whole);
  if (text == NULL)
    return -ENOMEM;
  size_t len = strlen(text);
  text[len] = '\n'; /* instead of the final NUL */
  int r = peer_send_bytes(peer, text, len + 1);
  free(text);
  return r;
}

static int
peer_receive(struct peer *peer) {
  if (peer->used == peer->size) {
    if (peer->size >= LINE_MAX_BYTES)
      return -EPROTO;
    size_t size = peer->size ? peer->size * 2 : 16 * 1024;
    char *larger = realloc(peer->bytes, size);
    if (larger == NULL)
      return -ENOMEM;
    peer->bytes = larger;
    peer->size = size;
  }
  int r = peer_wait(peer, POLLIN);
  if (r < 0)
    return r;
  ssize_t got = recv(peer->fd, peer->bytes + peer->used, peer->size - peer->used, MSG_DONTWAIT);
  if (got < 0)
    return errno == EAGAIN || errno == EINTR ? 0 : -errno;
  if (got == 0)
    return -ECONNRESET;
  peer->used += (size_t) got;
  return 0;
}

/* -ECONNRESET: the connection ended. */
static int
peer_read(struct peer *peer, json_t **object) {
  if (peer->line > 0) {
    peer->used -= peer->line;
    memmove(peer->bytes, peer->bytes + peer->line, peer->used);
    peer->line = 0;
  }
  const char *newline = NULL;
  size_t searched = 0;
  for (;;) {
    if (peer->used > searched)
      newline = memchr(peer->bytes + searched, '\n', peer->used - searched);
    if (newline)
      break;
    searched = peer->used;
    int r = peer_receive(peer);
    if (r < 0)
      return r;
  }
  size_t len = (size_t) (newline - peer->bytes);
  peer->line = len + 1;
  json_t *line = json_loadb(peer->bytes, len, JSON_REJECT_DUPLICATES, NULL);
  if (!json_is_object(line)) {
    json_decref(line);
    return -EPROTO;
  }
  *object = line;
  return 0;
}

int
sf_control_call(const char *path, json_t *request, int timeout_ms, json_t **reply) {
  struct peer peer;
  int r = peer_connect(&peer, path, timeout_ms);
  if (r < 0)
    return r;
  r = peer_send(&peer, request);
  if (r == 0)
    r = peer_read(&peer, reply);
  peer_close(&peer);
  return r;
}

int
sf_control_follow(const char *path, json_t *request, bool (*line)(void *arg, json_t *object),
                  void *arg) {
  struct peer peer;
  int r = peer_connect(&peer, path, FOLLOW_CONNECT_MS);
  if (r < 0)
    return r;
  r = peer_send(&peer, request);

  bool any = false, go_on = true;
  while (r == 0 && go_on) {
    json_t *object;
    r = peer_read(&peer, &object);
    if (r < 0)
      break;
    peer.deadline_ms = UINT64_MAX;
    any = true;
    go_on = line(arg, object);
    json_decref(object);
  }
  peer_close(&peer);
  return r == -ECONNRESET && any ? 0 : r;
}

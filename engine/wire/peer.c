
#include <errno.h>
#include <grp.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <surefoot/wire.h>

enum { GROUP_TEXT_MAX = 16 * 1024, GROUPS_MAX = 1024 };

static pthread_once_t once = PTHREAD_ONCE_INIT;
static gid_t group = (gid_t) -1;

static void
look_up(void) {
  char text[GROUP_TEXT_MAX];
  struct group entry, *found = NULL;
  if (getgrnam_r("surefoot", &entry, text, sizeof text, &found) == 0 && found)
    group = found->gr_gid;
}

gid_t
sf_peer_group(void) {
  pthread_once(&once, look_up);
  return group;
}

/* The file's mode keeps others out already; this also holds for a descriptor that was passed on. */
bool
sf_peer_may_ask(int fd) {
  struct ucred peer;
  socklen_t len = sizeof peer;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
    return false;
  if (peer.uid == 0 || peer.uid == geteuid())
    return true;
  gid_t allowed = sf_peer_group();
  if (allowed == (gid_t) -1)
    return false;
  if (peer.gid == allowed)
    return true;

  gid_t groups[GROUPS_MAX];
  len = sizeof groups;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len) < 0)
    return false;
  for (size_t i = 0; i < len / sizeof *groups; i++)
    if (groups[i] == allowed)
      return true;
  return false;
}

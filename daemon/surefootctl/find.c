/* Which socket belongs to which volume. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl.h"

static const char *
runtime_directory(void) {
  const char *directory = getenv("SUREFOOT_RUNTIME_DIR");
  return directory && *directory ? directory : "/run/surefoot";
}

static int
is_socket_name(const struct dirent *entry) {
  size_t len = strlen(entry->d_name);
  return len > 4 && entry->d_name[0] != '.' && strcmp(entry->d_name + len - 4, ".ctl") == 0;
}

static bool
add(struct ctl_sockets *sockets, const char *directory, const char *name, const char *suffix) {
  if (sockets->count == CTL_SOCKETS_MAX)
    return false;
  int len = snprintf(sockets->path[sockets->count], SF_CONTROL_PATH_MAX, "%s%s%s%s", directory,
                     *directory ? "/" : "", name, suffix);
  if (len < 0 || len >= SF_CONTROL_PATH_MAX)
    return false;
  sockets->count++;
  return true;
}

/* A path that we may not look at counts as there: connecting tells who may. */
static bool
is_there(const char *path) {
  return access(path, F_OK) == 0 || (errno != ENOENT && errno != ENOTDIR);
}

/* surefootd's socket, which is first: it knows every volume that it runs. */
static bool
add_daemon(struct ctl_sockets *sockets) {
  if (!add(sockets, runtime_directory(), "control", ""))
    return false;
  if (is_there(sockets->path[sockets->count - 1]))
    return true;
  sockets->count--;
  return false;
}

/* And volumes that were started by hand. */
static int
find_all(struct ctl_sockets *sockets) {
  const char *directory = runtime_directory();
  struct dirent **entry;
  add_daemon(sockets);
  int n = scandir(directory, &entry, is_socket_name, alphasort);
  if (n < 0 && errno == EACCES)
    return ctl_fail("%s: only root and the group surefoot may ask", directory);
  if (n < 0 && errno != ENOENT)
    return ctl_fail("%s: %s", directory, strerror(errno));
  bool all = true;
  for (int i = 0; i < n; i++) {
    all = add(sockets, directory, entry[i]->d_name, "") && all;
    free(entry[i]);
  }
  if (n >= 0)
    free(entry);
  if (!all)
    return ctl_fail("%s: too many sockets, or too long a name: use --control", directory);
  if (sockets->count == 0)
    return ctl_fail("no volume is running: no control socket in %s (is surefootd started?  or use "
                    "--control)",
                    directory);
  return CTL_DONE;
}

static int
find_volume(const char *volume, struct ctl_sockets *sockets) {
  const char *directory = runtime_directory();
  if (strchr(volume, '/') || !add(sockets, directory, volume, ".ctl"))
    return ctl_fail("'%s' is not the name of a volume", volume);
  const char *own = sockets->path[0], *of_daemon = sockets->path[1];
  bool there = is_there(own), abandoned = there && sf_control_is_abandoned(own);
  if (there && !abandoned)
    return CTL_DONE;
  bool has_daemon = add_daemon(sockets);
  if (!there && !has_daemon)
    return ctl_fail("%s: not running: no control socket %s (or use --control)", volume, own);
  /* The socket of a server that was killed must not hide that surefootd runs the volume now. */
  if (has_daemon && !(abandoned && sf_control_is_abandoned(of_daemon)))
    memcpy(sockets->path[0], of_daemon, SF_CONTROL_PATH_MAX);
  sockets->count = 1;
  return CTL_DONE;
}

int
ctl_find_sockets(const struct ctl_command_call *call, const char *volume,
                 struct ctl_sockets *sockets) {
  sockets->count = 0;
  const char *given = call->control ? call->control : getenv("SUREFOOT_CONTROL");
  if (given && *given) {
    if (!add(sockets, "", given, ""))
      return ctl_fail("%s: the path is longer than %d bytes", given, SF_CONTROL_PATH_MAX - 1);
    return CTL_DONE;
  }
  return volume ? find_volume(volume, sockets) : find_all(sockets);
}

bool
ctl_daemon_is_there(const struct ctl_command_call *call, char path[SF_CONTROL_PATH_MAX]) {
  const char *given = call->control ? call->control : getenv("SUREFOOT_CONTROL");
  struct ctl_sockets sockets = {0};
  bool has = given && *given ? add(&sockets, "", given, "") : add_daemon(&sockets);
  if (!has || access(sockets.path[0], F_OK) < 0 || sf_control_is_abandoned(sockets.path[0]))
    return false;
  memcpy(path, sockets.path[0], SF_CONTROL_PATH_MAX);
  return true;
}

int
ctl_find_daemon(const struct ctl_command_call *call, char path[SF_CONTROL_PATH_MAX]) {
  struct ctl_sockets sockets = {0};
  const char *given = call->control ? call->control : getenv("SUREFOOT_CONTROL");
  if (given && *given)
    return ctl_find_socket(call, NULL, path);
  if (!add_daemon(&sockets))
    return ctl_fail("surefootd is not running: no socket %s/control (or use --control)",
                    runtime_directory());
  memcpy(path, sockets.path[0], SF_CONTROL_PATH_MAX);
  return CTL_DONE;
}

int
ctl_find_socket(const struct ctl_command_call *call, const char *volume,
                char path[SF_CONTROL_PATH_MAX]) {
  struct ctl_sockets sockets;
  int status = ctl_find_sockets(call, volume, &sockets);
  if (status != CTL_DONE)
    return status;
  if (sockets.count > 1 && !ctl_is_daemon(sockets.path[0])) {
    char names[512] = "";
    size_t used = 0;
    for (unsigned i = 0; i < sockets.count && used < sizeof names; i++) {
      const char *name = strrchr(sockets.path[i], '/') + 1;
      used += (size_t) snprintf(names + used, sizeof names - used, "%s%.*s", i ? ", " : "",
                                (int) strlen(name) - 4, name);
    }
    return ctl_fail("which volume?  %s are running", names);
  }
  memcpy(path, sockets.path[0], SF_CONTROL_PATH_MAX);
  return CTL_DONE;
}

const char *
ctl_conf_file(const char *name, char path[PATH_MAX]) {
  const char *folder = getenv("SUREFOOT_VOLUMES_DIR");
  if (strchr(name, '/') || access(name, F_OK) == 0)
    return name;
  int len = snprintf(path, PATH_MAX, "%s/%s.conf",
                     folder && *folder ? folder : "/etc/surefoot/volumes.d", name);
  return len < PATH_MAX && access(path, F_OK) == 0 ? path : name;
}

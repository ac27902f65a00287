#include "hold/systemd.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/child.h"
#include "common/log.h"

enum { ASK_MS = 60000 /* without an answer a stop under a busy device passes */, UNITS_MAX = 64 };

/* "12 surefootd.service stop waiting".  The number; false: there is no such job. */
static bool
find_stop(char id[16]) {
  char jobs[1024];
  const char *const words[] = {"systemctl", "list-jobs",         "--no-legend",
                               "--plain",   "surefootd.service", NULL};
  return sfd_child_run(words, jobs, sizeof jobs, ASK_MS) == 0 && strstr(jobs, " stop ") &&
         sscanf(jobs, "%15s", id) == 1;
}

bool
sfd_systemd_is_to_stop(void) {
  char id[16];
  return find_stop(id);
}

bool
sfd_systemd_shuts_down(void) {
  char state[64];
  const char *const words[] = {"systemctl", "is-system-running", NULL};
  return sfd_child_run(words, state, sizeof state, ASK_MS) >= 0 &&
         strncmp(state, "stopping", 8) == 0;
}

/* At a shutdown most jobs wait for one another.  What runs may still use what is mounted. */
bool
sfd_systemd_waits_for_us(void) {
  static char jobs[256 * 1024];
  const char *const words[] = {"systemctl", "list-jobs", "--no-legend", "--plain", NULL};
  char *rest = jobs, *line, unit[256], state[32];
  if (sfd_child_run(words, jobs, sizeof jobs, ASK_MS) != 0)
    return false;
  while ((line = strsep(&rest, "\n")))
    if (sscanf(line, "%*s %255s %*s %31s", unit, state) == 2 && strcmp(state, "running") == 0 &&
        strcmp(unit, "surefoot-hold.service") != 0)
      return false;
  return true;
}

void
sfd_systemd_stop_at_once(const char *unit, unsigned timeout_ms) {
  const char *const words[] = {"systemctl", "stop", "--job-mode=ignore-dependencies",
                               "--",        unit,   NULL};
  (void) sfd_child_run(words, NULL, 0, timeout_ms);
}

/* is-active has a line for each, in order. */
static void
keep_active(struct systemd_units *units) {
  const char *words[3 + UNITS_MAX] = {"systemctl", "is-active"};
  char states[UNITS_MAX * 16], *rest = states;
  unsigned kept = 0;
  for (unsigned i = 0; i < units->count; i++)
    words[2 + i] = units->name[i];
  if (sfd_child_run(words, states, sizeof states, ASK_MS) < 0)
    return;
  for (unsigned i = 0; i < units->count; i++) {
    const char *state = strsep(&rest, "\n");
    if (state && strcmp(state, "active") == 0)
      units->name[kept++] = units->name[i];
  }
  units->count = kept;
}

void
sfd_systemd_find_dependents(struct systemd_units *units) {
  const char *const words[] = {"systemctl",       "show", "--property=RequiredBy", "--value",
                               "surefoot.target", NULL};
  char *rest = units->names, *name;
  units->count = 0;
  if (sfd_child_run(words, units->names, sizeof units->names, ASK_MS) != 0)
    return;
  while ((name = strsep(&rest, " \n")) && units->count < UNITS_MAX)
    if (*name)
      units->name[units->count++] = name;
  if (units->count > 0)
    keep_active(units);
}

int
sfd_systemd_stop_target(unsigned timeout_ms) {
  const char *const words[] = {"systemctl", "stop", "surefoot.target", NULL};
  int r = sfd_child_run(words, NULL, 0, timeout_ms);
  return r > 0 ? 0 : r;
}

/* Not by a start of surefootd, which would be refused if it was masked before the stop. */
void
sfd_systemd_call_off(const struct systemd_units *units) {
  char id[16];
  const char *const cancel[] = {"systemctl", "cancel", id, NULL};
  const char *words[6 + UNITS_MAX] = {"systemctl", "start", "--no-block", "surefoot-hold.service",
                                      "surefoot.target"};
  memcpy(words + 5, units->name, units->count * sizeof words[0]);
  int r = find_stop(id) ? sfd_child_run(cancel, NULL, 0, ASK_MS) : -ESRCH;
  if (r != 0)
    log_error(NULL, "the stop could not be called off: systemctl cancel: %s",
              r < 0 ? strerror(-r) : "failed");
  (void) sfd_child_run(words, NULL, 0, ASK_MS);
}

void
sfd_systemd_tell_terminals(const char *text) {
  const char *const words[] = {"wall", text, NULL};
  (void) sfd_child_run(words, NULL, 0, ASK_MS);
}

#include "events/hook.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/writer.h"
#include "common/log.h"
#include "events/events.h"

static void run_next(struct hook *hook);

/* ---- in the child ---- */

static void
set_number(const char *key, const json_t *number) {
  char text[24];

  if (!json_is_integer(number))
    return;
  snprintf(text, sizeof text, "%" JSON_INTEGER_FORMAT, json_integer_value(number));
  setenv(key, text, 1);
}

static int
run(void *arg) {
  const struct hook *hook = arg;
  const json_t *event = hook->queue[hook->first];
  const char *path = hook->settings->hook, *name = sfd_events_hook_name(event);
  const char *volume = sfd_events_text(event, "volume"), *leg = sfd_events_text(event, "leg");
  static const char *const keys[][2] = {{"SUREFOOT_FROM", "from"},
                                        {"SUREFOOT_TO", "to"},
                                        {"SUREFOOT_REASON", "reason"},
                                        {"SUREFOOT_TIME", "time"}};
  static const char *const numbers[][2] = {{"SUREFOOT_OFFSET", "offset"},
                                           {"SUREFOOT_LENGTH", "length"},
                                           {"SUREFOOT_ERRNO", "errno"},
                                           {"SUREFOOT_COUNT", "count"}};
  char *const argv[] = {strdup(path), strdup(name), strdup(volume), *leg ? strdup(leg) : NULL,
                        NULL};
  int null = open("/dev/null", O_RDONLY);
  if (null >= 0)
    dup2(null, STDIN_FILENO);
  dup2(STDERR_FILENO, STDOUT_FILENO);
  sf_writer_end();
  unsetenv("NOTIFY_SOCKET");
  unsetenv("WATCHDOG_PID");
  unsetenv("WATCHDOG_USEC");
  setenv("SUREFOOT_EVENT", name, 1);
  setenv("SUREFOOT_VOLUME", volume, 1);
  setenv("SUREFOOT_LEG", leg, 1);
  setenv("SUREFOOT_CONTROL", hook->settings->control, 1);
  for (unsigned i = 0; i < sizeof keys / sizeof keys[0]; i++)
    setenv(keys[i][0], sfd_events_text(event, keys[i][1]), 1);
  for (unsigned i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
    set_number(numbers[i][0], json_object_get(event, numbers[i][1]));
  execv(path, argv);
  fprintf(stderr, "surefootd: hook %s: %s\n", path, strerror(errno));
  return -255;
}

/* ---- the queue ---- */

static void
forget_first(struct hook *hook) {
  json_decref(hook->queue[hook->first]);
  hook->queue[hook->first] = NULL;
  hook->first = (hook->first + 1) % HOOK_QUEUE_MAX;
  hook->count--;
}

static void
on_done(void *ctx, int error) {
  struct hook *hook = ctx;
  const json_t *event = hook->queue[hook->first];
  const char *name = sfd_events_hook_name(event), *volume = sfd_events_text(event, "volume");
  hook->job = NULL;
  if (error == -ETIMEDOUT)
    log_warning(volume, "hook for %s: killed after %llu s", name,
                (unsigned long long) (hook->settings->hook_timeout_us / 1000000));
  else if (error)
    log_warning(volume, "hook for %s: failed (exit status %d)", name, -error);
  forget_first(hook);
  run_next(hook);
}

static void
run_next(struct hook *hook) {
  while (hook->count > 0) {
    int r = sfd_job_start(hook->event, hook->settings->hook_timeout_us, run, hook, -1, on_done,
                          hook, &hook->job);
    if (r == 0)
      return;
    log_warning(sfd_events_text(hook->queue[hook->first], "volume"), "hook: %s", strerror(-r));
    forget_first(hook);
  }
  if (hook->dropped > 0)
    log_warning(NULL, "hook: too slow, %u events were not told", hook->dropped);
  hook->dropped = 0;
}

void
sfd_hook_tell(struct hook *hook, const json_t *event) {
  if (hook->settings == NULL || !hook->settings->hook[0] || sfd_events_hook_name(event) == NULL)
    return;
  if (hook->count == HOOK_QUEUE_MAX) {
    hook->dropped++;
    return;
  }
  hook->queue[(hook->first + hook->count++) % HOOK_QUEUE_MAX] = json_deep_copy(event);
  if (hook->job == NULL)
    run_next(hook);
}

void
sfd_hook_end(struct hook *hook) {
  sfd_job_cancel(hook->job);
  hook->job = NULL;
  while (hook->count > 0)
    forget_first(hook);
}

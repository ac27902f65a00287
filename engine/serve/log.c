/* The server's output: lines of its log, and the volume's events for the control socket's
 * followers. */
#include "serve/internal.h"

#include <stdarg.h>
#include <stdio.h>

void
sf_serve_keeper_wake(struct sf_serve *serve) {
  if (serve->keeper_thread != NULL)
    sf_tio_wake(serve->keeper_thread);
}

/* Lines are kept and printed by the keeper: the volume tells its events with its lock held, and the
 * reader of the log may be slow. */
void
sf_serve_log(struct sf_serve *serve, const char *format, ...) {
  unsigned slot;
  va_list args;

  pthread_mutex_lock(&serve->lock);
  if (serve->log_count == SERVE_LOG_LINES) {
    serve->log_lost++;
  } else {
    slot = (serve->log_first + serve->log_count++) % SERVE_LOG_LINES;
    va_start(args, format);
    vsnprintf(serve->log[slot], sizeof serve->log[slot], format, args);
    va_end(args);
  }
  pthread_mutex_unlock(&serve->lock);
  sf_serve_keeper_wake(serve);
}

static void
log_event(struct sf_serve *serve, const struct sf_volume_event *event) {
  bool why = event->reason != NULL && event->reason[0] != '\0';

  switch (event->kind) {
  case SF_EVENT_STARTED:
    sf_serve_log(serve, "serving");
    break;
  case SF_EVENT_LEG_STATE:
    sf_serve_log(serve, "leg %s: %s -> %s%s%s%s", event->leg_name, event->from, event->to,
                 why ? " (" : "", why ? event->reason : "", why ? ")" : "");
    break;
  case SF_EVENT_STATE:
    sf_serve_log(serve, "%s -> %s%s%s%s", event->from, event->to, why ? " (" : "",
                 why ? event->reason : "", why ? ")" : "");
    break;
  case SF_EVENT_READ_REPAIRED:
    sf_serve_log(serve, "leg %s: could not be read, was read from another leg and written over: %s",
                 event->leg_name, event->reason);
    break;
  case SF_EVENT_READ_FAILED: /* sf_serve_tell_failed has told it */
    break;
  case SF_EVENT_STOPPED:
    sf_serve_log(serve, "stopped, %s", event->reason);
    break;
  case SF_EVENT_GROWN:
    sf_serve_log(serve, "has grown to %s bytes; clients that connect now see it", event->reason);
    break;
  case SF_EVENT_GROW_FAILED:
    sf_serve_log(serve, "is not grown: %s", event->reason);
    break;
  case SF_EVENT_LEG_REPLACED:
    sf_serve_log(serve, "leg %s: its place is %s's now", event->leg_name, event->reason);
    break;
  case SF_EVENT_LEG_ADDED:
    sf_serve_log(serve, "leg %s: added, %s", event->leg_name, event->reason);
    break;
  case SF_EVENT_LEG_REMOVED:
    sf_serve_log(serve, "leg %s: removed", event->leg_name);
    break;
  case SF_EVENT_LEG_NOT_OPENED:
    sf_serve_log(serve, "leg %s: still missing: %s", event->leg_name, event->reason);
    break;
  case SF_EVENT_CHANGE_FAILED:
    sf_serve_log(serve, "leg %s: not changed: %s", event->leg_name, event->reason);
    break;
  case SF_EVENT_LEG_TROUBLE:
    sf_serve_log(serve, "leg %s: cannot be spared, and fails: %s", event->leg_name, event->reason);
    break;
  case SF_EVENT_LOST_RANGE:
    sf_serve_log(
        serve,
        "leg %s: %s. A leg that catches up waits for them to be written anew, or read after "
        "all",
        event->leg_name, event->reason);
    break;
  case SF_EVENT_SCRUB:
    sf_serve_log(serve, "scrub %s%s%s", event->to, why ? ": " : "", why ? event->reason : "");
    break;
  case SF_EVENT_MISMATCH:
    sf_serve_log(serve, "the legs are not alike: %s", event->reason);
    break;
  case SF_EVENT_LEG_SLOW:
  case SF_EVENT_LEG_PATH:
    sf_serve_log(serve, "leg %s: %s", event->leg_name, event->reason);
    break;
  case SF_EVENT_KINDS:
    break;
  }
}

void
sf_serve_event(struct sf_serve *serve, const struct sf_volume_event *event) {
  if (!serve->options.quiet)
    log_event(serve, event);
  /* The end of the control server takes this lock, so it waits for a call in there. The thread that
   * waits for the stop ends it next, so its followers must hear of the stop first. */
  pthread_mutex_lock(&serve->lock);
  if (serve->control != NULL)
    sf_control_server_event(serve->control, event);
  if (event->kind == SF_EVENT_STOPPED) {
    serve->stopped = true;
    pthread_cond_broadcast(&serve->changed);
  }
  pthread_mutex_unlock(&serve->lock);
}

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

/* Lines are kept and printed by the keeper: all that the volume tells waits behind an event, and the
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

/* Of an event that moves nothing: what stands before its reason, and behind it. */
static const struct wording {
  bool of_leg, is_all; /* is_all: the reason is not said */
  const char *before, *after;
} wording[] = {
    [SF_EVENT_STARTED] = {false, true, "serving", ""},
    [SF_EVENT_READ_REPAIRED] = {true, false,
                                "could not be read, was read from another leg and written over: ",
                                ""},
    [SF_EVENT_STOPPED] = {false, false, "stopped, ", ""},
    [SF_EVENT_GROWN] = {false, false, "has grown to ", " bytes; clients that connect now see it"},
    [SF_EVENT_GROW_FAILED] = {false, false, "is not grown: ", ""},
    [SF_EVENT_LEG_REPLACED] = {true, false, "its place is ", "'s now"},
    [SF_EVENT_LEG_ADDED] = {true, false, "added, ", ""},
    [SF_EVENT_LEG_REMOVED] = {true, true, "removed", ""},
    [SF_EVENT_LEG_NOT_OPENED] = {true, false, "still missing: ", ""},
    [SF_EVENT_CHANGE_FAILED] = {true, false, "not changed: ", ""},
    [SF_EVENT_LEG_TROUBLE] = {true, false, "cannot be spared, and fails: ", ""},
    [SF_EVENT_LOST_RANGE] =
        {true, false, "",
         ". A leg that catches up waits for them to be written anew, or read after all"},
    [SF_EVENT_READ_FAILED] = {.before = NULL}, /* sf_serve_tell_failed has told it */
    [SF_EVENT_MISMATCH] = {false, false, "the legs are not alike: ", ""},
    [SF_EVENT_LEG_SLOW] = {true, false, "", ""},
    [SF_EVENT_LEG_PATH] = {true, false, "", ""},
    [SF_EVENT_EVENTS_UNTOLD] = {false, false, "", ""},
};
_Static_assert(sizeof wording / sizeof wording[0] == SF_EVENT_KINDS, "one for each");

static void
log_plain(struct sf_serve *serve, const struct sf_volume_event *event) {
  const struct wording *word = &wording[event->kind];

  if (word->before == NULL)
    return;
  sf_serve_log(serve, "%s%s%s%s%s%s", word->of_leg ? "leg " : "",
               word->of_leg ? event->leg_name : "", word->of_leg ? ": " : "", word->before,
               word->is_all ? "" : event->reason, word->after);
}

static void
log_event(struct sf_serve *serve, const struct sf_volume_event *event) {
  bool why = event->reason != NULL && event->reason[0] != '\0';

  switch (event->kind) {
  case SF_EVENT_LEG_STATE:
    sf_serve_log(serve, "leg %s: %s -> %s%s%s%s", event->leg_name, event->from, event->to,
                 why ? " (" : "", why ? event->reason : "", why ? ")" : "");
    break;
  case SF_EVENT_STATE:
    sf_serve_log(serve, "%s -> %s%s%s%s", event->from, event->to, why ? " (" : "",
                 why ? event->reason : "", why ? ")" : "");
    break;
  case SF_EVENT_DRILL:
    sf_serve_log(serve, "leg %s: a drill %s%s%s", event->leg_name, event->to, why ? ": " : "",
                 why ? event->reason : "");
    break;
  case SF_EVENT_SCRUB:
    sf_serve_log(serve, "scrub %s%s%s", event->to, why ? ": " : "", why ? event->reason : "");
    break;
  default:
    log_plain(serve, event);
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

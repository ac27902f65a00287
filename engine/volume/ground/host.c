/* What the volume says to its host and asks of it, but for I/O. */
#include "volume/ground/host.h"

#include <stdio.h>

#include "volume/ground/outbox.h"

void
sf_vol_trace(struct sf_volume *v, const char *format, ...) {
  char line[256];
  va_list args;

  if (v->host.trace == NULL)
    return;
  va_start(args, format);
  vsnprintf(line, sizeof line, format, args);
  va_end(args);
  v->host.trace(v->ctx, line);
}

static void
trace_line(void *owner, const char *line) {
  struct sf_volume *v = owner;

  sf_vol_trace(v, "%s", line);
}

const struct sf_state_hooks sf_volume_hooks = {.trace = trace_line};

void
sf_vol_tell(struct sf_volume *v, struct sf_volume_event *event) {
  event->now_ns = v->now_ns;
  event->leg_name = event->leg < 0 ? NULL : v->config.leg[event->leg].name;
  if (v->host.event != NULL)
    sf_outbox_put_event(&v->outbox, event);
}

void
sf_vol_event(struct sf_volume *v, enum sf_volume_event_kind kind, int leg, const char *from,
             const char *to, const char *reason) {
  struct sf_volume_event event = {
      .kind = kind, .leg = leg, .from = from, .to = to, .reason = reason};

  sf_vol_tell(v, &event);
}

void
sf_vol_arm(struct sf_volume *v, uint64_t at_ns) {
  if (v->timer_ns != 0 && v->timer_ns <= at_ns)
    return;
  v->timer_ns = at_ns;
  v->host.timer(v->ctx, at_ns);
}

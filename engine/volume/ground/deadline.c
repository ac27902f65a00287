/* The deadlines in force: how long a leg may take for a request of a kind before it is late in it.
 *
 * What is set and shown is the deadline, as that is what clients wait at most.  A fifth of it is the
 * grace of R4; the rest is the timeout, which everything inside is measured against.
 *
 * `auto` follows the leg's own latencies, from sending to answer:
 *
 *   observation  of each second in which the leg answered, the longest that an answer took.
 *                Seconds and not requests are counted, or the many that one pause holds up would
 *                pass for the leg's speed.
 *   level        the most in all but the three longest of the last 240 such seconds: a percentile
 *                of more than 98.  The three are pauses; the leg of which more are seen
 *                is as slow as that.
 *   timeout      the level and a margin of three times as much, of half a second at most (2.5 s for
 *                flushes).  The bound keeps the loop through the window stable: that lets a leg be
 *                busy for a part of the timeout, which is then the level, and with a factor alone
 *                both would rise for ever.
 *
 * It rises at once, and falls by half in 15 s of answering at the most.  Until it has seen some
 * tens of answers it suits an ordinary disk (config.c): the leg is not known yet, and throwing a
 * slow disk out in its first second costs more than a longer wait for one that hangs then.
 *
 * A leg that hangs must not raise its own timeout: a second without an answer is no observation,
 * so it keeps the timeout from falling and no more; a leg that is not in sync is not observed at
 * all. */
#include "volume/ground/deadline.h"

#include "volume/ground/facts.h"

enum {
  OUTLIERS = 3,
  MARGIN = 3, /* times the level */
  KNOWN_ANSWERS = 32,
  KNOWN_SECONDS = 10,
  FALL = 22, /* one part in so many a second: by half in 15 s */
  TICK_MS = 1000,
  GRACES = 4,       /* in a timeout: one more is the deadline */
  TARGET_SHIFT = 1, /* outstanding requests are expected to be answered in half of the timeout */
};

static const uint64_t margin_most_ns[SF_KINDS] = {
    [SF_READ_KIND] = 500 * SF_MS, [SF_WRITE_KIND] = 500 * SF_MS, [SF_FLUSH_KIND] = 2500 * SF_MS};

static bool
is_auto(const struct sf_timeout *t) {
  return t->least_ns < t->most_ns;
}

static uint64_t
within(uint64_t ns, const struct sf_timeout *t) {
  if (ns < t->least_ns)
    return t->least_ns;
  return ns > t->most_ns ? t->most_ns : ns;
}

static uint64_t
timeout_in(uint64_t deadline_ns) {
  return deadline_ns - deadline_ns / (GRACES + 1);
}

static uint64_t
deadline_for(uint64_t timeout_ns) {
  return timeout_ns + timeout_ns / GRACES;
}

static struct sf_timeout
timeout_range(const struct sf_volume *v, unsigned leg, enum sf_kind kind) {
  const struct sf_timeout deadline = sf_config_timeout_range(&v->config, leg, kind);

  return (struct sf_timeout){.least_ns = timeout_in(deadline.least_ns),
                             .first_ns = timeout_in(deadline.first_ns),
                             .most_ns = timeout_in(deadline.most_ns)};
}

uint64_t
sf_deadline_timeout(const struct sf_volume *v, unsigned leg, enum sf_kind kind) {
  const struct sf_timeout t = timeout_range(v, leg, kind);
  uint64_t found = v->leg[leg].deadline[kind].timeout_ns;

  return found == 0 ? t.first_ns : within(found, &t);
}

uint64_t
sf_deadline_grace(const struct sf_volume *v, unsigned leg, enum sf_kind kind) {
  return sf_deadline_timeout(v, leg, kind) / GRACES;
}

uint64_t
sf_deadline_of(const struct sf_volume *v, unsigned leg, enum sf_kind kind) {
  return deadline_for(sf_deadline_timeout(v, leg, kind));
}

uint64_t
sf_deadline_longest_timeout(const struct sf_volume *v, enum sf_kind kind) {
  uint64_t longest = 0;

  for (unsigned leg = 0; leg < v->legs; leg++)
    if (sf_deadline_timeout(v, leg, kind) > longest)
      longest = sf_deadline_timeout(v, leg, kind);
  return longest;
}

uint64_t
sf_deadline_longest(const struct sf_volume *v, enum sf_kind kind) {
  return deadline_for(sf_deadline_longest_timeout(v, kind));
}

uint64_t
sf_deadline_target_ns(const struct sf_volume *v, unsigned leg, enum sf_kind kind) {
  return sf_deadline_timeout(v, leg, kind) >> TARGET_SHIFT;
}

void
sf_deadline_note(struct sf_volume *v, unsigned leg, enum sf_kind kind, uint64_t latency_ns) {
  struct deadline *d = &v->leg[leg].deadline[kind];

  if (sf_leg_state(&v->leg[leg]) != SF_STATE_IN_SYNC)
    return;
  d->answers++;
  if (latency_ns > d->longest_ns)
    d->longest_ns = latency_ns;
}

void
sf_deadline_forget(struct sf_volume *v, unsigned leg) {
  for (unsigned kind = 0; kind < SF_KINDS; kind++)
    v->leg[leg].deadline[kind] = (struct deadline){0};
}

static void
observe(struct deadline *d) {
  uint64_t us = d->longest_ns / 1000;

  d->second_us[d->next] = us < UINT32_MAX ? (uint32_t) us : UINT32_MAX;
  d->next = (d->next + 1) % DEADLINE_SECONDS;
  if (d->seconds < DEADLINE_SECONDS)
    d->seconds++;
  d->seen += d->answers < KNOWN_ANSWERS - d->seen ? d->answers : KNOWN_ANSWERS - d->seen;
}

static uint64_t
level_of(const struct deadline *d) {
  uint32_t longest[OUTLIERS + 1] = {0}; /* in falling order */

  for (unsigned i = 0; i < d->seconds; i++) {
    uint32_t us = d->second_us[i];

    for (unsigned k = 0; k <= OUTLIERS; k++)
      if (us > longest[k]) {
        uint32_t less = longest[k];

        longest[k] = us;
        us = less;
      }
  }
  return UINT64_C(1000) * longest[OUTLIERS];
}

static bool
is_known(const struct deadline *d) {
  return d->seen >= KNOWN_ANSWERS && d->seconds >= KNOWN_SECONDS;
}

static void
follow(struct deadline *d, enum sf_kind kind, const struct sf_timeout *t) {
  uint64_t level = level_of(d), margin = MARGIN * level, now, target;

  if (margin > margin_most_ns[kind])
    margin = margin_most_ns[kind];
  target = within(level + margin, t);
  now = d->timeout_ns == 0 ? t->first_ns : within(d->timeout_ns, t);
  if (target > now)
    d->timeout_ns = target;
  else if (is_known(d))
    d->timeout_ns = now - now / FALL > target ? now - now / FALL : target;
}

void
sf_deadline_tick(struct sf_volume *v) {
  if (v->now_ns < v->deadlines_at_ns)
    return;
  v->deadlines_at_ns = v->now_ns + TICK_MS * SF_MS;
  for (unsigned leg = 0; leg < v->legs; leg++)
    for (unsigned kind = 0; kind < SF_KINDS; kind++) {
      struct deadline *d = &v->leg[leg].deadline[kind];
      const struct sf_timeout t = timeout_range(v, leg, (enum sf_kind) kind);

      if (d->answers > 0 && sf_leg_state(&v->leg[leg]) == SF_STATE_IN_SYNC) {
        observe(d);
        if (is_auto(&t))
          follow(d, (enum sf_kind) kind, &t);
      }
      d->answers = 0;
      d->longest_ns = 0;
    }
}

const char *
sf_deadline_source_name(enum sf_deadline_source source) {
  static const char *const name[] = {[SF_DEADLINE_AUTO] = "auto",
                                     [SF_DEADLINE_LEARNING] = "learning",
                                     [SF_DEADLINE_FILE] = "file",
                                     [SF_DEADLINE_SET] = "set"};

  return name[source];
}

enum sf_deadline_source
sf_deadline_source(const struct sf_volume *v, unsigned leg, enum sf_kind kind) {
  const struct sf_timeout t = sf_config_timeout_range(&v->config, leg, kind);

  if (is_auto(&t))
    return is_known(&v->leg[leg].deadline[kind]) ? SF_DEADLINE_AUTO : SF_DEADLINE_LEARNING;
  return sf_config_timeout_set_at(&v->config, leg, kind) == SF_CONFIG_SET_LIVE ? SF_DEADLINE_SET
                                                                               : SF_DEADLINE_FILE;
}

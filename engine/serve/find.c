/* Finding the legs at a start, and waiting for those without which it may not start: disks come up
 * late at boot, and the kernel keeps those of a killed process locked until its last request has
 * ended (R7). */
#include "base/units.h"
#include "serve/internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { OPEN_TIMEOUT_S = 5, RETRY_MS = 250 };

void
sf_serve_close_files(struct sf_serve *serve) {
  for (unsigned i = 0; i < SF_LEGS_MAX; i++)
    sf_leg_file_close(&serve->leg[i].file);
}

/* Shorter than what the opening says: `create` makes no leg that a volume waits for. */
static const char *
why_absent(const char *path, int error) {
  switch (error) {
  case -ENOENT:
    return strncmp(path, "/dev/", 5) == 0 ? "no such device" : "no such file";
  case -EBUSY:
    return "locked by another process, or by a dead one's last request";
  case -ETIMEDOUT:
    return "does not answer";
  case -ENODATA:
    return "carries no superblock: is what it stands on there, and mounted?";
  default:
    return strerrordesc_np(-error);
  }
}

static void
say_absent(const struct sf_serve *serve, uint16_t legs, char *text, size_t size) {
  size_t used = 0;

  text[0] = '\0';
  for (unsigned i = 0; i < serve->config.legs; i++) {
    const struct sf_config_leg *leg = &serve->config.leg[i];
    const char *why = why_absent(leg->path, serve->leg[i].found.error);

    if (legs >> i & 1 && used < size)
      used +=
          (size_t) snprintf(text + used, size - used, "%sleg %s (%s: %s)", used == 0 ? "" : ", ",
                            leg->name, leg->path, why ? why : "cannot be opened");
  }
}

/* Legs that would let the volume start if they came.  A path without a superblock counts: it may be
 * the bare file below a mount that is late, or a disk that shows nothing yet. */
static uint16_t
worth_waiting_for(const struct sf_serve *serve) {
  uint16_t absent = 0, empty = 0;

  for (unsigned i = 0; i < serve->config.legs; i++)
    if (!serve->leg[i].found.present || serve->leg[i].found.bytes == 0)
      absent |= (uint16_t) (1u << i);
    else if (serve->assembly.verdict[i] == SF_LEG_UNFORMATTED &&
             !(serve->assembly.headless >> i & 1)) /* its superblocks do not come back */
      empty |= (uint16_t) (1u << i);
  /* Without any leg there is no record that could name those it needs, and maybe no volume yet. */
  if (serve->assembly.reference < 0)
    return serve->options.force_with != NULL ? absent & serve->assembly.waits_for : absent;
  return (absent | empty) & serve->assembly.waits_for;
}

/* 0, or -EBUSY and error names the holder. */
static int
look_for_others(struct sf_serve *serve, char error[SF_CONFIG_ERROR_MAX]) {
  struct sf_leg_found found[SF_LEGS_MAX];
  struct sf_holder self;
  const struct sf_superblock *held;

  for (unsigned i = 0; i < SF_LEGS_MAX; i++)
    found[i] = serve->leg[i].found;
  sf_holder_self(&self);
  held = sf_held_by_another(found, &serve->assembly.base.volume, &self);
  serve->takes = held != NULL;
  if (held == NULL || serve->options.take)
    return 0;
  sf_say_held(held, error);
  sf_serve_close_files(serve);
  return -EBUSY;
}

/* With all of these legs or not at all.  The assembly takes the others for unlisted, so the words
 * are ours. */
static void
forced_only_with(struct sf_serve *serve, const char *with) {
  struct sf_assembly *assembly = &serve->assembly;
  const struct sf_record *record = &assembly->base.record;
  uint16_t lacks = sf_serve_forced_lacks(&serve->config, with, assembly);

  if (lacks == 0 && assembly->may_start)
    snprintf(assembly->reason, sizeof assembly->reason,
             "starts from record %" PRIu64 ".%" PRIu64 " with %.200s, the legs of force_with%s",
             record->term, record->change, with,
             assembly->forced ? ", in a new line of history, without what only others may hold"
                              : "");
  if (lacks == 0)
    return;
  assembly->waits_for = lacks;
  if (!assembly->may_start)
    return;
  assembly->may_start = assembly->forced = false;
  snprintf(assembly->reason, sizeof assembly->reason,
           "waits for each leg of force_with=%.200s: not all are there, or in sync by the newest "
           "record among them",
           with);
}

/* -EAGAIN: it may not start as things are, and error says why.  -EBUSY: another host has the
 * legs. */
static int
look(struct sf_serve *serve, const struct sf_config *as_listed, char error[SF_CONFIG_ERROR_MAX]) {
  struct sf_leg_file file[SF_LEGS_MAX];
  struct sf_leg_found found[SF_LEGS_MAX];
  char why[SF_LEGS_MAX][SF_CONFIG_ERROR_MAX];
  struct sf_config *config = &serve->config;
  const char *with = serve->options.force_with;
  int r;

  *config = *as_listed;
  r = with == NULL ? 0 : sf_serve_forced_choose(config, with, error);
  if (r < 0)
    return r;
  r = sf_leg_files_assemble(serve->openers, config, 0, OPEN_TIMEOUT_S * SF_S, serve->options.force,
                            file, found, why, &serve->assembly, error);
  if (r < 0)
    return r;
  for (unsigned i = 0; i < SF_LEGS_MAX; i++) {
    serve->leg[i].file = file[i];
    serve->leg[i].found = found[i];
  }
  if (with != NULL)
    forced_only_with(serve, with);
  if (serve->assembly.may_start) {
    sf_serve_forced_put_back(config, as_listed);
    return look_for_others(serve, error);
  }
  r = snprintf(error, SF_CONFIG_ERROR_MAX, "%s", serve->assembly.reason);
  for (unsigned i = 0; i < config->legs && r > 0 && r < SF_CONFIG_ERROR_MAX; i++)
    if (!found[i].present && why[i][0] != '\0')
      r += snprintf(error + r, SF_CONFIG_ERROR_MAX - (size_t) r, "; leg %s: %s",
                    config->leg[i].name, why[i]);
  sf_serve_close_files(serve);
  return -EAGAIN;
}

static void
say(const struct sf_serve *serve, const char *line) {
  /* Not sf_serve_log: the keeper, which prints that, does not run yet. */
  if (serve->options.log != NULL)
    serve->options.log(serve->options.ctx, line);
}

static void
say_waiting(const struct sf_serve *serve, uint16_t legs) {
  char absent[SF_CONFIG_ERROR_MAX], line[sizeof absent + 64];
  uint64_t wait_ns = serve->config.wait_for_legs_ns;

  say_absent(serve, legs, absent, sizeof absent);
  if (wait_ns % SF_S == 0)
    snprintf(line, sizeof line, "waiting up to %" PRIu64 " s for %s", wait_ns / SF_S, absent);
  else
    snprintf(line, sizeof line, "waiting up to %" PRIu64 " ms for %s", wait_ns / SF_MS, absent);
  say(serve, line);
}

int
sf_serve_find_legs(struct sf_serve *serve, char error[SF_CONFIG_ERROR_MAX]) {
  uint64_t until = sf_tio_now() + serve->config.wait_for_legs_ns;
  const struct timespec pause = {.tv_nsec = RETRY_MS * SF_MS};
  const struct sf_config as_listed = serve->config;
  bool told = false;
  int r;

  while (((r = look(serve, &as_listed, error)) == -EAGAIN || r == -EBUSY) && sf_tio_now() < until) {
    uint16_t legs = r == -EAGAIN ? worth_waiting_for(serve) : 0;

    if (r == -EAGAIN && legs == 0)
      break;
    if (!told && r == -EBUSY)
      say(serve, error);
    else if (!told)
      say_waiting(serve, legs);
    told = true;
    /* No event tells on every file system that a path begins to exist or a lock is free. */
    nanosleep(&pause, NULL);
  }
  return r;
}

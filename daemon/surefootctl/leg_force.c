/* leg fail --force: a leg that the volume needs is failed all the same.  The volume itself refuses
 * that, and is right: only the start of another server, by force, can leave out such a leg.  What
 * that risks is found out first, without any change, and said. */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <surefoot/legfile.h>

#include "base/text.h"
#include "base/units.h"
#include "ctl.h"

enum {
  OPEN_TIMEOUT_S = 5,
  LOOKS = 20,        /* of 100 ms: it goes on within so long, or is suspended still */
  STARTS_FAILED = 4, /* the lock of a dead server may be in the way of the first */
};

struct force {
  const char *path, *volume, *leg;
  json_t *own; /* the volume's status before */
  char with[SF_LEGS_MAX * SF_LEG_NAME_MAX];
  unsigned legs; /* so many are that */
  bool in_sync;  /* they hold every acknowledged write */
  uint64_t lacks_bytes;
};

/* ---- which legs could it go on with? ---- */

static bool
is_waited_for(const json_t *own, const char *name) {
  const json_t *waits = json_object_get(own, "waits_for");
  for (size_t i = 0; i < json_array_size(waits); i++) {
    const char *one = json_string_value(json_array_get(waits, i));
    if (one && strcmp(one, name) == 0)
      return true;
  }
  return false;
}

static bool
is_in_sync(const json_t *leg) {
  return strcmp(ctl_json_text(leg, "state"), "in-sync") == 0;
}

/* The others that are in sync, or that are not; a leg that hangs is none of them. */
static void
list_others(const struct force *force, bool in_sync, struct sf_config *config) {
  const json_t *legs = json_object_get(force->own, "legs");
  sf_config_init(config);
  snprintf(config->name, sizeof config->name, "%s", force->volume);
  config->min_legs = 1;
  for (size_t i = 0; i < json_array_size(legs) && config->legs < SF_LEGS_MAX; i++) {
    const json_t *leg = json_array_get(legs, i);
    const char *name = ctl_json_text(leg, "name"), *path = ctl_json_text(leg, "path");
    if (strcmp(name, force->leg) == 0 || is_in_sync(leg) != in_sync || !*path ||
        is_waited_for(force->own, name))
      continue;
    snprintf(config->leg[config->legs].name, SF_LEG_NAME_MAX, "%s", name);
    snprintf(config->leg[config->legs++].path, PATH_MAX, "%s", path);
  }
}

static void
take(struct force *force, const char *name) {
  size_t used = strlen(force->with);
  uint64_t lacks = ctl_json_number(ctl_find_leg(force->own, name), "stale_bytes");
  snprintf(force->with + used, sizeof force->with - used, "%s%s", used ? "," : "", name);
  force->legs++;
  force->lacks_bytes = lacks > force->lacks_bytes ? lacks : force->lacks_bytes;
}

/* What the next server would do is tried here, on legs that are read only: once the present one is
 * killed it is too late to learn that no other can start. */
static void
choose(struct force *force, bool in_sync) {
  static struct sf_leg_file file[SF_LEGS_MAX];
  static struct sf_leg_found found[SF_LEGS_MAX];
  static char why[SF_LEGS_MAX][SF_CONFIG_ERROR_MAX];
  static struct sf_assembly assembly;
  static struct sf_config config;
  char error[SF_CONFIG_ERROR_MAX] = "";
  list_others(force, in_sync, &config);
  force->in_sync = in_sync;
  if (config.legs == 0 ||
      sf_leg_files_assemble(ctl_openers(), &config, SF_LEG_READ_ONLY, OPEN_TIMEOUT_S * SF_S, true,
                            file, found, why, &assembly, error) < 0)
    return;
  for (unsigned i = 0; i < config.legs; i++) {
    if (assembly.may_start && (assembly.current >> i & 1))
      take(force, config.leg[i].name);
    sf_leg_file_close(&file[i]);
  }
}

/* ---- what is risked ---- */

static void
say_leg(const struct force *force, FILE *out) {
  const json_t *leg = ctl_find_leg(force->own, force->leg);
  const char *reason = ctl_json_text(force->own, "reason");
  uint64_t oldest_ms = ctl_json_number(leg, "oldest_ms");
  char age[CTL_TEXT_MAX];
  fprintf(out, "%s is %s%s%s.\n", force->volume, ctl_json_text(force->own, "state"),
          *reason ? ": " : "", reason);
  fprintf(out, "Leg %s (%s) is %s", force->leg, ctl_json_text(leg, "path"),
          ctl_json_text(leg, "state"));
  if (oldest_ms)
    fprintf(out, ", and its oldest request has had no answer for %s",
            ctl_time_us(oldest_ms * 1000, age));
  fputs(".\n", out);
}

static void
say_others_left(const struct force *force, FILE *out) {
  const json_t *legs = json_object_get(force->own, "legs"), *leg;
  size_t i;
  json_array_foreach(legs, i, leg) {
    const char *name = ctl_json_text(leg, "name");
    if (is_in_sync(leg) && strcmp(name, force->leg) != 0 && !sf_text_lists(force->with, name))
      fprintf(out, "- Leg %s does not answer either, and is left out too.\n", name);
  }
}

static void
say_lost(const struct force *force, FILE *out) {
  char bytes[CTL_TEXT_MAX];
  if (force->in_sync) {
    fprintf(out,
            "- No acknowledged write is known to be on leg %s alone: %s is in sync.  Of writes "
            "that have no answer yet some may be there and some not, as after a crash.\n",
            force->leg, force->with);
    return;
  }
  fprintf(out,
          "- ACKNOWLEDGED WRITES ARE LOST FOR CERTAIN: no other leg is in sync.  What %s lacks and "
          "only leg %s has",
          force->with, force->leg);
  if (force->lacks_bytes)
    fprintf(out, " is %s in extents that were written", ctl_size(force->lacks_bytes, bytes));
  fputs(", and what is there instead may be of different times: the filesystem or database on it "
        "must be checked.\n",
        out);
}

static void
say_risk(const struct force *force, FILE *out) {
  uint64_t min_legs = ctl_json_number(force->own, "min_legs");
  say_leg(force, out);
  fprintf(out,
          "To go on without it the server of %s is killed, and the next one is started by force "
          "with %s, in a new line of history.  What is risked:\n",
          force->volume, force->with);
  say_lost(force, out);
  say_others_left(force, out);
  if (min_legs > force->legs)
    fprintf(out,
            "- min_legs becomes %u, and is %u: until more legs are in sync, fewer have each "
            "write.\n",
            force->legs, (unsigned) min_legs);
  fprintf(out,
          "- Leg %s counts again only after `leg return` and a copy of all of it; if it went on "
          "past this, after `leg discard`.\n"
          "- Clients lose their connection.  The device of surefootd asks again by itself; what "
          "else is connected must.\n",
          force->leg);
}

/* CTL_DONE: it is meant. */
static int
confirm(const struct force *force, bool yes) {
  char line[SF_VOLUME_NAME_MAX + 2] = "";
  say_risk(force, stderr);
  if (yes)
    return CTL_DONE;
  if (!isatty(STDIN_FILENO)) {
    ctl_fail("%s: leg fail --force: there is no terminal to ask at: --yes says that it is meant",
             force->volume);
    return CTL_USAGE;
  }
  fprintf(stderr, "Type the name of the volume to do it: ");
  if (fgets(line, sizeof line, stdin) == NULL)
    line[0] = '\0';
  line[strcspn(line, "\n")] = '\0';
  return strcmp(line, force->volume) == 0 ? CTL_DONE
                                          : ctl_fail("%s: nothing was done", force->volume);
}

static bool
has_same_record(const json_t *a, const json_t *b) {
  const json_t *before = json_object_get(a, "record"), *now = json_object_get(b, "record");
  return ctl_json_number(before, "term") == ctl_json_number(now, "term") &&
         ctl_json_number(before, "change") == ctl_json_number(now, "change");
}

/* The answer may have taken long.  A leg that has left the set since does not know that itself, and
 * a start from it would lose what was acknowledged without it; each such change has a record. */
static int
check_unchanged(const struct force *force) {
  json_t *own = ctl_ask_status(force->path, force->volume);
  bool same = own && has_same_record(own, force->own);
  json_decref(own);
  return same ? CTL_DONE
              : ctl_fail("%s: nothing was done: its legs have changed since this was asked; look "
                         "again",
                         force->volume);
}

/* ---- until the next server serves without it ---- */

static uint64_t
restarts(const json_t *own) {
  return ctl_json_number(json_object_get(own, "service"), "restarts");
}

static enum ctl_wait
look_for_end(const json_t *own, void *arg) {
  const struct force *force = arg;
  const json_t *service = json_object_get(own, "service"), *leg = ctl_find_leg(own, force->leg);
  uint64_t before = restarts(force->own), now = restarts(own);
  if (now > before && leg && strcmp(ctl_json_text(leg, "state"), "faulty") == 0 &&
      strcmp(ctl_json_text(service, "state"), "serving") == 0)
    return CTL_WAIT_DONE;
  bool stops = strcmp(ctl_json_text(service, "state"), "stopping") == 0 ||
               strcmp(ctl_json_text(own, "state"), "stopped") == 0;
  if (!stops && now <= before + STARTS_FAILED)
    return CTL_WAIT;
  ctl_fail("%s: it does not serve without leg %s yet: %s; surefootd goes on trying with %s; "
           "`surefootctl start %s --force` takes whatever legs are there",
           force->volume, force->leg, stops ? "it was stopped" : ctl_json_text(service, "reason"),
           force->with, force->volume);
  return CTL_WAIT_FAILED;
}

static int
carry_out(struct force *force) {
  int status =
      ctl_ask(force->path,
              json_pack("{ss ss ss ss sb ss}", "command", "leg", "volume", force->volume, "action",
                        "fail", "leg", force->leg, "force", 1, "with", force->with),
              NULL);
  if (status == CTL_DONE)
    status = ctl_wait_until(force->path, force->volume, look_for_end, force);
  if (status != CTL_DONE)
    return status;
  printf("%s: goes on with %s; leg %s is taken out.  When it answers: surefootctl leg return %s "
         "%s, and all of it is copied\n",
         force->volume, force->with, force->leg, force->volume, force->leg);
  if (ctl_json_number(force->own, "min_legs") > force->legs)
    printf("%s: min_legs is %u now.  surefootd keeps to that while it runs; before it starts again "
           "itself the file must say so, or the volume waits.  Once more legs are in sync, reload "
           "and restart take the file's again\n",
           force->volume, force->legs);
  return CTL_DONE;
}

/* The volume refuses to do without the leg, and refusal says why. */
static int
fail_needed(struct force *force, const char *refusal, bool yes) {
  if (!ctl_is_daemon(force->path))
    return ctl_fail("%s: %s.  --force is surefootd's, and no surefootd runs this volume: end its "
                    "server (kill -9 if it hangs), and start it with force_with=LEG,... naming the "
                    "legs to go on with, and min_legs= no more than these are: "
                    "nbdkit-surefoot-plugin(1)",
                    force->volume, refusal);
  force->own = ctl_ask_status(force->path, force->volume);
  if (force->own == NULL)
    return CTL_FAILED;
  const json_t *leg = ctl_find_leg(force->own, force->leg);
  int status = CTL_DONE;
  if (leg == NULL || !is_in_sync(leg))
    status = ctl_fail("%s: %s", force->volume, refusal);
  if (status == CTL_DONE)
    choose(force, true);
  if (status == CTL_DONE && !force->with[0])
    choose(force, false);
  if (status == CTL_DONE && !force->with[0])
    status = ctl_fail(
        "%s: leg %s cannot be failed: no other leg is in sync and answers, and the others cannot "
        "be started from even by force, as they are known to lack acknowledged writes, or are not "
        "there",
        force->volume, force->leg);
  if (status == CTL_DONE)
    status = confirm(force, yes);
  if (status == CTL_DONE)
    status = check_unchanged(force);
  if (status == CTL_DONE)
    status = carry_out(force);
  json_decref(force->own);
  return status;
}

/* ---- where the volume takes the leg out by itself ---- */

static int
tell_out(const struct force *force) {
  const struct timespec pause = {.tv_nsec = 100000000};
  printf("%s: leg %s is taken out\n", force->volume, force->leg);
  for (unsigned i = 0; i < LOOKS; i++) {
    json_t *own = ctl_ask_status(force->path, force->volume);
    bool waits = strcmp(ctl_json_text(own, "state"), "suspended") == 0;
    if (waits && i + 1 == LOOKS)
      ctl_fail("%s: is suspended all the same: %s; `leg fail --force` that one too", force->volume,
               ctl_json_text(own, "reason"));
    json_decref(own);
    if (own == NULL)
      return CTL_FAILED;
    if (!waits)
      return CTL_DONE;
    nanosleep(&pause, NULL);
  }
  return CTL_FAILED;
}

int
ctl_leg_fail_by_force(const char *path, const char *volume, const char *leg, bool yes) {
  struct force force = {.path = path, .volume = volume, .leg = leg};
  json_t *request = json_pack("{ss ss ss ss}", "command", "leg", "volume", volume, "action", "fail",
                              "leg", leg),
         *reply = NULL;
  int status = ctl_call(path, request, &reply);
  if (status != CTL_DONE)
    return status;
  status = json_is_true(json_object_get(reply, "ok"))
               ? tell_out(&force)
               : fail_needed(&force, ctl_json_text(reply, "error"), yes);
  json_decref(reply);
  return status;
}

/* The sentence for the operator. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "assembly/blank.h"
#include "assembly/look.h"
#include "base/text.h"

enum { PATH_CHARS_MAX = 48, FILE_CHARS_MAX = 64 };

/* "c (/dev/sdd)" */
static void
say_leg(struct sf_text *text, const struct sf_look *look, unsigned leg) {
  const char *path = look->config->leg[leg].path;
  size_t len = strlen(path);
  if (len == 0)
    sf_text_put(text, "%s", look->config->leg[leg].name);
  else if (len > PATH_CHARS_MAX)
    sf_text_put(text, "%s (...%s)", look->config->leg[leg].name, path + len - PATH_CHARS_MAX);
  else
    sf_text_put(text, "%s (%s)", look->config->leg[leg].name, path);
}

/* "a, b and c" */
static void
say_names(struct sf_text *text, const struct sf_look *look, uint16_t set) {
  unsigned left = SF_LEG_COUNT(set);
  for (unsigned leg = 0; leg < look->legs; leg++) {
    if (!SF_LEG_IN(set, leg))
      continue;
    sf_text_put(text, "%s%s", look->config->leg[leg].name, sf_text_after_name(--left));
  }
}

static const char *
what_is_wrong(const struct sf_look *look, unsigned leg) {
  const struct sf_leg_found *found = &look->found[leg];
  if (look->detail[leg])
    return look->detail[leg];
  switch (look->verdict[leg]) {
  case SF_LEG_ABSENT:
    return look->config->leg[leg].path[0] == '\0' ? "the configuration file does not list it"
           : found->error == -ETIMEDOUT           ? "it did not answer in time"
           : found->error == -EBUSY               ? "it is in use"
           : found->error != 0                    ? strerrordesc_np(-found->error)
                                                  : "it is not there";
  case SF_LEG_UNFORMATTED:
    return found->bytes == 0 ? "it is there and empty" : "it carries no superblock";
  case SF_LEG_DAMAGED:
    return sf_superblock_error(found->error);
  case SF_LEG_TOO_NEW:
    return "it was written by a newer version of this program";
  case SF_LEG_TOO_SMALL:
    return "it is shorter than the volume's data";
  case SF_LEG_SPLIT_BRAIN:
    return "it went on in another line of history";
  default:
    return SF_LEG_IN(look->blank, leg)
               ? "it was discarded, or its whole copy was not done, and it counts as empty"
               : "it is not current";
  }
}

/* "leg c (/dev/sdd): it carries no superblock; leg d ..." */
static void
say_wrongs(struct sf_text *text, const struct sf_look *look, uint16_t set) {
  char mark[SF_MARK_TEXT_MAX];
  const char *separator = "";
  for (unsigned leg = 0; leg < look->legs; leg++) {
    if (!SF_LEG_IN(set, leg))
      continue;
    sf_text_put(text, "%sleg ", separator);
    say_leg(text, look, leg);
    const char *wrong =
        look->found[leg].marked ? sf_mark_text(&look->found[leg], mark) : what_is_wrong(look, leg);
    sf_text_put(text, ": %s", wrong ? wrong : "it cannot be opened");
    separator = ", ";
  }
}

/* A volume that does not start has no socket to ask: then it is its file that is named. */
static void
say_discard(struct sf_text *text, const struct sf_look *look, uint16_t set, bool starts) {
  const char *separator = "", *file = look->config->file;
  if (*file == '\0' || strlen(file) > FILE_CHARS_MAX)
    file = "CONF";
  for (unsigned leg = 0; leg < look->legs; leg++) {
    if (!SF_LEG_IN(set, leg))
      continue;
    sf_text_put(text, "%s`surefootctl leg discard %s%s %s`", separator, starts ? "" : "--config ",
                starts ? look->config->name : file, look->config->leg[leg].name);
    separator = " or ";
  }
}

/* A leg without superblocks is made anew by the volume that runs, which knows what it is to hold; one that cannot
 * even be read, on another disk.  After a start by force, here or elsewhere, it may hold what nobody else does. */
static void
say_anew(struct sf_text *text, const struct sf_look *look, uint16_t set) {
  const char *separator = "; ";
  for (unsigned leg = 0; leg < look->legs; leg++) {
    if (!SF_LEG_IN(set, leg))
      continue;
    sf_text_put(text, "%s`surefootctl leg replace %s %s%s` makes %s anew%s", separator,
                look->config->name, look->config->leg[leg].name,
                look->found[leg].present ? "" : " ANOTHER_DISK", look->config->leg[leg].name,
                look->found[leg].present ? ", and what only it holds is lost" : "");
    separator = ", ";
  }
}

static uint16_t
legs_with(const struct sf_look *look, enum sf_verdict verdict) {
  uint16_t set = 0;
  for (unsigned leg = 0; leg < look->legs; leg++)
    if (look->verdict[leg] == verdict && look->config->leg[leg].name[0] != '\0')
      set |= SF_LEG_BIT(leg);
  return set;
}

static uint16_t
legs_in_no_use(const struct sf_look *look) {
  return legs_with(look, SF_LEG_ABSENT) | legs_with(look, SF_LEG_UNFORMATTED) |
         legs_with(look, SF_LEG_DAMAGED) | legs_with(look, SF_LEG_TOO_NEW) |
         legs_with(look, SF_LEG_FOREIGN) | legs_with(look, SF_LEG_TOO_SMALL);
}

/* What else there is to know once the volume starts. */
static void
say_others(struct sf_text *text, const struct sf_look *look) {
  uint16_t behind = legs_with(look, SF_LEG_BEHIND) & (uint16_t) ~look->recopy;
  uint16_t faulty = legs_with(look, SF_LEG_FAULTY);
  uint16_t split = legs_with(look, SF_LEG_SPLIT_BRAIN), unused = legs_in_no_use(look);
  if (behind) {
    sf_text_put(text, "; ");
    say_names(text, look, behind);
    sf_text_put(text, " will be caught up");
  }
  if (faulty) {
    sf_text_put(text, "; ");
    say_names(text, look, faulty);
    sf_text_put(text, " stays out as faulty until `surefootctl leg return`");
  }
  if (split) {
    sf_text_put(text, "; ");
    say_names(text, look, split);
    sf_text_put(text,
                " went on in an older line of history and stays out (split brain): to give up what "
                "only it holds, ");
    say_discard(text, look, split, true);
  }
  if (unused) {
    sf_text_put(text, "; without ");
    say_wrongs(text, look, unused);
    say_anew(text, look, unused & look->headless);
  }
}

/* Why legs that hold the record in force are not taken for current. */
static void
say_unreadable(struct sf_text *text, const struct sf_look *look) {
  uint16_t copied = look->recopy & (uint16_t) ~legs_with(look, SF_LEG_FAULTY);
  if (look->recopy == 0)
    return;
  sf_text_put(text, "; one copy of the superblock of ");
  say_names(text, look, look->unsure);
  sf_text_put(text, " cannot be read, which may have been newer");
  if (copied == 0)
    return;
  sf_text_put(text, ", so ");
  say_names(text, look, copied);
  sf_text_put(text, " will be copied whole");
}

static void
say_start(struct sf_text *text, const struct sf_look *look, const struct sf_assembly *assembly) {
  const struct sf_record *record = &assembly->base.record;
  bool by_force = assembly->forced && look->obstacle != SF_OBSTACLE_NONE;
  sf_text_put(text, "starts%s from record %" PRIu64 ".%" PRIu64 " with ",
              by_force ? " by force" : "", record->term, record->change);
  say_names(text, look, assembly->current);
  say_unreadable(text, look);
  if (by_force && look->obstacle != SF_OBSTACLE_UNREADABLE && look->absent != 0) {
    sf_text_put(text, " in a new line of history, without what only ");
    say_names(text, look, look->absent);
    sf_text_put(text, " may hold");
  }
  say_others(text, look);
}

static bool
is_gone(const struct sf_look *look, unsigned leg) {
  int error = look->found[leg].error;
  return look->verdict[leg] == SF_LEG_ABSENT &&
         (error == -ENOENT || error == -ENODEV || error == -ENXIO || error == -ENOMEDIUM);
}

/* Nobody can bring back what they said, as it may be that of one that cannot be read, be it one copy of two. */
static bool
are_overwritten(const struct sf_look *look) {
  for (unsigned leg = 0; leg < look->legs; leg++)
    if (SF_LEG_IN(look->absent, leg) &&
        !(SF_LEG_IN(look->headless, leg) && look->found[leg].present &&
          look->found[leg].error != -EIO))
      return false;
  return look->absent != 0;
}

/* Force is named for legs that are not to be had any more, and for no others: one that is there and
 * busy, silent or unreadable may hold what nobody else does; one whose superblocks are overwritten does too, and only
 * an image keeps it. */
static void
say_way_out(struct sf_text *text, const struct sf_look *look, unsigned needed) {
  bool one = SF_LEG_COUNT(look->absent) == 1, gone = true;
  for (unsigned leg = 0; leg < look->legs; leg++)
    gone = gone && (!SF_LEG_IN(look->absent, leg) || is_gone(look, leg));
  const char *which = one ? "it" : needed == 1 ? "one" : "them";
  if (are_overwritten(look) && look->present)
    sf_text_put(
        text,
        "which record %s held nobody can tell any more, and what %s holds stands there still, from "
        "byte %" PRIu64 " on: keep an image of that before force=true starts without",
        one ? "it" : "they", one ? "it" : "each", look->found[look->reference].sb.data_offset);
  else if (!look->present)
    sf_text_put(text, "bring %s back: with none of them even force=true cannot start",
                one ? "it" : "them");
  else if (gone)
    sf_text_put(
        text,
        "bring %s back; only if %s lost for good, force=true starts without, and what only %s may "
        "hold is lost",
        which, one ? "it is" : "they are", one ? "it" : "they");
  else
    sf_text_put(
        text,
        "bring %s back, copied to another disk as far as it can be read if need be: what only %s "
        "may hold nothing else can give",
        which, one ? "it" : "they");
}

static void
say_too_few(struct sf_text *text, const struct sf_look *look) {
  const struct sf_record *record = &look->found[look->reference].sb.record;
  unsigned named = SF_LEG_COUNT(record->in_sync), present = SF_LEG_COUNT(look->present);
  unsigned enough = sf_look_enough(record);
  bool one = SF_LEG_COUNT(look->absent) == 1;
  /* The legs must be enough to go on, and enough that no others can have gone on. */
  unsigned needed = named - enough + 1 > enough ? named - enough + 1 : enough;
  sf_text_put(text, "waits for ");
  say_wrongs(text, look, look->absent);
  sf_text_put(text,
              "; record %" PRIu64 ".%" PRIu64
              " names %s in sync and only %u of its %u in-sync legs %s "
              "present, %u needed, as the others may have gone on without; ",
              record->term, record->change, one ? "it" : "them", present, named,
              present == 1 ? "is" : "are", needed);
  say_way_out(text, look, needed - present);
}

static void
say_doubt(struct sf_text *text, const struct sf_look *look) {
  const struct sf_record *record = &look->found[look->reference].sb.record;
  bool one = SF_LEG_COUNT(look->absent) == 1;
  sf_text_put(text, "waits for ");
  say_wrongs(text, look, look->absent);
  sf_text_put(text,
              "; starts were broken off around record %" PRIu64 ".%" PRIu64
              ", and whether the volume went on from it or from an older one only %s can tell; ",
              record->term, record->change, one ? "this leg" : "these legs");
  if (look->present)
    say_way_out(text, look, SF_LEG_COUNT(look->absent));
  else
    sf_text_put(text, "bring %s back", one ? "it" : "them");
}

static void
say_obstacle_unreadable(struct sf_text *text, const struct sf_look *look) {
  const struct sf_record *record = &look->found[look->reference].sb.record;
  uint16_t doubtful = look->claimed ? look->claimed : look->unsure, absent = 0;
  for (unsigned leg = 0; leg < look->legs; leg++)
    if (SF_LEG_IN(look->absent & (uint16_t) ~(look->unsure | look->blank), leg)) {
      bool shows_half = look->claimed && SF_LEG_IN(look->known, leg) && look->found[leg].doubtful;
      *(shows_half ? &doubtful : &absent) |= SF_LEG_BIT(leg);
    }
  sf_text_put(text, "refuses to start: one copy of the superblock of ");
  say_names(text, look, doubtful);
  sf_text_put(text,
              " cannot be read, and whether the volume went on from %s %" PRIu64 ".%" PRIu64
              " without ",
              look->claimed ? "an older record than" : "record", record->term, record->change);
  if (look->claimed)
    say_names(text, look, look->claimed);
  else
    sf_text_put(text, "the others");
  sf_text_put(text, " cannot be told; ");
  if (absent) {
    sf_text_put(text, "bring back ");
    say_wrongs(text, look, absent);
    sf_text_put(text, ", or ");
  }
  sf_text_put(text,
              "copy what can be read of %s to another disk (ddrescue), which may find the block",
              SF_LEG_COUNT(doubtful) == 1 ? "it" : "them");
}

/* Each line of history with its legs: "a and b (record 3.1) | c (record 4.2)". */
static void
say_lines(struct sf_text *text, const struct sf_look *look) {
  uint16_t left = look->known & (uint16_t) ~look->blank;
  const char *separator = "";
  for (unsigned leg = 0; leg < look->legs; leg++) {
    if (!SF_LEG_IN(left, leg))
      continue;
    const struct sf_superblock *sb = &look->found[leg].sb;
    const struct sf_record *newest = &sb->record;
    uint16_t line = 0;
    for (unsigned other = leg; other < look->legs; other++) {
      const struct sf_superblock *at = &look->found[other].sb;
      if (!SF_LEG_IN(left, other) || !sf_uuid_equal(&at->lineage, &sb->lineage))
        continue;
      line |= SF_LEG_BIT(other);
      if (sf_record_compare(&at->record, newest) > 0)
        newest = &at->record;
    }
    sf_text_put(text, "%s", separator);
    say_names(text, look, line);
    sf_text_put(text, " (record %" PRIu64 ".%" PRIu64 ")", newest->term, newest->change);
    separator = " against ";
    left &= (uint16_t) ~line;
  }
}

static void
say_two_alike(struct sf_text *text, const struct sf_look *look) {
  const struct sf_record *record = &look->found[look->reference].sb.record;
  uint16_t two = SF_LEG_BIT(look->reference) | SF_LEG_BIT(look->alike);
  sf_text_put(text, "refuses to start: legs ");
  say_names(text, look, two);
  sf_text_put(
      text,
      " hold different records with the same number %" PRIu64 ".%" PRIu64
      ", which must never be (was a leg copied or restored?): keep the one that you trust and run ",
      record->term, record->change);
  say_discard(text, look, two, false);
}

static void
say_no_term(struct sf_text *text, const struct sf_look *look) {
  const struct sf_uuid *volume = &look->found[look->reference].sb.volume;
  uint16_t last = 0;
  for (unsigned leg = 0; leg < look->legs; leg++) {
    const struct sf_leg_found *found = &look->found[leg];
    if (found->present && found->error == 0 && sf_uuid_equal(&found->sb.volume, volume) &&
        (found->sb.claim >= SF_NUMBER_MAX || found->sb.record.term >= SF_NUMBER_MAX))
      last |= SF_LEG_BIT(leg);
  }
  sf_text_put(text, "refuses to start: the superblock of ");
  say_names(text, look, last);
  sf_text_put(
      text, " names the last term that there is, which no volume has lived to see: something else "
            "wrote it; look where it comes from, and start without it");
}

/* What has no bytes is the file below a mount that is late, and no disk that a volume can be made
 * of. */
static bool
all_are_blank_disks(const struct sf_look *look) {
  for (unsigned leg = 0; leg < look->legs; leg++)
    if (look->verdict[leg] != SF_LEG_UNFORMATTED || look->found[leg].bytes == 0 ||
        look->found[leg].marked)
      return false;
  return true;
}

static void
say_no_leg(struct sf_text *text, const struct sf_look *look) {
  uint16_t all = (uint16_t) ((1u << look->legs) - 1);
  sf_text_put(text, "no leg of volume %s is there: ", look->config->name);
  if (all_are_blank_disks(look))
    sf_text_put(
        text,
        "none carries a superblock: either its paths lead elsewhere, or it was never made, and "
        "`surefootctl create %s` makes it",
        look->config->file[0] ? look->config->file : "CONF");
  else
    say_wrongs(text, look, all);
}

void
sf_look_reason(const struct sf_look *look, struct sf_assembly *assembly) {
  struct sf_text text = {assembly->reason, sizeof assembly->reason};
  if (assembly->may_start) {
    say_start(&text, look, assembly);
    return;
  }
  switch (look->obstacle) {
  case SF_OBSTACLE_TOO_FEW:
    say_too_few(&text, look);
    break;
  case SF_OBSTACLE_UNREADABLE:
    say_obstacle_unreadable(&text, look);
    break;
  case SF_OBSTACLE_DOUBT:
    say_doubt(&text, look);
    break;
  case SF_OBSTACLE_TWO_LINES:
    sf_text_put(&text,
                "split brain: the legs went on in lines of history that do not know each other, ");
    say_lines(&text, look);
    sf_text_put(&text, "; choose the one to keep and discard each leg of the other: ");
    say_discard(&text, look, legs_with(look, SF_LEG_SPLIT_BRAIN), false);
    break;
  case SF_OBSTACLE_TWO_ALIKE:
    say_two_alike(&text, look);
    break;
  case SF_OBSTACLE_NO_TERM:
    say_no_term(&text, look);
    break;
  case SF_OBSTACLE_ONLY_BLANK:
    sf_text_put(&text, "only legs are there that count as empty, discarded or copied in part (");
    say_names(&text, look, look->blank);
    sf_text_put(&text, "): bring back a leg that holds the data");
    break;
  case SF_OBSTACLE_NO_LEG:
  case SF_OBSTACLE_NONE:
    say_no_leg(&text, look);
    break;
  }
}

void
sf_look_reason_two_volumes(const struct sf_look *look, struct sf_assembly *assembly) {
  struct sf_text text = {assembly->reason, sizeof assembly->reason};
  sf_text_put(&text,
              "refuses to start: the legs belong to different volumes that are both called %s, and "
              "which one is meant cannot be told; list the legs of one volume only:",
              look->config->name);
  for (unsigned leg = 0; leg < look->legs; leg++) {
    char uuid[37];
    if (!sf_leg_is_named(look->config, &look->found[leg]))
      continue;
    sf_uuid_format(&look->found[leg].sb.volume, uuid);
    sf_text_put(&text, " %s of %.8s", look->config->leg[leg].name, uuid);
  }
}

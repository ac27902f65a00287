/* Would this volume start?  The legs are opened for reading only. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <surefoot/legfile.h>

#include "ctl.h"

enum { OPEN_TIMEOUT_S = 10 };

struct checked {
  struct sf_config config;
  struct sf_leg_file file[SF_LEGS_MAX];
  struct sf_leg_found found[SF_LEGS_MAX];
  char leg_error[SF_LEGS_MAX][SF_CONFIG_ERROR_MAX];
  struct sf_assembly assembly;
};

static bool
has_superblock(const struct checked *checked, unsigned leg) {
  return checked->found[leg].present && checked->found[leg].error == 0;
}

/* What the newest record says of the leg. */
static const char *
recorded_state(const struct checked *checked, unsigned leg) {
  const struct sf_record *record = &checked->assembly.base.record;
  if (checked->assembly.reference < 0)
    return NULL;
  if (record->in_sync >> leg & 1)
    return "in-sync";
  return record->faulty >> leg & 1 ? "faulty" : "behind";
}

/* Every message of the legs begins with the path: not needed where the path stands beside. */
static const char *
without_path(const char *note, const char *path) {
  size_t len = strlen(path);
  return strncmp(note, path, len) == 0 && strncmp(note + len, ": ", 2) == 0 ? note + len + 2 : note;
}

static const char *
leg_note(const struct checked *checked, unsigned leg) {
  const struct sf_leg_found *found = &checked->found[leg];
  if (!found->present)
    return checked->leg_error[leg][0] ? checked->leg_error[leg] : strerror(-found->error);
  return found->error ? sf_superblock_error(found->error) : "";
}

static void
leg_row(struct ctl_table *table, const struct checked *checked, unsigned leg) {
  const struct sf_leg_found *found = &checked->found[leg];
  const struct sf_record *record = &found->sb.record;
  enum sf_verdict verdict = checked->assembly.verdict[leg];
  const char *state = recorded_state(checked, leg);
  char number[CTL_TEXT_MAX], size[CTL_TEXT_MAX];
  snprintf(number, sizeof number, "%" PRIu64 ".%" PRIu64, record->term, record->change);

  ctl_table_row(table);
  ctl_table_cell(table, 0, checked->config.leg[leg].name, CTL_PLAIN);
  ctl_table_cell(table, 1, checked->config.leg[leg].path, CTL_PLAIN);
  ctl_table_cell(table, 2, sf_verdict_name(verdict),
                 verdict == SF_LEG_CURRENT  ? CTL_GREEN
                 : verdict == SF_LEG_BEHIND ? CTL_YELLOW
                                            : CTL_RED);
  bool valid = has_superblock(checked, leg);
  ctl_table_cell(table, 3, state ? state : "-", CTL_PLAIN);
  ctl_table_cell(table, 4, valid ? number : "-", CTL_PLAIN);
  ctl_table_cell(table, 5, !valid ? "-" : record->clean ? "yes" : "no", CTL_PLAIN);
  ctl_table_cell(table, 6, found->present ? ctl_size(found->bytes, size) : "-", CTL_PLAIN);
  ctl_table_cell(table, 7, without_path(leg_note(checked, leg), checked->config.leg[leg].path),
                 CTL_PLAIN);
}

static void
print_human(const struct checked *checked) {
  static const char *const headings[] = {"LEG",     "PATH",  "VERDICT", "RECORDED AS",
                                         ">RECORD", "CLEAN", ">SIZE",   "NOTE"};
  ctl_put_coloured(checked->config.name, CTL_BOLD);
  fputs(": ", stdout);
  if (checked->assembly.may_start)
    ctl_put_coloured("would start", CTL_GREEN);
  else
    ctl_put_coloured("would not start", CTL_RED);
  fputs(": ", stdout);
  ctl_put(checked->assembly.reason);
  putchar('\n');

  struct ctl_table table;
  ctl_table_init(&table, sizeof headings / sizeof headings[0], headings);
  for (unsigned i = 0; i < checked->config.legs; i++)
    leg_row(&table, checked, i);
  ctl_table_print(&table);
}

/* ---- as JSON ---- */

static json_t *
leg_to_json(const struct checked *checked, unsigned leg) {
  const struct sf_leg_found *found = &checked->found[leg];
  const char *state = recorded_state(checked, leg), *note = leg_note(checked, leg);
  bool valid = has_superblock(checked, leg);
  return json_pack("{ss so ss so sI so so so}", "name", checked->config.leg[leg].name, "path",
                   ctl_text_to_json(checked->config.leg[leg].path), "verdict",
                   sf_verdict_name(checked->assembly.verdict[leg]), "recorded_as",
                   state ? json_string(state) : json_null(), "bytes",
                   (json_int_t) (found->present ? found->bytes : 0), "record",
                   valid ? ctl_record_to_json(&found->sb) : json_null(), "claim",
                   valid ? json_integer((json_int_t) found->sb.claim) : json_null(), "error",
                   *note ? ctl_text_to_json(note) : json_null());
}

static json_t *
to_json(const struct checked *checked) {
  const struct sf_assembly *assembly = &checked->assembly;
  json_t *legs = json_array(), *waits_for = json_array();
  for (unsigned i = 0; i < checked->config.legs; i++) {
    json_array_append_new(legs, leg_to_json(checked, i));
    if (assembly->waits_for >> i & 1)
      json_array_append_new(waits_for, json_string(checked->config.leg[i].name));
  }
  bool known = assembly->reference >= 0;
  return json_pack("{si ss sb so so so so so}", "version", SF_CONTROL_VERSION, "volume",
                   checked->config.name, "may_start", (int) assembly->may_start, "reason",
                   ctl_text_to_json(assembly->reason), "uuid",
                   known ? ctl_uuid_to_json(&assembly->base.volume) : json_null(), "record",
                   known ? ctl_record_to_json(&assembly->base) : json_null(), "waits_for",
                   waits_for, "legs", legs);
}

static int
print_checked(const struct checked *checked, bool json) {
  if (!json) {
    print_human(checked);
    return CTL_DONE;
  }
  json_t *document = to_json(checked);
  int status = ctl_print_json(document);
  json_decref(document);
  return status;
}

int
ctl_check(struct ctl_command_call *call) {
  static const struct option options[] = {{"json", no_argument, NULL, 'j'}, {0}};
  bool json = false;
  int option;
  while ((option = ctl_next_option(call, options)) != -1) {
    if (option == '?')
      return CTL_USAGE;
    json = true;
  }
  if (call->argc - optind != 1)
    return ctl_wrong_usage(call->command, "check: one CONF is needed");

  static struct checked checked;
  char error[SF_CONFIG_ERROR_MAX] = "";
  int rc = sf_config_load(&checked.config, call->argv[optind], error);
  if (rc < 0)
    return ctl_fail("%s", *error ? error : strerror(-rc));
  rc = sf_leg_files_open(&checked.config, SF_LEG_READ_ONLY, OPEN_TIMEOUT_S * UINT64_C(1000000000),
                         checked.file, checked.found, checked.leg_error, error);
  if (rc < 0)
    return ctl_fail("%s", *error ? error : strerror(-rc));
  sf_assemble(&checked.config, checked.found, false, &checked.assembly);
  int status = print_checked(&checked, json);
  for (unsigned i = 0; i < checked.config.legs; i++)
    sf_leg_file_close(&checked.file[i]);
  return status == CTL_DONE && checked.assembly.may_start ? CTL_DONE : CTL_FAILED;
}

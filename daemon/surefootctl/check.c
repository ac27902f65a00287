/* Would this volume start?  The legs are opened for reading only. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/units.h"
#include "check.h"

enum { OPEN_TIMEOUT_S = 10 };

static bool
has_superblock(const struct checked *checked, unsigned leg) {
  return checked->found[leg].present && checked->found[leg].error == 0;
}

/* ---- the maps, as a start would take them ---- */

static bool
make_room(struct checked *checked) {
  const struct sf_superblock *base = &checked->assembly.base;
  bool room = ctl_extents_init(&checked->converge, base->data_bytes, base->extent_bytes) &&
              ctl_extents_init(&checked->unwritten, base->data_bytes, base->extent_bytes);
  for (unsigned i = 0; i < checked->config.legs && room; i++)
    room = ctl_extents_init(&checked->stale[i], base->data_bytes, base->extent_bytes);
  return room;
}

static const uint8_t *
page_of(const struct checked *checked, unsigned leg, uint64_t page) {
  return sf_leg_file_map_page(&checked->file[leg], &checked->found[leg].sb.volume, page);
}

static bool
read_maps(struct checked *checked) {
  const struct sf_superblock *base = &checked->assembly.base;
  if (checked->assembly.reference < 0)
    return true;
  if (!make_room(checked))
    return false;
  for (uint64_t p = 0; p < sf_map_pages(base->data_bytes, base->extent_bytes); p++) {
    const uint8_t *bytes[SF_LEGS_MAX] = {NULL};
    struct sf_map_page united;
    for (unsigned leg = 0; leg < checked->config.legs; leg++)
      bytes[leg] = page_of(checked, leg, p);
    uint16_t damaged =
        sf_assembly_map_page(&checked->assembly, checked->current, bytes, (uint32_t) p, &united);
    ctl_extents_unite(&checked->converge, p, united.intent);
    ctl_extents_unite(&checked->unwritten, p, united.unwritten);
    for (unsigned leg = 0; leg < checked->config.legs; leg++) {
      ctl_extents_unite(&checked->stale[leg], p, united.stale[leg]);
      checked->damaged_pages[leg] += damaged >> leg & 1;
    }
  }
  checked->has_maps = true;
  return true;
}

static void
free_maps(struct checked *checked) {
  ctl_extents_free(&checked->converge);
  ctl_extents_free(&checked->unwritten);
  for (unsigned i = 0; i < SF_LEGS_MAX; i++)
    ctl_extents_free(&checked->stale[i]);
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
  static char bad[SF_LEG_BAD_TEXT_MAX]; /* one at a time is asked for and copied */
  static char mark[SF_MARK_TEXT_MAX];
  const struct sf_leg_found *found = &checked->found[leg];
  if (!found->present && checked->leg_error[leg][0])
    return checked->leg_error[leg];
  if (!checked->config.leg[leg].path[0])
    return "the configuration file does not list it";
  if (!found->present)
    return strerror(-found->error);
  if (found->marked)
    return sf_mark_text(found, mark);
  if (found->error)
    return sf_superblock_error(found->error);
  return sf_leg_file_bad_text(&checked->file[leg], bad);
}

/* What a start would have to copy to the leg. */
static uint64_t
stale_bytes(const struct checked *checked, unsigned leg) {
  return checked->has_maps ? ctl_extents_bytes(&checked->stale[leg]) : 0;
}

static void
leg_row(struct ctl_table *table, const struct checked *checked, unsigned leg) {
  const struct sf_leg_found *found = &checked->found[leg];
  const struct sf_record *record = &found->sb.record;
  enum sf_verdict verdict = checked->assembly.verdict[leg];
  const char *state = recorded_state(checked, leg);
  char number[CTL_TEXT_MAX], size[CTL_TEXT_MAX], stale[CTL_TEXT_MAX], note[SF_CONFIG_ERROR_MAX];
  uint64_t bytes = stale_bytes(checked, leg);
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
  ctl_table_cell(table, 7, bytes ? ctl_size(bytes, stale) : "-", bytes ? CTL_YELLOW : CTL_PLAIN);
  snprintf(note, sizeof note, "%s",
           without_path(leg_note(checked, leg), checked->config.leg[leg].path));
  if (*note == '\0' && checked->damaged_pages[leg])
    snprintf(note, sizeof note, "%" PRIu64 " damaged page%s of the maps count%s as all set",
             checked->damaged_pages[leg], checked->damaged_pages[leg] == 1 ? "" : "s",
             checked->damaged_pages[leg] == 1 ? "s" : "");
  else if (*note == '\0' && checked->in_use >> leg & 1)
    snprintf(note, sizeof note, "in use");
  ctl_table_cell(table, 8, note, CTL_PLAIN);
}

/* How much is not yet equal, and why it may be so. */
static void
print_converge(const struct checked *checked) {
  char bytes[CTL_TEXT_MAX], all[CTL_TEXT_MAX];
  const struct sf_superblock *base = &checked->assembly.base;
  if (!checked->has_maps || checked->in_use)
    return;
  if (base->record.clean) {
    puts("stopped cleanly: nothing to converge");
    return;
  }
  printf("not stopped cleanly: %s of %s to be made equal on the legs in sync, each before it is "
         "read\n",
         ctl_size(ctl_extents_bytes(&checked->converge), bytes), ctl_size(base->data_bytes, all));
}

/* The legs may be in use by another host, on which no lock tells; or here. */
static void
print_holder(const struct checked *checked) {
  char text[SF_CONFIG_ERROR_MAX];
  struct sf_holder self;
  const struct sf_superblock *held;
  if (checked->assembly.reference < 0)
    return;
  sf_holder_self(&self);
  held = sf_held_by_another(checked->found, &checked->assembly.base.volume, &self);
  if (held == NULL)
    return;
  sf_say_held(held, text);
  ctl_put(text);
  putchar('\n');
}

static void
print_human(const struct checked *checked, const struct comparison *comparison) {
  static const char *const headings[] = {"LEG",   "PATH",  "VERDICT", "RECORDED AS", ">RECORD",
                                         "CLEAN", ">SIZE", ">STALE",  "NOTE"};
  char names[256];
  ctl_put_coloured(checked->config.name, CTL_BOLD);
  fputs(": ", stdout);
  if (checked->in_use) {
    ctl_compare_names(checked, checked->in_use, names, sizeof names);
    printf("in use: a running volume, or a dead one with requests under way, has %s; what "
           "follows is of this moment, without it\n  ",
           names);
  }
  if (checked->assembly.may_start)
    ctl_put_coloured("would start", CTL_GREEN);
  else
    ctl_put_coloured("would not start", CTL_RED);
  fputs(": ", stdout);
  ctl_put(checked->assembly.reason);
  putchar('\n');
  print_holder(checked);
  print_converge(checked);

  struct ctl_table table;
  ctl_table_init(&table, sizeof headings / sizeof headings[0], headings);
  for (unsigned i = 0; i < checked->config.legs; i++)
    leg_row(&table, checked, i);
  ctl_table_print(&table);
  if (comparison)
    ctl_compare_print(checked, comparison);
}

/* ---- as JSON ---- */

static json_t *
leg_to_json(const struct checked *checked, unsigned leg) {
  const struct sf_leg_found *found = &checked->found[leg];
  const char *state = recorded_state(checked, leg), *note = leg_note(checked, leg);
  bool valid = has_superblock(checked, leg);
  return json_pack(
      "{ss so ss so sI so so so so sI sI sI sb}", "name", checked->config.leg[leg].name, "path",
      ctl_text_to_json(checked->config.leg[leg].path), "verdict",
      sf_verdict_name(checked->assembly.verdict[leg]), "recorded_as",
      state ? json_string(state) : json_null(), "bytes",
      (json_int_t) (found->present ? found->bytes : 0), "record",
      valid ? ctl_record_to_json(&found->sb) : json_null(), "claim",
      valid ? json_integer((json_int_t) found->sb.claim) : json_null(), "clean",
      valid ? json_boolean(found->sb.record.clean) : json_null(), "error",
      *note ? ctl_text_to_json(note) : json_null(), "stale_bytes",
      (json_int_t) stale_bytes(checked, leg), "intent_bytes",
      (json_int_t) checked->intent_bytes[leg], "damaged_map_pages",
      (json_int_t) checked->damaged_pages[leg], "in_use", (int) (checked->in_use >> leg & 1));
}

static json_t *
to_json(const struct checked *checked, const struct comparison *comparison,
        const struct repaired *repaired) {
  const struct sf_assembly *assembly = &checked->assembly;
  json_t *legs = json_array(), *waits_for = json_array();
  for (unsigned i = 0; i < checked->config.legs; i++) {
    json_array_append_new(legs, leg_to_json(checked, i));
    if (assembly->waits_for >> i & 1)
      json_array_append_new(waits_for, json_string(checked->config.leg[i].name));
  }
  bool known = assembly->reference >= 0;
  return json_pack(
      "{si ss sb so so so so sb so so so so}", "version", SF_CONTROL_VERSION, "volume",
      checked->config.name, "may_start", (int) assembly->may_start, "reason",
      ctl_text_to_json(assembly->reason), "uuid",
      known ? ctl_uuid_to_json(&assembly->base.volume) : json_null(), "record",
      known ? ctl_record_to_json(&assembly->base) : json_null(), "waits_for", waits_for, "in_use",
      (int) (checked->in_use != 0), "converge_bytes",
      checked->has_maps ? json_integer((json_int_t) ctl_extents_bytes(&checked->converge))
                        : json_null(),
      "legs", legs, "compare", comparison ? ctl_compare_to_json(checked, comparison) : json_null(),
      "repair", repaired->done ? ctl_repair_to_json(checked, repaired) : json_null());
}

static int
print_checked(const struct checked *checked, const struct comparison *comparison,
              const struct repaired *repaired, bool json) {
  if (!json) {
    print_human(checked, comparison);
    if (repaired->done)
      ctl_repair_print(checked, repaired);
    return CTL_DONE;
  }
  json_t *document = to_json(checked, comparison, repaired);
  int status = ctl_print_json(document);
  json_decref(document);
  return status;
}

/* What the leg itself says may differ, all legs' words apart. */
static uint64_t
own_intent(const struct checked *checked, unsigned leg) {
  const struct sf_superblock *sb = &checked->found[leg].sb;
  struct ctl_extents intent = {0};
  uint64_t bytes = 0;
  if (!has_superblock(checked, leg) || sb->record.clean ||
      !ctl_extents_init(&intent, sb->data_bytes, sb->extent_bytes))
    return 0;
  for (uint64_t p = 0; p < sf_map_pages(sb->data_bytes, sb->extent_bytes); p++) {
    static const uint8_t nothing[SF_PAGE_BYTES];
    const uint8_t *page = page_of(checked, leg, p);
    struct sf_map_page map;
    sf_map_page_decode(page ? page : nothing, &sb->volume, (uint32_t) p, &map);
    ctl_extents_unite(&intent, p, map.intent);
  }
  bytes = ctl_extents_bytes(&intent);
  ctl_extents_free(&intent);
  return bytes;
}

/* They end with this process: a thread may still wait for a disk that hangs. */
struct sf_leg_openers *
ctl_openers(void) {
  static struct sf_leg_openers *openers;
  if (openers == NULL && sf_leg_openers_start(&openers) < 0)
    openers = NULL;
  return openers;
}

/* flags: SF_LEG_READ_ONLY, or 0: each is locked. */
static int
look(struct checked *checked, unsigned flags) {
  char error[SF_CONFIG_ERROR_MAX] = "";
  int r = sf_leg_files_assemble(ctl_openers(), &checked->config, flags, OPEN_TIMEOUT_S * SF_S,
                                false, checked->file, checked->found, checked->leg_error,
                                &checked->assembly, error);
  if (r < 0)
    return ctl_fail("%s", *error ? error : strerror(-r));
  for (unsigned i = 0; i < checked->config.legs; i++) {
    if (checked->assembly.verdict[i] == SF_LEG_CURRENT)
      checked->current |= (uint16_t) (1u << i);
    if (checked->found[i].present && sf_leg_file_is_locked(&checked->file[i]))
      checked->in_use |= (uint16_t) (1u << i);
    checked->intent_bytes[i] = own_intent(checked, i);
  }
  return read_maps(checked) ? CTL_DONE : ctl_fail("out of memory");
}

struct order {
  bool json, compare, repair;
  const char *from; /* NULL: no leg was named */
};

/* CTL_DONE: also when the legs differ, which comparison and repaired tell. */
static int
carry_out(struct checked *checked, const struct order *order, struct comparison *comparison,
          struct repaired *repaired) {
  int from = order->from ? sf_config_find_leg(&checked->config, order->from) : -1;
  if (order->from && from < 0)
    return ctl_fail("%s: no leg '%s'", checked->config.name, order->from);
  int status = look(checked, order->repair ? 0 : SF_LEG_READ_ONLY);
  if (status == CTL_DONE && order->repair)
    status = ctl_repair_may(checked);
  if (status == CTL_DONE && order->compare)
    status = ctl_compare_legs(checked, comparison);
  if (status == CTL_DONE && order->repair) /* its place in the volume */
    status = ctl_repair_legs(checked, comparison,
                             order->from ? sf_config_find_leg(&checked->config, order->from) : -1,
                             repaired);
  return status;
}

static int
take_options(struct ctl_command_call *call, struct order *order) {
  static const struct option options[] = {{"json", no_argument, NULL, 'j'},
                                          {"compare", no_argument, NULL, 'd'},
                                          {"repair", no_argument, NULL, 'r'},
                                          {"from", required_argument, NULL, 'f'},
                                          {0}};
  int option;
  while ((option = ctl_next_option(call, options)) != -1) {
    if (option == '?')
      return CTL_USAGE;
    order->json |= option == 'j';
    order->compare |= option == 'd';
    order->repair |= option == 'r';
    if (option == 'f')
      order->from = optarg;
  }
  if (order->repair && !order->compare)
    return ctl_wrong_usage(call->command, "check: --repair is for --compare");
  if (order->from && !order->repair)
    return ctl_wrong_usage(call->command, "check: --from is for --repair");
  if (call->argc - optind != 1)
    return ctl_wrong_usage(call->command, "check: one CONF is needed");
  return CTL_DONE;
}

int
ctl_check(struct ctl_command_call *call) {
  static struct checked checked;
  struct order order = {0};
  struct comparison comparison = {0};
  struct repaired repaired = {0};
  char error[SF_CONFIG_ERROR_MAX] = "";
  char file[PATH_MAX];
  int status = take_options(call, &order);
  if (status != CTL_DONE)
    return status;
  int r = sf_config_load(&checked.config, ctl_conf_file(call->argv[optind], file), error);
  if (r < 0)
    return ctl_fail("%s", *error ? error : strerror(-r));
  status = carry_out(&checked, &order, &comparison, &repaired);
  if (status == CTL_DONE)
    status = print_checked(&checked, order.compare ? &comparison : NULL, &repaired, order.json);
  bool is_well = order.repair ? ctl_repair_is_whole(&repaired) : ctl_compare_is_well(&comparison);
  if (!checked.assembly.may_start || !is_well)
    status = CTL_FAILED;
  ctl_compare_free(&comparison);
  free_maps(&checked);
  for (unsigned i = 0; i < checked.config.legs; i++)
    sf_leg_file_close(&checked.file[i]);
  return status;
}

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <surefoot/wire.h>

enum { KEYS_MAX = 5 };

static const struct command_spec {
  const char *name;
  enum sf_control_command command;
  bool of_volume, of_daemon; /* which sockets know it */
  bool needs_volume;         /* the daemon must be told the volume */
  struct {
    const char *name;
    bool boolean; /* else text */
    bool required;
  } key[KEYS_MAX];
} commands[] = {
    {"status", SF_COMMAND_STATUS, true, true, false, {{NULL, false, false}}},
    {"events", SF_COMMAND_EVENTS, true, true, false, {{"follow", true, false}}},
    {"set", SF_COMMAND_SET, true, true, true, {{"key", false, true}, {"value", false, true}}},
    {"leg",
     SF_COMMAND_LEG,
     true,
     true,
     true,
     {{"action", false, true},
      {"leg", false, true},
      {"path", false, false},
      {"force", true, false},
      {"with", false, false}}},
    {"grow", SF_COMMAND_GROW, true, true, true, {{"size", false, false}}},
    {"scrub",
     SF_COMMAND_SCRUB,
     true,
     true,
     true,
     {{"action", false, true},
      {"repair", true, false},
      {"leg", false, false},
      {"rate", false, false}}},
    {"drill",
     SF_COMMAND_DRILL,
     true,
     true,
     true,
     {{"action", false, true}, {"leg", false, false}, {"duration", false, false}}},
    {"stop", SF_COMMAND_STOP, true, true, true, {{NULL, false, false}}},
    {"start", SF_COMMAND_START, false, true, true, {{"force", true, false}}},
    {"reload", SF_COMMAND_RELOAD, false, true, false, {{"dry_run", true, false}}},
    {"restart", SF_COMMAND_RESTART, false, true, true, {{NULL, false, false}}},
    {"latency", SF_COMMAND_LATENCY, false, true, true, {{"since", false, true}}},
};
enum { COMMANDS = sizeof commands / sizeof commands[0] };

__attribute__((format(printf, 2, 3))) static int
refuse(char error[SF_CONFIG_ERROR_MAX], const char *format, ...) {
  va_list args;
  va_start(args, format);
  vsnprintf(error, SF_CONFIG_ERROR_MAX, format, args);
  va_end(args);
  sf_text_clean(error);
  return -EINVAL;
}

static int
check_version(const json_t *document, char error[SF_CONFIG_ERROR_MAX]) {
  const json_t *version = json_object_get(document, "version");
  if (version == NULL)
    return refuse(error, "\"version\" is missing: this is version %d", SF_CONTROL_VERSION);
  if (!json_is_integer(version))
    return refuse(error, "\"version\" must be a whole number");
  if (json_integer_value(version) != SF_CONTROL_VERSION)
    return refuse(error, "version %" JSON_INTEGER_FORMAT " is not understood: this is version %d",
                  json_integer_value(version), SF_CONTROL_VERSION);
  return 0;
}

static int
find_command(const json_t *document, bool of_daemon, const struct command_spec **spec,
             char error[SF_CONFIG_ERROR_MAX]) {
  static const char known_to_volume[] = "status, events, set, leg, grow, scrub, drill or stop";
  static const char known_to_daemon[] =
      "status, events, set, leg, grow, scrub, drill, stop, start, reload, restart or latency";
  const char *known = of_daemon ? known_to_daemon : known_to_volume;
  const json_t *command = json_object_get(document, "command");
  if (command == NULL)
    return refuse(error, "\"command\" is missing: %s", known);
  if (!json_is_string(command))
    return refuse(error, "\"command\" must be text");
  for (unsigned i = 0; i < COMMANDS; i++) {
    if (strcmp(commands[i].name, json_string_value(command)) != 0)
      continue;
    if (of_daemon ? !commands[i].of_daemon : !commands[i].of_volume)
      return refuse(error, "%s: is for %s socket, this is %s", commands[i].name,
                    of_daemon ? "a volume's own" : "surefootd's",
                    of_daemon ? "surefootd's" : "a volume's own");
    *spec = &commands[i];
    return 0;
  }
  return refuse(error, "unknown command \"%.64s\": %s", json_string_value(command), known);
}

static int
check_volume(const json_t *document, const struct command_spec *spec, const char *volume_name,
             char error[SF_CONFIG_ERROR_MAX]) {
  const json_t *volume = json_object_get(document, "volume");
  if (volume == NULL && volume_name == NULL && spec->needs_volume)
    return refuse(error, "\"volume\" is missing in a %s request: this socket serves many",
                  spec->name);
  if (volume == NULL)
    return 0;
  if (!json_is_string(volume))
    return refuse(error, "\"volume\" must be text");
  if (volume_name == NULL && spec->command == SF_COMMAND_RELOAD)
    return refuse(error, "reload is about all volumes: \"volume\" does not belong there");
  if (volume_name && strcmp(json_string_value(volume), volume_name) != 0)
    return refuse(error, "this socket serves volume \"%.64s\", not \"%.64s\"", volume_name,
                  json_string_value(volume));
  return 0;
}

static bool
key_is_known(const struct command_spec *spec, const char *key) {
  if (strcmp(key, "version") == 0 || strcmp(key, "command") == 0 || strcmp(key, "volume") == 0)
    return true;
  for (unsigned i = 0; i < KEYS_MAX && spec->key[i].name; i++)
    if (strcmp(key, spec->key[i].name) == 0)
      return true;
  return false;
}

static int
check_keys(json_t *document, const struct command_spec *spec, char error[SF_CONFIG_ERROR_MAX]) {
  const char *key;
  json_t *value;
  json_object_foreach(document, key, value) {
    if (!key_is_known(spec, key))
      return refuse(error, "unknown key \"%.64s\" in a %s request", key, spec->name);
  }
  for (unsigned i = 0; i < KEYS_MAX && spec->key[i].name; i++) {
    const char *name = spec->key[i].name;
    value = json_object_get(document, name);
    if (value == NULL && spec->key[i].required)
      return refuse(error, "\"%s\" is missing in a %s request", name, spec->name);
    if (value && spec->key[i].boolean && !json_is_boolean(value))
      return refuse(error, "\"%s\" must be true or false", name);
    if (value && !spec->key[i].boolean && !json_is_string(value))
      return refuse(error, "\"%s\" must be text", name);
  }
  return 0;
}

/* A volume cannot do without a leg that it needs: only the start of another server can. */
static int
check_force(const json_t *document, bool of_daemon, char error[SF_CONFIG_ERROR_MAX]) {
  const char *action = json_string_value(json_object_get(document, "action"));
  bool forces = json_is_true(json_object_get(document, "force"));
  bool has_with = json_object_get(document, "with");
  if (forces != has_with)
    return refuse(error, "\"force\" and \"with\", the legs to go on with, belong together");
  if (forces && strcmp(action, "fail") != 0)
    return refuse(error, "\"force\" does not belong to the action %.64s", action);
  if (forces && !of_daemon)
    return refuse(error, "a leg is failed by force by surefootd, which starts the volume anew: "
                         "this is a volume's own socket");
  return 0;
}

static int
check_action(const json_t *document, char error[SF_CONFIG_ERROR_MAX]) {
  const char *action = json_string_value(json_object_get(document, "action"));
  bool has_path = json_object_get(document, "path");
  if (strcmp(action, "replace") == 0)
    return 0;
  if (strcmp(action, "add") == 0)
    return has_path ? 0 : refuse(error, "\"path\" is missing in the action add");
  if (strcmp(action, "fail") != 0 && strcmp(action, "return") != 0 &&
      strcmp(action, "discard") != 0 && strcmp(action, "remove") != 0)
    return refuse(error, "unknown action \"%.64s\": fail, return, discard, replace, add or remove",
                  action);
  return has_path ? refuse(error, "\"path\" does not belong to the action %s", action) : 0;
}

static int
check_scrub(const json_t *document, char error[SF_CONFIG_ERROR_MAX]) {
  const char *action = json_string_value(json_object_get(document, "action"));
  bool repairs = json_is_true(json_object_get(document, "repair"));
  bool has_leg = json_object_get(document, "leg");
  bool starts = strcmp(action, "start") == 0;
  if (!starts && strcmp(action, "pause") != 0 && strcmp(action, "resume") != 0 &&
      strcmp(action, "cancel") != 0)
    return refuse(error, "unknown action \"%.64s\": start, pause, resume or cancel", action);
  if (!starts && (repairs || has_leg || json_object_get(document, "rate")))
    return refuse(error, "the action %s has nothing else to it", action);
  return has_leg && !repairs ? refuse(error, "\"leg\" is for a scrub that repairs") : 0;
}

static int
check_drill(const json_t *document, char error[SF_CONFIG_ERROR_MAX]) {
  const char *action = json_string_value(json_object_get(document, "action"));
  bool has_leg = json_object_get(document, "leg"),
       has_duration = json_object_get(document, "duration");
  bool starts = strcmp(action, "start") == 0;
  if (!starts && strcmp(action, "cancel") != 0)
    return refuse(error, "unknown action \"%.64s\": start or cancel", action);
  if (!starts)
    return has_leg || has_duration ? refuse(error, "the action cancel has nothing else to it") : 0;
  return has_leg && has_duration ? 0 : refuse(error, "a drill needs \"leg\" and \"duration\"");
}

static int
check_document(json_t *document, const char *volume_name, const struct command_spec **spec,
               char error[SF_CONFIG_ERROR_MAX]) {
  if (!json_is_object(document))
    return refuse(error, "a request is one JSON object");
  int r = check_version(document, error);
  if (r == 0)
    r = find_command(document, volume_name == NULL, spec, error);
  if (r == 0)
    r = check_keys(document, *spec, error);
  if (r == 0)
    r = check_volume(document, *spec, volume_name, error);
  if (r == 0 && (*spec)->command == SF_COMMAND_LEG)
    r = check_action(document, error);
  if (r == 0 && (*spec)->command == SF_COMMAND_LEG)
    r = check_force(document, volume_name == NULL, error);
  if (r == 0 && (*spec)->command == SF_COMMAND_SCRUB)
    r = check_scrub(document, error);
  if (r == 0 && (*spec)->command == SF_COMMAND_DRILL)
    r = check_drill(document, error);
  return r;
}

static bool
is_blank(const char *bytes, size_t len) {
  for (size_t i = 0; i < len; i++)
    if (bytes[i] != ' ' && bytes[i] != '\t' && bytes[i] != '\r')
      return false;
  return true;
}

int
sf_control_parse(const char *bytes, size_t len, const char *volume_name,
                 struct sf_control_request *request, char error[SF_CONFIG_ERROR_MAX]) {
  if (is_blank(bytes, len))
    return refuse(error, "the request is empty");
  if (memchr(bytes, '\0', len))
    return refuse(error, "the request holds a NUL byte");
  json_error_t where;
  json_t *document = json_loadb(bytes, len, JSON_REJECT_DUPLICATES, &where);
  if (document == NULL)
    return refuse(error, "not a JSON object: %s at byte %d", where.text, where.position);

  const struct command_spec *spec = NULL;
  int r = check_document(document, volume_name, &spec, error);
  if (r < 0) {
    json_decref(document);
    return r;
  }
  *request = (struct sf_control_request){
      .command = spec->command,
      .volume = json_string_value(json_object_get(document, "volume")),
      .dry_run = json_is_true(json_object_get(document, "dry_run")),
      .force = json_is_true(json_object_get(document, "force")),
      .repair = json_is_true(json_object_get(document, "repair")),
      .follow = json_is_true(json_object_get(document, "follow")),
      .key = json_string_value(json_object_get(document, "key")),
      .value = json_string_value(json_object_get(document, "value")),
      .action = json_string_value(json_object_get(document, "action")),
      .leg = json_string_value(json_object_get(document, "leg")),
      .path = json_string_value(json_object_get(document, "path")),
      .with = json_string_value(json_object_get(document, "with")),
      .rate = json_string_value(json_object_get(document, "rate")),
      .size = json_string_value(json_object_get(document, "size")),
      .since = json_string_value(json_object_get(document, "since")),
      .duration = json_string_value(json_object_get(document, "duration")),
      .document = document,
  };
  return 0;
}

void
sf_control_request_clear(struct sf_control_request *request) {
  json_decref(request->document);
  *request = (struct sf_control_request){0};
}

json_t *
sf_control_error_reply(const char *error) {
  char line[SF_CONFIG_ERROR_MAX];
  snprintf(line, sizeof line, "%s", error);
  sf_text_clean(line);
  return json_pack("{sb ss}", "ok", 0, "error", line);
}

#include "files/settings.h"
#include "base/units.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <ini.h>

#include "config/keys.h"
#include "config/value.h"

/* From the folder of a build the daemon takes the plugin that was built with it; installed, nbdkit
 * knows it by name. */
static void
find_plugin(char plugin[PATH_MAX]) {
  char self[PATH_MAX], path[PATH_MAX + 64];
  ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);
  snprintf(plugin, PATH_MAX, "surefoot");
  if (len <= 0)
    return;
  self[len] = '\0';
  char *slash = strrchr(self, '/');
  *slash = '\0';
  snprintf(path, sizeof path, "%s/../lib/nbdkit-surefoot-plugin.so", self);
  char real[PATH_MAX];
  if (realpath(path, real))
    memcpy(plugin, real, strlen(real) + 1);
}

void
sfd_settings_init(struct settings *settings) {
  *settings = (struct settings){
      .volumes = "/etc/surefoot/volumes.d",
      .runtime = "/run/surefoot",
      .control = "/run/surefoot/control",
      .events = "/var/lib/surefoot/events",
      .latency = "/var/lib/surefoot/latency",
      .nbdkit = "nbdkit",
      .start_timeout_us = 30000000,
      .stop_timeout_us = 60000000,
      .silent_timeout_us = 60000000,
      .hook_timeout_us = 10000000,
  };
  find_plugin(settings->plugin);
}

struct key {
  const char *name;
  int (*read)(const struct key *key, struct settings *settings, const char *value,
              struct sf_why *why);
  size_t offset, size;
};

static int
read_path(const struct key *key, struct settings *settings, const char *value, struct sf_why *why) {
  if (*value != '/')
    return sf_why(why, -EINVAL, "\"%s\" must be an absolute path", value);
  if (strlen(value) >= key->size)
    return sf_why(why, -EINVAL, "the path is longer than %zu bytes", key->size - 1);
  memcpy((char *) settings + key->offset, value, strlen(value) + 1);
  return 0;
}

/* A path, or a name that is looked up elsewhere. */
static int
read_program(const struct key *key, struct settings *settings, const char *value,
             struct sf_why *why) {
  if (strchr(value, '/'))
    return read_path(key, settings, value, why);
  if (!sf_value_is_name(value, 64))
    return sf_why(why, -EINVAL, "\"%s\" is neither an absolute path nor a name", value);
  memcpy((char *) settings + key->offset, value, strlen(value) + 1);
  return 0;
}

static int
read_time(const struct key *key, struct settings *settings, const char *value, struct sf_why *why) {
  uint64_t ns;
  int r = sf_value_read_duration(value, &ns, why);
  if (r < 0)
    return r;
  if (ns < SF_S || ns > 3600 * SF_S)
    return sf_why(why, -EINVAL, "%s is not between 1s and 3600s", value);
  uint64_t us = ns / 1000;
  memcpy((char *) settings + key->offset, &us, sizeof us);
  return 0;
}

static int
read_time_or_off(const struct key *key, struct settings *settings, const char *value,
                 struct sf_why *why) {
  uint64_t ns;
  if (sf_value_read_duration(value, &ns, why) == 0 && ns == 0) {
    memset((char *) settings + key->offset, 0, key->size);
    return 0;
  }
  return read_time(key, settings, value, why);
}

static int
read_kept(const struct key *key, struct settings *settings, const char *value, struct sf_why *why) {
  if (strcmp(value, "off") != 0)
    return read_path(key, settings, value, why);
  ((char *) settings + key->offset)[0] = '\0';
  return 0;
}

/* "PORT", "ADDRESS:PORT" or "[IPv6]:PORT".  A name would have to be looked up, and may change. */
static int
read_place(const struct key *key, struct settings *settings, const char *value,
           struct sf_why *why) {
  struct settings_place *place = (struct settings_place *) ((char *) settings + key->offset);
  const char *colon = strrchr(value, ':'), *port_text = colon ? colon + 1 : value;
  char address[sizeof place->address] = "127.0.0.1";
  unsigned char binary[16];
  uint64_t port;

  if (strcmp(value, "off") == 0) {
    place->address[0] = '\0';
    return 0;
  }
  if (colon) {
    const char *from = value;
    size_t len = (size_t) (colon - value);
    if (len >= 2 && value[0] == '[' && colon[-1] == ']') {
      from++;
      len -= 2;
    }
    if (len == 0 || len >= sizeof address)
      return sf_why(why, -EINVAL, "\"%s\" is not ADDRESS:PORT", value);
    memcpy(address, from, len);
    address[len] = '\0';
  }
  if (inet_pton(strchr(address, ':') ? AF_INET6 : AF_INET, address, binary) != 1)
    return sf_why(why, -EINVAL, "\"%s\" is not an address: such as 127.0.0.1 or [::1]", address);
  if (sf_value_read_count(port_text, &port, why) < 0 || port < 1 || port > 65535)
    return sf_why(why, -EINVAL, "\"%s\" is not a port: 1 to 65535", port_text);
  memcpy(place->address, address, sizeof address);
  place->port = (uint16_t) port;
  return 0;
}

/* There is no authentication, so only clients on this machine may look. */
static int
read_own_place(const struct key *key, struct settings *settings, const char *value,
               struct sf_why *why) {
  struct settings_place *place = (struct settings_place *) ((char *) settings + key->offset);
  int r = read_place(key, settings, value, why);
  struct in_addr ipv4;
  struct in6_addr ipv6;
  if (r < 0 || !place->address[0])
    return r;
  bool own = inet_pton(AF_INET, place->address, &ipv4) == 1
                 ? ntohl(ipv4.s_addr) >> 24 == IN_LOOPBACKNET
                 : inet_pton(AF_INET6, place->address, &ipv6) == 1 && IN6_IS_ADDR_LOOPBACK(&ipv6);
  return own ? 0
             : sf_why(why, -EINVAL, "%s is not of this machine alone: 127.0.0.1 or [::1]",
                      place->address);
}

bool
sfd_settings_same_place(const struct settings_place *a, const struct settings_place *b) {
  return a->address[0] && a->port == b->port && strcmp(a->address, b->address) == 0;
}

#define FIELD(field) offsetof(struct settings, field), sizeof(((struct settings *) 0)->field)

static const struct key keys[] = {
    {"volumes", read_path, FIELD(volumes)},
    {"runtime", read_path, FIELD(runtime)},
    {"control", read_path, FIELD(control)},
    {"nbdkit", read_program, FIELD(nbdkit)},
    {"plugin", read_program, FIELD(plugin)},
    {"start_timeout", read_time, FIELD(start_timeout_us)},
    {"stop_timeout", read_time, FIELD(stop_timeout_us)},
    {"silent_timeout", read_time_or_off, FIELD(silent_timeout_us)},
    {"hook", read_path, FIELD(hook)},
    {"hook_timeout", read_time, FIELD(hook_timeout_us)},
    {"metrics", read_place, FIELD(metrics)},
    {"page", read_own_place, FIELD(page)},
    {"events", read_kept, FIELD(events)},
    {"latency", read_kept, FIELD(latency)},
};
enum { KEYS = sizeof keys / sizeof keys[0], EVENTS_KEY = KEYS - 2, LATENCY_KEY = KEYS - 1 };

struct reader {
  struct settings *settings;
  const char *file;
  FILE *stream;
  unsigned line, key_line[KEYS];
  bool failed;
  char *error;
};

__attribute__((format(printf, 2, 3))) static void
fail(struct reader *reader, const char *format, ...) {
  char text[SF_CONFIG_ERROR_MAX];
  if (reader->failed)
    return;
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  reader->failed = true;
  sf_config_error(reader->error, "%.200s:%u: %s", reader->file, reader->line, text);
}

/* inih's reader.  It joins indented lines to the line before and splits long ones: such lines are
 * refused before it sees them. */
static char *
read_line(char *buffer, int size, void *stream) {
  struct reader *reader = stream;
  if (reader->failed || fgets(buffer, size, reader->stream) == NULL)
    return NULL;
  reader->line++;
  size_t len = strlen(buffer);
  if (len + 1 == (size_t) size && buffer[len - 1] != '\n')
    fail(reader, "the line is too long");
  else if ((buffer[0] == ' ' || buffer[0] == '\t') && buffer[strspn(buffer, " \t")] != '\n' &&
           buffer[strspn(buffer, " \t")] != '\0')
    fail(reader, "the line is indented");
  return reader->failed ? NULL : buffer;
}

static int
take_key(void *user, const char *section, const char *name, const char *value) {
  struct reader *reader = user;
  struct sf_why why;

  if (reader->failed)
    return 0;
  if (strcmp(section, "daemon") != 0) {
    fail(reader, "unknown section [%.64s]: here belongs [daemon]; volumes have files of their own",
         section);
    return 0;
  }
  for (unsigned i = 0; i < KEYS; i++) {
    if (strcmp(keys[i].name, name) != 0)
      continue;
    if (reader->key_line[i])
      fail(reader, "%s: is set already, in line %u", name, reader->key_line[i]);
    else if (*value == '\0')
      fail(reader, "%s: has no value", name);
    else if (keys[i].read(&keys[i], reader->settings, value, &why) < 0)
      fail(reader, "%s: %s", name, why.text);
    reader->key_line[i] = reader->line;
    return !reader->failed;
  }
  char list[256] = "";
  size_t used = 0;
  for (unsigned i = 0; i < KEYS; i++)
    used += (size_t) snprintf(list + used, sizeof list - used, " %s", keys[i].name);
  fail(reader, "%.64s: unknown key; known are%s", name, list);
  return 0;
}

int
sfd_settings_load(struct settings *settings, const char *file, char error[SF_CONFIG_ERROR_MAX]) {
  struct settings made;
  sfd_settings_init(&made);
  made.control[0] = '\0'; /* it follows runtime */
  struct reader reader = {.settings = &made, .file = file, .error = error};
  reader.stream = fopen(file, "re");
  if (reader.stream == NULL) {
    int r = -errno;
    sf_config_error(error, "%.200s: %s", file, strerror(errno));
    return r;
  }
  ini_max_line = PATH_MAX + 128; /* Debian's inih has 200 otherwise: too short for a path */
  int bad_line = ini_parse_stream(read_line, &reader, take_key, &reader);
  if (ferror(reader.stream))
    fail(&reader, "cannot be read");
  if (bad_line > 0 && !reader.failed) {
    reader.line = (unsigned) bad_line;
    fail(&reader, "is neither [daemon] nor key = value nor a comment");
  }
  fclose(reader.stream);
  if (!reader.failed && !made.control[0] &&
      snprintf(made.control, sizeof made.control, "%s/control", made.runtime) >=
          (int) sizeof made.control) {
    reader.line = reader.key_line[1];
    fail(&reader, "runtime: the path is too long for a socket in it");
  }
  /* Two daemons of one machine do not share them. */
  bool elsewhere = strcmp(made.runtime, "/run/surefoot") != 0;
  if (!reader.key_line[EVENTS_KEY] && elsewhere)
    snprintf(made.events, sizeof made.events, "%s.events", made.runtime);
  if (!reader.key_line[LATENCY_KEY] && elsewhere)
    snprintf(made.latency, sizeof made.latency, "%s.latency", made.runtime);
  if (reader.failed)
    return -EINVAL;
  *settings = made;
  return 0;
}

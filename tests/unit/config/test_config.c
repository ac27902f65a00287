/* Valid files: reading them, writing them, and setting keys later. */
#include "config_rig.h"

/* ---- files that are taken ---- */

/* Proves the defaults, of which min_legs depends on the number of legs. */
static void
values_by_default(void **state) {
  static struct sf_config config;
  load_good(&config, VOLUME LEG_A);
  assert_string_equal(config.name, "v");
  assert_int_equal(config.min_legs, 1);
  for (unsigned kind = 0; kind < SF_KINDS; kind++)
    assert_int_equal(config.deadline_ns[kind], SF_CONFIG_AUTO);
  assert_int_equal(config.fail_timeout_ns, 30 * SEC);
  assert_int_equal(config.on_too_few, SF_TOO_FEW_ERROR);
  assert_string_equal(config.control, "");
  assert_int_equal(config.wait_for_legs_ns, 30 * SEC);
  assert_int_equal(config.resync_min_rate, 4 * MIB);
  assert_int_equal(config.resync_max_rate, 0);
  assert_int_equal(config.legs, 1);
  assert_string_equal(config.leg[0].name, "a");
  assert_string_equal(config.leg[0].path, "/a");
  for (int kind = 0; kind < SF_KINDS; kind++)
    assert_int_equal(config.leg[0].timeout_ns[kind], 0);

  load_good(&config, VOLUME LEG_A LEG_B);
  assert_int_equal(config.min_legs, 1);
  load_good(&config, VOLUME LEG_A LEG_B LEG_C);
  assert_int_equal(config.min_legs, 2);
  load_good(&config, VOLUME LEG_A LEG_B LEG_C "[leg d]\npath=/d\n");
  assert_int_equal(config.min_legs, 3);
}

/* Proves that every key lands in its own field, with its own value. */
static void
every_key(void **state) {
  static struct sf_config config;
  load_good(&config, "[volume]\n"
                     "name = Vol_0-x\n"
                     "min_legs = 2\n"
                     "read_deadline = 11ms\n"
                     "write_deadline = 12000us\n"
                     "flush_deadline = 13000000ns\n"
                     "fail_timeout = 14s\n"
                     "on_too_few = suspend\n"
                     "control = /run/c.ctl\n"
                     "wait_for_legs = 15s\n"
                     "resync_min_rate = 16K\n"
                     "resync_max_rate = 17G\n"
                     "[leg a]\n"
                     "path = /a\n"
                     "read_timeout = 1ms\n"
                     "write_timeout = 2ms\n"
                     "flush_timeout = 3ms\n"
                     "[leg b]\n"
                     "flush_timeout = 86400s\n"
                     "path = /b\n");
  assert_string_equal(config.name, "Vol_0-x");
  assert_int_equal(config.min_legs, 2);
  assert_int_equal(config.deadline_ns[SF_READ_KIND], 11 * MS);
  assert_int_equal(config.deadline_ns[SF_WRITE_KIND], 12 * MS);
  assert_int_equal(config.deadline_ns[SF_FLUSH_KIND], 13 * MS);
  assert_int_equal(config.fail_timeout_ns, 14 * SEC);
  assert_int_equal(config.on_too_few, SF_TOO_FEW_SUSPEND);
  assert_string_equal(config.control, "/run/c.ctl");
  assert_int_equal(config.wait_for_legs_ns, 15 * SEC);
  assert_int_equal(config.resync_min_rate, 16 * 1024);
  assert_int_equal(config.resync_max_rate, 17 * 1024 * MIB);
  assert_int_equal(config.leg[0].timeout_ns[SF_READ_KIND], 1 * MS);
  assert_int_equal(config.leg[0].timeout_ns[SF_WRITE_KIND], 2 * MS);
  assert_int_equal(config.leg[0].timeout_ns[SF_FLUSH_KIND], 3 * MS);
  assert_int_equal(config.leg[1].timeout_ns[SF_READ_KIND], 0);
  assert_int_equal(config.leg[1].timeout_ns[SF_FLUSH_KIND], 86400 * SEC);
  assert_string_equal(config.leg[1].name, "b");
  assert_string_equal(config.leg[1].path, "/b");
}

/* Proves that spellings which mean the same are taken as the same: DOS lines, a byte order mark, no
 * last newline, comments, order of sections, ':' for '='. */
static void
spellings(void **state) {
  static const char *const texts[] = {
      VOLUME "write_deadline = 5ms\n" LEG_A LEG_B,
      "[volume]\r\nname = v\r\nwrite_deadline = 5ms\r\n[leg a]\r\npath = /a\r\n[leg b]\r\npath = "
      "/b\r\n",
      "\xef\xbb\xbf" VOLUME "write_deadline = 5ms\n" LEG_A "[leg b]\npath = /b",
      "[leg a] ; first\npath=/a;\n" LEG_B VOLUME "write_deadline=5ms",
      "# x\n  ; y\n\t# z\n\n   \n[volume]# c\nname = v ; w\nwrite_deadline: 5ms\t; fast\n" LEG_A
          LEG_B,
      "[volume]\nname\t=\tv  \nwrite_deadline=5ms\n[leg   a]\npath = //a\n[leg b]\npath = /././b\n",
  };
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    static struct sf_config config;
    load_good(&config, texts[i]);
    assert_string_equal(config.name, "v");
    assert_int_equal(config.deadline_ns[SF_WRITE_KIND], 5 * MS);
    assert_int_equal(config.legs, 2);
    assert_string_equal(config.leg[0].name, "a");
    assert_string_equal(config.leg[0].path, i == 3 ? "/a;" : "/a");
    assert_string_equal(config.leg[1].name, "b");
    assert_string_equal(config.leg[1].path, "/b");
  }
}

/* Proves that limits themselves are taken: longest names, longest control path, longest line,
 * smallest and largest numbers. */
static void
limits_are_taken(void **state) {
  static struct sf_config config;
  load_good(&config,
            "[volume]\nname = " NAME63 "\ncontrol = " PATH95 TEN "xx\n"
            "read_deadline = 1ms\nfail_timeout = 86400s\nwait_for_legs = 0s\n"
            "resync_min_rate = 4096\nresync_max_rate = 4K\n"
            "[leg " NAME31
            "]\npath = /" TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN
            "xxxxxxxxx\n; " PATH95 PATH95 "xxxxx\n");
  assert_int_equal(strlen(config.name), 63);
  assert_int_equal(strlen(config.control), 107);
  assert_int_equal(strlen(config.leg[0].name), 31);
  assert_int_equal(strlen(config.leg[0].path), 190);
}

static bool
note_any_difference(void *ctx, const char *key, const char *from, const char *to) {
  fail_msg("%s: \"%s\" is read back as \"%s\"", key, from, to);
  return false;
}

/* A written file is read back as the same, set in the same places, and nothing more. */
static void
expect_round_trip(const struct sf_config *config) {
  static struct sf_config back;
  char error[SF_CONFIG_ERROR_MAX] = "", *text;
  size_t len;
  if (sf_config_write(config, &text, &len, error) < 0)
    fail_msg("%s", error);
  if (load(&back, text, len, error) < 0)
    fail_msg("%s\nin\n%.2000s", error, text);
  assert_int_equal(sf_config_diff(config, &back, note_any_difference, NULL), 0);
  for (unsigned i = 0; i < SF_CONFIG_KEYS; i++) {
    assert_int_equal(config->set_at[i] != 0, back.set_at[i] != 0);
    for (unsigned leg = 0; leg < config->legs; leg++)
      assert_int_equal(config->leg[leg].set_at[i] != 0, back.leg[leg].set_at[i] != 0);
  }
  free(text);
}

/* Proves that a configuration is written as it was set: no defaults, a 0 that was set, where each
 * line came from, and what came later. */
static void
written_again(void **state) {
  static struct sf_config config;
  char error[SF_CONFIG_ERROR_MAX], *text, wanted[PATH_MAX + 400];
  size_t len;
  load_good(&config, VOLUME "wait_for_legs = 0s\nwrite_deadline=100ms\n[leg b]\n; x\n"
                            "path = /dev/b;b#b\n" LEG_A);
  assert_int_equal(sf_config_set(&config, "leg.a.read_timeout", "7ms", error), 0);
  assert_int_equal(sf_config_write(&config, &text, &len, error), 0);
  snprintf(wanted, sizeof wanted,
           "# Made from %s\n[volume]\nname = v ; line 2\nwrite_deadline = 100ms ; line 4\n"
           "wait_for_legs = 0ns ; line 3\n[leg b]\npath = /dev/b;b#b ; line 7\n"
           "[leg a]\npath = /a ; line 9\nread_timeout = 7ms ; not from the file\n",
           config.file);
  assert_string_equal(text, wanted);
  assert_int_equal(len, strlen(wanted));
  free(text);
  expect_round_trip(&config);

  strcpy(config.file, "/a\nb");
  assert_int_equal(sf_config_write(&config, &text, &len, error), 0);
  assert_memory_equal(text, "# Made from /a?b\n[vol", 20);
  free(text);
  strcpy(config.leg[1].path, "/a ;b");
  assert_int_equal(sf_config_write(&config, &text, &len, error), -EINVAL);
  assert_string_equal(error, "a.path: no file can say \"/a ;b\"");
}

/* Proves that the largest configuration, all keys set, is written and read back. */
static void
write_limits(void **state) {
  static struct sf_config config;
  static char path[PATH_MAX];
  char name[SF_LEG_NAME_MAX], key[64], error[SF_CONFIG_ERROR_MAX] = "";
  sf_config_init(&config);
  memset(config.file, 'f', sizeof config.file - 1);
  config.file[0] = '/';
  for (int i = 0; i < SF_LEGS_MAX; i++) {
    memset(path, 'x', sizeof path - 1);
    snprintf(path, sizeof path, "/%02d", i);
    path[3] = '/';
    snprintf(name, sizeof name, NAME31);
    name[0] = (char) ('a' + i);
    assert_int_equal(sf_config_set_leg(&config, name, path), 0);
    for (int kind = 0; kind < SF_KINDS; kind++) {
      static const char *const kinds[] = {"read", "write", "flush"};
      snprintf(key, sizeof key, "leg.%s.%s_timeout", name, kinds[kind]);
      assert_int_equal(sf_config_set(&config, key, "86399999999999ns", error), 0);
    }
  }
  static const char *const set[][2] = {
      {"name", NAME63},           {"min_legs", "16"},         {"read_deadline", "11ms"},
      {"write_deadline", "12ms"}, {"flush_deadline", "13ms"}, {"fail_timeout", "14s"},
      {"on_too_few", "suspend"},  {"slow_leg", "leave"},      {"slow_factor", "9"},
      {"max_read_errors", "0"},   {"control", "/c.ctl"},      {"wait_for_legs", "15s"},
      {"resync_min_rate", "16K"}, {"resync_max_rate", "0"},   {"intent_delay", "17s"},
      {"hot_extents", "18"},      {"socket", "/s.sock"},      {"threads", "19"},
      {"device", "/dev/nbd20"},   {"device_timeout", "0s"},   {"device_dead_timeout", "21s"},
      {"fast_socket", "/f.sock"}, {"device_door", "nbdkit"},  {"spare_after", "22m"}};
  for (size_t i = 0; i < sizeof set / sizeof *set; i++)
    assert_int_equal(sf_config_set(&config, set[i][0], set[i][1], error), 0);
  if (sf_config_complete(&config, error) < 0)
    fail_msg("%s", error);
  for (unsigned i = 0; i < SF_CONFIG_KEYS; i++)
    assert_true(config.set_at[i] || config.leg[0].set_at[i]);
  expect_round_trip(&config);
}

/* Proves that a leg comes, moves and goes, that min_legs stays what it was, and that what no file
 * could say changes nothing. */
static void
set_leg(void **state) {
  static struct sf_config config, before;
  load_good(&config, VOLUME LEG_A LEG_B LEG_C);
  before = config;
  const char *const paths[] = {"/a ;b", "/a #b", "/a\nb", "/a ", " /a", "/a/", "nbd://a", ";a"};
  for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
    assert_int_equal(sf_config_set_leg(&config, "b", paths[i]), -EINVAL);
    assert_int_equal(sf_config_set_leg(&config, "new", paths[i]), -EINVAL);
  }
  assert_int_equal(sf_config_set_leg(&config, "a.b", "/x"), -EINVAL);
  assert_int_equal(sf_config_set_leg(&config, "gone", ""), 0);
  assert_int_equal(config.legs, 3);
  assert_int_equal(sf_config_diff(&before, &config, note_any_difference, NULL), 0);
  assert_int_equal(sf_config_set_leg(&config, "a", ""), 0);
  assert_int_equal(sf_config_set_leg(&config, "b", "/b2"), 0);
  assert_int_equal(sf_config_set_leg(&config, "d", "/d"), 0);
  assert_int_equal(sf_config_set_leg(&config, "c", ""), 0);
  assert_int_equal(config.legs, 2);
  assert_string_equal(config.leg[0].path, "/b2");
  assert_string_equal(config.leg[1].name, "d");
  assert_int_equal(config.min_legs, 2);
  expect_round_trip(&config);
  for (int i = 0; i < SF_LEGS_MAX - 2; i++) {
    char name[8], path[8];
    snprintf(name, sizeof name, "l%d", i);
    snprintf(path, sizeof path, "/l%d", i);
    assert_int_equal(sf_config_set_leg(&config, name, path), 0);
  }
  assert_int_equal(sf_config_set_leg(&config, "more", "/more"), -ENOSPC);
  expect_round_trip(&config);
}

/* Proves that a relative path is looked up beside the file, wherever the process stands, and that
 * the file's own name becomes absolute. */
static void
relative_paths(void **state) {
  static struct sf_config config;
  char expected[PATH_MAX + 32], error[SF_CONFIG_ERROR_MAX];
  char text[] =
      "[volume]\nname = v\ncontrol = v.ctl\n[leg a]\npath = a.img\n[leg b]\npath=./x/../b\n";
  write_file("c.conf", text, strlen(text));
  for (int i = 0; i < 3; i++) {
    char from_root[64];
    const char *names[] = {"c.conf", "./c.conf", from_root};
    snprintf(from_root, sizeof from_root, "%s/c.conf", folder);
    if (i == 2)
      assert_int_equal(chdir("/"), 0);
    assert_int_equal(sf_config_load(&config, names[i], error), 0);
    snprintf(expected, sizeof expected, "%s/c.conf", real_folder);
    assert_string_equal(config.file, expected);
    snprintf(expected, sizeof expected, "%s/v.ctl", real_folder);
    assert_string_equal(config.control, expected);
    snprintf(expected, sizeof expected, "%s/a.img", real_folder);
    assert_string_equal(config.leg[0].path, expected);
    snprintf(expected, sizeof expected, "%s/x/../b", real_folder);
    assert_string_equal(config.leg[1].path, expected);
    assert_int_equal(sf_config_set(&config, "leg.a.path", "z", error), 0);
    snprintf(expected, sizeof expected, "%s/z", real_folder);
    assert_string_equal(config.leg[0].path, expected);
  }
  assert_int_equal(chdir(folder), 0);

  sf_config_init(&config);
  assert_int_equal(sf_config_set(&config, "control", "v.ctl", error), -EINVAL);
  assert_string_equal(error, "control: \"v.ctl\" must be an absolute path");
}

/* Proves that the example that we ship is taken, and means what its comments say. */
static void
shipped_example(void **state) {
  static struct sf_config config;
  char error[SF_CONFIG_ERROR_MAX] = "";
  int r = sf_config_load(&config, SF_EXAMPLE_CONF, error);
  assert_string_equal(error, "");
  assert_int_equal(r, 0);
  assert_int_equal(config.legs, 3);
  assert_int_equal(config.min_legs, 2);
  assert_int_equal(sf_config_timeout(&config, 0, SF_WRITE_KIND), 40 * MS);
  assert_int_equal(sf_config_timeout(&config, 2, SF_WRITE_KIND), 2500 * MS);
}

/* Proves that the lines which the example shows as defaults are the defaults. */
static void
shipped_defaults(void **state) {
  static struct sf_config config, defaults;
  char line[256], error[SF_CONFIG_ERROR_MAX];
  unsigned shown = 0;
  sf_config_init(&config);
  sf_config_init(&defaults);
  FILE *f = fopen(SF_EXAMPLE_CONF, "re");
  assert_non_null(f);
  while (fgets(line, sizeof line, f)) {
    char key[64], value[64];
    if (sscanf(line, ";%63[a-z_] = %63s", key, value) != 2)
      continue;
    shown++;
    assert_int_equal(sf_config_set(&config, key, value, error), 0);
    memset(config.set_at, 0, sizeof config.set_at); /* that it was set is no default */
    assert_memory_equal(&config, &defaults, sizeof config);
  }
  fclose(f);
  assert_int_equal(shown, 17);
}

/* ---- set, complete, live, timeout ---- */

/* Proves that a setting given as a parameter has the same meaning and the same refusals as in the
 * file, and changes nothing when it is refused. */
static void
setting_a_value(void **state) {
  static struct sf_config config, before;
  char error[SF_CONFIG_ERROR_MAX] = "";
  load_good(&config, VOLUME LEG_A LEG_B);

  assert_int_equal(sf_config_set(&config, "write_deadline", "20ms", error), 0);
  assert_int_equal(config.deadline_ns[SF_WRITE_KIND], 20 * MS);
  assert_int_equal(sf_config_set(&config, "leg.b.write_timeout", "7ms", error), 0);
  assert_int_equal(config.leg[1].timeout_ns[SF_WRITE_KIND], 7 * MS);
  assert_int_equal(config.leg[0].timeout_ns[SF_WRITE_KIND], 0);
  assert_int_equal(sf_config_set(&config, "leg.b.write_timeout", "default", error), 0);
  assert_int_equal(config.leg[1].timeout_ns[SF_WRITE_KIND], 0);
  assert_int_equal(sf_config_set(&config, "resync_max_rate", "5M", error), 0);
  assert_int_equal(sf_config_set(&config, "resync_max_rate", "default", error), 0);
  assert_int_equal(config.resync_max_rate, 0);
  assert_int_equal(sf_config_set(&config, "on_too_few", "default", error), 0);
  assert_int_equal(config.on_too_few, SF_TOO_FEW_ERROR);
  assert_int_equal(sf_config_set(&config, "leg.a.path", "/new", error), 0);
  assert_string_equal(config.leg[0].path, "/new");
  assert_int_equal(sf_config_set(&config, "name", "w", error), 0);
  assert_string_equal(config.name, "w");

  static const struct {
    const char *key, *value, *error;
  } refused[] = {
      {"min_legs", "default", "min_legs: \"default\" is not a whole number"},
      {"write_deadlin", "1s", "write_deadlin: " VOLUME_KEYS},
      {"", "1s", ": " VOLUME_KEYS},
      {"leg", "1s", "leg: " VOLUME_KEYS},
      {"leg.a", "1s", "leg.a: " VOLUME_KEYS},
      {"leg.a.", "1s", "leg.a.: " LEG_KEYS},
      {"leg.a.x", "1s", "leg.a.x: " LEG_KEYS},
      {"leg..path", "/x", "leg..path: there is no leg \"\""},
      {"leg.c.path", "/x", "leg.c.path: there is no leg \"c\""},
      {"leg.aa.path", "/x", "leg.aa.path: there is no leg \"aa\""},
      {"leg.a.write_deadline", "1s", "leg.a.write_deadline: belongs in [volume]"},
      {"write_timeout", "1s", "write_timeout: belongs in a [leg X] section"},
      {"write_deadline", "100", "write_deadline: \"100\" has no unit: add ns, us, ms, s, m or h"},
      {"write_deadline", "0ns", "write_deadline: 0ns is too little: at least 1ms"},
      {"leg.a.write_timeout", "86401s", "leg.a.write_timeout: 86401s is too much: at most 86400s"},
      {"min_legs", "0", "min_legs: 0 is too little: at least 1"},
      {"control", "", "control: has no value"},
      {"leg.a.path", "/a\n/b", "leg.a.path: the value has a control character in it"},
      {"leg.a.path", "/a\x7f", "leg.a.path: the value has a control character in it"},
      {"evil\nkey", "x", "evil?key: " VOLUME_KEYS},
      {"on_too_few", "suspended", "on_too_few: \"suspended\" is neither error nor suspend"},
  };
  memcpy(&before, &config, sizeof before);
  for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
    assert_int_equal(sf_config_set(&config, refused[i].key, refused[i].value, error), -EINVAL);
    assert_string_equal(error, refused[i].error);
    assert_memory_equal(&config, &before, sizeof config);
  }
}

/* Proves that a path longer than the field is refused, at the limit and not before it. */
static void
path_length(void **state) {
  static struct sf_config config;
  static char path[2 * PATH_MAX + 2];
  char error[SF_CONFIG_ERROR_MAX];
  load_good(&config, VOLUME LEG_A);
  memset(path, 'x', sizeof path - 1);
  path[0] = '/';
  assert_int_equal(sf_config_set(&config, "leg.a.path", path, error), -EINVAL);
  assert_string_equal(error, "leg.a.path: the path is too long: at most 4095 bytes are taken");
  path[PATH_MAX] = '\0';
  assert_int_equal(sf_config_set(&config, "leg.a.path", path, error), -EINVAL);
  path[PATH_MAX - 1] = '\0';
  assert_int_equal(sf_config_set(&config, "leg.a.path", path, error), 0);
  assert_string_equal(config.leg[0].path, path);
}

/* Proves that the whole is checked again after settings, each relation by itself, and that a
 * refused config is left as it was. */
static void
complete(void **state) {
  static struct sf_config good, config, before;
  char error[SF_CONFIG_ERROR_MAX] = "";
  load_good(&good, VOLUME LEG_A LEG_B);
  assert_int_equal(sf_config_complete(&good, error), 0);

#define REFUSED(change, text)                                                                      \
  do {                                                                                             \
    memcpy(&config, &good, sizeof config);                                                         \
    change;                                                                                        \
    memcpy(&before, &config, sizeof before);                                                       \
    assert_int_equal(sf_config_complete(&config, error), -EINVAL);                                 \
    assert_string_equal(error, text);                                                              \
    assert_memory_equal(&config, &before, sizeof config);                                          \
  } while (0)

  REFUSED(config.name[0] = '\0', "name: is missing");
  REFUSED(config.name[0] = '/', "name: is not a name: 1 to 63 of A-Z a-z 0-9 _ -");
  REFUSED(config.legs = 0, "the volume has no leg: a [leg X] section is needed");
  REFUSED(config.legs = 17, "the volume has 17 legs: at most 16 are taken");
  REFUSED(config.min_legs = 3, "min_legs: 3 is too much: the volume has 2 legs");
  REFUSED(config.min_legs = 17, "min_legs: 17 is too much: at most 16");
  REFUSED((config.min_legs = 0, config.fail_timeout_ns = 312 * MS),
          "fail_timeout: 312ms is shorter than flush_deadline, which is auto and at least "
          "312500us");
  REFUSED(config.deadline_ns[SF_READ_KIND] = 0, "read_deadline: 0ns is too little: at least 1ms");
  REFUSED(config.deadline_ns[SF_WRITE_KIND] = MS - 1,
          "write_deadline: 999999ns is too little: at least 1ms");
  REFUSED(config.deadline_ns[SF_FLUSH_KIND] = UINT64_MAX,
          "flush_deadline: 18446744073709551615ns is too much: at most 86400s");
  REFUSED(config.leg[1].timeout_ns[SF_FLUSH_KIND] = 1,
          "leg.b.flush_timeout: 1ns is too little: at least 1ms");
  REFUSED(config.resync_min_rate = 0, "resync_min_rate: 0 is too little: at least 4K");
  REFUSED(config.resync_max_rate = 3 * MIB,
          "resync_max_rate: 3M is below resync_min_rate, which is 4M");
  REFUSED(config.leg[1].path[0] = '\0', "leg.b.path: is missing");
  REFUSED(config.leg[1].path[0] = 'x', "leg.b.path: \"xb\" must be an absolute path");
  REFUSED(config.leg[1].path[1] = 'a', "leg.b.path: \"/a\" is leg a already");
  REFUSED(config.leg[1].name[0] = 'a', "leg.a: another leg has this name");
  REFUSED(config.leg[1].name[0] = '.', "leg..: \".\" is not a name: 1 to 31 of A-Z a-z 0-9 _ -");
  REFUSED(config.control[0] = 'x', "control: \"x\" must be an absolute path");
#undef REFUSED

  memcpy(&config, &good, sizeof config);
  config.min_legs = 0;
  assert_int_equal(sf_config_complete(&config, error), 0);
  assert_int_equal(config.min_legs, 1);
  config.fail_timeout_ns = SEC;
  config.resync_max_rate = config.resync_min_rate;
  assert_int_equal(sf_config_complete(&config, error), 0);
}

/* ---- values ---- */

static void
add_line(void *ctx, const char *key, const char *value, const char *source) {
  char *text = ctx;
  snprintf(text + strlen(text), 4096 - strlen(text), "%s=%s (%s)\n", key, value ? value : "-",
           source);
}

/* Proves that each setting is told with the value in force and where it comes from: the file, a
 * parameter,
 * `set`, nowhere, or from the others. */
static void
sources(void **state) {
  static const char text[] =
      VOLUME "write_deadline = 200ms\nflush_deadline = 2s\n" LEG_A "read_timeout = 20ms\n" LEG_B;
  static const char *const lines[] = {
      "\nwrite_deadline=200ms (file)\n",
      "\nread_deadline=50ms (parameter)\n",
      "\nflush_deadline=3s (set)\n",
      "\nfail_timeout=30s (default)\n",
      "\nmin_legs=1 (auto)\n",
      "\ncontrol=- (default)\n",
      "\nleg.a.path=/a (file)\n",
      "\nleg.a.read_timeout=20ms (file)\n",
      "\nleg.a.write_timeout=200ms (default)\n",
      "\nleg.b.flush_timeout=3s (default)\n",
      "\nresync_max_rate=0 (default)\n",
      "\ndevice_timeout=0s (default)\n",
  };
  static struct sf_config config;
  char error[SF_CONFIG_ERROR_MAX], told[4096] = "";
  assert_int_equal(load(&config, text, strlen(text), error), 0);
  assert_int_equal(sf_config_set(&config, "read_deadline", "50ms", error), 0);
  sf_config_mark_parameters(&config);
  assert_int_equal(sf_config_set(&config, "flush_deadline", "3s", error), 0);
  sf_config_each(&config, add_line, told);
  for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
    if (!strstr(told, lines[i]))
      fail_msg("no%sin\n%s", lines[i], told);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(values_by_default), cmocka_unit_test(every_key),
      cmocka_unit_test(spellings),         cmocka_unit_test(limits_are_taken),
      cmocka_unit_test(written_again),     cmocka_unit_test(write_limits),
      cmocka_unit_test(set_leg),           cmocka_unit_test(relative_paths),
      cmocka_unit_test(shipped_example),   cmocka_unit_test(shipped_defaults),
      cmocka_unit_test(setting_a_value),   cmocka_unit_test(path_length),
      cmocka_unit_test(complete),          cmocka_unit_test(sources),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}

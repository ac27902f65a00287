/* Values by themselves, which of them apply while a volume runs, and how two configurations
 * differ. */
#include "config_rig.h"

/* ---- set, complete, live, timeout ---- */

/* Proves which keys may change while the volume runs: all keys are asked. */
static void
live_keys(void **state) {
  static const char *const live[] = {
      "read_deadline",   "write_deadline",      "flush_deadline",
      "fail_timeout",    "on_too_few",          "slow_leg",
      "slow_factor",     "max_read_errors",     "resync_min_rate",
      "resync_max_rate", "leg.x.read_timeout",  "intent_delay",
      "hot_extents",     "leg.x.write_timeout", "leg.x.flush_timeout",
      "spare_after"};
  static const char *const fixed[] = {"name",
                                      "min_legs",
                                      "control",
                                      "fast_socket",
                                      "wait_for_legs",
                                      "socket",
                                      "threads",
                                      "device",
                                      "device_door",
                                      "device_timeout",
                                      "device_dead_timeout",
                                      "leg.x.path",
                                      "path",
                                      "write_timeout",
                                      "leg.x.write_deadline",
                                      "leg..write_timeout",
                                      "leg.write_timeout",
                                      "nonsense",
                                      ""};
  for (size_t i = 0; i < sizeof live / sizeof *live; i++)
    assert_true(sf_config_is_live(live[i]));
  for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++)
    assert_false(sf_config_is_live(fixed[i]));
  assert_int_equal(sizeof live / sizeof *live + 12, sf_config_keys());
}

/* Proves that a kernel device's timeouts fit the volume's own: a pair that would drop a healthy
 * server is refused, and so is what the kernel cannot be told. */
static void
device(void **state) {
  static const struct {
    const char *text, *error;
  } cases[] = {
      {"device = /dev/sda", "device: \"/dev/sda\" is not an NBD device such as /dev/nbd0"},
      {"device = /dev/nbd", "device: \"/dev/nbd\" is not an NBD device such as /dev/nbd0"},
      {"device = /dev/nbd01", "device: \"/dev/nbd01\" is not an NBD device such as /dev/nbd0"},
      {"device = /dev/nbd0p1", "device: \"/dev/nbd0p1\" is not an NBD device such as /dev/nbd0"},
      {"device_timeout = 31s",
       "device_timeout: 31s must be 2s longer than fail_timeout, which is 30s"},
      {"device_timeout = 32500ms",
       "device_timeout: 32500ms is not a whole number of seconds, as the kernel wants it"},
      {"device_timeout = 60s\non_too_few = suspend",
       "device_timeout: with on_too_few = suspend an answer may take for ever"},
      {"device_dead_timeout = 9s", "device_dead_timeout: 9s is too little: at least 10s"},
      {"device_door = back", "device_door: \"back\" is neither fast nor nbdkit"},
      {"threads = 0", "threads: 0 is too little: at least 1"},
  };
  static struct sf_config config;
  char text[512], error[SF_CONFIG_ERROR_MAX];
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    snprintf(text, sizeof text, VOLUME "%s\n" LEG_A, cases[i].text);
    assert_int_equal(load(&config, text, strlen(text), error), -EINVAL);
    assert_non_null(strstr(error, cases[i].error));
  }
  load_good(&config, VOLUME "device = /dev/nbd12\ndevice_timeout = 32s\nsocket = s.sock\n" LEG_A);
  assert_string_equal(config.device, "/dev/nbd12");
  assert_int_equal(config.device_timeout_ns, 32 * SEC);
  assert_int_equal(config.device_dead_timeout_ns, 60 * SEC);
  assert_int_equal(config.threads, 64);
  assert_int_equal(config.device_door, SF_DEVICE_DOOR_FAST);
  assert_true(sf_config_is_of_daemon("device"));
  assert_true(sf_config_is_of_daemon("device_door"));
  assert_false(sf_config_is_of_daemon("write_deadline"));
  assert_false(sf_config_is_of_daemon("leg.a.device"));
}

struct changes {
  char text[1024];
  unsigned left;
};

static bool
note_change(void *ctx, const char *key, const char *from, const char *to) {
  struct changes *changes = ctx;
  size_t used = strlen(changes->text);
  snprintf(changes->text + used, sizeof changes->text - used, "%s %s>%s;", key, from, to);
  return --changes->left > 0;
}

/* Proves that what differs between two configurations is named, as text that can be set again. */
static void
differences(void **state) {
  static struct sf_config from, to;
  char error[SF_CONFIG_ERROR_MAX];
  load_good(&from, VOLUME LEG_A "write_timeout = 50ms\n" LEG_B);
  load_good(&to, VOLUME "write_deadline = 90ms\non_too_few = suspend\nresync_max_rate = 8M\n" LEG_A
                        "read_timeout = 1500us\n" LEG_B);
  struct changes changes = {.left = 100};
  assert_int_equal(sf_config_diff(&from, &to, note_change, &changes), 0);
  assert_string_equal(changes.text, "write_deadline auto>90ms;on_too_few error>suspend;"
                                    "resync_max_rate 0>8M;leg.a.read_timeout >1500us;"
                                    "leg.a.write_timeout 50ms>;");
  changes = (struct changes){.left = 1};
  assert_int_equal(sf_config_diff(&from, &to, note_change, &changes), 0);
  assert_string_equal(changes.text, "write_deadline auto>90ms;");

  /* What it names, set on the first, gives the second. */
  assert_int_equal(sf_config_set(&from, "write_deadline", "90ms", error), 0);
  assert_int_equal(sf_config_set(&from, "on_too_few", "suspend", error), 0);
  assert_int_equal(sf_config_set(&from, "resync_max_rate", "8M", error), 0);
  assert_int_equal(sf_config_set(&from, "leg.a.read_timeout", "1500us", error), 0);
  changes = (struct changes){.left = 100};
  assert_int_equal(sf_config_diff(&from, &to, note_change, &changes), 0);
  assert_string_equal(changes.text, "leg.a.write_timeout 50ms>;");

  load_good(&to, VOLUME LEG_B LEG_A);
  changes = (struct changes){.left = 100};
  assert_int_equal(sf_config_diff(&from, &to, note_change, &changes), 0);
  assert_string_equal(changes.text, "write_deadline 90ms>auto;on_too_few suspend>error;"
                                    "resync_max_rate 8M>0;leg.a.read_timeout 1500us>;"
                                    "leg.a.write_timeout 50ms>;");
  load_good(&to, VOLUME "write_deadline = 70ms\n" LEG_B);
  changes = (struct changes){.left = 100};
  assert_int_equal(sf_config_diff(&from, &to, note_change, &changes), -ENOTUNIQ);
  assert_string_equal(changes.text, "write_deadline 90ms>70ms;on_too_few suspend>error;"
                                    "resync_max_rate 8M>0;");
  changes = (struct changes){.left = 1};
  assert_int_equal(sf_config_diff(&to, &from, note_change, &changes), 0);
  assert_string_equal(changes.text, "write_deadline 70ms>90ms;");
}

/* Proves that a leg's timeout never lets a request wait longer than its deadline. */
static void
timeout_in_force(void **state) {
  static struct sf_config config;
  load_good(&config,
            VOLUME "read_deadline = 50ms\nwrite_deadline = 60ms\nflush_deadline = 70ms\n" LEG_A
                   "read_timeout = 49ms\nwrite_timeout = 60ms\nflush_timeout = 71ms\n" LEG_B);
  assert_int_equal(sf_config_timeout(&config, 0, SF_READ_KIND), 49 * MS);
  assert_int_equal(sf_config_timeout(&config, 0, SF_WRITE_KIND), 60 * MS);
  assert_int_equal(sf_config_timeout(&config, 0, SF_FLUSH_KIND), 70 * MS);
  assert_int_equal(sf_config_timeout(&config, 1, SF_READ_KIND), 50 * MS);
  assert_int_equal(sf_config_timeout(&config, 1, SF_WRITE_KIND), 60 * MS);
  assert_int_equal(sf_config_timeout(&config, 1, SF_FLUSH_KIND), 70 * MS);
}

static void
assert_range(const struct sf_config *config, unsigned leg, enum sf_kind kind, uint64_t least,
             uint64_t first, uint64_t most) {
  const struct sf_timeout t = sf_config_timeout_range(config, leg, kind);

  assert_int_equal(t.least_ns, least);
  assert_int_equal(t.first_ns, first);
  assert_int_equal(t.most_ns, most);
  assert_int_equal(sf_config_timeout(config, leg, kind), most);
}

/* Proves what `auto` may become, beside fixed values, and that no leg leaves so late that requests
 * fail first. */
static void
values_by_itself(void **state) {
  static struct sf_config config;
  char error[SF_CONFIG_ERROR_MAX] = "", text[PATH_MAX];
  load_good(&config, VOLUME "read_deadline = auto\nflush_deadline = 4s\n" LEG_A
                            "write_timeout = 40ms\nflush_timeout = auto\n" LEG_B);
  assert_range(&config, 0, SF_READ_KIND, 62500 * US, 625 * MS, 2500 * MS);
  assert_range(&config, 1, SF_WRITE_KIND, 62500 * US, 625 * MS, 2500 * MS);
  assert_range(&config, 0, SF_WRITE_KIND, 40 * MS, 40 * MS, 40 * MS);
  assert_range(&config, 0, SF_FLUSH_KIND, 312500 * US, 2500 * MS, 4 * SEC);
  assert_range(&config, 1, SF_FLUSH_KIND, 4 * SEC, 4 * SEC, 4 * SEC);
  assert_int_equal(sf_config_deadline_most(&config, SF_WRITE_KIND), 2500 * MS);
  assert_true(sf_config_timeout_set_at(&config, 0, SF_WRITE_KIND) > 0);
  assert_int_equal(sf_config_timeout_set_at(&config, 1, SF_WRITE_KIND), SF_CONFIG_DEFAULT);
  assert_int_equal(sf_config_set(&config, "leg.b.flush_timeout", "1s", error), 0);
  assert_int_equal(sf_config_timeout_set_at(&config, 1, SF_FLUSH_KIND), SF_CONFIG_SET_LIVE);
  sf_config_key_text(&config, 0, sf_config_key_find("flush_timeout", true, NULL), text);
  assert_string_equal(text, "auto");

  load_good(&config, VOLUME "fail_timeout = 900ms\n" LEG_A);
  assert_range(&config, 0, SF_READ_KIND, 62500 * US, 450 * MS, 450 * MS);
  assert_range(&config, 0, SF_FLUSH_KIND, 312500 * US, 450 * MS, 450 * MS);
}

/* ---- values ---- */

/* Proves the units, the limits of 64 bits, and that a refused text leaves the number alone. */
static void
durations(void **state) {
  static const struct value cases[] = {
      {"0ns", 0, 0},
      {"1ns", 0, 1},
      {"1us", 0, 1000},
      {"100ms", 0, 100 * MS},
      {"007s", 0, 7 * SEC},
      {"18446744073709551615ns", 0, UINT64_MAX},
      {"18446744073s", 0, 18446744073 * SEC},
      {"18446744073709551616ns", -ERANGE, 0},
      {"18446744073709552us", -ERANGE, 0},
      {"18446744074s", -ERANGE, 0},
      {"99999999999999999999999999s", -ERANGE, 0},
      {"", -EINVAL, 0},
      {"0", -EINVAL, 0},
      {"100", -EINVAL, 0},
      {"ms", -EINVAL, 0},
      {"-1ms", -EINVAL, 0},
      {"+1ms", -EINVAL, 0},
      {" 1ms", -EINVAL, 0},
      {"1ms ", -EINVAL, 0},
      {"1 ms", -EINVAL, 0},
      {"2m", 0, 120 * SEC},
      {"1h", 0, 3600 * SEC},
      {"307445735m", -ERANGE, 0},
      {"1.5s", -EINVAL, 0},
      {"1.0ms", -EINVAL, 0},
      {"1.ms", -EINVAL, 0},
      {".5ms", -EINVAL, 0},
      {"1.5", -EINVAL, 0},
      {"1e3ms", -EINVAL, 0},
      {"1min", -EINVAL, 0},
      {"1M", -EINVAL, 0},
      {"1sec", -EINVAL, 0},
      {"1s1ms", -EINVAL, 0},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    uint64_t ns = 12345;
    assert_int_equal(sf_parse_duration(cases[i].text, &ns), cases[i].error);
    assert_int_equal(ns, cases[i].error ? 12345 : cases[i].number);
  }
}

/* The same for sizes, of which a bare number is one. */
static void
sizes(void **state) {
  static const struct value cases[] = {
      {"0", 0, 0},
      {"512", 0, 512},
      {"4K", 0, 4096},
      {"3M", 0, 3 * MIB},
      {"1G", 0, 1024 * MIB},
      {"2T", 0, 2 * MIB * MIB},
      {"18446744073709551615", 0, UINT64_MAX},
      {"16777215T", 0, 16777215 * MIB * MIB},
      {"16777216T", -ERANGE, 0},
      {"18446744073709551616", -ERANGE, 0},
      {"", -EINVAL, 0},
      {"K", -EINVAL, 0},
      {"4k", 0, 4096},
      {"10g", 0, 10240 * MIB},
      {"1.5G", 0, 1536 * MIB},
      {"0.25t", 0, MIB * MIB / 4},
      {"1.5", -EINVAL, 0},
      {"+1G", -EINVAL, 0},
      {"1KiB", -EINVAL, 0},
      {"1 G", -EINVAL, 0},
      {"-1G", -EINVAL, 0},
      {"0x10", -EINVAL, 0},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    uint64_t bytes = 12345;
    assert_int_equal(sf_parse_size(cases[i].text, &bytes), cases[i].error);
    assert_int_equal(bytes, cases[i].error ? 12345 : cases[i].number);
  }
}

/* Proves that numbers in messages are short and exact: read back they are the same. */
static void
written_values(void **state) {
  static const struct {
    uint64_t number;
    const char *duration, *size;
  } cases[] = {{0, "0ns", "0"},
               {1, "1ns", "1"},
               {1000, "1us", "1000"},
               {1024, "1024ns", "1K"},
               {1500 * MS, "1500ms", NULL},
               {60 * SEC, "60s", NULL},
               {5 * MIB, NULL, "5M"},
               {UINT64_MAX, "18446744073709551615ns", "18446744073709551615"}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char text[SF_VALUE_TEXT_MAX];
    uint64_t back = 1;
    sf_value_write_duration(cases[i].number, text);
    if (cases[i].duration)
      assert_string_equal(text, cases[i].duration);
    assert_int_equal(sf_parse_duration(text, &back), 0);
    assert_int_equal(back, cases[i].number);
    sf_value_write_size(cases[i].number, text);
    if (cases[i].size)
      assert_string_equal(text, cases[i].size);
    assert_int_equal(sf_parse_size(text, &back), 0);
    assert_int_equal(back, cases[i].number);
  }
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(live_keys),
      cmocka_unit_test(device),
      cmocka_unit_test(differences),
      cmocka_unit_test(timeout_in_force),
      cmocka_unit_test(values_by_itself),
      cmocka_unit_test(durations),
      cmocka_unit_test(sizes),
      cmocka_unit_test(written_values),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}

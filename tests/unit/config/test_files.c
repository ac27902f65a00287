/* Invalid files: the error, with file, line and key; nothing else is taken from them. */
#include "config_rig.h"

/* ---- files that are refused ---- */

struct bad {
  const char *text;
  const char *error; /* exactly */
};

#define NAMES_A_LEG " cannot name a leg: 1 to 31 of A-Z a-z 0-9 _ -"
#define NOT_A_NAME  " is not a name: 1 to 63 of A-Z a-z 0-9 _ -"

static const struct bad bad[] = {
    /* the whole */
    {"\n; nothing\n", "c.conf: there is no [volume] section"},
    {LEG_A, "c.conf: there is no [volume] section"},
    {"[volume]\n" LEG_A, "c.conf:1: [volume] name: is missing"},
    {LEG_A "[volume]\n", "c.conf:3: [volume] name: is missing"},
    {VOLUME, "c.conf: the volume has no leg: a [leg X] section is needed"},
    {VOLUME LEG_A "[leg b]\n", "c.conf:5: [leg b] path: is missing"},
    {VOLUME LEG_A "[leg b]\n\n; no path\n" LEG_C, "c.conf:5: [leg b] path: is missing"},
    {VOLUME LEG_A "[leg b]\npath = /a\n", "c.conf:6: [leg b] path: \"/a\" is leg a already"},
    {VOLUME LEG_A "[leg b]\npath = //./a\n", "c.conf:6: [leg b] path: \"/a\" is leg a already"},

    /* lines */
    {"name = v\n" VOLUME LEG_A, "c.conf:1: name: stands before the first section"},
    {VOLUME "nonsense\n" LEG_A, "c.conf:3: is neither [section] nor key = value nor a comment"},
    {VOLUME "nonsense\nmin_legs = x\n",
     "c.conf:3: is neither [section] nor key = value nor a comment"},
    {VOLUME "nonsense\n[leg]\n", "c.conf:3: is neither [section] nor key = value nor a comment"},
    {VOLUME "min_legs = x\nnonsense\n", "c.conf:3: [volume] min_legs: \"x\" is not a whole number"},
    {VOLUME "= 3\n" LEG_A, "c.conf:3: there is no key before the ="},
    {VOLUME LEG_A "  b\n",
     "c.conf:5: the line is indented: a value cannot be continued on the next line"},
    {VOLUME LEG_A "\tpath = /b\n",
     "c.conf:5: the line is indented: a value cannot be continued on the next line"},
    {VOLUME " [leg a]\n",
     "c.conf:3: the line is indented: a value cannot be continued on the next line"},
    {VOLUME "\x1b[31m\n", "c.conf:3: byte 0x1b in column 1 does not belong in a text file"},
    {VOLUME "name\r= v\n", "c.conf:3: byte 0x0d in column 5 does not belong in a text file"},

    /* sections */
    {"[volume\n", "c.conf:1: the section has no closing ]"},
    {"[volume] name = v\n", "c.conf:1: only a comment may follow the section's ]"},
    {"[Volume]\n", "c.conf:1: unknown section [Volume]; known are [volume], [leg X] and [spare X]"},
    {"[]\n", "c.conf:1: unknown section []; known are [volume], [leg X] and [spare X]"},
    {"[leg]\n", "c.conf:1: unknown section [leg]; known are [volume], [leg X] and [spare X]"},
    {"[lega]\n", "c.conf:1: unknown section [lega]; known are [volume], [leg X] and [spare X]"},
    {"[ volume ]\n",
     "c.conf:1: unknown section [ volume ]; known are [volume], [leg X] and [spare X]"},
    {VOLUME LEG_A "[volume]\n", "c.conf:5: [volume] is there already, in line 1"},
    {VOLUME LEG_A LEG_B "[leg a]\n", "c.conf:7: [leg a] is there already, in line 3"},
    {VOLUME "[leg ]\n", "c.conf:3: \"\"" NAMES_A_LEG},
    {VOLUME "[leg a ]\n", "c.conf:3: \"a \"" NAMES_A_LEG},
    {VOLUME "[leg a.b]\n", "c.conf:3: \"a.b\"" NAMES_A_LEG},
    {VOLUME "[leg /dev/sdb]\n", "c.conf:3: \"/dev/sdb\"" NAMES_A_LEG},
    {VOLUME "[leg \xc3\xa4]\n", "c.conf:3: \"\xc3\xa4\"" NAMES_A_LEG},
    {VOLUME "[leg " NAME31 "x]\n", "c.conf:3: \"" NAME31 "x\"" NAMES_A_LEG},

    /* keys */
    {VOLUME "min_leg = 1\n", "c.conf:3: [volume] min_leg: " VOLUME_KEYS},
    {VOLUME "Name = x\n", "c.conf:3: [volume] Name: " VOLUME_KEYS},
    {VOLUME "leg.a.path = /a\n" LEG_A, "c.conf:3: [volume] leg.a.path: " VOLUME_KEYS},
    {VOLUME LEG_A "timeout = 1s\n", "c.conf:5: [leg a] timeout: " LEG_KEYS},
    {VOLUME "path = /a\n", "c.conf:3: [volume] path: belongs in a [leg X] section"},
    {VOLUME LEG_A "write_deadline = 1s\n", "c.conf:5: [leg a] write_deadline: belongs in [volume]"},
    {VOLUME "name = w\n", "c.conf:3: [volume] name: is set already, in line 2"},
    {VOLUME LEG_A LEG_B "path = /c\n", "c.conf:7: [leg b] path: is set already, in line 6"},
    {VOLUME "control =\n", "c.conf:3: [volume] control: has no value"},
    {VOLUME "control = ; none\n", "c.conf:3: [volume] control: has no value"},
    {VOLUME "control = # none\n",
     "c.conf:3: [volume] control: after a value a comment begins with ; and not with #"},
    {VOLUME "control =# none\n",
     "c.conf:3: [volume] control: after a value a comment begins with ; and not with #"},
    {VOLUME "[leg a]\npath = /a\t# disk\n",
     "c.conf:4: [leg a] path: after a value a comment begins with ; and not with #"},
    {VOLUME "[leg a]\npath = /dev/sdb # disk\n",
     "c.conf:4: [leg a] path: after a value a comment begins with ; and not with #"},

    /* names and paths */
    {"[volume]\nname = my volume\n", "c.conf:2: [volume] name: \"my volume\"" NOT_A_NAME},
    {"[volume]\nname = ../x\n", "c.conf:2: [volume] name: \"../x\"" NOT_A_NAME},
    {"[volume]\nname = " NAME63 "x\n", "c.conf:2: [volume] name: \"" NAME63 "x\"" NOT_A_NAME},
    {VOLUME "[leg a]\npath = /dev/\n", "c.conf:4: [leg a] path: \"/dev/\" names a folder"},
    {VOLUME "[leg a]\npath = nbd://host/x\n",
     "c.conf:4: [leg a] path: \"nbd://host/x\" is a URI; only files and block devices are taken"},
    {VOLUME "control = " PATH95 TEN "xxx\n",
     "c.conf:3: [volume] control: \"" PATH95 TEN "xxx\" has 108 bytes: at most 107 are taken"},

    /* min_legs */
    {VOLUME "min_legs = 0\n" LEG_A, "c.conf:3: [volume] min_legs: 0 is too little: at least 1"},
    {VOLUME "min_legs = 17\n" LEG_A, "c.conf:3: [volume] min_legs: 17 is too much: at most 16"},
    {VOLUME "min_legs = 2\n" LEG_A,
     "c.conf:3: [volume] min_legs: 2 is too much: the volume has 1 leg"},
    {VOLUME LEG_A LEG_B LEG_C "[volume]\n", "c.conf:9: [volume] is there already, in line 1"},
    {"[volume]\nmin_legs = 4\nname = v\n" LEG_A LEG_B LEG_C,
     "c.conf:2: [volume] min_legs: 4 is too much: the volume has 3 legs"},
    {VOLUME "min_legs = -1\n" LEG_A,
     "c.conf:3: [volume] min_legs: \"-1\": negative numbers are not taken"},
    {VOLUME "min_legs = 1.5\n" LEG_A,
     "c.conf:3: [volume] min_legs: \"1.5\": fractions are not taken, only whole numbers"},
    {VOLUME "min_legs = 1s\n" LEG_A,
     "c.conf:3: [volume] min_legs: \"1s\": \"s\" may not stand after the number"},
    {VOLUME "min_legs = 18446744073709551617\n" LEG_A,
     "c.conf:3: [volume] min_legs: \"18446744073709551617\" is too large to be counted"},
    {VOLUME "min_legs = 4294967297\n" LEG_A,
     "c.conf:3: [volume] min_legs: 4294967297 is too much: at most 16"},

    /* durations */
    {VOLUME "write_deadline = 100\n",
     "c.conf:3: [volume] write_deadline: \"100\" has no unit: add ns, us, ms, s, m or h"},
    {VOLUME "read_deadline = 0\n",
     "c.conf:3: [volume] read_deadline: \"0\" has no unit: add ns, us, ms, s, m or h"},
    {VOLUME "read_deadline = 0s\n",
     "c.conf:3: [volume] read_deadline: 0ns is too little: at least 1ms"},
    {VOLUME "flush_deadline = 999999ns\n",
     "c.conf:3: [volume] flush_deadline: 999999ns is too little: at least 1ms"},
    {VOLUME "fail_timeout = 86401s\n",
     "c.conf:3: [volume] fail_timeout: 86401s is too much: at most 86400s"},
    {VOLUME "wait_for_legs = 86400001ms\n",
     "c.conf:3: [volume] wait_for_legs: 86400001ms is too much: at most 86400s"},
    {VOLUME "write_deadline = 18446744074s\n",
     "c.conf:3: [volume] write_deadline: \"18446744074s\" is too large to be counted"},
    {VOLUME "write_deadline = 18446744073709551616ns\n",
     "c.conf:3: [volume] write_deadline: \"18446744073709551616ns\" is too large to be counted"},
    {VOLUME "write_deadline = 100 ms\n",
     "c.conf:3: [volume] write_deadline: \"100 ms\": nothing may "
     "stand between the number and its unit"},
    {VOLUME "write_deadline = 0.1s\n",
     "c.conf:3: [volume] write_deadline: \"0.1s\": fractions are not taken, only whole numbers"},
    {VOLUME "resync_max_rate = 5.0000001K\n", "c.conf:3: [volume] resync_max_rate: \"5.0000001K\": "
                                              "a fraction has a point, 6 digits at most, and a "
                                              "unit"},
    {VOLUME "resync_max_rate = 5,5K\n", "c.conf:3: [volume] resync_max_rate: \"5,5K\": a fraction "
                                        "has a point, 6 digits at most, and a unit"},
    {VOLUME "resync_max_rate = 5.0001K\n",
     "c.conf:3: [volume] resync_max_rate: \"5.0001K\" is not a whole number of bytes"},
    {VOLUME "write_deadline = 1,5s\n",
     "c.conf:3: [volume] write_deadline: \"1,5s\": fractions are not taken, only whole numbers"},
    {VOLUME "write_deadline = -1s\n",
     "c.conf:3: [volume] write_deadline: \"-1s\": negative numbers are not taken"},
    {VOLUME "write_deadline = +1s\n", "c.conf:3: [volume] write_deadline: \"+1s\" is not a whole "
                                      "number followed by ns, us, ms, s, m or h"},
    {VOLUME "write_deadline = soon\n", "c.conf:3: [volume] write_deadline: \"soon\" is not a whole "
                                       "number followed by ns, us, ms, s, m or h"},
    {VOLUME "write_deadline = 1min\n", "c.conf:3: [volume] write_deadline: \"1min\": unknown unit "
                                       "\"min\", after the number comes ns, us, ms, s, m or h"},
    {VOLUME "write_deadline = 1MS\n", "c.conf:3: [volume] write_deadline: \"1MS\": unknown unit "
                                      "\"MS\", after the number comes ns, us, ms, s, m or h"},
    {VOLUME "write_deadline = 0x10ms\n",
     "c.conf:3: [volume] write_deadline: \"0x10ms\": unknown unit "
     "\"x10ms\", after the number comes ns, us, ms, s, m or h"},
    {VOLUME "write_deadline = 1s;now\n",
     "c.conf:3: [volume] write_deadline: \"1s;now\": unknown unit "
     "\"s;now\", after the number comes ns, us, ms, s, m or h"},
    {VOLUME LEG_A "write_timeout = 0ms\n",
     "c.conf:5: [leg a] write_timeout: 0ns is too little: at least 1ms"},
    {VOLUME LEG_A "read_timeout = 40\n",
     "c.conf:5: [leg a] read_timeout: \"40\" has no unit: add ns, us, ms, s, m or h"},
    {VOLUME "fail_timeout = 49ms\n" LEG_A, "c.conf:3: [volume] fail_timeout: 49ms is shorter than "
                                           "read_deadline, which is auto and at least 62500us"},
    {VOLUME LEG_A "write_timeout = 31s\n",
     "c.conf:5: [leg a] write_timeout: 31s is longer than fail_timeout, which is 30s"},
    {VOLUME "write_deadline = automatic\n",
     "c.conf:3: [volume] write_deadline: \"automatic\" is not a whole number "
     "followed by ns, us, ms, s, m or h"},
    {VOLUME "write_deadline = 18446744073709551614ns\n",
     "c.conf:3: [volume] write_deadline: 18446744073709551614ns is too much: at most 86400s"},
    {VOLUME "slow_leg = maybe\n",
     "c.conf:3: [volume] slow_leg: \"maybe\" is neither wait nor leave"},
    {VOLUME "slow_factor = 1\n", "c.conf:3: [volume] slow_factor: 1 is too little: at least 2"},
    {VOLUME "fail_timeout = auto\n", "c.conf:3: [volume] fail_timeout: \"auto\" is not a whole "
                                     "number followed by ns, us, ms, s, m or h"},
    {VOLUME "read_deadline = 31s\n" LEG_A, "c.conf:1: [volume] fail_timeout: 30s is shorter than "
                                           "read_deadline, which is 31s"},
    {VOLUME "write_deadline = 31s\nfail_timeout = 30s\n" LEG_A,
     "c.conf:4: [volume] fail_timeout: 30s is shorter than write_deadline, which is 31s"},
    {VOLUME "fail_timeout = 312ms\n" LEG_A,
     "c.conf:3: [volume] fail_timeout: 312ms is shorter than "
     "flush_deadline, which is auto and at least 312500us"},

    /* rates, choices */
    {VOLUME "resync_min_rate = 0\n",
     "c.conf:3: [volume] resync_min_rate: 0 is too little: at least 4K"},
    {VOLUME "resync_max_rate = 4095\n",
     "c.conf:3: [volume] resync_max_rate: 4095 is too little: at least 4K"},
    {VOLUME "resync_max_rate = 2T\n",
     "c.conf:3: [volume] resync_max_rate: 2T is too much: at most 1T"},
    {VOLUME "resync_max_rate = 16777216T\n",
     "c.conf:3: [volume] resync_max_rate: \"16777216T\" is too large to be counted"},
    {VOLUME "resync_max_rate = 10MB\n",
     "c.conf:3: [volume] resync_max_rate: \"10MB\": unknown unit "
     "\"MB\", after the number comes nothing, K, M, G or T"},
    {VOLUME "resync_max_rate = 10mb\n",
     "c.conf:3: [volume] resync_max_rate: \"10mb\": unknown unit "
     "\"mb\", after the number comes nothing, K, M, G or T"},
    {VOLUME "resync_max_rate = 1M\n" LEG_A,
     "c.conf:3: [volume] resync_max_rate: 1M is below resync_min_rate, which is 4M"},
    {VOLUME "resync_min_rate = 5M\nresync_max_rate = 5000K\n" LEG_A,
     "c.conf:4: [volume] resync_max_rate: 5000K is below resync_min_rate, which is 5M"},
    {VOLUME "on_too_few = wait\n",
     "c.conf:3: [volume] on_too_few: \"wait\" is neither error nor suspend"},
    {VOLUME "on_too_few = Error\n",
     "c.conf:3: [volume] on_too_few: \"Error\" is neither error nor suspend"},
};

/* Proves that each mistake is refused with a line that names file, line, key and the way out, and
 * that the caller's config stays what it was. */
static void
broken_files(void **state) {
  static struct sf_config config, before;
  memset(&before, 0x5a, sizeof before);
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    char error[SF_CONFIG_ERROR_MAX] = "";
    memset(&config, 0x5a, sizeof config);
    int r = load(&config, bad[i].text, strlen(bad[i].text), error);
    if (r != -EINVAL || strcmp(error, bad[i].error) != 0)
      fail_msg("%d\n  got  %s\n  want %s\nfor\n%s", r, error, bad[i].error, bad[i].text);
    assert_memory_equal(&config, &before, sizeof config);
  }
}

/* Proves that a NUL byte is seen: neither the rest of its line nor the rest of the file is lost
 * behind it. */
static void
nul_bytes(void **state) {
  static const char text[] = VOLUME "control = /a\0b\n" LEG_A;
  static struct sf_config config;
  char error[SF_CONFIG_ERROR_MAX];
  assert_int_equal(load(&config, text, sizeof text - 1, error), -EINVAL);
  assert_string_equal(error, "c.conf:3: byte 0x00 in column 13 does not belong in a text file");
  assert_int_equal(load(&config, "\0\0", 2, error), -EINVAL);
  assert_string_equal(error, "c.conf:1: byte 0x00 in column 1 does not belong in a text file");
}

/* Proves that a file that is no text file at all has its own errors. */
static void
unreadable_files(void **state) {
  static struct sf_config config;
  static char large[128 * 1024 + 1];
  char error[SF_CONFIG_ERROR_MAX];

  assert_int_equal(sf_config_load(&config, "none.conf", error), -ENOENT);
  assert_string_equal(error, "none.conf: No such file or directory");
  assert_int_equal(sf_config_load(&config, "", error), -ENOENT);

  assert_int_equal(mkdir("sub", 0700), 0);
  assert_int_equal(sf_config_load(&config, "sub", error), -EISDIR);
  assert_string_equal(error, "sub: Is a directory");

  assert_int_equal(load(&config, "", 0, error), -EINVAL);
  assert_string_equal(error, "c.conf: is empty");

  memset(large, '\n', sizeof large);
  memcpy(large, VOLUME LEG_A, sizeof VOLUME LEG_A - 1);
  assert_int_equal(load(&config, large, sizeof large, error), -EFBIG);
  assert_string_equal(error, "c.conf: is larger than 128 KiB: not a configuration");
  assert_int_equal(load(&config, large, sizeof large - 1, error), 0);
}

/* Proves the limit of legs from both sides. */
static void
legs_max(void **state) {
  static struct sf_config config;
  char text[1024] = VOLUME, error[SF_CONFIG_ERROR_MAX];
  size_t len = strlen(text);
  for (int i = 0; i < SF_LEGS_MAX; i++)
    len += (size_t) snprintf(text + len, sizeof text - len, "[leg l%d]\npath=/dev/%d\n", i, i);
  load_good(&config, text);
  assert_int_equal(config.legs, 16);
  assert_int_equal(config.min_legs, 9);
  assert_string_equal(config.leg[15].name, "l15");
  assert_string_equal(config.leg[15].path, "/dev/15");
  len += (size_t) snprintf(text + len, sizeof text - len, "[leg more]\n");
  assert_int_equal(load(&config, text, len, error), -EINVAL);
  assert_string_equal(error, "c.conf:35: [leg more] is one too many: at most 16 legs are taken");
}

/* Proves that however long file name, key and value are, the error is one line in its buffer, and
 * the reason is in it. */
static void
error_fits(void **state) {
  static struct sf_config config;
  char text[] = VOLUME PATH95 TEN TEN TEN TEN TEN TEN TEN TEN " = 1\n";
  char name[2000] = "", error[SF_CONFIG_ERROR_MAX];
  sf_config_init(&config);
  for (int i = 0; i < 500; i++)
    strcat(name, "/d\n");
  memset(error, 'x', sizeof error);
  assert_int_equal(sf_config_parse(&config, name, text, strlen(text), error), -EINVAL);
  assert_non_null(memchr(error, '\0', sizeof error));
  assert_null(strchr(error, '\n'));
  assert_non_null(strstr(error, ":3: [volume] /xxx"));
  assert_non_null(strstr(error, "x: unknown key; known are name min_legs"));
}

/* Proves that the longest line is taken, and one byte more is not; and that however long a value
 * is, the reason is in the error. */
static void
long_lines(void **state) {
  enum { MOST = PATH_MAX + 128 };
  static struct sf_config config;
  static char text[3 * PATH_MAX], line[MOST + 2];
  char error[SF_CONFIG_ERROR_MAX];
  memset(line, 'x', MOST + 1);
  line[0] = ';';
  snprintf(text, sizeof text, VOLUME LEG_A "%.*s\n", MOST, line);
  load_good(&config, text);
  snprintf(text, sizeof text, VOLUME LEG_A "%.*s\n", MOST + 1, line);
  assert_int_equal(load(&config, text, strlen(text), error), -EINVAL);
  assert_string_equal(error, "c.conf:5: the line has 4225 characters: at most 4224 are taken");

  static const struct {
    const char *before, *reason;
  } long_ones[] = {{"[leg a]\npath = /", "bytes: at most 4095 are taken"},
                   {"[leg a]\npath = a://", "is a URI; only files and block devices are taken"},
                   {"[leg a]\nread_timeout = 1", "that is too long"},
                   {"min_legs = 1", "that is too long"},
                   {"on_too_few = a", "that is too long"},
                   {"device = /dev/nbd", "that is too long"},
                   {"control = /", "at most 107 are taken"},
                   {"[leg ", "the section has no closing ]"},
                   {"a", "is neither [section] nor key = value nor a comment"}};
  for (size_t i = 0; i < sizeof long_ones / sizeof *long_ones; i++) {
    memset(line, '1', PATH_MAX);
    line[PATH_MAX] = '\0';
    snprintf(text, sizeof text, VOLUME "%s%s\n", long_ones[i].before, line);
    assert_int_equal(load(&config, text, strlen(text), error), -EINVAL);
    if (!strstr(error, long_ones[i].reason))
      fail_msg("%zu: %s", i, error);
  }
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(broken_files),     cmocka_unit_test(nul_bytes),
      cmocka_unit_test(unreadable_files), cmocka_unit_test(legs_max),
      cmocka_unit_test(error_fits),       cmocka_unit_test(long_lines),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include <surefoot/config.h>

#include "config/keys.h"
#include "config/value.h"

#define MS  UINT64_C(1000000)
#define SEC (1000 * MS)
#define MIB (UINT64_C(1) << 20)

/* Pieces of files. */
#define VOLUME "[volume]\nname = v\n" /* lines 1 and 2 */
#define LEG_A  "[leg a]\npath = /a\n"
#define LEG_B  "[leg b]\npath = /b\n"
#define LEG_C  "[leg c]\npath = /c\n"
#define TEN    "xxxxxxxxxx"
#define NAME31 TEN TEN TEN "x"
#define NAME63 NAME31 NAME31 "x"
#define PATH95 "/" TEN TEN TEN TEN TEN TEN TEN TEN TEN "xxxx"

static char folder[] = "/tmp/test-config-XXXXXX";
static char real_folder[PATH_MAX];

static int
set_up(void **state) {
  return mkdtemp(folder) && realpath(folder, real_folder) && chdir(folder) == 0 ? 0 : -1;
}

static int
tear_down(void **state) {
  unlink("c.conf");
  rmdir("sub");
  return chdir("/") == 0 ? rmdir(folder) : -1;
}

static void
write_file(const char *name, const char *text, size_t len) {
  FILE *f = fopen(name, "we");
  assert_non_null(f);
  assert_int_equal(fwrite(text, 1, len, f), len);
  assert_int_equal(fclose(f), 0);
}

static int
load(struct sf_config *config, const char *text, size_t len, char error[SF_CONFIG_ERROR_MAX]) {
  write_file("c.conf", text, len);
  return sf_config_load(config, "c.conf", error);
}

static void
load_good(struct sf_config *config, const char *text) {
  char error[SF_CONFIG_ERROR_MAX] = "";
  int r = load(config, text, strlen(text), error);
  if (r != 0)
    fail_msg("%d %s\nfor\n%s", r, error, text);
}

/* ---- files that are refused ---- */

struct bad {
  const char *text;
  const char *error; /* exactly */
};

#define NAMES_A_LEG " cannot name a leg: 1 to 31 of A-Z a-z 0-9 _ -"
#define NOT_A_NAME  " is not a name: 1 to 63 of A-Z a-z 0-9 _ -"
#define VOLUME_KEYS                                                                                \
  "unknown key; known are name min_legs read_deadline write_deadline flush_deadline fail_timeout " \
  "on_too_few slow_leg slow_factor max_read_errors control fast_socket wait_for_legs "             \
  "resync_min_rate resync_max_rate intent_delay hot_extents "                                      \
  "socket threads device device_door device_timeout device_dead_timeout spare_after"
#define LEG_KEYS "unknown key; known are path read_timeout write_timeout flush_timeout"

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
    {VOLUME "min_legs = x\nnonsense\n",
     "c.conf:3: [volume] min_legs: \"x\" is not a whole number followed by nothing"},
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
     "c.conf:3: [volume] min_legs: \"1s\": unknown unit \"s\", after the number comes nothing"},
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
                                           "read_deadline, which is auto and at least 50ms"},
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
    {VOLUME "fail_timeout = 249ms\n" LEG_A,
     "c.conf:3: [volume] fail_timeout: 249ms is shorter than "
     "flush_deadline, which is auto and at least 250ms"},

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
test_broken_files(void **state) {
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
test_nul_bytes(void **state) {
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
test_unreadable_files(void **state) {
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
test_legs_max(void **state) {
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
test_error_fits(void **state) {
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

/* Proves that the longest line is taken, and one byte more is not; and that however long a value is, the
 * reason is in the error. */
static void
test_long_lines(void **state) {
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

/* ---- files that are taken ---- */

/* Proves the defaults, of which min_legs depends on the number of legs. */
static void
test_defaults(void **state) {
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
test_every_key(void **state) {
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
test_spellings(void **state) {
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
test_limits_are_taken(void **state) {
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

/* What is written is read back as the same, set in the same places, and nothing more. */
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

/* Proves that a configuration is written as it was set: no defaults, a 0 that was set, where each line
 * came from, and what came later. */
static void
test_write(void **state) {
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
test_write_limits(void **state) {
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

/* Proves that a leg comes, moves and goes, that min_legs stays what it was, and that what no file could
 * say changes nothing. */
static void
test_set_leg(void **state) {
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
test_relative_paths(void **state) {
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
test_shipped_example(void **state) {
  static struct sf_config config;
  char error[SF_CONFIG_ERROR_MAX] = "";
  int r = sf_config_load(&config, SF_EXAMPLE_CONF, error);
  assert_string_equal(error, "");
  assert_int_equal(r, 0);
  assert_int_equal(config.legs, 3);
  assert_int_equal(config.min_legs, 2);
  assert_int_equal(sf_config_timeout(&config, 0, SF_WRITE_KIND), 40 * MS);
  assert_int_equal(sf_config_timeout(&config, 2, SF_WRITE_KIND), 2 * SEC);
}

/* Proves that the lines which the example shows as defaults are the defaults. */
static void
test_shipped_defaults(void **state) {
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
test_set(void **state) {
  static struct sf_config config, before;
  char error[SF_CONFIG_ERROR_MAX] = "";
  load_good(&config, VOLUME LEG_A LEG_B);

  assert_int_equal(sf_config_set(&config, "write_deadline", "20ms", error), 0);
  assert_int_equal(config.deadline_ns[SF_WRITE_KIND], 20 * MS);
  assert_int_equal(sf_config_set(&config, "leg.b.write_timeout", "7ms", error), 0);
  assert_int_equal(config.leg[1].timeout_ns[SF_WRITE_KIND], 7 * MS);
  assert_int_equal(config.leg[0].timeout_ns[SF_WRITE_KIND], 0);
  assert_int_equal(sf_config_set(&config, "leg.a.path", "/new", error), 0);
  assert_string_equal(config.leg[0].path, "/new");
  assert_int_equal(sf_config_set(&config, "name", "w", error), 0);
  assert_string_equal(config.name, "w");

  static const struct {
    const char *key, *value, *error;
  } refused[] = {
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
test_path_length(void **state) {
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
test_complete(void **state) {
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
  REFUSED((config.min_legs = 0, config.fail_timeout_ns = 250 * MS - 1),
          "fail_timeout: 249999999ns is shorter than flush_deadline, which is auto and at least "
          "250ms");
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

/* Proves which keys may change while the volume runs: all keys are asked. */
static void
test_live_keys(void **state) {
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
test_device(void **state) {
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
test_diff(void **state) {
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
test_timeout_in_force(void **state) {
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

/* Proves what `auto` may become, beside fixed values, and that nobody leaves so late that requests fail first. */
static void
test_auto(void **state) {
  static struct sf_config config;
  char error[SF_CONFIG_ERROR_MAX] = "", text[PATH_MAX];
  load_good(&config, VOLUME "read_deadline = auto\nflush_deadline = 4s\n" LEG_A
                            "write_timeout = 40ms\nflush_timeout = auto\n" LEG_B);
  assert_range(&config, 0, SF_READ_KIND, 50 * MS, 500 * MS, 2 * SEC);
  assert_range(&config, 1, SF_WRITE_KIND, 50 * MS, 500 * MS, 2 * SEC);
  assert_range(&config, 0, SF_WRITE_KIND, 40 * MS, 40 * MS, 40 * MS);
  assert_range(&config, 0, SF_FLUSH_KIND, 250 * MS, 2 * SEC, 4 * SEC);
  assert_range(&config, 1, SF_FLUSH_KIND, 4 * SEC, 4 * SEC, 4 * SEC);
  assert_int_equal(sf_config_deadline_most(&config, SF_WRITE_KIND), 2 * SEC);
  assert_true(sf_config_timeout_set_at(&config, 0, SF_WRITE_KIND) > 0);
  assert_int_equal(sf_config_timeout_set_at(&config, 1, SF_WRITE_KIND), SF_CONFIG_DEFAULT);
  assert_int_equal(sf_config_set(&config, "leg.b.flush_timeout", "1s", error), 0);
  assert_int_equal(sf_config_timeout_set_at(&config, 1, SF_FLUSH_KIND), SF_CONFIG_SET_LIVE);
  sf_config_key_text(&config, 0, sf_config_key_find("flush_timeout", true, NULL), text);
  assert_string_equal(text, "auto");

  load_good(&config, VOLUME "fail_timeout = 900ms\n" LEG_A);
  assert_range(&config, 0, SF_READ_KIND, 50 * MS, 450 * MS, 450 * MS);
  assert_range(&config, 0, SF_FLUSH_KIND, 250 * MS, 450 * MS, 450 * MS);
}

/* ---- values ---- */

struct value {
  const char *text;
  int error;
  uint64_t number;
};

/* Proves the units, the limits of 64 bits, and that a refused text leaves the number alone. */
static void
test_durations(void **state) {
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
test_sizes(void **state) {
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
test_written_values(void **state) {
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

static void
add_line(void *ctx, const char *key, const char *value, const char *source) {
  char *text = ctx;
  snprintf(text + strlen(text), 4096 - strlen(text), "%s=%s (%s)\n", key, value ? value : "-",
           source);
}

/* Proves that each setting is told with the value in force and where it comes from: the file, a parameter,
 * `set`, nowhere, or from the others. */
static void
test_sources(void **state) {
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
      cmocka_unit_test(test_broken_files),
      cmocka_unit_test(test_nul_bytes),
      cmocka_unit_test(test_unreadable_files),
      cmocka_unit_test(test_legs_max),
      cmocka_unit_test(test_error_fits),
      cmocka_unit_test(test_long_lines),
      cmocka_unit_test(test_defaults),
      cmocka_unit_test(test_every_key),
      cmocka_unit_test(test_spellings),
      cmocka_unit_test(test_limits_are_taken),
      cmocka_unit_test(test_write),
      cmocka_unit_test(test_write_limits),
      cmocka_unit_test(test_set_leg),
      cmocka_unit_test(test_relative_paths),
      cmocka_unit_test(test_shipped_example),
      cmocka_unit_test(test_shipped_defaults),
      cmocka_unit_test(test_set),
      cmocka_unit_test(test_path_length),
      cmocka_unit_test(test_complete),
      cmocka_unit_test(test_live_keys),
      cmocka_unit_test(test_device),
      cmocka_unit_test(test_diff),
      cmocka_unit_test(test_timeout_in_force),
      cmocka_unit_test(test_auto),
      cmocka_unit_test(test_durations),
      cmocka_unit_test(test_sizes),
      cmocka_unit_test(test_written_values),
      cmocka_unit_test(test_sources),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}

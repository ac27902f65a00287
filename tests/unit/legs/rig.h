/* A directory of its own for each test, on whatever the build folder is on, and legs in it. */
#ifndef SF_TEST_LEGS_RIG_H
#define SF_TEST_LEGS_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <surefoot/legfile.h>

#define MIB (UINT64_C(1024) * 1024)

static const uint64_t second_ns = UINT64_C(1000000000);

enum { TEST_DATA_MIB = 2, TEST_SKIPPED = 77 };

struct fixture {
  char dir[64];
  struct sf_leg_openers *openers; /* NULL unless the test started them */
  struct sf_config config;        /* legs a, b, c in files of that name; min_legs 2 */
  struct sf_leg_judged judged;
  char error[SF_CONFIG_ERROR_MAX];
  struct sf_leg_file file[SF_LEGS_MAX];
  struct sf_leg_found found[SF_LEGS_MAX];
  char leg_error[SF_LEGS_MAX][SF_CONFIG_ERROR_MAX];
};

int fixture_setup(void **state);
int fixture_teardown(void **state);

/* False: this file system does not know O_DIRECT, nothing can be tested here. */
bool fixture_possible(void);

void make_file(const char *path, uint64_t bytes);
void put_byte(const char *path, uint64_t offset, char byte);
char get_byte(const char *path, uint64_t offset);
void make_volume(struct fixture *f);
int format(struct fixture *f, struct sf_format_options options);
void assemble(struct fixture *f, struct sf_assembly *assembly); /* opens, assembles, closes */
void expect_starts(struct fixture *f);

/* Into f->file[0], which is closed before. */
int open_first(struct fixture *f, const char *path, unsigned flags);
int open_legs(struct fixture *f, uint64_t timeout_ns);

double now_s(void);

/* A process that does something with a leg and then waits to be killed; or -1. */
pid_t start_holder(bool (*hold)(const char *path), const char *path);
void kill_holder(pid_t pid);
bool hold_lease(const char *path); /* a process that opens it waits */
bool becomes_free(struct fixture *f, const char *path);

#define assert_says(text, part)                                                                    \
  do {                                                                                             \
    if (!strstr(text, part))                                                                       \
      fail_msg("\"%s\" does not say \"%s\"", text, part);                                          \
  } while (0)

#endif

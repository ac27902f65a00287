#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "files/plan.h"

static char folder[] = "/tmp/test-plan-XXXXXX";

static int
set_up(void **state) {
  return mkdtemp(folder) ? 0 : -1;
}

static int
tear_down(void **state) {
  return rmdir(folder);
}

static void
put(const char *name, const char *text) {
  char path[256];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  if (!text) {
    unlink(path);
    return;
  }
  FILE *stream = fopen(path, "we");
  assert_non_null(stream);
  fputs(text, stream);
  assert_int_equal(fclose(stream), 0);
}

struct notes {
  char text[4096];
};

static void
note(void *ctx, const char *line) {
  struct notes *notes = ctx;
  size_t used = strlen(notes->text);
  snprintf(notes->text + used, sizeof notes->text - used, "%s\n", line);
}

static void
note_change(void *ctx, const struct plan_change *change) {
  static const char *const names[] = {"add", "remove", "set", "restart"};
  char line[512];
  snprintf(line, sizeof line, "%s %s%s%s%s%s%s%s", names[change->kind], change->volume,
           change->key ? " " : "", change->key ? change->key : "", change->from ? " " : "",
           change->from ? change->from : "", change->to ? ">" : "", change->to ? change->to : "");
  note(ctx, line);
}

static void
load_good(struct plan *plan) {
  struct notes notes = {0};
  if (sfd_plan_load(folder, "/run/x", plan, note, &notes) < 0)
    fail_msg("%s", notes.text);
}

#define ONE "[volume]\nname = one\n[leg a]\npath = /one-a\n[leg b]\npath = one-b\n"
#define TWO                                                                                        \
  "[volume]\nname = two\ncontrol = /elsewhere.ctl\nsocket = /s.sock\n"                             \
  "fast_socket = /f.sock\n[leg a]\npath = /two-a\n"

/* Proves that the folder's *.conf are the volumes, in order, with sockets filled in; the volume's
 * own control socket is put behind the daemon's. */
static void
load(void **state) {
  struct plan plan;
  load_good(&plan);
  assert_int_equal(plan.volumes, 0);
  put("b.conf", ONE);
  put("a.conf", TWO);
  put("c.conf.bak", "nonsense");
  put(".hidden.conf", "nonsense");
  load_good(&plan);
  assert_int_equal(plan.volumes, 2);
  assert_string_equal(plan.volume[0]->config.name, "two");
  assert_string_equal(plan.volume[0]->config.socket, "/s.sock");
  assert_string_equal(plan.volume[0]->config.control, "/run/x/volumes/two.ctl");
  assert_string_equal(plan.volume[1]->config.socket, "/run/x/one.sock");
  assert_string_equal(plan.volume[1]->config.control, "/run/x/volumes/one.ctl");
  assert_string_equal(plan.volume[0]->config.fast_socket, "/f.sock");
  assert_string_equal(plan.volume[1]->config.fast_socket, "/run/x/one.fast");
  char path[300];
  snprintf(path, sizeof path, "%s/one-b", folder);
  assert_string_equal(plan.volume[1]->config.leg[1].path, path);
  assert_ptr_equal(sfd_plan_find(&plan, "one"), plan.volume[1]);
  assert_null(sfd_plan_find(&plan, "three"));
  sfd_plan_clear(&plan);
  put("c.conf.bak", NULL);
  put(".hidden.conf", NULL);
  put("b.conf", "[volume]\nname = one\ndevice_door = nbdkit\n[leg a]\npath = /one-a\n");
  load_good(&plan);
  assert_string_equal(plan.volume[1]->config.fast_socket, "");
  sfd_plan_clear(&plan);
}

/* names: of the volumes that are left, each with a blank after it. */
static void
load_some(struct plan *plan, struct notes *notes, const char *names) {
  char left[400] = "";
  memset(notes, 0, sizeof *notes);
  assert_int_equal(sfd_plan_load(folder, "/run/x", plan, note, notes), 0);
  sfd_plan_check(plan, note, notes);
  for (unsigned i = 0; i < plan->volumes; i++)
    snprintf(left + strlen(left), 80, "%s ", plan->volume[i]->config.name);
  assert_string_equal(left, names);
}

/* c.conf alone is left out, whatever is wrong with it. */
static void
refused(const char *text, const char *wanted) {
  struct plan plan;
  struct notes notes;
  char file[300];
  put("c.conf", text);
  load_some(&plan, &notes, "two one ");
  snprintf(file, sizeof file, "%s/c.conf", folder);
  assert_int_equal(plan.broken, 1);
  assert_string_equal(plan.broken_file[0], file);
  assert_true(sfd_plan_is_broken(&plan, file));
  if (!strstr(notes.text, wanted))
    fail_msg("%s\ninstead of\n%s", notes.text, wanted);
  sfd_plan_clear(&plan);
}

/* Proves that every problem is told, those of single files and those between them, and that each
 * costs its own volume only. */
static void
problems(void **state) {
  struct plan plan;
  struct notes notes = {0};
  put("a.conf", TWO);
  put("b.conf", ONE);
  refused("", "c.conf: is empty");
  refused("[volume]\nname = one\n[leg x]\npath = /x\n", "c.conf: name: one is that of");
  refused("[volume]\nname = c\nsocket = /s.sock\n[leg x]\npath = /x\n",
          "c.conf: socket: /s.sock is that of");
  refused("[volume]\nname = c\nfast_socket = /f.sock\n[leg x]\npath = /x\n",
          "c.conf: fast_socket: /f.sock is that of");
  refused("[volume]\nname = c\n[leg x]\npath = //two-a\n",
          "c.conf: leg x: /two-a is a leg of volume two already");
  put("a.conf", "[volume]\nname = a\n[leg x]\npath = /ax\n[volume]\n");
  put("b.conf", "nonsense\n");
  put("c.conf", ONE);
  load_some(&plan, &notes, "one ");
  sfd_plan_clear(&plan);
  assert_non_null(strstr(notes.text, "a.conf:5: [volume] is there already"));
  assert_non_null(strstr(notes.text, "b.conf:1: is neither"));
  memset(&notes, 0, sizeof notes);
  assert_int_equal(sfd_plan_load("/nowhere", "/run/x", &plan, note, &notes), -EINVAL);
  assert_string_equal(notes.text, "/nowhere: No such file or directory\n");

  /* A FIFO must not be waited for. */
  char fifo[256];
  snprintf(fifo, sizeof fifo, "%s/d.conf", folder);
  assert_int_equal(mkfifo(fifo, 0600), 0);
  load_some(&plan, &notes, "one ");
  sfd_plan_clear(&plan);
  assert_non_null(strstr(notes.text, "d.conf: is not a file"));
  put("d.conf", NULL);

  char longest[80] = "/run/";
  memset(longest + 5, 'x', 74);
  put("a.conf", NULL);
  put("b.conf", NULL);
  memset(&notes, 0, sizeof notes);
  char name[200];
  snprintf(name, sizeof name, "[volume]\nname = %.60s\n[leg a]\npath = /a\n", longest + 5);
  put("c.conf", name);
  assert_int_equal(sfd_plan_load(folder, longest, &plan, note, &notes), 0);
  assert_int_equal(plan.volumes, 0);
  assert_int_equal(plan.broken, 1);
  sfd_plan_clear(&plan);
  assert_non_null(strstr(notes.text, "c.conf: the paths of its sockets would be too long"));
  put("c.conf", NULL);
}

static void
expect_diff(const struct plan *from, const struct plan *to, const char *wanted) {
  struct notes notes = {0};
  sfd_plan_diff(from, to, note_change, &notes);
  assert_string_equal(notes.text, wanted);
}

/* Proves that the work of a reload follows from the files: live settings, settings that need a
 * restart, volumes that come and go. */
static void
differences(void **state) {
  struct plan from, to;
  put("a.conf", TWO);
  put("b.conf", ONE);
  load_good(&from);
  load_good(&to);
  expect_diff(&from, &to, "");
  sfd_plan_clear(&to);

  put("b.conf", "[volume]\nname = one\nwrite_deadline = 90ms\nmin_legs = 2\ndevice = /dev/nbd0\n"
                "[leg a]\npath = /one-a\nread_timeout = 5ms\n[leg b]\npath = one-b\n");
  put("a.conf", NULL);
  put("c.conf", "[volume]\nname = three\n[leg a]\npath = /three-a\n");
  load_good(&to);
  expect_diff(&from, &to,
              "remove two\nrestart one min_legs 1>2\nset one write_deadline auto>90ms\n"
              "restart one device >/dev/nbd0\nset one leg.a.read_timeout >5ms\nadd three\n");
  /* Back again: a leg's timeout is not set any more. */
  expect_diff(&to, &from,
              "restart one min_legs 2>1\nset one write_deadline 90ms>auto\n"
              "restart one device /dev/nbd0>\nset one leg.a.read_timeout 5ms>default\n"
              "remove three\nadd two\n");
  sfd_plan_clear(&to);

  put("b.conf", "[volume]\nname = one\n[leg b]\npath = one-b\n[leg a]\npath = /one-a\n");
  put("a.conf", TWO);
  put("c.conf", NULL);
  load_good(&to);
  expect_diff(&from, &to, "");
  sfd_plan_clear(&to);

  /* Legs that came and went do not hide a setting. */
  put("b.conf", "[volume]\nname = one\nwrite_deadline = 90ms\n[leg b]\npath = one-b\n[leg c]\n"
                "path = one-c\n");
  load_good(&to);
  expect_diff(&from, &to, "set one write_deadline auto>90ms\nrestart one legs a b>b c\n");
  sfd_plan_clear(&to);
  sfd_plan_clear(&from);
  put("a.conf", NULL);
  put("b.conf", NULL);
}

/* Proves that two volumes may name one spare only if both say so, and that a spare that another
 * volume has taken, or keeps for good, leaves out no volume. */
static void
spares(void **state) {
  static struct plan plan;
  struct notes notes = {0};
  put("a.conf", "[volume]\nname = a\n[leg x]\npath = /x\n[spare s]\npath = /s\nshared = yes\n");
  put("b.conf", "[volume]\nname = b\n[leg x]\npath = /s\n[spare s]\npath = /s\nshared = yes\n");
  put("c.conf", "[volume]\nname = c\n[leg x]\npath = /t\n[spare t]\npath = /u\n");
  put("d.conf", "[volume]\nname = d\n[leg x]\npath = /v\n[spare t]\npath = /t\n");
  put("e.conf", "[volume]\nname = e\n[leg x]\npath = /w\n[spare s]\npath = /s\n");
  assert_int_equal(sfd_plan_load(folder, "/run/s", &plan, note, &notes), 0);
  sfd_plan_check(&plan, note, &notes);
  assert_int_equal(plan.volumes, 4);
  assert_null(sfd_plan_find(&plan, "e"));
  assert_non_null(
      strstr(notes.text, "spare s: /s is a spare of volume a too, and not both say shared = yes"));
  sfd_plan_clear(&plan);
  put("a.conf", NULL);
  put("b.conf", NULL);
  put("c.conf", NULL);
  put("d.conf", NULL);
  put("e.conf", NULL);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(load),
      cmocka_unit_test(problems),
      cmocka_unit_test(differences),
      cmocka_unit_test(spares),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}

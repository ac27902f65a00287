/* What must be true of a volume that has settled, and which step may follow which: each is broken
 * once, and the program ends. */
#include "rig.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "volume/ground/check.h"
#include "volume/ground/steps.h"

enum { TOLD_MAX = 4096 };

static struct rig rig;

/* In a child, as it is to end there; what it says goes to `told`. */
static int
settles_when_broken(void (*spoil)(struct sf_volume *v), char told[TOLD_MAX]) {
  int fd[2], status;
  size_t length = 0;
  ssize_t n;
  pid_t pid;

  assert_int_equal(pipe(fd), 0);
  pid = fork();
  if (pid == 0) {
    signal(SIGABRT, SIG_DFL);
    dup2(fd[1], STDERR_FILENO);
    spoil(rig.volume);
    sf_volume_tick(rig.volume, rig.now_ns);
    _exit(0);
  }
  close(fd[1]);
  while (length < TOLD_MAX - 1 && (n = read(fd[0], told + length, TOLD_MAX - 1 - length)) > 0)
    length += (size_t) n;
  told[length] = '\0';
  close(fd[0]);
  assert_int_equal(waitpid(pid, &status, 0), pid);
  return status;
}

static void
nothing(struct sf_volume *v) {
}

static void
an_answer_needs_not_all_of_the_latest_set(struct sf_volume *v) {
  v->ack_legs = 1;
}

static void
an_answer_needs_not_all_of_the_durable_set(struct sf_volume *v) {
  v->durable.in_sync |= 1u << 2;
}

static void
nobody_is_in_sync(struct sf_volume *v) {
  v->latest.in_sync = 0;
}

static void
a_removed_leg_is_in_sync(struct sf_volume *v) {
  v->identity.removed = 1u << 1;
}

static void
a_leg_is_promoted_that_does_not_join(struct sf_volume *v) {
  v->promoting = 1;
}

static void
a_leg_counts_that_does_not_join(struct sf_volume *v) {
  v->counted = 1u << 2;
}

static void
a_leg_joins_without_a_step(struct sf_volume *v) {
  v->joining = 2;
}

static void
more_is_served_than_there_is(struct sf_volume *v) {
  v->served_bytes = v->size_bytes + SF_PAGE_BYTES;
}

static void
a_page_is_done_that_was_not_sent(struct sf_volume *v) {
  v->maps.page[0].done[1] = v->maps.page[0].sent[1] + 1;
}

static void
a_page_was_sent_that_never_was(struct sf_volume *v) {
  v->maps.page[0].sent[1] = v->maps.page[0].version + 1;
}

static void
a_start_goes_back_to_its_claim(struct sf_volume *v) {
  sf_phase_move(v, PHASE_CLAIMING);
}

static void
a_leg_is_recorded_that_was_not_flushed(struct sf_volume *v) {
  sf_join_move(v, JOIN_CARRY);
  sf_join_move(v, JOIN_DRAIN);
  sf_join_move(v, JOIN_RECORD);
}

static void
a_stop_does_not_flush(struct sf_volume *v) {
  sf_stop_move(v, STOP_DRAIN);
  sf_stop_move(v, STOP_MAPS);
}

static void
a_size_is_recorded_before_the_maps(struct sf_volume *v) {
  sf_grow_move(v, GROW_WAIT);
  sf_grow_move(v, GROW_RECORD);
}

static void
what_is_sent_again_lacks_its_intent(struct sf_volume *v) {
  sf_op_hold(&v->ops[0], HOLD_AGAIN);
  sf_op_hold(&v->ops[0], HOLD_INTENT);
}

static void
it_never_settles(struct sf_volume *v) {
  sf_vol_check_passes(v, 100000);
}

static void
each_is_seen(void **state) {
  static const struct {
    void (*spoil)(struct sf_volume *v);
    const char *says;
  } way[] = {
      {an_answer_needs_not_all_of_the_latest_set, "~v->ack_legs"},
      {an_answer_needs_not_all_of_the_durable_set, "~v->ack_legs"},
      {nobody_is_in_sync, "in_sync != 0"},
      {a_removed_leg_is_in_sync, "~sf_members(v)"},
      {a_leg_is_promoted_that_does_not_join, "v->promoting"},
      {a_leg_counts_that_does_not_join, "v->counted"},
      {a_leg_joins_without_a_step, "v->joining"},
      {more_is_served_than_there_is, "v->served_bytes"},
      {a_page_is_done_that_was_not_sent, "page->done"},
      {a_page_was_sent_that_never_was, "page->sent"},
      {it_never_settles, "passes"},
      {a_start_goes_back_to_its_claim, "phase 0: the move serving -> claiming"},
      {a_leg_is_recorded_that_was_not_flushed, "join 0: the move drain -> record"},
      {a_stop_does_not_flush, "stop 0: the move drain -> maps"},
      {a_size_is_recorded_before_the_maps, "grow 0: the move wait -> record"},
      {what_is_sent_again_lacks_its_intent, "hold 0: the move again -> intent"},
  };
  char told[TOLD_MAX];

  rig_init(&rig, 3, 2, 65536, 64);
  rig.absent[2] = true;
  rig_start_fully(&rig);
  assert_int_equal(settles_when_broken(nothing, told), 0);
  for (unsigned i = 0; i < sizeof way / sizeof way[0]; i++) {
    int status = settles_when_broken(way[i].spoil, told);

    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT || strstr(told, way[i].says) == NULL)
      fail_msg("number %u: status 0x%x, says: %s", i, (unsigned) status, told);
  }
  rig_free(&rig);
}

/* It takes as long as there are pages, so a server does not ask it. */
static void
pages_are_looked_at_in_tests_only(void **state) {
  char told[TOLD_MAX];

  rig_init(&rig, 2, 1, 65536, 64);
  rig_start_fully(&rig);
  rig.volume->checks_all = false;
  assert_int_equal(settles_when_broken(a_page_was_sent_that_never_was, told), 0);
  rig_free(&rig);
}

int
main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(each_is_seen),
      cmocka_unit_test(pages_are_looked_at_in_tests_only),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

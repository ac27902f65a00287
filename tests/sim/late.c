/* Answers that come after their timeout, or after the request was given up, and are errors then: what
 * was settled as late is settled once more.  Of any request that a stall has made late, and of copies
 * and scrubs, which are made late by themselves, as stalls seldom meet them.  All draws are of a
 * stream of their own. */
#include <errno.h>

#include "sim/sim.h"

static uint64_t own_random;

static uint64_t
draw(uint64_t n) {
  return random_of(&own_random) % n;
}

void
late_start(void) {
  own_random = random_stream(307);
}

/* Flushes have a draw for it of their own. */
bool
late_fails(const struct region *r, int *error) {
  static const int errors[] = {-EIO, -EIO, -ENODATA, -EILSEQ, -ETIMEDOUT, -ENOSPC};

  if (sim.options.late_error_permille == 0 || r->op == SF_TIO_FLUSH || !(r->late || r->canceled) ||
      r->life != sim.life || sim_is_calm() || draw(1000) >= sim.options.late_error_permille)
    return false;
  *error = errors[draw(sizeof errors / sizeof errors[0])];
  if (*error == -ENOSPC && r->op == SF_TIO_READ)
    *error = -EIO;
  COUNT(late_errors);
  sim.troubles++;
  return true;
}

static bool
may_be_of_a_copy(const struct region *r) {
  if (r->offset < sim.data_offset || r->op == SF_TIO_FLUSH)
    return false;
  return op_writes(r->op) ? sim.leg_state[r->leg] == SF_STATE_CATCHING_UP
                          : inside_is_copying(sim.volume) || sim.scrub_begun_step != 0;
}

/* Until a little after its timeout, or for so long that the leg leaves meanwhile. */
void
late_copy(struct region *r, uint64_t timeout_ns) {
  if (sim.options.late_copy_permille == 0 || sim_is_calm() || timeout_ns == 0 ||
      !may_be_of_a_copy(r) || draw(1000) >= sim.options.late_copy_permille)
    return;
  COUNT(late_copies);
  sim.troubles++;
  r->keep_ns = timeout_ns + draw(draw(4) == 0 ? 2 * sim.config.fail_timeout_ns : timeout_ns);
  r->doomed = draw(4) != 0;
  TRACE("leg %u: that is to be late for %lu ms%s", r->leg, (unsigned long) (r->keep_ns / SIM_MS),
        r->doomed ? ", and to fail" : "");
}

/* From a few of the volume's ticks to longer than a path is looked at, and than a timeout. */
uint64_t
late_death_ns(void) {
  if (sim.options.slow_death_permille == 0 || draw(1000) >= sim.options.slow_death_permille)
    return 0;
  COUNT(slow_deaths);
  return (UINT64_C(10) << draw(8)) * SIM_MS + draw(10 * SIM_MS);
}

bool
late_death_lands(unsigned leg) {
  return sim.leg[leg].dying_ns != 0 && draw(2) == 0;
}

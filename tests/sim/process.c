/* The process that hosts the volume: it starts where R12 allows, is stopped, killed, or loses its
 * power together with all legs. */
#include <errno.h>
#include <string.h>

#include "sim/sim.h"

/* ---- a leg taken out stays out (R14) ---- */

static void
note_faulty_at_the_end(void) {
  for (unsigned i = 0; i < sim.options.legs; i++) {
    if (sim.faulty[i].left && inside_record_is_durable(sim.volume))
      sim.faulty[i].stays = true;
    sim.faulty[i].left = false;
  }
}

static void
check_faulty(const struct sf_assembly *assembly) {
  for (unsigned i = 0; i < sim.options.legs; i++) {
    bool is_used = assembly->verdict[i] == SF_LEG_CURRENT || assembly->verdict[i] == SF_LEG_BEHIND;

    if (assembly->forced)
      sim.faulty[i].stays = false; /* it may go on from a record of before */
    if (!sim.faulty[i].stays || sim.has_other_disk[i])
      continue;
    COUNT(faulty_at_a_start);
    if (is_used)
      sim_fail("R14: leg %u was faulty, and is %s at the next start", i,
               sf_verdict_name(assembly->verdict[i]));
  }
}

/* ---- start ---- */

static bool
is_available(unsigned leg) {
  const struct sim_leg *l = &sim.leg[leg];
  bool stalled = l->stalled_until_ns > sim.now_ns + SIM_S && (l->stalled_kinds & 1 << SF_TIO_READ);

  return !l->gone && !stalled && !tio_has_ghosts(leg);
}

static void
create(const struct sf_config *config, const struct sf_assembly *assembly,
       const struct sf_leg_found *found) {
  struct sf_volume_host host = tio_host;
  struct sf_volume_params params = {
      .config = config, .assembly = assembly, .block_bytes = BLOCK * sim.options.block_sectors};
  params.holder = (struct sf_holder){.host = "sim", .since_s = 1, .pid = (uint32_t) sim.life};
  int r;

  process_host(&host);
  for (unsigned i = 0; i < sim.options.legs; i++) {
    enum sf_verdict verdict = assembly->verdict[i];

    sim.in_sync_since_ns[i] = sim.now_ns;
    if (verdict == SF_LEG_CURRENT || verdict == SF_LEG_BEHIND || verdict == SF_LEG_FAULTY)
      params.leg[i] =
          (struct sf_volume_leg){.device = tio_open(i),
                                 .sb = found[i].sb,
                                 .bytes = found[i].bytes,
                                 .maps = sim.leg[i].meta_now + SF_MAPS_OFFSET,
                                 .map_pages = (MAPS_END - SF_MAPS_OFFSET) / SF_PAGE_BYTES,
                                 .second = sim.leg[i].meta_now + SECOND_AT};
    else if (found[i].present && verdict != SF_LEG_DAMAGED && verdict != SF_LEG_UNFORMATTED &&
             verdict != SF_LEG_TOO_SMALL && !(verdict == SF_LEG_SPLIT_BRAIN && sim.was_forced) &&
             !sim.has_other_disk[i])
      sim_fail("leg %u: is %s", i, sf_verdict_name(verdict));
  }
  sim.base = assembly->base;
  r = sf_volume_create(&params, &host, &sim, &sim.volume);
  if (r != 0)
    sim_fail("sf_volume_create: %d", r);
  if (sim.options.look_ns != 0)
    inside_look_sooner(sim.volume, sim.options.look_ns);
  inside_check_all(sim.volume);
  for (unsigned i = 0; i < sim.options.legs; i++)
    sim.leg_state[i] = inside_leg_state(sim.volume, i);
  COUNT(starts);
  COUNT(starts_compared);
  inside_check_start(sim.volume);
  if (sim.base.bad.n != 0)
    COUNT(bad_starts);
  bad_started(&sim.base.bad);
  sf_volume_start(sim.volume, sim.now_ns);
}

/* Legs that start from a clean record hold the same bytes. */
static void
check_clean_start(const struct sf_assembly *assembly) {
  int first = -1;

  if (!assembly->base.record.clean)
    return;
  COUNT(clean_starts);
  for (unsigned i = 0; i < sim.options.legs; i++) {
    if (!(assembly->current >> i & 1))
      continue;
    if (first < 0)
      first = (int) i;
    else
      for (uint64_t b = 0; b < sim.blocks; b++)
        if (medium_value(&sim.leg[i], b, false) != medium_value(&sim.leg[first], b, false) &&
            !bad_is_in(&assembly->base.bad, b))
          sim_fail("legs %d and %u start as clean and differ", first, i);
  }
}

/* The operator forces some of the starts that are refused.  `again` is what was found: an assembly
 * takes out of `found` what it finds to be no leg of the volume, a removed one too. */
static void
assemble(struct sf_config *config, struct sf_leg_found found[SF_LEGS_MAX],
         struct sf_assembly *assembly) {
  struct sf_leg_found again[SF_LEGS_MAX];
  int from[SF_LEGS_MAX];

  memcpy(again, found, sizeof again);
  sf_assemble_file(config, found, false, from, assembly);
  head_has_no_vote(again, true, assembly);
  if (assembly->may_start && force_forbids(again))
    assembly->may_start = false;
  if (assembly->may_start || !force_wants())
    return;
  *config = sim.config;
  memcpy(found, again, sizeof again);
  if (!force_forbids(found))
    sf_assemble_file(config, found, true, from, assembly);
}

static bool
process_start(void) {
  struct sf_leg_found found[SF_LEGS_MAX] = {{0}};
  struct sf_config config;
  struct sf_assembly assembly;

  settings_before_start();
  for (unsigned i = 0; i < sim.options.legs; i++)
    if (sim.options.is_busy && tio_has_ghosts(i))
      return false; /* without that leg, which would be stale then for a good reason */
  config = sim.config;
  for (unsigned i = 0; i < sim.options.legs; i++) {
    bool absent =
        !sim_is_calm() && sim.count[COUNT_starts] > 0 && random_chance(sim.options.absent_permille);

    replace_before_start(i);
    head_before_start(i);
    if (is_available(i) && !absent)
      found_of(i, false, false, &found[i]);
    else
      found[i].error = -ENOENT;
  }
  assemble(&config, found, &assembly);
  TRACE("start: may %d, current 0x%x, from (%lu, %lu) in-sync 0x%x%s: %s", assembly.may_start,
        assembly.current, (unsigned long) assembly.base.record.term,
        (unsigned long) assembly.base.record.change, assembly.base.record.in_sync,
        assembly.base.record.clean ? " clean" : "", assembly.reason);
  if (!assembly.may_start) {
    COUNT(refusals);
    return false;
  }
  force_assembled(&assembly);
  head_assembled(found);
  grow_assembled(&assembly.base);
  members_assembled(&assembly);
  replace_assembled(&assembly);
  check_clean_start(&assembly);
  check_faulty(&assembly);
  create(&config, &assembly, found);
  if (sim.options.break_permille != 0 && !sim_is_calm() &&
      random_chance(sim.options.break_permille))
    event_add(sim.now_ns + random_below(4 * sim.options.latency_ns[0]), EV_KILL, EVENT_ONCE, 0);
  return true;
}

/* ---- end ---- */

static void
ended(void) {
  note_faulty_at_the_end();
  inside_destroy(sim.volume);
  sim.volume = NULL;
  sim.stopping = false;
  sim.paused_until_ns = 0;
  sim.life++;
  for (unsigned i = 0; i < sim.options.legs; i++) {
    sim.opening[i] = sim.reopening[i] = false;
    sim.blank[i] = SF_BLANK_NOT;
    sim.looking[i].look = 0;
    sim.leg_state[i] = SF_STATE_MISSING;
  }
  event_add(sim.now_ns + random_around(20 * SIM_MS), EV_START, 0, sim.life);
}

/* A leg that dropped data that a flush was to make stable shows it from the next opening on. Where
 * the process had no time to take it out, these data count as lost in a power cut: only the dead
 * process was told. */
static bool
process_forget(void) {
  bool needed = false;

  for (unsigned i = 0; i < sim.options.legs; i++) {
    if (!sim.leg[i].lost_flush)
      continue;
    needed = needed || inside_is_needed(sim.volume, i);
    TRACE("leg %u: what it dropped at a failed flush is seen to be gone", i);
    medium_lose_cache(&sim.leg[i], (unsigned) random_below(1001));
  }
  return needed;
}

static void
process_is_dead(void) {
  if (process_forget()) {
    COUNT(flushes_forgotten);
    oracle_power_cut();
  } else {
    oracle_killed();
  }
}

void
process_kill(void) {
  if (sim.volume == NULL)
    return;
  TRACE("the process is killed");
  clients_orphaned();
  process_is_dead();
  tio_process_ended(false);
  COUNT(kills);
  sim.troubles++;
  ended();
}

void
process_power_cut(void) {
  bool ran = sim.volume != NULL;

  TRACE("the power is cut");
  if (ran)
    clients_orphaned();
  sim.power_is_failing = true;
  tio_process_ended(true);
  for (unsigned i = 0; i < sim.options.legs; i++) {
    static const unsigned short keep[] = {0, 0, 100, 500, 900, 1000};

    medium_lose_cache(&sim.leg[i], keep[random_below(sizeof keep / sizeof keep[0])]);
  }
  sim.power_is_failing = false;
  oracle_power_cut();
  COUNT(power_cuts);
  sim.troubles++;
  if (ran)
    ended();
}

/* R12: it names no holder, so another host may write there as of now. */
static void
check_clean_stop(void) {
  for (unsigned i = 0; i < sim.options.legs; i++)
    if (tio_writes(i))
      sim_fail("R12: the volume has stopped clean, and leg %u still holds a write of it", i);
}

bool
process_stopped(void) {
  if (!sim.stopping || sim.volume == NULL || !sf_volume_stopped(sim.volume))
    return false;
  if (clients_busy() != 0)
    sim_fail("the volume has stopped and owes %u answers", clients_busy());
  if (inside_is_clean(sim.volume)) {
    COUNT(clean_stops);
    check_clean_stop();
  }
  TRACE("the process ends");
  process_is_dead();
  tio_process_ended(false);
  ended();
  return true;
}

/* ---- events ---- */

void
process_discard(unsigned leg) {
  int r = members_has(leg) ? sf_volume_leg_discard(sim.volume, leg, sim.now_ns) : -ENOENT;

  TRACE("operator: discard leg %u: %d", leg, r);
  if (r == 0 && sim.blank[leg] != SF_BLANK_NEW)
    sim.blank[leg] = SF_BLANK_OWN;
}

static int
empty(unsigned leg) {
  struct sf_superblock sb;
  uint16_t others;
  struct sf_leg_found found;

  sf_volume_get_identity(sim.volume, &sb);
  others = (uint16_t) (((1u << sb.legs) - 1) & ~(1u << leg) & ~sb.removed);
  found_of(leg, false, false, &found);
  if (sim.blank_now[leg] == SF_BLANK_OWN &&
      (found.error != 0 || !sf_uuid_equal(&found.sb.leg_uuid[leg], &sb.leg_uuid[leg]))) {
    TRACE("leg %u: another disk, not discarded", leg);
    return -EEXIST;
  }
  COUNT(discards);
  sb.leg_index = (uint8_t) leg;
  sb.record = (struct sf_record){.term = 1,
                                 .change = 0,
                                 .in_sync = others != 0 ? others : 1,
                                 .min_legs = sim.base.record.min_legs};
  medium_blank(&sim.leg[leg], &sb);
  if (random_chance(500))
    medium_wipe(&sim.leg[leg]);
  return 0;
}

static void
pause_process(void) {
  uint64_t most = sim.options.fail_timeout_ns / 2;
  uint64_t length = random_around(sim.options.pause_ns);

  if (sim.volume == NULL || sim_is_calm() || sim.now_ns < sim.paused_until_ns)
    return;
  COUNT(pauses);
  sim.paused_from_ns = sim.now_ns;
  sim.paused_until_ns = sim.now_ns + (length < most ? length : most);
  TRACE("the process gets no CPU for %lu us",
        (unsigned long) ((sim.paused_until_ns - sim.now_ns) / SIM_US));
}

bool
process_leg_is_out(unsigned leg) {
  return sim.leg_state[leg] == SF_STATE_FAULTY || sim.leg_state[leg] == SF_STATE_MISSING;
}

unsigned
process_leg_to_change(void) {
  unsigned leg = (unsigned) random_below(sim.options.legs);

  for (unsigned i = 0; i < sim.options.legs; i++)
    if (process_leg_is_out(i))
      leg = i;
  return leg;
}

void
process_fail(unsigned leg) {
  int r;

  for (unsigned i = 0; i < sim.options.legs && sim.options.slow_record_permille != 0; i++)
    if (i != leg && random_chance(sim.options.slow_record_permille))
      fault_keeps_record(i);
  r = sf_volume_leg_fail(sim.volume, leg, sim.now_ns);

  TRACE("operator: fail leg %u: %d", leg, r);
}

void
process_return(unsigned leg) {
  int r;

  if (sim.leg_state[leg] == SF_STATE_IN_SYNC && inside_flush_failed(sim.volume))
    oracle_take_note();
  r = sf_volume_leg_return(sim.volume, leg, sim.now_ns);
  TRACE("operator: return leg %u: %d", leg, r);
}

/* Of the storms: a leg that is out comes back at once, so that there are always copies. */
static void
return_all(void) {
  for (unsigned i = 0; i < sim.options.legs; i++)
    if (process_leg_is_out(i) && members_has(i))
      process_return(i);
}

/* The operator sees that requests wait, and takes out a leg that is in the way; the others are well
 * again at that moment. */
void
process_suspended(void) {
  unsigned leg = (unsigned) random_below(sim.options.legs);

  if (sim.suspension_seen == inside_is_suspended(sim.volume))
    return;
  sim.suspension_seen = !sim.suspension_seen;
  if (!sim.suspension_seen || sim_is_calm() || sim.stopping)
    return;
  COUNT(suspensions);
  for (unsigned i = 0; i < sim.options.legs && random_chance(950); i++)
    fault_cure(i);
  if (inside_is_copying(sim.volume) && sim.leg_state[leg] == SF_STATE_IN_SYNC)
    process_fail(leg);
  else
    return_all();
}

static void
operator_acts(void) {
  unsigned leg = (unsigned) random_below(sim.options.legs);

  if (sim.volume == NULL || sim.stopping)
    return;
  sim.troubles++;
  for (unsigned i = 0; i < sim.options.legs && random_chance(500); i++)
    if (sim.leg_state[i] == SF_STATE_FAULTY)
      leg = i;
  bool out = process_leg_is_out(leg);

  if (!members_has(leg))
    return;
  if (sim.options.slow_record_permille != 0 && random_chance(700)) {
    return_all();
  } else if (out && random_chance(500)) {
    replace_mend(leg);
  } else if (out && random_chance(300)) {
    process_discard(leg);
  } else if (sim.leg_state[leg] == SF_STATE_FAULTY || random_chance(300)) {
    process_return(leg);
  } else {
    process_fail(leg);
  }
}

/* A device that is not dead is locked by the one in use. */
static void
on_reopened(unsigned leg) {
  int error = !is_available(leg) ? -ETIMEDOUT : sim.leg[leg].device_dead ? 0 : -EBUSY;
  struct sf_tio_device *device = error == 0 ? tio_open_beside(leg) : NULL;
  struct sf_leg_found found;

  sim.reopening[leg] = false;
  found_of(leg, false, false, &found);
  if (error == 0)
    error = found.error;
  error = sf_volume_leg_opened(sim.volume, leg, device, &found.sb, found.bytes, error,
                               error == 0 ? NULL : strerror(-error), sim.now_ns);
  TRACE("leg %u opened beside its dead device: %d", leg, error);
  if (error != 0)
    return;
  COUNT(reopenings);
  sim.leg[leg].cured_ns = sim.now_ns; /* it has been of use since now */
  tio_take_over(leg);
}

static void
on_opened(unsigned leg, uint32_t life) {
  struct sf_leg_found found;
  int error;

  if (sim.volume == NULL || life != sim.life)
    return;
  sim.opening[leg] = false;
  if (sim.reopening[leg]) {
    on_reopened(leg);
    return;
  }
  error = !is_available(leg) ? -ETIMEDOUT : sim.blank_now[leg] != SF_BLANK_NOT ? empty(leg) : 0;
  if (error == 0)
    grow_leg_opened(leg);
  found_of(leg, false, false, &found);
  if (error == 0)
    error = found.error;
  if (error == 0 || (error == -EEXIST && sim.blank[leg] == SF_BLANK_OWN))
    sim.blank[leg] = SF_BLANK_NOT;
  TRACE("leg %u opened: %d", leg, error);
  if (error == 0 && sim.blank_now[leg] != SF_BLANK_NOT)
    fault_newcomer();
  sf_volume_leg_opened(sim.volume, leg, error == 0 ? tio_open(leg) : NULL, &found.sb, found.bytes,
                       error, error == 0 ? NULL : strerror(-error), sim.now_ns);
}

static void
on_looked(unsigned leg, uint32_t life) {
  uint64_t look = sim.looking[leg].look;

  if (sim.volume == NULL || life != sim.life)
    return;
  sim.looking[leg].look = 0;
  TRACE("leg %u: was looked at, and its disk is %s", leg, sim.looking[leg].gone ? "gone" : "there");
  sf_volume_leg_looked(sim.volume, leg, look, sim.looking[leg].gone, sim.now_ns);
}

static void
again(const struct event *event, uint64_t gap_ns) {
  if (!sim.healing && gap_ns != 0 && event->index != EVENT_ONCE)
    event_add(sim.now_ns + random_around(gap_ns), event->kind, event->index, event->generation);
}

void
process_start_schedules(void) {
  const struct {
    enum event_kind kind;
    uint64_t gap_ns;
  } schedule[] = {
      {EV_KILL, sim.options.kill_gap_ns},         {EV_POWER, sim.options.power_gap_ns},
      {EV_STOP, sim.options.stop_gap_ns},         {EV_PAUSE, sim.options.pause_gap_ns},
      {EV_OPERATOR, sim.options.operator_gap_ns}, {EV_GROW, sim.options.grow_gap_ns},
      {EV_REPLACE, sim.options.replace_gap_ns},   {EV_MEMBERS, sim.options.members_gap_ns}};

  for (unsigned i = 0; i < sizeof schedule / sizeof schedule[0]; i++)
    if (schedule[i].gap_ns != 0)
      event_add(random_around(schedule[i].gap_ns), schedule[i].kind, 0, 0);
}

void
process_event(const struct event *event) {
  switch (event->kind) {
  case EV_TICK:
    if (sim.volume != NULL && event->generation == sim.tick_generation)
      sf_volume_tick(sim.volume, sim.now_ns);
    break;
  case EV_OPENED:
    on_opened(event->index, event->generation);
    break;
  case EV_LOOKED:
    on_looked(event->index, event->generation);
    break;
  case EV_KILL:
    if (!sim_is_calm())
      process_kill();
    again(event, sim.options.kill_gap_ns);
    break;
  case EV_POWER:
    if (!sim_is_calm())
      process_power_cut();
    again(event, sim.options.power_gap_ns);
    break;
  case EV_STOP:
    if (!sim_is_calm() && sim.volume != NULL && !sim.stopping) {
      TRACE("the operator stops the volume");
      COUNT(stops);
      sim.stopping = true;
      sf_volume_stop(sim.volume, sim.now_ns);
    }
    again(event, sim.options.stop_gap_ns);
    break;
  case EV_PAUSE:
    pause_process();
    again(event, sim.options.pause_gap_ns);
    break;
  case EV_START:
    if (sim.volume == NULL && event->generation == sim.life && !process_start())
      event_add(sim.now_ns + random_around(100 * SIM_MS), EV_START, 0, sim.life);
    break;
  case EV_GROW:
    if (!sim_is_calm())
      grow_begin();
    again(event, sim.options.grow_gap_ns);
    break;
  case EV_REPLACE:
    if (!sim_is_calm())
      replace_acts();
    again(event, sim.options.replace_gap_ns);
    break;
  case EV_MEMBERS:
    if (!sim_is_calm())
      members_act();
    again(event, sim.options.members_gap_ns);
    break;
  default:
    if (!sim_is_calm())
      operator_acts();
    again(event, sim.options.operator_gap_ns);
  }
}

/* One run: chaos, then healing, then the final questions. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sim/main.h"
#include "sim/sim.h"

enum {
  HEAL_POLL_MS = 200,
  HEAL_S = 240,
  IDLE_S = 30,
  GROWTH_EXTENTS = 3,
  ALIKE_STEPS = 64,        /* all blocks of all legs are compared: one step in so many */
  ALIKE_STEPS_BUSY = 4096, /* of a larger volume, where much is under way */
};

struct sim sim;

/* ---- telling ---- */

void
sim_trace(const char *format, ...) {
  va_list args;

  fprintf(sim.trace, "%12.6f ", (double) sim.now_ns / 1e6);
  va_start(args, format);
  vfprintf(sim.trace, format, args);
  va_end(args);
  fputc('\n', sim.trace);
}

void
sim_fail(const char *format, ...) {
  va_list args;

  va_start(args, format);
  vsnprintf(worker->message, sizeof worker->message, format, args);
  va_end(args);
  TRACE("FAILED: %s", worker->message);
  if (sim.trace != NULL)
    fflush(sim.trace);
  _exit(SIM_EXIT_FAILED);
}

/* ---- setting up ---- */

#define GARBAGE UINT32_C(0x3fffffff) /* a stamp that no write has */

static void
number_uuid(struct sf_uuid *uuid, unsigned n) {
  memset(uuid, 0, sizeof *uuid);
  uuid->bytes[0] = 0x5f;
  uuid->bytes[15] = (uint8_t) n;
}

static void
make_config(void) {
  const struct options *o = &sim.options;
  struct sf_config *c = &sim.config;
  char error[SF_CONFIG_ERROR_MAX];

  sf_config_init(c);
  strcpy(c->name, "sim");
  c->legs = o->legs;
  c->min_legs = o->min_legs;
  c->on_too_few = o->suspend ? SF_TOO_FEW_SUSPEND : SF_TOO_FEW_ERROR;
  c->fail_timeout_ns = o->fail_timeout_ns;
  c->max_read_errors = o->max_read_errors;
  c->intent_delay_ns = o->intent_delay_ns;
  c->hot_extents = o->hot_extents;
  if (o->resync_rate != 0)
    c->resync_min_rate = c->resync_max_rate = o->resync_rate;
  for (unsigned k = 0; k < SF_KINDS; k++)
    c->deadline_ns[k] = sim_with_grace(o->deadline_ns[k]);
  for (unsigned i = 0; i < o->legs; i++) {
    snprintf(c->leg[i].name, sizeof c->leg[i].name, "%c", 'a' + (char) i);
    snprintf(c->leg[i].path, sizeof c->leg[i].path, "/sim/%c", 'a' + (char) i);
    for (unsigned k = 0; k < SF_KINDS; k++)
      c->leg[i].timeout_ns[k] = sim_with_grace(o->leg_timeout_ns[i]);
  }
  sim_fit_fail_timeout(c);
  if (sf_config_complete(c, error) != 0)
    sim_fail("config: %s", error);
}

/* It lacks all, as the others know: it is to be copied whole. */
static int
stale_leg(void) {
  return sim.options.is_busy ? sim.options.busy.stale_leg : -1;
}

/* By a stream of its own; all legs the same. */
static bool
is_unwritten(uint64_t extent) {
  uint64_t stream = random_stream(extent);

  return extent * sim.extent_blocks < sim.blocks &&
         random_of(&stream) % 1000 < sim.options.unwritten_permille;
}

static void
format_maps(const struct sf_superblock *sb, struct sim_leg *leg) {
  for (uint32_t p = 0; p < sf_map_pages(sb->data_bytes, sb->extent_bytes); p++) {
    struct sf_map_page page = {.volume = sb->volume, .page = p};

    if (stale_leg() >= 0)
      for (uint64_t e = 0; e < SF_MAP_EXTENTS; e++)
        if (((uint64_t) p * SF_MAP_EXTENTS + e) * sb->extent_bytes < sb->data_bytes)
          page.stale[stale_leg()][e / 8] |= (uint8_t) (1u << e % 8);
    for (unsigned k = 0; k < SF_MAP_EXTENTS; k++)
      if (is_unwritten((uint64_t) p * SF_MAP_EXTENTS + k))
        page.unwritten[k / 8] |= (uint8_t) (1u << k % 8);
    sf_map_page_encode(&page, leg->meta_now + SF_MAP_PAGE_OFFSET(p));
    sf_map_page_encode(&page, leg->meta_now + SECOND_AT + p * SF_PAGE_BYTES);
  }
}

/* What stood on the disk before. */
static void
fill_with_garbage(struct sim_leg *leg) {
  for (uint64_t b = 0; b < sim.blocks; b++)
    if (is_unwritten(b / sim.extent_blocks))
      leg->now[b] = leg->stable[b] = GARBAGE;
}

/* Volumes from before there were marks get theirs while they run. */
static void
format_mark(const struct sf_superblock *sb, struct sim_leg *leg) {
  struct sf_mark mark;

  if (sim.seed % 2 == 0)
    return;
  sf_mark_of(sb, &mark);
  sf_mark_encode(&mark, leg->meta_now + MAPS_END);
}

static void
format_legs(void) {
  unsigned in_sync = (1u << sim.options.legs_formatted) - 1;
  struct sf_superblock *sb = &sim.format;

  *sb = (struct sf_superblock){.legs = (uint8_t) sim.options.legs_formatted,
                               .data_offset = sim.data_offset,
                               .data_bytes = sim.blocks * BLOCK,
                               .extent_bytes = sim.options.extent_bytes,
                               .unwritten = sim.options.unwritten_permille > 0,
                               .claim = 1};
  number_uuid(&sb->volume, 200);
  number_uuid(&sb->lineage, 201);
  strcpy(sb->volume_name, "sim");
  for (unsigned i = 0; i < sb->legs; i++) {
    number_uuid(&sb->leg_uuid[i], i + 1);
    sim.uuid_promised[i] = sim.uuid_asked[i] = sb->leg_uuid[i];
    strcpy(sb->leg_name[i], sim.config.leg[i].name);
  }
  sim.lineage = sb->lineage;
  if (stale_leg() >= 0)
    in_sync &= ~(1u << stale_leg());
  members_init();
  sb->record = (struct sf_record){.term = 1,
                                  .change = 1,
                                  .in_sync = (uint16_t) in_sync,
                                  .min_legs = (uint8_t) sim.options.min_legs,
                                  .clean = true};
  for (unsigned i = 0; i < sim.options.legs; i++) {
    struct sim_leg *leg = &sim.leg[i];

    medium_init(leg, i);
    if (i >= sb->legs)
      continue; /* an empty disk */
    sb->leg_index = (uint8_t) i;
    for (sb->serial = 1; sb->serial <= SF_SUPERBLOCK_COPIES; sb->serial++)
      sf_superblock_encode(sb,
                           leg->meta_now + SF_SUPERBLOCK_OFFSET(sb->serial % SF_SUPERBLOCK_COPIES));
    format_maps(sb, leg);
    format_mark(sb, leg);
    memcpy(leg->meta_stable, leg->meta_now, META_BYTES);
    fill_with_garbage(leg);
  }
}

/* Do the slowest draws of a healthy world stay within the shortest timeout? */
static bool
latencies_are_short(void) {
  uint64_t shortest = SIM_NEVER;

  for (unsigned k = 0; k < SF_KINDS; k++)
    for (unsigned i = 0; i < sim.options.legs; i++) {
      uint64_t timeout =
          sim_without_grace(sf_config_timeout_range(&sim.config, i, (enum sf_kind) k).least_ns);

      if (timeout < shortest)
        shortest = timeout;
    }
  for (unsigned i = 0; i < sim.options.legs; i++)
    if (sim.options.latency_ns[i] * 3 * 18 > shortest)
      return false;
  return true;
}

void
sim_settings_changed(void) {
  sim.latencies_are_short = latencies_are_short();
  for (unsigned i = 0; i < sim.options.clients; i++)
    sim.client[i].timely = false;
}

static void
setup(uint64_t seed, uint64_t ops_most, FILE *trace) {
  sim = (struct sim){
      .seed = seed, .random = seed * UINT64_C(0xd1342543de82ef95) + 1, .trace = trace, .life = 1};
  swarm_draw(seed, &sim.options);
  if (sim.options.ops > ops_most)
    sim.options.ops = ops_most;
  sim.blocks = (uint64_t) sim.options.megabytes * 1024 * 1024 / BLOCK;
  sim.blocks -= sim.options.short_blocks; /* the last extent may be shorter */
  if (sim.blocks * BLOCK < SF_VOLUME_BYTES_MIN)
    sim.blocks = SF_VOLUME_BYTES_MIN / BLOCK;
  sim.blocks_formatted = sim.blocks_promised = sim.blocks_known = sim.blocks_room = sim.blocks;
  if (sim.options.grow_gap_ns != 0)
    sim.blocks_room += (uint64_t) GROWTH_EXTENTS * SF_EXTENT_BYTES_DEFAULT / BLOCK;
  sim.extent_blocks = sim.options.extent_bytes / BLOCK;
  sim.extent_shift = (unsigned) __builtin_ctzll(sim.extent_blocks);
  sim.data_offset = SF_DATA_OFFSET;
  events_reset();
  make_config();
  sim.latencies_are_short = !sim.options.is_busy && latencies_are_short();
  format_legs();
  tio_init();
  torn_start();
  late_start();
  oracle_init();
  for (unsigned i = 0; i < sim.options.legs; i++)
    medium_maps_moved(&sim.leg[i]);
  sim.recorded = calloc(sim.blocks_room, 1);
  if (sim.recorded == NULL)
    abort();
  trust_reset();
}

static void
teardown(void) {
  if (sim.volume != NULL) {
    clients_orphaned();
    inside_destroy(sim.volume);
    sim.volume = NULL;
  }
  tio_free();
  oracle_free();
  free(sim.recorded);
  for (unsigned i = 0; i < sim.options.legs; i++)
    medium_free(&sim.leg[i]);
  replace_free();
}

/* ---- healing ---- */

static void
heal_disk(struct sim_leg *disk) {
  medium_mend(disk);
  medium_give_head_back(disk);
}

static void
begin_healing(void) {
  TRACE("---- everything heals");
  sim.healing = true;
  drill_heal();
  silent_heals();
  lull_is_over();
  sim.healing_since_ns = sim.now_ns;
  for (unsigned i = 0; i < sim.options.legs; i++) {
    fault_cure(i);
    heal_disk(&sim.leg[i]);
    if (sim.has_other_disk[i]) /* it may be the leg's own, and named next */
      heal_disk(&sim.other_disk[i]);
  }
  event_add(sim.now_ns + HEAL_POLL_MS * SIM_MS, EV_HEAL, 0, 0);
}

static void
final_questions(void) {
  for (unsigned i = 0; i < sim.options.legs; i++) {
    struct sim_leg *leg = &sim.leg[i];
    char text[1024];

    if (oracle_has_bad(leg, false, inside_bad(sim.volume))) {
      oracle_explain((uint64_t) oracle_bad_block(leg, false, inside_bad(sim.volume)), text,
                     sizeof text);
      sim_fail("healed, and leg %u lacks an answered write: %s", i, text);
    }
    for (uint64_t b = 0; b < sim.blocks; b++)
      if (medium_value(leg, b, false) != medium_value(&sim.leg[0], b, false) &&
          !bad_is_in(inside_bad(sim.volume), b)) {
        oracle_explain(b, text, sizeof text);
        sim_fail("healed, and legs 0 and %u differ: %s", i, text);
      }
  }
}

static bool
is_healed(void) {
  if (sim.volume == NULL || sim.stopping || clients_busy() != 0 || !inside_is_settled(sim.volume))
    return false;
  for (unsigned i = 0; i < sim.options.legs; i++)
    if (sim.leg_state[i] != SF_STATE_IN_SYNC || sim.leg[i].regions >= 0)
      return false;
  return true;
}

/* What no leg has after a failed flush stays lost until the operator takes note. */
static bool
waits_for_note(unsigned leg) {
  return sim.now_ns > sim.healing_since_ns + 10 * SIM_S && inside_flush_failed(sim.volume) &&
         sim.leg_state[leg] == SF_STATE_IN_SYNC;
}

static void
heal_leg(unsigned leg) {
  struct sf_leg_found found;
  bool out = process_leg_is_out(leg);

  if (!members_has(leg)) {
    members_add();
    return;
  }
  if (out && replace_mend(leg))
    return;
  found_of(leg, false, false, &found);
  if (out && found.error != 0)
    replace_begin(leg);
  else if (sim.was_forced && sim.leg_state[leg] == SF_STATE_FAULTY && !force_is_of_line(&found))
    process_discard(leg);
  else if (sim.leg_state[leg] == SF_STATE_FAULTY || waits_for_note(leg))
    process_return(leg);
}

/* True: done. */
static bool
heal_poll(void) {
  if (is_healed())
    return true;
  if (sim.volume != NULL && !sim.stopping) {
    for (unsigned i = 0; i < sim.options.legs; i++)
      heal_leg(i);
    if (sim.now_ns > sim.healing_since_ns + 10 * SIM_S && inside_is_stuck(sim.volume)) {
      TRACE("stuck: only a new process can help");
      process_kill();
    }
  }
  if (sim.volume == NULL && sim.now_ns > sim.healing_since_ns + HEAL_S / 2 * SIM_S)
    sim_fail("all legs are well, and no start is allowed");
  if (sim.now_ns > sim.healing_since_ns + HEAL_S * SIM_S) {
    char text[1024] = "";

    if (sim.volume != NULL)
      inside_describe(sim.volume, text, sizeof text);
    sim_fail("not healed in %u s: %u requests unanswered; %s", HEAL_S, clients_busy(), text);
  }
  event_add(sim.now_ns + HEAL_POLL_MS * SIM_MS, EV_HEAL, 0, 0);
  return false;
}

/* ---- the loop ---- */

/* A process that gets no CPU acts when it gets some again; and what timed_io counts as its own
 * delay is added to a timeout that fell into it (R3). */
static bool
is_put_off(const struct event *event) {
  uint64_t at = sim.paused_until_ns;

  if (sim.now_ns >= sim.paused_until_ns)
    return false;
  switch (event->kind) {
  case EV_TIMEOUT:
    at += sim.now_ns - sim.paused_from_ns + SIM_MS;
    break;
  case EV_TELL: /* the thread that finds it may be the last to run */
  case EV_CANCELED:
    at += random_below(SIM_MS);
    break;
  case EV_TICK:
  case EV_OPENED:
  case EV_LOOKED:
  case EV_CLIENT:
  case EV_STOP:
  case EV_OPERATOR:
  case EV_MEMBERS:
    break;
  default:
    return false;
  }
  event_add(at, event->kind, event->index, event->generation);
  return true;
}

static bool
dispatch(const struct event *event) {
  if (is_put_off(event))
    return false;
  switch (event->kind) {
  case EV_FINISH:
  case EV_TIMEOUT:
  case EV_TELL:
  case EV_CANCELED:
  case EV_LANDING:
    tio_event(event);
    break;
  case EV_CLIENT:
    client_event(event->index);
    break;
  case EV_FAULT:
    fault_strike(event->index == EVENT_ONCE);
    break;
  case EV_CURE:
    if (event->generation == sim.leg[event->index].cure)
      fault_cure(event->index);
    break;
  case EV_RESET:
    fault_reset(event->index, event->generation);
    break;
  case EV_LULL:
  case EV_LULL_POLL:
    lull_event(event);
    break;
  case EV_SETTINGS:
    settings_event();
    break;
  case EV_SCRUB:
  case EV_ROT:
    scrub_event(event);
    break;
  case EV_DRILL:
    drill_event();
    break;
  case EV_SILENT:
    silent_event();
    break;
  case EV_SERVICE:
  case EV_BUSY_PAUSE:
  case EV_BUSY_POLL:
    busy_event(event);
    break;
  case EV_HEAL:
    return heal_poll();
  default:
    process_event(event);
  }
  return false;
}

void
sim_run(uint64_t seed, uint64_t ops_most, FILE *trace) {
  struct event event;
  unsigned alike_steps;
  bool done = false;

  setup(seed, ops_most, trace);
  alike_steps = sim.options.is_busy ? ALIKE_STEPS_BUSY : ALIKE_STEPS;
  worker->ops_in_run = 0;
  event_add(0, EV_START, 0, sim.life);
  clients_start();
  faults_start();
  process_start_schedules();
  lull_start();
  settings_start();
  scrub_start();
  drill_start();
  silent_start();
  busy_start();
  while (!done && event_next(&event)) {
    sim.now_ns = event.at_ns;
    sim.steps++;
    done = dispatch(&event);
    if (sim.grown && sim.volume != NULL)
      grow_ended();
    sim.grown = false;
    process_stopped();
    if (sim.volume != NULL && sim.options.slow_record_permille != 0)
      process_suspended();
    if (sim.volume != NULL) {
      inside_check_states(sim.volume);
      bad_step();
    }
    if (sim.volume != NULL && sim.steps % alike_steps == 0)
      inside_check_alike(sim.volume);
    scrub_check();
    trust_check();
    worker->ops_in_run = sim.ops_begun;
    if (!sim.healing &&
        ((sim.ops_begun >= sim.options.ops && clients_busy() == 0 && !sim.stopping) ||
         (!sim.lull && sim.now_ns > sim.answered_ns + IDLE_S * SIM_S)))
      begin_healing();
  }
  if (!done)
    sim_fail("nothing happens any more");
  final_questions();
  shared_add(&shared->ops, sim.ops_begun);
  coverage_publish();
  teardown();
}

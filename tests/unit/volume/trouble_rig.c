#include "trouble_rig.h"

struct rig rig;
int error_of_all;
unsigned failing;
uint64_t takes_ms[RIG_LEGS];

static const enum sf_request_kind kinds[KINDS] = {SF_REQ_READ, SF_REQ_WRITE, SF_REQ_FLUSH};

int
fails_as_told(const struct rig *r, const struct rig_region *region) {
  return failing >> region->leg & 1 ? error_of_all : 0;
}

bool
takes_its_time(const struct rig *r, const struct rig_region *region) {
  return r->now_ns - region->since_ns < takes_ms[region->leg] * SF_MS;
}

void
trouble_rig_init(unsigned legs, enum sf_on_too_few on_too_few) {
  rig_init(&rig, legs, 1, 65536, 64);
  rig.config.on_too_few = on_too_few;
  rig.config.fail_timeout_ns = 3 * SF_S;
  rig.config.intent_delay_ns = 600 * SF_S;
  rig.fails = fails_as_told;
  failing = 0;
  rig_start_fully(&rig);
  for (unsigned i = 0; i < RIG_LEGS; i++)
    takes_ms[i] = 1;
  rig.holds = takes_its_time;
}

void
submit_all(struct rig_request request[KINDS]) {
  for (unsigned i = 0; i < KINDS; i++)
    rig_submit(&rig, &request[i], kinds[i], kinds[i] == SF_REQ_READ ? 65536 : 0,
               kinds[i] == SF_REQ_FLUSH ? 0 : 4096, 1);
}

void
put_all(struct rig_request request[KINDS]) {
  for (unsigned i = 0; i < KINDS; i++)
    rig_put(&request[i]);
}

#include "flush_rig.h"

#include <errno.h>
#include <string.h>

#include "volume/ground/fault.h"

struct rig rig;
struct flush_fault fault;
bool holding;

static bool
carries_it(const struct rig *r, const struct rig_region *region) {
  bool fua = region->flags & SF_TIO_FUA;

  switch (fault.carrier) {
  case FLUSH_COMMAND:
    return region->op == SF_TIO_FLUSH;
  case MAP_PAGE:
    return fua && rig_is_map(region);
  case FUA_DATA:
    return fua && rig_is_data(r, region);
  default:
    return fua || region->op == SF_TIO_FLUSH;
  }
}

int
next_flush_fails(const struct rig *r, const struct rig_region *region) {
  if (!(fault.legs >> region->leg & 1) || !carries_it(r, region))
    return 0;
  fault.legs &= ~(1u << region->leg);
  if (fault.drops)
    memset(block_on(region->leg, 0), 1, BLOCK);
  return fault.error;
}

void
flush_rig_init(unsigned legs, unsigned min_legs, enum sf_on_too_few on_too_few) {
  rig_init(&rig, legs, min_legs, EXTENT, 64);
  rig.config.on_too_few = on_too_few;
  rig.config.intent_delay_ns = 600 * SF_S;
  rig.fails = next_flush_fails;
  fault = (struct flush_fault){.error = -EIO};
  rig_start_fully(&rig);
}

int
ask(enum sf_request_kind kind, uint64_t offset, uint8_t fill) {
  struct rig_request request;
  int error;

  rig_submit(&rig, &request, kind, offset, kind == SF_REQ_FLUSH ? 0 : BLOCK, fill);
  rig_pass(&rig, 400);
  error = request.done ? request.request.error : 1;
  if (!request.done)
    sf_volume_give_up(rig.volume, &request.request, rig.now_ns);
  rig_put(&request);
  return error;
}

int
ask_fua(uint64_t offset, uint8_t fill) {
  int error;

  rig.fua = true;
  error = ask(SF_REQ_WRITE, offset, fill);
  rig.fua = false;
  return error;
}

int
write_at(uint64_t offset, uint8_t fill) {
  return ask(SF_REQ_WRITE, offset, fill);
}

int
flush(void) {
  return ask(SF_REQ_FLUSH, 0, 0);
}

uint8_t
read_at(uint64_t offset) {
  struct rig_request read;
  uint8_t byte;

  rig_submit(&rig, &read, SF_REQ_READ, offset, BLOCK, 0);
  rig_pass(&rig, 400);
  assert_true(read.done);
  assert_int_equal(read.request.error, 0);
  byte = ((uint8_t *) read.request.buffer->data)[0];
  rig_put(&read);
  return byte;
}

uint8_t *
block_on(unsigned leg, uint64_t offset) {
  return rig.leg[leg] + SF_DATA_OFFSET + offset;
}

bool
holds_fua_of_leg_0(const struct rig *r, const struct rig_region *region) {
  return holding && region->leg == 0 && (region->flags & SF_TIO_FUA) && rig_is_data(r, region);
}

void
submit_fua_held(struct rig_request *fua, uint64_t offset, uint8_t fill) {
  holding = true;
  rig.holds = holds_fua_of_leg_0;
  rig.fua = true;
  rig_submit(&rig, fua, SF_REQ_WRITE, offset, BLOCK, fill);
  rig.fua = false;
}

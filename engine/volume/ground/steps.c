/* What takes several turns goes on in steps, and only so: a step that cannot follow the last one is
 * a bug in the program and ends it. */
#include "volume/ground/steps.h"

/* A stop before the first record is durable is at once, and so is the end of a volume that was
 * taken over. */
static const struct sf_state_table phase_table = {
    .machine = "phase",
    .states = PHASES,
    .name = {"claiming", "recording", "serving", "stopping", "stopped"},
    .moves =
        {
            [PHASE_CLAIMING] = SF_MOVE_TO(PHASE_RECORDING) | SF_MOVE_TO(PHASE_STOPPED),
            [PHASE_RECORDING] = SF_MOVE_TO(PHASE_SERVING) | SF_MOVE_TO(PHASE_STOPPED),
            [PHASE_SERVING] = SF_MOVE_TO(PHASE_STOPPING) | SF_MOVE_TO(PHASE_STOPPED),
            [PHASE_STOPPING] = SF_MOVE_TO(PHASE_STOPPED),
        },
};

/* A join may be called off at any step, also by a caller that does not know whether one is under
 * way. */
static const struct sf_state_table join_table = {
    .machine = "join",
    .states = JOIN_STEPS,
    .name = {"none", "carry", "drain", "flush", "record"},
    .moves =
        {
            [JOIN_NONE] = SF_MOVE_TO(JOIN_NONE) | SF_MOVE_TO(JOIN_CARRY),
            [JOIN_CARRY] = SF_MOVE_TO(JOIN_NONE) | SF_MOVE_TO(JOIN_DRAIN),
            [JOIN_DRAIN] = SF_MOVE_TO(JOIN_NONE) | SF_MOVE_TO(JOIN_FLUSH),
            [JOIN_FLUSH] = SF_MOVE_TO(JOIN_NONE) | SF_MOVE_TO(JOIN_RECORD),
            [JOIN_RECORD] = SF_MOVE_TO(JOIN_NONE),
        },
};

/* A leg that misses the clean record is taken out by a record that is not clean, and the clean one
 * is written again. */
static const struct sf_state_table stop_table = {
    .machine = "stop",
    .states = STOP_STEPS,
    .name = {"none", "drain", "flush", "maps", "record"},
    .moves =
        {
            [STOP_NONE] = SF_MOVE_TO(STOP_DRAIN),
            [STOP_DRAIN] = SF_MOVE_TO(STOP_FLUSH),
            [STOP_FLUSH] = SF_MOVE_TO(STOP_MAPS),
            [STOP_MAPS] = SF_MOVE_TO(STOP_RECORD),
            [STOP_RECORD] = SF_MOVE_TO(STOP_RECORD),
        },
};

static const struct sf_state_table grow_table = {
    .machine = "grow",
    .states = GROW_STEPS,
    .name = {"none", "wait", "pages", "record"},
    .moves =
        {
            [GROW_NONE] = SF_MOVE_TO(GROW_WAIT),
            [GROW_WAIT] = SF_MOVE_TO(GROW_PAGES) | SF_MOVE_TO(GROW_NONE),
            [GROW_PAGES] = SF_MOVE_TO(GROW_RECORD) | SF_MOVE_TO(GROW_NONE),
            [GROW_RECORD] = SF_MOVE_TO(GROW_NONE),
        },
};

/* An op to be sent again is sent before it can be found to lack its intent. */
static const struct sf_state_table hold_table = {
    .machine = "hold",
    .states = HOLDS,
    .name = {"not", "intent", "again"},
    .moves =
        {
            [HOLD_NOT] = SF_MOVE_TO(HOLD_NOT) | SF_MOVE_TO(HOLD_INTENT) | SF_MOVE_TO(HOLD_AGAIN),
            [HOLD_INTENT] = SF_MOVE_TO(HOLD_INTENT) | SF_MOVE_TO(HOLD_NOT) | SF_MOVE_TO(HOLD_AGAIN),
            [HOLD_AGAIN] = SF_MOVE_TO(HOLD_AGAIN) | SF_MOVE_TO(HOLD_NOT),
        },
};

_Static_assert(PHASES <= SF_STATES_MAX && JOIN_STEPS <= SF_STATES_MAX &&
                   STOP_STEPS <= SF_STATES_MAX && GROW_STEPS <= SF_STATES_MAX,
               "the steps fit a table");

void
sf_phase_move(struct sf_volume *v, enum phase to) {
  sf_state_check(&phase_table, 0, v->phase, to);
  v->phase = to;
}

void
sf_join_move(struct sf_volume *v, enum join_step to) {
  sf_state_check(&join_table, 0, v->join_step, to);
  v->join_step = to;
}

void
sf_stop_move(struct sf_volume *v, enum stop_step to) {
  sf_state_check(&stop_table, 0, v->stop_step, to);
  v->stop_step = to;
}

void
sf_grow_move(struct sf_volume *v, enum grow_step to) {
  sf_state_check(&grow_table, 0, v->grow.step, to);
  v->grow.step = to;
}

void
sf_op_hold(struct sf_op *op, enum sf_op_hold to) {
  sf_state_check(&hold_table, op->machine.id, op->hold, to);
  op->hold = to;
}

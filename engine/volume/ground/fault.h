/* Of fault.c.  Called with volume->lock held. */
#ifndef SF_VOLUME_FAULT_H
#define SF_VOLUME_FAULT_H

#include "volume/state.h"

enum fault { FAULT_OURS, FAULT_TIME, FAULT_PATH, FAULT_GONE, FAULT_ROOM, FAULT_MEDIUM };
enum fault sf_fault_of(int error);
bool sf_fault_passes(int error); /* by itself, or by waiting */
enum sf_leg_state sf_leg_state_for(int error);

#endif

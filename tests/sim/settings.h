/* Live settings (settings.c).  A part of sim.h. */
#ifndef SIM_SETTINGS_H
#define SIM_SETTINGS_H

void settings_start(void);
void settings_event(void);
void settings_before_start(void);

/* What the options and the checks call a deadline has no grace (R4), as a leg is judged against
 * that; what is set has it. */
uint64_t sim_with_grace(uint64_t timeout_ns);
uint64_t sim_without_grace(uint64_t deadline_ns);
void sim_fit_fail_timeout(struct sf_config *config); /* no deadline is longer */

#endif

/* Busy runs (busy.c, busy_check.c): no faults, and as much work as the legs can do.  A part of
 * sim.h. */
#ifndef SIM_BUSY_H
#define SIM_BUSY_H

/* ---- busy.c ---- */

void busy_switch(bool on);
bool busy_is_on(void);
void busy_draw(uint64_t seed, struct options *options);
void busy_print(const struct options *options, FILE *to);
void busy_start(void);
void busy_event(const struct event *event);
enum sf_request_kind busy_draw_request(uint64_t *first, unsigned *n, bool *fua);

/* ---- busy_check.c ---- */

void check_init(void);
void check_begun(void); /* a client's request */
void check_answered(const struct client *client);
void check_frozen(unsigned leg);
uint64_t check_leaves_within(const struct options *options);
void check_volume_moved(const char *to);
void check_leg_moved(unsigned leg, enum sf_leg_state from, enum sf_leg_state to,
                     const char *reason);
void check_poll(void);
void check_stall(uint64_t ns); /* of all legs together, for longer than a timeout */

#endif

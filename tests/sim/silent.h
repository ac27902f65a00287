/* Legs that fall silent for ever: silent.c. */
#ifndef SIM_SILENT_H
#define SIM_SILENT_H

#include <stdbool.h>
#include <stdint.h>

enum { SILENT_LEAVINGS = 3 }; /* seeds that this divides */

struct silent {
  int leg;            /* -1: none */
  int newcomer;       /* it is to hang for a while; -1: none */
  bool at_promotions; /* and at no other moment */
  bool at_leavings;   /* the same: before the record of another one's leaving is on it */
  bool calm;          /* nothing else befalls any leg */
  bool relapsed;      /* a newcomer has hung in its promotion, or a leg has left just before */
  bool grows, adds;   /* the operator is to do so meanwhile */
  uint64_t since_ns, left_ns, well_ns, down_ns, random;
};

void silent_start(void);
void silent_event(void);
void silent_promotion(unsigned newcomer); /* its record is on its way */
/* It is written to that leg, and names these. */
void silent_record(unsigned leg, unsigned in_sync);
void silent_heals(void);

#endif

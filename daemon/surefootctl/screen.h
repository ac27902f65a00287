/* A terminal that is drawn anew each second: the other screen, keys as they are pressed, its size
 * now. */
#ifndef SUREFOOTCTL_SCREEN_H
#define SUREFOOTCTL_SCREEN_H

#include <stdbool.h>

enum { SCREEN_ENDED = -1, SCREEN_NONE = 0, SCREEN_RESIZED = 1 };

/* False: stdin and stdout are no terminal. */
bool ctl_screen_open(void);
void ctl_screen_close(void);
/* 24 and 80 where it is not known. */
void ctl_screen_size(unsigned *lines, unsigned *columns);
/* Waits for a key; or SCREEN_NONE when the time is over, SCREEN_RESIZED, SCREEN_ENDED by a
 * signal. */
int ctl_screen_wait(int timeout_ms);

#endif

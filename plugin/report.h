/* Where the volume's messages go: state changes to stderr, traces to nbdkit's debug output. */
#ifndef SF_PLUGIN_REPORT_H
#define SF_PLUGIN_REPORT_H

#include <stdbool.h>

/* Before any message: the name that each line begins with. */
void sf_report_volume(const char *name);

/* One line on stderr, "surefoot: VOLUME: LINE", by one write.  Never blocks: with a reader of
 * stderr that has stopped reading, the line is dropped rather than the volume held up. */
void sf_report_log(void *ctx, const char *line);

/* `nbdkit -D surefoot.events=0`: surefootd reads the events from the control socket. */
bool sf_report_events(void);

/* `nbdkit -v -D surefoot.trace=1` */
bool sf_report_tracing(void);
void sf_report_trace(void *ctx, const char *line);

#endif

/* The few nbdkit functions that the plugin's own files call, for tests without a server. */
#ifndef SF_TESTS_PLUGIN_STUBS_H
#define SF_TESTS_PLUGIN_STUBS_H

/* What nbdkit_error() said last, "" if nothing since. */
extern char stub_error[1024];

#endif

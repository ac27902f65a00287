/* One line of the control socket into a request: a pure function of bytes, no I/O and no state.
 * What is not understood whole is refused whole, with one line that says why. */
#ifndef SF_CONTROL_PROTOCOL_H
#define SF_CONTROL_PROTOCOL_H

#include <stdbool.h>
#include <stddef.h>

#include <surefoot/control.h>

enum sf_control_command {
  SF_COMMAND_STATUS,
  SF_COMMAND_EVENTS,
  SF_COMMAND_SET,
  SF_COMMAND_LEG,
  SF_COMMAND_GROW,
  SF_COMMAND_STOP,    /* a volume's socket */
  SF_COMMAND_RELOAD,  /* surefootd's */
  SF_COMMAND_RESTART, /* surefootd's */
};

/* The strings live in the document: valid until sf_control_request_clear. */
struct sf_control_request {
  enum sf_control_command command;
  const char *volume; /* NULL: not said */
  bool follow;        /* events */
  bool dry_run;       /* reload */
  const char *key;    /* set */
  const char *value;  /* set */
  const char *action; /* leg: "fail", "return", "discard", "replace", "add" or "remove" */
  const char *leg;    /* leg */
  const char *path;   /* leg: replace, add; NULL: not said */
  const char *size;   /* grow; NULL: not said */
  json_t *document;
};

/* bytes: a line without its newline, any bytes at all.  volume_name: the one that is served;
 * NULL: surefootd, which serves many.   * -EINVAL with error, -ENOMEM with error; *request is untouched then. */
int sf_control_parse(const char *bytes, size_t len, const char *volume_name,
                     struct sf_control_request *request, char error[SF_CONFIG_ERROR_MAX]);
void sf_control_request_clear(struct sf_control_request *request);

/* {"ok":false,"error":...}; cleans the text. */
json_t *sf_control_error_reply(const char *error);

#endif

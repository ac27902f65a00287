/* Control messages that are wrong, each with the error that the operator is told. */
#ifndef BROKEN_LINES_H
#define BROKEN_LINES_H

#include <stddef.h>

#define LINE(text) text, sizeof text - 1
#define V1         "{\"version\":1,"

static const struct broken_line {
  const char *what;
  const char *bytes;
  size_t len;
  const char *error;
} broken_lines[] = {
    {"nothing", LINE(""), "the request is empty"},
    {"blanks", LINE("  \t\r"), "the request is empty"},
    {"not JSON", LINE("status"), "not a JSON object: '[' or '{' expected near 'status' at byte 6"},
    {"a shell user", LINE("GET / HTTP/1.1\r"),
     "not a JSON object: '[' or '{' expected near 'GET' at byte 3"},
    {"a number", LINE("42"), "not a JSON object: '[' or '{' expected near '42' at byte 2"},
    {"an array", LINE("[1,2]"), "a request is one JSON object"},
    {"an empty object", LINE("{}"), "\"version\" is missing: this is version 1"},
    {"half an object", LINE("{\"version\":1"),
     "not a JSON object: '}' expected near end of file at byte 12"},
    {"no version", LINE("{\"command\":\"status\"}"), "\"version\" is missing: this is version 1"},
    {"a later version", LINE("{\"version\":2,\"command\":\"status\"}"),
     "version 2 is not understood: this is version 1"},
    {"a version as text", LINE("{\"version\":\"1\",\"command\":\"status\"}"),
     "\"version\" must be a whole number"},
    {"a version as a fraction", LINE("{\"version\":1.0,\"command\":\"status\"}"),
     "\"version\" must be a whole number"},
    {"no command", LINE("{\"version\":1}"),
     "\"command\" is missing: status, events, set, leg, grow, scrub, drill or stop"},
    {"a command of the wrong type", LINE(V1 "\"command\":[\"status\"]}"),
     "\"command\" must be text"},
    {"an unknown command", LINE(V1 "\"command\":\"format\"}"),
     "unknown command \"format\": status, events, set, leg, grow, scrub, drill or stop"},
    {"a command in capitals", LINE(V1 "\"command\":\"STATUS\"}"),
     "unknown command \"STATUS\": status, events, set, leg, grow, scrub, drill or stop"},
    {"an unknown key", LINE(V1 "\"command\":\"status\",\"verbose\":true}"),
     "unknown key \"verbose\" in a status request"},
    {"a key of another command", LINE(V1 "\"command\":\"status\",\"follow\":true}"),
     "unknown key \"follow\" in a status request"},
    {"a key twice", LINE(V1 "\"command\":\"status\",\"command\":\"leg\"}"),
     "not a JSON object: duplicate object key near '\"command\"' at byte 41"},
    {"another volume", LINE(V1 "\"command\":\"status\",\"volume\":\"vol1\"}"),
     "this socket serves volume \"vol0\", not \"vol1\""},
    {"a volume of the wrong type", LINE(V1 "\"command\":\"status\",\"volume\":null}"),
     "\"volume\" must be text"},
    {"follow of the wrong type", LINE(V1 "\"command\":\"events\",\"follow\":1}"),
     "\"follow\" must be true or false"},
    {"set without a key", LINE(V1 "\"command\":\"set\",\"value\":\"1s\"}"),
     "\"key\" is missing in a set request"},
    {"set without a value", LINE(V1 "\"command\":\"set\",\"key\":\"min_legs\"}"),
     "\"value\" is missing in a set request"},
    {"a value of the wrong type",
     LINE(V1 "\"command\":\"set\",\"key\":\"write_deadline\",\"value\":100}"),
     "\"value\" must be text"},
    {"leg without a leg", LINE(V1 "\"command\":\"leg\",\"action\":\"fail\"}"),
     "\"leg\" is missing in a leg request"},
    {"a leg of the wrong type", LINE(V1 "\"command\":\"leg\",\"action\":\"fail\",\"leg\":0}"),
     "\"leg\" must be text"},
    {"an unknown action", LINE(V1 "\"command\":\"leg\",\"action\":\"kill\",\"leg\":\"a\"}"),
     "unknown action \"kill\": fail, return, discard, replace, add or remove"},
    {"force at a volume's own socket",
     LINE(V1
          "\"command\":\"leg\",\"action\":\"fail\",\"leg\":\"a\",\"force\":true,\"with\":\"b\"}"),
     "a leg is failed by force by surefootd, which starts the volume anew: this is a volume's own "
     "socket"},
    {"force without the legs to go on with",
     LINE(V1 "\"command\":\"leg\",\"action\":\"fail\",\"leg\":\"a\",\"force\":true}"),
     "\"force\" and \"with\", the legs to go on with, belong together"},
    {"a return by force",
     LINE(V1
          "\"command\":\"leg\",\"action\":\"return\",\"leg\":\"a\",\"force\":true,\"with\":\"b\"}"),
     "\"force\" does not belong to the action return"},
    {"trailing garbage", LINE(V1 "\"command\":\"status\"} x"),
     "not a JSON object: end of file expected near 'x' at byte 34"},
    {"two objects in one line", LINE(V1 "\"command\":\"status\"}{}"),
     "not a JSON object: end of file expected near '{' at byte 33"},
    {"a NUL between", LINE(V1 "\0\"command\":\"status\"}"), "the request holds a NUL byte"},
    {"a NUL at the end", LINE(V1 "\"command\":\"status\"}\0"), "the request holds a NUL byte"},
    {"an escaped NUL", LINE(V1 "\"command\":\"sta\\u0000tus\"}"),
     "not a JSON object: \\u0000 is not allowed without JSON_ALLOW_NUL near '\"sta\\u0000tus\"' at "
     "byte 37"},
    {"invalid UTF-8", LINE(V1 "\"command\":\"\xff\xfe\"}"),
     "not a JSON object: unable to decode byte 0xff near '\"' at byte 24"},
    {"a control character in text", LINE(V1 "\"command\":\"sta\001tus\"}"),
     "not a JSON object: control character 0x1 near '\"sta' at byte 27"},
    {"a number without end", LINE("{\"version\":1e999999,\"command\":\"status\"}"),
     "not a JSON object: real number overflow near '1e999999' at byte 19"},
    {"a number too large", LINE("{\"version\":99999999999999999999,\"command\":\"status\"}"),
     "not a JSON object: too big integer near '99999999999999999999' at byte 31"},
    {"comments", LINE("/* hello */ {}"),
     "not a JSON object: '[' or '{' expected near '/' at byte 1"},
};
enum { BROKEN_LINES = sizeof broken_lines / sizeof broken_lines[0] };

#endif

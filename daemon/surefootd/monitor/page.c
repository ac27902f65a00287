#include "monitor/page.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "events/events.h"
#include "monitor/page_chart.h"
#include "monitor/page_text.h"

enum { EVENTS_SHOWN = 50 };

static const char style[] =
    ":root{color-scheme:light dark;--ink:#1b1f24;--soft:#57606a;--line:#d0d7de;--paper:#fff;"
    "--good:#116329;--warn:#7d4e00;--bad:#a40e26;--mark:#0550ae}"
    "@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#9aa4af;--line:#3d444d;"
    "--paper:#0d1117;--good:#56d364;--warn:#e3b341;--bad:#ff8182;--mark:#79c0ff}}"
    "*{box-sizing:border-box}body{margin:0 auto;padding:1rem;max-width:76rem;color:var(--ink);"
    "background:var(--paper);font:15px/1.45 system-ui,sans-serif}"
    "h1{font-size:1.25rem;margin:0}h2{font-size:1.15rem;margin:1.6rem 0 .2rem;"
    "overflow-wrap:anywhere}h3{font-size:1rem;margin:1rem 0 0}p{margin:.2rem 0}"
    "section{border-top:1px solid var(--line)}.n{color:var(--soft);font-size:.85rem}"
    "b,td,li{unicode-bidi:isolate;overflow-wrap:anywhere}"
    "table{border-collapse:collapse;width:100%;margin:.5rem 0;font-variant-numeric:tabular-nums}"
    "th,td{text-align:left;vertical-align:top;padding:.2rem .7rem .2rem 0;"
    "border-bottom:1px solid var(--line)}th{color:var(--soft);font-weight:normal;font-size:.85rem}"
    ".good{color:var(--good)}.warn{color:var(--warn)}.bad{color:var(--bad)}"
    ".good,.warn,.bad{font-weight:600}"
    "[role=alert]{border:2px solid var(--bad);padding:.4rem .6rem;margin:.6rem 0}"
    ".c{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(18rem,100%),1fr));"
    "gap:.6rem 1rem}figure{margin:.4rem 0}figcaption{font-size:.85rem}svg{width:100%;height:auto}"
    "svg text{font-size:9px;fill:var(--soft)}svg path{fill:none}.g{stroke:var(--line)}"
    ".h{stroke:var(--mark);stroke-width:1}.p{stroke:var(--mark);stroke-width:2.5}"
    ".m{stroke:var(--ink);stroke-width:1.6;stroke-dasharray:.1 3;stroke-linecap:round}"
    ".h,.p{stroke-linecap:round}.d{stroke:var(--bad);stroke-width:1.5;stroke-dasharray:7 4}"
    ".o{fill:var(--warn)}"
    "@media(min-width:44.01rem){td{white-space:nowrap}"
    "td:first-child,td:last-child{white-space:normal}td:first-child{min-width:11rem}}"
    "@media(max-width:44rem){thead{display:none}tr{display:block;padding:.3rem 0;"
    "border-bottom:1px solid var(--line)}td{display:flex;gap:.7rem;border:0;padding:.05rem 0}"
    "td:empty{display:none}td::before{content:attr(data-h);flex:0 0 6rem;color:var(--soft);"
    "font-size:.85rem}}";

/* It asks for a document: nothing is made of text here.  Without scripts the page loads itself
 * anew. */
static const char script[] =
    "(function(){'use strict';var main=document.querySelector('main'),"
    "old=document.getElementById('old');"
    "function later(){setTimeout(look,10000)}"
    "function look(){if(document.hidden)return later();var ask=new XMLHttpRequest();"
    "ask.open('GET','/main');ask.responseType='document';ask.timeout=9000;"
    "ask.onloadend=function(){var now=ask.status===200&&ask.response&&"
    "ask.response.querySelector('main');old.hidden=!!now;"
    "if(now){main.replaceWith(now);main=now;document.title=ask.response.title}later()};"
    "ask.send()}later()})();";

void
sfd_page_policy(const struct page_facts *facts, char policy[512]) {
  snprintf(policy, 512,
           "default-src 'none'; style-src 'nonce-%s'; script-src 'nonce-%s'; connect-src 'self'; "
           "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
           "require-trusted-types-for 'script'",
           facts->nonce, facts->nonce);
}

/* ---- states, never by their colour alone ---- */

static void
put_state(FILE *out, const char *state) {
  static const struct {
    const char *state, *class, *mark;
  } looks[] = {{"healthy", "good", "✓"},     {"in-sync", "good", "✓"},  {"serving", "good", "✓"},
               {"degraded", "warn", "▲"},    {"late", "warn", "▲"},     {"probing", "warn", "▲"},
               {"catching-up", "warn", "▲"}, {"missing", "warn", "▲"},  {"slow", "warn", "▲"},
               {"starting", "warn", "▲"},    {"stopping", "warn", "▲"}, {"stopped", "warn", "▲"},
               {"used", "warn", "▲"},        {"suspended", "bad", "✗"}, {"failed", "bad", "✗"},
               {"silent", "bad", "✗"},       {"faulty", "bad", "✗"},    {"refused", "bad", "✗"},
               {"down", "bad", "✗"},         {"lost", "bad", "✗"}};
  for (unsigned i = 0; i < sizeof looks / sizeof looks[0]; i++)
    if (strcmp(state, looks[i].state) == 0) {
      fprintf(out, "<span class=%s>%s %s</span>", looks[i].class, looks[i].mark, state);
      return;
    }
  sfd_page_put(out, state);
}

static void
put_age(FILE *out, const struct page_facts *facts, const json_t *object) {
  char text[PAGE_TEXT_MAX];
  int64_t since = sfd_page_seconds_of(sfd_events_text(object, "since"));
  if (since >= 0)
    fputs(sfd_page_seconds(facts->now_ns / 1000000000 - since, text), out);
}

/* ---- legs ---- */

static void
put_cell(FILE *out, const char *head, const char *text) {
  fprintf(out, "<td data-h='%s'>", head);
  sfd_page_put(out, text);
  fputs("</td>", out);
}

/* What it has to say beside its numbers. */
static void
put_note(FILE *out, const json_t *leg) {
  const json_t *resync = json_object_get(leg, "resync");
  uint64_t total = sfd_page_number(resync, "total_bytes");
  char text[PAGE_TEXT_MAX];
  fputs("<td data-h=Note>", out);
  if (total > 0)
    fprintf(out, "copying: %.0f %%. ",
            100.0 * (double) sfd_page_number(resync, "done_bytes") / (double) total);
  if (json_is_integer(json_object_get(resync, "seconds_left")))
    fprintf(out, "%s left. ",
            sfd_page_seconds((int64_t) sfd_page_number(resync, "seconds_left"), text));
  if (sfd_page_number(leg, "stale_bytes") > 0)
    fprintf(out, "lacks %s. ", sfd_page_bytes(sfd_page_number(leg, "stale_bytes"), text));
  sfd_page_put(out, sfd_events_text(leg, "reason"));
  fputs("</td>", out);
}

static void
put_flight(FILE *out, const json_t *leg) {
  char text[PAGE_TEXT_MAX];
  uint64_t in_flight = sfd_page_number(leg, "in_flight"),
           oldest = sfd_page_number(leg, "oldest_ms");
  fprintf(out, "<td data-h=Unanswered>%" PRIu64, in_flight);
  if (in_flight > 0)
    fprintf(out, ", the oldest %s", sfd_page_us(oldest * 1000, text));
  fputs("</td>", out);
}

static void
put_leg(FILE *out, const struct page_facts *facts, const json_t *leg) {
  const json_t *write = json_object_get(json_object_get(leg, "latency"), "write");
  char text[PAGE_TEXT_MAX];
  bool recent = sfd_page_number(write, "recent") > 0;
  fputs("<tr><td data-h=Leg><b>", out);
  sfd_page_put(out, sfd_events_text(leg, "name"));
  fputs("</b> ", out);
  sfd_page_put(out, sfd_events_text(leg, "path"));
  fputs("</td><td data-h=State>", out);
  put_state(out, sfd_events_text(leg, "state"));
  fputs("</td><td data-h=For>", out);
  put_age(out, facts, leg);
  fputs("</td>", out);
  put_flight(out, leg);
  put_cell(out, "P50 write", recent ? sfd_page_us(sfd_page_number(write, "p50_us"), text) : "–");
  put_cell(out, "P99 write", recent ? sfd_page_us(sfd_page_number(write, "p99_us"), text) : "–");
  put_cell(out, "Late after",
           sfd_page_us(sfd_page_number(json_object_get(leg, "deadline"), "write_us"), text));
  fprintf(out, "<td data-h=Timeouts>%" PRIu64 "</td><td data-h=Errors>%" PRIu64 "</td>",
          sfd_page_number(leg, "timeouts"), sfd_page_number(leg, "errors"));
  put_note(out, leg);
  fputs("</tr>\n", out);
}

/* ---- a volume ---- */

static void
put_facts(FILE *out, const struct page_facts *facts, const json_t *volume) {
  const json_t *requests = json_object_get(volume, "requests");
  const json_t *device = json_object_get(json_object_get(volume, "service"), "device");
  char text[PAGE_TEXT_MAX];
  fputs("<p>", out);
  put_state(out, sfd_events_text(volume, "state"));
  fputs(" for ", out);
  put_age(out, facts, volume);
  fprintf(out, "; %s", sfd_page_bytes(sfd_page_number(volume, "size_bytes"), text));
  fprintf(out, "; %" PRIu64 " of %zu legs in sync, %" PRIu64 " needed",
          sfd_page_number(volume, "legs_in_sync"), json_array_size(json_object_get(volume, "legs")),
          sfd_page_number(volume, "min_legs"));
  if (*sfd_events_text(device, "path")) {
    fputs("; ", out);
    sfd_page_put(out, sfd_events_text(device, "path"));
    fputs(" ", out);
    sfd_page_put(out, sfd_events_text(device, "state"));
  }
  fprintf(out,
          "</p><p class=n>since its server started %" PRIu64 " reads, %" PRIu64 " writes, %" PRIu64
          " flushes; %" PRIu64 " answered without a late leg, %" PRIu64 " failed; %" PRIu64
          " wait now</p>",
          sfd_page_number(requests, "reads"), sfd_page_number(requests, "writes"),
          sfd_page_number(requests, "flushes"), sfd_page_number(requests, "late_acks"),
          sfd_page_number(requests, "errors"), sfd_page_number(volume, "in_flight"));
}

static void
put_why(FILE *out, const json_t *volume) {
  const json_t *service = json_object_get(volume, "service");
  const char *reasons[] = {sfd_events_text(volume, "reason"), sfd_events_text(service, "reason")};
  const char *restart = sfd_events_text(service, "restart_needed_for");
  for (unsigned i = 0; i < 2; i++)
    if (*reasons[i]) {
      fputs("<p><b>", out);
      sfd_page_put(out, reasons[i]);
      fputs("</b></p>", out);
    }
  if (json_array_size(json_object_get(service, "file_behind")) > 0)
    fputs("<p class=warn>▲ its file would not start what runs now: surefootctl status</p>", out);
  if (*restart) {
    fputs("<p class=warn>▲ wants a restart for: ", out);
    sfd_page_put(out, restart);
    fputs("</p>", out);
  }
}

static void
put_spares(FILE *out, const json_t *volume) {
  size_t i;
  json_t *spare;
  json_array_foreach(json_object_get(json_object_get(volume, "service"), "spares"), i, spare) {
    fputs("<p>spare <b>", out);
    sfd_page_put(out, sfd_events_text(spare, "name"));
    fputs("</b> ", out);
    sfd_page_put(out, sfd_events_text(spare, "path"));
    fputs(" ", out);
    put_state(out, sfd_events_text(spare, "state"));
    fputs(" ", out);
    sfd_page_put(out, sfd_events_text(spare, "reason"));
    fputs("</p>", out);
  }
}

static void
put_volume(FILE *out, const struct page_facts *facts, const json_t *volume) {
  static const char *const heads[] = {"Leg",       "State",     "For",        "Unanswered",
                                      "P50 write", "P99 write", "Late after", "Timeouts",
                                      "Errors",    "Note"};
  size_t i;
  json_t *leg;
  fputs("<section><h2>", out);
  sfd_page_put(out, sfd_events_text(volume, "name"));
  fputs("</h2>", out);
  put_facts(out, facts, volume);
  put_why(out, volume);
  if (json_array_size(json_object_get(volume, "legs")) > 0) {
    fputs("<table><thead><tr>", out);
    for (unsigned h = 0; h < sizeof heads / sizeof heads[0]; h++)
      fprintf(out, "<th scope=col>%s</th>", heads[h]);
    fputs("</tr></thead><tbody>\n", out);
    json_array_foreach(json_object_get(volume, "legs"), i, leg)
      put_leg(out, facts, leg);
    fputs("</tbody></table>", out);
  }
  put_spares(out, volume);
  sfd_page_charts(out, json_object_get(volume, "history"));
  fputs("</section>\n", out);
}

/* ---- events ---- */

static void
put_event(FILE *out, const json_t *event) {
  const char *leg = sfd_events_text(event, "leg"), *reason = sfd_events_text(event, "reason");
  const char *from = sfd_events_text(event, "from"), *to = sfd_events_text(event, "to");
  char text[PAGE_TEXT_MAX];
  fputs("<tr>", out);
  put_cell(out, "Time", sfd_page_time(sfd_events_text(event, "time"), text));
  put_cell(out, "Volume", sfd_events_text(event, "volume"));
  put_cell(out, "Leg", leg);
  fputs("<td data-h=Event>", out);
  sfd_page_put(out, *to ? "" : sfd_events_text(event, "event"));
  sfd_page_put(out, from);
  fputs(*from && *to ? " → " : "", out);
  if (*to)
    put_state(out, to);
  fputs("</td>", out);
  put_cell(out, "Reason", reason);
  fputs("</tr>\n", out);
}

static void
put_events(FILE *out, const json_t *events) {
  size_t n = json_array_size(events);
  fputs("<section><h2>Events</h2>", out);
  if (n == 0) {
    fputs("<p>none</p></section>", out);
    return;
  }
  fputs("<table><thead><tr><th scope=col>Time<th scope=col>Volume<th scope=col>Leg<th "
        "scope=col>Event<th scope=col>Reason</tr></thead><tbody>\n",
        out);
  for (size_t i = n; i-- > 0 && i + EVENTS_SHOWN >= n;)
    put_event(out, json_array_get(events, i));
  fputs("</tbody></table></section>", out);
}

/* ---- the whole ---- */

/* What the tab of the browser says. */
static void
put_title(FILE *out, const json_t *volumes) {
  size_t i, well = 0;
  json_t *volume;
  json_array_foreach(volumes, i, volume)
    well += strcmp(sfd_events_text(volume, "state"), "healthy") == 0;
  if (well == json_array_size(volumes))
    fprintf(out, "<title>✓ Surefoot: %zu healthy</title>", well);
  else
    fprintf(out, "<title>▲ Surefoot: %zu of %zu not healthy</title>",
            json_array_size(volumes) - well, json_array_size(volumes));
}

static void
put_head(FILE *out, const struct page_facts *facts) {
  fprintf(out,
          "<!DOCTYPE html>\n<html lang=en><head><meta charset=utf-8>"
          "<meta name=viewport content='width=device-width,initial-scale=1'>"
          "<link rel=icon href='data:,'>"
          "<noscript><meta http-equiv=refresh content=10></noscript><style nonce=%s>%s</style>",
          facts->nonce, style);
  put_title(out, facts->volumes);
  fputs(
      "</head><body>\n<p role=alert id=old hidden>surefootd does not answer: what stands below is "
      "as it was then.</p>\n",
      out);
}

static void
put_end(FILE *out, const struct page_facts *facts) {
  fprintf(out,
          "\n<p class=n>surefootd %s; it only shows: surefootctl changes</p>\n<script nonce=%s>%s"
          "</script></body></html>\n",
          SF_VERSION, facts->nonce, script);
}

static void
put_problems(FILE *out, const json_t *problems) {
  size_t i;
  json_t *line;
  if (json_array_size(problems) == 0)
    return;
  fputs("<div role=alert>Files that are not used:<ul>", out);
  json_array_foreach(problems, i, line) {
    fputs("<li>", out);
    sfd_page_put(out, json_is_string(line) ? json_string_value(line) : "");
    fputs("</li>", out);
  }
  fputs("</ul></div>", out);
}

static void
put_body(FILE *out, const struct page_facts *facts) {
  time_t now = (time_t) (facts->now_ns / 1000000000);
  char when[PAGE_TEXT_MAX] = "";
  struct tm local;
  size_t i;
  json_t *volume;
  if (localtime_r(&now, &local))
    strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S %Z", &local);
  fputs("<main><h1>Surefoot on ", out);
  sfd_page_put(out, facts->host);
  fprintf(out, "</h1><p class=n>%s</p>", when);
  put_problems(out, facts->problems);
  if (json_array_size(facts->volumes) == 0)
    fputs("<p>No volume.</p>", out);
  for (int well = 0; well < 2; well++) /* what is not healthy first */
    json_array_foreach(facts->volumes, i, volume)
      if ((strcmp(sfd_events_text(volume, "state"), "healthy") == 0) == well)
        put_volume(out, facts, volume);
  put_events(out, facts->events);
  fputs("</main>", out);
}

char *
sfd_page_make(const struct page_facts *facts) {
  char *text = NULL;
  size_t size = 0;
  FILE *out = open_memstream(&text, &size);
  if (out == NULL)
    return NULL;
  if (facts->whole)
    put_head(out, facts);
  else
    put_title(out, facts->volumes);
  put_body(out, facts);
  if (facts->whole)
    put_end(out, facts);
  bool failed = ferror(out) != 0;
  if (fclose(out) != 0 || failed) {
    free(text);
    return NULL;
  }
  return text;
}

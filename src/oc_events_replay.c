#include "oc_events_private.h"

#include <string.h>

/* What the files that opperchat writes begin with. */
#define MAGIC "{\"opperchat\":"

/* Whether a text is a part of the first line that we would have written;
   any other file is somebody else's. */
static int is_torn_header(const char *text, size_t len) {
  size_t magic = sizeof MAGIC - 1;
  return !memcmp(text, MAGIC, len < magic ? len : magic);
}

static oc_code fail_line(oc_replay *replay, oc_code code, const char *words) {
  return oc_file_fail(replay->problem, code, "%s", words);
}

static oc_code read_header(oc_replay *replay, const char *line, size_t len) {
  oc_json reader;
  double version = 0;
  int found = 0;

  oc_json_init(&reader, line, len);
  if(oc_json_next(&reader) == OC_JSON_OBJECT) {
    while(oc_json_next(&reader) == OC_JSON_KEY) {
      if(oc_json_is(&reader, "opperchat") && !found++)
        oc_json_read_number(&reader, &version);
      else
        oc_json_skip(&reader, NULL);
    }
    if(reader.token == OC_JSON_OBJECT_END)
      oc_json_next(&reader);
  }
  if(reader.token != OC_JSON_END || !(version >= 1))
    return fail_line(replay, OC_E_BAD_LINE, "not a saved conversation");
  if(version != OC_EVENTS_VERSION)
    return oc_file_fail(replay->problem, OC_E_BAD_VERSION,
                        "version %.17g of the format, known is %d", version,
                        OC_EVENTS_VERSION);
  replay->header.text = line;
  replay->header.len = len;
  return OC_OK;
}

static oc_code read_event(oc_history *history, oc_replay *replay,
                          const char *line, size_t len) {
  oc_event event;
  oc_code code = oc_event_apply_part(history, line, len, &event,
                                     replay->problem);
  if(code)
    return code;
  replay->events++;
  if(event.usage.text)
    replay->usage = event.usage;
  if(event.options.text) {
    replay->options = event.options;
    replay->options_line = replay->line;
  }
  return OC_OK;
}

oc_code oc_replay_text(oc_history *history, const char *text, size_t len,
                       oc_replay *replay) {
  const char *at = text;
  const char *end = text + len;
  oc_code code = OC_OK;

  memset(replay, 0, sizeof *replay);
  while(!code && at < end) {
    const char *newline = memchr(at, '\n', (size_t)(end - at));
    size_t line_len = (size_t)((newline ? newline : end) - at);

    replay->line++;
    if(!newline && !oc_event_is_complete(at, line_len)
       && (replay->line > 1 || is_torn_header(at, line_len))) {
      replay->torn = line_len;
      break;
    }
    code = replay->line == 1 ? read_header(replay, at, line_len)
                             : read_event(history, replay, at, line_len);
    at = newline ? newline + 1 : end;
    if(!code)
      replay->good = (size_t)(at - text);
  }
  if(code)
    oc_history_free(history);
  else if(!replay->torn)
    replay->line = 0;
  return code;
}

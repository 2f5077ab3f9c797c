/*
 * Saved conversations: a valid list, or an error and no list. What was read
 * can be written again, and reading that gives the same list.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "../../src/oc_events.h"

/* Line by line it comes to the same. */
static void check_lines(const oc_history *list, const char *text,
                        const oc_replay *replay) {
  const char *at = text;
  const char *end = text + replay->good;
  oc_history other;
  oc_slice line;
  oc_event event;
  char problem[OC_PROBLEM_MAX];
  size_t lines = 0;
  oc_code code = OC_OK;

  oc_history_init(&other);
  fuzz_line(&at, end, &line);
  while(!code && fuzz_line(&at, end, &line)) {
    code = oc_event_apply(&other, line.text, line.len, &event, problem);
    lines++;
  }
  MUST_IF_FED(!code && lines == replay->events);
  if(!code)
    MUST(fuzz_same_list(list, &other));
  fuzz_check_list(&other);
  oc_history_free(&other);
}

static void check_written(const oc_history *list) {
  oc_history other;
  oc_replay replay;
  oc_buf text;
  size_t at = 0;
  oc_code code;

  oc_history_init(&other);
  oc_buf_init(&text, (size_t)1 << 26);
  code = oc_buf_puts(&text, "{\"opperchat\":1}\n");
  while(!code && at < list->count) {
    size_t before = at;
    code = oc_event_write_turn(&text, list, &at);
    MUST(code ? at == before : at > before);
  }
  if(!code)
    code = oc_replay_text(&other, text.data, text.len, &replay);
  MUST_IF_FED(!code);
  if(!code) {
    /* line breaks between tokens have become blanks: same length */
    MUST(other.count == list->count && other.bytes == list->bytes);
    MUST(!replay.torn);
  }
  oc_history_free(&other);
  oc_buf_free(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  char *text = fuzz_copy(data, size);
  oc_history list;
  oc_replay replay;
  oc_code code;

  oc_history_init(&list);
  code = oc_replay_text(&list, text, size, &replay);
  if(code) {
    MUST(!list.count && !list.vector && replay.line);
    MUST(code == OC_E_BAD_LINE || code == OC_E_BAD_VERSION
         || (code == OC_E_NOMEM && fuzz_is_starved()));
    MUST(code == OC_E_NOMEM || *replay.problem);
    MUST(memchr(replay.problem, 0, sizeof replay.problem));
  }
  else {
    MUST(replay.good + replay.torn == size);
    if(replay.header.text)
      MUST(fuzz_is_json(replay.header.text, replay.header.len));
    if(replay.usage.text)
      MUST(fuzz_is_json(replay.usage.text, replay.usage.len));
    if(replay.options.text)
      MUST(fuzz_is_json(replay.options.text, replay.options.len));
    fuzz_check_list(&list);
    check_lines(&list, text, &replay);
    check_written(&list);
  }
  oc_history_free(&list);
  free(text);
  return 0;
}

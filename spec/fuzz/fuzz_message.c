/* Messages as JSON, a line each: refused, or kept byte for byte. */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "../../src/oc_utf8.h"

static void check_calls(const oc_message *message) {
  oc_calls calls;
  oc_slice id;
  oc_slice ids[64];
  size_t count = 0;
  size_t i;

  oc_calls_begin(&calls, message);
  while(oc_calls_next(&calls, &id)) {
    MUST(id.len && message->has_calls);
    MUST(id.text >= message->json
         && id.text + id.len <= message->json + message->len);
    for(i = 0; i < count; i++)
      MUST(!oc_raw_equal(ids[i], id));
    if(count < 64)
      ids[count++] = id;
  }
  MUST(!message->has_calls == !count);
  if(message->role == OC_ROLE_TOOL)
    oc_message_result_id(message);
}

static void check_same(oc_message *a, oc_message *b) {
  MUST(a->role == b->role && a->has_calls == b->has_calls
       && oc_message_tokens(a) == oc_message_tokens(b) && a->len == b->len
       && !memcmp(a->json, b->json, a->len));
}

static void check_line(const char *text, size_t len) {
  oc_message *message;
  oc_message *again;
  oc_message *flagged;
  oc_buf buf;
  size_t where = 0;
  oc_code other;
  oc_code code = oc_message_json(&message, text, len, &where);

  MUST(where <= len);
  oc_buf_init(&buf, 0);
  other = oc_message_begin(&buf, len);
  if(!other)
    other = oc_buf_append(&buf, text, len);
  if(!other)
    other = oc_message_end(&again, &buf, &where);
  oc_buf_free(&buf);
  MUST_IF_FED(code == other);
  if(!code) {
    long fed = fuzz_feed();
    MUST(fuzz_is_json(message->json, message->len));
    check_calls(message);
    fuzz_feed_end(fed);
    if(!other)
      check_same(message, again);
  }
  if(!other)
    oc_message_unref(again);
  if(code)
    return;
  if(!oc_message_flag(&flagged, message, OC_FLAG_PINNED)) {
    check_same(message, flagged);
    oc_message_unref(flagged);
  }
  if(!oc_message_json(&again, message->json, message->len, NULL)) {
    check_same(message, again);
    oc_message_unref(again);
  }
  else
    MUST(fuzz_is_starved());
  oc_message_unref(message);
}

static void check_text(const char *text, size_t len) {
  oc_message *message;
  size_t where = 0;
  size_t valid = oc_utf8_valid_prefix(text, len);
  oc_code code = oc_message_text(&message, OC_ROLE_USER, text, len, &where);

  if(code) {
    MUST(code == OC_E_UTF8 || fuzz_is_starved());
    MUST(code != OC_E_UTF8 || where == valid);
    return;
  }
  MUST(valid == len);
  MUST(fuzz_is_json(message->json, message->len));
  oc_message_unref(message);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const char *at = (const char *)data;
  const char *end = at + size;
  oc_slice line;

  while(fuzz_line(&at, end, &line)) {
    char *copy = fuzz_copy(line.text, line.len);
    check_line(copy, line.len);
    check_text(copy, line.len);
    free(copy);
  }
  return 0;
}

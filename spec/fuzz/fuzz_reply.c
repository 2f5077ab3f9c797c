/*
 * Replies. Each line of the input is the data of one event of a stream, and
 * the whole input is a response, too. What was kept is a valid message, and
 * the shortcut for chunks that are alike changes nothing.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "../../src/oc_alloc.h"
#include "../../src/oc_reply.h"

static void note_buf(fuzz_note *note, const char *name, const oc_buf *buf) {
  fuzz_notef(note, "%s=", name);
  fuzz_note_bytes(note, buf->data, buf->len);
  fuzz_notef(note, "\n");
}

/* The reader alone decides what a message is; the core's own must pass. */
static void check_message(const oc_reply *reply, int is_partial) {
  oc_message *message;
  oc_message *again;
  oc_code code = oc_reply_message(reply, is_partial, &message);
  long fed;

  MUST(!code || (code == OC_E_NOMEM && fuzz_is_starved()));
  if(code)
    return;
  fed = fuzz_feed();
  code = oc_message_json(&again, message->json, message->len, NULL);
  /* an answer may have nested fields down to the limit */
  MUST(!code || code == OC_E_DEPTH);
  if(!code) {
    MUST(again->role == message->role);
    MUST(again->has_calls == message->has_calls);
    MUST(oc_message_tokens(again) == oc_message_tokens(message));
    MUST(again->len == message->len
         && !memcmp(again->json, message->json, again->len));
    oc_message_unref(again);
  }
  fuzz_feed_end(fed);
  oc_message_unref(message);
}

static void note_reply(oc_reply *reply, oc_code code, fuzz_note *note) {
  oc_buf raw;

  fuzz_notef(note, "code=%d done=%d usage=%d choice=%d content=%d\n",
             (int)code, reply->is_done, reply->has_usage, reply->has_choice,
             reply->has_content);
  fuzz_notef(note, "%.17g %.17g %.17g %.17g %.17g %.17g\n",
             reply->usage.prompt_tokens, reply->usage.completion_tokens,
             reply->usage.total_tokens, reply->usage.cached_tokens,
             reply->usage.reasoning_tokens, reply->usage.cost);
  note_buf(note, "content", &reply->content.buf);
  note_buf(note, "reasoning", &reply->reasoning.buf);
  note_buf(note, "refusal", &reply->refusal.buf);
  code = oc_reply_finish(reply);
  if(code) {
    MUST(code == OC_E_TOO_LARGE
         || (code == OC_E_NOMEM && fuzz_is_starved()));
    return;
  }
  oc_buf_init(&raw, (size_t)1 << 28);
  code = oc_reply_raw(reply, &raw);
  MUST_IF_FED(!code);
  if(!code) {
    oc_json reader;
    oc_json_init(&reader, raw.data, raw.len);
    while(oc_json_next(&reader) > OC_JSON_END) {
    }
    MUST(reader.token == OC_JSON_END || reader.error == OC_E_DEPTH);
    note_buf(note, "raw", &raw);
  }
  oc_buf_free(&raw);
  check_message(reply, 0);
  check_message(reply, 1);
}

/* `is_plain`: without the shortcut. */
static void read_stream(const uint8_t *data, size_t size, int is_plain,
                        fuzz_note *note) {
  const char *at = (const char *)data;
  const char *end = at + size;
  oc_reply reply;
  oc_error error;
  oc_slice line;
  oc_code code = OC_OK;

  memset(&error, 0, sizeof error);
  oc_reply_init(&reply, 1 << 20);
  while(!code && fuzz_line(&at, end, &line)) {
    char *copy = fuzz_copy(line.text, line.len);
    if(is_plain)
      oc_like_forget(&reply.like);
    code = oc_reply_chunk(&reply, copy, line.len, &error);
    MUST((code == OC_OK) == (error.code == OC_OK));
    free(copy);
  }
  fuzz_notef(note, "%s %s\n", error.name, error.message ? error.message : "");
  MUST_IF_FED(code != OC_E_NOMEM);
  note_reply(&reply, code, note);
  oc_error_clear(&error);
  oc_reply_free(&reply);
}

static void read_whole(const uint8_t *data, size_t size, fuzz_note *note) {
  oc_reply reply;
  oc_error error;
  oc_code code;
  char *copy = fuzz_copy(data, size);

  memset(&error, 0, sizeof error);
  oc_reply_init(&reply, 1 << 20);
  code = oc_reply_whole(&reply, copy, size, &error);
  free(copy);
  MUST_IF_FED(code != OC_E_NOMEM);
  note_reply(&reply, code, note);
  oc_error_clear(&error);
  oc_reply_free(&reply);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  fuzz_note first = { NULL, 0, 0 };
  fuzz_note note = { NULL, 0, 0 };

  fuzz_reset_random();
  read_stream(data, size, 1, &note);
  fuzz_compare(&first, &note, 0);
  fuzz_reset_random();
  read_stream(data, size, 0, &note);
  fuzz_compare(&first, &note, 1);
  read_whole(data, size, &note);
  fuzz_note_free(&first);
  fuzz_note_free(&note);
  return 0;
}

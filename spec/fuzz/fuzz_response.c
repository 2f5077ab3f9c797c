/*
 * A whole HTTP response: header lines, an empty one, the body. It is read
 * as a chat's and as a document, and what comes out does not depend on how
 * it is split.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "../../src/oc_response.h"
#include "../../src/oc_retry.h"

static void note_slice(fuzz_note *note, const char *name, oc_slice slice) {
  fuzz_notef(note, "%s=", name);
  fuzz_note_bytes(note, slice.text, slice.len);
  fuzz_notef(note, "\n");
}

/* Reads up to and with the empty line; 0: goes on. */
static int read_head(oc_response *response, const char **at, const char *end,
                     oc_error *error) {
  oc_slice line;
  int bad = 0;
  while(!bad && !response->has_head && fuzz_line(at, end, &line)) {
    /* with its line end, as libcurl does it */
    size_t len = (size_t)(*at - line.text);
    char *copy = fuzz_copy(line.text, len);
    bad = oc_response_header(response, copy, len, error);
    if(len > 9 && !memcmp(copy, "HTTP/1.1 ", 9)) {
      char *number = fuzz_string(copy + 9, len - 9 < 3 ? len - 9 : 3);
      response->status = atoi(number);
      free(number);
    }
    free(copy);
  }
  if(!response->status)
    response->status = 200;
  return bad;
}

static void note_retry(const oc_response *response, const oc_error *error,
                       fuzz_note *note) {
  static const oc_slice empty = { "", 0 };
  oc_retry_hints hints;
  hints.should = hints.after_ms = hints.after = hints.date = empty;
  oc_response_find(response, "x-should-retry", &hints.should);
  oc_response_find(response, "retry-after-ms", &hints.after_ms);
  oc_response_find(response, "Retry-After", &hints.after);
  oc_response_find(response, "date", &hints.date);
  note_slice(note, "should", hints.should);
  note_slice(note, "after-ms", hints.after_ms);
  note_slice(note, "after", hints.after);
  fuzz_notef(note, "retry %d after %ld\n", oc_retry_is_worth(error, &hints),
             (long)oc_retry_after(&hints, oc_error_message(error),
                                  1000000000));
}

static void note_response(oc_response *response, const oc_error *error,
                          int bad, fuzz_note *note) {
  const oc_reply *reply = &response->reply;
  oc_buf raw;

  MUST(bad == (error->code != OC_OK) || response->mode == OC_RESPONSE_ERROR);
  MUST_IF_FED(error->code != OC_E_NOMEM);
  fuzz_notef(note, "bad=%d mode=%d error=%d (%s) output=%d %d\n", bad,
             (int)response->mode, (int)error->code, error->name,
             oc_response_has_output(response),
             oc_response_is_error(response));
  fuzz_notef(note, "%s status=%d\n", oc_error_message(error), error->status);
  note_retry(response, error, note);
  fuzz_notef(note, "done=%d content=", reply->is_done);
  fuzz_note_bytes(note, reply->content.buf.data, reply->content.buf.len);
  if(bad)
    return;
  if(response->is_document)
    MUST(fuzz_is_json(response->text.data, response->text.len));
  oc_buf_init(&raw, (size_t)1 << 28);
  if(!oc_reply_raw(reply, &raw))
    fuzz_note_bytes(note, raw.data, raw.len);
  oc_buf_free(&raw);
}

static void read_all(const uint8_t *data, size_t size, int is_document,
                     fuzz_split *split, fuzz_note *note) {
  const char *at = (const char *)data;
  const char *end = at + size;
  oc_response response;
  oc_error error;
  int bad;

  memset(&error, 0, sizeof error);
  fuzz_reset_random();
  oc_response_init(&response, 1 << 20, 1 << 16, is_document);
  bad = read_head(&response, &at, end, &error);
  while(!bad && at < end) {
    size_t len = fuzz_piece(split, (size_t)(end - at));
    char *piece = fuzz_copy(at, len);
    bad = oc_response_body(&response, piece, len, &error);
    free(piece);
    at += len;
  }
  if(!bad)
    bad = oc_response_finish(&response, &error);
  note_response(&response, &error, bad, note);
  oc_error_clear(&error);

  /* the same response once more on the same object */
  oc_response_reset(&response);
  MUST(!response.head.len && !response.text.len && !response.received);
  oc_response_trim(&response);
  oc_response_free(&response);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  fuzz_note first = { NULL, 0, 0 };
  fuzz_note note = { NULL, 0, 0 };
  int is_document;
  int round;

  for(is_document = 0; is_document < 2; is_document++) {
    for(round = 0; round < fuzz_rounds(); round++) {
      fuzz_split split;
      fuzz_split_init(&split, round, data, size);
      read_all(data, size, is_document, &split, &note);
      fuzz_compare(&first, &note, round);
    }
  }
  fuzz_note_free(&first);
  fuzz_note_free(&note);
  return 0;
}
